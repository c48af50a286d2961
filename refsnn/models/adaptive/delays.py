"""Delays of connections, in steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn import checks


@dataclass(frozen=True, eq=False)
class Delays:
    """How many steps later a spike arrives than without a delay; fixed, and a part of the network.

    Parameters
    ----------
    slots : int
        D; delays are 0 .. D - 1.
    input : ndarray of int, (n, n_in)
        Of the connections from inputs, (post, pre).
    recurrent : ndarray of int, (n, n)
        Of the connections between neurons.

    Raises
    ------
    TypeError, ValueError
        For delays that are not whole, negative, or D and more.

    Examples
    --------
    >>> delays = Delays.uniform(np.random.default_rng(0), 10, inputs=3, neurons=2)
    >>> delays.input.shape, delays.recurrent.shape, int(delays.input.max()) < 10
    ((2, 3), (2, 2), True)
    """

    slots: int
    input: np.ndarray
    recurrent: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "slots", checks.count("slots", self.slots))
        for name in ("input", "recurrent"):
            array = checks.as_numpy(f"delays.{name}", getattr(self, name))
            if array.dtype.kind not in "iu":
                raise TypeError(
                    f"delays.{name}: expected whole numbers of steps, got {array.dtype}; round them to steps"
                )
            if array.ndim != 2 or (name == "recurrent" and array.shape[0] != array.shape[1]):
                raise ValueError(
                    f"delays.{name}: expected one for each connection, (post, pre), got shape {array.shape}"
                )
            if array.size and not 0 <= int(array.min()) <= int(array.max()) < self.slots:
                raise ValueError(
                    f"delays.{name}: expected delays from 0 to {self.slots - 1} steps, for a delay line of "
                    f"{self.slots} slots, got {array.min()} to {array.max()}"
                )
            own = np.array(array, np.int64)
            own.flags.writeable = False
            object.__setattr__(self, name, own)
        if len(self.input) != len(self.recurrent):
            raise ValueError(
                f"delays.input: expected {len(self.recurrent)} rows, one for each neuron as in "
                f"delays.recurrent, got {len(self.input)}"
            )

    @classmethod
    def none(cls, inputs: int, neurons: int) -> Delays:
        """All 0.

        Parameters
        ----------
        inputs, neurons : int
            n_in and n.

        Returns
        -------
        Delays
        """
        return cls(1, np.zeros((neurons, inputs), np.int64), np.zeros((neurons, neurons), np.int64))

    @classmethod
    def uniform(cls, rng: np.random.Generator, slots: int, inputs: int, neurons: int) -> Delays:
        """Drawn uniformly from 0 .. slots - 1.

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of randomness.
        slots : int
            D.
        inputs, neurons : int
            n_in and n.

        Returns
        -------
        Delays

        Raises
        ------
        TypeError, ValueError
            For arguments of wrong kind or range.
        """
        checks.generator("rng", rng)
        slots, inputs, neurons = (
            checks.count(name, value)
            for name, value in (("slots", slots), ("inputs", inputs), ("neurons", neurons))
        )
        into = rng.integers(0, slots, (neurons, inputs))
        return cls(slots, into, rng.integers(0, slots, (neurons, neurons)))

    def fits(self, inputs: int, neurons: int) -> None:
        """Refuse to belong to a network of other widths.

        Parameters
        ----------
        inputs, neurons : int
            n_in and n.

        Raises
        ------
        ValueError
            If these are delays of other connections.
        """
        if self.input.shape != (neurons, inputs):
            raise ValueError(
                f"delays: expected those of {inputs} inputs to {neurons} neurons, {(neurons, inputs)}, got "
                f"{self.input.shape}; delays belong to one network"
            )


def places(delays: Any, neurons: int) -> np.ndarray:
    """delay * n + target of each pair, (pre, post): where a strip of the delay line is added to.

    Parameters
    ----------
    delays : ndarray of int, (n, sources)
        In steps.
    neurons : int
        n.

    Returns
    -------
    ndarray of int32, (sources, n)

    Examples
    --------
    >>> places(np.array([[0], [2]]), 2)
    array([[0, 5]], dtype=int32)
    """
    return np.ascontiguousarray(delays.T * neurons + np.arange(neurons), np.int32)
