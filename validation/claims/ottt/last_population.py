"""O2: for the weights of the last population OTTT is BPTT with a detached reset; and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from refsnn.algorithms.ottt import with_options
from refsnn.models.builders.dense import dense_network
from refsnn.models.contract import Parameters
from refsnn.models.spiking_graph import SpikingGraph
from validation.claims.ottt.problems import (
    APART,
    BUILDS,
    EXACT,
    FEED_FORWARD,
    LOOPED,
    Problem,
    dense,
    errors,
    heterogeneous,
    is_live,
    live,
    random_neuron,
    some,
    standardised,
)
from validation.ledger import Measured, VacuousError, claim, require

WEIGHTS = ("weight", "gain")
DETACHED = {"reset": False}
BUSY = (0.15, 0.7)  # where something must differ, neurons fire often enough to be reset


def last_weights(problem: Problem) -> list[str]:
    """Weights and gains that feed the last population."""
    return problem.leaves(problem.last, WEIGHTS)


def apart(found: Parameters, truth: Parameters, names: list[str]) -> float:
    """The smallest relative error among these parameters."""
    return min(errors(found, some(truth, names)))


def near(found: Parameters, truth: Parameters, names: list[str]) -> float:
    """The largest relative error among these parameters."""
    return max(errors(found, some(truth, names)))


def must_differ(
    rng: np.random.Generator,
    builds: tuple,
    compared: Callable[[Problem], tuple[float, float]],
) -> Measured:
    """Smallest error of the wrong twin over the builds, and largest error of the right one as the control."""
    pairs = [compared(live(rng, build, rates=BUSY)) for build in builds]
    wrong, right = zip(*pairs, strict=True)
    return Measured(min(wrong), max(right))


def remembering(rng: np.random.Generator, build: Callable[..., Any]) -> tuple[Problem, Parameters]:
    """A live network whose last population's leak matters to BPTT, and that gradient, its reset detached."""
    for _ in range(50):
        problem = live(rng, build)
        truth = problem.through_time(**DETACHED, feedback=False)
        forgetful = problem.through_time(**DETACHED, feedback=False, leak=False)
        if apart(forgetful, truth, last_weights(problem)) > 0.01:
            return problem, truth
    raise VacuousError(f"no network of the build {build.__name__!r} whose leak matters in 50 draws")


@claim(
    "ottt/O2",
    r"For the weights and gains of the last population OTTT equals BPTT with detached reset (and, where spikes are fed back, with "
    r"that edge cut).",
    source="Xiao 2022, section 4.1; specification, O2",
    metric="largest relative error of a weight or gain of the last population, seven builds, compiled and plain",
    relation="<=",
    bound=EXACT,
    control="SLTT in the place of OTTT",
)
def last_is_detached(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for build in BUILDS:
        problem, truth = remembering(rng, build)
        names = last_weights(problem)
        values += [near(problem.online("paper", backend), truth, names) for backend in ("cpu", "plain")]
        controls.append(apart(problem.online("sltt"), truth, names))
    return Measured(max(values), min(controls))


@claim(
    "ottt/O2.one_step",
    r"With a single step ($T=1$) all presets are BPTT, full or detached, for every parameter but those of feedback, which are 0.",
    source="specification, O2",
    metric="largest relative error over parameters, presets, edges and seven builds",
    relation="<=",
    bound=EXACT,
    control="two steps",
)
def one_step(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for build in BUILDS:
        # one step must make every population fire by itself; two steps are the same input with one more
        longer = live(rng, build, steps=1)
        longer = longer.with_inputs(2 * rng.random((2, *longer.inputs.shape[1:])))
        while not is_live(longer) or not is_live(longer.with_inputs(longer.inputs[:1])):
            longer = live(rng, build, steps=1)
            longer = longer.with_inputs(2 * rng.random((2, *longer.inputs.shape[1:])))
        problem = longer.with_inputs(longer.inputs[:1])
        delayed = [node.parameter_prefix for node in problem.graph.delayed]
        names = [name for name in problem.parameters if name.rsplit(".", 1)[0] not in delayed]
        for switches in ({"reset": True}, {"reset": False}, {"leak": False, "feedback": False}):
            truth = problem.through_time(**switches)
            for preset in ("paper", "official_code", "exact_local", "sltt"):
                found = problem.online(preset)
                values.append(near(found, truth, names))
                idle = [found[name] for name in problem.parameters if name not in names]
                require(all(not value.any() for value in idle), "feedback learned from a single step")
        controls.append(near(longer.online(), longer.through_time(reset=True), names))
    return Measured(max(values), min(controls))


@claim(
    "ottt/O2.no_leak",
    r"In a feed-forward net with $\lambda=0$ for membranes and traces every preset is full BPTT, weights and biases, live reset "
    r"or not: the reset sits inside the leak.",
    source="specification, O2",
    metric="largest relative error over parameters, presets and the feed-forward builds",
    relation="<=",
    bound=EXACT,
    control=r"the same networks with $\lambda=0.3$",
)
def no_leak(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for build in FEED_FORWARD:
        problem = live(rng, build, leak=0.0)
        while not is_live(leaky := problem.with_neuron(leak=0.3)):
            problem = live(rng, build, leak=0.0)
        truth = problem.through_time(reset=True)
        for preset in ("paper", "official_code", "exact_local", "sltt"):
            values.append(near(problem.online(preset), truth, list(truth)))
        controls.append(near(leaky.online(), leaky.through_time(reset=True), list(truth)))
    return Measured(max(values), min(controls))


# -- what must fail --------------------------------------------------------------------------------------


@claim(
    "ottt/O2.reset",
    r"With the gradient of the reset alive BPTT's weights of the last population are not OTTT's.",
    source="specification, O2 (must fail)",
    metric="smallest relative error of a weight or gain of the last population, feed-forward builds",
    relation=">=",
    bound=APART,
    control="BPTT with detached reset",
)
def live_reset(rng: np.random.Generator) -> Measured:
    def compared(problem: Problem) -> tuple[float, float]:
        names, found = last_weights(problem), problem.online()
        live_truth, detached = problem.through_time(reset=True), problem.through_time(**DETACHED)
        return apart(found, live_truth, names), near(found, detached, names)

    return must_differ(rng, FEED_FORWARD, compared)


@claim(
    "ottt/O2.bias",
    r"The untraced bias of the last population (`paper`, `official_code`) is not that of detached BPTT; traced it is.",
    source="specification, O2 (must fail); Xiao 2022, Remark 2",
    metric="smallest relative error of the last population's bias, feed-forward builds",
    relation=">=",
    bound=APART,
    control="the bias with $Z_t$",
)
def untraced_bias(rng: np.random.Generator) -> Measured:
    def compared(problem: Problem) -> tuple[float, float]:
        names, truth = problem.leaves(problem.last, ("bias",)), problem.through_time(**DETACHED)
        wrong = min(apart(problem.online(preset), truth, names) for preset in ("paper", "official_code"))
        right = problem.online(with_options("paper", biases=True))
        return wrong, near(right, truth, names)

    return must_differ(rng, FEED_FORWARD, compared)


@claim(
    "ottt/O2.readout",
    r"The traced weight of a read-out without memory (`paper`, Algorithm 1) is not that of BPTT; untraced it is.",
    source="specification, O2 (must fail)",
    metric="smallest relative error of the read-out's weight, all builds",
    relation=">=",
    bound=APART,
    control="the read-out without a trace",
)
def traced_readout(rng: np.random.Generator) -> Measured:
    def compared(problem: Problem) -> tuple[float, float]:
        names, truth = ["readout.weight"], problem.through_time(**DETACHED)
        wrong = apart(problem.online("paper"), truth, names)
        return wrong, near(problem.online(with_options("paper", readout=False)), truth, names)

    return must_differ(rng, BUILDS, compared)


@claim(
    "ottt/O2.lower",
    r"Below the last population OTTT is not detached BPTT: the future of a spike through the membranes above is missing.",
    source="specification, O2 (must fail) and section 4.1",
    metric="smallest relative error of a weight below the last population, feed-forward builds",
    relation=">=",
    bound=APART,
    control="the weights of the last population",
)
def lower_layers(rng: np.random.Generator) -> Measured:
    def compared(problem: Problem) -> tuple[float, float]:
        found, truth = problem.online("exact_local"), problem.through_time(**DETACHED)
        below = [name for p in list(problem.graph.populations)[:-1] for name in problem.leaves(p, WEIGHTS)]
        return apart(found, truth, below), near(found, truth, last_weights(problem))

    return must_differ(rng, FEED_FORWARD, compared)


@claim(
    "ottt/O2.hard",
    r"With a hard reset the trace is not exact for the last population either: the leak of the error is $\lambda(1-s)$.",
    source="specification, O2 (must fail) and section 4.1",
    metric="smallest relative error of a weight of the last population to detached BPTT",
    relation=">=",
    bound=APART,
    control="the same networks with the soft reset",
)
def hard_reset(rng: np.random.Generator) -> Measured:
    wrong, right = [], []
    for build in (dense, standardised, heterogeneous):
        problem = live(rng, build, rates=BUSY, reset="hard", reset_value=float(rng.uniform(-0.2, 0.2)))
        while not is_live(problem.with_neuron(reset="soft", reset_value=0.0)):
            problem = live(rng, build, rates=BUSY, reset="hard", reset_value=float(rng.uniform(-0.2, 0.2)))
        names, soft = last_weights(problem), problem.with_neuron(reset="soft", reset_value=0.0)
        wrong.append(apart(problem.online(), problem.through_time(**DETACHED), names))
        right.append(near(soft.online(), soft.through_time(**DETACHED), names))
    return Measured(min(wrong), max(right))


@claim(
    "ottt/O2.input",
    r"With one hidden layer the weight of an untraced input (`official_code`) is not that of detached BPTT; traced it is.",
    source="specification, O2 (must fail) and section 7, item 1",
    metric="smallest relative error of the first weight, plain and standardised",
    relation=">=",
    bound=APART,
    control="the traced input (`paper`)",
)
def untraced_input(rng: np.random.Generator) -> Measured:
    def compared(problem: Problem) -> tuple[float, float]:
        names, truth = last_weights(problem), problem.through_time(**DETACHED)
        return apart(problem.online("official_code"), truth, names), near(problem.online(), truth, names)

    def plain(rng: np.random.Generator) -> SpikingGraph:
        return dense_network((6, 8, 4), random_neuron(rng))

    def standard(rng: np.random.Generator) -> SpikingGraph:
        return dense_network((6, 8, 4), random_neuron(rng), standardise=True, scale=2.74)

    return must_differ(rng, (plain, standard), compared)


@claim(
    "ottt/O2.leak",
    r"Where leaks differ, traces must decay with that of the neurons they feed: with the presynaptic one the last "
    r"population's weight is not that of detached BPTT.",
    source="specification, O2 (must fail) and section 4.1, heterogeneous leaks",
    metric="smallest relative error of the last population's weight, leaks rising and falling with depth",
    relation=">=",
    bound=APART,
    control="the postsynaptic leak",
)
def presynaptic_leak(rng: np.random.Generator) -> Measured:
    def compared(problem: Problem) -> tuple[float, float]:
        names, truth = last_weights(problem), problem.through_time(**DETACHED)
        wrong = problem.online(with_options("paper", presynaptic=True))
        return apart(wrong, truth, names), near(problem.online(), truth, names)

    def falling(rng: np.random.Generator) -> SpikingGraph:
        neurons = [random_neuron(rng, leak=leak) for leak in (0.9, 0.6, 0.3)]
        return dense_network((6, 8, 7, 6, 4), neurons)

    return must_differ(rng, (heterogeneous, falling), compared)


@claim(
    "ottt/O2.feedback",
    r"Where spikes are fed back the last population is BPTT's only with that edge cut: along it detached BPTT differs.",
    source="specification, section 2.7",
    metric="smallest relative error of a weight or gain of the last population, recurrent layers and feedback convolution",
    relation=">=",
    bound=1e-3,
    control="the edge cut",
)
def live_feedback(rng: np.random.Generator) -> Measured:
    def compared(problem: Problem) -> tuple[float, float]:
        names, found = last_weights(problem), problem.online()
        fed_back = problem.through_time(**DETACHED)
        cut = problem.through_time(**DETACHED, feedback=False)
        return apart(found, fed_back, names), near(found, cut, names)

    return must_differ(rng, LOOPED, compared)
