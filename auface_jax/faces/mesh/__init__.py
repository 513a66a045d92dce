"""The geometry of open faces: surfaces, displacement fields, hair, lashes and glasses.

face_model
    the arrays that every face model provides
head_shape, hair_shape, builtin_fields, builtin
    the procedural face
ict_files, ict_scan, ict_regions, ict_surface, ict_facekit
    the face of ICT-FaceKit, read from a clone of that repository
lashes, beard, glasses
    additions to either face
"""
