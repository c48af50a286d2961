"""Small graphs that need no file: a stochastic block model and the karate club, in seconds."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from refsnn.datasets import LabelledGraph, karate_club, split_nodes, stochastic_blocks
from refsnn.models.manifold.heads import NodeClasses
from refsnn.models.manifold.manifold import euclidean, hyperbolic, spherical
from validation.experiments import ExperimentResult, Progress, experiment, hyperbolic_disk, torus_square
from validation.experiments.graph_training import (
    Judged,
    Learner,
    Model,
    Recipe,
    Trained,
    losses_of,
    percent,
    train,
    train_nodes,
)

if TYPE_CHECKING:
    import matplotlib.figure

SEEDS = 4
BLOCKS = Recipe(epochs=200, dropout=0.0, layers=2, threshold=0.2)
BLOCK_MODELS = (
    Model(hyperbolic(16)),
    Model(hyperbolic(16), by="spikes"),
    Model(spherical(16)),
    Model(euclidean(16)),
    Model(hyperbolic(8) * spherical(8)),
    Model(spherical(16), "project"),
    Model(hyperbolic(16), "ambient"),
    Model(hyperbolic(16), "project"),
)
CLUB = Recipe(epochs=100, dropout=0.0, layers=2, threshold=0.1, step_size=0.5)
CIRCLES = spherical(1) * spherical(1)
CLUB_MODELS = tuple(Model(kind) for kind in (hyperbolic(2), spherical(2), euclidean(2), CIRCLES))
LEADERS, CLUBS = np.array([0, 33]), ("instructor's", "officers'")


def train_blocks(model: Model, recipe: Recipe, seed: int, tick: Callable[[Trained], None]) -> Trained:
    """A graph of its own for each seed; 20 of 200 nodes are known, 20 choose the epoch."""
    rng = np.random.default_rng(seed)
    data = stochastic_blocks(rng)
    return train_nodes(model, recipe, data, split_nodes(rng, data.nodes), rng, tick)


@experiment(
    "manifold_spiking_gnn/blocks",
    "A stochastic block model: which block a node is of",
    "Four blocks of 50 nodes, linked with 0.12 within and 0.015 between them, 16 faint features; 20 nodes "
    "are known.",
)
def blocks(progress: Progress) -> ExperimentResult:
    total, done = len(BLOCK_MODELS) * SEEDS * BLOCKS.epochs, 0

    rows = []
    for model in BLOCK_MODELS:
        trainings = []
        for seed in range(SEEDS):

            def tick(one: Trained, text: str = f"{model.name}, seed {seed}", done: int = done) -> None:
                progress(done + one.epochs, total, f"{text}: validation {100 * one.scores[-1]:.0f} %")

            trainings.append(train_blocks(model, BLOCKS, seed, tick))
            done += BLOCKS.epochs
        rates = np.mean([one.rate for one in trainings])
        rows.append(
            (
                model.name,
                percent(trainings, "tangent"),
                percent(trainings, "manifold"),
                f"{rates:.2f}",
                losses_of(trainings),
            )
        )
    return ExperimentResult(
        table_header=("model", "tangent head", "manifold head", "spikes a step", "lost"),
        table_rows=rows,
        figures=[],
        notes=[
            f"Test accuracy in per cent over 160 nodes, mean and standard deviation of {SEEDS} seeds, each "
            "with a graph, a split and first weights of its own.  $L = 2$, $T = 5$, $\\varepsilon = 0.1$, "
            "$\\theta = 0.2$, Adam with 0.01, 200 epochs, the best by validation; rows are counted as lost, "
            "and left out of the means, where numbers were no longer finite.",
        ],
    )


def train_club(
    model: Model, recipe: Recipe, seed: int, tick: Callable[[Trained], None] = lambda trained: None
) -> tuple[Trained, Learner, LabelledGraph]:
    """Two members' clubs are known; nothing is left to choose an epoch by, and the last one is kept."""
    rng, data = np.random.default_rng(seed), karate_club()
    learner = Learner.of(model, recipe, data, data.classes)
    others = np.setdiff1d(np.arange(data.nodes), LEADERS)
    epoch = itertools.count()

    def judge(parameters: dict[str, np.ndarray]) -> Judged:
        right = learner.right(parameters, data.labels)
        return Judged(
            float(next(epoch)), {head: float(which[others].mean()) for head, which in right.items()}
        )

    head = NodeClasses(data.labels, LEADERS)
    trained = train(
        learner.network.initialise(rng),
        lambda parameters: learner.step(parameters, head, rng),
        judge,
        recipe.optimiser,
        recipe.epochs,
        tick,
    )
    return trained, learner, data


Drawing = tuple[str, str, "matplotlib.figure.Figure"]


def drawn_on_disk(trained: Trained, learner: Learner, data: LabelledGraph) -> Drawing:
    """The club on the Poincare disk."""
    run, _ = learner.run(trained.parameters)
    title, space = "The karate club on $H^2$", learner.network.manifold
    figure, _ = hyperbolic_disk.draw(space, run.points, data.labels, title, LEADERS, CLUBS)
    return title, CAPTION, figure


def drawn_on_square(trained: Trained, learner: Learner, data: LabelledGraph) -> Drawing:
    """The club on a torus, cut open."""
    run, _ = learner.run(trained.parameters)
    title, space = "The karate club on $S^1\\times S^1$", learner.network.manifold
    readout = trained.parameters["readout.weight"]
    figure = torus_square.draw(space, run.points, data.labels, title, readout, LEADERS, CLUBS)
    return title, SQUARE_CAPTION, figure


@experiment(
    "manifold_spiking_gnn/karate",
    "Zachary's karate club on two dimensions",
    "Who follows whom when the club falls apart: the two leaders are known, nothing else; members have no "
    "features but their own names.",
)
def karate(progress: Progress) -> ExperimentResult:
    rows, figures = [], []
    for place, model in enumerate(CLUB_MODELS):
        trainings = []
        for seed in range(SEEDS):
            progress(place * SEEDS + seed, len(CLUB_MODELS) * SEEDS, f"{model.name}, seed {seed}")
            trained, learner, data = train_club(model, CLUB, seed)
            trainings.append(trained)
            if model.manifold == hyperbolic(2) and seed == 0:
                figures.append(drawn_on_disk(trained, learner, data))
            if model.manifold == CIRCLES and seed == 0:
                figures.append(drawn_on_square(trained, learner, data))
        rates = np.mean([one.rate for one in trainings])
        rows.append(
            (
                model.name,
                percent(trainings, "tangent"),
                percent(trainings, "manifold"),
                f"{rates:.2f}",
                losses_of(trainings),
            )
        )
    return ExperimentResult(
        table_header=("model", "tangent head", "manifold head", "spikes a step", "lost"),
        table_rows=rows,
        figures=figures,
        notes=[
            f"Share of right members among the 32 others, in per cent, after {CLUB.epochs} epochs; mean and "
            f"standard deviation of {SEEDS} seeds.  $L = 2$, $T = 5$, $\\varepsilon = {CLUB.step_size}$, "
            f"$\\theta = {CLUB.threshold}$, Adam with 0.01.",
        ],
    )


CAPTION = (
    "Each member's way from the origin, block after block, by stereographic projection of $H^2$ to the disk; "
    "rings mark the two leaders, colours the clubs that members joined.  Seed 0."
)
SQUARE_CAPTION = (
    "The same on two circles, cut open at the antipodes of the origin (cross): opposite sides of the square "
    "are one.  The torus is flat, and geodesics are straight; the classifier is in doubt on the dashed line."
)
