"""refsnn.testing with the real torch and JAX, where they are installed."""

from __future__ import annotations

import numpy as np
import pytest

from refsnn.equations.surrogates import Surrogate
from refsnn.testing import (
    GradientMismatch,
    assert_adjoint,
    assert_caught,
    assert_gradients_match,
    assert_surrogate_gradients_match,
    assert_taylor_slope,
    caught,
)

RNG = np.random.default_rng(0)
X, W, B = RNG.standard_normal((5, 4)), RNG.standard_normal((3, 4)), RNG.standard_normal(3)
SPIKES, UPSTREAM = RNG.random((6, 2, 4)), RNG.standard_normal((6, 2, 3))
WEIGHT = 1.2 * RNG.standard_normal((3, 4)) + 0.4
PSI = Surrogate("arctan", slope=np.pi, height=1.0)


def specification(weight, *, spike, detach):
    """A LIF layer with a detached soft reset."""
    v, loss = 0.0, 0.0
    for t in range(len(SPIKES)):
        v = 0.8 * v + SPIKES[t] @ weight.T
        s = spike(v - 1.0)
        v = v - detach(s)
        loss = loss + (UPSTREAM[t] * s).sum()
    return loss


# -- torch ------------------------------------------------------------------------------------------------


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.fixture
def layer(torch):
    class Spike(torch.autograd.Function):
        @staticmethod
        def forward(context, u):
            context.save_for_backward(u)
            return (u >= 0).to(u.dtype)

        @staticmethod
        def backward(context, gradient):
            (u,) = context.saved_tensors
            return gradient / (1 + (torch.pi * u) ** 2)

    def loss(weight, detach=True):
        inputs, upstream = (torch.as_tensor(a).to(weight.dtype) for a in (SPIKES, UPSTREAM))
        v, total = torch.zeros(2, 3, dtype=weight.dtype), 0.0
        for x, share in zip(inputs.unbind(0), upstream.unbind(0), strict=True):
            v = 0.8 * v + x @ weight.T
            s = Spike.apply(v - 1.0)
            v = v - (s.detach() if detach else s)
            total = total + (share * s).sum()
        return total

    return loss


@pytest.mark.parametrize("kind", ["float64", "float32"])
def test_autograd_of_torch(torch, kind):
    dtype = getattr(torch, kind)
    inputs = torch.tensor(X).to(dtype)  # in float32 f takes nothing else
    arguments = tuple(torch.tensor(a).to(dtype).requires_grad_() for a in (W, B))
    f = lambda weight, bias: torch.tanh(inputs @ weight.T + bias).pow(2).sum()  # noqa: E731
    df = lambda weight, bias: torch.autograd.grad(f(weight, bias), (weight, bias))  # noqa: E731
    kinds = [k for k in ("one_step", "sign", "dead", "shifted", "not_divided")]
    assert (
        len(assert_caught(lambda d: assert_gradients_match(f, d, arguments), df, arguments, kinds=kinds))
        == 10
    )
    assert_taylor_slope(f, df, arguments)


def test_a_function_of_torch_without_complex_numbers(torch):
    weight = torch.tensor(W, requires_grad=True)
    f = lambda weight: torch.log1p(weight.abs()).sum()  # noqa: E731
    df = lambda weight: torch.autograd.grad(f(weight), weight)[0]  # noqa: E731
    assert_gradients_match(f, df, weight)
    with caught("1 % is missing"):
        assert_gradients_match(f, lambda weight: 0.99 * df(weight), weight)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("given", ["numpy", "torch"])
def test_a_layer_of_torch_against_a_specification(torch, layer, dtype, given):
    def gradient(weight, detach=True):
        weight = torch.as_tensor(weight).detach().clone().requires_grad_()
        return torch.autograd.grad(layer(weight, detach), weight)[0]

    def spec(weight, *, spike, detach):
        if given == "numpy":
            return specification(weight, spike=spike, detach=detach)
        v, loss = 0.0, 0.0
        for x, share in zip(SPIKES, UPSTREAM, strict=True):
            v = 0.8 * v + torch.tensor(x).to(weight.dtype) @ weight.T
            s = spike(v - 1.0)
            v = v - detach(s)
            loss = loss + (torch.tensor(share).to(weight.dtype) * s).sum()
        return loss

    weight = WEIGHT.astype(dtype)
    weight = torch.tensor(weight, requires_grad=True) if given == "torch" else weight
    options = {"surrogate": PSI, "loss": lambda weight: layer(torch.as_tensor(weight))}
    assert_surrogate_gradients_match(spec, gradient, weight, **options)
    with pytest.raises(GradientMismatch, match="'weight'"):
        assert_surrogate_gradients_match(spec, lambda w: gradient(w, False), weight, **options)
    with pytest.raises(GradientMismatch, match="it is 0 everywhere"):
        assert_surrogate_gradients_match(spec, lambda w: 0 * gradient(w), weight, **options)
    with pytest.raises(GradientMismatch, match="forward passes differ"):
        assert_surrogate_gradients_match(
            spec, gradient, weight, surrogate=PSI, loss=lambda weight: layer(torch.as_tensor(0.5 * weight))
        )


def test_dot_test_of_torch(torch):
    linear = torch.nn.Linear(4, 3, bias=False, dtype=torch.float64)
    weight = linear.weight.detach()
    example = torch.zeros(4, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    assert_adjoint(linear, lambda w: w @ weight, *example)
    with caught("it is not the transpose"):
        assert_adjoint(
            linear, lambda w: torch.nn.functional.pad(w, (0, 1)) @ weight[:1].T * weight[0], *example
        )


# -- JAX --------------------------------------------------------------------------------------------------


@pytest.fixture(params=[False, True], ids=["float32", "float64"])
def jax(request):
    jax = pytest.importorskip("jax")
    before = jax.config.read("jax_enable_x64")
    jax.config.update("jax_enable_x64", request.param)
    yield jax
    jax.config.update("jax_enable_x64", before)


def test_gradients_of_jax(jax):
    jnp = jax.numpy
    tree = {"layer": {"weight": jnp.asarray(W), "bias": jnp.asarray(B)}}

    def f(tree):
        return jnp.sum(jnp.tanh(jnp.asarray(X) @ tree["layer"]["weight"].T + tree["layer"]["bias"]) ** 2)

    assert_gradients_match(f, jax.grad(f), tree)
    assert_taylor_slope(f, jax.grad(f), tree)
    found = assert_caught(lambda df: assert_gradients_match(f, df, tree), jax.grad(f), tree)
    assert {mistake.leaf for mistake in found} == {"layer.weight", "layer.bias"}


def test_a_layer_of_jax_against_a_specification(jax):
    jnp = jax.numpy

    @jax.custom_jvp
    def spike(u):
        return (u >= 0) * jnp.ones_like(u)

    @spike.defjvp
    def rule(points, tangents):
        return spike(*points), tangents[0] / (1 + (jnp.pi * points[0]) ** 2)

    stop = jax.lax.stop_gradient

    def layer(weight, *, spike=spike, detach=stop):
        v, total = jnp.zeros((2, 3), weight.dtype), 0.0
        for x, share in zip(SPIKES, UPSTREAM, strict=True):
            v = 0.8 * v + jnp.asarray(x, weight.real.dtype) @ weight.T
            s = spike(v - 1.0)
            v = v - detach(s)
            total = total + (jnp.asarray(share, weight.real.dtype) * s).sum()
        return total

    weight = jnp.asarray(WEIGHT)
    gradient = jax.grad(layer)
    for spec in (layer, lambda weight, *, spike, detach: layer(weight, spike=spike, detach=detach)):
        assert_surrogate_gradients_match(spec, gradient, weight, surrogate=PSI, loss=layer)
    with caught("the gradient goes through the reset"):
        live = jax.grad(lambda weight: layer(weight, detach=lambda s: s))
        assert_surrogate_gradients_match(layer, live, weight, surrogate=PSI)
