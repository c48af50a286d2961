"""Surrogates: derivatives of their spikes, the same numbers compiled or not, the frameworks' defaults."""

from __future__ import annotations

import inspect
import math

import numba
import numpy as np
import pytest
from hypothesis import given, note
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import erf

from refsnn.equations import surrogates
from refsnn.equations.surrogates import PRESETS, SMOOTH_SPIKES, SURROGATES, Surrogate

# NumPy has its own vector exp (in float32 up to 2.5 units in the last place off) and arctan; compiled code
# has that of refsnn.equations.vectorised, within 1 unit, squared in some of these functions, and the C
# library's arctan.  Whatever does without them is the same to the last bit.
WITH_EXP_OR_ARCTAN = ("sigmoid", "exponential", "gaussian", "arctan")
ULPS = {np.float32: 4, np.float64: 4}


def error_function(distance, slope, height, one):
    """The integral of the Gaussian, which refsnn does not need."""
    return height * math.sqrt(math.pi) / (2 * slope) * erf(slope * distance)


SPIKES = SMOOTH_SPIKES | {"gaussian": error_function}


def test_every_surrogate_is_registered():
    written = {name for name, _ in inspect.getmembers(surrogates, inspect.isfunction)}
    assert {f"{shape}_surrogate" for shape in SURROGATES} == {n for n in written if n.endswith("_surrogate")}
    assert {f"{shape}_spike" for shape in SMOOTH_SPIKES} == {n for n in written if n.endswith("_spike")}
    assert set(SURROGATES) == set(SPIKES)


@pytest.mark.parametrize("shape", SURROGATES)
@given(seed=st.integers(0, 2**32 - 1), slope=st.floats(0.3, 5.0), height=st.floats(0.2, 2.0))
def test_surrogate_is_the_derivative_of_its_spike(shape, seed, slope, height):
    """By the complex step away from the kinks, and by the integral across them."""
    note(f"seed {seed}")
    points = np.random.default_rng(seed).uniform(-3, 3, 50) / slope
    kinks = np.array([-1 / slope, 0.0, 1 / slope])
    points = points[np.abs(points[:, None] - kinks).min(axis=1) > 1e-3]
    psi = SURROGATES[shape](points, slope, height, 1.0)
    derivative = SPIKES[shape](points + 1e-30j, slope, height, 1.0).imag / 1e-30
    assert np.abs(psi).max() > 0
    np.testing.assert_allclose(psi, derivative, rtol=1e-13, atol=1e-14)

    low, high = -3.7, 2.9
    area, _ = quad(
        lambda u: float(SURROGATES[shape](u, slope, height, 1.0)), low, high, points=kinks, limit=200
    )
    rise = SPIKES[shape](high, slope, height, 1.0) - SPIKES[shape](low, slope, height, 1.0)
    assert abs(area - rise) < 1e-7 * abs(rise)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "name", [f"{s}_surrogate" for s in SURROGATES] + [f"{s}_spike" for s in SMOOTH_SPIKES]
)
def test_compiled_is_numpy(name, dtype):
    """No promotion, and no other number than NumPy's."""
    function, shape = getattr(surrogates, name), name.rsplit("_", 1)[0]

    compiled = numba.njit(error_model="numpy")(lambda *arguments: function(*arguments))
    scalar = np.dtype(dtype).type
    distance = np.random.default_rng(5).normal(0, 1.5, 300).astype(dtype)
    distance[:5] = [0, -0.0, 0.5, -0.5, 40]
    arguments = scalar(2.0), scalar(0.7), scalar(1)
    found = np.array([compiled(u, *arguments) for u in distance], dtype)
    (signature,) = compiled.nopython_signatures
    assert signature.return_type == numba.from_dtype(np.dtype(dtype))
    expected = function(distance, *arguments)
    assert expected.dtype == dtype
    if shape not in WITH_EXP_OR_ARCTAN:
        np.testing.assert_array_equal(found, expected)
    elif name.endswith("_surrogate"):
        np.testing.assert_array_max_ulp(found, expected, maxulp=ULPS[dtype])
    else:  # near 0 the exponential spike cancels: 1 - exp(-|u|)
        allowed = ULPS[dtype] * np.finfo(dtype).eps * np.abs(expected).max()
        np.testing.assert_allclose(found, expected, rtol=0, atol=allowed)


@pytest.mark.parametrize("shape", SURROGATES)
def test_never_overflows(shape):
    distance = np.array([-1e4, -500, 500, 1e4], np.float32)
    psi = SURROGATES[shape](distance, np.float32(25), np.float32(6.25), np.float32(1))
    assert psi.dtype == np.float32
    assert (np.isfinite(psi) & (psi >= 0) & (psi <= 6.25)).all()


AT_THRESHOLD = {
    "yu2024": 1.0,
    "snntorch-1.0.0-atan": 1.0,
    "snntorch-1.0.0-fast_sigmoid": 1.0,
    "snntorch-1.0.0-sigmoid": 6.25,
    "spikingjelly-2.0.0-Sigmoid": 1.0,
    "spikingjelly-2.0.0-ATan": 1.0,
    "spikingjelly-2.0.0-PiecewiseExp": 0.5,
    "spikingjelly-2.0.0-Erf": 1.128,
    "spikingjelly-2.0.0-SoftSign": 1.0,
    "sinabs-3.1.3-Gaussian": 0.798,
    "spyx-1.0.0-arctan": 0.318,
    "spyx-1.0.0-boxcar": 0.5,
}

# psi(u) of the frameworks' documentation, at a threshold of 1
FORMULAS = {
    "yu2024": lambda u: 4 * math.exp(-4 * u) / (1 + math.exp(-4 * u)) ** 2,
    "bellec2018": lambda u: 0.3 * max(0.0, 1 - abs(u)),
    "snntorch-1.0.0-atan": lambda u: 1 / (1 + (math.pi * u) ** 2),
    "snntorch-1.0.0-fast_sigmoid": lambda u: 1 / (1 + 25 * abs(u)) ** 2,
    "snntorch-1.0.0-sigmoid": lambda u: 25 * math.exp(-25 * u) / (1 + math.exp(-25 * u)) ** 2,
    "spikingjelly-2.0.0-Sigmoid": lambda u: 4 * math.exp(-4 * u) / (1 + math.exp(-4 * u)) ** 2,
    "spikingjelly-2.0.0-ATan": lambda u: 1 / (1 + (math.pi / 2 * 2 * u) ** 2),
    "spikingjelly-2.0.0-PiecewiseExp": lambda u: 0.5 * math.exp(-abs(u)),
    "spikingjelly-2.0.0-Erf": lambda u: 2 / math.sqrt(math.pi) * math.exp(-4 * u**2),
    "spikingjelly-2.0.0-SoftSign": lambda u: 1 / (1 + 2 * abs(u)) ** 2,
    "norse-1.1.0": lambda u: 1 / (1 + abs(u)) ** 2,
    "sinabs-3.1.3-SingleExponential": lambda u: 2 * math.exp(-2 * abs(u)),
    "sinabs-3.1.3-Gaussian": lambda u: math.exp(-(u**2) / (2 * 0.5**2)) / (0.5 * math.sqrt(2 * math.pi)),
    "rockpool-3.1.0": lambda u: float(u >= -0.5),
    "brainpy-2.8.2": lambda u: 0.3 * max(0.0, 1 - abs(u)),
    "spyx-1.0.0-superspike": lambda u: 1 / (1 + 25 * abs(u)) ** 2,
    "spyx-1.0.0-arctan": lambda u: 1 / (math.pi * (1 + (2 * math.pi * u) ** 2)),
    "spyx-1.0.0-boxcar": lambda u: 0.5 * (abs(u) <= 1),
    "ml_genn-eprop": lambda u: 0.3 * max(0.0, 1 - abs(u)),
    "jaxsnn": lambda u: 1 / (1 + 80 * abs(u)) ** 2,
}


def preset(name: str, distance: float) -> float:
    surrogate = PRESETS[name]
    return float(SURROGATES[surrogate.shape](distance, surrogate.slope, surrogate.height, 1.0))


@pytest.mark.parametrize("name", AT_THRESHOLD)
def test_presets_at_the_threshold(name):
    assert round(preset(name, 0.0), 3) == AT_THRESHOLD[name]


def test_every_preset_has_its_formula():
    assert set(FORMULAS) == set(PRESETS)


@pytest.mark.parametrize("name", FORMULAS)
def test_presets_are_the_printed_formulas(name):
    for distance in (-0.7, -0.3, 0.02, 0.4, 1.3):
        assert preset(name, distance) == pytest.approx(FORMULAS[name](distance), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sigmoidal",), "shape: expected one of 'sigmoid'"),
        (("sigmoid", 0.0), "slope: expected a finite number in"),
        (("sigmoid", 4.0, -1.0), "height: expected a finite number in"),
        (("sigmoid", math.nan), "slope: expected a finite number in"),
    ],
)
def test_bad_surrogates_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Surrogate(*arguments)
