"""Images as sequences of pixels."""

from __future__ import annotations

import numpy as np
import pytest

from refsnn.datasets.pixels import mean_pooled, pixel_sequences


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_pixel_a_step_in_any_order(dtype):
    rng = np.random.default_rng(0)
    images, order = rng.random((3, 9)).astype(dtype), rng.permutation(9)
    plain, permuted = pixel_sequences(images), pixel_sequences(images, order)
    assert plain.shape == permuted.shape == (9, 3, 1)
    assert plain.dtype == permuted.dtype == dtype
    for sample, image in enumerate(images):
        for step in range(9):
            assert plain[step, sample, 0] == image[step]
            assert permuted[step, sample, 0] == image[order[step]]


def test_squares_are_averaged():
    image = np.arange(16.0).reshape(1, 16) / 16
    # 0 1 | 2 3 / 4 5 | 6 7: the first square has 0, 1, 4, 5
    assert (16 * mean_pooled(image, 2)).tolist() == [[2.5, 4.5, 10.5, 12.5]]
    assert np.array_equal(mean_pooled(image, 1), image)
    assert mean_pooled(image.astype(np.float32), 2).dtype == np.float32
    assert mean_pooled(image, 4) == pytest.approx(image.mean())


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda x: pixel_sequences(x, [0, 1, 2, 2]), ValueError, "order: expected a permutation of 0 .. 3"),
        (lambda x: pixel_sequences(x, [0, 1, 2]), ValueError, "order: expected a permutation"),
        (lambda x: pixel_sequences(x, [0.0, 1.0, 2.0, 3.0]), TypeError, "order: expected integers"),
        (lambda x: pixel_sequences(255 * x), ValueError, "grey levels from 0 to 1"),
        (lambda x: mean_pooled(x, 3), ValueError, "factor: expected a divisor of the side, 2 pixels, got 3"),
        (lambda x: mean_pooled(x[:, :3], 1), ValueError, "square images, got 3 pixels"),
        (lambda x: mean_pooled(x, 0), ValueError, "factor"),
        (lambda x: mean_pooled([[1, 2, 3, 4]], 2), TypeError, "images"),
    ],
)
def test_bad_arguments(call, kind, message):
    with pytest.raises(kind, match=message):
        call(np.ones((1, 4)))
