"""How the parameters of the papers' networks begin.

Gains of standardised weights and gammas of normalisations begin at 1, betas at 0; kappa of NF-ResNet at 0, so
that each block begins without its branch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.models.contract import Parameters
from refsnn.models.operators.convolution import Convolution2d
from refsnn.models.operators.operator import Operator, Shape
from refsnn.models.spiking_graph import Node, SpikingGraph

# (the node, its operator, the shape that it reads, the shape of the parameter) to its first value
Draw = Callable[[Node, Operator, Shape, Shape], np.ndarray]


def initialise_kaiming(
    graph: SpikingGraph,
    rng: np.random.Generator,
    dtype: Any = np.float64,
    readout_deviation: float = 0.01,
) -> Parameters:
    """Weights N(0, 2 / fan-out), biases 0, a weak read-out, no feedback (Xiao 2022's networks).

    The fan-out of a convolution is output channels times the area of its kernel, of a dense map its width.  A
    delayed convolution is feedback and begins at 0; recurrent dense weights are drawn.

    Parameters
    ----------
    graph : SpikingGraph
        The network.
    rng : numpy.random.Generator
        Source of randomness.
    dtype : dtype
        float32 or float64.
    readout_deviation : float
        Of the read-out's weight: 0.01 for VGG, 0 for NF-ResNet.

    Returns
    -------
    dict of str to ndarray
        As `graph.parameter_shapes()` says.

    Raises
    ------
    TypeError, ValueError
        For arguments of wrong kind or range.

    Examples
    --------
    >>> from refsnn.models.builders.vgg import vgg_feedback
    >>> graph = vgg_feedback(plan=(4, "pool", 8), image=(3, 8, 8))
    >>> parameters = initialise_kaiming(graph, np.random.default_rng(0))
    >>> float(abs(parameters["feedback.weight"]).max()), float(parameters["layer.1.gain"].min())
    (0.0, 1.0)
    """
    readout_deviation = checks.number("readout_deviation", readout_deviation, 0)

    def weight(node: Node, operator: Operator, read: Shape, shape: Shape) -> np.ndarray:
        deviation = np.sqrt(2 / operator.fan(read)[1])
        if node.delayed and isinstance(operator, Convolution2d):
            deviation = 0.0
        elif node is graph.readout:
            deviation = readout_deviation
        return rng.normal(0, deviation, shape)

    return _filled(graph, rng, dtype, weight, _zeros)


def initialise_normal(
    graph: SpikingGraph, rng: np.random.Generator, dtype: Any = np.float64, deviation: float = 0.5
) -> Parameters:
    """Weights N(0, deviation^2), biases 0 (Yu 2024's VGGs, where normalisation takes the scale away).

    Parameters
    ----------
    graph : SpikingGraph
        The network.
    rng : numpy.random.Generator
        Source of randomness.
    dtype : dtype
        float32 or float64.
    deviation : float
        Of all weights, the read-out's too.

    Returns
    -------
    dict of str to ndarray
        As `graph.parameter_shapes()` says.

    Raises
    ------
    TypeError, ValueError
        For arguments of wrong kind or range.

    Examples
    --------
    >>> from refsnn.models.builders.vgg import vgg11
    >>> graph = vgg11(plan=(4, "pool", 8), image=(3, 8, 8))
    >>> parameters = initialise_normal(graph, np.random.default_rng(0), np.float32)
    >>> parameters["layer.1.weight"].dtype, float(parameters["layer.2.norm.gamma"].min())
    (dtype('float32'), 1.0)
    """
    deviation = checks.number("deviation", deviation, 0)
    return _filled(graph, rng, dtype, lambda *at: rng.normal(0, deviation, at[-1]), _zeros)


def initialise_uniform(graph: SpikingGraph, rng: np.random.Generator, dtype: Any = np.float64) -> Parameters:
    """Weights and biases uniform in +-1 / sqrt(fan-in), PyTorch's default (Yu 2024's ResNets).

    Parameters
    ----------
    graph : SpikingGraph
        The network.
    rng : numpy.random.Generator
        Source of randomness.
    dtype : dtype
        float32 or float64.

    Returns
    -------
    dict of str to ndarray
        As `graph.parameter_shapes()` says.

    Raises
    ------
    TypeError
        For arguments of wrong kind.

    Examples
    --------
    >>> from refsnn.models.builders.residual import resnet18
    >>> graph = resnet18(channels=(4, 8), blocks=(1, 1), image=(3, 8, 8))
    >>> parameters = initialise_uniform(graph, np.random.default_rng(0))
    >>> bool(abs(parameters["stem.conv.weight"]).max() < 1 / np.sqrt(27))
    True
    """

    def draw(node: Node, operator: Operator, read: Shape, shape: Shape) -> np.ndarray:
        bound = 1 / np.sqrt(operator.fan(read)[0])
        return rng.uniform(-bound, bound, shape)

    return _filled(graph, rng, dtype, draw, draw)


def _filled(
    graph: SpikingGraph, rng: np.random.Generator, dtype: Any, weight: Draw, bias: Draw
) -> Parameters:
    """All parameters: weights and biases as drawn, the others as at the top of this file."""
    checks.instance("graph", graph, SpikingGraph, "vgg_sws()")
    checks.generator("rng", rng)
    dtype = checks.float_dtype("dtype", dtype)
    first: dict[str, Draw] = {
        "weight": weight, "bias": bias, "gain": _ones, "gamma": _ones, "beta": _zeros, "scale": _zeros,
    }  # fmt: skip
    parameters: Parameters = {}
    for node, operator, read in graph.operators():
        for name, shape in operator.parameter_shapes(read).items():
            value = first[name](node, operator, read, shape)
            parameters[f"{node.parameter_prefix}.{name}"] = value.astype(dtype)
    return parameters


def _zeros(node: Node, operator: Operator, read: Shape, shape: Shape) -> np.ndarray:
    return np.zeros(shape)


def _ones(node: Node, operator: Operator, read: Shape, shape: Shape) -> np.ndarray:
    return np.ones(shape)
