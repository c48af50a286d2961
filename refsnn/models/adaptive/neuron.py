"""Hyper-parameters of adaptive spiking neurons, and the other units in which the field writes them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.equations.adaptive import fire_above_zero
from refsnn.equations.surrogates import SMOOTH_SPIKES, SURROGATES, Surrogate
from refsnn.kernels.adaptive import AdaptiveConstants, AdaptiveEquations

SCHEMES = {"official": (0, 0, 1), "paper": (1, 0, 1), "eprop": (0, 1, 0)}
DIVISORS = ("threshold", "baseline")
NEURON_PARAMETERS = ("leak", "adaptation_decay", "adaptation_strength", "baseline")
_LONGEST_REFRACTORY = 2**15 - 1


class SpikePairsWarning(UserWarning):
    """A neuron of scheme "official" without a refractory period fires pairs of spikes and is reset twice."""


def _each(name: str, value: Any, low: float, high: float | None, low_open: bool) -> float | tuple[float, ...]:
    """One number for all neurons, or one for each."""
    high_open = high is not None
    limit = np.inf if high is None else high
    if np.ndim(value) == 0:
        return checks.number(name, value, low, limit, low_open=low_open, high_open=high_open)
    array = checks.float_array(name, _as_floats(name, value), ("neurons",))
    for index, one in enumerate(array):
        checks.number(f"{name}[{index}]", float(one), low, limit, low_open=low_open, high_open=high_open)
    return tuple(float(one) for one in array)


@dataclass(frozen=True)
class AdaptiveNeuron:
    """Leaky integrate-and-fire neurons with an adaptive threshold (Bellec 2018); strength 0 is a LIF neuron.

    Parameters
    ----------
    leak : float or sequence of float, in (0, 1), optional
        alpha = exp(-time_step / tau_m), of all neurons or of each; tau_m = 20 ms by default.
    adaptation_decay : float or sequence of float, in (0, 1), optional
        rho = exp(-time_step / tau_a); tau_a = 700 ms by default.
    adaptation_strength : float or sequence of float, >= 0
        beta, in units of the threshold times ms: one spike raises the threshold by beta (1 - rho) / delta.
    baseline : float or sequence of float, > 0
        b^0, the threshold of a neuron that has been silent.
    refractory : int
        R: steps after a spike in which there is no other.
    time_step : float
        delta in ms; a spike is 1 / delta.
    scheme : {"official", "paper", "eprop"}
        What is reset and what is compared, see `refsnn.equations.adaptive`.
    divisor : {"threshold", "baseline"}
        N, by which the distance to the threshold is scaled.
    stop_reset, stop_recurrent : bool
        Whether no gradient goes through the spike of a reset, or through recurrent connections.
    surrogate : Surrogate
        psi(u); the paper's is a triangle of height gamma = 0.3.
    smooth : bool
        Spikes are the integral of psi instead of a step: for proofs, as no spike is one then.

    Raises
    ------
    TypeError, ValueError
        For values out of range.

    Warns
    -----
    SpikePairsWarning
        For scheme "official" with `refractory=0`.

    Examples
    --------
    >>> neuron = AdaptiveNeuron.of_time_constants(membrane=20.0, adaptation=700.0, adaptation_strength=1.8)
    >>> round(neuron.leak, 4), round(neuron.adaptation_decay, 4)
    (0.9512, 0.9986)
    """

    leak: float | tuple[float, ...] = None  # type: ignore[assignment]
    adaptation_decay: float | tuple[float, ...] = None  # type: ignore[assignment]
    adaptation_strength: float | tuple[float, ...] = 1.8
    baseline: float | tuple[float, ...] = 0.01
    refractory: int = 5
    time_step: float = 1.0
    scheme: str = "official"
    divisor: str = "threshold"
    stop_reset: bool = False
    stop_recurrent: bool = False
    surrogate: Surrogate = field(default_factory=lambda: Surrogate("triangle", 1.0, 0.3))
    smooth: bool = False

    def __post_init__(self) -> None:
        checks.number("time_step", self.time_step, 0, low_open=True)
        for name, usual in (("leak", 20.0), ("adaptation_decay", 700.0)):
            if getattr(self, name) is None:
                object.__setattr__(self, name, float(np.exp(-self.time_step / usual)))
            object.__setattr__(self, name, _each(name, getattr(self, name), 0, 1, True))
        strength = _each("adaptation_strength", self.adaptation_strength, 0, None, False)
        object.__setattr__(self, "adaptation_strength", strength)
        object.__setattr__(self, "baseline", _each("baseline", self.baseline, 0, None, True))
        object.__setattr__(self, "refractory", checks.count("refractory", self.refractory, 0))
        if self.refractory > _LONGEST_REFRACTORY:
            raise ValueError(
                f"refractory: expected at most {_LONGEST_REFRACTORY} steps, got {self.refractory}"
            )
        checks.choice("scheme", self.scheme, SCHEMES)
        checks.choice("divisor", self.divisor, DIVISORS)
        for name in ("stop_reset", "stop_recurrent", "smooth"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name}: expected True or False, got {getattr(self, name)!r}")
        checks.instance("surrogate", self.surrogate, Surrogate, "Surrogate('triangle', 1.0, 0.3)")
        if self.smooth:
            checks.choice("surrogate.shape, with smooth=True,", self.surrogate.shape, SMOOTH_SPIKES)
        if self.smooth and self.refractory:
            raise ValueError(
                f"refractory: expected 0 with smooth=True, got {self.refractory}; a smooth spike has no "
                "refractory period, give masks with the input instead"
            )
        if self.scheme == "official" and self.refractory == 0 and not self.smooth:
            warnings.warn(
                "refractory: scheme 'official' resets one step after a spike, so that with refractory=0 a "
                "neuron fires pairs of spikes; take refractory >= 1 or scheme='paper'",
                SpikePairsWarning,
                stacklevel=3,
            )

    @classmethod
    def of_time_constants(
        cls, membrane: Any = 20.0, adaptation: Any = 700.0, *, time_step: float = 1.0, **others: Any
    ) -> AdaptiveNeuron:
        """The same from time constants.

        Parameters
        ----------
        membrane, adaptation : float or sequence of float
            tau_m and tau_a in ms, at least one time step.
        time_step : float
            delta in ms.
        **others
            As in the class.

        Returns
        -------
        AdaptiveNeuron

        Raises
        ------
        TypeError, ValueError
            For time constants below a time step, and as in the class.
        """
        checks.number("time_step", time_step, 0, low_open=True)
        decays: Any = (
            _decay(name, tau, time_step) for name, tau in (("membrane", membrane), ("adaptation", adaptation))
        )
        leak, adaptation_decay = decays
        return cls(leak, adaptation_decay, time_step=time_step, **others)

    @property
    def equations(self) -> AdaptiveEquations:
        """What the options choose."""
        shape = self.surrogate.shape
        return AdaptiveEquations(SMOOTH_SPIKES[shape] if self.smooth else fire_above_zero, SURROGATES[shape])

    def constants(self, dtype: Any) -> AdaptiveConstants:
        """The numbers in the working dtype.

        Parameters
        ----------
        dtype : dtype
            float32 or float64.

        Returns
        -------
        AdaptiveConstants
        """
        number = np.dtype(dtype).type
        late, new, to_threshold = SCHEMES[self.scheme]
        return AdaptiveConstants(
            late_reset=number(late),
            new_potential=number(new),
            threshold_reset=number(to_threshold),
            by_threshold=number(self.divisor == "threshold"),
            attached=number(not self.stop_reset),
            recurrent=number(not self.stop_recurrent),
            refractory=self.refractory,
            slope=number(self.surrogate.slope),
            height=number(self.surrogate.height),
            time_step=number(self.time_step),
            spike_height=number(1 / self.time_step),
            one=number(1),
        )

    def of_each(self, count: int, dtype: Any = np.float64) -> dict[str, np.ndarray]:
        """alpha, rho, beta and b^0 of each neuron.

        Parameters
        ----------
        count : int
            n.
        dtype : dtype
            Of the arrays.

        Returns
        -------
        dict of str to ndarray, (n,)

        Raises
        ------
        ValueError
            If there is one for each of another number of neurons.
        """
        found = {}
        for name in NEURON_PARAMETERS:
            value = np.asarray(getattr(self, name), dtype)
            if value.ndim and len(value) != count:
                raise ValueError(
                    f"neuron.{name}: expected one number, or one for each of {count} neurons, got "
                    f"{len(value)}"
                )
            if name in ("leak", "adaptation_decay") and not (value < 1).all():
                raise ValueError(
                    f"neuron.{name}: expected values that can be told from 1 in {np.dtype(dtype)}, got "
                    f"{value.max()}; take shorter time constants, or float64"
                )
            found[name] = np.ascontiguousarray(np.broadcast_to(value, count))
        return found


def _decay(name: str, time_constant: Any, time_step: float) -> Any:
    """exp(-delta / tau)."""
    values = checks.float_array(name, _as_floats(name, time_constant))
    if values.ndim > 1:
        raise ValueError(
            f"{name}: expected one time constant, or one for each neuron, got shape {values.shape}"
        )
    if (values < time_step).any():
        raise ValueError(
            f"{name}: expected time constants of at least one time step ({time_step} ms), got "
            f"{float(values.min())}; a shorter one decays within the step: choose a smaller time_step"
        )
    decays = np.exp(-time_step / values)
    if not (decays < 1).all():
        raise ValueError(
            f"{name}: expected time constants that can be told from infinity, got {values.max()}"
        )
    return decays[()]


def _as_floats(name: str, value: Any) -> np.ndarray:
    """Whole numbers of ms are welcome too."""
    array = checks.as_numpy(name, value)
    return array.astype(np.float64) if array.dtype.kind in "iu" else array
