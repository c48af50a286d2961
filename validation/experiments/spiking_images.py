"""MNIST and CIFAR-10 under every rule on equal terms: network, first parameters, data, epochs, optimiser.

Full tables are hours of work on two cores.  A run gives each half an hour, divided among its rows; each row
says how many epochs it has done, and a run with checkpoints goes on where the last stopped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from refsnn.datasets.augmentation import random_crop, random_flip
from refsnn.datasets.cifar10 import load_cifar10, standardise
from refsnn.datasets.labelled import LabelledImages
from refsnn.datasets.mnist import load_mnist
from refsnn.equations.spiking import SpikingNeuron
from refsnn.models.builders.dense import dense_network
from refsnn.models.builders.vgg import vgg, vgg_sws
from refsnn.models.contract import Parameters
from refsnn.models.spiking_graph import SpikingGraph
from validation.experiments import Allowance, ExperimentResult, Progress, Unavailable, experiment
from validation.experiments.spiking_training import RULES, SpikingSetting, firing, verdict
from validation.experiments.time_sharing import WORKERS, Trained, Training, train_sharing
from validation.experiments.training import Recipe, learning_curves
from validation.timing import one_thread, peak_memory, take_turns
from validation.wording import duration

YARDSTICK = "BPTT, reset detached"
STANDARDISED = (YARDSTICK, "rate-based", "OTTT_A", "OTTT_O", "SLTT")
NORMALISED = (YARDSTICK, "rate-based", "SLTT")
PLAN = (16, "pool", 32, "pool", 64)
CIFAR_STEPS = (4, 6)
CIFAR_RECIPE = Recipe(epochs=20, batch=64, learning_rate=0.1, momentum=0.9, cosine=True)
MNIST_RECIPE = Recipe(epochs=10, batch=100, learning_rate=0.1, momentum=0.9, cosine=True)
POINTS = 2.0
TIMED = 3

MNIST_NETWORK = dense_network(
    (784, 256, 256, 10),
    SpikingNeuron(leak=0.5),
    standardise=True,
    scale=2.74,
    loss_over="each_step",
    squared_share=0.05,
)
STANDARDISED_NETWORK = vgg_sws(plan=PLAN, loss_over="each_step", squared_share=0.05)
# statistics of each step: the only ones that a rule has that learns while it runs
NORMALISED_NETWORK = vgg(PLAN, 10, (3, 32, 32), normalisation="batch", over="step", loss_over="each_step")


def standardised_mnist(images: np.ndarray) -> np.ndarray:
    """Less the mean of all training pixels, by their deviation."""
    number = images.dtype.type
    return (images - number(0.1307)) / number(0.3081)


def cropped_and_flipped(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shifted by up to four pixels, mirrored or not."""
    return random_flip(random_crop(images, rng), rng)


def trainings(
    data: str,
    network: str,
    graph: SpikingGraph,
    rules: Sequence[str],
    steps: int,
    recipe: Recipe,
    prepare: Callable[[np.ndarray], np.ndarray],
    augment: Callable[[np.ndarray, np.random.Generator], np.ndarray] | None = None,
) -> list[Training]:
    """One network under several rules."""
    return [
        Training(
            key(data, network, f"T{steps}", rule),
            f"{network}, T = {steps}",
            SpikingSetting(graph, rule, steps, prepare=prepare, augment=augment),
            recipe,
        )
        for rule in rules
    ]


def key(*words: str) -> str:
    """A name for a file.

    Examples
    --------
    >>> key("mnist", "sWS", "T5", "BPTT, reset detached")
    'mnist-sws-t5-bptt-reset-detached'
    """
    return re.sub(r"[^a-z0-9_]+", "-", "-".join(words).lower())


def batch_costs(trained: Sequence[Trained], data: LabelledImages) -> dict[str, tuple[float, float]]:
    """Milliseconds of one thread, best of some, and peak MiB of a mini-batch, by key of the training."""
    runs = {entry.training.key: partial(one_batch, entry, data) for entry in trained}
    with one_thread():
        times = take_turns(runs, TIMED)
        return {name: (min(times[name]), peak_memory(run) / 2**20) for name, run in runs.items()}


def one_batch(entry: Trained, data: LabelledImages) -> None:
    """What a rule does with a mini-batch but for the optimiser."""
    setting, rng = entry.training.setting, np.random.default_rng(0)
    batch = entry.training.recipe.batch
    images, labels = data.train_images[:batch], data.train_labels[:batch]
    if RULES[setting.rule].online:
        setting.online(entry.history.parameters, images, labels, rng, unmoved)
    else:
        setting.gradient(entry.history.parameters, images, labels, rng)


def unmoved(parameters: Parameters, gradients: Parameters) -> Parameters:
    """The parameters as they are."""
    return parameters


def table_row(entry: Trained, yardstick: Trained, costs: dict[str, tuple[float, float]]) -> tuple[str, ...]:
    """What the table says of one training."""
    training, history = entry.training, entry.history
    milliseconds, mebibytes = costs[training.key]
    first = training.network, training.setting.rule, f"{history.epochs:.3g} of {training.recipe.epochs}"
    last = f"{milliseconds:.0f} ms", f"{mebibytes:.0f} MiB"
    if entry.test_error is None:
        return (*first, *4 * ("–",), *last)
    seen = history.train_errors[-1] if history.train_errors else history.running_error
    ahead, truth = "–", yardstick.test_error
    if truth is not None and yardstick is not entry and yardstick.history.epochs == history.epochs:
        ahead = f"{100 * (truth - entry.test_error):+.2f}"
    return (
        *first,
        f"{100 * (1 - entry.test_error):.2f} %",
        ahead,
        "–" if seen is None else f"{100 * (1 - seen):.2f} %",
        firing([history]),
        *last,
    )


def report(
    trained: Sequence[Trained], data: LabelledImages, allowance: Allowance, title: str, notes: list[str]
) -> ExperimentResult:
    """Table, curves and notes."""
    costs = batch_costs(trained, data)
    yardsticks = {
        entry.training.network: entry for entry in trained if entry.training.setting.rule == YARDSTICK
    }
    figures = []
    for network in yardsticks:
        curves = {
            entry.training.setting.rule: [entry.history]
            for entry in trained
            if entry.training.network == network and entry.history.test_errors
        }
        if curves:
            caption = "Test error after each whole epoch, one seed."
            figures.append(
                (f"Learning curves, {network}", caption, learning_curves(curves, f"{title}, {network}"))
            )
    left = sum(
        entry.history.seconds / entry.history.epochs * (entry.training.recipe.epochs - entry.history.epochs)
        for entry in trained
        if entry.history.epochs
    )
    kept = (
        "Trainings that are not done begin anew in the next run; with --checkpoints DIR they go on."
        if allowance.folder is None
        else "Trainings that are not done go on from their checkpoints in the next run."
    )
    return ExperimentResult(
        table_header=(
            "network",
            "rule",
            "epochs done",
            "test accuracy",
            "points from BPTT, after as many epochs",
            "train accuracy",
            "firing rates",
            "time a batch",
            "memory a batch",
        ),
        table_rows=[table_row(entry, yardsticks[entry.training.network], costs) for entry in trained],
        figures=figures,
        notes=[
            *judged(trained, yardsticks),
            *notes,
            "One seed, the same first parameters for all rules of a network, the loss of each step for all; "
            "SGD with rate 0.1, momentum 0.9 and cosine decay, float32.  Time and memory of a batch: one "
            "thread, gradient alone, best of three and peak of all arrays.",
            *([f"{kept}  About {duration(left / WORKERS)} to go."] if left else []),
        ],
    )


def judged(trained: Sequence[Trained], yardsticks: dict[str, Trained]) -> list[str]:
    """Whether rates and OTTT end within two points of BPTT, of trainings that are done."""
    lines = []
    for entry in trained:
        truth, rule = yardsticks[entry.training.network], entry.training.setting.rule
        if not (entry.history.finished and truth.history.finished) or rule == YARDSTICK:
            continue
        if entry.test_error is None or truth.test_error is None or rule == "SLTT":
            continue
        below = 100 * (entry.test_error - truth.test_error)
        lines.append(
            verdict(
                f"{entry.training.label} should end at most {POINTS:g} points under BPTT", below <= POINTS
            )
        )
    return lines


# -- the experiments ----------------------------------------------------------------------------------------


@experiment(
    "ottt/mnist",
    "MNIST: every rule on one network",
    r"A dense network 784-256-256-10 with standardised weights, $\lambda=0.5$, $T=5$, static input.",
    long=True,
    resumable=True,
)
def mnist(progress: Progress, allowance: Allowance) -> ExperimentResult:
    data = available(partial(load_mnist, dtype=np.float32))
    rows = trainings("mnist", "sWS", MNIST_NETWORK, STANDARDISED, 5, MNIST_RECIPE, standardised_mnist)
    return report(train_sharing(rows, data, allowance, progress), data, allowance, "MNIST", [])


@experiment(
    "ottt/cifar10",
    "CIFAR-10: convolutions with standardised weights",
    r"16C3-AP2-32C3-AP2-64C3 with standardised weights and $\lambda=0.5$, at $T=4$ and $T=6$, on the "
    r"training files that are there.",
    long=True,
    resumable=True,
)
def cifar10_standardised(progress: Progress, allowance: Allowance) -> ExperimentResult:
    return cifar10("sWS", STANDARDISED_NETWORK, STANDARDISED, progress, allowance)


@experiment(
    "rate_backpropagation/cifar10",
    "CIFAR-10: convolutions with batch normalisation",
    r"16C3-AP2-32C3-AP2-64C3 with batch normalisation by the statistics of each step and $\lambda=0.2$, at "
    r"$T=4$ and $T=6$, on the training files that are there.  Such a normalisation refuses traces.",
    long=True,
    resumable=True,
)
def cifar10_normalised(progress: Progress, allowance: Allowance) -> ExperimentResult:
    return cifar10("BN", NORMALISED_NETWORK, NORMALISED, progress, allowance)


def cifar10(
    network: str, graph: SpikingGraph, rules: Sequence[str], progress: Progress, allowance: Allowance
) -> ExperimentResult:
    """One network at every T."""
    data = available(partial(load_cifar10, dtype=np.float32))
    rows = [
        training
        for steps in CIFAR_STEPS
        for training in trainings(
            "cifar10", network, graph, rules, steps, CIFAR_RECIPE, standardise, cropped_and_flipped
        )
    ]
    trained = train_sharing(rows, data, allowance, progress)
    note = (
        f"{len(data.train_labels)} training images, shifted and mirrored at random, batches of "
        f"{CIFAR_RECIPE.batch}; {len(data.test_labels)} test images."
    )
    return report(trained, data, allowance, "CIFAR-10", [note])


def available(load: Callable[[], LabelledImages]) -> LabelledImages:
    """The data, or the reason why there are none."""
    try:
        return load()
    except FileNotFoundError as missing:
        raise Unavailable(str(missing)) from missing
