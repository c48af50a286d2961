"""Claims that are equalities up to rounding: O1, O2, O6 to O10, O18."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from refsnn.algorithms.processes import Processes, bptt_processes, equilibrium_processes
from refsnn.models.contract import Parameters, State
from refsnn.models.convergent import EnergyBasedNetwork, PrototypicalNetwork
from refsnn.models.convergent_network import ConvergentNetwork
from refsnn.oracles.complex_step import complex_step_derivative, complex_step_gradient
from refsnn.oracles.finite_differences import directional_derivative
from refsnn.oracles.fixed_point import implicit_gradient
from validation.claims.equilibrium_propagation.networks import (
    BALANCE,
    LIMIT,
    RESIDUAL,
    Settled,
    bptt_convergent,
    energy_based,
    equilibrium_propagation,
    holomorphic_equilibrium_propagation,
    leaf_error,
    process_error,
    prototypical,
    relax,
    settled,
    toy,
)
from validation.ledger import Measured, claim, require

STEPS = 25  # K of the processes


def gradient_systems(rng: np.random.Generator, **options: Any) -> list[Settled]:
    """Settled networks with a primitive function: both output rules, and the toy wiring."""
    makers = (energy_based(rng, output="rho"), energy_based(rng, output="linear"), toy(rng))
    return [settled(rng, make, **options) for make in makers]


def mixture(rng: np.random.Generator) -> Settled:
    """The layered network of the authors' code, no gradient system."""
    return settled(rng, energy_based(rng, output="official"), widths=(4, 6, 5, 3), scale=(1.0, 1.5))


def forward_recursion(case: Settled, steps: int) -> Processes:
    """lim Delta without any nudge: Delta_s(t+1) = J Delta_s(t) by JVPs, Delta_theta by a directional derivative."""
    model, parameters, inputs, targets = case.problem
    still = {name: np.zeros_like(array) for name, array in parameters.items()}
    outputs = case.free.state["layer.0"]
    moved = {name: np.zeros_like(array) for name, array in case.free.state.items()}
    moved["layer.0"] = (targets - outputs) / len(
        targets
    )  # -dl/ds, written here: the adjoint starts on its own
    states: list[State] = []
    updates: list[Parameters] = []
    for _ in range(steps):
        states.append(moved)
        complex_state = {name: case.free.state[name] + LIMIT * moved[name] for name in moved}
        products = model.primitive_gradient(parameters, complex_state, inputs)
        updates.append({name: model.step_size * products[name].imag / LIMIT.imag for name in products})
        moved = model.step_jvp(parameters, case.free.state, inputs, moved, still)
    return Processes(
        {name: np.stack([entry[name] for entry in states]) for name in moved},
        {name: np.stack([entry[name] for entry in updates]) for name in parameters},
    )


@claim(
    "equilibrium_propagation/O1",
    r"At a steady state of a gradient system the tangent recursion of the nudged phase is minus the adjoint "
    r"recursion of BPTT, step by step: $\Delta_s(t) = -\nabla_s(t)$ and $\Delta_\theta(t) = -\nabla_\theta(t)$.",
    source="Ernoult 2019, gradient-descending updates (E8); specification, O1",
    metric="worst relative error of an array over 25 steps, three random networks",
    relation="<=",
    bound=1e-13,
    control="the mixed output rule of the authors' layered code, which has no primitive function",
)
def tangent_against_adjoint(rng: np.random.Generator) -> Measured:
    errors = [
        process_error(forward_recursion(case, STEPS), case.gradients(STEPS)) for case in gradient_systems(rng)
    ]
    wrong = mixture(rng)
    control = process_error(forward_recursion(wrong, STEPS), wrong.gradients(STEPS))
    return Measured(max(errors), control, dict(zip(("rho", "linear", "toy"), errors, strict=True)))


def later(processes: Processes) -> Processes:
    """The same processes without their first step."""
    return Processes(
        {name: array[1:] for name, array in processes.states.items()},
        {name: array[1:] for name, array in processes.parameters.items()},
    )


@claim(
    "equilibrium_propagation/O2",
    r"The nudged phase itself, run in complex numbers with $\beta = 10^{-30}i$, gives the processes of BPTT: "
    r"$\lim_{\beta\to 0}\Delta(\beta, t) = -\nabla(t)$ for states and parameters.",
    source="Ernoult 2019, gradient-descending updates (E8); specification, O2",
    metric="worst relative error of an array over 25 steps, three random networks",
    relation="<=",
    bound=1e-13,
    control="the gradients of one step later",
)
def nudged_phase_against_adjoint(rng: np.random.Generator) -> Measured:
    cases = gradient_systems(rng)
    errors = [process_error(case.updates(STEPS), case.gradients(STEPS)) for case in cases]
    shifted = [process_error(case.updates(STEPS), later(case.gradients(STEPS + 1))) for case in cases]
    residual = max(case.free.residual for case in cases)
    return Measured(max(errors), min(shifted), {"residual": residual, "widths": str(cases[0].model.widths)})


def total_error(case: Settled) -> float:
    """Equilibrium propagation with a nudged phase run to its end, against the implicit gradient."""
    exact = implicit_gradient(*case.problem, case.free.state)
    return leaf_error(case.estimate(2 * case.steps, LIMIT), exact)


def implicit_errors(rng: np.random.Generator, case: Settled) -> tuple[float, float]:
    """The implicit gradient against the relaxed loss along one direction: complex step, and differences.

    Relative to the sum of |gradient * direction| over all entries.
    """
    model, parameters, inputs, targets = case.problem
    direction = {name: rng.normal(size=array.shape) for name, array in parameters.items()}

    def relaxed_loss(amount: complex) -> complex:
        moved = {name: parameters[name] + amount * direction[name] for name in parameters}
        return model.loss(moved, relax(model, moved, inputs, steps=2 * case.steps).state, targets)

    exact = implicit_gradient(*case.problem, case.free.state)
    slope = sum(float((exact[name] * direction[name]).sum()) for name in exact)
    size = sum(float(np.abs(exact[name] * direction[name]).sum()) for name in exact)
    point, along = {"amount": np.zeros(())}, {"amount": np.ones(())}
    differences = directional_derivative(lambda p: relaxed_loss(float(p["amount"])), point, along, 1e-4, 4)
    return abs(complex_step_derivative(relaxed_loss, 0.0) - slope) / size, abs(differences - slope) / size


@claim(
    "equilibrium_propagation/O6",
    r"The whole update tends to the exact gradient of the loss at the steady state: "
    r"$-\lim_{K\to\infty}\lim_{\beta\to 0}\hat\Delta_\theta = dL_*/d\theta$, with "
    r"$(I - J_*^\top)\Lambda = \partial\ell/\partial s$ solved on a dense Jacobian. That solution is the slope of the "
    r"relaxed loss, by the complex step and by differences, on the same networks and on an untied one, whose "
    r"Jacobian is not symmetric.",
    source="Ernoult 2019 (E7), (E8); implicit differentiation; specification, O6",
    metric="worst relative error of an array against the implicit gradient, three random networks; and of the implicit "
    "gradient against the complex step, these and an untied one",
    relation="<=",
    bound=1e-13,
    control="the mixed output rule of the authors' layered code",
)
def total_against_implicit(rng: np.random.Generator) -> Measured:
    # I - J^T is the worse conditioned the slower the network settles: 600 steps mean a radius below 0.95.
    # Divided by I - J^T, what a residual of a few 1e-16 still has to go would show: let it go.
    cases = [case.longer(400) for case in gradient_systems(rng, most_steps=600)]
    totals = [total_error(case) for case in cases]
    make = prototypical(rng, tied=False, step_size=0.5)
    untied = settled(rng, make, layers=(2, 4), narrowest=2, most_steps=600).longer(400)
    pairs = [implicit_errors(rng, case) for case in (*cases, untied)]
    by_complex_step, by_differences = (max(errors) for errors in zip(*pairs, strict=True))
    require(by_differences <= 1e-9, f"differences contradict the implicit gradient: {by_differences:g}")
    details = {
        "implicit against the complex step in theta": by_complex_step,
        "five-point differences": by_differences,
    }
    return Measured(max(*totals, by_complex_step), total_error(mixture(rng)), details)


def unrolled_loss(
    model: ConvergentNetwork, inputs: np.ndarray, targets: np.ndarray, steps: int
) -> Callable[[Parameters], complex]:
    """L(theta) = loss(s_T), forward only."""
    return lambda parameters: model.loss(
        parameters, relax(model, parameters, inputs, steps=steps).state, targets
    )


@dataclass(frozen=True)
class Unrolled:
    """A network that has not settled, and the complex-step gradient of its loss."""

    model: ConvergentNetwork
    parameters: Parameters
    inputs: np.ndarray
    targets: np.ndarray
    steps: int
    truth: Parameters

    def error(self, gradients: Parameters) -> float:
        """Worst relative error of an array; where the truth is 0 throughout, anything else counts as 1."""
        silent = [name for name, array in self.truth.items() if not array.any()]
        if any(gradients[name].any() for name in silent):
            return 1.0
        live = {name: array for name, array in self.truth.items() if name not in silent}
        return leaf_error(gradients, live)

    def errors(self) -> tuple[float, float]:
        """Of the adjoint that sums up, and of the one that keeps every step."""
        problem = self.model, self.parameters, self.inputs, self.targets
        summed = bptt_convergent(*problem, free_steps=self.steps).gradients
        free = relax(self.model, self.parameters, self.inputs, steps=self.steps, keep_last=self.steps + 1)
        kept = bptt_processes(*problem, free, steps=self.steps).total()
        return self.error(summed), self.error(kept)

    def forgetful(self) -> float:
        """Error of an adjoint that forgets the second use of a tied weight."""
        twin = replace(self.model, tied=False)
        feedback = {
            f"{name}.feedback": twin.wiring.maps[pair].as_weight(self.parameters[f"{name}.weight"])
            for pair, name in twin.wiring.names.items()
            if f"{name}.feedback" in twin.parameter_shapes()
        }
        problem = twin, {**self.parameters, **feedback}, self.inputs, self.targets
        return self.error(bptt_convergent(*problem, free_steps=self.steps).gradients)


def unrolled(
    rng: np.random.Generator, family: Callable[[tuple[int, ...]], ConvergentNetwork], short: bool = False
) -> Unrolled:
    """A run of T steps, at most 20; a short one has fewer than layers, so that the loss knows nothing of some.

    Gradients far smaller than the output error come from saturated units, whose slope 1 - tanh^2 is a small
    difference of large numbers: they carry its rounding errors, and are passed over.
    """
    for _ in range(60):
        model = family(tuple(int(width) for width in rng.integers(1, 5, size=rng.integers(3, 5))))
        layers = len(model.widths)
        steps = int(rng.integers(1, layers) if short else rng.integers(layers, 21))
        parameters = model.initialise(rng, scale=rng.uniform(0.5, 1.5))
        inputs = rng.uniform(size=(int(rng.integers(1, 4)), model.widths[-1]))
        targets = rng.uniform(size=(len(inputs), model.widths[0]))
        truth = complex_step_gradient(unrolled_loss(model, inputs, targets, steps), parameters)
        sizes = [float(np.abs(array).max()) for array in truth.values()]
        live = [size for size in sizes if size > 0] if short else sizes
        outputs = model.outputs(parameters, relax(model, parameters, inputs, steps=steps).state)
        if min(live) >= BALANCE * max(*live, float(np.abs(outputs - targets).max()) / len(targets)):
            break
    else:
        require(False, "no network with all of its arrays alive in 60 draws")
    return Unrolled(model, parameters, inputs, targets, steps, truth)


@claim(
    "equilibrium_propagation/O7",
    r"The hand-written adjoints (E22) and (E23) give the exact gradient of $\ell(s_T, y)$ for any $T$, "
    r"converged or not, tied or not, with a skip connection, and with fewer steps than layers; so does the sum of "
    r"the processes $\nabla_\theta(t)$.",
    source="reverse-mode recursion of the specification, section 4; specification, O7",
    metric="worst relative error of an array against the complex step, nine random networks that are not saturated",
    relation="<=",
    bound=1e-13,
    control="the second use of the tied weight is forgotten",
)
def unrolled_gradient(rng: np.random.Generator) -> Measured:
    tied = [
        unrolled(rng, energy_based(rng, output="rho")),
        unrolled(rng, energy_based(rng, output=str(rng.choice(["linear", "official"])))),
        unrolled(rng, prototypical(rng)),
        unrolled(rng, prototypical(rng, step_size=rng.uniform(0.2, 0.8))),
        unrolled(rng, toy(rng)),
    ]
    untied = [unrolled(rng, make(rng, tied=False)) for make in (energy_based, prototypical)]
    short = [unrolled(rng, make(rng), short=True) for make in (energy_based, prototypical)]
    errors, details = [], {}
    for run in (*tied, *untied, *short):
        kind = type(run.model).__name__ + ("" if run.model.tied else ", untied")
        errors.append(max(run.errors()))
        details[f"{kind} {run.model.widths}, T = {run.steps}"] = errors[-1]
    return Measured(max(errors), min(run.forgetful() for run in tied), details)


@claim(
    "equilibrium_propagation/O8",
    r"The increments telescope, $\sum_t \Delta_\theta(\beta, t) = \hat\Delta_\theta(\beta, K)$, at any $\beta$, "
    r"converged or not: an identity, and no evidence for the theorem.",
    source="Ernoult 2019 (E7); specification, O8",
    metric=r"largest difference over $K\,\epsilon_{64}\,(\sum_t|\Delta_\theta(t)| + |\partial_\theta\Phi|/(|\beta|B))$, "
    r"the rounding of sums and products, entry by entry",
    relation="<=",
    bound=1.0,
    control="the first increment left out, as the authors' plotting code does",
)
def telescoping(rng: np.random.Generator) -> Measured:
    values, controls = [], []  # one entry a parameter; one a network
    for family, steps in ((energy_based(rng), STEPS), (prototypical(rng), STEPS), (energy_based(rng), 200)):
        model = family(tuple(int(width) for width in rng.integers(1, 9, size=4)))
        parameters = model.initialise(rng)
        inputs, targets = rng.uniform(size=(3, model.widths[-1])), rng.uniform(size=(3, model.widths[0]))
        nudge = float(rng.choice([-1, 1]) * 10 ** rng.uniform(-6, 0))
        free = relax(model, parameters, inputs, steps=steps)
        updates = equilibrium_processes(model, parameters, inputs, targets, free, steps=STEPS, nudge=nudge)
        phases = {"free_steps": steps, "nudged_steps": STEPS, "nudge": nudge}
        ends = equilibrium_propagation(model, parameters, inputs, targets, **phases).gradients
        cut, rounding = [], STEPS * np.finfo(float).eps
        rates = {layer: np.abs(rate) for layer, rate in model.rates(free.state, inputs).items()}
        products = model.wiring.hebbian_products(rates, dict.fromkeys(model.couplings))
        for name, increments in updates.parameters.items():
            unit = rounding * (np.abs(increments).sum(axis=0) + products[name] / (abs(nudge) * len(inputs)))
            require(bool((unit > 0).all()), f"{name}: some entry never moved")
            values.append(float((np.abs(increments.sum(axis=0) + ends[name]) / unit).max()))
            cut.append(float((np.abs(increments[1:].sum(axis=0) + ends[name]) / unit).max()))
        controls.append(max(cut))
    return Measured(max(values), min(controls))


@claim(
    "equilibrium_propagation/O9",
    r"Causality, bit for bit: layer $n$ of the nudged phase equals the free continuation up to and including "
    r"step $n$, hence for $t < n$ exactly $\nabla_{s^n}(t) = 0$, and $\Delta_{s^n}(t) = 0$ at an exact fixed point, "
    r"otherwise $|\Delta_{s^n}(t)| \le 4r/(\epsilon|\beta|)$ with the residual $r$ (at least a rounding error).",
    source="wiring of the network; specification, O9",
    metric="number of entries that are not equal, or not within the bound of the residual",
    relation="==",
    bound=0,
    control="one step later: layer n at step n + 1",
)
def causality(rng: np.random.Generator) -> Measured:
    differing, one_later, nudge = 0, 0, 0.5
    for family, start, exact in (
        (energy_based(rng), 3, False),
        (prototypical(rng), 3, False),
        (energy_based(rng), None, False),
        (prototypical(rng), None, True),
    ):
        case = settled(
            rng, family, layers=(3, 3), narrowest=2, residual=0.0 if exact else RESIDUAL, balance=1e-4
        )
        model, parameters, inputs, targets = case.problem
        free = case.free if start is None else relax(model, parameters, inputs, steps=start + 4, keep_last=5)
        nudged_phase = {"targets": targets, "nudge": nudge, "steps": 4, "keep_last": 5}
        nudged = relax(model, parameters, inputs, free.state, **nudged_phase).kept
        continued = relax(model, parameters, inputs, free.state, steps=4, keep_last=5).kept
        gradients = bptt_processes(model, parameters, inputs, targets, free, steps=4)
        updates = equilibrium_processes(model, parameters, inputs, targets, free, steps=4, nudge=nudge)
        drift = max(free.residual, np.finfo(float).eps) if free.residual > 0 else 0.0
        most = 4 * drift / (model.step_size * nudge)
        for layer, name in enumerate(model.layers):
            for t in range(layer + 1):
                differing += int((nudged[t][name] != continued[t][name]).sum())
            late = int((nudged[layer + 1][name] != continued[layer + 1][name]).sum())
            require(late > 0, f"{name} does not feel the nudge at step {layer + 1} either")
            one_later += late
            differing += int((gradients.states[name][:layer] != 0).sum())
            require(bool((gradients.states[name][layer] != 0).any()), f"{name}: no gradient at step {layer}")
            if start is None:
                differing += int((np.abs(updates.states[name][:layer]) > most).sum())
    return Measured(differing, one_later)


def wrong_parity(case: Settled) -> float:
    """Largest Delta_{s^n}(t) with t - n odd."""
    updates = case.updates(STEPS)
    return max(
        float(np.abs(updates.states[name][1 - n % 2 :: 2]).max()) for n, name in enumerate(case.model.layers)
    )


@claim(
    "equilibrium_propagation/O10",
    r"Parity: in a layered prototypical network with $\epsilon = 1$, $\lim_{\beta\to 0}\Delta_{s^n}(t) = 0$ when "
    r"$t - n$ is odd; the curves are zig-zags.",
    source="bipartite wiring of the chain; specification, O10",
    metric="largest entry of the wrong parity over 25 steps, complex step",
    relation="<=",
    bound=1e-15,
    control="the same network with epsilon = 1/2",
)
def parity(rng: np.random.Generator) -> Measured:
    case = settled(rng, prototypical(rng))
    control = settled(rng, prototypical(rng, step_size=0.5), widths=case.model.widths, balance=0)
    largest = max(float(np.abs(array).max()) for array in case.updates(STEPS).states.values())
    require(largest > 1e-3, "nothing moves")
    return Measured(wrong_parity(case), wrong_parity(control), {"largest entry": largest})


@claim(
    "equilibrium_propagation/O18",
    r"One linear unit, $s \leftarrow (1-\epsilon)s + \epsilon w x$, has closed forms: with $e = y - s_*$, "
    r"$\Delta_s(\beta,t) = e(1-\epsilon(1+\beta))^t$, totals $ex/(1+\beta)$ one-sided, $ex/(1-\beta^2)$ symmetric, "
    r"$ex/(1-(-\beta)^N)$ holomorphic.",
    source="specification, O18 (derived there)",
    metric="worst relative error over all of them",
    relation="<=",
    bound=1e-14,
    control="the bias of the finite nudge ignored: e x for every total",
)
def scalar_closed_form(rng: np.random.Generator) -> Measured:
    worst, ignored = [], []
    for network in (PrototypicalNetwork, EnergyBasedNetwork):
        epsilon, nudge = rng.uniform(0.5, 0.7), float(rng.uniform(0.4, 0.6))
        model = network((1, 1), activation="identity", step_size=epsilon)
        w, x = rng.choice([-1, 1], 2) * rng.uniform(0.5, 1.0, 2)
        parameters = {"coupling.0.1.weight": np.array([[w]]), "coupling.0.1.bias": np.zeros(1)}
        inputs, targets = np.array([[x]]), np.array([[w * x + rng.choice([-1, 1]) * rng.uniform(0.7, 1.5)]])
        e = targets[0, 0] - w * x
        problem = model, parameters, inputs, targets
        free = relax(model, parameters, inputs, steps=400, keep_last=STEPS + 1)
        t = np.arange(STEPS)
        updates = equilibrium_processes(*problem, free, steps=STEPS, nudge=nudge).states["layer.0"][:, 0, 0]
        gradients = bptt_processes(*problem, free, steps=STEPS).states["layer.0"][:, 0, 0]
        worst.append(float(np.abs(updates / e - (1 - epsilon * (1 + nudge)) ** t).max()))
        worst.append(float(np.abs(-gradients / e - (1 - epsilon) ** t).max()))
        phases = {"free_steps": 400, "nudged_steps": 400, "nudge": nudge}
        totals = {
            1 / (1 + nudge): equilibrium_propagation(*problem, **phases),
            1 / (1 - nudge**2): equilibrium_propagation(*problem, **phases, symmetric=True),
            **{
                1 / (1 - (-nudge) ** points): holomorphic_equilibrium_propagation(
                    *problem, **phases, points=points
                )
                for points in (3, 4, 5)
            },
        }
        for expected, result in totals.items():
            measured = -float(result.gradients["coupling.0.1.weight"][0, 0]) / (e * x)
            worst.append(abs(measured - expected) / expected)
            ignored.append(abs(measured - 1))
    return Measured(max(worst), min(ignored))
