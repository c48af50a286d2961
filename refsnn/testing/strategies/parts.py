"""The small parts: seeds, dtypes, shapes, surrogates, neurons, and currents that make these fire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import event
from hypothesis import strategies as st

from refsnn.equations.spiking import SpikingNeuron
from refsnn.equations.surrogates import SURROGATES, Surrogate
from refsnn.testing.drives import currents_at_rate

RESETS, FIRES = ("soft", "hard"), (">=", ">")


def seeds() -> st.SearchStrategy[int]:
    """Seeds of a generator; shrinks to 0.

    Examples
    --------
    >>> isinstance(seeds(), st.SearchStrategy)
    True
    """
    return st.integers(0, 2**32 - 1)


def dtypes(both: bool = True) -> st.SearchStrategy[np.dtype]:
    """float64 and, if `both`, float32.

    Examples
    --------
    >>> isinstance(dtypes(), st.SearchStrategy)
    True
    """
    return st.sampled_from([np.dtype(kind) for kind in (np.float64, np.float32)[: 1 + both]])


@st.composite
def shapes(
    draw: st.DrawFn,
    steps: tuple[int, int] = (1, 8),
    batch: tuple[int, int] = (1, 3),
    widths: tuple[int, int] = (1, 5),
) -> tuple[int, int, int]:
    """(T, B, N) within the bounds; the corners T = 1, B = 1 and N = 1 are counted.

    Parameters
    ----------
    draw : callable
        Given by hypothesis.
    steps, batch, widths : tuple of int
        Least and largest.

    Returns
    -------
    tuple of int
    """
    shape = draw(st.integers(*steps)), draw(st.integers(*batch)), draw(st.integers(*widths))
    for name, size in zip(("one step", "batch of one", "one neuron"), shape, strict=True):
        if size == 1:
            event(name)
    return shape


@st.composite
def surrogates(
    draw: st.DrawFn,
    kinds: Sequence[str] = tuple(SURROGATES),
    slopes: tuple[float, float] = (0.3, 4.0),
    heights: tuple[float, float] = (0.3, 1.2),
) -> Surrogate:
    """psi of every shape; no slope so steep that all gradients are drowned.

    Parameters
    ----------
    draw : callable
        Given by hypothesis.
    kinds : sequence of str
        Of `SURROGATES`.
    slopes, heights : tuple of float
        Least and largest.

    Returns
    -------
    Surrogate
    """
    shape = draw(st.sampled_from(list(kinds)))
    return Surrogate(shape, slope=draw(_rounded(*slopes)), height=draw(_rounded(*heights)))


@st.composite
def spiking_neurons(
    draw: st.DrawFn,
    resets: Sequence[str] = RESETS,
    fires: Sequence[str] = FIRES,
    detached: Sequence[bool] = (True, False),
    surrogate: st.SearchStrategy[Surrogate] | None = None,
    leaks: tuple[float, float] = (0.0, 1.0),
    thresholds: Sequence[float] = (1.0, 0.6, 1.7),
) -> SpikingNeuron:
    """LIF and IF neurons: both resets, both comparisons, the reset detached or not, any surrogate.

    Parameters
    ----------
    draw : callable
        Given by hypothesis.
    resets, fires, detached : sequence
        Options to choose from.
    surrogate : strategy, optional
        Of psi; any by default.
    leaks : tuple of float
        Least and largest.
    thresholds : sequence of float
        To choose from.

    Returns
    -------
    SpikingNeuron
    """
    reset, threshold = draw(st.sampled_from(list(resets))), draw(st.sampled_from(list(thresholds)))
    ends = [leak for leak in (0.5, 0.0, 1.0) if leaks[0] <= leak <= leaks[1]]
    leak = draw(st.one_of(st.sampled_from(ends), _rounded(*leaks)) if ends else _rounded(*leaks))
    neuron = SpikingNeuron(
        leak=leak,
        threshold=threshold,
        reset=reset,
        reset_value=threshold * draw(st.sampled_from([0.0, -0.25])) if reset == "hard" else 0.0,
        detach_reset=draw(st.sampled_from(list(detached))),
        fires=draw(st.sampled_from(list(fires))),
        surrogate=draw(surrogates() if surrogate is None else surrogate),
    )
    event(f"{reset} reset, {'detached' if neuron.detach_reset else 'attached'}")
    return neuron


@st.composite
def currents(
    draw: st.DrawFn,
    shape: tuple[int, ...],
    neuron: SpikingNeuron | None = None,
    rate: float | tuple[float, float] = (0.1, 0.6),
    margin: float = 1e-3,
    dtype: Any = np.float64,
) -> np.ndarray:
    """Currents under which a neuron fires at a wanted rate; arrays are made from a drawn seed.

    Parameters
    ----------
    draw : callable
        Given by hypothesis.
    shape : tuple of int
        (T, ...).
    neuron : SpikingNeuron, optional
        What is driven.
    rate : float or tuple of float
        Share of spikes, or its bounds.
    margin : float
        Least distance from the threshold, in its units.
    dtype : dtype
        float32 or float64.

    Returns
    -------
    ndarray
    """
    wanted = draw(_rounded(*rate)) if isinstance(rate, tuple) else rate
    rng = np.random.default_rng(draw(seeds()))
    driven = SpikingNeuron(leak=0.9) if neuron is None else neuron
    return currents_at_rate(rng, driven, shape, rate=wanted, margin=margin, dtype=dtype)


def _rounded(low: float, high: float) -> st.SearchStrategy[float]:
    """Numbers with two digits behind the point: short to read in a failure, and as good as any."""
    return st.integers(round(100 * low), round(100 * high)).map(lambda hundredths: hundredths / 100)
