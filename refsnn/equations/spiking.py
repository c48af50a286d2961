"""One time step of a leaky integrate-and-fire neuron: charge, fire, reset, and their derivatives.

    h_t = leak v_{t-1} + I_t                     charge      (Yu 2024, Eq. 1)
    h_t = leak v_{t-1} + (1 - leak) v_reset + I_t            with a hard reset: it leaks towards v_reset
    s_t = H(h_t - threshold)                     fire
    v_t = h_t - threshold s_t                    soft reset
    v_t = (1 - s_t) h_t + s_t v_reset            hard reset

`charged` is h (before reset), `potential` is v (after reset, the state), `current` is I.  A leak of 1 is
the integrate-and-fire neuron.  With psi = ds/dh, and kappa = psi where the gradient flows through the
reset or 0 where it is detached, dv/dh is the `*_reset_slope`.

Functions that stand for each other (two resets, two charges) have one signature, also where one of them does
not use an argument: a kernel calls whichever the neuron's options choose.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable

from refsnn import checks
from refsnn.equations.elementary import Value, magnitude, real_part, rounded_product, smaller
from refsnn.equations.surrogates import SURROGATES, Surrogate


@register_jitable
def charge(potential: Value, current: Value, leak: Value, reset_value: Value, one: Value) -> Value:
    """h_t = leak v_{t-1} + I_t.

    Examples
    --------
    >>> charge(1.0, 0.25, 0.5, 0.0, 1.0)
    0.75
    """
    return rounded_product(leak, potential) + current


@register_jitable
def charge_towards_rest(
    potential: Value, current: Value, leak: Value, reset_value: Value, one: Value
) -> Value:
    """h_t = leak v_{t-1} + (1 - leak) v_reset + I_t: the hard-reset neuron leaks towards its reset value.

    Examples
    --------
    >>> charge_towards_rest(1.0, 0.25, 0.5, -1.0, 1.0)
    0.25
    """
    return rounded_product(leak, potential) + rounded_product(one - leak, reset_value) + current


@register_jitable
def fire_at_or_above(charged: Value, threshold: Value, one: Value) -> Value:
    """s_t = 1 where h_t >= threshold: H(0) = 1.

    Examples
    --------
    >>> fire_at_or_above(1.0, 1.0, 1.0)
    1.0
    """
    return (real_part(charged) >= threshold) * one


@register_jitable
def fire_above(charged: Value, threshold: Value, one: Value) -> Value:
    """s_t = 1 where h_t > threshold: H(0) = 0.

    Examples
    --------
    >>> fire_above(1.0, 1.0, 1.0)
    0.0
    """
    return (real_part(charged) > threshold) * one


@register_jitable
def soft_reset(charged: Value, spike: Value, threshold: Value, reset_value: Value, one: Value) -> Value:
    """v_t = h_t - threshold s_t.

    Examples
    --------
    >>> soft_reset(1.5, 1.0, 1.0, 0.0, 1.0)
    0.5
    """
    return charged - threshold * spike


@register_jitable
def soft_reset_slope(
    charged: Value, spike: Value, spike_slope: Value, threshold: Value, reset_value: Value, one: Value
) -> Value:
    """dv/dh = 1 - threshold kappa.

    Examples
    --------
    >>> soft_reset_slope(1.5, 1.0, 0.25, 1.0, 0.0, 1.0)
    0.75
    """
    return one - threshold * spike_slope


@register_jitable
def hard_reset(charged: Value, spike: Value, threshold: Value, reset_value: Value, one: Value) -> Value:
    """v_t = (1 - s_t) h_t + s_t v_reset.

    Examples
    --------
    >>> hard_reset(1.5, 1.0, 1.0, -0.25, 1.0)
    -0.25
    """
    return (one - spike) * charged + spike * reset_value


@register_jitable
def hard_reset_slope(
    charged: Value, spike: Value, spike_slope: Value, threshold: Value, reset_value: Value, one: Value
) -> Value:
    """dv/dh = (1 - s) + (v_reset - h) kappa.

    Examples
    --------
    >>> hard_reset_slope(1.5, 1.0, 0.5, 1.0, 0.0, 1.0)
    -0.75
    """
    return (one - spike) + (reset_value - charged) * spike_slope


@register_jitable
def charged_adjoint(
    spike_adjoint: Value, potential_adjoint: Value, spike_slope: Value, reset_slope: Value
) -> Value:
    """dL/dh_t = dL/ds_t psi + dL/dv_t dv/dh: what the two uses of h_t send back (Yu 2024, Eq. 2).

    Since h_t contains I_t with factor one, this is dL/dI_t as well; dL/dv_{t-1} is `leak` times it.

    Examples
    --------
    >>> charged_adjoint(2.0, 1.0, 0.5, 0.25)
    1.25
    """
    return spike_adjoint * spike_slope + potential_adjoint * reset_slope


@register_jitable
def next_trace(drive: Value, trace: Value, factor: Value) -> Value:
    """rho_{t+1} = phi_{t+1} + f_t rho_t, f_t = dh_{t+1}/dh_t = leak dv/dh (Yu 2024, Eq. 8, phi = 1).

    Examples
    --------
    >>> next_trace(1.0, 2.0, 0.5)
    2.0
    """
    return drive + factor * trace


@register_jitable
def closest_approach(margin: Value, distance: Value) -> Value:
    """The smallest |h - threshold| so far: how far the nearest spike was from going the other way.

    Examples
    --------
    >>> float(closest_approach(0.5, -0.25))
    0.25
    """
    return smaller(margin, magnitude(distance))


class StepEquations(NamedTuple):
    """The functions that a neuron's options choose; what a kernel is compiled for."""

    charge: Callable[..., Value]
    fire: Callable[..., Value]
    reset: Callable[..., Value]
    reset_slope: Callable[..., Value]
    surrogate: Callable[..., Value]


class StepConstants(NamedTuple):
    """The numbers of a neuron in the working dtype; what a compiled kernel takes as scalars.

    `attached` is 1 where the gradient flows through the reset and 0 where it is detached.
    """

    leak: np.floating
    threshold: np.floating
    reset_value: np.floating
    attached: np.floating
    slope: np.floating
    height: np.floating
    one: np.floating


@dataclass(frozen=True)
class SpikingNeuron:
    """Hyper-parameters of a LIF or IF neuron.

    Parameters
    ----------
    leak : float
        Share of the potential that survives a step, in [0, 1]; 1 is the IF neuron.
    threshold : float
        Potential at which it fires, > 0; the unit of potentials and currents.
    reset : {"soft", "hard"}
        Subtract the threshold, or set to `reset_value`.
    reset_value : float
        Where a hard reset goes and the potential starts and leaks to; must be below the threshold,
        and 0 with a soft reset.
    detach_reset : bool
        Whether the gradient ignores that the reset depends on the spike.
    fires : {">=", ">"}
        Comparison of the charged potential with the threshold.
    surrogate : Surrogate
        Shape, slope and height of psi = ds/dh.

    Raises
    ------
    TypeError, ValueError
        For a value outside the ranges above.

    Examples
    --------
    >>> SpikingNeuron(leak=0.9, reset="hard").leak
    0.9
    """

    leak: float = 0.2
    threshold: float = 1.0
    reset: str = "soft"
    reset_value: float = 0.0
    detach_reset: bool = True
    fires: str = ">="
    surrogate: Surrogate = field(default_factory=Surrogate)

    def __post_init__(self) -> None:
        checks.number("leak", self.leak, 0, 1)
        checks.number("threshold", self.threshold, 0, low_open=True)
        checks.choice("reset", self.reset, ("soft", "hard"))
        checks.number("reset_value", self.reset_value, high=self.threshold, high_open=True)
        checks.choice("fires", self.fires, (">=", ">"))
        if not isinstance(self.detach_reset, bool):
            raise TypeError(f"detach_reset: expected True or False, got {self.detach_reset!r}")
        if not isinstance(self.surrogate, Surrogate):
            raise TypeError(
                f"surrogate: expected a Surrogate such as Surrogate('sigmoid', slope=4.0, height=1.0), "
                f"got {self.surrogate!r}"
            )
        if self.reset == "soft" and self.reset_value != 0:
            raise ValueError(
                f"reset_value: expected 0 with reset='soft', got {self.reset_value}; use reset='hard'"
            )

    @property
    def equations(self) -> StepEquations:
        """The equations that the options choose."""
        hard = self.reset == "hard"
        return StepEquations(
            charge=charge_towards_rest if hard else charge,
            fire=fire_at_or_above if self.fires == ">=" else fire_above,
            reset=hard_reset if hard else soft_reset,
            reset_slope=hard_reset_slope if hard else soft_reset_slope,
            surrogate=SURROGATES[self.surrogate.shape],
        )

    def constants(self, dtype: np.dtype | type) -> StepConstants:
        """The numbers in the working dtype.

        Parameters
        ----------
        dtype : dtype
            float32 or float64.

        Returns
        -------
        StepConstants
            NumPy scalars, so that nothing is promoted.

        Raises
        ------
        ValueError
            If threshold and reset value cannot be told apart, or from zero, in that dtype.
        """
        scalar = np.dtype(dtype).type
        threshold, reset_value = scalar(self.threshold), scalar(self.reset_value)
        if not 0 < threshold < np.inf or not reset_value < threshold:
            raise ValueError(
                f"threshold: expected 0 < threshold < inf and above reset_value also in {np.dtype(dtype)}, "
                f"got {threshold} and reset_value {reset_value}; choose another unit, or float64"
            )
        return StepConstants(
            leak=scalar(self.leak),
            threshold=threshold,
            reset_value=reset_value,
            attached=scalar(0 if self.detach_reset else 1),
            slope=scalar(self.surrogate.slope),
            height=scalar(self.surrogate.height),
            one=scalar(1),
        )
