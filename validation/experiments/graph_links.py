"""Links that are to be predicted: a Fermi-Dirac decoder on geodesic distances (Sun 2024, section 6)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from scipy import sparse

from refsnn.datasets import LabelledGraph, LinkSplit, split_links
from refsnn.models.manifold.graph import Graph, incidence
from refsnn.models.manifold.heads import Links, squared_distances, total_distance
from refsnn.models.manifold.manifold import euclidean, hyperbolic, spherical
from validation.experiments import ExperimentResult, Progress, experiment
from validation.experiments.graph_nodes import contest
from validation.experiments.graph_training import (
    Judged,
    Learner,
    Model,
    Recipe,
    Step,
    Trained,
    available,
    losses_of,
    percent,
    train,
)

SEEDS = 4
ASKED = 0.2
H, S, E = (Model(kind(32)) for kind in (hyperbolic, spherical, euclidean))
MODELS = (H, replace(H, by="spikes"), S, E, Model(hyperbolic(16) * spherical(16)))
# the step sizes that validation links of other seeds preferred, of 0.1 and 1
RECIPES = {
    "cora": Recipe(epochs=200, dropout=0.0, step_size=0.1),
    "disease": Recipe(epochs=200, dropout=0.0, step_size=1.0),
}


def distances(learner: Learner, parameters: dict[str, np.ndarray], pairs: np.ndarray) -> np.ndarray:
    """d of each pair, without noise."""
    run, _ = learner.run(parameters)
    listed = incidence(learner.inputs.nodes, *pairs)
    squares, _ = squared_distances(learner.network.at(parameters), run.points[-1], listed, "cpu")
    return total_distance(squares)


def area(near: np.ndarray, far: np.ndarray) -> float:
    """AUC: how often a link is nearer than a pair that is none; a tie counts half."""
    from sklearn.metrics import roc_auc_score

    linked = np.repeat([1, 0], [len(near), len(far)])
    return float(roc_auc_score(linked, -np.concatenate([near, far])))


def train_links(
    model: Model,
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
        Tested: "AUC" of the test links.
    """
    learner = Learner.of(model, recipe, replace(data, graph=split.graph), classes=0)
    sets = split.validation, split.validation_absent, split.test, split.test_absent
    held, edges = np.concatenate(sets, axis=1), np.cumsum([part.shape[1] for part in sets])[:-1]

    def learn(parameters: dict[str, np.ndarray]) -> Step:
        if asked == 1:
            return learner.step(parameters, Links(split.train, split.redrawn(rng)), rng)
        order = rng.permutation(split.train.shape[1])
        links, others = np.split(split.train[:, order], [int(asked * len(order))], axis=1)
        seen = Graph.undirected(data.nodes, *others)
        now = Learner.of(model, recipe, replace(data, graph=seen), classes=0)
        absent = split.redrawn(rng)[:, : links.shape[1]]
        return now.step(parameters, Links(links, absent), rng)

    def judge(parameters: dict[str, np.ndarray]) -> Judged:
        near, far, test_near, test_far = np.split(distances(learner, parameters, held), edges)
        return Judged(area(near, far), {"AUC": area(test_near, test_far)})

    first = learner.network.initialise(rng, data.features.dtype)
    return train(first, learn, judge, recipe.optimiser, recipe.epochs, tick)


def features_alone(data: LabelledGraph, split: LinkSplit) -> float:
    """AUC of the distance between features: what is known without learning and without a graph."""
    known = data.features
    far = [
        np.array([np.sqrt((squared := known[i] - known[j]).multiply(squared).sum()) for i, j in pairs.T])
        if sparse.issparse(known)
        else np.linalg.norm(known[pairs[0]] - known[pairs[1]], axis=1)
        for pairs in (split.test, split.test_absent)
    ]
    return area(*far)


def compare(
    models: Sequence[Model],
    recipe: Recipe,
    data: LabelledGraph,
    asked: float,
    seeds: int,
    tick: Callable[[str], None] = lambda text: None,
) -> dict[Model, list[Trained]]:
    """Each model with each seed; of one seed all have the same split."""
    found: dict[Model, list[Trained]] = {}
    for model in models:
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            split = split_links(rng, data.graph)
            text = f"{model.name}, seed {seed}"

            def told(one: Trained, text: str = text) -> None:
                tick(f"{text}: validation AUC {one.scores[-1]:.2f}")

            found.setdefault(model, []).append(train_links(model, recipe, data, split, rng, asked, told))
    return found


def line(graph: str, asked: float, model: Model, trainings: Sequence[Trained]) -> tuple[str, ...]:
    """What the table says of one model."""
    scores = [100 * one.judged.score for one in trainings if one.judged and not one.lost]
    return (
        graph.capitalize(),
        f"{100 * asked:.0f} %",
        model.name,
        percent(trainings, "AUC"),
        f"{np.mean(scores):.1f}" if scores else "–",
        ", ".join(str(one.best) for one in trainings),
        f"{np.mean([one.rate for one in trainings]):.2f}",
        losses_of(trainings),
        f"{np.mean([one.seconds for one in trainings]):.0f}",
    )


@experiment(
    "manifold_spiking_gnn/links",
    "Cora and Disease: links predicted",
    "A Fermi-Dirac decoder on geodesic distances between points of hyperbolic, spherical, Euclidean and "
    "product spaces.",
    long=True,
)
def links(progress: Progress) -> ExperimentResult:
    cases = [
        (graph, asked, models) for graph in RECIPES for asked, models in ((ASKED, MODELS), (1.0, (H, S, E)))
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
    "draws fresh pairs without a link.  The epoch with the highest validation AUC is kept.",
    "$d = 32$ (products $16 + 16$), $L = 1$, $T = 5$, $\\theta = 0.1$, $r = 2$, $t = 1$, Adam with 0.01, no "
    "dropout, 200 epochs; $\\varepsilon = 0.1$ on Cora and 1 on Disease, which the validation links of other "
    "seeds preferred.",
    "An epoch asks about a share of the training links (second column).  At 100 % messages pass along the "
    "very links that are asked about, as is usual; at 20 % they pass along the others alone, as at the test. "
    " On a tree this matters: a test link is most often the only one of a leaf, which then hears nobody.",
)
