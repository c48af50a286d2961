"""The maps of the published code a second time: its clamps, its closed adjoints, its decoder of links.

Clamps look at real parts, so that the complex step differentiates the clamped maps, which is what the code
does over spikes.  By way of the manifold it takes closed forms instead; they are written here node by node.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from validation.claims.manifold_spiking_gnn.by_hand import (
    Arrays,
    Run,
    Setting,
    embedding,
    hyperbolic,
    split,
)

_STEP = 1e-30


def step(kappa: float, z: np.ndarray, u: np.ndarray) -> np.ndarray:
    """z' of a drive that nothing has made tangent."""
    if kappa == 0:
        return z + u
    square = (u * u).sum(axis=-1, keepdims=True)
    if kappa < 0:
        square = square - 2 * u[..., :1] ** 2
        norm = np.sqrt(np.where(np.real(square) < 1e-8, 1e-8, square))
        return np.cosh(norm) * z + np.sinh(norm) / norm * u
    norm = np.sqrt(square)
    small = np.real(norm) <= 1e-7
    safe = np.where(small, 1, norm)
    straight = (z + u) / np.sqrt(((z + u) ** 2).sum(axis=-1, keepdims=True))
    return np.where(small, straight, np.cos(safe) * z + np.sin(safe) / safe * u)


def logarithm(kappa: float, z: np.ndarray) -> np.ndarray:
    """The vector at o, of clamped lengths."""
    if kappa == 0:
        return z
    y, z0 = z[..., 1:], z[..., :1]
    rho = np.sqrt((y * y).sum(axis=-1, keepdims=True))
    if kappa < 0:
        inside = np.where(np.real(z0) < 1 + 1e-7, 1 + 1e-7, z0)
        length, floor = np.arccosh(inside), 1e-8
    else:
        inside = np.where(np.real(-z0) < -1 + 1e-7, -1 + 1e-7, -z0)
        inside = np.where(np.real(inside) > 1 - 1e-7, 1 - 1e-7, inside)
        length, floor = np.arccos(inside), 1e-7
    return np.concatenate([0 * z0, length / np.where(np.real(rho) < floor, floor, rho) * y], axis=-1)


@dataclass(frozen=True)
class Pairs:
    """Cosines of the logarithms on the hyperboloid; clipped probabilities of clipped lengths elsewhere."""

    links: np.ndarray
    absent: np.ndarray
    radius: float = 2.0
    temperature: float = 1.0

    def __call__(self, kappas: list, setting: Setting, run: Run, parameters: Arrays) -> Any:
        h = embedding(kappas, setting, run, "manifold")
        total: Any = 0
        for pairs, linked in ((self.links, True), (self.absent, False)):
            for i, j in pairs.T:
                loss = self.of_pair(kappas[0], h[..., i, :], h[..., j, :], linked)
                total = total + loss / pairs.shape[1]
        return total

    def of_pair(self, kappa: float, a: np.ndarray, b: np.ndarray, linked: bool) -> Any:
        """What one pair costs."""
        if kappa < 0:
            score = cosine(a, b)
            return np.log(1 + np.exp(-score if linked else score))
        if kappa > 0:
            along = (a * b).sum(axis=-1)
            along = np.where(np.real(along) < -1 + 1e-7, -1 + 1e-7, along)
            length = np.arccos(np.where(np.real(along) > 1 - 1e-7, 1 - 1e-7, along))
        else:
            length = np.sqrt(((a - b) ** 2).sum(axis=-1))
        probability = 1 / (1 + np.exp((length - self.radius) / self.temperature))
        probability = np.where(np.real(probability) < 0.01, 0.01, probability)
        probability = np.where(np.real(probability) > 0.99, 0.99, probability)
        return -np.log(probability if linked else 1 - probability)


def cosine(a: np.ndarray, b: np.ndarray) -> Any:
    """Of two vectors, whose lengths count as 1e-8 at least."""
    lengths = [np.sqrt((one * one).sum(axis=-1)) for one in (a, b)]
    lengths = [np.where(np.real(one) < 1e-8, 1e-8, one) for one in lengths]
    return (a * b).sum(axis=-1) / (lengths[0] * lengths[1])


# -- closed adjoints --------------------------------------------------------------------------------------


def adjoint(kappa: float, z: np.ndarray, u: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """ubar and zbar of one node."""
    if kappa == 0:
        return g, g
    if kappa < 0:
        square = -u[0] * u[0] + sum(x * x for x in u[1:])
        norm = math.sqrt(max(square, 1e-8))
        ratio = math.sinh(norm) / norm
        bend = (math.cosh(norm) - ratio) / norm**2
        flipped = np.array([-u[0], *u[1:]])
        return ratio * g + flipped * (ratio * (z @ g) + bend * (u @ g)), math.cosh(norm) * g
    norm = math.sqrt(u @ u)
    ratio, bend = 1.0, -1 / 3
    if norm > 1e-7:
        ratio = math.sin(norm) / norm
        bend = (math.cos(norm) - ratio) / norm**2
    return ratio * g + u * (bend * (u @ g) - ratio * (z @ g)), math.cos(max(norm, 0.01)) * g


def gradient(setting: Setting, parameters: Arrays, run: Run) -> Arrays:
    """By way of the manifold: the loss by the complex step, then closed forms block by block."""
    kappas = [kappa for kappa, _ in setting.factors]
    g = _by_points(kappas, setting, parameters, run)
    found = {}
    if "readout.weight" in parameters:
        weight = parameters["readout.weight"]
        moved = weight + 1j * _STEP * np.eye(weight.size).reshape(-1, *weight.shape)
        loss = setting.loss(kappas, setting, run, parameters | {"readout.weight": moved})
        found["readout.weight"] = (np.imag(loss) / _STEP).reshape(weight.shape)
    start = np.zeros_like(run.points[0])
    first = 0
    for kappa, width in setting.factors:
        start[:, first] = 0 if kappa == 0 else 1 if hyperbolic(kappa) else -1
        first += width
    for block in reversed(range(len(setting.adjacencies))):
        z = run.points[block - 1] if block else start
        u, by_drive, below = run.drives[block], np.zeros_like(g), np.zeros_like(g)
        for node in range(len(g)):
            first = 0
            for kappa, width in setting.factors:
                own = slice(first, first + width)
                by_drive[node, own], below[node, own] = adjoint(
                    kappa, z[node, own], u[node, own], g[node, own]
                )
                first += width
        heard = setting.features if block == 0 else run.spikes[block - 1].mean(axis=0)
        gathered = setting.adjacencies[block] @ heard
        found[f"layer.{block}.weight"] = (gathered.T @ (setting.step_size * by_drive)).T
        g = below
    return found


def _by_points(kappas: list, setting: Setting, parameters: Arrays, run: Run) -> np.ndarray:
    """dL/dz^L."""
    z = run.points[-1]
    moved = z + 1j * _STEP * np.eye(z.size).reshape(-1, *z.shape)
    loss = setting.loss(kappas, setting, replace(run, points=[*run.points[:-1], moved]), parameters)
    return (np.imag(loss) / _STEP).reshape(z.shape)


def clamped(setting: Setting, run: Run) -> dict[str, float]:
    """Shares of nodes and blocks whose drive, and of nodes whose last point, meet a clamp."""
    drives, points, places = 0, 0, 0
    for (kappa, _), *rows, z in zip(
        setting.factors,
        *(split(setting.factors, u) for u in run.drives),
        split(setting.factors, run.points[-1]),
        strict=True,
    ):
        if kappa < 0:
            drives += sum(int(((u * u).sum(axis=-1) - 2 * u[:, 0] ** 2 < 1e-8).sum()) for u in rows)
            points += int((z[:, 0] < 1 + 1e-7).sum())
        elif kappa > 0:
            points += int((np.abs(z[:, 0]) > 1 - 1e-7).sum())
        places += len(z)
    return {"drives": drives / places / len(run.drives), "points": points / places}
