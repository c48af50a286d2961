"""O1: with the integral of the triangle for spikes the adjoint is a true derivative."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from refsnn.oracles.complex_step import complex_step_gradient
from refsnn.oracles.finite_differences import central_gradient, directional_derivative, shifted
from validation.claims.lsnn.problems import (
    EXACT,
    KINDS,
    LEAVES,
    Problem,
    distances,
    linear_loss,
    live,
    states_of,
    worst,
)
from validation.ledger import Measured, VacuousError, claim

Arrays = dict[str, np.ndarray]


def smooth(rng: np.random.Generator, scheme: str, divisor: str, **options: object) -> Problem:
    """A live network with smooth spikes, gamma = 1 and half the usual weights, so that it is not chaotic."""
    chosen = {"refractory": 0, "gamma": 1.0, "gain": 0.5, "steps": 25, "smooth": True} | options
    return live(rng, scheme=scheme, divisor=divisor, **chosen)


def moved(problem: Problem, parameters: Arrays) -> Problem:
    """The same with some parameters replaced."""
    return replace(problem, parameters=problem.parameters | parameters)


def trained(problem: Problem) -> Arrays:
    """Weights and constants of the neurons."""
    return {name: problem.parameters[name] for name in LEAVES}


@claim(
    "lsnn/O1",
    r"With $H$ replaced by the integral $F$ of the pseudo-derivative, in the same code, and refractory masks given, the adjoint through thresholds, resets, delays and divisor is the true gradient by "
    r"$W^{in}$, $W^{rec}$, $\alpha$, $\rho$, $\beta$, $b^0$, the input and the first state.",
    source="Bellec 2018, Eqs. (1), (2); specification, section 4 and O1",
    metric="largest error over the largest entry of a leaf to the complex step through the package's forward pass and through the one by hand, three schemes with both divisors, with and without masks",
    relation="<=",
    bound=EXACT,
    control="no gradient through the spike of a reset",
)
def complex_step(rng: np.random.Generator) -> Measured:
    values, controls, details = [], [], {}
    for scheme, divisor in KINDS:
        for masks in (False, True):
            problem = smooth(rng, scheme, divisor, masks=masks)
            found = problem.leaves()
            expected = problem.expected()
            error = worst(found, expected)
            if masks:
                gradient = complex_step_gradient(
                    lambda p, own=problem: linear_loss(moved(own, p), states_of(moved(own, p), "plain")),
                    trained(problem),
                )
                own_forward = problem.gradient().gradients
                error = max(error, worst(own_forward, gradient))
            values.append(error)
            details[f"{scheme}, {divisor}"] = max(error, details.get(f"{scheme}, {divisor}", 0.0))
            controls.append(worst(problem.with_options(stop_reset=True).leaves(), expected))
    return Measured(max(values), min(controls), details)


def kept_pieces(problem: Problem, direction: Arrays, step: float) -> bool:
    """Whether no distance of the two shifted runs lies on another piece of F than at the point itself."""

    def pieces(parameters: Arrays) -> np.ndarray:
        there = moved(problem, parameters)
        return np.digitize(distances(there, states_of(there)), [-1.0, 0.0, 1.0])

    point = trained(problem)
    here = pieces(point)
    return all(np.array_equal(here, pieces(shifted(point, direction, h))) for h in (step, -step))


LARGE, MIDDLE, SMALL, LEAST = 3e-3, 3 * 10**-3.5, 3e-4, 1e-6


def loss_at(problem: Problem, parameters: Arrays) -> float:
    """The loss with some parameters replaced."""
    there = moved(problem, parameters)
    return float(linear_loss(there, states_of(there)))


def size_of_terms(problem: Problem) -> float:
    """Sum of what the loss adds up, without signs: what rounding is relative to."""
    without = {name: np.abs(value) for name, value in problem.cotangents.items()}
    states = states_of(problem)
    states = states._replace(potential=np.abs(states.potential))
    return float(linear_loss(replace(problem, cotangents=without), states))


def decades(rng: np.random.Generator, scheme: str, divisor: str, leaf: str) -> tuple[float, float]:
    """How far the error of central differences along one direction falls from LARGE to SMALL; of a wrong gradient.

    Drawn again until no distance changes pieces, and the differences themselves, without any gradient, follow
    h^2: those of three steps are as 10 to 1, and more than rounding.  A term of h^4 may spoil it.
    """
    for _ in range(500):
        problem = smooth(rng, scheme, divisor, masks=True, neurons=4, steps=12, batch=1)
        point = trained(problem)
        direction = {name: np.zeros_like(value) for name, value in point.items()}
        direction[leaf] = rng.standard_normal(point[leaf].shape)
        if not kept_pieces(problem, direction, LARGE):
            continue
        large, middle, small = (
            directional_derivative(lambda p, own=problem: loss_at(own, p), point, direction, h, 2)
            for h in (LARGE, MIDDLE, SMALL)
        )
        rounding = np.finfo(float).eps * size_of_terms(problem) / SMALL
        if abs(middle - small) / 9 < 100 * rounding:
            continue
        if not 0.99 < (large - middle) / (middle - small) / 10 < 1.01:
            continue
        falls = []
        for stop_reset in (False, True):
            gradient = problem.with_options(stop_reset=stop_reset).gradient().gradients[leaf]
            along = float((gradient * direction[leaf]).sum())
            falls.append(float(np.log10(abs(large - along) / abs(small - along))))
        if falls[1] != falls[0]:
            return falls[0], falls[1]
    raise VacuousError(
        f"no network whose differences follow the square of the step: {scheme}, {divisor}, {leaf}"
    )


@claim(
    "lsnn/O1.order",
    r"The error of central differences of the smooth network falls a hundredfold for a tenth of the step, where no $u$ changes sides of $-1$, $0$, $1$, the kinks of $F'$.",
    source="specification, O1",
    metric=r"largest deviation from 2 of the decades that the error falls from $h=3\cdot10^{-3}$ to $3\cdot10^{-4}$, each leaf of each scheme and divisor",
    relation="<=",
    bound=0.05,
    control="no gradient through the spike of a reset: the error stays",
)
def second_order(rng: np.random.Generator) -> Measured:
    falls = [decades(rng, scheme, divisor, leaf) for scheme, divisor in KINDS for leaf in LEAVES]
    return Measured(max(abs(right - 2) for right, _ in falls), min(abs(wrong - 2) for _, wrong in falls))


@claim(
    "lsnn/O1.differences",
    r"At $h=10^{-6}$ central differences of the smooth network agree with the adjoint as far as rounding lets them.",
    source="specification, O1",
    metric="largest error over the largest entry of a leaf, three schemes with both divisors",
    relation="<=",
    bound=1e-7,
    control="no gradient through the spike of a reset",
)
def small_differences(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for scheme, divisor in KINDS:
        problem = smooth(rng, scheme, divisor, masks=True)
        while not all_pieces_kept(problem):
            problem = smooth(rng, scheme, divisor, masks=True)
        truth = central_gradient(lambda p, own=problem: loss_at(own, p), trained(problem), LEAST)
        values.append(worst(problem.gradient().gradients, truth))
        stopped = problem.with_options(stop_reset=True)
        controls.append(worst(stopped.gradient().gradients, truth))
    return Measured(max(values), min(controls))


def all_pieces_kept(problem: Problem) -> bool:
    """`kept_pieces` for a step of every single parameter."""
    point = trained(problem)
    for name, value in point.items():
        for index in np.ndindex(value.shape):
            direction = {key: np.zeros_like(other) for key, other in point.items()}
            direction[name][index] = 1.0
            if not kept_pieces(problem, direction, LEAST):
                return False
    return True
