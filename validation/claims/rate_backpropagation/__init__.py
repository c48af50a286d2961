"""Claims of rate-based backpropagation (Yu et al. 2024) on dense stacks and deep graphs."""

from validation.claims.rate_backpropagation import (
    approximations,
    controls,
    decorrelation,
    equalities,
    graphs,
    independent,
    online_relatives,
    relations,
    step_normalisation,
    theorem,
)

__all__ = [
    "approximations",
    "controls",
    "decorrelation",
    "equalities",
    "graphs",
    "independent",
    "online_relatives",
    "relations",
    "step_normalisation",
    "theorem",
]
