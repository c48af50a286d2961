"""The benchmark looks before it times: equal work is admitted, other work refused, memory counted right."""

from __future__ import annotations

import json
import re
import statistics
import unittest.mock
from dataclasses import replace

import numpy as np
import pytest

from refsnn.models.manifold.graph import SparseMatrix
from validation import (
    adaptive_benchmark,
    attentive_benchmark,
    benchmark,
    convolutional_workload,
    equilibrium_benchmark,
    equilibrium_workload,
    frameworks,
    manifold_benchmark,
    workload,
)
from validation.benchmark import (
    CPU,
    FLOOR,
    PLAIN,
    admit,
    measure,
    one_thread,
    own_checks,
    peak_memory,
    take_turns,
)
from validation.ledger import VacuousError
from validation.workload import NEURON, Workload, difference, draw, run_layer

TINY = {"steps": 12, "batch": 3, "width": 24}
SMALL = (
    equilibrium_workload.Case((3, 8, 5), 9, 4, 0.1),
    equilibrium_workload.Case((3, 6, 8, 5), 9, 4, 0.5),
)


@pytest.fixture
def tiny() -> Workload:
    return draw(1, **TINY)


def test_the_checks_of_refsnn_with_itself_run_and_hold(tiny):
    reference, checks = own_checks(tiny)
    assert reference.spikes.dtype == reference.weight.dtype == reference.inputs.dtype == np.float32
    assert reference.spikes.sum() > 20
    assert len(checks) == 3
    for name, check in checks.items():
        assert check.complaint() is None, name
        assert check.places == 12 * 3 * 24
    assert (
        checks[f"{CPU}, from float64"].weight > 0
    )  # two dtypes: rounding is seen, so that it was looked for


def test_currents_do_not_depend_on_the_order_of_the_sum():
    work = draw(2, steps=20, batch=4, width=128)
    order = np.random.default_rng(3).permutation(128)
    straight = work.inputs @ work.weight.T
    shuffled = work.inputs[..., order] @ work.weight[:, order].T
    assert np.abs(straight).max() > 1
    np.testing.assert_array_equal(straight, shuffled)
    # alive: off the grid the order shows
    rough = (work.weight * np.float32(1.1)).astype(np.float32)
    assert np.any(work.inputs @ rough.T != work.inputs[..., order] @ rough[:, order].T)


@pytest.mark.parametrize(
    ("neuron", "complaint"),
    [
        (replace(NEURON, leak=0.85), "other spikes in"),
        (replace(NEURON, reset="hard"), "other spikes in"),
        (replace(NEURON, detach_reset=False), "same spikes, another gradient: dL/dW by .* dL/dx by"),
        (
            replace(NEURON, surrogate=replace(NEURON.surrogate, slope=3.0)),
            "same spikes, another gradient: dL/dW by",
        ),
    ],
)
def test_another_neuron_is_refused(tiny, neuron, complaint):
    reference = run_layer(tiny, "plain")
    assert admit("the same", lambda: run_layer(tiny, "cpu"), reference).refused is None
    row = admit("another", lambda: run_layer(tiny, "cpu", neuron), reference)
    assert row.refused is not None
    assert re.search(complaint, row.refused)


def test_one_wrong_entry_of_one_gradient_is_refused(tiny):
    reference = run_layer(tiny, "plain")
    for leaf in ("weight", "inputs"):
        wrong = getattr(reference, leaf).copy()
        wrong.flat[5] += np.float32(1e-3) * np.abs(wrong).max()
        assert "another gradient" in difference(reference._replace(**{leaf: wrong}), reference).complaint()
        wrong.flat[5] = np.nan
        assert "another gradient" in difference(reference._replace(**{leaf: wrong}), reference).complaint()


def test_a_transposed_gradient_of_another_shape_is_refused(tiny):
    reference = run_layer(tiny, "plain")
    with pytest.raises(ValueError, match="inputs: expected shape"):
        difference(reference._replace(inputs=reference.inputs[:, :1]), reference)


def test_silence_is_no_equality(tiny):
    silent = replace(tiny, weight=np.zeros_like(tiny.weight))
    with pytest.raises(VacuousError, match="fire at a rate of 0"):
        own_checks(silent)
    with pytest.raises(VacuousError, match="weight are all zero"):
        own_checks(replace(tiny, upstream=np.zeros_like(tiny.upstream)))


def test_peak_memory_of_a_known_allocation():
    size = 1 << 20
    before = np.ones(size, np.uint8)

    def work():
        kept = np.empty(size, np.uint8)
        passing = np.empty(2 * size, np.uint8)
        del passing
        return kept, np.empty(size, np.uint8), before  # 1 + 2 at the peak, 2 at the end; `before` was there

    assert peak_memory(work) == pytest.approx(3 * size, rel=1e-2)
    assert peak_memory(lambda: before) < size // 100


def test_the_layer_needs_less_than_three_arrays_of_its_size():
    work = draw(4, steps=40, batch=32, width=64)
    units = peak_memory(lambda: run_layer(work, "cpu")) / work.unit
    weight = work.weight.nbytes / work.unit
    # spikes, h with the gradient over it, a quarter for the product, the weight gradient
    assert units == pytest.approx(2.25 + weight, abs=0.1)


def test_turns_are_taken_and_warm_ups_do_not_count():
    now, order = [0.0], []

    def work(name, seconds):
        def run():
            order.append(name)
            now[0] += seconds if len(order) > 4 else 100.0  # the warm-ups of both

        return run

    times = take_turns({"a": work("a", 0.5), "b": work("b", 0.25)}, 7, clock=lambda: now[0])
    assert order == ["a", "b"] * 9
    assert times == {"a": [500.0] * 7, "b": [250.0] * 7}


def test_nothing_is_timed_where_the_backends_disagree(tiny, monkeypatch):
    def disagreeing(work, backend, neuron=NEURON):
        return run_layer(work, backend, neuron if backend == "plain" else replace(neuron, leak=0.8))

    monkeypatch.setattr(benchmark, "run_layer", disagreeing)
    checks, rows = measure(tiny, 7)
    assert checks[CPU].complaint() is not None
    assert all(row.milliseconds == [] for row in rows)


def test_a_library_that_does_other_work_is_not_timed(tiny, monkeypatch):
    def build(neuron):
        return lambda work: lambda: run_layer(work, "plain", neuron)

    def broken(work):
        raise RuntimeError("no such option")

    adapters = (
        frameworks.Adapter("the same", ("numpy",), build(NEURON)),
        frameworks.Adapter("another", ("numpy",), build(replace(NEURON, leak=0.8))),
        frameworks.Adapter("broken", ("numpy",), broken),
        frameworks.Adapter("absent", ("numpy", "no-such-distribution"), broken),
    )
    monkeypatch.setattr(frameworks, "ADAPTERS", adapters)
    monkeypatch.setattr(
        frameworks, "missing", lambda adapter, ask=frameworks.missing: _no_torch(adapter, ask)
    )
    monkeypatch.setattr(frameworks, "peak_memory", lambda run: 0)
    _, rows = measure(tiny, 7, with_frameworks=True)
    by_name = {row.name.split(" (")[0]: row for row in rows}
    assert by_name["the same"].refused is None
    assert len(by_name["the same"].milliseconds) == 7
    for name, reason in (
        ("another", "other spikes"),
        ("broken", "RuntimeError: no such option"),
        ("absent", "no-such-distribution is not installed"),
    ):
        assert reason in by_name[name].refused
        assert by_name[name].milliseconds == []


def _no_torch(adapter, ask):
    return "left out of this test" if adapter is frameworks.PRODUCTS else ask(adapter)


def test_equilibrium_propagation_is_timed_beside_its_products():
    found = equilibrium_benchmark.measure(SMALL, 1, 7)
    assert [steps.name for steps in found] == ["3-8-5, T = 9, K = 4", "3-6-8-5, T = 9, K = 4"]
    for steps in found:
        assert steps.refused is None
        assert len(steps.milliseconds) == len(steps.floor) == 7
        assert steps.apart["float64"] <= 1e-10
        assert 0 < steps.apart["float32 from float64"] <= 1e-3  # rounding is seen, so that it was looked for


def test_the_floor_does_every_product_of_the_step(monkeypatch):
    """2 a coupling and step, that of the input once, and the update's: counted by shapes."""
    training = equilibrium_workload.draw(SMALL[1], 2)
    run = equilibrium_workload.products_alone(training)
    counts: dict[tuple, int] = {}
    right = np.matmul

    def counting(left, right_factor, out):
        key = (*left.shape, right_factor.shape[1])
        counts[key] = counts.get(key, 0) + 1
        assert out.shape == (left.shape[0], right_factor.shape[1])
        return right(left, right_factor, out=out)

    monkeypatch.setattr(np, "matmul", counting)
    run()
    steps = 9 + 4
    assert counts == {
        (20, 5, 8): 1,  # x W^T
        (20, 6, 3): steps, (20, 3, 6): steps, (20, 8, 6): steps, (20, 6, 8): steps,
        (3, 20, 6): 2, (6, 20, 8): 2, (8, 20, 5): 1,
    }  # fmt: skip


def test_another_gradient_of_equilibrium_propagation_is_not_timed(monkeypatch):
    def other(training, backend, run=equilibrium_workload.Training.run):
        nudge = training.case.nudge * (1.001 if backend == "cpu" else 1)
        return run(training._replace(case=training.case._replace(nudge=nudge)), backend)

    monkeypatch.setattr(equilibrium_workload.Training, "run", other)
    (steps,) = equilibrium_benchmark.measure(SMALL[:1], 1, 7)
    assert "another gradient: float64 apart by" in steps.refused
    assert steps.milliseconds == []


def small_stack(seed, steps, draw=convolutional_workload.draw):
    return draw(seed, steps, batch=2, plan=(4, "pool", 4), image=(3, 8, 8))


def test_the_floor_of_a_convolutional_stack_is_all_its_products():
    """As many multiplications as forward, weight gradient and transpose of each convolution have."""
    stack = small_stack(0, 4)
    counted = []

    def counting(one, other, out):
        counted.append(one.shape[0] * one.shape[1] * other.shape[1])
        return np.dot(one, other, out=out)

    with unittest.mock.patch.object(convolutional_workload.np, "matmul", counting):
        convolutional_workload.products_and_gathers_alone(stack)()
    samples, first, second = 4 * 2, 4 * 3 * 9 * 64, 4 * 4 * 9 * 16
    assert sum(counted) == samples * (2 * first + 3 * second)


def test_a_dead_convolutional_stack_is_not_timed():
    stack = small_stack(0, 4)
    assert set(stack.runs()) == {*convolutional_workload.AGAINST, "BPTT, loss at each step"}
    with pytest.raises(VacuousError, match="a layer is dead"):
        convolutional_workload.draw(0, 1, 1, (1, 1, 1, 1, 1), (1, 2, 2))


def few_neurons(seed, draw=adaptive_benchmark.draw):
    return draw(seed, steps=30, batch=3, lif=12, adaptive=10)


def test_the_floor_of_adaptive_neurons_adds_for_every_spike(monkeypatch):
    """Forward one row of weights each, backward one row of adjoints, of inputs and neurons."""
    work = few_neurons(0)
    matrices, right = [], adaptive_benchmark.sparse.csr_array
    monkeypatch.setattr(
        adaptive_benchmark.sparse, "csr_array", lambda array: matrices.append(right(array)) or matrices[-1]
    )
    adaptive_benchmark.moves_and_additions_alone(work)()
    heard, said = matrices
    assert heard.nnz == len(work.events.sources)
    result = work.run(adaptive_benchmark.adaptive_bptt)
    last = np.count_nonzero(result.final_state["layer.1.spikes"])  # is not sent any more
    assert said.nnz == round(result.rates.sum() * 30 * 3) - last > 50
    assert (heard.shape, said.shape) == ((90, 80), (90, 22))


def test_another_gradient_of_adaptive_neurons_is_not_timed(monkeypatch):
    monkeypatch.setattr(adaptive_benchmark, "draw", few_neurons)
    wrong = adaptive_benchmark.ALGORITHMS["from the raster"]

    def other(network, parameters, events, targets, *, backend):
        result = wrong(network, parameters, events, targets, backend=backend)
        result.gradients["readout.bias"][0] *= 1 + 1e-9
        return result

    monkeypatch.setitem(adaptive_benchmark.ALGORITHMS, "from the raster", other)
    floor, whole, raster = adaptive_benchmark.measure(0, 7)
    assert "another gradient: apart by" in raster.refused
    assert raster.milliseconds == []
    assert whole.refused is None
    assert len(whole.milliseconds) == len(floor.milliseconds) == 7
    assert "not timed" in str([*adaptive_benchmark.table([floor, whole, raster]).columns[-1].cells])


def test_sparse_attention_keeps_what_its_sweep_needs_and_little_more(monkeypatch):
    monkeypatch.setattr(attentive_benchmark, "LENGTHS", (50, 100))
    monkeypatch.setattr(attentive_benchmark, "ROUNDS", 1)
    short, long = attentive_benchmark.measure(0)
    for line in (short, long):
        assert line.kept == pytest.approx(line.needed, rel=0.03)  # one array of H numbers more would be 0.14
        assert line.kept_again < line.needed_again  # the last segment needs no slots of its own
        assert line.forward[0] > 0
        assert line.backward[0] > 0
    slots, sizes = 51, attentive_benchmark.UNITS
    assert long.memory == 2 * 2 * slots * attentive_benchmark.BATCH * sizes * 8
    assert long.kept == pytest.approx(2 * short.kept, rel=0.03)


def few_nodes(seed, draw=manifold_benchmark.draw, **sizes):
    return draw(seed, nodes=40, edges=80, features=60)


def test_both_ways_back_on_a_graph_are_timed_against_each_other(monkeypatch):
    monkeypatch.setattr(manifold_benchmark, "draw", few_nodes)
    monkeypatch.setattr(manifold_benchmark, "STEPS", (2, 4))
    lines = manifold_benchmark.measure(0, 2)
    names = [manifold_benchmark.FLOOR, manifold_benchmark.GATHERED, manifold_benchmark.EPOCH]
    for steps in (2, 4):
        names += [f"back by the manifold, T = {steps}", f"back by spikes, T = {steps}"]
    assert [line.name for line in lines] == names
    assert [line.aim != "" for line in lines] == [False, False, True, False, False, False, True]
    ratios = {line.name: line.ratio for line in lines}
    assert ratios["back by spikes, T = 4"] > 1
    assert ratios[manifold_benchmark.EPOCH] > 1


def test_the_products_of_an_epoch_are_its_products_either_way(monkeypatch):
    work, asked = manifold_benchmark.draw(0, nodes=50, edges=100, features=400), []
    original = SparseMatrix.propagate

    def spy(self, signals, backend="cpu"):
        asked.append((self.rows, self.columns, len(self.values), signals.shape))
        return original(self, signals, backend)

    monkeypatch.setattr(SparseMatrix, "propagate", spy)
    manifold_benchmark.epoch_of(work, 0)()
    epoch = sorted(asked)
    assert len(epoch) == 5  # X W, Ahat of it, Ahat r, and both transposed
    for gathered, calls in ((False, 5), (True, 3)):
        products = manifold_benchmark.products_of(work, gathered)
        asked.clear()
        products()
        assert len(asked) == calls
        assert gathered or sorted(asked) == epoch
    product = work.inputs.adjacencies[0].scipy() @ work.inputs.features.scipy()
    assert [call[2] for call in asked].count(product.nnz) == 2


def test_a_silent_graph_is_not_timed(monkeypatch):
    work = few_nodes(0)
    work.parameters["layer.0.weight"] *= 0
    with pytest.raises(VacuousError, match="the encoder is silent"):
        manifold_benchmark.epoch_of(work, 0)()


def test_the_exponent_of_a_straight_line_is_one():
    lines = [attentive_benchmark.Line(steps, [2.0 * steps], [0.1 * steps**2]) for steps in (10, 20, 50)]
    assert attentive_benchmark.exponent(lines, "forward") == pytest.approx(1)
    assert attentive_benchmark.exponent(lines, "backward") == pytest.approx(2)


def test_the_command_prints_a_table_and_writes_the_figures(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(workload, "draw", lambda seed: draw(seed, **TINY))
    monkeypatch.setattr(equilibrium_workload, "CASES", SMALL)
    monkeypatch.setattr(convolutional_workload, "draw", small_stack)
    monkeypatch.setattr(adaptive_benchmark, "draw", few_neurons)
    monkeypatch.setattr(attentive_benchmark, "LENGTHS", (20, 40))
    monkeypatch.setattr(manifold_benchmark, "draw", few_nodes)
    monkeypatch.setattr(manifold_benchmark, "STEPS", (2, 4))
    monkeypatch.setattr(manifold_benchmark, "large_graph", lambda: 1e9)
    target = tmp_path / "figures.json"
    assert benchmark.main(["--repeats", "7", "--seed", "1", "--json", str(target)]) == 0
    printed = capsys.readouterr().out
    assert "equal spikes in all 864 places" in printed
    assert "aim: ratio" in printed
    entries = json.loads(target.read_text(encoding="utf-8"))
    assert [row["name"] for row in entries["rows"]] == [FLOOR, CPU, PLAIN]
    assert all(len(row["milliseconds"]) == 7 for row in entries["rows"])
    assert entries["rows"][0]["ratio"] == 1
    assert all(check["refused"] is None for check in entries["checks"].values())
    assert entries["workload"]["unit_bytes"] == 864 * 4
    assert "Equilibrium propagation" in printed
    lines = {(line["steps"], line["name"]): line for line in entries["convolutional_stack"]}
    assert lines[16, "OTTT"]["against"] == "BPTT, loss at each step"
    assert lines[16, "OTTT"]["aim"] == 1.2
    times = {name: lines[16, name]["milliseconds"] for name in ("OTTT", "BPTT, loss at each step")}
    medians = [statistics.median(each) for each in times.values()]
    assert lines[16, "OTTT"]["ratio"] == pytest.approx(medians[0] / medians[1])
    assert [steps["refused"] for steps in entries["equilibrium_propagation"]] == [None, None]
    neurons = {line["name"]: line for line in entries["adaptive_neurons"]}
    assert neurons["from the raster"]["bytes_kept"] < neurons["BPTT"]["bytes_kept"]
    assert all(line["ratio"] > 0 and line["refused"] is None for line in neurons.values())
    assert "Adaptive neurons" in printed
    assert all(steps["ratio"] > 0 for steps in entries["equilibrium_propagation"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--repeats", "6"], "--repeats: expected at least 7, got 6"),
        (["--seed", "-1"], "--seed: expected an integer of at least 0, got -1"),
        (["--json", "no/such/folder/x.json"], "--json: expected a file in an existing folder"),
    ],
)
def test_a_wrong_command_line_is_refused(arguments, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        benchmark.main(arguments)
    assert message in capsys.readouterr().err


def test_one_thread_ends_as_it_began():
    import numba

    before = numba.get_num_threads()
    with one_thread():
        assert numba.get_num_threads() == 1
    assert numba.get_num_threads() == before
