"""NF-ResNet: residual networks without normalisation of activities (Xiao 2022, Table 1, and its code).

    x^{l+1} = x^l + alpha kappa_l f(x^l / beta_l),    f = conv gamma spikes conv gamma spikes,

with standardised convolutions, a fixed alpha and a learnable kappa.  beta_l^2 is the variance that x^l is
expected to have: 1 at first, alpha^2 more with each block.  A block that changes the stride or the number of
channels has a 1 x 1 convolution of its own first scaled spikes in the place of x^l; behind it the variance is
1 + alpha^2, whatever it was.  A block divides by the beta that holds before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import sqrt
from typing import Any

from refsnn import checks
from refsnn.equations.spiking import SpikingNeuron
from refsnn.models.builders.assembly import Assembly, checked_image, checked_modulation, checked_neuron
from refsnn.models.builders.residual import Place, places
from refsnn.models.operators.convolution import Convolution2d
from refsnn.models.operators.pooling import AveragePool
from refsnn.models.operators.reshaping import LearnableScale, Scale
from refsnn.models.spiking_graph import Population, SpikingGraph, Sum


def expected_variances(transitions: Iterable[bool], alpha: float) -> list[float]:
    """beta_l^2 of what each block reads.

    Parameters
    ----------
    transitions : iterable of bool
        Whether each block changes the stride or the number of channels.
    alpha : float
        Of the branches.

    Returns
    -------
    list of float

    Examples
    --------
    >>> [round(variance, 2) for variance in expected_variances([False, False, True, False], 0.2)]
    [1.0, 1.04, 1.08, 1.04]
    """
    variances, variance = [], 1.0
    for transition in transitions:
        variances.append(variance)
        variance = (1.0 if transition else variance) + alpha**2
    return variances


def nf_resnet34(
    classes: int = 1000,
    image: tuple[int, int, int] = (3, 224, 224),
    *,
    channels: Sequence[int] = (64, 128, 256, 512),
    blocks: Sequence[int] = (3, 4, 6, 3),
    alpha: float = 0.2,
    scale: float = 2.74,
    neuron: SpikingNeuron | None = None,
    **fields: Any,
) -> SpikingGraph:
    """NF-ResNet-34 (Xiao 2022, Table 1, and its code).

    Stem of a standardised 7 x 7 convolution with stride 2 and 3 x 3 means with stride 2, zeros around the
    image counted, without neurons; blocks; global mean of a stream that is never a spike; plain read-out.
    The stride of a block is that of its first 3 x 3 convolution and of its 1 x 1 convolution.

    Parameters
    ----------
    classes : int
        Width of the read-out.
    image : tuple of int
        (C, H, W) of the input.
    channels, blocks : sequence of int
        Channels and number of blocks of each stage; all but the first halve the image.
    alpha : float
        Of the branches, > 0.
    scale : float
        gamma > 0 behind spikes.
    neuron : SpikingNeuron, optional
        By default with a leak of 0.5.
    **fields : Any
        Further fields of `SpikingGraph`: loss_function, loss_over, squared_share, readout_leak, edges.

    Returns
    -------
    SpikingGraph
        21 797 688 parameters: `stem.conv.weight`, `.gain` and `.bias`, and likewise of
        `stage.1.block.1.first`, `.second` and `.shortcut`; kappa is `stage.1.block.1.kappa.scale`.

    Raises
    ------
    TypeError, ValueError
        For values that describe no network.

    Examples
    --------
    >>> graph = nf_resnet34(3, (1, 16, 16), channels=(2, 4), blocks=(1, 1))
    >>> graph.parameter_shapes()["stage.2.block.1.shortcut.conv.weight"], graph.shapes["stem.pool"]
    ((4, 2, 1, 1), (2, 4, 4))
    """
    alpha = checks.number("alpha", alpha, 0, low_open=True)
    _, scale = checked_modulation(0.0, scale)
    neuron = checked_neuron(neuron, leak=0.5)
    net, found = Assembly(), places(channels, blocks)
    net.add("stem.conv", _convolution(found[0].channels, kernel=7, stride=2))
    net.add("stem.pool", AveragePool(3, stride=2, padding=1))
    variances = expected_variances([place.transition for place in found], alpha)
    for place, variance in zip(found, variances, strict=True):
        _block(net, place, sqrt(variance), alpha, scale, neuron)
    net.classified(classes, 1)
    return net.graph(checked_image(image), **fields)


def _block(
    net: Assembly, place: Place, beta: float, alpha: float, scale: float, neuron: SpikingNeuron
) -> None:
    stream, name, first, second = net.last, place.name, f"{place.name}.first", f"{place.name}.second"
    net.add(f"{name}.divided", Scale(1 / beta))
    net.add(f"{first}.spikes", Population(neuron))
    scaled = net.add(f"{first}.scaled", Scale(scale))
    net.add(f"{first}.conv", _convolution(place.channels, stride=place.stride))
    net.add(f"{second}.spikes", Population(neuron))
    net.add(f"{second}.scaled", Scale(scale))
    net.add(f"{second}.conv", _convolution(place.channels))
    net.add(f"{name}.kappa", LearnableScale())
    branch = net.add(f"{name}.branch", Scale(alpha))
    if place.transition:
        beside = _convolution(place.channels, kernel=1, stride=place.stride)
        stream = net.add(f"{name}.shortcut.conv", beside, scaled)
    net.add(f"{name}.sum", Sum(), stream, branch)


def _convolution(channels: int, kernel: int = 3, stride: int = 1) -> Convolution2d:
    """A standardised convolution that keeps the size of images but for its stride."""
    return Convolution2d(channels, kernel, stride, kernel // 2, standardise=True)
