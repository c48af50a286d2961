"""Spike trains as lists of events: which sources speak at each step of each sample, and how loud.

A spiking input is silent nearly everywhere.  As an array it costs eight bytes for each silent step of each
neuron, as a list only what is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn import checks


@dataclass(frozen=True, eq=False)
class SpikeEvents(Sequence):
    """Input of T steps as events, in the order of steps, samples and sources.

    Parameters
    ----------
    steps, batch, width : int
        T, B and the number of sources.
    starts : ndarray of int64, (T B + 1,)
        Events of step k (from 0) of sample s are those from `starts[k B + s]` to `starts[k B + s + 1]`.
    sources : ndarray of int32, (events,)
        Which neuron; ascending within a step of a sample, none twice.
    values : ndarray of float, (events,)
        What it sends: 1 / (time step) for a spike.

    Raises
    ------
    TypeError, ValueError
        For arrays of wrong kind, length or order, and values that are NaN or infinite.

    Examples
    --------
    >>> events = SpikeEvents.from_array(np.array([[[0.0, 1.0]], [[0.0, 0.0]]]))
    >>> len(events), events.sources, events[0]
    (2, array([1], dtype=int32), array([[0., 1.]]))
    """

    steps: int
    batch: int
    width: int
    starts: np.ndarray
    sources: np.ndarray
    values: np.ndarray

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "width"):
            object.__setattr__(self, name, checks.count(name, getattr(self, name)))
        starts = checks.as_numpy("starts", self.starts)
        sources = checks.as_numpy("sources", self.sources)
        cells = self.steps * self.batch
        if starts.dtype.kind not in "iu" or starts.shape != (cells + 1,):
            raise ValueError(
                f"starts: expected whole numbers of shape ({cells + 1},), one for each step of each sample "
                f"and one more, got {starts.dtype} of shape {starts.shape}"
            )
        if sources.dtype.kind not in "iu" or sources.ndim != 1:
            raise ValueError(
                f"sources: expected whole numbers of shape (events,), got {sources.dtype} of shape "
                f"{sources.shape}"
            )
        if starts[0] != 0 or starts[-1] != len(sources) or (np.diff(starts) < 0).any():
            raise ValueError(
                f"starts: expected an ascending list from 0 to {len(sources)}, the number of sources, got "
                f"one from {starts[0]} to {starts[-1]}"
            )
        if len(sources) and not 0 <= int(sources.min()) <= int(sources.max()) < self.width:
            raise ValueError(
                f"sources: expected neurons from 0 to {self.width - 1}, got {sources.min()} to "
                f"{sources.max()}"
            )
        first = np.zeros(len(sources) + 1, bool)
        first[starts[:-1]] = True
        if (np.diff(sources.astype(np.int64)) <= 0)[~first[1:-1]].any():
            raise ValueError(
                "sources: expected them to ascend within each step of a sample, each once; add up what one "
                "source sends twice"
            )
        kind = np.asarray(self.values).dtype
        values = checks.float_array(
            "values", self.values, (len(sources),), kind if kind.kind == "f" else None
        )
        # copies: a kernel believes what was checked here
        object.__setattr__(self, "starts", np.array(starts, np.int64))
        object.__setattr__(self, "sources", np.array(sources, np.int32))
        object.__setattr__(self, "values", np.array(values))

    @classmethod
    def from_array(cls, inputs: Any) -> SpikeEvents:
        """The events of an array.

        Parameters
        ----------
        inputs : array_like, (T, B, width)
            Any numbers; what is 0 is no event.

        Returns
        -------
        SpikeEvents

        Raises
        ------
        ValueError
            For another number of dimensions.
        """
        array = checks.as_numpy("inputs", inputs)
        if array.ndim != 3:
            raise ValueError(f"inputs: expected an array (T, B, width), got shape {array.shape}")
        steps, batch, width = array.shape
        cells = array.reshape(steps * batch, width)
        rows, sources = np.nonzero(cells)
        starts = np.zeros(len(cells) + 1, np.int64)
        np.cumsum(np.bincount(rows, minlength=len(cells)), out=starts[1:])
        values = cells[rows, sources]
        return cls(steps, batch, width, starts, sources.astype(np.int32), values)

    @classmethod
    def from_events(
        cls, shape: tuple[int, int, int], steps: Any, samples: Any, sources: Any, values: Any
    ) -> SpikeEvents:
        """Events in any order, each with its step, sample and source.

        Parameters
        ----------
        shape : tuple of int
            T, B and the number of sources.
        steps, samples, sources : array_like of int, (events,)
            Where each event is.
        values : array_like of float, (events,)
            What is sent.

        Returns
        -------
        SpikeEvents

        Raises
        ------
        TypeError, ValueError
            For places outside the shape or named twice, lists of different lengths, and other numbers than
            integers.

        Examples
        --------
        >>> SpikeEvents.from_events((2, 1, 3), [1, 0], [0, 0], [2, 1], [1.0, 1.0]).as_array()[:, 0]
        array([[0., 1., 0.],
               [0., 0., 1.]])
        """
        if len(shape) != 3:
            raise ValueError(f"shape: expected (T, B, width), got {shape}")
        for index, size in enumerate(shape):
            checks.count(f"shape[{index}]", size)
        given = {"steps": steps, "samples": samples, "sources": sources}
        places = {name: checks.as_numpy(name, value) for name, value in given.items()}
        sent = checks.as_numpy("values", values)
        for (name, place), size in zip(places.items(), shape, strict=True):
            if place.dtype.kind not in "iu" or place.shape != sent.shape or sent.ndim != 1:
                raise ValueError(
                    f"{name}: expected whole numbers of shape (events,), one for each of the values of shape "
                    f"{sent.shape}, got {place.dtype} of shape {place.shape}"
                )
            if place.size and not 0 <= place.min() <= place.max() < size:
                raise ValueError(
                    f"{name}: expected numbers from 0 to {size - 1}, got {place.min()} to {place.max()}"
                )
        cells = places["steps"].astype(np.int64) * shape[1] + places["samples"]
        keys = cells * shape[2] + places["sources"]
        starts = np.zeros(shape[0] * shape[1] + 1, np.int64)
        np.cumsum(np.bincount(cells, minlength=len(starts) - 1), out=starts[1:])
        if (np.diff(keys) < 0).any():
            order = np.argsort(keys, kind="stable")
            return cls(*shape, starts, places["sources"][order], sent[order])
        return cls(*shape, starts, places["sources"], sent)

    def as_array(self) -> np.ndarray:
        """The input as an array, (T, B, width).

        Returns
        -------
        ndarray
            In the dtype of the values.
        """
        cells = np.zeros((self.steps * self.batch, self.width), self.values.dtype)
        cells[np.repeat(np.arange(len(cells)), np.diff(self.starts)), self.sources] = self.values
        return cells.reshape(self.steps, self.batch, self.width)

    def astype(self, dtype: Any) -> SpikeEvents:
        """The same with values of another dtype.

        Parameters
        ----------
        dtype : dtype
            Of the values.

        Returns
        -------
        SpikeEvents
            The object itself if nothing changes.
        """
        if self.values.dtype == dtype:
            return self
        return SpikeEvents(
            self.steps, self.batch, self.width, self.starts, self.sources, self.values.astype(dtype)
        )

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: Any) -> Any:
        """One step as an array (B, width); a slice of steps as events."""
        if not isinstance(index, slice):
            if not -self.steps <= index < self.steps:
                raise IndexError(f"index: expected a step below {self.steps}, got {index}")
            first = index % self.steps
            return self[first : first + 1].as_array()[0]
        first, last, stride = index.indices(self.steps)
        if stride != 1 or last <= first:
            raise ValueError(f"index: expected at least one step and a stride of 1, got {index}")
        starts = self.starts[first * self.batch : last * self.batch + 1]
        events = slice(starts[0], starts[-1])
        return SpikeEvents(
            last - first,
            self.batch,
            self.width,
            starts - starts[0],
            self.sources[events],
            self.values[events],
        )
