"""What nodes without memory do: shapes of their outputs, and one step of values (B, *shape).

Linear, Affine    y = W x + b
Conv              y[o, p] = b[o] + sum over c, k of W[o, c, k] x[c, p stride + k dilation - padding]
SumPool, AvgPool  sum or mean of each window; the mean counts the zeros around the image
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from refsnn.nir.nodes import Node

Shape = tuple[int, ...]
Map = Callable[[np.ndarray], np.ndarray]


def output_shape(node: Node, shape: Shape) -> Shape:
    """Shape of what a node gives for inputs of `shape`, without the sample axis.

    Parameters
    ----------
    node : Node
        Of any kind.
    shape : tuple of int
        Of what arrives.

    Returns
    -------
    tuple of int

    Raises
    ------
    ValueError
        If such inputs do not fit.

    Examples
    --------
    >>> pool = Node("SumPool2d", {"kernel_size": [2, 2], "stride": [2, 2], "padding": [0, 0]})
    >>> output_shape(pool, (3, 8, 6))
    (3, 4, 3)
    """
    values = node.values
    if node.kind in ("Input", "Output"):
        declared = tuple(int(size) for size in np.atleast_1d(values["shape"]))
        if math.prod(declared) != math.prod(shape):
            raise ValueError(f"shape: expected {declared} to arrive, got {shape}")
        return shape
    if node.kind in ("Linear", "Affine"):
        weight = values["weight"].shape
        _expect("weight", shape, (*weight[:-2], weight[-1]))
        return (*weight[:-2], weight[-2])
    if node.kind in ("Conv1d", "Conv2d"):
        _check_image(node, shape)
        return (len(values["weight"]), *_places(shape[1:], *_windows(node, len(shape) - 1)))
    if node.kind in ("SumPool2d", "AvgPool2d"):
        if len(shape) != 3:
            raise ValueError(f"kernel_size: expected images (C, H, W) under {node.kind}, got {shape}")
        return (shape[0], *_places(shape[1:], *_windows(node, 2)))
    if node.kind == "Flatten":
        return _flattened(node, shape)
    own = node.parameter_shape()
    if math.prod(own) != 1:
        _expect("r" if node.is_neuron else node.kind.lower(), shape, own)
    return shape


def step_map(node: Node, shape: Shape, dtype: np.dtype) -> Map:
    """What a node without memory does to values (B, *shape) of one step.

    Parameters
    ----------
    node : Node
        Linear, Affine, Scale, a convolution, a pool, Flatten, Threshold, Input or Output.
    shape : tuple of int
        Of what arrives.
    dtype : dtype
        Of the values.

    Returns
    -------
    callable
        From (B, *shape) to (B, *output_shape(node, shape)).

    Raises
    ------
    ValueError
        If the node has memory.

    Examples
    --------
    >>> step_map(Node("Scale", {"scale": [2.0, 3.0]}), (2,), np.dtype(float))(np.ones((1, 2)))
    array([[2., 3.]])
    """
    values, target = node.values, output_shape(node, shape)
    if node.kind in ("Input", "Output"):
        return lambda x: x
    if node.kind in ("Linear", "Affine"):
        weight = values["weight"].astype(dtype)
        bias = values["bias"].astype(dtype) if node.kind == "Affine" else np.zeros(target, dtype)
        if weight.ndim == 2:
            return lambda x: x @ weight.T + bias
        return lambda x: np.einsum("...oi,b...i->b...o", weight, x) + bias
    if node.kind == "Scale":
        scale = values["scale"].astype(dtype)
        return lambda x: x * scale
    if node.kind == "Threshold":
        threshold = values["threshold"].astype(dtype)
        return lambda x: (x > threshold).astype(dtype)
    if node.kind == "Flatten":
        return lambda x: x.reshape(len(x), *target)
    if node.kind in ("Conv1d", "Conv2d"):
        return _convolution(node, shape, dtype)
    if node.kind in ("SumPool2d", "AvgPool2d"):
        windows = _windows(node, 2)
        area = dtype.type(math.prod(windows[0]) if node.kind == "AvgPool2d" else 1)
        return lambda x: _patches(x, *windows).sum(axis=(-2, -1)) / area
    raise ValueError(f"type: expected a node without memory, got {node.kind}")


def _convolution(node: Node, shape: Shape, dtype: np.dtype) -> Map:
    """W * x + b by groups; in one dimension the image has one row."""
    weight, bias = node.values["weight"].astype(dtype), node.values["bias"].astype(dtype)
    groups = int(np.asarray(node.values["groups"]))
    windows = _windows(node, len(shape) - 1)
    flat = len(shape) == 2
    if flat:
        weight = weight[:, :, None, :]
        windows = tuple(((0, 0) if index == 3 else 1, *part) for index, part in enumerate(windows))
    blocks = np.split(weight, groups)
    channels = shape[0] // groups

    def convolve(x: np.ndarray) -> np.ndarray:
        patches = _patches(x[:, :, None, :] if flat else x, *windows)
        parts = [
            np.tensordot(
                patches[:, index * channels : (index + 1) * channels], block, axes=((1, 4, 5), (1, 2, 3))
            )
            for index, block in enumerate(blocks)
        ]
        mapped = np.moveaxis(np.concatenate(parts, axis=-1) + bias, -1, 1)
        return np.ascontiguousarray(mapped[:, :, 0] if flat else mapped)

    return convolve


def _patches(x: np.ndarray, kernel: Shape, stride: Shape, dilation: Shape, padding: Shape) -> np.ndarray:
    """(B, C, H', W', kh, kw): what each window sees."""
    padded = np.pad(x, ((0, 0), (0, 0), *padding))  # type: ignore[arg-type]
    spans = tuple(d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True))
    seen = sliding_window_view(padded, spans, axis=(2, 3))
    return seen[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]


def _windows(node: Node, dimensions: int) -> tuple:
    """Kernel, stride, dilation, and padding as pairs (before, behind), each a tuple over dimensions."""
    values = node.values
    kernel = values["weight"].shape[2:] if "weight" in values else _each(values["kernel_size"], dimensions)
    stride = _each(values["stride"], dimensions)
    dilation = _each(values["dilation"], dimensions) if "dilation" in values else (1,) * dimensions
    padding = values["padding"]
    if isinstance(padding, str):
        if padding == "same" and set(stride) != {1}:
            raise ValueError(f"padding: expected a stride of 1 with 'same', got {stride}")
        total = [d * (k - 1) if padding == "same" else 0 for d, k in zip(dilation, kernel, strict=True)]
        return kernel, stride, dilation, tuple((side // 2, side - side // 2) for side in total)
    return kernel, stride, dilation, tuple((side, side) for side in _each(padding, dimensions))


def _each(value: np.ndarray, dimensions: int) -> Shape:
    """One integer for all dimensions, or one for each."""
    entries = tuple(int(entry) for entry in np.atleast_1d(value))
    if len(entries) == 1:
        return entries * dimensions
    if len(entries) != dimensions:
        raise ValueError(
            f"stride, padding, dilation, kernel_size: expected 1 or {dimensions} integers, got {entries}"
        )
    return entries


def _places(size: Shape, kernel: Shape, stride: Shape, dilation: Shape, padding: tuple) -> Shape:
    places = []
    for side, k, s, d, (before, behind) in zip(size, kernel, stride, dilation, padding, strict=True):
        room = side + before + behind - d * (k - 1) - 1
        if room < 0:
            raise ValueError(
                f"kernel: expected a window that fits into {size} with its padding, got {kernel}"
            )
        places.append(room // s + 1)
    return tuple(places)


def _check_image(node: Node, shape: Shape) -> None:
    """Channels and sides of what a convolution sees."""
    weight, groups = node.values["weight"], int(np.asarray(node.values["groups"]))
    wanted = weight.ndim - 1
    if len(shape) != wanted or shape[0] != weight.shape[1] * groups:
        sides = ", N)" if wanted == 2 else ", H, W)"
        raise ValueError(f"weight: expected inputs ({weight.shape[1] * groups}{sides}, got {shape}")
    declared = node.values.get("input_shape")
    if declared is not None and tuple(np.atleast_1d(declared).tolist()) != shape[1:]:
        raise ValueError(f"input_shape: expected {shape[1:]}, which arrives, got {declared.tolist()}")


def _flattened(node: Node, shape: Shape) -> Shape:
    start, end = (int(np.asarray(node.values[name])) for name in ("start_dim", "end_dim"))
    first, last = (place + len(shape) if place < 0 else place for place in (start, end))
    if not 0 <= first <= last < len(shape):
        raise ValueError(f"start_dim, end_dim: expected dimensions of {shape}, got {start} and {end}")
    return (*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :])


def _expect(name: str, shape: Shape, wanted: Shape) -> None:
    if shape != wanted:
        raise ValueError(f"{name}: expected inputs of shape {wanted}, got {shape}")
