"""A penalty on the mean activity of each neuron, added once a step however often a step is run.

    R = strength sum_i (m_i - f_0)^2,        m_i = mean over t = 1..T and the batch of phi(h_ti)

is no function of the last state.  But the first sweep visits each step once before the way back begins, so
that m is known by then, and what remains is a direct term of each step's adjoint,

    dR/dh_ti = 2 strength (m_i - f_0) / (T B) phi'(h_ti).

With phi the spikes of a population it is the firing-rate regulariser of Bellec 2018.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from refsnn import checks
from refsnn.algorithms.checkpoint_executor import Hooks
from refsnn.equations.spiking import SpikingNeuron
from refsnn.models.contract import State


class Activity(NamedTuple):
    """What a neuron's state is read as.

    Attributes
    ----------
    value, slope : callable
        phi and phi', entry by entry, in the dtype that they are given.
    """

    value: Callable[[np.ndarray], np.ndarray]
    slope: Callable[[np.ndarray], np.ndarray]


ITSELF = Activity(lambda state: state, np.ones_like)
SQUARE = Activity(np.square, lambda state: state + state)


def spikes_of(neuron: SpikingNeuron) -> Activity:
    """Spikes, for layers whose z is a function of the potential; the slope is the surrogate.

    Parameters
    ----------
    neuron : SpikingNeuron
        Threshold, comparison and surrogate.

    Returns
    -------
    Activity

    Raises
    ------
    TypeError
        If `neuron` is none.

    Examples
    --------
    >>> spikes_of(SpikingNeuron(leak=0.9, threshold=1.0)).value(np.array([0.5, 1.5]))
    array([0., 1.])
    """
    checks.instance("neuron", neuron, SpikingNeuron, "SpikingNeuron(leak=0.9)")
    equations = neuron.equations

    def value(potential: np.ndarray) -> np.ndarray:
        constants = neuron.constants(potential.dtype)
        return equations.fire(potential, constants.threshold, constants.one)

    def slope(potential: np.ndarray) -> np.ndarray:
        constants = neuron.constants(potential.dtype)
        distance = potential - constants.threshold
        return equations.surrogate(distance, constants.slope, constants.height, constants.one)

    return Activity(value, slope)


class ActivityPenalty(Hooks):
    """The penalty as a hook of `memory_efficient_bptt`; one object serves any number of runs.

    The gradients that come back hold its share; its value is apart, and is added to the loss by the user.
    Sums over steps are made in float64, the share in the adjoint is in the dtype of the state.

    Parameters
    ----------
    entry : str
        Which entry of the state, (B, ...).
    strength : float
        Of the penalty, at least 0.
    target : float
        f_0, the mean that costs nothing.
    activity : Activity
        phi and its slope: `ITSELF`, `SQUARE`, `spikes_of(neuron)`, or a pair of your own.

    Raises
    ------
    TypeError, ValueError
        For arguments of wrong kind or range.

    Examples
    --------
    >>> from refsnn.algorithms.memory_efficient_bptt import memory_efficient_bptt
    >>> from refsnn.models.recurrent.spiking import RecurrentSpikingLayer
    >>> network, rng = RecurrentSpikingLayer((2, 8, 3)), np.random.default_rng(0)
    >>> arguments = network.initialise(rng, gain=2.0), rng.random((100, 4, 2)), [0, 1, 2, 0]
    >>> rates = ActivityPenalty("layer.1.potential", 0.1, 0.02, spikes_of(network.neuron))
    >>> result = memory_efficient_bptt(network, *arguments, budget="20 kB", hooks=rates)
    >>> rates.mean.shape, rates.loss > 0
    ((8,), True)
    """

    def __init__(self, entry: str, strength: float, target: float, activity: Activity = ITSELF) -> None:
        if not isinstance(entry, str):
            raise TypeError(f"entry: expected the name of an entry of the state, got {entry!r}")
        self.entry = entry
        self.strength = checks.number("strength", strength, 0)
        self.target = checks.number("target", target)
        if not (isinstance(activity, tuple) and len(activity) == 2 and all(map(callable, activity))):
            raise TypeError(
                f"activity: expected phi and its slope, two functions as in Activity, got {activity!r}"
            )
        self.activity = Activity(*activity)
        self._sum, self._visits, self._batch = np.zeros(0), 0, 0
        self._factor = np.zeros(0)

    @property
    def mean(self) -> np.ndarray:
        """m of the last run, in float64.

        Raises
        ------
        RuntimeError
            Before the first run.
        """
        if not self._visits:
            raise RuntimeError("activity penalty: expected a run before; give it to memory_efficient_bptt")
        return self._sum / (self._visits * self._batch)

    @property
    def loss(self) -> float:
        """R of the last run."""
        return self.strength * float(np.square(self.mean - self.target).sum())

    def on_first_visit(self, step: int, state: State) -> None:
        """Add phi(h_k) to the sum, which begins anew at step 1.

        Parameters
        ----------
        step : int
            k.
        state : dict of str to ndarray
            h_k.

        Raises
        ------
        ValueError
            If the state has no such entry, or it has no batch.
        """
        values = self._of(state)
        if step == 1:
            self._sum, self._batch = np.zeros(values.shape[1:]), len(values)
        self._visits = step
        self._sum += self.activity.value(values).sum(axis=0, dtype=np.float64)

    def direct(self, step: int, state: State) -> State:
        """dR/dh_k.

        Parameters
        ----------
        step : int
            k; at T the means are known.
        state : dict of str to ndarray
            h_k.

        Returns
        -------
        dict of str to ndarray
            The share of that entry.
        """
        values = self._of(state)
        if step == self._visits:
            share = 2 * self.strength / (self._visits * self._batch)
            self._factor = (share * (self.mean - self.target)).astype(values.dtype)
        return {self.entry: self._factor * self.activity.slope(values)}

    def _of(self, state: State) -> np.ndarray:
        if self.entry not in state or not state[self.entry].ndim:
            raise ValueError(f"entry: expected one of {sorted(state)}, got {self.entry!r}")
        return state[self.entry]
