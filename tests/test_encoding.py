"""Encoders against loops that go through every pixel, threshold and step, and against exact probabilities."""

from __future__ import annotations

import itertools
import math
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refsnn.datasets import analog_pixels, bernoulli_spikes, load_mnist, population_code, threshold_crossing
from refsnn.datasets.encoding import _successes
from refsnn.models.spike_events import SpikeEvents

# ---- threshold crossing -----------------------------------------------------------------------------------


def crossings_by_loops(images, channels, repeat, cue_steps, time_step):
    """One image, one threshold, one step after another, as the definition reads."""
    samples, pixels = images.shape
    number = channels // 2
    steps = (pixels + cue_steps) * repeat
    raster = np.zeros((steps, samples, channels), images.dtype)
    for sample in range(samples):
        shown = [grey for grey in images[sample] for _ in range(repeat)]
        column = 0
        for q in range(number):
            threshold = images.dtype.type(np.linspace(0, 1, number)[q])
            if q == number - 1:
                for t, grey in enumerate(shown):
                    raster[t, sample, column] = (grey == 1) / time_step
                column += 1
            else:
                for t in range(len(shown) - 1):
                    before, after = shown[t], shown[t + 1]
                    raster[t, sample, column] = (before < threshold and after >= threshold) / time_step
                    raster[t, sample, column + 1] = (before >= threshold and after < threshold) / time_step
                column += 2
        assert column == channels - 1
        raster[len(shown) :, sample, column] = 1 / time_step
    return raster


def greys(rng, shape, channels, dtype):
    """Pixels of all kinds: between thresholds, exactly on them, black and white."""
    anywhere = rng.random(shape)
    on_thresholds = rng.choice(np.linspace(0, 1, channels // 2), shape)
    return np.where(rng.random(shape) < 0.5, anywhere, on_thresholds).astype(dtype)


@given(
    seed=st.integers(0, 2**32 - 1),
    samples=st.integers(1, 3),
    pixels=st.integers(1, 15),
    channels=st.integers(2, 10).map(lambda half: 2 * half),
    repeat=st.integers(1, 3),
    cue_steps=st.integers(0, 3),
    time_step=st.sampled_from([1.0, 0.5, 2.0]),
    dtype=st.sampled_from([np.float64, np.float32]),
)
def test_crossings_are_those_of_the_loops(
    seed, samples, pixels, channels, repeat, cue_steps, time_step, dtype
):
    images = greys(np.random.default_rng(seed), (samples, pixels), channels, dtype)
    spikes = threshold_crossing(images, channels, repeat, cue_steps, time_step)
    expected = crossings_by_loops(images, channels, repeat, cue_steps, time_step)
    assert spikes.values.dtype == dtype
    np.testing.assert_array_equal(spikes.as_array(), expected)


def test_every_kind_of_channel_speaks_in_such_images():
    """What the property above compares is no silence."""
    images = greys(np.random.default_rng(0), (20, 200), 8, np.float64)
    raster = threshold_crossing(images, channels=8, cue_steps=5).as_array()
    counts = raster.sum(axis=(0, 1))
    assert counts[0] == 0
    assert counts[1] == 0
    assert (counts[2:] > 50).all()
    rises, falls = counts[2:6:2], counts[3:6:2]
    assert (abs(rises - falls) <= 20).all()  # they take turns in each of 20 images


def test_spikes_come_one_step_before_the_pixel_that_crosses():
    images = np.array([[0.0, 0.0, 0.7, 0.7, 1.0, 0.2]])
    raster = threshold_crossing(images, channels=6, cue_steps=2).as_array()[:, 0]  # thresholds 0, 1/2, 1
    when = [np.flatnonzero(channel).tolist() for channel in raster.T]
    assert when == [[], [], [1], [4], [4], [6, 7]]


def test_the_size_of_the_paper():
    images = np.zeros((2, 784))
    images[0, [10, 783]] = 1
    for repeat in (1, 2):
        spikes = threshold_crossing(images, repeat=repeat)
        assert (spikes.steps, spikes.batch, spikes.width) == (840 * repeat, 2, 80)
        raster = spikes.as_array()
        assert raster[:, 1, :79].sum() == 0
        assert raster[:, 0, :2].sum() == 0
        # up at 9, down at 10, up at 782 through 38 thresholds between 0 and 1; touches at all steps of 1
        assert raster[:, 0, 2:78].sum() == 3 * 38
        touches = np.flatnonzero(raster[:, 0, 78])
        assert touches.tolist() == [pixel * repeat + part for pixel in (10, 783) for part in range(repeat)]
        np.testing.assert_array_equal(raster[:, :, 79].sum(axis=0), 56 * repeat)
        np.testing.assert_array_equal(raster[784 * repeat :, :, 79], 1)


def test_bytes_cross_the_same_thresholds_in_both_dtypes():
    """85/255 and 170/255 are 1/3 and 2/3, which are thresholds: 13/39 and 26/39."""
    levels = np.arange(256)
    images = np.stack([levels, levels[::-1], np.random.default_rng(1).permutation(256)])
    wide = threshold_crossing(images / 255).as_array()
    narrow = threshold_crossing(images.astype(np.float32) / np.float32(255)).as_array()
    np.testing.assert_array_equal(wide, narrow)
    np.testing.assert_array_equal(wide[:256, :, 78], (images == 255).T)  # 254 is no touch
    # at the pixel before 85, the channel that rises through 1/3
    assert np.flatnonzero(wide[:, 0, 2 * 13]).tolist() == [84]
    assert np.flatnonzero(wide[:, 0, 2 * 26]).tolist() == [169]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("channels", [14, 80, 200])
def test_a_pixel_on_a_threshold_has_reached_it(dtype, channels):
    """Also where rounding to float32 made both smaller than the float64 threshold."""
    number = channels // 2
    images = np.linspace(0, 1, number)[None].astype(dtype)
    raster = threshold_crossing(images, channels, cue_steps=0).as_array()[:, 0]
    expected = np.zeros((number, channels))
    for q in range(1, number - 1):
        expected[q - 1, 2 * q] = 1
    expected[number - 1, channels - 2] = 1
    np.testing.assert_array_equal(raster, expected)


def test_real_mnist_crosses_as_the_loops_say():
    if not os.environ.get("REFSNN_DATA"):
        pytest.skip("REFSNN_DATA is not set")
    images = load_mnist().test_images[:256]
    raster = threshold_crossing(images).as_array()
    np.testing.assert_array_equal(raster[:, :4], crossings_by_loops(images[:4], 80, 1, 56, 1.0))
    thresholds = np.linspace(0, 1, 40)[:39]
    above = images[:, :, None] >= thresholds
    rises, falls = raster[:, :, 0:78:2], raster[:, :, 1:78:2]
    # what went up and did not come down is up at the end
    np.testing.assert_array_equal(
        rises.sum(axis=0) - falls.sum(axis=0), above[:, -1].astype(int) - above[:, 0]
    )
    np.testing.assert_array_equal(
        rises.sum(axis=0) + falls.sum(axis=0), (above[:, 1:] != above[:, :-1]).sum(axis=1)
    )
    np.testing.assert_array_equal(raster[:784, :, 78], (images == 1).T)
    assert raster[:, :, 78].sum() > 1000
    assert rises.sum() > 100_000


def test_pixels_as_they_are():
    images = greys(np.random.default_rng(2), (3, 5), 8, np.float32)
    shown = analog_pixels(images, repeat=2)
    assert shown.dtype == np.float32
    assert shown.shape == (10, 3, 1)
    for t, sample in itertools.product(range(10), range(3)):
        assert shown[t, sample, 0] == images[sample, t // 2]


# ---- population code --------------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**32 - 1), shape=st.sampled_from([(), (3,), (2, 3)]), neurons=st.integers(1, 6))
def test_tuning_curves_are_gaussian(seed, shape, neurons):
    rng = np.random.default_rng(seed)
    values, centres = rng.normal(size=shape), rng.normal(size=neurons)
    width, highest = rng.uniform(0.5, 2), rng.uniform(0.01, 0.5)
    rates = population_code(values, centres, width, highest)
    assert rates.shape == (*shape, neurons)
    for index in np.ndindex(*shape):
        for i, centre in enumerate(centres):
            expected = highest * math.exp(-((centre - values[index]) ** 2) / (2 * width**2))
            assert rates[(*index, i)] == pytest.approx(expected, rel=1e-13)


def test_population_code_keeps_float32():
    rates = population_code(np.float32([0.3]), np.float32([0.0, 0.3]), 0.1, 0.2)
    assert rates.dtype == np.float32
    assert rates[0, 1] == np.float32(0.2)


# ---- spikes at given rates --------------------------------------------------------------------------------


@pytest.mark.parametrize("probabilities", [(0.1, 0.1), (0.3, 0.7), (0.05, 1.0), (0.6, 0.6)])
def test_all_rasters_come_with_their_probability(probabilities):
    """Two blocks, of one step and of two, and two neurons: 64 rasters, the exact probability of each."""
    samples, time_step = 40_000, 0.5
    first, second = probabilities
    rates = np.zeros((2, samples, 2))
    rates[0], rates[1] = [first / time_step, 0], [second / time_step, first / time_step]
    spikes = bernoulli_spikes(np.random.default_rng(3), rates, [1, 2], time_step)
    assert set(np.unique(spikes.values)) == {2.0}
    raster = spikes.as_array() > 0  # (3, samples, 2)
    chances = np.array([[first, 0], [second, first], [second, first]])
    code = (raster.transpose(1, 0, 2).reshape(samples, 6) * 2 ** np.arange(6)).sum(axis=1)
    counts, statistic, alive = np.bincount(code, minlength=64), 0.0, 0
    for number in range(64):
        bits = np.array([number >> place & 1 for place in range(6)]).reshape(3, 2)
        expected = samples * np.prod(np.where(bits, chances, 1 - chances))
        if expected == 0:
            assert counts[number] == 0
        else:
            statistic += (counts[number] - expected) ** 2 / expected
            alive += 1
    # chi square with alive - 1 degrees of freedom: mean d, standard deviation sqrt(2 d)
    assert alive >= 8
    assert statistic < alive - 1 + 5 * math.sqrt(2 * (alive - 1))


def test_rates_of_many_sizes_are_met_and_spikes_do_not_know_of_each_other():
    rng = np.random.default_rng(4)
    rates = np.concatenate([[0.0], rng.uniform(0.001, 0.5, 9)])
    raster = bernoulli_spikes(rng, np.tile(rates, (1, 40, 1)), 2000).as_array()
    mean = raster.mean(axis=(0, 1))
    assert mean[0] == 0
    np.testing.assert_array_less(abs(mean - rates)[1:], 5 * np.sqrt(rates * (1 - rates) / 80_000)[1:])
    cells = raster[:, :, 1:].transpose(1, 2, 0)
    centred = (cells - cells.mean(axis=2, keepdims=True)) / cells.std(axis=2, keepdims=True)
    for one, other in ((centred[..., 1:], centred[..., :-1]), (centred[:, 1:], centred[:, :-1])):
        assert abs((one * other).mean()) < 5 / math.sqrt(one.size)


@given(seed=st.integers(0, 2**32 - 1), trials=st.integers(1, 300), probability=st.floats(1e-4, 1))
def test_successes_do_not_depend_on_how_many_are_drawn_at_once(seed, trials, probability):
    class OneByOne:
        """A generator that gives one number, whatever it is asked for."""

        def __init__(self):
            self.rng = np.random.default_rng(seed)

        def geometric(self, p, size):
            return self.rng.geometric(p, 1)

    found = _successes(np.random.default_rng(seed), trials, probability)
    np.testing.assert_array_equal(found, _successes(OneByOne(), trials, probability))
    assert (np.diff(found) > 0).all()
    if probability == 1:
        assert len(found) == trials


@pytest.mark.parametrize("probability", [0.02, 0.3, 0.8])
def test_few_trials_succeed_as_often_as_many(probability):
    """The last trial is not where a gap beyond the end is put."""
    rng, repeats = np.random.default_rng(8), 10_000
    counts = np.zeros(3)
    for _ in range(repeats):
        counts[_successes(rng, 3, probability)] += 1
    spread = math.sqrt(repeats * probability * (1 - probability))
    np.testing.assert_allclose(counts, repeats * probability, rtol=0, atol=5 * spread)


def test_certain_and_impossible_spikes():
    rates = np.array([[[0.0, 1.0]], [[1.0, 1.0]], [[0.0, 0.0]]])
    raster = bernoulli_spikes(np.random.default_rng(0), rates, [2, 1, 2]).as_array()[:, 0]
    assert raster.tolist() == [[0, 1], [0, 1], [1, 1], [0, 0], [0, 0]]
    silent = bernoulli_spikes(np.random.default_rng(0), np.zeros((2, 3, 4)))
    assert (silent.steps, silent.batch, silent.width, len(silent.values)) == (2, 3, 4, 0)
    assert len(bernoulli_spikes(np.random.default_rng(0), np.full((2, 3, 4), 1e-300), 1000).values) == 0


def test_a_seed_gives_the_same_spikes_in_both_dtypes():
    rates = np.random.default_rng(5).uniform(0, 0.3, (3, 4, 5))
    wide = bernoulli_spikes(np.random.default_rng(6), rates, 7)
    narrow = bernoulli_spikes(np.random.default_rng(6), rates, 7, dtype=np.float32)
    other = bernoulli_spikes(np.random.default_rng(7), rates, 7)
    assert wide.values.dtype == np.float64
    assert narrow.values.dtype == np.float32
    assert len(wide.values) > 20
    np.testing.assert_array_equal(wide.as_array(), narrow.as_array())
    assert (wide.as_array() != other.as_array()).any()
    assert bernoulli_spikes(np.random.default_rng(6), rates.astype(np.float32)).values.dtype == np.float32


# ---- events in any order ----------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**32 - 1))
def test_events_are_put_into_order(seed):
    rng = np.random.default_rng(seed)
    raster = rng.normal(size=(4, 3, 5)) * (rng.random((4, 3, 5)) < 0.4)
    places = np.argwhere(raster)
    rng.shuffle(places)
    steps, samples, sources = places.T
    events = SpikeEvents.from_events(raster.shape, steps, samples, sources, raster[steps, samples, sources])
    np.testing.assert_array_equal(events.as_array(), raster)
    same = SpikeEvents.from_array(raster)
    np.testing.assert_array_equal(events.sources, same.sources)
    np.testing.assert_array_equal(events.starts, same.starts)


# ---- refusals ---------------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
IMAGES = np.full((2, 4), 0.5)
RATES = np.full((2, 3, 4), 0.1)
EVENTS = ((2, 2, 2), [0, 1], [0, 1], [0, 1], [1.0, 1.0])


def events(position, value):
    arguments = list(EVENTS)
    arguments[position] = value
    return SpikeEvents.from_events(*arguments)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: threshold_crossing(IMAGES + 0.6), ValueError, "images: expected grey levels from 0 to 1"),
        (lambda: threshold_crossing(IMAGES - 0.6), ValueError, "images: expected grey levels from 0 to 1"),
        (lambda: threshold_crossing(IMAGES[0]), ValueError, "images: expected shape"),
        (lambda: threshold_crossing(IMAGES * np.nan), ValueError, "images: expected finite"),
        (lambda: threshold_crossing(np.ones((2, 4), np.uint8)), TypeError, "images: expected a float32 or"),
        (lambda: threshold_crossing(IMAGES[:, :0]), ValueError, "images: expected shape"),
        (lambda: threshold_crossing(IMAGES, 81), ValueError, "channels: expected an even number.*80 or 82"),
        (lambda: threshold_crossing(IMAGES, 2), ValueError, "channels: expected an integer of at least 4"),
        (lambda: threshold_crossing(IMAGES, 80.0), TypeError, "channels: expected an integer"),
        (lambda: threshold_crossing(IMAGES, repeat=0), ValueError, "repeat: expected"),
        (lambda: threshold_crossing(IMAGES, repeat=1.5), TypeError, "repeat: expected"),
        (lambda: threshold_crossing(IMAGES, cue_steps=-1), ValueError, "cue_steps: expected"),
        (lambda: threshold_crossing(IMAGES, time_step=0.0), ValueError, "time_step: expected"),
        (lambda: analog_pixels(IMAGES * 4), ValueError, "images: expected grey levels"),
        (lambda: analog_pixels(IMAGES, repeat=True), TypeError, "repeat: expected"),
        (lambda: population_code([1], [0.0], 1.0, 0.1), TypeError, "values: expected a float32 or"),
        (lambda: population_code([1.0], [[0.0]], 1.0, 0.1), ValueError, "centres: expected shape"),
        (lambda: population_code([1.0], np.float32([0]), 1.0, 0.1), TypeError, "centres: expected dtype"),
        (lambda: population_code([1.0], [0.0], 0.0, 0.1), ValueError, "width: expected"),
        (lambda: population_code([1.0], [0.0], 1.0, -0.1), ValueError, "highest_rate: expected"),
        (lambda: bernoulli_spikes(0, RATES), TypeError, "rng: expected"),
        (lambda: bernoulli_spikes(RNG, RATES[0]), ValueError, "rates: expected shape"),
        (lambda: bernoulli_spikes(RNG, RATES - 0.2), ValueError, "rates: expected from 0 to 1 spikes per ms"),
        (lambda: bernoulli_spikes(RNG, RATES * 11), ValueError, "rates: expected from 0 to 1 spikes per ms"),
        (lambda: bernoulli_spikes(RNG, RATES, 1, 20.0), ValueError, "rates: expected from 0 to 0.05 spikes"),
        (lambda: bernoulli_spikes(RNG, RATES, 0), ValueError, "steps: expected"),
        (lambda: bernoulli_spikes(RNG, RATES, 2.0), TypeError, "steps: expected"),
        (lambda: bernoulli_spikes(RNG, RATES, [1, 2, 3]), ValueError, "steps: expected one number or 2"),
        (lambda: bernoulli_spikes(RNG, RATES, [1, 0]), ValueError, r"steps\[1\]: expected"),
        (lambda: bernoulli_spikes(RNG, RATES, 1, -1.0), ValueError, "time_step: expected"),
        (lambda: bernoulli_spikes(RNG, RATES, dtype=int), TypeError, "dtype: expected float32 or float64"),
        (lambda: events(0, (2, 2)), ValueError, "shape: expected"),
        (lambda: events(0, (2, 2.0, 2)), TypeError, r"shape\[1\]: expected an integer"),
        (lambda: events(1, [0, 2]), ValueError, "steps: expected numbers from 0 to 1, got 0 to 2"),
        (lambda: events(2, [-1, 0]), ValueError, "samples: expected numbers from 0 to 1, got -1 to 0"),
        (lambda: events(3, [0.0, 1.0]), ValueError, "sources: expected whole numbers"),
        (lambda: events(3, [0]), ValueError, r"sources: expected whole numbers of shape \(events,\)"),
        (lambda: events(4, [1, 1]), TypeError, "values: expected a float32 or float64"),
        (lambda: events(4, [1.0, np.nan]), ValueError, "values: expected finite"),
        (
            lambda: SpikeEvents.from_events((2, 2, 2), [1, 1], [0, 0], [1, 1], [1.0, 1.0]),
            ValueError,
            "sources: expected them to ascend",
        ),
    ],
)
def test_refusals(call, error, words):
    with pytest.raises(error, match=words):
        call()
