"""O13 and the two edges of section 5: silence, spikes at every step, smallest sizes, potentials on a threshold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from refsnn.algorithms.forward_in_time import ForwardInTime
from refsnn.algorithms.ottt import ottt
from refsnn.algorithms.trace_rules import PRESETS
from refsnn.equations.spiking import SpikingNeuron
from refsnn.equations.surrogates import Surrogate
from refsnn.kernels import spiking_kernels
from refsnn.models.builders.dense import dense_network
from refsnn.models.contract import Parameters
from validation.claims.ottt.problems import (
    BUILDS,
    EXACT,
    Problem,
    errors,
    live,
    random_parameters,
)
from validation.ledger import Measured, claim, require

FAR = Surrogate("fast_sigmoid", 2.0, 1.0)  # falls as a power: there is a gradient far from the threshold
ALL_PRESETS = ("paper", "official_code", "exact_local", "sltt", "ndot")


@claim(
    "ottt/O13",
    r"Where no neuron spikes every weight that reads spikes has the gradient 0 exactly; biases and the first, analogue operator "
    r"have not.",
    source="specification, O13",
    metric="largest absolute gradient of a weight or gain behind spikes, five presets, seven builds",
    relation="==",
    bound=0.0,
    control="the smallest of the others: first weight, gain, biases, the read-out's bias",
)
def silence(rng: np.random.Generator) -> Measured:
    behind, others = [], []
    for build in BUILDS:
        problem = live(rng, build, surrogate=FAR).with_neuron(threshold=1e2)
        rates = ottt(*problem.arguments).diagnostics.spike_rates
        require(not any(rates.values()), f"something spiked: {rates}")
        for preset in ALL_PRESETS:
            for name, value in problem.online(preset).items():
                reads_input = name in ("layer.1.weight", "layer.1.gain")
                silent = name.endswith(("weight", "gain")) and not reads_input
                (behind if silent else others).append(float(np.abs(value).max()))
    return Measured(max(behind), min(others))


@claim(
    "ottt/O13.firing",
    r"Where every neuron spikes at every step $\hat a[t]=Z_t$: exactly that of the recursion $Z_t=\lambda Z_{t-1}+1$ and, for "
    r"$\lambda=\frac12$, exactly $2-2^{1-t}$.",
    source="specification, O13",
    metric="largest difference of a trace to the recursion over all steps, and to the closed form at one half",
    relation="==",
    bound=0.0,
    control=r"$Z_{t-1}$",
)
def everything_fires(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for leak in (0.5, 0.5, 1.0, float(rng.uniform(0.1, 0.95)), float(rng.uniform(0.1, 0.95))):
        neuron = SpikingNeuron(leak=leak, surrogate=FAR)
        graph = dense_network((5, 6, 7, 3), neuron, loss_over="each_step")
        parameters = random_parameters(rng, graph)
        for name in ("layer.1.bias", "layer.2.bias"):
            parameters[name] = np.full_like(parameters[name], 10.0)
        problem = Problem(graph, parameters, rng.random((12, 2, 5)), rng.integers(3, size=2))
        network = ForwardInTime(graph, PRESETS["paper"], parameters, 2, 12, spiking_kernels("cpu"))
        normaliser = 0.0
        for t in range(12):
            network.step(parameters, problem.inputs[t], problem.targets)
            before, normaliser = normaliser, leak * normaliser + 1
            for layer in ("layer.1", "layer.2"):
                trace = network.traces.arrays[layer, leak]
                values.append(float(np.abs(trace - normaliser).max()))
                controls.append(float(np.abs(trace - before).min()))
                closed = t + 1 if leak == 1 else (1 - leak ** (t + 1)) / (1 - leak)
                require(
                    bool(np.abs(trace - closed).max() <= 8 * np.spacing(closed)),
                    f"Z_t at {t + 1} is not its closed form",
                )
                values += [float(np.abs(trace - (2 - 2.0**-t)).max())] if leak == 0.5 else []
        # then a weight of the second layer is its traced bias, whichever spike it reads
        exact = problem.online("exact_local")
        bias = {"layer.2.weight": np.repeat(exact["layer.2.bias"][:, None], 6, axis=1)}
        alike = max(errors({"layer.2.weight": exact["layer.2.weight"]}, bias))
        require(
            alike <= EXACT, f"weights behind neurons that always fire differ from the bias by {alike:.1e}"
        )
    return Measured(max(values), min(controls))


@claim(
    "ottt/O13.smallest",
    r"One sample, one step, one neuron a layer and one output: all presets are BPTT. A standardised weight needs two inputs and "
    r"is refused with one.",
    source="specification, O13 and section 2.5",
    metric="largest relative error of a parameter, five presets, plain and standardised",
    relation="<=",
    bound=EXACT,
    control="SLTT at two steps",
)
def smallest(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for widths, standardise in (((1, 1, 1, 2), False), ((2, 1, 2), True), ((1, 1, 1), False)):
        neuron = SpikingNeuron(leak=0.6, surrogate=FAR)
        loss: dict[str, Any] = {"loss_function": "mean_squared_error"} if widths[-1] == 1 else {}
        graph = dense_network(widths, neuron, standardise=standardise, loss_over="each_step", **loss)
        parameters = random_parameters(rng, graph)
        for name, value in parameters.items():  # every neuron spikes, every weight counts
            parameters[name] = 2 + np.abs(value) if name.endswith("bias") else np.abs(value) + 0.3
        targets = rng.standard_normal((1, 1)) + 9 if loss else rng.integers(2, size=1)
        one = Problem(graph, parameters, rng.uniform(0.5, 1, (1, 1, widths[0])), targets)
        for preset in ALL_PRESETS:
            values += errors(one.online(preset), one.through_time(reset=False))
        two = one.with_inputs(rng.uniform(0.5, 1, (2, 1, widths[0])))
        controls.append(max(errors(two.online("sltt"), two.through_time(reset=False))))
    try:
        dense_network((1, 1, 2), standardise=True)
    except ValueError as error:
        require("standardise: expected a fan-in of at least 2" in str(error), str(error))
    else:
        require(False, "a standardised weight with one input was not refused")
    return Measured(max(values), min(controls))


# -- potentials on an edge -------------------------------------------------------------------------------


def single_neuron(neuron: SpikingNeuron, potential: float) -> Problem:
    """One neuron that is charged to exactly this potential in one step."""
    graph = dense_network((1, 1, 2), neuron, loss_over="each_step")
    values = {
        "layer.1.weight": [[potential]],
        "layer.1.bias": [0.0],
        "readout.weight": [[0.75], [-0.5]],
        "readout.bias": [0.0, 0.0],
    }
    parameters: Parameters = {name: np.array(value) for name, value in values.items()}
    return Problem(graph, parameters, np.ones((1, 1, 1)), np.array([0]))


@claim(
    "ottt/5.threshold",
    r"A potential that is exactly $V_{th}$ spikes ($H(0)=1$), and the next smaller number does not; compiled and plain.",
    source="Xiao 2022, Eq. 2; specification, sections 2.2 and 5",
    metric="smallest spike rate at the threshold, five thresholds",
    relation="==",
    bound=1.0,
    control="the largest one just below, and at the threshold of neurons that fire above it only",
)
def spikes_at_the_threshold(rng: np.random.Generator) -> Measured:
    at, below = [], []
    for threshold in (1.0, 0.5, *rng.uniform(0.3, 2, 3)):
        neuron = SpikingNeuron(leak=0.5, threshold=float(threshold))
        strict = replace(neuron, fires=">")
        for backend in ("cpu", "plain"):
            for found, which, potential in (
                (at, neuron, threshold),
                (below, neuron, np.nextafter(threshold, 0)),
                (below, strict, threshold),
            ):
                problem = single_neuron(which, float(potential))
                happened = ottt(*problem.arguments, backend=backend).diagnostics
                found.append(happened.spike_rates["layer.1"])
    return Measured(min(at), max(below))


@claim(
    "ottt/5.slope",
    r"The rectangular slope is inclusive: at $|u-V_{th}|=a$ exactly it is 1 still, on both sides, whatever $a$.",
    source="specification, sections 2.3 and 5",
    metric="smallest gradient of the neuron's bias, over that with slope 1, at both edges of three widths",
    relation="==",
    bound=1.0,
    control="the largest one by one number further out",
)
def rectangle_is_inclusive(rng: np.random.Generator) -> Measured:
    inside, outside = [], []
    for a in (1.0, 0.5, 0.25):  # powers of two: potentials at the edge are exact
        neuron = SpikingNeuron(leak=0.5, surrogate=Surrogate("boxcar", slope=1 / a, height=1.0))
        for side in (-1, 1):
            edge = 1 + side * a
            for found, potential in ((inside, edge), (outside, np.nextafter(edge, side * np.inf))):
                if abs(potential - 1) == a and found is outside:
                    potential = edge + side * np.spacing(1 + a)  # the next number was rounded away
                problem = single_neuron(neuron, float(potential))
                unit = problem.with_neuron(surrogate=Surrogate("constant", 1.0, 1.0))
                bias, whole = (p.online()["layer.1.bias"].item() for p in (problem, unit))
                require(abs(whole) > 1e-3, "the error at the neuron is 0")
                found.append(bias / whole)
    return Measured(min(inside), max(outside))
