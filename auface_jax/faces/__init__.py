"""Open faces: a muscle-driven 3D face that is drawn with exact action unit labels.

In reading order:

mesh      geometry: a face as arrays (`face_model`), the built-in head and the ICT face
registry  both face models by name
muscles   action units -> contractions -> a moved face
person    the descriptions of a person and of a scene
template  the aligned crop in which every face is seen
render    a person, intensities and a scene -> a picture
sampler   random people, expressions and scenes, with the statistics of BP4D
sheet, human_reading_study
          commands: sheets of faces to look at, and a study of how well units are recognised

Letters in shapes:
    V  vertices             I  identity modes       S  side of a picture
    F  triangles            P  pulls (contractions) T  side of a texture
    M  landmarks            H  hair styles          A  action units (12)
"""
