"""The claims, one module a paper; importing this package registers them all."""

from validation.claims import (
    equilibrium_propagation,
    memory_efficient_bptt,
    ottt,
    rate_backpropagation,
)

__all__ = ["equilibrium_propagation", "memory_efficient_bptt", "ottt", "rate_backpropagation"]
