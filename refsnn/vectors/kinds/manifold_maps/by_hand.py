"""The maps in 60 decimal digits: textbook formulas, which cancel, and derivatives by central differences.

What is given is rounded: points are put on the manifold and vectors into the tangent space first.  With a
switch for each mistake that is often made.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, localcontext
from typing import Any

import numpy as np

from refsnn.vectors.case import Leaves, Problem

Row = list[Decimal]
DIGITS, STEP = 60, Decimal("1e-20")
_ONE, _ZERO = Decimal(1), Decimal(0)


def by_hand(problem: Problem) -> Leaves:
    """All leaves, with the mistakes that hyper-parameters ``mistake.*`` name.

    Parameters
    ----------
    problem : Problem
        Of a case, float64.

    Returns
    -------
    dict of str to ndarray
    """
    given = problem.hyperparameters
    made = {name.removeprefix("mistake.") for name in given if name.startswith("mistake.")}
    rows: dict[str, list[Any]] = {}
    with localcontext() as context:
        context.prec = DIGITS
        space = _Space(Decimal(given["curvature"]), made)
        names = ("points", "ends", "vectors", "carried", "adjoints")
        for given_row in zip(*(problem.inputs[name] for name in names), strict=True):
            z, x, v, w, g = ([Decimal(float(entry)) for entry in part] for part in given_row)
            z, x = space.point(z), space.point(x)
            v, w = space.tangent(z, v), space.tangent(z, w)
            found = {
                "exponential": space.exponential(z, v),
                "logarithm": space.logarithm(z, x),
                "transport": space.transport(z, x, w),
                "distance": space.distance(z, x),
                "norm": space.inner(v, v).sqrt() if space.inner(v, v) > 0 else _ZERO,
                "gradients/points": space.by_point(z, v, g),
                "gradients/vectors": space.by_vector(z, v, g),
            }
            for name, value in found.items():
                rows.setdefault(name, []).append(np.array(value, dtype=float))
    return {name: np.stack(values) for name, values in rows.items()}


class _Space:
    """One space of constant curvature."""

    def __init__(self, curvature: Decimal, made: set[str]) -> None:
        self.kappa, self.made = curvature, made
        self.radius = _ONE if curvature == 0 else 1 / abs(curvature).sqrt()

    def true_inner(self, a: Sequence[Decimal], b: Sequence[Decimal]) -> Decimal:
        """<a, b>."""
        total = sum((p * q for p, q in zip(a, b, strict=True)), _ZERO)
        return total - 2 * a[0] * b[0] if self.kappa < 0 else total

    def inner(self, a: Sequence[Decimal], b: Sequence[Decimal]) -> Decimal:
        """The same, or with the mistake."""
        if "plain-product" in self.made:
            return sum((p * q for p, q in zip(a, b, strict=True)), _ZERO)
        return self.true_inner(a, b)

    def point(self, z: Row) -> Row:
        """On the manifold."""
        if self.kappa < 0:
            return [(self.radius**2 + sum((y * y for y in z[1:]), _ZERO)).sqrt(), *z[1:]]
        if self.kappa > 0:
            length = sum((y * y for y in z), _ZERO).sqrt()
            return [self.radius * y / length for y in z]
        return z

    def tangent(self, z: Row, v: Row) -> Row:
        """The tangent part at z."""
        along = self.kappa * self.true_inner(z, v)
        return [b - along * a for a, b in zip(z, v, strict=True)]

    def exponential(self, z: Row, v: Row, coefficients: Any = None) -> Row:
        """c0 z + c1 v in ambient coordinates."""
        if "retraction" in self.made:
            moved = [a + b for a, b in zip(z, v, strict=True)]
            square = self.kappa * self.inner(moved, moved)
            return [a / square.sqrt() for a in moved] if square > 0 else moved
        c0, c1 = coefficients or self.coefficients(v)
        return [c0 * a + c1 * b for a, b in zip(z, v, strict=True)]

    def coefficients(self, v: Row, signed: bool = True) -> tuple[Decimal, Decimal]:
        """c0(q) = sum (-q)^n / (2n)!, c1(q) = sum (-q)^n / (2n + 1)!: cosines and sines of either sign."""
        square = self.inner(v, v) if signed else sum((a * a for a in v), _ZERO)
        kappa = self.kappa
        if "unit-radius" in self.made:
            kappa = kappa.copy_sign(_ONE) / abs(kappa)
        q = kappa * square
        if "other-sign" in self.made:
            q = -q
        even, odd, term, n = _ZERO, _ZERO, _ONE, 0
        while n < 30 or abs(term) > Decimal(10) ** (-DIGITS):
            even += term
            odd += term / (2 * n + 1)
            n += 1
            term *= -q / (2 * n * (2 * n - 1))
        return even, odd

    def distance(self, z: Row, x: Row) -> Decimal:
        """R arcosh(c), R arccos(c), |x - z|; c = kappa <z, x>."""
        apart = [b - a for a, b in zip(z, x, strict=True)]
        if self.kappa == 0 or "chord" in self.made:
            return abs(self.inner(apart, apart)).sqrt()
        c = self.kappa * self.inner(z, x)
        radius = _ONE if "angle" in self.made or "unit-radius" in self.made else self.radius
        if self.kappa < 0:
            return radius * (c + (c * c - 1).sqrt()).ln() if c > 1 else _ZERO
        return radius * 2 * _arctangent(((1 - c) / (1 + c)).sqrt())

    def logarithm(self, z: Row, x: Row) -> Row:
        """d u / |u|, u the part of x - z that is tangent at z."""
        u = [b - a for a, b in zip(z, x, strict=True)]
        if "unprojected" not in self.made:
            u = self.tangent(z, u)
        if "unscaled-logarithm" in self.made:
            return u
        square = abs(self.inner(u, u))
        scale = self.distance(z, x) / square.sqrt() if square else _ZERO
        return [scale * a for a in u]

    def transport(self, z: Row, x: Row, w: Row) -> Row:
        """w - <Log_z x, w> / d^2 (Log_z x + Log_x z)."""
        if "not-transported" in self.made or self.kappa == 0:
            return w
        if "projected" in self.made:
            return self.tangent(x, w)
        share = self.kappa * self.inner(x, w) / (1 + self.kappa * self.inner(z, x))
        if self.made or not self.distance(z, x):  # the form that everybody codes
            return [c - share * (a + b) for a, b, c in zip(z, x, w, strict=True)]
        there, back = self.logarithm(z, x), self.logarithm(x, z)
        share = self.inner(there, w) / self.distance(z, x) ** 2
        return [c - share * (a + b) for a, b, c in zip(there, back, w, strict=True)]

    def by_point(self, z: Row, v: Row, g: Row) -> Row:
        """d(g . Exp)/dz."""
        return self._riemannian(z, _differences(lambda moved: _dot(g, self.exponential(moved, v)), z))

    def by_vector(self, z: Row, v: Row, g: Row) -> Row:
        """d(g . Exp)/dv."""
        if "c1-only" in self.made:
            fixed = self.coefficients(v)
            return [fixed[1] * a for a in g]
        found = _differences(lambda moved: _dot(g, self.exponential(z, moved)), v)
        if "no-signature" in self.made and self.kappa < 0:
            # the term of dq/dv_0 has the other sign
            direct = self.coefficients(v)[1] * g[0]
            found[0] = 2 * direct - found[0]
        return self._riemannian(z, found)

    def _riemannian(self, z: Row, partial: Row) -> Row:
        if "riemannian" not in self.made:
            return partial
        raised = [-partial[0], *partial[1:]] if self.kappa < 0 else partial
        return self.tangent(z, raised)


def _dot(a: Row, b: Row) -> Decimal:
    return sum((p * q for p, q in zip(a, b, strict=True)), _ZERO)


def _differences(function: Any, point: Row) -> Row:
    """Central differences; 60 digits leave about 40 of them."""
    found = []
    for index in range(len(point)):
        ahead, behind = list(point), list(point)
        ahead[index] += STEP
        behind[index] -= STEP
        found.append((function(ahead) - function(behind)) / (2 * STEP))
    return found


def _arctangent(x: Decimal) -> Decimal:
    """By halving the angle until the series is short."""
    doubled = 0
    while abs(x) > Decimal("0.01"):
        x = x / (1 + (1 + x * x).sqrt())
        doubled += 1
    total, term, n = _ZERO, x, 0
    while abs(term) > Decimal(10) ** (-DIGITS - 5) * max(abs(x), Decimal("1e-30")):
        total += term / (2 * n + 1)
        term *= -x * x
        n += 1
    return total * 2**doubled
