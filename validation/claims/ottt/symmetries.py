"""O12: what must happen to gradients when samples, neurons and scales are rearranged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from refsnn.algorithms.sltt import sltt
from refsnn.models.builders.dense import dense_network
from refsnn.models.builders.vgg import vgg
from refsnn.models.contract import Parameters
from refsnn.models.operators.dropout import Dropout
from refsnn.models.operators.pooling import MaxPool
from refsnn.models.operators.reshaping import Scale
from refsnn.models.spiking_graph import SpikingGraph
from validation.claims.ottt.forward_mode import trace_errors
from validation.claims.ottt.problems import (
    APART,
    BUILDS,
    EXACT,
    Problem,
    dense,
    errors,
    feedback,
    images,
    integrate_and_fire,
    is_live,
    live,
    random_neuron,
)
from validation.claims.ottt.rates import traces
from validation.ledger import Measured, VacuousError, claim

PRESETS = ("paper", "exact_local", "sltt")


def of_sample(problem: Problem, sample: int) -> Problem:
    """One sample as a batch of its own, with its masks."""
    one = slice(sample, sample + 1)
    nodes = [
        replace(node, what=replace(node.what, mask=node.what.mask[one]))
        if isinstance(node.what, Dropout) and node.what.mask is not None
        else node
        for node in problem.graph.nodes
    ]
    graph = replace(problem.graph, nodes=tuple(nodes))
    return Problem(graph, problem.parameters, problem.inputs[:, one], problem.targets[one])


def mean_of(gradients: list[Parameters]) -> Parameters:
    """Mean of each parameter's gradient."""
    return {name: np.mean([one[name] for one in gradients], axis=0) for name in gradients[0]}


@claim(
    "ottt/O12",
    r"The gradient of a batch is the mean of those of its samples, each a batch of one: OTTT is linear in what samples add.",
    source="specification, O12",
    metric="largest relative error of a parameter, three presets, seven builds",
    relation="<=",
    bound=EXACT,
    control="SLTT on a network with batch normalisation, where samples see each other",
)
def linear_over_batch(rng: np.random.Generator) -> Measured:
    values = []
    for build in BUILDS:
        problem = live(rng, build)
        samples = [of_sample(problem, sample) for sample in range(len(problem.targets))]
        for preset in PRESETS:
            alone = mean_of([sample.online(preset) for sample in samples])
            values += errors(alone, problem.online(preset))
    problem = live(rng, normalised)
    alone = mean_of([sltt(*of_sample(problem, s).arguments).gradients for s in range(len(problem.targets))])
    together = sltt(*problem.arguments).gradients
    weights = {name: value for name, value in together.items() if name.endswith("weight")}
    return Measured(max(values), max(errors(alone, weights)))


def normalised(rng: np.random.Generator) -> SpikingGraph:
    """Convolutions with batch normalisation of each step."""
    return vgg((3, "pool", 4), 4, (2, 4, 4), normalisation="batch", over="step", neuron=random_neuron(rng))


@claim(
    "ottt/O12.pooling",
    r"Average pooling, flattening, upsampling, dropout and scales commute with the trace: what a weight sees is the trace of what "
    r"it reads. The maximum does not.",
    source="Xiao 2022, section 4.3; specification, O12 and section 7, item 11",
    metric="largest relative error of a trace at any step, convolutions with pooling and feedback",
    relation="<=",
    bound=EXACT,
    control="the maximum of traces against the trace of maxima",
)
def pooling_commutes(rng: np.random.Generator) -> Measured:
    values = [trace_errors(live(rng, build))[0] for build in (images, feedback)]
    spikes, pool = (rng.random((8, 2, 3, 4, 4)) < 0.3).astype(float), MaxPool(2)
    of_maxima = traces(np.array([pool.forward(step)[0] for step in spikes]), 0.6)
    maxima = np.array([pool.forward(step)[0] for step in traces(spikes, 0.6)])
    return Measured(max(values), float(np.abs(of_maxima - maxima).max() / of_maxima.max()))


def recurrent_without_dropout(rng: np.random.Generator) -> SpikingGraph:
    """Two layers that read themselves."""
    return dense_network((6, 8, 7, 4), random_neuron(rng), recurrent=True)


def standardised_without_dropout(rng: np.random.Generator) -> SpikingGraph:
    """Two layers with standardised weights."""
    return dense_network((6, 8, 7, 4), random_neuron(rng), standardise=True, scale=2.74)


def permuted(parameters: Parameters, order: np.ndarray) -> Parameters:
    """The neurons of the first layer in another order: rows of what feeds them, columns of what reads them."""
    moved = dict(parameters)
    for name, value in parameters.items():
        if name.startswith("layer.1."):
            moved[name] = value[order]
        if name in ("layer.1.recurrent.weight", "layer.2.weight"):
            moved[name] = moved[name][:, order]
    return moved


@claim(
    "ottt/O12.permutation",
    r"Permuting the neurons of a layer permutes the gradients and changes nothing else.",
    source="specification, O12",
    metric="largest relative error of a parameter, three presets; plain, IF, standardised, recurrent",
    relation="<=",
    bound=EXACT,
    control="the gradients in the old order",
)
def permutation(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for build in (dense, integrate_and_fire, standardised_without_dropout, recurrent_without_dropout):
        problem = live(rng, build)
        order = np.roll(rng.permutation(8), 1)
        if np.array_equal(order, np.arange(8)):
            order = order[::-1]
        moved = replace(problem, parameters=permuted(problem.parameters, order))
        for preset in PRESETS:
            found, gradients = moved.online(preset), problem.online(preset)
            values += errors(found, permuted(gradients, order))
            controls.append(max(errors(found, gradients)))
    return Measured(max(values), min(controls))


def rescaled(problem: Problem, factor: float) -> Problem:
    """gamma times a factor behind the first layer, the weight that reads it divided by the factor."""
    nodes = [
        replace(node, what=Scale(node.what.factor * factor)) if node.name == "layer.1.scaled" else node
        for node in problem.graph.nodes
    ]
    weight = {"layer.2.weight": problem.parameters["layer.2.weight"] / factor}
    graph = replace(problem.graph, nodes=tuple(nodes))
    return replace(problem, graph=graph, parameters=problem.parameters | weight)


def scale_errors(rng: np.random.Generator, standardise: bool) -> tuple[float, float]:
    """Error of the expected gradients after `rescaled`, and of them without the factor."""

    def build(rng: np.random.Generator) -> SpikingGraph:
        return dense_network((6, 8, 7, 4), random_neuron(rng), standardise=standardise, scale=2.74)

    factor = float(rng.choice([rng.uniform(0.4, 0.7), rng.uniform(1.5, 2.5)]))
    for _ in range(100):
        problem = live(rng, build)
        other = rescaled(problem, factor)
        if is_live(other):
            found, same = other.online(), problem.online()
            expected = same | {"layer.2.weight": factor * same["layer.2.weight"]}
            return max(errors(found, expected)), max(errors(found, same))
    raise VacuousError("no network was alive with both scales in 100 tries")


@claim(
    "ottt/O12.scale",
    r"With $\gamma\to c\gamma$ behind one layer and the next, plain weight $W\to W/c$ the network does the same; $\nabla W$ is "
    r"multiplied by $c$ and no other gradient changes.",
    source="specification, O12",
    metric="largest relative error of a parameter",
    relation="<=",
    bound=EXACT,
    control=r"$\nabla W$ without the factor",
)
def scale_of_spikes(rng: np.random.Generator) -> Measured:
    pairs = [scale_errors(rng, standardise=False) for _ in range(3)]
    return Measured(max(pair[0] for pair in pairs), min(pair[1] for pair in pairs))


@claim(
    "ottt/O12.standardised",
    r"With a standardised next weight the scale of $V$ is standardised away: the forward pass does change, and the gradients too.",
    source="specification, O12 (must fail)",
    metric="largest relative error of a parameter to the gradients expected of a plain weight, smallest of three networks",
    relation=">=",
    bound=APART,
    control="a plain weight",
)
def scale_is_standardised_away(rng: np.random.Generator) -> Measured:
    wrong = [scale_errors(rng, standardise=True)[0] for _ in range(3)]
    return Measured(min(wrong), scale_errors(rng, standardise=False)[0])
