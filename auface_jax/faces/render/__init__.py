"""Drawing a face model: rasteriser, skin, light and camera.

render     a person, unit intensities and a scene -> a picture
raster     the inner loops: which triangle a pixel shows, and its colour
skin       textures and wrinkles
occlusion  light that reaches each vertex
film       light -> pixels, as a camera makes them
"""
