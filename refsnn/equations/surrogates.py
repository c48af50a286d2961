"""Surrogates: what stands for the derivative of a spike with respect to the potential.

Each shape comes as a pair.  `NAME_spike` is a smooth spike function of the distance u = potential -
threshold; `NAME_surrogate` under it is its derivative psi(u), the function the field calls surrogate
gradient.  All share the signature (distance, slope, height, one): `height` is psi(0), `slope` (per unit of
potential) sets the width.  A framework's default is a shape with two numbers (`PRESETS`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import pi, sqrt

from numba.extending import register_jitable

from refsnn import checks
from refsnn.equations.elementary import Value, arctan, exp, magnitude, real_part


@register_jitable
def sigmoid_spike(distance: Value, slope: Value, height: Value, one: Value) -> Value:
    """A sigmoid of the distance, scaled to the slope `height` at the threshold.

    Examples
    --------
    >>> float(sigmoid_spike(0.0, 4.0, 1.0, 1.0))
    0.5
    """
    two = one + one
    q = exp(-slope * magnitude(distance))  # |exponent| <= 0: never overflows
    above = real_part(distance) >= one - one
    p = (above * one + (one - above * one) * q) / (one + q)
    return p * two * two * height / slope


@register_jitable
def sigmoid_surrogate(distance: Value, slope: Value, height: Value, one: Value) -> Value:
    """psi(u) = 4 height q / (1 + q)^2 with q = exp(-slope |u|) (Yu 2024: slope 4, height 1).

    Examples
    --------
    >>> float(sigmoid_surrogate(0.0, 4.0, 1.0, 1.0))
    1.0
    """
    q = exp(-slope * magnitude(distance))
    share = (one + one) / (one + q)
    return height * q * share * share


@register_jitable
def arctan_spike(distance: Value, slope: Value, height: Value, one: Value) -> Value:
    """An inverse tangent of the distance.

    Examples
    --------
    >>> float(arctan_spike(0.0, 2.0, 1.0, 1.0))
    0.0
    """
    return height / slope * arctan(slope * distance)


@register_jitable
def arctan_surrogate(distance: Value, slope: Value, height: Value, one: Value) -> Value:
    """psi(u) = height / (1 + (slope u)^2).

    Examples
    --------
    >>> float(arctan_surrogate(1.0, 1.0, 1.0, 1.0))
    0.5
    """
    scaled = slope * distance
    return height / (one + scaled * scaled)


@register_jitable
def fast_sigmoid_spike(distance: Value, slope: Value, height: Value, one: Value) -> Value:
    """height u / (1 + slope |u|).

    Examples
    --------
    >>> float(fast_sigmoid_spike(1.0, 1.0, 1.0, 1.0))
    0.5
    """
    return height * distance / (one + slope * magnitude(distance))


@register_jitable
def fast_sigmoid_surrogate(distance: Value, slope: Value, height: Value, one: Value) -> Value:
    """psi(u) = height / (1 + slope |u|)^2.

    Examples
    --------
    >>> float(fast_sigmoid_surrogate(1.0, 1.0, 1.0, 1.0))
    0.25
    """
    scaled = one + slope * magnitude(distance)
    return height / (scaled * scaled)


@register_jitable
def triangle_spike(distance: Value, slope: Value, height: Value, one: Value) -> Value:
    """The integral of the triangle from -1/slope, a piecewise parabola.

    Examples
    --------
    >>> float(triangle_spike(0.0, 1.0, 1.0, 1.0)), float(triangle_spike(9.0, 1.0, 1.0, 1.0))
    (0.5, 1.0)
    """
    two = one + one
    rest = one - slope * magnitude(distance)
    inside = (real_part(rest) > one - one) * one
    below = rest * rest / two * inside  # share of the area outside +-|u|, on one side
    above = (real_part(distance) >= one - one) * one
    return height / slope * (above * (one - below) + (one - above) * below)


@register_jitable
def triangle_surrogate(distance: Value, slope: Value, height: Value, one: Value) -> Value:
    """psi(u) = height max(0, 1 - slope |u|) (Bellec 2018).

    Examples
    --------
    >>> float(triangle_surrogate(0.5, 1.0, 0.5, 1.0))
    0.25
    """
    rest = one - slope * magnitude(distance)
    return height * rest * ((real_part(rest) > one - one) * one)


@register_jitable
def exponential_spike(distance: Value, slope: Value, height: Value, one: Value) -> Value:
    """The integral of a two-sided exponential, zero at the threshold.

    Examples
    --------
    >>> float(exponential_spike(0.0, 2.0, 2.0, 1.0))
    0.0
    """
    above = (real_part(distance) >= one - one) * one
    sign = above - (one - above)
    return sign * height / slope * (one - exp(-slope * magnitude(distance)))


@register_jitable
def exponential_surrogate(distance: Value, slope: Value, height: Value, one: Value) -> Value:
    """psi(u) = height exp(-slope |u|).

    Examples
    --------
    >>> float(exponential_surrogate(0.0, 2.0, 2.0, 1.0))
    2.0
    """
    return height * exp(-slope * magnitude(distance))


@register_jitable
def boxcar_spike(distance: Value, slope: Value, height: Value, one: Value) -> Value:
    """A ramp of slope `height` between -1/slope and 1/slope.

    Examples
    --------
    >>> float(boxcar_spike(9.0, 1.0, 0.5, 1.0))
    0.5
    """
    inside = (real_part(slope * magnitude(distance)) <= one) * one
    above = (real_part(distance) >= one - one) * one
    sign = above - (one - above)
    return height * (inside * distance + (one - inside) * sign / slope)


@register_jitable
def boxcar_surrogate(distance: Value, slope: Value, height: Value, one: Value) -> Value:
    """psi(u) = height where |u| <= 1/slope, else 0.

    Examples
    --------
    >>> float(boxcar_surrogate(0.9, 1.0, 0.5, 1.0))
    0.5
    """
    return height * ((real_part(slope * magnitude(distance)) <= one) * one)


@register_jitable
def half_line_spike(distance: Value, slope: Value, height: Value, one: Value) -> Value:
    """A ramp that starts at -1/slope and does not saturate.

    Examples
    --------
    >>> float(half_line_spike(0.5, 2.0, 1.0, 1.0))
    1.0
    """
    risen = distance + one / slope
    return height * risen * ((real_part(risen) >= one - one) * one)


@register_jitable
def half_line_surrogate(distance: Value, slope: Value, height: Value, one: Value) -> Value:
    """psi(u) = height where u >= -1/slope, else 0.

    Examples
    --------
    >>> float(half_line_surrogate(-0.6, 2.0, 1.0, 1.0))
    0.0
    """
    return height * ((real_part(distance + one / slope) >= one - one) * one)


@register_jitable
def gaussian_surrogate(distance: Value, slope: Value, height: Value, one: Value) -> Value:
    """psi(u) = height exp(-(slope u)^2); its integral, the error function, is not needed in any loop.

    Examples
    --------
    >>> float(gaussian_surrogate(0.0, 2.0, 1.0, 1.0))
    1.0
    """
    scaled = slope * distance
    return height * exp(-scaled * scaled)


@register_jitable
def constant_spike(distance: Value, slope: Value, height: Value, one: Value) -> Value:
    """height u: a linear neuron.

    Examples
    --------
    >>> constant_spike(2.0, 1.0, 0.5, 1.0)
    1.0
    """
    return height * distance


@register_jitable
def constant_surrogate(distance: Value, slope: Value, height: Value, one: Value) -> Value:
    """psi(u) = height everywhere: the case in which closed forms exist.

    Examples
    --------
    >>> constant_surrogate(2.0, 1.0, 0.5, 1.0)
    0.5
    """
    return height * one + (distance - distance)


SURROGATES: dict[str, Callable[[Value, Value, Value, Value], Value]] = {
    "sigmoid": sigmoid_surrogate,
    "arctan": arctan_surrogate,
    "fast_sigmoid": fast_sigmoid_surrogate,
    "triangle": triangle_surrogate,
    "exponential": exponential_surrogate,
    "gaussian": gaussian_surrogate,
    "boxcar": boxcar_surrogate,
    "half_line": half_line_surrogate,
    "constant": constant_surrogate,
}

SMOOTH_SPIKES: dict[str, Callable[[Value, Value, Value, Value], Value]] = {
    "sigmoid": sigmoid_spike,
    "arctan": arctan_spike,
    "fast_sigmoid": fast_sigmoid_spike,
    "triangle": triangle_spike,
    "exponential": exponential_spike,
    "boxcar": boxcar_spike,
    "half_line": half_line_spike,
    "constant": constant_spike,
}


@dataclass(frozen=True)
class Surrogate:
    """A surrogate's shape with its two numbers.

    Parameters
    ----------
    shape : str
        One of `SURROGATES`.
    slope : float
        Steepness per unit of potential, > 0.
    height : float
        psi(0), >= 0; with 0 no gradient goes through a spike: what is left is the derivative of the network
        at a fixed spike pattern.

    Raises
    ------
    ValueError
        For an unknown shape, a slope that is not positive, a negative height.

    Examples
    --------
    >>> Surrogate("sigmoid", slope=4.0, height=1.0)
    Surrogate(shape='sigmoid', slope=4.0, height=1.0)
    """

    shape: str = "sigmoid"
    slope: float = 4.0
    height: float = 1.0

    def __post_init__(self) -> None:
        checks.choice("shape", self.shape, SURROGATES)
        checks.number("slope", self.slope, 0, low_open=True)
        checks.number("height", self.height, 0)


# Defaults of the papers and of the frameworks, for a threshold of 1, by the version read.
PRESETS: dict[str, Surrogate] = {
    "yu2024": Surrogate("sigmoid", 4.0, 1.0),  # rate-based backpropagation, alpha = 4
    "bellec2018": Surrogate("triangle", 1.0, 0.3),  # LSNN, dampened
    "snntorch-1.0.0-atan": Surrogate("arctan", pi, 1.0),
    "snntorch-1.0.0-fast_sigmoid": Surrogate("fast_sigmoid", 25.0, 1.0),
    "snntorch-1.0.0-sigmoid": Surrogate("sigmoid", 25.0, 6.25),
    "spikingjelly-2.0.0-Sigmoid": Surrogate("sigmoid", 4.0, 1.0),
    "spikingjelly-2.0.0-ATan": Surrogate("arctan", pi, 1.0),
    "spikingjelly-2.0.0-PiecewiseExp": Surrogate("exponential", 1.0, 0.5),
    "spikingjelly-2.0.0-Erf": Surrogate("gaussian", 2.0, 2.0 / sqrt(pi)),
    "spikingjelly-2.0.0-SoftSign": Surrogate("fast_sigmoid", 2.0, 1.0),
    "norse-1.1.0": Surrogate("fast_sigmoid", 1.0, 1.0),
    "sinabs-3.1.3-SingleExponential": Surrogate("exponential", 2.0, 2.0),
    "sinabs-3.1.3-Gaussian": Surrogate("gaussian", sqrt(2.0), sqrt(2.0 / pi)),
    "rockpool-3.1.0": Surrogate("half_line", 2.0, 1.0),
    "brainpy-2.8.2": Surrogate("triangle", 1.0, 0.3),
    "spyx-1.0.0-superspike": Surrogate("fast_sigmoid", 25.0, 1.0),
    "spyx-1.0.0-arctan": Surrogate("arctan", 2.0 * pi, 1.0 / pi),
    "spyx-1.0.0-boxcar": Surrogate("boxcar", 1.0, 0.5),
    "ml_genn-eprop": Surrogate("triangle", 1.0, 0.3),
    "jaxsnn": Surrogate("fast_sigmoid", 80.0, 1.0),
}
