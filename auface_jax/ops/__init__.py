"""Operations that are written for speed, under the names that textbooks give them.

The first line of each docstring is the plain definition of the operation, and `tests/ops` holds
the implementation to that line, in value and gradient. `benchmarks/workarounds.py` measures each
implementation beside the plain one.

    attention           attention, softmax(q kᵀ / √C) v
    matrix_product      x W; `Dense` and `FusedDense` are linear layers made of it
    GroupNorm           group normalisation
    cross_entropy       cross-entropy with label smoothing
    nearest_code        argmin |v - c|² over a codebook
    inverse_cdf_sample  a sample of softmax(logits) from one uniform number
    argmax              the index of the largest logit
    top_k_top_p_filter  logits outside the top k, or the nucleus of mass p, set to -inf
    row_padding         entries to append to matrix rows so that a CPU caches them well
    is_split, batch_axes    questions to the mesh in force, see `partitioning`
"""
