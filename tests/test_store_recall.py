"""Store and recall against a scan character by character, loops over channels, and exact probabilities."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refsnn.datasets import (
    RECALL,
    STORE,
    encode_store_recall,
    recall_targets,
    store_recall,
    store_recall_characters,
)

# ---- the rules, written a second time ---------------------------------------------------------------------


def keeps_the_rules(sequence):
    """Every rule by itself, character by character."""
    stores = [place for place, character in enumerate(sequence) if character == STORE]
    recalls = [place for place, character in enumerate(sequence) if character == RECALL]
    if not stores or not recalls or not any(character < STORE for character in sequence):
        return False
    if stores[0] > recalls[0] or stores[-1] > recalls[-1]:
        return False
    for place in stores:
        if place + 1 == len(sequence) or sequence[place + 1] >= STORE:
            return False
    between = [any(a < r < b for r in recalls) for a, b in itertools.pairwise(stores)]
    between += [any(a < s < b for s in stores) for a, b in itertools.pairwise(recalls)]
    return all(between)


def scans(length, chance, last):
    """All outcomes of one scan that begins with the flag `last`: sequence, flag at the end -> probability."""
    outcomes = {}
    for bits in itertools.product((0, 1), repeat=length):
        for turns in itertools.product((False, True), repeat=length):
            flag, sequence, probability = last, list(bits), 0.5**length
            for place, turn in enumerate(turns):
                probability *= chance if turn else 1 - chance
                if turn and flag == RECALL:
                    sequence[place], flag = STORE, STORE
                elif turn and flag == STORE:
                    sequence[place], flag = RECALL, RECALL
            key = tuple(sequence), flag
            outcomes[key] = outcomes.get(key, 0) + probability
    return outcomes


@pytest.mark.parametrize(("length", "delay"), [(3, 2.0), (5, 1.0), (6, 3.5)])
def test_sequences_come_with_their_probability(length, delay):
    chance, samples = 1 / (1 + delay), 40_000
    weights = {}
    for (sequence, _), probability in scans(length, chance, RECALL).items():
        if keeps_the_rules(sequence):
            weights[sequence] = weights.get(sequence, 0) + probability
    total = sum(weights.values())
    drawn = store_recall_characters(np.random.default_rng(1), samples, length, delay)
    assert drawn.shape == (samples, length)
    counts = {}
    for sequence in map(tuple, drawn.tolist()):
        counts[sequence] = counts.get(sequence, 0) + 1
    assert counts.keys() <= weights.keys()
    statistic = sum(
        (counts.get(sequence, 0) - samples * weight / total) ** 2 / (samples * weight / total)
        for sequence, weight in weights.items()
    )
    free = len(weights) - 1
    assert free >= 1
    assert statistic < free + 5 * math.sqrt(2 * free)


@pytest.mark.parametrize("delay", [6.0, 2.0])
def test_commands_are_as_many_as_their_probability_says(delay):
    """In short sequences nothing depends on the delay: there is room for two commands, no more."""
    length, samples, chance = 12, 20_000, 1 / (1 + delay)
    weights = np.zeros(length + 1)
    for turns in itertools.product((False, True), repeat=length):
        commands = itertools.cycle((STORE, RECALL))
        sequence = [next(commands) if turn else 0 for turn in turns]
        if keeps_the_rules(sequence):
            weights[sum(turns)] += math.prod(chance if turn else 1 - chance for turn in turns)
    expected = samples * weights / weights.sum()
    drawn = store_recall_characters(np.random.default_rng(5), samples, length, delay)
    counts = np.bincount((drawn >= STORE).sum(axis=1), minlength=length + 1)
    possible = expected > 0
    assert not counts[~possible].any()
    assert possible.sum() == 4  # 2, 4, 6, 8
    assert (abs(counts - expected) <= 5 * np.sqrt(expected) + 5 * possible).all()


def test_a_flag_that_survives_a_rejected_scan_changes_no_distribution():
    """What starts with the turn of RECALL is rejected whatever follows: what is kept began with STORE's."""
    outcomes = scans(6, 0.3, STORE)
    assert sum(outcomes.values()) == pytest.approx(1)
    assert not any(keeps_the_rules(sequence) for sequence, _ in outcomes)
    assert any(keeps_the_rules(sequence) for sequence, _ in scans(6, 0.3, RECALL))
    # and it comes back to the other turn, so that it costs attempts only
    assert any(flag == RECALL for _, flag in outcomes)


@given(
    seed=st.integers(0, 2**32 - 1),
    samples=st.integers(1, 30),
    length=st.integers(3, 16),
    delay=st.floats(0.5, 12),
)
def test_all_sequences_keep_the_rules(seed, samples, length, delay):
    drawn = store_recall_characters(np.random.default_rng(seed), samples, length, delay)
    assert drawn.shape == (samples, length)
    assert drawn.dtype == np.int64
    assert set(np.unique(drawn)) <= {0, 1, STORE, RECALL}
    assert all(keeps_the_rules(sequence) for sequence in drawn.tolist())


# ---- targets ----------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**32 - 1), length=st.integers(3, 16))
def test_a_recall_asks_for_the_bit_after_the_store_before_it(seed, length):
    sequences = store_recall_characters(np.random.default_rng(seed), 20, length, 2.0)
    recall, bits = recall_targets(sequences)
    assert recall.shape == bits.shape == (length, 20)
    for sample, sequence in enumerate(sequences.tolist()):
        stored = None
        for place, character in enumerate(sequence):
            assert recall[place, sample] == (character == RECALL)
            assert bits[place, sample] == (stored if character == RECALL else 0)
            if character == STORE:
                stored = sequence[place + 1]


def test_given_sequences_may_ask_twice_or_never():
    recall, bits = recall_targets([[2, 1, 3, 0, 3], [2, 1, 2, 0, 3], [0, 1, 0, 1, 0]])
    assert recall.T.tolist() == [[False, False, True, False, True], [False] * 4 + [True], [False] * 5]
    assert bits.T.tolist() == [[0, 0, 1, 0, 1], [0] * 5, [0] * 5]


# ---- spikes -----------------------------------------------------------------------------------------------


def raster_by_loops(sequences, inputs, steps, height):
    """What is shown when every active neuron fires at every step; no flips."""
    samples, length = np.shape(sequences)
    groups = np.array_split(np.arange(inputs), 4)
    raster = np.zeros((length * steps, samples, inputs))
    for sample, sequence in enumerate(sequences):
        for place, character in enumerate(sequence):
            shown = [character] + ([sequence[place + 1]] if character == STORE else [])
            for channel in shown:
                for step in range(place * steps, (place + 1) * steps):
                    for neuron in groups[channel]:
                        raster[step, sample, neuron] = height
    return raster


@given(
    seed=st.integers(0, 2**32 - 1),
    inputs=st.integers(4, 13),
    steps=st.integers(1, 4),
    time_step=st.sampled_from([1.0, 0.5]),
)
def test_given_sequences_are_shown_as_they_are(seed, inputs, steps, time_step):
    rng = np.random.default_rng(seed)
    sequences = store_recall_characters(rng, 5, 7, 2.0)
    batch = encode_store_recall(rng, sequences, inputs, 1 / time_step, steps, time_step)
    np.testing.assert_array_equal(
        batch.inputs.as_array(), raster_by_loops(sequences.tolist(), inputs, steps, 1 / time_step)
    )
    np.testing.assert_array_equal(batch.characters, sequences)
    assert batch.steps_per_character == steps
    for found, expected in zip((batch.recall, batch.bits), recall_targets(sequences), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_bit_after_a_store_is_turned_round_half_of_the_time():
    samples = 4000
    batch = store_recall(np.random.default_rng(2), samples, 12, 2.0, 4, rate=1.0, steps_per_character=1)
    shown = batch.inputs.as_array().transpose(1, 0, 2)  # (B, characters, channel)
    straight = raster_by_loops(batch.characters.tolist(), 4, 1, 1.0).transpose(1, 0, 2)
    after_store = np.zeros(batch.characters.shape, bool)
    after_store[:, 1:] = batch.characters[:, :-1] == STORE
    # elsewhere all is shown as it is, with the stored bit beside STORE
    np.testing.assert_array_equal(shown[~after_store], straight[~after_store])
    following, bits = shown[after_store], batch.characters[after_store]
    assert (following.sum(axis=1) == 1).all()
    assert not following[:, 2:].any()
    turned = following[:, 1] != bits
    assert turned.size > samples
    for some in (turned, turned[bits == 0], turned[bits == 1]):
        assert abs(some.mean() - 0.5) < 2.5 / math.sqrt(some.size)
    # the coin is thrown for each STORE, not once for a sequence
    which = np.nonzero(after_store)[0]
    pairs = turned[:-1][which[:-1] == which[1:]], turned[1:][which[:-1] == which[1:]]
    assert len(pairs[0]) > 500
    assert abs((pairs[0] == pairs[1]).mean() - 0.5) < 2.5 / math.sqrt(len(pairs[0]))


def test_the_official_size_and_its_rates():
    batch = store_recall(np.random.default_rng(3), 64)
    inputs = batch.inputs
    assert (inputs.steps, inputs.batch, inputs.width) == (2400, 64, 100)
    raster = inputs.as_array().reshape(12, 200, 64, 4, 25)
    counts = raster.sum(axis=(1, 4))  # (characters, B, channel), of 5000 trials
    active = counts > 0
    chance, spread = 0.05, math.sqrt(0.05 * 0.95 / 5000)
    assert (abs(counts[active] / 5000 - chance) < 5.5 * spread).all()
    assert abs(counts[active].mean() / 5000 - chance) < 4 * spread / math.sqrt(active.sum())
    storing = batch.characters.T == STORE
    np.testing.assert_array_equal(active.sum(axis=2), 1 + storing)
    np.testing.assert_array_equal(active[:, :, 2], storing)
    np.testing.assert_array_equal(active[:, :, 3], batch.recall)
    # every step and every neuron alike
    trials = 25 * active.sum()
    assert abs(raster.sum(axis=(0, 2, 3, 4)) / trials - chance).max() < 5 * math.sqrt(0.0475 / trials)
    assert storing.sum() >= 64


def test_a_seed_gives_the_same_batch_in_both_dtypes():
    def draw(seed, dtype):
        return store_recall(np.random.default_rng(seed), 3, steps_per_character=20, dtype=dtype)

    wide, narrow, other = draw(4, np.float64), draw(4, np.float32), draw(5, np.float64)
    assert wide.inputs.values.dtype == np.float64
    assert narrow.inputs.values.dtype == np.float32
    assert len(wide.inputs.values) > 100
    np.testing.assert_array_equal(wide.inputs.as_array(), narrow.inputs.as_array())
    np.testing.assert_array_equal(wide.characters, narrow.characters)
    assert (wide.inputs.as_array() != other.inputs.as_array()).any()


def test_certain_spikes_pass_in_float32():
    """0.1 rounded to float32 is more than 0.1: as a rate it would be above one spike a step of 10 ms."""
    batch = store_recall(
        np.random.default_rng(0), 1, rate=0.1, time_step=10.0, steps_per_character=2, dtype=np.float32
    )
    assert set(np.unique(batch.inputs.values)) == {np.float32(0.1)}


# ---- refusals ---------------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)


def given_sequence(*characters):
    return encode_store_recall(RNG, [list(characters)])


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: store_recall(1), TypeError, "rng: expected"),
        (lambda: store_recall(RNG, 0), ValueError, "samples: expected"),
        (lambda: store_recall(RNG, 2.0), TypeError, "samples: expected an integer"),
        (lambda: store_recall(RNG, 2, 2), ValueError, "characters: expected an integer of at least 3"),
        (lambda: store_recall(RNG, 2, expected_delay=0), ValueError, "expected_delay: expected"),
        (lambda: store_recall(RNG, 2, 3, 1e9), ValueError, "expected_delay: expected sequences of 3 .* none"),
        (lambda: store_recall(RNG, 2, inputs=3), ValueError, "inputs: expected an integer of at least 4"),
        (lambda: store_recall(RNG, 2, rate=1.1), ValueError, r"rate: expected .* in \[0, 1\]"),
        (lambda: store_recall(RNG, 2, rate=0.6, time_step=2.0), ValueError, r"rate: expected .* \[0, 0.5\]"),
        (lambda: store_recall(RNG, 2, rate=-0.1), ValueError, "rate: expected"),
        (lambda: store_recall(RNG, 2, steps_per_character=0), ValueError, "steps_per_character: expected"),
        (lambda: store_recall(RNG, 2, steps_per_character=1.5), TypeError, "steps_per_character: expected"),
        (lambda: store_recall(RNG, 2, time_step=0.0), ValueError, "time_step: expected"),
        (lambda: store_recall(RNG, 2, dtype=int), TypeError, "dtype: expected float64 or float32"),
        (lambda: store_recall_characters(None, 2), TypeError, "rng: expected"),
        (lambda: encode_store_recall(0, [[2, 1, 3]]), TypeError, "rng: expected"),
        (lambda: given_sequence(2, 1, 4), ValueError, "characters: expected 0, 1, 2 .* got 1 to 4"),
        (lambda: given_sequence(2, -1, 3), ValueError, "characters: expected 0, 1, 2 .* got -1 to 3"),
        (lambda: given_sequence(2.0, 1.0, 3.0), TypeError, "characters: expected integers"),
        (lambda: recall_targets(np.zeros((2, 0), int)), ValueError, "characters: expected shape"),
        (lambda: encode_store_recall(RNG, [2, 1, 3]), ValueError, "characters: expected shape"),
        (lambda: given_sequence(2, 3, 1), ValueError, "characters: expected a bit right after each STORE"),
        (lambda: given_sequence(2, 2, 1), ValueError, "characters: expected a bit right after each STORE"),
        (lambda: given_sequence(1, 0, 2), ValueError, "characters: expected a bit right after each STORE"),
        (lambda: given_sequence(3, 2, 1), ValueError, "characters: expected a STORE before each RECALL"),
        (
            lambda: recall_targets([[2, 1, 3], [0, 3, 1]]),
            ValueError,
            r"got \[0, 3, 1\] in sample 1; there is nothing to recall",
        ),
    ],
)
def test_refusals(call, error, words):
    with pytest.raises(error, match=words):
        call()
