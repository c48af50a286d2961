"""Correlation with stride 1 and pooling: two linear maps with their adjoints, in plain NumPy.

Convolutional layers of these networks compute P(w * s): a cross-correlation (what deep-learning frameworks
call a convolution), then pooling over windows that do not overlap.  Given the record of a pooling (which
entry of each window was the largest) both are linear, so the feedback of the same coupling is the exact
adjoint, w ~* P^-1(s).  Leading axes broadcast: images and kernels may carry any number of them in front.
Where the arrays are complex nothing is conjugated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from refsnn import checks
from refsnn.kernels.plain.windows import gather, scatter
from refsnn.kernels.sliding import positions

POOLINGS = ("max", "average", "none")


@dataclass(frozen=True)
class Convolution:
    """What one convolutional coupling does: correlate with stride 1 and zero padding, then pool.

    Parameters
    ----------
    kernel : int
        F; kernels are F x F.
    padding : int
        P, rows and columns of zeros on each side, below F.
    pooling : {"max", "average", "none"}
        What is taken of each window; the first maximum in row-major order where there are several.
    window : int
        F_p; windows are F_p x F_p with stride F_p.
    crop : bool
        Drop the last rows and columns of a map that windows do not divide, instead of refusing it.

    Raises
    ------
    TypeError, ValueError
        For values that describe no convolution.

    Examples
    --------
    >>> Convolution(kernel=5, pooling="max", window=2).output_size((28, 28))
    (12, 12)
    """

    kernel: int = 5
    padding: int = 0
    pooling: str = "max"
    window: int = 2
    crop: bool = False

    def __post_init__(self) -> None:
        checks.count("kernel", self.kernel)
        checks.count("padding", self.padding, minimum=0)
        if self.padding >= self.kernel:
            raise ValueError(
                f"padding: expected less than the kernel size {self.kernel}, got {self.padding}; "
                "more only correlates zeros"
            )
        checks.choice("pooling", self.pooling, POOLINGS)
        checks.count("window", self.window)
        checks.instance("crop", self.crop, bool, "True")

    def map_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the map before pooling.

        Raises
        ------
        ValueError
            If the kernel is larger than the padded image.
        """
        height, width = (side + 2 * self.padding - self.kernel + 1 for side in size)
        if min(height, width) < 1:
            padded = tuple(side + 2 * self.padding for side in size)
            raise ValueError(
                f"kernel: expected at most the padded image {padded}, got {self.kernel}; "
                "take a smaller kernel or more padding"
            )
        return height, width

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width after pooling.

        Raises
        ------
        ValueError
            If the kernel does not fit, or windows do not divide the map and `crop` is False.
        """
        height, width = self.map_size(size)
        if self.pooling == "none":
            return height, width
        if min(height, width) < self.window:
            raise ValueError(f"window: expected at most the map {(height, width)}, got {self.window}")
        if not self.crop and (height % self.window or width % self.window):
            raise ValueError(
                f"window: expected a divisor of the map's sides {(height, width)}, got {self.window}; change "
                "kernel or padding, or drop the last rows and columns with crop=True"
            )
        return height // self.window, width // self.window


def patches(images: np.ndarray, kernel: int, padding: int) -> np.ndarray:
    """The kernel-sized pieces of each image, one a column.

    Parameters
    ----------
    images : ndarray, (..., C, H, W)
        Images.
    kernel, padding : int
        F and P.

    Returns
    -------
    ndarray, (..., C F F, H' W')
        Rows in the order of a flattened kernel, columns in the order of a flattened map.

    Examples
    --------
    >>> patches(np.arange(4.0).reshape(1, 2, 2), kernel=1, padding=0)
    array([[0., 1., 2., 3.]])
    """
    flat = images.reshape(-1, *images.shape[-3:])
    places = [positions(side, kernel, 1, padding) for side in images.shape[-2:]]
    columns = np.empty((images.shape[-3] * kernel * kernel, len(flat), places[0] * places[1]), images.dtype)
    gather(flat, kernel, 1, padding, columns)
    return np.swapaxes(columns, 0, 1).reshape(*images.shape[:-3], len(columns), -1)


def correlate(images: np.ndarray, kernels: np.ndarray, padding: int) -> np.ndarray:
    """w * s: [o, j, k] = sum over c, p, q of w[o, c, p, q] s[c, j + p - P, k + q - P].

    Parameters
    ----------
    images : ndarray, (..., B, C, H, W)
        s, zero outside its frame.
    kernels : ndarray, (..., O, C, F, F)
        w.
    padding : int
        P.

    Returns
    -------
    ndarray, (..., B, O, H', W')

    Examples
    --------
    >>> correlate(np.ones((1, 1, 3, 3)), np.ones((2, 1, 2, 2)), padding=0).shape
    (1, 2, 2, 2)
    """
    size = kernels.shape[-1]
    height, width = (side + 2 * padding - size + 1 for side in images.shape[-2:])
    flat = kernels.reshape(*kernels.shape[:-4], 1, kernels.shape[-4], -1)
    maps = flat @ patches(images, size, padding)
    return maps.reshape(*maps.shape[:-1], height, width)


def correlate_adjoint(
    maps: np.ndarray, kernels: np.ndarray, padding: int, size: tuple[int, int]
) -> np.ndarray:
    """w ~* m: the adjoint of `correlate` with respect to the images (a transposed convolution).

    Parameters
    ----------
    maps : ndarray, (..., B, O, H', W')
        What arrives.
    kernels : ndarray, (..., O, C, F, F)
        w.
    padding : int
        P.
    size : (H, W)
        Of the images.

    Returns
    -------
    ndarray, (..., B, C, H, W)

    Examples
    --------
    >>> correlate_adjoint(np.ones((1, 1, 2, 2)), np.ones((1, 1, 2, 2)), 0, (3, 3))[0, 0]
    array([[1., 2., 1.],
           [2., 4., 2.],
           [1., 2., 1.]])
    """
    *_, outs, channels, kernel, _ = kernels.shape
    flat = np.swapaxes(kernels.reshape(*kernels.shape[:-4], 1, outs, -1), -1, -2)
    columns = flat @ maps.reshape(*maps.shape[:-2], -1)
    images = np.empty((*columns.shape[:-2], channels, *size), columns.dtype)
    side_by_side = np.swapaxes(columns.reshape(-1, *columns.shape[-2:]), 0, 1)
    scatter(side_by_side, kernel, 1, padding, images.reshape(-1, channels, *size))
    return images


def kernel_products(maps: np.ndarray, images: np.ndarray, kernel: int, padding: int) -> np.ndarray:
    """d<m, w * s>/dw, summed over the batch (E20).

    Parameters
    ----------
    maps : ndarray, (B, O, H', W')
        m.
    images : ndarray, (B, C, H, W)
        s.
    kernel, padding : int
        F and P.

    Returns
    -------
    ndarray, (O, C, F, F)

    Examples
    --------
    >>> kernel_products(np.ones((1, 1, 2, 2)), np.ones((1, 1, 3, 3)), 2, 0)[0, 0]
    array([[4., 4.],
           [4., 4.]])
    """
    batch, outs = maps.shape[:2]
    columns = np.swapaxes(patches(images, kernel, padding), -1, -2)
    products = (maps.reshape(batch, outs, -1) @ columns).sum(axis=0)
    return products.reshape(outs, images.shape[1], kernel, kernel)


def windows_of(maps: np.ndarray, window: int) -> np.ndarray:
    """The windows of each map, flattened in row-major order; rows and columns left over are dropped.

    Parameters
    ----------
    maps : ndarray, (..., H', W')
        Maps.
    window : int
        F_p.

    Returns
    -------
    ndarray, (..., H'', W'', F_p F_p)

    Examples
    --------
    >>> windows_of(np.arange(4.0).reshape(2, 2), 2)
    array([[[0., 1., 2., 3.]]])
    """
    height, width = (side // window for side in maps.shape[-2:])
    cropped = maps[..., : height * window, : width * window]
    split = cropped.reshape(*maps.shape[:-2], height, window, width, window)
    return np.swapaxes(split, -3, -2).reshape(*maps.shape[:-2], height, width, window * window)


def from_windows(windows: np.ndarray, window: int, size: tuple[int, int]) -> np.ndarray:
    """The adjoint of `windows_of`: back to maps of `size`, zero where rows and columns were dropped.

    Examples
    --------
    >>> from_windows(np.arange(4.0).reshape(1, 1, 4), 2, (2, 3))
    array([[0., 1., 0.],
           [2., 3., 0.]])
    """
    *leading, height, width, _ = windows.shape
    split = np.swapaxes(windows.reshape(*leading, height, width, window, window), -3, -2)
    maps = np.zeros((*leading, *size), windows.dtype)
    maps[..., : height * window, : width * window] = split.reshape(*leading, height * window, width * window)
    return maps


def pooling_record(maps: np.ndarray, convolution: Convolution) -> np.ndarray | None:
    """iota: where in its window the largest entry stands, the first of equals; None unless pooling is "max".

    Examples
    --------
    >>> pooling_record(np.array([[1.0, 3.0], [3.0, 2.0]]), Convolution(kernel=1, pooling="max"))
    array([[1]])
    """
    if convolution.pooling != "max":
        return None
    return windows_of(maps, convolution.window).argmax(axis=-1)


def pool(maps: np.ndarray, record: np.ndarray | None, convolution: Convolution) -> np.ndarray:
    """P(m), linear given the record: gather, mean of each window, or nothing.

    Parameters
    ----------
    maps : ndarray, (..., H', W')
        m.
    record : ndarray of int, (..., H'', W''), or None
        From `pooling_record`, of these maps or of others.
    convolution : Convolution
        Kind of pooling and window.

    Returns
    -------
    ndarray, (..., H'', W'')

    Examples
    --------
    >>> pool(np.array([[1.0, 3.0], [5.0, 3.0]]), None, Convolution(kernel=1, pooling="average"))
    array([[3.]])
    """
    if convolution.pooling == "none":
        return maps
    windows = windows_of(maps, convolution.window)
    if record is None:
        return windows.mean(axis=-1)
    index = np.broadcast_to(record[..., None], (*windows.shape[:-1], 1))
    return np.take_along_axis(windows, index, axis=-1)[..., 0]


def unpool(
    pooled: np.ndarray, record: np.ndarray | None, convolution: Convolution, size: tuple[int, int]
) -> np.ndarray:
    """P^-1(s): the adjoint of `pool`, to maps of `size`: scatter, spread, or nothing.

    Examples
    --------
    >>> unpool(np.array([[4.0]]), None, Convolution(kernel=1, pooling="average"), (2, 2))
    array([[1., 1.],
           [1., 1.]])
    """
    if convolution.pooling == "none":
        return pooled
    entries = convolution.window**2
    if record is None:
        share = pooled / pooled.real.dtype.type(entries)
        windows = np.broadcast_to(share[..., None], (*pooled.shape, entries))
    else:
        windows = np.zeros((*pooled.shape, entries), pooled.dtype)
        index = np.broadcast_to(record[..., None], (*pooled.shape, 1))
        np.put_along_axis(windows, index, pooled[..., None], axis=-1)
    return from_windows(windows, convolution.window, size)
