"""One layer of spiking neurons with its currents: what a test of somebody's layer is run on.

Besides typical cases there are the awkward ones at which implementations differ, each by its name.  Those
that are about the threshold itself use dyadic numbers, so that equality is exact in every precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from hypothesis import event
from hypothesis import strategies as st

from refsnn import checks
from refsnn.equations.spiking import SpikingNeuron
from refsnn.equations.surrogates import SURROGATES
from refsnn.testing.drives import currents_at_rate, potentials
from refsnn.testing.strategies.parts import seeds, shapes, spiking_neurons

AWKWARD = (
    "exact threshold",
    "residual above threshold",
    "silent",
    "saturated",
    "strongly negative",
    "carried state",
    "zero upstream",
)


_ALIVE = 1e-3  # the largest psi of a typical case, over its height


@dataclass(frozen=True)
class LayerCase:
    """A layer, what drives it, and the weights of a loss sum(upstream * spikes) + sum(last * potential).

    Attributes
    ----------
    seed : int
        Of all arrays.
    kind : str
        "typical" or one of `AWKWARD`.
    neuron : SpikingNeuron
        The layer.
    current : ndarray, shape (T, B, N)
        What it gets.
    potential : ndarray, shape (B, N)
        Its state before the first step.
    upstream : ndarray, shape (T, B, N)
        dL/ds.
    last : ndarray, shape (B, N)
        dL/dv behind the last step.
    """

    seed: int
    kind: str
    neuron: SpikingNeuron
    current: np.ndarray = field(repr=False)
    potential: np.ndarray = field(repr=False)
    upstream: np.ndarray = field(repr=False)
    last: np.ndarray = field(repr=False)

    def loss(self, current: Any, potential: Any, *, spike: Any, detach: Any) -> Any:
        """The layer's loss for the affine-spike oracle: the f of `assert_surrogate_gradients_match`.

        Parameters
        ----------
        current, potential : ndarray
            As the attributes.
        spike, detach : callable
            As the oracle gives them.

        Returns
        -------
        float or complex
        """
        neuron, total = self.neuron, 0.0
        leak, threshold, reset_value, _, _, _, one = neuron.constants(np.real(current).dtype)
        charge, _, reset, _, _ = neuron.equations
        v = potential
        for t in range(len(self.current)):
            h = charge(v, current[t], leak, reset_value, one)
            s = spike(h - threshold)
            v = reset(h, detach(s) if neuron.detach_reset else s, threshold, reset_value, one)
            total = total + (self.upstream[t] * s).sum()
        return total + (self.last * v).sum()

    @property
    def arguments(self) -> tuple[np.ndarray, np.ndarray]:
        """What `loss` is differentiated by."""
        return self.current, self.potential

    @property
    def spikes(self) -> np.ndarray:
        """Of the binary layer, (T, B, N)."""
        return potentials(self.neuron, self.current, self.potential)[1]

    @property
    def margin(self) -> float:
        """Smallest distance from the threshold."""
        charged = potentials(self.neuron, self.current, self.potential)[0]
        return float(np.abs(charged - charged.dtype.type(self.neuron.threshold)).min())

    def __repr__(self) -> str:
        steps, batch, width = self.current.shape
        return (
            f"layer_case(seed={self.seed}, shape=({steps}, {batch}, {width}), kind={self.kind!r}, "
            f"neuron={self.neuron!r}, dtype={str(self.current.dtype)!r})"
        )

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """For hypothesis, which prints the fields of a dataclass otherwise."""
        printer.text(repr(self))


def layer_case(
    seed: int,
    shape: tuple[int, int, int],
    kind: str = "typical",
    neuron: SpikingNeuron | None = None,
    dtype: Any = np.float64,
) -> LayerCase:
    """The case that a seed makes.

    Parameters
    ----------
    seed : int
        Of all arrays.
    shape : tuple of int
        (T, B, N).
    kind : str
        "typical", or one of `AWKWARD`.  In a typical case some neurons fire and some do not, and psi is not 0
        everywhere (unless it is too narrow for that).
    neuron : SpikingNeuron, optional
        The layer.  For "exact threshold" and "residual above threshold" leak and threshold become dyadic, and
        the second resets softly.
    dtype : dtype
        float32 or float64.

    Returns
    -------
    LayerCase

    Raises
    ------
    ValueError
        For an unknown kind.

    Examples
    --------
    >>> case = layer_case(0, (3, 1, 2), "exact threshold")
    >>> case.margin, case.kind
    (0.0, 'exact threshold')
    """
    checks.choice("kind", kind, ("typical", *AWKWARD))
    neuron, rng = neuron or SpikingNeuron(leak=0.9), np.random.default_rng(seed)
    dtype = checks.float_dtype("dtype", dtype)
    upstream, last = (rng.standard_normal(size).astype(dtype) for size in (shape, shape[1:]))
    potential = np.full(shape[1:], neuron.reset_value, dtype)
    if kind == "carried state":
        potential = (neuron.threshold * rng.uniform(-0.75, 0.75, shape[1:])).astype(dtype)
    if kind in ("exact threshold", "residual above threshold"):
        neuron, current = _dyadic(rng, neuron, shape, kind)
        potential = np.full(shape[1:], neuron.reset_value, dtype)
    elif kind in ("silent", "saturated", "strongly negative"):
        current = _one_sided(rng, neuron, shape, kind)
    else:
        current = _live(rng, neuron, shape, potential)
    if kind == "zero upstream":
        upstream = np.zeros(shape, dtype)
    return LayerCase(seed, kind, neuron, current.astype(dtype), potential, upstream, last)


def _live(
    rng: np.random.Generator, neuron: SpikingNeuron, shape: tuple[int, ...], potential: np.ndarray
) -> np.ndarray:
    """Currents at a rate, drawn again where psi is 0 at every potential: it may end near the threshold."""
    psi, constants = (
        SURROGATES[neuron.surrogate.shape],
        (neuron.surrogate.slope, neuron.surrogate.height, 1.0),
    )
    for _ in range(20):
        rate = float(rng.uniform(0.15, 0.6))
        current = currents_at_rate(rng, neuron, shape, rate=rate, potential=potential, dtype=potential.dtype)
        charged = potentials(neuron, current, potential)[0]
        if psi(charged - neuron.threshold, *constants).max() > _ALIVE * neuron.surrogate.height:
            break
    return current


def _dyadic(
    rng: np.random.Generator, neuron: SpikingNeuron, shape: tuple[int, ...], kind: str
) -> tuple[SpikingNeuron, np.ndarray]:
    """Sums of powers of two: potentials that are exactly the threshold, or above it after the reset."""
    reset = "soft" if kind == "residual above threshold" else neuron.reset
    neuron = replace(
        neuron, leak=0.5, threshold=1.0, reset=reset, reset_value=-0.25 if reset == "hard" else 0.0
    )
    if kind == "residual above threshold":
        current = rng.integers(0, 10, shape) / 4.0 + 0.125
        current[0].flat[0] = 2.375  # 1.375 is left
        return neuron, current
    current = rng.integers(-2, 7, shape) / 4.0
    current[0].flat[0] = 1.0 - neuron.reset_value  # from rest exactly to the threshold
    return neuron, current


def _one_sided(
    rng: np.random.Generator, neuron: SpikingNeuron, shape: tuple[int, ...], kind: str
) -> np.ndarray:
    """Never a spike, always one, or thrown far below the threshold."""
    unit = neuron.threshold - neuron.reset_value
    if kind == "silent":  # with leak 1 the sum must stay below, too
        return 0.8 / shape[0] * unit * rng.uniform(0.2, 1.0, shape)
    if kind == "saturated":
        return unit * rng.uniform(2.2, 3.0, shape)
    far_below = -unit * rng.uniform(3.0, 8.0, shape)
    return np.where(rng.random(shape) < 0.5, far_below, unit * rng.uniform(1.5, 3.0, shape))


@st.composite
def layers(
    draw: st.DrawFn,
    kinds: Sequence[str] = ("typical", "carried state"),
    neurons: st.SearchStrategy[SpikingNeuron] | None = None,
    shape: st.SearchStrategy[tuple[int, int, int]] | None = None,
    dtype: Any = np.float64,
) -> LayerCase:
    """Layers with currents, of the kinds asked for; each kind is counted.

    Parameters
    ----------
    draw : callable
        Given by hypothesis.
    kinds : sequence of str
        "typical" and those of `AWKWARD`; ``("typical", *AWKWARD)`` for all.
    neurons : strategy, optional
        Any by default.
    shape : strategy, optional
        Of (T, B, N).
    dtype : dtype
        float32 or float64.

    Returns
    -------
    LayerCase
    """
    kind = draw(st.sampled_from(list(kinds)))
    size = draw(shapes() if shape is None else shape)
    if kind in ("typical", "carried state", "zero upstream") and int(np.prod(size)) < 2:
        size = (2, *size[1:])  # one number cannot both fire and not
    neuron = draw(spiking_neurons() if neurons is None else neurons)
    event(f"layer: {kind}")
    return layer_case(draw(seeds()), size, kind, neuron, dtype)
