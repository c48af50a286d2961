"""Tests of gradients, for other people's code too: NumPy, torch and JAX arrays alike.

    assert_gradients_match            against complex step or five-point differences, leaf by leaf
    assert_surrogate_gradients_match  the same for spikes: through affine spikes, which have a true derivative
    taylor_slopes, assert_taylor_slope    slope 2 if and only if right
    assert_adjoint                    the dot test of a forward and a backward derivative
    assert_leaves_match               two sets of gradients
    assert_alive                      gradients, firing rates and margins that make a check worth something
    assert_caught, planted, caught    that a check fails on wrong gradients

`refsnn.testing.strategies` draws live examples with hypothesis, which ``pip install refsnn[testing]`` brings;
the pytest plugin has ``--refsnn-examples`` and ``--refsnn-seed``.  The tutorial is docs/testing.md.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from refsnn.testing.adjoint import assert_adjoint
    from refsnn.testing.comparison import assert_leaves_match
    from refsnn.testing.errors import GradientMismatch, NotCaught, OtherLeaves, VacuousCheck
    from refsnn.testing.gradients import assert_gradients_match
    from refsnn.testing.liveness import assert_alive
    from refsnn.testing.mistakes import MISTAKES, Planted, assert_caught, caught, planted
    from refsnn.testing.spikes import AffineSpikes, assert_surrogate_gradients_match
    from refsnn.testing.taylor import assert_taylor_slope, taylor_slopes

# Where each name is; looked up at first use, so that pytest can load the plugin without NumPy and Numba.
_HOMES = {
    "assert_adjoint": "adjoint",
    "assert_leaves_match": "comparison",
    "GradientMismatch": "errors",
    "NotCaught": "errors",
    "OtherLeaves": "errors",
    "VacuousCheck": "errors",
    "assert_gradients_match": "gradients",
    "assert_alive": "liveness",
    "MISTAKES": "mistakes",
    "Planted": "mistakes",
    "assert_caught": "mistakes",
    "caught": "mistakes",
    "planted": "mistakes",
    "AffineSpikes": "spikes",
    "assert_surrogate_gradients_match": "spikes",
    "assert_taylor_slope": "taylor",
    "taylor_slopes": "taylor",
}

__all__ = [
    "MISTAKES",
    "AffineSpikes",
    "GradientMismatch",
    "NotCaught",
    "OtherLeaves",
    "Planted",
    "VacuousCheck",
    "assert_adjoint",
    "assert_alive",
    "assert_caught",
    "assert_gradients_match",
    "assert_leaves_match",
    "assert_surrogate_gradients_match",
    "assert_taylor_slope",
    "caught",
    "planted",
    "taylor_slopes",
]


def __getattr__(name: str) -> Any:
    """The public names, and where they are.

    Raises
    ------
    AttributeError
        For any other name.
    """
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
