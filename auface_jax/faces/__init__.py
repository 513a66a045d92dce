"""Open faces: a muscle-driven 3D face that is drawn with exact action unit labels.

Reading order: `face_model` (a face as arrays), `head_shape`, `hair_shape`, `builtin_fields` and
`builtin` (ours), `ict_files`, `occlusion` and `ict_facekit` (scanned people), `models` (both by
name), `muscles`, `person`, `beard`, `skin`, `lashes`, `glasses`, `raster`, `film`, `render`,
`sampler`, `sheet`.
"""
