"""Targets and weights of each step, at the door."""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn import checks
from refsnn.models.losses import check_targets
from refsnn.models.sequences import StepTargets


def check_step_targets(
    loss_function: str, targets: Any, steps: int, batch: int, outputs: int, dtype: np.dtype
) -> StepTargets:
    """What the user gave as targets, with an axis of time in front of values and weights.

    Parameters
    ----------
    loss_function : {"cross_entropy", "mean_squared_error"}
        Which loss will see them.
    targets : StepTargets or array_like
        A plain array is one step's, the same at each.
    steps, batch, outputs : int
        T, B and C.
    dtype : dtype
        Of the parameters.

    Returns
    -------
    StepTargets
        Values (T or 1, B) or (T or 1, B, C), weights (T or 1, B or 1).

    Raises
    ------
    TypeError, ValueError
        If they are not of that kind, shape or range.

    Examples
    --------
    >>> checked = check_step_targets("cross_entropy", [1], 5, 1, 2, np.dtype(float))
    >>> checked.values.shape, checked.weights
    ((1, 1), array([[1.]]))
    """
    axes = 1 if loss_function == "cross_entropy" else 2
    if not isinstance(targets, StepTargets):
        array = checks.as_numpy("targets", targets)
        if array.shape[: axes + 1] == (steps, batch, outputs)[: axes + 1] and array.ndim == axes + 1:
            raise ValueError(
                f"targets: expected those of one step, the same at each, got shape {array.shape}; give "
                "targets of each step as StepTargets(values)"
            )
        targets = StepTargets(check_targets(loss_function, array, batch, outputs, dtype))
    values = checks.as_numpy("targets.values", targets.values)
    if values.ndim == axes:
        values = check_targets(loss_function, values, batch, outputs, dtype)[None]
    elif axes == 1:
        values = _labels(values, steps, batch, outputs)
    else:
        length = _length(values, steps)
        values = checks.float_array("targets.values", values, (length, batch, outputs), dtype)
    return StepTargets(
        np.ascontiguousarray(values), _weights(targets.weights, steps, batch, dtype)
    )  # fmt: skip


def _length(values: np.ndarray, steps: int) -> int:
    """What the axis of time must be."""
    return 1 if values.ndim and len(values) == 1 else steps


def _labels(values: np.ndarray, steps: int, batch: int, outputs: int) -> np.ndarray:
    expected = (_length(values, steps), batch)
    if values.shape != expected:
        raise ValueError(
            f"targets.values: expected labels of shape {expected}, one for each step and sample, got "
            f"{values.shape}; nothing is broadcast silently"
        )
    return checks.labels("targets.values", values.reshape(-1), values.size, outputs).reshape(expected)


def _weights(weights: Any, steps: int, batch: int, dtype: np.dtype) -> np.ndarray:
    if weights is None:
        return np.ones((1, 1), dtype)
    array = checks.as_numpy("targets.weights", weights)
    if array.dtype == np.dtype(bool):  # a mask
        array = array.astype(dtype)
    shape = (steps,) if array.ndim == 1 else (steps, batch)
    array = checks.float_array("targets.weights", array, shape, dtype)
    return np.ascontiguousarray(array[:, None] if array.ndim == 1 else array)
