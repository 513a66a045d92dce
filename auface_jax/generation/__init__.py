"""Generation of images from a text and a reference face.

masking            masks of image tokens, and their cosine schedule
unmasking          masks of decoding: how many tokens stay masked, and which
decode             iterative parallel decoding of image tokens
decode_options     its options
encoders           pre-trained encoders of text and reference face
stage1             a finished Stage I run, and previews of its quantizer levels
stages             Stage I and Stage II together: images in, images out
generator, request a finished run as a function
region_masks, reference_images, request_csv, decode_arguments
                   inputs of the command line
exported           a run as files for other programs
"""
