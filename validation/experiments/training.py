"""The training loop that the experiments share: mini-batches, stochastic gradient descent, a history.

The optimiser is the plainest there is (momentum, cosine decay), for the experiments compare gradients.  A
rule gives a gradient for each mini-batch, or updates the parameters itself while it runs (`Online`).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from refsnn.algorithms.ottt import OnlineResult, Update
from refsnn.algorithms.result import GradientResult
from refsnn.datasets.labelled import LabelledImages
from refsnn.files import plain
from refsnn.models.contract import Parameters
from refsnn.models.spiking_graph import SpikingGraph
from validation.experiments.checkpoints import CURVES, Checkpoint, TrainingState, digest, load, save

# (parameters, images, labels, rng) to a gradient
Gradient = Callable[[Parameters, np.ndarray, np.ndarray, np.random.Generator], GradientResult]
# (parameters, images, rng) to class scores; also running=... where running statistics are kept
Predict = Callable[..., np.ndarray]


@dataclass(frozen=True)
class Online:
    """A rule that updates the parameters several times in a mini-batch.

    Attributes
    ----------
    run : callable
        From (parameters, images, labels, rng, update), where `update` is one step of the optimiser, to its
        result.  The momentum lives on from one mini-batch to the next.
    """

    run: Callable[[Parameters, np.ndarray, np.ndarray, np.random.Generator, Update], OnlineResult]


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

    def rate(self, name: str) -> float:
        """Learning rate of a parameter, before any decay."""
        rates = self.learning_rate
        return rates[name] if isinstance(rates, Mapping) else rates

    def decay(self, done: int, updates: int) -> float:
        """What is left of the rate after `done` of all `updates`."""
        return float(0.5 * (1 + np.cos(np.pi * (done / updates)))) if self.cosine else 1.0


@dataclass
class History:
    """One training, to its end or to where its time was up.

    Attributes
    ----------
    losses, train_errors, test_errors : list of float
        One number an epoch: mean loss, and shares of wrong images; those of the training images before their
        updates.
    parameters : dict of ndarray
        At the end.
    diagnostics : dict
        Of the last update.
    epochs, planned : float, int
        Epochs done, a part of one included, and of the recipe.
    seconds : float
        Of training, over all runs.
    running_error : float or None
        Share of wrong training images in the epoch that was broken off.
    running : dict
        Running statistics of the network's normalisations, at the end.
    """

    losses: list[float] = field(default_factory=list)
    test_errors: list[float] = field(default_factory=list)
    train_errors: list[float] = field(default_factory=list)
    parameters: Parameters = field(default_factory=dict)
    diagnostics: dict[str, Any] = field(default_factory=dict)
    epochs: float = 0.0
    planned: int = 0
    seconds: float = 0.0
    running_error: float | None = None
    running: dict[str, Parameters] = field(default_factory=dict)

    @property
    def test_error(self) -> float:
        """Share of wrong test images after the last whole epoch."""
        return self.test_errors[-1]

    @property
    def finished(self) -> bool:
        """Whether all epochs of the recipe are done."""
        return self.epochs == self.planned


def train(
    parameters: Parameters,
    gradient: Gradient | Online,
    predict: Predict,
    data: LabelledImages,
    recipe: Recipe,
    rng: np.random.Generator,
    tick: Callable[[str], None],
    checkpoint: Checkpoint | None = None,
    stop: Callable[[], bool] = lambda: False,
    normalised: SpikingGraph | None = None,
) -> History:
    """Train on `data`.

    Parameters
    ----------
    parameters : dict of ndarray
        theta before the first update; not changed.
    gradient, predict : callable
        The rule, and the class scores; with a checkpoint they keep nothing of their own between calls.
    data : LabelledImages
        What to learn.
    recipe : Recipe
        How to train.
    rng : numpy.random.Generator
        Draws the order of the samples, and is handed to `gradient` and `predict`.
    tick : callable
        Called after every epoch with a line of text.
    checkpoint : Checkpoint, optional
        Where the training is kept; if its file is there the training goes on from it, to the same bits.
    stop : callable
        Asked before every update; when it says True the training is kept and ends here.
    normalised : SpikingGraph, optional
        The network whose normalisations keep running statistics for the test.

    Returns
    -------
    History

    Raises
    ------
    ValueError
        If the checkpoint is damaged or belongs to another training.
    """
    state = TrainingState(
        parameters={name: value.copy() for name, value in parameters.items()},
        velocity={name: np.zeros_like(value) for name, value in parameters.items()}
        if recipe.momentum
        else {},
        running={}
        if normalised is None
        else normalised.initial_running(next(iter(parameters.values())).dtype),
    )
    whose: dict[str, str] = {}
    if checkpoint is not None:
        whose = fingerprint(recipe, parameters, data, rng, checkpoint.identity)
        if checkpoint.path.exists():
            state = load(checkpoint.path, state, rng, whose)
    start = kept = time.monotonic()
    spent_before = state.spent

    def keep(after: float = 0.0) -> None:
        nonlocal kept
        state.spent = spent_before + time.monotonic() - start
        if checkpoint is not None and time.monotonic() - kept >= after:
            save(checkpoint.path, state, rng, whose)
            kept = time.monotonic()

    count = len(data.train_labels)
    updates = count // recipe.batch
    while state.epoch < recipe.epochs:
        if state.order is None:
            state.order = rng.permutation(count)
        while state.update < updates and not stop():
            update(state, gradient, data, recipe, rng, updates, normalised)
            if checkpoint is not None:
                keep(checkpoint.seconds)
        if state.update < updates:
            keep()
            break
        tested = partial(predict, running=state.running) if state.running else predict
        error = error_rate(tested, state.parameters, data.test_images, data.test_labels, rng)
        close_epoch(state, error, updates * recipe.batch)
        keep()
        tick(f"epoch {state.epoch}/{recipe.epochs}, test error {error:.1%}")
    return History(
        **state.curves,
        parameters=state.parameters,
        diagnostics=state.diagnostics,
        epochs=state.epoch + state.update / updates,
        planned=recipe.epochs,
        seconds=state.spent,
        running_error=state.wrong / (state.update * recipe.batch) if state.update else None,
        running=state.running,
    )


def update(
    state: TrainingState,
    gradient: Gradient | Online,
    data: LabelledImages,
    recipe: Recipe,
    rng: np.random.Generator,
    updates: int,
    normalised: SpikingGraph | None = None,
) -> None:
    """One mini-batch: theta <- theta - eta v, v <- momentum v + gradient, as often as the rule says."""
    assert state.order is not None
    picked = state.order[state.update * recipe.batch : (state.update + 1) * recipe.batch]
    batch = data.train_images[picked], data.train_labels[picked], rng
    rate_left = recipe.decay(state.epoch * updates + state.update, recipe.epochs * updates)

    def descend(parameters: Parameters, gradients: Parameters) -> Parameters:
        moved = dict(parameters)
        for name, value in gradients.items():
            number = value.dtype.type
            if recipe.momentum:
                state.velocity[name] *= number(recipe.momentum)
                state.velocity[name] += value
                value = state.velocity[name]
            moved[name] = parameters[name] - number(rate_left * recipe.rate(name)) * value
        return moved

    result: GradientResult | OnlineResult
    if isinstance(gradient, Online):
        result = gradient.run(state.parameters, *batch, descend)
        state.parameters = result.parameters
    else:
        result = gradient(state.parameters, *batch)
        state.parameters = descend(state.parameters, result.gradients)
    if normalised is not None:
        state.running = normalised.updated_running(state.running, result.diagnostics.statistics)
    state.update += 1
    state.batch_losses.append(float(result.loss))
    state.wrong += int((result.diagnostics.outputs.argmax(axis=1) != batch[1]).sum())
    state.diagnostics = {
        "residual": result.diagnostics.residual,
        "spike_rates": result.diagnostics.spike_rates,
    }


def close_epoch(state: TrainingState, test_error: float, samples: int) -> None:
    """Put down the figures of the epoch under way, and go to the next."""
    figures = (float(np.mean(state.batch_losses)), state.wrong / samples, test_error)
    for name, figure in zip(CURVES, figures, strict=True):
        state.curves[name].append(figure)
    state.epoch, state.update, state.order = state.epoch + 1, 0, None
    state.batch_losses, state.wrong = [], 0


def fingerprint(
    recipe: Recipe,
    parameters: Parameters,
    data: LabelledImages,
    rng: np.random.Generator,
    identity: Mapping[str, str],
) -> dict[str, str]:
    """What a training is, in words and digests: the same fingerprint means the same bits at the end.

    Parameters
    ----------
    recipe, parameters, data, rng
        As given to `train`, before the first draw.
    identity : dict of str to str
        What they do not say: the network's options, the rule, the seed.

    Returns
    -------
    dict of str to str
    """
    rates = recipe.learning_rate
    words = {f"recipe.{name}": repr(value) for name, value in vars(recipe).items() if name != "learning_rate"}
    words |= {f"learning rate of {name}": repr(float(recipe.rate(name))) for name in parameters}
    if isinstance(rates, Mapping):
        words |= {f"learning rate of {name}": repr(float(rate)) for name, rate in rates.items()}
    shapes = {name: f"{value.dtype} {value.shape}" for name, value in parameters.items()}
    return {
        **{str(name): str(value) for name, value in identity.items()},
        **words,
        "parameters": json.dumps(shapes),
        "initial parameters": digest(parameters)[:16],
        "data": digest(vars(data))[:16],
        "generator": hashlib.sha256(json.dumps(plain(rng.bit_generator.state)).encode()).hexdigest()[:16],
    }


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
