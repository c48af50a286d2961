"""Correlation and pooling: against loops over every index and SciPy, adjoints, and refused values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import correlate2d

from refsnn.models.convergent import PrototypicalNetwork
from refsnn.models.convolution import (
    Convolution,
    correlate,
    correlate_adjoint,
    from_windows,
    kernel_products,
    patches,
    pool,
    pooling_record,
    unpool,
    windows_of,
)

SEEDS = st.integers(0, 2**32 - 1)


def case(seed, dtype=np.float64):
    """Images that are no squares, kernels, and a padding below their size."""
    rng = np.random.default_rng(seed)
    batch, channels, outs, kernel = (int(n) for n in rng.integers(1, 5, size=4))
    padding = int(rng.integers(kernel))
    height, width = (int(side) for side in rng.integers(4, 9, size=2))
    images = rng.normal(size=(batch, channels, height, width)).astype(dtype)
    kernels = rng.normal(size=(outs, channels, kernel, kernel)).astype(dtype)
    return rng, images, kernels, padding


def dot(one, other):
    return float((one * other).sum())


# ---------------------------------------------------------------- correlation


@given(seed=SEEDS)
def test_correlate_is_scipy_s_channel_by_channel(seed):
    _, images, kernels, padding = case(seed)
    padded = np.pad(images, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    expected = np.array(
        [
            [
                sum(correlate2d(channel, w, "valid") for channel, w in zip(image, kernel, strict=True))
                for kernel in kernels
            ]
            for image in padded
        ]
    )
    np.testing.assert_allclose(correlate(images, kernels, padding), expected, rtol=0, atol=1e-13)


def test_patches_are_in_the_order_of_kernels_and_maps():
    image = np.arange(12.0).reshape(1, 3, 4)
    expected = np.array([[0, 1, 2, 4, 5, 6], [1, 2, 3, 5, 6, 7], [4, 5, 6, 8, 9, 10], [5, 6, 7, 9, 10, 11]])
    np.testing.assert_array_equal(patches(image, 2, 0), expected)
    np.testing.assert_array_equal(patches(image, 2, 1)[:, 0], [0, 0, 0, 0])  # the corner, all but its last
    np.testing.assert_array_equal(patches(image, 2, 1)[:, 1], [0, 0, 0, 1])


@given(seed=SEEDS)
def test_correlate_adjoint_is_the_adjoint(seed):
    rng, images, kernels, padding = case(seed)
    maps = correlate(images, kernels, padding)
    cotangent = rng.normal(size=maps.shape)
    back = correlate_adjoint(cotangent, kernels, padding, images.shape[-2:])
    assert back.shape == images.shape
    assert abs(dot(maps, cotangent)) > 1e-8
    np.testing.assert_allclose(dot(images, back), dot(maps, cotangent), rtol=1e-11, atol=1e-11)
    # entry by entry: what one pixel does to all maps
    b, c, y, x = (int(rng.integers(side)) for side in images.shape)
    pixel = np.zeros_like(images)
    pixel[b, c, y, x] = 1
    np.testing.assert_allclose(
        back[b, c, y, x], dot(correlate(pixel, kernels, padding), cotangent), rtol=0, atol=1e-12
    )


@given(seed=SEEDS)
def test_kernel_products_are_the_derivative_by_the_kernels(seed):
    """The inner product is linear in the kernels: its value at each unit kernel is the derivative."""
    rng, images, kernels, padding = case(seed)
    maps = rng.normal(size=correlate(images, kernels, padding).shape)
    products = kernel_products(maps, images, kernels.shape[-1], padding)
    assert products.shape == kernels.shape
    for index in np.ndindex(kernels.shape):
        unit = np.zeros_like(kernels)
        unit[index] = 1
        expected = dot(maps, correlate(images, unit, padding))
        np.testing.assert_allclose(products[index], expected, rtol=0, atol=1e-12)
    # complex numbers are not conjugated: (i m) (i s) = - m s
    turned = kernel_products(1j * maps, 1j * images, kernels.shape[-1], padding)
    np.testing.assert_allclose(turned, -products, rtol=0, atol=1e-12)


@given(seed=SEEDS)
def test_leading_axes_broadcast(seed):
    """Many kernels on one batch, many batches under one kernel, and both: each as if alone."""
    rng, images, kernels, padding = case(seed)
    many_images, many_kernels = rng.normal(size=(3, *images.shape)), rng.normal(size=(3, *kernels.shape))
    size = images.shape[-2:]
    alone = correlate(images, kernels, padding)
    maps = rng.normal(size=(3, *alone.shape))
    for one, other in ((many_images, kernels), (images, many_kernels), (many_images, many_kernels)):
        together = correlate(one, other, padding)
        for n in range(3):
            single = correlate(
                one[n] if one.ndim == 5 else one, other[n] if other.ndim == 5 else other, padding
            )
            np.testing.assert_allclose(together[n], single, rtol=0, atol=1e-13)
    for one, other in ((maps, kernels), (maps[0], many_kernels), (maps, many_kernels)):
        together = correlate_adjoint(one, other, padding, size)
        for n in range(3):
            arguments = one[n] if one.ndim == 5 else one, other[n] if other.ndim == 5 else other
            single = correlate_adjoint(*arguments, padding, size)
            np.testing.assert_allclose(together[n], single, rtol=0, atol=1e-13)


# ---------------------------------------------------------------- pooling


def pooling_case(seed):
    rng = np.random.default_rng(seed)
    kind, window = str(rng.choice(["max", "average", "none"])), int(rng.integers(1, 4))
    height, width = (int(side) for side in rng.integers(window, 9, size=2))
    maps = rng.normal(size=(*rng.integers(1, 4, size=2), height, width))
    return rng, maps, Convolution(1, 0, kind, window, crop=True)


@given(seed=SEEDS)
def test_pool_takes_of_each_window_what_a_loop_takes(seed):
    _, maps, convolution = pooling_case(seed)
    pooled, window = pool(maps, pooling_record(maps, convolution), convolution), convolution.window
    if convolution.pooling == "none":
        np.testing.assert_array_equal(pooled, maps)
        return
    assert pooled.shape[-2:] == convolution.output_size(maps.shape[-2:])
    take = np.max if convolution.pooling == "max" else np.mean
    for *channel, y, x in np.ndindex(pooled.shape):
        rows, columns = slice(y * window, (y + 1) * window), slice(x * window, (x + 1) * window)
        expected = take(maps[*channel, rows, columns])
        np.testing.assert_allclose(pooled[*channel, y, x], expected, rtol=0, atol=1e-15)


@given(seed=SEEDS)
def test_unpool_is_the_adjoint_of_pool_at_a_record(seed):
    """At the record of other maps too; rows and columns that were dropped receive nothing."""
    rng, maps, convolution = pooling_case(seed)
    record = pooling_record(rng.normal(size=maps.shape), convolution)
    pooled = pool(maps, record, convolution)
    cotangent = rng.normal(size=pooled.shape)
    back = unpool(cotangent, record, convolution, maps.shape[-2:])
    assert back.shape == maps.shape
    np.testing.assert_allclose(dot(maps, back), dot(pooled, cotangent), rtol=1e-12, atol=1e-12)
    if convolution.pooling != "none":
        rows, columns = (side * convolution.window for side in pooled.shape[-2:])
        assert back[..., :rows, :columns].any()
        assert not back[..., rows:, :].any()
        assert not back[..., :, columns:].any()
    directions = rng.normal(size=(2, *pooled.shape))  # a record serves many tangents
    together = unpool(directions, record, convolution, maps.shape[-2:])
    for direction, single in zip(directions, together, strict=True):
        np.testing.assert_array_equal(unpool(direction, record, convolution, maps.shape[-2:]), single)


def test_the_first_of_equal_maxima_in_row_major_order():
    convolution = Convolution(1, 0, "max", 2)
    for window, first in (
        ([[1, 1], [1, 1]], 0),
        ([[0, 1], [1, 1]], 1),
        ([[0, 0], [1, 1]], 2),
        ([[0, 0], [0, 1]], 3),
    ):
        assert pooling_record(np.array(window, float), convolution).item() == first
        back = unpool(np.ones((1, 1)), np.array([[first]]), convolution, (2, 2))
        np.testing.assert_array_equal(np.flatnonzero(back), [first])


@given(seed=SEEDS)
def test_windows_and_back(seed):
    rng, maps, convolution = pooling_case(seed)
    window, size = convolution.window, maps.shape[-2:]
    cropped = maps.copy()
    cropped[..., size[0] // window * window :, :] = 0
    cropped[..., size[1] // window * window :] = 0
    np.testing.assert_array_equal(from_windows(windows_of(maps, window), window, size), cropped)


@pytest.mark.parametrize(
    ("dtype", "pooling"),
    [
        (np.float32, "max"),  # networks refuse complex numbers where maxima are pooled
        *(
            (dtype, kind)
            for dtype in (np.float32, np.complex64, np.complex128)
            for kind in ("average", "none")
        ),
    ],
)
def test_the_dtype_stays(dtype, pooling):
    rng, padding = np.random.default_rng(1), 1
    images, kernels = (rng.normal(size=shape).astype(dtype) for shape in ((2, 3, 6, 7), (4, 3, 2, 2)))
    convolution = Convolution(kernels.shape[-1], padding, pooling, 2, crop=True)
    maps = correlate(images, kernels, padding)
    record = pooling_record(maps, convolution)
    pooled = pool(maps, record, convolution)
    back = unpool(pooled, record, convolution, maps.shape[-2:])
    results = maps, pooled, back, correlate_adjoint(back, kernels, padding, images.shape[-2:])
    for result in (*results, kernel_products(back, images, kernels.shape[-1], padding)):
        assert result.dtype == dtype
        assert result.any()


# ---------------------------------------------------------------- sizes, and what is refused


@pytest.mark.parametrize(
    ("convolution", "size", "maps", "pooled"),
    [
        (Convolution(5, 0, "max", 2), (28, 28), (24, 24), (12, 12)),
        (Convolution(3, 1, "average", 2), (8, 6), (8, 6), (4, 3)),
        (Convolution(2, 1, "none", 7), (4, 5), (5, 6), (5, 6)),
        (Convolution(2, 0, "max", 3, crop=True), (6, 9), (5, 8), (1, 2)),
    ],
)
def test_sizes(convolution, size, maps, pooled):
    assert convolution.map_size(size) == maps
    assert convolution.output_size(size) == pooled
    images = np.random.default_rng(0).normal(size=(1, 1, *size))
    found = correlate(images, np.ones((1, 1, convolution.kernel, convolution.kernel)), convolution.padding)
    assert found.shape[-2:] == maps
    assert pool(found, pooling_record(found, convolution), convolution).shape[-2:] == pooled


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kernel": 0}, "kernel: expected an integer of at least 1, got 0"),
        ({"kernel": 2.5}, "kernel: expected an integer"),
        ({"padding": -1}, "padding: expected an integer of at least 0"),
        ({"kernel": 3, "padding": 3}, "padding: expected less than the kernel size 3, got 3"),
        ({"pooling": "maximum"}, "pooling: expected"),
        ({"pooling": None}, "pooling: expected"),
        ({"window": 0}, "window: expected an integer of at least 1, got 0"),
        ({"crop": 1}, "crop: expected"),
    ],
)
def test_convolutions_that_are_none_are_refused(change, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Convolution(**change)


def test_images_that_do_not_fit_are_refused_with_what_to_do():
    with pytest.raises(
        ValueError, match=r"kernel: expected at most the padded image \(4, 6\), got 5; take a"
    ):
        Convolution(5, 1).map_size((2, 4))
    with pytest.raises(ValueError, match=r"divisor of the map's sides \(4, 5\), got 2.*crop=True"):
        Convolution(1, 0, "max", 2).output_size((4, 5))
    with pytest.raises(ValueError, match=r"window: expected at most the map \(2, 4\), got 3"):
        Convolution(1, 0, "average", 3, crop=True).output_size((2, 4))
    assert Convolution(1, 0, "none", 2).output_size((4, 5)) == (4, 5)  # no windows, nothing to divide


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"convolutions": Convolution(3), "image": (8, 8)},
            "convolutions: expected a sequence of Convolution",
        ),
        ({"convolutions": [Convolution(3)], "image": 8}, r"image: expected \(height, width\)"),
        (
            {"convolutions": [Convolution(3)], "image": (8, 0)},
            r"image\[1\]: expected an integer of at least 1, got 0",
        ),
        (
            {"convolutions": [Convolution(3), Convolution(4)], "image": (7, 7)},
            r"convolutions\[0\].kernel: expected at most the padded image",
        ),
        (
            {"convolutions": [Convolution(2)], "image": (9, 8)},
            r"convolutions\[0\].window: expected a divisor",
        ),
    ],
)
def test_networks_whose_images_do_not_fit_are_refused(change, message):
    """More of them in test_convolutional_models."""
    with pytest.raises((TypeError, ValueError), match=message):
        PrototypicalNetwork((3, 2, 1), **change)
