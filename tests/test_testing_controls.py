"""Taylor slopes, dot tests and negative controls of refsnn.testing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import refsnn.testing
from refsnn.testing import (
    MISTAKES,
    GradientMismatch,
    NotCaught,
    VacuousCheck,
    assert_adjoint,
    assert_caught,
    assert_gradients_match,
    assert_taylor_slope,
    caught,
    planted,
    taylor_slopes,
)

RNG = np.random.default_rng(0)
X, W, B = RNG.standard_normal((7, 4)), RNG.standard_normal((4, 4)), RNG.standard_normal(4)


def f(weight, bias):
    return np.tanh(X @ weight.T + bias).sum()


def df(weight, bias):
    slopes = 1 - np.tanh(X @ weight.T + bias) ** 2
    return slopes.T @ X, slopes.sum(axis=0)


# -- Taylor slopes ----------------------------------------------------------------------------------------


@given(seed=st.integers(0, 10**6), error=st.sampled_from([1e-4, -1e-2, 1.0]))
def test_slope_two_if_and_only_if_right(seed, error):
    assert_taylor_slope(f, df, (W, B), seed=seed)
    wrong = [(1 + error) * gradient for gradient in df(W, B)]
    with pytest.raises(GradientMismatch, match=r"'weight': slopes .*\n.*'bias'"):
        assert_taylor_slope(f, wrong, (W, B), seed=seed)
    slopes = taylor_slopes(f, wrong, (W, B), seed=seed)
    assert all(slope[-1] < 1.5 for slope in slopes.values())


def test_linear_and_quadratic_functions():
    at = np.array([1.0, -2.0])
    assert taylor_slopes(lambda x: 3 * x.sum(), np.full(2, 3.0), at)["x"].size == 0  # no remainder to see
    with caught("a linear function's slope is wrong"):
        assert_taylor_slope(lambda x: 3 * x.sum(), np.full(2, 3.1), at)
    assert taylor_slopes(lambda x: (x * x).sum(), 2 * at, at)["x"] == pytest.approx(2, abs=1e-2)
    with pytest.raises(VacuousCheck, match="does not change along it"):
        assert_taylor_slope(lambda x: (0 * x).sum(), np.zeros(2), at)
    with pytest.raises(GradientMismatch, match="shape"):
        assert_taylor_slope(lambda x: (x * x).sum(), np.zeros(3), at)


def test_slopes_in_single_precision():
    arguments = W.astype(np.float32), B.astype(np.float32)
    right = [gradient.astype(np.float32) for gradient in df(*(a.astype(float) for a in arguments))]
    assert_taylor_slope(f, right, arguments)
    with caught("2 % are too much"):
        assert_taylor_slope(f, [gradient * np.float32(1.02) for gradient in right], arguments)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1j])
def test_slopes_of_no_numbers(value):
    gradient = np.cos(B) + np.where(np.arange(4) == 2, value, 0)
    with pytest.raises(GradientMismatch, match="expected finite real"):
        assert_taylor_slope(lambda b: np.sin(b).sum(), gradient, B)
    with pytest.raises(VacuousCheck, match="f is not finite"):
        assert_taylor_slope(lambda b: np.sin(b).sum() + np.nan, np.cos(B), B)


@pytest.mark.parametrize(("offset", "dtype"), [(1e4, np.float32), (1e12, np.float64)])
def test_what_rounding_hides_is_no_slope(offset, dtype):
    at = B.astype(dtype)
    f = lambda b: dtype(offset) + np.sin(b.astype(dtype)).sum()  # noqa: E731
    for factor in (1, 1.01):
        with pytest.raises(VacuousCheck, match="rounding of f hides"):
            assert_taylor_slope(f, dtype(factor) * np.cos(at), at)
    with pytest.raises((VacuousCheck, GradientMismatch)):
        assert_taylor_slope(f, 0 * at, at)
    assert_taylor_slope(lambda b: np.sin(b).sum(), np.cos(at), at)


# -- dot tests --------------------------------------------------------------------------------------------


def test_adjoints_of_trees():
    push = lambda w, b: {"hidden": X @ w.T + b, "sum": w.sum(axis=1)}  # noqa: E731
    pull = lambda out: (out["hidden"].T @ X + out["sum"][:, None], out["hidden"].sum(axis=0))  # noqa: E731
    outputs = {"hidden": np.zeros((7, 4)), "sum": np.zeros(4)}
    with pytest.raises(VacuousCheck, match="'b' -> 'sum'"):
        assert_adjoint(push, pull, (W, B), outputs)
    assert_adjoint(push, pull, (W, B), outputs, dead=("b -> sum",))
    for name, wrong in (
        ("a term is dropped", lambda out: (out["hidden"].T @ X, out["hidden"].sum(axis=0))),
        ("a mean for a sum", lambda out: (pull(out)[0], out["hidden"].mean(axis=0))),
        ("the transpose", lambda out: (pull(out)[0].T, pull(out)[1])),
        ("1e-9 too much", lambda out: ((1 + 1e-9) * pull(out)[0], pull(out)[1])),
        ("one sample is left out", lambda out: (pull(out)[0], out["hidden"][1:].sum(axis=0))),
    ):
        with caught(name):
            assert_adjoint(push, wrong, (W, B), outputs, dead=("b -> sum",))


def test_adjoints_of_other_shapes_are_not_broadcast():
    three, one = np.zeros(3), np.zeros(1)
    for push, pull, sizes in (
        (lambda v: v.sum(keepdims=True), lambda w: w, (three, one)),
        (lambda v: v.sum(keepdims=True), lambda w: w[0], (three, one)),
        (lambda v: v[:, None], lambda w: np.full(3, w.sum()), (three, three)),
        (lambda v: v + 5j * v, lambda w: w - 7j * w, (three, three)),
    ):
        with pytest.raises(GradientMismatch, match="real floating-point numbers, got shape"):
            assert_adjoint(push, pull, sizes[0], sizes[1])


def test_adjoints_in_single_precision():
    single, sizes = X.astype(np.float32), (np.zeros(4, np.float32), np.zeros(7, np.float32))
    assert_adjoint(lambda v: single @ v, lambda w: single.T @ w, *sizes)
    with caught("1e-3 too much"):
        assert_adjoint(lambda v: single @ v, lambda w: np.float32(1.001) * (single.T @ w), *sizes)


# -- controls ---------------------------------------------------------------------------------------------


def check(gradient):
    assert_gradients_match(f, gradient, (W, B))


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_planted_mistake_changes_one_leaf_by_its_kind(kind):
    right, wrong = df(W, B), planted(df, kind, (W, B), leaf="weight")(W, B)
    np.testing.assert_array_equal(wrong[0], MISTAKES[kind](right[0]))
    np.testing.assert_array_equal(wrong[1], right[1])
    assert np.abs(wrong[0] - right[0]).max() > 1e-3


def test_a_check_that_passes_everything_is_found_out():
    with pytest.raises(NotCaught, match="one_step in 'weight', sign in 'weight'"):
        assert_caught(lambda gradient: None, df, (W, B))

    def blind(gradient):
        """In maximum norm over everything, with 2 % allowed: lets the 1 % pass."""
        assert_gradients_match(f, gradient, (W, B), relative=0.02)

    with pytest.raises(NotCaught, match=r"wrong gradients: one_step in 'weight', one_step in 'bias'$"):
        assert_caught(blind, df, (W, B))


def test_a_check_that_fails_on_names_has_caught_nothing():
    misspelt = lambda p: {"weigth": df(**p)[0], "bias": df(**p)[1]}  # noqa: E731
    named = {"weight": W, "bias": B}
    with (
        pytest.raises(NotCaught, match=r"failed on something else: .*missing \['weight'\]"),
        caught("a sign"),
    ):
        assert_gradients_match(lambda p: f(**p), misspelt, named)
    with caught("a leaf is missing", match="missing"):
        assert_gradients_match(lambda p: f(**p), misspelt, named)
    with pytest.raises(NotCaught, match="something else"), caught("a sign", match="the sign is wrong"):
        check([2 * g for g in df(W, B)])


def test_a_check_that_fails_on_the_right_gradient_catches_nothing():
    with pytest.raises(GradientMismatch):
        assert_caught(lambda gradient: check(lambda w, b: [-g for g in gradient(w, b)]), df, (W, B))


def test_a_vacuous_check_is_no_catch():
    def vacuous(gradient):
        if gradient is not df:
            raise VacuousCheck("dead")

    with pytest.raises(VacuousCheck):
        assert_caught(vacuous, df, (W, B))

    def broken(gradient):
        if gradient is not df:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):  # a check that breaks down has not judged
        assert_caught(broken, df, (W, B))
    with pytest.raises(VacuousCheck), caught("anything"):
        raise VacuousCheck("dead")
    with pytest.raises(VacuousCheck, match="no mistake changes this gradient"):
        assert_caught(lambda gradient: None, lambda x: 0 * x, np.ones(3))


def test_a_block_that_does_not_fail_is_found_out():
    with (
        pytest.raises(NotCaught, match="no check failed although the sign is wrong"),
        caught("the sign is wrong"),
    ):
        check(df)
    with pytest.raises(ZeroDivisionError), caught("an error of another kind is no catch"):
        raise ZeroDivisionError


def test_bad_kinds_and_leaves():
    with pytest.raises(ValueError, match="kind: expected one of"):
        planted(df, "typo", (W, B))
    with pytest.raises(ValueError, match="leaf: expected one of 'weight', 'bias', got 'w'"):
        planted(df, "sign", (W, B), leaf="w")
    with pytest.raises(ValueError, match="'transposed' changes nothing in"):
        planted(df, "transposed", (W, B), leaf="bias")
    with pytest.raises(ValueError, match="kinds: expected one of"):
        assert_caught(check, df, (W, B), kinds=["typo"])


def test_the_public_names_are_there():
    assert set(dir(refsnn.testing)) == set(refsnn.testing.__all__)
    for name in refsnn.testing.__all__:
        assert getattr(refsnn.testing, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'assert_gradient'; it has"):
        refsnn.testing.assert_gradient  # noqa: B018
