"""Deep spiking networks: populations of neurons, with operators between them.

A network is a list of nodes in an order in which each reads what stands before it: operators (dense,
convolution, pooling, normalisation, ...), sums of branches, and populations of spiking neurons.  The last
node is the linear read-out o_t; the loss is taken of its mean over time.

    I_t = (operators)(s_t of the populations below),    s_t, v_t = neuron(I_t, v_{t-1})

A population looks back only at its own potential.  So each node can take all its time steps at once, and
memory in time is the business of populations alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.equations.spiking import SpikingNeuron
from refsnn.models.contract import Parameters, StaticInput
from refsnn.models.losses import LOSSES, check_targets
from refsnn.models.operators.operator import LinearOperator, Operator, Shape, Weights

Inputs = np.ndarray | StaticInput
INPUT = "input"


@dataclass(frozen=True)
class Population:
    """A layer of spiking neurons.

    Parameters
    ----------
    neuron : SpikingNeuron
        Hyper-parameters, the same for all its neurons.

    Examples
    --------
    >>> Population(SpikingNeuron(leak=0.5)).neuron.leak
    0.5
    """

    neuron: SpikingNeuron = field(default_factory=SpikingNeuron)

    def __post_init__(self) -> None:
        checks.instance("neuron", self.neuron, SpikingNeuron, "SpikingNeuron(leak=0.2)")


@dataclass(frozen=True)
class Sum:
    """The sum of what a node reads: where branches of a residual block meet."""


@dataclass(frozen=True)
class Node:
    """One node of the graph.

    Parameters
    ----------
    name : str
        Unique; results are keyed by it.
    inputs : tuple of str
        Names of nodes before it, or "input"; one, or several for a `Sum`.
    what : Operator, Population or Sum
        What it does.
    prefix : str, optional
        First part of its parameters' names; the name by default.

    Examples
    --------
    >>> Node("layer.1", ("input",), Population()).parameter_prefix
    'layer.1'
    """

    name: str
    inputs: tuple[str, ...]
    what: Operator | Population | Sum
    prefix: str | None = None

    @property
    def parameter_prefix(self) -> str:
        """First part of its parameters' names."""
        return self.prefix or self.name


@dataclass(frozen=True)
class SpikingGraph:
    """A deep spiking network.

    Parameters
    ----------
    nodes : tuple of Node
        In an order in which each reads what stands before it; the last is the read-out.
    input_shape : tuple of int
        Of one sample at one step, (n,) or (C, H, W).
    loss_function : {"cross_entropy", "mean_squared_error"}
        Of the read-out averaged over time; integer labels (B,), or real targets (B, classes).

    Raises
    ------
    TypeError, ValueError
        If the nodes are no graph, or an operator does not fit what it reads.

    Examples
    --------
    >>> from refsnn.models.operators.dense import Dense
    >>> graph = SpikingGraph(
    ...     (
    ...         Node("layer.1.current", ("input",), Dense(8), prefix="layer.1"),
    ...         Node("layer.1", ("layer.1.current",), Population()),
    ...         Node("readout", ("layer.1",), Dense(3)),
    ...     ),
    ...     input_shape=(4,),
    ... )
    >>> graph.parameter_shapes()["layer.1.weight"], graph.shapes["readout"]
    ((8, 4), (3,))
    """

    nodes: tuple[Node, ...]
    input_shape: Shape
    loss_function: str = "cross_entropy"

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", tuple(self.nodes))
        object.__setattr__(self, "input_shape", checks.widths("input_shape", self.input_shape, minimum=1))
        checks.choice("loss_function", self.loss_function, LOSSES)
        _ = self.shapes

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """Shape of one output of each node, the input's under "input".

        Raises
        ------
        TypeError, ValueError
            If the nodes are no graph, or an operator does not fit what it reads.
        """
        shapes: dict[str, Shape] = {INPUT: self.input_shape}
        for index, node in enumerate(self.nodes):
            checks.instance(f"nodes[{index}]", node, Node, 'Node("readout", ("input",), Dense(10))')
            label = f"nodes[{index}] ({node.name!r})"
            if node.name in shapes:
                raise ValueError(f"{label}: expected a name of its own, got one that is taken")
            missing = [name for name in node.inputs if name not in shapes]
            if missing or not node.inputs:
                raise ValueError(
                    f"{label}: expected inputs among the nodes before it, got {node.inputs!r}; "
                    "put what it reads in front of it"
                )
            read = [shapes[name] for name in node.inputs]
            if not isinstance(node.what, Sum) and len(read) != 1:
                raise ValueError(
                    f"{label}: expected one input, got {node.inputs!r}; only a Sum reads several"
                )
            if isinstance(node.what, Operator):
                try:
                    shapes[node.name] = node.what.output_shape(read[0])
                except ValueError as error:
                    raise ValueError(f"{label}: {error}") from None
            else:
                if len(set(read)) != 1:
                    raise ValueError(f"{label}: expected inputs of one shape, got {read}")
                shapes[node.name] = read[0]
        if not self.nodes or not isinstance(self.nodes[-1].what, LinearOperator):
            raise ValueError("nodes: expected a linear operator as the last node, the read-out")
        read_by_none = {node.name for node in self.nodes[:-1]}.difference(
            *(node.inputs for node in self.nodes)
        )
        if read_by_none:
            raise ValueError(
                f"nodes: expected each but the last to be read by another, got {sorted(read_by_none)} "
                "read by none; take them out"
            )
        if len(shapes[self.nodes[-1].name]) != 1:
            raise ValueError(
                f"nodes: expected a read-out of shape (classes,), got {shapes[self.nodes[-1].name]}; "
                "flatten or pool before it"
            )
        return shapes

    @property
    def readout(self) -> Node:
        """The last node."""
        return self.nodes[-1]

    @property
    def classes(self) -> int:
        """Width of the read-out."""
        return self.shapes[self.readout.name][0]

    @cached_property
    def populations(self) -> dict[str, Population]:
        """The populations by name, from the input up."""
        return {node.name: node.what for node in self.nodes if isinstance(node.what, Population)}

    def operators(self) -> Iterator[tuple[Node, Operator, Shape]]:
        """The operators with the shape that each reads."""
        for node in self.nodes:
            if isinstance(node.what, Operator):
                yield node, node.what, self.shapes[node.inputs[0]]

    # -- parameters -----------------------------------------------------------------------------------

    @cached_property
    def _shapes_of_parameters(self) -> dict[str, Shape]:
        shapes: dict[str, Shape] = {}
        for node in self.nodes:
            prefix = node.parameter_prefix
            if isinstance(node.what, Operator):
                local = node.what.parameter_shapes(self.shapes[node.inputs[0]])
            else:
                local = {}
            shapes |= {f"{prefix}.{name}": shape for name, shape in local.items()}
        return shapes

    def parameter_shapes(self) -> dict[str, Shape]:
        """Shape of every parameter, from the input up: `layer.1.weight`, ..., `readout.bias`."""
        return dict(self._shapes_of_parameters)

    def weights(self, parameters: Parameters, node: Node) -> Weights:
        """The parameters of one node by their last names."""
        prefix, shapes = node.parameter_prefix, self.shapes
        if not isinstance(node.what, Operator):
            return {}
        names = node.what.parameter_shapes(shapes[node.inputs[0]])
        return {name: parameters[f"{prefix}.{name}"] for name in names}

    def initialise(
        self,
        rng: np.random.Generator,
        dtype: Any = np.float64,
        gain: float = 2.0,
        bias_mean: float = 0.1,
        bias_deviation: float = 0.1,
    ) -> Parameters:
        """Weights N(0, gain^2 / fan-in), biases N(mean, deviation^2), gains, gammas and scales 1, betas 0.

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of randomness.
        dtype : dtype
            float32 or float64.
        gain, bias_mean, bias_deviation : float
            In units of the threshold.

        Returns
        -------
        dict of str to ndarray
            As `parameter_shapes` says.

        Raises
        ------
        TypeError, ValueError
            For an `rng` that is no Generator, a dtype that is no float, a negative or infinite number.
        """
        checks.generator("rng", rng)
        dtype = checks.float_dtype("dtype", dtype)
        gain = checks.number("gain", gain, 0)
        bias_mean = checks.number("bias_mean", bias_mean)
        bias_deviation = checks.number("bias_deviation", bias_deviation, 0)
        parameters: Parameters = {}
        for node, operator, read in self.operators():
            for name, shape in operator.parameter_shapes(read).items():
                if name == "weight":
                    drawn = gain / np.sqrt(operator.fan(read)[0]) * rng.standard_normal(shape)
                elif name == "bias":
                    drawn = rng.normal(bias_mean, bias_deviation, shape)
                else:
                    drawn = np.zeros(shape) if name == "beta" else np.ones(shape)
                parameters[f"{node.parameter_prefix}.{name}"] = drawn.astype(dtype)
        return parameters

    # -- the door -------------------------------------------------------------------------------------

    def check(self, parameters: Any, inputs: Any, targets: Any) -> tuple[Parameters, Inputs, np.ndarray]:
        """Refuse at the door what would be wrong inside.

        Parameters
        ----------
        parameters : dict of str to array_like
            As `parameter_shapes` says, one dtype.
        inputs : array_like, (T, B, *input_shape), or StaticInput of (B, *input_shape)
            Network input, T >= 1, B >= 1.
        targets : array_like
            Labels (B,) or real targets (B, classes), by the loss.

        Returns
        -------
        tuple
            The three, as arrays.

        Raises
        ------
        TypeError, ValueError
            Naming the argument, what was expected and what came.
        """
        parameters, inputs = self.check_inputs(parameters, inputs)
        dtype = next(iter(parameters.values())).dtype
        targets = check_targets(self.loss_function, targets, len(inputs[0]), self.classes, dtype)
        return parameters, inputs, targets

    def check_inputs(self, parameters: Any, inputs: Any) -> tuple[Parameters, Inputs]:
        """The part of `check` that needs no targets.

        Parameters
        ----------
        parameters, inputs
            As in `check`.

        Returns
        -------
        tuple
            The two, as arrays.

        Raises
        ------
        TypeError, ValueError
            Naming the argument, what was expected and what came.
        """
        parameters = checks.parameters("parameters", parameters, self.parameter_shapes())
        dtype = next(iter(parameters.values())).dtype
        if isinstance(inputs, StaticInput):
            value = checks.float_array("inputs.value", inputs.value, ("B", *self.input_shape), dtype)
            return parameters, StaticInput(value, checks.count("inputs.steps", inputs.steps))
        return parameters, checks.float_array("inputs", inputs, ("T", "B", *self.input_shape), dtype)
