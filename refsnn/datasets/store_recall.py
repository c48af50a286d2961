"""Store and recall: remember the bit that came with STORE until RECALL asks for it (Bellec 2018).

A sequence is made of characters: the bits 0 and 1, STORE and RECALL.  Each lasts some steps, during which
the input neurons of its channel spike at random.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.datasets.encoding import bernoulli_spikes
from refsnn.datasets.labelled import float_dtype
from refsnn.models.spike_events import SpikeEvents

STORE, RECALL = 2, 3
CHANNELS = 4  # the bits 0 and 1, STORE, RECALL
ATTEMPTS = 20_000


@dataclass(frozen=True, eq=False)
class StoreRecall:
    """A batch of the task.

    Attributes
    ----------
    inputs : SpikeEvents
        T = characters * steps_per_character steps of B samples.
    characters : ndarray of int64, (B, characters)
        0, 1, STORE = 2, RECALL = 3.
    recall : ndarray of bool, (characters, B)
        Where an answer is asked for.
    bits : ndarray of int64, (characters, B)
        The answer where one is asked for, 0 elsewhere.
    steps_per_character : int
        How long a character lasts.
    """

    inputs: SpikeEvents
    characters: np.ndarray
    recall: np.ndarray
    bits: np.ndarray
    steps_per_character: int


def store_recall(
    rng: np.random.Generator,
    samples: int = 128,
    characters: int = 12,
    expected_delay: float = 6,
    inputs: int = 100,
    rate: float = 0.05,
    steps_per_character: int = 200,
    time_step: float = 1.0,
    dtype: Any = np.float64,
) -> StoreRecall:
    """A fresh batch, at the size of the official tutorial unless asked otherwise.

    While STORE is shown, the channel of the bit that follows is active too; the bit shown after it is then
    turned round with probability 1/2.  So the bit counts that comes *with* STORE, and the next character
    says nothing about it.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws sequences, flips and spikes.
    samples : int
        B.
    characters : int
        Length of the sequences, from 3.
    expected_delay : float
        See `store_recall_characters`.
    inputs : int
        Input neurons, from 4; the four channels take consecutive ones, a quarter each, the first channels
        one more if four does not divide them.
    rate : float
        Spikes per ms of an active neuron; the others are silent.
    steps_per_character : int
        How long a character lasts.
    time_step : float
        In ms.
    dtype : dtype
        Of the spikes: float64 or float32.

    Returns
    -------
    StoreRecall

    Raises
    ------
    TypeError, ValueError
        For arguments of wrong kind or range.

    Examples
    --------
    >>> batch = store_recall(np.random.default_rng(0), samples=4, steps_per_character=10)
    >>> batch.inputs.steps, batch.inputs.batch, batch.inputs.width, batch.recall.shape
    (120, 4, 100, (12, 4))
    """
    sequences = store_recall_characters(rng, samples, characters, expected_delay)
    active = _active_channels(sequences)
    samples_of, places = np.nonzero(sequences == STORE)
    turned = rng.random(samples_of.size) < 0.5
    following = places[turned] + 1, samples_of[turned]
    active[(*following, slice(0, 2))] = ~active[(*following, slice(0, 2))]
    return _encode(rng, sequences, active, inputs, rate, steps_per_character, time_step, dtype)


def encode_store_recall(
    rng: np.random.Generator,
    characters: Any,
    inputs: int = 100,
    rate: float = 0.05,
    steps_per_character: int = 200,
    time_step: float = 1.0,
    dtype: Any = np.float64,
) -> StoreRecall:
    """Given sequences, encoded without the random flips of `store_recall`.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws the spikes.
    characters : array_like of int, (B, characters)
        As `recall_targets` takes them.
    inputs, rate, steps_per_character, time_step, dtype
        As `store_recall`.

    Returns
    -------
    StoreRecall

    Raises
    ------
    TypeError, ValueError
        For arguments of wrong kind or range, and sequences that ask for what was never stored.

    Examples
    --------
    >>> batch = encode_store_recall(
    ...     np.random.default_rng(0), [[2, 1, 0, 3]], inputs=4, rate=1.0, steps_per_character=1)
    >>> batch.inputs.as_array()[:, 0]
    array([[0., 1., 1., 0.],
           [0., 1., 0., 0.],
           [1., 0., 0., 0.],
           [0., 0., 0., 1.]])
    """
    checks.generator("rng", rng)
    sequences = _checked_characters(characters)
    active = _active_channels(sequences)
    return _encode(rng, sequences, active, inputs, rate, steps_per_character, time_step, dtype)


# ---- sequences --------------------------------------------------------------------------------------------


def store_recall_characters(
    rng: np.random.Generator, samples: int, characters: int = 12, expected_delay: float = 6
) -> np.ndarray:
    """Random sequences in which every RECALL has something to recall.

    All begin as random bits.  From left to right each place becomes, with probability
    1 / (1 + expected_delay), the command whose turn it is: STORE first, then RECALL, STORE, ...  Sequences
    are drawn again until they have a STORE, a RECALL, a bit right after each STORE, and a RECALL after the
    last STORE.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws them.
    samples : int
        B.
    characters : int
        Length, from 3.
    expected_delay : float
        Mean number of characters between two commands if sequences were endless; above 0.

    Returns
    -------
    ndarray of int64, (B, characters)

    Raises
    ------
    TypeError, ValueError
        For arguments of wrong kind or range, and if 20000 draws do not give a sequence that is good.

    Notes
    -----
    In the official code the turn survives a sequence that is thrown away.  The sequences kept have the same
    distribution: one that begins with the turn of RECALL has it before any STORE, or no command at all, and
    is thrown away in any case.

    Examples
    --------
    >>> sequences = store_recall_characters(np.random.default_rng(0), samples=2)
    >>> sequences.shape, (sequences == STORE).any(axis=1)
    ((2, 12), array([ True,  True]))
    """
    checks.generator("rng", rng)
    samples, length = checks.count("samples", samples), checks.count("characters", characters, minimum=3)
    chance = 1 / (1 + checks.number("expected_delay", expected_delay, 0, low_open=True))
    sequences = np.zeros((samples, length), np.int64)
    waiting = np.arange(samples)
    for _ in range(ATTEMPTS):
        drawn = rng.integers(0, 2, (waiting.size, length))
        commands = rng.random(drawn.shape) < chance
        # the first command is STORE, the second RECALL, ...
        drawn[commands] = np.where(np.cumsum(commands, axis=1) % 2 == 1, STORE, RECALL)[commands]
        good = _is_good(drawn)
        sequences[waiting[good]] = drawn[good]
        waiting = waiting[~good]
        if not waiting.size:
            return sequences
    raise ValueError(
        f"expected_delay: expected sequences of {length} characters to have a STORE, a bit and a RECALL, got "
        f"none in {ATTEMPTS} draws with a delay of {expected_delay:g}; take a delay below their length, and "
        "not far below 1"
    )


def _is_good(sequences: np.ndarray) -> np.ndarray:
    """Whether every STORE is followed by a bit and has its RECALL; commands take turns already."""
    stores, recalls = (sequences == STORE), (sequences == RECALL)
    followed = ~(stores[:, :-1] & (sequences[:, 1:] >= STORE)).any(axis=1)
    return stores.any(axis=1) & (stores.sum(axis=1) == recalls.sum(axis=1)) & followed


def recall_targets(characters: Any) -> tuple[np.ndarray, np.ndarray]:
    """What is to be answered where: at each RECALL, the bit right after the STORE before it.

    Parameters
    ----------
    characters : array_like of int, (B, characters)
        0, 1, STORE = 2, RECALL = 3; a bit must follow each STORE, and a STORE precede each RECALL.

    Returns
    -------
    recall : ndarray of bool, (characters, B)
        Where an answer is asked for.
    bits : ndarray of int64, (characters, B)
        The answer there, 0 elsewhere.

    Raises
    ------
    TypeError, ValueError
        For other characters and shapes, a STORE without its bit and a RECALL without a STORE.

    Examples
    --------
    >>> recall, bits = recall_targets([[2, 1, 0, 3]])
    >>> recall[:, 0], bits[:, 0]
    (array([False, False, False,  True]), array([0, 0, 0, 1]))
    """
    return _targets(_checked_characters(characters))


def _targets(sequences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mask and bits of sequences that passed the door."""
    recall = sequences == RECALL
    place = np.arange(sequences.shape[1])
    latest = np.maximum.accumulate(np.where(sequences == STORE, place, -1), axis=1)
    following = np.minimum(latest + 1, place[-1])  # after the last place nobody asks
    stored = np.take_along_axis(sequences, following, axis=1)
    return np.ascontiguousarray(recall.T), np.where(recall, stored, 0).T.copy()


def _checked_characters(characters: Any) -> np.ndarray:
    """Sequences (B, characters) that can be shown and answered."""
    given = checks.as_numpy("characters", characters)
    if given.dtype.kind not in "iu":
        raise TypeError(f"characters: expected integers from 0 to 3, got {given.dtype}")
    if given.ndim != 2 or not given.size:
        raise ValueError(f"characters: expected shape (B, characters), at least one, got {given.shape}")
    if given.min() < 0 or given.max() > RECALL:
        raise ValueError(
            f"characters: expected 0, 1, {STORE} for STORE and {RECALL} for RECALL, got {given.min()} to "
            f"{given.max()}"
        )
    sequences = given.astype(np.int64)
    stores = sequences == STORE
    bad = stores[:, -1] | (stores[:, :-1] & (sequences[:, 1:] >= STORE)).any(axis=1)
    if bad.any():
        raise ValueError(
            f"characters: expected a bit right after each STORE, got {sequences[bad][0].tolist()} in sample "
            f"{np.flatnonzero(bad)[0]}; it is the bit that is stored"
        )
    early = ((sequences == RECALL) & ~np.maximum.accumulate(stores, axis=1)).any(axis=1)
    if early.any():
        raise ValueError(
            f"characters: expected a STORE before each RECALL, got {sequences[early][0].tolist()} in sample "
            f"{np.flatnonzero(early)[0]}; there is nothing to recall"
        )
    return sequences


# ---- spikes -----------------------------------------------------------------------------------------------


def _active_channels(sequences: np.ndarray) -> np.ndarray:
    """Which channels are on, (characters, B, 4): each character its own, STORE the next bit's too."""
    active = sequences.T[:, :, None] == np.arange(CHANNELS)
    storing = sequences.T[:-1] == STORE
    active[:-1][storing, :2] = active[1:][storing, :2]
    return active


def _encode(
    rng: np.random.Generator,
    sequences: np.ndarray,
    active: np.ndarray,
    inputs: int,
    rate: float,
    steps_per_character: int,
    time_step: float,
    dtype: Any,
) -> StoreRecall:
    """Spikes of the active channels."""
    inputs = checks.count("inputs", inputs, minimum=CHANNELS)
    steps = checks.count("steps_per_character", steps_per_character)
    time_step = checks.number("time_step", time_step, 0, low_open=True)
    rate = checks.number("rate", rate, 0, 1 / time_step)  # one spike a step at most
    kind = float_dtype(dtype)
    channel = np.concatenate(
        [np.full(len(part), index) for index, part in enumerate(np.array_split(np.arange(inputs), CHANNELS))]
    )
    spikes = bernoulli_spikes(rng, active[:, :, channel] * rate, steps, time_step, kind)
    return StoreRecall(spikes, sequences, *_targets(sequences), steps)
