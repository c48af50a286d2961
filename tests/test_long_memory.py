"""Copying and adding, against what their definitions say position by position."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refsnn.datasets.long_memory import MARKER, adding_task, copying_task


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 5), st.integers(1, 4))
def test_copying(seed, delay, items, samples):
    inputs, targets = copying_task(np.random.default_rng(seed), samples, delay, items)
    assert inputs.shape == (delay + 2 * items, samples, 1)
    for sample in range(samples):
        shown, asked = inputs[:, sample, 0].tolist(), targets[:, sample].tolist()
        symbols = shown[:items]
        assert all(1 <= symbol <= 8 for symbol in symbols)
        assert shown[items:] == [0] * (delay - 1) + [MARKER] + [0] * items
        assert asked == [0] * (delay + items) + symbols
        assert shown.index(MARKER) == items + delay - 1


def test_one_hot_says_the_same():
    numbers, _ = copying_task(np.random.default_rng(3), 5, 7, 2)
    channels, _ = copying_task(np.random.default_rng(3), 5, 7, 2, one_hot=True, dtype=np.float32)
    assert channels.dtype == np.float32
    assert np.array_equal(channels.argmax(axis=-1), numbers[..., 0])
    assert (channels.sum(axis=-1) == 1).all()


def test_symbols_are_uniform():
    _, targets = copying_task(np.random.default_rng(0), 8000, 1, 1)
    counts = np.bincount(targets[-1], minlength=9)[1:]
    assert abs(counts - 1000).max() < 5 * np.sqrt(1000)


@given(st.integers(0, 2**32 - 1), st.integers(2, 13), st.booleans())
def test_adding(seed, steps, halved):
    inputs, targets = adding_task(np.random.default_rng(seed), 3, steps, halved)
    assert (inputs[..., 0] >= 0).all()
    assert (inputs[..., 0] < 1).all()
    for sample in range(3):
        marked = np.flatnonzero(inputs[:, sample, 1])
        assert len(marked) == 2
        assert marked[0] < steps // 2 <= marked[1]
        total = inputs[marked, sample, 0].sum()
        assert targets[sample, 0] == pytest.approx(total / 2 if halved else total, rel=1e-15)


def test_the_mean_of_adding_has_the_error_that_is_said():
    _, targets = adding_task(np.random.default_rng(1), 40_000, 10)
    assert targets.var() == pytest.approx(1 / 24, rel=0.03)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda rng: copying_task(rng, 0, 3), "samples"),
        (lambda rng: copying_task(rng, 1, 0), "delay"),
        (lambda rng: copying_task(rng, 1, 3, 1.5), "items"),
        (lambda rng: copying_task(7, 1, 3), "rng"),
        (lambda rng: adding_task(rng, 1, 1), "steps"),
        (lambda rng: adding_task(rng, 1, 4, dtype=np.int64), "dtype"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call(np.random.default_rng(0))
