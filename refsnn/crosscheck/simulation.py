"""A neuron as someone else defines it, with the gradient that belongs to the definition.

A *rule* is one step in plain arithmetic: how the state and a current make a charged potential, a spike and
the next state.  Its surrogate gradient is not written down but derived: the rule is run once, then again with
every spike replaced by its affine neighbour s + psi(u)(u' - u) and an imaginary step in one current, so that
the imaginary part is the derivative.  What a framework detaches is `Moment.held` at its nominal value.

So a convention is stated by its forward equations alone, and the gradients that follow from it do not depend
on anybody's backward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from refsnn.equations.surrogates import SURROGATES
from refsnn.vectors.case import Hyperparameters, Leaves, Problem

_STEP = 1e-30
State = tuple[Any, ...]


class Moment:
    """What a rule may ask for; it remembers the nominal run and repeats it with affine spikes.

    Parameters
    ----------
    given : dict
        Hyper-parameters; those of the surrogate and ``fires`` are read.
    """

    def __init__(self, given: Hyperparameters):
        self._given = given
        self._tape: list[Any] = []
        self._at: int | None = None  # None while the nominal run is recorded

    def rewind(self) -> None:
        """From here on repeat what was recorded."""
        self._at = 0

    def spike(self, distance: Any, unit: Any = 1.0) -> Any:
        """H of a distance from the threshold, with psi in a unit of potential: psi(u / unit) / unit.

        Parameters
        ----------
        distance : ndarray
            u.
        unit : ndarray
            Of the potential; 1 by default.

        Returns
        -------
        ndarray
        """
        given = self._given
        if self._at is None:
            fired = (distance > 0 if given["fires"] == ">" else distance >= 0).astype(float)
            shape, slope, height = (given[f"surrogate.{name}"] for name in ("shape", "slope", "height"))
            slopes = SURROGATES[shape](distance / unit, slope, height, 1.0) / unit
            self._tape.append((fired, distance, slopes))
            return fired
        fired, nominal, slopes = self._next()
        return fired + slopes * (distance - nominal)

    def held(self, value: Any) -> Any:
        """A value without its derivative.

        Parameters
        ----------
        value : ndarray
            Anything computed.

        Returns
        -------
        ndarray
            As it was in the nominal run.
        """
        if self._at is None:
            self._tape.append(value)
            return value
        return self._next()

    def _next(self) -> Any:
        assert self._at is not None
        self._at += 1
        return self._tape[self._at - 1]


# (now, state, current, given) -> (state, charged potential, spikes)
Rule = Callable[[Moment, State, Any, Hyperparameters], tuple[State, Any, Any]]


def simulated(
    rule: Rule,
    problem: Problem,
    begin: Callable[[Any, Hyperparameters], State] = lambda start, given: (start,),
) -> Leaves:
    """All leaves of a problem, for the neuron of a rule.

    Parameters
    ----------
    rule : callable
        `(now, state, current, given) -> (state, charged, spikes)`; the potential is the first entry of
        the state.
    problem : Problem
        A case of `spiking_neuron`, perhaps with hyper-parameters that only the rule knows.
    begin : callable
        `(start, given) -> state`.

    Returns
    -------
    dict of str to ndarray

    Examples
    --------
    >>> from refsnn.vectors.kinds import KINDS
    >>> kind = KINDS["spiking_neuron"]
    >>> case = next(kind.cases(False))
    >>> def soft(now, state, current, given):
    ...     h = given["leak"] * state[0] + current
    ...     s = now.spike(h - given["threshold"])
    ...     return (h - given["threshold"] * now.held(s),), h, s
    >>> leaves, truth = simulated(soft, case.problem), kind.truth(case.problem)
    >>> bool(abs(leaves["gradients/current"] - truth["gradients/current"]).max() < 1e-14)
    True
    """
    given = problem.hyperparameters
    current, start, upstream = (problem.inputs[name] for name in ("current", "start", "spike_adjoint"))
    now = Moment(given)

    def unrolled(currents: Any, first: Any) -> tuple[Any, Any, Any]:
        state, charged, spikes = begin(first, given), [], []
        for entering in currents:
            state, h, s = rule(now, state, entering, given)
            charged.append(h)
            spikes.append(s)
        # what a step cannot reach has not got its axis
        return np.stack(np.broadcast_arrays(*charged)), np.stack(np.broadcast_arrays(*spikes)), state[0]

    charged, spikes, potential = unrolled(current, start)
    # along the second axis one run a step: an imaginary step in the current of that step alone
    one_step = np.eye(len(current))[:, :, None]
    now.rewind()
    _, by_current, _ = unrolled(current[:, None] + 1j * _STEP * one_step, start)
    now.rewind()
    _, by_start, _ = unrolled(current + 0j, start + 1j * _STEP)
    now.rewind()
    _, by_all, _ = unrolled(current + 1j * _STEP, start)
    return {
        "states/charged": charged,
        "states/spikes": spikes,
        "states/potential": potential,
        "loss": np.asarray((upstream * spikes).sum()),
        "gradients/current": (upstream[:, None] * by_current.imag).sum(axis=0) / _STEP,
        "gradients/start": (upstream * by_start.imag).sum(axis=0) / _STEP,
        "rate": spikes.mean(axis=0),
        "rate_jacobian": by_all.imag.mean(axis=0) / _STEP,
    }
