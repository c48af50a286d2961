"""Numbers as spikes: crossings of thresholds, population codes, and spikes drawn at given rates.

Times are in ms, rates in spikes per ms (0.2 is 200 Hz).  A spike has the value 1 / time_step, so that its
area is 1 whatever the step (Bellec 2018, section 2).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn import checks
from refsnn.models.spike_events import SpikeEvents

# ---- images -----------------------------------------------------------------------------------------------


def threshold_crossing(
    images: Any, channels: int = 80, repeat: int = 1, cue_steps: int = 56, time_step: float = 1.0
) -> SpikeEvents:
    """Images pixel by pixel, as the moments at which their grey level crosses thresholds (Bellec 2018).

    The thresholds are linspace(0, 1, channels / 2).  Each one below 1 has two channels: the first speaks at
    step t when g(t) < threshold <= g(t + 1), the second when g(t) >= threshold > g(t + 1): at the pixel
    *before* the crossing, one step ahead of it, as in the official code.  The threshold 1 has one channel,
    which speaks at every t with g(t) = 1.  The last channel is the cue: silent during the image, at every
    step after it.  The order is rise 0, fall 0, rise 1, fall 1, ..., touch, cue; both channels of the
    threshold 0 are always silent.

    Parameters
    ----------
    images : array_like of float, (N, pixels)
        Grey levels from 0 to 1, rows of an image after one another.
    channels : int
        Number of inputs, even, from 4.
    repeat : int
        Steps for which each pixel stays.
    cue_steps : int
        The cue lasts `cue_steps * repeat` steps; 56 are two rows of MNIST.
    time_step : float
        In ms.

    Returns
    -------
    SpikeEvents
        T = (pixels + cue_steps) repeat steps of N samples, values of the images' dtype.

    Raises
    ------
    TypeError, ValueError
        For images of another kind or range, an odd number of channels, and numbers that are no counts.

    Notes
    -----
    Thresholds are compared in the dtype of the images: 85/255 and 170/255 of MNIST lie exactly on two of the
    40 thresholds, and reach them in float32 and in float64.

    Examples
    --------
    >>> spikes = threshold_crossing([[0.0, 0.6, 1.0]], channels=6, cue_steps=1)  # thresholds 0, 1/2, 1
    >>> spikes.as_array()[:, 0]
    array([[0., 0., 1., 0., 0., 0.],
           [0., 0., 0., 0., 0., 0.],
           [0., 0., 0., 0., 1., 0.],
           [0., 0., 0., 0., 0., 1.]])
    """
    grey = _checked_images(images).T
    channels = checks.count("channels", channels, minimum=4)
    if channels % 2:
        raise ValueError(
            f"channels: expected an even number, two for each threshold, got {channels}; "
            f"take {channels - 1} or {channels + 1}"
        )
    repeat, cue_steps = checks.count("repeat", repeat), checks.count("cue_steps", cue_steps, minimum=0)
    time_step = checks.number("time_step", time_step, 0, low_open=True)
    thresholds = np.linspace(0, 1, channels // 2).astype(grey.dtype)

    # the level of a pixel is how many thresholds it has reached; a step up or down crosses those between
    level = np.repeat(np.searchsorted(thresholds[:-1], grey, side="right"), repeat, axis=0)
    before, after = level[:-1].ravel(), level[1:].ravel()
    crossed = np.abs(after - before)
    cells = np.repeat(np.arange(crossed.size), crossed)
    rank = np.arange(cells.size) - np.repeat(np.cumsum(crossed) - crossed, crossed)
    falls = (after < before)[cells]
    crossing = 2 * (np.minimum(before, after)[cells] + rank) + falls

    touched = np.flatnonzero(np.repeat(grey == 1, repeat, axis=0))
    shape = (len(level) + cue_steps * repeat, grey.shape[1], channels)
    cued = np.arange(level.size, shape[0] * shape[1])
    cells = np.concatenate([cells, touched, cued])
    sources = np.concatenate(
        [crossing, np.full(touched.size, channels - 2), np.full(cued.size, channels - 1)]
    )
    values = np.full(cells.size, 1 / time_step, grey.dtype)
    return SpikeEvents.from_events(shape, *np.divmod(cells, shape[1]), sources, values)


def analog_pixels(images: Any, repeat: int = 1) -> np.ndarray:
    """Images pixel by pixel as they are: one input, no spikes, no cue.

    Parameters
    ----------
    images : array_like of float, (N, pixels)
        Grey levels from 0 to 1.
    repeat : int
        Steps for which each pixel stays.

    Returns
    -------
    ndarray, (pixels repeat, N, 1)
        In the images' dtype.

    Raises
    ------
    TypeError, ValueError
        As `threshold_crossing`.

    Examples
    --------
    >>> analog_pixels([[0.25, 1.0]], repeat=2)[:, 0, 0]
    array([0.25, 0.25, 1.  , 1.  ])
    """
    grey = _checked_images(images).T
    return np.repeat(grey, checks.count("repeat", repeat), axis=0)[:, :, None]


def _checked_images(images: Any) -> np.ndarray:
    """Floats (N, pixels) from 0 to 1."""
    grey = checks.float_array("images", images, ("N", "pixels"))
    if grey.min() < 0 or grey.max() > 1:
        raise ValueError(
            f"images: expected grey levels from 0 to 1, got {grey.min()} to {grey.max()}; "
            "divide by the largest possible one, 255 for bytes"
        )
    return grey


# ---- rates ------------------------------------------------------------------------------------------------


def population_code(values: Any, centres: Any, width: float, highest_rate: float) -> np.ndarray:
    """Rates of neurons that each like one value best: Gaussian tuning.

    Neuron i fires at highest_rate exp(-(centre_i - value)^2 / (2 width^2)) (Bellec 2018, supplement).

    Parameters
    ----------
    values : array_like of float, any shape
        What is coded.
    centres : array_like of float, (n,)
        The value that each neuron likes best, in the dtype of the values.
    width : float
        Standard deviation of the tuning curves, in the unit of the values.
    highest_rate : float
        In spikes per ms.

    Returns
    -------
    ndarray, (*values.shape, n)
        Spikes per ms, in the dtype of the values.

    Raises
    ------
    TypeError, ValueError
        For arrays that are no finite floats of one dtype, a width of 0 and a negative rate.

    Examples
    --------
    >>> population_code([0.5], [0.0, 0.5, 1.0], width=0.5, highest_rate=0.2).round(3)
    array([[0.121, 0.2  , 0.121]])
    """
    coded = checks.float_array("values", values)
    liked = checks.float_array("centres", centres, ("n",), coded.dtype)
    width = checks.number("width", width, 0, low_open=True)
    highest_rate = checks.number("highest_rate", highest_rate, 0)
    distance = (liked - coded[..., None]) / width
    return highest_rate * np.exp(-(distance**2) / 2)


def bernoulli_spikes(
    rng: np.random.Generator, rates: Any, steps: Any = 1, time_step: float = 1.0, dtype: Any = None
) -> SpikeEvents:
    """Independent spikes with probability rate times time_step at each step: a Poisson process in steps.

    The rates of a block are held for some steps.  Nothing is drawn for neurons whose rate is 0.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws the spikes.
    rates : array_like of float, (blocks, B, n)
        Spikes per ms.
    steps : int or sequence of int
        How long a block lasts, the same for all or each its own.
    time_step : float
        In ms.
    dtype : dtype, optional
        Of the spikes; the rates' own unless given.  It changes no spike.

    Returns
    -------
    SpikeEvents
        All blocks after one another.

    Raises
    ------
    TypeError, ValueError
        For arguments of wrong kind or shape, negative rates, and rates above one spike a step.

    Notes
    -----
    The steps from one success to the next of a Bernoulli process are geometric, so that the spikes of the
    highest rate are drawn one by one, in their final order; a spike of a neuron with a lower rate is then
    kept with the ratio of the two.  The distribution is exact.

    Examples
    --------
    >>> rates = np.array([[[0.0, 1.0]], [[1.0, 0.0]]])
    >>> bernoulli_spikes(np.random.default_rng(0), rates, steps=[1, 2]).as_array()[:, 0]
    array([[0., 1.],
           [1., 0.],
           [1., 0.]])
    """
    checks.generator("rng", rng)
    held = checks.float_array("rates", rates, ("blocks", "B", "n"))
    kind = held.dtype if dtype is None else checks.float_dtype("dtype", dtype)
    time_step = checks.number("time_step", time_step, 0, low_open=True)
    if held.min() < 0 or float(held.max()) * time_step > 1:
        raise ValueError(
            f"rates: expected from 0 to {1 / time_step:g} spikes per ms, one a step of {time_step:g} ms, "
            f"got {held.min():g} to {held.max():g}; lower them or take a smaller time_step (200 Hz are 0.2)"
        )
    blocks, batch, width = held.shape
    duration = _durations(steps, blocks)
    probability = held.ravel().astype(np.float64) * time_step

    # trials in the order of blocks, their steps, and the neurons that can speak at all
    active = np.flatnonzero(probability)
    speakers = np.bincount(active // (batch * width), minlength=blocks)
    ends = np.cumsum(speakers * duration)
    highest = probability.max()
    places = _successes(rng, int(ends[-1]), highest)
    block = np.searchsorted(ends, places, side="right")
    first = (ends - speakers * duration)[block]
    step, speaker = np.divmod(places - first, speakers[block])
    cells = active[(np.cumsum(speakers) - speakers)[block] + speaker]
    step += (np.cumsum(duration) - duration)[block]
    if (probability[active] < highest).any():
        kept = rng.random(cells.size) * highest < probability[cells]
        step, cells = step[kept], cells[kept]
    sample, source = np.divmod(cells % (batch * width), width)
    values = np.full(cells.size, 1 / time_step, kind)
    return SpikeEvents.from_events((int(duration.sum()), batch, width), step, sample, source, values)


def _durations(steps: Any, blocks: int) -> np.ndarray:
    """Steps of each block."""
    if np.ndim(steps) == 0:
        return np.full(blocks, checks.count("steps", steps), np.int64)
    if len(steps) != blocks:
        raise ValueError(
            f"steps: expected one number or {blocks}, one for each block of rates, got {len(steps)}"
        )
    return np.array([checks.count(f"steps[{index}]", entry) for index, entry in enumerate(steps)], np.int64)


def _successes(rng: np.random.Generator, trials: int, probability: float) -> np.ndarray:
    """Which of so many trials succeed, ascending."""
    found, last = [np.zeros(0, np.int64)], -1
    while last < trials - 1 and probability > 0:
        expected = (trials - 1 - last) * probability
        gaps = rng.geometric(probability, int(expected + 4 * expected**0.5) + 16)
        # a gap beyond the end is as good as another, and their sum must not overflow
        places = last + np.cumsum(np.minimum(gaps, trials + 1))
        found.append(places[places < trials])
        last = int(places[-1])
    return np.concatenate(found)
