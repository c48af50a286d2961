"""Whole gradients by sparse attentive backtracking on a CUDA device: the compiled twin's, slot by slot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from refsnn.models.attentive.network import CELLS, SCORES, SPARSIFIERS
from refsnn.models.attentive.run import attentive_run
from validation.claims.sparse_attentive_backtracking.problems import OFF, SMALL, draw, error, leaves_of

pytestmark = pytest.mark.cuda

# what all of them have together is counted below
CASES = {
    "paper": ((2, 1, 4), {}),
    "dev": (
        (2, 1, 3),
        {"sparsifier": "dev", "small_memory": "min", "score": "mlp_tanh_in", "cell": "tanh",
         "detached": ("query",)},
    ),
    "release": (
        (3, 1, 4),
        {"sparsifier": "release", "small_memory": "softmax", "score": "separable", "detached": ("key",)},
    ),
    "mixed": (
        (2, 1, OFF),
        {"small_memory": "zero", "mix_batch": True, "empty_memory": True,
         "loss_function": "mean_squared_error"},
    ),
    "mixed, dev": ((2, 1, 3), {"sparsifier": "dev", "mix_batch": True, "detached": ("value",)}),
    "all": ((0, 2, 3), {"readout": "last"}),
}  # fmt: skip


def test_the_cases_have_every_option():
    for option, known, usual in (
        ("sparsifier", SPARSIFIERS, "paper"), ("small_memory", SMALL, "raw"), ("score", SCORES, "mlp"),
        ("cell", CELLS, "lstm"), ("mix_batch", (True, False), False),
        ("detached", ((), ("query",), ("key",), ("value",)), ()),
    ):  # fmt: skip
        assert {options.get(option, usual) for _, options in CASES.values()} == set(known), option


def problem(name, dtype):
    setting, options = CASES[name]
    case = draw(np.random.default_rng(0), setting, steps=6, gap=1e-3, **options)

    def typed(arrays):
        return {leaf: value.astype(dtype) for leaf, value in arrays.items()}

    targets = case.targets.astype(dtype) if case.targets.dtype.kind == "f" else case.targets
    return replace(
        case, parameters=typed(case.parameters), inputs=case.inputs.astype(dtype), start=typed(case.start),
        targets=targets,
    )  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("dtype", "bound"), [(np.float64, 1e-12), (np.float32, 1e-4)])
def test_a_whole_gradient(name, dtype, bound):
    case = problem(name, dtype)
    expected, found = case.result("cpu"), case.result("cuda")
    np.testing.assert_array_equal(found.readings.chosen, expected.readings.chosen)
    np.testing.assert_array_equal(found.threshold_slots, expected.threshold_slots)
    assert (expected.threshold_slots >= 0).any() == (name != "all")
    assert found.gap == pytest.approx(expected.gap, abs=bound)
    assert found.loss == pytest.approx(expected.loss, rel=bound)
    for what in ("outputs", "weights", "reach"):
        mine, value = getattr(found, what), getattr(expected, what)
        assert mine.dtype == dtype, what
        np.testing.assert_allclose(mine, value, rtol=0, atol=bound * np.abs(value).max(), err_msg=what)
    leaves, others = leaves_of(found), leaves_of(expected)
    assert {value.dtype for value in leaves.values()} == {np.dtype(dtype)}
    blind = {"attention.query_weight"} if case.network.score == "separable" else set()
    for leaf, value in others.items():
        assert np.linalg.norm(value) > 1e-4 or leaf in blind, leaf
    assert error(leaves, others) <= bound


def test_the_same_bits_again():
    case = problem("mixed, dev", np.float64)
    found, again = case.result("cuda"), case.result("cuda", strategy="periodic", every=2)
    assert again.diagnostics.steps_executed > case.steps
    leaves = leaves_of(again)
    for leaf, value in leaves_of(found).items():
        assert np.array_equal(leaves[leaf], value), leaf
    run = attentive_run(case.network, case.parameters, case.inputs, initial_state=case.start, backend="cuda")
    assert np.array_equal(run.outputs, found.outputs)
    assert np.array_equal(run.weights, found.weights)
