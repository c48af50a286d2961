"""Images with class labels, split into training and test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn import checks


@dataclass(frozen=True)
class LabelledImages:
    """A training set and a test set.

    Attributes
    ----------
    train_images : ndarray, shape (N, pixels)
        Floats in [0, 1], rows of an image after one another.
    train_labels : ndarray of int64, shape (N,)
        Class of each image, from 0.
    test_images, test_labels : ndarray
        The same for the test set.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def one_hot(labels: Any, classes: int, dtype: Any = np.float64) -> np.ndarray:
    """Return a row per label with a one in the column of its class.

    Parameters
    ----------
    labels : array_like of int, shape (N,)
        Classes, each in [0, classes).
    classes : int
        Number of columns.
    dtype : dtype
        float64 or float32.

    Returns
    -------
    ndarray, shape (N, classes)

    Raises
    ------
    TypeError
        If the labels are not integers, or the dtype is not a float one.
    ValueError
        If a label is out of range, or the labels are not one row.

    Examples
    --------
    >>> one_hot([2, 0], classes=3)
    array([[0., 0., 1.],
           [1., 0., 0.]])
    """
    classes = checks.count("classes", classes)
    rows = np.asarray(labels)
    rows = checks.labels("labels", rows, rows.shape[0] if rows.ndim else 1, classes)
    targets = np.zeros((rows.size, classes), float_dtype(dtype))
    targets[np.arange(rows.size), rows] = 1
    return targets


def float_dtype(dtype: Any) -> np.dtype:
    """Return `dtype` as a NumPy dtype if images and targets can be given in it.

    Raises
    ------
    TypeError
        If it is neither float64 nor float32.

    Examples
    --------
    >>> float_dtype("float32")
    dtype('float32')
    """
    message = f"dtype: expected float64 or float32, got {dtype!r}"
    try:
        result = np.dtype(dtype)
    except TypeError as error:
        raise TypeError(message) from error
    if result not in checks.FLOATS:
        raise TypeError(message)
    return result
