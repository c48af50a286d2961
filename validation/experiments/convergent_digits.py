"""Equilibrium propagation beside BPTT on the same network, on scikit-learn's digits and on MNIST."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn.algorithms.bptt_convergent import bptt_convergent
from refsnn.algorithms.equilibrium_propagation import equilibrium_propagation
from refsnn.algorithms.relaxation import relax
from refsnn.algorithms.result import GradientResult
from refsnn.datasets.digits import load_digits
from refsnn.datasets.labelled import LabelledImages, one_hot
from refsnn.datasets.mnist import load_mnist
from refsnn.models.contract import Parameters
from refsnn.models.convergent import PrototypicalNetwork
from validation.experiments import ExperimentResult, Progress, Unavailable, experiment
from validation.experiments.training import History, Recipe, learning_curves, summary, train


@dataclass(frozen=True)
class Rule:
    """A way to train the prototypical network with one hidden layer."""

    name: str
    nudge_placement: str = "outside"
    symmetric: bool = False
    through_time: bool = False


PAPER = Rule("EP, nudge outside (paper)")
INSIDE = Rule("EP, nudge inside", nudge_placement="inside")
SYMMETRIC = Rule("EP, symmetric", symmetric=True)
BPTT = Rule("BPTT, truncated to K", through_time=True)

# Ernoult et al. 2019, prototypical network with one hidden layer: T, K, nudge, rates output to input
FREE_STEPS, NUDGED_STEPS, NUDGE = 40, 15, 0.1
LEARNING_RATES = (0.04, 0.08)


def train_network(
    rule: Rule,
    widths: tuple[int, int, int],
    data: LabelledImages,
    epochs: int,
    rng: np.random.Generator,
    tick: Callable[[str], None],
    dtype: Any = np.float32,
    cosine: bool = False,
) -> History:
    """One training with plain SGD, batch 20, at the paper's constant rates or with their cosine decay."""
    model = PrototypicalNetwork(widths, activation="sigm", nudge_placement=rule.nudge_placement)
    classes = widths[0]

    def gradient(
        parameters: Parameters, images: np.ndarray, labels: np.ndarray, _: np.random.Generator
    ) -> GradientResult:
        targets = one_hot(labels, classes, dtype)
        if rule.through_time:
            return bptt_convergent(
                model, parameters, images, targets, free_steps=FREE_STEPS, steps_back=NUDGED_STEPS
            )
        return equilibrium_propagation(
            model,
            parameters,
            images,
            targets,
            free_steps=FREE_STEPS,
            nudged_steps=NUDGED_STEPS,
            nudge=NUDGE,
            symmetric=rule.symmetric,
        )

    def predict(parameters: Parameters, images: np.ndarray, _: np.random.Generator) -> np.ndarray:
        return model.outputs(relax(model, parameters, images, steps=FREE_STEPS).state)

    parameters = model.initialise(rng, dtype)
    rates = {
        name: LEARNING_RATES[index]
        for index, pair in enumerate(model.couplings)
        for name in parameters
        if name.startswith(f"coupling.{pair[0]}.{pair[1]}.")
    }
    recipe = Recipe(epochs=epochs, batch=20, learning_rate=rates, cosine=cosine)
    return train(parameters, gradient, predict, data, recipe, rng, tick)


def compare(rules: list[Rule], seeds: int, epochs: int, progress: Progress) -> ExperimentResult:
    """Every rule on the digits, same seeds."""
    done, total = 0, len(rules) * seeds * epochs
    found: dict[str, list[History]] = {rule.name: [] for rule in rules}
    for rule in rules:
        for seed in range(seeds):

            def tick(text: str, label: str = rule.name) -> None:
                nonlocal done
                done += 1
                progress(done, total, f"{label}: {text}")

            rng = np.random.default_rng(seed)
            data = load_digits(rng, dtype=np.float32)
            found[rule.name].append(train_network(rule, (10, 128, 64), data, epochs, rng, tick))
    return ExperimentResult(
        table_header=(
            "rule",
            "test error, mean of the last five epochs",
            "last epoch",
            "train error, last epoch",
            "largest residual, last free phase",
        ),
        table_rows=[
            (
                name,
                summary(histories, epochs=5),
                summary(histories),
                f"{100 * np.mean([h.train_errors[-1] for h in histories]):.2f} %",
                f"{max(h.diagnostics['residual'] for h in histories):.1e}",
            )
            for name, histories in found.items()
        ],
        figures=[
            (
                "Learning curves",
                "Test error after each epoch; mean over seeds, and up to four curves with their range.",
                learning_curves(found, "digits, prototypical network 10-128-64"),
            )
        ],
        notes=f"{seeds} seeds; $T={FREE_STEPS}$, $K={NUDGED_STEPS}$, $\\beta={NUDGE}$, batch 20, float32, "
        "learning rates 0.04 and 0.08 (output to input), constant, so that the last epoch is noisy.",
    )


@experiment(
    "equilibrium_propagation/digits",
    "Digits: equilibrium propagation beside BPTT on the same network",
    "A prototypical network 10-128-64, the paper's settings for one hidden layer, 1437 training and 360 test "
    "images of 8x8 pixels.",
)
def digits(progress: Progress) -> ExperimentResult:
    return compare([PAPER, BPTT], 3, 30, progress)


@experiment(
    "equilibrium_propagation/digits-long",
    "Digits: four rules, three seeds",
    "The same network with the nudge inside the activation and with symmetric nudging beside it.",
    long=True,
)
def digits_long(progress: Progress) -> ExperimentResult:
    return compare([PAPER, INSIDE, SYMMETRIC, BPTT], 3, 30, progress)


@experiment(
    "equilibrium_propagation/mnist",
    "MNIST: one hidden layer of 512",
    "A prototypical network 10-512-784 trained by equilibrium propagation with the settings of the paper's "
    "Table 1, for fewer epochs.",
    long=True,
)
def mnist(progress: Progress, epochs: int = 12) -> ExperimentResult:
    try:
        data = load_mnist(dtype=np.float32)
    except FileNotFoundError as missing:
        raise Unavailable(str(missing)) from missing
    done = 0

    def tick(text: str) -> None:
        nonlocal done
        done += 1
        progress(done, epochs, text)

    history = train_network(PAPER, (10, 512, 784), data, epochs, np.random.default_rng(0), tick, cosine=True)
    rows = [
        (epoch, f"{100 * test:.2f} %", f"{100 * seen:.2f} %")
        for epoch, (test, seen) in enumerate(
            zip(history.test_errors, history.train_errors, strict=True), start=1
        )
    ]
    return ExperimentResult(
        table_header=("epoch", "test error", "train error"),
        table_rows=rows,
        figures=[
            (
                "Learning curve",
                "Test error after each epoch.",
                learning_curves({PAPER.name: [history]}, "MNIST, 10-512-784"),
            )
        ],
        notes=f"One seed; $T={FREE_STEPS}$, $K={NUDGED_STEPS}$, $\\beta={NUDGE}$, batch 20, float32. The "
        "paper's learning rates with cosine decay: with constant ones single epochs jump by a point or more.",
    )
