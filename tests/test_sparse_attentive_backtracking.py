"""Sparse attentive backtracking as a user meets it; the mathematics is in the claims."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refsnn.algorithms.sparse_attentive_backtracking import sparse_attentive_backtracking
from refsnn.kernels import attention_kernels
from refsnn.models.attentive.network import AttentiveNetwork, ReminderWarning, mental_updates
from refsnn.models.attentive.run import attentive_run
from validation.claims.sparse_attentive_backtracking import chunks, reach, vector
from validation.claims.sparse_attentive_backtracking.problems import BACKENDS, draw, error, leaves_of

NORMS = {
    "cell.input_weight": 1.2123275878e-02, "cell.recurrent_weight": 1.5138614486e-02,
    "cell.input_bias": 2.2597354474e-02, "cell.recurrent_bias": 2.2597354474e-02,
    "attention.memory_weight": 2.6881622286e-02, "attention.query_weight": 2.2938980982e-03,
    "attention.score_weight": 1.8613700382e-02, "readout.weight": 1.1127886996e-01,
    "readout.summary_weight": 6.9453491626e-02, "readout.bias": 1.1252886190e-02,
}  # fmt: skip


def quiet(*given, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReminderWarning)
        return AttentiveNetwork(*given, **options)


def problem(network, steps=20, batch=2, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    inputs = rng.standard_normal((steps, batch, network.widths[0])).astype(dtype)
    parameters = network.initialise(rng, dtype)
    parameters["attention.score_weight"] *= dtype(50)
    return parameters, inputs, rng.integers(0, network.widths[2], (steps, batch))


# -- the open vector ------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_open_vector(backend):
    case = vector.open_vector()
    result = sparse_attentive_backtracking(
        case.network, case.parameters, case.inputs, case.targets, backend=backend
    )
    assert result.loss == pytest.approx(1.135279521847, abs=1e-12)
    assert np.abs(result.outputs).sum() == pytest.approx(24.651694595334, abs=1e-11)
    np.testing.assert_allclose(result.weights[-1, 0], [0, 0, 0, 0.50696437, 0.49303343], atol=1e-8)
    np.testing.assert_allclose(
        result.final_state["hidden"][0], [0.31861456, 0.16351278, -1.43184306], atol=1e-8
    )
    assert result.slot_times.tolist() == [0, 2, 4, 6, 8]
    for name, norm in NORMS.items():
        assert np.linalg.norm(result.gradients[name]) == pytest.approx(norm, rel=1e-10), name


def test_every_printed_figure_counts():
    """The claim on the vector sees a change in the last digit of each of its numbers."""
    tables = (vector.NORMS, vector.UNCUT, vector.DETACHED)
    right = {case: one.leaves() for case, one in vector.CASES.items()}
    assert vector.wrong_figures(right) == 0
    for table in tables:
        for name, printed in table.items():
            mantissa, _, power = printed.partition("e")
            last = str((int(mantissa[-1]) + 1) % 10)
            table[name] = f"{mantissa[:-1]}{last}e{power}"
            assert vector.wrong_figures(right) == 1
            table[name] = printed


# -- what the result holds ------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("sparsifier", "survivors"), [("paper", 3), ("dev", 4), ("release", 2)])
def test_weights_and_thresholds(backend, sparsifier, survivors):
    network = AttentiveNetwork((3, 6, 4), top=3, store_every=2, truncate_every=5, sparsifier=sparsifier)
    result = sparse_attentive_backtracking(network, *problem(network), backend=backend)
    assert result.weights.shape == (20, 2, 11)
    assert result.slot_times.tolist() == list(range(0, 21, 2))
    assert result.gap > 1e-6
    for t in range(1, 21):
        filled = 1 + (t - 1) // 2
        weights, slots = result.weights[t - 1], result.threshold_slots[t - 1]
        assert not weights[:, filled:].any()
        if filled <= 3:
            assert (slots == -1).all()
            assert (weights[:, :filled] != 0).all()  # raw scores
            continue
        assert ((weights != 0).sum(axis=1) == survivors).all()
        assert (weights >= 0).all()
        assert (abs(weights.sum(axis=1) - 1) < 1e-4).all()
        at_threshold = weights[np.arange(2), slots]
        if sparsifier == "dev":  # the last survivor, with nearly nothing
            assert (at_threshold > 0).all()
            assert (at_threshold < 1e-4).all()
        else:
            assert not at_threshold.any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_outputs_follow_from_states_and_what_was_read(backend):
    """y = V_1 h + V_2 s + b, and the slot of a stored state is that state: two runs, one a step shorter."""
    network = AttentiveNetwork((3, 6, 4), top=2, store_every=2, truncate_every=5)
    parameters, inputs, labels = problem(network)
    states = [np.zeros((2, 6))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReminderWarning)
        for t in range(1, 21):
            part = sparse_attentive_backtracking(network, parameters, inputs[:t], labels[:t], backend=backend)
            states.append(part.final_state["hidden"])
    whole = sparse_attentive_backtracking(network, parameters, inputs, labels, backend=backend)
    memory = np.array([states[time] for time in whole.slot_times])
    for t in range(20):
        summary = np.einsum("bn,nbh->bh", whole.weights[t], memory)
        expected = states[t + 1] @ parameters["readout.weight"].T + parameters["readout.bias"]
        expected += summary @ parameters["readout.summary_weight"].T
        np.testing.assert_allclose(whole.outputs[t], expected, atol=1e-12)
    assert np.array_equal(whole.outputs[-1], whole.diagnostics.outputs)
    assert not np.shares_memory(whole.outputs, whole.diagnostics.outputs)


@pytest.mark.parametrize("backend", BACKENDS)
def test_reach_of_a_loss_at_the_end(backend):
    """Credit is at the end, at retrieved states, and behind both up to the next cut."""
    network = AttentiveNetwork((3, 6, 4), top=2, store_every=4, truncate_every=5, readout="last")
    parameters, inputs, labels = problem(network, steps=40)
    given = network, parameters, inputs, labels[-1]
    full = sparse_attentive_backtracking(*given, backend=backend)
    assert full.reach.shape == (40, 2)
    case = draw(np.random.default_rng(1), (2, 4, 5), steps=40, readout="last", zero_start=True)
    found = case.result(backend).reach != 0
    expected = np.array([reach.reachable(case, b) for b in range(2)]).T
    assert np.array_equal(found, expected)
    assert 1 < expected[:35].sum() < 70  # neither nothing nor everything
    none = quiet(
        (3, 6, 4), top=2, store_every=4, truncate_every=5, readout="last", detached=mental_updates("none")
    )
    local = sparse_attentive_backtracking(none, *given[1:], backend=backend)
    assert local.loss == full.loss
    assert np.flatnonzero(local.reach.any(axis=1)).tolist() == [39]  # cut before step 40


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_by_start_and_inputs(backend):
    """Central differences in a direction, truncation off."""
    network = AttentiveNetwork((3, 6, 4), top=3, store_every=2)
    parameters, inputs, labels = problem(network, steps=12)
    rng = np.random.default_rng(4)
    start = {name: 0.3 * rng.standard_normal((2, 6)) for name in ("hidden", "cell")}
    direction = {name: rng.standard_normal((2, 6)) for name in start}, rng.standard_normal(inputs.shape)

    def loss(step):
        moved = {name: value + step * direction[0][name] for name, value in start.items()}
        result = sparse_attentive_backtracking(
            network, parameters, inputs + step * direction[1], labels, initial_state=moved, backend=backend
        )
        return result.loss, result.gap

    result = sparse_attentive_backtracking(
        network, parameters, inputs, labels, initial_state=start, input_gradients=True, backend=backend
    )
    assert result.gap > 1e-4
    slope = (loss(1e-6)[0] - loss(-1e-6)[0]) / 2e-6
    expected = (result.input_gradients * direction[1]).sum()
    expected += sum((result.initial_gradients[name] * direction[0][name]).sum() for name in start)
    assert abs(expected) > 1e-2
    assert slope == pytest.approx(expected, abs=1e-8)
    plain = sparse_attentive_backtracking(
        network, parameters, inputs, labels, initial_state=start, backend=backend
    )
    assert plain.input_gradients is None


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("score", ["mlp", "mlp_tanh_in", "separable"])
def test_float32_stays(backend, score):
    network = AttentiveNetwork((3, 6, 4), top=2, store_every=2, truncate_every=5, score=score)
    rng = np.random.default_rng(2)
    parameters = network.initialise(rng, np.float32)
    for name in ("memory_weight", "query_weight"):
        parameters[f"attention.{name}"] = rng.standard_normal(parameters[f"attention.{name}"].shape).astype(
            np.float32
        )
    inputs, labels = rng.standard_normal((20, 2, 3)).astype(np.float32), rng.integers(0, 4, (20, 2))
    narrow = sparse_attentive_backtracking(
        network, parameters, inputs, labels, input_gradients=True, backend=backend
    )
    arrays = [
        *leaves_of(narrow).values(),
        narrow.outputs,
        narrow.weights,
        narrow.reach,
        *narrow.final_state.values(),
    ]
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}
    wide = {name: value.astype(float) for name, value in parameters.items()}
    full = sparse_attentive_backtracking(network, wide, inputs.astype(float), labels, backend=backend)
    assert np.array_equal(narrow.weights != 0, full.weights != 0)
    assert 1e-9 < error(narrow.gradients, full.gradients) < 1e-2


# -- what is kept ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("options", [*chunks.STRATEGIES, {"strategy": "periodic", "every": 5}])
def test_schedules_give_the_same_bits(backend, options):
    case = draw(np.random.default_rng(0), (2, 2, 5))
    kept = chunks.all_of(case.result(backend, strategy="all_tapes"))
    again = case.result(backend, **chunks.within_budget(case, options))
    for name, value in chunks.all_of(again).items():
        assert np.array_equal(value, kept[name]), name
    assert again.diagnostics.steps_executed > 20 or options["strategy"] == "msm"


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 4), st.integers(1, 6), st.integers(1, 8))
@settings(max_examples=20)
def test_any_chunks_give_the_same_bits(seed, steps, top, store, every):
    network = quiet((2, 3, 3), top=top, store_every=store, truncate_every=3)
    given_ = problem(network, steps, seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReminderWarning)
        kept = chunks.all_of(sparse_attentive_backtracking(network, *given_, input_gradients=True))
        again = sparse_attentive_backtracking(
            network, *given_, strategy="periodic", every=every, input_gradients=True
        )
    for name, value in chunks.all_of(again).items():
        assert np.array_equal(value, kept[name]), name


def test_chunks_need_less_and_run_once_more():
    network = AttentiveNetwork((3, 32, 4), top=3, store_every=4, truncate_every=10)
    given_ = problem(network, 200)
    kept = sparse_attentive_backtracking(network, *given_).diagnostics
    again = sparse_attentive_backtracking(network, *given_, strategy="periodic", every=10).diagnostics
    assert kept.steps_executed == 200
    assert 200 < again.steps_executed <= 400
    assert again.bytes_kept < 0.5 * kept.bytes_kept


def test_the_way_back_touches_survivors_and_thresholds_only(monkeypatch):
    """No term in the square of T: memories and keys of all other slots are NaN, and nobody notices."""
    kernels, touched = attention_kernels("plain"), []
    own = kernels.attend_backward

    def watched(rule, filled, keys, query, weight, squashed, memory, reading, *others):
        batch = range(len(query))
        slots = [
            {*reading.chosen[b, : reading.survivors[b]].tolist(), int(reading.threshold_slot[b])}
            for b in batch
        ]
        touched.append(max(len(row) for row in slots))
        poisoned_keys, poisoned_memory = np.full_like(keys, np.nan), np.full_like(memory, np.nan)
        for b in batch:
            for j in slots[b] - {-1}:
                poisoned_keys[j, b], poisoned_memory[j, b] = keys[j, b], memory[j, b]
        own(rule, filled, poisoned_keys, query, weight, squashed, poisoned_memory, reading, *others)

    network = AttentiveNetwork((3, 6, 4), top=2, truncate_every=5)
    given_ = problem(network, 40)
    expected = sparse_attentive_backtracking(network, *given_, backend="plain")
    monkeypatch.setattr(kernels, "attend_backward", watched)
    found = sparse_attentive_backtracking(network, *given_, backend="plain")
    assert error(found.gradients, expected.gradients) == 0
    assert max(touched) == 3


# -- the self-attention baseline ------------------------------------------------------------------------


def self_attention(v, values, inputs, labels):
    """y = V (2 h + s) + b over an LSTM that is not reminded; all scores kept, raw, memory h_0 .. h_{t-1}."""
    hidden = cell = np.zeros((inputs.shape[1], values["cell.recurrent_weight"].shape[1]))
    past, loss = [hidden], 0
    for x, label in zip(inputs, labels, strict=True):
        z = x @ values["cell.input_weight"].T + hidden @ values["cell.recurrent_weight"].T
        z = z + values["cell.input_bias"] + values["cell.recurrent_bias"]
        i, f, g, o = np.split(z, 4, axis=1)
        i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
        cell = f * cell + i * np.tanh(g)
        hidden = o * np.tanh(cell)
        summary = 0
        for memory in past:
            raised = (
                memory @ values["attention.memory_weight"].T + hidden @ values["attention.query_weight"].T
            )
            summary = summary + (np.tanh(raised) @ values["attention.score_weight"])[:, None] * memory
        past.append(hidden)
        y = (2 * hidden + summary) @ v.T + values["readout.bias"]
        picked = np.take_along_axis(y, label[:, None], 1)[:, 0]
        loss = loss + (np.log(np.exp(y).sum(axis=1)) - picked).mean() / len(inputs)
    return loss


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_self_attention_baseline(backend):
    """Untied the read-out is V_1 h + V_2 s; with V_1 = 2 V and V_2 = V the gradient of V is 2 dV_1 + dV_2."""
    network = AttentiveNetwork((2, 4, 3), top=0, store_every=1, augmented=False)
    parameters, inputs, labels = problem(network, 9)
    v = parameters["readout.summary_weight"]
    parameters["readout.weight"] = 2 * v
    result = sparse_attentive_backtracking(network, parameters, inputs, labels, backend=backend)
    assert result.loss == pytest.approx(self_attention(v, parameters, inputs, labels), rel=1e-12)
    assert ((result.weights != 0).sum(axis=2) == np.arange(1, 10)[:, None]).all()  # M_t = t, h_0 with them
    tied = 2 * result.gradients["readout.weight"] + result.gradients["readout.summary_weight"]
    found = {name: value for name, value in result.gradients.items() if "readout" not in name}
    found |= {"readout.bias": result.gradients["readout.bias"], "tied": tied}
    point = {name: parameters[name] for name in found if name != "tied"} | {"tied": v}
    for name, value in point.items():
        expected = np.zeros(value.shape)
        for index in np.ndindex(value.shape):
            moved = value.astype(complex)
            moved[index] += 1e-30j
            changed = point | {name: moved}
            expected[index] = self_attention(changed["tied"], changed, inputs, labels).imag / 1e-30
        assert np.abs(expected).max() > 1e-4, name
        np.testing.assert_allclose(found[name], expected, rtol=1e-9, atol=1e-13, err_msg=name)


def test_readings_hold_what_survived_and_no_more():
    rng = np.random.default_rng(0)
    network = AttentiveNetwork((3, 6, 4), top=2, store_every=2, truncate_every=5)
    parameters, inputs = network.initialise(rng), rng.standard_normal((40, 2, 3))
    run = attentive_run(network, parameters, inputs)
    assert run.readings.chosen.shape == (40, 2, 2)
    dense = run.weights
    for step in range(40):
        for sample in range(2):
            slots = run.readings.chosen[step, sample]
            alive = slots[slots >= 0]
            assert np.array_equal(np.flatnonzero(dense[step, sample]), alive[dense[step, sample, alive] != 0])
            assert np.array_equal(
                dense[step, sample, alive], run.readings.chosen_weights[step, sample, : len(alive)]
            )
    empty = run.readings.chosen < 0
    assert 0 < empty.sum() < empty.size
    assert not run.readings.chosen_weights[empty].any()
    learnt = sparse_attentive_backtracking(network, parameters, inputs, rng.integers(0, 4, (40, 2)))
    assert np.array_equal(learnt.weights, dense)
    assert np.array_equal(learnt.outputs, run.outputs)


def test_outputs_that_are_not_finite_are_said():
    rng = np.random.default_rng(0)
    network = AttentiveNetwork((3, 6, 4), top=50, store_every=1, truncate_every=5)
    parameters = network.initialise(rng)
    parameters["attention.score_weight"] = np.full(6, 1e200)
    with (
        pytest.warns(RuntimeWarning),
        pytest.raises(
            FloatingPointError, match=r"^scores: expected finite numbers, got .* take small_memory"
        ),
    ):
        attentive_run(network, parameters, rng.standard_normal((40, 2, 3)))
    parameters = network.initialise(rng)
    parameters["readout.weight"][:] = 1.7e308
    with (
        pytest.warns(RuntimeWarning),
        pytest.raises(FloatingPointError, match=r"^outputs: expected finite numbers"),
    ):
        attentive_run(network, parameters, 9 * rng.standard_normal((40, 2, 3)))
