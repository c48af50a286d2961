"""Claims of the LSNN (Bellec et al. 2018), by idea; importing registers them."""

# isort: off
from validation.claims.lsnn import forward, smooth, forward_mode, fixed_pattern, one_hop
from validation.claims.lsnn import (
    symmetries,
    degenerate,
    thresholds,
    horizon,
    eligibility,
    sparse,
    rewiring,
    units,
    controls,
)

__all__ = [
    "controls",
    "degenerate",
    "eligibility",
    "fixed_pattern",
    "forward",
    "forward_mode",
    "horizon",
    "one_hop",
    "rewiring",
    "smooth",
    "sparse",
    "symmetries",
    "thresholds",
    "units",
]
