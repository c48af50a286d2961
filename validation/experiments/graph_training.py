"""Spiking graph networks on manifolds, trained on one graph: full batch, the best epoch by validation.

One training is a table row's model, a split and a seed.  Parameters are kept from the epoch whose validation
score was highest, the first of them where several were; nothing is chosen by the test nodes.  A training
whose numbers are no longer finite ends there and is lost: it is counted, and no mean contains it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any

import numpy as np

from refsnn.algorithms.differentiation_via_manifold import (
    differentiation_via_manifold,
    finite_points,
    maps_of,
)
from refsnn.algorithms.differentiation_via_spikes import differentiation_via_spikes
from refsnn.algorithms.optimisers import Adam, Optimiser
from refsnn.datasets import GRAPHS, LabelledGraph, NodeSplit, load_graph
from refsnn.equations.spiking import SpikingNeuron
from refsnn.models.contract import Parameters
from refsnn.models.manifold.energy import Energy, energy, spike_counts
from refsnn.models.manifold.heads import HEADS, Head, NodeClasses, logits
from refsnn.models.manifold.inputs import GraphInputs
from refsnn.models.manifold.manifold import Manifold
from refsnn.models.manifold.network import ManifoldSpikingNetwork
from refsnn.models.manifold.run import ManifoldRun, forward
from validation.experiments import Unavailable

GRADIENTS = {"manifold": differentiation_via_manifold, "spikes": differentiation_via_spikes}


@dataclass(frozen=True)
class Recipe:
    """How networks are built and trained.

    Attributes
    ----------
    epochs : int
        Updates, each on the whole graph.
    dropout : float
        Share of currents set to 0 in training.
    each_step : bool
        Whether blocks after the encoder draw a mask at each time step, as the published code does; with one
        mask for all steps neither memory nor time of the gradient depends on T.
    layers, steps, step_size, threshold
        L, T, eps, theta.
    optimiser : Optimiser
        Without weight decay.
    """

    epochs: int = 100
    dropout: float = 0.3
    each_step: bool = True
    layers: int = 1
    steps: int = 5
    step_size: float = 0.1
    threshold: float = 0.1
    optimiser: Optimiser = field(default_factory=lambda: Adam(0.01))


@dataclass(frozen=True)
class Model:
    """One row of a table.

    Attributes
    ----------
    manifold : Manifold
        Where points live.
    tangent : {"transport", "project", "ambient"}
        How a drive becomes a tangent vector.
    by : {"manifold", "spikes"}
        Differentiation via manifold, or via spikes.
    """

    manifold: Manifold
    tangent: str = "transport"
    by: str = "manifold"

    @property
    def name(self) -> str:
        """For tables."""
        curved = any(factor.curved for factor in self.manifold.factors)
        mode = f", {self.tangent}" if curved else ""
        return f"{self.manifold}{mode}, Dv{self.by[0].upper()}"

    def network(self, recipe: Recipe, features: int, classes: int) -> ManifoldSpikingNetwork:
        """For one graph."""
        return ManifoldSpikingNetwork(
            features,
            self.manifold,
            classes,
            layers=recipe.layers,
            steps=recipe.steps,
            step_size=recipe.step_size,
            neuron=SpikingNeuron(leak=1.0, threshold=recipe.threshold, fires=">"),
            tangent=self.tangent,
        )


@dataclass(frozen=True)
class Judged:
    """What held-out nodes or links say of parameters.

    Attributes
    ----------
    score : float
        Of the validation set; epochs are chosen by it.
    tested : dict of str to float
        Of the test set, by head.
    """

    score: float
    tested: dict[str, float]


@dataclass(frozen=True)
class Cost:
    """What a network that was kept does in one forward pass without noise.

    Attributes
    ----------
    rate : float
        Spikes a neuron and step, mean over the blocks whose spikes are used; NaN where there are none.
    energy : Energy
        Picojoules, counted in three ways.
    """

    rate: float
    energy: Energy


@dataclass
class Trained:
    """One training.

    Attributes
    ----------
    losses, scores : list of float
        One an epoch.
    best : int
        The epoch that was kept, from 1; 0 if none was.
    judged : Judged or None
        After it.
    parameters : dict of ndarray
        After it.
    rate : float
        Spikes a neuron and step in the last update, mean over the blocks whose spikes are used.
    lost : str
        When and why the numbers were no longer finite, or nothing.
    seconds : float
        Of training, tests included.
    cost : Cost or None
        Of the network that was kept, where it was asked for.
    """

    losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    best: int = 0
    judged: Judged | None = None
    parameters: Parameters = field(default_factory=dict)
    rate: float = np.nan
    lost: str = ""
    seconds: float = 0.0
    cost: Cost | None = None

    @property
    def epochs(self) -> int:
        """Done."""
        return len(self.losses)


@dataclass(frozen=True)
class Step:
    """What one pass over the graph gave."""

    loss: float
    gradients: Parameters
    rate: float = np.nan


def train(
    parameters: Parameters,
    learn: Callable[[Parameters], Step],
    judge: Callable[[Parameters], Judged],
    optimiser: Optimiser,
    epochs: int,
    tick: Callable[[Trained], None] = lambda trained: None,
) -> Trained:
    """Train for so many epochs, or until the numbers are lost.

    Parameters
    ----------
    parameters : dict of ndarray
        Before the first update.
    learn : callable
        Loss and gradients, with fresh noise at each call.
    judge : callable
        Of parameters, without noise.
    optimiser : Optimiser
        Of all parameters.
    epochs : int
        At most so many.
    tick : callable
        Called after each.

    Returns
    -------
    Trained
    """
    begun, trained = time.monotonic(), Trained()
    state = optimiser.initial_state(parameters)
    for epoch in range(1, epochs + 1):
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                step = learn(parameters)
                parameters, state = optimiser.update(parameters, step.gradients, state)
                judged = judge(parameters)
        except FloatingPointError as error:
            trained.lost = f"epoch {epoch}: {error}"
            break
        trained.losses.append(step.loss)
        trained.scores.append(judged.score)
        trained.rate = step.rate
        if trained.judged is None or judged.score > trained.judged.score:
            trained.best, trained.judged, trained.parameters = epoch, judged, parameters
        trained.seconds = time.monotonic() - begun
        tick(trained)
    return trained


@dataclass(frozen=True)
class Learner:
    """A network on a graph, and how its gradient is taken.

    Attributes
    ----------
    model : Model
        The row.
    recipe : Recipe
        How.
    network : ManifoldSpikingNetwork
        What is trained.
    inputs : GraphInputs
        Graph and features, without noise.
    """

    model: Model
    recipe: Recipe
    network: ManifoldSpikingNetwork
    inputs: GraphInputs

    @classmethod
    def of(cls, model: Model, recipe: Recipe, data: LabelledGraph, classes: int) -> Learner:
        """With as many classes; 0 for none."""
        network = model.network(recipe, data.features.shape[1], classes)
        inputs = GraphInputs.of(data.graph, data.features, recipe.layers, data.features.dtype)
        return cls(model, recipe, network, inputs)

    def step(self, parameters: Parameters, head: Head, rng: np.random.Generator) -> Step:
        """One pass with fresh noise, and the way back."""
        inputs = self.inputs.with_noise(
            rng,
            self.network.width,
            dropout=self.recipe.dropout,
            each_of=self.recipe.steps if self.recipe.each_step else None,
        )
        result = GRADIENTS[self.model.by](self.network, parameters, inputs, head)
        rates = list(result.diagnostics.spike_rates.values())
        return Step(result.loss, result.gradients, float(np.mean(rates)) if rates else np.nan)

    def run(self, parameters: Parameters) -> tuple[ManifoldRun, Any]:
        """A forward pass without noise, and the maps it was made with.

        Raises
        ------
        FloatingPointError
            If a point is not finite.
        """
        maps = maps_of(self.network, parameters, "cpu")
        run = forward(self.network, parameters, self.inputs, maps)
        finite_points(self.network, run)
        return run, maps

    def cost(self, parameters: Parameters) -> Cost:
        """Spikes and energy of a forward pass."""
        run, _ = self.run(parameters)
        spikes = spike_counts(self.network, parameters, self.inputs, run)
        rate = float(np.mean([rate.mean() for rate in run.rates])) if run.rates else np.nan
        return Cost(rate, energy(self.network, self.inputs, spikes))

    def right(self, parameters: Parameters, labels: np.ndarray) -> dict[str, np.ndarray]:
        """Which nodes each head is right about."""
        run, maps = self.run(parameters)
        return {
            head: logits(self.network, parameters, run, maps, head).argmax(axis=1) == labels for head in HEADS
        }


def train_nodes(
    model: Model,
    recipe: Recipe,
    data: LabelledGraph,
    split: NodeSplit,
    rng: np.random.Generator,
    tick: Callable[[Trained], None] = lambda trained: None,
) -> Trained:
    """Classes of nodes; trained by the manifold head, the epoch chosen by the mean over both heads.

    Parameters
    ----------
    model, recipe, data, split
        What, how, where, by which nodes.
    rng : numpy.random.Generator
        Draws first parameters, then noise.
    tick : callable
        Called after each epoch.

    Returns
    -------
    Trained
        Tested: shares of right test nodes, by head; with its cost.
    """
    learner = Learner.of(model, recipe, data, data.classes)
    head = NodeClasses(data.labels, split.train)

    def judge(parameters: Parameters) -> Judged:
        right = learner.right(parameters, data.labels)
        score = np.mean([right[head][split.validation].mean() for head in HEADS])
        return Judged(float(score), {head: float(right[head][split.test].mean()) for head in HEADS})

    trained = train(
        learner.network.initialise(rng, data.features.dtype),
        lambda parameters: learner.step(parameters, head, rng),
        judge,
        recipe.optimiser,
        recipe.epochs,
        tick,
    )
    if trained.judged:
        trained.cost = learner.cost(trained.parameters)
    return trained


def percent(trainings: Sequence[Trained], head: str) -> str:
    """Mean and standard deviation over the seeds that were not lost, in per cent."""
    found = np.array([100 * one.judged.tested[head] for one in trainings if one.judged and not one.lost])
    if not len(found):
        return "–"
    return f"{found.mean():.1f}" + (f" ± {found.std(ddof=1):.1f}" if len(found) > 1 else "")


def costs(trainings: Sequence[Trained]) -> tuple[str, ...]:
    """Spikes a step and millijoules as printed, as the code counts and in full, means over seeds not lost."""
    kept = [one.cost for one in trainings if one.cost and not one.lost]
    numbers = [(one.rate, *(1e-9 * joules for joules in astuple(one.energy))) for one in kept]
    if not numbers:
        return ("–",) * 4
    rate, *millijoules = np.mean(numbers, axis=0)
    shown = (f"{rate:.3f}", *(f"{value:.3g}" for value in millijoules))
    return tuple(
        "–" if np.isnan(value) else text for value, text in zip((rate, *millijoules), shown, strict=True)
    )


def losses_of(trainings: Sequence[Trained]) -> str:
    """How many trainings were lost, and in which epochs."""
    lost = [one for one in trainings if one.lost]
    if not lost:
        return "0"
    epochs = ", ".join(str(one.epochs + 1) for one in lost)
    return f"{len(lost)} of {len(trainings)}, in epoch {epochs}"


def available(name: str) -> LabelledGraph:
    """One of the graphs of files.

    Raises
    ------
    Unavailable
        If it is not there.
    """
    assert name in GRAPHS
    try:
        return load_graph(name)
    except FileNotFoundError as missing:
        raise Unavailable(str(missing)) from missing
