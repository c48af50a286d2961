"""Convolutional convergent networks, cross-entropy, read-outs: steps written out, derivatives, the door."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refsnn.models.convergent import EnergyBasedNetwork, PrototypicalNetwork
from refsnn.models.convolution import Convolution
from refsnn.oracles.complex_step import complex_step_gradient

SEEDS = st.integers(0, 2**32 - 1)


def network(seed: int, poolings=("max", "average", "none"), **options):
    """A random convolutional network of either family, possibly with read-out, untied, cropped."""
    rng = np.random.default_rng(seed)
    count, dense = int(rng.integers(1, 3)), int(rng.integers(0, 3))
    kernels = [
        Convolution(
            int(rng.choice([1, 2, 3])),
            0,
            str(rng.choice(poolings)),
            window=int(rng.integers(1, 3)),
            crop=True,
        )
        for _ in range(count)
    ]
    kernels = [Convolution(k.kernel, int(rng.integers(k.kernel)), k.pooling, k.window, True) for k in kernels]
    widths = tuple(int(width) for width in rng.integers(1, 4, size=dense + count + 1))
    options = {
        "activation": str(rng.choice(["tanh", "sigm"])),
        "tied": bool(rng.integers(2)),
        "step_size": float(rng.uniform(0.3, 1)),
        "readout": 3 if dense == 0 or rng.integers(2) else None,
        "loss_function": str(rng.choice(["mean_squared_error", "cross_entropy"])),
        **options,
    }
    size = tuple(int(side) for side in rng.integers(10, 13, size=2))
    family = EnergyBasedNetwork if rng.integers(2) else PrototypicalNetwork
    return rng, family(widths, convolutions=kernels, image=size, **options)


def problem(rng, model, dtype=np.float64):
    """Parameters, a state in motion, inputs and targets."""
    parameters = model.initialise(rng, dtype, scale=1.3)
    state = {
        name: rng.uniform(-0.3, 1.1, array.shape).astype(dtype)
        for name, array in model.initial_state(parameters, 2).items()
    }
    inputs = rng.uniform(size=(2, *model.shapes[-1])).astype(dtype)
    targets = rng.dirichlet(np.ones(model.target_shape[0]), size=2).astype(dtype)
    return parameters, state, inputs, targets


def like(rng, arrays, leading=()):
    return {name: rng.normal(size=(*leading, *array.shape)) for name, array in arrays.items()}


def dot(first, second):
    return sum(float((first[name] * second[name]).sum()) for name in first)


def looped(image, kernels, padding):
    """Cross-correlation of one sample (C, H, W) with every index written out."""
    outs, channels, size, _ = kernels.shape
    height, width = (side + 2 * padding - size + 1 for side in image.shape[1:])
    result = np.zeros((outs, height, width))
    for o, j, k in np.ndindex(outs, height, width):
        for c, p, q in np.ndindex(channels, size, size):
            row, column = j + p - padding, k + q - padding
            if 0 <= row < image.shape[1] and 0 <= column < image.shape[2]:
                result[o, j, k] += kernels[o, c, p, q] * image[c, row, column]
    return result


def pooled_maxima(maps):
    """2x2 maxima and where they stand, (value, row, column), the first in row-major order."""
    outs, height, width = maps.shape
    result, places = np.zeros((outs, height // 2, width // 2)), {}
    for o, j, k in np.ndindex(result.shape):
        best = max(
            ((maps[o, 2 * j + p, 2 * k + q], -p, -q) for p in (0, 1) for q in (0, 1)),
        )
        result[o, j, k], places[o, j, k] = best[0], (2 * j - best[1], 2 * k - best[2])
    return result, places


def test_the_paper_s_step_with_every_index_written_out():
    """(E19) with two convolutions, 3x3 and 2x2 kernels, max pooling, and a dense output."""
    rng = np.random.default_rng(0)
    model = PrototypicalNetwork(
        (3, 2, 2, 1),
        convolutions=[Convolution(2, 0, "max", 2), Convolution(3, 1, "max", 2)],
        image=(10, 10),
    )
    assert model.shapes == ((3,), (2, 2, 2), (2, 5, 5), (1, 10, 10))
    p, s, x, y = problem(rng, model)
    after = model.step(p, s, x, y, 0.4)
    w0, w1, w2 = (p[f"coupling.{pair}.weight"] for pair in ("0.1", "1.2", "2.3"))
    b0, b1, b2 = (p[f"coupling.{pair}.bias"] for pair in ("0.1", "1.2", "2.3"))
    for sample in range(2):
        s0, s1, s2 = (s[f"layer.{layer}"][sample] for layer in range(3))
        up1, places = pooled_maxima(looped(s2, w1, 0)[:, :4, :4])
        up2, _ = pooled_maxima(looped(x[sample], w2, 1))
        down2 = np.zeros_like(s2)
        for (o, j, k), (row, column) in places.items():
            for c, q, r in np.ndindex(2, 2, 2):
                down2[c, row + q, column + r] += w1[o, c, q, r] * s1[o, j, k]
        u0 = w0 @ s1.ravel() + b0
        u1 = up1 + b1[:, None, None] + (w0.T @ s0).reshape(2, 2, 2)
        u2 = up2 + b2[:, None, None] + down2
        expected = np.tanh(u0) + 0.4 * (y[sample] - s0), np.tanh(u1), np.tanh(u2)
        for layer, value in enumerate(expected):
            np.testing.assert_allclose(after[f"layer.{layer}"][sample], value, rtol=1e-13, atol=1e-14)


@given(seed=SEEDS)
def test_jvp_is_the_complex_step_where_the_step_is_analytic(seed):
    rng, model = network(seed, poolings=("average", "none"))
    assert model.holomorphic
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
        np.testing.assert_allclose(pushed[name], moved[name].imag / h, rtol=1e-11, atol=1e-12)


@given(seed=SEEDS)
def test_jvp_of_max_pooling_is_the_difference_quotient(seed):
    """Random real states have no ties, so a small enough step moves no maximum."""
    rng, model = network(seed, poolings=("max",))
    assert not model.holomorphic
    p, s, x, _ = problem(rng, model)
    ds, dp, h = like(rng, s), like(rng, p), 1e-7

    def shifted(sign):
        return model.step(
            {name: p[name] + sign * h * dp[name] for name in p},
            {name: s[name] + sign * h * ds[name] for name in s},
            x,
        )

    ahead, behind, pushed = shifted(1), shifted(-1), model.step_jvp(p, s, x, ds, dp)
    for name in s:
        quotient = (ahead[name] - behind[name]) / (2 * h)
        np.testing.assert_allclose(pushed[name], quotient, rtol=1e-5, atol=1e-6)


@given(seed=SEEDS)
def test_vjp_is_the_transpose_of_the_jvp_array_by_array(seed):
    rng, model = network(seed)
    p, s, x, _ = problem(rng, model)
    cotangent = like(rng, s)
    by_state, by_parameter = model.step_vjp(p, s, x, cotangent)
    assert list(by_parameter) == list(p)
    still_s, still_p = ({name: np.zeros_like(array) for name, array in arrays.items()} for arrays in (s, p))
    for name in (*s, *p):
        ds, dp = dict(still_s), dict(still_p)
        (ds if name in s else dp)[name] = rng.normal(size=(s[name] if name in s else p[name]).shape)
        left = dot(cotangent, model.step_jvp(p, s, x, ds, dp))
        right = dot(by_state, ds) + dot(by_parameter, dp)
        assert abs(left - right) <= 1e-12 * (1 + abs(left))


@given(seed=SEEDS)
def test_jvp_pushes_many_directions_at_once(seed):
    rng, model = network(seed)
    p, s, x, _ = problem(rng, model)
    ds, dp = like(rng, s, (2,)), like(rng, p, (2,))
    together = model.step_jvp(p, s, x, ds, dp)
    for index in range(2):
        one = [{name: array[index] for name, array in arrays.items()} for arrays in (ds, dp)]
        alone = model.step_jvp(p, s, x, *one)
        for name in s:
            np.testing.assert_allclose(together[name][index], alone[name], rtol=1e-12, atol=1e-13)


@given(seed=SEEDS)
def test_the_step_runs_along_the_primitive_function(seed):
    """Energy-based and tied: s <- (1 - epsilon) s + epsilon dPhi/ds, and the products are dPhi/dtheta."""
    rng, model = network(seed, poolings=("average", "none"), tied=True)
    if not isinstance(model, EnergyBasedNetwork):
        model = EnergyBasedNetwork(
            model.widths, convolutions=model.convolutions, image=model.image, step_size=model.step_size
        )
    p, s, x, _ = problem(rng, model)
    pull = complex_step_gradient(lambda moved: complex(model.primitive_function(p, moved, x)), s)
    after = model.step(p, s, x)
    for name in s:
        expected = s[name] + model.step_size * (pull[name] - s[name])
        np.testing.assert_allclose(after[name], expected, rtol=1e-12, atol=1e-13)
    products = complex_step_gradient(lambda moved: complex(model.primitive_function(moved, s, x)), p)
    for name, value in model.primitive_gradient(p, s, x).items():
        np.testing.assert_allclose(value, products[name], rtol=1e-12, atol=1e-13)


def test_the_products_take_the_maxima_of_the_state_they_are_told():
    """w * s has its maximum at the first of two places, then at the second; the products follow."""
    model = PrototypicalNetwork((1, 1, 1), convolutions=[Convolution(1, 0, "max", 2)] * 2, image=(4, 4))
    p = {name: np.ones(shape) for name, shape in model.parameter_shapes().items()}
    x, post = np.zeros((1, 1, 4, 4)), np.full((1, 1, 1, 1), 2.0)
    first, second = (np.array(entries).reshape(1, 1, 2, 2) for entries in ([5.0, 1, 0, 0], [3.0, 4, 0, 0]))
    now, before = {"layer.0": post, "layer.1": second}, {"layer.0": post, "layer.1": first}
    assert model.primitive_gradient(p, now, x)["coupling.0.1.weight"].item() == 2 * 4
    assert model.primitive_gradient(p, now, x, maxima_at=before)["coupling.0.1.weight"].item() == 2 * 3


@given(seed=SEEDS, poolings=st.sampled_from([("max",), ("average", "none")]))
def test_float32_stays_float32(seed, poolings):
    rng, model = network(seed, poolings)
    p, s, x, y = problem(rng, model, np.float32)
    results = [model.step(p, s, x, y, 0.5), *model.step_vjp(p, s, x, s), model.step_jvp(p, s, x, s, p)]
    results += [*model.loss_gradient(p, s, y), model.vector_field_update(p, s, s, x)]
    if model.tied:
        results.append(model.primitive_gradient(p, s, x))
    for arrays in results:
        assert {array.dtype for array in arrays.values()} <= {np.dtype(np.float32)}


# ---------------------------------------------------------------- cross-entropy and the read-out


@given(seed=SEEDS)
def test_the_force_is_minus_the_slope_of_the_loss(seed):
    rng, model = network(seed, poolings=("average", "none"))
    p, s, x, y = problem(rng, model)
    by_state = complex_step_gradient(lambda moved: complex(model.loss(p, moved, y)), s)
    by_parameter = complex_step_gradient(lambda moved: complex(model.loss(moved, s, y)), p)
    ours, direct = model.loss_gradient(p, s, y)
    assert set(direct) == {name for name in p if name.startswith("readout.")}
    for name in s:
        np.testing.assert_allclose(ours[name], by_state[name], rtol=1e-12, atol=1e-15)
    for name in p:
        np.testing.assert_allclose(direct.get(name, 0 * p[name]), by_parameter[name], rtol=1e-12, atol=1e-15)
    force = model.force(p, s, y, 0.3)
    np.testing.assert_allclose(force, -0.3 * 2 * by_state["layer.0"], rtol=1e-12, atol=1e-15)  # B = 2


def test_cross_entropy_with_linear_outputs_is_the_formula():
    rng = np.random.default_rng(1)
    model = PrototypicalNetwork(
        (3, 4, 2), nudge_placement="inside", output="linear", loss_function="cross_entropy"
    )
    p = model.initialise(rng)
    s = {"layer.0": rng.normal(size=(2, 3)), "layer.1": rng.normal(size=(2, 4))}
    x, y = rng.random((2, 2)), np.eye(3)[[2, 0]]
    exponentials = np.exp(s["layer.0"])
    share = exponentials / exponentials.sum(axis=1, keepdims=True)
    u0 = s["layer.1"] @ p["coupling.0.1.weight"].T + p["coupling.0.1.bias"]
    after = model.step(p, s, x, y, 0.7)
    np.testing.assert_allclose(after["layer.0"], u0 + 0.7 * (y - share), rtol=1e-13)
    assert model.loss(p, s, y) == pytest.approx(-np.log(share[[0, 1], [2, 0]]).mean(), rel=1e-13)


def test_a_readout_nudges_the_top_layer_through_its_weights():
    rng = np.random.default_rng(2)
    model = PrototypicalNetwork((4, 2), nudge_placement="inside", readout=3, loss_function="cross_entropy")
    p = model.initialise(rng)
    s, x, y = {"layer.0": rng.normal(size=(2, 4))}, rng.random((2, 2)), np.eye(3)[[2, 0]]
    z = s["layer.0"] @ p["readout.weight"].T + p["readout.bias"]
    share = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    u = x @ p["coupling.0.1.weight"].T + p["coupling.0.1.bias"]
    after = model.step(p, s, x, y, 0.7)
    expected = np.tanh(u + 0.7 * (y - share) @ p["readout.weight"])
    np.testing.assert_allclose(after["layer.0"], expected, rtol=1e-13)
    np.testing.assert_array_equal(model.outputs(p, s), z)


# ---------------------------------------------------------------- the door


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"convolutions": (Convolution(5),)}, r"image: expected \(height, width\)"),
        ({"image": (8, 8)}, "image: expected None without convolutions"),
        ({"convolutions": [Convolution(3)] * 3, "image": (8, 8)}, "convolutions: expected at most 2"),
        ({"convolutions": [3], "image": (8, 8)}, r"convolutions\[0\]: expected"),
        (
            {"convolutions": [Convolution(2)], "image": (8, 8)},
            r"convolutions\[0\].window: expected a divisor",
        ),
        ({"convolutions": [Convolution(9)], "image": (8, 8)}, r"convolutions\[0\].kernel: expected at most"),
        (
            {"convolutions": [Convolution(3)], "image": (8, 8), "couplings": [(0, 1), (0, 2), (1, 2)]},
            "couplings: expected the chain",
        ),
        ({"loss_function": "hinge"}, "loss_function: expected"),
        ({"readout": 0}, "readout: expected"),
        (
            {"convolutions": [Convolution(3)] * 2, "image": (14, 14), "loss_function": "cross_entropy"},
            "readout: expected a number of classes",
        ),
    ],
)
def test_networks_that_are_none_are_refused(change, message):
    with pytest.raises((TypeError, ValueError), match=message):
        PrototypicalNetwork((3, 2, 1), **change)


def test_targets_of_cross_entropy_are_distributions():
    model = PrototypicalNetwork((2, 1), loss_function="cross_entropy")
    p = model.initialise(np.random.default_rng(0))
    with pytest.raises(ValueError, match="targets: expected rows that sum to 1"):
        model.check_static(p, np.ones((1, 1)), np.ones((1, 2)))
    assert model.check_static(p, np.ones((1, 1)), np.array([[0.25, 0.75]]))[2].shape == (1, 2)


def test_complex_numbers_need_an_analytic_network():
    model = PrototypicalNetwork((2, 1), convolutions=[Convolution(3, 1, "max", 2)], image=(4, 4), readout=2)
    with pytest.raises(ValueError, match="no max pooling"):
        model.require_holomorphic("nudge")
