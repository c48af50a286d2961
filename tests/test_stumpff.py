"""Stumpff functions: against their series in exact fractions, identities, slopes by complex step."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from refsnn.equations.stumpff import stumpff, stumpff_series, stumpff_slopes

EPS = float(np.finfo(float).eps)
EXPONENTS = st.floats(-16, np.log10(400))


def of_series(q: float, k: int) -> Fraction:
    """sum_j (-q)^j / (k + 2j)! until nothing is left, in fractions of 200 bits."""
    exact, scale = Fraction(q), 2**400
    term, total, j = Fraction(1), 0, 0
    for i in range(1, k + 1):
        term /= i
    while abs(term) > Fraction(1, 2**300):
        total += term
        term *= -exact / ((k + 2 * j + 1) * (k + 2 * j + 2))
        term = Fraction(int(term * scale), scale)
        j += 1
    return Fraction(total)


def swing(q: float, k: int) -> float:
    """What the function comes back to beyond q where it oscillates; 0 where it does not."""
    if q <= 0:
        return 0.0
    return (1.0, 1 / max(1, np.sqrt(q)), 1 / max(2.0, q / 2), 0.0)[k]


@given(exponent=EXPONENTS, sign=st.sampled_from([-1.0, 1.0]))
@example(exponent=0.0, sign=1.0)
@example(exponent=0.0, sign=-1.0)
@example(exponent=float(np.log10(np.pi**2)), sign=1.0)
def test_all_digits(exponent, sign):
    q = sign * 10**exponent
    for k, found in enumerate(stumpff(q, 1.0)):
        truth = of_series(q, k)
        size = max(abs(float(truth)), swing(q, k))
        assert abs(float(Fraction(float(found)) - truth)) <= 5e-15 * size, (k, q)


@given(exponent=EXPONENTS, sign=st.sampled_from([-1.0, 1.0]))
def test_difference_of_the_adjoint_does_not_cancel(exponent, sign):
    """c3 - c2, which (c0 - c1) / q is for every q but 0."""
    q = sign * 10**exponent
    _, _, c2, c3 = stumpff(q, 1.0)
    truth = of_series(q, 3) - of_series(q, 2)
    size = max(abs(float(truth)), 1 / max(3.0, q))
    assert abs(float(Fraction(float(c3 - c2)) - truth)) <= 5e-15 * size
    if abs(q) < 1e-10:
        s = np.sqrt(abs(q))
        plain = (np.cosh(s) - np.sinh(s) / s) / -q if q < 0 else (np.cos(s) - np.sin(s) / s) / q
        assert abs(plain - float(truth)) > 1e-8  # the plain difference does


@given(exponent=st.floats(-3, 2), sign=st.sampled_from([-1.0, 1.0]))
def test_identity_and_slopes(exponent, sign):
    q = sign * 10**exponent
    c0, c1, c2, c3 = stumpff(q, 1.0)
    scale = max(1.0, c0 * c0)
    assert abs(c0 * c0 + q * c1 * c1 - 1) <= 40 * EPS * scale
    stepped = stumpff(np.complex128(q + 1e-30j), 1.0)
    by_step = [value.imag / 1e-30 for value in stepped]
    for found, truth in zip(stumpff_slopes(c1, c2, c3, 1.0), by_step, strict=False):
        assert abs(found - truth) <= 20 * EPS * max(abs(truth), abs(c0), abs(c1))
    assert [value.real for value in stepped] == pytest.approx([c0, c1, c2, c3], rel=1e-14, abs=1e-15)


@pytest.mark.parametrize("edge", [-1.0, 1.0])
def test_both_sides_of_the_border_meet(edge):
    inside, outside = stumpff(np.nextafter(edge, 0), 1.0), stumpff(edge, 1.0)
    assert inside == pytest.approx(outside, rel=4e-15)


def test_zero_and_float32():
    assert stumpff(0.0, 1.0) == (1.0, 1.0, 0.5, pytest.approx(1 / 6, rel=EPS))
    for q in (-3.0, -0.5, 0.5, 3.0):
        found = stumpff(np.float32(q), np.float32(1))
        assert {value.dtype for value in found} == {np.dtype(np.float32)}
        assert found == pytest.approx(stumpff(q, 1.0), rel=1e-6)
    assert all(value.dtype == np.float32 for value in stumpff_series(np.float32(0.5), np.float32(1)))
