"""Claims about the size of an error as a function of the nudge: O3, O4, O5, O17, NC4."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from refsnn.models.contract import Parameters, State
from refsnn.models.convergent import EnergyBasedNetwork
from refsnn.models.couplings import Arrays
from validation.claims.equilibrium_propagation.networks import (
    LIMIT,
    Settled,
    energy_based,
    holomorphic_equilibrium_propagation,
    leaf_error,
    relax,
    settled,
    toy,
)
from validation.ledger import Measured, VacuousError, claim, require

STEPS = 30


def networks(rng: np.random.Generator) -> list[Settled]:
    """Three gradient systems, one of them the toy wiring, whose bias has a first order to speak of.

    Where the coefficient of beta happens to vanish the next order shows, and a ratio says nothing.
    """
    makers = (energy_based(rng, output="rho"), energy_based(rng, output="linear"), toy(rng))
    cases = []
    for make in makers:
        for _ in range(20):
            case = settled(rng, make, scale=(0.5, 1.2), most_steps=600)
            bias = leaf_error(case.estimate(STEPS, 1e-3), case.truncated(STEPS))
            if bias >= 2e-4:
                break
        require(bias >= 2e-4, "no network in 20 with a first-order bias")
        cases.append(case)
    return cases


def ratios(case: Settled, nudge: float, symmetric: bool) -> list[float]:
    """Error at the nudge over that at half of it, for both signs."""
    truth = case.truncated(STEPS)

    def error(beta: float) -> float:
        return leaf_error(case.estimate(STEPS, beta, symmetric), truth)

    return [error(sign * nudge) / error(sign * nudge / 2) for sign in ((1,) if symmetric else (1, -1))]


def farthest(values: Iterable[float], expected: float) -> float:
    """The value farthest from what is expected."""
    return max(values, key=lambda value: abs(value - expected))


@claim(
    "equilibrium_propagation/O3",
    r"One-sided equilibrium propagation has a bias of first order: halving $\beta = 10^{-3}$, of either sign, halves "
    r"the error against BPTT truncated to the same $K$.",
    source="Ernoult 2019; Laborieux 2021; specification, O3",
    metric="ratio of errors (worst relative error of an array) at beta and beta / 2, farthest from 2, three networks "
    "and both signs",
    relation="in",
    bound=(1.95, 2.05),
    control="the symmetric estimator, whose bias is of second order",
)
def first_order(rng: np.random.Generator) -> Measured:
    cases = networks(rng)
    measured = [ratio for case in cases for ratio in ratios(case, 1e-3, symmetric=False)]
    return Measured(farthest(measured, 2), farthest(ratios(cases[0], 4e-3, symmetric=True), 2))


@claim(
    "equilibrium_propagation/O4",
    r"Symmetric equilibrium propagation has a bias of second order: halving $\beta = 4\cdot 10^{-3}$ divides the error "
    r"by 4.",
    source="Laborieux 2021; specification, O4",
    metric="ratio of errors (worst relative error of an array) at beta and beta / 2, farthest from 4, three networks",
    relation="in",
    bound=(3.9, 4.1),
    control="the one-sided estimator",
)
def second_order(rng: np.random.Generator) -> Measured:
    cases = networks(rng)
    measured = [ratio for case in cases for ratio in ratios(case, 4e-3, symmetric=True)]
    return Measured(farthest(measured, 4), farthest(ratios(cases[0], 4e-3, symmetric=False), 4))


@dataclass(frozen=True)
class Conjugating(EnergyBasedNetwork):
    """Reads the conjugate of the state: right for real numbers, and not holomorphic."""

    def step(
        self,
        parameters: Parameters,
        state: State,
        inputs: np.ndarray,
        targets: np.ndarray | None = None,
        nudge: complex = 0.0,
        drive: Arrays | None = None,
    ) -> State:
        conjugate = {name: np.conj(array) for name, array in state.items()}
        return super().step(parameters, conjugate, inputs, targets, nudge, drive)


def point_errors(case: Settled, nudge: float, counts: Iterable[int]) -> dict[int, float]:
    """Error of the holomorphic estimator for several numbers of points."""
    truth = case.truncated(STEPS)
    phases = {"free_steps": case.steps, "nudged_steps": STEPS, "nudge": nudge}
    return {
        points: leaf_error(
            holomorphic_equilibrium_propagation(*case.problem, **phases, points=points).gradients, truth
        )
        for points in counts
    }


def inside_the_radius(case: Settled) -> tuple[float, float]:
    """The first of 0.4, 0.2, 0.1, ... that two points find small, and their error; the radius is the network's.

    They are off by at most 1e-3 there, and by a quarter of that at half the nudge: further out their error
    is not yet of second order, and its powers say nothing.
    """
    error, nudge = point_errors(case, 0.4, (2,))[2], 0.4
    for _ in range(12):
        half = point_errors(case, nudge / 2, (2,))[2]
        if error <= 1e-3 and abs(error / half - 4) <= 0.3:
            break
        error, nudge = half, nudge / 2
    else:
        require(False, f"two points are not in their asymptotic range at a nudge of {nudge:g} still")
    return nudge, error


def with_second_order(rng: np.random.Generator, output: str) -> tuple[Settled, float]:
    """A network and a nudge at which two points have an error to speak of, 2e-5 or more.

    Where the coefficient of the second order happens to vanish, e_2 is no measure of what comes after it.
    """
    for _ in range(20):
        case = settled(rng, energy_based(rng, output=output), scale=(0.5, 1.2), most_steps=600)
        nudge, error = inside_the_radius(case)
        if error >= 2e-5:
            break
    else:
        require(False, "no network in 20 with a second-order error")
    return case, nudge


def excess(errors: dict[int, float], nudge: float) -> float:
    """How far e_4 and e_8 are above e_2^1.3 and e_2^2.4, or the rounding floor; at most 1 is geometric."""
    floor = 1e-14 / nudge
    return max(errors[4] / max(errors[2] ** 1.3, floor), errors[8] / max(errors[2] ** 2.4, floor))


@claim(
    "equilibrium_propagation/O5",
    r"Holomorphic equilibrium propagation converges geometrically in the number of points $N$ at a finite nudge: "
    r"with errors $e_N$, the worst relative one of an array, $e_4 \le e_2^{1.3}$ and $e_8 \le e_2^{2.4}$. The nudge is halved from 0.4 until $e_2 \le 10^{-3}$, and "
    r"$e_2$ falls to a quarter ($4 \pm 0.3$) at half of it; networks with $e_2 \ge 2\cdot 10^{-5}$ there.",
    source="Laborieux and Zenke 2022; specification, O5",
    metric=r"larger one of $e_4/e_2^{1.3}$ and $e_8/e_2^{2.4}$ (or the rounding floor), two networks",
    relation="<=",
    bound=1.0,
    control="states conjugated between steps: the same network on real numbers, but not holomorphic",
)
def geometric_in_points(rng: np.random.Generator) -> Measured:
    values, controls, details = [], [], {}
    for output in ("rho", "linear"):
        case, nudge = with_second_order(rng, output)
        errors = point_errors(case, nudge, (2, 4, 8))
        values.append(excess(errors, nudge))
        model = case.model
        wrong = Conjugating(model.widths, model.couplings, model.activation, model.step_size, output=output)
        controls.append(excess(point_errors(replace(case, model=wrong), nudge, (2, 4, 8)), nudge))
        details[f"errors of 2, 4, 8 points at nudge {nudge:g}, {output}"] = ", ".join(
            f"{error:.1e}" for error in errors.values()
        )
    return Measured(max(values), min(controls), details)


def unfinished(rng: np.random.Generator) -> Settled:
    """A network stopped where its residual is between 1e-5 and 1e-3."""
    for _ in range(40):
        case = settled(rng, energy_based(rng, output="rho"), scale=(0.5, 1.2), most_steps=600)
        model, parameters, inputs, _ = case.problem
        for steps in range(5, case.steps, 5):
            free = relax(model, parameters, inputs, steps=steps, keep_last=2)
            if free.residual < 1e-5:
                break
            if free.residual <= 1e-3:
                return replace(case, free=free, steps=steps)
    raise VacuousError("no network passed through residuals from 1e-5 to 1e-3")


def finished(case: Settled) -> Settled:
    """The same network, relaxed until it stands still."""
    model, parameters, inputs, _ = case.problem
    free = relax(model, parameters, inputs, steps=2000)
    require(free.residual <= 1e-13, "the network does not settle")
    return replace(case, free=free, steps=2000)


def estimate_errors(case: Settled, symmetric: bool) -> list[float]:
    """Error against truncated BPTT at nudges 1e-5 and 1e-6."""
    steps = min(40, case.steps)
    truth = case.truncated(steps)
    return [leaf_error(case.estimate(steps, nudge, symmetric), truth) for nudge in (1e-5, 1e-6)]


@claim(
    "equilibrium_propagation/O17",
    r"After an unfinished free phase of residual $r$ the one-sided error is $a\beta + c\,r/\beta$ and the symmetric one "
    r"$a'\beta^2 + c' r$: the symmetric contrast cancels the drift. Where $10^{-5} \le r \le 10^{-3}$, as here, only "
    r"the second terms are left at $\beta = 10^{-5}$ and below.",
    source="specification, O17",
    metric=r"larger one of $|q_1 - 1|/0.1$ and $|q_2 - 1|/0.05$: $q_1$ the quotient of one-sided errors times beta at "
    r"$\beta = 10^{-5}, 10^{-6}$, $q_2$ that of the symmetric errors",
    relation="<=",
    bound=1.0,
    control="the same network at its steady state, one-sided",
)
def unfinished_free_phase(rng: np.random.Generator) -> Measured:
    case = unfinished(rng)
    one_sided, symmetric = estimate_errors(case, False), estimate_errors(case, True)
    settled_errors = estimate_errors(finished(case), False)

    def drift(errors: list[float]) -> float:
        return abs(errors[1] * 1e-6 / (errors[0] * 1e-5) - 1) / 0.1

    value = max(drift(one_sided), abs(symmetric[1] / symmetric[0] - 1) / 0.05)
    details = {
        "residual": case.free.residual,
        "one-sided at 1e-6": one_sided[1],
        "symmetric at 1e-6": symmetric[1],
    }
    return Measured(value, drift(settled_errors), details)


@claim(
    "equilibrium_propagation/NC4",
    r"One-sided equilibrium propagation after an unfinished free phase diverges for $\beta \to 0$: a ten times smaller "
    r"nudge makes the error ten times larger.",
    source="specification, NC4 and O17",
    metric=r"error at $\beta = 10^{-6}$ over error at $10^{-5}$",
    relation=">=",
    bound=9.0,
    control="the same network at its steady state, where the error falls with the nudge",
)
def diverges_unfinished(rng: np.random.Generator) -> Measured:
    case = unfinished(rng)
    errors, right = estimate_errors(case, False), estimate_errors(finished(case), False)
    limit = leaf_error(finished(case).estimate(STEPS, LIMIT), finished(case).truncated(STEPS))
    return Measured(
        errors[1] / errors[0], right[1] / right[0], {"error at the steady state, beta -> 0": limit}
    )
