"""Losses of a read-out that is averaged over windows of time.

The read-out is y_k = W p_k + c, linear, so that its mean over a window is W m + c with m the mean of p.  The
mean is carried along in the state,

    m_k = keep_k m_{k-1} + share_k p_k,        keep_k = 0 where a window begins, share_k = 1 / its length,

and the loss looks at it where the window ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.models.losses import check_targets
from refsnn.models.recurrent.targets import check_step_targets
from refsnn.models.sequences import StepTargets


@dataclass(frozen=True, eq=False)
class WindowTargets:
    """Windows of steps, and what the mean read-out of each should be.

    Parameters
    ----------
    first, last : array_like of int, (W,)
        First and last step of each window, counted from 0, both within; ascending, not overlapping.
    values : array_like
        Labels (W, B) or real targets (W, B, outputs).
    weights : array_like, optional
        What each window of each sample counts (W, B), or each window (W,); 1 by default.  The loss is
        sum_w sum_b weights_wb l_wb / B.

    Examples
    --------
    >>> the_last_five_of_twenty = WindowTargets([15], [19], [[2, 0]])
    """

    first: Any
    last: Any
    values: Any
    weights: Any = None

    @classmethod
    def at_the_end(cls, steps: int, length: int, values: Any) -> WindowTargets:
        """One window, the last steps of a sequence.

        Parameters
        ----------
        steps, length : int
            T, and how many of its last steps.
        values : array_like
            Labels (B,) or real targets (B, outputs).

        Returns
        -------
        WindowTargets

        Raises
        ------
        TypeError, ValueError
            For counts that are none, or a window longer than the sequence.
        """
        steps, length = checks.count("steps", steps), checks.count("length", length)
        if length > steps:
            raise ValueError(f"length: expected at most {steps} steps, the whole sequence, got {length}")
        return cls([steps - length], [steps - 1], checks.as_numpy("values", values)[None])

    @classmethod
    def in_a_row(cls, length: int, values: Any, weights: Any = None) -> WindowTargets:
        """One window after the other, all of one length, from the first step on.

        Parameters
        ----------
        length : int
            Steps of each.
        values, weights : array_like
            As in the class.

        Returns
        -------
        WindowTargets

        Raises
        ------
        TypeError, ValueError
            For a length that is none.
        """
        length = checks.count("length", length)
        first = length * np.arange(len(values))
        return cls(first, first + length - 1, values, weights)


@dataclass(frozen=True, eq=False)
class CheckedWindows:
    """Windows that went through the door.

    Attributes
    ----------
    keep, share : ndarray, (T,)
        How the average goes along.
    window : ndarray of int64, (T,)
        Which window ends at a step, -1 for none.
    values, weights : ndarray, (W, B[, outputs]), (W, B)
        Of each window.
    """

    keep: np.ndarray
    share: np.ndarray
    window: np.ndarray
    values: np.ndarray
    weights: np.ndarray

    def part(self, first: int, last: int) -> CheckedWindows:
        """Those of some steps, from 0; windows are numbered as before.

        Parameters
        ----------
        first, last : int
            From the one up to before the other.

        Returns
        -------
        CheckedWindows
        """
        steps = slice(first, last)
        return CheckedWindows(
            self.keep[steps], self.share[steps], self.window[steps], self.values, self.weights
        )

    def alone(self, first: int, last: int) -> tuple[CheckedWindows, int]:
        """Those of some steps, windows that end in them numbered from 0; and the number of the first.

        Parameters
        ----------
        first, last : int
            From the one up to before the other.

        Returns
        -------
        CheckedWindows, int
        """
        part = self.part(first, last)
        ended = part.window[part.window >= 0]
        begin, end = (int(ended[0]), int(ended[-1]) + 1) if len(ended) else (0, 0)
        own = np.where(part.window >= 0, part.window - begin, -1)
        return CheckedWindows(
            part.keep, part.share, own, self.values[begin:end], self.weights[begin:end]
        ), begin


def check_windows(
    loss_function: str, targets: Any, steps: int, batch: int, outputs: int, dtype: np.dtype
) -> CheckedWindows:
    """Any targets as windows: a plain array is one step's, the same at each, `StepTargets` have one a step.

    Parameters
    ----------
    loss_function : {"cross_entropy", "mean_squared_error"}
        Which loss will see them.
    targets : WindowTargets, StepTargets or array_like
        What the user gave.
    steps, batch, outputs : int
        T, B and C.
    dtype : dtype
        Of the parameters.

    Returns
    -------
    CheckedWindows

    Raises
    ------
    TypeError, ValueError
        If they are not of that kind, shape or range.

    Examples
    --------
    >>> windows = check_windows("cross_entropy", WindowTargets([1], [2], [[0]]), 4, 1, 2, np.dtype(float))
    >>> windows.keep, windows.share, windows.window
    (array([1., 0., 1., 1.]), array([0. , 0.5, 0.5, 0. ]), array([-1, -1,  0, -1]))
    """
    dtype = np.empty(0, dtype).real.dtype if loss_function == "cross_entropy" else dtype
    if not isinstance(targets, WindowTargets):
        if isinstance(targets, CheckedWindows):
            return targets
        each: StepTargets = check_step_targets(loss_function, targets, steps, batch, outputs, dtype)
        values = np.broadcast_to(each.values, (steps, *each.values.shape[1:]))
        first = np.arange(steps)
        targets = WindowTargets(first, first, values, np.broadcast_to(each.weights, (steps, batch)))
    first, last = (_steps(name, getattr(targets, name)) for name in ("first", "last"))
    if len(first) != len(last) or not len(first):
        raise ValueError(
            f"targets.last: expected as many as in targets.first and at least one, got {len(last)} and "
            f"{len(first)}"
        )
    if (last < first).any() or (first[1:] <= last[:-1]).any() or first[0] < 0 or last[-1] >= steps:
        raise ValueError(
            f"targets.first, targets.last: expected windows one after the other within steps 0 to "
            f"{steps - 1}, got first {_few(first)} and last {_few(last)}"
        )
    keep, share, window = np.ones(steps, dtype), np.zeros(steps, dtype), np.full(steps, -1)
    keep[first] = 0
    for begin, end in zip(first, last, strict=True):
        share[begin : end + 1] = 1 / (end + 1 - begin)
    window[last] = np.arange(len(last))
    values = _values(loss_function, targets.values, len(first), batch, outputs, dtype)
    return CheckedWindows(keep, share, window, values, _weights(targets.weights, len(first), batch, dtype))


def _steps(name: str, value: Any) -> np.ndarray:
    array = checks.as_numpy(f"targets.{name}", value)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise TypeError(
            f"targets.{name}: expected whole numbers (W,), the steps of windows, got {array.dtype} of shape "
            f"{array.shape}"
        )
    return array.astype(np.int64)


def _few(steps: np.ndarray) -> str:
    shown = ", ".join(str(step) for step in steps[:5])
    return f"[{shown}{', ...' if len(steps) > 5 else ''}]"


def _values(
    loss_function: str, values: Any, windows: int, batch: int, outputs: int, dtype: np.dtype
) -> np.ndarray:
    array = checks.as_numpy("targets.values", values)
    if loss_function == "mean_squared_error":
        return np.ascontiguousarray(
            checks.float_array("targets.values", array, (windows, batch, outputs), dtype)
        )
    if array.shape != (windows, batch):
        raise ValueError(
            f"targets.values: expected labels of shape {(windows, batch)}, one for each window and sample, "
            f"got {array.shape}"
        )
    flat = array.reshape(-1)
    return np.ascontiguousarray(
        check_targets(loss_function, flat, flat.size, outputs, dtype).reshape(array.shape)
    )


def _weights(weights: Any, windows: int, batch: int, dtype: np.dtype) -> np.ndarray:
    if weights is None:
        return np.ones((windows, batch), dtype)
    array = checks.as_numpy("targets.weights", weights)
    if array.dtype == np.dtype(bool):
        array = array.astype(dtype)
    shape = (windows,) if array.ndim == 1 else (windows, batch)
    array = checks.float_array("targets.weights", array, shape, dtype)
    return np.ascontiguousarray(
        np.broadcast_to(array[:, None] if array.ndim == 1 else array, (windows, batch))
    )
