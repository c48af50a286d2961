"""O11, O12: derivatives that come without an adjoint: differences, the complex step, and forward mode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from refsnn.algorithms.activity_penalty import ActivityPenalty
from refsnn.algorithms.checkpoint_executor import Hooks
from refsnn.algorithms.forward_mode import rtrl
from refsnn.models.contract import State, zeros_like
from refsnn.models.recurrent import RecurrentSpikingLayer
from refsnn.models.sequences import LabelledStep
from refsnn.oracles.complex_step import complex_step_gradient
from refsnn.oracles.finite_differences import directional_derivative
from refsnn.schedules.frames import PolicySchedule
from refsnn.schedules.policies import HiddenStates
from validation.claims.memory_efficient_bptt.problems import (
    CELLS,
    Problem,
    cell,
    expected,
    recurrent,
    with_dropout,
)
from validation.claims.memory_efficient_bptt.running import (
    Leaves,
    cut_in_the_middle,
    errors,
    gradients_only,
    leaves_of,
    run,
    worst,
)
from validation.ledger import Measured, claim, require

SMOOTH = tuple(name for name in CELLS if not name.startswith("LIF"))
LOSS = "loss.sum"


def point_of(problem: Problem) -> Leaves:
    """All that the loss depends on, keyed as its gradient is."""
    start = {
        f"start.{name}": value for name, value in problem.options["initial_state"].items() if name != "step"
    }
    return problem.parameters | start | {"inputs": problem.inputs}


def loss_at(problem: Problem) -> Callable[[Leaves], Any]:
    """The loss as a function of such a point, over the steps of the model contract; complex points too."""
    model, targets, behind = problem.model, problem.targets, problem.options["final_adjoint"]

    def loss(point: Leaves) -> Any:
        dtype = np.result_type(*point.values())
        parameters = {name: point[name].astype(dtype) for name in problem.parameters}
        state = model.initial_state(parameters, problem.inputs.shape[1]) | problem.options["initial_state"]
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
    r"And to rounding: the complex step in every entry of parameters, input and start, tanh, two tanh layers with dropout, LSTM and GRU.",
    source="specification, O11",
    metric=r"largest error over the largest entry of the leaf, $T=6$, $h=10^{-30}$",
    relation="<=",
    bound=1e-12,
    control=r"BPTT cut at $T/2$",
)
def complex_step(rng: np.random.Generator) -> Measured:
    values, controls, details = [], [], {}
    for name in ("tanh", "tanh, dropout", "LSTM", "GRU"):
        if name == "tanh, dropout":
            problem = with_dropout(rng, 6, widths=(2, 3, 4, 2))
        else:
            problem = recurrent(rng, cell(name, width=3, inputs=2, outputs=2), 6)
        truth = complex_step_gradient(loss_at(problem), point_of(problem))
        details[name] = worst(leaves_of(run(problem, budgeted(problem))), truth)
        values.append(details[name])
        controls.append(worst(cut_in_the_middle(problem), truth))
    return Measured(max(values), min(controls), details)


# -- a regulariser of the whole run -----------------------------------------------------------------------

HIDDEN, WEIGHT, AIM = "layer.1.hidden", 3.0, 0.2


class EachStepAlone(Hooks):
    """The penalty of the mean over the batch at each step, averaged over T steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def direct(self, step: int, state: State) -> State:
        alone = ActivityPenalty(HIDDEN, WEIGHT, AIM)
        alone.on_first_visit(1, state)
        return {name: share / self.steps for name, share in alone.direct(1, state).items()}


def penalty_at(point: Leaves) -> Any:
    """R of tanh units that are run apart."""
    hidden, total = point[f"start.{HIDDEN}"], 0
    into, back = point["layer.1.input_weight"], point["layer.1.recurrent_weight"]
    for value in point["inputs"]:
        hidden = np.tanh(value @ into.T + hidden @ back.T + point["layer.1.bias"])
        total = total + hidden.mean(axis=0)
    return WEIGHT * ((total / len(point["inputs"]) - AIM) ** 2).sum()


@claim(
    "memory_efficient_bptt/O11.penalty",
    r"A penalty on the mean activity of the whole run, $\lambda\sum_i(\bar h_i-f_0)^2$, has its exact gradient and value from `ActivityPenalty`: the mean is "
    r"taken at first visits, and its adjoint added as a direct term of every step.",
    source="specification, section 3.8",
    metric=r"largest error over the largest entry of the leaf, tanh, $T=9$, against the complex step; and of its value",
    relation="<=",
    bound=1e-12,
    control="a penalty on the mean of each step alone",
)
def penalty(rng: np.random.Generator) -> Measured:
    problem = recurrent(rng, cell("tanh", width=3, inputs=2, outputs=2), 9)
    point, loss = point_of(problem), loss_at(problem)
    truth = complex_step_gradient(lambda moved: loss(moved) + penalty_at(moved), point)
    hooks = ActivityPenalty(HIDDEN, WEIGHT, AIM)
    found = leaves_of(run(problem, budgeted(problem), hooks=hooks))
    share = worst(found, complex_step_gradient(loss, point))
    require(share > 1e-2, f"the penalty changes the gradient by {share:.1e} only")
    value = max(worst(found, truth), abs(hooks.loss / penalty_at(point) - 1))
    control = worst(leaves_of(run(problem, budgeted(problem), hooks=EachStepAlone(9))), truth)
    return Measured(value, control, {"share of the penalty": share})


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
