"""Sources of faces: drawn ones, published data sets, and folders of people's own photographs.

base               the interface that a build reads, and its errors
registry           the sources by name
open_faces         faces drawn by `auface_jax.faces`
bp4d, folder       BP4D and BP4D+ as published; any images with a table of labels
photographs        what sources of image files share
alignment, detector, landmark_files
                   how a face is found and brought onto the template
"""
