"""The training loop that the experiments share: mini-batches, stochastic gradient descent, a history.

The optimiser is the plainest there is (momentum, cosine decay), for the experiments compare gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refsnn.algorithms.result import GradientResult
from refsnn.datasets.labelled import LabelledImages
from refsnn.models.contract import Parameters

# (parameters, images, labels, rng) to a gradient
Gradient = Callable[[Parameters, np.ndarray, np.ndarray, np.random.Generator], GradientResult]
# (parameters, images, rng) to class scores
Predict = Callable[[Parameters, np.ndarray, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes
    ----------
    epochs, batch : int
        Passes over the training set, samples an update.
    learning_rate : float or dict of str to float
        One for all parameters, or one for each name.
    momentum : float
        0 is plain gradient descent.
    cosine : bool
        Whether the rate decays along a half cosine to 0 at the last update.
    """

    epochs: int
    batch: int
    learning_rate: float | Mapping[str, float]
    momentum: float = 0.0
    cosine: bool = False


@dataclass
class History:
    """One training: loss and test error after each epoch, and the parameters at the end."""

    losses: list[float] = field(default_factory=list)
    test_errors: list[float] = field(default_factory=list)
    train_errors: list[float] = field(default_factory=list)
    parameters: Parameters = field(default_factory=dict)
    diagnostics: dict[str, Any] = field(default_factory=dict)

    @property
    def test_error(self) -> float:
        """Share of wrong test images at the end."""
        return self.test_errors[-1]


def train(
    parameters: Parameters,
    gradient: Gradient,
    predict: Predict,
    data: LabelledImages,
    recipe: Recipe,
    rng: np.random.Generator,
    tick: Callable[[str], None],
) -> History:
    """Train on `data`; `tick` is called after every epoch with a line of text."""
    parameters = {name: value.copy() for name, value in parameters.items()}
    velocity = {name: np.zeros_like(value) for name, value in parameters.items()}
    history, count = History(), len(data.train_labels)
    updates_an_epoch = count // recipe.batch
    for epoch in range(recipe.epochs):
        order, losses, wrong = rng.permutation(count), [], 0
        for index in range(updates_an_epoch):
            picked = order[index * recipe.batch : (index + 1) * recipe.batch]
            labels = data.train_labels[picked]
            result = gradient(parameters, data.train_images[picked], labels, rng)
            done = (epoch * updates_an_epoch + index) / (recipe.epochs * updates_an_epoch)
            decay = 0.5 * (1 + np.cos(np.pi * done)) if recipe.cosine else 1.0
            for name, value in result.gradients.items():
                rate = recipe.learning_rate
                step = value.dtype.type(decay * (rate if isinstance(rate, (int, float)) else rate[name]))
                velocity[name] *= value.dtype.type(recipe.momentum)
                velocity[name] += value
                parameters[name] -= step * velocity[name]
            losses.append(result.loss)
            wrong += int((result.diagnostics.outputs.argmax(axis=1) != labels).sum())
        history.losses.append(float(np.mean(losses)))
        history.train_errors.append(wrong / (updates_an_epoch * recipe.batch))
        history.test_errors.append(error_rate(predict, parameters, data.test_images, data.test_labels, rng))
        tick(f"epoch {epoch + 1}/{recipe.epochs}, test error {history.test_error:.1%}")
    history.parameters = parameters
    history.diagnostics = {
        "residual": result.diagnostics.residual,
        "spike_rates": result.diagnostics.spike_rates,
    }
    return history


def error_rate(
    predict: Predict,
    parameters: Parameters,
    images: np.ndarray,
    labels: np.ndarray,
    rng: np.random.Generator,
    batch: int = 1000,
) -> float:
    """Share of images whose highest score is not their label's."""
    wrong = 0
    for start in range(0, len(labels), batch):
        scores = predict(parameters, images[start : start + batch], rng)
        wrong += int((scores.argmax(axis=1) != labels[start : start + batch]).sum())
    return wrong / len(labels)


def learning_curves(runs: Mapping[str, list[History]], title: str) -> Any:
    """Test error against epochs, mean over seeds; the range over seeds is shaded for up to four curves."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter

    drawing = Figure(figsize=(7.2, 3.2))
    axes = drawing.subplots()
    for name, histories in runs.items():
        errors = np.array([history.test_errors for history in histories])
        epochs = np.arange(1, errors.shape[1] + 1)
        (line,) = axes.plot(epochs, errors.mean(axis=0), label=name)
        if len(runs) <= 4:  # more ranges than that hide each other
            axes.fill_between(
                epochs,
                errors.min(axis=0),
                errors.max(axis=0),
                color=line.get_color(),
                alpha=0.15,
                linewidth=0,
            )
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(FixedLocator([0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set(xlabel="epoch", ylabel="test error", title=title)
    axes.legend(loc="upper right", ncols=1 + len(runs) // 5)
    return drawing


def summary(histories: list[History], epochs: int = 1) -> str:
    """Test error in per cent, mean over the last `epochs`; mean and standard deviation over seeds."""
    errors = 100 * np.array([np.mean(history.test_errors[-epochs:]) for history in histories])
    return (
        f"{errors.mean():.2f} %" if len(errors) == 1 else f"{errors.mean():.2f} ± {errors.std(ddof=1):.2f} %"
    )
