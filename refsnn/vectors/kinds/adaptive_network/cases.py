"""Live networks of adaptive neurons in every scheme, and what goes wrong at the edges."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from refsnn.vectors.case import Case, Leaves, Problem
from refsnn.vectors.kinds.adaptive_network.by_hand import by_hand, last_state

RATES = (0.04, 0.5)  # share of steps with a spike, in a live network
SCHEMES = ("official", "paper", "eprop")
USUAL: dict[str, Any] = {
    "algorithm": "adaptive_bptt",
    "widths": [3, 4, 2],
    "scheme": "official",
    "divisor": "threshold",
    "refractory": 2,
    "time_step": 1.0,
    "stop_reset": False,
    "stop_recurrent": False,
    "surrogate.shape": "triangle",
    "surrogate.slope": 1.0,
    "surrogate.height": 0.3,
    "slots": 3,
    "readout_decay": 0.8,
    "loss_function": "cross_entropy",
    "window_first": [4],
    "window_last": [7],
    "trained": True,
    "rate_strength": 0.0,
    "rate_target": 0.0,
}


def cases(large: bool) -> Iterator[Case]:
    """All of them.

    Parameters
    ----------
    large : bool
        Wider and longer ones in addition.

    Yields
    ------
    Case
    """
    sigmoid: dict[str, Any] = {"surrogate.shape": "sigmoid", "surrogate.slope": 3.0}
    for scheme in SCHEMES:
        for divisor in ("threshold", "baseline"):
            yield _live(
                f"bptt/{scheme}-{divisor}",
                "three schemes, two divisors, all constants trained",
                scheme=scheme,
                divisor=divisor,
            )
        yield _live(
            f"eprop/{scheme}",
            "eligibilities with delays",
            algorithm="adaptive_eprop",
            scheme=scheme,
        )
    yield _live("eprop/untrained", "weights only", algorithm="adaptive_eprop", trained=False, slots=1)
    yield _live("bptt/untrained", "weights only, no delays", trained=False, slots=1)
    yield _live("stopped/reset", "the reset's spike is a constant", stop_reset=True)
    yield _live("stopped/paper-reset", "the same, reset in its own step", stop_reset=True, scheme="paper")
    yield _live("stopped/recurrent", "what others hear is constant", stop_recurrent=True)
    yield _live("refractory/none", "nobody is refractory", scheme="paper", refractory=0)
    yield _live("refractory/five", "long refractory periods", refractory=5)
    yield _live("time-step/half", "spikes of height 2", time_step=0.5)
    yield _live("time-step/double", "spikes of height 1/2", time_step=2.0, scheme="eprop")
    yield _live("surrogate/sigmoid", "another psi", **sigmoid)
    yield _live(
        "windows/weighted",
        "three windows, weights of each sample",
        window_first=[0, 3, 6],
        window_last=[1, 4, 7],
        weighted=True,
    )
    yield _live("windows/squares", "a real target", batch=3, loss_function="mean_squared_error")
    yield _live("rates/penalty", "firing rates are pulled to a target", rate_strength=2.0, rate_target=0.02)
    yield _live(
        "rates/eprop",
        "the same, forward in time",
        algorithm="adaptive_eprop",
        rate_strength=2.0,
        rate_target=0.02,
    )
    yield _live("noise/bptt", "noise on top of the current", noisy=True)
    yield _live("carried/any-state", "a state in the middle of a sequence", carried=True)
    first = _live("two-calls/first", "the first of two calls")
    yield first
    yield _live(
        "two-calls/second", "another sequence that finds warm neurons; the read-out starts anew", before=first
    )
    yield from _awkward()
    if large:
        yield _live(
            "wide/bptt",
            "many neurons",
            steps=50,
            batch=4,
            widths=[8, 12, 4],
            slots=6,
            window_first=[40],
            window_last=[49],
        )


def _awkward() -> Iterator[Case]:
    tails: dict[str, Any] = {"surrogate.shape": "fast_sigmoid"}
    one_step: dict[str, Any] = {"window_first": [0], "window_last": [0], "steps": 1}
    yield _live("one-step/bptt", "T = 1: from a state that fires", carried=True, **one_step)
    yield _live("one-sample/bptt", "B = 1", batch=1)
    yield _live("silent/bptt", "no spike: gradients by psi alone", drive=0.25, anyway=True)
    yield _live(
        "negative/bptt",
        "far below the threshold: a psi with long tails",
        drive=-2.0,
        anyway=True,
        **tails,
    )
    yield _live(
        "saturated/paper",
        "a spike at every step",
        scheme="paper",
        refractory=0,
        drive=12.0,
        anyway=True,
        carried=True,
    )
    yield _live("zero-upstream/bptt", "a read-out of zeros sends nothing down", zero_readout=True)
    for scheme in SCHEMES:
        yield _at_the_threshold(scheme)
    yield _live(
        "long/bptt",
        "the state is fed back 400 times",
        steps=400,
        batch=1,
        widths=[2, 3, 2],
        window_first=[200],
        window_last=[399],
    )


def _at_the_threshold(scheme: str) -> Case:
    """One neuron whose compared potential is the threshold, exactly: no spike, and psi at its highest."""
    given = USUAL | {
        "widths": [1, 1, 2],
        "scheme": scheme,
        "slots": 1,
        "window_first": [0],
        "window_last": [3],
    }
    halves = {"leak": 0.5, "adaptation_decay": 0.5, "adaptation_strength": 0.25, "baseline": 0.5}
    # in "eprop" the potential is compared after it has leaked
    start = 1.0 if scheme == "eprop" else 0.5
    inputs: Leaves = {
        "input": np.array([[[0.0]], [[2.0]], [[0.0]], [[0.0]]]),
        "targets": np.array([[1]]),
        "delays/input": np.array([[0]]),
        "delays/recurrent": np.array([[0]]),
        "parameters/input_weight": np.array([[1.5]]),
        "parameters/recurrent_weight": np.array([[0.0]]),
        "parameters/readout_weight": np.array([[0.75], [-0.5]]),
        "parameters/readout_bias": np.array([0.25, 0.0]),
        "start/potential": np.array([[start]]),
    } | {f"constants/{name}": np.array([value]) for name, value in halves.items()}
    purpose = "u = 0 to the last bit: no spike, psi at its highest"
    flags = ("exact-threshold", "one-neuron", "one-sample", "carried-state")
    return Case(f"threshold/{scheme}", purpose, flags, Problem(given, inputs))


def _live(
    name: str,
    purpose: str,
    steps: int = 8,
    batch: int = 2,
    *,
    drive: float = 1.0,
    anyway: bool = False,
    weighted: bool = False,
    noisy: bool = False,
    carried: bool = False,
    zero_readout: bool = False,
    before: Case | None = None,
    **options: Any,
) -> Case:
    """A case, drawn again until it is alive."""
    given = USUAL | options
    for attempt in range(200):
        rng = np.random.default_rng([zlib.crc32(name.encode()), attempt])
        inputs = _drawn(rng, given, steps, batch, drive)
        if before is not None:  # the same network
            shared = ("parameters/", "constants/", "delays/")
            inputs |= {path: a for path, a in before.problem.inputs.items() if path.startswith(shared)}
            inputs |= last_state(before.problem)
        if weighted:
            inputs["window_weights"] = rng.uniform(0.2, 2.0, (len(given["window_first"]), batch))
        if drive > 1:
            inputs["parameters/input_weight"] = np.abs(inputs["parameters/input_weight"])
        if noisy:
            inputs["noise"] = 0.2 * rng.standard_normal((steps, batch, given["widths"][1]))
        if carried:
            inputs |= _any_state(rng, given, batch)
            inputs["start/potential"] *= max(1.0, drive)
        if zero_readout:
            inputs["parameters/readout_weight"] *= 0
        problem = Problem(given, inputs)
        if anyway or _alive(problem):
            flags = _flags(problem, before is not None)
            return Case(name, purpose, flags, problem)
    raise ArithmeticError(f"{name}: no live network in 200 tries")


def _drawn(rng: np.random.Generator, given: dict[str, Any], steps: int, batch: int, drive: float) -> Leaves:
    sources, neurons, outputs = given["widths"]
    delta = given["time_step"]
    strength = rng.uniform(0.3, 1.2, neurons) * delta
    strength[0] = 0.0  # one neuron that does not adapt
    targets: np.ndarray = rng.integers(outputs, size=(len(given["window_first"]), batch))
    if given["loss_function"] == "mean_squared_error":
        targets = rng.standard_normal((*targets.shape, outputs))
    return {
        "input": drive * rng.random((steps, batch, sources)),
        "targets": targets,
        "constants/leak": rng.uniform(0.5, 0.8, neurons),
        "constants/adaptation_decay": rng.uniform(0.7, 0.9, neurons),
        "constants/adaptation_strength": strength,
        "constants/baseline": rng.uniform(0.3, 0.6, neurons),
        "delays/input": rng.integers(given["slots"], size=(neurons, sources)),
        "delays/recurrent": rng.integers(given["slots"], size=(neurons, neurons)),
        "parameters/input_weight": rng.normal(0.5, 0.4, (neurons, sources)),
        "parameters/recurrent_weight": 0.5 * delta * rng.standard_normal((neurons, neurons)),
        "parameters/readout_weight": rng.standard_normal((outputs, neurons)),
        "parameters/readout_bias": 0.3 * rng.standard_normal(outputs),
    }


def _any_state(rng: np.random.Generator, given: dict[str, Any], batch: int) -> Leaves:
    neurons = given["widths"][1]
    fired = rng.random((batch, neurons)) < 0.3
    counter = rng.integers(given["refractory"], size=fired.shape) if given["refractory"] else 0 * fired
    return {
        "start/spikes": fired / given["time_step"],
        "start/potential": rng.uniform(0.3, 0.8, fired.shape),
        "start/adaptation": 0.2 * rng.random(fired.shape),
        "start/refractory": np.where(fired, given["refractory"], counter),
        "start/currents": 0.3 * rng.random((batch, given["slots"], neurons)),
        "start/trace": 0.2 * rng.random(fired.shape),
    }


def _alive(problem: Problem) -> bool:
    found = by_hand(problem)
    rate = found["states/spikes"].mean() * problem.hyperparameters["time_step"]
    if problem.inputs["parameters/readout_weight"].any():
        weights = ("input_weight", "recurrent_weight")
        if not all(found[f"gradients/{name}"].any() for name in weights) and len(found["states/spikes"]) > 1:
            return False
    return bool(RATES[0] < rate < RATES[1])


def _flags(problem: Problem, second: bool) -> tuple[str, ...]:
    given, inputs = problem.hyperparameters, problem.inputs
    steps, batch = inputs["input"].shape[:2]
    spikes, zero = by_hand(problem)["states/spikes"], not inputs["parameters/readout_weight"].any()
    shown = {
        "random": 0 < spikes.mean() * given["time_step"] < 1 and not zero,
        "silent": not spikes.any(),
        "negative-drive": bool(inputs["input"].max() <= 0),
        "saturated": bool(spikes.all()),
        "attached-reset": not given["stop_reset"],
        "one-step": steps == 1,
        "one-sample": batch == 1,
        "unequal-widths": len(set(given["widths"])) == 3,
        "carried-state": "start/potential" in inputs,
        "two-calls": second,
        "zero-upstream": zero,
        "long": steps >= 400,
    }
    return tuple(flag for flag, holds in shown.items() if holds)
