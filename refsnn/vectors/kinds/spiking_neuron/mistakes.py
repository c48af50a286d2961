"""What goes wrong in implementations of a layer of spiking neurons, and a layer that can be wrong so.

The layer is written out again, with a switch for each mistake, so that a mistake is made and not guessed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from refsnn.equations.surrogates import SURROGATES
from refsnn.vectors.case import Leaves, Mistake, Problem

CHARGE = "h_t = leak v_{t-1} + I_t"
FIRE = "s_t = H(h_t - threshold)"
RESET = "v_t after the spike"
SLOPE = "dv_t/dh_t"
BACK = "dL/dh_t = a_t psi_t + dL/dv_t dv_t/dh_t"
TRACE = "rho_{t+1} = 1 + leak dv_t/dh_t rho_t"


def wrongly(problem: Problem) -> Leaves:
    """The layer with its switches, in plain loops.

    Parameters
    ----------
    problem : Problem
        Whose hyper-parameters may hold names that begin with ``mistake.``.

    Returns
    -------
    dict of str to ndarray
        All leaves.
    """
    given = problem.hyperparameters
    current, start, upstream = (problem.inputs[name] for name in ("current", "start", "spike_adjoint"))
    leak, threshold, rest = given["leak"], given["threshold"], given["reset_value"]
    hard, attached = given["reset"] == "hard", not given["detach_reset"]
    made = {name.removeprefix("mistake.") for name in given if name.startswith("mistake.")}
    gain = 1 - leak if "gain" in made else 1.0
    goal = 0.0 if "goes-to-0" in made else rest
    h, s, v = np.empty((3, *current.shape))
    potential, fired = start, np.zeros_like(start)
    for t, entering in enumerate(current):
        late = "late-reset" in made
        before = (1 - fired) * potential + fired * goal if late and hard else potential
        h[t] = leak * before + gain * entering
        if hard and "no-rest" not in made:
            h[t] += (1 - leak) * rest
        if late and not hard:
            h[t] -= threshold * fired
        compared = potential if "late-spike" in made else h[t]
        s[t] = compared > threshold if given["fires"] == ">" else compared >= threshold
        if late or "no-reset" in made:
            v[t] = h[t]
        else:
            v[t] = (1 - s[t]) * h[t] + s[t] * goal if hard else h[t] - threshold * s[t]
        potential, fired = v[t], s[t]
    psi = _surrogate(given, (v if "psi-after-reset" in made else h) - threshold)
    through = psi if attached else np.zeros_like(psi)
    by_spike = rest - h if hard else np.full_like(h, -1.0 if "unit-threshold" in made else -threshold)
    direct = 1 - s if hard and "whole-slope" not in made else np.ones_like(h)
    slope = np.ones_like(h) if "straight" in made else direct + by_spike * through
    back, carried = np.empty_like(h), np.zeros_like(start)
    factor = 1.0 if "no-leak-back" in made else leak
    for t in reversed(range(len(h))):
        back[t] = upstream[t] * psi[t] + carried * slope[t]
        carried = (0.0 if "cut" in made else factor) * back[t]
    return {
        "states/charged": h,
        "states/spikes": s,
        "states/potential": potential,
        "loss": np.asarray((upstream * s).sum()),
        "gradients/current": gain * back,
        "gradients/start": carried,
        "rate": s.mean(axis=0),
        "rate_jacobian": _rate_jacobian(psi, leak * slope, made),
    }


def _surrogate(given: dict[str, Any], distance: np.ndarray) -> np.ndarray:
    shape, slope, height = (given[f"surrogate.{name}"] for name in ("shape", "slope", "height"))
    return SURROGATES[shape](distance, slope, height, 1.0)


def _rate_jacobian(psi: np.ndarray, factor: np.ndarray, made: set[str]) -> np.ndarray:
    trace, total = np.ones_like(psi[0]), np.zeros_like(psi[0])
    if "trace-from-0" in made:
        trace = np.zeros_like(trace)
    for t in range(len(psi)):
        if "trace-shifted" in made:
            trace = 1 + factor[t] * trace
            total += psi[t] * trace
        else:
            total += psi[t] * trace
            trace = 1 + factor[t] * trace
    return total / len(psi)


def _switch(name: str, applies: Callable[[dict[str, Any]], bool] = lambda given: True) -> Any:
    def changes(problem: Problem) -> Problem | None:
        return problem.changed(**{f"mistake__{name}": True}) if applies(problem.hyperparameters) else None

    return changes


def _option(name: str, values: dict[Any, Any]) -> Any:
    def changes(problem: Problem) -> Problem | None:
        return problem.changed(**{name: values[problem.hyperparameters[name]]})

    return changes


def _other_reset(problem: Problem) -> Problem:
    other = "soft" if problem.hyperparameters["reset"] == "hard" else "hard"
    return problem.changed(reset=other, reset_value=0.0)


def _resets_elsewhere(given: dict[str, Any]) -> bool:
    return bool(given["reset"] == "hard" and given["reset_value"] != 0)


def _at_rest(problem: Problem) -> Problem | None:
    rest = np.full_like(problem.inputs["start"], problem.hyperparameters["reset_value"])
    return Problem(problem.hyperparameters, problem.inputs | {"start": rest})


def _shape(shape: str) -> Any:
    def changes(problem: Problem) -> Problem | None:
        return (
            None
            if problem.hyperparameters["surrogate.shape"] == shape
            else problem.changed(surrogate__shape=shape)
        )

    return changes


def _constant(name: str, value: float) -> Any:
    def changes(problem: Problem) -> Problem | None:
        return (
            None
            if problem.hyperparameters[name] == value
            else problem.changed(**{name.replace(".", "__"): value})
        )

    return changes


def _sums(path: str) -> Any:
    def spoils(problem: Problem, leaves: Leaves) -> Leaves:
        return leaves | {path: leaves[path] * len(problem.inputs["current"])}

    return spoils


def _is(name: str, value: Any) -> Callable[[dict[str, Any]], bool]:
    return lambda given: given[name] == value


MISTAKES = (
    Mistake(
        "other-comparison",
        "a potential equal to the threshold is decided the other way (fires)",
        FIRE,
        _option("fires", {">": ">=", ">=": ">"}),
    ),
    Mistake(
        "reset-gradient",
        "the gradient goes through the reset and should not, or the reverse (detach_reset)",
        SLOPE,
        _option("detach_reset", {True: False, False: True}),
    ),
    Mistake(
        "other-reset", "the other reset: to a value for by subtraction, or the reverse", RESET, _other_reset
    ),
    Mistake(
        "late-reset", "the reset takes effect in the next step, after the leak", RESET, _switch("late-reset")
    ),
    Mistake("no-reset", "there is no reset", RESET, _switch("no-reset")),
    Mistake(
        "reset-to-0", "the hard reset goes to 0, not to reset_value", RESET, _constant("reset_value", 0.0)
    ),
    Mistake(
        "forward-reset-to-0",
        "the hard reset of the forward pass goes to 0, the leak and the slope know reset_value",
        RESET,
        _switch("goes-to-0", _resets_elsewhere),
    ),
    Mistake(
        "no-rest",
        "with a hard reset the potential leaks towards reset_value, here towards 0",
        CHARGE,
        _switch("no-rest", _is("reset", "hard")),
    ),
    Mistake(
        "late-spike",
        "the spike is taken from the potential before the step: it comes one step late",
        FIRE,
        _switch("late-spike"),
    ),
    Mistake("gain", "the current is multiplied by 1 - leak", CHARGE, _switch("gain")),
    Mistake("ignores-start", "the initial state is ignored: the layer starts at rest", CHARGE, _at_rest),
    Mistake("threshold-1", "the threshold is 1 whatever it should be", FIRE, _constant("threshold", 1.0)),
    Mistake(
        "psi-after-reset",
        "psi is taken at the potential after the reset, not at h_t",
        BACK,
        _switch("psi-after-reset"),
    ),
    Mistake(
        "whole-slope",
        "the slope of a hard reset lacks the factor 1 - s_t",
        SLOPE,
        _switch("whole-slope", _is("reset", "hard")),
    ),
    Mistake(
        "unit-threshold",
        "the slope of the reset is 1 - psi, it should be 1 - threshold psi",
        SLOPE,
        _switch("unit-threshold", _is("detach_reset", False)),
    ),
    Mistake(
        "straight",
        "the reset is ignored in the gradient altogether: dv_t/dh_t = 1",
        SLOPE,
        _switch("straight"),
    ),
    Mistake("no-leak-back", "the leak is missing on the way back", BACK, _switch("no-leak-back")),
    Mistake("cut", "the gradient does not go back in time at all", BACK, _switch("cut")),
    Mistake(
        "trace-shifted",
        "the trace of the rate Jacobian is updated before it is used: it is one step ahead",
        TRACE,
        _switch("trace-shifted"),
    ),
    Mistake(
        "trace-from-0", "the trace of the rate Jacobian starts at 0, not at 1", TRACE, _switch("trace-from-0")
    ),
    Mistake("no-mean-rate", "1/T is missing in the rate", "r = (1/T) sum_t s_t", spoils=_sums("rate")),
    Mistake(
        "no-mean-jacobian",
        "1/T is missing in the rate Jacobian",
        "g = (1/T) sum_t psi_t rho_t",
        spoils=_sums("rate_jacobian"),
    ),
    *(
        Mistake(f"psi-{shape}", f"psi has the shape {shape}", "psi = ds/dh", _shape(shape))
        for shape in SURROGATES
    ),
    Mistake(
        "psi-height-1",
        "psi is 1 at the threshold, not surrogate.height",
        "psi = ds/dh",
        _constant("surrogate.height", 1.0),
    ),
    Mistake(
        "psi-slope-1",
        "the slope of psi is 1, not surrogate.slope",
        "psi = ds/dh",
        _constant("surrogate.slope", 1.0),
    ),
)
