"""How a network with images lies in memory while it relaxes: one row a sample, channels last.

All layers of a sample stand one after the other in one row, dense ones as they are, images as (H, W, C) with
the zeros around them that the coupling above correlates.  A row of a patch is then one contiguous run.  Two
tables of whole numbers say where everything is, so that one compiled kernel serves all depths and shapes.
"""

from __future__ import annotations

import numpy as np

from refsnn.kernels.convergent import Coupling

# A layer reaches from `start` to `stop` with its border; its units are `rows` runs of `length`, `stride`
# apart, from `first` on.
LAYER = np.dtype([(name, np.int64) for name in ("start", "stop", "first", "rows", "length", "stride")])
# Two layers; where W and V start; units or channels of post, and terms in each of its sums.  Of a
# convolution: channels of pre, F, F_p, whether maxima are pooled, and the sides of the part of the map that
# windows cover.  F = 0 says dense.
_FIELDS = (
    *("post", "pre", "weight", "feedback", "outs", "terms"),
    *("channels", "kernel", "window", "maxima", "height", "width"),
)
COUPLING = np.dtype([(name, np.int64) for name in _FIELDS])


def paddings_of(couplings: tuple[Coupling, ...], layers: int) -> list[int]:
    """Rows of zeros around each layer: the padding of the coupling that correlates it.

    Examples
    --------
    >>> kernel = np.ones((1, 1, 3, 3))
    >>> paddings_of((Coupling(0, 1, kernel, kernel, padding=1),), 2)
    [0, 1]
    """
    paddings = [0] * layers
    for coupling in couplings:
        paddings[coupling.pre] = coupling.padding
    return paddings


def layer_table(layers: tuple[np.ndarray, ...], paddings: list[int]) -> np.ndarray:
    """Where each layer lies in the row of a sample.

    Parameters
    ----------
    layers : tuple of ndarray, (B, d) or (B, C, H, W)
        States.
    paddings : list of int
        From `paddings_of`.

    Returns
    -------
    ndarray of LAYER

    Examples
    --------
    >>> layer_table((np.zeros((1, 5)), np.zeros((1, 2, 3, 3))), [0, 1])["start"]
    array([0, 5])
    """
    table, start = np.zeros(len(layers), LAYER), 0
    for row, layer, padding in zip(table, layers, paddings, strict=True):
        height, width, channels = _as_image(layer)
        stride = (width + 2 * padding) * channels
        stop = start + (height + 2 * padding) * stride
        row["start"], row["stop"], row["first"] = start, stop, start + padding * (stride + channels)
        row["rows"], row["length"], row["stride"] = height, width * channels, stride
        start = stop
    return table


def coupling_table(
    couplings: tuple[Coupling, ...], layers: tuple[np.ndarray, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """What each coupling is, and all weights in one array.

    Parameters
    ----------
    couplings : tuple of Coupling
        Of the network.
    layers : tuple of ndarray
        States.

    Returns
    -------
    ndarray of COUPLING, ndarray
        Weights are (d_post, d_pre) or (C_post, F F C_pre), flat, with pre in the order of the row.

    Examples
    --------
    >>> weight = np.arange(8.0).reshape(1, 8)
    >>> states = np.zeros((1, 1)), np.zeros((1, 2, 2, 2))
    >>> coupling_table((Coupling(0, 1, weight, weight),), states)[1]
    array([0., 4., 1., 5., 2., 6., 3., 7.])
    """
    table, arrays, size = np.zeros(len(couplings), COUPLING), [np.empty(0, layers[0].dtype)], 0
    for row, coupling in zip(table, couplings, strict=True):
        weight, pre = coupling.weight, layers[coupling.pre]
        row["post"], row["pre"] = coupling.post, coupling.pre
        row["outs"], row["terms"] = len(weight), weight[0].size
        row["height"] = row["width"] = 1
        if weight.ndim == 4:
            height, width, _ = _as_image(layers[coupling.post])
            row["channels"], row["kernel"], row["window"] = weight.shape[1], weight.shape[3], coupling.window
            row["maxima"] = coupling.pooling == "max" and coupling.window > 1
            row["height"], row["width"] = height * coupling.window, width * coupling.window
        row["weight"] = row["feedback"] = size
        arrays.append(_ordered(weight, pre))
        if coupling.feedback is not weight:
            row["feedback"] += weight.size
            arrays.append(_ordered(coupling.feedback, pre))
        size = int(row["feedback"]) + weight.size
    return table, np.concatenate(arrays)


def channels_last(rows: np.ndarray, layer: np.ndarray) -> np.ndarray:
    """Rows (M, C H W) over the units of a layer, as rows (M, H W C).

    Examples
    --------
    >>> channels_last(np.arange(8.0).reshape(1, 8), np.zeros((1, 2, 2, 2)))
    array([[0., 4., 1., 5., 2., 6., 3., 7.]])
    """
    height, width, channels = _as_image(layer)
    images = np.moveaxis(rows.reshape(-1, channels, height, width), 1, -1)
    return np.ascontiguousarray(images).reshape(rows.shape)


def pack(layers: tuple[np.ndarray, ...], paddings: list[int]) -> np.ndarray:
    """All layers of each sample in a row, (B, units and zeros), a copy.

    Examples
    --------
    >>> pack((np.ones((1, 2)), np.full((1, 1, 1, 1), 5.0)), [0, 1])
    array([[1., 1., 0., 0., 0., 0., 5., 0., 0., 0., 0.]])
    """
    rows = []
    for layer, padding in zip(layers, paddings, strict=True):
        if layer.ndim == 4:
            sides = (padding, padding)
            layer = np.pad(np.moveaxis(layer, 1, -1), ((0, 0), sides, sides, (0, 0)))
        rows.append(layer.reshape(len(layer), -1))
    return np.concatenate(rows, axis=1)


def unpack(
    packed: np.ndarray, layers: tuple[np.ndarray, ...], table: np.ndarray, paddings: list[int]
) -> None:
    """The inverse of `pack`, into `layers`; axes before the batch stay in front.

    Examples
    --------
    >>> image = np.zeros((1, 1, 1, 1))
    >>> unpack(np.arange(9.0)[None], (image,), layer_table((image,), [1]), [1])
    >>> image.item()
    4.0
    """
    for layer, row, padding in zip(layers, table, paddings, strict=True):
        part = packed[..., row["start"] : row["stop"]]
        if layer.ndim > packed.ndim:
            channels, height, width = layer.shape[-3:]
            rows, columns = slice(padding, padding + height), slice(padding, padding + width)
            image = part.reshape(*packed.shape[:-1], height + 2 * padding, width + 2 * padding, channels)
            part = np.moveaxis(image[..., rows, columns, :], -1, -3)
        layer[...] = part


def _as_image(layer: np.ndarray) -> tuple[int, int, int]:
    """Height, width and channels of (B, C, H, W), or of (B, d): one place with d channels."""
    return (1, 1, layer.shape[1]) if layer.ndim == 2 else (*layer.shape[2:], layer.shape[1])


def _ordered(weight: np.ndarray, pre: np.ndarray) -> np.ndarray:
    """A weight with pre in the order of the row, flat."""
    return (weight.transpose(0, 2, 3, 1) if weight.ndim == 4 else channels_last(weight, pre)).ravel()
