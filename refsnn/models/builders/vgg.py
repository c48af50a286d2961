"""Networks of 3 x 3 convolutions and 2 x 2 pooling, one behind the other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from refsnn import checks
from refsnn.equations.spiking import SpikingNeuron
from refsnn.models.builders.assembly import Assembly, checked_image, checked_modulation, checked_neuron
from refsnn.models.operators.convolution import Convolution2d
from refsnn.models.operators.normalisation import BatchNormalisation
from refsnn.models.operators.pooling import AveragePool, MaxPool
from refsnn.models.operators.reshaping import Upsample
from refsnn.models.spiking_graph import Population, SpikingGraph, Sum

Plan = tuple[int | str, ...]

POOL = "pool"
NORMALISATIONS = ("none", "sws", "batch")
POOLS = {"average": AveragePool, "max": MaxPool}

VGG_SWS: Plan = (64, 128, POOL, 256, 256, POOL, 512, 512, POOL, 512, 512)
VGG11: Plan = (64, POOL, 128, 256, POOL, 512, 512, POOL, 512, POOL, 512, 512)
VGG_DVS: Plan = (64, 128, POOL, 256, 256, POOL, 512, 512, POOL, 512, 512, POOL)


def vgg(
    plan: Iterable[int | str],
    classes: int,
    image: tuple[int, int, int],
    *,
    normalisation: str = "none",
    over: str = "sequence",
    pooling: str = "average",
    bins: int | None = 1,
    scale: float = 1.0,
    dropout: float = 0.0,
    feedback: bool = False,
    neuron: SpikingNeuron | None = None,
    **fields: Any,
) -> SpikingGraph:
    """Convolutions and pooling by a plan, then the mean of the image and a plain linear read-out.

    Each number of the plan is a layer: convolution with a bias, normalisation, neurons, dropout, scale.

    Parameters
    ----------
    plan : iterable of int and "pool"
        Channels of a layer, or pooling by 2 x 2.
    classes : int
        Width of the read-out.
    image : tuple of int
        (C, H, W) of the input.
    normalisation : {"none", "sws", "batch"}
        Nothing, scaled weight standardisation (Xiao 2022, Eq. 13), or batch normalisation of currents.
    over : {"sequence", "step"}
        Whose statistics batch normalisation takes.
    pooling : {"average", "max"}
        What pooling is.
    bins : int or None
        The image is averaged over bins x bins bins before the read-out; None keeps every pixel.
    scale : float
        gamma > 0 behind spikes; 2.74 with standardised weights.
    dropout : float in [0, 1)
        Probability with which a neuron is dropped, see `SpikingGraph.with_dropout`.
    feedback : bool
        Whether what leaves the last layer or pooling, upsampled to the images of the first layer, reaches
        that layer's current one step later, by a plain convolution with a bias (Xiao 2022, VGG-F).
    neuron : SpikingNeuron, optional
        Of all layers; by default with a leak of 0.2.
    **fields : Any
        Further fields of `SpikingGraph`: loss_function, loss_over, squared_share, readout_leak, edges.

    Returns
    -------
    SpikingGraph
        Populations `layer.1`, ...; parameters `layer.1.weight`, `layer.1.bias`, `layer.1.gain` of a
        standardised weight, `layer.1.norm.gamma` and `.beta`, `feedback.weight`, `feedback.bias`,
        `readout.weight`, `readout.bias`.

    Raises
    ------
    TypeError, ValueError
        For values that describe no network.

    Examples
    --------
    >>> graph = vgg((4, "pool", 8), classes=3, image=(2, 8, 8))
    >>> graph.shapes["layer.2"], graph.parameter_shapes()["readout.weight"]
    ((8, 4, 4), (3, 8))
    """
    plan, shape = _checked_plan(plan), checked_image(image)
    checks.choice("normalisation", normalisation, NORMALISATIONS)
    pool = POOLS[checks.choice("pooling", pooling, POOLS)]
    dropout, scale = checked_modulation(dropout, scale)
    neuron = checked_neuron(neuron, leak=0.2)
    checks.instance("feedback", feedback, bool, "False")
    if feedback and normalisation == "batch" and over == "sequence":
        raise ValueError(
            "over: expected 'step' with feedback, got 'sequence'; what is fed back is not known for all "
            "steps before the first layer has run"
        )
    net, index, pools = Assembly(), 0, 0
    for entry in plan:
        if entry == POOL:
            pools += 1
            net.add(f"pool.{pools}", pool(2))
            continue
        index += 1
        layer = f"layer.{index}"
        standardise = normalisation == "sws"
        convolution = Convolution2d(int(entry), kernel=3, padding=1, standardise=standardise)
        current = net.add(f"{layer}.current", convolution, prefix=layer)
        if normalisation == "batch":
            current = net.add(f"{layer}.norm", BatchNormalisation(over=over))
        if feedback and index == 1:
            back = Convolution2d(int(entry), kernel=3, padding=1)
            net.add("feedback", back, "feedback.upsampled", delayed=True)
            net.add(f"{layer}.total", Sum(), current, "feedback")
        net.add(layer, Population(neuron))
        net.modulated(layer, dropout, scale)
    if feedback:
        features = net.last
        net.add("feedback.upsampled", Upsample(_upsampling(plan, shape)))
        net.last = features
    net.classified(classes, bins)
    return net.graph(shape, **fields)


def vgg_sws(
    classes: int = 10,
    image: tuple[int, int, int] = (3, 32, 32),
    *,
    plan: Iterable[int | str] = VGG_SWS,
    dropout: float = 0.0,
    neuron: SpikingNeuron | None = None,
    **fields: Any,
) -> SpikingGraph:
    """VGG with standardised weights: Xiao 2022, Table 1.

    64C3-128C3-AP2-256C3-256C3-AP2-512C3-512C3-AP2-512C3-512C3, global mean, read-out; gamma = 2.74.

    Parameters
    ----------
    classes, image, plan, dropout
        As in `vgg`.
    neuron : SpikingNeuron, optional
        By default with a leak of 0.5.
    **fields
        As in `vgg`.

    Returns
    -------
    SpikingGraph
        9 228 362 parameters for 10 classes, 9 274 532 for 100.

    Raises
    ------
    TypeError, ValueError
        For values that describe no network.

    Examples
    --------
    >>> from math import prod
    >>> sum(prod(shape) for shape in vgg_sws().parameter_shapes().values())
    9228362
    """
    neuron = checked_neuron(neuron, leak=0.5)
    return vgg(
        plan, classes, image, normalisation="sws", scale=2.74, dropout=dropout, neuron=neuron, **fields
    )


def vgg_feedback(
    classes: int = 100,
    image: tuple[int, int, int] = (3, 32, 32),
    *,
    plan: Iterable[int | str] = VGG_SWS,
    dropout: float = 0.0,
    neuron: SpikingNeuron | None = None,
    **fields: Any,
) -> SpikingGraph:
    """VGG-F: `vgg_sws` with feedback from its last layer to its first (Xiao 2022, Table 3).

    Parameters
    ----------
    classes, image, plan, dropout, neuron, **fields
        As in `vgg_sws`.

    Returns
    -------
    SpikingGraph
        9 569 508 parameters for 100 classes.

    Raises
    ------
    TypeError, ValueError
        For values that describe no network.

    Examples
    --------
    >>> vgg_feedback(plan=(4, "pool", 8), image=(3, 8, 8)).parameter_shapes()["feedback.weight"]
    (4, 8, 3, 3)
    """
    return vgg_sws(classes, image, plan=plan, dropout=dropout, neuron=neuron, feedback=True, **fields)


def vgg11(
    classes: int = 10,
    image: tuple[int, int, int] = (3, 32, 32),
    *,
    plan: Iterable[int | str] = VGG11,
    over: str = "sequence",
    neuron: SpikingNeuron | None = None,
    **fields: Any,
) -> SpikingGraph:
    """VGG-11 with batch normalisation and a global mean: Yu 2024, section 5.

    Parameters
    ----------
    classes, image, plan, over, neuron, **fields
        As in `vgg`.

    Returns
    -------
    SpikingGraph

    Raises
    ------
    TypeError, ValueError
        For values that describe no network.

    Examples
    --------
    >>> vgg11().shapes["pool.4"], vgg11().parameter_shapes()["layer.8.norm.gamma"]
    ((512, 2, 2), (512,))
    """
    return vgg(plan, classes, image, normalisation="batch", over=over, neuron=neuron, **fields)


def vgg_dvs(
    classes: int = 10,
    image: tuple[int, int, int] = (2, 48, 48),
    *,
    plan: Iterable[int | str] = VGG_DVS,
    over: str = "sequence",
    neuron: SpikingNeuron | None = None,
    **fields: Any,
) -> SpikingGraph:
    """The network for CIFAR10-DVS, whose read-out sees every pixel of the last pooling: Yu 2024, section 5.

    Parameters
    ----------
    classes, image, plan, over, neuron, **fields
        As in `vgg`.

    Returns
    -------
    SpikingGraph

    Raises
    ------
    TypeError, ValueError
        For values that describe no network.

    Examples
    --------
    >>> vgg_dvs().parameter_shapes()["readout.weight"]
    (10, 4608)
    """
    return vgg(plan, classes, image, normalisation="batch", over=over, bins=None, neuron=neuron, **fields)


def _checked_plan(plan: Any) -> Plan:
    """Channels and pools, with a layer among them."""
    if isinstance(plan, str) or not isinstance(plan, Iterable):
        raise TypeError(f"plan: expected numbers of channels and {POOL!r}, got {plan!r}")
    entries = tuple(plan)
    for index, entry in enumerate(entries):
        if isinstance(entry, str) and entry != POOL:
            raise ValueError(f"plan[{index}]: expected a number of channels or {POOL!r}, got {entry!r}")
        if entry != POOL:
            checks.count(f"plan[{index}]", entry)
    if all(entry == POOL for entry in entries):
        raise ValueError(f"plan: expected at least one layer, got {entries}")
    return entries


def _upsampling(plan: Plan, image: tuple[int, int, int]) -> int:
    """How much smaller images are at the end than in the first layer."""
    first = next(index for index, entry in enumerate(plan) if entry != POOL)
    factor = 2 ** plan[first:].count(POOL)
    sides = [side // 2**first for side in image[1:]]
    if any(side % factor for side in sides):
        raise ValueError(
            f"image: expected sides that feedback can be upsampled to, multiples of {factor} in the first "
            f"layer, got {sides[0]} x {sides[1]}; take other images or fewer pools"
        )
    return factor
