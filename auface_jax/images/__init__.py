"""Pictures as pixels, files and sheets.

pixels      integers <-> floats, PSNR
files       image files: read upright as RGB, written with metadata
frames      frames of pictures, animations and videos
sheets      tables of pictures with captions
comparison  sheets that show several kinds of pictures side by side
"""
