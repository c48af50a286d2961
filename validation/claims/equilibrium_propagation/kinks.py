"""Claims about activations with kinks, where the limit of the nudge can only be approached: O2.hard, O11.hard."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from refsnn.models.contract import Parameters, State
from refsnn.models.convergent_network import ConvergentNetwork
from validation.claims.equilibrium_propagation.laws import STEPS, law_error, slopes
from validation.claims.equilibrium_propagation.networks import (
    Settled,
    energy_based,
    leaf_error,
    negated,
    process_error,
    prototypical,
    relax,
    settled,
)
from validation.claims.equilibrium_propagation.orders import farthest
from validation.ledger import Measured, VacuousError, claim

COARSE, MIDDLE, FINE = 1e-4, 1e-5, 1e-6  # nudges


def branches(
    model: ConvergentNetwork, parameters: Parameters, states: Iterable[State], inputs: np.ndarray
) -> list:
    """On which side of its kinks each unit is, and where the maxima stand, at all states but the first."""
    low, high = (-0.5, 0.5) if model.activation == "ctrd_hard_sig" else (0.0, 1.0)
    found = []
    for state in states:
        records = model.wiring.records(parameters, model.rates(state, inputs))
        found += [record for record in records.values() if record is not None]
        if not model.functions.holomorphic:
            found += [1 * (array >= high) - (array <= low) for array in state.values()]
    return found


def same(first: list, second: list) -> bool:
    """Whether no unit has changed sides and no maximum has moved."""
    return all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))


def stays_on_branch(case: Settled, nudge: float) -> bool:
    """Whether a nudged phase passes no kink and moves no maximum."""
    model, parameters, inputs, targets = case.problem
    phase = {"steps": STEPS, "targets": targets, "nudge": nudge, "keep_last": STEPS + 1}
    nudged = relax(model, parameters, inputs, case.free.state, **phase).kept
    still = [case.free.state] * len(nudged)
    return same(*(branches(model, parameters, states, inputs) for states in (still, nudged)))


def saturates(case: Settled) -> bool:
    """Whether a hard sigmoid has units beyond its kinks: without, the network is a linear one."""
    return case.model.functions.holomorphic or any(not slope.all() for slope in slopes(case).values())


def smallest(case: Settled) -> float:
    """Largest entry of that array of gradients in which it is smallest."""
    gradients = case.gradients(STEPS)
    arrays = (*gradients.states.values(), *gradients.parameters.values())
    return min(float(np.abs(array).max()) for array in arrays)


def off_the_kinks(
    draw: Callable[[], Settled], error: Callable[[Settled, complex], float], fine: float
) -> Settled:
    """A network whose nudged phase stays on its branch, and whose bias can be told from rounding.

    A difference of states is rounded by some 2e-16, and divided by the nudge: the bias at the finer nudge is
    to be a hundred times as much.
    """
    for _ in range(60):
        case = draw()
        if not (saturates(case) and stays_on_branch(case, COARSE)):
            continue
        if error(case, COARSE) * smallest(case) * fine / COARSE >= 100 * 2e-16 / fine:
            return case
    raise VacuousError("none of 60 networks keeps off its kinks in the nudged phase")


def without_diagonal(case: Settled, nudge: complex) -> float:
    """Delta_s against -nabla_s without D."""
    return leaf_error(case.updates(STEPS, nudge).states, negated(case.gradients(STEPS).states))


def slope_in_nudge(case: Settled, error: Callable[[Settled, complex], float], fine: float) -> float:
    """Error at the coarse nudge over that at a finer one."""
    return error(case, COARSE) / error(case, fine)


@claim(
    "equilibrium_propagation/O11.hard",
    r"The exact law of the nudge inside holds for the hard sigmoids of later codes, $\mathrm{clip}(z/2, 0, 1)$ and "
    r"$\mathrm{clip}(z, -\frac12, \frac12)$, while no unit passes a kink: the error is proportional to $\beta$.",
    source="specification, section 2.1 (activations) and O11",
    metric=r"ratio of errors (worst relative error of an array over 25 steps) at $\beta = 10^{-4}$ and $10^{-5}$, "
    "farthest from 10, of both; networks with saturated units",
    relation="in",
    bound=(9.8, 10.2),
    control="the factor D left out of the states",
)
def hard_law(rng: np.random.Generator) -> Measured:
    values, controls, details = [], [], {}
    for activation in ("my_hard_sig", "ctrd_hard_sig"):
        make = prototypical(rng, activation=activation, nudge_placement="inside")
        options = {"layers": (2, 4), "narrowest": 2, "scale": (1.0, 2.0), "most_steps": 600}
        case = off_the_kinks(
            lambda make=make, options=options: settled(rng, make, **options), law_error, MIDDLE
        )
        values.append(slope_in_nudge(case, law_error, MIDDLE))
        controls.append(slope_in_nudge(case, without_diagonal, MIDDLE))
        details[f"error at 1e-5, {activation}"] = law_error(case, MIDDLE)
    return Measured(farthest(values, 10), min(controls, key=lambda ratio: abs(ratio - 10)), details)


def theorem_error(case: Settled, nudge: complex) -> float:
    """Delta against -nabla, states and parameters."""
    return process_error(case.updates(STEPS, nudge), case.gradients(STEPS))


@claim(
    "equilibrium_propagation/O2.hard",
    r"Energy-based networks with hard sigmoids follow the theorem, $\Delta \to -\nabla$ for states and parameters, "
    r"while no unit passes a kink: the error is proportional to $\beta$.",
    source="Ernoult 2019, gradient-descending updates (E8); specification, sections 2.1 and 4 (hard sigmoid)",
    metric=r"ratio of errors (worst relative error of an array over 25 steps) at $\beta = 10^{-4}$ and $10^{-5}$, "
    "farthest from 10, of hardsigm and my_hard_sig; networks with saturated units",
    relation="in",
    bound=(9.8, 10.2),
    control="the mixed output rule of the authors' layered code, with a slope of 1/2",
)
def hard_theorem(rng: np.random.Generator) -> Measured:
    options = {"layers": (2, 3), "narrowest": 2, "most_steps": 400}
    values, details = [], {}
    for activation in ("hardsigm", "my_hard_sig"):
        make = energy_based(rng, activation=activation)
        case = off_the_kinks(lambda make=make: settled(rng, make, **options), theorem_error, MIDDLE)
        values.append(slope_in_nudge(case, theorem_error, MIDDLE))
        details[f"error at 1e-5, {activation}"] = theorem_error(case, MIDDLE)
    mixed = energy_based(rng, activation="my_hard_sig", output="official")
    wrong = off_the_kinks(lambda: settled(rng, mixed, **options), theorem_error, MIDDLE)
    return Measured(farthest(values, 10), slope_in_nudge(wrong, theorem_error, MIDDLE), details)
