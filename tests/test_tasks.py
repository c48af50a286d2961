"""Generated tasks: shapes, rates and rules as written in their docstrings, and refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refsnn.datasets import order_task, random_templates, spike_templates, two_cue_xor

# ---- two cues ---------------------------------------------------------------------------------------------


def test_cues_fire_where_their_bits_say():
    """The bits, read off the spikes, give the label; every rate is the one written."""
    inputs, labels = two_cue_xor(np.random.default_rng(1), 4000)
    assert inputs.shape == (18, 4000, 25)
    assert set(np.unique(inputs)) == {0.0, 1.0}
    groups = inputs.reshape(18, 4000, 5, 5).mean(axis=3)  # (T, N, group)
    first, second = groups[0:4, :, :2].mean(axis=0), groups[8:12, :, 2:4].mean(axis=0)
    a, b = first.argmax(axis=1), second.argmax(axis=1)
    np.testing.assert_array_equal(labels, a ^ b)  # 20 cues against 20 background spikes never mix up
    chosen = np.take_along_axis(first, a[:, None], axis=1), np.take_along_axis(second, b[:, None], axis=1)
    others = np.take_along_axis(first, 1 - a[:, None], axis=1)
    for found, rate in (
        (chosen[0], 0.7), (chosen[1], 0.7), (others, 0.02), (groups[14:, :, 4], 0.7),
        (groups[:14, :, 4], 0.02), (groups[4:, :, :2], 0.02), (groups[:8, :, 2:4], 0.02),
        (groups[12:, :, 2:4], 0.02),
    ):  # fmt: skip
        assert found.mean() == pytest.approx(rate, abs=0.01)
    counts = np.bincount(2 * a + b, minlength=4) / 4000
    np.testing.assert_allclose(counts, 0.25, atol=0.04)


def test_neither_cue_alone_says_the_label():
    inputs, labels = two_cue_xor(np.random.default_rng(2), 4000)
    cue = inputs[0:4, :, 5:10].mean(axis=(0, 2)) > 0.35
    assert abs((cue == labels).mean() - 0.5) < 0.05


# ---- templates --------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 6), st.integers(1, 12), st.integers(0, 4))
def test_every_channel_fires_once_near_its_template(seed, classes, channels, steps, jitter):
    rng = np.random.default_rng(seed)
    templates = random_templates(rng, classes, channels, steps)
    assert templates.shape == (classes, channels)
    assert (templates >= 0).all()
    assert (templates < steps).all()
    inputs, labels = spike_templates(rng, 50, templates, steps, jitter)
    assert inputs.shape == (steps, 50, channels)
    assert (inputs.sum(axis=0) == 1).all()
    shift = inputs.argmax(axis=0) - templates[labels]
    assert abs(shift).max() <= jitter


def test_jitter_is_uniform_and_stops_at_the_edges():
    rng = np.random.default_rng(3)
    inputs, labels = spike_templates(rng, 20000, [[0, 10, 19]], jitter=2)
    assert (labels == 0).all()
    early, middle, late = inputs.mean(axis=1).T
    np.testing.assert_allclose(middle[8:13], 0.2, atol=0.02)
    np.testing.assert_allclose(early[:3], [0.6, 0.2, 0.2], atol=0.02)
    np.testing.assert_allclose(late[17:], [0.2, 0.2, 0.6], atol=0.02)
    shifts = inputs.argmax(axis=0)
    assert abs(np.corrcoef(shifts[:, 1], shifts[:, 2])[0, 1]) < 0.03  # each channel has its own


# ---- order ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [2, 4, 10])
def test_both_orders_have_the_same_time_mean(steps):
    inputs, labels = order_task(steps)
    assert inputs.shape == (steps, 2, 2)
    np.testing.assert_array_equal(labels, [0, 1])
    np.testing.assert_array_equal(inputs.mean(axis=0), np.full((2, 2), 0.5))
    np.testing.assert_array_equal(inputs[: steps // 2, 0], np.tile([1.0, 0.0], (steps // 2, 1)))
    np.testing.assert_array_equal(inputs[:, 1], inputs[::-1, 0])


# ---- all --------------------------------------------------------------------------------------------------

TASKS = {
    "xor": lambda seed, dtype: two_cue_xor(np.random.default_rng(seed), 20, dtype),
    "templates": lambda seed, dtype: spike_templates(
        np.random.default_rng(seed), 20, random_templates(np.random.default_rng(9)), dtype=dtype
    ),
    "order": lambda seed, dtype: order_task(10, dtype),
}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_and_seed(task, dtype):
    inputs, labels = TASKS[task](4, dtype)
    again, same = TASKS[task](4, np.float64)
    assert inputs.dtype == dtype
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(inputs, again)
    np.testing.assert_array_equal(labels, same)
    if task != "order":
        assert (TASKS[task](5, dtype)[0] != inputs).any()


RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: two_cue_xor(0, 5), TypeError, "rng: expected"),
        (lambda: two_cue_xor(RNG, 0), ValueError, "samples: expected"),
        (lambda: two_cue_xor(RNG, 5, int), TypeError, "dtype: expected float64 or float32"),
        (lambda: random_templates(RNG, 0), ValueError, "classes: expected"),
        (lambda: random_templates(RNG, 2, 2.5), TypeError, "channels: expected"),
        (lambda: random_templates(None), TypeError, "rng: expected"),
        (lambda: spike_templates(RNG, 3, [[0.5]]), TypeError, "templates: expected integers"),
        (lambda: spike_templates(RNG, 3, [1, 2]), ValueError, r"expected shape \(classes, channels\)"),
        (lambda: spike_templates(RNG, 3, [[20]]), ValueError, r"expected steps in \[0, 20\), got 20 to 20"),
        (lambda: spike_templates(RNG, 3, [[-1]]), ValueError, "got -1 to -1"),
        (lambda: spike_templates(RNG, 3, [[1]], jitter=-1), ValueError, "jitter: expected"),
        (lambda: spike_templates("x", 3, [[1]]), TypeError, "rng: expected"),
        (lambda: order_task(5), ValueError, "steps: expected an even number, got 5"),
        (lambda: order_task(0), ValueError, "steps: expected"),
        (lambda: order_task(4, "x"), TypeError, "dtype: expected"),
    ],
)
def test_refusals(call, error, words):
    with pytest.raises(error, match=words):
        call()
