"""Recurrent networks that are alive, with sequences, a start and an adjoint behind the end."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from refsnn.algorithms.bptt import bptt_over_steps
from refsnn.equations.spiking import SpikingNeuron
from refsnn.equations.surrogates import Surrogate
from refsnn.models.builders.dense import dense_network
from refsnn.models.contract import Model, Parameters, State, StaticInput
from refsnn.models.convergent import EnergyBasedNetwork, PrototypicalNetwork
from refsnn.models.recurrent import (
    GatedRecurrentUnit,
    LongShortTermMemory,
    RecurrentSpikingLayer,
    TanhNetwork,
)
from refsnn.models.recurrent.cell import RecurrentModel
from refsnn.models.sequences import StepTargets
from refsnn.models.spiking_graph import SpikingGraph
from validation.claims.memory_efficient_bptt.by_hand import by_hand
from validation.ledger import VacuousError

CELLS = ("tanh", "LSTM", "LSTM, two layers", "GRU", "LIF, attached", "LIF, detached")


def cell(name: str, width: int = 6, inputs: int = 4, outputs: int = 3) -> RecurrentModel:
    """A network of one of the cells."""
    if name.startswith("LIF"):
        triangle = Surrogate("triangle", slope=1.0, height=0.3)
        neuron = SpikingNeuron(leak=0.9, detach_reset=name == "LIF, detached", surrogate=triangle)
        return RecurrentSpikingLayer((inputs, width, outputs), neuron=neuron)
    hidden = (width, width - 1) if name.endswith("two layers") else (width,)
    kind = {"tanh": TanhNetwork, "LSTM": LongShortTermMemory, "GRU": GatedRecurrentUnit}[name.split(",")[0]]
    return kind((inputs, *hidden, outputs))


@dataclass(frozen=True)
class Problem:
    """All that a gradient needs."""

    model: Model
    parameters: Parameters
    inputs: np.ndarray | StaticInput
    targets: Any
    options: dict[str, Any] = field(default_factory=dict)  # initial_state, final_adjoint

    @property
    def arguments(self) -> tuple[Model, Parameters, Any, Any]:
        return self.model, self.parameters, self.inputs, self.targets

    @property
    def gives_inputs(self) -> bool:
        """Whether dL/dx can be had."""
        return isinstance(self.model, RecurrentModel)


def state_like(rng: np.random.Generator, model: RecurrentModel, batch: int) -> State:
    """A start or an adjoint; potentials on both sides of the threshold."""
    return {name: rng.normal(0.5, 0.7, shape) for name, shape in model.state_shapes(batch).items()}


def recurrent(
    rng: np.random.Generator,
    model: RecurrentModel | str,
    steps: int,
    batch: int = 2,
    gain: float = 1.5,
    ends: bool = True,
) -> Problem:
    """A recurrent network with random targets and weights at each step; drawn again until its neurons fire.

    With `ends` it starts from a random state, and has a further adjoint behind its end.
    """
    model = cell(model) if isinstance(model, str) else model
    loss = str(rng.choice(["cross_entropy", "mean_squared_error"]))
    model, outputs = replace(model, loss_function=loss), model.widths[-1]
    for _ in range(50):
        parameters = model.initialise(rng, gain=gain)
        for value in parameters.values():
            value += 0.1 * rng.standard_normal(value.shape)
        values = (
            rng.integers(0, outputs, (steps, batch))
            if loss == "cross_entropy"
            else rng.standard_normal((steps, batch, outputs))
        )
        targets = StepTargets(values, rng.uniform(0.5, 1.5, (steps, batch)))
        inputs = rng.standard_normal((steps, batch, model.widths[0]))
        options = (
            {name: state_like(rng, model, batch) for name in ("initial_state", "final_adjoint")}
            if ends
            else {}
        )
        if ends and model.counts_steps:
            options["initial_state"]["step"] = rng.integers(0, 9, 1)
        problem = Problem(model, parameters, inputs, targets, options)
        if alive(problem):
            return problem
    raise VacuousError(f"no {type(model).__name__} that is alive in 50 tries")


def with_dropout(
    rng: np.random.Generator, steps: int, widths: tuple[int, ...] = (4, 6, 5, 3), batch: int = 2
) -> Problem:
    """Two tanh layers whose masks depend on a seed and the number of the step, some steps after step 0."""
    model = TanhNetwork(widths, dropout=0.4, dropout_seed=int(rng.integers(1000)))
    return recurrent(rng, model, steps, batch=batch)


def expected(problem: Problem, start_slope: bool = True) -> Any:
    """BPTT by hand."""
    model, batch = problem.model, problem.inputs.shape[1]
    nothing = {name: np.zeros(shape) for name, shape in model.state_shapes(batch).items()}
    return by_hand(
        *problem.arguments,
        problem.options.get("initial_state", nothing),
        problem.options.get("final_adjoint", nothing),
        start_slope,
    )


def alive(problem: Problem) -> bool:
    """Whether every leaf has a gradient, and spiking neurons fire and are silent at times."""
    found = expected(problem)
    if isinstance(problem.model, RecurrentSpikingLayer) and not 0.02 < found.hidden.mean() < 0.9:
        return False
    return all(np.abs(leaf).max() > 1e-4 for leaf in found.leaves.values())


def networks_of_the_contract(rng: np.random.Generator, steps: int) -> dict[str, Problem]:
    """Networks that keep to the contract: spiking graphs with delayed edges, convergent networks."""
    soft = SpikingNeuron(leak=0.7, detach_reset=False)
    hard = SpikingNeuron(leak=0.6, reset="hard", reset_value=-0.1, detach_reset=True)
    graphs = {
        "spiking graph, recurrent": dense_network((5, 7, 6, 3), soft, recurrent=True),
        "spiking graph, loss at each step": dense_network(
            (5, 7, 3), hard, recurrent=True, loss_over="each_step", readout_leak=0.5
        ),
    }
    problems = {name: _spiking(rng, graph, steps) for name, graph in graphs.items()}
    for name, network in (
        ("energy-based", EnergyBasedNetwork((3, 5, 4), step_size=0.3)),
        ("prototypical", PrototypicalNetwork((3, 5, 4))),
    ):
        parameters = network.initialise(rng)
        drive = StaticInput(rng.uniform(size=(2, 4)), steps)
        problems[name] = Problem(network, parameters, drive, rng.uniform(0.1, 1, (2, 3)))
    return problems


def _spiking(rng: np.random.Generator, graph: SpikingGraph, steps: int) -> Problem:
    """Drawn again until every parameter has a gradient; over one step loops have none."""
    for _ in range(50):
        parameters = graph.initialise(rng, gain=3.0)
        for value in parameters.values():
            value += 0.2 * rng.standard_normal(value.shape)
        problem = Problem(graph, parameters, rng.random((steps, 2, 5)), rng.integers(0, 3, 2))
        gradients = bptt_over_steps(*problem.arguments).gradients
        if all(
            gradient.any() or (steps == 1 and "recurrent" in name) for name, gradient in gradients.items()
        ):
            return problem
    raise VacuousError("no spiking graph that is alive in 50 tries")
