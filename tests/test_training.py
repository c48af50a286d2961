"""The training loop and its checkpoints: a training that is stopped and resumed ends with the same bits."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from refsnn.algorithms.processes import bptt_processes, compare_processes, equilibrium_processes
from refsnn.algorithms.relaxation import relax
from refsnn.algorithms.result import Diagnostics, GradientResult
from refsnn.datasets.labelled import LabelledImages
from refsnn.models.convergent import EnergyBasedNetwork, PrototypicalNetwork
from validation import cli
from validation.experiments import Allowance, Unavailable, chunked_processes, mnist_table, process_errors
from validation.experiments.checkpoints import Checkpoint
from validation.experiments.convergent_training import RULES, Setting
from validation.experiments.training import Recipe, train

ROOT = Path(__file__).resolve().parent.parent
NETWORK = PrototypicalNetwork((3, 5, 6), activation="sigm")
SETTING = Setting(NETWORK, 12, 4, 0.3, (0.2, 0.4), rule="random sign", backend="plain")
RECIPE = replace(SETTING.recipe(3, batch=8, cosine=True), momentum=0.9)
UPDATES = 4  # an epoch of 35 images, three of which are left out


def data(seed: int = 5, dtype=np.float32) -> LabelledImages:
    rng = np.random.default_rng(seed)
    images, labels = rng.random((50, 6)).astype(dtype), rng.integers(0, 3, 50)
    return LabelledImages(images[:35], labels[:35], images[35:], labels[35:])


class Interrupted(Exception):
    """Stands for whatever ends a process."""


def run(folder=None, stop_after=None, fail_at=None, kept_every=0.0, **changes):
    """One training in a fresh 'process'; the history, and the generator as it was left."""
    given = {"setting": SETTING, "recipe": RECIPE, "data": data(), "seed": 1, "kind": np.random.PCG64}
    given |= changes
    setting, calls = given["setting"], itertools.count()
    rng = np.random.Generator(given["kind"](given["seed"]))

    # `predict` draws too: the state of the generator matters everywhere
    def predict(parameters, images, rng):
        return setting.predict(parameters, images, rng) + 1e-3 * rng.standard_normal((len(images), 3))

    def gradient(parameters, images, labels, rng):
        result = setting.gradient(parameters, images, labels, rng)
        if next(calls) == fail_at:
            raise Interrupted
        return result

    parameters = setting.network.initialise(rng, given["data"].train_images.dtype)
    checkpoint = None
    if folder is not None:
        identity = {**setting.identity(), "seed": str(given["seed"])}
        checkpoint = Checkpoint(folder / "training.h5", identity, kept_every)
    stops = itertools.count()
    history = train(
        parameters,
        gradient,
        predict,
        given["data"],
        given["recipe"],
        rng,
        lambda text: None,
        checkpoint,
        stop=lambda: stop_after is not None and next(stops) >= stop_after,
    )
    return history, rng.bit_generator.state


def assert_same(one, other):
    """Bit for bit: parameters, curves, diagnostics, generator."""
    (first, left), (second, right) = one, other
    assert list(first.parameters) == list(second.parameters)
    for name, array in first.parameters.items():
        assert array.dtype == second.parameters[name].dtype
        assert array.tobytes() == second.parameters[name].tobytes(), name
    for name in ("losses", "train_errors", "test_errors", "diagnostics", "epochs", "running_error"):
        assert getattr(first, name) == getattr(second, name), name
    np.testing.assert_equal(left, right)


@pytest.fixture(scope="module")
def whole():
    """A training in one go, without a checkpoint; alive."""
    history, generator = run()
    assert history.finished
    assert len(history.test_errors) == RECIPE.epochs
    fresh = NETWORK.initialise(np.random.default_rng(1), np.float32)
    assert all((history.parameters[name] != fresh[name]).all() for name in fresh)
    assert history.losses[-1] < history.losses[0]
    return history, generator


# ---- the same bits ----------------------------------------------------------------------------------------


def test_a_checkpoint_changes_nothing(whole, tmp_path):
    assert_same(run(tmp_path), whole)


@pytest.mark.parametrize("stop_after", range(3 * UPDATES + 1))
def test_stopped_after_any_update_and_resumed(whole, tmp_path, stop_after):
    first, _ = run(tmp_path, stop_after=stop_after)
    assert first.epochs == stop_after / UPDATES
    assert first.finished == (stop_after == 3 * UPDATES)
    assert len(first.losses) == stop_after // UPDATES
    assert_same(run(tmp_path), whole)


@pytest.mark.parametrize("fail_at", range(3 * UPDATES))
@pytest.mark.parametrize("kept_every", [0.0, 1e9])
def test_killed_in_any_update_and_resumed(whole, tmp_path, fail_at, kept_every):
    """Kept after every update, or at the ends of epochs only: then the updates since are done again."""
    with pytest.raises(Interrupted):
        run(tmp_path, fail_at=fail_at, kept_every=kept_every)
    assert_same(run(tmp_path), whole)


def test_resumed_again_and_again(whole, tmp_path):
    stops = [run(tmp_path, stop_after=1)[0].epochs for _ in range(3 * UPDATES)]
    assert stops == [count / UPDATES for count in range(1, 3 * UPDATES + 1)]
    assert_same(run(tmp_path, stop_after=0), whole)


def test_a_finished_training_is_read_and_nothing_is_computed(whole, tmp_path):
    run(tmp_path)
    before = (tmp_path / "training.h5").stat().st_mtime_ns
    assert_same(run(tmp_path, fail_at=0), whole)
    assert (tmp_path / "training.h5").stat().st_mtime_ns == before


@pytest.mark.parametrize("kind", [np.random.MT19937, np.random.Philox, np.random.SFC64])
def test_every_kind_of_generator(tmp_path, kind):
    expected = run(kind=kind)
    run(tmp_path, stop_after=6, kind=kind)
    assert_same(run(tmp_path, kind=kind), expected)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_in_float64_without_momentum(tmp_path, rule):
    changes = {"setting": SETTING.by(rule), "recipe": replace(RECIPE, momentum=0.0, cosine=False)}
    changes["data"] = data(dtype=np.float64)
    expected = run(**changes)
    run(tmp_path, stop_after=6, **changes)
    assert_same(run(tmp_path, **changes), expected)


# ---- files ------------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
import h5py
import test_training
from pathlib import Path

calls = 0
def then_die(function, at):
    def call(*arguments, **options):
        global calls
        calls += 1
        if calls == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return call

{where} = then_die({where}, {at})
test_training.run(Path({folder!r}))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize(("where", "at"), [("h5py.Group.create_dataset", 60), ("os.replace", 4)])
def test_a_kill_while_writing_leaves_the_old_checkpoint(whole, tmp_path, where, at):
    code = textwrap.dedent(KILLED).format(tests=str(ROOT / "tests"), folder=str(tmp_path), where=where, at=at)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    temporary = [path.name for path in tmp_path.iterdir() if path.name.endswith(".tmp")]
    assert len(temporary) == 1  # it was in the midst of writing
    halfway, _ = run(tmp_path, stop_after=0)
    assert 0 < halfway.epochs < 3
    assert_same(run(tmp_path), whole)


def test_a_write_that_fails_leaves_the_old_checkpoint_and_no_other_file(whole, tmp_path, monkeypatch):
    run(tmp_path, stop_after=5)
    before = (tmp_path / "training.h5").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda number: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["training.h5"]
    assert (tmp_path / "training.h5").read_bytes() == before
    assert_same(run(tmp_path), whole)


OTHERS = {
    "recipe.epochs: 3 there, 4 here": {"recipe": replace(RECIPE, epochs=4)},
    "recipe.cosine: True there, False here": {"recipe": replace(RECIPE, cosine=False)},
    "recipe.batch: 8 there, 7 here": {"recipe": replace(RECIPE, batch=7)},
    "learning rate of coupling.0.1.bias: 0.2 there, 0.3 here": {
        "recipe": replace(RECIPE, learning_rate={**RECIPE.learning_rate, "coupling.0.1.bias": 0.3})
    },
    "nudge_placement='inside'": {"setting": SETTING.by("random sign", nudge_placement="inside")},
    "rule: random sign there, symmetric here": {"setting": SETTING.by("symmetric")},
    "T: 12 there, 13 here": {"setting": replace(SETTING, free_steps=13)},
    "float64 (3, 5)": {"data": data(dtype=np.float64)},
    "data: ": {"data": data(6)},
    "seed: 1 there, 2 here": {"seed": 2},
    "generator: ": {"kind": np.random.SFC64},
    "float32 (4, 6)": {
        "setting": replace(SETTING, network=PrototypicalNetwork((3, 4, 6), activation="sigm"))
    },
}


@pytest.mark.parametrize("words", OTHERS)
def test_a_checkpoint_of_another_training_is_refused_and_kept(tmp_path, words):
    run(tmp_path, stop_after=5)
    before = (tmp_path / "training.h5").read_bytes()
    with pytest.raises(ValueError) as refused:
        run(tmp_path, **OTHERS[words])
    message = str(refused.value)
    assert words in message
    assert "expected a checkpoint of this training, got one of another" in message
    assert "Name another folder, or delete the file" in message
    assert (tmp_path / "training.h5").read_bytes() == before


def test_only_what_differs_is_named(tmp_path):
    run(tmp_path, stop_after=5)
    with pytest.raises(ValueError) as refused:
        run(tmp_path, recipe=replace(RECIPE, momentum=0.8))
    assert "differ in recipe.momentum: 0.9 there, 0.8 here.  Name" in str(refused.value)


def damage_end(path):
    path.write_bytes(path.read_bytes()[:-100])


def damage_start(path):
    path.write_bytes(b"not HDF5 at all")


def damage_number(path):
    with h5py.File(path, "r+") as file:
        file["parameters/coupling.0.1.weight"][0, 0] += 1


def damage_counter(path):
    with h5py.File(path, "r+") as file:
        file.attrs["counters"] = file.attrs["counters"].replace('"update": 1', '"update": 2')


def damage_whole(path):
    with h5py.File(path, "r+") as file:
        del file["order"]


@pytest.mark.parametrize("damage", [damage_end, damage_start, damage_number, damage_counter, damage_whole])
def test_a_damaged_checkpoint_is_refused(tmp_path, damage):
    path = tmp_path / "training.h5"
    run(tmp_path, stop_after=5)
    before = path.read_bytes()
    damage(path)
    assert path.read_bytes() != before
    with pytest.raises(ValueError, match="expected a whole checkpoint, found a damaged one") as refused:
        run(tmp_path)
    assert str(path) in str(refused.value)
    assert "delete it to start anew" in str(refused.value)


def test_every_byte_of_the_content_counts(tmp_path):
    """A bit that flips anywhere in an array is seen."""
    path = tmp_path / "training.h5"
    run(tmp_path, stop_after=5)
    good = path.read_bytes()
    with h5py.File(path, "r") as file:
        names = [f"{group}/{name}" for group in ("parameters", "velocity", "curves") for name in file[group]]
        places = [file[name].id.get_offset() for name in [*names, "order", "batch_losses"]]
    assert len(places) == 4 + 4 + 3 + 2
    for place in places:
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        with pytest.raises(ValueError, match="damaged"):
            run(tmp_path)


# ---- the recipe -------------------------------------------------------------------------------------------


def recorded(recipe, gradients, parameters):
    """Parameters after each update of a training whose gradients are given."""
    seen, calls = [], itertools.count()

    def gradient(now, images, labels, rng):
        seen.append(now["w"].copy())
        return GradientResult(
            1.0, {"w": gradients[next(calls)]}, Diagnostics(0, 0, np.zeros((len(images), 3)))
        )

    few = LabelledImages(np.zeros((8, 1)), np.zeros(8, int), np.zeros((2, 1)), np.zeros(2, int))
    history = train(
        {"w": parameters}, gradient, lambda p, x, r: np.zeros((len(x), 3)), few, recipe,
        np.random.default_rng(0), lambda text: None,
    )  # fmt: skip
    return [*seen[1:], history.parameters["w"]]


@pytest.mark.parametrize(("momentum", "cosine"), [*itertools.product([0.0, 0.9], [False, True])])
def test_updates_are_momentum_and_half_a_cosine(momentum, cosine):
    rng = np.random.default_rng(3)
    gradients, w = rng.standard_normal((8, 5)), rng.standard_normal(5)
    found = recorded(Recipe(2, 2, {"w": 0.1}, momentum, cosine), gradients, w)
    velocity = 0.0
    for done, gradient in enumerate(gradients):
        velocity = momentum * velocity + gradient
        rate = 0.1 * (np.cos(np.pi * done / 16) ** 2 if cosine else 1.0)  # (1 + cos 2a) / 2 = cos^2 a
        w = w - rate * velocity
        np.testing.assert_allclose(found[done], w, rtol=0, atol=1e-14)


def test_random_sign_draws_the_sign_of_the_nudge():
    parameters = NETWORK.initialise(np.random.default_rng(0))
    batch = data(dtype=np.float64)
    problem = parameters, batch.train_images[:8], batch.train_labels[:8]
    expected = [
        replace(SETTING, rule="EP", nudge=sign * SETTING.nudge)
        .gradient(*problem, np.random.default_rng(0))
        .gradients["coupling.0.1.weight"]
        for sign in (-1, 1)
    ]
    assert (expected[0] != expected[1]).all()
    rng = np.random.default_rng(4)
    drawn = [SETTING.gradient(*problem, rng).gradients["coupling.0.1.weight"] for _ in range(40)]
    counts = [sum((one == gradient).all() for gradient in drawn) for one in expected]
    assert sum(counts) == 40
    assert min(counts) > 8


class InTurn:
    """A pool whose tasks run when they are submitted."""

    def __init__(self, max_workers: int) -> None:
        assert max_workers == 2

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def submit(self, function, *arguments):
        future = Future()
        future.set_result(function(*arguments))
        return future


# ---- the MNIST table --------------------------------------------------------------------------------------


@pytest.fixture
def rows(monkeypatch):
    """Two small rows; the first is trained to its end before the second."""
    first = mnist_table.Row("A", replace(SETTING, rule="EP"), 2, {"EP": "1 %", "BPTT": "2 %"})
    energy = Setting(
        EnergyBasedNetwork((3, 5, 6), activation="sigm", clamp=True), 12, 4, 0.3, (0.2, 0.4), backend="plain"
    )
    second = mnist_table.Row("B", energy, 3, {"EP": "3 %", "BPTT": "4 %"}, 15, {"clamp": False})
    monkeypatch.setattr(mnist_table, "FIRST", ("A",))
    monkeypatch.setattr(mnist_table, "BATCH", 8)
    return first, second


def table(rows, allowance):
    return mnist_table.train_rows(rows, data(), allowance, lambda done, total, text: None)


def test_the_table_trains_both_rules_and_says_how_far_it_is(rows, tmp_path):
    trained = table(rows, Allowance(tmp_path))
    assert [(entry.row.name, entry.rule) for entry in trained] == [
        ("A", "EP"), ("A", "BPTT"), ("B", "EP"), ("B", "BPTT"),
    ]  # fmt: skip
    assert all(entry.history.finished for entry in trained)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"mnist-{name}-{rule}-seed0.h5" for name in "ab" for rule in ("bptt", "ep")
    ]
    result = mnist_table.report(trained, Allowance(tmp_path))
    lines = [[str(cell) for cell in line] for line in result.table_rows]
    assert [line[:3] for line in lines] == [
        ["A", "EP", "2 of 2"],
        ["A", "BPTT", "2 of 2"],
        ["B", "EP", "3 of 3"],
        ["B", "BPTT, not clamped", "3 of 3"],
    ]
    assert {len(line) for line in lines} == {len(result.table_header)}
    assert not any("to go" in cell for line in lines for cell in line)
    assert len(result.figures) == 1


def test_a_table_that_ran_out_of_time_goes_on_to_the_same_bits(rows, tmp_path, monkeypatch):
    expected = table(rows, Allowance())
    assert table(rows, Allowance(tmp_path, seconds=0.0))[0].test_error is None
    clock = itertools.count()  # a clock that ticks with every look at it, so that time is up in mid-epoch
    with monkeypatch.context() as patch:
        patch.setattr(mnist_table.time, "monotonic", lambda: float(next(clock)))
        halfway = table(rows, Allowance(tmp_path, seconds=23.0))
    done = [entry.history.epochs for entry in halfway]
    assert 0 < sum(done) < 10
    lines = mnist_table.report(halfway, Allowance(tmp_path)).table_rows
    assert any("to go" in str(cell) for line in lines for cell in line)
    again = table(rows, Allowance(tmp_path))
    for one, other in zip(again, expected, strict=True):
        assert (one.rule, one.test_error) == (other.rule, other.test_error)
        assert one.history.test_errors == other.history.test_errors
        for name, array in one.history.parameters.items():
            assert array.tobytes() == other.history.parameters[name].tobytes()


def test_the_first_rows_may_take_all_and_the_others_share(rows, monkeypatch):
    """Of 90 s the first takes 30; the second may take half of the rest, and leaves 20 s of that."""
    now, granted = [0.0], {}

    def pretend(row, rule, data, folder, tick, limit):
        granted[row.name] = limit.deadline - now[0]
        if rule == "BPTT":
            now[0] += {"A": 30.0, "B": 10.0, "C": 50.0}[row.name]

    first, second = rows
    monkeypatch.setattr(mnist_table, "train_row", pretend)
    monkeypatch.setattr(mnist_table.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(mnist_table, "ThreadPoolExecutor", InTurn)
    table((first, second, replace(second, name="C")), Allowance(seconds=90.0))
    assert granted == {"A": 90.0, "B": 30.0, "C": 50.0}


@pytest.mark.parametrize("rule", ["EP", "BPTT"])
def test_a_training_that_breaks_stops_the_other_which_is_kept(rows, tmp_path, monkeypatch, rule):
    gradient, started = Setting.gradient, threading.Event()

    def breaks(self, *arguments):
        if self.rule == rule:
            started.wait(10)
            raise KeyboardInterrupt
        started.set()
        time.sleep(0.05)  # all of its 8 updates take far longer than it takes to stop it
        return gradient(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Setting, "gradient", breaks)
        with pytest.raises(KeyboardInterrupt):
            table(rows, Allowance(tmp_path))
    (kept,) = tmp_path.glob("*.h5")
    assert rule.lower() not in kept.name
    with h5py.File(kept) as file:
        counters = json.loads(file.attrs["counters"])
    assert counters["epoch"] < 2
    assert counters["epoch"] + counters["update"] > 0
    again, expected = table(rows, Allowance(tmp_path)), table(rows, Allowance())
    for one, other in zip(again, expected, strict=True):
        assert one.history.test_errors == other.history.test_errors


def test_the_rows_are_those_of_the_paper():
    """Table 1: K of BPTT is K of EP; energy-based rows are clamped, their baselines are not."""
    assert [row.name for row in mnist_table.ROWS] == ["P-1h", "EB-1h", "P-2h", "EB-2h", "P-3h", "P-conv"]
    for row in mnist_table.ROWS:
        settings = row.settings()
        ours, theirs = settings["EP"], settings["BPTT"]
        assert (ours.rule, theirs.rule) == ("EP", "BPTT")
        assert (ours.free_steps, ours.nudged_steps, ours.rates) == (
            theirs.free_steps, theirs.nudged_steps, theirs.rates,
        )  # fmt: skip
        assert set(ours.recipe(1).learning_rate) == set(ours.network.parameter_shapes())
        assert ours.network.shapes[0] == (10,)
        assert np.prod(ours.network.shapes[-1]) == 784
        if row.name.startswith("EB"):
            assert (ours.network.clamp, theirs.network.clamp) == (True, False)
            assert theirs.network == replace(ours.network, clamp=False)
        else:
            assert theirs.network == ours.network
    first = mnist_table.ROWS[-2].setting.recipe(1).learning_rate
    assert [first[f"coupling.{n}.{n + 1}.weight"] for n in range(4)] == [0.002, 0.01, 0.05, 0.2]


def test_without_mnist_the_table_is_skipped(monkeypatch):
    monkeypatch.delenv("REFSNN_DATA", raising=False)
    with pytest.raises(Unavailable, match="REFSNN_DATA"):
        mnist_table.mnist(lambda done, total, text: None, Allowance())


# ---- the errors of the processes --------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [1, 3, 7, 20])
@pytest.mark.parametrize("family", [EnergyBasedNetwork, PrototypicalNetwork])
def test_chunks_give_what_whole_processes_give(family, chunk):
    rng = np.random.default_rng(2)
    network = family((3, 5, 4, 6))
    problem = network, network.initialise(rng), rng.random((4, 6)), rng.random((4, 3))
    free = relax(*problem[:3], steps=9, keep_last=8, backend="plain")  # not settled: every step is another
    updates = equilibrium_processes(*problem, free, steps=7, nudge=0.1)
    gradients = bptt_processes(*problem, free, steps=7)
    expected = compare_processes(updates, gradients)
    errors, ours, theirs = chunked_processes.compare_in_chunks(
        *problem, free, steps=7, nudge=0.1, chunk=chunk
    )
    assert list(errors) == list(expected)
    assert min(mean for mean, _ in expected.values()) > 1e-3
    for name, pair in expected.items():
        np.testing.assert_allclose(errors[name], pair, rtol=1e-12, err_msg=name)
    for name, total in updates.total().items():
        np.testing.assert_allclose(ours[name], -total, rtol=0, atol=1e-13, err_msg=name)
        np.testing.assert_allclose(theirs[name], gradients.total()[name], rtol=0, atol=1e-13, err_msg=name)


def test_enlarged_images_keep_constants_and_slopes():
    flat = np.full((2, 64), 0.25)
    np.testing.assert_allclose(process_errors.enlarged(flat), np.full((2, 784), 0.25), rtol=1e-15)
    slope = np.tile(np.arange(8.0), (8, 1)).reshape(1, 64)
    image = process_errors.enlarged(slope).reshape(28, 28)
    assert (image == image[:1]).all()
    steps = np.diff(image[0])
    np.testing.assert_allclose(steps[2:-2], 8 / 28, rtol=1e-12)
    assert image[0, 0] == 0
    assert image[0, -1] == 7


def test_the_report_of_the_processes_measures_its_factors(monkeypatch):
    small = PrototypicalNetwork((10, 12, 784))
    configuration = process_errors.Configuration("P-small", process_errors.both_nudges(small), 60, 5, 0.01, 2)
    rng = np.random.default_rng(0)
    images, labels = rng.random((4, 784)), rng.integers(0, 10, 4)
    drawn = LabelledImages(images, labels, images, labels)
    monkeypatch.setattr(process_errors, "pictures", lambda: (drawn, "noise"))
    result = process_errors.measure([configuration], 1, lambda done, total, text: None)
    outside, inside = result.table_rows
    assert (outside[1], inside[1]) == ("nudge outside", "nudge inside")
    worse, better = (np.array(row[6].split(), float) for row in (outside, inside))
    (line,) = [note for note in result.notes if note.startswith("P-small")]
    factors = np.array(line.split("of the weights by ")[1].split(" (")[0].split(", "), float)
    np.testing.assert_allclose(factors, worse / better, rtol=0.1)  # the table has two digits
    assert (factors > 3).all()
    assert "Images: noise" in result.notes[0]


def test_without_mnist_the_digits_are_enlarged(monkeypatch):
    monkeypatch.delenv("REFSNN_DATA", raising=False)
    images, name = process_errors.pictures()
    assert (images.train_images.shape[1], "enlarged to 28x28" in name) == (784, True)


def test_a_network_that_never_settles_is_no_figure(monkeypatch):
    """Weights of 2.5 lock one unit a layer into an orbit of period two."""
    network = PrototypicalNetwork((1, 1, 784))
    cycling = {"coupling.0.1.weight": 2.5, "coupling.0.1.bias": 0.1, "coupling.1.2.bias": -0.05}
    parameters = {
        name: np.full(shape, cycling.get(name, 0.0)) for name, shape in network.parameter_shapes().items()
    }
    monkeypatch.setattr(PrototypicalNetwork, "initialise", lambda *given: parameters)
    configuration = process_errors.Configuration(
        "P-cycle", process_errors.both_nudges(network), 50, 3, 0.01, 1
    )
    images, labels = np.ones((process_errors.MOST_DRAWS, 784)), np.zeros(process_errors.MOST_DRAWS, int)
    drawn = LabelledImages(images, labels, images, labels)
    monkeypatch.setattr(process_errors, "pictures", lambda: (drawn, "ones"))
    result = process_errors.measure([configuration], 2, lambda done, total, text: None)
    assert [row[3] for row in result.table_rows] == ["0 of 10", "0 of 10"]
    assert all(set(row[4:]) == {"–"} for row in result.table_rows)
    assert not any(note.startswith("P-cycle") for note in result.notes)


# ---- the command line -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--checkpoints", "."], "--checkpoints: expected --experiments with it"),
        (["--budget", "3"], "--budget: expected --experiments with it"),
        (
            ["--experiments", "--checkpoints", "no/such"],
            "--checkpoints: expected an existing folder, got no/such",
        ),
        (["--experiments", "--checkpoints", "setup.cfg"], "setup.cfg, a file of that name"),
        (["--experiments", "--budget", "0"], "expected a number of minutes above 0, got '0'"),
        (["--experiments", "--budget", "nan"], "expected a number of minutes above 0, got 'nan'"),
        (["--experiments", "--budget", "soon"], "expected a number of minutes above 0, got 'soon'"),
    ],
)
def test_wrong_options_are_refused_before_any_work(arguments, message, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(cli, "Run", lambda *given: pytest.fail("work began"))
    with pytest.raises(SystemExit) as left:
        cli.main(arguments)
    assert left.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())


JOB = """
import sys, types
sys.modules["validation.claims"] = types.ModuleType("validation.claims")
from validation import experiments, figures
from validation.cli import main
from validation.experiments import ExperimentResult, experiment
from validation.ledger import Measured, claim

experiments.__path__, figures.__path__ = [], []
claim("alpha/X1", "S.", source="Eq. 1", metric="error", relation="<=", bound=1, control="c")(
    lambda rng: Measured(0.0, 2.0)
)

@experiment("alpha/long", "L", "Trains.", long=True, resumable=True)
def long(progress, allowance):
    return ExperimentResult(("folder", "seconds"), ((str(allowance.folder), allowance.seconds),), ())

@experiment("alpha/other", "O", "Trains.")
def other(progress):
    return ExperimentResult(("a",), (("as before",),), ())

raise SystemExit(main())
"""


def test_the_options_reach_the_experiment(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "job.py").write_text(JOB)
    command = [sys.executable, "job.py", "--experiments", "--checkpoints", "kept", "--budget", "1.5"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kept 90" in [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "as before" in done.stdout


@pytest.mark.parametrize(
    ("options", "allowance"),
    [
        (["--experiments"], Allowance(None, 1800.0)),
        (["--experiments", "--budget", "2"], Allowance(None, 120.0)),
        (["--experiments", "--checkpoints", "kept"], Allowance(Path("kept"), 1800.0)),
    ],
)
def test_what_the_options_grant(options, allowance):
    assert cli.Run([], cli.parser().parse_args([*options, "--seed", "1"]), None).allowance() == allowance
