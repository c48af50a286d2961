"""Losses of a readout (..., B, C): a mean over the batch, and its gradient.

They take complex readouts, and any axes in front of the batch, because the complex-step oracles do.
"""

from __future__ import annotations

import numpy as np

from refsnn import checks


def cross_entropy(outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Softmax cross-entropy: mean over b of log sum_c exp(o_bc) - o_b,label.

    Parameters
    ----------
    outputs : ndarray, (..., B, C)
        Logits.
    labels : ndarray of int, (B,)
        Classes.

    Returns
    -------
    ndarray, (...)
        The loss.

    Examples
    --------
    >>> float(cross_entropy(np.zeros((1, 2)), np.array([0]))) == float(np.log(2))
    True
    """
    highest = outputs.real.max(axis=-1, keepdims=True)  # a constant shift: exact, and never overflows
    shifted = outputs - highest
    logarithm = np.log(np.exp(shifted).sum(axis=-1))
    picked = np.take_along_axis(shifted, _index(outputs, labels), axis=-1)[..., 0]
    return (logarithm - picked).mean(axis=-1)


def softmax(outputs: np.ndarray) -> np.ndarray:
    """exp(o_c) / sum_c exp(o_c), along the last axis; never overflows.

    Parameters
    ----------
    outputs : ndarray, (..., C)
        Logits, possibly complex.

    Returns
    -------
    ndarray, (..., C)
        In the dtype of `outputs`.

    Examples
    --------
    >>> softmax(np.zeros((1, 2)))
    array([[0.5, 0.5]])
    """
    weights = np.exp(outputs - outputs.real.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def cross_entropy_gradient(outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(softmax(o) - onehot) / B.

    Parameters
    ----------
    outputs : ndarray, (B, C)
        Logits.
    labels : ndarray of int, (B,)
        Classes.

    Returns
    -------
    ndarray, (B, C)
        In the dtype of `outputs`.

    Examples
    --------
    >>> cross_entropy_gradient(np.zeros((1, 2)), np.array([0]))
    array([[-0.5,  0.5]])
    """
    gradient = softmax(outputs)
    gradient[np.arange(labels.size), labels] -= 1
    gradient /= labels.size
    return gradient


def cross_entropy_to(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Cross-entropy to distributions: mean over b of - sum_c y_bc log softmax(o)_bc.

    Parameters
    ----------
    outputs, targets : ndarray, (B, C)
        Logits and what their softmax should be; rows of the targets sum to 1.

    Returns
    -------
    ndarray, ()
        The loss; its gradient is (softmax(o) - y) / B.

    Examples
    --------
    >>> float(cross_entropy_to(np.zeros((1, 2)), np.array([[1.0, 0.0]]))) == float(np.log(2))
    True
    """
    shifted = outputs - outputs.real.max(axis=-1, keepdims=True)
    logarithm = np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return (targets * (logarithm - shifted)).sum(axis=-1).mean(axis=-1)


def mean_squared_error(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Mean over b of 1/2 sum_c (o_bc - y_bc)^2.

    Parameters
    ----------
    outputs : ndarray, (..., B, C)
        Readout.
    targets : ndarray, (B, C)
        What it should be.

    Returns
    -------
    ndarray, (...)
        The loss.

    Examples
    --------
    >>> float(mean_squared_error(np.ones((1, 2)), np.zeros((1, 2))))
    1.0
    """
    difference = outputs - targets
    return (difference * difference).sum(axis=-1).mean(axis=-1) / 2


def mean_squared_error_gradient(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(o - y) / B.

    Parameters
    ----------
    outputs, targets : ndarray, (B, C)
        Readout and what it should be.

    Returns
    -------
    ndarray, (B, C)
        In the dtype of `outputs`.

    Examples
    --------
    >>> mean_squared_error_gradient(np.ones((2, 1)), np.zeros((2, 1)))
    array([[0.5],
           [0.5]])
    """
    return (outputs - targets) / len(targets)


def mixed_loss(outputs: np.ndarray, labels: np.ndarray, squared_share: float) -> np.ndarray:
    """(1 - a) cross-entropy + a mean over b and c of (o_bc - onehot_bc)^2 (Xiao 2022, section 4.1).

    Parameters
    ----------
    outputs : ndarray, (..., B, C)
        Logits.
    labels : ndarray of int, (B,)
        Classes.
    squared_share : float
        a.

    Returns
    -------
    ndarray, (...)
        The loss.

    Examples
    --------
    >>> float(mixed_loss(np.array([[1.0, 0.0]]), np.array([0]), 1.0))
    0.0
    """
    share = outputs.real.dtype.type(squared_share)
    difference = outputs - _onehot(outputs, labels)
    squares = (difference * difference).mean(axis=(-2, -1))
    return (1 - share) * cross_entropy(outputs, labels) + share * squares


def mixed_loss_gradient(outputs: np.ndarray, labels: np.ndarray, squared_share: float) -> np.ndarray:
    """(1 - a) (softmax(o) - onehot) / B + 2 a (o - onehot) / (B C).

    Parameters
    ----------
    outputs : ndarray, (B, C)
        Logits.
    labels : ndarray of int, (B,)
        Classes.
    squared_share : float
        a.

    Returns
    -------
    ndarray, (B, C)
        In the dtype of `outputs`.

    Examples
    --------
    >>> mixed_loss_gradient(np.array([[0.0, 0.0]]), np.array([0]), 0.5)
    array([[-0.75,  0.25]])
    """
    share = outputs.real.dtype.type(squared_share)
    squares = 2 * (outputs - _onehot(outputs, labels)) / outputs.size
    return (1 - share) * cross_entropy_gradient(outputs, labels) + share * squares


def check_targets(loss: str, targets: object, batch: int, classes: int, dtype: np.dtype) -> np.ndarray:
    """Labels for the cross-entropy, real targets for the squared error, as the loss needs them.

    Parameters
    ----------
    loss : {"cross_entropy", "mean_squared_error"}
        Which loss will see them.
    targets : array_like
        (B,) integers or (B, C) floats.
    batch, classes : int
        B and C.
    dtype : dtype
        Of the parameters.

    Returns
    -------
    ndarray
        The checked targets.

    Raises
    ------
    TypeError, ValueError
        If they are not of that kind, shape or range.

    Examples
    --------
    >>> check_targets("cross_entropy", [1], 1, 2, np.dtype(float))
    array([1])
    """
    array = checks.as_numpy("targets", targets)
    if loss == "cross_entropy":
        if array.shape == (batch, classes):
            raise ValueError(
                f"targets: expected labels (B,) under loss_function='cross_entropy', got shape {array.shape} "
                "as of one-hot targets; take their argmax, or loss_function='mean_squared_error'"
            )
        return checks.labels("targets", targets, batch, classes)
    if array.ndim == 1 and array.dtype.kind in "iu":
        raise TypeError(
            f"targets: expected one-hot (B, classes) floats under loss_function='mean_squared_error', got "
            f"dtype {array.dtype} of shape {array.shape} as of labels; take rows of numpy.eye({classes}), or "
            "loss_function='cross_entropy'"
        )
    return checks.float_array("targets", targets, (batch, classes), dtype)


def _onehot(outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.eye(outputs.shape[-1], dtype=outputs.real.dtype)[labels]


def _index(outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.broadcast_to(labels[:, None], (*outputs.shape[:-1], 1))


LOSSES = {
    "cross_entropy": (cross_entropy, cross_entropy_gradient),
    "mean_squared_error": (mean_squared_error, mean_squared_error_gradient),
}
