"""Delayed XOR: what is shown when, read off the spikes, and refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refsnn.datasets import delayed_xor


@given(
    seed=st.integers(0, 2**32 - 1),
    delay=st.integers(0, 4),
    cue=st.integers(1, 3),
    answer=st.integers(1, 3),
    group=st.integers(1, 3),
    time_step=st.sampled_from([1.0, 2.0]),
)
def test_certain_spikes_show_the_plan(seed, delay, cue, answer, group, time_step):
    batch = delayed_xor(
        np.random.default_rng(seed), 6, delay, cue, answer, group, rate=1 / time_step, time_step=time_step
    )
    expected = np.zeros((3 * cue + 2 * delay + answer, 6, 3 * group))
    for sample in range(6):
        for number, which in enumerate([batch.bits[0, sample], batch.bits[1, sample], 2]):
            for step in range(number * (cue + delay), number * (cue + delay) + cue):
                for neuron in range(which * group, (which + 1) * group):
                    expected[step, sample, neuron] = 1 / time_step
    np.testing.assert_array_equal(batch.inputs.as_array(), expected)
    np.testing.assert_array_equal(batch.labels, [int(a != b) for a, b in batch.bits.T])
    assert range(*batch.answer.indices(len(expected))) == range(len(expected) - answer, len(expected))


def test_rates_and_bits():
    batch = delayed_xor(np.random.default_rng(1), 1000, background=0.01)
    assert (batch.inputs.steps, batch.inputs.width) == (350, 60)
    assert batch.labels.dtype == np.int64
    raster = batch.inputs.as_array().reshape(350, 1000, 3, 20)
    for start, active in ((0, batch.bits[0]), (130, batch.bits[1]), (260, np.full(1000, 2))):
        cued = raster[start : start + 30].mean(axis=(0, 3))  # (B, group)
        chosen = np.take_along_axis(cued, active[:, None], axis=1)
        assert chosen.mean() == pytest.approx(0.1, abs=0.002)
        assert (cued.sum() - chosen.sum()) / 2000 == pytest.approx(0.01, abs=0.001)
    for silent in (slice(30, 130), slice(160, 260), batch.answer):
        assert raster[silent].mean() == pytest.approx(0.01, abs=0.0005)
    counts = np.bincount(2 * batch.bits[0] + batch.bits[1], minlength=4) / 1000
    np.testing.assert_allclose(counts, 0.25, atol=0.06)
    for bit in batch.bits:  # neither alone says the label
        assert abs((bit == batch.labels).mean() - 0.5) < 0.08


def test_a_seed_gives_the_same_batch_in_both_dtypes():
    def draw(seed, dtype):
        return delayed_xor(np.random.default_rng(seed), 5, dtype=dtype)

    wide, narrow, other = draw(2, np.float64), draw(2, np.float32), draw(3, np.float64)
    assert narrow.inputs.values.dtype == np.float32
    np.testing.assert_array_equal(wide.inputs.as_array(), narrow.inputs.as_array())
    np.testing.assert_array_equal(wide.labels, narrow.labels)
    assert (wide.inputs.as_array() != other.inputs.as_array()).any()


RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"rng": 0}, TypeError, "rng: expected"),
        ({"samples": 0}, ValueError, "samples: expected"),
        ({"delay": -1}, ValueError, "delay: expected an integer of at least 0"),
        ({"delay": 1.5}, TypeError, "delay: expected an integer"),
        ({"cue_steps": 0}, ValueError, "cue_steps: expected"),
        ({"answer_steps": 0}, ValueError, "answer_steps: expected"),
        ({"group": 0}, ValueError, "group: expected"),
        ({"rate": 1.5}, ValueError, "rate: expected"),
        ({"rate": 0.3, "time_step": 4.0}, ValueError, r"rate: expected .* \[0, 0.25\]"),
        ({"background": -0.1}, ValueError, "background: expected"),
        ({"time_step": 0.0}, ValueError, "time_step: expected"),
        ({"dtype": int}, TypeError, "dtype: expected"),
    ],
)
def test_refusals(arguments, error, words):
    with pytest.raises(error, match=words):
        delayed_xor(**{"rng": RNG, **arguments})
