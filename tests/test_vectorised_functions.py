"""exp and tanh of compiled loops against exact values: everywhere, and at the edges."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext

import numba
import numpy as np
import pytest

from refsnn.equations import vectorised
from refsnn.equations.activations import hyperbolic_tangent
from refsnn.equations.elementary import exp

DTYPES = (np.float32, np.float64)
FUNCTIONS = {"exp": exp, "tanh": hyperbolic_tangent}


def compiled(function):
    """A loop that vectorises."""

    @numba.njit(error_model="numpy")
    def loop(numbers, results):
        for j in range(numbers.size):
            results[j] = function(numbers[j])

    return loop


LOOPS = {name: compiled(function) for name, function in FUNCTIONS.items()}


def of(name, numbers):
    results = np.empty_like(numbers)
    LOOPS[name](numbers, results)
    return results


def exact(name, number) -> Decimal:
    """To 60 digits."""
    with localcontext() as context:
        context.prec = 60
        x = Decimal(float(number))
        if name == "exp":
            return x.exp()
        if abs(x) < Decimal("1e-15"):
            return x - x**3 / 3  # the difference below would lose 60 digits
        grown = (2 * x).exp()
        return (grown - 1) / (grown + 1)


def ulps(name, number, result) -> float:
    """The error in units in the last place of the rounded exact value."""
    truth = exact(name, number)
    nearest = np.asarray(float(truth), dtype=result.dtype)
    with localcontext() as context:
        context.prec = 60
        return float(abs(Decimal(float(result)) - truth) / Decimal(float(np.spacing(np.abs(nearest)))))


def numbers(name, dtype):
    """The whole range, thickly where the formats end, where k changes, and around 0."""
    rng = np.random.default_rng(0)
    end = {np.float32: (104.0, 88.7), np.float64: (745.2, 709.7)}[dtype]
    wide = rng.uniform(-end[0], end[1], 2000) if name == "exp" else rng.uniform(-25, 25, 2000)
    changes = (rng.integers(-60, 60, 1000) + 0.5) * math.log(2) * (1 if name == "exp" else 0.5)
    small = np.exp(rng.uniform(math.log(np.finfo(dtype).smallest_subnormal), 0, 1000))
    near = rng.uniform(-1, 1, 2000)
    return np.concatenate([wide, changes, np.nextafter(changes, 0), small, -small, near]).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_error_is_bounded(name, dtype):
    places = numbers(name, dtype)
    results = of(name, places)
    errors = np.array([ulps(name, x, y) for x, y in zip(places, results, strict=True)])
    assert 0.4 < errors.max() < vectorised.ULPS
    # it was looked at where results are subnormal, and where they are just not infinite
    sizes = np.abs(results)
    assert (sizes < np.finfo(dtype).smallest_normal).sum() > 20
    assert sizes.max() > (np.finfo(dtype).max / 10 if name == "exp" else 0.9999)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_edges(dtype):
    huge, tiny = np.finfo(dtype).max, np.finfo(dtype).smallest_subnormal
    edges = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, huge, -huge, tiny, -tiny], dtype)
    np.testing.assert_array_equal(
        of("exp", edges), np.array([1, 1, np.inf, 0, np.nan, np.inf, 0, 1, 1], dtype)
    )
    results = of("tanh", edges)
    np.testing.assert_array_equal(results, np.array([0, 0, 1, -1, np.nan, 1, -1, tiny, -tiny], dtype))
    assert (np.signbit(results) == np.signbit(edges))[[0, 1, 7, 8]].all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_overflows_and_vanishes_where_it_should(dtype):
    top, bottom = {
        np.float32: (np.float32(88.72283), np.float32(-103.97208)),
        np.float64: (np.float64(709.782712893384), np.float64(-745.1332191019411)),
    }[dtype]
    steps = np.array([top, np.nextafter(top, dtype(np.inf)), bottom, bottom - abs(bottom) / 500], dtype)
    with np.errstate(over="ignore", under="ignore"):
        expected = np.exp(steps.astype(np.longdouble)).astype(dtype)
    results = of("exp", steps)
    assert np.isfinite(results[0])
    assert np.isinf(results[1])
    assert results[2] > 0
    np.testing.assert_array_equal(results[[1, 2, 3]], expected[[1, 2, 3]])


@pytest.mark.parametrize("dtype", DTYPES)
def test_tanh_is_odd_bounded_and_saturates(dtype):
    places = np.abs(numbers("tanh", dtype))
    results = of("tanh", places)
    np.testing.assert_array_equal(of("tanh", -places), -results)
    assert results.max() == 1
    assert (results[places > 20] == 1).all()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_loop_is_vectorised_and_calls_nothing(name):
    of(name, np.zeros(2, np.float32))
    (code,) = (text for key, text in LOOPS[name].inspect_llvm().items() if "float32" in str(key))
    lanes = "x float>"
    assert lanes in code
    for called in ("@expf", "@tanhf", "@exp(", "@tanh("):
        assert called not in code


@pytest.mark.parametrize("number", [0.3 - 0.2j, 1e-30j, -2 + 1j])
def test_complex_numbers_are_numpys(number):
    for name in FUNCTIONS:
        for dtype in (np.complex64, np.complex128):
            place = np.array([number], dtype)
            np.testing.assert_allclose(
                of(name, place), FUNCTIONS[name](place), rtol=4 * np.finfo(dtype).eps, atol=0
            )


@pytest.mark.parametrize(
    ("field", "value"), [("terms", 4), ("highest", 80.0), ("one_from", 12.0), ("significand", 22)]
)
def test_a_spoiled_format_is_seen(monkeypatch, field, value):
    """Fewer terms, ranges cut too early, a shift of the wrong size."""
    right = vectorised.FORMATS[numba.float32]
    monkeypatch.setitem(vectorised.FORMATS, numba.float32, right._replace(**{field: value}))
    make = {"highest": vectorised.exponential}.get(field, vectorised.hyperbolic_tangent)
    name = "exp" if field == "highest" else "tanh"
    loop = compiled(numba.extending.register_jitable(make(numba.float32)))
    places = numbers(name, np.float32)
    results = np.empty_like(places)
    loop(places, results)
    errors = np.array(
        [ulps(name, x, y) if np.isfinite(y) else np.inf for x, y in zip(places, results, strict=True)]
    )
    assert errors.max() > vectorised.ULPS
