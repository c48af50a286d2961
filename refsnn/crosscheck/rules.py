"""The neurons of the frameworks as rules: each in the equations that its code computes.

Hyper-parameters have the reference's names; what the reference does not have (a gain, a synapse, an adaptive
threshold) is under a name of its own.  Where a gradient is detached stands `now.held`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn.crosscheck.simulation import Moment, State, simulated
from refsnn.vectors.case import Hyperparameters, Leaves, Problem


def same_step(now: Moment, state: State, x: Any, given: Hyperparameters) -> tuple[State, Any, Any]:
    """The reference with a gain: h = leak v + gain x, reset at once, detached or not."""
    (v,), threshold, rest = state, given["threshold"], given["reset_value"]
    h = given["leak"] * v + given.get("gain", 1.0) * x
    if given["reset"] == "hard":
        h = h + (1 - given["leak"]) * rest
    s = now.spike(h - threshold)
    r = now.held(s) if given["detach_reset"] else s
    return ((1 - r) * h + r * rest if given["reset"] == "hard" else h - threshold * r,), h, s


def next_step(now: Moment, state: State, x: Any, given: Hyperparameters) -> tuple[State, Any, Any]:
    """u = leak u' + x - threshold H(u' - threshold): the reset comes one step later and does not decay."""
    (u,), threshold = state, given["threshold"]
    r = now.spike(u - threshold)
    h = given["leak"] * u + x - threshold * (now.held(r) if given["detach_reset"] else r)
    return (h,), h, now.spike(h - threshold)


def next_step_zero(now: Moment, state: State, x: Any, given: Hyperparameters) -> tuple[State, Any, Any]:
    """u = leak (1 - H(u' - threshold)) u' + x."""
    (u,), threshold = state, given["threshold"]
    r = now.spike(u - threshold)
    h = given["leak"] * (1 - (now.held(r) if given["detach_reset"] else r)) * u + x
    return (h,), h, now.spike(h - threshold)


def spike_of_the_step_before(
    now: Moment, state: State, x: Any, given: Hyperparameters
) -> tuple[State, Any, Any]:
    """s = H(v' - threshold), v = leak v' + x - threshold s: the spike comes out one step late."""
    (v,), threshold = state, given["threshold"]
    s = now.spike(v - threshold)
    r = now.held(s) if given["detach_reset"] else s
    return (given["leak"] * v + x - threshold * r,), v, s


def residual_seen(now: Moment, state: State, x: Any, given: Hyperparameters) -> tuple[State, Any, Any]:
    """Reset at once; but where v' is still above the threshold, the spike is tested threshold lower.

    h = leak v' + x, r = H(v' - threshold) detached, s = H(h - threshold r - threshold), v = h - threshold s.
    """
    (v,), threshold = state, given["threshold"]
    h = given["leak"] * v + x
    tested = h - threshold * now.held(now.spike(v - threshold))
    s = now.spike(tested - threshold)
    return (h - threshold * s,), tested, s


def slope_without_spike(now: Moment, state: State, x: Any, given: Hyperparameters) -> tuple[State, Any, Any]:
    """A hard reset v = h + s (v_r - held(h)): it goes to v_r, and its slope 1 + (v_r - h) psi lacks 1 - s."""
    (v,), rest = state, given["reset_value"]
    h = given["leak"] * v + (1 - given["leak"]) * rest + given.get("gain", 1.0) * x
    s = now.spike(h - given["threshold"])
    return (h - (now.held(h) - rest) * s,), h, s


def no_rest(now: Moment, state: State, x: Any, given: Hyperparameters) -> tuple[State, Any, Any]:
    """A detached hard reset v = h (1 - s) + v_r that adds v_r at every step, also where nothing fired."""
    (v,) = state
    h = given["leak"] * v + given.get("gain", 1.0) * x
    s = now.spike(h - given["threshold"])
    return (h * (1 - now.held(s)) + given["reset_value"],), h, s


def multiple_spikes(now: Moment, state: State, x: Any, given: Hyperparameters) -> tuple[State, Any, Any]:
    """trunc(h / threshold) spikes at once where h > 0, each takes the threshold away; psi of one."""
    (v,), threshold = state, given["threshold"]
    h = given["leak"] * v + given.get("gain", 1.0) * x
    more = now.held(np.trunc(h.real / threshold) * (h.real > 0) - (h.real >= threshold))
    s = now.spike(h - threshold) + more
    return (h - threshold * (now.held(s) if given["detach_reset"] else s),), h, s


def current_at_once(now: Moment, state: State, x: Any, given: Hyperparameters) -> tuple[State, Any, Any]:
    """i = i' + x acts at once, then decays: h = leak v + (1 - leak) i, i <- synapse i; hard reset."""
    v, i = state
    i = i + x
    h = given["leak"] * v + (1 - given["leak"]) * (given["reset_value"] + i)
    s = now.spike(h - given["threshold"])
    r = now.held(s) if given["detach_reset"] else s
    return ((1 - r) * h + r * given["reset_value"], given["synapse"] * i), h, s


def current_next_step(now: Moment, state: State, x: Any, given: Hyperparameters) -> tuple[State, Any, Any]:
    """The same with h = leak v + (1 - leak) i': the input acts one step late."""
    v, i = state
    h = given["leak"] * v + (1 - given["leak"]) * (given["reset_value"] + i)
    s = now.spike(h - given["threshold"])
    r = now.held(s) if given["detach_reset"] else s
    return ((1 - r) * h + r * given["reset_value"], given["synapse"] * i + x), h, s


def adaptive_threshold_of_time(
    now: Moment, state: State, x: Any, given: Hyperparameters
) -> tuple[State, Any, Any]:
    """`current_next_step` with a threshold b that goes to `threshold` and is raised by each spike.

    b <- b + share (threshold - b), s = H(h - b), b <- b + raise s; detached in the reset and in
    b, or in neither.
    """
    v, i, b = state
    h = given["leak"] * v + (1 - given["leak"]) * (given["reset_value"] + i)
    b = b + given["share"] * (given["threshold"] - b)
    s = now.spike(h - b)
    r = now.held(s) if given["detach_reset"] else s
    v = (1 - r) * h + r * given["reset_value"]
    return (v, given["synapse"] * i + x, b + given["raise"] * r), h, s


def adaptive_threshold_of_spikes(
    now: Moment, state: State, x: Any, given: Hyperparameters
) -> tuple[State, Any, Any]:
    """threshold + scale b is subtracted, b <- rho b + (1 - rho) s; no gradient from s to its threshold.

    psi is in units of the threshold of the moment.
    """
    v, b = state
    h = given["leak"] * v + given.get("gain", 1.0) * x
    level = given["threshold"] + given["scale"] * b
    s = now.spike(h - now.held(level), now.held(level))
    return (h - level * s, given["rho"] * b + (1 - given["rho"]) * s), h, s


def synapse_on_arrival(now: Moment, state: State, x: Any, given: Hyperparameters) -> tuple[State, Any, Any]:
    """i = synapse (i' + x): the input decays in the step in which it arrives; subtracts, through."""
    v, i = state
    i = given["synapse"] * (i + x)
    h = given["leak"] * v + given.get("gain", 1.0) * i
    s = now.spike(h - given["threshold"])
    return (h - given["threshold"] * s, i), h, s


RULES = {
    rule.__name__.replace("_", "-"): rule
    for rule in (
        same_step,
        next_step,
        next_step_zero,
        spike_of_the_step_before,
        residual_seen,
        slope_without_spike,
        no_rest,
        multiple_spikes,
    )
}


def leaves_by(name: str, problem: Problem) -> Leaves:
    """What a problem gives under a rule of one state.

    Parameters
    ----------
    name : str
        One of `RULES`.
    problem : Problem
        A case of `spiking_neuron`.

    Returns
    -------
    dict of str to ndarray

    Raises
    ------
    KeyError
        If there is no such rule.
    """
    return simulated(RULES[name], problem)
