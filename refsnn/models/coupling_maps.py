"""What a coupling does to the two layers it joins: bilinear maps of a weight and a rate.

A coupling adds <h_post, A(W) h_pre + b> to the primitive function.  `up` is A(W) h_pre, `down` its adjoint
A(W)^T h_post, and `products` the derivative of the inner product with respect to W.  For max pooling A
depends on the state through the record of where each maximum stands; given the record it is linear, and
`record` says what it is at a state.  Leading axes of weights and rates broadcast, for tangents.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from refsnn.models.convolution import (
    Convolution,
    correlate,
    correlate_adjoint,
    kernel_products,
    pool,
    pooling_record,
    unpool,
)

Record = Any  # where maxima stand, or None


class CouplingMap(Protocol):
    """What `Wiring` asks of a coupling; rates have the layer's shape behind the batch."""

    def weight_shape(self) -> tuple[int, ...]:
        """Shape of W."""
        ...

    def bias_width(self) -> int:
        """Entries of b: units of a dense layer, channels of a convolutional one."""
        ...

    def feedback_shape(self) -> tuple[int, ...]:
        """Shape of a feedback V of its own."""
        ...

    def fan_in(self) -> tuple[int, int]:
        """Terms in a sum on the way up, and on the way down."""
        ...

    def as_weight(self, feedback: np.ndarray) -> np.ndarray:
        """V as the W whose `down` it is; its own inverse but for the shape."""
        ...

    def record(self, weight: np.ndarray, pre: np.ndarray) -> Record:
        """Where the maxima stand when `pre` is seen through `weight`."""
        ...

    def up(self, weight: np.ndarray, pre: np.ndarray, record: Record) -> np.ndarray:
        """A(W) h_pre, in the shape of post."""
        ...

    def down(self, weight: np.ndarray, post: np.ndarray, record: Record) -> np.ndarray:
        """A(W)^T h_post, in the shape of pre."""
        ...

    def products(self, post: np.ndarray, pre: np.ndarray, record: Record) -> np.ndarray:
        """d<h_post, A(W) h_pre>/dW, summed over the batch."""
        ...

    def spread_bias(self, bias: np.ndarray) -> np.ndarray:
        """b in the shape of post, with an axis for the batch."""
        ...

    def bias_products(self, post: np.ndarray) -> np.ndarray:
        """d<h_post, b>/db, summed over the batch."""
        ...


@dataclass(frozen=True)
class DenseMap:
    """A matrix W (d_post, d_pre) between two layers, flattened in row-major order where one is an image.

    Examples
    --------
    >>> DenseMap((2,), (3, 4, 4)).weight_shape()
    (2, 48)
    """

    post_shape: tuple[int, ...]
    pre_shape: tuple[int, ...]

    def weight_shape(self) -> tuple[int, ...]:
        """(d_post, d_pre)."""
        return int(np.prod(self.post_shape)), int(np.prod(self.pre_shape))

    def bias_width(self) -> int:
        """d_post."""
        return int(np.prod(self.post_shape))

    def feedback_shape(self) -> tuple[int, ...]:
        """(d_pre, d_post)."""
        return self.weight_shape()[::-1]

    def fan_in(self) -> tuple[int, int]:
        """d_pre and d_post."""
        post, pre = self.weight_shape()
        return pre, post

    def as_weight(self, feedback: np.ndarray) -> np.ndarray:
        """V^T; of a W it gives the V."""
        return np.swapaxes(feedback, -1, -2)

    def record(self, weight: np.ndarray, pre: np.ndarray) -> Record:
        """None: nothing is pooled."""
        return None

    def up(self, weight: np.ndarray, pre: np.ndarray, record: Record = None) -> np.ndarray:
        """h_pre W^T: states are rows."""
        return unflat(flat(pre, self.pre_shape) @ np.swapaxes(weight, -1, -2), self.post_shape)

    def down(self, weight: np.ndarray, post: np.ndarray, record: Record = None) -> np.ndarray:
        """h_post W."""
        return unflat(flat(post, self.post_shape) @ weight, self.pre_shape)

    def products(self, post: np.ndarray, pre: np.ndarray, record: Record = None) -> np.ndarray:
        """h_post^T h_pre."""
        return flat(post, self.post_shape).T @ flat(pre, self.pre_shape)

    def spread_bias(self, bias: np.ndarray) -> np.ndarray:
        """b, one an output."""
        return unflat(bias[..., None, :], self.post_shape)

    def bias_products(self, post: np.ndarray) -> np.ndarray:
        """sum over the batch of h_post."""
        return flat(post, self.post_shape).sum(axis=0)


@dataclass(frozen=True)
class ConvolutionalMap:
    """A kernel w (C_post, C_pre, F, F), correlated with pre and pooled (E18), (E19), (E20).

    Examples
    --------
    >>> ConvolutionalMap(Convolution(), (64, 4, 4), (32, 12, 12)).weight_shape()
    (64, 32, 5, 5)
    """

    convolution: Convolution
    post_shape: tuple[int, ...]
    pre_shape: tuple[int, ...]

    @property
    def image(self) -> tuple[int, int]:
        """(H, W) of pre."""
        return self.pre_shape[1], self.pre_shape[2]

    def weight_shape(self) -> tuple[int, ...]:
        """(C_post, C_pre, F, F)."""
        kernel = self.convolution.kernel
        return self.post_shape[0], self.pre_shape[0], kernel, kernel

    def bias_width(self) -> int:
        """C_post: one bias a channel."""
        return self.post_shape[0]

    def feedback_shape(self) -> tuple[int, ...]:
        """As the weight: feedback is the adjoint of a correlation with kernels of its own."""
        return self.weight_shape()

    def fan_in(self) -> tuple[int, int]:
        """C_pre F^2 and C_post F^2."""
        area = self.convolution.kernel**2
        return self.pre_shape[0] * area, self.post_shape[0] * area

    def as_weight(self, feedback: np.ndarray) -> np.ndarray:
        """Itself."""
        return feedback

    def record(self, weight: np.ndarray, pre: np.ndarray) -> Record:
        """iota of w * h_pre; the bias of a channel moves all of a window alike."""
        if self.convolution.pooling != "max":
            return None
        return pooling_record(correlate(pre, weight, self.convolution.padding), self.convolution)

    def up(self, weight: np.ndarray, pre: np.ndarray, record: Record) -> np.ndarray:
        """P(w * h_pre) at the given record."""
        return pool(correlate(pre, weight, self.convolution.padding), record, self.convolution)

    def down(self, weight: np.ndarray, post: np.ndarray, record: Record) -> np.ndarray:
        """w ~* P^-1(h_post)."""
        return correlate_adjoint(self._unpooled(post, record), weight, self.convolution.padding, self.image)

    def products(self, post: np.ndarray, pre: np.ndarray, record: Record) -> np.ndarray:
        """(E20): corr(h_pre, P^-1(h_post))."""
        maps = self._unpooled(post, record)
        return kernel_products(maps, pre, self.convolution.kernel, self.convolution.padding)

    def spread_bias(self, bias: np.ndarray) -> np.ndarray:
        """b of each channel; broadcasts over its image."""
        return bias[..., None, :, None, None]

    def bias_products(self, post: np.ndarray) -> np.ndarray:
        """sum over the batch and the image of h_post."""
        return post.sum(axis=(0, 2, 3))

    def _unpooled(self, post: np.ndarray, record: Record) -> np.ndarray:
        return unpool(post, record, self.convolution, self.convolution.map_size(self.image))


def flat(rate: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A layer's rate (..., *shape) with its units in one axis, row-major.

    Examples
    --------
    >>> flat(np.zeros((5, 3, 2, 2)), (3, 2, 2)).shape
    (5, 12)
    """
    return rate if len(shape) == 1 else rate.reshape(*rate.shape[: -len(shape)], -1)


def unflat(rate: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The inverse of `flat`.

    Examples
    --------
    >>> unflat(np.zeros((5, 12)), (3, 2, 2)).shape
    (5, 3, 2, 2)
    """
    return rate if len(shape) == 1 else rate.reshape(*rate.shape[:-1], *shape)
