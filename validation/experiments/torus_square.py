"""Points of S1 x S1 drawn on a square: two angles from the origin, opposite sides being one.

The torus is flat, and so is the square: a geodesic is a straight line, which goes on at the opposite side.
Log_o(z) are the two angles times their radii: what a linear classifier parts is parted by a line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from refsnn.models.manifold.manifold import Manifold
from refsnn.models.manifold.maps import ExactMaps
from validation.experiments.hyperbolic_disk import scatter

if TYPE_CHECKING:
    import matplotlib.figure

TURN = 2 * np.pi


def angles(manifold: Manifold, points: np.ndarray) -> np.ndarray:
    """How far points are turned from the origin on both circles.

    Parameters
    ----------
    manifold : Manifold
        Two circles.
    points : ndarray, (N, 4)
        On them.

    Returns
    -------
    ndarray, (N, 2)
        Radians in (-pi, pi].
    """
    if [(factor.dimension, factor.curvature > 0) for factor in manifold.factors] != [(1, True)] * 2:
        raise ValueError(f"manifold: expected S1 x S1, got {manifold}")
    radii = np.array([factor.radius for factor in manifold.factors])
    return ExactMaps(manifold).origin_logarithm(points)[:, [1, 3]] / radii


def draw(
    manifold: Manifold,
    paths: Sequence[np.ndarray],
    labels: np.ndarray,
    title: str,
    readout: np.ndarray,
    marked: np.ndarray,
    names: Sequence[str],
) -> matplotlib.figure.Figure:
    """Points by class, the way they came from the origin, and the line where a classifier of two is in doubt.

    Parameters
    ----------
    manifold : Manifold
        Two circles.
    paths : sequence of ndarray, (N, 4)
        Points block after block, none more than half a turn from the one before; the last are the dots.
    labels : ndarray of int, (N,)
        Classes, 0 or 1.
    title : str
        Of the drawing.
    readout : ndarray, (2, 4)
        The classifier of Log_o(z).
    marked : ndarray of int
        Nodes with a ring: those learnt from.
    names : sequence of str
        Of the classes.

    Returns
    -------
    Figure
    """
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(5.6, 4.6), layout="constrained")
    axes = drawing.subplots()
    places = np.stack([angles(manifold, points) for points in paths])
    places = np.unwrap(places[::-1], axis=0)[::-1]  # a way that leaves the square ends on it
    beyond = np.abs(places).max(axis=(0, 2)) > np.pi
    scatter(axes, places, labels, names)
    for shift in np.ndindex(3, 3):  # and comes in from the other side
        elsewhere = places[:, beyond] + TURN * (np.array(shift) - 1)
        axes.plot(*elsewhere.transpose(2, 0, 1), color="0.5", linewidth=0.6)
    axes.scatter(*places[-1][marked].T, s=60, facecolors="none", edgecolors="black", linewidths=1.2)
    axes.plot(0, 0, "+", color="0.3")
    radii = np.array([factor.radius for factor in manifold.factors])
    across = (readout[1] - readout[0])[[1, 3]] * radii
    along = TURN * np.array([-across[1], across[0]]) / np.linalg.norm(across)
    axes.plot(*np.stack([-along, along]).T, color="0.3", linewidth=0.8, linestyle="--", label="in doubt")
    ticks, texts = [-np.pi, 0, np.pi], ["$-\\pi$", "0", "$\\pi$"]
    axes.set(aspect="equal", xlim=(-np.pi, np.pi), ylim=(-np.pi, np.pi), title=title)
    axes.set(xticks=ticks, xticklabels=texts, yticks=ticks, yticklabels=texts)
    axes.set(xlabel="turned on the first circle", ylabel="turned on the second")
    axes.grid(False)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize="x-small", markerscale=1.0)
    return drawing
