"""The yardstick table: its figures where they are known, what is refused, and memory against T."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refsnn.algorithms.bptt import bptt
from refsnn.algorithms.ottt import ottt
from refsnn.algorithms.rate_backpropagation import rate_backpropagation
from refsnn.algorithms.truncated_bptt import truncated_bptt
from refsnn.comparison import Comparison, Leaf, Row, as_csv, as_text, compare, default_names, peak_memory
from refsnn.comparison.measures import cosine_and_error, rounding
from refsnn.comparison.table import show
from refsnn.equations.spiking import SpikingNeuron
from refsnn.models.builders.dense import dense_network
from refsnn.models.builders.residual import preactivation_resnet34
from refsnn.models.builders.vgg import vgg
from refsnn.models.contract import StaticInput

ROOT = Path(__file__).resolve().parent.parent
EXACT = 1e-12


def arguments(graph, seed=0, steps=6, batch=3, dtype=np.float64, static=False):
    """Parameters, inputs and targets of a live network."""
    rng = np.random.default_rng(seed)
    parameters = graph.initialise(rng, dtype, gain=2.5, bias_mean=0.3, bias_deviation=0.3)
    shape = (batch, *graph.input_shape) if static else (steps, batch, *graph.input_shape)
    inputs = rng.random(shape).astype(dtype)
    return (
        parameters,
        StaticInput(inputs, steps) if static else inputs,
        rng.integers(graph.classes, size=batch),
    )


def live(row):
    """A figure on silence is no figure."""
    rates = row.spike_rates.values()
    return bool(row.spike_rates) and all(0.02 < rate < 0.98 for rate in rates) and row.worst().norm > 0


DEEP = dense_network((5, 8, 8, 3), SpikingNeuron(leak=0.7))


# -- figures that are known ----------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**32 - 1), detached=st.booleans())
def test_as_many_modes_as_steps_are_bptt(seed, detached):
    graph = dense_network((5, 8, 8, 3), SpikingNeuron(leak=0.7, detach_reset=detached))
    names = ["bptt_full", "bptt_detached", "truncated_6", "galerkin_6", "galerkin_2"]
    table = compare(graph, *arguments(graph, seed), algorithms=names, repeat=1)
    own, other = ("detached", "full") if detached else ("full", "detached")
    for name in (f"bptt_{own}", "truncated_6", "galerkin_6"):
        for leaf in table.row(name).leaves.values():
            if leaf.norm > 1e-6:  # a leaf may be silent under a drawn seed
                assert getattr(leaf, f"error_{own}") <= EXACT
                assert getattr(leaf, f"cosine_{own}") >= 1 - EXACT
    if live(table.row("bptt_full")):
        assert getattr(table.row(f"bptt_{own}").worst(), f"error_{other}") > 1e-3
        assert getattr(table.row("galerkin_2").worst(), f"error_{own}") > 1e-3


def test_one_layer_under_static_input():
    """Rates are exact there, to BPTT with the reset as the neuron has it."""
    graph = dense_network((5, 9, 3), SpikingNeuron(leak=0.7))
    table = compare(
        graph,
        *arguments(graph, static=True),
        algorithms=["rate_multi_step", "rate_single_step", "galerkin_1", "bptt_full", "rtrl"],
        repeat=1,
    )
    assert live(table.row("rate_multi_step"))
    for name in ("rate_multi_step", "rate_single_step", "galerkin_1", "rtrl"):
        assert table.row(name).worst().error_detached <= EXACT
        assert table.row(name).worst().cosine_detached >= 1 - EXACT
        assert table.row(name).worst().error_full > 1e-2
    changing = compare(graph, *arguments(graph), algorithms=["rate_multi_step"], repeat=1)
    assert changing.row("rate_multi_step").worst().error_detached > 1e-2


def test_online_algorithms_are_measured_by_bptt_of_their_own_loss():
    table = compare(DEEP, *arguments(DEEP), repeat=1)
    under = {(row.algorithm, row.loss_over) for row in table.rows}
    assert {("bptt_full", "mean_readout"), ("bptt_full", "each_step"), ("ottt_paper", "each_step")} <= under
    assert ("ottt_paper", "mean_readout") not in under
    assert ("rate_multi_step", "each_step") not in under
    assert [row.algorithm for row in table.rows[:8]] == [*default_names(6)[:8]]
    assert any("stand apart" in note for note in table.notes)
    for row in table.rows:
        if row.refused is None:
            assert row.loss == table.row("bptt_full", row.loss_over).loss
    assert table.row("bptt_full", "mean_readout").loss != table.row("bptt_full", "each_step").loss
    # the last population's weights, and the read-out's, are BPTT's with a detached reset
    local = table.row("ottt_exact_local")
    assert live(local)
    for name, leaf in local.leaves.items():
        if name.startswith(("layer.2", "readout")):
            assert leaf.error_detached <= EXACT
        else:
            assert leaf.error_detached > 1e-2
    assert table.row("ottt_paper").leaves["readout.weight"].error_detached > 1e-2


def test_under_a_loss_at_each_step_all_stand_together():
    graph = DEEP.with_loss(loss_over="each_step")
    table = compare(
        graph, *arguments(graph), algorithms=["sltt", "rate_multi_step", "bptt_detached"], repeat=1
    )
    assert [(row.algorithm, row.loss_over) for row in table.rows] == [
        ("sltt", "each_step"),
        ("rate_multi_step", "each_step"),
        ("bptt_detached", "each_step"),
    ]
    assert table.notes == ()


def test_yardsticks_do_not_depend_on_the_switches_of_the_network():
    cut = DEEP.with_edges(leak=False)
    names = ["bptt_full", "bptt_detached", "truncated_1", "truncated_6"]
    one, other = (compare(g, *arguments(g), algorithms=names, repeat=1) for g in (DEEP, cut))
    for name in names[:2]:
        assert one.row(name).leaves == other.row(name).leaves
    # what is no yardstick keeps the switches: without the leak every window is one step
    assert other.row("truncated_6").leaves == other.row("truncated_1").leaves
    assert one.row("truncated_6").leaves != one.row("truncated_1").leaves


def test_leaves_are_the_definitions():
    parameters, inputs, targets = arguments(DEEP)
    table = compare(DEEP, parameters, inputs, targets, algorithms=["rate_multi_step"], repeat=1)
    rate = rate_backpropagation(DEEP, parameters, inputs, targets, scale="bptt")
    for switch, reset in (("full", True), ("detached", False)):
        truth = bptt(DEEP.with_edges(reset=reset), parameters, inputs, targets).gradients
        for name, leaf in table.row("rate_multi_step").leaves.items():
            a, b = rate.gradients[name].ravel(), truth[name].ravel()
            error = np.sqrt(((a - b) ** 2).sum() / (b**2).sum())
            cosine = (a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum())
            assert getattr(leaf, f"error_{switch}") == pytest.approx(error, rel=1e-12)
            assert getattr(leaf, f"cosine_{switch}") == pytest.approx(cosine, rel=1e-12)
            assert leaf.norm == pytest.approx(np.sqrt((a**2).sum()), rel=1e-12)
    row = table.row("rate_multi_step")
    assert row.bytes_kept == rate.diagnostics.bytes_kept
    assert (row.margin, row.spike_rates) == (rate.diagnostics.margin, rate.diagnostics.spike_rates)
    layers = row.layers()
    assert list(layers) == ["layer.1", "layer.2", "readout"]
    both = row.leaves["layer.1.weight"], row.leaves["layer.1.bias"]
    assert layers["layer.1"].error_full == max(leaf.error_full for leaf in both)
    assert layers["layer.1"].cosine_detached == min(leaf.cosine_detached for leaf in both)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("backend", ["plain", "cpu"])
def test_backends_and_dtypes(dtype, backend):
    table = compare(
        DEEP, *arguments(DEEP, dtype=dtype), backend=backend, algorithms=["galerkin_6", "ottt_exact_local"]
    )
    assert (table.dtype, table.backend, table.steps, table.batch) == (np.dtype(dtype).name, backend, 6, 3)
    assert table.numbers == 5 * 8 + 8 + 8 * 8 + 8 + 8 * 3 + 3
    assert table.row("galerkin_6").worst().error_detached <= 1e4 * np.finfo(dtype).eps


def test_sltt_k_learns_at_the_same_steps_each_time():
    learns = ["sltt_2", "sltt_6", "sltt"]
    rng = np.random.default_rng(5)
    one, again = (compare(DEEP, *arguments(DEEP), algorithms=learns, repeat=1, rng=rng) for _ in range(2))
    assert one.row("sltt_2").leaves == again.row("sltt_2").leaves
    assert one.row("sltt_2").leaves != one.row("sltt").leaves
    assert one.row("sltt_6").leaves == one.row("sltt").leaves
    other = compare(DEEP, *arguments(DEEP), algorithms=learns, repeat=1, rng=np.random.default_rng(6))
    assert other.row("sltt_2").leaves != one.row("sltt_2").leaves


def test_a_recurrent_layer():
    graph = dense_network((5, 8, 3), SpikingNeuron(leak=0.7), recurrent=True)
    table = compare(graph, *arguments(graph), repeat=1)
    assert "delayed" in table.row("galerkin_2").refused
    assert table.row("rtrl").worst().error_detached <= EXACT
    assert live(table.row("eprop"))
    # without resets and recurrence e-prop and OTTT are the same gradient
    for name, leaf in table.row("eprop").leaves.items():
        assert leaf.error_detached == pytest.approx(
            table.row("ottt_exact_local").leaves[name].error_detached, rel=1e-9, abs=1e-14
        )
    assert table.row("eprop").leaves["layer.1.recurrent.weight"].error_detached > 1e-3


# -- what cannot be ------------------------------------------------------------------------------------------


def test_what_an_algorithm_cannot_treat_is_a_row():
    graph = vgg((4, "pool", 4), 3, (2, 4, 4), pooling="max", normalisation="batch", over="step")
    table = compare(graph, *arguments(graph, batch=4), repeat=1)
    refused = {row.algorithm: row.refused for row in table.rows if row.refused is not None}
    assert "max pooling" in refused["galerkin_2"]
    assert (
        "batch normalisation" in refused["ottt_official_code"]
        or "max pooling" in refused["ottt_official_code"]
    )
    assert refused.keys() >= {"galerkin_4", "ottt_paper", "ndot", "eprop"}
    assert refused.keys().isdisjoint({"bptt_full", "rate_multi_step", "rate_single_step", "sltt", "sltt_3"})
    row = table.row("eprop")
    assert (row.loss, row.leaves, row.peak_bytes, row.seconds) == (None, {}, None, None)
    text = as_text(table)
    assert "refused" in text
    assert refused["eprop"] in text


def test_forward_mode_of_a_large_network_is_refused():
    graph = dense_network((50, 50, 50))
    table = compare(graph, *arguments(graph), algorithms=["rtrl"], repeat=1)
    assert table.row("rtrl").refused.startswith("parameters: expected at most 1000 numbers for forward mode")


def test_more_modes_than_steps():
    table = compare(DEEP, *arguments(DEEP, steps=3), algorithms=["galerkin_4", "galerkin_3"], repeat=1)
    assert table.row("galerkin_4").refused == "n_modes: expected at most T = 3, got 4; K = T is BPTT already"
    assert table.row("galerkin_3").worst().error_detached <= EXACT


def test_a_window_longer_than_the_sequence():
    table = compare(DEEP, *arguments(DEEP, steps=3), algorithms=["truncated_4", "truncated_3"], repeat=1)
    assert table.row("truncated_4").refused == "window: expected at most T = 3, got 4; W = T is BPTT already"
    assert table.row("truncated_3").refused is None


def test_without_a_yardstick_there_are_no_figures():
    """BPTT steps through a recurrent network, and cannot normalise over the sequence there."""
    from refsnn.models.operators.dense import Dense
    from refsnn.models.operators.normalisation import BatchNormalisation
    from refsnn.models.spiking_graph import Node, Population, SpikingGraph, Sum

    graph = SpikingGraph(
        (
            Node("current", ("input",), Dense(4)),
            Node("norm", ("current",), BatchNormalisation()),
            Node("back", ("spikes",), Dense(4), delayed=True),
            Node("total", ("norm", "back"), Sum()),
            Node("spikes", ("total",), Population()),
            Node("readout", ("spikes",), Dense(2)),
        ),
        (3,),
    )
    table = compare(graph, *arguments(graph), repeat=1)
    assert any(note.startswith("BPTT cannot treat this network") for note in table.notes)
    assert all(row.refused for row in table.rows)
    assert "no yardstick" in as_text(table)


def test_silence_is_said():
    parameters, inputs, targets = arguments(DEEP)
    parameters["layer.1.bias"] -= 100
    table = compare(DEEP, parameters, inputs, targets, algorithms=["rate_multi_step"], repeat=1)
    assert "layer.1 never fires: what is below it has nothing to learn from" in table.notes
    assert any("the gradient of layer.1.weight is 0 but for rounding" in note for note in table.notes)
    leaf = table.row("rate_multi_step").leaves["layer.1.weight"]
    assert (leaf.cosine_full, leaf.error_full) == (None, None)


def test_a_bias_in_front_of_a_normalisation_is_only_rounding():
    graph = preactivation_resnet34(3, (1, 16, 16), channels=(2, 4), blocks=(1, 1))
    table = compare(graph, *arguments(graph, steps=3), algorithms=["truncated_3", "truncated_1"], repeat=1)
    assert live(table.row("truncated_3"))
    assert any("stem.conv.bias is 0 but for rounding" in note for note in table.notes)
    leaf = table.row("truncated_3").leaves["stem.conv.bias"]
    assert (leaf.cosine_detached, leaf.error_detached) == (None, None)
    for name in ("stem.conv.weight", "stem.norm.beta", "readout.bias"):
        assert table.row("truncated_3").leaves[name].error_detached <= EXACT
    assert table.row("truncated_1").leaves["stem.conv.weight"].error_detached > 1e-3


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        ("sltt", "expected a sequence of names, got 'sltt'"),
        ([], "expected at least one name"),
        (["sltt", "sltt"], "each once"),
        (["bptt"], r"names among bptt_full, .* got 'bptt'"),
        (["galerkin"], "got 'galerkin'"),
        (["galerkin_0"], "got 'galerkin_0'"),
        (["galerkin_2x"], "got 'galerkin_2x'"),
        ([3], "expected a sequence of names"),
    ],
)
def test_bad_names(names, complaint):
    with pytest.raises((TypeError, ValueError), match=f"algorithms: .*{complaint}"):
        compare(DEEP, *arguments(DEEP), algorithms=names)


def test_bad_arguments_are_no_rows():
    parameters, inputs, targets = arguments(DEEP)
    inputs[1, 2, 3] = np.nan
    with pytest.raises(ValueError, match="inputs: expected finite numbers"):
        compare(DEEP, parameters, inputs, targets)
    with pytest.raises(ValueError, match="targets: expected labels in"):
        compare(DEEP, parameters, inputs[:1], targets + 9)
    for options, complaint in (
        ({"backend": "gpu"}, "backend"),
        ({"repeat": 0}, "repeat"),
        ({"rng": 3}, "rng"),
    ):
        with pytest.raises((TypeError, ValueError), match=complaint):
            compare(DEEP, *arguments(DEEP), **options)
    with pytest.raises(TypeError, match="graph: expected a SpikingGraph"):
        compare(None, *arguments(DEEP))
    table = compare(DEEP, *arguments(DEEP), algorithms=["sltt"], repeat=1)
    with pytest.raises(KeyError, match="algorithm: expected one of 'sltt', got 'rtrl'"):
        table.row("rtrl")
    with pytest.raises(KeyError, match="algorithm: expected one of none under 'mean_readout', got 'sltt'"):
        table.row("sltt", "mean_readout")
    with pytest.raises(
        ValueError, match="loss_over: expected one of 'mean_readout', 'each_step', got 'mean'"
    ):
        table.row("sltt", "mean")
    with pytest.raises(KeyError, match=r"leaves: expected one of .*'readout\.bias', got 'readout\.wait'"):
        table.row("sltt").leaves["readout.wait"]
    assert table.as_dict()["rows"][0]["leaves"].keys() == table.rows[0].leaves.keys()
    for write in (as_text, as_csv, lambda one: show(one, io.StringIO())):
        with pytest.raises(TypeError, match=r"comparison: expected a Comparison such as .*, got 'x'"):
            write("x")
    with pytest.raises(ValueError, match="width: expected an integer of at least 1, got 0"):
        as_text(table, 0)


# -- measures ------------------------------------------------------------------------------------------------


def test_cosine_and_error():
    a, b = np.array([[3.0, 4.0]]), np.array([[3.0, -4.0]])
    assert cosine_and_error(a, b) == (pytest.approx(-7 / 25), pytest.approx(8 / 5))
    assert cosine_and_error(0 * a, b) == (None, 1.0)
    assert cosine_and_error(1e-8 * a, 1e-9 * b, nothing=1e-7) == (None, None)
    assert cosine_and_error(a, 1e-9 * b, nothing=1e-7) == (None, np.inf)
    # the squares of these vanish in float32
    tiny = np.full(4, 1e-30, np.float32)
    assert cosine_and_error(2 * tiny, tiny) == (pytest.approx(1.0), pytest.approx(1.0))
    # sums in float32 would be off by 1e-7
    a, b = np.random.default_rng(0).standard_normal((2, 10_000)).astype(np.float32)
    wide = cosine_and_error(a.astype(float), b.astype(float))
    assert cosine_and_error(a, b) == (pytest.approx(wide[0], rel=1e-12), pytest.approx(wide[1], rel=1e-12))
    assert rounding({"a": tiny, "b": np.ones(1, np.float32)}) == pytest.approx(100 * 2**-23)


def test_peak_memory_counts_what_is_held_at_once():
    def one_after_the_other():
        for _ in range(5):
            np.ones(125_000)
        return "done"

    kept = np.ones(1_000_000)  # before the call: not counted
    result, peak = peak_memory(one_after_the_other)
    assert result == "done"
    assert 1_000_000 <= peak < 1_100_000
    _, peak = peak_memory(lambda: [np.ones(125_000) for _ in range(5)])
    assert 5_000_000 <= peak < 5_100_000
    assert kept.nbytes == 8_000_000


def test_peak_memory_while_somebody_else_traces():
    tracemalloc.start()
    try:
        kept = np.ones(1_000_000)
        higher = np.ones(2_000_000)
        del higher
        _, peak = peak_memory(lambda: np.ones(125_000))
        assert tracemalloc.is_tracing()
        assert tracemalloc.get_traced_memory()[0] >= kept.nbytes
    finally:
        tracemalloc.stop()
    assert 1_000_000 <= peak < 1_100_000


def test_the_first_call_is_not_timed(monkeypatch):
    """A call that compiles is slow; only those behind it count."""
    from refsnn.comparison import comparing

    calls = []

    def counted(call, repeat):
        calls.append(repeat)
        return 0.25

    monkeypatch.setattr(comparing, "best_time", counted)
    table = compare(DEEP, *arguments(DEEP), algorithms=["sltt"], repeat=7)
    assert (calls, table.row("sltt").seconds) == ([7], 0.25)


# -- text ----------------------------------------------------------------------------------------------------


def test_text_json_and_csv_have_every_figure():
    table = compare(DEEP, *arguments(DEEP), algorithms=["bptt_full", "eprop", "ottt_paper"], repeat=1)
    text = as_text(table, width=60)
    assert max(len(line) for line in text.splitlines() if line.startswith("ottt")) <= 60 + 30
    for layer in ("layer.1", "layer.2", "readout"):
        assert layer in text
    records = json.loads(json.dumps(table.as_dict(), allow_nan=False))
    leaf = records["rows"][-1]["leaves"]["layer.1.weight"]
    assert leaf["cosine_full"] == table.row("ottt_paper").leaves["layer.1.weight"].cosine_full
    lines = as_csv(table).splitlines()
    # bptt under two losses and OTTT, six arrays each; e-prop refused
    assert len(lines) == 1 + 6 + 6 + 1 + 6
    assert sum(line.startswith("eprop,each_step,") for line in lines) == 1


def test_each_figure_stands_in_its_column():
    leaves = {
        "layer.1.weight": Leaf(1.0, 0.1, 0.2, 0.3, 0.4),
        "layer.1.bias": Leaf(1.0, 0.05, 0.1, 0.6, 0.9),
        "readout.weight": Leaf(1.0, None, None, 1.0, 0.0),
    }
    row = Row("sltt", "each_step", None, 0.625, leaves, 1234, 56_700, 0.0125, {"layer.1": 0.25}, 0.5)
    rows = row, Row("eprop", "each_step", "too deep")
    table = Comparison(rows, 4, 2, 9, "float64", "cpu", ("mind the gap",))
    lines = as_text(table).splitlines()
    assert lines[:2] == [
        "4 steps, batch of 2, 9 parameters in float64, backend cpu.",
        "Spike rates: layer.1 0.25; margin to threshold 0.5.",
    ]
    words = [" ".join(line.split()) for line in lines]
    assert [line for line in words if line.startswith("sltt")] == [
        "sltt 0.0500 2.0e-01 0.3000 9.0e-01 1.23 kB 56.7 kB 12.5 ms 0.625",
        "sltt 0.0500 2.0e-01 - -",
        "sltt 0.3000 9.0e-01 1.0000 0",
    ]
    assert [line for line in words if line.startswith("eprop")] == ["eprop refused", "eprop: too deep"]
    assert "Note: mind the gap." in lines
    titles = [lines[index - 1] for index, line in enumerate(lines) if line.startswith("algorithm")]
    assert [title.split(" to ")[-1] for title in titles[1:]] == ["full BPTT", "detached BPTT"]
    # a narrow terminal gets the layers in several tables
    narrow = as_text(table, width=30).splitlines()
    assert len([line for line in narrow if line.startswith("sltt")]) == 5


def test_infinity_in_json_is_text():
    table = compare(DEEP, *arguments(DEEP), algorithms=["sltt"], repeat=1)
    row = table.rows[0]
    leaf = replace(row.leaves["layer.1.bias"], error_full=float("inf"))
    odd = replace(table, rows=(replace(row, leaves={"layer.1.bias": leaf}),))
    assert (
        json.loads(json.dumps(odd.as_dict(), allow_nan=False))["rows"][0]["leaves"]["layer.1.bias"][
            "error_full"
        ]
        == "inf"
    )
    assert "inf" in as_text(odd)


# -- memory against the number of steps ----------------------------------------------------------------------


@pytest.mark.parametrize("readout_leak", [0.0, 0.5])
@pytest.mark.parametrize("loss_over", ["mean_readout", "each_step"])
def test_both_modes_of_rates_agree_under_every_loss(loss_over, readout_leak):
    """The single-step mode adds the errors of the read-out up; the multi-step mode keeps all of them."""
    graph = DEEP.with_loss(loss_over=loss_over, readout_leak=readout_leak)
    several, single = (
        rate_backpropagation(graph, *arguments(graph), mode=mode, scale="bptt")
        for mode in ("multi_step", "single_step")
    )
    assert single.loss == pytest.approx(several.loss, rel=EXACT)
    np.testing.assert_allclose(single.diagnostics.outputs, several.diagnostics.outputs, rtol=EXACT)
    for name, value in several.gradients.items():
        assert np.abs(value).max() > 0
        np.testing.assert_allclose(single.gradients[name], value, rtol=1e-10, atol=1e-14)


# Some ten kilobytes of Python's and NumPy's own free lists fill up within the first 20 steps of a process: a
# first call of 24 steps does that, so that they are not taken for a growth.
MEASURE = """
import json, sys
import numpy as np
from refsnn.comparison import peak_memory
from refsnn.comparison.contenders import contenders
from refsnn.equations.spiking import SpikingNeuron
from refsnn.models.builders.dense import dense_network
from refsnn.models.contract import StaticInput

steps, jobs = int(sys.argv[1]), json.loads(sys.argv[2])
found = {}
for name, loss_over, leak in jobs:
    batch = {"eprop": 16, "bptt_full": 16, "bptt_detached": 16}.get(name, 64)
    widths = (64, 64, 10) if name == "eprop" else (64, 64, 64, 10)
    graph = dense_network(widths, SpikingNeuron(leak=0.5), loss_over=loss_over, readout_leak=leak)
    contender, = contenders([name], np.random.default_rng(2))
    image = np.random.default_rng(1).random((batch, 64))
    parameters = graph.initialise(np.random.default_rng(0))

    def call(steps):
        inputs = StaticInput(image, steps)
        return contender.run(graph, parameters, inputs, np.arange(batch) % 10, "cpu")

    rates = call(24).diagnostics.spike_rates  # compiles, and fills the free lists
    assert all(0.02 < rate < 0.98 for rate in rates.values()), rates
    peak_memory(lambda: call(24))
    found[f"{name} {loss_over} {leak}"] = peak_memory(lambda: call(steps))[1]
print(json.dumps(found))
"""
CONSTANT = [
    ("rate_single_step", "mean_readout", 0.0),
    ("rate_single_step", "each_step", 0.0),
    ("rate_single_step", "mean_readout", 0.5),
    ("rate_single_step", "each_step", 0.5),
    ("ottt_paper", "each_step", 0.0),
    ("ottt_official_code", "each_step", 0.0),
    ("ottt_exact_local", "each_step", 0.5),
    ("ndot", "each_step", 0.0),
    ("sltt", "each_step", 0.0),
    ("sltt_4", "each_step", 0.0),
    ("eprop", "each_step", 0.0),
]
GROWING = [("bptt_detached", "mean_readout", 0.0), ("bptt_full", "each_step", 0.0)]


def test_memory_does_not_grow_with_the_steps_where_it_should_not():
    """In fresh processes: T = 4 and T = 400, peak bytes above the start."""
    jobs = json.dumps(CONSTANT + GROWING)
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", MEASURE, steps, jobs], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        for steps in ("4", "400")
    ]
    outputs = [run.communicate(timeout=120)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    short, long = (json.loads(output) for output in outputs)
    growth = {name: long[name] / short[name] - 1 for name in short}
    for job in CONSTANT:
        name = " ".join(map(str, job))
        assert abs(growth[name]) < 0.01, (name, short[name], long[name])
    # beside BPTT's gradients of the weights, which are all of its memory that does not grow, a hundredfold
    weights = 8 * sum(rows * (columns + 1) for rows, columns in ((64, 64), (64, 64), (10, 64)))
    for job in GROWING:
        name = " ".join(map(str, job))
        assert (long[name] - weights) / (short[name] - weights) > 99, (name, short[name], long[name])


def test_names_are_what_they_say():
    parameters, inputs, targets = arguments(DEEP)
    graph = DEEP.with_loss(loss_over="each_step")
    table = compare(
        DEEP, parameters, inputs, targets, algorithms=["ottt_paper", "ndot", "truncated_2"], repeat=1
    )
    owns = {
        "ottt_paper": ottt(graph, parameters, inputs, targets, preset="paper").gradients,
        "ndot": ottt(graph, parameters, inputs, targets, preset="ndot").gradients,
        "truncated_2": truncated_bptt(DEEP, parameters, inputs, targets, window=2).gradients,
    }
    for name, own in owns.items():
        for key, leaf in table.row(name).leaves.items():
            assert leaf.norm == pytest.approx(np.linalg.norm(own[key]), rel=EXACT)
