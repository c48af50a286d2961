"""Attentive networks at the door: sizes, advice, and what is refused or defined at the edges."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace

import numpy as np
import pytest

from refsnn.algorithms.sparse_attentive_backtracking import sparse_attentive_backtracking
from refsnn.models.attentive.network import (
    MENTAL_UPDATES,
    AttentiveNetwork,
    ReminderWarning,
    mental_updates,
)
from refsnn.models.attentive.run import attentive_run
from refsnn.models.contract import StaticInput
from refsnn.models.sequences import StepTargets

WIDTHS = (3, 5, 4)
BACKENDS = ["plain", "cpu"]


def quiet(widths=WIDTHS, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReminderWarning)
        return AttentiveNetwork(widths, **options)


def problem(network, steps=6, batch=2, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    inputs = rng.standard_normal((steps, batch, network.widths[0])).astype(dtype)
    labels = rng.integers(0, network.widths[2], (steps, batch))
    return network.initialise(rng, dtype), inputs, labels


def run(network, *given, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReminderWarning)
        return sparse_attentive_backtracking(network, *(given or problem(network)), **options)


# -- what is refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"widths": (3, 4)}, ValueError, r"widths: expected at least 3 widths, got \(3, 4\)"),
        ({"widths": (3, 4, 5, 6)}, ValueError, r"widths: expected three \(inputs, units, outputs\)"),
        ({"widths": (3, 0, 5)}, ValueError, r"widths\[1\]: expected an integer of at least 1, got 0"),
        ({"top": 1.5}, TypeError, "top: expected a whole number, 0 for all memories, got 1.5"),
        ({"top": True}, TypeError, "top: expected a whole number"),
        ({"store_every": 0}, ValueError, "store_every: expected an integer of at least 1, got 0"),
        ({"store_every": -2}, ValueError, "store_every: expected an integer of at least 1, got -2"),
        ({"store_every": 2.0}, TypeError, "store_every: expected an integer"),
        ({"truncate_every": 0}, ValueError, "truncate_every: expected an integer of at least 1, got 0"),
        ({"truncate_every": -1}, ValueError, "truncate_every: expected an integer of at least 1, got -1"),
        ({"cell": "gru"}, ValueError, "cell: expected one of 'lstm', 'tanh', got 'gru'"),
        ({"score": "dot"}, ValueError, "score: expected one of 'mlp', 'mlp_tanh_in', 'separable'"),
        ({"score_width": 0}, ValueError, "score_width: expected an integer of at least 1"),
        ({"sparsifier": "top"}, ValueError, "sparsifier: expected one of 'paper', 'release', 'dev'"),
        (
            {"small_memory": "none"},
            ValueError,
            "small_memory: expected one of 'raw', 'min', 'softmax', 'zero'",
        ),
        ({"detached": "query"}, TypeError, r"detached: expected a tuple of names such as \('query', 'key'\)"),
        ({"detached": 5}, TypeError, "detached: expected a tuple of names"),
        ({"detached": ("memory",)}, ValueError, "detached: expected one of 'query', 'key', 'value'"),
        ({"norm_shift": -1e-7}, ValueError, r"norm_shift: expected a finite number in \[0, inf\)"),
        ({"threshold_shift": np.nan}, ValueError, "threshold_shift: expected a finite number"),
        ({"empty_memory": 1}, TypeError, "empty_memory: expected True or False, got 1"),
        ({"mix_batch": None}, TypeError, "mix_batch: expected True or False, got None"),
        ({"augmented": "no"}, TypeError, "augmented: expected True or False, got 'no'"),
        ({"loss_function": "l1"}, ValueError, "loss_function: expected one of"),
        ({"readout": "first"}, ValueError, "readout: expected one of 'all', 'last', got 'first'"),
    ],
)
def test_bad_settings(options, kind, message):
    with pytest.raises(kind, match=f"^{message}"):
        AttentiveNetwork(**{"widths": WIDTHS, **options})


def test_a_list_of_switches_is_a_tuple():
    network = AttentiveNetwork(WIDTHS, detached=["query", "key"])
    assert network.detached == ("query", "key")
    assert hash(network) == hash(AttentiveNetwork(WIDTHS, detached=("query", "key")))


def test_presets():
    assert {name: mental_updates(name) for name in MENTAL_UPDATES} == {
        "full": (),
        "no_score": ("query", "key"),
        "none": ("query", "key", "value"),
    }
    with pytest.raises(ValueError, match=r"^name: expected one of 'full', 'no_score', 'none', got 'some'"):
        mental_updates("some")


@pytest.mark.parametrize("backend", BACKENDS)
def test_bad_arguments(backend):
    network = AttentiveNetwork(WIDTHS, top=2)
    parameters, inputs, labels = problem(network)

    def refused(kind, message, *given, **options):
        with pytest.raises(kind, match=message):
            sparse_attentive_backtracking(network, *given, backend=backend, **options)

    broken = inputs.copy()
    broken[2, 1, 0] = np.nan
    refused(ValueError, "^inputs: expected finite numbers, got 1 NaN", parameters, broken, labels)
    refused(ValueError, r"^inputs: expected shape \(T, B, 3\)", parameters, inputs[..., :2], labels)
    refused(ValueError, r"^inputs: .*T >= 1", parameters, inputs[:0], labels)
    refused(TypeError, "^inputs: expected dtype float64", parameters, inputs.astype(np.float32), labels)
    refused(ValueError, r"^targets.values: expected labels of shape \(6, 2\)", parameters, inputs, labels[:5])
    refused(ValueError, r"^targets.values: expected labels in \[0, 4\)", parameters, inputs, labels + 3)
    missing = {name: value for name, value in parameters.items() if name != "attention.score_weight"}
    refused(ValueError, "^parameters: expected the keys", missing, inputs, labels)
    infinite = parameters | {"cell.input_bias": np.full(20, np.inf)}
    refused(ValueError, r"^parameters\['cell.input_bias'\]: expected finite", infinite, inputs, labels)
    start = {"hidden": np.zeros((2, 5))}
    refused(ValueError, "initial_state: .* missing", parameters, inputs, labels, initial_state=start)
    start = {"hidden": np.zeros((3, 5)), "cell": np.zeros((2, 5))}
    refused(
        ValueError,
        r"initial_state\['hidden'\]: expected shape",
        parameters,
        inputs,
        labels,
        initial_state=start,
    )
    refused(ValueError, "^budget: expected at least", parameters, inputs, labels, budget=10)
    refused(ValueError, "^strategy: expected one of", parameters, inputs, labels, strategy="best")


def test_bad_network_and_backend():
    network = AttentiveNetwork(WIDTHS, top=2)
    given = problem(network)
    with pytest.raises(TypeError, match=r"^network: expected a AttentiveNetwork"):
        sparse_attentive_backtracking(AttentiveNetwork, *given)
    with pytest.raises(ValueError, match=r"^backend: expected one of 'plain', 'cpu', 'cuda', got 'gpu'"):
        sparse_attentive_backtracking(network, *given, backend="gpu")


# -- edges that are defined -----------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "options",
    [
        {"top": -3}, {"top": 0}, {"top": 99}, {"store_every": 99}, {"truncate_every": 99},
        {"store_every": 99, "empty_memory": True}, {"top": 1, "empty_memory": True},
        {"top": 2, "store_every": 5}, {"truncate_every": 6}, {"truncate_every": 1},
    ],
)  # fmt: skip
@pytest.mark.parametrize("steps", [1, 2, 6])
def test_settings_at_the_edge_run(backend, options, steps):
    network = quiet(**options)
    result = run(network, *problem(network, steps), backend=backend)
    slots = steps // network.store_every + (not network.empty_memory)
    assert result.weights.shape == (steps, 2, slots)
    assert len(result.slot_times) == slots
    assert np.isfinite(result.loss)
    assert result.gradients["cell.input_weight"].any()
    for step in range(1, steps + 1):  # nothing is read before it was written
        assert not result.weights[step - 1][:, result.slot_times >= step].any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_fewer_than_none_is_all(backend):
    network = quiet(top=0, store_every=2)
    given = problem(network)
    dense, other = (
        run(network, *given, backend=backend),
        run(quiet(top=-7, store_every=2), *given, backend=backend),
    )
    assert dense.loss == other.loss
    assert (dense.weights[-1] != 0).sum(axis=-1).tolist() == [3, 3]  # h_0, h_2, h_4; h_6 comes too late
    assert np.array_equal(dense.threshold_slots, np.full((6, 2), -1))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_sequence_shorter_than_k_att_reads_the_zero_slot_alone(backend):
    network = quiet(top=2, store_every=7)
    result = run(network, *problem(network), backend=backend)
    assert result.slot_times.tolist() == [0]
    for name, gradient in result.gradients.items():
        assert gradient.any() == (not name.startswith("attention") and name != "readout.summary_weight"), name


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("sparsifier", ["paper", "release"])
def test_equal_scores_retrieve_nothing(backend, sparsifier):
    """Nobody is above a threshold that all meet; with eps_norm = 0 nothing is divided by 0."""
    for shift in (1e-7, 0.0):
        network = quiet(top=3, sparsifier=sparsifier, norm_shift=shift, small_memory="zero")
        parameters, inputs, labels = problem(network)
        parameters["attention.score_weight"][:] = 0
        result = run(network, parameters, inputs, labels, backend=backend)
        assert not result.weights.any()
        assert result.gap == 0
        assert (result.threshold_slots[3:] == (3 if sparsifier == "paper" else 2)).all()  # ties: lowest first
        assert not any(
            value.any() for name, value in result.gradients.items() if name.startswith("attention")
        )


@pytest.mark.parametrize("backend", BACKENDS)
def test_equal_scores_below_a_lowered_threshold_all_survive(backend):
    network = quiet(top=2, sparsifier="dev")
    parameters, inputs, labels = problem(network)
    parameters["attention.score_weight"][:] = 0
    weights = run(network, parameters, inputs, labels, backend=backend).weights
    assert np.allclose(weights[-1, :, :6], 1 / 7)  # M = 6 of them share M + 1 parts


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("options", [{"top": 0}, {"top": 2}])
def test_scores_beyond_all_bounds_are_an_error(backend, options):
    network = quiet(**options)
    parameters, inputs, labels = problem(network)
    parameters["attention.score_weight"] = np.full(5, 1e308) * [1, 1, 1, -1, 1]
    parameters["attention.memory_weight"] *= 1e3
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match="expected finite numbers"):
        run(network, parameters, inputs, labels, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_scores_that_are_not_finite_are_not_ranked(backend):
    """Some are NaN (infinite keys and queries): left out they would leave all numbers finite."""
    network = quiet(top=2, small_memory="zero")
    parameters, inputs, labels = problem(network)
    for name in ("memory_weight", "query_weight"):
        parameters[f"attention.{name}"] = np.where(parameters[f"attention.{name}"] > 0, 1.7e308, -1.7e308)
    parameters["cell.input_weight"] *= 20
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError) as caught:
        run(network, parameters, inputs, labels, backend=backend)
    assert re.match(
        r"scores: expected finite numbers, got nan at step \d for slot \d of sample \d", str(caught.value)
    )
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match=r"^scores: expected finite"):
        attentive_run(network, parameters, inputs, backend=backend)


def test_what_the_targets_may_be():
    network = AttentiveNetwork(WIDTHS, top=2)
    parameters, inputs, labels = problem(network)
    whole = run(network, parameters, inputs, labels)
    own = run(network, parameters, inputs, StepTargets(labels, np.full(6, 1 / 6)))
    assert whole.loss == own.loss
    constant = run(network, parameters, inputs, labels[0])
    assert constant.loss == run(network, parameters, inputs, np.tile(labels[0], (6, 1))).loss != whole.loss
    last = AttentiveNetwork(WIDTHS, top=2, readout="last")
    at_the_end = StepTargets(labels, np.array([0.0, 0, 0, 0, 0, 1]))
    assert run(last, parameters, inputs, labels[-1]).loss == run(network, parameters, inputs, at_the_end).loss
    static = StaticInput(inputs[0], 6)
    assert (
        run(network, parameters, static, labels).loss
        == run(network, parameters, np.repeat(inputs[:1], 6, 0), labels).loss
    )


# -- advice ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top": 1}, "top: with 1 and sparsifier 'paper' one memory survives"),
        ({"top": 1, "score": "separable"}, "top: with 1 and sparsifier 'paper' one memory survives"),
        ({"top": 1, "sparsifier": "dev"}, "top: with 1 and sparsifier 'dev' one memory survives"),
        ({"top": 2, "sparsifier": "release"}, "top: with 2 and sparsifier 'release' one memory survives"),
        ({"top": 1, "sparsifier": "release"}, "top: with 1 and sparsifier 'release' no memory survives"),
        ({"store_every": 5, "truncate_every": 5}, "store_every: 5 is a multiple of truncate_every=5"),
        ({"store_every": 4, "truncate_every": 2}, "store_every: 4 is a multiple of truncate_every=2"),
    ],
)
def test_advice_on_settings(options, message):
    with pytest.warns(ReminderWarning, match=f"^{message}") as caught:
        network = AttentiveNetwork(WIDTHS, **options)
    assert len(caught) == 1
    assert caught[0].filename == __file__  # where the user wrote it, not in a method that dataclasses made
    assert [line.startswith(message) for line in network.lint()] == [True]


@pytest.mark.parametrize(
    ("options", "steps", "message"),
    [
        ({"top": 2, "truncate_every": 6}, 6, "truncate_every: 6 is the length of the sequence"),
        ({"top": 4, "store_every": 2}, 6, "top: 4 memories are never exceeded within 6 steps"),
        (
            {"top": 4, "store_every": 5, "empty_memory": True},
            6,
            "top: 4 memories are never exceeded within 6 steps",
        ),
    ],
)
def test_advice_on_lengths(options, steps, message):
    network = AttentiveNetwork(WIDTHS, **options)
    assert network.lint() == []
    assert network.lint(steps + 20) == []
    assert [line.startswith(message) for line in network.lint(steps)] == [True]
    with pytest.warns(ReminderWarning, match=f"^{message}") as caught:
        sparse_attentive_backtracking(network, *problem(network, steps))
    assert len(caught) == 1
    for bad in (0, 2.5):
        with pytest.raises((TypeError, ValueError), match=r"^steps: expected"):
            network.lint(bad)


@pytest.mark.parametrize(
    ("options", "names", "message"),
    [
        ({}, ["score_weight"], "attention can never start"),
        ({}, ["memory_weight"], "attention can never start"),
        ({"score": "separable"}, ["memory_weight"], "attention can never start"),
        ({"sparsifier": "dev"}, ["score_weight"], "all memories survive"),
    ],
)
def test_advice_on_zero_scoring_vectors(options, names, message):
    network = AttentiveNetwork(WIDTHS, top=2, **options)
    parameters, inputs, labels = problem(network)
    for name in names:
        parameters[f"attention.{name}"][:] = 0
    with pytest.warns(
        ReminderWarning, match=rf"^parameters\['attention.{names[0]}'\]: all 0.*{message}"
    ) as caught:
        sparse_attentive_backtracking(network, parameters, inputs, labels)
    assert len(caught) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"top": 5, "store_every": 2, "truncate_every": 5}, {"top": 2}, {"top": 0},
        {"top": 0, "sparsifier": "dev"}, {"top": 2, "sparsifier": "dev"}, {"top": 3, "sparsifier": "release"},
        {"top": 2, "truncate_every": 1}, {"top": 5, "store_every": 14, "empty_memory": True},
        {"top": 2, "score": "separable"},
        {"top": 2, "truncate_every": 15}, {"top": 30, "small_memory": "softmax"},
        {"top": 5, "store_every": 99},
    ],
)  # fmt: skip
def test_no_advice_for_sound_settings(options):
    """Warnings are errors here."""
    network = AttentiveNetwork(WIDTHS, **options)
    assert network.lint() == network.lint(14) == []
    sparse_attentive_backtracking(network, *problem(network, 14))


def test_one_survivor_teaches_the_attention_nothing():
    """What the advice says, by numbers: all scores of the list leave no gradient, one memory more does."""
    for options in ({"top": 1}, {"top": 1, "score": "separable"}, {"top": 2, "sparsifier": "release"}):
        small = {"small_memory": "zero", "norm_shift": 0.0}
        for more in (0, 1):
            network = quiet(**(options | small | {"top": options["top"] + more}))
            gradients = run(network, *problem(network, 12)).gradients
            assert bool(gradients["attention.memory_weight"].any()) == bool(more)


def test_one_survivor_of_dev_teaches_next_to_nothing():
    """The second has a weight of eps_thr / U: the gradient is of that order."""
    for top, few in ((1, True), (2, False)):
        network = quiet(top=top, sparsifier="dev", small_memory="zero")
        parameters, inputs, labels = problem(network, 12)
        parameters["attention.score_weight"] *= 50
        gradients = run(network, parameters, inputs, labels).gradients
        share = np.abs(gradients["attention.memory_weight"]).max() / np.abs(gradients["readout.weight"]).max()
        assert share > 0
        assert (share < 1e-3) == few


def test_a_zero_scoring_vector_can_learn_while_scores_are_raw():
    """What the advice says of the steps with more than `top` memories, it does not say of those before."""
    for small, learns in (("raw", True), ("zero", False)):
        network = quiet(top=3, small_memory=small)
        parameters, inputs, labels = problem(network)
        parameters["attention.score_weight"][:] = 0
        gradients = run(network, parameters, inputs, labels).gradients
        assert bool(gradients["attention.score_weight"].any()) == learns


# -- parameters -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cell", "gates"), [("lstm", 4), ("tanh", 1)])
@pytest.mark.parametrize(("score", "width"), [("mlp", 6), ("mlp_tanh_in", 6), ("separable", 1)])
def test_shapes(cell, gates, score, width):
    network = AttentiveNetwork(WIDTHS, top=2, cell=cell, score=score, score_width=6)
    expected = {
        "cell.input_weight": (gates * 5, 3), "cell.recurrent_weight": (gates * 5, 5),
        "cell.input_bias": (gates * 5,), "cell.recurrent_bias": (gates * 5,),
        "attention.memory_weight": (width, 5), "attention.query_weight": (width, 5),
        "readout.weight": (4, 5), "readout.summary_weight": (4, 5), "readout.bias": (4,),
    }  # fmt: skip
    if score != "separable":
        expected["attention.score_weight"] = (width,)
    assert network.parameter_shapes() == expected
    assert AttentiveNetwork(WIDTHS, top=2).attention_width == 5
    result = run(network)
    assert {name: value.shape for name, value in result.gradients.items()} == expected


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_initial_parameters(dtype):
    network = AttentiveNetwork((3, 100, 40), top=2)
    parameters = network.initialise(np.random.default_rng(3), dtype)
    for name, value in parameters.items():
        assert value.dtype == dtype
        assert value.shape == network.parameter_shapes()[name]
        room = name.split(".")[0]
        if room != "attention":
            limit = 0.1 if room == "cell" else 1 / np.sqrt(200)
            assert 0.8 * limit < np.abs(value).max() <= limit * (1 + 1e-6), name
    assert 0.97 < parameters["attention.memory_weight"].std() < 1.03
    assert 0.97 < parameters["attention.query_weight"].std() < 1.03
    assert 0.008 < parameters["attention.score_weight"].std() < 0.012
    separable = AttentiveNetwork((3, 400, 4), top=2, score="separable").initialise(np.random.default_rng(3))
    for name in ("memory_weight", "query_weight"):
        assert 0.008 < separable[f"attention.{name}"].std() < 0.012
    again = network.initialise(np.random.default_rng(3), dtype)
    assert all(np.array_equal(again[name], value) for name, value in parameters.items())
    with pytest.raises(TypeError, match=r"^rng: expected a numpy.random.Generator"):
        network.initialise(3)
    with pytest.raises(TypeError, match=r"^dtype: expected float32 or float64"):
        network.initialise(np.random.default_rng(3), np.int32)


def test_slots_by_hand():
    network = AttentiveNetwork(WIDTHS, top=2, store_every=3, truncate_every=4)
    assert [network.slots_before(t) for t in range(1, 11)] == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4]
    assert [network.slot_of(t) for t in range(1, 7)] == [None, None, 1, None, None, 2]
    assert [network.cut_before(t) for t in range(1, 9)] == [False] * 3 + [True] + [False] * 3 + [True]
    empty = AttentiveNetwork(WIDTHS, top=2, store_every=3, empty_memory=True)
    assert [empty.slots_before(t) for t in range(1, 8)] == [0, 0, 0, 1, 1, 1, 2]
    assert [empty.slot_of(t) for t in range(1, 7)] == [None, None, 0, None, None, 1]
    assert not any(empty.cut_before(t) for t in range(1, 99))


def test_nothing_is_stored_without_a_period():
    """An LSTM from rest: no slot but h_0, no warning, the outputs of a period beyond the sequence."""
    rng, steps = np.random.default_rng(0), 8
    never = AttentiveNetwork((2, 4, 3), top=2, store_every=None, truncate_every=3)
    assert never.lint() == never.lint(steps) == []
    parameters = never.initialise(rng, attention="uniform", forget_bias=1.0)
    inputs, labels = rng.normal(size=(steps, 2, 2)), rng.integers(0, 3, (steps, 2))
    found = sparse_attentive_backtracking(never, parameters, inputs, labels)
    beyond = sparse_attentive_backtracking(replace(never, store_every=steps + 2), parameters, inputs, labels)
    assert found.slot_times.tolist() == beyond.slot_times.tolist() == [0]
    assert found.loss == beyond.loss
    for name, gradient in found.gradients.items():
        np.testing.assert_array_equal(gradient, beyond.gradients[name])
        assert gradient.any() == (not name.startswith("attention") and "summary" not in name), name
    empty = sparse_attentive_backtracking(replace(never, empty_memory=True), parameters, inputs, labels)
    assert empty.slot_times.size == 0
    assert empty.loss == found.loss


def test_the_forget_gates_have_a_bias_of_their_own():
    network = AttentiveNetwork((2, 4, 3))
    plain, biased = (network.initialise(np.random.default_rng(0), forget_bias=bias) for bias in (0.0, 2.0))
    for name, value in plain.items():
        expected = value.copy()
        if name == "cell.input_bias":
            expected[4:8] += 2
        np.testing.assert_array_equal(biased[name], expected)
    with pytest.raises(ValueError, match=r"^forget_bias: expected 0 for the cell 'tanh', got 1.0"):
        AttentiveNetwork((2, 4, 3), cell="tanh").initialise(np.random.default_rng(0), forget_bias=1.0)


@pytest.mark.parametrize("name", ["top", "store_every", "truncate_every"])
def test_numbers_that_no_kernel_takes(name):
    with pytest.raises(ValueError, match=f"^{name}: expected at most 2147483647, got"):
        AttentiveNetwork((2, 4, 3), **{name: 10**400})


def test_weights_beside_a_readout_at_the_end():
    """Without them each step would count, whatever `readout` says."""
    rng, network = np.random.default_rng(0), AttentiveNetwork((2, 4, 3), top=2, readout="last")
    parameters, inputs, labels = network.initialise(rng), rng.normal(size=(9, 2, 2)), np.array([0, 2])
    with pytest.raises(
        ValueError, match=r"^targets: expected StepTargets with weights beside readout='last'"
    ):
        sparse_attentive_backtracking(network, parameters, inputs, StepTargets(labels))
    weights = np.eye(9)[-1]
    alone = sparse_attentive_backtracking(network, parameters, inputs, labels)
    given = sparse_attentive_backtracking(network, parameters, inputs, StepTargets(labels, weights))
    assert given.loss == alone.loss
    with pytest.raises(TypeError, match=r"^input_gradients: expected True or False, got 'no'"):
        sparse_attentive_backtracking(network, parameters, inputs, labels, input_gradients="no")
