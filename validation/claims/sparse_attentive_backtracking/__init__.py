"""Claims of sparse attentive backtracking (Ke et al. 2018), by idea; importing registers them."""

# isort: off
from validation.claims.sparse_attentive_backtracking import (
    vector,
    frozen,
    forward_mode,
    truncated,
    degenerate,
)
from validation.claims.sparse_attentive_backtracking import reach, sparsifiers, batches, chunks

__all__ = [
    "batches",
    "chunks",
    "degenerate",
    "forward_mode",
    "frozen",
    "reach",
    "sparsifiers",
    "truncated",
    "vector",
]
