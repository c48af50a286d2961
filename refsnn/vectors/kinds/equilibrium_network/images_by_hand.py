"""One convolutional coupling written out: a dense matrix for the correlation, loops over the windows."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

Shape = tuple[int, ...]


class ImageCoupling:
    """P(w * s) and its adjoint for rows of units, images flattened in the order (C, H, W).

    Parameters
    ----------
    post, pre : tuple of int
        (C, H, W) of both layers.
    padding, window : int
        P and F_p.
    pooling : {"max", "average", "none"}
        What is taken of a window.
    made : set of str
        Switches for mistakes.
    """

    def __init__(
        self, post: Shape, pre: Shape, padding: int, window: int, pooling: str, made: set[str]
    ) -> None:
        self.post, self.pre, self.padding, self.made = post, pre, padding, made
        self.pooling, self.window = pooling, 1 if pooling == "none" else window
        if "pooling-other" in made:
            self.pooling = {"max": "average", "average": "max", "none": "none"}[pooling]
        self.unrolled: list[tuple[Any, bool, Any]] = []  # the last kernels, and their matrices

    def matrix(self, kernels: Any, back: bool = False) -> Any:
        """A with (w * s) = A s: [(o, j, k), (c, j + p - P, k + q - P)] = w[o, c, p, q].

        Parameters
        ----------
        kernels : ndarray, (..., O, C, F, F)
            w.
        back : bool
            Whether it is to be transposed, for what goes down.

        Returns
        -------
        ndarray, (..., O H' W', C H W)
        """
        for known, way, matrix in self.unrolled:
            if known is kernels and way == back:
                return matrix
        (channels, height, width), size = self.pre, kernels.shape[-1]
        rows, columns = (side + 2 * self.padding - size + 1 for side in (height, width))
        outs = kernels.shape[-4]
        made = np.zeros((*kernels.shape[:-4], outs, rows, columns, channels, height, width), kernels.dtype)
        for j, k, p, q in product(range(rows), range(columns), range(size), range(size)):
            y, x = j + p - self.padding, k + q - self.padding
            if "padding-at-the-end" in self.made:
                y, x = j + p, k + q
            if "padding-repeats" in self.made:
                y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
            if 0 <= y < height and 0 <= x < width:
                made[..., :, j, k, :, y, x] += self._entry(kernels, p, q, back)
        matrix = made.reshape(*kernels.shape[:-4], outs * rows * columns, channels * height * width)
        self.unrolled = [*self.unrolled[-3:], (kernels, back, matrix)]
        return matrix

    def _entry(self, kernels: Any, p: int, q: int, back: bool) -> Any:
        last = kernels.shape[-1] - 1
        if ("kernel-flipped" in self.made) != (back and "feedback-unflipped" in self.made):
            p, q = last - p, last - q
        if "kernel-turned" in self.made:
            p, q = q, p
        return kernels[..., p, q]

    def maps(self, kernels: Any, heard: Any) -> Any:
        """w * s as images (..., B, O, H', W')."""
        found = heard @ np.swapaxes(self.matrix(kernels), -1, -2)
        size = kernels.shape[-1]
        rows, columns = (side + 2 * self.padding - size + 1 for side in self.pre[1:])
        return found.reshape(*found.shape[:-1], self.post[0], rows, columns)

    def corners(self, maps: Any) -> list[tuple[int, int, slice, slice]]:
        """Every window: its place in the pooled image, and its rows and columns in the map."""
        f = self.window
        rows, columns = maps.shape[-2] // f, maps.shape[-1] // f
        down = right = 0
        if "crop-front" in self.made:
            down, right = maps.shape[-2] - f * rows, maps.shape[-1] - f * columns
        return [
            (j, k, slice(down + f * j, down + f * j + f), slice(right + f * k, right + f * k + f))
            for j, k in product(range(rows), range(columns))
        ]

    def shares(self, maps: Any, back: bool = False) -> Any:
        """What each entry of a map counts in its window: 1 of a maximum, 1/F_p^2 of a mean, else 0."""
        real, area = np.real(maps), self.window**2
        found = np.zeros(maps.shape)
        for _, _, rows, columns in self.corners(maps):
            piece = real[..., rows, columns]
            entries = piece.reshape(*piece.shape[:-2], area)
            if self.pooling == "average":
                share = np.full(entries.shape, 1.0 if back and "average-whole" in self.made else 1 / area)
            elif back and "unpool-all" in self.made:
                share = np.ones(entries.shape)
            elif "all-maxima" in self.made:
                share = 1.0 * (entries == entries.max(axis=-1, keepdims=True))
                share = share / share.sum(axis=-1, keepdims=True)
            else:
                chosen = entries.argmax(axis=-1)
                if "last-maximum" in self.made:
                    chosen = area - 1 - entries[..., ::-1].argmax(axis=-1)
                if back and "unpool-first" in self.made:
                    chosen = 0 * chosen
                share = 1.0 * (np.arange(area) == chosen[..., None])
            found[..., rows, columns] = share.reshape(piece.shape)
        return found

    def up(self, kernels: Any, heard: Any, seen: Any = None, back: bool = False) -> Any:
        """P(w * s) (..., B, n), with the maxima of `seen`, by default of s itself."""
        maps = self.maps(kernels, heard)
        share = self.shares(maps if seen is None else self.maps(kernels, seen), back)
        pooled = np.zeros((*maps.shape[:-3], *self.post), np.result_type(maps, float))
        for j, k, rows, columns in self.corners(maps):
            pooled[..., j, k] = (share * maps)[..., rows, columns].sum(axis=(-2, -1))
        return pooled.reshape(*maps.shape[:-3], -1)

    def down(self, kernels: Any, forward: Any, told: Any, seen: Any) -> Any:
        """A^T P^-1(h), with the maxima of `seen` through the kernels `forward`."""
        share = self.shares(self.maps(forward, seen), back=True)
        pooled = told.reshape(*told.shape[:-1], *self.post)
        lead = np.broadcast_shapes(share.shape[:-3], pooled.shape[:-3])
        spread = np.zeros((*lead, *share.shape[-3:]), np.result_type(pooled, float))
        for j, k, rows, columns in self.corners(share):
            spread[..., rows, columns] = share[..., rows, columns] * pooled[..., j, k][..., None, None]
        return spread.reshape(*lead, -1) @ self.matrix(kernels, back=True)
