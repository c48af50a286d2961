"""Claims about the cross-entropy variants of Laborieux et al. 2021: CE1 (linear outputs), CE2 (a read-out)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from refsnn.algorithms.processes import Processes
from refsnn.models.contract import Parameters
from refsnn.models.convergent import PrototypicalNetwork
from refsnn.oracles.complex_step import complex_step_gradient
from refsnn.oracles.fixed_point import implicit_gradient
from validation.claims.equilibrium_propagation.identities import unrolled_loss
from validation.claims.equilibrium_propagation.laws import STEPS, law_error, slopes
from validation.claims.equilibrium_propagation.networks import (
    LIMIT,
    Settled,
    bptt_convergent,
    leaf_error,
    process_error,
    settled,
)
from validation.ledger import Measured, claim, require

CROSS_ENTROPY = {"nudge_placement": "inside", "loss_function": "cross_entropy"}
CLASSES = 3


def settled_classifier(rng: np.random.Generator, **options: Any) -> Settled:
    """A settled prototypical network nudged by the softmax of its outputs; residuals have died out."""

    def make(widths: tuple[int, ...]) -> PrototypicalNetwork:
        return PrototypicalNetwork(
            widths, activation=str(rng.choice(["tanh", "sigm"])), **CROSS_ENTROPY, **options
        )

    return settled(rng, make, layers=(2, 3), narrowest=2, most_steps=600).longer(200)


def against_the_truth(case: Settled, steps: int) -> float:
    """Totals against the implicit gradient, and BPTT of a run that has not settled against the complex step."""
    exact = implicit_gradient(*case.problem, case.free.state)
    total = leaf_error(case.estimate(2 * case.steps, LIMIT), exact)
    loss = unrolled_loss(case.model, case.inputs, case.targets, steps)
    truth = complex_step_gradient(loss, case.parameters)
    return max(total, leaf_error(bptt_convergent(*case.problem, free_steps=steps).gradients, truth))


@claim(
    "equilibrium_propagation/CE1",
    r"Linear outputs nudged by $\beta(y - \mathrm{softmax}(s^0))$ follow the exact law of the nudge inside for the "
    r"cross-entropy, with $D_0 = I$: $\lim\Delta_s = -D\nabla_s$, $\lim\Delta_\theta = -\nabla_\theta$ step by step; in "
    r"total the implicit gradient of the loss. BPTT of a run of 6 steps is the slope of its loss.",
    source="Laborieux 2021; specification, sections 2.7 (a) and 5 (O11)",
    metric="worst relative error of an array, complex step: processes over 25 steps, totals, and BPTT",
    relation="<=",
    bound=1e-13,
    control="outputs nudged by their squared error, y - s",
)
def softmax_force(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for step_size in (1.0, float(rng.uniform(0.3, 0.8))):
        case = settled_classifier(rng, output="linear", step_size=step_size)
        values += [law_error(case), against_the_truth(case, 6)]
        squared = replace(case, model=replace(case.model, loss_function="mean_squared_error"))
        gradients = case.gradients(STEPS)
        scaled = {name: slope * gradients.states[name] for name, slope in slopes(case).items()}
        controls.append(process_error(squared.updates(STEPS), Processes(scaled, gradients.parameters)))
    return Measured(max(values), min(controls))


@claim(
    "equilibrium_propagation/CE2",
    r"With a softmax read-out outside the dynamics, its top layer nudged inside the activation by "
    r"$\beta W_{\rm out}^\top(y - \mathrm{softmax}(z))$, the couplings follow the exact law for the cross-entropy of "
    r"$z$, and $W_{\rm out}, b_{\rm out}$ take $(p - y)^\top s/B$ in the first step: in total the implicit gradient. "
    r"BPTT of a run of 6 steps is the slope of its loss.",
    source="Laborieux 2021; specification, sections 2.7 (b) and 5 (O11)",
    metric="worst relative error of an array, complex step: processes over 25 steps, totals, and BPTT",
    relation="<=",
    bound=1e-13,
    control="the nudge outside the activation",
)
def read_out(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for step_size in (1.0, float(rng.uniform(0.3, 0.8))):
        case = settled_classifier(rng, readout=CLASSES, step_size=step_size)
        values += [law_error(case), against_the_truth(case, 6)]
        outside = replace(case, model=replace(case.model, nudge_placement="outside"))
        controls.append(law_error(outside))
    return Measured(max(values), min(controls))


def read_out_only(gradients: Parameters) -> Parameters:
    """W_out and b_out."""
    return {name: array for name, array in gradients.items() if name.startswith("readout.")}


def read_out_errors(case: Settled, nudge: float, symmetric: bool, divided: bool = False) -> list[float]:
    """Error of the read-out's own gradient at a nudge and at half of it."""
    exact = read_out_only(implicit_gradient(*case.problem, case.free.state))
    errors = []
    for beta in (nudge, nudge / 2):
        estimate = read_out_only(case.estimate(STEPS, beta, symmetric))
        if divided:
            estimate = {name: array / beta for name, array in estimate.items()}
        errors.append(leaf_error(estimate, exact))
    return errors


@claim(
    "equilibrium_propagation/CE2.order",
    r"The read-out's own gradient, $\frac{1}{B}(p - y)^\top s$ at the nudged state and without any $1/\beta$, has a bias "
    r"of first order; the mean over the two nudged states of the symmetric update one of second order.",
    source="Laborieux 2021; specification, section 2.7 (b)",
    metric=r"larger one of $|q_1 - 2|/0.05$ and $|q_2 - 4|/0.1$: $q$ the errors (worst relative error of an array) at a "
    r"nudge over that at half of it, $q_1$ at $\pm 10^{-3}$ one-sided, $q_2$ at $4\cdot 10^{-3}$ symmetric",
    relation="<=",
    bound=1.0,
    control="the one-sided gradient divided by beta like a contrast, and the one-sided for the symmetric one",
)
def read_out_orders(rng: np.random.Generator) -> Measured:
    case = settled_classifier(rng, readout=CLASSES, step_size=float(rng.uniform(0.3, 1.0)))
    for _ in range(20):
        plus, minus = (read_out_errors(case, sign * 1e-3, symmetric=False) for sign in (1, -1))
        both = read_out_errors(case, 4e-3, symmetric=True)
        if min(*plus, *minus) >= 1e-5 and min(both) >= 1e-8:
            break
        case = settled_classifier(rng, readout=CLASSES)
    else:
        require(False, "no network in 20 with biases of first and second order")

    def off(first: list[list[float]], second: list[float]) -> list[float]:
        ones = [abs(coarse / fine - 2) / 0.05 for coarse, fine in first]
        return [*ones, abs(second[0] / second[1] - 4) / 0.1]

    divided = [read_out_errors(case, sign * 1e-3, symmetric=False, divided=True) for sign in (1, -1)]
    one_sided = read_out_errors(case, 4e-3, symmetric=False)
    details = {"one-sided error at 1e-3": plus[0], "symmetric error at 4e-3": both[0]}
    return Measured(max(off([plus, minus], both)), min(off(divided, one_sided)), details)
