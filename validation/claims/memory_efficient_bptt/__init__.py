"""Claims of memory-efficient BPTT (Gruslys et al. 2016), by idea; importing registers them."""

# isort: off
from validation.claims.memory_efficient_bptt import tables, growth, optimality, counting, package
from validation.claims.memory_efficient_bptt import two_levels, unknown_length
from validation.claims.memory_efficient_bptt import (
    gradients,
    agreement,
    independent,
    memory,
    wrong_copies,
    controls,
)

__all__ = [
    "agreement",
    "controls",
    "counting",
    "gradients",
    "growth",
    "independent",
    "memory",
    "optimality",
    "package",
    "tables",
    "two_levels",
    "unknown_length",
    "wrong_copies",
]
