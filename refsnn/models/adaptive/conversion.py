"""The units of the e-prop code, and other ways in which the constants of adaptive neurons are written.

E-prop's neurons scale neither what they hear nor what adapts them (Bellec 2020),

    v'_{k+1} = alpha v'_k + I_k - delta z_k thr',   b'_{k+1} = rho b'_k + z_k,   fires above thr' + beta' b',

so that v' = v / (1 - alpha) and b' = b / (1 - rho) with

    thr' = b^0 / (1 - alpha),    beta' = beta (1 - rho) / (1 - alpha),

and the weights as they are.  The raster is that of scheme "eprop", the gradient that of divisor "baseline".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.models.adaptive.neuron import AdaptiveNeuron
from refsnn.models.contract import Parameters


@dataclass(frozen=True)
class EpropUnits:
    """Constants of neurons as the e-prop code writes them.

    Parameters
    ----------
    leak, adaptation_decay : float or sequence of float, in (0, 1)
        alpha and rho, which have no units.
    threshold : float or sequence of float, > 0
        thr'.
    adaptation_strength : float or sequence of float, >= 0
        beta': what one spike of height 1 adds to the threshold.

    Examples
    --------
    >>> units = EpropUnits(leak=0.95, adaptation_decay=0.99, threshold=1.0, adaptation_strength=0.2)
    >>> round(units.neuron(refractory=2).baseline, 6)
    0.05
    """

    leak: Any
    adaptation_decay: Any
    threshold: Any
    adaptation_strength: Any

    @classmethod
    def of(cls, neuron: AdaptiveNeuron) -> EpropUnits:
        """The same neuron in these units.

        Parameters
        ----------
        neuron : AdaptiveNeuron
            Of scheme "eprop".

        Returns
        -------
        EpropUnits

        Raises
        ------
        TypeError, ValueError
            For a neuron of another scheme, which no change of units turns into one of e-prop.

        Examples
        --------
        >>> neuron = AdaptiveNeuron.of_time_constants(20.0, 700.0, adaptation_strength=1.8, scheme="eprop")
        >>> round(EpropUnits.of(neuron).adaptation_strength, 4)
        0.0527
        """
        checks.instance("neuron", neuron, AdaptiveNeuron, "AdaptiveNeuron(scheme='eprop')")
        if neuron.scheme != "eprop":
            raise ValueError(
                f"neuron: expected scheme 'eprop', which compares the new potential and resets by the "
                f"baseline, got {neuron.scheme!r}; units alone do not make it fire the same spikes"
            )
        charge, learn = _rest(neuron.leak), _rest(neuron.adaptation_decay)
        return cls(
            neuron.leak,
            neuron.adaptation_decay,
            _plain(np.asarray(neuron.baseline) / charge),
            _plain(np.asarray(neuron.adaptation_strength) * learn / charge),
        )

    def neuron(self, **others: Any) -> AdaptiveNeuron:
        """The same in the units of this package.

        Parameters
        ----------
        **others
            Of `AdaptiveNeuron`: refractory, time_step, surrogate, the stopped gradients; the scheme is
            "eprop", the divisor "baseline" unless it is given.

        Returns
        -------
        AdaptiveNeuron

        Raises
        ------
        TypeError, ValueError
            For values out of range.
        """
        leak = checks.float_array("leak", np.asarray(self.leak, float))
        decay = checks.float_array("adaptation_decay", np.asarray(self.adaptation_decay, float))
        strength = np.asarray(self.adaptation_strength, float)
        return AdaptiveNeuron(
            leak=_plain(leak),
            adaptation_decay=_plain(decay),
            baseline=_plain(np.asarray(self.threshold, float) * (1 - leak)),
            adaptation_strength=_plain(strength * (1 - leak) / (1 - decay)),
            **({"scheme": "eprop", "divisor": "baseline"} | others),
        )


def threshold_jump(neuron: AdaptiveNeuron) -> Any:
    """What one spike adds to the threshold, beta (1 - rho) / delta.

    Parameters
    ----------
    neuron : AdaptiveNeuron
        Any.

    Returns
    -------
    float or tuple of float

    Examples
    --------
    >>> neuron = AdaptiveNeuron.of_time_constants(20.0, 700.0, adaptation_strength=1.8)
    >>> round(threshold_jump(neuron) / neuron.baseline, 2)
    0.26
    """
    jump = np.asarray(neuron.adaptation_strength) * _rest(neuron.adaptation_decay) / neuron.time_step
    return _plain(jump)


def in_units_of(
    neuron: AdaptiveNeuron, parameters: Parameters, factor: float, *, baseline: bool = True
) -> tuple[AdaptiveNeuron, Parameters]:
    """Potentials in other units: W^in, W^rec, beta and b^0 times V_0; the raster stays.

    Parameters
    ----------
    neuron : AdaptiveNeuron
        Its strength and baseline are scaled, where parameters do not stand for them.
    parameters : dict of str to ndarray
        Of a network; the read-out stays as it is.
    factor : float
        V_0 > 0.
    baseline : bool
        False leaves b^0, as the option `V0` of the official code does: its threshold is in units of V_0.

    Returns
    -------
    tuple
        The neuron, and new parameters.

    Raises
    ------
    TypeError, ValueError
        For a factor that is not positive.

    Examples
    --------
    >>> neuron, _ = in_units_of(AdaptiveNeuron(baseline=0.01), {}, 100.0)
    >>> neuron.baseline, neuron.adaptation_strength
    (1.0, 180.0)
    """
    checks.instance("neuron", neuron, AdaptiveNeuron, "AdaptiveNeuron()")
    factor = checks.number("factor", factor, 0, low_open=True)
    names = ["adaptation_strength"] + ["baseline"] * baseline
    scaled: dict[str, Any] = {name: _plain(factor * np.asarray(getattr(neuron, name))) for name in names}
    weights = [f"layer.1.{name}" for name in ("input_weight", "recurrent_weight", *names)]
    return replace(neuron, **scaled), {
        name: (value.dtype.type(factor) * value if name in weights else value).copy()
        for name, value in parameters.items()
    }


def _rest(decay: Any) -> np.ndarray:
    return 1 - np.asarray(decay, float)


def _plain(value: np.ndarray) -> Any:
    """A number, or a tuple with one for each neuron."""
    return tuple(value.tolist()) if np.ndim(value) else float(value)
