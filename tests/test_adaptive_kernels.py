"""The kernels of adaptive neurons are twins: the same spikes exactly, the same gradients, in pieces too."""

from __future__ import annotations

import functools
import importlib
import inspect
import itertools
import warnings

import numpy as np
import pytest
from barriers import Device
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import config

from refsnn.algorithms.adaptive_bptt import adaptive_bptt
from refsnn.equations.surrogates import Surrogate
from refsnn.kernels import BACKENDS, adaptive_kernels
from refsnn.kernels.adaptive import (
    Adjoints,
    Averaging,
    Cotangents,
    Gradients,
    Heard,
    Neurons,
    States,
)
from refsnn.models.adaptive.core import synapses
from refsnn.models.adaptive.delays import Delays
from refsnn.models.adaptive.network import AdaptiveSpikingNetwork
from refsnn.models.adaptive.neuron import DIVISORS, SCHEMES, AdaptiveNeuron, SpikePairsWarning
from refsnn.models.adaptive.windows import WindowTargets
from refsnn.models.spike_events import SpikeEvents

RELATIVE = {np.float64: 1e-12, np.float32: 2e-4}
TWINS = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]
# All of a run that decides over spikes, or follows from them by the same operations.
SAME_BITS = "z", "v", "b", "r", "currents", "arrived", "p", "m", "averages", "margin"


def public_signatures(backend):
    module = importlib.import_module(f"refsnn.kernels.{backend}.adaptive")
    return {
        name: inspect.signature(function)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    }


@pytest.mark.parametrize("backend", ["cpu", "cuda"])
def test_twins_by_name(backend):
    plain = public_signatures("plain")
    assert list(plain) == ["adaptive_backward", "adaptive_forward", "transmit"]
    assert public_signatures(backend) == plain


def test_unknown_backends():
    assert [adaptive_kernels(name).__name__.split(".")[2] for name in BACKENDS[:2]] == ["plain", "cpu"]
    with pytest.raises(ValueError, match=r"^backend: expected one of 'plain', 'cpu', 'cuda', got 'gpu'"):
        adaptive_kernels("gpu")


class Case:
    """Everything that the kernels are told, drawn; `run` copies what they write.

    Weights are random, or with `dyadic` such that no sum is rounded.  The state and the delay line before the
    first step are given, and there is noise, masks and direct cotangents where asked for.
    """

    def __init__(
        self, seed=0, steps=12, batch=3, inputs=4, n=5, slots=3, dtype=np.float64, density=0.7, dyadic=False,
        noise=False, masks=False, direct=False, trained=True, windows=((1, 3), (4, 4), (6, 9)),
        rate=0.4, **neuron,
    ):  # fmt: skip
        rng = np.random.default_rng(seed)
        self.steps, self.batch, self.inputs, self.n, self.slots = steps, batch, inputs, n, slots
        self.dtype = np.dtype(dtype)
        cells = steps, batch, n

        def drawn(*shape, scale=1.0):
            return (scale * rng.standard_normal(shape)).astype(dtype)

        def weights(*shape):
            there = rng.random(shape) < density
            if dyadic:
                return (there * rng.integers(-8, 17, shape) / 8).astype(dtype)
            return (there * (0.3 + 0.8 * rng.standard_normal(shape))).astype(dtype)

        options = {"leak": 0.75, "adaptation_decay": 0.875, "baseline": 0.25, "refractory": 1} | neuron
        strength = (0.0, 0.5, 1.0, 1.5, 0.25)
        options.setdefault("adaptation_strength", tuple(strength[j % 5] for j in range(n)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SpikePairsWarning)
            self.neuron = AdaptiveNeuron(**options)
        self.equations, self.constants = self.neuron.equations, self.neuron.constants(dtype)
        self.neurons = Neurons(*self.neuron.of_each(n, self.dtype).values())
        delays = Delays.uniform(rng, slots, inputs, n)
        self.into = synapses(weights(n, inputs), delays.input, False)
        self.back = synapses(weights(n, n), delays.recurrent, True)

        x = (rng.random((steps, batch, inputs)) < rate) * np.where(rng.random((steps, 1, 1)) < 0.8, 1.0, 0.5)
        events = SpikeEvents.from_array(x.astype(dtype))
        self.heard = Heard(
            events.starts, events.sources, events.values,
            drawn(*cells, scale=0.25) if noise else drawn(0, batch, n),
            rng.random(cells) < 0.3 if masks else np.zeros((0, batch, n), bool),
        )  # fmt: skip
        quarters = functools.partial(rng.integers, -4, 9, size=(batch, n))
        self.first = States(
            ((rng.random((batch, n)) < 0.5) * self.constants.spike_height).astype(dtype),
            (quarters() / 4).astype(dtype), (quarters() / 16).astype(dtype),
            rng.integers(0, 3, (batch, n)).astype(np.int16),
        )  # fmt: skip
        self.currents = (rng.integers(-4, 9, (batch, slots, n)) / 8).astype(dtype)
        self.trace, self.average = drawn(batch, n), drawn(batch, n)
        self.arrived = steps if trained else 0
        self.averaging = self._averaging([(a, b) for a, b in windows if b < steps])
        self.cotangents = Cotangents(
            *(drawn(*cells) if direct else drawn(0, batch, n) for _ in range(3)),
            drawn(len(windows), batch, n), drawn(n, scale=0.1),
        )  # fmt: skip
        state = batch, n
        line = batch, slots, n
        self.adjoints = Adjoints(*(drawn(*shape) for shape in (state, state, state, line, state, state)))
        shapes = (inputs, n), (n, n), (4 if trained else 0, n)
        self.gradients = [drawn(*shape) for shape in shapes]

    def _averaging(self, windows):
        keep, share = np.ones(self.steps, self.dtype), np.zeros(self.steps, self.dtype)
        ends = np.full(self.steps, -1)
        for w, (a, b) in enumerate(windows):
            keep[a], share[a : b + 1], ends[b] = 0, 1 / (b + 1 - a), w
        return Averaging(self.dtype.type(0.875), keep, share, ends)

    def piece(self, states, begin, end):
        """Arguments of some steps."""
        cells = slice(begin * self.batch, end * self.batch + 1)
        starts, sources, values, noise, masks = self.heard
        heard = Heard(starts[cells], sources, values, noise[begin:end], masks[begin:end])
        decay, *each = self.averaging
        before = States(*(array[begin:end] for array in states))
        after = States(*(array[begin + 1 : end + 1] for array in states))
        return heard, before, after, Averaging(decay, *(array[begin:end] for array in each))

    def run(self, backend, cuts=()):
        """Forward and back, in pieces that end at `cuts`; what came out, by name."""
        kernels, steps = adaptive_kernels(backend), self.steps
        pieces = list(itertools.pairwise((0, *cuts, steps)))
        states = States(*(np.full((steps + 1, *array.shape), 77, array.dtype) for array in self.first))
        for array, first in zip(states, self.first, strict=True):
            array[0] = first
        shape = self.batch, self.n
        arrived = np.full((self.arrived, *shape), np.nan, self.dtype)
        currents, trace, average = self.currents.copy(), self.trace.copy(), self.average.copy()
        averages, margin = np.full_like(self.cotangents.averages, 5), np.full(1, np.inf, self.dtype)
        scratch = np.full((self.batch, (2 * self.slots + 4) * self.n), np.nan, self.dtype)
        both = self.equations, self.constants, self.neurons
        for begin, end in pieces:
            heard, before, after, averaging = self.piece(states, begin, end)
            kernels.adaptive_forward(
                *both, heard, self.into, self.back, before, after, currents, arrived[begin:end], averaging,
                trace, average, averages, margin, scratch,
            )  # fmt: skip
        found = dict(zip("zvbr", states, strict=True))
        found |= {"currents": currents, "arrived": arrived, "p": trace, "m": average}
        found |= {"averages": averages, "margin": margin}

        adjoints = Adjoints(*(array.copy() for array in self.adjoints))
        by_inputs = np.full((steps, self.batch, self.inputs), np.nan, self.dtype)
        sums = [array.copy() for array in self.gradients]
        direct, others = self.cotangents[:3], self.cotangents[3:]
        for begin, end in reversed(pieces):
            heard, before, after, averaging = self.piece(states, begin, end)
            kernels.adaptive_backward(
                *both, heard, self.into, self.back, before, after, arrived[begin:end], averaging,
                Cotangents(*(array[begin:end] for array in direct), *others), adjoints,
                Gradients(*sums, by_inputs[begin:end]), scratch,
            )  # fmt: skip
        found |= {f"adjoint of {name}": array for name, array in adjoints._asdict().items()}
        names = ("into", "back", "neurons")
        return found | dict(zip(names, sums, strict=True)) | {"inputs": by_inputs}

    def sent(self, backend, spikes):
        """What `transmit` leaves in the delay line."""
        currents = self.currents.copy()
        adaptive_kernels(backend).transmit(self.heard, self.into, self.back, spikes, currents)
        return currents


def agree(found, expected, dtype, relative=None):
    """Leaf by leaf; the same bits forward, but for the order of sums on the way back."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype, name
        assert found[name].shape == value.shape, name
        assert value.dtype == (np.int16 if name == "r" else dtype), name
        if name in SAME_BITS:
            np.testing.assert_array_equal(found[name], value, err_msg=name)
        elif value.size:
            size = np.abs(value).max()
            error = np.abs(found[name] - value).max()
            bound = (RELATIVE[dtype] if relative is None else relative) * size
            assert error <= bound, f"{name}: off by {error:.1e} of {size:.1e}"


def alive(found, case, least=3):
    """Spikes of several neurons, none of them always; no gradient is zero throughout."""
    fired = found["z"][1:] != 0
    assert fired.sum() >= least
    assert not fired.all()
    assert np.isfinite(found["margin"][0])
    for name in ("into", "back", "inputs", *(["neurons"] if case.arrived else [])):
        assert np.abs(found[name]).max() > 1e-3, name
    if found["averages"].size:
        assert np.abs(found["averages"] - 5).max() > 1e-3
    else:  # where a window begins nothing goes on to the steps before it
        assert np.abs(found["adjoint of average"]).max() > 1e-3


def check(backend, case, least=3):
    expected, found = case.run("plain"), case.run(backend)
    alive(expected, case, least)
    agree(found, expected, case.dtype.type)
    return expected


# ---------------------------------------------------------------- twins


@pytest.mark.parametrize("backend", TWINS)
@pytest.mark.parametrize("refractory", [0, 1, 3])
@pytest.mark.parametrize("divisor", DIVISORS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_schemes(backend, scheme, divisor, refractory):
    case = Case(7, scheme=scheme, divisor=divisor, refractory=refractory)
    found = check(backend, case, least=10)
    assert (found["r"] > 0).any() or refractory == 0


@pytest.mark.parametrize("backend", TWINS)
@pytest.mark.parametrize("slots", [1, 3, 10])
@pytest.mark.parametrize("steps", [1, 9, 10, 11, 23])
def test_delays(backend, slots, steps):
    """Steps around the length of the delay line, and what was in it before."""
    case = Case(11, steps=steps, slots=slots, refractory=0, windows=((0, 0), (2, 7)))
    check(backend, case, least=1 if steps == 1 else 5)


@pytest.mark.parametrize("backend", TWINS)
@pytest.mark.parametrize(
    "options",
    [
        {"noise": True},
        {"masks": True},
        {"direct": True},
        {"trained": False},
        {"stop_reset": True, "scheme": "paper"},
        {"stop_recurrent": True},
        {"time_step": 0.5},
        {"surrogate": Surrogate("fast_sigmoid", 2.0, 0.5), "scheme": "eprop"},
        {"smooth": True, "refractory": 0, "masks": True, "noise": True, "direct": True, "least": 1},
        {"noise": True, "masks": True, "direct": True, "dtype": np.float32},
        {"dtype": np.float32, "scheme": "eprop", "trained": False},
        {"batch": 1},
        {"windows": ()},
        {"inputs": 1},
        {"density": 1.0},
        {"density": 0.1},
    ],
    ids=str,
)
def test_options(backend, options):
    options = dict(options)
    least = options.pop("least", 3)
    case = Case(3, **options)
    if options.get("smooth"):
        expected, found = case.run("plain"), case.run(backend)
        # exponentials and quotients of other libraries: close, not the same
        for name in expected:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-10, atol=1e-12, err_msg=name)
        assert np.abs(expected["back"]).max() > 1e-3
    else:
        check(backend, case, least)


@pytest.mark.parametrize("backend", TWINS)
@given(seed=st.integers(0, 2**32 - 1), dyadic=st.booleans())
@settings(max_examples=8)
def test_any_network(backend, seed, dyadic):
    rng = np.random.default_rng(seed)
    sizes = {"steps": 14, "batch": 4, "inputs": 6, "n": 7, "slots": 4} if backend == "cpu" else {}
    case = Case(
        seed, dyadic=dyadic, noise=bool(rng.integers(2)), refractory=int(rng.integers(3)), rate=0.8,
        direct=True, scheme=list(SCHEMES)[seed % 3], **sizes,
    )  # fmt: skip
    expected = case.run("plain")
    agree(case.run(backend), expected, np.float64)
    assert (expected["z"][1:] > 0).any()
    np.testing.assert_array_equal(
        case.sent(backend, expected["z"][:-1]), case.sent("plain", expected["z"][:-1])
    )


@pytest.mark.parametrize("backend", TWINS)
def test_one_neuron_hears_only_inputs(backend):
    case = Case(5, n=1, density=1.0, refractory=0, batch=2)
    expected, found = case.run("plain"), case.run(backend)
    agree(found, expected, np.float64)
    assert expected["z"][1:].sum() > 2
    assert np.abs(expected["into"] - case.gradients[0]).max() > 1e-3
    assert (found["back"] == 0).all()  # a diagonal is all there is


@pytest.mark.parametrize("backend", TWINS)
def test_silence(backend):
    """Far below the threshold nothing is sent, and what a window sees is the trace running out."""
    case = Case(6, rate=0.0)
    for array in case.first:
        array[...] = 0
    case.first.potential[...] = -8
    case.currents[...] = 0
    expected, found = case.run("plain"), case.run(backend)
    agree(found, expected, np.float64)
    assert not expected["z"].any()
    np.testing.assert_array_equal(found["into"], case.gradients[0])
    assert np.abs(expected["adjoint of potential"]).max() > 1e-3
    assert np.abs(expected["averages"] - 5).max() > 1e-3


@pytest.mark.parametrize("backend", ["plain", *TWINS])
@pytest.mark.parametrize("trained", [True, False])
def test_pieces_are_the_whole(backend, trained):
    """Bit for bit; only sums differ on a device, which adds up each sample's steps first."""
    case = Case(9, steps=13, slots=3, direct=True, noise=True, trained=trained)
    whole = case.run(backend)
    alive(whole, case)
    for cuts in ((1, 2, 7), tuple(range(1, 13))):
        pieces = case.run(backend, cuts)
        agree(pieces, whole, np.float64)
        for name, value in whole.items():
            if backend != "cuda" or name not in ("into", "back", "neurons"):
                np.testing.assert_array_equal(pieces[name], value, err_msg=name)


@pytest.mark.parametrize("trained", [True, False])
def test_more_samples_than_go_together(trained):
    """The groups of the compiled twin are uneven, and do not change a bit of what single steps give."""
    case = Case(10, batch=24, n=70, steps=11, slots=10, density=0.1, trained=trained)
    assert adaptive_kernels("cpu")._samples_together(case.slots * case.n) == 23
    check("cpu", case, least=1000)
    agree(case.run("cpu", tuple(range(1, 11))), case.run("cpu"), np.float64, relative=0)


@pytest.mark.parametrize("backend", ["plain", *TWINS])
def test_a_threshold_that_is_met_exactly_fires_nothing(backend):
    """Dyadic numbers: v_k = B_{k+1} in one neuron, above it in another."""
    case = Case(1, steps=3, batch=1, n=2, slots=1, dyadic=True, rate=0.0, adaptation_strength=0.0, leak=0.5)
    for array in case.first:
        array[...] = 0
    case.currents[...] = 0
    case.first.potential[0] = 0.25, 0.375
    found = case.run(backend)
    np.testing.assert_array_equal(found["z"][1], [[0, 1]])
    assert found["margin"] == 0


@pytest.mark.parametrize("backend", TWINS)
def test_a_network_of_random_weights(backend):
    """Through the algorithm: the same spikes while no distance is smaller than any rounding."""
    rng = np.random.default_rng(4)
    sizes = (6, 24, 3, 60, 3) if backend == "cpu" else (3, 6, 2, 20, 2)
    inputs, n, outputs, steps, batch = sizes
    neuron = AdaptiveNeuron(
        leak=0.9, adaptation_decay=0.95, adaptation_strength=(0.0,) * (n // 2) + (1.5,) * (n // 2),
        baseline=0.1, refractory=2,
    )  # fmt: skip
    network = AdaptiveSpikingNetwork(
        (inputs, n, outputs), neuron=neuron, delays=Delays.uniform(rng, 3, inputs, n), readout_decay=0.8
    )
    parameters = network.initialise(rng, gain=1.5)
    x = (rng.random((steps, batch, inputs)) < 0.3) * 1.0
    targets = WindowTargets([2, 11], [8, 19], rng.integers(0, outputs, (2, batch)))
    expected, found = (
        adaptive_bptt(network, parameters, x, targets, backend=name) for name in ("plain", backend)
    )
    assert expected.diagnostics.spike_rates["layer.1"] > 0.02
    assert found.diagnostics.margin == expected.diagnostics.margin > 1e-6
    np.testing.assert_array_equal(found.rates, expected.rates)
    for name, value in expected.gradients.items():
        assert np.abs(value).max() > 1e-4, name
        assert np.abs(found.gradients[name] - value).max() <= 1e-12 * np.abs(value).max(), name


# ---------------------------------------------------------------- threads and barriers


def watched(monkeypatch, case, device, order=list, threads=3):
    """A case on the CUDA kernels as Python, watched; kernels that follow run on the host."""
    module = adaptive_kernels("cuda")

    def launch(kernel, samples, _, shared_bytes, arguments, then=()):
        parameters = inspect.signature(kernel.py_func).parameters
        given = [
            (f"{kernel.py_func.__qualname__}: {label}", argument.array)
            if hasattr(argument, "array")
            else argument
            for label, argument in zip(parameters, arguments, strict=True)
        ]
        device.launch(kernel.py_func, samples, threads, shared_bytes, given, lambda n: order(range(n)))
        for add, count, (parts, total) in then:
            assert add is module._add_samples
            assert count == total.array.size
            np.add(total.array, parts.array.sum(axis=0), out=total.array)

    with monkeypatch.context() as patch:
        patch.setattr(module, "over_samples", launch)
        patch.setattr(module, "threads_for", lambda units: threads)
        patch.setattr(module, "cuda", device)
        return case.run("cuda")


RACING = Case(2, steps=5, batch=2, n=4, inputs=3, slots=2, windows=((0, 1), (2, 3)), noise=True)


@pytest.mark.cuda
def test_no_number_or_order_of_threads_changes_a_bit(monkeypatch):
    expected = RACING.run("cuda")
    alive(expected, RACING)
    for threads, order in ((1, list), (3, list), (4, lambda r: list(reversed(r)))):
        device = Device()
        found = watched(monkeypatch, RACING, device, order, threads)
        assert not device.log.races
        # a device contracts products and sums, Python does not
        agree(found, expected, np.float64, relative=0 if config.ENABLE_CUDASIM else None)


@pytest.mark.cuda
def test_every_barrier_is_needed(monkeypatch):
    """Each of them left out in turn: two threads meet at an entry."""
    whole = Device()
    watched(monkeypatch, RACING, whole)
    assert not whole.log.races
    assert len(whole.lines) == 2  # of each step forward, and back
    for line in whole.lines:
        device = Device(without=line)
        watched(monkeypatch, RACING, device)
        assert device.log.races, f"the barrier in line {line} does nothing"
