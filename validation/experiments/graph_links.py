"""Links that are to be predicted: by geodesic distances (Sun 2024, section 6), and by a GCN."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from scipy import sparse

from refsnn.datasets import LabelledGraph, LinkSplit, split_links
from refsnn.models.manifold.graph import Graph
from refsnn.models.manifold.heads import Links
from refsnn.models.manifold.manifold import euclidean, hyperbolic, spherical
from validation.experiments import ExperimentResult, Progress, experiment
from validation.experiments.graph_nodes import contest
from validation.experiments.graph_training import (
    Judged,
    Model,
    Recipe,
    Step,
    Trained,
    available,
    losses_of,
    percent,
    train,
)
from validation.experiments.link_learners import Convolutional, LinkModel, Spiking

SEEDS = 4
ASKED = 0.2
H, S, E = (Spiking(Model(kind(32))) for kind in (hyperbolic, spherical, euclidean))
PRODUCT = Spiking(Model(hyperbolic(16) * spherical(16)))
BASELINES = Convolutional("Fermi-Dirac"), Convolutional("inner product")
MODELS: tuple[LinkModel, ...] = (
    H,
    Spiking(replace(H.model, by="spikes")),
    S,
    E,
    PRODUCT,
    *BASELINES,
)
ALL_ASKED: tuple[LinkModel, ...] = (H, S, E, PRODUCT, *BASELINES)
# the step sizes that validation links of other seeds preferred, of 0.1 and 1
STEP_SIZES = {"cora": 0.1, "citeseer": 0.1, "airport": 1.0, "disease": 1.0}
RECIPES = {name: Recipe(epochs=200, dropout=0.0, step_size=size) for name, size in STEP_SIZES.items()}
MEASURES = "AUC", "AP"


def area(linked: np.ndarray, absent: np.ndarray) -> float:
    """AUC: how often a link has a higher score than a pair that is none; a tie counts half."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(*_ranked(linked, absent)))


def average_precision(linked: np.ndarray, absent: np.ndarray) -> float:
    """AP: the share of links among all pairs from a score upwards, mean over the scores of links."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(*_ranked(linked, absent)))


def _ranked(linked: np.ndarray, absent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.repeat([1, 0], [len(linked), len(absent)]), np.concatenate([linked, absent])


def train_links(
    model: LinkModel,
    recipe: Recipe,
    data: LabelledGraph,
    split: LinkSplit,
    rng: np.random.Generator,
    asked: float = ASKED,
    tick: Callable[[Trained], None] = lambda trained: None,
) -> Trained:
    """Fresh pairs without links in every epoch; the epoch chosen by the AUC of the validation links.

    In each epoch a share of the training links is asked about, and messages pass along the others, as at the
    test: of a leaf whose one link is asked about, the network knows nothing but its own features.  At a share
    of 1 all are asked about while messages pass along all, as is usual.

    Parameters
    ----------
    model, recipe, data, split
        What, how, where, by which links; the messages pass along `split.graph`.
    rng : numpy.random.Generator
        Draws first parameters, then links, pairs and noise.
    asked : float
        Share of training links asked about in an epoch.
    tick : callable
        Called after each epoch.

    Returns
    -------
    Trained
        Tested: "AUC" and "AP" of the test links.
    """
    learner = model.on(recipe, data, split.graph)

    def learn(parameters: dict[str, np.ndarray]) -> Step:
        if asked == 1:
            return learner.step(parameters, Links(split.train, split.redrawn(rng)), rng)
        order = rng.permutation(split.train.shape[1])
        links, others = np.split(split.train[:, order], [int(asked * len(order))], axis=1)
        now = model.on(recipe, data, Graph.undirected(data.nodes, *others))
        absent = split.redrawn(rng)[:, : links.shape[1]]
        return now.step(parameters, Links(links, absent), rng)

    def judge(parameters: dict[str, np.ndarray]) -> Judged:
        return Judged(area(*ranked(parameters, split.validation, split.validation_absent)), {})

    def ranked(parameters: dict[str, np.ndarray], *pairs: np.ndarray) -> list[np.ndarray]:
        scores = learner.scores(parameters, np.concatenate(pairs, axis=1))
        return np.split(scores, [pairs[0].shape[1]])

    trained = train(learner.initialise(rng), learn, judge, recipe.optimiser, recipe.epochs, tick)
    if trained.judged:
        test = ranked(trained.parameters, split.test, split.test_absent)
        trained.judged.tested.update(AUC=area(*test), AP=average_precision(*test))
    return trained


def features_alone(data: LabelledGraph, split: LinkSplit) -> float:
    """AUC of the distance between features: what is known without learning and without a graph."""
    known = data.features
    scores = [
        -np.array([np.sqrt((squared := known[i] - known[j]).multiply(squared).sum()) for i, j in pairs.T])
        if sparse.issparse(known)
        else -np.linalg.norm(known[pairs[0]] - known[pairs[1]], axis=1)
        for pairs in (split.test, split.test_absent)
    ]
    return area(*scores)


def compare(
    models: Sequence[LinkModel],
    recipe: Recipe,
    data: LabelledGraph,
    asked: float,
    seeds: int,
    tick: Callable[[str], None] = lambda text: None,
) -> dict[LinkModel, list[Trained]]:
    """Each model with each seed; of one seed all have the same split."""
    found: dict[LinkModel, list[Trained]] = {}
    for model in models:
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            split = split_links(rng, data.graph)
            text = f"{model.name}, seed {seed}"

            def told(one: Trained, text: str = text) -> None:
                tick(f"{text}: validation AUC {one.scores[-1]:.2f}")

            found.setdefault(model, []).append(train_links(model, recipe, data, split, rng, asked, told))
    return found


def line(graph: str, asked: float, model: LinkModel, trainings: Sequence[Trained]) -> tuple[str, ...]:
    """What the table says of one model."""
    scores = [100 * one.judged.score for one in trainings if one.judged and not one.lost]
    rate = np.mean([one.rate for one in trainings])
    return (
        graph.capitalize(),
        f"{100 * asked:.0f} %",
        model.name,
        *(percent(trainings, measure) for measure in MEASURES),
        f"{np.mean(scores):.1f}" if scores else "–",
        ", ".join(str(one.best) for one in trainings),
        f"{rate:.2f}" if np.isfinite(rate) else "–",
        losses_of(trainings),
        f"{np.mean([one.seconds for one in trainings]):.0f}",
    )


@experiment(
    "manifold_spiking_gnn/links",
    "Cora, Citeseer, Airport and Disease: links predicted",
    "A Fermi-Dirac decoder on geodesic distances between points of hyperbolic, spherical, Euclidean and "
    "product spaces, beside a graph convolutional network.",
    long=True,
)
def links(progress: Progress) -> ExperimentResult:
    cases = [
        (graph, asked, models) for graph in RECIPES for asked, models in ((ASKED, MODELS), (1.0, ALL_ASKED))
    ]
    total, done = SEEDS * sum(RECIPES[graph].epochs * len(models) for graph, _, models in cases), 0
    rows, notes = [], list(NOTES)
    for graph, asked, models in cases:
        data = available(graph)

        def tick(text: str, graph: str = graph) -> None:
            nonlocal done
            done += 1
            progress(done, total, f"{graph.capitalize()}, {text}")

        found = compare(models, RECIPES[graph], data, asked, SEEDS, tick)
        rows += [line(graph, asked, model, trainings) for model, trainings in found.items()]
        if asked != 1:
            splits = (split_links(np.random.default_rng(seed), data.graph) for seed in range(SEEDS))
            plain = 100 * np.mean([features_alone(data, split) for split in splits])
            notes.append(
                f"{graph.capitalize()}: AUC of the distance between features alone, nothing learnt: "
                f"{plain:.1f} %.  {contest(found[H], found[E], (H.name, E.name), ('AUC',))}"
            )
    return ExperimentResult(
        table_header=(
            "graph",
            "asked about",
            "model",
            "test AUC, %",
            "test AP, %",
            "validation",
            "epochs kept",
            "spikes a step",
            "lost",
            "seconds each",
        ),
        table_rows=rows,
        figures=[],
        notes=notes,
    )


NOTES = (
    "85 % of the links are for training, 5 % for validation, 10 % for the test, as many pairs without a "
    "link beside each, no pair in two sets; messages pass along training links only.  Four seeds; each epoch "
    "draws fresh pairs without a link.  The epoch with the highest validation AUC is kept.  AUC: how often a "
    "link is ranked before a pair that is none; AP: average precision.",
    "$d = 32$ (products $16 + 16$), $L = 1$, $T = 5$, $\\theta = 0.1$, $r = 2$, $t = 1$, Adam with 0.01, no "
    "dropout, 200 epochs; $\\varepsilon = 0.1$ on Cora and Citeseer and 1 on Airport and Disease, which the "
    "validation links of other seeds preferred.",
    "The GCN has two layers of 32 units, no dropout and no weight decay, and the same optimiser, epochs, "
    "links and pairs; its decoders are the Fermi-Dirac one on Euclidean distances (bags of words divided by "
    "their number of words) and the sigmoid of inner products, as in graph autoencoders (words as they are).",
    "An epoch asks about a share of the training links (second column).  At 100 % messages pass along the "
    "very links that are asked about, as is usual; at 20 % they pass along the others alone, as at the test. "
    " On a tree this matters: a test link is most often the only one of a leaf, which then hears nobody.",
)
