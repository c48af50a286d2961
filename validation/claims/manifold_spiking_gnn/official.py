"""The maps of the published code: its clamps, both its adjoints, and its decoder of links."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from refsnn.models.manifold.official_links import OfficialLinks, ranking_scores
from validation.claims.manifold_spiking_gnn import by_hand, official_by_hand
from validation.claims.manifold_spiking_gnn.by_hand import Arrays, Run, Setting
from validation.claims.manifold_spiking_gnn.problems import (
    CURVATURES,
    NODES,
    Problem,
    draw,
    error,
    links_of,
    manifold_of,
)
from validation.ledger import Measured, VacuousError, claim, require

SPACES = (-1.0,), (1.0,), (-1.0, 1.0), (0.0, -1.0)
# the second is below all clamps
STEP_SIZES = 0.3, 1e-9
LEAST = 1e-12
NEARLY, CLAMP = 1e-3, 2e-7


def published(problem: Problem) -> tuple[Problem, Setting, Run]:
    """With the clamps, in the package and by hand."""
    assert all(kappa in (*CURVATURES, 0.0) for kappa, _ in problem.setting.factors)
    clamped = problem.changed(compat="official")
    setting = replace(clamped.setting, step=official_by_hand.step, logarithm=official_by_hand.logarithm)
    return clamped, setting, by_hand.forward(setting, problem.parameters)


def over_spikes(problem: Problem, setting: Setting, run: Run) -> Arrays:
    """The derivative of the clamped maps along affine spikes, by the complex step."""
    moved = by_hand.forward(setting, by_hand.ensembles(problem.parameters, 1e-30j), run, "affine")
    return by_hand.leafwise(moved.loss.imag / 1e-30, problem.parameters)


def ordinary(problem: Problem) -> bool:
    """Whether no drive is nearly light-like, and no point just inside a clamp, where the code's formulas cancel."""
    _, setting, run = published(problem)
    for (kappa, _), z, *rows in zip(
        setting.factors,
        *(by_hand.split(setting.factors, one) for one in (run.points[-1], *run.drives)),
        strict=True,
    ):
        inside = np.abs(np.abs(z[:, 0]) - 1)
        if kappa != 0 and ((inside > CLAMP) & (inside < NEARLY)).any():
            return False
        for u in rows:
            size = by_hand.inner(kappa, u, u) / problem.network.step_size**2
            if kappa < 0 and (np.abs(size) < NEARLY).any():
                return False
    return True


def drawn(
    rng: np.random.Generator,
    spaces: tuple[tuple[float, ...], ...] = SPACES,
    sizes: tuple[float, ...] = STEP_SIZES,
) -> Iterator[Problem]:
    """Ambient networks; the step size does not change a spike."""
    for curvatures in spaces:
        for size in sizes:
            made = 0
            while made < 2:
                problem = draw(rng, manifold_of(*curvatures), "ambient").changed(step_size=size)
                if ordinary(problem):
                    made += 1
                    yield problem


@claim(
    "manifold_spiking_gnn/X7.forward",
    r"With compat=official points, loss and logits are those of the clamped maps written down a second time.",
    source="specification, 2.8",
    metric="largest relative difference of points and loss, 16 networks on H, S, H x S, E x H, above and below the clamps",
    relation="<=",
    bound=1e-13,
    control="the exact maps, largest of all networks",
)
def official_forward(rng: np.random.Generator) -> Measured:
    value = control = 0.0
    met = {"drives": 0.0, "points": 0.0}
    for problem in drawn(rng):
        clamped, setting, run = published(problem)
        for share, found in official_by_hand.clamped(setting, run).items():
            met[share] = max(met[share], found if problem.network.step_size > 1e-3 else 0)
        for one, exact in ((clamped, False), (problem, True)):
            result = one.result()
            pairs = [*zip(result.run.points[1:], run.points, strict=True), (result.loss, run.loss)]
            off = max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs)
            control, value = (max(control, off), value) if exact else (control, max(value, off))
    return Measured(value, control, {f"{name} at a clamp": share for name, share in met.items()})


@claim(
    "manifold_spiking_gnn/X7.manifold",
    r"With compat=official the gradient over the manifold is that of the code's closed forms, node by node.",
    source="specification, 2.8",
    metric="largest relative error of a leaf, 16 networks on H, S, H x S, E x H, above and below the clamps",
    relation="<=",
    bound=1e-12,
    control="the derivative of the clamps, largest of all networks",
)
def official_manifold(rng: np.random.Generator) -> Measured:
    value = control = 0.0
    for problem in drawn(rng):
        clamped, setting, run = published(problem)
        expected = official_by_hand.gradient(setting, problem.parameters, run)
        value = max(value, error(clamped.result().gradients, expected, LEAST))
        moved = by_hand.forward(setting, by_hand.ensembles(problem.parameters, 1e-30j), run, "frozen")
        wrong = by_hand.leafwise(moved.loss.imag / 1e-30, problem.parameters)
        control = max(control, error(wrong, expected, LEAST))
    return Measured(value, control)


@claim(
    "manifold_spiking_gnn/X7.spikes",
    r"With compat=official the gradient over spikes is the derivative of the clamps themselves.",
    source="specification, 2.8",
    metric="largest relative error of a leaf against the complex step, 16 networks on H, S, H x S, E x H, above and below the clamps",
    relation="<=",
    bound=1e-12,
    control="the exact maps, largest of all networks",
)
def official_spikes(rng: np.random.Generator) -> Measured:
    value = control = 0.0
    for problem in drawn(rng):
        clamped, setting, run = published(problem)
        expected = over_spikes(problem, setting, run)
        value = max(value, error(clamped.over_spikes().gradients, expected, LEAST))
        control = max(control, error(problem.over_spikes().gradients, expected, LEAST))
    return Measured(value, control)


@claim(
    "manifold_spiking_gnn/X7.time_like",
    r"Where a drive is time-like the code's gradient over the manifold is not the derivative of its own forward pass.",
    source="specification, 2.8",
    metric="largest relative error of a leaf against the complex step, 6 networks on H with time-like drives",
    relation=">=",
    bound=1e-2,
    control="networks on S without short drives, largest of 6",
)
def time_like(rng: np.random.Generator) -> Measured:
    values: list[float] = []
    controls: list[float] = []
    while len(values) < 6 or len(controls) < 6:
        kappa, into = (-1.0, values) if len(values) < 6 else (1.0, controls)
        problem = draw(rng, manifold_of(kappa), "ambient")
        clamped, setting, run = published(problem)
        shortest = min(float(np.linalg.norm(u, axis=1).min()) for u in run.drives)
        share = official_by_hand.clamped(setting, run)["drives"]
        if (kappa < 0 and share < 0.1) or (kappa > 0 and shortest < 0.011):
            continue
        moved = by_hand.forward(setting, by_hand.ensembles(problem.parameters, 1e-30j), run, "frozen")
        expected = by_hand.leafwise(moved.loss.imag / 1e-30, problem.parameters)
        into.append(error(clamped.result().gradients, expected, LEAST))
    return Measured(max(values), max(controls), {"smallest": min(values)})


def apart(problem: Problem, pairs: np.ndarray) -> bool:
    """Whether no pair of nodes is one point, a kink of their distance, or at the edge of the sphere's arccos."""
    _, setting, run = published(problem)
    points = run.points[-1]
    h = by_hand.embedding([kappa for kappa, _ in setting.factors], setting, run, "manifold")
    edge = np.abs(np.abs((h[pairs[0]] * h[pairs[1]]).sum(axis=1)) - 1)
    far = np.abs(points[pairs[0]] - points[pairs[1]]).max(axis=1)
    return bool((far > NEARLY).all() and (edge > NEARLY).all())


def with_links(rng: np.random.Generator, kappa: float) -> tuple[Problem, Problem, Any]:
    """A network with the published decoder; the same with classes, for its setting; the decoder by hand."""
    for _ in range(200):
        stand_in = draw(rng, manifold_of(kappa), "ambient")
        given = links_of(rng)
        if not ordinary(stand_in) or not apart(stand_in, np.hstack([given.links, given.absent])):
            continue
        numbers = float(rng.uniform(0.5, 1.5)), float(rng.uniform(0.3, 1.0))
        parameters = {name: leaf for name, leaf in stand_in.parameters.items() if name.startswith("layer")}
        made = stand_in.changed(compat="official", classes=0).with_(
            head=OfficialLinks(given.links, given.absent, *numbers), parameters=parameters
        )
        # vectors at the clamp are 4.5e-4 long, so that slopes of cosines are 2000 and cancel to the gradient
        if min(np.abs(leaf).max() for leaf in made.result().gradients.values()) > 2e-2:
            return made, stand_in, official_by_hand.Pairs(given.links, given.absent, *numbers)
    raise VacuousError("no gradient of links in 200 draws")


@claim(
    "manifold_spiking_gnn/X8",
    r"The published decoder of links: cosines on H, clipped arcs of plain vectors on S, chords on E; both gradients.",
    source="specification, 2.8",
    metric="largest relative error of loss and leaves, 9 networks",
    relation="<=",
    bound=1e-12,
    control="the Fermi-Dirac decoder of distances on H and S, smallest of all networks",
)
def official_links(rng: np.random.Generator) -> Measured:
    value, control = 0.0, np.inf
    for kappa in (-1.0, 1.0, 0.0) * 3:
        problem, stand_in, loss = with_links(rng, kappa)
        setting = replace(
            stand_in.setting, step=official_by_hand.step, logarithm=official_by_hand.logarithm, loss=loss
        )
        run = by_hand.forward(setting, problem.parameters)
        over_manifold = official_by_hand.gradient(setting, problem.parameters, run)
        result = problem.result()
        value = max(value, abs(result.loss / run.loss - 1), error(result.gradients, over_manifold))
        expected = over_spikes(problem, setting, run)
        value = max(value, error(problem.over_spikes().gradients, expected, LEAST))
        exact = problem.changed(tangent="transport", compat="exact")
        head: Any = problem.head
        other = links_of(rng, radius=head.radius, temperature=head.temperature)
        other = replace(other, links=head.links, absent=head.absent)
        if kappa != 0:  # but for its clips it is the same in flat space
            control = min(control, abs(exact.with_(head=other).result().loss / run.loss - 1))
    return Measured(value, control)


@claim(
    "manifold_spiking_gnn/X8.ranking",
    r"Pairs are ranked by the cosine of $P_o\sum_l u^l$, on every manifold.",
    source="specification, 2.8",
    metric="largest difference to the cosine by hand of all pairs, 3 networks",
    relation="<=",
    bound=1e-14,
    control=r"with the first coordinate, which $P_o$ leaves out, on H and S",
)
def ranking(rng: np.random.Generator) -> Measured:
    value, control = 0.0, np.inf
    for kappa in (-1.0, 1.0, 0.0):
        problem, _, _ = with_links(rng, kappa)
        pairs = np.stack(np.triu_indices(NODES, 1))
        run = problem.result().run
        found = ranking_scores(problem.network, run, pairs)
        summed = sum(run.drives)
        for first in (0, 1):
            h = summed[:, (0 if kappa == 0 else 1 - first) :]
            expected = np.array([official_by_hand.cosine(h[i], h[j]) for i, j in pairs.T])
            off = float(np.abs(found - expected).max())
            if first == 0:
                value = max(value, off)
            elif kappa != 0:
                control = min(control, off)
    require(np.isfinite(control), "no control")
    return Measured(value, control)
