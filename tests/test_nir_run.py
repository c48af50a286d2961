"""Running NIR graphs: steps against recursions by hand, other parts of refsnn, and the equations."""

from __future__ import annotations

from dataclasses import replace

import nir_cases as cases
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, signal
from scipy.linalg import expm

from refsnn.equations.spiking import SpikingNeuron
from refsnn.kernels.plain import spiking
from refsnn.nir import ARITHMETICS, DISCRETISATIONS, Discretisation, NirGraph, Node, exact_solution, run_graph
from refsnn.nir import run as run_module
from refsnn.nir.maps import output_shape, step_map

DT = 1e-3


def drive(seed, steps=300, batch=2, width=1, rate=0.4):
    """Spikes in."""
    return (np.random.default_rng(seed).random((steps, batch, width)) < rate).astype(float)


def of(graph, inputs, discretisation="forward_euler", **options):
    """Potentials, currents and spikes of the only neuron."""
    run = run_graph(graph, inputs, dt=DT, discretisation=discretisation, **options)
    (name,) = graph.neurons
    return run.potentials[name], run.currents[name], run.spikes.get(name)


def strong(kind, rng=None, **changed):
    """A neuron that fires now and then on spikes of `drive`."""
    return cases.neuron(kind, rng, r=np.array([2.0]), **changed)


# ---- steps against other truths ------------------------------------------------------------------


@pytest.mark.parametrize("reset", ["soft", "hard"])
@pytest.mark.parametrize("fires", [">", ">="])
def test_a_lif_is_the_spiking_neuron_of_refsnn(reset, fires):
    value = -0.25 if reset == "hard" else 0.0
    neuron = SpikingNeuron(leak=0.875, threshold=0.5, reset=reset, reset_value=value, fires=fires)
    node = Node(
        "LIF",
        {"tau": [8 * DT], "r": [2.0], "v_leak": [value], "v_threshold": [0.5], "v_reset": [value]},
    )
    how = Discretisation("mine", fires=fires, reset="subtract" if reset == "soft" else "value")
    inputs = drive(0)
    potential, _, spikes = of(cases.chain(node), inputs, how)
    current = (2.0 * 0.125 * inputs).reshape(300, 2)
    state, wanted, charged = np.full(2, value), np.empty((300, 2)), np.empty((300, 2))
    spiking.forward(neuron, current, state, charged, wanted)
    assert 0.05 < wanted.mean() < 0.5
    np.testing.assert_array_equal(spikes.reshape(300, 2), wanted)
    np.testing.assert_allclose(potential[-1].ravel(), state, rtol=0, atol=1e-14)


def test_greater_and_greater_or_equal_differ_at_the_threshold():
    node = Node("IF", {"r": [1.0], "v_threshold": [2.0]})
    for fires, wanted in ((">", [0, 0, 1]), (">=", [0, 1, 0])):
        how = Discretisation("mine", fires=fires)
        run = run_graph(cases.chain(node), np.ones((3, 1, 1)), dt=1.0, discretisation=how)
        np.testing.assert_array_equal(run.spikes["n0"].ravel(), wanted)
        assert run.margin["n0"] == 0


def test_euler_converges_to_the_exact_solution_with_order_one():
    """Below the threshold: the error of Euler halves with the step, exponential Euler has none."""
    node = strong("LIF", v_threshold=np.array([9.0]))
    graph, coarse = cases.chain(node), drive(1, steps=40, batch=1)
    errors = []
    for finer in (8, 16, 32):
        run = run_graph(graph, np.repeat(coarse, finer, axis=0), dt=DT / finer)
        truth = exact_solution(node, coarse.ravel(), DT, start=-0.1)
        errors.append(np.abs(run.potentials["n0"].ravel()[finer - 1 :: finer] - truth.potential).max())
    slopes = np.log2(np.array(errors[:-1]) / errors[1:])
    assert errors[0] > 1e-3
    np.testing.assert_allclose(slopes, 1, atol=0.05)
    potential, _, _ = of(graph, coarse, "exponential_euler")
    np.testing.assert_allclose(potential.ravel(), truth.potential, rtol=0, atol=1e-14)


@pytest.mark.parametrize("tau_syn", [2e-3, 5e-3])
def test_the_exact_propagator_solves_both_equations(tau_syn):
    """Against the matrix exponential of (i, v), with equal times too."""
    node = cases.neuron("CubaLI", tau_syn=np.array([tau_syn]))
    tau, r, rest, w = (node.values[name].item() for name in ("tau_mem", "r", "v_leak", "w_in"))
    inputs = drive(2, steps=60, batch=1)
    matrix = np.zeros((3, 3))  # d/dt (i, v, 1)
    state, wanted = np.array([0.0, 0.0, 1.0]), []
    for x in inputs.ravel():
        matrix[0] = [-1 / tau_syn, 0, w * x / tau_syn]
        matrix[1] = [r / tau, -1 / tau, rest / tau]
        state = expm(matrix * DT) @ state
        wanted.append(state[1])
    potential, _, _ = of(cases.chain(node), inputs, "exact_propagator")
    assert np.ptp(wanted) > 0.1
    np.testing.assert_allclose(potential.ravel(), wanted, rtol=0, atol=1e-14)


@pytest.mark.parametrize("current", ["updated", "decayed", "previous"])
@pytest.mark.parametrize("leak", ["euler", "exponential"])
def test_a_synapse_by_hand(current, leak):
    node = strong("CubaLIF", np.random.default_rng(3))
    names = ("tau_mem", "tau_syn", "r", "w_in", "v_leak", "v_threshold", "v_reset")
    tau, tau_syn, r, w, rest, threshold, reset = (node.values[name].item() for name in names)
    share, share_syn = DT / tau, DT / tau_syn
    left, left_syn = (1 - share, 1 - share_syn) if leak == "euler" else np.exp([-share, -share_syn])
    inputs, i, v, wanted = drive(4, batch=1), 0.0, reset, []
    for x in inputs.ravel():
        before = i
        i = left_syn * i + w * share_syn * x
        if current == "decayed":
            i = left_syn * (before + w * share_syn * x)
        acting = before if current == "previous" else i
        h = left * v + (1 - left) * rest + r * share * acting
        s = h > threshold
        v = reset if s else h
        wanted.append((v, i, s))
    how = Discretisation("mine", leak=leak, current=current)
    found = np.stack([trace.ravel() for trace in of(cases.chain(node), inputs, how)], axis=1)
    assert 0.01 < np.mean([s for _, _, s in wanted]) < 0.5
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-13)


def test_subtraction_in_the_next_step_by_hand():
    node = strong("LIF", v_leak=np.zeros(1), v_reset=np.array([-0.1]))
    inputs, v, s, wanted = drive(5, batch=1), -0.1, 0.0, []
    for x in inputs.ravel():
        v = 0.8 * v + 0.2 * 2.0 * x - 0.5 * s
        s = float(v > 0.4)
        wanted.append((v, s))
    potential, _, spikes = of(cases.chain(node), inputs, "forward_euler_subtract_next")
    assert np.mean(wanted, axis=0)[1] > 0.05
    np.testing.assert_allclose(potential.ravel(), [v for v, _ in wanted], rtol=0, atol=1e-14)
    np.testing.assert_array_equal(spikes.ravel(), [s for _, s in wanted])
    late = of(cases.chain(node), inputs, "forward_euler_late_spike")
    np.testing.assert_array_equal(late[0], potential)
    np.testing.assert_array_equal(late[2][1:], spikes[:-1])
    assert not late[2][0].any()


def test_a_late_input_shifts_everything_by_one_step():
    graph, inputs = cases.chain(strong("LIF", v_leak=np.zeros(1))), drive(6)
    on_time, late = of(graph, inputs), of(graph, inputs, "forward_euler_late_input")
    assert on_time[2].sum() > 10
    # the first step has no input: it leads from the reset value to 0
    shifted = of(graph, np.concatenate([np.zeros((1, 2, 1)), inputs[:-1]]))
    for one, two in zip(late, shifted, strict=True):
        np.testing.assert_array_equal(one, two)


def test_fixed_point_by_hand():
    """Integers of Python, with shifts."""
    node = Node("LIF", {"tau": [2.5e-2], "r": [6.0], "v_leak": [0.0], "v_threshold": [0.3]})
    inputs, v, wanted = drive(7, batch=1) - 1.2 * drive(8, batch=1, rate=0.1), 0, []
    decay, threshold = int(0.04 * 4095), int(0.3 * 131071) >> 9 << 6
    for x in inputs.ravel():
        left = abs(v) * (4096 - decay) >> 12
        v = (left if v >= 0 else -left) + int(6.0 * (DT / 2.5e-2) * x * 256) * 64
        s = v > threshold
        v = 0 if s else v
        wanted.append((v, s))
    potential, _, spikes = of(cases.chain(node), inputs, arithmetic="loihi_fixed_point")
    assert min(v for v, _ in wanted) < 0
    assert 5 < sum(s for _, s in wanted) < 100
    np.testing.assert_array_equal(potential.ravel() * 16384, [v for v, _ in wanted])
    np.testing.assert_array_equal(spikes.ravel(), [s for _, s in wanted])


@given(seed=st.integers(0, 2**32 - 1), name=st.sampled_from(sorted(DISCRETISATIONS)))
@settings(max_examples=40, deadline=None)
def test_float32_follows_float64_and_stays_float32(seed, name):
    rng = np.random.default_rng(seed)
    kind = rng.choice(["LIF", "IF", "CubaLIF", "LI", "I", "CubaLI"])
    graph = cases.chain(strong(kind, rng))
    inputs = drive(seed, steps=40)
    wide, narrow = (
        run_graph(graph, inputs, dt=DT, discretisation=name, arithmetic=numbers)
        for numbers in ("float64", "float32")
    )
    assert narrow.outputs["out"].dtype == narrow.potentials["n0"].dtype == np.float32
    if min(wide.margin.values(), default=1) > 1e-5:
        np.testing.assert_allclose(narrow.potentials["n0"], wide.potentials["n0"], rtol=0, atol=1e-5)


def test_units_move_potentials_and_no_spike():
    graph, inputs = cases.chain(strong("CubaLIF")), drive(9)
    for name in DISCRETISATIONS:
        one = run_graph(graph, inputs, dt=DT, discretisation=name)
        two = run_graph(graph, inputs, dt=DT, discretisation=name, unit=8.0)
        assert one.spikes["n0"].sum() > 0
        np.testing.assert_array_equal(one.spikes["n0"], two.spikes["n0"])
        quiet = one.spikes["n0"] == 0  # what a chip shows at a spike has no unit
        np.testing.assert_allclose(
            (two.potentials["n0"] / 8)[quiet], one.potentials["n0"][quiet], rtol=0, atol=1e-14
        )


# ---- exact solution ------------------------------------------------------------------------------


def test_the_exact_solution_agrees_with_an_integrator():
    """Also with several spikes in a step, and with a leak above the threshold."""
    node = Node("LIF", {"tau": [2.0], "r": [1.5], "v_leak": [0.3], "v_threshold": [1.0], "v_reset": [-0.2]})
    inputs = np.random.default_rng(10).uniform(-1, 6, 12)
    found = exact_solution(node, inputs, 1.0, start=0.1)
    assert found.spikes.max() >= 2
    v, times, wanted = 0.1, [], []
    for step, x in enumerate(inputs):
        now = 0.0
        while now < 1:
            hit = lambda t, y: y[0] - 1.0  # noqa: E731
            hit.terminal, hit.direction = True, 1
            part = integrate.solve_ivp(
                lambda t, y, x=x: (0.3 - y + 1.5 * x) / 2, (now, 1.0), [v], events=hit, rtol=1e-11, atol=1e-12
            )
            now, v = part.t[-1], part.y[0, -1]
            if part.status == 1:
                times.append(step + now)
                v = -0.2
        wanted.append(v)
    np.testing.assert_allclose(found.potential, wanted, rtol=0, atol=1e-8)
    np.testing.assert_allclose(found.times, times, rtol=0, atol=1e-8)
    assert found.spikes.sum() == len(times) > 8


def test_the_exact_solution_refuses_what_it_cannot_solve():
    node = cases.neuron("LIF")
    with pytest.raises(ValueError, match="expected an LIF with one neuron, got CubaLIF"):
        exact_solution(cases.neuron("CubaLIF"), np.ones(3), DT)
    with pytest.raises(ValueError, match="expected an LIF with one neuron, got LIF with 2"):
        exact_solution(cases.neuron("LIF", shape=(2,)), np.ones(3), DT)
    with pytest.raises(ValueError, match="expected at most 10000 spikes in a step"):
        exact_solution(node, np.full(3, 1e9), DT)
    with pytest.raises(ValueError, match="drive: expected finite"):
        exact_solution(node, np.array([np.nan]), DT)


# ---- graphs --------------------------------------------------------------------------------------


def loop_graph(weight, bias=None, kind="Affine"):
    """A recurrent layer of LIF neurons."""
    width = len(weight)
    values = {"weight": weight} | ({"bias": bias} if kind == "Affine" else {})
    nodes = {
        "in": Node("Input", {"shape": [width]}),
        "lif": cases.neuron("LIF", np.random.default_rng(0), (width,), v_leak=np.zeros(width)),
        "loop": Node(kind, values),
        "out": Node("Output", {"shape": [width]}),
    }
    return NirGraph(nodes, [("loop", "lif"), ("lif", "loop"), ("in", "lif"), ("lif", "out")])


def test_recurrent_spikes_come_one_step_late_by_hand():
    rng = np.random.default_rng(11)
    weight, bias = rng.standard_normal((3, 3)), rng.uniform(0, 0.5, 3)
    graph, inputs = loop_graph(weight, bias), 2.5 * drive(12, batch=1, width=3)
    assert graph.late_edges == (("loop", "lif"),)
    values = graph.nodes["lif"].values
    share, s, v, wanted = DT / values["tau"], np.zeros(3), values["v_reset"].copy(), []
    for x in inputs[:, 0]:
        v = (1 - share) * v + share * values["r"] * (x + weight @ s + bias)  # the bias at the first step too
        s = (v > values["v_threshold"]) * 1.0
        v = np.where(s, values["v_reset"], v)
        wanted.append((s, v))
    run = run_graph(graph, inputs, dt=DT)
    spikes, potential = (np.array(part) for part in zip(*wanted, strict=True))
    assert 0.05 < spikes.mean() < 0.6
    np.testing.assert_array_equal(run.spikes["lif"][:, 0], spikes)
    np.testing.assert_allclose(run.potentials["lif"][:, 0], potential, rtol=0, atol=1e-13)
    assert "loop -> lif" in run.describe()


def test_a_delay_of_one_step_on_the_circle_is_the_same_as_a_late_edge():
    weight = np.random.default_rng(13).standard_normal((3, 3))
    plain = loop_graph(weight, kind="Linear")
    nodes = dict(plain.nodes) | {"wait": Node("Delay", {"delay": np.full(3, DT)})}
    edges = [("in", "lif"), ("lif", "wait"), ("wait", "loop"), ("loop", "lif"), ("lif", "out")]
    delayed = NirGraph(nodes, edges)
    assert delayed.late_edges == ()
    inputs = 2.5 * drive(14, width=3)
    one, two = (run_graph(graph, inputs, dt=DT).outputs["out"] for graph in (plain, delayed))
    assert one.mean() > 0.05
    np.testing.assert_array_equal(one, two)


def test_each_neuron_has_its_own_delay():
    node = Node("Delay", {"delay": np.array([0.0, 1.0, 3.0]) * DT})
    inputs = np.random.default_rng(15).standard_normal((8, 2, 3))
    found = run_graph(cases.chain(node, shape=(3,)), inputs, dt=DT).outputs["out"]
    for place, steps in enumerate((0, 1, 3)):
        np.testing.assert_array_equal(found[steps:, :, place], inputs[: 8 - steps, :, place])
        assert not found[:steps, :, place].any()


def test_of_two_circles_each_has_one_late_edge_and_skips_have_none():
    """in -> a <-> b -> c -> c, with a skip from in to c: only what closes a circle is late."""
    nodes = {name: cases.neuron("LIF") for name in "abc"}
    nodes |= {"in": Node("Input", {"shape": [1]}), "out": Node("Output", {"shape": [1]})}
    edges = [("b", "a"), ("c", "c"), ("in", "c"), ("b", "c"), ("a", "b"), ("in", "a"), ("c", "out")]
    graph = NirGraph(nodes, edges)
    assert set(graph.late_edges) == {("b", "a"), ("c", "c")}
    assert graph.order.index("a") < graph.order.index("b") < graph.order.index("c")


def test_what_arrives_is_the_sum_over_edges():
    nodes = {
        "one": Node("Input", {"shape": [2]}),
        "two": Node("Input", {"shape": [2]}),
        "double": Node("Scale", {"scale": [2.0, 3.0]}),
        "over": Node("Threshold", {"threshold": [0.5, 0.5]}),
        "out": Node("Output", {"shape": [2]}),
    }
    edges = [("one", "double"), ("one", "out"), ("double", "out"), ("two", "over"), ("over", "out")]
    rng = np.random.default_rng(16)
    inputs = {"one": rng.standard_normal((4, 3, 2)), "two": rng.standard_normal((4, 3, 2))}
    found = run_graph(NirGraph(nodes, edges), inputs, dt=DT).outputs["out"]
    wanted = inputs["one"] * [3.0, 4.0] + (inputs["two"] > 0.5)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-15)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_convolutions_and_pools_against_scipy(seed):
    rng = np.random.default_rng(seed)
    groups = int(rng.integers(1, 3))
    stride, padding, dilation = (rng.integers(low, low + 3, 2) for low in (1, 0, 1))
    kernel, size = rng.integers(1, 4, 2), rng.integers(8, 12, 2)
    weight, bias = rng.standard_normal((2 * groups, 2, *kernel)), rng.standard_normal(2 * groups)
    image = rng.standard_normal((2 * groups, *size))
    values = {"weight": weight, "bias": bias, "groups": np.array(groups)}
    values |= {"stride": stride, "padding": padding, "dilation": dilation}
    node = Node("Conv2d", values)
    found = step_map(node, image.shape, np.dtype(float))(image[None])[0]
    assert found.shape == output_shape(node, image.shape)
    padded = np.pad(image, ((0, 0), *((side, side) for side in padding)))
    for out in range(2 * groups):
        total = bias[out]
        for channel in range(2):
            spread = np.zeros((kernel - 1) * dilation + 1)
            spread[:: dilation[0], :: dilation[1]] = weight[out, channel]
            seen = padded[2 * (out // 2) + channel]
            total = total + signal.correlate2d(seen, spread, "valid")[:: stride[0], :: stride[1]]
        np.testing.assert_allclose(found[out], total, rtol=0, atol=1e-12)
    pool = {"kernel_size": kernel, "stride": stride, "padding": np.minimum(padding, kernel - 1)}
    ones = np.ones(tuple(kernel))
    padded = np.pad(image, ((0, 0), *((side, side) for side in pool["padding"])))
    for kind, area in (("SumPool2d", 1), ("AvgPool2d", kernel.prod())):
        found = step_map(Node(kind, pool), image.shape, np.dtype(float))(image[None])[0]
        for channel, seen in enumerate(padded):
            wanted = signal.correlate2d(seen, ones, "valid")[:: stride[0], :: stride[1]] / area
            np.testing.assert_allclose(found[channel], wanted, rtol=0, atol=1e-12)


def test_convolutions_in_one_dimension_and_same_padding():
    rng = np.random.default_rng(17)
    weight, signal_in = rng.standard_normal((1, 1, 4)), rng.standard_normal(9)
    values = {"weight": weight, "bias": np.zeros(1), "stride": [1], "dilation": [1], "groups": 1}
    node = Node("Conv1d", values | {"padding": "same"})
    found = step_map(node, (1, 9), np.dtype(float))(signal_in[None, None])[0, 0]
    wanted = signal.correlate(np.pad(signal_in, (1, 2)), weight[0, 0], "valid")
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-14)
    with pytest.raises(ValueError, match="padding: expected a stride of 1 with 'same'"):
        output_shape(Node("Conv1d", values | {"padding": "same", "stride": [2]}), (1, 9))


# ---- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dt": 0.0}, "dt: expected a finite number in"),
        ({"dt": 6e-3}, "dt: expected at most the shortest time constant 0.005 s with forward Euler"),
        ({"discretisation": "midpoint"}, "discretisation: expected one of 'forward_euler'"),
        ({"arithmetic": "posit"}, "arithmetic: expected one of 'float64'"),
        ({"arithmetic": "loihi_fixed_point"}, "arithmetic: expected an LIF or IF that leaks to 0"),
        ({"record": ["n1"]}, r"record: expected neurons among \['n0'\]"),
        ({"inputs": np.ones((3, 1, 2))}, r"inputs\['in'\]: expected shape"),
        ({"inputs": np.full((3, 1, 1), np.nan)}, r"inputs\['in'\]: expected finite numbers"),
        ({"inputs": np.ones((0, 1, 1))}, r"inputs\['in'\]: expected shape .* with T >= 1"),
        ({"inputs": {"x": np.ones((3, 1, 1))}}, r"inputs: expected arrays for \['in'\]"),
        ({"inputs": np.ones((3, 1, 1), complex)}, r"inputs\['in'\]: expected a float"),
    ],
)
def test_bad_arguments_are_refused_by_name(options, message):
    options = {"inputs": np.ones((3, 1, 1)), "dt": DT} | options
    with pytest.raises((TypeError, ValueError), match=message):
        run_graph(cases.chain(cases.neuron("CubaLIF")), options.pop("inputs"), **options)


def test_traces_that_are_too_large_are_refused_before_the_run(monkeypatch):
    graph = cases.chain(cases.neuron("LIF", shape=(50,)), shape=(50,))
    monkeypatch.setattr(run_module, "MOST_BYTES", 100 * (4 * 50 + 50) * 8)
    assert run_graph(graph, np.ones((100, 1, 50)), dt=DT).rates()["n0"] > 0
    with pytest.raises(ValueError, match=r"record: expected traces of at most .* name fewer nodes"):
        run_graph(graph, np.ones((101, 1, 50)), dt=DT)
    assert run_graph(graph, np.ones((101, 1, 50)), dt=DT, record=[]).rates() == {}


def test_bad_delays_circles_and_discretisations_are_refused():
    node = Node("Delay", {"delay": [2.5 * DT]})
    with pytest.raises(
        ValueError, match=r"node 'n0': delay: expected whole numbers of steps .* got 2\.5 steps"
    ):
        run_graph(cases.chain(node), np.ones((3, 1, 1)), dt=DT)
    with pytest.raises(ValueError, match="delay: expected fewer steps to remember"):
        run_graph(cases.chain(Node("Delay", {"delay": [1e9]})), np.ones((3, 1, 1)), dt=DT)
    with pytest.raises(ValueError, match="reset_step: expected 'same' with reset='value'"):
        Discretisation("mine", reset_step="next")
    with pytest.raises(ValueError, match="current: expected leak='exponential'"):
        Discretisation("mine", current="exact")
    with pytest.raises(ValueError, match="input_delay: expected 0 or 1 steps, got 2"):
        Discretisation("mine", input_delay=2)
    with pytest.raises(ValueError, match="arithmetic: expected 'euler' leaks under increments"):
        of(
            cases.chain(cases.neuron("LIF")),
            np.ones((3, 1, 1)),
            "exponential_euler",
            arithmetic="float32_increments",
        )
    node = Node("IF", {"r": [1.0], "v_threshold": [1e6]})
    with pytest.raises(ValueError, match=r"potentials below 2\^23 units"):
        run_graph(cases.chain(node), np.full((9, 1, 1), 100.0), dt=1.0, arithmetic="loihi_fixed_point")
    with pytest.raises(ValueError, match="expected at least one Output"):
        NirGraph({"in": Node("Input", {"shape": [1]})}, [])
    with pytest.raises(ValueError, match="node 'n0': expected an edge that leads to it"):
        NirGraph(cases.chain(cases.neuron("LIF")).nodes, [("in", "out")])


def test_every_recipe_says_what_it_is():
    texts = {recipe.describe() for recipe in DISCRETISATIONS.values()}
    assert len(texts) == len(DISCRETISATIONS)
    assert len({text.partition(": ")[2] for text in texts}) == len(DISCRETISATIONS)
    assert len({kind.describe().partition(": ")[2] for kind in ARITHMETICS.values()}) == len(ARITHMETICS)
    assert (
        replace(DISCRETISATIONS["forward_euler"], name="mine").describe().startswith("mine: leak 1 - dt/tau")
    )


# ---- the real graphs -----------------------------------------------------------------------------


def test_the_convolutional_graph_runs():
    """Random spikes on 30 steps of 2 x 34 x 34 pixels; neurons are IF, so that dt = 1."""
    from refsnn.nir import read_graph

    graph = read_graph(cases.real_folder("02_cnn") / "cnn_sinabs.nir")
    inputs = np.random.default_rng(0).random((30, 2, 2, 34, 34)) < 0.05
    run = run_graph(graph, inputs, dt=1.0, discretisation="forward_euler_subtract")
    assert run.outputs["output"].shape == (30, 2, 10)
    assert list(run.rates()) == ["1", "3", "6", "10", "12"]
    assert all(0.01 < rate < 0.5 for rate in run.rates().values()), run.rates()


@pytest.mark.parametrize(
    ("name", "discretisation"),
    [
        ("braille_noDelay_bias_zero", "forward_euler"),
        ("braille_noDelay_noBias_subtract", "forward_euler_subtract_next"),
    ],
)
def test_the_recurrent_graphs_run(name, discretisation):
    """Random spikes on 256 steps of 12 channels, dt = 1e-4: the gains of synapse and membrane are 1 there."""
    from refsnn.nir import read_graph

    graph = read_graph(cases.real_folder("03_rnn") / f"{name}.nir")
    assert graph.late_edges == (("lif1.w_rec", "lif1.lif"),)
    inputs = np.random.default_rng(0).random((256, 4, 12)) < 0.1
    run = run_graph(graph, inputs, dt=1e-4, discretisation=discretisation)
    assert run.outputs["output"].shape == (256, 4, 7)
    assert all(0.002 < rate < 0.6 for rate in run.rates().values()), run.rates()
    values = graph.nodes["lif1.lif"].values
    np.testing.assert_allclose(values["w_in"] * 1e-4 / values["tau_syn"], 1, rtol=1e-6)
    np.testing.assert_allclose(values["r"] * 1e-4 / values["tau_mem"], 1, rtol=1e-6)
