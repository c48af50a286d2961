"""Convolutions: I = W * z + b, a cross-correlation with zeros around the image, by patches and products.

    I[o, y, x] = sum over c, i, j of W[o, c, i, j] z[c, y s + i - p, x s + j - p] + b[o].

The patches of a few samples at a time stand side by side as the columns of a matrix; the weight times that
matrix is a matrix product.  The patches of a whole batch never exist together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from refsnn import checks
from refsnn.kernels import BACKENDS
from refsnn.models.operators.dense import through_standardisation, used_tangent, with_used_weight
from refsnn.models.operators.images import image_shape, kernels_for, window_places
from refsnn.models.operators.operator import LinearOperator, Shape, Weights
from refsnn.models.workspace import Empty

# As many columns let a matrix product run at its speed; more only leave the cache.
_COLUMNS_AT_ONCE = 256


@dataclass(frozen=True)
class Convolution2d(LinearOperator):
    """I = W * z + b of images (C, H, W).

    Parameters
    ----------
    channels : int
        Number of output channels.
    kernel, stride, padding : int
        Kernels are kernel x kernel, `stride` pixels apart, on images with `padding` zeros on each side.
    groups : int
        Channels in and out fall into as many blocks that do not see each other.
    with_bias : bool
        Whether there is a b, one a channel.
    standardise : bool
        Whether the weight that is used is the standardised one, with a learnable gain (Xiao 2022, Eq. 13).
    backend : {"plain", "cpu", "cuda"}
        Who makes the patches; "plain" whenever numbers are complex.

    Raises
    ------
    TypeError, ValueError
        For values that describe no convolution.

    Examples
    --------
    >>> operator = Convolution2d(8, kernel=3, stride=2, padding=1)
    >>> operator.parameter_shapes((3, 16, 16)), operator.output_shape((3, 16, 16))
    ({'weight': (8, 3, 3, 3), 'bias': (8,)}, (8, 8, 8))
    """

    channels: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    with_bias: bool = True
    standardise: bool = False
    backend: str = "cpu"

    def __post_init__(self) -> None:
        for name in ("channels", "kernel", "stride", "groups"):
            object.__setattr__(self, name, checks.count(name, getattr(self, name)))
        object.__setattr__(self, "padding", checks.count("padding", self.padding, minimum=0))
        if self.padding >= self.kernel:
            raise ValueError(
                f"padding: expected less than the kernel size {self.kernel}, got {self.padding}; "
                "more only correlates zeros"
            )
        if self.channels % self.groups:
            raise ValueError(f"groups: expected a divisor of channels={self.channels}, got {self.groups}")
        checks.instance("with_bias", self.with_bias, bool, "True")
        checks.instance("standardise", self.standardise, bool, "False")
        checks.choice("backend", self.backend, BACKENDS)

    def output_shape(self, shape: Shape) -> Shape:
        """(channels, H', W'), of images.

        Raises
        ------
        ValueError
            If inputs are no images, `groups` do not divide their channels, the kernel does not fit, or one
            input is too few to be standardised.
        """
        image = image_shape("kernel", "a convolution", shape)
        if image[0] % self.groups:
            raise ValueError(
                f"groups: expected a divisor of the {image[0]} channels that arrive, got {self.groups}"
            )
        places = window_places("kernel", image, self.kernel, self.stride, self.padding)
        fan_in = self.fan(shape)[0]
        if self.standardise and fan_in < 2:
            raise ValueError(f"standardise: expected a fan-in of at least 2, got {fan_in}; take it off")
        return self.channels, *places

    def parameter_shapes(self, shape: Shape) -> dict[str, Shape]:
        """`weight` (channels, C / groups, kernel, kernel); `gain` and `bias` (channels,) if any."""
        shapes: dict[str, Shape] = {
            "weight": (self.channels, shape[0] // self.groups, self.kernel, self.kernel)
        }
        if self.standardise:
            shapes["gain"] = (self.channels,)
        if self.with_bias:
            shapes["bias"] = (self.channels,)
        return shapes

    def fan(self, shape: Shape) -> tuple[int, int]:
        """Inputs of one output, and output channels times the area of a kernel."""
        area = self.kernel * self.kernel
        return shape[0] // self.groups * area, self.channels * area

    def prepared(self, weights: Weights) -> Weights:
        """With the weight that acts under "used"."""
        return with_used_weight(self.standardise, weights)

    def linear(self, weights: Weights, inputs: np.ndarray, empty: Empty = np.empty) -> np.ndarray:
        """W * z."""
        return self._correlated(self._grouped(weights["used"]), inputs, empty=empty)

    def forward(self, weights: Weights, inputs: np.ndarray, empty: Empty = np.empty) -> np.ndarray:
        """W * z + b."""
        return self._correlated(self._grouped(weights["used"]), inputs, self.bias(weights), empty=empty)

    def transpose(
        self, weights: Weights, adjoint: np.ndarray, shape: Shape, empty: Empty = np.empty
    ) -> np.ndarray:
        """The transposed convolution: patches get W^T g, and each pixel sums its patches."""
        used = self._grouped(weights["used"])
        if self.stride == 1:
            padding = self.kernel - 1 - self.padding
            return self._correlated(self._turned(used), adjoint, padding=padding, empty=empty)
        used = np.swapaxes(used, 1, 2)
        images = empty((len(adjoint), *shape), np.result_type(used, adjoint))
        columns = _Columns(self.groups, used.shape[1], adjoint[0, 0].size, images.dtype)
        scatter = kernels_for(self.backend, images).scatter
        for block in columns.blocks(len(adjoint)):
            np.matmul(used, self._side_by_side(adjoint[block]), out=columns.of(block))
            scatter(columns.by_sample(block), self.kernel, self.stride, self.padding, images[block])
        return images

    def bias(self, weights: Weights) -> np.ndarray | None:
        """b as (channels, 1, 1), or None."""
        return weights["bias"][:, None, None] if self.with_bias else None

    def tangent(self, weights: Weights, weight_tangents: Weights, inputs: np.ndarray) -> np.ndarray:
        """dW * z + db."""
        used = used_tangent(self.standardise, weights, weight_tangents)
        leading, outs = used.shape[:-4], self.channels // self.groups
        # each direction is more output channels of its group, so that patches are made once
        stacked = np.moveaxis(used.reshape(-1, self.groups, outs, used[(0,) * (used.ndim - 3)].size), 0, 1)
        moved = self._correlated(stacked.reshape(self.groups, -1, stacked.shape[-1]), inputs)
        split = moved.reshape(len(inputs), self.groups, -1, outs, *moved.shape[2:])
        moved = np.moveaxis(split, 2, 0).reshape(*leading, len(inputs), self.channels, *moved.shape[2:])
        return moved + weight_tangents["bias"][..., None, :, None, None] if self.with_bias else moved

    def products(
        self, weights: Weights, adjoint: np.ndarray, inputs: np.ndarray, adjoint_total: np.ndarray
    ) -> Weights:
        """The correlation of g and z, through the standardisation if there is one; `adjoint_total` summed."""
        dtype = np.result_type(adjoint, inputs)
        by_used = np.zeros((self.groups, self.channels // self.groups, self.fan(inputs.shape[1:])[0]), dtype)
        product = np.empty_like(by_used)
        for block, patches in self._patches(inputs, dtype, self.padding):
            np.matmul(self._side_by_side(adjoint[block]), np.swapaxes(patches, 1, 2), out=product)
            by_used += product
        gradients = through_standardisation(
            self.standardise, weights, by_used.reshape(weights["weight"].shape)
        )
        if self.with_bias:
            gradients["bias"] = adjoint_total.sum(axis=(0, 2, 3))
        return gradients

    # -- matrices: W as (G, O / G, F), patches as (G, F, n P), maps as (G, O / G, n P) ------------------

    def _grouped(self, weight: np.ndarray) -> np.ndarray:
        return weight.reshape(self.groups, self.channels // self.groups, -1)

    def _turned(self, grouped: np.ndarray) -> np.ndarray:
        """W^T, (G, C / G, O / G k k), kernels turned by half a circle: with stride 1 it correlates too."""
        groups, outs = grouped.shape[:2]
        kernels = grouped.reshape(groups, outs, -1, self.kernel, self.kernel)[..., ::-1, ::-1]
        return np.swapaxes(kernels, 1, 2).reshape(groups, kernels.shape[2], -1)

    def _side_by_side(self, maps: np.ndarray) -> np.ndarray:
        """Maps (n, O, H', W') as one matrix for each group."""
        samples, channels = maps.shape[:2]
        flat = np.swapaxes(maps.reshape(samples, channels, -1), 0, 1)
        return flat.reshape(self.groups, channels // self.groups, -1)

    def _correlated(
        self,
        grouped: np.ndarray,
        inputs: np.ndarray,
        bias: np.ndarray | None = None,
        padding: int | None = None,
        empty: Empty = np.empty,
    ) -> np.ndarray:
        """W * z + b for W (G, any number of outputs, F), in steps of the stride."""
        padding = self.padding if padding is None else padding
        places = window_places("kernel", inputs.shape[1:], self.kernel, self.stride, padding)
        groups, outs = grouped.shape[:2]
        dtype = np.result_type(grouped, inputs, *(() if bias is None else (bias,)))
        maps = empty((len(inputs), groups * outs, *places), dtype)
        flat = maps.reshape(*maps.shape[:2], -1)
        bias = None if bias is None else bias.reshape(-1, 1)
        products = _Columns(groups, outs, places[0] * places[1], dtype)
        for block, patches in self._patches(inputs, dtype, padding):
            np.matmul(grouped, patches, out=products.of(block))
            product = np.swapaxes(products.by_sample(block), 0, 1)
            if bias is None:
                flat[block] = product
            else:
                np.add(product, bias, out=flat[block])
        return maps

    def _patches(
        self, inputs: np.ndarray, dtype: np.dtype, padding: int
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """Blocks of samples with their patches, which those of the next block overwrite."""
        window = self.kernel, self.stride, padding
        height, width = window_places("kernel", inputs.shape[1:], *window)
        fan_in = inputs.shape[1] // self.groups * self.kernel * self.kernel
        columns = _Columns(self.groups, fan_in, height * width, dtype)
        gather = kernels_for(self.backend, columns.memory).gather
        for block in columns.blocks(len(inputs)):
            gather(inputs[block], *window, columns.by_sample(block))
            yield block, columns.of(block)


class _Columns:
    """Memory for a block of samples side by side, (G, rows of a group, n P)."""

    def __init__(self, groups: int, rows: int, places: int, dtype: np.dtype) -> None:
        self.groups, self.rows, self.places = groups, rows, places
        self.samples = max(1, _COLUMNS_AT_ONCE // places)
        self.memory = np.empty(groups * rows * places * self.samples, dtype)
        self.views: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def blocks(self, samples: int) -> Iterator[slice]:
        """As many samples at a time as there is room for."""
        for first in range(0, samples, self.samples):
            yield slice(first, min(first + self.samples, samples))

    def by_sample(self, block: slice) -> np.ndarray:
        """(G rows, n, P), as the kernels see it."""
        return self._views(block.stop - block.start)[0]

    def of(self, block: slice) -> np.ndarray:
        """(G, rows, n P), as the products see it."""
        return self._views(block.stop - block.start)[1]

    def _views(self, samples: int) -> tuple[np.ndarray, np.ndarray]:
        """Both, made once for each size of a block."""
        if samples not in self.views:
            rows = self.groups * self.rows
            by_sample = self.memory[: rows * samples * self.places].reshape(rows, samples, self.places)
            self.views[samples] = by_sample, by_sample.reshape(self.groups, self.rows, -1)
        return self.views[samples]
