"""Points of a hyperboloid drawn on the Poincare disk: stereographic projection from (-R, 0, .., 0).

A point at distance d from the origin comes to lie at tanh(d / 2 R) from the centre, in the same direction.
Of more than two dimensions the two are drawn in which the points are spread most, seen from the origin: the
first principal directions of Log_o(z), not centred, so that the origin stays the centre of the disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from refsnn.models.manifold.manifold import Manifold
from refsnn.models.manifold.maps import ExactMaps

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure


def directions(manifold: Manifold, points: np.ndarray) -> tuple[np.ndarray, float]:
    """The plane to draw, and how much of the points is in it.

    Parameters
    ----------
    manifold : Manifold
        One hyperboloid.
    points : ndarray, (N, D)
        On it.

    Returns
    -------
    plane : ndarray, (2, d)
        Orthonormal directions at the origin; those of the coordinates where d = 2.
    share : float
        Of the squared distances to the origin.
    """
    if len(manifold.factors) != 1 or manifold.factors[0].curvature >= 0 or manifold.dimension < 2:
        raise ValueError(f"manifold: expected a hyperboloid of two dimensions or more, got {manifold}")
    tangents = ExactMaps(manifold).origin_logarithm(points)[:, 1:]
    if manifold.dimension == 2:
        return np.eye(2), 1.0
    _, lengths, axes = np.linalg.svd(tangents, full_matrices=False)
    squares = lengths**2
    return axes[:2], float(squares[:2].sum() / squares.sum())


def on_disk(manifold: Manifold, points: np.ndarray, plane: np.ndarray) -> np.ndarray:
    """Where points lie on the disk of radius 1.

    Parameters
    ----------
    manifold, points
        As `directions` takes them.
    plane : ndarray, (2, d)
        What it returned.

    Returns
    -------
    ndarray, (N, 2)
    """
    flat = ExactMaps(manifold).origin_logarithm(points)[:, 1:] @ plane.T
    lengths = np.linalg.norm(flat, axis=1, keepdims=True)
    radii = np.tanh(lengths / (2 * manifold.factors[0].radius))
    return radii * flat / np.where(lengths > 0, lengths, 1)


def draw(
    manifold: Manifold,
    paths: Sequence[np.ndarray],
    labels: np.ndarray,
    title: str,
    marked: np.ndarray | None = None,
    names: Sequence[str] | None = None,
) -> tuple[matplotlib.figure.Figure, float]:
    """Points by class, and the way they came from the origin where there is more than one set.

    Parameters
    ----------
    manifold : Manifold
        One hyperboloid.
    paths : sequence of ndarray, (N, D)
        Points block after block; the last are the dots.
    labels : ndarray of int, (N,)
        Classes.
    title : str
        Of the drawing.
    marked : ndarray of int, optional
        Nodes with a ring: those learnt from.
    names : sequence of str, optional
        Of the classes.

    Returns
    -------
    figure : Figure
    share : float
        Of the squared distances to the origin that the drawing shows.
    """
    from matplotlib.figure import Figure

    plane, share = directions(manifold, paths[-1])
    drawing = Figure(figsize=(5.6, 4.6), layout="constrained")
    axes = drawing.subplots()
    places = np.stack([on_disk(manifold, points, plane) for points in paths])
    scatter(axes, places, labels, names)
    if marked is not None:
        axes.scatter(*places[-1][marked].T, s=60, facecolors="none", edgecolors="black", linewidths=1.2)
    edge = np.linspace(0, 2 * np.pi, 361)
    axes.plot(np.cos(edge), np.sin(edge), color="0.3", linewidth=0.8)
    axes.plot(0, 0, "+", color="0.3")
    axes.set(aspect="equal", xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), xticks=[], yticks=[], title=title)
    axes.grid(False)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize="x-small", markerscale=1.5)
    return drawing, share


def scatter(
    axes: matplotlib.axes.Axes, places: np.ndarray, labels: np.ndarray, names: Sequence[str] | None
) -> None:
    """Paths (blocks, N, 2) as lines, their ends as dots."""
    size = 36 if places.shape[1] < 100 else 4
    for label in np.unique(labels):
        mine = places[:, labels == label]
        name = names[label] if names else f"class {label}"
        dots = axes.scatter(*mine[-1].T, s=size, label=name, linewidths=0, zorder=2)
        if len(mine) > 1:
            axes.plot(*mine.transpose(2, 0, 1), color=dots.get_facecolor()[0], linewidth=0.6, alpha=0.6)
