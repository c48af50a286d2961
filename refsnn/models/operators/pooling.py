"""Pooling of images: means over windows or bins, which are linear, and maxima, which are so at a record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from refsnn import checks
from refsnn.kernels import BACKENDS
from refsnn.kernels.sliding import inside
from refsnn.models.operators.images import image_shape, kernels_for, window_places
from refsnn.models.operators.operator import LinearOperator, Operator, Shape, Weights
from refsnn.models.workspace import Empty

TIES = ("first", "split")


@dataclass(frozen=True)
class AveragePool(LinearOperator):
    """The mean of each window, zeros around the image included: always divided by window^2.

    Parameters
    ----------
    window : int
        Windows are window x window.
    stride : int, optional
        Pixels from one to the next; `window` by default, and then they do not overlap.  Rows and columns left
        over behind the last window are dropped.
    padding : int
        Zeros on each side.
    backend : {"plain", "cpu", "cuda"}
        Who sums; "plain" whenever numbers are complex.

    Raises
    ------
    TypeError, ValueError
        For values that describe no pooling.

    Examples
    --------
    >>> AveragePool(2).linear({}, np.arange(6.0).reshape(1, 1, 2, 3))
    array([[[[2.]]]])
    """

    window: int
    stride: int | None = None
    padding: int = 0
    backend: str = "cpu"

    def __post_init__(self) -> None:
        for name, value in _checked(self).items():
            object.__setattr__(self, name, value)

    def output_shape(self, shape: Shape) -> Shape:
        """(C, H', W'), of images.

        Raises
        ------
        ValueError
            If inputs are no images, or the window does not fit.
        """
        return _pooled_shape(self, shape)

    def linear(self, weights: Weights, inputs: np.ndarray, empty: Empty = np.empty) -> np.ndarray:
        """Means of windows."""
        pooled = empty((len(inputs), *self.output_shape(inputs.shape[1:])), inputs.dtype)
        kernels_for(self.backend, inputs).average_pool(inputs, *_window(self), pooled)
        return pooled

    def transpose(
        self, weights: Weights, adjoint: np.ndarray, shape: Shape, empty: Empty = np.empty
    ) -> np.ndarray:
        """1 / window^2 of what its windows got, to each pixel."""
        images = empty((len(adjoint), *shape), adjoint.dtype)
        kernels_for(self.backend, adjoint).average_pool_adjoint(adjoint, *_window(self), images)
        return images


@dataclass(frozen=True)
class AdaptiveAveragePool(LinearOperator):
    """Means over bins x bins bins that cover the image, of whatever size it is.

    Bin i of a side H is [floor(i H / n), ceil((i + 1) H / n)): bins overlap where n does not divide H.  Bins
    of rows and of columns are independent, so A is a matrix from each side: R z C^T.

    Parameters
    ----------
    bins : int
        n, along each side; 1 is the mean of the image.

    Raises
    ------
    TypeError, ValueError
        For anything but a positive integer.

    Examples
    --------
    >>> AdaptiveAveragePool(2).linear({}, np.arange(3.0).reshape(1, 1, 1, 3) * np.ones((1, 1, 3, 1)))
    array([[[[0.5, 1.5],
             [0.5, 1.5]]]])
    """

    bins: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "bins", checks.count("bins", self.bins))

    def output_shape(self, shape: Shape) -> Shape:
        """(C, bins, bins), of images.

        Raises
        ------
        ValueError
            If inputs are no images.
        """
        return image_shape("bins", "an average pool", shape)[0], self.bins, self.bins

    def linear(self, weights: Weights, inputs: np.ndarray, empty: Empty = np.empty) -> np.ndarray:
        """R z C^T, sums divided once."""
        rows, columns = self._members(inputs.shape[2:], inputs.dtype)
        return rows @ inputs @ columns.T / _areas(rows, columns)

    def transpose(
        self, weights: Weights, adjoint: np.ndarray, shape: Shape, empty: Empty = np.empty
    ) -> np.ndarray:
        """R^T g C: each pixel sums g_i / |bin_i| of its bins."""
        rows, columns = self._members(shape[1:], adjoint.dtype)
        return rows.T @ (adjoint / _areas(rows, columns)) @ columns

    def _members(self, size: Shape, dtype: np.dtype) -> list[np.ndarray]:
        """For rows and columns, (bins, side): 1 where the pixel is in the bin."""
        members = []
        for side in size:
            pixels, bins = np.arange(side), np.arange(self.bins)[:, None]
            first, last = bins * side // self.bins, -(-(bins + 1) * side // self.bins)
            members.append(((first <= pixels) & (pixels < last)).astype(np.empty(0, dtype).real.dtype))
        return members


def _areas(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Pixels of each bin."""
    return rows.sum(axis=1)[:, None] * columns.sum(axis=1)


@dataclass(frozen=True)
class MaxPool(Operator):
    """The maximum of each window, minus infinity around the image.

    Not linear, but given a record of which pixels were the largest it is.  So `forward` returns that record
    too, and `linear` and `transpose` take it in the place of weights.

    Parameters
    ----------
    window, stride, padding : int
        As in `AveragePool`; padding < window, so that each window meets the image.
    ties : {"first", "split"}
        Of equal maxima the first in row-major order of the window is taken, or all share alike.  Spikes
        are 0 or 1 and firing rates multiples of 1 / T, so ties are the rule.
    backend : {"plain", "cpu", "cuda"}
        Who searches; "split" is NumPy's.

    Raises
    ------
    TypeError, ValueError
        For values that describe no pooling.

    Examples
    --------
    >>> image = np.array([[[[1.0, 3.0], [3.0, 2.0]]]])
    >>> outputs, record = MaxPool(2).forward(image)
    >>> outputs, MaxPool(2).transpose(record, np.ones((1, 1, 1, 1)), (1, 2, 2))
    (array([[[[3.]]]]), array([[[[0., 1.],
             [0., 0.]]]]))
    """

    window: int
    stride: int | None = None
    padding: int = 0
    ties: str = "first"
    backend: str = "cpu"

    def __post_init__(self) -> None:
        for name, value in _checked(self).items():
            object.__setattr__(self, name, value)
        checks.choice("ties", self.ties, TIES)

    def output_shape(self, shape: Shape) -> Shape:
        """(C, H', W'), of images.

        Raises
        ------
        ValueError
            If inputs are no images, or the window does not fit.
        """
        return _pooled_shape(self, shape)

    def forward(self, inputs: np.ndarray, empty: Empty = np.empty) -> tuple[np.ndarray, np.ndarray]:
        """Maxima, and the record of who they were.

        Parameters
        ----------
        inputs : ndarray, (N, C, H, W)
            Finite.  Of complex numbers the real parts are compared; the imaginary ones follow as tangents.
        empty : callable
            Makes the results' arrays, as `numpy.empty` does.

        Returns
        -------
        outputs : ndarray, (N, C, H', W')
            The maxima.
        record : ndarray
            For "first" the index in H W, int32, (N, C, H', W'); for "split" the share of each pixel of the
            window, (window^2, N, C, H', W').
        """
        if np.iscomplexobj(inputs):
            outputs, record = self.forward(np.ascontiguousarray(inputs.real))
            return outputs + 1j * self.linear(record, inputs.imag), record
        shape = len(inputs), *self.output_shape(inputs.shape[1:])
        outputs, record = empty(shape, inputs.dtype), empty(shape, np.int32)
        kernels_for(self.backend, inputs).max_pool(inputs, *_window(self), outputs, record)
        if self.ties == "split":
            record = self._shares(inputs, outputs)
        return outputs, record

    def linear(self, record: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """The recorded pixels of any images (N, C, H, W), or with "split" their mean.

        Parameters
        ----------
        record : ndarray
            From `forward`.
        inputs : ndarray, (N, C, H, W)
            Tangents, or images.

        Returns
        -------
        ndarray, (N, C, H', W')
        """
        if self.ties == "first":
            flat = inputs.reshape(*inputs.shape[:2], -1)
            taken = np.take_along_axis(flat, record.reshape(*record.shape[:2], -1), axis=2)
            return taken.reshape(record.shape)
        outputs = np.zeros(record.shape[1:], inputs.dtype)
        for index, places, pixels in self._shifts(inputs.shape[2:]):
            outputs[places] += record[index][places] * inputs[pixels]
        return outputs

    def transpose(
        self, record: np.ndarray, adjoint: np.ndarray, shape: Shape, empty: Empty = np.empty
    ) -> np.ndarray:
        """What arrives, to the recorded pixels.

        Parameters
        ----------
        record : ndarray
            From `forward`.
        adjoint : ndarray, (N, C, H', W')
            What arrives.
        shape : (C, H, W)
            Of one image.
        empty : callable
            Makes the result's array, as `numpy.empty` does.

        Returns
        -------
        ndarray, (N, C, H, W)
        """
        images = empty((len(adjoint), *shape), adjoint.dtype)
        if self.ties == "first":
            kernels_for(self.backend, adjoint).max_pool_adjoint(adjoint, record, images)
            return images
        images[...] = 0
        for index, places, pixels in self._shifts(shape[1:]):
            images[pixels] += record[index][places] * adjoint[places]
        return images

    def _shares(self, inputs: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """1 / number of maxima for each pixel of a window that is one."""
        shares = np.zeros((self.window * self.window, *outputs.shape), inputs.dtype)
        for index, places, pixels in self._shifts(inputs.shape[2:]):
            shares[index][places] = inputs[pixels] == outputs[places]
        return shares / shares.sum(axis=0)

    def _shifts(self, size: Shape) -> Iterator[tuple[int, tuple, tuple]]:
        """For each pixel of the window: its index, at which places it is on the image, and which it is."""
        window, stride, padding = _window(self)
        places = window_places("window", (1, size[0], size[1]), window, stride, padding)
        for index in range(window * window):
            at: list[slice] = []
            pixels: list[slice] = []
            for shift, side, count in zip(divmod(index, window), size, places, strict=True):
                first, last = inside(side, count, stride, shift - padding)
                begin = first * stride + shift - padding
                at.append(slice(first, last))
                pixels.append(slice(begin, begin + (last - first) * stride, stride))
            yield index, (slice(None), slice(None), *at), (slice(None), slice(None), *pixels)


def _checked(pool: AveragePool | MaxPool) -> dict[str, int]:
    """Hyper-parameters of windows, with the default stride."""
    window = checks.count("window", pool.window)
    stride = window if pool.stride is None else checks.count("stride", pool.stride)
    padding = checks.count("padding", pool.padding, minimum=0)
    if padding >= window:
        raise ValueError(
            f"padding: expected less than the window {window}, got {padding}; windows would miss the image"
        )
    checks.choice("backend", pool.backend, BACKENDS)
    return {"window": window, "stride": stride, "padding": padding}


def _window(pool: AveragePool | MaxPool) -> tuple[int, int, int]:
    """Window, stride, padding."""
    return pool.window, pool.window if pool.stride is None else pool.stride, pool.padding


def _pooled_shape(pool: AveragePool | MaxPool, shape: Shape) -> Shape:
    image = image_shape("window", "pooling", shape)
    return image[0], *window_places("window", image, *_window(pool))
