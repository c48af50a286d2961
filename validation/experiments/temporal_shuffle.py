"""Spikes shuffled in time at the test: what a network loses whose code is a rate, and one whose is not.

Yu 2024, Table 2, in small.  Every population's spikes are put into another order in time before the next one
reads them, so that all rates stay and everything else goes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from refsnn.datasets.digits import load_digits
from refsnn.kernels import spiking_kernels
from refsnn.models.contract import Parameters
from refsnn.models.sequences import as_sequence
from refsnn.models.spiking_graph import INPUT, Population, SpikingGraph
from refsnn.models.spiking_nodes import linear_operator
from refsnn.models.spiking_structure import Inputs
from validation.experiments import ExperimentResult, Progress, experiment
from validation.experiments.spiking_digits import RECIPE, digits_setting
from validation.experiments.spiking_training import SpikingSetting, encode
from validation.experiments.temporal_tasks import RECIPE as TEMPLATE_RECIPE
from validation.experiments.temporal_tasks import TEMPLATE_NETWORK, templates

Shuffle = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def unshuffled(spikes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As they are."""
    return spikes


def each_neuron(spikes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each neuron of each sample in an order of its own."""
    return rng.permuted(spikes, axis=0)


def whole_steps(spikes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same order for all neurons of a layer."""
    return spikes[rng.permutation(len(spikes))]


# what is done to spikes (T, B, n) of hidden layers, and to the input
SHUFFLES: dict[str, tuple[Shuffle, Shuffle]] = {
    "as they are": (unshuffled, unshuffled),
    "each neuron by itself": (each_neuron, unshuffled),
    "whole steps": (whole_steps, unshuffled),
    "each neuron, and the input": (each_neuron, each_neuron),
}
DRAWS = 5


def run_shuffled(
    graph: SpikingGraph,
    parameters: Parameters,
    inputs: Inputs,
    shuffles: tuple[Shuffle, Shuffle],
    rng: np.random.Generator,
) -> np.ndarray:
    """The mean read-out of a chain of dense layers whose spikes are shuffled in time, layer by layer."""
    kernels, weights = spiking_kernels("cpu"), graph.prepared(parameters)
    shuffle, shuffle_input = shuffles
    values = {INPUT: np.ascontiguousarray(shuffle_input(as_sequence(inputs), rng))}
    for node in graph.nodes:
        read = values[node.inputs[0]]
        if isinstance(node.what, Population):
            charged, spikes = np.empty_like(read), np.empty_like(read)
            potential = np.full(read[0].size, node.what.neuron.reset_value, read.dtype)
            flat = (array.reshape(len(read), -1) for array in (read, charged, spikes))
            current, charged, fired = (np.ascontiguousarray(array) for array in flat)
            kernels.forward(node.what.neuron, current, potential, charged, fired)
            values[node.name] = np.ascontiguousarray(shuffle(fired.reshape(read.shape), rng))
        else:
            outputs = linear_operator(node).forward(weights[node.name], read.reshape(-1, *read.shape[2:]))
            values[node.name] = outputs.reshape(*read.shape[:2], *outputs.shape[1:])
    return values[graph.readout.name].mean(axis=0)


def shuffled_accuracies(
    setting: SpikingSetting, parameters: Parameters, images: np.ndarray, labels: np.ndarray, seed: int
) -> dict[str, float]:
    """Accuracy under each shuffle, the mean of some draws."""
    rng = np.random.default_rng(seed)
    inputs = encode(images, setting.steps, setting.encoding, rng)

    def right(shuffles: tuple[Shuffle, Shuffle]) -> float:
        scores = run_shuffled(setting.graph, parameters, inputs, shuffles, rng)
        return float((scores.argmax(axis=1) == labels).mean())

    return {
        name: float(np.mean([right(shuffles) for _ in range(DRAWS)])) for name, shuffles in SHUFFLES.items()
    }


@experiment(
    "rate_backpropagation/shuffle",
    "Spikes shuffled in time at the test",
    r"The digits' network 64-64-64-10, static input, its hidden spikes put into another order in time before "
    r"the next layer reads them; below a network whose task is spike times.",
)
def shuffle(progress: Progress) -> ExperimentResult:
    cases = [
        ("digits", digits_setting(rule, "static", steps), RECIPE)
        for steps in (4, 8)
        for rule in ("rate-based", "BPTT, reset detached")
    ]
    timed = SpikingSetting(TEMPLATE_NETWORK, "OTTT_A, exact local", 20, "sequence")
    cases.append(("spike templates", timed, TEMPLATE_RECIPE))
    rows = []
    for done, (name, setting, recipe) in enumerate(cases):
        progress(done, len(cases), f"{name}, {setting.rule}, T = {setting.steps}")
        rng = np.random.default_rng(0)
        data = load_digits(rng, dtype=np.float32) if name == "digits" else templates(rng)
        history = setting.train(data, recipe, rng)
        found = shuffled_accuracies(setting, history.parameters, data.test_images, data.test_labels, 1)
        rows.append(
            (name, setting.rule, setting.steps, *(f"{100 * found[which]:.2f} %" for which in SHUFFLES))
        )
    return ExperimentResult(
        table_header=("task", "rule", "T", *(f"test accuracy, {which}" for which in SHUFFLES)),
        table_rows=rows,
        figures=[],
        notes=[
            "What the digits lose is a few images of 360 (0.28 points each): the code is a rate.  The hidden "
            "spikes of a network that reads spike times are hardly more than that: its first layer answers "
            "with how many, no longer with when.  Only where the input's order goes too is its accuracy that "
            "of chance.",
            f"One training each; means of {DRAWS} draws of the order.",
        ],
    )
