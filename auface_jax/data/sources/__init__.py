"""Sources of faces: drawn ones, published data sets, and folders of people's own photographs.

base               the interface that a build reads, and its errors
options, registry  the options of each source, and the sources by name
open_faces         faces drawn by `auface_jax.faces`
bp4d, folder       BP4D and BP4D+ as published; any images with a table of labels
photographs        code shared by the sources of image files
alignment, detector, landmark_files
                   finding a face and bringing it onto the template
"""
