"""The geometry of open faces: surfaces, displacement fields, hair, lashes and glasses.

face_model                     the arrays that every face model provides
builtin, head_shape, builtin_fields, hair_shape
                               the procedural face
ict_facekit, ict_files         the face of ICT-FaceKit, read from a clone of that repository
lashes, beard, glasses         what is added to either
"""
