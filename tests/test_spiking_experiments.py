"""Trainings of spiking graphs: every rule in one loop, online updates, running statistics, shared time."""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import replace

import h5py
import numpy as np
import pytest

from refsnn.algorithms.ottt import ottt_online
from refsnn.datasets.labelled import LabelledImages
from refsnn.equations.spiking import SpikingNeuron
from refsnn.models.builders.dense import dense_network
from refsnn.models.builders.vgg import vgg
from refsnn.models.contract import StaticInput
from validation.experiments import (
    Allowance,
    Unavailable,
    cost_of_steps,
    spiking_images,
    temporal_shuffle,
    temporal_tasks,
    time_sharing,
)
from validation.experiments.checkpoints import Checkpoint
from validation.experiments.spiking_training import (
    RULES,
    SpikingSetting,
    accuracy,
    encode,
    sequences,
    train_each,
)
from validation.experiments.time_sharing import Training, train_sharing
from validation.experiments.training import History, Recipe

RECIPE = Recipe(epochs=2, batch=8, learning_rate=0.1, momentum=0.9, cosine=True)
DENSE = dense_network(
    (6, 12, 12, 3), SpikingNeuron(leak=0.5), standardise=True, scale=2.74, loss_over="each_step"
)
NORMALISED = vgg((4, "pool", 4), 3, (1, 4, 4), normalisation="batch", over="step", loss_over="each_step")


def data(shape=(6,), dtype=np.float64) -> LabelledImages:
    rng = np.random.default_rng(3)
    images, labels = rng.standard_normal((30, *shape)).astype(dtype), rng.integers(0, 3, 30)
    return LabelledImages(images[:20], labels[:20], images[20:], labels[20:])


def dense(rule, steps=3):
    return SpikingSetting(DENSE, rule, steps)


def normalised(rule):
    return SpikingSetting(NORMALISED, rule, 2)


def trained(setting, shape=(6,), recipe=RECIPE, **options) -> History:
    return setting.train(data(shape), recipe, np.random.default_rng(1), **options)


def assert_same(one: History, other: History):
    assert list(one.parameters) == list(other.parameters)
    for name, array in one.parameters.items():
        assert array.tobytes() == other.parameters[name].tobytes(), name
    assert one.test_errors == other.test_errors
    assert one.losses == other.losses
    for node, statistics in one.running.items():
        for name, array in statistics.items():
            assert array.tobytes() == other.running[node][name].tobytes(), (node, name)


# ---- rules in the loop ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_trains_every_parameter(rule):
    history = trained(dense(rule))
    fresh = dense(rule).initialise(DENSE, np.random.default_rng(1), np.float64)
    assert list(history.parameters) == list(fresh)
    for name, array in history.parameters.items():
        assert (array != fresh[name]).any(), name
    assert min(history.diagnostics["spike_rates"].values()) > 0
    assert history.losses[-1] < history.losses[0]


def test_the_rules_differ():
    """None is another one under a second name, but for the two modes of rates, which are one gradient."""
    ends = {rule: trained(dense(rule)).parameters["layer.1.weight"] for rule in RULES}
    for one, other in itertools.combinations(RULES, 2):
        same = {one, other} == {"rate-based", "rate-based, step by step"}
        assert np.allclose(ends[one], ends[other], rtol=1e-9, atol=1e-12) == same, (one, other)


def test_equal_terms():
    """All rules begin with the same parameters and see the same samples in the same order."""
    seen = {}
    for rule in ("BPTT", "OTTT_O", "SLTT"):
        batches = []

        def watch(images, rng, batches=batches):
            batches.append((images.copy(), rng.bit_generator.state))
            return images

        setting = replace(dense(rule), augment=watch)
        setting.train(data(), RECIPE, np.random.default_rng(1))
        seen[rule] = batches
    assert len(seen["BPTT"]) == 4
    for batches in seen.values():
        for (images, state), (expected, then) in zip(batches, seen["BPTT"], strict=True):
            np.testing.assert_array_equal(images, expected)
            assert state == then


def test_augmentation_is_for_training_only():
    setting = replace(
        dense("SLTT"), augment=lambda images, rng: 0 * images, prepare=lambda images: images + 1
    )
    rng, images = np.random.default_rng(0), data().test_images
    parameters = setting.initialise(DENSE, rng, np.float64)
    np.testing.assert_array_equal(setting.inputs(images, rng, training=True).value, np.ones_like(images))
    np.testing.assert_array_equal(
        setting.predict(parameters, images, rng), DENSE.run(parameters, StaticInput(images + 1, 3))
    )


def test_encodings():
    rng = np.random.default_rng(0)
    images = rng.random((5, 4, 6)).astype(np.float32)
    assert encode(images, 7, "static", rng).value is images
    drawn = encode(images[:, 0], 4000, "Bernoulli", rng)
    assert (drawn.shape, drawn.dtype, set(np.unique(drawn))) == ((4000, 5, 6), np.float32, {0.0, 1.0})
    np.testing.assert_allclose(drawn.mean(axis=0), images[:, 0], atol=0.04)
    assert not np.array_equal(drawn, encode(images[:, 0], 4000, "Bernoulli", rng))
    sequence = encode(images, 4, "sequence", rng)
    np.testing.assert_array_equal(sequence[2, 3], images[3, 2])


def test_the_test_set_goes_in_parts():
    rng = np.random.default_rng(0)
    setting, images = dense("SLTT"), rng.standard_normal((601, 6))
    parameters = setting.initialise(DENSE, rng, np.float64)
    scores = setting.predict(parameters, images, rng)
    np.testing.assert_array_equal(scores.argmax(1), DENSE.run(parameters, StaticInput(images, 3)).argmax(1))


# ---- online updates ---------------------------------------------------------------------------------------


def test_online_updates_by_hand():
    """SGD as written in the paper's code: q <- mu q + g at each step of each sequence, w <- w - eta q."""
    given, rng = data(), np.random.default_rng(1)
    parameters = dense("OTTT_O").initialise(DENSE, rng, np.float64)
    buffers, order = {}, [rng.permutation(20), None]
    for epoch in range(2):
        order[epoch] = rng.permutation(20) if epoch else order[0]
        for update in range(2):
            picked = order[epoch][8 * update : 8 * update + 8]
            rate = 0.1 * np.cos(np.pi * (2 * epoch + update) / 8) ** 2

            def step(now, gradients, rate=rate):
                for name, gradient in gradients.items():
                    buffers[name] = 0.9 * buffers[name] + gradient if name in buffers else gradient.copy()
                return {name: value - rate * buffers[name] for name, value in now.items()}

            inputs = StaticInput(given.train_images[picked], 3)
            labels = given.train_labels[picked]
            parameters = ottt_online(DENSE, parameters, inputs, labels, step).parameters
    history = trained(dense("OTTT_O"))
    for name, value in parameters.items():
        np.testing.assert_allclose(history.parameters[name], value, rtol=1e-10, atol=1e-13, err_msg=name)


def test_one_step_online_is_one_step_at_once():
    assert_same(trained(dense("OTTT_O", steps=1)), trained(dense("OTTT_A", steps=1)))


# ---- running statistics -----------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["BPTT, reset detached", "rate-based", "SLTT"])
def test_running_statistics_are_those_of_the_batches(rule):
    """m <- 0.9 m + 0.1 new, once a step of each batch; the test uses them, not its own batch."""
    history = trained(normalised(rule), (1, 4, 4), replace(RECIPE, epochs=20))
    (first, second) = history.running
    assert set(history.running) == set(NORMALISED.normalisations)
    setting, images = normalised(rule), data((1, 4, 4)).test_images
    together = setting.predict(history.parameters, images, np.random.default_rng(0), history.running)
    alone = [
        setting.predict(history.parameters, image[None], np.random.default_rng(0), history.running)[0]
        for image in images
    ]
    np.testing.assert_allclose(together, alone, rtol=1e-12)
    fresh = NORMALISED.initial_running()
    other = setting.predict(history.parameters, images, np.random.default_rng(0), fresh)
    assert not np.allclose(together, other, rtol=1e-3)
    # without learning the first normalisation sees the same currents again and again: 0.9^8 of 1 is left
    still = replace(RECIPE, epochs=4, batch=20, learning_rate=0.0)
    kept = trained(normalised(rule), (1, 4, 4), still)
    current = NORMALISED.nodes[0].what.forward(
        NORMALISED.prepared(kept.parameters)["layer.1.current"], data((1, 4, 4)).train_images
    )
    mean, variance = current.mean(axis=(0, 2, 3)), current.var(axis=(0, 2, 3), ddof=1)
    left = 0.9**8
    np.testing.assert_allclose(kept.running[first]["mean"], (1 - left) * mean, rtol=1e-10)
    np.testing.assert_allclose(kept.running[first]["variance"], left + (1 - left) * variance, rtol=1e-10)


@pytest.mark.parametrize(
    ("setting", "shape"),
    [(dense("OTTT_O"), (6,)), (normalised("SLTT"), (1, 4, 4)), (normalised("rate-based"), (1, 4, 4))],
)
@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_stopped_and_resumed(setting, shape, stop_after, tmp_path):
    checkpoint = Checkpoint(tmp_path / "t.h5", {"seed": "1"}, 0.0)
    stops = itertools.count()
    half = trained(setting, shape, checkpoint=checkpoint, stop=lambda: next(stops) >= stop_after)
    assert half.epochs == stop_after / 2
    with h5py.File(checkpoint.path) as file:
        assert ("running" in file) == bool(setting.graph.normalisations)
    assert_same(trained(setting, shape, checkpoint=checkpoint), trained(setting, shape))


def test_a_checkpoint_of_another_rule_is_refused(tmp_path):
    checkpoint = Checkpoint(tmp_path / "t.h5", {"seed": "1"})
    trained(dense("SLTT"), checkpoint=checkpoint)
    with pytest.raises(ValueError, match="rule: SLTT there, OTTT_A here"):
        trained(dense("OTTT_A"), checkpoint=checkpoint)
    with pytest.raises(ValueError, match="augment: None there, cropped_and_flipped here"):
        trained(replace(dense("SLTT"), augment=spiking_images.cropped_and_flipped), checkpoint=checkpoint)


# ---- shared time ------------------------------------------------------------------------------------------

RULES_SHARED = ("BPTT, reset detached", "rate-based", "OTTT_O", "SLTT")


def shared(allowance, rules=RULES_SHARED, workers=2):
    trainings = [Training(f"net-{rule}", "net", dense(rule), RECIPE) for rule in rules]
    return train_sharing(trainings, data(), allowance, lambda done, total, text: None, workers)


def test_shared_trainings_are_the_trainings(tmp_path):
    for entry in shared(Allowance(tmp_path)):
        alone = dense(entry.training.setting.rule).train(data(), RECIPE, np.random.default_rng(0))
        assert entry.history.finished
        assert entry.test_error == alone.test_error
        assert_same(entry.history, alone)
    assert len(list(tmp_path.glob("net-*-seed0.h5"))) == 4


@pytest.mark.parametrize("workers", [1, 2])
def test_each_gets_its_share_of_what_is_left(monkeypatch, workers):
    """Of 120 s: 30 each one after the other, 60 each two by two; who ends early leaves its time."""
    now, granted = [0.0], []

    def pretend(training, given, folder, tick, limit):
        granted.append(limit.deadline - now[0])
        if len(granted) % workers == 0:
            now[0] += 10.0 if len(granted) == workers else granted[-1]

    monkeypatch.setattr(time_sharing, "train_one", pretend)
    monkeypatch.setattr(time_sharing.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time_sharing, "ThreadPoolExecutor", InTurn)
    monkeypatch.setattr(time_sharing, "wait", lambda tasks, return_when: None)
    shared(Allowance(seconds=120.0), workers=workers)
    expected = {1: [30.0, 110 / 3, 110 / 3, 110 / 3], 2: [60.0, 60.0, 110.0, 110.0]}
    np.testing.assert_allclose(granted, expected[workers])


class InTurn:
    """A pool that runs each task as it is given."""

    def __init__(self, max_workers):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *what):
        pass

    def submit(self, function, *arguments):
        result = function(*arguments)
        return type("Task", (), {"result": lambda self: result, "done": lambda self: True})()


def test_out_of_time_and_on_to_the_same_bits(tmp_path, monkeypatch):
    assert all(entry.test_error is None for entry in shared(Allowance(tmp_path, seconds=0.0)))
    clock = itertools.count()
    with monkeypatch.context() as patch:
        patch.setattr(time_sharing.time, "monotonic", lambda: float(next(clock)))
        halfway = shared(Allowance(tmp_path, seconds=40.0), workers=1)
    done = sum(entry.history.epochs for entry in halfway)
    assert 0 < done < 8
    for one, other in zip(shared(Allowance(tmp_path)), shared(Allowance()), strict=True):
        assert_same(one.history, other.history)


def test_a_training_that_breaks_stops_the_others_which_are_kept(tmp_path, monkeypatch):
    gradient, started = SpikingSetting.gradient, threading.Event()

    def breaks(self, *arguments, **options):
        if self.rule == "SLTT":
            started.wait(10)
            raise KeyboardInterrupt
        started.set()
        time.sleep(0.05)
        return gradient(self, *arguments, **options)

    monkeypatch.setattr(SpikingSetting, "gradient", breaks)
    with pytest.raises(KeyboardInterrupt):
        shared(Allowance(tmp_path), ("rate-based", "SLTT", "BPTT"))
    kept = {path.name for path in tmp_path.glob("*.h5")}
    assert "net-rate-based-seed0.h5" in kept
    assert "net-SLTT-seed0.h5" not in kept


# ---- images -----------------------------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch):
    """The CIFAR-10 experiments on small noise and a small network."""
    rng = np.random.default_rng(0)
    images, labels = rng.random((40, 3, 8, 8)), rng.integers(0, 10, 40)
    given = LabelledImages(images[:20], labels[:20], images[20:], labels[20:])
    graph = vgg((4, "pool", 4), 10, (3, 8, 8), normalisation="batch", over="step", loss_over="each_step")
    monkeypatch.setattr(spiking_images, "load_cifar10", lambda dtype: given)
    monkeypatch.setattr(spiking_images, "CIFAR_RECIPE", RECIPE)
    monkeypatch.setattr(spiking_images, "NORMALISED_NETWORK", graph)
    monkeypatch.setattr(spiking_images, "TIMED", 1)
    return given


KEYS = ("bptt-reset-detached", "rate-based", "sltt")


def quiet(done, total, text):
    pass


def test_the_table_of_images(small, tmp_path):
    result = spiking_images.cifar10_normalised(quiet, Allowance(tmp_path))
    rows = [[str(cell) for cell in row] for row in result.table_rows]
    assert [row[:3] for row in rows] == [
        [f"BN, T = {steps}", rule, "2 of 2"] for steps in (4, 6) for rule in spiking_images.NORMALISED
    ]
    assert {len(row) for row in rows} == {len(result.table_header)}
    for start in (0, 3):
        truth = float(rows[start][3].split()[0])
        assert rows[start][4] == "–"
        for row in rows[start + 1 : start + 3]:
            assert float(row[4]) == pytest.approx(float(row[3].split()[0]) - truth, abs=0.011)
    assert sum("2 points under BPTT" in note for note in result.notes) == 2
    assert not any("to go" in note for note in result.notes)
    assert len(result.figures) == 2
    assert len(list(tmp_path.glob("cifar10-bn-t4-*-seed0.h5"))) == 3


def test_the_table_of_images_without_time(small, monkeypatch):
    costs = dict.fromkeys([f"cifar10-bn-t{t}-{rule}" for t in (4, 6) for rule in KEYS], (1.0, 2.0))
    monkeypatch.setattr(spiking_images, "batch_costs", lambda trained, data: costs)
    result = spiking_images.cifar10_normalised(quiet, Allowance(seconds=0.0))
    assert {row[2] for row in result.table_rows} == {"0 of 2"}
    assert {row[3] for row in result.table_rows} == {"–"}
    assert not any("2 points" in note for note in result.notes)
    assert not result.figures


def test_two_points_are_two_points():
    def entry(rule, error, done=True):
        rates = {"spike_rates": {"layer.1": 0.25}}
        history = History([1.0], [error], [0.1], {}, rates, 1.0 if done else 0.5, planned=1)
        return time_sharing.Trained(Training("k", "n", dense(rule), RECIPE), history, error)

    truth = entry("BPTT, reset detached", 0.30)
    for error, words in ((0.315, "it does here"), (0.325, "it does NOT here"), (0.2, "it does here")):
        (line,) = spiking_images.judged([truth, entry("OTTT_A", error)], {"n": truth})
        assert words in line
    unjudged = [truth, entry("OTTT_A", 0.3, done=False), entry("SLTT", 0.3)]
    assert not spiking_images.judged(unjudged, {"n": truth})
    for error, points in ((0.32, "-2.00"), (0.29, "+1.00")):  # worse than BPTT, better than it
        row = spiking_images.table_row(entry("OTTT_A", error), truth, {"k": (1.0, 2.0)})
        assert row[3:7] == (f"{100 * (1 - error):.2f} %", points, "90.00 %", "0.25")
    behind = spiking_images.table_row(entry("OTTT_A", 0.3, done=False), truth, {"k": (1.0, 2.0)})
    assert behind[4] == "–"  # not after as many epochs


@pytest.mark.parametrize("run", [spiking_images.mnist, spiking_images.cifar10_standardised])
def test_without_data_the_tables_are_skipped(run, monkeypatch):
    monkeypatch.delenv("REFSNN_DATA", raising=False)
    with pytest.raises(Unavailable, match="REFSNN_DATA"):
        run(quiet, Allowance())


# ---- temporal tasks ---------------------------------------------------------------------------------------


def test_rates_never_learn_the_order_and_two_modes_do():
    history, apart = temporal_tasks.train_order("rate-based", 0)
    assert apart == 0.0
    assert history.test_error == 0.5
    assert history.losses[-1] == pytest.approx(np.log(2), abs=1e-3)
    history, apart = temporal_tasks.train_order("Galerkin, K = 2", 0)
    assert apart > 0.1
    assert history.test_error == 0.0
    assert history.losses[-1] < 0.05


def test_tasks_become_samples_and_steps_again():
    inputs, labels = np.arange(24.0).reshape(4, 3, 2), np.array([0, 1, 0])
    few = sequences((inputs, labels), (inputs[:, :1], labels[:1]))
    assert few.train_images.shape == (3, 4, 2)
    np.testing.assert_array_equal(encode(few.train_images, 4, "sequence", np.random.default_rng(0)), inputs)


def test_verdicts_follow_the_figures():
    def found(values):
        return {
            rule: [
                History(
                    [2.0, 1.0], [0.5, 1 - value], [0.0, 0.0], diagnostics={"spike_rates": {"layer.1": 0.1}}
                )
            ]
            for rule, value in values.items()
        }

    good = {"OTTT_A": 0.995, "OTTT_A, official code": 0.7, "OTTT_A, exact local": 0.99, "SLTT": 0.95}
    notes = temporal_tasks.cue_result(found(good)).notes
    assert sum("it does here" in note for note in notes) == 2
    notes = temporal_tasks.cue_result(found({**good, "OTTT_A": 0.94})).notes
    assert sum("it does NOT here" in note for note in notes) == 2
    exact = {"OTTT_A, exact local": 1.0, "SLTT": 0.9}
    notes = temporal_tasks.template_result(found(exact)).notes
    assert sum("it does here" in note for note in notes) == 2
    notes = temporal_tasks.template_result(found({**exact, "OTTT_A, exact local": 0.89})).notes
    assert sum("it does NOT here" in note for note in notes) == 2


def test_train_each_gives_all_of_one_seed_the_same(monkeypatch):
    settings = {"a": dense("SLTT"), "b": dense("SLTT"), "c": dense("OTTT_A")}
    told = []
    found = train_each(settings, lambda rng: data(), RECIPE, 2, lambda *given: told.append(given))
    assert_same(found["a"][0], found["b"][0])
    assert found["a"][0].losses != found["a"][1].losses
    assert found["a"][0].losses[0] != found["c"][0].losses[0]
    assert [done for done, _, _ in told] == list(range(1, 13))
    assert {total for _, total, _ in told} == {12}
    assert "±" in accuracy(found["a"])
    assert "±" not in accuracy(found["a"][:1])


# ---- shuffles ---------------------------------------------------------------------------------------------


def test_shuffles_keep_the_counts():
    rng = np.random.default_rng(0)
    spikes = (rng.random((9, 7, 5)) < 0.4).astype(np.float32)
    alone, whole = temporal_shuffle.each_neuron(spikes, rng), temporal_shuffle.whole_steps(spikes, rng)
    for shuffled in (alone, whole):
        np.testing.assert_array_equal(shuffled.sum(axis=0), spikes.sum(axis=0))
        assert (shuffled != spikes).any()
    assert sorted(map(bytes, whole)) == sorted(map(bytes, spikes))
    assert sorted(map(bytes, alone)) != sorted(map(bytes, spikes))


def test_the_last_spikes_may_be_shuffled_and_the_others_may_not():
    """The mean read-out sees only how many spikes the last layer has; unshuffled it is the network's own."""
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((8, 10, 6))  # (T, B, n)
    for widths in ((6, 12, 3), (6, 12, 12, 3)):
        graph = dense_network(widths, SpikingNeuron(leak=0.5), standardise=True, scale=2.74)
        parameters = graph.initialise(rng)
        own = graph.run(parameters, inputs)

        def run(which, graph=graph, parameters=parameters):
            return temporal_shuffle.run_shuffled(
                graph, parameters, inputs, temporal_shuffle.SHUFFLES[which], np.random.default_rng(1)
            )

        np.testing.assert_allclose(run("as they are"), own, rtol=1e-12, atol=1e-13)
        for which in ("each neuron by itself", "whole steps"):
            assert np.allclose(run(which), own, rtol=1e-12, atol=1e-13) == (len(widths) == 3), which
        assert not np.allclose(run("each neuron, and the input"), own, rtol=1e-3)


# ---- costs ------------------------------------------------------------------------------------------------


def test_what_grows_with_the_number_of_steps_and_what_does_not(monkeypatch):
    monkeypatch.setattr(cost_of_steps, "REPEATS", 1)
    monkeypatch.setattr(cost_of_steps, "NETWORK", cost_of_steps.vgg_sws(
        plan=(8, "pool", 8), image=(3, 8, 8), loss_over="each_step"
    ))  # fmt: skip
    costs = cost_of_steps.measure(cost_of_steps.COSTED, (1, 8, 16), quiet, np.float64)
    memory = {rule: [mebibytes for mebibytes, _ in pairs] for rule, pairs in costs.items()}
    for rule in ("OTTT_A", "SLTT", "rate-based, step by step"):
        assert memory[rule][2] < 1.1 * memory[rule][1], rule
    assert memory["BPTT, reset detached"][2] > 1.8 * memory["BPTT, reset detached"][1]
    assert np.isnan(costs["Galerkin, K = 2"][0]).all()
    assert all(spent > 0 for pairs in costs.values() for _, spent in pairs[1:])
    assert len(cost_of_steps.drawn(costs, (1, 8, 16)).axes) == 2
