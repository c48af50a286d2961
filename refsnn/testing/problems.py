"""Live problems from a seed: a network with parameters, inputs and targets that prove something.

Every maker draws until the network is alive: its neurons fire, not all of the time, no potential is at the
threshold, and no gradient is 0.  The same arguments give the same arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refsnn.algorithms.bptt import bptt, bptt_over_steps
from refsnn.algorithms.relaxation import relax
from refsnn.equations.spiking import SpikingNeuron
from refsnn.equations.surrogates import Surrogate
from refsnn.models.builders.dense import dense_network
from refsnn.models.contract import Parameters
from refsnn.models.convergent import EnergyBasedNetwork, PrototypicalNetwork
from refsnn.models.recurrent import (
    GatedRecurrentUnit,
    LongShortTermMemory,
    RecurrentSpikingLayer,
    TanhNetwork,
)
from refsnn.models.sequences import StepTargets
from refsnn.testing.errors import VacuousCheck

TRIES = 40
_RATES = 0.03, 0.97
CELLS: dict[str, Callable[..., Any]] = {
    "tanh": TanhNetwork,
    "lstm": LongShortTermMemory,
    "gru": GatedRecurrentUnit,
    "spiking": RecurrentSpikingLayer,
}
FAMILIES: dict[str, Callable[..., Any]] = {"energy": EnergyBasedNetwork, "prototypical": PrototypicalNetwork}


@dataclass(frozen=True)
class Problem:
    """All that an algorithm takes; printed as the call that makes it again.

    Attributes
    ----------
    model : Any
        The network.
    parameters : dict of str to ndarray
        Its parameters.
    inputs, targets : Any
        As the network takes them.
    made_by : str
        The call.
    """

    model: Any = field(repr=False)
    parameters: Parameters = field(repr=False)
    inputs: Any = field(repr=False)
    targets: Any = field(repr=False)
    made_by: str = ""

    @property
    def arguments(self) -> tuple[Any, Any, Any, Any]:
        """Model, parameters, inputs, targets: the first arguments of every algorithm."""
        return self.model, self.parameters, self.inputs, self.targets

    def __repr__(self) -> str:
        return self.made_by

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """For hypothesis, which prints the fields of a dataclass otherwise."""
        printer.text(repr(self))


def spiking_problem(
    seed: int,
    widths: tuple[int, ...] = (3, 4, 2),
    steps: int = 4,
    batch: int = 2,
    neuron: SpikingNeuron | None = None,
    recurrent: bool = False,
    dtype: Any = np.float64,
    **graph: Any,
) -> Problem:
    """A dense spiking graph whose every layer fires.

    Parameters
    ----------
    seed : int
        Of all arrays.
    widths : tuple of int
        From input to read-out.
    steps, batch : int
        T and B.
    neuron : SpikingNeuron, optional
        Of all layers.
    recurrent : bool
        Whether layers feed back on themselves.
    dtype : dtype
        float32 or float64.
    **graph
        Options of the graph: `loss_over`, `loss_function`, `readout_leak`, ...

    Returns
    -------
    Problem

    Raises
    ------
    VacuousCheck
        If no draw was alive.

    Examples
    --------
    >>> problem = spiking_problem(0)
    >>> problem, problem.inputs.shape
    (spiking_problem(seed=0, widths=(3, 4, 2), steps=4, batch=2), (4, 2, 3))
    """
    made_by = call("spiking_problem", seed=seed, widths=widths, steps=steps, batch=batch, **_given(
        neuron=neuron, recurrent=recurrent or None), **graph)  # fmt: skip
    neuron = neuron or SpikingNeuron(leak=0.8)
    network = dense_network(widths, neuron, recurrent=recurrent, **graph)
    least = 1e-9 if np.dtype(dtype) == np.float64 else 1e-4
    rng = np.random.default_rng(seed)
    for trial in range(TRIES):
        gain = (2.5, 1.5, 4.0, 6.0)[trial % 4] * neuron.threshold
        parameters = network.initialise(rng, dtype, gain=gain, bias_mean=0.3 * gain, bias_deviation=0.3)
        inputs = rng.uniform(-0.3, 1.3, (steps, batch, widths[0])).astype(dtype)
        targets: np.ndarray = rng.integers(0, widths[-1], batch)
        if network.loss_function == "mean_squared_error":
            targets = rng.standard_normal((batch, widths[-1])).astype(dtype)
        result = bptt(network, parameters, inputs, targets, backend="plain")
        seen = result.diagnostics
        loops = tuple(node.name for node in network.delayed) if steps == 1 else ()
        alive = all(_RATES[0] < rate < _RATES[1] for rate in seen.spike_rates.values())
        clear = seen.margin is None or seen.margin > least
        if alive and clear and has_gradients(result.gradients, loops):
            return Problem(network, parameters, inputs, targets, made_by)
    raise VacuousCheck(f"no live network in {TRIES} draws: {made_by}")


def recurrent_problem(
    seed: int,
    cell: str = "tanh",
    widths: tuple[int, ...] = (2, 4, 3),
    steps: int = 5,
    batch: int = 2,
    loss_function: str = "cross_entropy",
    dtype: Any = np.float64,
    **options: Any,
) -> Problem:
    """A recurrent network with a target at every step.

    Parameters
    ----------
    seed : int
        Of all arrays.
    cell : {"tanh", "lstm", "gru", "spiking"}
        Which.
    widths : tuple of int
        From input to read-out.
    steps, batch : int
        T and B.
    loss_function : {"cross_entropy", "mean_squared_error"}
        Of each step.
    dtype : dtype
        float32 or float64.
    **options
        Of the network.

    Returns
    -------
    Problem

    Raises
    ------
    VacuousCheck
        If no draw was alive.

    Examples
    --------
    >>> sorted(recurrent_problem(0, "gru").parameters)[:2]
    ['layer.1.input_bias', 'layer.1.input_weight']
    """
    made_by = call("recurrent_problem", seed=seed, cell=cell, widths=widths, steps=steps, batch=batch,
                    loss_function=loss_function, **options)  # fmt: skip
    if cell == "spiking":
        options.setdefault("neuron", SpikingNeuron(0.8, surrogate=Surrogate("triangle", 0.8, 0.4)))
    network, rng = CELLS[cell](widths, loss_function=loss_function, **options), np.random.default_rng(seed)
    for _ in range(TRIES):
        parameters = network.initialise(rng, gain=2.0)
        for name, value in parameters.items():
            parameters[name] = (value + 0.1 * rng.standard_normal(value.shape)).astype(dtype)
        inputs = rng.standard_normal((steps, batch, widths[0])).astype(dtype)
        values: np.ndarray = rng.integers(0, widths[-1], (steps, batch))
        if loss_function == "mean_squared_error":
            values = rng.standard_normal((steps, batch, widths[-1])).astype(dtype)
        targets = StepTargets(values, rng.uniform(0.5, 1.5, (steps, batch)).astype(dtype))
        gradients = bptt_over_steps(network, parameters, inputs, targets).gradients
        if has_gradients(gradients, ("layer",) if steps == 1 else (), least=1e-8):
            return Problem(network, parameters, inputs, targets, made_by)
    raise VacuousCheck(f"no live network in {TRIES} draws: {made_by}")


def convergent_problem(
    seed: int,
    family: str = "energy",
    widths: tuple[int, ...] = (3, 5, 4),
    batch: int = 2,
    free_steps: int = 300,
    **options: Any,
) -> Problem:
    """A network that has settled, to rounding, after `free_steps`.

    Parameters
    ----------
    seed : int
        Of all arrays.
    family : {"energy", "prototypical"}
        Which.
    widths : tuple of int
        From output to input.
    batch : int
        B.
    free_steps : int
        T.
    **options
        Of the network.

    Returns
    -------
    Problem

    Raises
    ------
    VacuousCheck
        If no draw settled.

    Examples
    --------
    >>> convergent_problem(0).targets.shape
    (2, 3)
    """
    made_by = call("convergent_problem", seed=seed, family=family, widths=widths, batch=batch, **options)
    if family == "energy":
        options.setdefault("step_size", 0.3)
    network, rng = FAMILIES[family](widths, **options), np.random.default_rng(seed)
    for _ in range(TRIES):
        parameters = network.initialise(rng)
        inputs = rng.uniform(size=(batch, widths[-1]))
        targets = rng.uniform(0.1, 1, size=(batch, widths[0]))
        targets /= targets.sum(axis=-1, keepdims=True)
        if relax(network, parameters, inputs, steps=free_steps - 64, backend="plain").residual <= 1e-15:
            return Problem(network, parameters, inputs, targets, made_by)
    raise VacuousCheck(f"no network settled in {TRIES} draws: {made_by}")


def has_gradients(gradients: Parameters, may_be_dead: tuple[str, ...] = (), least: float = 1e-6) -> bool:
    """Whether each leaf has an entry above `least`, but for those that begin with a name.

    Examples
    --------
    >>> has_gradients({"w": np.zeros(2)}), has_gradients({"w": np.zeros(2)}, ("w",))
    (False, True)
    """
    return all(
        np.abs(value).max() > least for name, value in gradients.items() if not name.startswith(may_be_dead)
    )


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def call(name: str, **arguments: Any) -> str:
    """A call in Python.

    Examples
    --------
    >>> call("spiking_problem", seed=0)
    'spiking_problem(seed=0)'
    """
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"
