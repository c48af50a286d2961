"""5.1 f and 5.13: against 50 and more digits, from the shortest vectors to the injectivity radius and far out."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np

from refsnn.equations.stumpff import stumpff
from refsnn.models.manifold.differentials import exponential_adjoint, exponential_by_vector
from refsnn.models.manifold.geometry import distance, exponential, norm, project_points
from refsnn.models.manifold.heads import NodeClasses
from refsnn.models.manifold.maps import ExactMaps
from validation.claims.manifold_spiking_gnn import problems
from validation.claims.manifold_spiking_gnn.spaces import (
    DIGITS,
    EPS,
    INJECTIVE,
    Numbers,
    directions,
    exact_inner,
    exact_point,
    exact_stumpff,
    exact_vector,
    exactly,
    relative,
    some_points,
    space,
    unit,
)
from validation.ledger import Measured, claim, require

KAPPAS = -1.0, -0.25, -1e-4, 1e-4, 0.5, 1.0
# |v| / R; the last of the sphere is INJECTIVE pi
SHORT = 1e-12, 1e-9, 1e-6, 1e-4, 1e-3, 0.03, 0.3, 0.999, 1.001
LONG = {-1: (2.0, 4.0, 6.0), 1: (2.0, 3.0, INJECTIVE * np.pi)}
# how far out on the hyperboloid, in R
REACH = 3.0


def exact_exponential(kappa: float, z: Numbers, v: Numbers) -> tuple[Numbers, tuple[Any, ...]]:
    """c0 z + c1 v, and the four coefficients."""
    c = exact_stumpff(mpmath.mpf(kappa) * exact_inner(kappa, v, v))
    return [c[0] * a + c[1] * b for a, b in zip(z, v, strict=True)], c


def exact_by_vector(kappa: float, z: Numbers, v: Numbers, w: Numbers, c: tuple[Any, ...]) -> Numbers:
    """D_v phi [w]."""
    along = mpmath.mpf(kappa) * exact_inner(kappa, v, w)
    return [c[1] * d - along * (c[1] * a - (c[3] - c[2]) * b) for a, b, d in zip(z, v, w, strict=True)]


def exact_adjoint(kappa: float, z: Numbers, v: Numbers, g: Numbers, c: tuple[Any, ...]) -> Numbers:
    """vbar."""
    by_z, by_v = (mpmath.fsum(a * b for a, b in zip(x, g, strict=True)) for x in (z, v))
    share = mpmath.mpf(kappa) * (-c[1] * by_z + (c[3] - c[2]) * by_v)
    signs = [-1 if kappa < 0 and not index else 1 for index in range(len(z))]
    return [c[1] * a + share * sign * b for a, b, sign in zip(g, v, signs, strict=True)]


@claim(
    "manifold_spiking_gnn/5.1.f",
    r"$\mathrm{Exp}_z(v)$, $D_v\varphi\,w$ and the adjoint $\bar v$ agree with 50 digits from $|v|=10^{-12}R$ to $0.999\,\pi R$ on the sphere, and to $6R$ from points up to $3R$ out on the hyperboloid.",
    source="specification, 2.2, 4.1 and 5.1 f",
    metric=r"largest error of a vector over the largest entry of it and of the $w$ or $g$ that it is linear in, $\kappa$ of $-1$, $-1/4$, $\mp10^{-4}$, $1/2$, $1$; on the hyperboloid over $(z_0/R)^2$ of the start",
    relation="<=",
    bound=1e-14,
    control=r"$|v|$ as printed in C.1, $\sqrt{\langle z,z\rangle}$",
)
def digits(rng: np.random.Generator) -> Measured:
    worst: dict[str, float] = {}
    wrong = []
    with mpmath.workdps(DIGITS):
        for kappa in KAPPAS:
            manifold, sign = space(kappa), int(np.sign(kappa))
            lengths = np.array(SHORT + LONG[sign])
            z = some_points(rng, manifold, len(lengths), REACH)
            v = lengths[:, None] * directions(rng, manifold, z)
            w, g = directions(rng, manifold, z), rng.standard_normal(z.shape)
            found = (
                exponential(manifold, z, v),
                exponential_by_vector(manifold, z, v, w),
                exponential_adjoint(manifold, z, v, g)[1],
            )
            for row in range(len(lengths)):
                point = exact_point(kappa, z[row])
                vector, along = (exact_vector(kappa, point, x[row]) for x in (v, w))
                end, c = exact_exponential(kappa, point, vector)
                truth = (
                    end,
                    exact_by_vector(kappa, point, vector, along, c),
                    exact_adjoint(kappa, point, vector, exactly(g[row]), c),
                )
                scale = (z[row, 0] / unit(manifold)) ** 2 if kappa < 0 else 1.0
                given = (end, along, exactly(g[row]))
                for name, mine, expected, taken in zip(
                    ("Exp", "D_v", "adjoint"), found, truth, given, strict=True
                ):
                    error = relative(mine[row], expected, taken) / scale
                    key = f"{name}, {'hyperboloid' if kappa < 0 else 'sphere'}"
                    worst[key] = max(worst.get(key, 0.0), error)
                printed = exact_stumpff(mpmath.mpf(kappa) * exact_inner(kappa, point, point))
                other = [printed[0] * a + printed[1] * b for a, b in zip(point, vector, strict=True)]
                wrong.append(relative(np.array(other, float), end))
    return Measured(max(worst.values()), min(wrong), worst)


@claim(
    "manifold_spiking_gnn/5.1.f.stumpff",
    r"$c_0,\dots,c_3$, and $c_3-c_2$ of the adjoint, keep all digits for $|q|$ from $10^{-16}$ to $400$.",
    source="specification, 2.2",
    metric=r"largest error over the largest value that a function takes beyond $|q|$, on the hyperbolic side over its own value",
    relation="<=",
    bound=5e-15,
    control=r"the difference $\cosh(s)/s^2-\sinh(s)/s^3$ as the published code computes it",
)
def coefficients(rng: np.random.Generator) -> Measured:
    worst, wrong = 0.0, 0.0
    with mpmath.workdps(DIGITS):
        for size in 10 ** rng.uniform(-16, np.log10(400), 300):
            for q in (size, -size):
                found, truth = stumpff(q, 1.0), exact_stumpff(mpmath.mpf(float(q)))
                s = np.sqrt(size)
                # sines vanish and come back: what they swing between
                swings = (1, 1 / max(1, s), 1 / max(2, size / 2), 0) if q > 0 else (0, 0, 0, 0)
                for mine, value, swing in zip(found, truth, swings, strict=True):
                    worst = max(worst, float(abs(mpmath.mpf(float(mine)) - value) / max(abs(value), swing)))
                difference = truth[3] - truth[2]
                swing = 1 / max(3, size) if q > 0 else 0
                mine = found[3] - found[2]
                error = abs(mpmath.mpf(float(mine)) - difference) / max(abs(difference), swing)
                worst = max(worst, float(error))
                if q < 0 and 1e-8 < size < 1e-6:
                    official = np.cosh(s) / size - np.sinh(s) / (size * s)
                    wrong = max(wrong, float(abs(official - difference) / abs(difference)))
    return Measured(worst, wrong)


FAR, LAYERS = 50.0, 8


def exact_step(kappa: float, z: Numbers, w: Numbers) -> Numbers:
    """The transport step, v first and its length from it."""
    radius = 1 / mpmath.sqrt(abs(mpmath.mpf(kappa)))
    origin = [radius if kappa < 0 else -radius] + [mpmath.mpf(0)] * (len(z) - 1)
    share = (
        mpmath.mpf(kappa) * exact_inner(kappa, z, w) / (1 + mpmath.mpf(kappa) * exact_inner(kappa, origin, z))
    )
    v = [a - share * (b + c) for a, b, c in zip(w, origin, z, strict=True)]
    return exact_exponential(kappa, z, v)[0]


def naive_step(kappa: float, z: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The transport step in floating point with <v, v> computed from v, cut at 0 and at 100^2."""
    manifold = space(kappa)
    signs, origin = manifold.signature(), manifold.origin()
    v = w - kappa * (signs * z * w).sum() / (1 + kappa * (signs * z * origin).sum()) * (origin + z)
    s = min(np.sqrt(-kappa * max((signs * v * v).sum(), 0.0)), 100.0)
    return np.cosh(s) * z + (np.sinh(s) / s if s > 0 else 1.0) * v


@claim(
    "manifold_spiking_gnn/5.13.far",
    r"Eight transport steps with the exact norm, $q=\kappa|w|^2$, keep all digits out to a radius of $50R$.",
    source="specification, 2.6 and 5.13",
    metric=r"largest error of an entry of $z$ over the largest, $\kappa=-1$ and $-1/4$, both against 120 digits",
    relation="<=",
    bound=1e-14,
    control=r"$\langle v,v\rangle$ computed from $v$, cut at 0 and $10^4R^2$",
)
def far(rng: np.random.Generator) -> Measured:
    worst, wrong, reached = 0.0, np.inf, np.inf
    with mpmath.workdps(120):
        for kappa in (-1.0, -0.25):
            manifold = space(kappa)
            step = ExactMaps(manifold, "transport", backend="cpu").step
            for _ in range(4):
                w = rng.standard_normal((LAYERS, manifold.width)) * 0.3
                w[:, 1:] += rng.standard_normal(manifold.width - 1)  # mostly one way
                w[:, 0] = 0
                w *= FAR * unit(manifold) / np.linalg.norm(w, axis=1).sum()
                z, naive = manifold.origin()[None], manifold.origin()
                truth = exactly(z[0])
                for drive in w:
                    z = step(z, drive[None])
                    if np.abs(naive).max() < 1e60:  # else it is lost already
                        naive = naive_step(kappa, naive, drive)
                    truth = exact_step(kappa, truth, exactly(drive))
                    worst = max(worst, relative(z[0], truth))
                wrong = min(wrong, relative(naive, truth))
                reached = min(reached, float(mpmath.acosh(truth[0] / unit(manifold))))
    require(reached > 20, f"no point is far out: {reached}")
    return Measured(worst, wrong, {"smallest radius reached / R": reached})


@claim(
    "manifold_spiking_gnn/5.13.distance",
    r"Distances between points $20R$ out, from $10^{-3}R$ to $40R$ apart, keep their digits.",
    source="specification, 2.2 and 5.13",
    metric=r"largest relative error of a distance, against 120 digits",
    relation="<=",
    bound=1e-13,
    control=r"$2R\,\mathrm{asinh}(\sqrt{\langle x-y,x-y\rangle}/2R)$ with the chord as it is",
)
def far_distances(rng: np.random.Generator) -> Measured:
    worst, wrong = 0.0, np.inf
    with mpmath.workdps(120):
        for kappa in (-1.0, -0.25):
            manifold, radius = space(kappa), unit(space(kappa))
            z = some_points(rng, manifold, 20, 20.0)
            z = project_points(
                manifold, z * (radius * np.sinh(20) / np.linalg.norm(z[:, 1:], axis=1))[:, None]
            )
            near = project_points(manifold, z + 1e-3 * radius * rng.standard_normal(z.shape))
            nearer_in = project_points(manifold, np.exp(-rng.uniform(1e-3, 10, (20, 1))) * z)
            others = (near, nearer_in, np.roll(z, 1, axis=0), project_points(manifold, -z))
            for x in others:
                found, rough = distance(manifold, z, x), np.zeros(len(z))
                for row in range(len(z)):
                    a, b = exact_point(kappa, z[row]), exact_point(kappa, x[row])
                    truth = radius * mpmath.acosh(mpmath.mpf(kappa) * exact_inner(kappa, a, b))
                    worst = max(worst, part(found[row], truth))
                    chord = max((manifold.signature() * (z[row] - x[row]) ** 2).sum(), 0.0)
                    rough[row] = part(2 * radius * np.arcsinh(np.sqrt(chord) / (2 * radius)), truth)
                if x is near:
                    wrong = min(wrong, rough.max())
    return Measured(worst, wrong)


@claim(
    "manifold_spiking_gnn/5.13.length",
    r"Lengths of tangent vectors $15R$ out are as accurate as their coordinates are.",
    source="specification, 2.6 and 5.13",
    metric=r"largest relative error of $|v|$ as a multiple of $\epsilon\,z_0/R$, vectors along the ray, across it and between, against 120 digits",
    relation="<=",
    bound=8.0,
    control=r"$\sqrt{\mathrm{max}(0,\langle v,v\rangle)}$",
)
def far_lengths(rng: np.random.Generator) -> Measured:
    worst, wrong = 0.0, np.inf
    with mpmath.workdps(120):
        for kappa in (-1.0, -0.25):
            manifold, radius, count = space(kappa), unit(space(kappa)), 20
            rays, across = rng.standard_normal((2, count, manifold.width - 1))
            rays /= np.linalg.norm(rays, axis=1, keepdims=True)
            z = project_points(manifold, np.hstack([np.zeros((count, 1)), radius * np.sinh(15.0) * rays]))
            share = rng.uniform(0, np.pi / 2, (count, 1))
            share[:2] = [[0.0], [np.pi / 2]]
            space_like = np.cos(share) * np.cosh(15.0) * rays
            space_like += np.sin(share) * (across - (across * rays).sum(axis=1, keepdims=True) * rays)
            polar = (z[:, 1:] * space_like).sum(axis=1, keepdims=True) / z[:, :1]
            v = np.hstack([polar, space_like])
            rough = np.sqrt(np.maximum((manifold.signature() * v * v).sum(axis=1), 0))
            errors = []
            for row, found in enumerate(norm(manifold, z, v)):
                exact = exact_vector(kappa, exact_point(kappa, z[row]), v[row])
                truth = mpmath.sqrt(exact_inner(kappa, exact, exact))
                worst = max(worst, part(found, truth) / (EPS * np.cosh(15.0)))
                errors.append(part(rough[row], truth) / (EPS * np.cosh(15.0)))
            wrong = min(wrong, max(errors))
    return Measured(worst, wrong)


def part(found: float, truth: Any) -> float:
    """Relative error."""
    return float(abs(mpmath.mpf(float(found)) - truth) / truth)


# -- tiny steps of a network ----------------------------------------------------------------------------

TINY = 1e-9


def exact_loss(problem: problems.Problem, gathered: list[np.ndarray], weights: dict[str, Any]) -> Any:
    """Mean cross-entropy of the manifold head, neighbourhood sums as constants; one curved factor, transport."""
    network, head = problem.network, problem.head.check(problem.network, problem.inputs.nodes)
    assert isinstance(head, NodeClasses)
    kappa, width = network.manifold.factors[0].curvature, network.width
    radius, total = 1 / mpmath.sqrt(abs(mpmath.mpf(kappa))), mpmath.mpf(0)
    for node in head.nodes:
        z = exactly(network.manifold.origin())
        z[0] = radius if kappa < 0 else -radius
        for layer, sums in enumerate(gathered):
            rows, given = weights[f"layer.{layer}.weight"], exactly(sums[node])
            w = [mpmath.mpf(network.step_size) * mpmath.fdot(row, given) for row in rows]
            z = exact_step(kappa, z, [mpmath.mpf(0), *w[1:]])
        rho = mpmath.sqrt(mpmath.fsum(value**2 for value in z[1:]))
        angle = mpmath.asinh(rho / radius) if kappa < 0 else mpmath.atan(rho / -z[0])
        tangent = [mpmath.mpf(0)] + [radius * angle / rho * value for value in z[1:]]
        logits = [mpmath.fdot(row, tangent) for row in weights["readout.weight"]]
        total += mpmath.log(mpmath.fsum(map(mpmath.exp, logits))) - logits[int(head.labels[node])]
    assert len(z) == width
    return total / len(head.nodes)


def exact_gradient(problem: problems.Problem) -> dict[str, np.ndarray]:
    """By a complex step in many digits, rounded at the end."""
    run = problem.result().run
    features = problem.inputs.gathered.shape[1]
    gathered = [problem.inputs.gathered.times(np.eye(features), "plain"), *run.gathered]
    weights: dict[str, Any] = {
        name: [exactly(row) for row in value] for name, value in problem.parameters.items()
    }
    # small, and its share of a number still within the digits
    step, gradient = mpmath.mpf(10) ** -20, {}
    for name, value in problem.parameters.items():
        gradient[name] = np.zeros_like(value)
        for row, column in np.ndindex(value.shape):
            kept = weights[name][row][column]
            weights[name][row][column] = mpmath.mpc(kept, step)
            gradient[name][row, column] = float(mpmath.im(exact_loss(problem, gathered, weights)) / step)
            weights[name][row][column] = kept
    return gradient


@claim(
    "manifold_spiking_gnn/5.13.near",
    r"With steps of $10^{-9}$ the gradient of a whole network keeps all digits.",
    source="specification, 5.13",
    metric=r"largest error of a leaf over its largest entry, $\kappa=-1$ and $1$, a complex step in 60 digits as truth",
    relation="<=",
    bound=1e-13,
    control="the published maps, which clamp lengths",
)
def near(rng: np.random.Generator) -> Measured:
    worst, wrong = [], []
    for kappa in (-1.0, 1.0):
        problem = problems.draw(rng, space(kappa), layers=1, step_size=TINY)
        with mpmath.workdps(60):
            truth = exact_gradient(problem)
        clamped = problem.changed(compat="official", tangent="ambient").result().gradients
        for name, expected in truth.items():
            size = np.abs(expected).max()
            require(size > 1e-3 * TINY, f"no gradient of {name}")
            worst.append(float(np.abs(problem.result().gradients[name] - expected).max() / size))
            if name == "layer.0.weight":
                wrong.append(float(np.abs(clamped[name] - expected).max() / size))
    return Measured(max(worst), min(wrong))


@claim(
    "manifold_spiking_gnn/5.13.linear",
    r"The gradient of tiny steps is linear in $\varepsilon$ up to $O(\varepsilon)$, not up to rounding.",
    source="specification, 5.13",
    metric=r"largest $|dW(2\varepsilon)/2-dW(\varepsilon)|/(\varepsilon\,\mathrm{max}|dW|)$, each block, $\varepsilon=10^{-7}$ to $10^{-9}$, $\kappa=-1$ and $1$",
    relation="in",
    bound=(0.01, 1e3),
    control="the published maps, which clamp lengths",
)
def linear(rng: np.random.Generator) -> Measured:
    values, wrong = [], []
    for kappa in (-1.0, 1.0):
        problem = problems.draw(rng, space(kappa))
        for size in (1e-7, 1e-8, 1e-9):
            values += bends(problem, size).values()
        official = problem.changed(compat="official", tangent="ambient")
        wrong.append(max(max(bends(official, size).values()) for size in (1e-7, 1e-8, 1e-9)))
    return Measured(max(values), min(wrong), {"smallest": min(values)})


def bends(problem: problems.Problem, size: float) -> dict[str, float]:
    """How far the gradient of twice the step is from twice the gradient, in steps."""
    one, two = (problem.changed(step_size=step).result().gradients for step in (size, 2 * size))
    found = {}
    for name in (f"layer.{block}.weight" for block in range(problem.network.layers + 1)):
        largest = np.abs(one[name]).max()
        require(largest > 0, f"no gradient of {name}")
        found[name] = float(np.abs(two[name] / 2 - one[name]).max() / (size * largest))
    return found
