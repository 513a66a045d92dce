"""Networks as Flax Linen modules, written to be read beside their papers.

A module is a function of its fields: it reads no config, no flag and no mesh.

Stage I
    vqgan              encoder and decoder, and `VQGAN`, images <-> tokens
    quantizer          residual vector quantisation
    codebook_learning  k-means start, moving averages and restarts of the codebooks
    discriminator      patch discriminator
Stage II
    vq_auface          the whole network: text and reference face -> context -> image tokens
    maskgit            the masked transformer over image tokens
    transformer        its blocks, and the context that conditions them
    token_layout       the two layouts of image tokens in a sequence
    au_attention       AU cross-attention
    t5                 text encoder
    face_encoder       small encoder of the reference face
    label_tokens       AU labels in place of a text
Recognition
    me_graphau         graph network of action units, on the backbones `resnet` and `swin`
    au_text_recognizer reader of action units in texts
    au_probe           small classifier beside a reference face
Shared
    layers             norms, residual blocks, attention layers, gated MLP
"""
