"""Where losses go when points move a little: forward, product rule by product rule, nothing of the adjoints.

The logarithm at the origin is that of any z, also of one that an ambient step has taken off the manifold.
"""

from __future__ import annotations

import numpy as np

from refsnn.equations.curvature import origin_ratio, origin_slopes
from refsnn.models.manifold.heads import Links, NodeClasses
from refsnn.models.manifold.length_differentials import distance_tangent
from refsnn.models.manifold.manifold import Manifold
from refsnn.models.manifold.metric import distance


def logarithm_tangent(manifold: Manifold, points: np.ndarray, points_moved: np.ndarray) -> np.ndarray:
    """d[(l / rho) y], the logarithm at the origin, from dz.

    Parameters
    ----------
    manifold : Manifold
        Whose formula.
    points, points_moved : ndarray, (N, D)
        z and dz.

    Returns
    -------
    ndarray, (N, D)

    Examples
    --------
    >>> from refsnn.models.manifold.manifold import hyperbolic
    >>> logarithm_tangent(hyperbolic(2), np.array([[1.0, 0.0, 0.0]]), np.array([[5.0, 1.0, 2.0]]))
    array([[0., 1., 2.]])
    """
    moved = np.zeros_like(points)
    for factor, own in zip(manifold.factors, manifold.slices, strict=True):
        z, dz = points[:, own], points_moved[:, own]
        if not factor.curved:
            moved[:, own] = dz
            continue
        kappa, one = z.dtype.type(factor.curvature), z.dtype.type(1)
        for node in range(len(z)):
            y, dy, polar = z[node, 1:], dz[node, 1:], z[node, 0]
            rho = np.sqrt(y @ y)
            ratio = origin_ratio(rho, polar, kappa, one)
            row = ratio * dy
            if rho > 0:
                by_rho, by_polar = origin_slopes(rho, polar, kappa, one)
                rho_moved = (y @ dy) / rho
                length_moved = by_rho * rho_moved + by_polar * dz[node, 0]
                row = row + (length_moved - ratio * rho_moved) / rho * y  # d(l / rho) y
            moved[node, own.start + 1 : own.stop] = row
    return moved


def classes_tangent(
    head: NodeClasses, read: np.ndarray, read_moved: np.ndarray, weight: np.ndarray, weight_moved: np.ndarray
) -> float:
    """d of the mean cross-entropy, from what is read and from the classifier.

    Parameters
    ----------
    head : NodeClasses
        As checked.
    read, read_moved : ndarray, (N, D)
        What the logits are read from, and where it goes.
    weight, weight_moved : ndarray, (C, D)
        Wc and dWc.

    Returns
    -------
    float
    """
    outputs = read[head.nodes] @ weight.T
    moved = read_moved[head.nodes] @ weight.T + read[head.nodes] @ weight_moved.T
    odds = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    expected = (odds * moved).sum(axis=1) / odds.sum(axis=1)  # d log sum exp
    own = moved[np.arange(len(moved)), head.labels[head.nodes]]
    return float((expected - own).mean())


def links_tangent(
    head: Links, manifold: Manifold, points: np.ndarray, points_moved: np.ndarray, stretch: np.ndarray
) -> float:
    """d of the loss of links; lengths of factor i grow by their share `stretch[i]` besides.

    Parameters
    ----------
    head : Links
        As checked.
    manifold : Manifold
        Where the points are.
    points, points_moved : ndarray, (N, D)
        z and dz.
    stretch : ndarray, (factors,)
        dR / R of each factor.

    Returns
    -------
    float
    """
    total = 0.0
    for pairs, sign in ((head.links, 1.0), (head.absent, -1.0)):
        lengths, moved = [], []
        for factor, own, grown in zip(manifold.factors, manifold.slices, stretch, strict=True):
            x, y, dx, dy = (
                np.ascontiguousarray(g[end][:, own]) for g in (points, points_moved) for end in pairs
            )
            space = Manifold((factor,))
            lengths.append(distance(space, x, y))
            moved.append(distance_tangent(space, x, y, dx, dy) + grown * lengths[-1])
        length, length_moved = np.sum(lengths, axis=0), np.sum(moved, axis=0)
        if head.product_distance == "l2":
            length = np.sqrt(np.sum(np.square(lengths), axis=0))
            pulled = np.sum(np.multiply(lengths, moved), axis=0)
            length_moved = np.divide(pulled, length, out=np.zeros_like(length), where=length > 0)
        energy = (length**head.power - head.radius) / head.temperature
        energy_moved = head.power * length ** (head.power - 1) * length_moved / head.temperature
        total += float((sign * energy_moved * np.exp(-np.logaddexp(0, -sign * energy))).mean())
    return total
