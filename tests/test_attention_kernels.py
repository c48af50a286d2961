"""The kernels of sparse attention are twins: the same memories in the same order, and brute force agrees."""

from __future__ import annotations

import importlib
import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refsnn.kernels import BACKENDS, attention_kernels
from refsnn.kernels.attention import CODES, Reading, Sparsifier

RELATIVE = {np.float64: 1e-12, np.float32: 2e-5}
CUDA = pytest.param("cuda", marks=pytest.mark.cuda)
ANY_BACKEND = ["plain", "cpu", CUDA]
TWINS = ANY_BACKEND[1:]


def tried(check, backend, count, *strategies):
    """So many examples; fewer where kernels are simulated, which takes its time."""
    count = count // 8 if backend == "cuda" else count
    settings(max_examples=count)(given(st.just(backend), *strategies)(check))()


THRESHOLDED = ["paper", "dev", "release", "min"]


def public_signatures(backend):
    module = importlib.import_module(f"refsnn.kernels.{backend}.attention")
    return {
        name: inspect.signature(function)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    }


@pytest.mark.parametrize("backend", ["cpu", "cuda"])
def test_twins_by_name(backend):
    plain = public_signatures("plain")
    assert list(plain) == ["attend_backward", "score", "select", "summarise"]
    assert public_signatures(backend) == plain


def test_unknown_backends():
    assert [attention_kernels(name).__name__.split(".")[2] for name in BACKENDS[:2]] == ["plain", "cpu"]
    with pytest.raises(ValueError, match=r"^backend: expected one of 'plain', 'cpu', 'cuda', got 'gpu'"):
        attention_kernels("gpu")


def rule(name, top, dtype=np.float64, norm=1e-7, shift=1e-7, mixed=False):
    return Sparsifier(CODES[name], top, dtype(norm), dtype(shift), mixed)


def blank(batch, places, dtype=np.float64):
    """A reading with rubbish in it."""
    whole = np.full((batch, places), -7, np.int32), np.full(batch, -7, np.int32), np.full(batch, -7, np.int32)
    return Reading(*whole, np.full((batch, places), np.nan, dtype), np.full(batch, np.nan, dtype))


def selected(backend, how, scores, filled):
    """What was read, spread over the slots; threshold slots; U; gap."""
    reading, gap = blank(len(scores), max(filled, 1), scores.dtype), np.full(1, np.inf, scores.dtype)
    attention_kernels(backend).select(how, scores, filled, reading, gap)
    chosen = [reading.chosen[b, :count].tolist() for b, count in enumerate(reading.survivors)]
    weights = [reading.weights[b, :count] for b, count in enumerate(reading.survivors)]
    assert reading.weights.dtype == reading.normaliser.dtype == scores.dtype
    return chosen, weights, reading.threshold_slot.tolist(), reading.normaliser, gap[0]


def brute_force(how, name, scores, filled):
    """S4 in Python, number by number."""
    batch, top = len(scores), how.top
    ranked = [sorted(range(filled), key=lambda j: (-scores[b, j], j)) for b in range(batch)]
    found = []
    for b in range(batch):
        row = [float(x) for x in scores[b, :filled]]
        if name in ("raw", "zero", "softmax"):
            slots = [] if name == "zero" else list(range(filled))
            weights = row if name == "raw" else [np.exp(x - max(row)) for x in row]
            share = 1.0 if name == "raw" else sum(weights)
            found.append((slots, [w / share for w in weights][: len(slots)], -1, 1.0))
            continue
        place = {"release": top - 1, "min": filled - 1}.get(name, top)
        shift = {"paper": 0.0, "dev": -float(how.threshold_shift)}.get(name, float(how.threshold_shift))

        def limit(j, b=b, place=place, shift=shift):
            owner = (b * filled + j) % batch if how.mixed else b
            return float(scores[owner, ranked[owner][place]]) + shift

        slots = [j for j in range(filled) if row[j] - limit(j) > 0]
        raised = [row[j] - limit(j) for j in slots]
        total = sum(raised) + float(how.norm_shift)
        found.append((slots, [u / total for u in raised], ranked[b][place], total))
    return found


@pytest.mark.parametrize("backend", ANY_BACKEND)
def test_selection_is_that_of_brute_force(backend):
    tried(
        selection_is_that_of_brute_force, backend, 120,
        st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 12), st.integers(1, 12),
        st.sampled_from(sorted(CODES)), st.booleans(), st.booleans(),
    )  # fmt: skip


def selection_is_that_of_brute_force(backend, seed, batch, filled, top, name, dyadic, mixed):
    """With dyadic scores many are equal, and differences exact: the lowest slot is the first."""
    rng = np.random.default_rng(seed)
    top = min(top, filled - 1) if name in ("paper", "dev") else min(top, filled)
    if name in ("paper", "dev", "release") and top < 1:
        return
    scores = rng.standard_normal((batch, filled + 2))
    if dyadic:
        scores = rng.integers(-3, 4, (batch, filled + 2)) / 4
    how = rule(name, top, norm=2**-20, shift=2**-20, mixed=mixed)
    kept = scores.copy()
    chosen, weights, slots, totals, gap = selected(backend, how, scores, filled)
    assert np.array_equal(scores, kept)
    expected = brute_force(how, name, scores, filled)
    assert chosen == [entry[0] for entry in expected]
    assert slots == [entry[2] for entry in expected]
    for mine, entry in zip(weights, expected, strict=True):
        np.testing.assert_allclose(mine, entry[1], rtol=1e-11, atol=0)
    np.testing.assert_allclose(totals, [entry[3] for entry in expected], rtol=1e-11)
    if name in THRESHOLDED:
        place = {"release": top - 1, "min": filled - 1}.get(name, top)
        ranked = -np.sort(-scores[:, :filled], axis=1)[:, max(place - 1, 0) : place + 2]
        assert gap == (-np.diff(ranked, axis=1)).min(initial=np.inf)
    else:
        assert gap == np.inf


@pytest.mark.parametrize("backend", TWINS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_compiled_selection_is_the_plain_one(backend, dtype):
    tried(
        selection_is_the_plain_one, backend, 60, st.just(dtype),
        st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(2, 40), st.sampled_from(sorted(CODES)),
    )  # fmt: skip


def selection_is_the_plain_one(backend, dtype, seed, batch, filled, name):
    """Rankings by another algorithm give the same slots, ties too, and weights to the order of a sum."""
    rng = np.random.default_rng(seed)
    scores = (rng.integers(-2, 3, (batch, filled)) / 2 + 1e-3 * rng.integers(0, 2, (batch, filled))).astype(
        dtype
    )
    how = rule(name, int(rng.integers(1, filled)), dtype, mixed=bool(rng.random() < 0.3))
    plain, compiled = (selected(which, how, scores, filled) for which in ("plain", backend))
    assert compiled[0] == plain[0]
    assert compiled[2] == plain[2]
    for mine, expected in zip(compiled[1], plain[1], strict=True):
        np.testing.assert_allclose(mine, expected, rtol=RELATIVE[dtype])
    np.testing.assert_allclose(compiled[3], plain[3], rtol=RELATIVE[dtype])
    assert compiled[4] == plain[4]


@pytest.mark.parametrize("backend", ANY_BACKEND)
def test_the_worked_example(backend):
    scores = np.array([[0.3, -0.1, 0.7, 0.2, 0.5]])
    chosen, weights, slots, totals, gap = selected(backend, rule("paper", 2, norm=0.0), scores, 5)
    assert (chosen, slots) == ([[2, 4]], [0])
    np.testing.assert_allclose(weights[0], [2 / 3, 1 / 3], rtol=1e-15)
    np.testing.assert_allclose(totals, [0.6], rtol=1e-15)
    assert gap == pytest.approx(0.1)


@pytest.mark.parametrize("backend", ANY_BACKEND)
@pytest.mark.parametrize("norm", [0.0, 1e-7])
def test_nobody_above_the_threshold(backend, norm):
    """All equal: no survivor, nothing divided by 0, and the threshold is the lowest slot in its place."""
    for name, slot in (("paper", 2), ("release", 1), ("min", 4)):
        chosen, weights, slots, totals, gap = selected(backend, rule(name, 2, norm=norm), np.ones((2, 5)), 5)
        assert (chosen, slots, gap) == ([[], []], [slot, slot], 0)
        assert totals.tolist() == [norm, norm]


@pytest.mark.parametrize("backend", ANY_BACKEND)
def test_softmax_of_large_scores(backend):
    """Relative to the highest, wherever it is: no exponential overflows."""
    scores = np.array([[0.0, 1000.0, -1000.0, 1000.0], [2000.0, 0.0, 0.0, 0.0]])
    chosen, weights, slots, totals, gap = selected(backend, rule("softmax", 4), scores, 4)
    assert (chosen, slots, totals.tolist(), gap) == ([[0, 1, 2, 3]] * 2, [-1, -1], [1, 1], np.inf)
    assert [row.tolist() for row in weights] == [[0, 0.5, 0, 0.5], [1, 0, 0, 0]]


@pytest.mark.parametrize("backend", ANY_BACKEND)
@pytest.mark.parametrize("squashed", [True, False])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_scores(backend, squashed, dtype):
    rng = np.random.default_rng(5)
    filled, batch, width = 4, 3, 6
    keys, query, weight = (
        rng.standard_normal(shape).astype(dtype)
        for shape in ((filled, batch, width), (batch, width), (width,))
    )
    scores = np.full((batch, filled + 2), np.nan, dtype)
    attention_kernels(backend).score(keys, query, weight, squashed, scores)
    raised = keys.astype(float) + query.astype(float)
    expected = ((np.tanh(raised) if squashed else raised) @ weight.astype(float)).T
    assert scores.dtype == dtype
    np.testing.assert_allclose(scores[:, :filled], expected, rtol=10 * RELATIVE[dtype], atol=RELATIVE[dtype])
    assert np.isnan(scores[:, filled:]).all()
    attention_kernels(backend).score(keys[:0], query, weight, squashed, scores)  # an empty memory
    assert np.isnan(scores[:, filled:]).all()


@pytest.mark.parametrize("backend", ANY_BACKEND)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_equal_memories_have_equal_scores(backend, dtype):
    """To the last bit, wherever they are and however wide the score is: or ties would not be ties."""
    rng = np.random.default_rng(6)
    for width in (1, 7, 33, 34, 64):
        for filled in (2, 5, 19):
            keys = np.repeat(rng.standard_normal((1, 2, width)), filled, axis=0).astype(dtype)
            query, weight = (rng.standard_normal(shape).astype(dtype) for shape in ((2, width), width))
            scores = np.zeros((2, filled), dtype)
            attention_kernels(backend).score(keys, query, weight, True, scores)
            assert scores.any()
            assert np.array_equal(scores, np.repeat(scores[:, :1], filled, axis=1)), (width, filled)


# -- the way back ---------------------------------------------------------------------------------------


def forward(keys, query, weight, squashed, memory, names, how, frozen):
    """s of all samples from scores on, survivors and thresholds as they are: smooth, complex."""
    raised = keys + query
    scores = ((np.tanh(raised) if squashed else raised) @ weight).T
    batch, filled = scores.shape
    summaries = []
    for b, (slots, _, _, _) in enumerate(frozen):
        a = scores[b]
        if names == "raw":
            w = a
        elif names == "softmax":
            w = np.exp(a) / np.exp(a).sum()
        elif names == "zero":
            w = 0 * a
        else:
            shift = {"paper": 0, "dev": -how.threshold_shift}.get(names, how.threshold_shift)
            owners = [(b * filled + j) % batch if how.mixed else b for j in slots]
            u = [a[j] - scores[o, frozen[o][2]] - shift for j, o in zip(slots, owners, strict=True)]
            total = sum(u) + how.norm_shift
            w = np.zeros(filled, scores.dtype)
            w[slots] = np.array(u) / total if len(slots) else 0
        summaries.append(w @ memory[:, b])
    return np.array(summaries)


@pytest.mark.parametrize("backend", ANY_BACKEND)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_way_back(backend, dtype):
    tried(
        way_back_is_the_derivative, backend, 50, st.just(dtype),
        st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 7), st.sampled_from(sorted(CODES)),
        st.booleans(), st.booleans(), st.booleans(),
    )  # fmt: skip


def way_back_is_the_derivative(backend, dtype, seed, batch, filled, name, squashed, attached, mixed):
    """All four adjoints against the complex step of a forward pass of its own; unread slots have none."""
    rng = np.random.default_rng(seed)
    if name in ("paper", "dev") and filled < 2:
        return
    top = int(rng.integers(1, filled)) if filled > 1 else 1
    units, width = 3, 4
    keys, memory = rng.standard_normal((filled, batch, width)), rng.standard_normal((filled, batch, units))
    query, weight = rng.standard_normal((batch, width)), rng.standard_normal(width)
    upstream = rng.standard_normal((batch, units))
    how = rule(name, top, norm=0.05, shift=0.02, mixed=mixed)
    raised = keys + query
    scores = np.ascontiguousarray(((np.tanh(raised) if squashed else raised) @ weight).T)
    if np.diff(np.sort(scores.ravel())).min(initial=1) < 1e-3:
        return  # float32 selects the same
    typed = [np.ascontiguousarray(array, dtype) for array in (keys, query, weight, memory, scores, upstream)]
    kernels, own = attention_kernels(backend), rule(name, top, dtype, 0.05, 0.02, mixed)
    reading = blank(batch, filled, dtype)
    kernels.select(own, typed[4], filled, reading, np.full(1, np.inf, dtype))
    summary = np.full((batch, units), np.nan, dtype)
    kernels.summarise(typed[3], reading, summary)
    frozen = brute_force(how, name, scores, filled)

    def summaries(keys, query, weight, memory):
        return forward(keys, query, weight, squashed, memory, name, how, frozen)

    scale = 1 + np.abs(summary).max()
    np.testing.assert_allclose(
        summary, summaries(keys, query, weight, memory), atol=20 * RELATIVE[dtype] * scale
    )
    first = rng.standard_normal(memory.shape), rng.standard_normal(keys.shape), rng.standard_normal(width)
    memory_adjoint, key_adjoint, score_gradient = (array.astype(dtype) for array in first)
    query_adjoint, work = np.full((batch, width), np.nan, dtype), np.zeros((batch, filled + 1), dtype)
    kernels.attend_backward(
        own, filled, typed[0], typed[1], typed[2], squashed, typed[3], reading, typed[5], attached,
        memory_adjoint, key_adjoint, score_gradient, query_adjoint, work,
    )  # fmt: skip
    assert not work.any()
    point = {"keys": keys, "query": query, "weight": weight, "memory": memory}
    found = {
        "keys": key_adjoint - first[1], "query": query_adjoint, "weight": score_gradient - first[2],
        "memory": memory_adjoint - first[0],
    }  # fmt: skip
    for leaf, value in point.items():
        expected = np.zeros(value.shape)
        for index in np.ndindex(value.shape):
            moved = value.astype(complex)
            moved[index] += 1e-30j
            expected[index] = (summaries(**(point | {leaf: moved})).imag * upstream).sum() / 1e-30
        if leaf == "memory" and not attached:
            expected[:] = 0
        tolerance = 100 * RELATIVE[dtype] * (1 + np.abs(expected).max())
        np.testing.assert_allclose(found[leaf], expected, atol=tolerance, err_msg=leaf)
    touched = {j for entry in frozen for j in [*entry[0], entry[2]]}
    for j in set(range(filled)) - touched:
        assert np.array_equal(memory_adjoint[j], first[0][j].astype(dtype))
        assert np.array_equal(key_adjoint[j], first[1][j].astype(dtype))
