"""From a text and a reference face to pictures.

masking            which image tokens are hidden
encoders           pre-trained encoders of text and reference face
decode             iterative parallel decoding of image tokens
stages             Stage I and Stage II put together
generator, request a finished run as a function
region_masks, reference_images, request_csv, decode_arguments
                   what a command line asks for
exported           a run as files for other programs
"""
