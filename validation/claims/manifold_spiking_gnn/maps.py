"""5.1 a to e: exponential, logarithm, distance and transport belong together, on every curvature."""

from __future__ import annotations

import numpy as np
import scipy.linalg

from refsnn.models.manifold.differentials import (
    exponential_adjoint,
    exponential_by_point,
    exponential_by_vector,
)
from refsnn.models.manifold.geometry import (
    distance,
    exponential,
    logarithm,
    norm,
    project_points,
    project_vectors,
    riemannian_gradient,
    transport,
)
from refsnn.models.manifold.maps import ExactMaps
from validation.claims.manifold_spiking_gnn.spaces import (
    COUNT,
    Draw,
    directions,
    disk_distance,
    disk_exponential,
    draws,
    in_roundings,
    inner,
    some_points,
    space,
    stretch,
    to_disk,
)
from validation.ledger import Measured, claim, require

SPACES = r"$\kappa$ from $-2$ to $3$, points up to $2R$ from the origin, vectors up to $2R$, on the sphere to $0.999\,\pi R$"
IN_ROUNDINGS = r"as a multiple of $\epsilon\,R\,(z_0/R)^2$ on the hyperboloid, of $\epsilon R$ on the sphere"


def unstretched(draw: Draw, z: np.ndarray, x: np.ndarray) -> np.ndarray:
    """u = P_z(x - z) alone."""
    return project_vectors(draw.manifold, z, x - z)


@claim(
    "manifold_spiking_gnn/5.1.a.logarithm",
    r"The logarithm undoes the exponential, $\mathrm{Log}_z(\mathrm{Exp}_z v)=v$ in the form $d\,u/|u|$ with $u=P_z(x-z)$.",
    source="Sun 2024, Eqs. (39), (40), (47); specification, 2.2 and 5.1 a",
    metric=f"largest error of an entry {IN_ROUNDINGS}; {SPACES}, and $|v|=10^{{-5}}R$",
    relation="<=",
    bound=30.0,
    control="$u$ alone, which is not as long as the way",
)
def inverse(rng: np.random.Generator) -> Measured:
    worst, wrong = [], []
    for draw in draws(rng):
        for v in (draw.v, 1e-5 * draw.w):
            x = exponential(draw.manifold, draw.z, v)
            scale = draw.radius * stretch(draw.manifold, draw.z, x)[:, None]
            # near antipodes a rounding of x turns the direction by epsilon / (pi - |v| / R)
            if draw.kappa > 0:
                scale = scale / (1 - norm(draw.manifold, draw.z, v) / (np.pi * draw.radius))[:, None]
            worst.append(in_roundings(logarithm(draw.manifold, draw.z, x) - v, scale))
            if v is draw.v:
                wrong.append(in_roundings(unstretched(draw, draw.z, x) - v, scale))
    return Measured(max(worst), min(wrong))


@claim(
    "manifold_spiking_gnn/5.1.a.printed",
    r"The argument of the Lorentz logarithm's arcosh is $-\langle z,x\rangle_L/R^2\ge1$; printed is $\langle z,x\rangle_L$, at which arcosh is not defined.",
    source="Sun 2024, Eq. (40); specification, 2.3",
    metric="smallest argument of arcosh over random pairs of points",
    relation=">=",
    bound=1.0,
    control="the sign as it is printed",
)
def printed(rng: np.random.Generator) -> Measured:
    least, most = np.inf, -np.inf
    for kappa in (-2.0, -1.0, -0.25):
        manifold = space(kappa)
        z, x = some_points(rng, manifold), some_points(rng, manifold)
        argument = kappa * inner(manifold, z, x)
        least, most = min(least, argument.min()), max(most, -argument.min())
    return Measured(float(least), float(most))


@claim(
    "manifold_spiking_gnn/5.1.a.distance",
    r"A geodesic is as long as its velocity: $d(z,\mathrm{Exp}_z v)=|v|$.",
    source="specification, 2.2 and 5.1 a",
    metric=f"largest error {IN_ROUNDINGS}; {SPACES}, and $|v|=10^{{-5}}R$",
    relation="<=",
    bound=30.0,
    control=r"$R\,\mathrm{arcosh}\,\kappa\langle z,x\rangle$ and $R\arccos\kappa\langle z,x\rangle$ at the short vectors",
)
def length(rng: np.random.Generator) -> Measured:
    worst, wrong = [], []
    for draw in draws(rng):
        for v in (draw.v, 1e-5 * draw.w):
            x, long = exponential(draw.manifold, draw.z, v), norm(draw.manifold, draw.z, v)
            scale = draw.radius * stretch(draw.manifold, draw.z, x)
            worst.append(in_roundings(distance(draw.manifold, draw.z, x) - long, scale))
        a = draw.kappa * inner(draw.manifold, draw.z, x)
        angle = np.arccosh(np.maximum(a, 1)) if draw.kappa < 0 else np.arccos(np.clip(a, -1, 1))
        wrong.append(in_roundings(draw.radius * angle - long, scale))
    return Measured(max(worst), min(wrong))


@claim(
    "manifold_spiking_gnn/5.1.a.constraint",
    r"The exponential stays on the manifold: $\kappa\langle z',z'\rangle=1$.",
    source="specification, 2.2 and 5.1 a",
    metric=r"largest $|\kappa\langle z',z'\rangle-1|$ as a multiple of $\epsilon\,(z_0/R)^2$; " + SPACES,
    relation="<=",
    bound=30.0,
    control="a vector that was not projected into the tangent space",
)
def constraint(rng: np.random.Generator) -> Measured:
    worst, wrong = [], []
    for draw in draws(rng):
        x = exponential(draw.manifold, draw.z, draw.v)
        # on the way z_0 and c0 may both be large and cancel
        scale = stretch(draw.manifold, draw.z, x) * np.cosh(
            2 * norm(draw.manifold, draw.z, draw.v) / draw.radius
        )
        scale = scale if draw.kappa < 0 else np.ones(len(x))
        worst.append(in_roundings(draw.kappa * inner(draw.manifold, x, x) - 1, scale))
        u = draw.v + 0.3 * draw.z
        off = ExactMaps(draw.manifold, "ambient", backend="plain").step(draw.z, u)
        wrong.append(in_roundings(draw.kappa * inner(draw.manifold, off, off) - 1, scale))
    return Measured(max(worst), min(wrong))


@claim(
    "manifold_spiking_gnn/5.1.a.transport",
    r"Parallel transport keeps inner products, and carries the velocity of a geodesic along: $\mathrm{PT}(v)=\dot\gamma(1)=-\mathrm{Log}_{z'}(z)$.",
    source="specification, 2.2 and 5.1 a",
    metric=f"largest error of $\\langle\\mathrm{{PT}}w,\\mathrm{{PT}}w\\rangle$ and $\\langle\\mathrm{{PT}}v,\\mathrm{{PT}}w\\rangle$ over the lengths, and of the velocity, {IN_ROUNDINGS}; {SPACES}",
    relation="<=",
    bound=50.0,
    control="the vector projected at the end instead of transported",
)
def isometry(rng: np.random.Generator) -> Measured:
    worst, wrong = [], []
    for draw in draws(rng, longest=1.5):
        z, v, w, manifold = draw.z, draw.v, draw.w, draw.manifold
        if draw.kappa > 0:
            v = 0.5 * v
        x = exponential(manifold, z, v)
        scale = stretch(manifold, z, x) * (1 if draw.kappa > 0 else np.cosh(1.5) ** 2)
        moved_v, moved_w = transport(manifold, z, x, v), transport(manifold, z, x, w)
        lengths = draw.radius**2 * np.ones(len(z))
        v_length = draw.radius * norm(manifold, z, v)
        worst.append(
            in_roundings((inner(manifold, moved_w, moved_w) - inner(manifold, w, w)) / lengths, scale)
        )
        worst.append(
            in_roundings((inner(manifold, moved_v, moved_w) - inner(manifold, v, w)) / v_length, scale)
        )
        worst.append(in_roundings((moved_v + logarithm(manifold, x, z)) / draw.radius, scale[:, None]))
        projected = w - draw.kappa * inner(manifold, x, w)[:, None] * x
        wrong.append(
            in_roundings((inner(manifold, projected, projected) - inner(manifold, w, w)) / lengths, scale)
        )
    return Measured(max(worst), min(wrong))


@claim(
    "manifold_spiking_gnn/5.1.a.gauss",
    r"The Gauss lemma: $\langle D_v\varphi\,v,\;D_v\varphi\,w\rangle=\langle v,w\rangle$ for all tangent $w$.",
    source="specification, 4.1 and 5.1 a",
    metric=f"largest error over $R\\,|v|$, {IN_ROUNDINGS}; {SPACES}",
    relation="<=",
    bound=50.0,
    control=r"$D_z\psi=c_0 I$ in place of $D_v\varphi$",
)
def gauss(rng: np.random.Generator) -> Measured:
    worst, wrong = [], []
    for draw in draws(rng):
        at, manifold = (draw.manifold, draw.z, draw.v), draw.manifold
        truth = inner(manifold, draw.v, draw.w)
        size = draw.radius * norm(*at)
        require(float(np.abs(truth / size).max()) > 0.1, "vectors across each other say nothing")
        scale = stretch(manifold, draw.z, exponential(*at))
        if draw.kappa < 0:
            scale = scale * np.cosh(norm(*at) / draw.radius) ** 2
        for by, errors in ((exponential_by_vector, worst), (exponential_by_point, wrong)):
            found = inner(manifold, by(*at, draw.v), by(*at, draw.w))
            errors.append(in_roundings((found - truth) / size, scale))
    return Measured(max(worst), min(wrong))


@claim(
    "manifold_spiking_gnn/5.1.b",
    r"The adjoints by hand are those of the differentials: $g\cdot(D_v\varphi\,w)=\bar v\cdot w$ and $g\cdot(D_z\psi\,w)=\bar z\cdot w$ for any ambient $g$, $w$.",
    source="Sun 2024, Eqs. (41), (46), (49), (54); specification, 4.1 and 5.1 b",
    metric=r"largest difference over the sum of the sizes of all terms; " + SPACES,
    relation="<=",
    bound=1e-14,
    control=r"$\bar v=c_1 g$",
)
def adjoints(rng: np.random.Generator) -> Measured:
    worst, wrong = [], []
    for draw in draws(rng):
        at = (draw.manifold, draw.z, draw.v)
        g, w = rng.standard_normal(draw.z.shape), rng.standard_normal(draw.z.shape)
        by_point, by_vector = exponential_adjoint(*at, g)
        for by, bar in ((exponential_by_vector, by_vector), (exponential_by_point, by_point)):
            moved = by(*at, w)
            size = np.abs(g * moved).sum(axis=1) + np.abs(bar * w).sum(axis=1)
            worst.append(np.max(np.abs((g * moved).sum(axis=1) - (bar * w).sum(axis=1)) / size))
            if by is exponential_by_vector:
                lengths = norm(*at)[:, None] * np.sqrt(abs(draw.kappa))
                c1 = (np.sinh if draw.kappa < 0 else np.sin)(lengths) / lengths
                wrong.append(np.max(np.abs((g * moved).sum(axis=1) - (c1 * g * w).sum(axis=1)) / size))
    return Measured(float(max(worst)), float(min(wrong)))


def split(draw: Draw) -> tuple[np.ndarray, np.ndarray]:
    """The parts of w along v and across it."""
    along = (inner(draw.manifold, draw.v, draw.w) / inner(draw.manifold, draw.v, draw.v))[:, None] * draw.v
    return along, draw.w - along


@claim(
    "manifold_spiking_gnn/5.1.c",
    r"The ambient differentials are Jacobi fields: $D_v\varphi[w]=\mathrm{PT}(w_\parallel+c_1 w_\perp)$; with $v$ carried along, $D_z[w]=\mathrm{PT}(w_\parallel+c_0 w_\perp)$; and the metric adjoint is $(\parallel+c_1\perp)\,\mathrm{PT}^{-1}P_{z'}(Jg)$.",
    source="specification, 4.5 and 5.1 c",
    metric=r"largest error of an entry over the largest of it and of $w$, as a multiple of $\epsilon\,(z_0/R)^2$; "
    + SPACES,
    relation="<=",
    bound=100.0,
    control=r"$\mathrm{PT}(c_1 w)$",
)
def jacobi(rng: np.random.Generator) -> Measured:
    worst, wrong = [], []
    for draw in draws(rng, longest=1.5, least=0.3):
        draw = Draw(draw.manifold, draw.z, draw.v * (0.7 if draw.kappa > 0 else 1.0), draw.w)
        at, manifold, kappa = (draw.manifold, draw.z, draw.v), draw.manifold, draw.kappa
        x, lengths = exponential(*at), norm(*at)[:, None] * np.sqrt(abs(kappa))
        c0 = (np.cosh if kappa < 0 else np.cos)(lengths)
        c1 = (np.sinh if kappa < 0 else np.sin)(lengths) / lengths
        along, across = split(draw)
        scale = stretch(manifold, draw.z, x)[:, None]
        pairs = [
            (exponential_by_vector(*at, draw.w), transport(manifold, draw.z, x, along + c1 * across)),
            (  # v is carried along: its ambient derivative is -kappa <v, w> z
                exponential_by_point(*at, draw.w)
                - kappa * inner(manifold, draw.v, draw.w)[:, None] * exponential_by_vector(*at, draw.z),
                transport(manifold, draw.z, x, along + c0 * across),
            ),
        ]
        g = rng.standard_normal(draw.z.shape)
        pulled = riemannian_gradient(manifold, draw.z, exponential_adjoint(*at, g)[1])
        back = transport(manifold, x, draw.z, riemannian_gradient(manifold, x, g))
        share = (inner(manifold, draw.v, back) / inner(manifold, draw.v, draw.v))[:, None] * draw.v
        pairs.append((pulled, share + c1 * (back - share)))
        for found, expected in pairs:
            size = np.maximum(np.abs(expected), np.abs(draw.w)).max(axis=1, keepdims=True)
            worst.append(in_roundings((found - expected) / size, scale))
        found, unsplit = pairs[0][0], transport(manifold, draw.z, x, c1 * draw.w)
        wrong.append(in_roundings((found - unsplit) / np.abs(found).max(axis=1, keepdims=True), scale))
    return Measured(max(worst), min(wrong))


@claim(
    "manifold_spiking_gnn/5.1.d",
    r"Isometries pass through: $\mathrm{Exp}_{Qz}(Qv)=Q\,\mathrm{Exp}_z(v)$ with $Q=\exp(JS)$, $S$ skew.",
    source="specification, 5.1 d",
    metric=f"largest error of an entry {IN_ROUNDINGS}, $z_0$ the largest on the way; {SPACES}",
    relation="<=",
    bound=30.0,
    control="the transport step, which knows the origin",
)
def isometries(rng: np.random.Generator) -> Measured:
    worst, wrong = [], []
    for draw in draws(rng):
        skew = rng.standard_normal((draw.manifold.width,) * 2)
        skew = (skew - skew.T) / np.linalg.norm(skew - skew.T, 2)
        turn = scipy.linalg.expm(draw.manifold.signature()[:, None] * skew)
        turned_z = project_points(draw.manifold, draw.z @ turn.T)
        turned_v = draw.v @ turn.T
        x, turned_x = (
            exponential(draw.manifold, draw.z, draw.v),
            exponential(draw.manifold, turned_z, turned_v),
        )
        scale = draw.radius * stretch(draw.manifold, draw.z, turned_z, x, turned_x)[:, None]
        worst.append(in_roundings(turned_x - x @ turn.T, scale))
        step = ExactMaps(draw.manifold, "transport", backend="plain").step
        wrong.append(in_roundings(step(turned_z, turned_v) - step(draw.z, draw.v) @ turn.T, scale))
    return Measured(max(worst), min(wrong))


@claim(
    "manifold_spiking_gnn/5.1.e",
    r"The $\kappa$-stereographic model gives the same ends and distances, with the vector pushed through the projection by a complex step.",
    source="Sun 2024, appendix D.2; specification, 2.2 and 5.1 e",
    metric=f"largest error of an entry of the ends, and of the distances, {IN_ROUNDINGS}; {SPACES}, not at $|\\kappa|=1$",
    relation="<=",
    bound=30.0,
    control=r"(58) as printed, without $1/\sqrt{|\kappa|}$",
)
def stereographic(rng: np.random.Generator) -> Measured:
    worst, wrong = [], []
    for draw in draws(rng, longest=1.5):
        if abs(draw.kappa) == 1:
            continue
        # the antipode of the origin is at infinity there: take points on the origin's side, short vectors
        z, v = draw.z, draw.v
        if draw.kappa > 0:
            z = np.where(z[:, :1] > 0, -z, z)
            v = 0.4 * rng.uniform(0.1, 1.0, (COUNT, 1)) * directions(rng, draw.manifold, z)
        x = exponential(draw.manifold, z, v)
        pushed = to_disk(draw.kappa, z + 1e-30j * v).imag / 1e-30
        start, end = to_disk(draw.kappa, z), to_disk(draw.kappa, x)
        # an ambient error of epsilon z_0^2 is one of epsilon on the disk, and near its rim one of epsilon z_0
        scale = draw.radius * stretch(draw.manifold, z, x)
        worst.append(in_roundings(disk_exponential(draw.kappa, start, pushed) - end, scale[:, None]))
        apart = disk_distance(draw.kappa, start, end) - distance(draw.manifold, z, x)
        worst.append(in_roundings(apart, scale))
        unscaled = disk_exponential(draw.kappa, start, pushed, scaled=False)
        wrong.append(in_roundings(unscaled - end, scale[:, None]))
    return Measured(max(worst), min(wrong))
