"""Claims about the Jacobian of the steady state: SP1, SP2, and recurrent backpropagation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import numpy as np

from refsnn.algorithms.recurrent_backpropagation import (
    recurrent_backpropagation as _recurrent_backpropagation,
)
from refsnn.models.contract import Parameters
from refsnn.models.coupled_layers import largest_difference
from refsnn.oracles.fixed_point import implicit_gradient, state_jacobian
from validation.claims.equilibrium_propagation.networks import (
    Settled,
    energy_based,
    leaf_error,
    negated,
    prototypical,
    relax,
    settled,
    toy,
)
from validation.claims.equilibrium_propagation.orders import farthest
from validation.ledger import Measured, VacuousError, claim, require

recurrent_backpropagation = partial(_recurrent_backpropagation, backend="plain")

SLOW, FAST = 0.5, 0.97  # spectral radii whose powers are followed
LONE = 1.5  # the second modulus is at most this power of the first: what it adds has died out in time


@dataclass(frozen=True)
class Slow:
    """A network with one slowest mode that stands apart, the two largest |eigenvalues|, and whose they are."""

    case: Settled
    radius: float
    second: float
    sample: int


def slow_network(rng: np.random.Generator, family: str) -> Slow:
    """Networks are drawn until one has a lone slowest mode, by the dense Jacobian at the steady state."""
    for _ in range(200):
        if family == "energy":
            make = energy_based(rng, output="rho")
        else:
            make = prototypical(rng, step_size=0.5, nudge_placement="inside")
        options = {"layers": (2, 4), "narrowest": 2, "most_steps": 1000}
        case = settled(rng, make, **options, keep_last=2, balance=0).longer(100)
        jacobian = state_jacobian(case.model, case.parameters, case.free.state, case.inputs)
        moduli = np.abs(np.linalg.eigvals(jacobian))
        second, first = np.sort(moduli, axis=None)[-2:]
        if SLOW <= first <= FAST and second <= first**LONE:
            return Slow(case, float(first), float(second), int(moduli.max(axis=1).argmax()))
    raise VacuousError("none of 200 networks has a spectral radius that stands apart")


def rate(sizes: np.ndarray, first: float, last: float) -> float:
    """Factor a step by which `sizes` fall, from `first` times the largest of them to `last` times."""
    # one step after the last that is above
    start, end = (1 + int(np.flatnonzero(sizes > bound * sizes.max())[-1]) for bound in (first, last))
    require(end < len(sizes), f"the sizes have not fallen to {last:g} of the largest")
    return float((sizes[end] / sizes[start]) ** (1 / (end - start)))


def residuals(slow: Slow) -> np.ndarray:
    """max |F(s_t) - s_t| over the units of the slowest sample, from the zero state to the end of its free phase.

    Of another sample the residual may still be large then: some pass close to an unstable state.
    """
    case = slow.case
    inputs = case.inputs[slow.sample : slow.sample + 1]
    kept = relax(case.model, case.parameters, inputs, steps=case.steps, keep_last=case.steps + 1).kept
    return np.array([largest_difference(after, before) for before, after in pairwise(kept)])


def exponents(measured: float, *radii: float) -> list[float]:
    """ln(measured) / ln(radius): 1 where a rate is the radius, and as strict for radii near 1."""
    return [float(np.log(measured) / np.log(radius)) for radius in radii]


@claim(
    "equilibrium_propagation/SP1",
    r"The residual of the free phase of the slowest sample decays as $\varrho(J_*)^T$ with its spectral radius.",
    source="specification, end of section 5",
    metric=r"$\ln(\text{decay a step}) / \ln\varrho(J_*)$ while the residual falls from 1e-7 to 1e-11 of its largest, "
    r"farthest from 1, energy-based and prototypical; networks whose second eigenvalue is at most $\varrho^{1.5}$",
    relation="in",
    bound=(0.98, 1.02),
    control="the second eigenvalue in its place",
)
def residual_decays(rng: np.random.Generator) -> Measured:
    values, controls, details = [], [], {}
    for family in ("energy", "prototypical"):
        slow = slow_network(rng, family)
        measured = rate(residuals(slow), 1e-7, 1e-11)
        value, control = exponents(measured, slow.radius, slow.second)
        values.append(value)
        controls.append(control)
        details[f"decay a step and radius, {family}"] = f"{measured:.5f}, {slow.radius:.5f}"
    return Measured(farthest(values, 1), farthest(controls, 1), details)


def remainders(case: Settled, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Error of the totals after K = 1, 2, ... steps against the implicit gradient: BPTT and the nudged phase."""
    exact = implicit_gradient(*case.problem, case.free.state)
    backward = case.gradients(steps).parameters
    forward = negated(case.updates(steps).parameters)

    def errors(process: Parameters) -> np.ndarray:
        parts = [
            np.abs(process[name].cumsum(axis=0) - exact[name]).reshape(steps, -1).max(axis=1)
            for name in exact
        ]
        return np.max(parts, axis=0)

    return errors(backward), errors(forward)


@claim(
    "equilibrium_propagation/SP2",
    r"What the total over $K$ steps still lacks of the gradient of the steady state decays as $\varrho(J_*)^K$, in "
    r"backpropagation truncated to $K$ steps and in the nudged phase for $\beta \to 0$.",
    source="specification, end of section 5",
    metric=r"$\ln(\text{decay a step}) / \ln\varrho(J_*)$ while the error falls from 1e-6 to 1e-10 of its largest, "
    r"farthest from 1, both sides, energy-based and prototypical; networks as in SP1",
    relation="in",
    bound=(0.98, 1.02),
    control="the second eigenvalue in its place",
)
def truncation_decays(rng: np.random.Generator) -> Measured:
    values, controls, details = [], [], {}
    for family in ("energy", "prototypical"):
        slow = slow_network(rng, family)
        case, steps = slow.case, int(30 / -np.log(slow.radius)) + 20
        case = replace(case, free=relax(*case.problem[:3], case.free.state, steps=steps, keep_last=steps + 1))
        for side, errors in zip(("backward", "forward"), remainders(case, steps), strict=True):
            measured = rate(errors, 1e-6, 1e-10)
            value, control = exponents(measured, slow.radius, slow.second)
            values.append(value)
            controls.append(control)
            details[f"decay a step and radius, {side}, {family}"] = f"{measured:.5f}, {slow.radius:.5f}"
    return Measured(farthest(values, 1), farthest(controls, 1), details)


def recurrent_errors(case: Settled, free_steps: int, steps_back: int) -> float:
    """Recurrent backpropagation cut after K terms against BPTT truncated to K steps."""
    phases = {"free_steps": free_steps}
    cut = recurrent_backpropagation(*case.problem, **phases, adjoint_steps=steps_back).gradients
    return leaf_error(cut, replace(case, steps=free_steps).truncated(steps_back))


@claim(
    "equilibrium_propagation/RBP",
    r"Recurrent backpropagation, the Neumann series of $(I - J_*^\top)^{-1}$ at $s_*$ alone, cut after $K$ terms is "
    r"BPTT truncated to $K$ steps of a held steady state, tied or not; run to its end it is the implicit gradient.",
    source="Almeida 1987; Pineda 1987; specification, section 4 (adjoint of the fixed point)",
    metric="worst relative error of an array, K from 1 to 25, energy-based, prototypical, untied and toy networks",
    relation="<=",
    bound=1e-13,
    control="a free phase of 8 steps, whose states still move",
)
def recurrent_backpropagation_sides(rng: np.random.Generator) -> Measured:
    makers = (
        energy_based(rng, output="rho"),
        prototypical(rng, step_size=rng.uniform(0.3, 1.0)),
        prototypical(rng, tied=False, step_size=0.5),
        toy(rng),
    )
    values, controls, converged = [], [], []
    for make in makers:
        case = settled(rng, make, layers=(2, 3), narrowest=2, most_steps=600).longer(400)
        # fewer terms than layers leave arrays without a gradient
        steps_back = int(rng.integers(case.model.depth, 26))
        values.append(recurrent_errors(case, case.steps, steps_back))
        controls.append(recurrent_errors(case, 8, 8))
        exact = implicit_gradient(*case.problem, case.free.state)
        series = recurrent_backpropagation(*case.problem, free_steps=case.steps, adjoint_steps=case.steps)
        require(series.adjoint_residual <= 1e-14, "the series has not converged")
        converged.append(leaf_error(series.gradients, exact))
    return Measured(
        max(*values, *converged), min(controls), {"series to its end, against implicit": max(converged)}
    )
