"""Recurrent backpropagation beside truncated BPTT and the implicit gradient; images and read-outs for all."""

from __future__ import annotations

import numpy as np
import pytest
from equilibrium_cases import PLAIN, WIDTHS, convolutional, draw, energy, prototypical, rest, worst
from hypothesis import assume, given
from hypothesis import strategies as st

from refsnn.algorithms.bptt import bptt_over_steps
from refsnn.algorithms.bptt_convergent import bptt_convergent
from refsnn.algorithms.forward_mode import forward_mode, rtrl
from refsnn.algorithms.recurrent_backpropagation import recurrent_backpropagation
from refsnn.algorithms.relaxation import NotSettledError, relax
from refsnn.models.contract import StaticInput
from refsnn.models.convergent import EnergyBasedNetwork, PrototypicalNetwork
from refsnn.oracles.fixed_point import implicit_gradient, joined, state_jacobian

seeds = st.integers(0, 2**32 - 1)
families = st.sampled_from(
    [
        energy(),
        energy(output="official"),
        energy(tied=False, gated=False),
        prototypical(),
        prototypical(step_size=0.5, tied=False),
        prototypical(readout=4, loss_function="cross_entropy"),
    ]
)
LONG = {"free_steps": 500, **PLAIN}


@given(seed=seeds, model=families, steps=st.integers(1, 30))
def test_the_cut_series_is_bptt_through_a_held_steady_state(seed, model, steps):
    problem = draw(seed, model)
    rest(*problem[:3])
    ours = recurrent_backpropagation(*problem, **LONG, adjoint_steps=steps)
    theirs = bptt_convergent(*problem, **LONG, steps_back=steps)
    assert worst(ours.gradients, theirs.gradients) <= 1e-11
    assert ours.adjoint_steps == steps
    assert ours.loss == theirs.loss
    if steps > 2:  # one term more or less is another gradient
        for other in (steps - 1, steps + 1):
            near = recurrent_backpropagation(*problem, **LONG, adjoint_steps=other)
            if ours.adjoint_residual > 1e-8:
                assert worst(near.gradients, theirs.gradients) > 1e-11


@given(seed=seeds, model=families)
def test_the_whole_series_is_the_implicit_gradient(seed, model):
    problem = draw(seed, model)
    free = rest(*problem[:3])
    ours = recurrent_backpropagation(*problem, **LONG, adjoint_steps=500)
    truth = implicit_gradient(*problem, free.state)
    assume(min(np.abs(array).max() for array in truth.values()) > 1e-4)
    assert worst(ours.gradients, truth) <= 1e-11
    assert ours.adjoint_residual <= 1e-13

    model, p, x, y = problem
    jacobian = state_jacobian(model, p, free.state, x)
    transposed = np.eye(jacobian.shape[-1]) - np.swapaxes(jacobian, -1, -2)
    slope = joined(model.loss_gradient(p, free.state, y)[0])
    np.testing.assert_allclose(
        joined(ours.adjoint), np.linalg.solve(transposed, slope[..., None])[..., 0], rtol=1e-10, atol=1e-14
    )


@given(seed=seeds, model=families, exponent=st.integers(2, 10))
def test_a_tolerance_is_kept_with_the_fewest_terms(seed, model, exponent):
    problem, tolerance = draw(seed, model), 10.0**-exponent
    rest(*problem[:3])
    ours = recurrent_backpropagation(*problem, **LONG, adjoint_steps=5000, tolerance=tolerance)
    assert ours.adjoint_residual <= tolerance
    assume(ours.adjoint_steps > 1)
    fewer = ours.adjoint_steps - 1
    assert recurrent_backpropagation(*problem, **LONG, adjoint_steps=fewer).adjoint_residual > tolerance
    with pytest.raises(NotSettledError, match=rf"adjoint: .* after {fewer} steps"):
        recurrent_backpropagation(*problem, **LONG, adjoint_steps=fewer, tolerance=tolerance)


def test_what_is_reported_and_kept():
    model, p, x, y = draw(0, energy(), batch=4)
    free = relax(model, p, x, steps=50, **PLAIN)
    for steps in (1, 40):
        result = recurrent_backpropagation(model, p, x, y, free_steps=50, adjoint_steps=steps, **PLAIN)
        assert result.diagnostics.bytes_kept == 2 * 8 * 4 * (WIDTHS[0] + WIDTHS[1])
        assert result.diagnostics.steps_executed == free.steps_executed
        assert result.diagnostics.residual == free.residual
        assert np.array_equal(result.diagnostics.outputs, free.state["layer.0"])
        # the residual is the next term's, and scale-free
        longer = recurrent_backpropagation(model, p, x, y, free_steps=50, adjoint_steps=steps + 1, **PLAIN)
        moved = max(np.abs(longer.adjoint[name] - result.adjoint[name]).max() for name in result.adjoint)
        slope = np.abs(model.loss_gradient(p, free.state, y)[0]["layer.0"]).max()
        assert result.adjoint_residual == pytest.approx(moved / slope, rel=1e-13)


def test_one_term_reaches_the_output_layer_only():
    model, p, x, y = draw(1, energy())
    gradients = recurrent_backpropagation(model, p, x, y, free_steps=50, adjoint_steps=1, **PLAIN).gradients
    assert np.abs(gradients["coupling.0.1.weight"]).max() > 1e-3
    assert not gradients["coupling.1.2.weight"].any()


def test_a_reached_target_has_no_gradient():
    model, p, x, _ = draw(2, energy())
    y = relax(model, p, x, steps=500, **PLAIN).state["layer.0"]
    result = recurrent_backpropagation(
        model, p, x, y, free_steps=500, adjoint_steps=9, tolerance=0.0, **PLAIN
    )
    assert not any(array.any() for array in result.gradients.values())
    assert (result.adjoint_steps, result.adjoint_residual) == (1, 0.0)


def test_a_diverging_series_is_reported_in_words():
    """0 is a steady state of a linear network without input and bias, and here not a stable one."""
    model, p, x, y = draw(3, prototypical(activation="identity"), scale=20.0)
    p = {name: array * 0 if name.endswith("bias") else array for name, array in p.items()}
    with pytest.raises(FloatingPointError, match="no stable steady state"):
        recurrent_backpropagation(model, p, x * 0, y, free_steps=5, adjoint_steps=3000, **PLAIN)


@pytest.mark.parametrize("model", [energy(), prototypical(tied=False, activation="hardsigm")])
def test_float32_stays_float32(model):
    problem = draw(4, model, dtype=np.float32)
    result = recurrent_backpropagation(*problem, free_steps=50, adjoint_steps=5, **PLAIN)
    arrays = (*result.gradients.values(), *result.adjoint.values(), result.diagnostics.outputs)
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"free_steps": 0}, ValueError, "free_steps: expected an integer of at least 1"),
        ({"adjoint_steps": 0}, ValueError, "adjoint_steps: expected an integer of at least 1"),
        ({"adjoint_steps": 2.0}, TypeError, "adjoint_steps"),
        ({"tolerance": -1.0}, ValueError, "tolerance"),
        ({"tolerance": float("nan")}, ValueError, "tolerance"),
        ({"backend": "gpu"}, ValueError, "backend: expected one of"),
    ],
)
def test_bad_arguments_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        recurrent_backpropagation(
            *draw(5, energy()), **{"free_steps": 9, "adjoint_steps": 9, **PLAIN, **options}
        )


def test_targets_are_needed():
    model, p, x, _ = draw(6, energy())
    with pytest.raises(TypeError, match="targets: expected an array"):
        recurrent_backpropagation(model, p, x, None, free_steps=9, adjoint_steps=9)


# ---------------------------------------------------------------- every way to a gradient, with images

IMAGES = [
    convolutional(family, pooling=pooling, loss_function=loss, readout=readout, tied=tied, step_size=0.5)
    for family in (EnergyBasedNetwork, PrototypicalNetwork)
    for pooling, tied in (("average", True), ("average", False), ("max", True), ("none", False))
    for loss, readout in (("mean_squared_error", None), ("cross_entropy", 3))
]


@pytest.mark.parametrize("model", IMAGES, ids=range(len(IMAGES)))
def test_forward_mode_is_bptt_on_images_and_readouts(model):
    model, p, x, y = draw(7, model, batch=2)
    inputs = StaticInput(x, 4)
    back, forth = bptt_over_steps(model, p, inputs, y), rtrl(model, p, inputs, y)
    assert min(np.abs(array).max() for array in forth.gradients.values()) > 1e-7
    assert worst(back.gradients, forth.gradients) <= 1e-12
    direction = draw(8, model, batch=2)[1]
    loss, slope = forward_mode(model, p, inputs, y, direction)
    along = sum(float((direction[name] * array).sum()) for name, array in forth.gradients.items())
    assert slope == pytest.approx(along, rel=1e-11)
    assert loss == back.loss


HOLOMORPHIC = [model for model in IMAGES if model.holomorphic]


@pytest.mark.parametrize("model", HOLOMORPHIC, ids=range(len(HOLOMORPHIC)))
def test_the_implicit_gradient_of_images_and_readouts(model):
    problem = draw(9, model, batch=2)
    free = relax(*problem[:3], steps=300, **PLAIN)
    assert free.residual <= 1e-15
    truth = implicit_gradient(*problem, free.state)
    assert min(np.abs(array).max() for array in truth.values()) > 1e-6
    ours = recurrent_backpropagation(*problem, free_steps=300, adjoint_steps=300, **PLAIN)
    assert worst(ours.gradients, truth) <= 1e-11
