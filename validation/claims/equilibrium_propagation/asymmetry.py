"""Claims about feedback of its own, V beside W: O14, and the vector-field rule."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from refsnn.algorithms.vector_field_equilibrium_propagation import (
    vector_field_equilibrium_propagation as _vector_field_equilibrium_propagation,
)
from refsnn.models.contract import Parameters
from refsnn.oracles.fixed_point import implicit_gradient
from validation.claims.equilibrium_propagation.networks import (
    LIMIT,
    Settled,
    energy_based,
    leaf_error,
    negated,
    prototypical,
    relax_long,
    settled,
)
from validation.ledger import Measured, claim, require

STEPS = 25
COARSE, FINE = 1e-3, 1e-4

vector_field_equilibrium_propagation = partial(_vector_field_equilibrium_propagation, backend="plain")


def tie(parameters: Parameters, _: np.random.Generator) -> None:
    """V = W^T, in two arrays."""
    for name in parameters:
        if name.endswith("feedback"):
            parameters[name] = parameters[name.replace("feedback", "weight")].T.copy()


def as_if_tied(rng: np.random.Generator) -> Settled:
    """A settled energy-based network with hidden layers, and with a V that equals W^T."""
    make = energy_based(rng, tied=False, output="rho")
    return settled(rng, make, layers=(2, 3), narrowest=2, edit=tie)


def noise(rng: np.random.Generator, case: Settled) -> Parameters:
    """G, i.i.d. N(0, 1), one array for each V."""
    names = [name for name in case.parameters if name.endswith("feedback")]
    return {name: rng.normal(size=case.parameters[name].shape) for name in names}


def loosened(case: Settled, directions: Parameters, amount: float) -> Settled:
    """The network with V + amount G, settled anew."""
    added = {name: case.parameters[name] + amount * direction for name, direction in directions.items()}
    parameters = {**case.parameters, **added}
    free, steps = relax_long(case.model, parameters, case.inputs, len(case.free.kept), 2 * case.steps)
    require(free.residual <= 1e-14, f"the network does not settle with {amount:g} G")
    return replace(case, parameters=parameters, free=free, steps=steps)


def states_differ(case: Settled) -> float:
    """The limits of Delta_s against -nabla_s, worst relative error of a layer."""
    return leaf_error(case.updates(STEPS).states, negated(case.gradients(STEPS).states))


def ratio(case: Settled, directions: Parameters, coarse: float, fine: float) -> float:
    """Error at one lambda over that at another."""
    return states_differ(loosened(case, directions, coarse)) / states_differ(loosened(case, directions, fine))


@claim(
    "equilibrium_propagation/O14",
    r"The error of gradient-descending updates of the states is linear in a small asymmetry: with "
    r"$V = W^\top + \lambda G$, $G$ i.i.d. normal, an energy-based network is ten times farther off at "
    r"$\lambda = 10^{-3}$ than at $10^{-4}$.",
    source="Scellier 2018; specification, O14 (there between 1e-2 and 1e-3)",
    metric=r"ratio of errors (worst relative error of a layer over 25 steps, $\beta \to 0$)",
    relation="in",
    bound=(9.5, 10.5),
    control="a prototypical network, which is not symmetric to begin with",
)
def linear_in_asymmetry(rng: np.random.Generator) -> Measured:
    case = as_if_tied(rng)
    directions = noise(rng, case)
    wrong = settled(rng, prototypical(rng, tied=False), layers=(2, 3), narrowest=2, edit=tie)
    details = {
        "error at 1e-3": states_differ(loosened(case, directions, 1e-3)),
        "ratio between 1e-2 and 1e-3": ratio(case, directions, 1e-2, 1e-3),
    }
    return Measured(
        ratio(case, directions, COARSE, FINE), ratio(wrong, noise(rng, wrong), COARSE, FINE), details
    )


@claim(
    "equilibrium_propagation/O14.tied",
    r"At $\lambda = 0$, $V$ an array of its own that equals $W^\top$, the states follow the theorem.",
    source="Scellier 2018; specification, O14",
    metric=r"worst relative error of a layer over 25 steps, $\beta \to 0$",
    relation="<=",
    bound=1e-13,
    control=r"$\lambda = 10^{-6}$",
)
def no_asymmetry(rng: np.random.Generator) -> Measured:
    case = as_if_tied(rng)
    return Measured(states_differ(case), states_differ(loosened(case, noise(rng, case), 1e-6)))


def tied_twin(case: Settled) -> Settled:
    """The same network with one matrix for both directions."""
    parameters = {name: array for name, array in case.parameters.items() if not name.endswith("feedback")}
    return replace(case, model=replace(case.model, tied=True), parameters=parameters)


def vector_field_errors(case: Settled) -> tuple[float, float]:
    """(E21) against BPTT truncated to K, W and V each; and W plus V^T against the implicit gradient, K long."""
    model, parameters, inputs, targets = case.problem
    phases = {"free_steps": 2 * case.steps, "nudge": LIMIT}
    short = vector_field_equilibrium_propagation(*case.problem, **phases, nudged_steps=STEPS).gradients
    summed = dict(
        vector_field_equilibrium_propagation(*case.problem, **phases, nudged_steps=2 * case.steps).gradients
    )
    for name in list(summed):
        if name.endswith("feedback"):
            summed[name.replace("feedback", "weight")] += summed.pop(name).T
    twin = tied_twin(case)
    exact = implicit_gradient(*twin.problem, case.free.state)
    return leaf_error(short, case.truncated(STEPS)), leaf_error(summed, exact)


@claim(
    "equilibrium_propagation/VF",
    r"The vector-field rule (E21), post motion times pre, without $\sigma'$, drops nothing where the nudge is inside "
    r"the activation: with $V = W^\top$ both are exact BPTT gradients, $-\lim\hat\Delta_W = dL/dW$ and "
    r"$-\lim\hat\Delta_V = dL/dV$ (truncated to the same $K$), and "
    r"$\hat\Delta_W + \hat\Delta_V^\top$ is that of the tied network, $-dL_*/dW$ for $K \to \infty$.",
    source="Scellier 2018; Laborieux 2021; specification, section 2.6",
    metric="worst relative error of an array, epsilon = 1 and epsilon < 1",
    relation="<=",
    bound=1e-13,
    control="the nudge outside the activation",
)
def vector_field_rule(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for step_size in (1.0, float(rng.uniform(0.3, 0.8))):
        make = prototypical(rng, tied=False, step_size=step_size, nudge_placement="inside")
        options = {"layers": (2, 4), "narrowest": 2, "edit": tie, "most_steps": 600}
        case = settled(rng, make, **options).longer(200)
        values += vector_field_errors(case)
        outside = replace(case, model=replace(case.model, nudge_placement="outside"))
        controls += vector_field_errors(outside)
    return Measured(max(values), min(controls))
