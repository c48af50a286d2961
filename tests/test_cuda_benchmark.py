"""The benchmark of the CUDA kernels: compares before it times, and says when there is nothing to time on."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from refsnn.kernels import BackendUnavailableError
from validation import cuda_benchmark
from validation.cuda_benchmark import BAD, GOOD, NO_DEVICE, TINY, largest_error, main, measure

KERNELS = {
    f"{room}.{name}"
    for room in (
        "spiking",
        "recurrent",
        "recurrent_spiking",
        "adaptive",
        "attention",
        "manifold",
        "graph",
        "windows",
    )
    for module in [importlib.import_module(f"refsnn.kernels.plain.{room}")]
    for name, function in inspect.getmembers(module, inspect.isfunction)
    if function.__module__ == module.__name__ and not name.startswith("_")
}


@pytest.mark.cuda
def test_every_kernel_is_compared(capsys):
    assert main(["--tiny"]) == GOOD
    printed = capsys.readouterr().out
    assert len(KERNELS) == 37
    names = [line.split()[0] for line in printed.splitlines() if "." in line.split()[0]]
    assert set(names) == KERNELS | {"relaxation.phases:"}
    assert len(names) == len(KERNELS) + 3
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
    monkeypatch.setattr(cuda_benchmark, "CASES", (cuda_benchmark.spiking_cases,))
    assert main(["--tiny"]) == BAD
    assert "Not what plain computes: spiking.backward\n" in capsys.readouterr().out


@pytest.mark.cuda
def test_a_potential_is_compared_to_the_last_bit(monkeypatch, capsys):
    module = importlib.import_module("refsnn.kernels.cuda.recurrent_spiking")
    whole = module.spiking_forward

    def forward(*arguments, scratch):
        whole(*arguments, scratch=scratch)
        potential = arguments[-2]
        potential[0, 0] = np.nextafter(potential[0, 0], np.float32(np.inf))

    monkeypatch.setattr(module, "spiking_forward", forward)
    monkeypatch.setattr(cuda_benchmark, "CASES", (cuda_benchmark.recurrent_spiking_cases,))
    assert main(["--tiny"]) == BAD
    assert "Not what plain computes: recurrent_spiking.spiking_forward\n" in capsys.readouterr().out


def test_the_recurrent_layer_fires():
    """Else potentials would be compared of neurons that hear nothing; here with the compiled twin."""
    cases = [*cuda_benchmark.recurrent_spiking_cases(replace(TINY, steps=20, batch=8, units=40))]
    for case in cases:
        assert largest_error(case.compare("cpu"), case.compare("plain")) <= case.bound
    spikes = cases[0].compare("cpu")[2]
    assert 0.05 < spikes.mean() < 0.8


def test_adaptive_neurons_fire():
    """Once in a while, and in the run that is timed as in this one."""
    cases = [*cuda_benchmark.adaptive_cases(replace(TINY, steps=20, batch=8, units=40))]
    for case in cases:
        assert largest_error(case.compare("cpu"), case.compare("plain")) <= case.bound
    spikes = cases[0].compare("cpu")[0]
    assert 0.02 < spikes.mean() < 0.5


def test_attention_selects():
    """A few of many memories, and no threshold so close to its neighbours that float32 could swap them."""
    cases = [*cuda_benchmark.attention_cases(replace(TINY, slots=200, readers=8, memory_width=32))]
    assert [case.name.split(".")[1] for case in cases] == ["score", "select", "summarise", "attend_backward"]
    for case in cases:
        assert largest_error(case.compare("cpu"), case.compare("plain")) <= case.bound
    chosen, survivors, threshold_slot, weights, normaliser, gap = cases[1].compare("cpu")
    assert (survivors == 3).all()
    assert chosen.max() > 100
    assert (threshold_slot[:, None] != chosen).all()
    assert normaliser.min() > 1e-2
    assert weights.min() > 0


@pytest.mark.cuda
def test_one_slot_for_another_is_told(monkeypatch, capsys):
    module = importlib.import_module("refsnn.kernels.cuda.attention")
    whole = module.select

    def select(rule, scores, filled, reading, gap):
        whole(rule, scores, filled, reading, gap)
        reading.chosen[0, 0] += 1

    monkeypatch.setattr(module, "select", select)
    monkeypatch.setattr(cuda_benchmark, "CASES", (cuda_benchmark.attention_cases,))
    assert main(["--tiny"]) == BAD
    assert "Not what plain computes: attention.select\n" in capsys.readouterr().out


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


@pytest.mark.cuda
def test_times_of_several_launches_are_summed(monkeypatch):
    device = importlib.import_module("refsnn.kernels.cuda.device")
    moved = []
    event = SimpleNamespace(record=lambda: None, synchronize=lambda: None, elapsed_time=lambda end: 0.25)
    monkeypatch.setattr(device.cuda, "event", lambda: event)
    monkeypatch.setattr(cuda_benchmark, "copy_on_device", lambda size: moved.append(size) or (lambda: None))
    _, case = cuda_benchmark.recurrent_spiking_cases(TINY)
    assert case.name == "recurrent_spiking.spiking_backward"
    assert measure(case, timed=True).kernel == 6 * 0.25  # the step itself, and one product a gradient
    assert moved[0] > 4 * sum(array.size for array in case.call("plain"))


def test_errors_are_in_units_of_each_array():
    one, small = np.array([4.0, 2.0]), np.array([1e-3, 0.0])
    assert largest_error([one, small], [one, small]) == 0
    assert largest_error([one, small + 1e-4], [one, small]) == pytest.approx(0.1)
    assert largest_error([one * np.nan], [one]) == np.inf
    assert largest_error([one.astype(np.float32)], [one]) == np.inf
    assert largest_error([np.zeros(2)], [np.zeros(2)]) == np.inf  # two dead arrays agree about nothing
