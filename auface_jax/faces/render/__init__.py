"""Drawing a face model: rasteriser, skin, light and camera.

render     a person, unit intensities and a scene -> a picture
raster     loops over triangles: normals, folds, the triangle that each pixel shows
camera     from the space of a head to pixels
skin       textures and wrinkles
occlusion  light that reaches each vertex
shading    the colour of each pixel
lenses     lenses of glasses over a picture
film       light -> pixels, as a camera makes them
"""
