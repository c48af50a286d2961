"""Rate-based backpropagation beside BPTT on scikit-learn's digits, with the neuron of Yu et al. 2024."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from refsnn.algorithms.bptt import bptt
from refsnn.algorithms.result import GradientResult
from refsnn.datasets.digits import load_digits
from refsnn.models.builders.dense import dense_network
from refsnn.models.contract import Parameters
from refsnn.models.spiking_graph import SpikingGraph
from validation.experiments import ExperimentResult, Progress, experiment
from validation.experiments.spiking_training import RULES, SpikingSetting, encode, firing
from validation.experiments.training import History, Recipe, learning_curves, summary, train
from validation.nets import cosine

RECIPE = Recipe(epochs=15, batch=64, learning_rate=0.1, momentum=0.9, cosine=True)
METHODS = ("rate-based", "BPTT, reset detached")


def stack_parameters(graph: SpikingGraph, rng: np.random.Generator, dtype: Any) -> Parameters:
    """Weights N(0, 4 / fan-in), biases N(0.1, 0.1^2)."""
    return graph.initialise(rng, dtype)


def digits_setting(method: str, encoding: str, steps: int) -> SpikingSetting:
    """A stack 64-64-64-10 with the neuron of Yu 2024."""
    return SpikingSetting(dense_network((64, 64, 64, 10)), method, steps, encoding, stack_parameters)


def train_digits(
    method: str, encoding: str, steps: int, seed: int, tick: Callable[[str], None]
) -> tuple[History, list[float]]:
    """One training; also the cosine of the rate-based first weight gradient to BPTT's on the way."""
    rng = np.random.default_rng(seed)
    data = load_digits(rng, dtype=np.float32)
    setting = digits_setting(method, encoding, steps)
    cosines: list[float] = []
    updates = 0

    def gradient(
        parameters: Parameters, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator
    ) -> GradientResult:
        nonlocal updates
        problem = setting.learning_graph, parameters, encode(images, steps, encoding, rng), labels
        result = RULES[method].gradient(*problem)
        updates += 1
        if method == "rate-based" and updates % 20 == 0:
            truth = bptt(*problem).gradients
            cosines.append(cosine(result.gradients["layer.1.weight"], truth["layer.1.weight"]))
        return result

    start = stack_parameters(setting.graph, rng, np.float32)
    return train(start, gradient, setting.predict, data, RECIPE, rng, tick), cosines


def compare(settings: list[tuple[str, int]], seeds: int, progress: Progress) -> ExperimentResult:
    """Both methods in every setting (encoding, T)."""
    total, done = len(settings) * seeds * len(METHODS) * RECIPE.epochs, 0
    rows, curves = [], {}
    for encoding, steps in settings:
        found: dict[str, list[History]] = {}
        cosines: list[float] = []
        for method in METHODS:
            for seed in range(seeds):

                def tick(text: str, label: str = f"{method}, {encoding}, T = {steps}") -> None:
                    nonlocal done
                    done += 1
                    progress(done, total, f"{label}: {text}")

                history, seen = train_digits(method, encoding, steps, seed, tick)
                found.setdefault(method, []).append(history)
                cosines += seen
        rows.append(
            (
                f"{encoding} input, T = {steps}",
                *(summary(found[method]) for method in METHODS),
                f"{np.mean(cosines):.4f}",
                firing(found["rate-based"]),
            )
        )
        curves |= {f"{method}, {encoding}, T = {steps}": found[method] for method in METHODS}
    figure = learning_curves(curves, "digits, stack 64-64-64-10")
    return ExperimentResult(
        table_header=(
            "setting",
            "test error, rate-based",
            "test error, BPTT",
            "cosine of the first weight gradient",
            "firing rates",
        ),
        table_rows=rows,
        figures=[
            (
                "Learning curves",
                "Test error after each epoch; mean over seeds, and up to four curves with their range.",
                figure,
            )
        ],
        notes=f"{seeds} seeds; SGD with rate 0.1, momentum 0.9, cosine decay, batch 64, 15 epochs, float32. "
        "The cosine compares both gradients on the same network and batch, every 20 updates of the "
        "rate-based training.",
    )


@experiment(
    "rate_backpropagation/digits",
    "Digits: rate-based backpropagation beside BPTT",
    r"A stack 64-64-64-10, $\lambda=0.2$, $T=4$, on 1437 training and 360 test images of 8x8 pixels.",
)
def digits(progress: Progress) -> ExperimentResult:
    return compare([("static", 4), ("Bernoulli", 4)], 3, progress)


@experiment(
    "rate_backpropagation/digits-long",
    "Digits: two lengths",
    r"The same stack at $T=4$ and $T=8$, three seeds.",
    long=True,
)
def digits_long(progress: Progress) -> ExperimentResult:
    return compare([(e, steps) for e in ("static", "Bernoulli") for steps in (4, 8)], 3, progress)
