"""refsnn.testing on smooth functions: what passes, what is caught, what is said; for arrays of any kind."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refsnn.testing import (
    GradientMismatch,
    VacuousCheck,
    assert_alive,
    assert_caught,
    assert_gradients_match,
    assert_leaves_match,
    assert_taylor_slope,
    caught,
)

RNG = np.random.default_rng(0)
X, W, B = RNG.standard_normal((7, 4)), RNG.standard_normal((4, 4)), RNG.standard_normal(4)


def f(weight, bias):
    return np.tanh(X @ weight.T + bias).sum()


def df(weight, bias):
    slopes = 1 - np.tanh(X @ weight.T + bias) ** 2
    return slopes.T @ X, slopes.sum(axis=0)


def rectified(weight):
    return np.log1p(np.abs(weight)).sum()


def d_rectified(weight):
    return np.sign(weight) / (1 + np.abs(weight))


class Foreign:
    """An array of another library: `__array__`, and what its own functions need."""

    def __init__(self, array):
        self.array = np.array(array)

    def __array__(self, dtype=None, copy=None):
        return np.array(self.array, dtype)

    @property
    def dtype(self):
        return self.array.dtype


class Exchanged:
    """An array that only knows DLPack, and its namespace."""

    def __init__(self, array):
        self.array = np.array(array)

    def __dlpack__(self, **options):
        return self.array.__dlpack__()

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()

    def __array_namespace__(self):
        return type("namespace", (), {"asarray": Exchanged})


# -- what passes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("oracle", ["auto", "complex_step", "differences"])
def test_a_right_gradient_passes(oracle):
    assert_gradients_match(f, df, (W, B), oracle=oracle)
    assert_gradients_match(f, df, [W, B], oracle=oracle)
    assert_gradients_match(f, df(W, B), (W, B), oracle=oracle)
    assert_gradients_match(
        lambda p: f(**p), lambda p: dict(zip(p, df(**p), strict=True)), {"weight": W, "bias": B}
    )


def test_trees_named_tuples_scalars_and_single_arrays():
    pair = namedtuple("pair", "weight bias")

    def nested(state, gain):
        return gain * f(state["layer"].weight, state["layer"].bias)

    def gradient(state, gain):
        w, b = df(*state["layer"])
        return {"layer": pair(gain * w, gain * b)}, f(*state["layer"])

    arguments = {"layer": pair(W, B)}, 0.7
    assert_gradients_match(nested, gradient, arguments)
    with pytest.raises(GradientMismatch, match=r"'state\.layer\.1': worst at"):
        assert_gradients_match(
            nested, lambda s, g: ({"layer": pair(df(*s["layer"])[0] * g, B)}, f(*s["layer"])), arguments
        )
    assert_gradients_match(rectified, d_rectified, W)
    assert_gradients_match(rectified, lambda weight: [d_rectified(weight)], (W,))


def test_where_abs_eats_the_imaginary_part_differences_take_over():
    assert_gradients_match(rectified, d_rectified, W)
    with pytest.raises(GradientMismatch, match="differ from five-point differences"):
        assert_gradients_match(rectified, lambda weight: -d_rectified(weight), W)
    with pytest.raises(TypeError, match="expected a function that the complex step can go through"):
        assert_gradients_match(rectified, d_rectified, W, oracle="complex_step")
    # where a part of the way is real nothing is raised, and the number is wrong: differences say so
    half = lambda w: (w * np.real(w)).sum()  # noqa: E731
    with pytest.raises(TypeError, match=r"it says .* and differences say"):
        assert_gradients_match(half, lambda w: 2 * w, W, oracle="complex_step")
    assert_gradients_match(half, lambda w: 2 * w, W)


@pytest.mark.parametrize("wrap", [Foreign, Exchanged])
def test_arrays_of_other_libraries(wrap):
    seen = []

    def theirs(weight):
        seen.append(type(weight))
        return wrap(np.tanh(np.asarray(weight.array)).sum())

    gradient = lambda weight: wrap(1 - np.tanh(weight.array) ** 2)  # noqa: E731
    options = {"convert": Foreign} if wrap is Foreign else {}
    assert_gradients_match(theirs, gradient, wrap(W), **options)
    assert set(seen) == {wrap}
    with caught("1 % is too much"):
        assert_gradients_match(theirs, lambda w: wrap(1.01 * gradient(w).array), wrap(W), **options)


def test_a_kind_that_is_not_known_says_what_to_pass():
    with pytest.raises(TypeError, match="pass convert="):
        assert_gradients_match(f, df, (Foreign(W), Foreign(B)))


@pytest.mark.parametrize("convert_inside", [False, True])
def test_single_precision(convert_inside):
    """In float64 where f takes that, else in float32 with tolerances that fit; 1 % is caught either way."""

    def single(weight, bias):
        if convert_inside:
            weight, bias = (np.asarray(a, np.float32) for a in (weight, bias))
        return (
            f(weight, bias)
            if not convert_inside
            else np.float32(np.tanh(X.astype(np.float32) @ weight.T + bias).sum())
        )

    arguments = W.astype(np.float32), B.astype(np.float32)
    right = lambda w, b: [g.astype(np.float32) for g in df(w.astype(float), b.astype(float))]  # noqa: E731
    assert_gradients_match(single, right, arguments)
    with caught("1 % is missing"):
        assert_gradients_match(single, lambda w, b: [g * np.float32(0.99) for g in right(w, b)], arguments)


def test_the_same_seed_probes_the_same_entries_of_a_large_leaf():
    size = 2000
    weights = np.linspace(1, 2, size)
    loss = lambda x: (weights * x * x).sum()  # noqa: E731
    right = lambda x: 2 * weights * x  # noqa: E731
    at = np.random.default_rng(1).standard_normal(size)
    assert_gradients_match(loss, right, at)

    def one_entry(x):
        gradient = right(x)
        gradient[777] *= 1.01
        return gradient

    messages = set()
    for _ in range(2):
        with pytest.raises(GradientMismatch, match=r"random direction|worst at \[777\]") as failure:
            assert_gradients_match(loss, one_entry, at, entries=50, seed=3)
        messages.add(str(failure.value))
    assert len(messages) == 1
    assert "repeat with seed=3" in messages.pop()


@given(seed=st.integers(0, 10**6), size=st.integers(1, 60), scale=st.sampled_from([1e-6, 1.0, 1e6]))
def test_the_tolerance_knows_neither_size_nor_scale(seed, size, scale):
    rng = np.random.default_rng(seed)
    at = scale * rng.uniform(0.5, 1.5, size) * rng.choice([-1, 1], size)
    loss = lambda x: np.sin(x / scale).sum()  # noqa: E731
    right = np.cos(at / scale) / scale
    for oracle in ("complex_step", "differences"):
        assert_gradients_match(loss, right, at, oracle=oracle)
        wrong = right.copy()
        wrong[np.argmax(np.abs(wrong))] *= 1 + 1e-4
        with caught("one entry is off by 1e-4"):
            assert_gradients_match(loss, wrong, at, oracle=oracle)


# -- what is caught ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("oracle", ["complex_step", "differences"])
def test_every_planted_mistake_is_caught(oracle):
    found = assert_caught(lambda d: assert_gradients_match(f, d, (W, B), oracle=oracle), df, (W, B))
    assert {(m.leaf, m.kind) for m in found} == {
        *(("weight", kind) for kind in (
            "one_step", "sign", "dropped", "dead", "transposed", "shifted", "not_divided")),
        *(("bias", kind) for kind in ("one_step", "sign", "dropped", "dead", "shifted", "not_divided")),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda w, b: (0.5 * df(w, b)[0], df(w, b)[1]), "every entry is 0.5 times the expected one"),
        (lambda w, b: (-df(w, b)[0], df(w, b)[1]), "the sign is wrong"),
        (lambda w, b: (df(w, b)[0] / 4, df(w, b)[1]), "4 is the length of axis 0 .a mean for a sum"),
        (lambda w, b: (df(w, b)[0].T, df(w, b)[1]), "it is the transpose of the expected one"),
        (lambda w, b: (np.roll(df(w, b)[0], 1, 0), df(w, b)[1]), r"shifted by \+1 along axis 0"),
        (lambda w, b: (np.roll(df(w, b)[0], -1, 1), df(w, b)[1]), "shifted by -1 along axis 1"),
        (lambda w, b: (df(w, b)[0] * 0, df(w, b)[1]), "it is 0 everywhere"),
        (lambda w, b: (df(w, b)[0] + np.eye(4)[2] * 0.1, df(w, b)[1]), "index 2 along axis 1 are off"),
        (lambda w, b: (df(w, b)[0] * np.nan, df(w, b)[1]), "16 of 16 entries are not finite"),
        (lambda w, b: (df(w, b)[0], df(w, b)[1][:, None]), r"has shape \(4, 1\), the argument \(4,\)"),
        (lambda w, b: (df(w, b)[0], None), r"the gradient of \['bias'\] is None"),
        (lambda w, b: (df(w, b)[0],), r"missing \['bias'\]"),
        (lambda w, b: (df(w, b)[0].astype(np.float32), df(w, b)[1]), "has dtype float32, the arg"),
    ],
)  # fmt: skip
def test_what_a_failure_says(wrong, said):
    with pytest.raises(GradientMismatch, match=said):
        assert_gradients_match(f, wrong, (W, B))


def test_a_failure_names_leaf_entry_values_and_what_agrees():
    def wrong(weight, bias):
        gradient = df(weight, bias)[0]
        gradient[2, 1] = 5.0
        return gradient, df(weight, bias)[1]

    expected = df(W, B)[0]
    with pytest.raises(GradientMismatch) as failure:
        assert_gradients_match(f, wrong, (W, B), seed=4)
    text = str(failure.value)
    assert "1 of 2 leaves differ from the complex step; 'bias' agree" in text
    assert f"'weight': worst at [2, 1]: found 5, expected {expected[2, 1]:.9g}; off by" in text
    assert "1 of 16 entries are off" in text
    assert text.endswith("repeat with seed=4")


# -- what is vacuous --------------------------------------------------------------------------------------


@pytest.mark.parametrize("oracle", ["complex_step", "differences"])
def test_a_dead_leaf_is_refused_unless_named_and_then_must_be_dead(oracle):
    loss = lambda a, b: (a**2).sum() + (0 * b).sum()  # noqa: E731
    a, b = np.array([1.0, 2.0]), np.array([3.0])
    right = lambda a, b: (2 * a, 0 * b)  # noqa: E731
    with pytest.raises(VacuousCheck, match=r"'b': .* is 0 here.*|name in dead= the leaves"):
        assert_gradients_match(loss, right, (a, b), oracle=oracle)
    assert_gradients_match(loss, right, (a, b), dead=["b"], oracle=oracle)
    with pytest.raises(GradientMismatch, match=r"expected 0 as .* has it, found entries up to 0\.5"):
        assert_gradients_match(loss, lambda a, b: (2 * a, b / 6), (a, b), dead=["b"], oracle=oracle)
    assert_gradients_match(loss, right, (a, b), dead=["a", "b"], oracle=oracle)
    with pytest.raises(GradientMismatch, match="'a'"):  # may be dead, but is not
        assert_gradients_match(loss, lambda a, b: (0 * a, 0 * b), (a, b), dead=["a", "b"], oracle=oracle)
    with pytest.raises(ValueError, match="dead: expected names among"):
        assert_gradients_match(loss, right, (a, b), dead=["c"])


def test_jumps_kinks_and_noise_are_refused():
    step = lambda x: (np.real(x) > 0.50001).sum() + (np.abs(x)).sum()  # noqa: E731
    with pytest.raises(VacuousCheck, match="assert_surrogate_gradients_match"):
        assert_gradients_match(step, np.sign, np.array([0.5, 1.0]))
    kink = lambda x: np.abs(x - 0.50001).sum()  # noqa: E731
    with pytest.raises(VacuousCheck, match="differences are uncertain"):
        assert_gradients_match(kink, lambda x: np.sign(x - 0.50001), np.array([0.5, 1.0]))
    rng = np.random.default_rng(0)
    noisy = lambda x: float((np.abs(x) ** 1.5).sum() + 1e-5 * rng.standard_normal())  # noqa: E731
    with pytest.raises(VacuousCheck, match="in two calls: it draws random numbers"):
        assert_gradients_match(noisy, lambda x: 1.5 * x**0.5, np.array([0.5, 1.0]))
    rough = lambda x: float((np.abs(x) ** 1.5).sum() + 1e-5 * np.sin(1e9 * x).sum())  # noqa: E731
    with pytest.raises(VacuousCheck, match="noise"):
        assert_gradients_match(rough, lambda x: 1.5 * x**0.5, np.array([0.5, 1.0]))


@pytest.mark.parametrize("slope", [0.0, 0.5, 1.0])
def test_at_a_kink_no_gradient_is_right(slope):
    """Differences on both sides agree there, with the mean of the two slopes."""
    relu = lambda x: np.maximum(x, 0).sum()  # noqa: E731
    with pytest.raises(VacuousCheck, match="a kink"):
        assert_gradients_match(relu, lambda x: np.where(x == 0, slope, x > 0), np.array([1.0, 0.0, -2.0]))
    assert_gradients_match(relu, lambda x: (x > 0) * 1.0, np.array([1.0, 0.5, -2.0]))
    # a small kink beside a large curvature
    mixed = lambda x: (50 * x**2 + 3 * x + 1e-4 * np.abs(x)).sum()  # noqa: E731
    with pytest.raises(VacuousCheck, match="a kink"):
        assert_gradients_match(mixed, lambda x: 100 * x + 3, np.array([0.0]), oracle="differences")


@pytest.mark.parametrize("size", [1e-3, 1e-6])
def test_what_eats_an_imaginary_part_is_noticed(size):
    arguments = np.random.default_rng(1).standard_normal(6)
    f = lambda w: np.sin(w).sum() + size * np.abs(w).sum()  # noqa: E731
    assert_gradients_match(f, lambda w: np.cos(w) + size * np.sign(w), arguments)
    with caught("the term under abs is forgotten"):
        assert_gradients_match(f, np.cos, arguments, relative=size / 10)
    # a jump nearby, of which differences know nothing, is no confirmation
    arguments[0] += 1 + 1e-7 - arguments.sum()
    jump = lambda w: f(w) + (np.real(w).sum() > 1)  # noqa: E731
    for gradient in (np.cos, lambda w: np.cos(w) + size * np.sign(w)):
        with pytest.raises(VacuousCheck, match="differences are uncertain"):
            assert_gradients_match(jump, gradient, arguments)


def test_a_gradient_that_changes_what_f_uses_is_wrong():
    scale = np.array(2.0)

    def in_place(w):
        scale[...] *= 10
        return scale * np.cos(w)

    f, arguments = lambda w: (scale * np.sin(w)).sum(), np.array([0.5, 1.0])
    with pytest.raises(GradientMismatch, match="a second call of the gradient"):
        assert_gradients_match(f, in_place, arguments)
    scale[...] = 2
    with pytest.raises(GradientMismatch, match="a second call of the gradient"):
        assert_taylor_slope(f, in_place, arguments)
    scale[...] = 2

    def once(w):
        scale[...] = 20
        return scale * np.cos(w)

    for check in (assert_gradients_match, assert_taylor_slope):
        scale[...] = 2
        with pytest.raises(GradientMismatch):
            check(f, once, arguments)


def test_a_gradient_that_adds_up_is_wrong_and_a_buffer_is_not():
    total, buffer = np.zeros(2), np.zeros(2)

    def adds_up(w):
        total[...] += np.cos(w)
        return total

    def uses_a_buffer(w):
        buffer[...] = np.cos(w)
        return buffer

    def f(w):
        buffer[...] = 0
        return np.sin(w).sum()

    arguments = np.array([0.5, 1.0])
    with pytest.raises(GradientMismatch, match="zero_grad"):
        assert_gradients_match(f, adds_up, arguments)
    assert_gradients_match(f, uses_a_buffer, arguments)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_one_entry_of_many_is_compared_with_the_largest_entry(dtype):
    """Not with the length of the whole: 5 % of one entry among a hundred thousand is seen in directions."""
    rng = np.random.default_rng(0)
    weights = rng.uniform(0.5, 1.0, 100_000).astype(dtype)
    f = lambda w: (weights.astype(w.dtype) * w).sum()  # noqa: E731
    arguments = rng.standard_normal(100_000).astype(dtype)
    wrong = weights.copy()
    wrong[54_321] *= wrong.dtype.type(1.05)
    assert_gradients_match(f, lambda w: weights, arguments, entries=20)
    with pytest.raises(GradientMismatch, match="random direction"):
        assert_gradients_match(f, lambda w: wrong, arguments, entries=20)


def test_a_large_leaf_with_few_entries_that_act():
    table = np.random.default_rng(0).standard_normal((20_000, 8))
    f = lambda table: np.sin(table[[3, 11]]).sum()  # noqa: E731

    def df(table):
        found = np.zeros_like(table)
        found[[3, 11]] = np.cos(table[[3, 11]])
        return found

    assert_gradients_match(f, df, table, entries=10)
    with caught("one row of it is missing"):
        assert_gradients_match(
            f, lambda table: df(table) * (np.arange(20_000) != 11)[:, None], table, entries=10
        )


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ((f, df, (W, B.astype(int))), TypeError, r"arguments\['bias'\]: expected a float32 or float64"),
        ((f, df, ()), ValueError, "expected at least one array"),
        ((f, df, (W, B * np.nan)), ValueError, "expected finite numbers"),
        ((W, df, (W, B)), TypeError, "f: expected a function"),
        ((lambda w, b: w, df, (W, B)), TypeError, "f: expected one floating-point number"),
        ((lambda w, b: None, df, (W, B)), TypeError, "f: expected an array, got None"),
        ((lambda w, b: 3, df, (W, B)), TypeError, "f: expected one floating-point number"),
    ],
)
def test_bad_arguments(arguments, error, said):
    with pytest.raises(error, match=said):
        assert_gradients_match(*arguments)
    with pytest.raises(ValueError, match="oracle: expected one of"):
        assert_gradients_match(f, df, (W, B), oracle="symbolic")


def test_comparison_of_two_dicts():
    one = {"w": np.array([1.0, 2.0]), "b": np.array([3.0])}
    assert_leaves_match(one, {name: value + 1e-13 for name, value in one.items()})
    with pytest.raises(GradientMismatch, match=r"missing \['b'\], unknown \['c'\]"):
        assert_leaves_match({"w": one["w"], "c": one["b"]}, one)
    with pytest.raises(GradientMismatch, match="of float32, expected"):
        assert_leaves_match(one | {"b": one["b"].astype(np.float32)}, one)
    with pytest.raises(VacuousCheck, match="'b'"):
        assert_leaves_match(one | {"b": np.zeros(1)}, one | {"b": np.zeros(1)})
    with pytest.raises(VacuousCheck, match="no leaves"):
        assert_leaves_match({}, {})
    with pytest.raises(VacuousCheck, match="'b': the reference itself is not finite"):
        assert_leaves_match(one, one | {"b": np.array([np.nan])}, rounding=1e-15)
    for large, small in ((np.int8([-128, 100]), np.int8([127, 100])), (np.uint8([0, 9]), np.uint8([255, 9]))):
        with caught("whole numbers do not wrap around"):
            assert_leaves_match({"w": large}, {"w": small}, relative=0.01)
    assert_leaves_match({"w": np.array([True])}, {"w": np.array([True])})
    with caught("another truth value"):
        assert_leaves_match({"w": np.array([True, False])}, {"w": np.array([True, True])})
    with pytest.raises(ValueError, match=r"dead: expected names among \['b', 'w'\], got \['c'\]"):
        assert_leaves_match(one, one, dead=["c"])
    with pytest.raises(ValueError, match="rounding: expected a finite number"):
        assert_leaves_match(one, one, rounding=np.inf)
    large = {"w": np.ones(100_000)}
    off = large["w"].copy()
    off[54_321] += 3e-11  # three times what is allowed, in one entry of many
    with pytest.raises(GradientMismatch, match=r"worst at \[54321\].*\n.*index 54321"):
        assert_leaves_match({"w": off}, large)
    # what rounding leaves where large terms cancel may be allowed, and not much more
    small = one | {"b": np.array([1e-9])}
    for off, options in ((1e-15, {"rounding": 1e-15}), (3e-15, {"rounding": 1e-15}), (1e-15, {})):
        moved = small | {"b": np.array([1e-9 + off])}
        if options and off < 2e-15:
            assert_leaves_match(moved, small, **options)
        else:
            with caught("more than a rounding"):
                assert_leaves_match(moved, small, **options)
    # a leaf's error is its own: not that of a large neighbour
    with caught("a small leaf is wrong"):
        assert_leaves_match(one | {"w": 1e9 * one["w"], "b": one["b"] + 1e-6}, one | {"w": 1e9 * one["w"]})


def test_liveness():
    assert_alive({"w": np.ones(2)}, rates=0.3, margin=0.1)
    for dead, said in (
        ({"gradients": {"w": np.zeros(2)}}, "the gradient of 'w' is 0"),
        ({"gradients": {"w": np.full(2, np.nan)}}, "the gradient of 'w' is nan"),
        ({"gradients": {}}, "there are no gradients"),
        ({"rates": {"a": 0.5, "b": 1.0}}, "the firing rate of 'b' is 1"),
        ({"rates": 0.2, "between": (0.3, 0.6)}, "expected between 0.3 and 0.6"),
        ({"margin": 1e-15}, "only 1.0e-15 from the threshold"),
        ({"margin": np.nan}, "from the threshold"),
        ({"gradients": {"w": np.array([np.inf])}}, "is inf, no finite number"),
        ({"rates": {}}, "there are no firing rates"),
    ):
        with pytest.raises(VacuousCheck, match=said):
            assert_alive(**dead)
    assert_alive({"w": np.zeros(2), "b": np.ones(1)}, dead=["w"])
    with pytest.raises(TypeError, match="expected gradients, rates or a margin"):
        assert_alive()
