"""The benchmark of the CUDA kernels: compares before it times, and says when there is nothing to time on."""

from __future__ import annotations

import importlib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from refsnn.kernels import BackendUnavailableError
from validation import cuda_benchmark
from validation.cuda_benchmark import BAD, GOOD, NO_DEVICE, TINY, largest_error, main, measure

KERNELS = ("spiking.forward", "spiking.backward", "spiking.rate_forward", "spiking.galerkin_forward")


@pytest.mark.cuda
def test_every_kernel_is_compared(capsys):
    assert main(["--tiny"]) == GOOD
    printed = capsys.readouterr().out
    for name in KERNELS:
        assert name in printed
    assert printed.count("relaxation.phases") == 3
    if importlib.import_module("refsnn.kernels.cuda.device").SIMULATED:
        assert "simulator" in printed
        assert "Nothing is timed" in printed


@pytest.mark.cuda
def test_a_kernel_that_computes_something_else_is_told(monkeypatch, capsys):
    module = importlib.import_module("refsnn.kernels.cuda.spiking")
    whole = module.backward

    def backward(neuron, charged, spike_adjoint, potential_adjoint, current_adjoint, window):
        whole(neuron, charged, spike_adjoint, potential_adjoint, current_adjoint, window)
        current_adjoint[0, 0] += np.float32(0.01)

    monkeypatch.setattr(module, "backward", backward)
    monkeypatch.setattr(cuda_benchmark, "relaxation_cases", lambda sizes: ())
    assert main(["--tiny"]) == BAD
    assert "Not what plain computes: spiking.backward\n" in capsys.readouterr().out


def test_without_a_device(monkeypatch, capsys):
    def refuse(backend):
        raise BackendUnavailableError("backend: no device, take another machine")

    monkeypatch.setattr(cuda_benchmark, "spiking_kernels", refuse)
    assert main([]) == NO_DEVICE
    printed = capsys.readouterr().out
    assert "No CUDA device here, nothing was measured." in printed
    assert "take another machine" in printed


@pytest.mark.cuda
def test_times_of_one_kernel(monkeypatch):
    """The clockwork, on whatever runs the kernels; the simulator has no clock."""
    device = importlib.import_module("refsnn.kernels.cuda.device")
    if device.SIMULATED:
        event = SimpleNamespace(record=lambda: None, synchronize=lambda: None, elapsed_time=lambda end: 0.25)
        monkeypatch.setattr(device.cuda, "event", lambda: event)
    launch = device.run
    case = next(iter(cuda_benchmark.spiking_cases(replace(TINY, neurons=3))))
    calls = []
    case = replace(case, call=lambda backend: calls.append(backend) or case.compare(backend))
    row = measure(case, timed=True)
    assert device.run is launch
    assert calls == ["cuda"] * (cuda_benchmark.WARM_UPS + cuda_benchmark.REPEATS)
    assert row.kernel is not None
    assert row.call is not None
    assert row.copied is not None
    assert min(row.kernel, row.call, row.copied) > 0
    if device.SIMULATED:
        assert row.kernel == 0.25
    assert row.name in cuda_benchmark.table([row])


def test_errors_are_in_units_of_each_array():
    one, small = np.array([4.0, 2.0]), np.array([1e-3, 0.0])
    assert largest_error([one, small], [one, small]) == 0
    assert largest_error([one, small + 1e-4], [one, small]) == pytest.approx(0.1)
    assert largest_error([one * np.nan], [one]) == np.inf
    assert largest_error([one.astype(np.float32)], [one]) == np.inf
    assert largest_error([np.zeros(2)], [np.zeros(2)]) == np.inf  # two dead arrays agree about nothing
