"""What a loss is taken of: classes of nodes, or links between them.

manifold head   logits = P_o Log_o(z^L) Wc^T                             (trains, in the paper)
tangent head    logits = P_o (u^0 + .. + u^L) Wc^T                       (says the classes, in the paper)
Fermi-Dirac     p_ij = 1 / (exp((d(z_i, z_j)^p - r) / t) + 1)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from refsnn import checks
from refsnn.kernels import manifold_kernels
from refsnn.models.contract import Parameters
from refsnn.models.losses import cross_entropy, cross_entropy_gradient
from refsnn.models.manifold.graph import incidence, indices
from refsnn.models.manifold.manifold import Manifold
from refsnn.models.manifold.maps import Maps
from refsnn.models.manifold.network import ManifoldSpikingNetwork
from refsnn.models.manifold.run import ManifoldRun

HEADS = "manifold", "tangent"
PRODUCT_DISTANCES = "l2", "l1"


@dataclass(frozen=True)
class HeadGradient:
    """Where a loss sends its gradient.

    Attributes
    ----------
    loss : float
        Itself.
    points : ndarray or None, (N, D)
        dL/dz^L.
    drives : ndarray or None, (N, D)
        dL/du^l, the same for all l.
    readout : ndarray or None, (C, D)
        dL/dWc.
    scaling : ndarray, (factors,)
        R dL/dR of each factor at fixed u / R: how the loss grows with the lengths that it is taken of.
    outputs : ndarray, (N, C) or (E + E',)
        What the loss was taken of: logits of all nodes, or distances of all pairs.
    """

    loss: float
    points: np.ndarray | None
    drives: np.ndarray | None
    readout: np.ndarray | None
    scaling: np.ndarray
    outputs: np.ndarray


class Head(Protocol):
    """A loss of a network on a graph."""

    def check(self, network: ManifoldSpikingNetwork, nodes: int) -> Head:
        """Refuse at the door what does not fit; returns the head with arrays."""
        ...

    def loss(
        self,
        network: ManifoldSpikingNetwork,
        parameters: Parameters,
        run: ManifoldRun,
        maps: Maps,
        backend: str,
    ) -> HeadGradient:
        """The loss of a run, and its gradient."""
        ...


def logits(
    network: ManifoldSpikingNetwork, parameters: Parameters, run: ManifoldRun, maps: Maps, head: str
) -> np.ndarray:
    """What classes are read from.

    Parameters
    ----------
    network, parameters
        With a classifier.
    run : ManifoldRun
        Its forward pass.
    maps : Maps
        Of its geometry.
    head : {"manifold", "tangent"}
        The logarithm of z^L, or the sum of the drives.

    Returns
    -------
    ndarray, (N, C)
    """
    checks.choice("head", head, HEADS)
    return embedding(network, run, maps, head) @ parameters["readout.weight"].T


def embedding(
    network: ManifoldSpikingNetwork, run: ManifoldRun, maps: Maps, head: str = "manifold"
) -> np.ndarray:
    """P_o Log_o(z^L), or P_o of the sum of the drives: vectors at the origin.

    Parameters
    ----------
    network : ManifoldSpikingNetwork
        The model.
    run : ManifoldRun
        Its forward pass.
    maps : Maps
        Of its geometry.
    head : {"manifold", "tangent"}
        Which.

    Returns
    -------
    ndarray, (N, D)
    """
    if head == "manifold":
        return maps.origin_logarithm(run.points[-1])
    return run.summed_drive * network.manifold.tangent_mask(run.points[-1].dtype)


@dataclass(frozen=True)
class NodeClasses:
    """Mean cross-entropy over some nodes.

    Parameters
    ----------
    labels : array_like of int, (N,)
        Class of every node.
    nodes : array_like of int or bool
        Which of them count: indices, or a mask.
    head : {"manifold", "tangent"}
        What the logits are read from.

    Examples
    --------
    >>> NodeClasses([0, 1, 1], [0, 2]).head
    'manifold'
    """

    labels: Any
    nodes: Any
    head: str = "manifold"

    def check(self, network: ManifoldSpikingNetwork, nodes: int) -> NodeClasses:
        """See `Head.check`.

        Parameters
        ----------
        network : ManifoldSpikingNetwork
            The model.
        nodes : int
            N.

        Returns
        -------
        NodeClasses
            With arrays.

        Raises
        ------
        TypeError, ValueError
            Naming the argument, what was expected and what came.
        """
        checks.choice("head", self.head, HEADS)
        if not network.classes:
            raise ValueError("network: expected classes >= 1 for node classification, got 0")
        labels = checks.as_numpy("labels", self.labels)
        if labels.shape != (nodes,) or labels.dtype.kind not in "iu":
            advice = (
                "labels.astype(int)" if labels.ndim == 1 else "if they are one-hot, labels.argmax(axis=1)"
            )
            raise ValueError(
                f"labels: expected one integer for each of {nodes} nodes, got shape {labels.shape} of dtype "
                f"{labels.dtype}; take {advice}"
            )
        if labels.min() < 0 or labels.max() >= network.classes:
            advice = f"build the network with classes={labels.max() + 1}"
            if labels.min() < 0:
                advice = "give nodes of unknown class any class, and leave them out of `nodes`"
            raise ValueError(
                f"labels: expected classes 0 to {network.classes - 1}, got {labels.min()} to {labels.max()}; "
                f"{advice}"
            )
        chosen = checks.as_numpy("nodes", self.nodes)
        if chosen.dtype == bool:
            if chosen.shape != (nodes,):
                raise ValueError(f"nodes: expected a mask of {nodes} nodes, got shape {chosen.shape}")
            chosen = np.flatnonzero(chosen)
        chosen = indices("nodes", chosen, nodes)
        if not len(chosen):
            raise ValueError("nodes: expected at least one node to learn from, got an empty split")
        names, times = np.unique(chosen, return_counts=True)
        if times.max() > 1:
            node, often = names[times.argmax()], times.max()
            raise ValueError(
                f"nodes: expected each node once, got node {node} {often} times; a mask needs dtype bool: "
                "mask.astype(bool)"
            )
        return NodeClasses(labels.astype(np.int64), chosen, self.head)

    def loss(
        self,
        network: ManifoldSpikingNetwork,
        parameters: Parameters,
        run: ManifoldRun,
        maps: Maps,
        backend: str,
    ) -> HeadGradient:
        """See `Head.loss`."""
        read = embedding(network, run, maps, self.head)
        weight = parameters["readout.weight"]
        outputs, targets = read @ weight.T, self.labels[self.nodes]
        loss = float(cross_entropy(outputs[self.nodes], targets))
        errors = cross_entropy_gradient(outputs[self.nodes], targets)  # of the nodes that count, each once
        by_read, readout = np.zeros_like(read), errors.T @ read[self.nodes]
        by_read[self.nodes] = errors @ weight
        if self.head == "tangent":
            by_read *= network.manifold.tangent_mask(read.dtype)
            return HeadGradient(loss, None, by_read, readout, _none(network.manifold), outputs)
        by_point = maps.origin_logarithm_backward(run.points[-1], by_read)
        scaling = _none(network.manifold)
        if network.learn_curvature:
            scaling = _by_factor(network.manifold, by_read, read)
        return HeadGradient(loss, by_point, None, readout, scaling, outputs)


def _none(manifold: Manifold) -> np.ndarray:
    """No length that the loss is taken of."""
    return np.zeros(len(manifold.factors))


def _by_factor(manifold: Manifold, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """<one, other>, factor by factor."""
    return np.array([(one[:, own] * other[:, own]).sum() for own in manifold.slices])


@dataclass(frozen=True)
class Links:
    """Binary cross-entropy of a Fermi-Dirac decoder: mean over links plus mean over pairs that are none.

    Parameters
    ----------
    links, absent : array_like of int, (2, E), (2, E')
        Ends of pairs that are linked, and of pairs that are not.
    radius, temperature : float
        r and t.
    power : {1, 2}
        p, of the distance.
    product_distance : {"l2", "l1"}
        Root of the sum of squares over factors, the geodesic distance; or the sum, as the paper prints it.

    Examples
    --------
    >>> Links([[0], [1]], [[0], [2]]).radius
    2.0
    """

    links: Any
    absent: Any
    radius: float = 2.0
    temperature: float = 1.0
    power: int = 1
    product_distance: str = "l2"

    def check(self, network: ManifoldSpikingNetwork, nodes: int) -> Links:
        """See `Head.check`.

        Parameters
        ----------
        network : ManifoldSpikingNetwork
            The model.
        nodes : int
            N.

        Returns
        -------
        Links
            With arrays.

        Raises
        ------
        TypeError, ValueError
            Naming the argument, what was expected and what came.
        """
        if network.tangent == "ambient" and any(factor.curved for factor in network.manifold.factors):
            raise ValueError(
                "network: expected tangent 'transport' or 'project' for links, got 'ambient': its points are "
                "not on the manifold, and <x - y, x - y> can be negative; with compat='official' take "
                "OfficialLinks of refsnn.models.manifold.official_links"
            )
        checks.number("radius", self.radius)
        checks.number("temperature", self.temperature, 0, low_open=True)
        if checks.number("power", self.power) not in (1, 2):
            raise ValueError(f"power: expected 1 or 2, got {self.power!r}")
        checks.choice("product_distance", self.product_distance, PRODUCT_DISTANCES)
        pairs = {}
        for name in ("links", "absent"):
            given = checks.as_numpy(name, getattr(self, name))
            if given.ndim != 2 or given.shape[0] != 2 or not given.shape[1]:
                raise ValueError(f"{name}: expected shape (2, E) with E >= 1, got {given.shape}")
            pairs[name] = np.stack([indices(name, end, nodes) for end in given])
        return replace(self, links=pairs["links"], absent=pairs["absent"], power=int(self.power))

    def loss(
        self,
        network: ManifoldSpikingNetwork,
        parameters: Parameters,
        run: ManifoldRun,
        maps: Maps,
        backend: str,
    ) -> HeadGradient:
        """See `Head.loss`."""
        manifold, points = network.at(parameters), run.points[-1]
        number = points.dtype.type
        pairs = incidence(len(points), *np.concatenate([self.links, self.absent], axis=1))
        squares, slopes = squared_distances(manifold, points, pairs, backend)
        lengths = total_distance(squares, self.product_distance)
        shares = np.repeat([1 / self.links.shape[1], -1 / self.absent.shape[1]],
                           [self.links.shape[1], self.absent.shape[1]]).astype(points.dtype)  # fmt: skip
        energy = (lengths**self.power - number(self.radius)) / number(self.temperature)
        signs = np.sign(shares)
        # -log p of a link is softplus(energy), -log (1 - p) of a pair that is none softplus(-energy)
        loss = float((np.abs(shares) * np.logaddexp(0, signs * energy)).sum())
        by_energy = shares * np.exp(-np.logaddexp(0, -signs * energy))  # the sigmoid, which exp may not reach
        by_length = by_energy * number(self.power) * lengths ** (self.power - 1) / number(self.temperature)
        by_squares = distance_backward(squares, lengths, by_length, self.product_distance)
        by_point = np.empty_like(points)
        kernels = manifold_kernels(backend)
        for factor, mine, slope in zip(manifold.columns(points.dtype), by_squares, slopes, strict=True):
            kernels.squared_distances_backward(factor, points, pairs, mine * slope, by_point)
        scaling = 2 * (by_squares * squares).sum(axis=1)
        return HeadGradient(loss, by_point, None, None, scaling, lengths)


def squared_distances(
    manifold: Manifold, points: np.ndarray, pairs: Any, backend: str
) -> tuple[np.ndarray, np.ndarray]:
    """d_i^2 of each factor and pair, and their slopes by the square of the chord.

    Parameters
    ----------
    manifold : Manifold
        Where the points are.
    points : ndarray, (N, D)
        z.
    pairs : Incidence
        Which.
    backend : {"plain", "cpu", "cuda"}
        Which kernels.

    Returns
    -------
    squares, slopes : ndarray, (factors, E)
    """
    squares = np.empty((len(manifold.factors), len(pairs.sources)), points.dtype)
    slopes = np.empty_like(squares)
    for factor, square, slope in zip(manifold.columns(points.dtype), squares, slopes, strict=True):
        manifold_kernels(backend).squared_distances(factor, points, pairs, square, slope)
    return squares, slopes


def total_distance(squares: np.ndarray, product_distance: str = "l2") -> np.ndarray:
    """d of a product from those of its factors.

    Parameters
    ----------
    squares : ndarray, (factors, E)
        d_i^2.
    product_distance : {"l2", "l1"}
        Root of the sum of squares, or sum.

    Returns
    -------
    ndarray, (E,)
    """
    return np.sqrt(squares.sum(axis=0)) if product_distance == "l2" else np.sqrt(squares).sum(axis=0)


def distance_backward(
    squares: np.ndarray, lengths: np.ndarray, adjoint: np.ndarray, product_distance: str = "l2"
) -> np.ndarray:
    """dL/d(d_i^2) from dL/dd; 0 where a distance is 0, which is a kink.

    Parameters
    ----------
    squares : ndarray, (factors, E)
        d_i^2.
    lengths, adjoint : ndarray, (E,)
        d and dL/dd.
    product_distance : {"l2", "l1"}
        As on the way forward.

    Returns
    -------
    ndarray, (factors, E)
    """
    roots = np.broadcast_to(lengths, squares.shape) if product_distance == "l2" else np.sqrt(squares)
    two = squares.dtype.type(2)
    return np.divide(adjoint, two * roots, out=np.zeros_like(squares), where=roots > 0)
