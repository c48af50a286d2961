"""Claims about cases that have an answer without any calculation: D1 to D6."""

from __future__ import annotations

import numpy as np

from refsnn.algorithms.processes import Processes
from refsnn.models.contract import Parameters
from validation.claims.equilibrium_propagation.networks import (
    Settled,
    bptt_convergent,
    energy_based,
    equilibrium_propagation,
    process_error,
    prototypical,
    settled,
)
from validation.ledger import Measured, claim, require

STEPS = 25


def largest(arrays: dict[str, np.ndarray]) -> float:
    """Largest entry of all arrays."""
    return max((float(np.abs(array).max()) for array in arrays.values()), default=0.0)


def drift(case: Settled, nudge: float) -> float:
    """r / |beta|: what a residual alone feigns in a contrast of parameters, and times 1 / epsilon in one of states.

    A residual of 0 counts as a rounding error.
    """
    return max(case.free.residual, np.finfo(float).eps) / abs(nudge)


@claim(
    "equilibrium_propagation/D1",
    r"One prototypical layer, $\epsilon = 1$: $\lim\Delta_s(0) = e = (y - s_*)/B$, and exactly 0 ever after.",
    source="specification, D1",
    metric="largest difference over the largest entry of e, all later processes exactly 0",
    relation="<=",
    bound=1e-15,
    control="a second layer below",
)
def single_layer(rng: np.random.Generator) -> Measured:
    def measure(layers: int) -> float:
        case = settled(rng, prototypical(rng), layers=(layers, layers), narrowest=2, balance=0)
        error = (case.targets - case.free.state["layer.0"]) / len(case.targets)
        expected = np.concatenate([error[None], np.zeros((STEPS - 1, *error.shape))])
        updates = case.updates(STEPS)
        if layers == 1:
            late = [array[1:] for array in (*updates.states.values(), *updates.parameters.values())]
            require(not any(array.any() for array in late), "some process goes on after the first step")
        difference = updates.states["layer.0"] - expected
        return float(np.abs(difference).max() / np.abs(error).max())

    return Measured(measure(1), measure(2))


@claim(
    "equilibrium_propagation/D2",
    r"If the target is the steady output, $y = s^0_*$, every process vanishes at any $\beta$.",
    source="specification, D2",
    metric="largest entry of any update or gradient, energy-based and prototypical",
    relation="<=",
    bound=4e-16,
    control="the target moved by 1e-6",
)
def target_reached(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for family in (energy_based(rng, step_size=0.5), prototypical(rng)):
        case = settled(rng, family, residual=0.0, balance=0, batch=1)
        model, parameters, inputs, _ = case.problem
        reached = case.free.state["layer.0"].copy()
        nudge = float(rng.choice([-1, 1]) * 10 ** rng.uniform(-3, -0.5))
        for target, collected in ((reached, values), (reached + 1e-6, controls)):
            moved = Settled(model, parameters, inputs, target, case.free, case.steps)
            for processes in (moved.updates(STEPS, nudge), moved.gradients(STEPS)):
                collected.append(max(largest(processes.states), largest(processes.parameters)))
    return Measured(max(values), min(controls))


def below(processes: Processes, keep: tuple[str, ...]) -> Processes:
    """All processes but those of the output layer and of the parameters named."""
    return Processes(
        {name: array for name, array in processes.states.items() if name != "layer.0"},
        {name: array for name, array in processes.parameters.items() if name not in keep},
    )


def over_drift(case: Settled, processes: Processes, nudge: float) -> float:
    """Largest process over what a residual can feign: states carry 1 / epsilon, parameters do not."""
    states = case.model.step_size * largest(processes.states)
    return max(states, largest(processes.parameters)) / drift(case, nudge)


@claim(
    "equilibrium_propagation/D3",
    r"With $W_0 = 0$ nothing reaches the hidden layers: their processes and all updates but those of $W_0, b_0$ are "
    r"0, exactly so in BPTT, and up to a few $r/(\epsilon|\beta|)$ (states) and $r/|\beta|$ (parameters) in the nudged "
    r"phase of residual $r$.",
    source="specification, D3",
    metric=r"largest such update over $r/(\epsilon|\beta|)$ or $r/|\beta|$; any such gradient of BPTT counts as failure",
    relation="<=",
    bound=4.0,
    control="the drawn output weights kept",
)
def cut_output(rng: np.random.Generator) -> Measured:
    def cut(parameters: Parameters, _: np.random.Generator) -> None:
        parameters["coupling.0.1.weight"] = np.zeros_like(parameters["coupling.0.1.weight"])

    top = ("coupling.0.1.weight", "coupling.0.1.bias")
    ratios, controls, nudge = [], [], 0.1
    for family in (energy_based(rng), prototypical(rng)):
        case = settled(rng, family, layers=(3, 3), narrowest=2, balance=0, edit=cut)
        unreached = below(case.gradients(STEPS), top)
        require(largest({**unreached.states, **unreached.parameters}) == 0, "BPTT reaches a hidden layer")
        updates = case.updates(STEPS, nudge)
        require(
            min(np.abs(updates.parameters[name]).max() for name in top) > 1e-3, "the output does not learn"
        )
        ratios.append(over_drift(case, below(updates, top), nudge))
        whole = settled(rng, family, layers=(3, 3), narrowest=2)
        controls.append(over_drift(whole, below(whole.updates(STEPS, nudge), top), nudge))
    return Measured(max(ratios), min(controls))


@claim(
    "equilibrium_propagation/D4",
    r"A prototypical network with $\sigma = \mathrm{id}$, contractive, has $D = I$ and is a gradient system: "
    r"$\lim\Delta = -\nabla$ as it stands.",
    source="specification, D4",
    metric="worst relative error of an array over 25 steps",
    relation="<=",
    bound=1e-13,
    control="the same kind of network with tanh",
)
def linear_network(rng: np.random.Generator) -> Measured:
    def measure(activation: str) -> float:
        make = prototypical(rng, activation=activation, nudge_placement="outside")
        case = settled(rng, make, widths=(4, 6, 5, 3), scale=(0.6, 1.0))
        return process_error(case.updates(STEPS), case.gradients(STEPS))

    return Measured(measure("identity"), measure("tanh"))


@claim(
    "equilibrium_propagation/D5",
    r"With $K = 1$ only $W_0$ and $b_0$ move; all other updates are at most a few $r/|\beta|$.",
    source="specification, D5",
    metric=r"largest other update over $r/|\beta|$",
    relation="<=",
    bound=4.0,
    control="K = 2",
)
def one_nudged_step(rng: np.random.Generator) -> Measured:
    top = ("coupling.0.1.weight", "coupling.0.1.bias")
    ratios, controls, nudge = [], [], 0.1
    for family in (energy_based(rng), prototypical(rng)):
        case = settled(rng, family, layers=(3, 3), narrowest=2)
        estimates = [case.estimate(steps, nudge) for steps in (1, 2)]
        require(min(np.abs(estimates[0][name]).max() for name in top) > 1e-6, "the output does not learn")
        others = [{name: entry[name] for name in entry if name not in top} for entry in estimates]
        ratios.append(largest(others[0]) / drift(case, nudge))
        controls.append(largest(others[1]) / drift(case, nudge))
    return Measured(max(ratios), min(controls))


@claim(
    "equilibrium_propagation/D6",
    r"With a hidden layer and $h(0) = 0$ (tanh, or a prototypical network), $T = K = 1$ from the zero state: BPTT gives "
    r"every weight the gradient 0, and only $b_0$ another one; equilibrium propagation moves the weights all the same.",
    source="specification, D6",
    metric="largest gradient of BPTT, but that of the output bias",
    relation="==",
    bound=0.0,
    control="the updates of equilibrium propagation",
)
def first_step(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for family in (energy_based(rng, activation="tanh"), prototypical(rng)):
        model = family(tuple(int(width) for width in rng.integers(2, 9, size=4)))
        parameters = model.initialise(rng)
        problem = (
            model,
            parameters,
            rng.uniform(size=(3, model.widths[-1])),
            rng.uniform(size=(3, model.widths[0])),
        )
        gradients = dict(bptt_convergent(*problem, free_steps=1).gradients)
        require(np.abs(gradients.pop("coupling.0.1.bias")).max() > 1e-3, "the output bias has no gradient")
        values.append(largest(gradients))
        phases = {"free_steps": 1, "nudged_steps": 1, "nudge": 0.1}
        updates = dict(equilibrium_propagation(*problem, **phases).gradients)
        del updates["coupling.0.1.bias"]
        controls.append(largest(updates))
    return Measured(max(values), min(controls))
