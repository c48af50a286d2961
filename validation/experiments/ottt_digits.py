"""Digits with standardised weights: rules that learn forward in time, and BPTT (Xiao 2022, in small)."""

from __future__ import annotations

import numpy as np

from refsnn.datasets.digits import load_digits
from refsnn.datasets.labelled import LabelledImages
from refsnn.equations.spiking import SpikingNeuron
from refsnn.models.builders.dense import dense_network
from validation.experiments import ExperimentResult, Progress, experiment
from validation.experiments.spiking_training import (
    SpikingSetting,
    accuracies,
    accuracy,
    firing,
    train_each,
    verdict,
)
from validation.experiments.training import Recipe, learning_curves

RECIPE = Recipe(epochs=15, batch=64, learning_rate=0.1, momentum=0.9, cosine=True)
NETWORK = dense_network(
    (64, 128, 128, 10),
    SpikingNeuron(leak=0.5),
    standardise=True,
    scale=2.74,
    loss_over="each_step",
    squared_share=0.05,
)
STEPS = 6
SHORT = ("OTTT_A", "OTTT_O", "BPTT, reset detached")
LONG = (
    "OTTT_A",
    "OTTT_O",
    "OTTT_A, official code",
    "OTTT_A, exact local",
    "SLTT",
    "rate-based",
    "BPTT, reset detached",
    "BPTT",
)


def standardised_digits(rng: np.random.Generator) -> LabelledImages:
    """The digits less the mean of all training pixels, by their deviation."""
    data = load_digits(rng, dtype=np.float32)
    mean, deviation = data.train_images.mean(), data.train_images.std()
    return LabelledImages(
        (data.train_images - mean) / deviation,
        data.train_labels,
        (data.test_images - mean) / deviation,
        data.test_labels,
    )


def compare(rules: tuple[str, ...], seeds: int, progress: Progress) -> ExperimentResult:
    """Every rule on the digits."""
    settings = {rule: SpikingSetting(NETWORK, rule, STEPS) for rule in rules}
    found = train_each(settings, standardised_digits, RECIPE, seeds, progress)
    lowest = min(float(accuracies(histories).mean()) for histories in found.values())
    figure = learning_curves(found, "digits, network 64-128-128-10")
    return ExperimentResult(
        table_header=("rule", "test accuracy", "last loss", "firing rates"),
        table_rows=[
            (
                rule,
                accuracy(histories),
                f"{np.mean([history.losses[-1] for history in histories]):.4f}",
                firing(histories),
            )
            for rule, histories in found.items()
        ],
        figures=[("Learning curves", "Test error after each epoch; mean over seeds.", figure)],
        notes=[
            verdict("Every rule should reach 96 %", lowest >= 0.96),
            f"Seeds: {seeds}; $T=6$, $\\lambda=0.5$, standardised weights, 15 epochs of batches of 64, SGD "
            "with rate 0.1, momentum 0.9 and cosine decay, float32.  OTTT_O updates after each step, and its "
            "momentum lives on.  The rules differ by less than two trainings of one rule do: this ranks "
            "nothing.",
        ],
    )


@experiment(
    "ottt/digits",
    "Digits: online learning beside BPTT",
    r"A network 64-128-128-10 with standardised weights, $\lambda=0.5$, $T=6$, static input.",
)
def digits(progress: Progress) -> ExperimentResult:
    return compare(SHORT, 1, progress)


@experiment(
    "ottt/digits-long",
    "Digits: eight rules, three seeds",
    r"The same network under every rule.",
    long=True,
)
def digits_long(progress: Progress) -> ExperimentResult:
    return compare(LONG, 3, progress)
