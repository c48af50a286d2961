"""5.12: gradients through many blocks grow and vanish as c0(q)^k, whatever the paper says of them."""

from __future__ import annotations

import numpy as np

from refsnn.models.manifold.manifold import Manifold
from refsnn.models.manifold.maps import ExactMaps
from validation.claims.manifold_spiking_gnn.spaces import EPS, directions, some_points, space, unit
from validation.ledger import Measured, claim

NODES = 6


def through(
    manifold: Manifold, z: np.ndarray, drives: list[np.ndarray], g: np.ndarray, tangent: str, literal: bool
) -> np.ndarray:
    """dL/dz of the first block from g at the last."""
    maps = ExactMaps(manifold, tangent, literal, "cpu")
    points = [z]
    for drive in drives:
        points.append(maps.step(points[-1], drive))
    for point, drive in zip(reversed(points[:-1]), reversed(drives), strict=True):
        _, g = maps.step_backward(point, drive, g)
    return g


def some_drives(rng: np.random.Generator, manifold: Manifold, count: int) -> list[np.ndarray]:
    """Vectors of lengths between 0.2 R and 1.2 R without a coordinate of the origin."""
    found = rng.standard_normal((count, NODES, manifold.width)) * manifold.tangent_mask()
    found *= unit(manifold) / np.linalg.norm(found, axis=2, keepdims=True)
    return list(rng.uniform(0.2, 1.2, (count, NODES, 1)) * found)


@claim(
    "manifold_spiking_gnn/5.12",
    r"Through $k$ blocks the ambient adjoint, and that of the paper in every mode, multiplies by $\prod_l c_0(\kappa|v^l|^2)$: $\cosh$ or $\cos$ of $|v^l|/R$.",
    source="Sun 2024, Eqs. (41), (49); specification, 5.12",
    metric=r"largest error of an entry over the largest, six blocks, $\kappa$ of both signs",
    relation="<=",
    bound=1e-13,
    control="the exact adjoint of the transport step",
)
def law(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for kappa in (-1.0, -0.3, 1.0, 2.0):
        manifold = space(kappa)
        drives, g = some_drives(rng, manifold, 6), rng.standard_normal((NODES, manifold.width))
        z = np.repeat(manifold.origin()[None], NODES, axis=0)
        lengths = np.sqrt(abs(kappa)) * np.linalg.norm(drives, axis=2)
        factor = (np.cosh if kappa < 0 else np.cos)(lengths).prod(axis=0)
        expected = factor[:, None] * g
        for tangent, literal, found in (
            ("ambient", False, values),
            ("transport", True, values),
            ("transport", False, controls),
        ):
            back = through(manifold, z, drives, g, tangent, literal)
            found.append(float(np.max(np.abs(back - expected) / np.abs(expected).max(axis=1, keepdims=True))))
    return Measured(max(values), min(controls))


@claim(
    "manifold_spiking_gnn/5.12.vanishing",
    r"On the sphere a vector of length $\pi R/2$ stops the ambient gradient: everything below gets rounding.",
    source="Sun 2024, Eq. (49); specification, 5.12",
    metric=r"largest entry below one such block over the largest above, as a multiple of $\epsilon$",
    relation="<=",
    bound=20.0,
    control=r"a vector of length $\pi R/4$",
)
def vanishing(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for kappa in (0.5, 1.0, 2.0):
        manifold = space(kappa)
        z, g = some_points(rng, manifold, NODES), rng.standard_normal((NODES, manifold.width))
        v = directions(rng, manifold, z)
        for share, found in ((np.pi / 2, values), (np.pi / 4, controls)):
            back = through(manifold, z, [share * v], g, "ambient", False)
            found.append(float(np.max(np.abs(back).max(axis=1) / np.abs(g).max(axis=1)) / EPS))
    return Measured(max(values), min(controls))


@claim(
    "manifold_spiking_gnn/5.12.exploding",
    r"On the hyperboloid 20 blocks with $|v|=R$ multiply the ambient gradient by $\cosh(1)^{20}=5.9\cdot10^3$.",
    source="Sun 2024, Eq. (41); specification, 5.12",
    metric="smallest ratio of the largest entries below and above",
    relation="in",
    bound=(5.8e3, 6.0e3),
    control=r"$|v|=0.01R$, for which the paper's claim holds",
)
def exploding(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for kappa in (-0.25, -1.0, -2.0):
        manifold = space(kappa)
        z = np.repeat(manifold.origin()[None], NODES, axis=0)
        g = rng.standard_normal((NODES, manifold.width))
        for share, found in ((1.0, values), (0.01, controls)):
            drives = [
                share / np.linalg.norm(d, axis=1, keepdims=True) * unit(manifold) * d
                for d in some_drives(rng, manifold, 20)
            ]
            back = through(manifold, z, drives, g, "ambient", False)
            found.append(float(np.min(np.abs(back).max(axis=1) / np.abs(g).max(axis=1))))
    return Measured(min(values), max(controls))
