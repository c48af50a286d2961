"""One step of a NIR neuron under a discretisation.

    x_t                            what arrives, perhaps one step late
    i_t = leak_s i_{t-1} + g_s x_t     behind a synapse (Cuba)
    h_t = leak v_{t-1} + (1 - leak) v_leak + g i_t
    s_t = H(h_t - v_threshold)
    v_t = v_reset where s_t, else h_t          or h_t - (v_threshold - v_reset) s_t

written with the equations of `refsnn.equations.spiking`.  A neuron without tau (I, IF) has leak 1, g = r dt.
"""

from __future__ import annotations

import numpy as np

from refsnn.equations.spiking import (
    charge,
    charge_towards_rest,
    fire_above,
    fire_at_or_above,
    hard_reset,
    soft_reset,
)
from refsnn.nir.discretisation import STEP, UNIT, Arithmetic, Discretisation
from refsnn.nir.maps import Shape
from refsnn.nir.nodes import Node

_FIXED_LIMIT = 1 << 23  # potentials have 24 bits with a sign


class NeuronStep:
    """The neurons of one node, with their state.

    Parameters
    ----------
    node : Node
        A neuron.
    shape : tuple of int
        (B, ...) of what arrives.
    dt : float
        Length of a step in seconds.
    discretisation : Discretisation
        How to step.
    arithmetic : Arithmetic
        In which numbers.
    unit : float
        Potentials are computed in units of 1 / unit, which moves the rounding and nothing else.

    Attributes
    ----------
    potential, current : ndarray, (B, ...)
        v and i behind the last step; i is what drives v, 0 without a synapse.
    spikes : ndarray, (B, ...)
        0 or 1, as they leave the node.
    margin : float
        Smallest |h - v_threshold| so far.

    Raises
    ------
    ValueError
        Where the arithmetic is not known for such a neuron, or a step is too long for forward Euler.

    Examples
    --------
    >>> node = Node("IF", {"r": [1.0], "v_threshold": [1.5]})
    >>> neurons = NeuronStep(node, (1, 1), 1.0, Discretisation("mine"), Arithmetic("mine"))
    >>> [neurons.advance(np.ones((1, 1)))[0, 0].item() for step in range(4)]
    [0.0, 1.0, 0.0, 1.0]
    """

    def __init__(
        self,
        node: Node,
        shape: Shape,
        dt: float,
        discretisation: Discretisation,
        arithmetic: Arithmetic,
        unit: float = 1.0,
    ) -> None:
        self._how, self._numbers, self._node = discretisation, arithmetic, node
        self._dtype = np.dtype(arithmetic.dtype)
        self._one = self._dtype.type(1)
        values = {name: value.astype(np.float64) for name, value in node.values.items()}
        self._synapse = "tau_syn" in values
        self._fix_constants(values, dt, unit)
        start = np.zeros(shape, self._dtype)
        self.potential, self.current = start + self._reset_value, start.copy()
        self.spikes, self._reset_spikes, self._late_spikes = start.copy(), start.copy(), start.copy()
        self._late_input = start.copy()
        self.margin = np.inf

    def _fix_constants(self, values: dict[str, np.ndarray], dt: float, unit: float) -> None:
        """Leaks, gains, threshold and values to go to, in the working dtype."""
        how = self._how
        zero = np.zeros_like(values["r"])
        tau = values.get("tau_mem", values.get("tau"))
        self._share = None if tau is None else dt / tau
        leak, gain = _leak_and_gain(how, dt, tau, zero)
        if how.current == "exact" and self._synapse:
            self._coupling = self._cast(unit * values["r"] * _coupling(dt, tau, values["tau_syn"]))
        self._leak, self._gain = self._constant(leak), self._constant(gain * values["r"] * unit)
        self._scaled_r = self._cast(values["r"] * unit)
        self._rest = self._cast(values.get("v_leak", zero) * unit)
        self._threshold = self._cast(values.get("v_threshold", zero + np.inf) * unit)
        self._reset_value = self._cast(values.get("v_reset", zero) * unit)
        self._drop = self._cast((values.get("v_threshold", zero) - values.get("v_reset", zero)) * unit)
        if self._synapse:
            leak, gain = _leak_and_gain(how, dt, values["tau_syn"], zero)
            self._current_leak = self._constant(leak)
            self._current_gain = self._constant(gain * values["w_in"])
        if self._numbers.form == "increment" and how.leak != "euler":
            raise ValueError(f"arithmetic: expected 'euler' leaks under increments, got {how.leak!r}")
        if self._numbers.fixed:
            self._fix_integers(values, unit)

    def _fix_integers(self, values: dict[str, np.ndarray], unit: float) -> None:
        if self._synapse or ("v_leak" in values and values["v_leak"].any()) or unit != 1:
            raise ValueError(
                f"arithmetic: expected an LIF or IF that leaks to 0 in fixed point, got {self._node.kind}; "
                "use 'float64'"
            )
        if self._how.leak != "euler":
            raise ValueError(f"arithmetic: expected 'euler' leaks in fixed point, got {self._how.leak!r}")
        share = np.zeros_like(values["r"]) if self._share is None else self._share
        self._decay = np.trunc(share * 4095)
        self._threshold = np.trunc(self._threshold * 131071 / 512) / STEP
        self._reset_value = np.trunc(self._reset_value * UNIT) / UNIT
        self._drop = self._threshold - self._reset_value

    def _cast(self, value: np.ndarray) -> np.ndarray:
        return np.asarray(value, np.float64).astype(self._dtype)

    def _constant(self, value: np.ndarray) -> np.ndarray:
        if self._numbers.constants == "float32":
            value = np.asarray(value).astype(np.float32)
        return self._cast(value)

    def advance(self, arriving: np.ndarray) -> np.ndarray:
        """One step.

        Parameters
        ----------
        arriving : ndarray, (B, ...)
            What the edges bring.

        Returns
        -------
        ndarray, (B, ...)
            Spikes, or the potential of a neuron that does not fire.
        """
        if self._how.input_delay:
            arriving, self._late_input = self._late_input, arriving.copy()
        charged = self._charged(arriving)
        if not self._node.fires:
            self.potential = charged
            return charged
        soft = self._how.reset == "subtract"
        reset, to = (soft_reset, self._drop) if soft else (hard_reset, self._threshold)
        if self._how.reset_step == "next":
            charged = reset(charged, self._reset_spikes, to, self._reset_value, self._one)
        fire = fire_above if self._how.fires == ">" else fire_at_or_above
        spikes = fire(charged, self._threshold, self._one)
        self.margin = min(self.margin, float(np.abs(charged - self._threshold).min()))
        self._reset_spikes = spikes
        if self._how.reset_step == "next":
            self.potential = charged
        else:
            self.potential = reset(charged, spikes, to, self._reset_value, self._one)
        if self._how.spike_delay:
            spikes, self._late_spikes = self._late_spikes, spikes
        self.spikes = spikes
        return spikes

    def shown(self) -> np.ndarray:
        """The potential as the platform records it."""
        if not self._how.shown_at_spike or not self._node.fires:
            return self.potential
        shown = self._dtype.type(self._how.shown_at_spike / UNIT)
        return np.where(self.spikes > 0, shown, self.potential)

    def _charged(self, arriving: np.ndarray) -> np.ndarray:
        """h_t: potential before anything fires."""
        if self._numbers.fixed:
            return self._integer_charge(arriving)
        leak, one = self._leak, self._one
        if not self._synapse:
            self.current = arriving
            if self._numbers.form == "increment" and self._share is not None:
                change = self._cast(self._share) * ((self._rest - self.potential) + self._scaled_r * arriving)
                return self.potential + change
            return charge_towards_rest(self.potential, self._gain * arriving, leak, self._rest, one)
        before, drive = self.current, self._current_gain * arriving
        if self._how.current == "decayed":
            self.current = charge(before + drive, self._dtype.type(0), self._current_leak, drive, one)
        else:
            self.current = charge(before, drive, self._current_leak, drive, one)
        if self._how.current == "exact":
            # i(t) = w x + (i_{t-1} - w x) exp(-t/tau_syn) through the membrane
            level = self._cast(self._node.values["w_in"]) * arriving
            drive = self._gain * level + self._coupling * (before - level)
            return charge_towards_rest(self.potential, drive, leak, self._rest, one)
        acting = before if self._how.current == "previous" else self.current
        return charge_towards_rest(self.potential, self._gain * acting, leak, self._rest, one)

    def _integer_charge(self, arriving: np.ndarray) -> np.ndarray:
        """In whole multiples of 2^-14: floats hold them exactly."""
        self.current = arriving
        kept = np.trunc(self.potential * UNIT * (4096 - self._decay) / 4096)
        added = np.trunc(self._gain * arriving * STEP) * (UNIT // STEP)
        charged = kept + added
        if np.abs(charged).max() >= _FIXED_LIMIT:
            raise ValueError(
                "arithmetic: expected potentials below 2^23 units in fixed point, got "
                f"{np.abs(charged).max():.0f}; use 'float64'"
            )
        return charged / UNIT


def _leak_and_gain(
    how: Discretisation, dt: float, tau: np.ndarray | None, zero: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Share that survives a step, and what one step adds for each unit that arrives."""
    if tau is None:
        return zero + 1, zero + dt
    share = dt / tau
    if how.leak == "euler" and share.max() > 1:
        raise ValueError(
            f"dt: expected at most the shortest time constant {tau.min():g} s with forward Euler, got "
            f"{dt:g}; take shorter steps, or an exponential leak"
        )
    leak = 1 - share if how.leak == "euler" else np.exp(-share)
    return leak, share if how.gain == "euler" else -np.expm1(-share)


def _coupling(dt: float, tau: np.ndarray | None, tau_syn: np.ndarray) -> np.ndarray:
    """What a synaptic current that starts at 1 and decays adds to the potential in a step, for r = 1.

    (1/tau) integral of exp(-(dt - t)/tau) exp(-t/tau_syn) dt, also where both times are equal.
    """
    assert tau is not None
    difference = 1 / tau_syn - 1 / tau
    near = np.abs(difference * dt) < 1e-8  # the first two terms of the series are exact to 1e-16 there
    safe = np.where(near, 1.0, difference)
    ratio = np.where(near, dt * (1 - difference * dt / 2), -np.expm1(-safe * dt) / safe)
    return np.exp(-dt / tau) / tau * ratio
