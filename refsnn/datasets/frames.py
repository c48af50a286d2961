"""Frames from events: the counts that networks with few steps are trained on."""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn import checks
from refsnn.datasets.events import Events, sensor_shape


def to_frames(
    events: Events,
    steps: int,
    split: str = "number",
    size: tuple[int, int] | None = None,
    clip: int | None = None,
    dtype: Any = np.float64,
) -> np.ndarray:
    """Return the events counted into `steps` frames.

    With N events at times t[0..N-1] and T frames, frame i < T - 1 counts

    - ``"number"``: the events i*(N//T) to (i+1)*(N//T) - 1 in their order;
    - ``"time"``: those with t[0] + i*w <= t < t[0] + (i+1)*w, where w = (t[N-1] - t[0]) // T microseconds,

    and the last frame all that remain, so that no event is lost and the last frame may have more.  These are
    the rules of SpikingJelly, whose frames much of the literature trains on; a slice of time without events
    is an empty frame here and an error there.

    Parameters
    ----------
    events : Events
        The recording.
    steps : int
        Number T of frames.
    split : str
        ``"number"`` or ``"time"``.
    size : tuple of int, optional
        Height and width of the frames if they are to be smaller than the sensor: pixel (y, x) counts in row
        y*H // sensor height and column x*W // sensor width, and pixels that fall together add up.
    clip : int, optional
        Counts above it are cut to it; 1 gives binary frames.
    dtype : dtype
        float64 or float32.

    Returns
    -------
    ndarray, shape (T, 2, H, W)
        Channel 0 counts polarity 0 (OFF), channel 1 polarity 1 (ON).

    Raises
    ------
    TypeError
        If `events` is no recording, or an argument is of a wrong type.
    ValueError
        If there are fewer events than frames; by time, if the times are not sorted or span less than a
        microsecond a frame; if the frames are larger than the sensor.

    Examples
    --------
    >>> events = Events([0, 1, 1, 0, 1], [0] * 5, [1, 1, 0, 1, 1], [0, 1, 2, 3, 9], sensor=(1, 2))
    >>> to_frames(events, 2)[:, 1, 0]
    array([[1., 1.],
           [1., 1.]])
    >>> to_frames(events, 2, split="time")[:, 1, 0]
    array([[2., 1.],
           [0., 1.]])
    """
    events = checks.instance("events", events, Events, "the result of read_nmnist")
    steps = checks.count("steps", steps)
    split = checks.choice("split", split, ("number", "time"))
    kind = checks.float_dtype("dtype", dtype)
    height, width = _size(events.sensor, size)
    if clip is not None:
        clip = checks.count("clip", clip)

    edges = _edges_by_time(events.time, steps) if split == "time" else _edges_by_number(len(events), steps)
    frame = np.repeat(np.arange(steps), np.diff(edges))
    row = events.y.astype(np.int64) * height // events.sensor[0]
    column = events.x.astype(np.int64) * width // events.sensor[1]
    shape = (steps, 2, height, width)
    pixel = np.ravel_multi_index((frame, events.polarity, row, column), shape)
    counts = np.bincount(pixel, minlength=int(np.prod(shape))).reshape(shape)
    return (counts if clip is None else np.minimum(counts, clip)).astype(kind)


def _edges_by_number(events: int, steps: int) -> np.ndarray:
    """First event of each frame, and the end."""
    if events < steps:
        raise ValueError(
            f"steps: expected at most as many frames as events, {events}, got {steps}; "
            "take fewer steps, or leave the recording out"
        )
    return np.append(np.arange(steps) * (events // steps), events)


def _edges_by_time(time: np.ndarray, steps: int) -> np.ndarray:
    """The same, by time."""
    if not time.size:
        raise ValueError("events: expected at least one event, got none; leave the recording out")
    back = np.flatnonzero(np.diff(time) < 0)
    if back.size:
        first = back[0]
        raise ValueError(
            f"events: expected sorted times for split='time', got {time[first + 1]} after {time[first]} at "
            f"event {first + 1} ({back.size} steps back); sort_events sorts them, split='number' does without"
        )
    width = int(time[-1] - time[0]) // steps
    if width < 1:
        raise ValueError(
            f"steps: expected at least a microsecond a frame, got {steps} frames for the "
            f"{time[-1] - time[0]} microseconds of the recording; take fewer steps"
        )
    starts = time[0] + width * np.arange(steps)
    return np.append(np.searchsorted(time, starts, side="left"), time.size)


def _size(sensor: tuple[int, int], size: tuple[int, int] | None) -> tuple[int, int]:
    """Height and width of the frames."""
    if size is None:
        return sensor
    height, width = sensor_shape("size", size)
    if height > sensor[0] or width > sensor[1]:
        raise ValueError(f"size: expected at most the sensor's {sensor}, got {(height, width)}")
    return height, width
