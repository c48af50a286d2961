"""The derivative of a graph network's loss in one direction, forward through its points.

What differentiation via manifold sends back, this pushes on: with rates held, since the true derivative of a
spike is 0 almost everywhere, for l = 0 .. L

    du^l = eps G^l dW^l^T                                                                            (7)
    dz^l = [D_v phi] dv(du^l, dz^{l-1}) + [D_z psi] dz^{l-1},   dz^{-1} = 0              (Sun 2024, Eq. 12)

and the derivative is that of the loss by dz^L.  For all N_w weights it takes N_w passes: for checks, and for
the derivative along a step of training.  Steps and losses are differentiated a second time, forward
(`refsnn.models.manifold.differentials`, `loss_tangents`); no adjoint is used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from refsnn import checks
from refsnn.algorithms.differentiation_via_manifold import checked, finite_points, maps_of
from refsnn.kernels import BACKENDS
from refsnn.models.contract import Parameters
from refsnn.models.manifold.differentials import step_tangent
from refsnn.models.manifold.heads import Head, Links, NodeClasses, embedding
from refsnn.models.manifold.inputs import GraphInputs
from refsnn.models.manifold.loss_tangents import classes_tangent, links_tangent, logarithm_tangent
from refsnn.models.manifold.maps import Maps
from refsnn.models.manifold.network import ManifoldSpikingNetwork
from refsnn.models.manifold.run import ManifoldRun, forward


@dataclass(frozen=True)
class ManifoldTangent:
    """Where a network goes when its parameters move.

    Attributes
    ----------
    derivative : float
        Of the loss.
    points : list of ndarray, (N, D)
        dz^0, .., dz^L.
    drives : list of ndarray, (N, D)
        du^0, .., du^L.
    run : ManifoldRun
        The forward pass.
    """

    derivative: float
    points: list[np.ndarray]
    drives: list[np.ndarray]
    run: ManifoldRun


def manifold_forward_mode(
    network: ManifoldSpikingNetwork,
    parameters: Parameters,
    inputs: GraphInputs,
    head: Head,
    direction: Parameters,
    *,
    backend: str = "cpu",
) -> ManifoldTangent:
    """The directional derivative with rates held.

    Parameters
    ----------
    network : ManifoldSpikingNetwork
        The model, with compat="exact".
    parameters : dict of str to ndarray
        As `network.parameter_shapes()` says.
    inputs : GraphInputs
        Graph and features, with or without noise.
    head : Head
        The loss: `NodeClasses` or `Links`.
    direction : dict of str to ndarray
        Of all parameters, in their shapes and dtype; that of a flat factor's curvature is not used.
    backend : {"plain", "cpu", "cuda"}
        Kernels of the forward pass; tangents are in NumPy.

    Returns
    -------
    ManifoldTangent

    Raises
    ------
    TypeError, ValueError
        For arguments of wrong kind, shape or range.
    FloatingPointError
        If a point is not finite.

    Examples
    --------
    >>> from refsnn.models.manifold.graph import Graph
    >>> from refsnn.models.manifold.manifold import hyperbolic
    >>> rng, graph = np.random.default_rng(0), Graph.undirected(4, [0, 1, 2], [1, 2, 3])
    >>> network = ManifoldSpikingNetwork(3, hyperbolic(2), classes=2)
    >>> inputs = GraphInputs.of(graph, rng.random((4, 3)), layers=1)
    >>> parameters, head = network.initialise(rng), NodeClasses([0, 0, 1, 1], [0, 3])
    >>> found = manifold_forward_mode(network, parameters, inputs, head, parameters)
    >>> from refsnn.algorithms.differentiation_via_manifold import differentiation_via_manifold
    >>> gradients = differentiation_via_manifold(network, parameters, inputs, head).gradients
    >>> expected = sum((gradients[name] * value).sum() for name, value in parameters.items())
    >>> bool(abs(found.derivative - expected) < 1e-14)
    True
    """
    checks.choice("backend", backend, BACKENDS)
    parameters, inputs, head = checked(network, parameters, inputs, head)
    if network.compat != "exact":
        raise ValueError(
            f"network: expected compat='exact', got {network.compat!r}; its clamps have no tangents"
        )
    if not isinstance(head, (NodeClasses, Links)):
        raise TypeError(f"head: expected NodeClasses or Links, got {type(head).__name__}")
    dtype = parameters["layer.0.weight"].dtype
    direction = checks.parameters("direction", direction, network.parameter_shapes(), dtype=dtype)
    maps = maps_of(network, parameters, backend)
    run = forward(network, parameters, inputs, maps, backend)
    finite_points(network, run)
    manifold, stretch = network.at(parameters), stretches(network, parameters, direction)
    # lengths in units of R: the network of the unit space, with drives u / R
    grown = np.repeat(stretch, [factor.width for factor in manifold.factors])
    points, drives = [np.zeros_like(run.points[0])], []
    for layer, (point, drive) in enumerate(zip(run.points, run.drives, strict=False)):
        drives.append(drive_tangent(network, inputs, run, layer, direction[f"layer.{layer}.weight"], backend))
        pushed = drives[-1] - grown * drive
        points.append(step_tangent(manifold, point, drive, points[-1], pushed, tangent=network.tangent))
    if isinstance(head, Links):
        derivative = links_tangent(head, manifold, run.points[-1], points[-1], stretch)
    else:
        read, moved = _read(network, run, maps, head.head, points[-1], drives, grown)
        weights = parameters["readout.weight"], direction["readout.weight"]
        derivative = classes_tangent(head, read, moved, *weights)
    lengthened = [tangent + grown * point for tangent, point in zip(points, run.points, strict=True)]
    return ManifoldTangent(derivative, lengthened[1:], drives, run)


def stretches(network: ManifoldSpikingNetwork, parameters: Parameters, direction: Parameters) -> np.ndarray:
    """dR / R = -dkappa / (2 kappa) of each factor; 0 for those whose curvature is not learned.

    Parameters
    ----------
    network, parameters, direction
        As checked.

    Returns
    -------
    ndarray, (factors,)
    """
    dtype = parameters["layer.0.weight"].dtype
    if not network.learn_curvature:
        return np.zeros(len(network.manifold.factors), dtype)
    curvatures = parameters["curvature"]
    curved = curvatures != 0
    return np.divide(
        -direction["curvature"], 2 * curvatures, out=np.zeros(len(curvatures), dtype), where=curved
    )


def drive_tangent(
    network: ManifoldSpikingNetwork,
    inputs: GraphInputs,
    run: ManifoldRun,
    layer: int,
    moved: np.ndarray,
    backend: str = "cpu",
) -> np.ndarray:
    """du^l = eps G^l dW^l^T, with the masks of currents.

    Parameters
    ----------
    network, inputs, run
        The forward pass.
    layer : int
        l.
    moved : ndarray, (D, F) or (D, D)
        dW^l.
    backend : {"plain", "cpu", "cuda"}
        Which kernels.

    Returns
    -------
    ndarray, (N, D)
    """
    mask, step_size = inputs.masks[layer], moved.dtype.type(network.step_size)
    gathered = run.gathered[layer - 1] if layer else None
    if layer == 0:
        current = inputs.gathered.times(moved, backend)
    elif gathered is not None:
        current = gathered @ moved.T
    else:  # masks of each step
        heard = run.heard[layer - 1]
        assert heard is not None
        assert mask is not None
        return step_size * (mask * (heard @ moved.T)).mean(axis=0)
    return step_size * (current if mask is None else mask * current)


def _read(
    network: ManifoldSpikingNetwork,
    run: ManifoldRun,
    maps: Maps,
    head: str,
    moved: np.ndarray,
    drives: list[np.ndarray],
    grown: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """What the logits are read from, and where it goes."""
    read = embedding(network, run, maps, head)
    if head == "tangent":
        return read, sum(drives) * network.manifold.tangent_mask(read.dtype)
    assert hasattr(maps, "manifold")
    return read, logarithm_tangent(maps.manifold, run.points[-1], moved) + grown * read
