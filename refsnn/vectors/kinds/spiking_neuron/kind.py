"""One layer of leaky integrate-and-fire neurons: spikes, the gradient through time, and the rate Jacobian."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from refsnn.equations.spiking import SpikingNeuron
from refsnn.equations.surrogates import SURROGATES, Surrogate
from refsnn.kernels import spiking_kernels
from refsnn.vectors.case import Case, Hyperparameters, Kind, Leaf, Leaves, Problem, Solution
from refsnn.vectors.kinds.spiking_neuron.mistakes import MISTAKES, wrongly

_STEP = 1e-30
_EQUATIONS = "refsnn/equations/spiking.py"
_TOLERANCE = 1e-12
LEAVES = tuple(
    Leaf(path, shape, meaning, equation, 0.0 if path == "states/spikes" else _TOLERANCE)
    for path, shape, meaning, equation in (
        ("states/charged", "(T, M)", "h_t, before the reset", f"h_t = leak v_{{t-1}} + I_t, {_EQUATIONS}"),
        ("states/spikes", "(T, M)", "s_t", f"s_t = H(h_t - threshold), {_EQUATIONS}"),
        ("states/potential", "(M,)", "v_T, after the last reset", f"v_t = h_t - threshold s_t, {_EQUATIONS}"),
        ("loss", "()", "the sum of spike_adjoint times s_t", "L = sum_t a_t s_t"),
        ("gradients/current", "(T, M)", "dL/dI_t", f"dL/dh_t = a_t psi_t + dL/dv_t dv_t/dh_t, {_EQUATIONS}"),
        ("gradients/start", "(M,)", "dL/dv_0", f"dL/dv_{{t-1}} = leak dL/dh_t, {_EQUATIONS}"),
        ("rate", "(M,)", "the mean of s_t over time", "r = (1/T) sum_t s_t (Yu 2024, Eq. 5)"),
        (
            "rate_jacobian",
            "(M,)",
            "the slope of the rate by a current that is the same at every step",
            f"g = (1/T) sum_t psi_t rho_t (Yu 2024, Eqs. 8 and 9), {_EQUATIONS}",
        ),
    )
)
INPUTS = {
    "leak": "share of the potential that survives a step",
    "threshold": "potential at which it fires",
    "reset": "'soft' subtracts the threshold; 'hard' sets the potential to reset_value and leaks towards it",
    "reset_value": "where a hard reset goes",
    "detach_reset": "whether the gradient takes the spike in the reset for a constant",
    "fires": "'>=' or '>'",
    "surrogate.shape": f"psi, the slope of a spike: {', '.join(SURROGATES)} (refsnn/equations/surrogates.py)",
    "surrogate.slope": "one over the width of psi, per unit of potential",
    "surrogate.height": "psi at the threshold",
    "inputs/current": "(T, M): I_t",
    "inputs/start": "(M,): v_0",
    "inputs/spike_adjoint": "(T, M): a_t = dL/ds_t from above",
}


def hyperparameters(neuron: SpikingNeuron) -> Hyperparameters:
    """A neuron's constants, as they are written.

    Parameters
    ----------
    neuron : SpikingNeuron
        The neuron.

    Returns
    -------
    dict

    Examples
    --------
    >>> neuron_of(hyperparameters(SpikingNeuron(0.9))) == SpikingNeuron(0.9)
    True
    """
    names = ("leak", "threshold", "reset", "reset_value", "detach_reset", "fires")
    own = {name: getattr(neuron, name) for name in names}
    return own | {
        f"surrogate.{name}": getattr(neuron.surrogate, name) for name in ("shape", "slope", "height")
    }


def neuron_of(constants: Hyperparameters, prefix: str = "") -> SpikingNeuron:
    """The neuron of a case.

    Parameters
    ----------
    constants : dict
        Of `hyperparameters`.
    prefix : str
        What stands before each name.

    Returns
    -------
    SpikingNeuron
    """
    own = {
        name: constants[prefix + name]
        for name in ("leak", "threshold", "reset", "reset_value", "detach_reset", "fires")
    }
    parts = {name: constants[f"{prefix}surrogate.{name}"] for name in ("shape", "slope", "height")}
    return SpikingNeuron(**own, surrogate=Surrogate(**parts))


def solve(problem: Problem, backend: str) -> Solution:
    """Run the kernels of a backend.

    Parameters
    ----------
    problem : Problem
        Of a case.
    backend : {"plain", "cpu", "cuda"}
        Whose kernels.

    Returns
    -------
    Solution
    """
    kernels, neuron = spiking_kernels(backend), neuron_of(problem.hyperparameters)
    current, start, upstream = (problem.inputs[name] for name in ("current", "start", "spike_adjoint"))
    charged, spikes, current_adjoint = (np.empty_like(current) for _ in range(3))
    potential, start_adjoint = start.copy(), np.zeros_like(start)
    kernels.forward(neuron, current, potential, charged, spikes)
    kernels.backward(neuron, charged, upstream, start_adjoint, current_adjoint, 0)
    trace, margin = np.ones_like(start), np.full_like(start, np.inf)
    slope_sum, spike_sum = np.zeros_like(start), np.zeros_like(start)
    kernels.rate_forward(
        neuron, current, start.copy(), trace, slope_sum, spike_sum, margin, np.empty_like(current)
    )
    steps = len(current)
    leaves = {
        "states/charged": charged,
        "states/spikes": spikes,
        "states/potential": potential,
        "loss": np.asarray((upstream * spikes).sum()),
        "gradients/current": current_adjoint,
        "gradients/start": start_adjoint,
        "rate": spike_sum / steps,
        "rate_jacobian": slope_sum / steps,
    }
    return Solution(leaves, float(margin.min()))


def truth(problem: Problem) -> Leaves:
    """The gradients as derivatives of the layer with affine spikes, by complex step.

    Parameters
    ----------
    problem : Problem
        Of a case, float64.

    Returns
    -------
    dict of str to ndarray
    """
    neuron = neuron_of(problem.hyperparameters)
    current, start, upstream = (problem.inputs[name] for name in ("current", "start", "spike_adjoint"))
    h0, s0 = _spikes(neuron, current, start)
    # along the second axis one run a step: an imaginary step in the current of that step alone
    one_step = np.eye(len(current))[:, :, None]
    nominal = h0[:, None], s0[:, None]
    _, spikes = _spikes(neuron, current[:, None] + 1j * _STEP * one_step, start, nominal)
    _, by_start = _spikes(neuron, current, start + 1j * _STEP, (h0, s0))
    _, by_all = _spikes(neuron, current + 1j * _STEP, start, (h0, s0))
    return {
        "states/charged": h0,
        "states/spikes": s0,
        "loss": np.asarray((upstream * s0).sum()),
        "gradients/current": (upstream[:, None] * spikes.imag).sum(axis=0) / _STEP,
        "gradients/start": (upstream * by_start.imag).sum(axis=0) / _STEP,
        "rate": s0.mean(axis=0),
        "rate_jacobian": by_all.imag.mean(axis=0) / _STEP,
    }


def _spikes(
    neuron: SpikingNeuron, current: np.ndarray, start: np.ndarray, nominal: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """h and s of all steps; with affine spikes around a nominal run where one is given."""
    charge, fire, reset, _, surrogate = neuron.equations
    leak, threshold, reset_value, attached, slope, height, one = neuron.constants(np.float64)
    h, s = np.empty((2, *current.shape), np.result_type(current, start))
    potential = start
    for t, entering in enumerate(current):
        h[t] = charge(potential, entering, leak, reset_value, one)
        if nominal is None:
            s[t] = in_reset = fire(h[t], threshold, one)
        else:
            h0, s0 = nominal[0][t], nominal[1][t]
            s[t] = s0 + surrogate(h0 - threshold, slope, height, one) * (h[t] - h0)
            in_reset = s[t] if attached else s0
        potential = reset(h[t], in_reset, threshold, reset_value, one)
    return h, s


NEURONS = {
    "soft-detached": SpikingNeuron(0.9),
    "soft-attached": SpikingNeuron(0.9, detach_reset=False, surrogate=Surrogate("arctan", np.pi, 1.0)),
    "hard-detached": SpikingNeuron(0.7, reset="hard", surrogate=Surrogate("triangle", 1.0, 0.3)),
    "hard-attached": SpikingNeuron(0.7, 1.2, reset="hard", reset_value=-0.25, detach_reset=False),
}


def cases(large: bool) -> Iterator[Case]:
    """Live layers of all four resets, every surrogate, and what goes wrong at the edges.

    Parameters
    ----------
    large : bool
        Wider and longer ones in addition.

    Yields
    ------
    Case
    """
    rng = np.random.default_rng(20190101)
    for name, neuron in NEURONS.items():
        yield _case(
            rng,
            f"random/{name}",
            "four resets on live neurons",
            neuron,
            rng.normal(0.4, 0.8, (12, 8)),
            "random",
        )
        first = rng.normal(0.4, 0.8, (6, 4))
        yield _case(
            rng,
            f"carried/{name}",
            "a state that is not that of rest",
            neuron,
            first,
            start=rng.normal(0, 0.4, 4),
        )
        rest = np.full(4, neuron.reset_value)
        first_call = Problem(
            hyperparameters(neuron), {"current": first, "start": rest, "spike_adjoint": np.ones_like(first)}
        )
        ended = solve(first_call, "plain").leaves["states/potential"]
        yield _case(
            rng,
            f"two-calls/{name}",
            "goes on where a call with other inputs ended",
            neuron,
            rng.normal(0.4, 0.8, (6, 4)),
            "two-calls",
            start=ended,
        )
    for shape in SURROGATES:
        neuron = SpikingNeuron(0.8, 0.9, detach_reset=False, surrogate=Surrogate(shape, 1.5, 0.7))
        yield _case(
            rng, f"surrogate/{shape}", "the shape of psi", neuron, rng.normal(0.3, 0.8, (8, 6)), "random"
        )
    yield from _awkward(rng)
    if large:
        for name, neuron in NEURONS.items():
            current = rng.normal(0.3, 0.6, (400, 64))
            yield _case(rng, f"wide/{name}", "many neurons, many steps", neuron, current, "random", "long")


def _awkward(rng: np.random.Generator) -> Iterator[Case]:
    halves = SpikingNeuron(0.5)  # halves and quarters are exact in every binary format
    current: Any
    dyadic = [[0.5], [0.75], [0.0], [1.0], [1.0]]
    at = "h_t equals the threshold to the last bit"
    yield _case(rng, "threshold/at-or-above", at, halves, dyadic, "exact-threshold")
    yield _case(rng, "threshold/above", at, SpikingNeuron(0.5, fires=">"), dyadic, "exact-threshold")
    current = [[3.5, 2.25], [0.0, 0.0], [0.0, 0.0]]
    again = "one threshold is not enough: the neuron fires again"
    yield _case(rng, "residual/soft", again, halves, current, "residual-above-threshold")
    attached, hard = NEURONS["soft-attached"], NEURONS["hard-detached"]
    yield _case(rng, "silent/soft", "psi far from the threshold", attached, -5 * rng.random((6, 4)), "silent")
    yield _case(rng, "saturated/hard", "a spike at every step", hard, 1.5 + rng.random((6, 4)), "saturated")
    yield _case(rng, "one-step/soft", "T = 1", NEURONS["soft-detached"], [[1.25]], "saturated")
    current = rng.normal(0.4, 0.8, (5, 3))
    zero = np.zeros((5, 3))
    yield _case(
        rng,
        "zero-upstream/hard",
        "nothing may come back",
        NEURONS["hard-attached"],
        current,
        spike_adjoint=zero,
    )
    integrator = SpikingNeuron(1.0, 0.8, detach_reset=False)
    yield _case(rng, "integrator/soft", "no leak", integrator, rng.normal(0.2, 0.6, (10, 5)), "random")
    memoryless = SpikingNeuron(0.0, reset="hard", reset_value=0.25)
    yield _case(
        rng, "memoryless/hard", "all is forgotten", memoryless, rng.normal(0.4, 0.9, (10, 5)), "random"
    )
    current = rng.normal(0.2, 0.5, (1000, 4))
    yield _case(rng, "long/soft-attached", "the state is fed back a thousand times", attached, current)


def _case(
    rng: np.random.Generator,
    name: str,
    purpose: str,
    neuron: SpikingNeuron,
    current: Any,
    *flags: str,
    **other: Any,
) -> Case:
    current = np.atleast_2d(np.asarray(current, dtype=float))
    inputs = {
        "current": current,
        "start": np.full(current.shape[1], neuron.reset_value),
        "spike_adjoint": rng.standard_normal(current.shape),
    } | other
    of_the_inputs = {
        "attached-reset": not neuron.detach_reset,
        "reset-value": neuron.reset_value != 0,
        "one-step": len(current) == 1,
        "one-neuron": current.shape[1] == 1,
        "long": len(current) >= 400,
        "negative-drive": bool(current.max() <= 0 and current.mean() < -1),
        "carried-state": bool((inputs["start"] != neuron.reset_value).any()),
        "zero-upstream": not inputs["spike_adjoint"].any(),
    }
    flags = tuple(dict.fromkeys((*flags, *(flag for flag, holds in of_the_inputs.items() if holds))))
    return Case(name, purpose, flags, Problem(hyperparameters(neuron), inputs))


SPIKING_NEURON = Kind(
    name="spiking_neuron",
    summary="One layer of leaky integrate-and-fire neurons: spikes, gradients, the rate Jacobian.",
    inputs=INPUTS,
    leaves=LEAVES,
    solve=solve,
    truth=truth,
    oracle="affine spikes",
    cases=cases,
    mistakes=MISTAKES,
    wrongly=wrongly,
)
