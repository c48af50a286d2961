"""Random live cases for the spiking kernels, and one way to run all four kernels on them."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np
from hypothesis import strategies as st

from refsnn.equations.spiking import SpikingNeuron
from refsnn.equations.surrogates import SURROGATES, Surrogate

Leaves = dict[str, np.ndarray]

# Adjoints, slopes and factors here are sums of terms of order one.  A result that is smaller than this has
# cancelled, and is compared with the terms: in float32 the factor 1 - 0.9999 has no digits left.
SMALLEST_SCALE = 0.05

# Which equations a kernel is compiled for; every option of each kind occurs.
COMPILED_VARIANTS = (
    ("soft", ">=", "sigmoid"),
    ("soft", ">", "arctan"),
    ("hard", ">=", "triangle"),
    ("hard", ">", "fast_sigmoid"),
)
ALL_VARIANTS = tuple(
    (reset, fires, shape) for reset in ("soft", "hard") for fires in (">=", ">") for shape in SURROGATES
)


@dataclass(frozen=True)
class Case:
    """What a run of the kernels depends on; the arrays come from the seed."""

    seed: int
    steps: int
    size: int
    neuron: SpikingNeuron
    window: int
    n_modes: int
    dtype: type

    def arrays(self) -> Leaves:
        """Inputs of all kernels: currents that make the neurons fire, adjoints, states and a basis."""
        rng = np.random.default_rng(self.seed)
        shape, threshold, neuron = (self.steps, self.size), self.neuron.threshold, self.neuron
        basis, _ = np.linalg.qr(rng.standard_normal((self.steps, self.steps)))
        arrays = {
            "current": threshold * rng.normal(0.6, 0.8, shape),
            "potential": neuron.reset_value + threshold * rng.uniform(-0.5, 0.5, self.size),
            "spike_adjoint": rng.standard_normal(shape),
            "potential_adjoint": rng.standard_normal(self.size),
            "basis": basis[:, : self.n_modes].T,
        }
        return {name: np.ascontiguousarray(array.astype(self.dtype)) for name, array in arrays.items()}


@st.composite
def cases(draw, variants=COMPILED_VARIANTS, dtypes=(np.float64,), max_steps=12, max_size=9) -> Case:
    """Cases of the given equations and dtypes; shrinks to one neuron and one step."""
    reset, fires, shape = draw(st.sampled_from(variants))
    threshold = draw(st.floats(0.25, 2.0))
    steps = draw(st.integers(1, max_steps))
    return Case(
        seed=draw(st.integers(0, 2**32 - 1)),
        steps=steps,
        size=draw(st.integers(1, max_size)),
        neuron=SpikingNeuron(
            leak=draw(st.one_of(st.sampled_from([0.0, 0.5, 1.0]), st.floats(0.05, 0.99))),
            threshold=threshold,
            reset=reset,
            reset_value=threshold * draw(st.sampled_from([0.0, -0.3, 0.25])) if reset == "hard" else 0.0,
            detach_reset=draw(st.booleans()),
            fires=fires,
            surrogate=Surrogate(shape, slope=draw(st.floats(0.5, 4.0)), height=draw(st.floats(0.3, 1.2))),
        ),
        window=draw(st.integers(0, max_steps)),
        n_modes=draw(st.integers(1, steps)),
        dtype=draw(st.sampled_from(dtypes)),
    )


def run(kernels: ModuleType, case: Case, aliased: bool = False, split: int | None = None) -> Leaves:
    """All that the five kernels write, by name.

    `aliased` writes results over inputs as the algorithms do; `split` runs the sequence in two pieces with
    carried state.
    """
    pieces = [slice(0, case.steps)] if split is None else [slice(0, split), slice(split, case.steps)]
    return (
        _forward_and_backward(kernels, case, aliased, pieces)
        | _rate(kernels, case, aliased, pieces)
        | _galerkin(kernels, case, aliased, pieces)
        | _count(kernels, case, pieces)
    )


def _forward_and_backward(kernels: ModuleType, case: Case, aliased: bool, pieces: list[slice]) -> Leaves:
    given = case.arrays()
    current, potential = given["current"], given["potential"]
    charged = current if aliased else np.full_like(current, np.nan)
    spikes = np.full_like(current, np.nan)
    for piece in pieces:
        kernels.forward(case.neuron, current[piece], potential, charged[piece], spikes[piece])
    result = {"h": charged.copy(), "s": spikes, "v": potential}

    adjoint = charged if aliased else np.full_like(current, np.nan)
    potential_adjoint = given["potential_adjoint"]
    for piece in reversed(pieces):
        kernels.backward(
            case.neuron, charged[piece], given["spike_adjoint"][piece], potential_adjoint, adjoint[piece],
            case.window,
        )  # fmt: skip
    return result | {"current_adjoint": adjoint, "potential_adjoint": potential_adjoint}


def _rate(kernels: ModuleType, case: Case, aliased: bool, pieces: list[slice]) -> Leaves:
    given = case.arrays()
    current, potential = given["current"], given["potential"]
    spikes = current if aliased else np.full_like(current, np.nan)
    trace, slope_sum, spike_sum = (filler(case.size, case.dtype) for filler in (np.ones, np.zeros, np.zeros))
    margin = np.full(case.size, np.inf, case.dtype)
    for piece in pieces:
        kernels.rate_forward(
            case.neuron, current[piece], potential, trace, slope_sum, spike_sum, margin, spikes[piece]
        )
    return {
        "rate.v": potential, "rate.trace": trace, "rate.slope_sum": slope_sum,
        "rate.spike_sum": spike_sum, "rate.margin": margin, "rate.s": spikes,
    }  # fmt: skip


def _count(kernels: ModuleType, case: Case, pieces: list[slice]) -> Leaves:
    """Under the first step's current; and it is `forward` under a current repeated."""
    given = case.arrays()
    current, potential = given["current"][0].copy(), given["potential"]
    again, start = np.repeat(current[None], case.steps, axis=0), potential.copy()
    spike_sum, margin = np.zeros(case.size, case.dtype), np.full(case.size, np.inf, case.dtype)
    for piece in pieces:
        kernels.count_forward(case.neuron, current, piece.stop - piece.start, potential, spike_sum, margin)
    spikes, charged = np.empty_like(again), np.empty_like(again)
    kernels.forward(case.neuron, again, start, charged, spikes)
    np.testing.assert_array_equal(start, potential)
    np.testing.assert_array_equal(spikes.sum(axis=0), spike_sum)
    np.testing.assert_array_equal(np.abs(charged - case.dtype(case.neuron.threshold)).min(axis=0), margin)
    return {"count.v": potential, "count.spike_sum": spike_sum, "count.margin": margin}


def _galerkin(kernels: ModuleType, case: Case, aliased: bool, pieces: list[slice]) -> Leaves:
    given, modes, size = case.arrays(), case.n_modes, case.size
    current, potential = given["current"], given["potential"]
    spikes = current if aliased else np.full_like(current, np.nan)
    traces, factor = np.zeros((modes, size), case.dtype), np.zeros(size, case.dtype)
    gains, coefficients = np.zeros((modes, modes, size), case.dtype), np.zeros((modes, size), case.dtype)
    margin = np.full(size, np.inf, case.dtype)
    for piece in pieces:
        kernels.galerkin_forward(
            case.neuron, current[piece], np.ascontiguousarray(given["basis"][:, piece]), potential,
            traces, factor, gains, coefficients, margin, spikes[piece],
        )  # fmt: skip
    return {
        "galerkin.v": potential, "galerkin.traces": traces, "galerkin.factor": factor,
        "galerkin.gains": gains, "galerkin.coefficients": coefficients, "galerkin.margin": margin,
        "galerkin.s": spikes,
    }  # fmt: skip


def assert_leaves_agree(found: Leaves, expected: Leaves, relative: float) -> None:
    """Same names, dtypes and shapes; spikes and potentials exactly, the rest relative to its largest."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        other = found[name]
        assert (other.dtype, other.shape) == (value.dtype, value.shape), name
        assert np.isfinite(other).all(), name
        if relative == 0 or name.split(".")[-1] in ("s", "h", "v", "spike_sum"):
            np.testing.assert_array_equal(other, value, err_msg=name)
        else:
            error = np.abs(other - value).max() / max(np.abs(value).max(), SMALLEST_SCALE)
            assert error <= relative, (
                f"{name}: off by {error:.1e} of its largest entry, allowed {relative:.0e}"
            )
