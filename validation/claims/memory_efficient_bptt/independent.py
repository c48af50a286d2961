"""O11, O12: derivatives that come without an adjoint: differences, the complex step, and forward mode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from refsnn.algorithms.checkpoint_executor import Hooks
from refsnn.algorithms.forward_mode import rtrl
from refsnn.models.contract import State, zeros_like
from refsnn.models.recurrent import RecurrentSpikingLayer
from refsnn.models.sequences import LabelledStep
from refsnn.oracles.complex_step import complex_step_gradient
from refsnn.oracles.finite_differences import directional_derivative
from refsnn.schedules.frames import PolicySchedule
from refsnn.schedules.policies import HiddenStates
from validation.claims.memory_efficient_bptt.problems import CELLS, Problem, cell, expected, recurrent
from validation.claims.memory_efficient_bptt.running import (
    Leaves,
    core_of,
    cut_in_the_middle,
    errors,
    execute,
    gradients_only,
    leaves_in,
    leaves_of,
    run,
    worst,
)
from validation.ledger import Measured, claim, require

SMOOTH = tuple(name for name in CELLS if not name.startswith("LIF"))
LOSS = "loss.sum"


def point_of(problem: Problem) -> Leaves:
    """All that the loss depends on, keyed as its gradient is."""
    start = {f"start.{name}": value for name, value in problem.options["initial_state"].items()}
    return problem.parameters | start | {"inputs": problem.inputs}


def loss_at(problem: Problem) -> Callable[[Leaves], Any]:
    """The loss as a function of such a point, over the steps of the model contract; complex points too."""
    model, targets, behind = problem.model, problem.targets, problem.options["final_adjoint"]

    def loss(point: Leaves) -> Any:
        dtype = np.result_type(*point.values())
        parameters = {name: point[name].astype(dtype) for name in problem.parameters}
        state = model.initial_state(parameters, problem.inputs.shape[1])
        state |= {
            name.removeprefix("start."): value.astype(dtype)
            for name, value in point.items()
            if name.startswith("start.")
        }
        for k, value in enumerate(point["inputs"].astype(dtype)):
            seen = LabelledStep(value, targets.values[k], targets.weights[k])
            state = model.step(parameters, state, seen)
        return state[LOSS][0] + sum((behind[name] * state[name]).sum() for name in behind)

    return loss


def budgeted(problem: Problem, slots: int = 2) -> PolicySchedule:
    """HSM with few slots."""
    return PolicySchedule(HiddenStates(), len(problem.inputs), slots)


@claim(
    "memory_efficient_bptt/O11",
    r"The gradient is the derivative: central differences in twenty random entries of parameters, input and start, tanh, LSTM of one and two layers, GRU.",
    source="specification, O11",
    metric=r"largest error over the largest entry of the leaf, $T=12$, $\varepsilon=10^{-6}$",
    relation="<=",
    bound=1e-6,
    control=r"BPTT cut at $T/2$, all entries of parameters and input",
)
def central_differences(rng: np.random.Generator) -> Measured:
    values, controls, details = [], [], {}
    for name in SMOOTH:
        problem = recurrent(rng, name, 12)
        point, loss = point_of(problem), loss_at(problem)
        found = leaves_of(run(problem, budgeted(problem)))
        worst_of_cell = 0.0
        for _ in range(20):
            leaf = str(rng.choice(list(point)))
            index = tuple(int(rng.integers(size)) for size in point[leaf].shape)
            direction = zeros_like(point)
            direction[leaf][index] = 1
            numeric = directional_derivative(loss, point, direction, step=1e-6, order=2)
            error = abs(numeric - found[leaf][index]) / np.abs(found[leaf]).max()
            worst_of_cell = max(worst_of_cell, float(error))
        values.append(worst_of_cell)
        controls.append(worst(cut_in_the_middle(problem), found))
        details[name] = worst_of_cell
    return Measured(max(values), min(controls), details)


@claim(
    "memory_efficient_bptt/O11.complex",
    r"And to rounding: the complex step in every entry of parameters, input and start, tanh, LSTM and GRU.",
    source="specification, O11",
    metric=r"largest error over the largest entry of the leaf, $T=6$, $h=10^{-30}$",
    relation="<=",
    bound=1e-12,
    control=r"BPTT cut at $T/2$",
)
def complex_step(rng: np.random.Generator) -> Measured:
    values, controls, details = [], [], {}
    for name in ("tanh", "LSTM", "GRU"):
        problem = recurrent(rng, cell(name, width=3, inputs=2, outputs=2), 6)
        truth = complex_step_gradient(loss_at(problem), point_of(problem))
        details[name] = worst(leaves_of(run(problem, budgeted(problem))), truth)
        values.append(details[name])
        controls.append(worst(cut_in_the_middle(problem), truth))
    return Measured(max(values), min(controls), details)


# -- a regulariser of the whole run -----------------------------------------------------------------------

WEIGHT, AIM = 3.0, 0.2


class MeanActivity(Hooks):
    """weight sum_i (mean over steps and batch of h_i - aim)^2: summed at first visits, a direct term on the way back."""

    name = "layer.1.hidden"

    def __init__(self, steps: int) -> None:
        self.steps, self.total = steps, 0.0

    def on_first_visit(self, step: int, state: State) -> None:
        self.total = self.total + state[self.name].mean(axis=0)

    def direct(self, step: int, state: State) -> State:
        mean, batch = self.total / self.steps, len(state[self.name])
        return {
            self.name: np.broadcast_to(
                2 * WEIGHT * (mean - AIM) / (self.steps * batch), state[self.name].shape
            )
        }


def loss_with_penalty(problem: Problem) -> Callable[[Leaves], Any]:
    """The loss, and the penalty of a second run."""
    plain = loss_at(problem)

    def loss(point: Leaves) -> Any:
        hidden, total = point["start.layer.1.hidden"], 0
        into, back = point["layer.1.input_weight"], point["layer.1.recurrent_weight"]
        for value in point["inputs"]:
            hidden = np.tanh(value @ into.T + hidden @ back.T + point["layer.1.bias"])
            total = total + hidden.mean(axis=0)
        return plain(point) + WEIGHT * ((total / len(point["inputs"]) - AIM) ** 2).sum()

    return loss


@claim(
    "memory_efficient_bptt/O11.penalty",
    r"A penalty on the mean activity of the whole run, $\lambda\sum_i(\bar h_i-f_0)^2$, has its exact gradient when the mean is taken at first visits and its "
    r"adjoint added as a direct term of every step.",
    source="specification, section 3.8",
    metric=r"largest error over the largest entry of the leaf, tanh, $T=9$, against the complex step",
    relation="<=",
    bound=1e-12,
    control="the mean summed at every execution of a step",
)
def penalty(rng: np.random.Generator) -> Measured:
    problem = recurrent(rng, cell("tanh", width=3, inputs=2, outputs=2), 9)
    truth = complex_step_gradient(loss_with_penalty(problem), point_of(problem))
    found = leaves_of(run(problem, budgeted(problem), hooks=MeanActivity(9)))
    share = worst(found, complex_step_gradient(loss_at(problem), point_of(problem)))
    require(share > 1e-2, f"the penalty changes the gradient by {share:.1e} only")

    core, hooks = core_of(problem), MeanActivity(9)
    forward = core.forward

    def counted(step: int) -> None:
        forward(step)
        hooks.on_first_visit(step, core.after.arrays)

    core.forward = counted  # type: ignore[method-assign]
    silent = Hooks()
    silent.direct = hooks.direct  # type: ignore[method-assign]
    execute(problem, budgeted(problem), core, hooks=silent)
    return Measured(worst(found, truth), worst(leaves_in(core), truth), {"share of the penalty": share})


# -- forward mode -----------------------------------------------------------------------------------------


@claim(
    "memory_efficient_bptt/O12",
    r"Real-time recurrent learning, which pushes $\partial h_k/\partial\theta$ forward, gives the same gradient: tanh, LSTM, GRU, and LIF with attached and detached reset.",
    source="specification, O12",
    metric="largest error over the largest entry of the leaf, tiny networks",
    relation="<=",
    bound=1e-12,
    control="LIF with the reset detached in one and not in the other",
)
def forward_through_time(rng: np.random.Generator) -> Measured:
    values, controls, details = [], [], {}
    for name in CELLS:
        model = cell(name, width=4, inputs=3, outputs=2)
        problem = recurrent(rng, model, 9, ends=False)
        truth = rtrl(*problem.arguments).gradients
        found = run(problem, budgeted(problem))
        details[name] = worst(found.gradients, truth)
        values += [details[name], abs(found.loss / rtrl(*problem.arguments).loss - 1)]
        if name.startswith("LIF"):
            model = problem.model
            neuron = replace(model.neuron, detach_reset=not model.neuron.detach_reset)
            other = replace(problem, model=replace(model, neuron=neuron))
            controls.append(worst(run(other, budgeted(problem)).gradients, truth))
    return Measured(max(values), min(controls), details)


def pushed_from_the_start(problem: Problem) -> Leaves:
    """dL/dh_0 by forward mode: one direction for each entry of the start, along an axis in front."""
    model, parameters = problem.model, problem.parameters
    start = problem.options["initial_state"]
    state = model.initial_state(parameters, problem.inputs.shape[1]) | start
    sizes = {name: value.size for name, value in start.items()}
    total, first = sum(sizes.values()), 0
    tangent = {name: np.zeros((total, *value.shape)) for name, value in state.items()}
    for name, value in start.items():
        tangent[name][first : first + sizes[name]] = np.eye(value.size).reshape(-1, *value.shape)
        first += sizes[name]
    nowhere = {name: np.zeros((total, *value.shape)) for name, value in parameters.items()}
    for k, value in enumerate(problem.inputs):
        seen = LabelledStep(value, problem.targets.values[k], problem.targets.weights[k])
        tangent = model.step_jvp(parameters, state, seen, tangent, nowhere)
        state = model.step(parameters, state, seen)
    derivatives = tangent[LOSS][..., 0]
    for name, weight in problem.options["final_adjoint"].items():
        derivatives = derivatives + (weight * tangent[name]).sum(axis=(-2, -1))
    found, first = {}, 0
    for name, value in start.items():
        found[f"start.{name}"] = derivatives[first : first + sizes[name]].reshape(value.shape)
        first += sizes[name]
    return found


@claim(
    "memory_efficient_bptt/O12.start",
    r"The gradient with respect to a start that is not zero is that of forward mode, for all cells; in the LIF layer, where $z_0$ is a function of $v_0$, it is "
    r"$\nabla_{v_0}=g_v+g_z\,\psi(v_0)$ and $\nabla_{o_0}=g_o$.",
    source="specification, section 4 and O12",
    metric="largest error over the largest entry of the leaf, with a further adjoint behind the end",
    relation="<=",
    bound=1e-12,
    control=r"$\nabla_{v_0}=g_v$",
)
def gradient_of_the_start(rng: np.random.Generator) -> Measured:
    values, controls, details = [], [], {}
    for name in CELLS:
        problem = recurrent(rng, cell(name, width=4, inputs=3, outputs=2), 7, gain=2.0)
        truth = pushed_from_the_start(problem)
        found = leaves_of(run(problem, budgeted(problem)))
        details[name] = worst({key: found[key] for key in truth}, truth)
        values.append(details[name])
        require(len(found) - len(gradients_only(found)) == len(truth), f"{name}: not the same leaves")
        if isinstance(problem.model, RecurrentSpikingLayer):
            without = expected(problem, start_slope=False).leaves
            controls.append(max(errors({key: without[key] for key in truth}, truth).values()))
    return Measured(max(values), min(controls), details)
