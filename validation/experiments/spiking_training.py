"""Spiking graphs under every rule, in the training loop that all experiments share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from refsnn.algorithms.bptt import bptt
from refsnn.algorithms.ottt import OnlineResult, Update, ottt, ottt_online
from refsnn.algorithms.rate_backpropagation import rate_backpropagation
from refsnn.algorithms.result import GradientResult
from refsnn.algorithms.sltt import sltt
from refsnn.algorithms.temporal_galerkin import temporal_galerkin
from refsnn.datasets.labelled import LabelledImages
from refsnn.models.builders.initialisation import initialise_kaiming
from refsnn.models.contract import Parameters, StaticInput
from refsnn.models.spiking_graph import SpikingGraph
from refsnn.models.spiking_structure import Inputs
from refsnn.models.workspace import Workspace
from validation.experiments import Progress
from validation.experiments.checkpoints import Checkpoint
from validation.experiments.training import Gradient, History, Online, Recipe, train

# samples that are tested at a time: larger arrays leave the cache
TESTED = 250


@dataclass(frozen=True)
class Rule:
    """How a gradient is taken.

    Attributes
    ----------
    gradient : callable of (graph, parameters, inputs, labels)
        The algorithm; of an online rule it takes the update as its fifth argument.
    reset : bool or None
        Whether the gradient flows through the reset; None leaves it to the neuron.
    online : bool
        Whether the parameters are updated at each step.
    in_workspace : bool
        Whether its large arrays can be made in memory that is kept.
    """

    gradient: Callable[..., Any]
    reset: bool | None = None
    online: bool = False
    in_workspace: bool = False


RULES = {
    "BPTT": Rule(bptt, reset=True, in_workspace=True),
    "BPTT, reset detached": Rule(bptt, reset=False, in_workspace=True),
    "rate-based": Rule(partial(rate_backpropagation, scale="bptt"), in_workspace=True),
    "rate-based, step by step": Rule(
        partial(rate_backpropagation, scale="bptt", mode="single_step"), in_workspace=True
    ),
    "Galerkin, K = 2": Rule(partial(temporal_galerkin, n_modes=2), in_workspace=True),
    "OTTT_A": Rule(partial(ottt, preset="paper")),
    "OTTT_A, official code": Rule(partial(ottt, preset="official_code")),
    "OTTT_A, exact local": Rule(partial(ottt, preset="exact_local")),
    "OTTT_O": Rule(partial(ottt_online, preset="paper"), online=True),
    "SLTT": Rule(sltt),
}


def encode(images: np.ndarray, steps: int, encoding: str, rng: np.random.Generator) -> Inputs:
    """What the network sees of samples (B, ...).

    `static` is the image itself at every step, `Bernoulli` fresh spikes of its intensities, and `sequence`
    says that the samples are sequences (B, T, ...) already.
    """
    if encoding == "static":
        return StaticInput(images, steps)
    if encoding == "sequence":
        return np.ascontiguousarray(np.moveaxis(images, 1, 0))
    return (rng.random((steps, *images.shape)) < images).astype(images.dtype)


def unchanged(images: np.ndarray) -> np.ndarray:
    """The images themselves."""
    return images


@dataclass(frozen=True)
class SpikingSetting:
    """A network and how it is trained.

    Attributes
    ----------
    graph : SpikingGraph
        What is trained, with its loss.
    rule : str
        A key of `RULES`.
    steps : int
        T.
    encoding : {"static", "Bernoulli", "sequence"}
        See `encode`.
    initialise : callable of (graph, rng, dtype)
        First parameters.
    prepare : callable of (images)
        What is done to images in training and test alike.
    augment : callable of (images, rng), optional
        What is done to training images before that.
    """

    graph: SpikingGraph
    rule: str
    steps: int
    encoding: str = "static"
    initialise: Callable[[SpikingGraph, np.random.Generator, Any], Parameters] = initialise_kaiming
    prepare: Callable[[np.ndarray], np.ndarray] = unchanged
    augment: Callable[[np.ndarray, np.random.Generator], np.ndarray] | None = None

    def by(self, rule: str) -> SpikingSetting:
        """The same under another rule."""
        return replace(self, rule=rule)

    @cached_property
    def learning_graph(self) -> SpikingGraph:
        """The network with the edges that the rule uses."""
        reset = RULES[self.rule].reset
        return self.graph if reset is None else self.graph.with_edges(reset=reset)

    def inputs(self, images: np.ndarray, rng: np.random.Generator, training: bool) -> Inputs:
        """What the network sees."""
        if training and self.augment is not None:
            images = self.augment(images, rng)
        return encode(self.prepare(images), self.steps, self.encoding, rng)

    def gradient(
        self,
        parameters: Parameters,
        images: np.ndarray,
        labels: np.ndarray,
        rng: np.random.Generator,
        workspace: Workspace | None = None,
    ) -> GradientResult:
        """The rule's gradient on a mini-batch, in a workspace if there is one and the rule can."""
        inputs, rule = self.inputs(images, rng, training=True), RULES[self.rule]
        options = {"workspace": workspace} if rule.in_workspace else {}
        return rule.gradient(self.learning_graph, parameters, inputs, labels, **options)

    def online(
        self,
        parameters: Parameters,
        images: np.ndarray,
        labels: np.ndarray,
        rng: np.random.Generator,
        update: Update,
    ) -> OnlineResult:
        """The rule's updates on a mini-batch."""
        inputs = self.inputs(images, rng, training=True)
        return RULES[self.rule].gradient(self.learning_graph, parameters, inputs, labels, update)

    def learn(self) -> Gradient | Online:
        """The rule as one training wants it: memory is kept from one mini-batch to the next."""
        if RULES[self.rule].online:
            return Online(self.online)
        return partial(self.gradient, workspace=Workspace())

    def predict(
        self,
        parameters: Parameters,
        images: np.ndarray,
        rng: np.random.Generator,
        running: dict[str, Parameters] | None = None,
    ) -> np.ndarray:
        """The mean read-out."""
        parts = [
            self.graph.run(
                parameters,
                self.inputs(images[start : start + TESTED], rng, training=False),
                running=running or None,
            )
            for start in range(0, len(images), TESTED)
        ]
        return np.concatenate(parts)

    def train(
        self,
        data: LabelledImages,
        recipe: Recipe,
        rng: np.random.Generator,
        tick: Callable[[str], None] = lambda text: None,
        checkpoint: Checkpoint | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> History:
        """One training from fresh parameters in the dtype of the images."""
        parameters = self.initialise(self.graph, rng, data.train_images.dtype)
        if checkpoint is not None:
            checkpoint = replace(checkpoint, identity={**self.identity(), **checkpoint.identity})
        normalised = self.graph if self.graph.normalisations else None
        return train(
            parameters, self.learn(), self.predict, data, recipe, rng, tick, checkpoint, stop, normalised
        )

    def identity(self) -> dict[str, str]:
        """What tells two settings apart, for the fingerprint of a checkpoint."""
        hooks = {"prepare": self.prepare, "augment": self.augment}
        return {
            "network": repr(self.graph),
            "rule": self.rule,
            "T": str(self.steps),
            "encoding": self.encoding,
            **{name: getattr(hook, "__name__", repr(hook)) for name, hook in hooks.items()},
        }


def train_each(
    settings: Mapping[str, SpikingSetting],
    task: Callable[[np.random.Generator], LabelledImages],
    recipe: Recipe,
    seeds: int,
    progress: Progress,
) -> dict[str, list[History]]:
    """Train every setting with every seed: the same data and first parameters for all of one seed."""
    total, done = len(settings) * seeds * recipe.epochs, 0
    found: dict[str, list[History]] = {name: [] for name in settings}
    for name, setting in settings.items():
        for seed in range(seeds):

            def tick(text: str, label: str = name) -> None:
                nonlocal done
                done += 1
                progress(done, total, f"{label}: {text}")

            rng = np.random.default_rng(seed)
            found[name].append(setting.train(task(rng), recipe, rng, tick))
    return found


def sequences(train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]) -> LabelledImages:
    """Generated tasks (T, N, ...), training and test, as samples (N, T, ...) for the training loop."""
    return LabelledImages(
        np.ascontiguousarray(np.moveaxis(train[0], 0, 1)),
        train[1],
        np.ascontiguousarray(np.moveaxis(test[0], 0, 1)),
        test[1],
    )


def accuracies(histories: Sequence[History]) -> np.ndarray:
    """Share of right test samples at the end, one number a training."""
    return np.array([1 - history.test_error for history in histories])


def accuracy(histories: Sequence[History]) -> str:
    """Test accuracy in per cent; mean and standard deviation over seeds."""
    found = 100 * accuracies(histories)
    return f"{found.mean():.2f} %" if len(found) == 1 else f"{found.mean():.2f} ± {found.std(ddof=1):.2f} %"


def verdict(statement: str, holds: bool) -> str:
    """A sentence with what became of it."""
    return f"{statement}: {'it does' if holds else 'it does NOT'} here."


def firing(histories: Sequence[History]) -> str:
    """Firing rates of the layers in the last update of the last training."""
    rates = histories[-1].diagnostics["spike_rates"].values()
    return ", ".join(f"{rate:.2f}" for rate in rates)
