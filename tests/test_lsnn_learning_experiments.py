"""The experiments on learning within an episode: learning to learn, delayed XOR, navigation, shared time."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from refsnn.algorithms.adaptive_bptt import adaptive_bptt
from refsnn.models.contract import Parameters
from refsnn.models.spike_events import SpikeEvents
from validation.experiments import Allowance, delayed_xor, learning_to_learn, navigating, navigation, turns
from validation.experiments.delayed_xor import ADAPTIVE
from validation.experiments.learning_to_learn import NETWORKS, SINES, Yardsticks
from validation.experiments.navigating import ACTION, LOG_DEVIATION, of_network, play, with_gradient
from validation.experiments.turns import Done, train_in_turn

SMALL = navigating.Setting(
    "4 LIF + 4 adaptive", 4, neurons=8, agents=3, decisions=6, steps=5, reach=0.3, epochs=2
)


def quiet(done, total, text):
    pass


def assert_same(one: Parameters, other: Parameters):
    assert set(one) == set(other)
    for name, array in one.items():
        assert array.tobytes() == other[name].tobytes(), name


def fits(result):
    """A table whose rows have its columns, and figures with something in them."""
    assert {len(row) for row in result.table_rows} == {len(result.table_header)}
    assert all(isinstance(cell, str) for row in result.table_rows for cell in row)
    for _, caption, drawing in result.figures:
        assert caption
        assert any(axes.lines for axes in drawing.axes)


# ---- learning to learn ------------------------------------------------------------------------------------


@pytest.fixture
def tiny(monkeypatch):
    for name, value in {"EXAMPLES": 4, "TASKS": 2, "UNSEEN": 5, "SHORT": 2, "LONG": 2, "NEURONS": 12}.items():
        monkeypatch.setattr(learning_to_learn, name, value)


def test_learning_to_learn_runs(tiny):
    result = learning_to_learn.short(quiet)
    fits(result)
    assert [row[1] for row in result.table_rows[:2]] == ["6 LIF + 6 adaptive", "12 LIF"]
    assert len(result.table_rows) == 7
    assert sum("should be" in note for note in result.notes) == 2


def test_learning_to_learn_goes_on(tiny, tmp_path):
    nothing = learning_to_learn.long(quiet, Allowance(tmp_path, 0.0))
    assert {row[2] for row in nothing.table_rows[:4]} == {"0 of 2"}
    assert any("go on from their checkpoints" in note for note in nothing.notes)
    whole = learning_to_learn.long(quiet, Allowance(tmp_path))
    fits(whole)
    assert {row[2] for row in whole.table_rows[:4]} == {"2"}
    assert {row[0] for row in whole.table_rows} == {"two-layer networks", "sines"}
    again = learning_to_learn.long(quiet, Allowance(tmp_path, 0.0))  # all of it is kept
    assert [row[:7] for row in again.table_rows] == [row[:7] for row in whole.table_rows]


def test_the_loss_is_the_mean_squared_error(tiny):
    setting = learning_to_learn.Setting(NETWORKS, 6)
    begun = setting.begin(np.random.default_rng(0))
    episodes = learning_to_learn.drawn(np.random.default_rng(1), NETWORKS.family, 3)
    said = learning_to_learn.answers(begun.network, begun.parameters, episodes)
    result = adaptive_bptt(
        begun.network, begun.parameters, episodes.inputs, learning_to_learn.windows(episodes)
    )
    assert result.rates.min() >= 0
    assert result.rates.max() > 0
    assert result.loss == pytest.approx(((said - episodes.targets) ** 2).mean(), rel=1e-12)
    # the read-out sees the spikes of its window alone
    weight, bias = begun.parameters["readout.weight"], begun.parameters["readout.bias"]
    spikes = spikes_of(begun.network, begun.parameters, episodes.inputs)
    counts = spikes.reshape(4, -1, 3, 12).mean(axis=1)
    np.testing.assert_allclose(said, (counts @ weight.T + bias)[..., 0], rtol=1e-12)


def spikes_of(network, parameters, inputs):
    """z_1 ... z_T, step by step through the model contract."""
    state, found = network.initial_state(parameters, inputs.batch), []
    for step in inputs.as_array():
        state = network.step(parameters, state, step)
        found.append(state["layer.1.spikes"])
    return np.array(found)


def test_yardsticks():
    episodes, known = learning_to_learn.unseen(SINES)
    targets = episodes.targets
    assert known.last_target == pytest.approx(((targets[1:] - targets[:-1]) ** 2).mean())
    assert known.constant > known.task_mean > known.task_linear > 0


@pytest.mark.parametrize("kind", [NETWORKS, SINES])
def test_the_best_answer_without_memory_is_the_mean_of_many_functions(kind):
    points, targets = kind.family.draw(np.random.default_rng(0), 20_000, 12)
    order = np.argsort(points[..., 0], axis=None)
    error = (targets - kind.expected(points)).ravel()[order].reshape(24, -1)  # by the first coordinate
    assert np.abs(error.mean(axis=1)).max() < 5 * np.sqrt(0.06 / error.shape[1])
    assert (error**2).mean() <= ((targets - targets.mean()) ** 2).mean() * 1.001


def test_verdicts_on_learning_to_learn():

    def entry(first, late):
        setting = learning_to_learn.Setting(NETWORKS, 30)
        stream = turns.Stream(None, curves={"late error": [late]})
        return learning_to_learn.Tested(
            setting, Done(setting.job(1), None, stream), np.array([first, late, late, late])
        )

    yardsticks = {NETWORKS: Yardsticks(0.04, 0.04, 0.003, 0.002, 0.001)}
    for first, late, words in (
        (0.04, 0.01, ("it does here", "it does here")),
        (0.04, 0.02, ("it does NOT here", "it does here")),
        (0.4, 0.01, ("it does here", "it does NOT here")),  # small only beside a bad first answer
    ):
        notes = learning_to_learn.drop([entry(first, late)], yardsticks, 1 / 3.5, "1/3.5")
        assert all(word in note for word, note in zip(words, notes, strict=True)), (first, late)


# ---- delayed XOR ------------------------------------------------------------------------------------------


def test_delayed_xor_runs(monkeypatch):
    for name, value in {"BATCH": 4, "FRESH": 8, "SHORT_UPDATES": 3}.items():
        monkeypatch.setattr(delayed_xor, name, value)
    result = delayed_xor.short(quiet)
    fits(result)
    assert [row[3] for row in result.table_rows] == ["3 (not)", "3 (not)"]
    assert len(result.notes) == 3


def test_verdicts_on_delayed_xor():
    def trained(accuracy):
        return [delayed_xor.Trained(turns.Stream(None), accuracy, 0.1)]

    for delay in (100, 300):
        adaptive, plain = delayed_xor.Setting(delay, ADAPTIVE), delayed_xor.Setting(delay, 0)
        for good, bad, words in (
            (0.97, 0.5, ("it does here", "it does here")),
            (0.9, 0.5, ("it does NOT here", "it does here")),
            (0.97, 0.7, ("it does here", "it does NOT here")),
        ):
            notes = delayed_xor.verdicts({adaptive: trained(good), plain: trained(bad)}, delay)
            expected = words if delay == 300 else words[:1]  # 100 ms are bridged by LIF neurons too
            assert all(word in note for word, note in zip(expected, notes, strict=True))


# ---- navigation -------------------------------------------------------------------------------------------


def begun(setting=SMALL, seed=0):
    found = setting.begin(np.random.default_rng(seed))
    found.parameters["layer.1.input_weight"] *= 2  # else eight neurons are silent
    return found


def test_what_was_lived_piece_by_piece_is_the_recorded_sequence():
    start = begun()
    played = play(SMALL, start.network, start.parameters, np.random.default_rng(3))
    weights = of_network(start.parameters)
    assert np.ptp(played.outputs) > 0.01
    again = navigating.answers(start.network, weights, played.inputs, SMALL.steps)
    assert again.tobytes() == played.outputs.tobytes()
    # the world again, from the actions
    world = SMALL.world()
    assert played.actions.shape == (6, 3, 2)
    world.goals, world._rng, world.reached = played.goals, np.random.default_rng(0), np.zeros(3, int)
    for number in range(5):
        world.positions = played.positions[number].copy()
        moved, rewards = world.step(SMALL.reach * played.actions[number])
        np.testing.assert_array_equal(rewards, played.rewards[number])
        stays = played.reached[number] == 0
        np.testing.assert_array_equal(moved[stays], played.positions[number + 1][stays])


def test_put_to_rest_in_the_middle():
    start = begun()
    awake, wiped = (
        play(SMALL, start.network, start.parameters, np.random.default_rng(3), wiped)
        for wiped in (False, True)
    )
    half = SMALL.decisions // 2
    np.testing.assert_array_equal(awake.outputs[:half], wiped.outputs[:half])
    assert (awake.outputs[half] != wiped.outputs[half]).any()
    second = wiped.inputs[half * SMALL.steps :]
    alone = navigating.answers(start.network, of_network(start.parameters), second, SMALL.steps)
    np.testing.assert_array_equal(alone, wiped.outputs[half:])


def test_joined_pieces():
    rng = np.random.default_rng(0)
    whole = SpikeEvents.from_array((rng.random((7, 2, 3)) < 0.4).astype(float))
    pieces = [whole[0:2], whole[2:3], whole[3:7]]
    np.testing.assert_array_equal(navigating.joined(pieces).as_array(), whole.as_array())


def test_the_targets_carry_the_gradient_of_any_loss():
    """For a loss linear in the outputs, against its gradient by the read-out."""
    start = begun()
    played = play(SMALL, start.network, start.parameters, np.random.default_rng(3))
    weights, by_outputs = of_network(start.parameters), np.random.default_rng(4).normal(size=(6, 3, 3))
    result = adaptive_bptt(
        start.network, weights, played.inputs, with_gradient(played.outputs, by_outputs, SMALL.steps)
    )
    np.testing.assert_allclose(result.gradients["readout.bias"], by_outputs.sum(axis=(0, 1)), rtol=1e-12)

    def loss(changed):
        said = navigating.answers(start.network, changed, played.inputs, SMALL.steps)
        return (said * by_outputs).sum()

    direction = np.random.default_rng(5).normal(size=weights["readout.weight"].shape)
    moved = [
        loss(weights | {"readout.weight": weights["readout.weight"] + sign * direction}) for sign in (1, -1)
    ]
    slope = (result.gradients["readout.weight"] * direction).sum()
    assert abs(slope) > 1e-3
    assert slope == pytest.approx((moved[0] - moved[1]) / 2, rel=1e-10)


def test_updates_reuse_episodes_and_then_play_new_ones():
    start, rng = begun(), np.random.default_rng(0)
    first = start.batch(start.parameters, None, rng)
    before = rng.bit_generator.state
    second = start.batch(start.parameters, first.state, rng)
    assert rng.bit_generator.state == before  # nothing is drawn
    # the same weights and episodes: the same gradient, whether outputs are remembered or computed again
    assert_same(first.gradients, second.gradients)
    assert all(np.any(array) for array in first.gradients.values())
    assert first.figures["clipped"] == second.figures["clipped"] == 0
    third = start.batch(start.parameters, second.state, rng)
    assert rng.bit_generator.state != before
    assert third.state["used"] == 1
    assert first.gradients[LOG_DEVIATION].shape == (ACTION,)


def test_navigation_runs_and_goes_on(monkeypatch, tmp_path):
    settings = SMALL, replace(SMALL, name="8 LIF", adaptive=0)
    for name, value in {"SETTINGS": settings, "UPDATES": 3, "TRIALS": 2, "SHOWN": 3}.items():
        monkeypatch.setattr(navigation, name, value)
    nothing = navigation.navigation(quiet, Allowance(tmp_path, 0.0))
    assert {row[1] for row in nothing.table_rows} == {"0 of 3"}
    whole = navigation.navigation(quiet, Allowance(tmp_path))
    fits(whole)
    assert {row[1] for row in whole.table_rows} == {"3"}
    assert whole.table_rows[0] != whole.table_rows[1]


def test_verdicts_on_navigation():
    def entry(setting, first, second, wiped):
        spread = np.linspace(-0.5, 0.5, 50)
        goals = np.stack([first + spread, second + spread], axis=1)
        other = np.stack([first + spread, wiped + spread], axis=1)
        return navigation.Tested(setting, None, goals, other, None)

    plain = entry(replace(SMALL, adaptive=0), 1.0, 1.0, 1.0)
    for given, expected in (
        ((1.0, 2.0, 1.0), 3),
        ((1.0, 1.1, 1.0), 0),
        ((1.0, 2.0, 2.0), 2),
        ((2.0, 2.0, 1.0), 2),
    ):
        notes = navigation.verdicts([entry(SMALL, *given), plain])
        assert sum("it does here" in note for note in notes) == expected, given


# ---- shared time ------------------------------------------------------------------------------------------


def test_stopped_between_two_updates_on_the_same_episodes(tmp_path, monkeypatch):
    job = SMALL.job(5)
    (whole,) = train_in_turn([job], Allowance(), quiet)
    clock = itertools.count()
    with monkeypatch.context() as patch:
        patch.setattr(turns.time, "monotonic", lambda: float(next(clock)))
        (part,) = train_in_turn([job], Allowance(tmp_path, 10.0), quiet)
    assert 0 < part.stream.updates < 5
    assert part.stream.updates % SMALL.epochs
    assert part.progress == f"{part.stream.updates} of 5"
    (again,) = train_in_turn([job], Allowance(tmp_path), quiet)
    assert again.finished
    assert_same(again.parameters, whole.parameters)
    assert again.stream.curves == whole.stream.curves


def test_each_gets_its_share_of_what_is_left(monkeypatch):
    """Of 90 s: the first ends after 10, the second has half of the 80 that are left, the third the rest."""
    now, ends = [0.0], []

    def pretend(*arguments, stop, **options):
        while not stop() and (ends or now[0] < 10):
            now[0] += 1.0
        ends.append(now[0])
        return turns.Stream(None)

    monkeypatch.setattr(turns, "train_stream", pretend)
    monkeypatch.setattr(turns.time, "monotonic", lambda: now[0])
    train_in_turn([SMALL.job(5)] * 3, Allowance(seconds=90.0), quiet)
    assert ends == [10.0, 50.0, 90.0]


def test_networks_that_differ_in_time_constants_are_not_confused(tmp_path):
    job = SMALL.job(2)
    train_in_turn([job], Allowance(tmp_path), quiet)
    other = replace(SMALL, adaptive=5)
    with pytest.raises(ValueError, match="neuron"):
        train_in_turn([replace(other.job(2), key=job.key)], Allowance(tmp_path), quiet)
