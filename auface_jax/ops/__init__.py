"""Operations that are written for speed, behind the names that textbooks give them.

Each public function's docstring is its plain definition, and `tests/ops` holds it to that.

    attention       softmax(q kᵀ / √C) v
    fused_linear    x W, for several W at once
    group_norm      group normalisation
    cross_entropy   cross-entropy with label smoothing
    nearest_code    argmin |v - c|²
    sampling        inverse-CDF sampling and argmax
    row_padding     padding that keeps rows apart in a CPU's caches
    partitioning    which dimensions the mesh in force splits
"""
