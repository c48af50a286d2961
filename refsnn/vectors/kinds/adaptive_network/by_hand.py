"""LSNN written out once more, with sums over the past for a delay line, and a switch for each mistake.

The gradient is the derivative of a second run whose spikes are affine around the first one,

    z = z0 + (1 - m) psi(u0) / delta (u - u0),

by complex step; what is stopped is taken from the first run.  Nothing is shared with the model but psi.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn.equations.surrogates import SURROGATES
from refsnn.vectors.case import Hyperparameters, Leaves, Problem
from refsnn.vectors.kinds.every_direction import derivatives, detached, with_slope

Arrays = dict[str, Any]
CONSTANTS = ("leak", "adaptation_decay", "adaptation_strength", "baseline")
STARTS = ("spikes", "potential", "adaptation", "currents", "trace")


def by_hand(problem: Problem) -> Leaves:
    """All leaves, with the mistakes that hyper-parameters ``mistake.*`` name.

    Parameters
    ----------
    problem : Problem
        Of a case, float64.

    Returns
    -------
    dict of str to ndarray
    """
    given, inputs = problem.hyperparameters, _completed(problem)
    made = {name.removeprefix("mistake.") for name in given if name.startswith("mistake.")}
    nominal = _run(given, inputs, made)
    leaves = {
        f"states/{name}": np.stack(nominal[name])
        for name in ("spikes", "potential", "adaptation", "threshold")
    }
    leaves |= {"outputs": np.stack(nominal["outputs"]), "loss": np.asarray(nominal["loss"])}
    if given["rate_strength"]:
        leaves["penalty"] = np.asarray(nominal["penalty"])
    names = [name for name in inputs if name.startswith("parameters/")]
    names += [f"constants/{name}" for name in CONSTANTS if given["trained"]]
    if given["algorithm"] == "adaptive_bptt":
        names += ["input", *(f"start/{name}" for name in STARTS)]

    def loss(moved: Leaves) -> Any:
        run = _run(given, moved, made, nominal)
        return run["loss"] + run["penalty"] + 0j

    found = derivatives(loss, inputs, names)
    return leaves | {
        "gradients/" + name.removeprefix("parameters/").removeprefix("constants/"): gradient
        for name, gradient in found.items()
    }


def last_state(problem: Problem) -> Leaves:
    """The state after the last step, as the start of another sequence: the read-out starts anew.

    Parameters
    ----------
    problem : Problem
        Of a case.

    Returns
    -------
    dict of str to ndarray
        Inputs of a case.
    """
    given, inputs = problem.hyperparameters, _completed(problem)
    run, steps = _run(given, inputs, set()), len(inputs["input"])
    heard, later = _Heard(given, inputs, set()), np.zeros_like(inputs["input"][:1])
    # what is still under way: the currents of steps in which nothing new is sent
    x = np.concatenate([inputs["input"], np.repeat(later, given["slots"], axis=0)])
    silent = [*run["all_spikes"][:-1], *[np.zeros_like(run["spikes"][0])] * given["slots"]]
    under_way = [heard.current(x, silent, steps + slot) for slot in range(given["slots"])]
    return {
        "start/spikes": run["spikes"][-1],
        "start/potential": run["potential"][-1],
        "start/adaptation": run["adaptation"][-1],
        "start/refractory": run["counter"].astype(np.int64),
        "start/currents": np.stack(under_way, axis=1),
    }


def _completed(problem: Problem) -> Leaves:
    """The inputs with what is left out of them."""
    inputs, given = problem.inputs, problem.hyperparameters
    batch, neurons = inputs["input"].shape[1], given["widths"][1]
    whole = {f"start/{name}": np.zeros((batch, neurons)) for name in (*STARTS, "refractory")}
    whole["start/currents"] = np.zeros((batch, given["slots"], neurons))
    whole["noise"] = np.zeros((len(inputs["input"]), batch, neurons))
    whole["window_weights"] = np.ones((len(given["window_first"]), batch))
    return whole | inputs


def _run(given: Hyperparameters, inputs: Leaves, made: set[str], nominal: Any = None) -> Arrays:
    """All steps; arrays may have an axis of directions in front."""
    alpha, rho, beta, b0 = (inputs[f"constants/{name}"][..., None, :] for name in CONSTANTS)
    if "decays-exchanged" in made:
        alpha, rho = rho, alpha
    x = np.moveaxis(inputs["input"], -3, 0)
    delta, scheme, rest = given["time_step"], given["scheme"], nominal
    height_of_a_spike = 1.0 if "unit-spikes" in made else 1 / delta
    z, v, b = [inputs["start/spikes"]], [inputs["start/potential"]], [inputs["start/adaptation"]]
    counter = inputs["start/refractory"]
    heard = _Heard(given, inputs, made)
    rows: Arrays = {name: [] for name in ("threshold", "u", "masks")}
    for k in range(len(x)):
        stopped = given["stop_recurrent"] != ("recurrent-flipped" in made)
        stopped = stopped or (given["algorithm"] == "adaptive_eprop" and "recurrent-flipped" not in made)
        spoken = z if rest is None or not stopped else rest["all_spikes"]
        current = heard.current(x, spoken, k) + inputs["noise"][k]
        learned = detached(z[k]) if "adaptation-stopped" in made else z[k]
        if "adaptation-unscaled" in made:
            b.append(rho * b[k] + learned)
        else:
            b.append(rho * b[k] + (1 - rho) * learned)
        threshold = b0 + beta * (b[k] if "late-adaptation" in made else b[k + 1])
        seen = b0 + beta * detached(b[k + 1]) if "threshold-stopped" in made else threshold
        height = b0 if scheme == "eprop" or "reset-by-baseline" in made else threshold
        height = detached(height) if "reset-height-stopped" in made else height
        share = delta if "reset-unscaled" not in made else 1.0
        stop_reset = given["stop_reset"] != ("reset-flipped" in made)
        off = rest["all_spikes"][k] if rest is not None and stop_reset else z[k]
        charged = alpha * v[k] + (1.0 if "current-unscaled" in made else 1 - alpha) * current
        if scheme != "paper":
            charged = charged - share * off * height
        compared = charged if (scheme == "eprop") != ("other-potential" in made) else v[k]
        divisor = seen if given["divisor"] == "threshold" else b0 * np.ones_like(np.real(seen))
        u = (compared - seen) / divisor
        if "divisor-stopped" in made:
            u = (compared - seen) / detached(divisor)
        if "unscaled" in made:
            u = with_slope(u, compared - seen, np.ones_like(np.real(u)))
        m = counter > 0
        if rest is None:
            above = np.real(u) >= 0 if "at-the-threshold" in made else np.real(u) > 0
            fired = (~m & above) * height_of_a_spike
        else:
            slope = _psi(given, rest["u"][k], made) * (1.0 if "refractory-learns" in made else ~m)
            slope = slope * (1.0 if "slope-without-step" in made else 1 / delta)
            fired = with_slope(rest["spikes"][k], u, slope)
        if scheme == "paper":
            off = rest["spikes"][k] if rest is not None and stop_reset else fired
            charged = charged - share * off * height
        shown = rest["spikes"][k] if rest is not None else fired
        period = given["refractory"] + ("refractory-longer" in made)
        period = 0 if "no-refractory" in made else period
        counter = np.where(shown > 0, period, np.maximum(counter - 1, 0))
        z.append(fired)
        v.append(charged)
        for name, value in zip(rows, (threshold, u, m), strict=True):
            rows[name].append(value)
    found = rows | {
        "spikes": z[1:],
        "all_spikes": z,
        "potential": v[1:],
        "adaptation": b[1:],
        "counter": counter,
    }
    return found | _loss(given, inputs, z[1:], made)


def _psi(given: Hyperparameters, u: Any, made: set[str]) -> Any:
    height = 1.0 if "undampened" in made else given["surrogate.height"]
    return SURROGATES[given["surrogate.shape"]](u, given["surrogate.slope"], height, 1.0)


class _Heard:
    """I_k of all that was sent until then."""

    def __init__(self, given: Hyperparameters, inputs: Leaves, made: set[str]) -> None:
        self.slots, self.currents = given["slots"], np.moveaxis(inputs["start/currents"], -2, 0)
        shift = ("late-delays" in made) - ("early-delays" in made)
        into, back = inputs["parameters/input_weight"], inputs["parameters/recurrent_weight"]
        if "transposed" in made:
            back = np.swapaxes(back, -1, -2)
        apart = 1.0 if "hears-itself" in made else ~np.eye(back.shape[-1], dtype=bool)
        self.into, self.back = [], []
        for delay in range(self.slots + 1):
            of_input = inputs["delays/input"] == delay
            of_neurons = np.maximum(inputs["delays/recurrent"] + shift, 0) == delay
            if "no-delays" in made:
                of_input, of_neurons = (np.full(one.shape, delay == 0) for one in (of_input, of_neurons))
            self.into.append(np.swapaxes(into * of_input, -1, -2))
            self.back.append(np.swapaxes(back * (of_neurons * apart), -1, -2))
        if "no-recurrence" in made:
            self.back = [0 * weight for weight in self.back]

    def current(self, x: Any, z: Any, k: int) -> Any:
        """I_k."""
        total = self.currents[k] if k < self.slots else 0.0
        for delay in range(min(self.slots, k) + 1):
            total = total + x[k - delay] @ self.into[delay] + z[k - delay] @ self.back[delay]
        return total


def _loss(given: Hyperparameters, inputs: Leaves, spikes: list[Any], made: set[str]) -> Arrays:
    """Mean read-outs of the windows, loss and penalty."""
    kappa, batch = given["readout_decay"], inputs["input"].shape[-2]
    trace, traces = inputs["start/trace"], []
    for z in spikes:
        if "spikes-read" in made:
            trace = z
        else:
            trace = kappa * trace + (1.0 if "trace-unscaled" in made else 1 - kappa) * z
        traces.append(trace)
    weight, bias = inputs["parameters/readout_weight"], inputs["parameters/readout_bias"]
    outputs, loss = [], 0.0
    for window, (first, last) in enumerate(zip(given["window_first"], given["window_last"], strict=True)):
        if "last-of-window" in made:
            first = last
        mean = sum(traces[first + 1 : last + 1], start=traces[first])
        mean = mean if "window-summed" in made else mean / (last + 1 - first)
        y = mean @ np.swapaxes(weight, -1, -2) + bias[..., None, :]
        outputs.append(y)
        counts = np.ones(batch) if "weights-ignored" in made else inputs["window_weights"][window]
        each = _sample_loss(given, y, inputs["targets"][window], made)
        loss = loss + (counts * each).sum(axis=-1) / (1 if "summed-over-batch" in made else batch)
    if "mean-of-windows" in made:
        loss = loss / len(outputs)
    rates = sum(spikes[1:], start=spikes[0]).mean(axis=-2) / len(spikes)
    distance = rates - given["rate_target"]
    penalty = given["rate_strength"] * (distance * distance).sum(axis=-1)
    if "penalty-dropped" in made:
        penalty = detached(penalty)
    return {"outputs": outputs, "loss": loss, "penalty": penalty}


def _sample_loss(given: Hyperparameters, y: Any, targets: np.ndarray, made: set[str]) -> Any:
    """l of each sample."""
    if given["loss_function"] == "mean_squared_error":
        factor = 1.0 if "whole-squares" in made else 0.5
        return factor * ((y - targets) * (y - targets)).sum(axis=-1)
    shifted = y - np.real(y).max(axis=-1, keepdims=True)
    wanted = np.eye(y.shape[-1])[targets]
    return np.log(np.exp(shifted).sum(axis=-1)) - (shifted * wanted).sum(axis=-1)
