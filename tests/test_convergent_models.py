"""Energy-based and prototypical networks: steps, wiring, derivatives, dtypes, and the door."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain_algorithms import bptt_convergent

from refsnn.algorithms.bptt import bptt_over_steps
from refsnn.algorithms.forward_mode import rtrl
from refsnn.equations.activations import ACTIVATIONS
from refsnn.models.contract import Model, StaticInput
from refsnn.models.convergent import EnergyBasedNetwork, PrototypicalNetwork, toy_network
from refsnn.oracles.complex_step import complex_step_gradient

W0 = "coupling.0.1.weight"
SMOOTH = ("tanh", "sigm", "identity")


def network(seed: int, **options):
    """A random network of either family with everything a step needs."""
    rng = np.random.default_rng(seed)
    widths = tuple(int(width) for width in rng.integers(1, 7, size=rng.integers(2, 6)))
    options = {"activation": str(rng.choice(SMOOTH)), "tied": bool(rng.integers(2)), **options}
    if rng.integers(2):
        model = EnergyBasedNetwork(widths, output=str(rng.choice(["rho", "linear", "official"])), **options)
    else:
        model = PrototypicalNetwork(widths, nudge_placement=str(rng.choice(["inside", "outside"])), **options)
    return rng, model


def problem(rng, model, dtype=np.float64):
    """Parameters, a state in motion, inputs and targets."""
    parameters = model.initialise(rng, dtype, scale=1.3)
    batch = int(rng.integers(1, 4))
    state = {
        name: rng.uniform(-0.2, 1.2, array.shape).astype(dtype)
        for name, array in model.initial_state(parameters, batch).items()
    }
    inputs = rng.uniform(size=(batch, model.widths[-1])).astype(dtype)
    targets = rng.uniform(size=(batch, model.widths[0])).astype(dtype)
    return parameters, state, inputs, targets


def like(rng, arrays, leading=()):
    return {name: rng.normal(size=(*leading, *array.shape)) for name, array in arrays.items()}


def dot(first, second):
    return sum(float((first[name] * second[name]).sum()) for name in first)


# ---------------------------------------------------------------- the step, against its formulas


def test_toy_step_is_the_paper_s_formula():
    rng = np.random.default_rng(0)
    model = toy_network((3, 4, 2), step_size=0.3)
    p, s, x, y = problem(rng, model)
    rho, slope = np.tanh, lambda z: 1 - np.tanh(z) ** 2
    s0, s1 = s["layer.0"], s["layer.1"]
    w01, w0x, w1x = (p[f"coupling.{pair}.weight"] for pair in ("0.1", "0.2", "1.2"))
    b01, b0x, b1x = (p[f"coupling.{pair}.bias"] for pair in ("0.1", "0.2", "1.2"))
    u0 = rho(s1) @ w01.T + b01 + rho(x) @ w0x.T + b0x
    u1 = rho(x) @ w1x.T + b1x + rho(s0) @ w01
    after = model.step(p, s, x, y, nudge=0.5)
    np.testing.assert_allclose(
        after["layer.0"], 0.7 * s0 + 0.3 * (slope(s0) * u0 + 0.5 * (y - s0)), rtol=1e-14, atol=1e-15
    )
    np.testing.assert_allclose(after["layer.1"], 0.7 * s1 + 0.3 * slope(s1) * u1, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("placement", ["outside", "inside"])
@pytest.mark.parametrize("tied", [True, False])
def test_prototypical_step_is_the_formula(placement, tied):
    rng = np.random.default_rng(1)
    model = PrototypicalNetwork((2, 3, 4), step_size=0.6, nudge_placement=placement, tied=tied)
    p, s, x, y = problem(rng, model)
    s0, s1 = s["layer.0"], s["layer.1"]
    w0, w1 = p["coupling.0.1.weight"], p["coupling.1.2.weight"]
    back = w0 if tied else p["coupling.0.1.feedback"].T
    u0 = s1 @ w0.T + p["coupling.0.1.bias"]
    u1 = x @ w1.T + p["coupling.1.2.bias"] + s0 @ back
    force = 0.5 * (y - s0)
    pull = np.tanh(u0 + force) if placement == "inside" else np.tanh(u0) + force
    after = model.step(p, s, x, y, nudge=0.5)
    np.testing.assert_allclose(after["layer.0"], 0.4 * s0 + 0.6 * pull, rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(after["layer.1"], 0.4 * s1 + 0.6 * np.tanh(u1), rtol=1e-14, atol=1e-15)


def test_output_rules_differ_as_they_say():
    rng = np.random.default_rng(2)
    rho = EnergyBasedNetwork((2, 3, 4), output="rho")
    p, s, x, _ = problem(rng, rho)
    after = {kind: replace(rho, output=kind).step(p, s, x) for kind in ("rho", "linear", "official")}
    # hidden layers feel rho(s^0) in "official" as in "rho"; the output feels no gate, as in "linear"
    assert np.array_equal(after["official"]["layer.1"], after["rho"]["layer.1"])
    assert np.array_equal(after["official"]["layer.0"], after["linear"]["layer.0"])
    assert not np.allclose(after["linear"]["layer.1"], after["rho"]["layer.1"])
    assert not np.allclose(after["linear"]["layer.0"], after["rho"]["layer.0"])


@given(seed=st.integers(0, 2**32 - 1))
def test_gradient_systems_step_along_the_primitive_function(seed):
    """s <- (1 - epsilon) s + epsilon dPhi/ds, and the Hebbian products are dPhi/dtheta."""
    rng = np.random.default_rng(seed)
    widths = tuple(rng.integers(1, 6, size=rng.integers(2, 5)).tolist())
    model = EnergyBasedNetwork(widths, output=str(rng.choice(["rho", "linear"])), step_size=0.3)
    p, s, x, _ = problem(rng, model)
    pull = complex_step_gradient(lambda moved: complex(model.primitive_function(p, moved, x)), s)
    after = model.step(p, s, x)
    for name in s:
        np.testing.assert_allclose(after[name], 0.7 * s[name] + 0.3 * pull[name], rtol=1e-13, atol=1e-14)
    products = complex_step_gradient(lambda moved: model.primitive_function(moved, s, x), p)
    for name, value in model.primitive_gradient(p, s, x).items():
        np.testing.assert_allclose(value, products[name], rtol=1e-13, atol=1e-14)


# ---------------------------------------------------------------- derivatives


@given(seed=st.integers(0, 2**32 - 1))
def test_jvp_is_the_complex_step(seed):
    rng, model = network(seed)
    p, s, x, _ = problem(rng, model)
    ds, dp, h = like(rng, s), like(rng, p), 1e-30
    moved = model.step(
        {name: p[name] + 1j * h * dp[name] for name in p},
        {name: s[name] + 1j * h * ds[name] for name in s},
        x,
    )
    pushed = model.step_jvp(p, s, x, ds, dp)
    for name in s:
        assert np.abs(pushed[name]).max() > 0
        np.testing.assert_allclose(pushed[name], moved[name].imag / h, rtol=1e-12, atol=1e-13)


@given(seed=st.integers(0, 2**32 - 1))
def test_vjp_is_the_transpose_of_the_jvp_array_by_array(seed):
    rng, model = network(seed)
    p, s, x, _ = problem(rng, model)
    cotangent = like(rng, s)
    by_state, by_parameter = model.step_vjp(p, s, x, cotangent)
    still_s, still_p = ({name: np.zeros_like(array) for name, array in arrays.items()} for arrays in (s, p))
    for name in (*s, *p):
        ds, dp = dict(still_s), dict(still_p)
        (ds if name in s else dp)[name] = rng.normal(size=(s[name] if name in s else p[name]).shape)
        left = dot(cotangent, model.step_jvp(p, s, x, ds, dp))
        right = dot(by_state, ds) + dot(by_parameter, dp)
        assert abs(left - right) <= 1e-12 * (1 + abs(left))


@pytest.mark.parametrize("edge", ["open", "closed"])
@pytest.mark.parametrize("clamp", [False, True])
def test_hard_sigmoid_derivatives_agree_with_each_other_on_the_kinks(edge, clamp):
    rng = np.random.default_rng(3)
    for model in (
        EnergyBasedNetwork((3, 4, 2), activation="hardsigm", edge=edge, clamp=clamp),
        PrototypicalNetwork((3, 4, 2), activation="hardsigm", edge=edge),
    ):
        p, s, x, _ = problem(rng, model)
        s["layer.0"][0], s["layer.1"][0] = 0.0, 1.0  # exactly on the kinks
        cotangent, ds, dp = like(rng, s), like(rng, s), like(rng, p)
        by_state, by_parameter = model.step_vjp(p, s, x, cotangent)
        left = dot(cotangent, model.step_jvp(p, s, x, ds, dp))
        assert abs(left - dot(by_state, ds) - dot(by_parameter, dp)) < 1e-12


def test_the_edge_decides_at_the_kink_and_the_gate_does_not():
    model = EnergyBasedNetwork((1, 1), activation="hardsigm", step_size=0.5)
    p = {"coupling.0.1.weight": np.array([[0.4]]), "coupling.0.1.bias": np.array([0.1])}
    s, x, one = {"layer.0": np.zeros((1, 1))}, np.ones((1, 1)), {"layer.0": np.ones((1, 1))}
    # gate closed: at s = 0 the drive acts, whatever the edge
    assert model.step(p, s, x)["layer.0"][0, 0] == pytest.approx(0.25, rel=1e-15)
    two = EnergyBasedNetwork((1, 1, 1), activation="hardsigm", step_size=0.5)
    q = {name: np.full(shape, 0.4) for name, shape in two.parameter_shapes().items()}
    s2 = {"layer.0": np.zeros((1, 1)), "layer.1": np.full((1, 1), 0.5)}
    cotangent = {"layer.0": np.zeros((1, 1)), "layer.1": np.ones((1, 1))}
    for edge, expected in (("open", 0.0), ("closed", 0.5 * 0.4)):
        moved, _ = replace(two, edge=edge).step_vjp(q, s2, x, cotangent)
        assert moved["layer.0"][0, 0] == pytest.approx(expected, abs=1e-16)
    assert model.step_vjp(p, s, x, one)[1]["coupling.0.1.bias"][0] == pytest.approx(0.5)


@pytest.mark.parametrize(("edge", "expected"), [("open", 0.0), ("closed", 1.0)])
@pytest.mark.parametrize("kink", [0.0, 1.0])
def test_the_edge_decides_where_the_potential_is_on_a_kink(edge, expected, kink):
    model = PrototypicalNetwork((1, 1), activation="hardsigm", edge=edge)
    p = {W0: np.zeros((1, 1)), "coupling.0.1.bias": np.array([kink])}  # u = kink, exactly
    s, x, one = {"layer.0": np.full((1, 1), 0.5)}, np.full((1, 1), 2.0), {"layer.0": np.ones((1, 1))}
    assert model.step(p, s, x)["layer.0"][0, 0] == kink
    _, share = model.step_vjp(p, s, x, one)
    assert (share[W0][0, 0], share["coupling.0.1.bias"][0]) == (2.0 * expected, expected)
    for name, value in ((W0, 2.0), ("coupling.0.1.bias", 1.0)):
        moved = {
            key: np.ones_like(array) if key == name else np.zeros_like(array) for key, array in p.items()
        }
        still = {"layer.0": np.zeros((1, 1))}
        assert model.step_jvp(p, s, x, still, moved)["layer.0"][0, 0] == value * expected
    inner = {**p, "coupling.0.1.bias": np.array([0.25])}
    assert model.step_vjp(inner, s, x, one)[1]["coupling.0.1.bias"][0] == 1.0


@pytest.mark.parametrize(("edge", "expected"), [("open", 0.0), ("closed", 0.5)])
@pytest.mark.parametrize("kink", [0.0, 1.0])
def test_the_edge_decides_where_the_clamp_just_begins(edge, expected, kink):
    model = EnergyBasedNetwork((1, 1), activation="identity", step_size=0.5, clamp=True, edge=edge)
    p = {W0: np.zeros((1, 1)), "coupling.0.1.bias": np.array([kink])}
    s, x = {"layer.0": np.full((1, 1), kink)}, np.ones((1, 1))  # (s + b) / 2 = kink, exactly
    one, still = {"layer.0": np.ones((1, 1))}, {name: np.zeros_like(array) for name, array in p.items()}
    by_state, share = model.step_vjp(p, s, x, one)
    assert (by_state["layer.0"][0, 0], share["coupling.0.1.bias"][0]) == (expected, expected)
    assert model.step_jvp(p, s, x, one, still)["layer.0"][0, 0] == expected
    inside = {"layer.0": np.full((1, 1), 0.5)}
    assert model.step_vjp(p, inside, x, one)[0]["layer.0"][0, 0] == 0.5


def test_clamp_keeps_states_in_the_unit_interval_and_masks_the_adjoint():
    rng = np.random.default_rng(4)
    model = EnergyBasedNetwork((4, 5, 3), activation="sigm", step_size=0.9, clamp=True)
    free = replace(model, clamp=False)
    p, s, x, _ = problem(rng, model)
    p["coupling.0.1.bias"][:] = [5.0, -5.0, 0.0, 0.2]
    before, after = free.step(p, s, x), model.step(p, s, x)
    clipped = {name: np.clip(before[name], 0, 1) for name in before}
    assert any((clipped[name] != before[name]).any() for name in before)
    for name in after:
        assert np.array_equal(after[name], clipped[name])
    cotangent = like(rng, s)
    masked = {name: cotangent[name] * ((before[name] > 0) & (before[name] < 1)) for name in s}
    for ours, expected in zip(
        model.step_vjp(p, s, x, cotangent), free.step_vjp(p, s, x, masked), strict=True
    ):
        for name in ours:
            assert np.array_equal(ours[name], expected[name])


@given(seed=st.integers(0, 2**32 - 1))
def test_jvp_pushes_many_directions_at_once(seed):
    rng, model = network(seed)
    p, s, x, _ = problem(rng, model)
    ds, dp = like(rng, s, (2, 3)), like(rng, p, (2, 3))
    together = model.step_jvp(p, s, x, ds, dp)
    for index in np.ndindex(2, 3):
        alone = model.step_jvp(
            p, s, x, {name: ds[name][index] for name in ds}, {name: dp[name][index] for name in dp}
        )
        for name in s:
            np.testing.assert_allclose(together[name][index], alone[name], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", [EnergyBasedNetwork, PrototypicalNetwork])
def test_the_generic_algorithms_agree(family, tied):
    """BPTT and RTRL over the contract, and the adjoint that keeps K + 1 states."""
    rng = np.random.default_rng(5)
    model = family((2, 3, 4), tied=tied, step_size=0.4)
    p, _, x, y = problem(rng, model)
    ours = bptt_convergent(model, p, x, y, free_steps=7)
    assert isinstance(model, Model)
    for other in (bptt_over_steps(model, p, StaticInput(x, 7), y), rtrl(model, p, StaticInput(x, 7), y)):
        assert other.loss == pytest.approx(ours.loss, rel=1e-14)
        for name in p:
            assert np.abs(ours.gradients[name]).max() > 1e-6
            np.testing.assert_allclose(other.gradients[name], ours.gradients[name], rtol=1e-11, atol=1e-15)


# ---------------------------------------------------------------- drive, dtypes, complex numbers


@pytest.mark.parametrize("family", [EnergyBasedNetwork, PrototypicalNetwork])
def test_a_complex_nudge_keeps_the_precision(family):
    rng = np.random.default_rng(9)
    model = family((2, 3, 4))
    for dtype, expected in ((np.float32, np.complex64), (np.float64, np.complex128)):
        p, s, x, y = problem(rng, model, dtype)
        for nudge in (0.5j, np.complex128(0.5j)):
            assert model.step(p, s, x, y, nudge)["layer.0"].dtype == expected


@given(seed=st.integers(0, 2**32 - 1))
def test_the_drive_changes_no_bit(seed):
    rng, model = network(seed)
    p, s, x, y = problem(rng, model)
    drive = model.static_drive(p, x)
    with_drive, without = model.step(p, s, x, y, 0.3, drive), model.step(p, s, x, y, 0.3)
    assert all(np.array_equal(with_drive[name], without[name]) for name in s)


@given(seed=st.integers(0, 2**32 - 1), activation=st.sampled_from(sorted(ACTIVATIONS)))
def test_float32_stays_float32(seed, activation):
    rng, model = network(seed, activation=activation)
    p, s, x, y = problem(rng, model, np.float32)
    results = [
        model.initial_state(p, 2),
        *(model.step(p, s, x, y, nudge) for nudge in (0.5, np.float64(0.5), np.float32(0.5), 1)),
        *model.step_vjp(p, s, x, s),
        model.step_jvp(p, s, x, s, p),
        model.loss_gradient(p, s, y)[0],
    ]
    if model.tied:
        results.append(model.primitive_gradient(p, s, x))
    for arrays in results:
        assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}


def test_loss_and_its_gradient():
    model = PrototypicalNetwork((2, 1))
    state, y = {"layer.0": np.array([[1.0, 2.0], [0.0, 0.0]])}, np.array([[0.0, 0.0], [1.0, 0.0]])
    assert model.loss({}, state, y) == (1 + 4 + 1) / 4
    gradient = complex_step_gradient(lambda moved: model.loss({}, moved, y), state)
    ours, direct = model.loss_gradient({}, state, y)
    assert not direct
    np.testing.assert_allclose(ours["layer.0"], gradient["layer.0"], rtol=1e-15)
    assert isinstance(model.loss({}, state, y), float)


def test_residual_is_the_largest_move():
    model = PrototypicalNetwork((1, 1), activation="identity")
    p = {"coupling.0.1.weight": np.array([[2.0]]), "coupling.0.1.bias": np.array([0.5])}
    assert model.residual(p, {"layer.0": np.array([[1.0]])}, np.array([[3.0]])) == 5.5


def test_initialise_is_uniform_in_fan_in():
    rng = np.random.default_rng(6)
    model = PrototypicalNetwork((50, 100, 25), tied=False)
    p = model.initialise(rng, scale=2.0)
    assert list(p) == list(model.parameter_shapes())
    for name, fan_in in (
        ("coupling.0.1.weight", 100),
        ("coupling.0.1.bias", 100),
        ("coupling.0.1.feedback", 50),
        ("coupling.1.2.weight", 25),
        ("coupling.1.2.bias", 25),
    ):
        bound = 2 / np.sqrt(fan_in)
        assert 0.8 * bound < np.abs(p[name]).max() <= bound
    again = model.initialise(np.random.default_rng(6), scale=2.0)
    assert all(np.array_equal(p[name], again[name]) for name in p)


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize("family", [EnergyBasedNetwork, PrototypicalNetwork])
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"widths": (3,)}, ValueError, "widths: expected at least 2"),
        ({"widths": (3, 0, 2)}, ValueError, r"widths\[1\]"),
        ({"widths": (3, 2.0)}, TypeError, r"widths\[1\]"),
        ({"widths": "33"}, TypeError, "widths"),
        ({"activation": "relu"}, ValueError, "activation: expected one of 'tanh'"),
        ({"step_size": 0.0}, ValueError, r"step_size: expected a finite number in \(0, 1\]"),
        ({"step_size": 1.5}, ValueError, "step_size"),
        ({"step_size": float("nan")}, ValueError, "step_size"),
        ({"edge": "half"}, ValueError, "edge"),
        ({"tied": 1}, TypeError, "tied"),
        ({"couplings": ((0, 1), (1, 1), (1, 2))}, ValueError, "post < pre"),
        ({"couplings": ((0, 3), (0, 1), (1, 2))}, ValueError, "post < pre <= 2"),
        ({"couplings": ((0, 1), (0, 1), (1, 2))}, ValueError, "each pair once"),
        ({"couplings": ((0, 1),)}, ValueError, r"missing \[1\]"),
        ({"couplings": (0, 1)}, TypeError, "pair"),
        ({"couplings": None}, TypeError, "couplings: expected a sequence of pairs .* got None"),
        ({"couplings": 5}, TypeError, "couplings: expected a sequence of pairs .* got 5"),
        ({"couplings": "01"}, TypeError, "couplings: expected a sequence of pairs"),
        ({"couplings": ((0, 1), (1, 2.0))}, TypeError, "integer"),
    ],
)
def test_bad_networks_are_refused(family, options, error, message):
    with pytest.raises(error, match=message):
        family(**{"widths": (2, 3, 4), **options})


def test_bad_options_of_the_families_are_refused():
    for options, message in (({"output": "softmax"}, "output"), ({"clamp": 1}, "clamp")):
        with pytest.raises((TypeError, ValueError), match=message):
            EnergyBasedNetwork((2, 3), **options)
    with pytest.raises(ValueError, match="nudge_placement"):
        PrototypicalNetwork((2, 3), nudge_placement="above")


def test_the_toy_network_has_three_widths():
    for widths, message in (((2, 3), "at least 3 widths"), ((2, 3, 4, 5), "three widths")):
        with pytest.raises(ValueError, match=f"widths: expected {message}"):
            toy_network(widths)
    with pytest.raises(TypeError, match="widths"):
        toy_network(5)
    assert toy_network([2, 3, 4]).widths == (2, 3, 4)


def test_bad_initialisation_is_refused():
    model = PrototypicalNetwork((2, 3))
    with pytest.raises(TypeError, match="rng"):
        model.initialise(0)
    with pytest.raises(ValueError, match="dtype"):
        model.initialise(np.random.default_rng(0), dtype=np.int64)
    with pytest.raises(ValueError, match="scale"):
        model.initialise(np.random.default_rng(0), scale=0)


def test_untied_networks_have_no_primitive_function():
    rng = np.random.default_rng(7)
    model = PrototypicalNetwork((2, 3, 4), tied=False)
    p, s, x, _ = problem(rng, model)
    for method in (model.primitive_gradient, model.primitive_function):
        with pytest.raises(ValueError, match="tied=True"):
            method(p, s, x)


def test_the_sequence_door():
    rng = np.random.default_rng(8)
    model = PrototypicalNetwork((2, 3, 4))
    p, _, x, y = problem(rng, model)
    with pytest.raises(ValueError, match=r"steps: .* at least 1, got 0"):
        model.check(p, StaticInput(x, 0), y)
    with pytest.raises(ValueError, match="inputs: expected shape"):
        model.check(p, x, y)
    with pytest.raises(ValueError, match="targets"):
        model.check(p, np.stack([x, x]), y[:, :1])
    checked = model.check(p, np.stack([x, x]), y)
    assert checked[1].shape == (2, *x.shape)
