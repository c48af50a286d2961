"""5.2: differentiation via manifold is the exact gradient wherever there is one; what it leaves out are jumps."""

from __future__ import annotations

import numpy as np

from refsnn.algorithms.manifold_forward_mode import manifold_forward_mode
from validation.claims.manifold_spiking_gnn.by_hand import Arrays
from validation.claims.manifold_spiking_gnn.problems import (
    BACKENDS,
    CURVATURES,
    LEAST_GRADIENT,
    STEPS,
    TANGENTS,
    Problem,
    draw,
    error,
    manifold_of,
    variety,
)
from validation.ledger import Measured, claim, require

EPSILON = np.finfo(float).eps
SMALL, LARGE = 1e-6, 2e-2


def in_roundings(problem: Problem, found: Arrays, differences: Arrays, flips: Arrays) -> float:
    """Largest error of an entry that flips no spike, in units of 3 eps_mach loss / h: each leaf's own rounding."""
    unit = 3 * EPSILON * problem.base.loss / SMALL
    worst = 0.0
    for name, value in differences.items():
        still = ~flips[name]
        require(still.mean() > 0.5, f"most entries of {name} flip a spike")
        require(np.abs(value[still]).max() > 1e-4, f"no gradient of {name}")
        worst = max(worst, float(np.abs(found[name] - value)[still].max() / unit))
    return worst


@claim(
    "manifold_spiking_gnn/5.2.differences",
    r"Differentiation via manifold gives the central differences of the whole network, spikes computed anew: what is left is the rounding $3\epsilon\,\mathcal{L}/h$ of the differences.",
    source="Theorem 4.1; specification, 5.2",
    metric=r"largest error of an entry that flips no spike, in units of $3\epsilon\,\mathcal{L}/h$, $h=10^{-6}$, 12 networks: 3 tangent maps, $\kappa\in\{-1,-0.3,1,2\}$",
    relation="<=",
    bound=1.0,
    control="the gradient over spikes",
)
def differences(rng: np.random.Generator) -> Measured:
    value, control, flipped, safe = 0.0, np.inf, 0, np.inf
    for problem in variety(rng):
        expected, flips = problem.differences(SMALL)
        value = max(
            value, *(in_roundings(problem, problem.result(b).gradients, expected, flips) for b in BACKENDS)
        )
        control = min(control, in_roundings(problem, problem.over_spikes().gradients, expected, flips))
        flipped += sum(int(leaf.sum()) for leaf in flips.values())
        fastest = STEPS * np.abs(problem.setting.adjacencies[0] @ problem.inputs.features).max()
        safe = min(safe, problem.base.margin / (SMALL * fastest))
    return Measured(value, control, {"entries that flip a spike": flipped, "margin / (h T max Ahat X)": safe})


@claim(
    "manifold_spiking_gnn/5.2.complex_step",
    r"With the spikes held it is the derivative to the last digits: the complex step along textbook maps.",
    source="Theorem 4.1; specification, 5.2",
    metric="largest relative error of a leaf, 24 networks, both backends",
    relation="<=",
    bound=1e-13,
    control="the gradient over spikes",
)
def complex_step(rng: np.random.Generator) -> Measured:
    value, control = 0.0, np.inf
    for problem in variety(rng, 2):
        expected = problem.complex_step()
        value = max(value, *(error(problem.result(backend).gradients, expected) for backend in BACKENDS))
        control = min(control, error(problem.over_spikes().gradients, expected))
    return Measured(value, control)


def off_forward_mode(rng: np.random.Generator, problem: Problem, found: Arrays, most: int = 12) -> float:
    """Largest error of an entry against forward mode in its direction, relative to the leaf's largest; some entries of each leaf."""
    worst = 0.0
    for name, value in problem.parameters.items():
        size = np.abs(found[name]).max()
        require(size > LEAST_GRADIENT, f"no gradient of {name}")
        for place in rng.permutation(list(np.ndindex(value.shape)))[:most]:
            direction = {other: np.zeros_like(array) for other, array in problem.parameters.items()}
            direction[name][tuple(place)] = 1
            pushed = manifold_forward_mode(
                problem.network, problem.parameters, problem.inputs, problem.head, direction
            ).derivative
            worst = max(worst, float(abs(found[name][tuple(place)] - pushed) / size))
    return worst


@claim(
    "manifold_spiking_gnn/5.2.forward_mode",
    r"Forward mode, $dz^l = D_v\varphi\,dv^l + D_z\psi\,dz^{l-1}$ from $l=0$ on, gives the same gradient.",
    source="Theorem 4.1; specification, 5.2",
    metric="largest relative error of an entry, 6 networks, 12 entries of each leaf",
    relation="<=",
    bound=1e-13,
    control=r"the adjoint as printed, $D_z\psi=c_0 I$, with a tangent step",
)
def forward_mode(rng: np.random.Generator) -> Measured:
    value, control = 0.0, np.inf
    for tangent in TANGENTS:
        for kappa in rng.choice(CURVATURES, 2, replace=False):
            problem = draw(rng, manifold_of(kappa), tangent)
            value = max(value, off_forward_mode(rng, problem, problem.result().gradients))
            if tangent != "ambient":
                wrong = problem.result(adjoint="paper").gradients
                control = min(control, off_forward_mode(rng, problem, wrong))
    return Measured(value, control)


def with_large_steps(rng: np.random.Generator, draws: int = 10) -> tuple[float, float, int]:
    """Relative errors of entries that flip a spike, the largest, and of those that do not: of each network
    the largest, of all networks the median, since curvature alone is an error of h^2 of any size.
    """
    flipped, count, quiet = 0.0, 0, []
    for number in range(draws):
        kappa, tangent = CURVATURES[number % 4], TANGENTS[number % 3]
        problem = draw(rng, manifold_of(kappa), tangent)
        found, (expected, flips) = problem.result().gradients, problem.differences(LARGE)
        still = 0.0
        for name, value in expected.items():
            off = np.abs(found[name] - value) / np.abs(found[name]).max()
            flipped = max(flipped, off[flips[name]].max(initial=0))
            still = max(still, off[~flips[name]].max(initial=0))
            count += int(flips[name].sum())
        quiet.append(still)
    require(count > 0, "no entry flips a spike")
    return flipped, float(np.median(quiet)), count


@claim(
    "manifold_spiking_gnn/5.2.jumps",
    r"What it does not see are jumps: differences with $h=2\cdot10^{-2}$ miss it where a spike flips.",
    source="specification, 5.2",
    metric="largest relative error of an entry that flips a spike, ten networks",
    relation=">=",
    bound=0.5,
    control="entries that flip none",
)
def jumps(rng: np.random.Generator) -> Measured:
    flipped, still, count = with_large_steps(rng)
    return Measured(flipped, still, {"entries that flip a spike": count})


@claim(
    "manifold_spiking_gnn/5.2.between_jumps",
    r"Between jumps the loss is smooth: the same differences are close where no spike flips.",
    source="specification, 5.2",
    metric="largest relative error of an entry that flips no spike, median of ten networks",
    relation="<=",
    bound=2e-3,
    control="entries that flip a spike",
)
def between_jumps(rng: np.random.Generator) -> Measured:
    flipped, still, count = with_large_steps(rng)
    return Measured(still, flipped, {"entries that flip a spike": count})
