"""The claims, one module a paper; importing this package registers them all."""

from validation.claims import (
    equilibrium_propagation,
    lsnn,
    manifold_spiking_gnn,
    memory_efficient_bptt,
    ottt,
    rate_backpropagation,
    sparse_attentive_backtracking,
)

__all__ = [
    "equilibrium_propagation",
    "lsnn",
    "manifold_spiking_gnn",
    "memory_efficient_bptt",
    "ottt",
    "rate_backpropagation",
    "sparse_attentive_backtracking",
]
