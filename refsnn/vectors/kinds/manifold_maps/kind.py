"""Maps of the hyperboloid, the sphere and flat space: exponential and its adjoint, logarithm, transport."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from refsnn.models.manifold.differentials import exponential_adjoint
from refsnn.models.manifold.geometry import exponential, logarithm, norm, transport
from refsnn.models.manifold.manifold import Factor, Manifold
from refsnn.models.manifold.metric import distance, project_points, project_vectors
from refsnn.vectors.case import Case, Kind, Leaf, Leaves, Mistake, Problem, Solution
from refsnn.vectors.kinds.manifold_maps.by_hand import by_hand

_GEOMETRY = "refsnn/models/manifold/geometry.py"
_EXPONENTIAL = "Exp_z(v) = c0(q) z + c1(q) v, q = curvature <v, v> (Sun 2024, Eqs. 39 and 47)"
_LOGARITHM = "Log_z(x) = d u / |u|, u the tangent part of x - z at z"
_TRANSPORT = "PT(w) = w - curvature <x, w> / (1 + curvature <z, x>) (z + x)"
_DISTANCE = "d = R arcosh(curvature <z, x>), R arccos of it, or |x - z|"
_ADJOINT = "vbar = c1 g + (terms of dq/dv), zbar = c0 g"
LEAVES = (
    Leaf("exponential", "(N, D)", "Exp_z(v)", f"{_EXPONENTIAL}, {_GEOMETRY}"),
    Leaf("logarithm", "(N, D)", "Log_z(x)", f"{_LOGARITHM}, {_GEOMETRY}"),
    Leaf("transport", "(N, D)", "w brought from z to x", f"{_TRANSPORT}, {_GEOMETRY}"),
    Leaf("distance", "(N,)", "from z to x", f"{_DISTANCE}, refsnn/models/manifold/metric.py"),
    Leaf("norm", "(N,)", "|v|", "|v| = sqrt(<v, v>), refsnn/models/manifold/metric.py"),
    Leaf(
        "gradients/points",
        "(N, D)",
        "d(sum g Exp)/dz with v fixed, partial derivatives of the formula in ambient coordinates",
        f"{_ADJOINT} (Sun 2024, Eqs. 41, 46, 49, 54), refsnn/models/manifold/differentials.py",
    ),
    Leaf(
        "gradients/vectors",
        "(N, D)",
        "d(sum g Exp)/dv, partial derivatives of the formula in ambient coordinates",
        f"{_ADJOINT} (Sun 2024, Eqs. 41, 46, 49, 54), refsnn/models/manifold/differentials.py",
    ),
)
INPUTS = {
    "curvature": "negative: the hyperboloid curvature <z, z> = 1 with z_0 > 0; positive: the sphere; 0: "
    "flat. R = 1/sqrt|curvature|. <a, b> = sum_i a_i b_i, with -a_0 b_0 on the hyperboloid",
    "dimension": "d; D = d + 1 coordinates are stored, d in flat space",
    "inputs/points": "(N, D): z",
    "inputs/ends": "(N, D): x",
    "inputs/vectors": "(N, D): v, tangent at z",
    "inputs/carried": "(N, D): w, tangent at z",
    "inputs/adjoints": "(N, D): g",
}


def manifold_of(problem: Problem) -> Manifold:
    """The space of a case.

    Parameters
    ----------
    problem : Problem
        Of a case.

    Returns
    -------
    Manifold
    """
    given = problem.hyperparameters
    return Manifold((Factor(given["curvature"], given["dimension"]),))


def solve(problem: Problem, backend: str) -> Solution:
    """All maps of a case; they have no backends.

    Parameters
    ----------
    problem : Problem
        Of a case.
    backend : {"plain", "cpu", "cuda"}
        Any.

    Returns
    -------
    Solution
    """
    manifold = manifold_of(problem)
    z, x, v, w, g = (problem.inputs[name] for name in ("points", "ends", "vectors", "carried", "adjoints"))
    by_point, by_vector = exponential_adjoint(manifold, z, v, g)
    return Solution(
        {
            "exponential": exponential(manifold, z, v),
            "logarithm": logarithm(manifold, z, x),
            "transport": transport(manifold, z, x, w),
            "distance": distance(manifold, z, x),
            "norm": norm(manifold, z, v),
            "gradients/points": by_point,
            "gradients/vectors": by_vector,
        }
    )


def _curved(given: dict[str, Any]) -> bool:
    return bool(given["curvature"] != 0)


def _hyperbolic(given: dict[str, Any]) -> bool:
    return bool(given["curvature"] < 0)


def _spherical(given: dict[str, Any]) -> bool:
    return bool(given["curvature"] > 0)


def _mistake(
    name: str, says: str, equation: str, applies: Callable[[dict[str, Any]], bool] = _curved
) -> Mistake:
    def changes(problem: Problem) -> Problem | None:
        given = problem.hyperparameters
        return problem.changed(**{f"mistake__{name}": True}) if applies(given) else None

    return Mistake(name, says, f"{equation}, {_GEOMETRY}", changes)


MISTAKES = (
    _mistake("unit-radius", "the radius is taken for 1: lengths are not divided by R", _EXPONENTIAL),
    _mistake("other-sign", "cosine and sine stand for cosh and sinh, or the reverse", _EXPONENTIAL, _curved),
    _mistake("retraction", "the exponential is z + v put back on the manifold", _EXPONENTIAL),
    _mistake(
        "plain-product",
        "the first product of <a, b> is added, it should be subtracted",
        "<a, b>",
        _hyperbolic,
    ),
    _mistake("angle", "the distance is an angle: the factor R is missing", _DISTANCE),
    _mistake("chord", "the distance is that through the ambient space", _DISTANCE),
    _mistake("unscaled-logarithm", "the logarithm is the tangent part u, its length is not d", _LOGARITHM),
    _mistake("unprojected", "the logarithm is the difference x - z, with the length d", _LOGARITHM),
    _mistake("not-transported", "the vector stays as it is", _TRANSPORT),
    _mistake("projected", "the vector is projected at the end, not transported", _TRANSPORT),
    _mistake(
        "c1-only",
        "the derivative by v is c1 g alone: that of c0 and c1 is missing",
        _ADJOINT,
    ),
    _mistake(
        "no-signature", "the derivative of <v, v> lacks the sign of the first product", _ADJOINT, _hyperbolic
    ),
    _mistake("riemannian", "gradients are Riemannian, they should be ambient partial derivatives", _ADJOINT),
)


def cases(large: bool) -> Iterator[Case]:
    """Three spaces at several curvatures, near, far, and up to the antipode.

    Parameters
    ----------
    large : bool
        More points and dimensions in addition.

    Yields
    ------
    Case
    """
    curvatures = {
        "hyperbolic": -1.0,
        "hyperbolic-quarter": -0.25,
        "hyperbolic-strong": -9.0,
        "hyperbolic-nearly-flat": -1e-4,
        "flat": 0.0,
        "spherical-nearly-flat": 1e-4,
        "spherical-quarter": 0.25,
        "spherical": 1.0,
        "spherical-strong": 9.0,
    }
    for name, curvature in curvatures.items():
        yield _case(f"random/{name}", "points and vectors of the order of the radius", curvature)
    for name in ("hyperbolic", "hyperbolic-quarter", "spherical", "spherical-quarter"):
        curvature = curvatures[name]
        yield _case(f"near/{name}", "vectors of 1e-6 R: nothing may cancel", curvature, length=1e-6)
    yield _case("far/hyperbolic", "3 R out, vectors of 4 R", -1.0, reach=3.0, length=4.0)
    yield _case("far/hyperbolic-quarter", "3 R out, vectors of 4 R", -0.25, reach=3.0, length=4.0)
    yield _case("far/spherical", "nearly to the antipode", 1.0, length=0.97 * np.pi)
    yield _case("one-dimension/hyperbolic", "d = 1", -0.25, dimension=1)
    yield _case("one-dimension/spherical", "d = 1", 1.0, dimension=1)
    for name in ("hyperbolic-quarter", "spherical"):
        yield _case(
            f"zero-upstream/{name}",
            "no gradient comes from above",
            curvatures[name],
            flags=("zero-upstream",),
        )
    if large:
        yield _case("wide/hyperbolic", "many dimensions", -0.5, dimension=30, rows=40)


def _case(
    name: str,
    purpose: str,
    curvature: float,
    dimension: int = 3,
    rows: int = 4,
    reach: float = 1.0,
    length: float = 1.0,
    flags: tuple[str, ...] = (),
) -> Case:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    manifold = Manifold((Factor(curvature, dimension),))
    radius = 1.0 if curvature == 0 else 1 / np.sqrt(abs(curvature))
    width = manifold.width

    def tangents(z: np.ndarray, size: float) -> np.ndarray:
        drawn = project_vectors(manifold, z, rng.standard_normal(z.shape))
        return size * radius * drawn / norm(manifold, z, drawn)[:, None]

    origin = np.broadcast_to(manifold.origin(), (rows, width)).copy()
    start = exponential(manifold, origin, tangents(origin, reach) * rng.uniform(0.3, 1, (rows, 1)))
    z = project_points(manifold, start)
    v = project_vectors(manifold, z, tangents(z, length) * rng.uniform(0.4, 1, (rows, 1)))
    x = project_points(manifold, exponential(manifold, z, project_vectors(manifold, z, tangents(z, length))))
    inputs: Leaves = {
        "points": z,
        "ends": x,
        "vectors": v,
        "carried": project_vectors(manifold, z, tangents(z, 1.0)),
        "adjoints": np.zeros_like(z) if "zero-upstream" in flags else rng.standard_normal(z.shape),
    }
    given = {"curvature": curvature, "dimension": dimension}
    return Case(name, purpose, flags or ("random",), Problem(given, inputs))


MANIFOLD_MAPS = Kind(
    name="manifold_maps",
    summary="Hyperboloid, sphere, flat space: exponential with its adjoint, logarithm, transport, distance.",
    inputs=INPUTS,
    leaves=LEAVES,
    solve=solve,
    truth=by_hand,
    oracle="60 decimal digits, textbook formulas, central differences",
    cases=cases,
    mistakes=MISTAKES,
    wrongly=by_hand,
)
