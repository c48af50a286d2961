"""Residual networks with batch normalisation, by where the branches of a block meet.

    post-activation   spikes( norm conv spikes norm conv x  +  shortcut x )
    pre-activation    norm conv spikes norm conv spikes x  +  shortcut x
    SEW               spikes norm conv spikes norm conv x  +  spikes shortcut x       (0, 1, 2, ...)

The first 3 x 3 convolution of a block has the stride.  The shortcut is the identity, or where the stride or
the number of channels changes a 1 x 1 convolution with that stride and a normalisation (Yu 2024, section 5,
and its code).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from refsnn import checks
from refsnn.equations.spiking import SpikingNeuron
from refsnn.models.builders.assembly import Assembly, checked_image, checked_neuron
from refsnn.models.operators.convolution import Convolution2d
from refsnn.models.operators.dense import Dense
from refsnn.models.operators.normalisation import BatchNormalisation
from refsnn.models.operators.pooling import AdaptiveAveragePool, MaxPool
from refsnn.models.operators.reshaping import Flatten
from refsnn.models.spiking_graph import Population, SpikingGraph, Sum


@dataclass(frozen=True)
class Place:
    """Where a block stands.

    Attributes
    ----------
    name : str
        `stage.1.block.1`, ...
    channels : int
        That it gives.
    stride : int
        Of its first convolution.
    transition : bool
        Whether the stride is not 1 or the number of channels changes.
    """

    name: str
    channels: int
    stride: int
    transition: bool


def places(channels: Sequence[int], blocks: Sequence[int]) -> list[Place]:
    """The blocks of all stages; each stage but the first begins with a stride of 2.

    Parameters
    ----------
    channels : sequence of int
        Of each stage; the first is also what the stem gives.
    blocks : sequence of int
        Of each stage.

    Returns
    -------
    list of Place

    Raises
    ------
    TypeError, ValueError
        For anything but as many positive integers in both.

    Examples
    --------
    >>> [(place.name, place.stride, place.transition) for place in places((4, 8), (1, 2))]
    [('stage.1.block.1', 1, False), ('stage.2.block.1', 2, True), ('stage.2.block.2', 1, False)]
    """
    channels, blocks = checks.widths("channels", channels, 1), checks.widths("blocks", blocks, 1)
    if len(channels) != len(blocks):
        raise ValueError(f"blocks: expected one number for each of channels={channels}, got {blocks}")
    found, below = [], channels[0]
    for stage, (width, count) in enumerate(zip(channels, blocks, strict=True), 1):
        for block in range(1, count + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            transition = stride != 1 or width != below
            found.append(Place(f"stage.{stage}.block.{block}", width, stride, transition))
            below = width
    return found


@dataclass(frozen=True)
class _Parts:
    """What all layers of a network have in common."""

    neuron: SpikingNeuron
    over: str
    with_bias: bool

    def convolve(
        self, net: Assembly, name: str, channels: int, *reads: str, kernel: int = 3, stride: int = 1
    ) -> str:
        """A convolution that keeps the size of images but for its stride, and the normalisation."""
        convolution = Convolution2d(channels, kernel, stride, kernel // 2, with_bias=self.with_bias)
        net.add(f"{name}.conv", convolution, *reads)
        return net.add(f"{name}.norm", BatchNormalisation(over=self.over))

    def fire(self, net: Assembly, name: str, *reads: str) -> str:
        """Neurons."""
        return net.add(f"{name}.spikes", Population(self.neuron), *reads)

    def shortcut(self, net: Assembly, place: Place, below: str) -> str:
        """The branch beside the convolutions."""
        if not place.transition:
            return below
        name = f"{place.name}.shortcut"
        return self.convolve(net, name, place.channels, below, kernel=1, stride=place.stride)


Block = Callable[[Assembly, _Parts, Place], None]


def _post_activation(net: Assembly, parts: _Parts, place: Place) -> None:
    below, first, second = net.last, f"{place.name}.first", f"{place.name}.second"
    parts.convolve(net, first, place.channels, below, stride=place.stride)
    parts.fire(net, first)
    branch = parts.convolve(net, second, place.channels)
    net.add(f"{place.name}.sum", Sum(), branch, parts.shortcut(net, place, below))
    parts.fire(net, second)


def _pre_activation(net: Assembly, parts: _Parts, place: Place) -> None:
    below, first, second = net.last, f"{place.name}.first", f"{place.name}.second"
    parts.fire(net, first, below)
    parts.convolve(net, first, place.channels, stride=place.stride)
    parts.fire(net, second)
    branch = parts.convolve(net, second, place.channels)
    net.add(f"{place.name}.sum", Sum(), branch, parts.shortcut(net, place, below))


def _spike_element_wise(net: Assembly, parts: _Parts, place: Place) -> None:
    below, first, second = net.last, f"{place.name}.first", f"{place.name}.second"
    parts.convolve(net, first, place.channels, below, stride=place.stride)
    parts.fire(net, first)
    parts.convolve(net, second, place.channels)
    branch = parts.fire(net, second)
    beside = parts.shortcut(net, place, below)
    if place.transition:
        beside = parts.fire(net, f"{place.name}.shortcut")
    net.add(f"{place.name}.sum", Sum(), branch, beside)


def resnet18(
    classes: int = 10,
    image: tuple[int, int, int] = (3, 32, 32),
    *,
    channels: Sequence[int] = (64, 128, 256, 512),
    blocks: Sequence[int] = (2, 2, 2, 2),
    over: str = "sequence",
    neuron: SpikingNeuron | None = None,
    **fields: Any,
) -> SpikingGraph:
    """ResNet-18 for small images: post-activation blocks, no biases in convolutions (Yu 2024, section 5).

    Stem of a 3 x 3 convolution, normalisation and neurons; blocks; global mean; read-out.

    Parameters
    ----------
    classes : int
        Width of the read-out.
    image : tuple of int
        (C, H, W) of the input.
    channels, blocks : sequence of int
        Channels and number of blocks of each stage; all but the first halve the image.
    over : {"sequence", "step"}
        Whose statistics batch normalisation takes.
    neuron : SpikingNeuron, optional
        By default with a leak of 0.2.
    **fields : Any
        Further fields of `SpikingGraph`: loss_function, loss_over, squared_share, readout_leak, edges.

    Returns
    -------
    SpikingGraph
        Parameters `stem.conv.weight`, `stem.norm.gamma`, `stem.norm.beta`, and likewise of
        `stage.1.block.1.first`, `.second` and `.shortcut`, ..., `readout`; populations `stem.spikes`,
        `stage.1.block.1.first.spikes`, ...

    Raises
    ------
    TypeError, ValueError
        For values that describe no network.

    Examples
    --------
    >>> from math import prod
    >>> sum(prod(shape) for shape in resnet18().parameter_shapes().values())
    11173962
    """
    parts = _Parts(checked_neuron(neuron, leak=0.2), over, with_bias=False)
    net = _small_image_stem(parts, channels, blocks)
    net.classified(classes, 1)
    return net.graph(checked_image(image), **fields)


def resnet19(
    classes: int = 10,
    image: tuple[int, int, int] = (3, 32, 32),
    *,
    channels: Sequence[int] = (128, 256, 512),
    blocks: Sequence[int] = (3, 3, 2),
    hidden: int = 256,
    over: str = "sequence",
    neuron: SpikingNeuron | None = None,
    **fields: Any,
) -> SpikingGraph:
    """ResNet-19: as ResNet-18 with a dense spiking layer under the read-out (Yu 2024, section 5).

    Parameters
    ----------
    classes, image, channels, blocks
        As in `resnet18`.
    hidden : int
        Width of the dense layer, which has a bias.
    over, neuron, **fields
        As in `resnet18`.

    Returns
    -------
    SpikingGraph
        As `resnet18`; the dense layer is `hidden.dense`, its population `hidden.spikes`.

    Raises
    ------
    TypeError, ValueError
        For values that describe no network.

    Examples
    --------
    >>> resnet19().parameter_shapes()["hidden.dense.weight"]
    (256, 512)
    """
    hidden = checks.count("hidden", hidden)
    parts = _Parts(checked_neuron(neuron, leak=0.2), over, with_bias=False)
    net = _small_image_stem(parts, channels, blocks)
    net.add("head.pool", AdaptiveAveragePool(1))
    net.add("head.flat", Flatten())
    net.add("hidden.dense", Dense(hidden))
    parts.fire(net, "hidden")
    net.add("readout", Dense(classes))
    return net.graph(checked_image(image), **fields)


def preactivation_resnet34(
    classes: int = 1000,
    image: tuple[int, int, int] = (3, 224, 224),
    *,
    channels: Sequence[int] = (64, 128, 256, 512),
    blocks: Sequence[int] = (3, 4, 6, 3),
    over: str = "sequence",
    neuron: SpikingNeuron | None = None,
    **fields: Any,
) -> SpikingGraph:
    """ResNet-34 with pre-activation blocks, biases in convolutions, for large images (Yu 2024, section 5).

    Stem of a 7 x 7 convolution with stride 2, normalisation and 3 x 3 maxima with stride 2, without neurons:
    maxima are taken of currents, and the stream beside the branches is never a spike, up to the read-out.

    Parameters
    ----------
    classes, image, channels, blocks, over, neuron, **fields
        As in `resnet18`.

    Returns
    -------
    SpikingGraph
        Named as in `resnet18`.

    Raises
    ------
    TypeError, ValueError
        For values that describe no network.

    Examples
    --------
    >>> graph = preactivation_resnet34(3, (1, 16, 16), channels=(2, 4), blocks=(1, 1))
    >>> list(graph.populations)[:2], graph.shapes["stage.1.block.1.sum"]
    (['stage.1.block.1.first.spikes', 'stage.1.block.1.second.spikes'], (2, 4, 4))
    """
    parts = _Parts(checked_neuron(neuron, leak=0.2), over, with_bias=True)
    net = _large_image_stem(parts, channels, blocks, spiking=False, block=_pre_activation)
    net.classified(classes, 1)
    return net.graph(checked_image(image), **fields)


def sew_resnet34(
    classes: int = 1000,
    image: tuple[int, int, int] = (3, 224, 224),
    *,
    channels: Sequence[int] = (64, 128, 256, 512),
    blocks: Sequence[int] = (3, 4, 6, 3),
    over: str = "sequence",
    neuron: SpikingNeuron | None = None,
    **fields: Any,
) -> SpikingGraph:
    """SEW-ResNet-34 with added spikes, biases in convolutions, for large images (Yu 2024, section 5).

    Stem of a 7 x 7 convolution with stride 2, normalisation, neurons, and 3 x 3 maxima with stride 2.

    Parameters
    ----------
    classes, image, channels, blocks, over, neuron, **fields
        As in `resnet18`.

    Returns
    -------
    SpikingGraph
        Named as in `resnet18`; a shortcut that is no identity has a population too.

    Raises
    ------
    TypeError, ValueError
        For values that describe no network.

    Examples
    --------
    >>> graph = sew_resnet34(3, (1, 16, 16), channels=(2, 4), blocks=(1, 1))
    >>> [name for name in graph.populations if "shortcut" in name]
    ['stage.2.block.1.shortcut.spikes']
    """
    parts = _Parts(checked_neuron(neuron, leak=0.2), over, with_bias=True)
    net = _large_image_stem(parts, channels, blocks, spiking=True, block=_spike_element_wise)
    net.classified(classes, 1)
    return net.graph(checked_image(image), **fields)


def _small_image_stem(parts: _Parts, channels: Any, blocks: Any) -> Assembly:
    """3 x 3 stem and post-activation blocks."""
    net, found = Assembly(), places(channels, blocks)
    parts.convolve(net, "stem", found[0].channels)
    parts.fire(net, "stem")
    for place in found:
        _post_activation(net, parts, place)
    return net


def _large_image_stem(parts: _Parts, channels: Any, blocks: Any, *, spiking: bool, block: Block) -> Assembly:
    """7 x 7 stem with pooling, and blocks."""
    net, found = Assembly(), places(channels, blocks)
    parts.convolve(net, "stem", found[0].channels, kernel=7, stride=2)
    if spiking:
        parts.fire(net, "stem")
    net.add("stem.pool", MaxPool(3, stride=2, padding=1))
    for place in found:
        block(net, parts, place)
    return net
