"""The three backends are twins: same names, same spikes, same gradients, in place and in pieces too."""

from __future__ import annotations

import dataclasses
import importlib
import inspect

import numpy as np
import pytest
from hypothesis import assume, event, given, note, settings
from hypothesis import strategies as st
from spiking_cases import ALL_VARIANTS, COMPILED_VARIANTS, Case, assert_leaves_agree, cases, run

from refsnn.equations.spiking import SpikingNeuron
from refsnn.equations.surrogates import Surrogate
from refsnn.kernels import BACKENDS, spiking_kernels
from refsnn.kernels.cpu import blocks

# Another order of summation, and exp and arctan that differ in the last place.
RELATIVE = {np.float64: 1e-12, np.float32: 1e-5}
FEW_VARIANTS = COMPILED_VARIANTS[::3]  # both resets and both comparisons, at half the compilation
ANY_BACKEND = [pytest.param(name, marks=pytest.mark.cuda) if name == "cuda" else name for name in BACKENDS]


def public_signatures(backend: str) -> dict[str, inspect.Signature]:
    module = importlib.import_module(f"refsnn.kernels.{backend}.spiking")
    return {
        name: inspect.signature(function)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    }


def live(case: Case) -> Case:
    """Only cases with spikes; the rate is told, so that dead examples would be seen."""
    spikes = run(spiking_kernels("plain"), case)["s"]
    note(f"seed {case.seed}, {spikes.mean():.2f} spikes a step")
    event(f"rate {np.ceil(spikes.mean() * 5) / 5:.1f}")
    assume(spikes.any())
    return case


@pytest.mark.parametrize("backend", ["cpu", "cuda"])
def test_twins_by_name(backend):
    plain = public_signatures("plain")
    assert list(plain) == ["backward", "count_forward", "forward", "galerkin_forward", "rate_forward"]
    assert public_signatures(backend) == plain


@given(st.one_of(cases(), cases(FEW_VARIANTS, (np.float32,))).map(live))
@settings(max_examples=60)
def test_cpu_is_plain(case):
    assert_leaves_agree(
        run(spiking_kernels("cpu"), case), run(spiking_kernels("plain"), case), RELATIVE[case.dtype]
    )


@pytest.mark.cuda
@given(cases(ALL_VARIANTS, (np.float64, np.float32)).map(live))
def test_cuda_is_plain(case):
    assert_leaves_agree(
        run(spiking_kernels("cuda"), case), run(spiking_kernels("plain"), case), RELATIVE[case.dtype]
    )


@pytest.mark.parametrize("backend", ANY_BACKEND)
@given(case=cases(FEW_VARIANTS).map(live))
@settings(max_examples=10)
def test_results_may_be_written_over_inputs(backend, case):
    kernels = spiking_kernels(backend)
    assert_leaves_agree(run(kernels, case, aliased=True), run(kernels, case), 0)


@pytest.mark.parametrize("backend", ANY_BACKEND)
@given(case=cases(FEW_VARIANTS).map(live), data=st.data())
@settings(max_examples=10)
def test_two_pieces_are_one(backend, case, data):
    """Windows count from the end of a call, so the second piece must be whole windows."""
    assume(case.steps > 1)
    if 0 < case.window < case.steps:
        whole = data.draw(
            st.integers(1, (case.steps - 1) // case.window), label="windows in the second piece"
        )
        split = case.steps - whole * case.window
    else:
        case, split = dataclasses.replace(case, window=0), data.draw(st.integers(1, case.steps - 1))
    kernels = spiking_kernels(backend)
    assert_leaves_agree(run(kernels, case, split=split), run(kernels, case), 0)


def test_threads_do_not_change_a_bit(monkeypatch):
    """Both the real threshold of splitting, and every uneven split of a small array."""
    large = Case(7, 2, 1 + blocks._ELEMENTS_WORTH_A_THREAD, SpikingNeuron(leak=0.9), 0, 2, np.float64)
    small = Case(8, 9, 11, SpikingNeuron(leak=0.9), 4, 3, np.float64)
    kernels, used = spiking_kernels("cpu"), []
    pool = blocks._pool
    monkeypatch.setattr(blocks, "_pool", lambda threads: used.append(threads) or pool(threads))
    for case, counts in ((large, (1, 2)), (small, (1, 2, 3, 11))):
        if case is small:
            monkeypatch.setattr(blocks, "_ELEMENTS_WORTH_A_THREAD", 1)
        results = []
        for threads in counts:
            monkeypatch.setattr(blocks.numba, "get_num_threads", lambda threads=threads: threads)
            used.clear()
            results.append(run(kernels, case))
            assert set(used) == ({threads} if threads > 1 else set())
        assert 0.05 < results[0]["s"].mean() < 0.95
        for result in results[1:]:
            assert_leaves_agree(result, results[0], 0)


@pytest.mark.parametrize("backend", ANY_BACKEND)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("fires", [">=", ">"])
def test_exactly_at_the_threshold(backend, dtype, fires):
    """Dyadic numbers: h = 1 exactly at step 0 (from rest) and at step 2 (from v = 0.5) of two neurons."""
    neuron = SpikingNeuron(leak=0.5, threshold=1.0, fires=fires)
    current = np.array([[1.0, 0.5], [0.25, 0.375], [0.875, 0.6875]], dtype)
    at = 1.0 if fires == ">=" else 0.0
    # neuron 0 goes on from 0 after the spike or from 1 without one; neuron 1 is at 0.3125 + 0.6875 at last
    charged = np.array([[1.0, 0.5], [0.25 + 0.5 * (1 - at), 0.625], [0, 1.0]], dtype)
    charged[2, 0] = 0.5 * charged[1, 0] + 0.875
    spikes = np.array([[at, 0], [0, 0], [at if charged[2, 0] == 1 else 1.0, at]], dtype)
    found_charged, found_spikes, potential = (
        np.empty_like(current),
        np.empty_like(current),
        np.zeros(2, dtype),
    )
    spiking_kernels(backend).forward(neuron, current, potential, found_charged, found_spikes)
    np.testing.assert_array_equal(found_charged, charged)
    np.testing.assert_array_equal(found_spikes, spikes)
    np.testing.assert_array_equal(potential, charged[2] - spikes[2])


@pytest.mark.parametrize("backend", ANY_BACKEND)
@pytest.mark.parametrize("reset", ["soft", "hard"])
@pytest.mark.parametrize("level", [-3.0, 40.0])
def test_silent_and_saturated(backend, reset, level):
    """Without any spike, and with one at every step, the potential has a closed form."""
    steps = 6
    neuron = SpikingNeuron(0.5, 1.0, reset, fires=">=", surrogate=Surrogate("boxcar", 1.0, 0.5))
    current, potential = np.full((steps, 3), level), np.zeros(3)
    charged, spikes = np.empty_like(current), np.empty_like(current)
    spiking_kernels(backend).forward(neuron, current, potential, charged, spikes)
    fired = float(level > 0)
    assert (spikes == fired).all()
    kept = 0.0 if reset == "hard" and fired else 1.0  # a hard reset forgets
    net = level - fired * (reset == "soft")
    expected = kept * net * (1 - 0.5**steps) / (1 - 0.5)
    np.testing.assert_allclose(potential, expected, rtol=1e-15)
    # far from the threshold this surrogate is 0, and only the potential carries the gradient
    adjoint, potential_adjoint = np.full_like(current, np.nan), np.ones(3)
    spiking_kernels(backend).backward(neuron, charged, np.ones_like(current), potential_adjoint, adjoint, 0)
    np.testing.assert_array_equal(
        adjoint, np.broadcast_to(kept * 0.5 ** np.arange(steps)[::-1, None], (6, 3))
    )
    np.testing.assert_array_equal(potential_adjoint, np.full(3, kept * 0.5**steps))


@pytest.mark.parametrize("backend", ANY_BACKEND)
def test_spikes_of_another_dtype(backend):
    """A byte a spike is enough for who only counts them."""
    current = np.random.default_rng(3).normal(0.6, 0.8, (5, 4))
    spikes, bytes_ = np.empty((5, 4)), np.empty((5, 4), np.uint8)
    for target in (spikes, bytes_):
        spiking_kernels(backend).forward(SpikingNeuron(), current, np.zeros(4), np.empty((5, 4)), target)
    assert 0 < spikes.mean() < 1
    np.testing.assert_array_equal(bytes_, spikes)


@pytest.mark.cuda
def test_strided_and_empty_arrays_on_the_device():
    """Copies are contiguous whatever the caller has, and a grid of nothing is not launched."""
    wide = np.random.default_rng(4).normal(0.6, 0.8, (5, 8))
    results = []
    for kernels, step in ((spiking_kernels("plain"), 2), (spiking_kernels("cuda"), 2)):
        current, spikes = wide.copy()[:, ::step], np.zeros((4, 5)).T
        potential = np.zeros(8)[::step]
        kernels.forward(SpikingNeuron(), current, potential, current, spikes)
        kernels.forward(SpikingNeuron(), current[:, :0], potential[:0], current[:, :0], spikes[:, :0])
        kernels.forward(SpikingNeuron(), current[:0], potential, current[:0], spikes[:0])
        results.append({"h": current, "s": spikes, "v": potential})
    assert results[0]["s"].any()
    assert_leaves_agree(results[1], results[0], 0)
