"""The trainings of four networks on equal terms: tied read-out, same starts and batches, figures, tables."""

from __future__ import annotations

import itertools
from functools import partial

import numpy as np
import pytest

from refsnn.algorithms.sparse_attentive_backtracking import sparse_attentive_backtracking
from refsnn.datasets.labelled import LabelledImages
from refsnn.models.attentive.network import AttentiveNetwork
from validation.experiments import Allowance, Unavailable, adding, characters, copying, pixel_sequences
from validation.experiments.attentive_training import (
    ADAM,
    ROUND,
    Learner,
    Model,
    Training,
    four_models,
    train_equally,
)

STEPS, BATCH = 7, 2


def small(**options):
    return AttentiveNetwork((2, 4, 3), 2, 2, 3, small_memory="softmax", **options)


def quiet(*_):
    """No progress is shown."""


# ---- the tied read-out ------------------------------------------------------------------------------------


def tied_case(factor, readout):
    """A self-attention network that is alive, in float64, and its task."""
    model = four_models(small(readout=readout), 3, factor)[3]
    rng = np.random.default_rng(3)
    parameters = {
        name: 0.7 * rng.standard_normal(value.shape) for name, value in model.initialise(rng).items()
    }
    shape = BATCH if readout == "last" else (STEPS, BATCH)
    return model, parameters, rng.standard_normal((STEPS, BATCH, 2)), rng.integers(0, 3, shape)


@pytest.mark.parametrize("readout", ["all", "last"])
@pytest.mark.parametrize("factor", [2.0, 1.0])
def test_the_gradient_of_the_tied_read_out_is_that_of_differences(factor, readout):
    model, parameters, inputs, labels = tied_case(factor, readout)

    def result(of):
        return sparse_attentive_backtracking(model.network, model.untied(of), inputs, labels)

    found, step = model.tied(result(parameters).gradients), 1e-5
    assert set(found) == set(parameters) == set(model.network.parameter_shapes()) - {"readout.summary_weight"}
    for name, value in parameters.items():
        expected = np.zeros_like(value)
        for place in np.ndindex(value.shape):
            ends = []
            for sign in (1, -1):
                moved = value.copy()
                moved[place] += sign * step
                ends.append(result(parameters | {name: moved}).loss)
            expected[place] = (ends[0] - ends[1]) / (2 * step)
        assert np.linalg.norm(expected) > 1e-4, name
        assert np.linalg.norm(found[name] - expected) <= 1e-7 * np.linalg.norm(expected), name


def test_the_tied_read_out_is_that_of_the_formula():
    model, parameters, inputs, labels = tied_case(2.0, "all")
    result = sparse_attentive_backtracking(model.network, model.untied(parameters), inputs, labels)
    # the last step by hand: s_T of raw scores over h_0 = 0 and every h before
    weights = result.weights[-1]
    assert (weights[:, 1:STEPS] != 0).all()
    assert result.slot_times.tolist() == list(range(STEPS + 1))
    hidden = result.final_state["hidden"]
    states = [
        sparse_attentive_backtracking(
            model.network, model.untied(parameters), inputs[:step], labels[:step]
        ).final_state["hidden"]
        for step in range(1, STEPS)
    ]
    summary = sum(weights[:, j, None] * state for j, state in enumerate(states, 1))
    expected = (2 * hidden + summary) @ parameters["readout.weight"].T + parameters["readout.bias"]
    np.testing.assert_allclose(result.outputs[-1], expected, rtol=1e-12, atol=1e-14)


# ---- equal terms ------------------------------------------------------------------------------------------


def test_all_start_from_one_cell_and_see_the_same_batches():
    models, task = four_models(small(), 3), copying.Copying(4, 2, 3)
    starts, following = [], []
    for model in models:
        rng = np.random.default_rng(5)
        starts.append(model.initialise(rng))
        following.append(task.batch(rng)[0])
    for start, batch in zip(starts, following, strict=True):
        for name in ("input_weight", "recurrent_weight", "input_bias", "recurrent_bias"):
            assert np.array_equal(start[f"cell.{name}"], starts[0][f"cell.{name}"])
        assert np.array_equal(start["readout.weight"], starts[0]["readout.weight"])
        assert np.array_equal(batch, following[0])
        assert {value.dtype for value in start.values()} == {np.dtype(np.float32)}
    faint = np.concatenate(
        [value.ravel() for name, value in starts[3].items() if name.startswith("attention.")]
    )
    assert 0.006 < faint.std() < 0.014


def test_companions_are_what_their_names_say():
    sab, tbptt, bptt, attention = (model.network for model in four_models(small(), 3))
    assert (sab.top, sab.store_every, sab.truncate_every) == (2, 2, 3)
    assert tbptt.truncate_every == 3
    assert bptt.truncate_every is None
    assert tbptt.slots_before(10_000) == bptt.slots_before(10_000) == 1
    assert (attention.top, attention.store_every, attention.augmented) == (0, 1, False)
    # only SAB and self-attention read anything
    rng = np.random.default_rng(0)
    inputs, labels = rng.standard_normal((9, 2, 2)).astype(np.float32), rng.integers(0, 3, (9, 2))
    norms = []
    for model in four_models(small(), 3):
        parameters = model.untied(model.initialise(np.random.default_rng(0)))
        gradients = sparse_attentive_backtracking(model.network, parameters, inputs, labels).gradients
        norms.append(np.linalg.norm(gradients["attention.score_weight"]))
    assert norms[1] == norms[2] == 0
    assert norms[0] > 0
    assert norms[3] > 0


def test_outputs_do_not_depend_on_how_many_sequences_fit(monkeypatch):
    model = four_models(small(), 3)[3]
    rng = np.random.default_rng(0)
    parameters = {name: 10 * value for name, value in model.initialise(rng).items()}
    inputs = rng.standard_normal((6, 5, 2)).astype(np.float32)
    together = model.outputs(parameters, inputs)
    monkeypatch.setattr("validation.experiments.attentive_training.READINGS", 1)
    assert together.shape == (6, 5, 3)
    np.testing.assert_allclose(model.outputs(parameters, inputs), together, rtol=1e-5, atol=1e-6)
    last = model.outputs(parameters, inputs, slice(-1, None))
    np.testing.assert_allclose(last, together[-1:], rtol=1e-5, atol=1e-6)


# ---- trainings --------------------------------------------------------------------------------------------


def tiny_models():
    return four_models(AttentiveNetwork((1, 5, 10), 2, 2, 3, small_memory="softmax"), 3)


def test_rounds_give_what_one_go_gives_and_go_on_from_their_files(tmp_path):
    models, task = tiny_models(), copying.Copying(4, 2, 3)
    whole = train_equally(models, task, ADAM, ROUND + 5, quiet)
    first = train_equally(models, task, ADAM, ROUND, quiet, allowance=Allowance(tmp_path, 60))
    assert [training.updates for training in first] == [ROUND] * 4
    rest = train_equally(models, task, ADAM, ROUND + 5, quiet, allowance=Allowance(tmp_path, 60))
    assert len(list(tmp_path.iterdir())) == 4
    for one, two in zip(whole, rest, strict=True):
        assert one.updates == two.updates == ROUND + 5
        for name, value in one.parameters.items():
            assert np.array_equal(value, two.parameters[name]), (one.model.name, name)
        assert one.stream.curves == two.stream.curves


def test_who_is_behind_catches_up_before_others_go_on(tmp_path):
    models, task = tiny_models()[:2], copying.Copying(4, 2, 3)
    train_equally(models[:1], task, ADAM, 2 * ROUND, quiet, allowance=Allowance(tmp_path, 60))
    seen = []

    def progress(done, total, text):
        seen.append(text.split(":")[0])

    both = train_equally(models, task, ADAM, 3 * ROUND, progress, allowance=Allowance(tmp_path, 60))
    assert [training.updates for training in both] == [3 * ROUND] * 2
    order = [(name, len(list(group))) for name, group in itertools.groupby(seen)]
    assert order == [(models[1].name, 2 * ROUND), (models[0].name, ROUND), (models[1].name, ROUND)]


def test_the_file_of_another_task_is_refused(tmp_path):
    models = tiny_models()[:1]
    train_equally(models, copying.Copying(4, 2, 3), ADAM, 1, quiet, allowance=Allowance(tmp_path, 60))
    with pytest.raises(ValueError, match="they differ in task"):
        train_equally(models, copying.Copying(5, 2, 3), ADAM, 1, quiet, allowance=Allowance(tmp_path, 60))


def test_time_that_is_up_stops_between_two_rounds(monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr(
        "validation.experiments.attentive_training.time", type("Clock", (), {"monotonic": clock.__next__})
    )
    # the clock is asked once at the start and once after each round: rounds last one second each
    some = train_equally(
        tiny_models(), copying.Copying(4, 2, 3), ADAM, 10 * ROUND, quiet, allowance=Allowance(None, 3.5)
    )
    assert [training.updates for training in some] == [2 * ROUND] * 4
    none = train_equally(
        tiny_models(), copying.Copying(4, 2, 3), ADAM, ROUND, quiet, allowance=Allowance(None, 0)
    )
    assert [training.updates for training in none] == [0] * 4


class Breaking(copying.Copying):
    """Not finite from the third batch on."""

    def figures(self, result, targets):
        if next(self.batches) >= 2:
            raise FloatingPointError("loss: expected a finite number")
        return super().figures(result, targets)


def test_a_loss_that_is_not_finite_ends_one_training():
    task = Breaking(4, 2, 3)
    object.__setattr__(task, "batches", itertools.count())
    training = Training(tiny_models()[0])
    training.go_on(task, ADAM, 0, 9)
    assert "finite" in training.broken
    assert copying.table([training], [{}], [4], 2)[0][1:] == ("0, not finite", "0.0", "–", "–", "–")


def test_a_batch_is_clipped_over_all_parameters():
    model, task = tiny_models()[3], copying.Copying(4, 2, 3)
    rng = np.random.default_rng(0)
    parameters = {name: 30 * value for name, value in model.initialise(rng).items()}
    gradients = Learner(model, task)(parameters, None, rng).gradients
    assert set(gradients) == set(parameters)
    assert np.sqrt(sum(float(np.square(g).sum()) for g in gradients.values())) == pytest.approx(1, rel=1e-5)


# ---- figures ----------------------------------------------------------------------------------------------


def test_figures_of_copying_by_hand():
    # four steps of one sequence, the last two are asked for; logits are logarithms of probabilities
    probabilities = np.array([[0.5, 0.25, 0.25], [0.8, 0.1, 0.1], [0.1, 0.7, 0.2], [0.3, 0.5, 0.2]])
    outputs, targets = np.log(probabilities)[:, None] + 3.0, np.array([[0], [0], [1], [2]])
    figures = copying.copied(outputs, targets, 2)
    last = -(np.log(0.7) + np.log(0.2)) / 2
    assert figures["accuracy"] == 0.5
    assert figures["CE10"] == pytest.approx(last, rel=1e-12)
    assert figures["CE"] == pytest.approx(-(np.log(0.5) + np.log(0.8) + np.log(0.7) + np.log(0.2)) / 4)
    assert next(iter(figures)) == "CE10"  # what the progress shows


def test_floors_of_copying():
    floors = copying.floors(100, 10)
    assert floors == pytest.approx({"CE10": 2.0794415, "accuracy": 0.125, "CE": 0.1732868}, rel=1e-6)
    # guessing among the eight, certain of the blanks
    outputs = np.full((12, 3, 10), -np.inf)
    outputs[:10, :, 0] = 0
    outputs[10:, :, 1:9] = 0
    with np.errstate(invalid="ignore"):
        guessed = copying.copied(
            np.maximum(outputs, -1e3), np.repeat([0, 5], [10, 2])[:, None] * [[1] * 3], 2
        )
    assert guessed["CE10"] == pytest.approx(copying.floors(8, 2)["CE10"])
    assert guessed["CE"] == pytest.approx(copying.floors(8, 2)["CE"])


def test_the_loss_of_adding_is_the_mean_of_squares():
    task, model = adding.Adding(8, 5), adding.models(6)[0]
    rng = np.random.default_rng(0)
    inputs, targets = task.batch(rng)
    result = sparse_attentive_backtracking(model.network, model.initialise(rng), inputs, targets)
    error = np.square(result.outputs[-1] - targets.values).mean()
    assert task.figures(result, targets) == {"MSE": pytest.approx(float(error), rel=1e-6)}


def test_bits_of_characters():
    logits = np.log(np.array([[[0.5, 0.5]], [[0.25, 0.75]]]))
    assert characters.bits(logits, np.array([[1], [0]])) == pytest.approx(1 + 2)


def test_frequencies_of_characters():
    text = characters.Text.of("aabaabaab", "abbabb", steps=2, samples=1)
    # targets of the text a b a a b a a b, of the test b b a b: one more of each
    assert characters.entropy_of_single_characters(text) == pytest.approx(
        -(3 * np.log2(4 / 10) + np.log2(6 / 10)) / 4
    )


# ---- the experiments --------------------------------------------------------------------------------------


def complete(result, models):
    assert len({len(row) for row in result.table_rows} | {len(result.table_header)}) == 1
    assert [row[0] for row in result.table_rows[: len(models)]] == [model.name for model in models]
    assert {row[1] for row in result.table_rows[: len(models)]} == {"2"}
    assert all(
        float(cell) >= 0 for row in result.table_rows[: len(models)] for cell in row[3:] if cell != "–"
    )
    assert len(result.figures) >= 2


def test_copying(monkeypatch):
    monkeypatch.setattr(copying, "Copying", partial(copying.Copying, delay=6, items=3, samples=4))
    monkeypatch.setattr(copying, "UNITS", 6)
    monkeypatch.setattr(copying, "UPDATES", 2)
    monkeypatch.setattr(copying, "FARTHEST_ATTENTION", 10)
    monkeypatch.setattr(copying, "TESTED", {6: 5, 20: 3})
    result = copying.copying(quiet, Allowance(None, 60))
    complete(result, copying.models())
    assert result.table_rows[3][-1] == "–"  # too far for self-attention
    assert result.table_rows[-1][-2:] == ("12.5", "12.5")
    untrained = copying.copying(quiet, Allowance(None, 0))
    assert untrained.table_rows[0][1:] == ("0", "0.0", "–", "–", "–", "–")


def test_only_what_learned_as_long_is_compared():
    task = copying.Copying(4, 2, 3)
    trainings = train_equally(tiny_models()[:3], task, ADAM, 3, quiet)
    trainings[1].go_on(task, ADAM, 0, 2)
    notes = copying.report(trainings, task, {4: 5}, []).notes
    assert len(notes) == 1
    assert "LSTM, BPTT" in notes[0]


def test_adding(monkeypatch):
    monkeypatch.setattr(adding, "train_equally", partial(few, adding.train_equally))
    complete(adding.short(quiet), adding.models(4)[:3])
    monkeypatch.setattr(adding, "models", lambda units: models_of_adding(5))
    monkeypatch.setattr(adding, "Adding", lambda steps, samples: Adding(12, 3))
    complete(adding.long(quiet, Allowance(None, 60)), adding.models(5))


Adding, models_of_adding = adding.Adding, adding.models


def few(train, models, task, optimiser, updates, progress, **options):
    """Two updates in the place of many."""
    return train(models, task, optimiser, 2, progress, **options)


def test_characters(monkeypatch):
    letters = "the quick brown fox jumps over the lazy dog " * 3
    monkeypatch.setattr(characters, "text_at_hand", lambda: characters.Text.of(letters, letters[::-1], 10, 2))
    monkeypatch.setattr(characters, "UPDATES", 2)
    monkeypatch.setattr(characters, "models", lambda letters: four_models(small_reader(letters), 5))
    complete(characters.characters(quiet, Allowance(None, 60)), four_models(small_reader(27), 5))


def small_reader(letters):
    return AttentiveNetwork((letters, 6, letters), 2, 2, 5, small_memory="softmax")


def test_texts_that_are_not_there(monkeypatch, tmp_path):
    monkeypatch.setenv("REFSNN_DATA", str(tmp_path))
    with pytest.raises(Unavailable, match="Penn Treebank"):
        characters.text_at_hand()
    with pytest.raises(Unavailable, match="MNIST"):
        pixel_sequences.mnist_at_hand(2)


def test_pixels():
    rng = np.random.default_rng(0)
    labels = np.arange(10) % 10
    data = LabelledImages(rng.random((10, 16), np.float32), labels, rng.random((10, 16), np.float32), labels)
    result = pixel_sequences.trained("noise", data, 5, 3, 2, quiet, Allowance(None, 60))
    names = [model.name for model in pixel_sequences.models(5)]
    assert [row[0] for row in result.table_rows] == [
        f"{name}, {order}" for order in ("row by row", "permuted") for name in names
    ]
    assert {row[1] for row in result.table_rows} == {"2"}
    assert len(result.figures) == 4


def test_pixels_come_in_the_order_of_the_task():
    rng = np.random.default_rng(0)
    images = rng.random((4, 9), np.float32)
    order = rng.permutation(9)
    data = LabelledImages(images, np.arange(4), images, np.arange(4))
    batch, labels = pixel_sequences.Pixels("x", data, order, 6).batch(rng)
    assert np.array_equal(batch[..., 0].T, images[labels][:, order])


def test_a_model_without_a_factor_is_left_as_it_is():
    model = Model("SAB", small())
    parameters = model.initialise(np.random.default_rng(0))
    assert model.untied(parameters) is parameters
    assert model.tied(parameters) is parameters
