"""5.7: a block is a geodesic Euler step of an equation on the manifold, and what that does not cover."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.integrate
import scipy.linalg

from refsnn.models.manifold.flow import flow
from refsnn.models.manifold.geometry import (
    distance,
    exponential,
    logarithm,
    project_points,
    project_vectors,
    transport,
)
from refsnn.models.manifold.manifold import Manifold
from validation.claims.manifold_spiking_gnn.spaces import (
    directions,
    draws,
    in_roundings,
    inner,
    some_points,
    space,
    stretch,
    unit,
)
from validation.ledger import Measured, VacuousError, claim, require

KAPPAS = -1.0, -0.3, 1.0, 2.0
COARSE, FINE = 160, 320
NUMBERS = r"$\kappa$ of $-1$, $-0.3$, $1$, $2$"

Field = Callable[[Any, float], Any]


@dataclass(frozen=True)
class Problem:
    """z' = f(z, t) from z at time 0, and where it is at time 1."""

    manifold: Manifold
    start: Any
    field: Field
    end: Any

    def error(self, steps: int, method: str = "euler", field: Field | None = None) -> float:
        """Geodesic distance of the last point to the truth."""
        path = flow(self.manifold, field or self.field, self.start, steps=steps, method=method)
        return float(distance(self.manifold, path[-1], self.end))

    @property
    def scale(self) -> float:
        """R."""
        return unit(self.manifold)

    @property
    def frozen(self) -> Field:
        """The field of the first point at time 0, brought to z; a control."""
        first = self.field(self.start, 0.0)
        return lambda z, t: transport(self.manifold, self.start, z, first)

    @property
    def weaker(self) -> Field:
        """A tenth too small; a control."""
        return lambda z, t: 0.9 * self.field(z, t)


def order(errors: tuple[float, float]) -> float:
    """How often the error halves when the step does."""
    require(min(errors) > 1e-9, f"errors of rounding: {errors}")
    return float(np.log2(errors[0] / errors[1]))


def linear(rng: np.random.Generator, kappa: float) -> Problem:
    """z' = A z with A = J S, S skew, of spectral norm 1; z(1) = exp(A) z(0)."""
    manifold = space(kappa)
    skew = rng.standard_normal((manifold.width, manifold.width))
    matrix = manifold.signature()[:, None] * (skew - skew.T)
    matrix /= np.linalg.norm(matrix, 2)
    start = some_points(rng, manifold, 1, 1.0)[0]
    end = project_points(manifold, scipy.linalg.expm(matrix) @ start)
    return Problem(manifold, start, lambda z, t: project_vectors(manifold, z, z @ matrix.T), end)


def reference(manifold: Manifold, start: Any, field: Field, stop: float = 1.0) -> Any:
    """By an integrator of order 8 in the ambient coordinates."""
    found = scipy.integrate.solve_ivp(
        lambda t, z: field(project_points(manifold, z), t),
        (0, stop),
        start,
        method="DOP853",
        rtol=1e-13,
        atol=1e-13,
    )
    require(found.success, "the integrator gave up")
    return project_points(manifold, found.y[:, -1])


def ambient_projection(manifold: Manifold, z: Any, u: Any) -> Any:
    """u - kappa <z, u> z, also a little off the manifold, where an integrator's stages are."""
    kappa, signs = manifold.factors[0].curvature, manifold.signature()
    return u - kappa * (signs * z * u).sum() * z


def driven(rng: np.random.Generator, kappa: float) -> Problem:
    """z' = P_z(0.4 C z + cos(3t) b)."""
    manifold = space(kappa)
    matrix, constant = (0.5 * rng.standard_normal((manifold.width,) * 2), rng.standard_normal(manifold.width))
    start = some_points(rng, manifold, 1, 0.5)[0]

    def field(z: Any, t: float) -> Any:
        return ambient_projection(manifold, z, 0.4 * matrix @ z + np.cos(3 * t) * constant)

    return Problem(manifold, start, field, reference(manifold, start, field))


def calm(
    rng: np.random.Generator, make: Callable[[np.random.Generator, float], Problem], kappa: float
) -> Any:
    """Drawn again until the errors are in the range in which their leading term decides, and move at all."""
    for _ in range(200):
        try:
            problem = make(rng, kappa)
        except VacuousError:  # P_z of a vector may lead to infinity in no time
            continue
        moved = float(distance(problem.manifold, problem.start, problem.end)) / problem.scale
        if not 0.2 < moved < 2:
            continue
        errors = problem.error(COARSE // 4), problem.error(COARSE // 2)
        if errors[1] > 1e-4 * problem.scale and abs(order(errors) - 1) < 0.08:
            return problem
    raise VacuousError("no equation in 200 tries whose error halves with the step")


@claim(
    "manifold_spiking_gnn/5.7.i",
    r"$z\leftarrow\mathrm{Exp}_z(hAz)$ with $A=JS$, $S$ skew, converges to $z(1)=e^{A}z(0)$ with order 1.",
    source="Sun 2024, Theorem 5.2; specification, 5.7 (i)",
    metric=f"largest deviation from 1 of the slope between {COARSE} and {FINE} steps, geodesic error, {NUMBERS}",
    relation="<=",
    bound=0.05,
    control="the field frozen at the first point",
)
def closed_form(rng: np.random.Generator) -> Measured:
    return first_order(rng, linear, lambda problem: problem.frozen)


def first_order(rng: np.random.Generator, make: Any, wrong: Callable[[Problem], Field]) -> Measured:
    """Deviations of the slope from 1 over all curvatures, and those with another field."""
    values, controls, details = [], [], {}
    for kappa in KAPPAS:
        problem = calm(rng, make, kappa)
        slope = order((problem.error(COARSE), problem.error(FINE)))
        other = wrong(problem)
        control = order((problem.error(COARSE, field=other), problem.error(FINE, field=other)))
        values.append(abs(slope - 1))
        controls.append(abs(control - 1))
        details[f"slope, kappa = {kappa:g}"] = slope
    return Measured(max(values), min(controls), details)


@claim(
    "manifold_spiking_gnn/5.7.ii",
    r"$z'=P_z(0.4\,Cz+\cos(3t)\,b)$, sampled at the left end of each step, converges with order 1.",
    source="Sun 2024, Theorem 5.2; specification, 5.7 (ii)",
    metric=f"largest deviation from 1 of the slope between {COARSE} and {FINE} steps, geodesic error to DOP853, {NUMBERS}",
    relation="<=",
    bound=0.05,
    control="a field a tenth too small",
)
def integrator(rng: np.random.Generator) -> Measured:
    return first_order(rng, driven, lambda problem: problem.weaker)


@claim(
    "manifold_spiking_gnn/5.7.iii",
    r"The geodesic midpoint method, half a step, the vector carried back, a whole step, has order 2.",
    source="specification, 5.7 (iii)",
    metric="largest deviation from 2 of the slope between 80 and 160 steps, both equations, " + NUMBERS,
    relation="<=",
    bound=0.06,
    control="Euler steps",
)
def midpoint(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for make in (linear, driven):
        for kappa in KAPPAS:
            problem = calm_midpoint(rng, make, kappa)
            errors = problem.error(80, "midpoint"), problem.error(160, "midpoint")
            values.append(abs(order(errors) - 2))
            controls.append(abs(order((problem.error(80), problem.error(160))) - 2))
    return Measured(max(values), min(controls))


def calm_midpoint(rng: np.random.Generator, make: Any, kappa: float) -> Problem:
    """Drawn again until the midpoint's error is large enough, and nearly falls as its leading term."""
    for _ in range(200):
        problem = calm(rng, make, kappa)
        errors = problem.error(20, "midpoint"), problem.error(40, "midpoint")
        if errors[1] > 1e-5 * problem.scale and abs(order(errors) - 2) < 0.2:
            return problem
    raise VacuousError("no equation in 200 tries whose error quarters with half the step")


@claim(
    "manifold_spiking_gnn/5.7.iv",
    r"Steps of Euclidean Euler, each put back on the manifold, have order 1 as well: the order does not tell which method it is.",
    source="specification, 5.7 (iv)",
    metric=f"largest deviation from 1 of the slope between {COARSE} and {FINE} steps, geodesic error, {NUMBERS}",
    relation="<=",
    bound=0.05,
    control="the field frozen at the first point",
)
def put_back(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for kappa in KAPPAS:
        problem = calm_put_back(rng, kappa)
        for field, found in ((problem.field, values), (problem.frozen, controls)):
            errors = (put_back_error(problem, field, COARSE), put_back_error(problem, field, FINE))
            found.append(abs(order(errors) - 1))
    return Measured(max(values), min(controls))


def calm_put_back(rng: np.random.Generator, kappa: float) -> Problem:
    """Drawn again until this method's error falls with the step, too."""
    for _ in range(200):
        problem = calm(rng, linear, kappa)
        errors = put_back_error(problem, problem.field, 40), put_back_error(problem, problem.field, 80)
        if errors[1] > 1e-4 * problem.scale and abs(order(errors) - 1) < 0.08:
            return problem
    raise VacuousError("no equation in 200 tries whose error halves with the step")


def put_back_error(problem: Problem, field: Field, steps: int) -> float:
    """Geodesic error of project_points(z + h f)."""
    z = problem.start
    for step in range(steps):
        z = project_points(problem.manifold, z + field(z, step / steps) / steps)
    return float(distance(problem.manifold, z, problem.end))


@claim(
    "manifold_spiking_gnn/5.7.drift",
    r"Geodesic steps keep $\kappa\langle z,z\rangle=1$ up to rounding, which tells them from Euclidean ones.",
    source="specification, 5.7 (iv)",
    metric=rf"largest $|\kappa\langle z,z\rangle-1|$ on the way of {FINE} steps, as a multiple of $\epsilon\,(z_0/R)^2$ and of the number of steps, {NUMBERS}",
    relation="<=",
    bound=4.0,
    control="Euclidean Euler, not put back",
)
def drift(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for kappa in KAPPAS:
        problem = calm(rng, linear, kappa)
        path = flow(problem.manifold, problem.field, problem.start, steps=FINE)
        off = kappa * inner(problem.manifold, path, path) - 1
        values.append(in_roundings(off, FINE * stretch(problem.manifold, path)))
        z = problem.start.copy()
        for step in range(FINE):
            z = z + ambient_projection(problem.manifold, z, problem.field(path[step], 0.0)) / FINE
        controls.append(
            in_roundings(kappa * inner(problem.manifold, z, z) - 1, FINE * stretch(problem.manifold, z[None]))
        )
    return Measured(max(values), min(controls))


@claim(
    "manifold_spiking_gnn/5.7.chart",
    r"The first-order chart step (17) is an identity: $D_z\mathrm{Log}_z=I$ on the tangent space.",
    source="Sun 2024, Eq. (17); specification, 5.7",
    metric=r"largest error of an entry over the largest, as a multiple of $\epsilon\,(z_0/R)^2$, complex step of $\mathrm{Log}_z$ at $z$",
    relation="<=",
    bound=30.0,
    control=r"the same at another point, $D_x\mathrm{Log}_z$ with $x\ne z$, brought back by the geodesic",
)
def chart(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for draw in draws(rng, longest=1.0, least=0.5):
        manifold, z, w = draw.manifold, draw.z, draw.w
        moved = logarithm(manifold, z, z + 1e-30j * w).imag / 1e-30
        scale = stretch(manifold, z)[:, None] * np.abs(w).max(axis=1, keepdims=True)
        values.append(in_roundings(moved - w, scale))
        v = 0.5 * draw.radius * directions(rng, manifold, z) / draw.radius
        x = exponential(manifold, z, v)
        across = project_vectors(manifold, x, w)
        found = logarithm(manifold, z, x + 1e-30j * across).imag / 1e-30
        controls.append(in_roundings(found - w, scale))
    return Measured(max(values), min(controls))
