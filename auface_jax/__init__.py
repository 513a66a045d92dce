"""Faces that follow anatomical descriptions: action units, text, tokens, images.

Reading order, which is the order data flows in:
    facs          the twelve action units, their interactions, and labels -> text
    faces         open faces drawn from muscles, with exact labels
    data          records, shards, tokenised batches
    models        quantiser, VQGAN, discriminator, cross-attention, MaskGIT: what is trained
    pretrained    networks with public weights
    metrics       figures by which faces are judged
    masking, losses, loss_networks, gate, decode
                  the mathematics between the networks
    distributed, sharding, state, checkpoints, json_files, interrupts, guard, log, profiling,
    run_config, config_check, compiled
                  what a run is made of, and what its steps cost
    pictures, batching, presets
                  what several of the rest use
    encoders, synthesis, held_out
                  pre-trained encoders of text and face; both stages put together; held-out records
                  to compare on
    tasks         one file a training task: pure init, step and evaluate functions
    prerequisites, train
                  the runs that a run builds on; the story from configuration to saved run
    generator, decode_arguments, generate, export
                  faces from a finished run: as a function, from the command line, elsewhere
    evaluation, evaluate
                  what a system's pictures are worth: this one's runs, or any other's
    reproduction, reproduce
                  the paper's tables of generation on open faces, from one command
    reconstruct   pictures through Stage I's codes and back, measured
    recognize     pictures and videos -> probabilities of the units; `frames` reads them
    cross_validate
                  a recogniser once a fold of people
    describe      labels -> text, from the command line

Letters in shapes, types, einsums and comments:
    B  batch              N  image positions      D  width
    H  image height       L  text tokens          K  codes of a codebook
    W  image width        S  context tokens       Q  residual levels
    C  channels           A  action units (12)    V  vocabulary

Images are float32 [B, H, W, C] in [-1, 1] in models and uint8 in records; labels are int8 [A] in
{0, 1}; intensities are float32 [A] in [0, 1].
"""

__version__ = "0.1.0"
