"""Differentiation via manifold (Sun 2024): the gradient of all that is smooth, and no time in it.

A spike is a step of its potential, so that its true derivative is 0 almost everywhere.  What is left of the
network is the path of the points, z^l = Exp(v(u^l)), u^l = eps G^l W^l^T with G^l = Ahat r^{l-1} fixed, and
it is differentiated exactly, with g = dL/dz^L, for l = L .. 0                        (Theorem 4.1, Eq. 12)

    ubar^l, g <- [D_v phi]^* g, [D_z psi]^* g          adjoints of the step
    dL/dW^l = eps (ubar^l)^T G^l                        [dv / dW]^*

No loop over time and no product with the graph.  The result is the gradient of the computed loss wherever
that gradient exists; what it leaves out are the jumps.  `adjoint="paper"` keeps D_z psi = c0 I in every mode,
as it is printed, which is exact for the ambient step and for the last block alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.algorithms.result import Diagnostics, GradientResult
from refsnn.kernels import BACKENDS
from refsnn.models.contract import Parameters
from refsnn.models.manifold.heads import Head, HeadGradient
from refsnn.models.manifold.inputs import GraphInputs
from refsnn.models.manifold.maps import ExactMaps, Maps
from refsnn.models.manifold.network import ManifoldSpikingNetwork
from refsnn.models.manifold.official import OfficialMaps
from refsnn.models.manifold.run import ManifoldRun, forward

ADJOINTS = "exact", "paper"


@dataclass(frozen=True)
class ManifoldResult(GradientResult):
    """A gradient, and where the nodes have gone.

    Attributes
    ----------
    loss, gradients, diagnostics
        As of any algorithm; `diagnostics.outputs` is what the loss was taken of: logits of all nodes, or
        distances of all pairs.
    run : ManifoldRun
        The forward pass: points, drives, rates.
    point_gradients : list of ndarray, (N, D)
        dL/dz^0, .., dL/dz^L, as ambient partial derivatives.
    drive_gradients : list of ndarray, (N, D)
        dL/du^0, .., dL/du^L.
    """

    run: ManifoldRun
    point_gradients: list[np.ndarray]
    drive_gradients: list[np.ndarray]


def differentiation_via_manifold(
    network: ManifoldSpikingNetwork,
    parameters: Parameters,
    inputs: GraphInputs,
    head: Head,
    *,
    adjoint: str = "exact",
    backend: str = "cpu",
) -> ManifoldResult:
    """The gradient by way of the manifold.

    Parameters
    ----------
    network : ManifoldSpikingNetwork
        The model.
    parameters : dict of str to ndarray
        As `network.parameter_shapes()` says.
    inputs : GraphInputs
        Graph and features, with or without noise.
    head : Head
        The loss: `NodeClasses` or `Links`.
    adjoint : {"exact", "paper"}
        Of the chosen step; or with D_z psi = c0 I in every mode.  With `compat="official"` only the first is
        taken, and means the closed form of the published code, which is not the derivative of its clamps.
    backend : {"plain", "cpu", "cuda"}
        Which kernels.

    Returns
    -------
    ManifoldResult

    Raises
    ------
    TypeError, ValueError
        For arguments of wrong kind, shape or range.
    FloatingPointError
        If a point, the loss or a gradient is not finite.

    Examples
    --------
    >>> from refsnn.models.manifold.graph import Graph
    >>> from refsnn.models.manifold.heads import NodeClasses
    >>> from refsnn.models.manifold.manifold import hyperbolic
    >>> rng, graph = np.random.default_rng(0), Graph.undirected(4, [0, 1, 2], [1, 2, 3])
    >>> network = ManifoldSpikingNetwork(3, hyperbolic(2), classes=2)
    >>> inputs = GraphInputs.of(graph, rng.random((4, 3)), layers=1)
    >>> result = differentiation_via_manifold(
    ...     network, network.initialise(rng), inputs, NodeClasses([0, 0, 1, 1], [0, 3])
    ... )
    >>> sorted(result.gradients)
    ['layer.0.weight', 'layer.1.weight', 'readout.weight']
    """
    checks.choice("adjoint", adjoint, ADJOINTS)
    checks.choice("backend", backend, BACKENDS)
    parameters, inputs, head = checked(network, parameters, inputs, head)
    if network.compat == "official" and adjoint != "exact":
        raise ValueError(
            f"adjoint: expected 'exact' with compat='official', which has its own, got {adjoint!r}"
        )
    maps = maps_of(network, parameters, backend, literal=adjoint == "paper")
    run = forward(network, parameters, inputs, maps, backend)
    return through_manifold(network, parameters, inputs, head, maps, run, backend)


def checked(network: Any, parameters: Any, inputs: Any, head: Any) -> tuple[Parameters, GraphInputs, Head]:
    """The arguments that both ways of differentiation share, at the door.

    Parameters
    ----------
    network, parameters, inputs, head
        As `differentiation_via_manifold` takes them.

    Returns
    -------
    tuple
        Parameters, inputs and head, as arrays.

    Raises
    ------
    TypeError, ValueError
        Naming the argument.
    """
    checks.instance("network", network, ManifoldSpikingNetwork, "ManifoldSpikingNetwork(16, hyperbolic(4))")
    parameters, inputs = network.check(parameters, inputs)
    if not hasattr(head, "check") or not hasattr(head, "loss"):
        raise TypeError(f"head: expected a loss such as NodeClasses(labels, nodes), got {head!r}")
    return parameters, inputs, head.check(network, inputs.nodes)


def maps_of(
    network: ManifoldSpikingNetwork,
    parameters: Parameters,
    backend: str,
    *,
    literal: bool = False,
    by_spikes: bool = False,
) -> Maps:
    """The network's geometry.

    Parameters
    ----------
    network, parameters
        As checked.
    backend : {"plain", "cpu", "cuda"}
        Which kernels.
    literal : bool
        Whether D_z psi is c0 I.
    by_spikes : bool
        Whether the gradient is that over spikes, where the published code differentiates its clamps.

    Returns
    -------
    Maps
    """
    if network.compat == "official":
        return OfficialMaps(network.manifold, by_spikes)
    return ExactMaps(network.at(parameters), network.tangent, literal, backend)


def through_manifold(
    network: ManifoldSpikingNetwork,
    parameters: Parameters,
    inputs: GraphInputs,
    head: Head,
    maps: Maps,
    run: ManifoldRun,
    backend: str,
) -> ManifoldResult:
    """The way back through the points (Eq. 12), from a run.

    Parameters
    ----------
    network, parameters, inputs, head
        As checked.
    maps : Maps
        Of the geometry.
    run : ManifoldRun
        The forward pass.
    backend : {"plain", "cpu", "cuda"}
        Which kernels.

    Returns
    -------
    ManifoldResult

    Raises
    ------
    FloatingPointError
        If a point, the loss or a gradient is not finite.
    """
    finite_points(network, run)
    top = head.loss(network, parameters, run, maps, backend)
    point_gradients, drive_gradients = through_points(run, maps, top)
    gradients: Parameters = {}
    for layer, by_drive in enumerate(drive_gradients):
        by_current = by_drive.dtype.type(network.step_size) * by_drive
        gradients[f"layer.{layer}.weight"] = _by_weight(network, inputs, run, layer, by_current, backend)
    if network.classes:
        gradients["readout.weight"] = (
            top.readout if top.readout is not None else np.zeros_like(parameters["readout.weight"])
        )
    if network.learn_curvature:
        gradients["curvature"] = by_curvature(network, parameters, run, top, drive_gradients)
    for name, value in (("loss", np.array(top.loss)), *gradients.items()):
        if not np.isfinite(value).all():
            raise FloatingPointError(f"{name}: expected finite numbers, got others; take a smaller step_size")
    return ManifoldResult(
        loss=top.loss,
        gradients=gradients,
        diagnostics=Diagnostics(
            steps_executed=network.steps,
            bytes_kept=run.bytes_kept,
            outputs=top.outputs,
            spike_rates={f"layer.{layer}": float(rate.mean()) for layer, rate in enumerate(run.rates)},
            margin=run.margin,
        ),
        run=run,
        point_gradients=point_gradients,
        drive_gradients=drive_gradients,
    )


def finite_points(network: ManifoldSpikingNetwork, run: ManifoldRun) -> None:
    """Refuse a run whose points have left the numbers, or lie where the squares of coordinates do.

    Parameters
    ----------
    network : ManifoldSpikingNetwork
        For the advice.
    run : ManifoldRun
        The forward pass.

    Raises
    ------
    FloatingPointError
        Naming the first block with such points, or how far out the last are.
    """
    last = run.points[-1]  # what is not finite once stays so
    largest = max(last.max(), -last.min())
    limit = np.sqrt(np.finfo(last.dtype).max / (8 * network.width))  # |x + y|^2 <= 4 width limit^2
    if largest <= limit:
        return
    for layer, points in enumerate(run.points[1:]):
        if not np.isfinite(points).all():
            advice = "tangent='transport'" if network.tangent != "transport" else "a smaller step_size"
            raise FloatingPointError(f"points: expected finite numbers after block {layer}; take {advice}")
    raise FloatingPointError(
        f"points: expected coordinates up to {limit:.1e}, whose squares {last.dtype} can hold (on a "
        f"hyperboloid {np.arccosh(limit):.0f} R from the origin), got {largest:.1e}; take a smaller step_size"
    )


def through_points(
    run: ManifoldRun, maps: Maps, top: HeadGradient
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """dL/dz^l and dL/du^l of all blocks.

    Parameters
    ----------
    run : ManifoldRun
        The forward pass.
    maps : Maps
        Of the geometry.
    top : HeadGradient
        Where the loss sends its gradient.

    Returns
    -------
    tuple of list of ndarray, (N, D)
    """
    by_point = top.points if top.points is not None else np.zeros_like(run.points[-1])
    point_gradients: list[np.ndarray] = []
    drive_gradients: list[np.ndarray] = []
    for points, drive in zip(reversed(run.points[:-1]), reversed(run.drives), strict=True):
        point_gradients.insert(0, by_point)
        by_drive, by_point = maps.step_backward(points, drive, by_point)
        drive_gradients.insert(0, by_drive if top.drives is None else by_drive + top.drives)
    return point_gradients, drive_gradients


def _by_weight(
    network: ManifoldSpikingNetwork,
    inputs: GraphInputs,
    run: ManifoldRun,
    layer: int,
    by_current: np.ndarray,
    backend: str,
) -> np.ndarray:
    """dL/dW^l from the adjoint of the mean current m^l."""
    mask = inputs.masks[layer]
    if layer == 0:
        return inputs.gathered.outer(by_current if mask is None else mask * by_current, backend)
    gathered = run.gathered[layer - 1]
    if gathered is not None:
        return (by_current if mask is None else mask * by_current).T @ gathered
    heard = run.heard[layer - 1]  # masks of each step: their mean with what was heard at each
    assert heard is not None
    assert mask is not None
    share = by_current / by_current.dtype.type(network.steps)
    return np.einsum("tnd,tne->de", mask * share, heard, optimize=True)


def by_curvature(
    network: ManifoldSpikingNetwork,
    parameters: Parameters,
    run: ManifoldRun,
    top: HeadGradient,
    drive_gradients: list[np.ndarray],
) -> np.ndarray:
    """dL/dkappa of each factor.

    A space of radius R is the unit space with all lengths multiplied by R: the same network with drives u / R
    and what the loss reads times R.  So R dL/dR = (what the loss reads) - sum_l <ubar^l, u^l>, and with
    kappa = +-1 / R^2, dL/dkappa = -R dL/dR / (2 kappa); 0 for flat factors.

    Parameters
    ----------
    network, parameters
        As checked.
    run : ManifoldRun
        The forward pass.
    top : HeadGradient
        With its scaling.
    drive_gradients : list of ndarray, (N, D)
        dL/du^l.

    Returns
    -------
    ndarray, (factors,)
    """
    curvatures = parameters["curvature"]
    found = np.zeros_like(curvatures)
    direct = 0 if top.drives is None else top.drives  # read without a manifold
    for place, (own, curvature) in enumerate(zip(network.manifold.slices, curvatures, strict=True)):
        if curvature == 0:
            continue
        pulled = sum(
            float(((by_drive - direct) * drive)[:, own].sum())
            for by_drive, drive in zip(drive_gradients, run.drives, strict=True)
        )
        found[place] = -(top.scaling[place] - pulled) / (2 * curvature)
    return found
