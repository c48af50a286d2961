"""Relaxation: let a convergent network with static input settle, and say how well it has.

    s_{t+1} = F(x, s_t, theta)                       free phase        (E1)
    s_{t+1} = F(x, s_t, theta) - beta dl/ds(s_t, y)  nudged phase      (E5)

(E5) is nudged outside the activation with epsilon = 1.  The leaky step of an energy-based network is nudged
with epsilon beta (E10), and a prototypical network may feel the force inside its activation (E17).

All layers step at once.  Convergence is what every statement about equilibrium propagation needs and what
fixed step counts do not give, so the residual is always returned; synchronous updates may also lock into
an orbit of period two, which |F(F(s)) - s| tells apart from slow convergence.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.models.contract import Parameters, State
from refsnn.models.coupled_layers import CoupledLayers, largest_difference
from refsnn.models.couplings import Arrays


@dataclass(frozen=True)
class Relaxation:
    """Where a relaxation ended.

    Attributes
    ----------
    state : dict of ndarray
        s_T, one array (B, d_n) a layer.
    kept : tuple of states
        The last states of the trajectory, oldest first; `state` is the last of them.
    residual : float
        max |F(s_T) - s_T|, in the units of the states.
    two_cycle_residual : float
        max |F(F(s_T)) - s_T|; small beside a large residual means an orbit of period two.
    steps_executed : int
        Applications of the step, the two for the residuals included.
    """

    state: State
    kept: tuple[State, ...]
    residual: float
    two_cycle_residual: float
    steps_executed: int

    @property
    def bytes_kept(self) -> int:
        """Bytes of the kept states."""
        return sum(array.nbytes for state in self.kept for array in state.values())


def relax(
    model: CoupledLayers,
    parameters: Parameters,
    inputs: Any,
    state: State | None = None,
    steps: int = 100,
    targets: Any = None,
    nudge: complex = 0.0,
    keep_last: int = 0,
) -> Relaxation:
    """Apply the step `steps` times, free or nudged, and measure the residual.

    Parameters
    ----------
    model : EnergyBasedNetwork or PrototypicalNetwork
        The network.
    parameters : dict of ndarray
        As `model.parameter_shapes()` says.
    inputs : array_like, shape (B, d_N)
        x, held fixed.
    state : dict of ndarray, optional
        Where to start; zeros by default.
    steps : int
        T.
    targets : array_like, shape (B, d_0), optional
        y; without it the phase is free.
    nudge : float or complex
        beta; any sign, 0 allowed here.
    keep_last : int
        How many of the last states to keep, the final one included.

    Returns
    -------
    Relaxation

    Raises
    ------
    TypeError, ValueError
        For bad arguments, and for a nudge without targets.
    FloatingPointError
        If the states overflow.

    Examples
    --------
    >>> from refsnn.models.convergent import PrototypicalNetwork
    >>> network = PrototypicalNetwork((2, 3, 4))
    >>> parameters = network.initialise(np.random.default_rng(0))
    >>> relax(network, parameters, np.ones((1, 4)), steps=200).residual < 1e-15
    True
    """
    parameters, inputs, targets = model.check_static(parameters, inputs, targets, need_targets=False)
    steps = checks.count("steps", steps)
    keep_last = checks.count("keep_last", keep_last, minimum=0)
    nudge = checked_nudge(model, nudge, zero_allowed=True)
    if nudge != 0 and targets is None:
        raise ValueError("targets: expected an array because nudge is not 0, got None")
    if state is None:
        state = model.initial_state(parameters, len(inputs))
    else:
        dtype = np.result_type(*parameters.values())
        state = model.check_state(state, len(inputs), dtype)
    drive = model.static_drive(parameters, inputs)
    return settle(model, parameters, inputs, state, steps, targets, nudge, drive, keep_last)


def settle(
    model: CoupledLayers,
    parameters: Parameters,
    inputs: np.ndarray,
    state: State,
    steps: int,
    targets: np.ndarray | None,
    nudge: complex,
    drive: Arrays,
    keep_last: int = 0,
) -> Relaxation:
    """`relax` behind the door: arguments are checked, the drive is computed.

    Returns
    -------
    Relaxation

    Raises
    ------
    FloatingPointError
        If the states overflow.

    Examples
    --------
    >>> from refsnn.models.convergent import PrototypicalNetwork
    >>> network, x = PrototypicalNetwork((1, 1)), np.ones((1, 1))
    >>> parameters = {"coupling.0.1.weight": np.zeros((1, 1)), "coupling.0.1.bias": np.zeros(1)}
    >>> start, drive = network.initial_state(parameters, 1), network.static_drive(parameters, x)
    >>> settle(network, parameters, x, start, 5, None, 0.0, drive).residual
    0.0
    """
    kept: deque[State] = deque([state], maxlen=max(keep_last, 1))
    # an overflow is reported below, with words
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(steps):
            state = model.step(parameters, state, inputs, targets, nudge, drive)
            kept.append(state)
        once = model.step(parameters, state, inputs, targets, nudge, drive)
        twice = model.step(parameters, once, inputs, targets, nudge, drive)
        residual, two_cycle = largest_difference(once, state), largest_difference(twice, state)
    if not (np.isfinite(residual) and np.isfinite(two_cycle)):
        raise FloatingPointError(
            f"state: expected finite states, got overflow within {steps} steps; the network does not settle, "
            "take smaller weights, a smaller step_size or a smaller nudge"
        )
    return Relaxation(state, tuple(kept) if keep_last else (), residual, two_cycle, steps + 2)


def checked_nudge(model: CoupledLayers, value: Any, zero_allowed: bool = False) -> complex:
    """Return beta as a plain float, or a complex number for holomorphic networks.

    Raises
    ------
    TypeError, ValueError
        If it is no finite number, 0 where the contrast is divided by it, or complex where the network
        is not holomorphic.

    Examples
    --------
    >>> from refsnn.models.convergent import PrototypicalNetwork
    >>> checked_nudge(PrototypicalNetwork((1, 1)), 0)
    Traceback (most recent call last):
    ...
    ValueError: nudge: expected a number other than 0, got 0; the contrast of the phases is divided by it
    """
    if isinstance(value, (complex, np.complexfloating)):
        model.require_holomorphic("nudge")
        if not np.isfinite(value):
            raise ValueError(f"nudge: expected a finite number, got {value!r}")
        nudge: complex = complex(value)
    else:
        nudge = checks.number("nudge", value)
    if nudge == 0 and not zero_allowed:
        raise ValueError(
            f"nudge: expected a number other than 0, got {value!r}; "
            "the contrast of the phases is divided by it"
        )
    return nudge
