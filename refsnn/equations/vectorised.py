"""exp and tanh for compiled loops on a CPU, out of operations that vectorise.

Numba calls the C library for each number, an order of magnitude slower than NumPy.  Here both functions are
a polynomial and a power of two, with no call, no branch and no conversion between whole and real numbers, so
that LLVM computes as many at once as a register holds.

Range reduction.  With k = round(x / ln 2) and r = x - k ln 2, |r| <= (ln 2) / 2,

    exp(x) = 2^k (1 + expm1(r)),        expm1(r) = r + r^2 (1/2! + r/3! + r^2/4! + ...).

Adding 1.5 * 2^m, m the stored bits of the significand (52 or 23), to x / ln 2 leaves no room for a fraction:
the sum is rounded to a whole number, and its last bits are k.  Subtracting the constant gives k as a real
number; the exponent of k + (the bias of the format), shifted to its place, gives 2^k.  ln 2 is taken in two
parts, of which the first has so many zeros at its end that k times it is exact.

The series is cut where the next term of expm1(r) / r is below a quarter of a unit in the last place.

exp.  Factors 2^k beyond the range of the format are applied in two halves, so that results go over to
infinity, to subnormal numbers and to zero where they should.

tanh.  With e = expm1(-2 |x|) = 2^k expm1(r) + (2^k - 1),

    tanh |x| = -e / (2 + e),

where nothing cancels: near 0, k = 0 and e is expm1(r) itself, so the result is accurate relative to its
size; elsewhere both terms of e have one sign or the second is the larger by far.  The sign is copied from x.

Against exact values in the whole range the error is below `ULPS` units in the last place.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Context, Decimal
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic, register_jitable

# bound of the error, in units in the last place; measured 1.0 for exp and 2.5 for tanh
ULPS = 3


class Format(NamedTuple):
    """What the two functions need to know of a binary format.

    Attributes
    ----------
    number : type
        NumPy's.
    significand, exponent : int
        Stored bits.
    terms : int
        Of the series of expm1(r) / r, behind the 1.
    lowest, highest : float
        Where exp is 0 and infinite for certain.
    one_from : float
        2 |x| from which tanh x is 1.
    """

    number: Any
    significand: int
    exponent: int
    terms: int
    lowest: float
    highest: float
    one_from: float


FORMATS = {
    types.float32: Format(np.float32, 23, 8, 6, -104.0, 89.0, 20.0),
    types.float64: Format(np.float64, 52, 11, 12, -746.0, 710.0, 40.0),
}
_DIGITS = Context(prec=50)
_LN2 = Decimal(2).ln(_DIGITS)


@intrinsic
def _power_of_two(typingctx, shifted):  # type: ignore[no-untyped-def]
    """2^k of the number k + 1.5 * 2^m, whose last bits are k."""
    shape = FORMATS[shifted]
    whole = ir.IntType(1 + shape.exponent + shape.significand)
    bias = 2 ** (shape.exponent - 1) - 1

    def codegen(context, builder, signature, values):  # type: ignore[no-untyped-def]
        exponent = builder.add(builder.bitcast(values[0], whole), whole(bias))
        return builder.bitcast(builder.shl(exponent, whole(shape.significand)), values[0].type)

    return shifted(shifted), codegen


@intrinsic
def _multiply_add(typingctx, a, b, c):  # type: ignore[no-untyped-def]
    """a b + c, in one operation where the processor has it."""

    def codegen(context, builder, signature, values):  # type: ignore[no-untyped-def]
        real = values[0].type
        of_three = ir.FunctionType(real, [real] * 3)
        return builder.call(builder.module.declare_intrinsic("llvm.fmuladd", [real], of_three), values)

    return a(a, a, a), codegen


def _constants(shape: Format) -> tuple[Any, ...]:
    """1.5 * 2^m, 1 / ln 2, and ln 2 as a sum of two."""
    zeros_from = shape.significand + 1 - shape.exponent - 1
    high = Decimal(math.floor(_LN2 * 2**zeros_from)) / 2**zeros_from
    low, inverse = _LN2 - high, _DIGITS.divide(Decimal(1), _LN2)
    return tuple(shape.number(value) for value in (3 * 2 ** (shape.significand - 1), inverse, high, low))


def _expm1_on_half_a_step(shape: Format) -> Callable:
    """expm1(r) for |r| <= (ln 2) / 2, by Horner's scheme."""
    last, *others = (shape.number(Decimal(1) / math.factorial(n)) for n in range(shape.terms + 1, 1, -1))
    coefficients = tuple(others)

    @register_jitable
    def expm1(r):  # type: ignore[no-untyped-def]
        series = last
        for coefficient in coefficients:
            series = _multiply_add(series, r, coefficient)
        return _multiply_add(r * r, series, r)

    return expm1


def exponential(number: Any) -> Callable:
    """exp for one of Numba's real types.

    Parameters
    ----------
    number : numba type
        float32 or float64.

    Returns
    -------
    callable
        Of one number, to be called in compiled code.
    """
    shape = FORMATS[number]
    shift, inverse, high, low = _constants(shape)
    expm1 = _expm1_on_half_a_step(shape)
    lowest, highest = shape.number(shape.lowest), shape.number(shape.highest)
    one, half = shape.number(1), shape.number(0.5)

    def exp(x):  # type: ignore[no-untyped-def]
        # comparisons that let what is not a number pass
        x = highest if x > highest else x
        x = lowest if x < lowest else x
        k = _multiply_add(x, inverse, shift) - shift
        first = _multiply_add(k, half, shift)
        second = (k - (first - shift)) + shift
        significand = one + expm1(_multiply_add(-k, low, _multiply_add(-k, high, x)))
        return significand * _power_of_two(first) * _power_of_two(second)

    return exp


def hyperbolic_tangent(number: Any) -> Callable:
    """tanh for one of Numba's real types.

    Parameters
    ----------
    number : numba type
        float32 or float64.

    Returns
    -------
    callable
        Of one number, to be called in compiled code.
    """
    shape = FORMATS[number]
    shift, inverse, high, low = _constants(shape)
    expm1 = _expm1_on_half_a_step(shape)
    one_from, one = shape.number(shape.one_from), shape.number(1)
    two = one + one

    # Numba compares the names of arguments with those of the function that is overloaded
    def tanh(z):  # type: ignore[no-untyped-def]
        size = two * abs(z)
        y = -(one_from if size > one_from else size)
        shifted = _multiply_add(y, inverse, shift)
        k = shifted - shift
        power = _power_of_two(shifted)
        r = _multiply_add(-k, low, _multiply_add(-k, high, y))
        e = _multiply_add(power, expm1(r), power - one)
        return math.copysign(-e / (two + e), z)

    return tanh
