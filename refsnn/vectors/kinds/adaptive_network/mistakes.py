"""What goes wrong in implementations of LSNN, of its BPTT and of its e-prop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from refsnn.vectors.case import Leaves, Mistake, Problem

CURRENT = "I_k, what the delay line brings, refsnn/models/adaptive/network.py"
ADAPTATION = "b_{k+1} = rho b_k + (1 - rho) z_k"
THRESHOLD = "B_{k+1} = b^0 + beta b_{k+1}"
POTENTIAL = "v_{k+1} = alpha v_k + (1 - alpha) I_k - delta reset"
DISTANCE = "u_{k+1} = (compared - B_{k+1}) / N"
SPIKE = "z_{k+1} = (1 - m_{k+1}) H(u_{k+1}) / delta"
SLOPE = "ubar = (1 - m) psi(u) zbar / delta, refsnn/algorithms/adaptive_bptt.py"
READOUT = "y_k = W^out p_k + c, p_k = kappa p_{k-1} + (1 - kappa) z_{k+1}"
LOSS = "L = sum_w sum_b weight_wb l(mean y_wb) / B"
Applies = Callable[[Problem], bool]


def _switch(name: str, applies: Applies = lambda problem: True) -> Any:
    def changes(problem: Problem) -> Problem | None:
        return problem.changed(**{f"mistake__{name}": True}) if applies(problem) else None

    return changes


def _option(name: str, value: Any, applies: Applies = lambda problem: True) -> Any:
    def changes(problem: Problem) -> Problem | None:
        given = problem.hyperparameters
        new = value[given[name]] if isinstance(value, dict) else value
        if given[name] == new or not applies(problem):
            return None
        return problem.changed(**{name.replace(".", "__"): new})

    return changes


def _without(beginning: str) -> Any:
    def changes(problem: Problem) -> Problem | None:
        kept = {name: array for name, array in problem.inputs.items() if not name.startswith(beginning)}
        return None if len(kept) == len(problem.inputs) else Problem(problem.hyperparameters, kept)

    return changes


def _times(factor: Callable[[Problem], float]) -> Any:
    def spoils(problem: Problem, leaves: Leaves) -> Leaves:
        return {
            path: value * factor(problem) if path.startswith("gradients/") else value
            for path, value in leaves.items()
        }

    return spoils


def _diagonal(problem: Problem, leaves: Leaves) -> Leaves:
    """A derivative by weights that are no connections: to a neuron from itself."""
    path = "gradients/recurrent_weight"
    spoiled = leaves[path].copy()
    np.fill_diagonal(spoiled, np.nan_to_num(spoiled).sum(axis=1))
    return leaves | {path: spoiled}


def _is(name: str, value: Any) -> Applies:
    return lambda problem: bool(problem.hyperparameters[name] == value)


def _delayed(problem: Problem) -> bool:
    return bool(problem.inputs["delays/recurrent"].any() or problem.inputs["delays/input"].any())


def _squares(problem: Problem) -> bool:
    return bool(problem.hyperparameters["loss_function"] == "mean_squared_error")


def _says(name: str, says: str, equation: str, applies: Applies = lambda problem: True) -> Mistake:
    return Mistake(name, says, equation, _switch(name, applies))


_FORWARD = (
    _says("late-delays", "recurrent spikes arrive one step late (delays are off by one)", CURRENT),
    _says(
        "early-delays", "recurrent spikes arrive one step early (delays are off by one)", CURRENT, _delayed
    ),
    _says("no-delays", "there are no delays: everything arrives at once", CURRENT, _delayed),
    _says("hears-itself", "a neuron hears itself: the diagonal of the recurrent weights counts", CURRENT),
    _says("transposed", "the recurrent weight is transposed: [j, i] leads from i to j", CURRENT),
    _says("no-recurrence", "the recurrent weights do nothing", CURRENT),
    _says("current-unscaled", "the current is not multiplied by 1 - alpha", POTENTIAL),
    _says("decays-exchanged", "alpha and rho are exchanged", "alpha of v, rho of b"),
    _says("adaptation-unscaled", "the adaptation adds z_k, it should add (1 - rho) z_k", ADAPTATION),
    _says("late-adaptation", "the threshold is that of b_k, it should be that of b_{k+1}", THRESHOLD),
    _says("other-potential", "the old potential is compared and not the new one, or the reverse", DISTANCE),
    _says(
        "at-the-threshold", "a potential that equals the threshold fires; at u = 0 there is no spike", SPIKE
    ),
    _says("unit-spikes", "spikes are 1, they should be 1/delta", SPIKE),
    _says("no-refractory", "there is no refractory period", SPIKE),
    _says("refractory-longer", "the refractory period is one step too long", SPIKE),
    _says("reset-by-baseline", "the reset takes b^0 off, it should take the threshold B off", POTENTIAL),
    _says("reset-unscaled", "the reset is not multiplied by delta", POTENTIAL),
    *(
        Mistake(f"scheme-{name}", f"it is the scheme {name!r}", POTENTIAL, _option("scheme", name))
        for name in ("official", "paper", "eprop")
    ),
    Mistake(
        "ignores-start", "the initial state is ignored: it starts from zeros", POTENTIAL, _without("start/")
    ),
    Mistake("ignores-noise", "the noise is ignored", CURRENT, _without("noise")),
)
_LOSS = (
    _says("spikes-read", "the read-out reads spikes, it should read their trace p", READOUT),
    _says("trace-unscaled", "the trace adds z, it should add (1 - kappa) z", READOUT),
    _says("last-of-window", "the read-out of the last step of a window, it should be the mean", LOSS),
    _says("window-summed", "the read-out is summed over a window, it should be the mean", LOSS),
    _says("summed-over-batch", "the loss is a sum over the batch, it should be the mean", LOSS),
    _says("mean-of-windows", "the loss is a mean over windows, it should be the sum", LOSS),
    _says(
        "weights-ignored",
        "the weights of windows and samples are ignored",
        LOSS,
        lambda problem: "window_weights" in problem.inputs,
    ),
    _says("whole-squares", "the factor 1/2 of the squared error is missing", LOSS, _squares),
    _says(
        "penalty-dropped",
        "the penalty on rates is not in the gradients",
        "rate_strength sum_j (r_j - rate_target)^2",
        lambda problem: problem.hyperparameters["rate_strength"] > 0,
    ),
)
_BACKWARD = (
    _says("undampened", "the dampening gamma is missing: psi(0) = 1", SLOPE),
    _says("refractory-learns", "psi is not 0 in the refractory period", SLOPE),
    _says("slope-without-step", "1/delta is missing in the slope of a spike", SLOPE),
    _says("unscaled", "psi is not divided by the threshold: du/dv = 1, it should be 1/N", DISTANCE),
    _says(
        "divisor-stopped",
        "the derivative by the divisor of u is missing",
        DISTANCE,
        _is("divisor", "threshold"),
    ),
    Mistake(
        "other-divisor",
        "the other divisor N: the baseline for the threshold, or the reverse",
        DISTANCE,
        _option("divisor", {"threshold": "baseline", "baseline": "threshold"}),
    ),
    _says("adaptation-stopped", "no gradient goes into the adaptation", ADAPTATION),
    _says(
        "threshold-stopped",
        "no gradient goes through the adaptation of the threshold in u (that of the reset is there)",
        DISTANCE,
    ),
    _says("reset-height-stopped", "no gradient goes through the height of the reset", POTENTIAL),
    _says(
        "reset-flipped",
        "the gradient goes through the spike of the reset and should not, or the reverse (stop_reset)",
        POTENTIAL,
    ),
    Mistake(
        "recurrent-flipped",
        "the gradient goes through recurrent connections and should not (you computed BPTT), or the reverse "
        "(you computed e-prop)",
        CURRENT,
        _switch("recurrent-flipped"),
    ),
    *(
        Mistake(
            f"psi-{shape}", f"psi has the shape {shape}", "psi = dH/du", _option("surrogate.shape", shape)
        )
        for shape in ("sigmoid", "arctan", "fast_sigmoid", "triangle", "boxcar")
    ),
    Mistake(
        "diagonal",
        "the recurrent weight of a neuron to itself has a gradient; there is no such connection",
        CURRENT,
        lambda problem: problem,
        _diagonal,
    ),
    Mistake(
        "gradients-summed-over-batch",
        "the gradients are sums over the batch, the loss is a mean",
        LOSS,
        lambda problem: problem,
        _times(lambda problem: float(problem.inputs["input"].shape[1])),
    ),
    Mistake(
        "updates",
        "the sign is that of an update; gradients are dL/d(parameter)",
        "dL/d(parameter)",
        lambda problem: problem,
        _times(lambda problem: -1.0),
    ),
)
MISTAKES = (*_FORWARD, *_LOSS, *_BACKWARD)
