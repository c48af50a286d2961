"""Trainings on endless tasks: stopped and gone on with to the same bits, and never with another's file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from refsnn.algorithms.adaptive_bptt import adaptive_bptt
from refsnn.algorithms.deep_rewiring import DeepRewiring
from refsnn.algorithms.optimisers import Adam, Staircase
from refsnn.datasets.labelled import LabelledImages
from refsnn.datasets.store_recall import store_recall
from validation.experiments import Allowance, sequential_mnist
from validation.experiments import store_recall as recall
from validation.experiments.checkpoints import Checkpoint
from validation.experiments.lsnn_networks import lsnn
from validation.experiments.streams import Outcome, Unconstrained, train_stream

OPTIMISER = Adam(Staircase(0.01, 0.5, 3))


class Small:
    """Store and recall with eight inputs and six neurons; the state goes on from batch to batch."""

    def __init__(self, seed=0):
        self.network = lsnn((8, 6, 2), 3, np.random.default_rng(seed), refractory=2, delay_slots=3)

    def __call__(self, parameters, state, rng):
        task = store_recall(rng, 3, characters=5, expected_delay=1, inputs=8, rate=0.3, steps_per_character=6)
        result = adaptive_bptt(
            self.network, parameters, task.inputs, recall.windows(task), initial_state=state
        )
        figures = {"loss": result.loss, "rate": result.rates.mean()}
        return Outcome(result.gradients, figures, self.network.for_next_sequence(result.final_state))


def rewiring(network, rng):
    """DEEP R on all matrices, with random signs."""
    parameters = network.initialise(rng, gain=3.0)
    names = [name for name, value in parameters.items() if value.ndim == 2]
    signs = {name: np.where(rng.random(parameters[name].shape) < 0.5, -1.0, 1.0) for name in names}
    for name in names:
        present = rng.random(parameters[name].shape) < 0.4
        parameters[name] = np.where(present, signs[name] * np.abs(parameters[name]), 0.0)
    return DeepRewiring(signs, OPTIMISER, connectivity=0.6), parameters


def run(updates, checkpoint=None, rewired=False, seed=0):
    small, rng = Small(), np.random.default_rng(seed)
    rule, parameters = Unconstrained(OPTIMISER), small.network.initialise(np.random.default_rng(5), gain=3.0)
    if rewired:
        rule, parameters = rewiring(small.network, np.random.default_rng(5))
    return train_stream(parameters, small, rule, updates, rng, checkpoint=checkpoint), rule


@pytest.mark.parametrize("rewired", [False, True])
def test_a_training_goes_on_to_the_same_bits(tmp_path, rewired):
    whole, rule = run(6, rewired=rewired)
    assert max(whole.curves["rate"]) > 0.005
    checkpoint = Checkpoint(tmp_path / "kept.h5", {"seed": "0"}, seconds=0)
    run(2, checkpoint, rewired)
    resumed, _ = run(6, checkpoint, rewired)
    assert resumed.curves == whole.curves
    assert resumed.updates == 6
    for name, value in rule.weights(whole.rule_state).items():
        assert np.array_equal(value, rule.weights(resumed.rule_state)[name]), name
    for name, value in whole.carried.items():
        assert np.array_equal(value, resumed.carried[name]), name
        assert value.dtype == resumed.carried[name].dtype, name


def test_the_carried_state_matters(tmp_path):
    checkpoint = Checkpoint(tmp_path / "kept.h5", {"seed": "0"}, seconds=0)
    run(2, checkpoint)
    small, rng = Small(), np.random.default_rng(0)
    forgetful = lambda parameters, state, rng: replace(small(parameters, None, rng), state=None)  # noqa: E731
    other = train_stream(
        small.network.initialise(np.random.default_rng(5), gain=3.0),
        forgetful,
        Unconstrained(OPTIMISER),
        6,
        rng,
    )
    assert other.curves["loss"] != run(6)[0].curves["loss"]


def test_the_file_of_another_training_is_refused(tmp_path):
    checkpoint = Checkpoint(tmp_path / "kept.h5", {"seed": "0"}, seconds=0)
    run(1, checkpoint)
    with pytest.raises(ValueError, match=r"they differ in .*rule: Unconstrained"):
        run(2, checkpoint, rewired=True)
    with pytest.raises(ValueError, match="they differ in seed: 0 there, 1 here"):
        run(2, Checkpoint(checkpoint.path, {"seed": "1"}))
    checkpoint.path.write_bytes(checkpoint.path.read_bytes()[:-400])
    with pytest.raises(ValueError, match="damaged"):
        run(2, checkpoint)


def test_store_and_recall_is_learnt_at_a_small_size(monkeypatch):
    """Few steps, little memory needed: any network should get far below chance."""
    monkeypatch.setattr(recall, "STEPS", 20)
    monkeypatch.setattr(recall, "INPUTS", 40)
    monkeypatch.setattr(recall, "BATCH", 32)
    easy = recall.Setting("small")
    monkeypatch.setattr(
        recall,
        "store_recall",
        lambda rng, samples, **others: store_recall(rng, samples, 5, 1.0, rate=0.2, **others),
    )
    trained = recall.train(easy, 0, 120)
    errors = trained.stream.curves["error"]
    assert np.mean(errors[:10]) > 0.3
    assert trained.stream.running_mean("error") < 0.2
    name, seeds, *_ = recall.row(easy, [trained])
    assert (name, seeds[-4:]) == ("small", "of 1")


def test_windows_of_recall_count_together_once():
    task = store_recall(np.random.default_rng(0), 5, inputs=8, steps_per_character=3)
    weights = np.asarray(recall.windows(task).weights)
    assert weights.sum() == pytest.approx(5)
    assert (weights[~task.recall] == 0).all()


@pytest.fixture
def few_images():
    rng = np.random.default_rng(0)
    images = rng.random((40, 784), dtype=np.float32) * (rng.random((40, 784)) < 0.2)
    labels = rng.integers(0, 10, 40)
    return LabelledImages(images.astype(np.float32), labels, images[:7].astype(np.float32), labels[:7])


def test_sequential_mnist_runs_rewires_and_goes_on(few_images, tmp_path, monkeypatch):
    monkeypatch.setattr(sequential_mnist, "BATCH", 2)
    monkeypatch.setattr(sequential_mnist, "NEURONS", 30)
    setting = sequential_mnist.Setting("LSNN, small", 10, 1, "-")
    monkeypatch.setattr(sequential_mnist, "UPDATES", 2)
    rng = np.random.default_rng(0)
    network = sequential_mnist.network_of(setting, rng)
    rule, parameters = sequential_mnist.rewired(network, rng)
    allowance = Allowance(tmp_path, 60.0)
    (first,) = sequential_mnist.train_rows((setting,), few_images, allowance, lambda *_: None, 7)
    assert first.stream.updates == 2
    assert 0 <= first.tested <= 1
    weights = rule.weights(first.stream.rule_state)
    active = sum(np.count_nonzero(rule.active(first.stream.rule_state)[name]) for name in rule.signs)
    assert active == rule.budget
    assert any(not np.array_equal(weights[name], parameters[name]) for name in weights)
    assert all(value.dtype == np.float32 for value in weights.values())
    (again,) = sequential_mnist.train_rows((setting,), few_images, allowance, lambda *_: None, 7)
    assert again.stream.curves == first.stream.curves
    assert again.tested == first.tested
    row = sequential_mnist.table_row(again)
    assert len(row) == len(sequential_mnist.report([again], allowance).table_header)
