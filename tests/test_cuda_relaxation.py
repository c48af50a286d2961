"""The relaxation on a CUDA device, or in Numba's simulator, is the step of the model in a loop."""

from __future__ import annotations

import importlib
import inspect
import itertools

import numpy as np
import pytest
from barriers import Device
from numba import config

from refsnn.algorithms.relaxation import free_and_nudged, relax
from refsnn.kernels import relaxation_kernels
from refsnn.kernels.convergent import Coupling, Nudge, Relaxing
from refsnn.models.convergent import EnergyBasedNetwork, PrototypicalNetwork
from refsnn.models.convolution import Convolution

pytestmark = pytest.mark.cuda

# Another order of summation, products fused with their sums, and functions that differ in the last place.
RELATIVE = {np.float64: 1e-12, np.float32: 1e-5, np.complex128: 1e-12}
BATCH = 2


def dense(family=EnergyBasedNetwork, widths=(2, 3, 4, 3), **options):
    return family(widths, **options)


def convolutional(*convolutions, widths=(2, 3), image=(7, 6), family=PrototypicalNetwork, **options):
    """Dense layers of `widths`, the last of them convolutional like all that follow."""
    channels = (3, 2)[: len(convolutions)]
    return family((*widths, *channels[1:], 1), convolutions=convolutions, image=image, **options)


def draw(model, dtype=np.float64, seed=0, scale=1.5):
    """Parameters, a state in motion, inputs, targets."""
    rng = np.random.default_rng(seed)
    real = np.empty(0, dtype).real.dtype
    parameters = model.initialise(rng, real, scale)
    shapes = {name: array.shape for name, array in model.initial_state(parameters, BATCH).items()}
    state = {name: rng.uniform(-0.3, 1.1, shape).astype(real) for name, shape in shapes.items()}
    inputs = rng.uniform(-1, 1, (BATCH, *model.shapes[-1])).astype(real)
    targets = rng.dirichlet(np.ones(model.target_shape[-1]), (BATCH, *model.target_shape[:-1])).astype(real)
    if np.dtype(dtype).kind == "c":
        state = {name: array + 0.1j * rng.normal(size=array.shape) for name, array in state.items()}
    return parameters, state, inputs, targets


def assert_same(found, expected, relative):
    """Leaf by leaf, in units of the largest entry of each, same dtype, and neither dead nor all alike."""
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        size = np.abs(array).max()
        assert size > 1e-2, f"{name} is dead"
        assert array.size == 1 or np.ptp(np.abs(array)) > 1e-3, f"{name} is the same everywhere"
        assert np.abs(found[name] - array).max() <= relative * size, name


def compare(model, dtype=np.float64, steps=4, nudge=0.4, seed=0, relative=None):
    """A nudged relaxation on both; the nudge must have been felt."""
    parameters, state, inputs, targets = draw(model, dtype, seed)
    problem = model, parameters, inputs, state, steps, targets
    free = relax(*problem, backend="plain")
    expected, found = (relax(*problem, nudge, backend=backend) for backend in ("plain", "cuda"))
    assert_same(found.state, expected.state, relative or RELATIVE[dtype])
    assert found.residual == pytest.approx(expected.residual, rel=1e-3 if dtype is np.float32 else 1e-9)
    first = model.layers[0]
    assert np.abs(expected.state[first] - free.state[first]).max() > 1e-2
    return found, expected


ENERGY, PROTOTYPICAL = EnergyBasedNetwork, PrototypicalNetwork
DENSE = {
    "chain": dense(),
    "untied": dense(tied=False),
    "graph": dense(couplings=((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))),
    "linear output": dense(output="linear", activation="hardsigm"),
    "official output, clamped": dense(output="official", activation="sigm", clamp=True),
    "not gated": dense(gated=False, step_size=0.7),
    "outside": dense(PROTOTYPICAL),
    "inside": dense(PROTOTYPICAL, nudge_placement="inside", step_size=0.6, output="linear"),
    "shifted hard sigmoid": dense(PROTOTYPICAL, activation="ctrd_hard_sig"),
    "one layer": dense(PROTOTYPICAL, (3, 4)),
    "cross-entropy": dense(loss_function="cross_entropy"),
    "read-out": dense(readout=3),
    "cross-entropy of a read-out": dense(PROTOTYPICAL, readout=3, loss_function="cross_entropy"),
}
MAX, AVERAGE = Convolution(3, 1, "max", 2, crop=True), Convolution(2, 1, "average", 2, crop=True)
CONVOLUTIONAL = {
    "max, cropped": convolutional(MAX, Convolution(2, 1, "max", 2, crop=True)),
    "average, cropped": convolutional(AVERAGE, AVERAGE, family=ENERGY),
    "no pooling": convolutional(Convolution(3, 0, "none"), Convolution(2, 1, "none"), image=(5, 4)),
    "mixed, untied": convolutional(AVERAGE, MAX, tied=False),
    "image on top": convolutional(
        MAX, Convolution(2, 0, "max", 1), widths=(2,), readout=3, loss_function="cross_entropy"
    ),
}


@pytest.mark.parametrize("name", DENSE)
def test_dense_networks(name):
    compare(DENSE[name])


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_convolutional_networks(name):
    assert len(CONVOLUTIONAL[name].shapes[-3]) == 3  # a convolution of a layer that moves
    compare(CONVOLUTIONAL[name], steps=3)


@pytest.mark.parametrize(
    "model", [DENSE["cross-entropy of a read-out"], DENSE["linear output"], CONVOLUTIONAL["mixed, untied"]]
)
def test_float32_stays_float32(model):
    compare(model, np.float32, steps=3)


@pytest.mark.parametrize(
    "model",
    [DENSE["cross-entropy of a read-out"], DENSE["chain"], convolutional(AVERAGE, Convolution(2, 1, "none"))],
)
def test_complex_nudges(model):
    found, _ = compare(model, np.complex128, steps=3, nudge=0.3 + 0.4j)
    assert all(np.abs(array.imag).max() > 1e-2 for array in found.state.values())


def test_large_outputs_do_not_overflow():
    model = DENSE["cross-entropy of a read-out"]
    parameters, state, inputs, targets = draw(model)
    parameters["readout.bias"] = np.array([2e3, 2e3 + 0.5, -2e3])
    plain, found = (
        relax(model, parameters, inputs, state, 2, targets, 0.4, backend=backend).state
        for backend in ("plain", "cuda")
    )
    assert_same(found, plain, 1e-10)  # z is known to 1e-13 of its size only


def test_the_first_of_equal_maxima_has_the_feedback():
    """One value everywhere, dyadic, so that all entries of a window are equal in any order of summation."""
    kernels = Convolution(2, 0, "max", 2), Convolution(1, 0, "none")
    model = convolutional(*kernels, image=(9, 9), activation="identity")
    parameters, state, inputs, _ = draw(model)
    parameters = {name: np.full_like(array, 0.25) for name, array in parameters.items()}
    state["layer.2"][...] = 0.5
    plain, found = (
        relax(model, parameters, np.ones_like(inputs), state, 1, backend=backend).state
        for backend in ("plain", "cuda")
    )
    assert_same(found, plain, 1e-12)
    # the first is at the top left, so nothing comes down to the last row, and something to the last but one
    assert np.ptp(plain["layer.2"][:, :, 8]) == 0
    assert np.ptp(plain["layer.2"][:, :, 7], axis=-1).min() > 1e-3


@pytest.mark.parametrize("steps", [2, 5, 7])
def test_kept_states(steps):
    model = DENSE["outside"]
    parameters, state, inputs, targets = draw(model)
    problem = model, parameters, inputs, state, steps
    for targets_and_nudge in ((None, 0.0), (targets, 0.4)):
        plain, found = (
            relax(*problem, *targets_and_nudge, keep_last=5, backend=backend).kept
            for backend in ("plain", "cuda")
        )
        assert len(found) == len(plain) == min(steps + 1, 5)
        for one, other in zip(found, plain, strict=True):
            assert_same(one, other, 1e-12)


@pytest.mark.parametrize("watched", [3, 100])
def test_a_tolerance_stops_the_whole_batch(monkeypatch, watched):
    """After as many steps as plain, of the slower sample; in one piece or several, with kept states."""
    monkeypatch.setattr(relaxation_kernels("cuda"), "_STEPS_WATCHED", watched)
    model = dense(PROTOTYPICAL, (2, 3, 3), activation="sigm")
    parameters, _, inputs, targets = draw(model, scale=0.7)
    start = relax(model, parameters, inputs, steps=60, backend="plain").state
    start = {name: np.concatenate([array[:1], array[1:] + 0.3]) for name, array in start.items()}
    problem = model, parameters, inputs, start, 40
    plain, found = (
        relax(*problem, targets, 0.01, keep_last=4, tolerance=2e-3, backend=backend)
        for backend in ("plain", "cuda")
    )
    alone = relax(model, parameters, inputs[:1], {name: array[:1] for name, array in start.items()}, 40,
                  targets[:1], 0.01, tolerance=2e-3, backend="plain")  # fmt: skip
    assert alone.steps_taken + 2 < plain.steps_taken < 20  # the samples differ, and 3 does not divide by luck
    assert found.steps_taken == plain.steps_taken
    assert found.residual <= 2e-3
    assert_same(found.state, plain.state, 1e-12)
    for one, other in zip(found.kept, plain.kept, strict=True):
        assert_same(one, other, 1e-12)


def test_a_tolerance_is_compared_exactly():
    """A motion of 1/4 in float32, and tolerances next to it that float32 cannot hold."""
    unit = DENSE["outside"].unit(0)  # tanh of 0: layer 1 alone moves, by its own leak
    for tolerance, taken in ((0.25 - 1e-12, 3), (0.25, 2), (0.25 + 1e-12, 2), (-1.0, 9), (0.0, 9)):
        problem = Relaxing(
            (unit, unit),
            (Coupling(0, 1, np.zeros((1, 1), np.float32), np.zeros((1, 1), np.float32)),),
            (np.zeros((1, 1), np.float32), np.zeros((1, 1), np.float32)),
            0.5,
        )
        state = np.zeros((1, 1), np.float32), np.ones((1, 1), np.float32)
        assert relaxation_kernels("cuda").relax(problem, state, 9, None, tolerance, None) == taken
        assert state[1].item() == 0.5**taken


@pytest.mark.parametrize("name", ["cross-entropy of a read-out", "mixed, untied", "max, cropped"])
def test_phases_are_the_free_and_the_nudged_ones(name):
    model = (DENSE | CONVOLUTIONAL)[name]
    parameters, _, inputs, targets = draw(model)
    problem = model, parameters, inputs, targets, 3, 2, [0.4, -0.4, 0.1]
    (plain, plain_ends), (found, ends) = (
        free_and_nudged(*problem, backend=backend) for backend in ("plain", "cuda")
    )
    assert_same(found.state, plain.state, 1e-12)
    assert found.residual == pytest.approx(plain.residual, rel=1e-9)
    assert found.two_cycle_residual == pytest.approx(plain.two_cycle_residual, rel=1e-9)
    assert (found.steps_taken, found.steps_executed, found.kept) == (3, 5, ())
    assert len(ends) == len(plain_ends) == 3
    for one, other in zip(ends, plain_ends, strict=True):
        assert len(one) == len(other) == 1
        assert_same(one[-1], other[-1], 1e-12)
    first = model.layers[0]
    assert np.abs(ends[0][-1][first] - ends[1][-1][first]).max() > 1e-2
    kept = free_and_nudged(*problem, keep_last=1, backend="cuda")[0].kept
    assert len(kept) == 1
    assert all(np.array_equal(kept[0][name], found.state[name]) for name in model.layers)


def test_phases_with_kept_states_and_complex_nudges_go_phase_by_phase(monkeypatch):
    model = DENSE["chain"]
    parameters, _, inputs, targets = draw(model)
    monkeypatch.setattr(relaxation_kernels("cuda"), "phases", None)
    for options in ({"nudges": [0.4j, -0.4], "keep_last": 1}, {"nudges": [0.4, -0.4], "keep_last": 3}):
        problem = model, parameters, inputs, targets, 3, 3
        (plain, plain_ends), (found, ends) = (
            free_and_nudged(*problem, **options, backend=backend) for backend in ("plain", "cuda")
        )
        assert_same(found.state, plain.state, 1e-12)
        for one, other in zip(ends, plain_ends, strict=True):
            assert_same(one[-1], other[-1], 1e-12)


@pytest.mark.filterwarnings("ignore:.* encountered in .*:RuntimeWarning")  # of the simulator's threads
def test_an_overflow_is_told():
    model = dense(step_size=1.0, activation="identity")
    parameters, _, inputs, targets = draw(model, scale=1e80)
    for free_steps, nudge in ((9, 0.1), (1, 1e300)):
        with pytest.raises(FloatingPointError, match="does not settle"):
            free_and_nudged(model, parameters, inputs, targets, free_steps, 3, [nudge], backend="cuda")


def test_nudges_that_differ_in_more_than_their_amount_are_refused():
    model = DENSE["chain"]
    parameters, state, inputs, targets = draw(model)
    problem = model.relaxing(parameters, model.static_drive(parameters, inputs), BATCH, np.float64)
    nudges = Nudge(0.1, targets), Nudge(0.2, targets.copy())
    with pytest.raises(ValueError, match=r"^nudges\[1\]: expected the targets"):
        relaxation_kernels("cuda").phases(problem, tuple(state.values()), 1, 1, nudges)


def arguments_of(model, seed=0, nudged=True):
    """What the kernels are told of a case."""
    parameters, state, inputs, targets = draw(model, seed=seed)
    problem = model.relaxing(parameters, model.static_drive(parameters, inputs), BATCH, np.float64)
    nudge = model.nudge_of(parameters, targets, 0.4, np.float64)
    return problem, tuple(state.values()), nudge


@pytest.mark.parametrize("name", ["cross-entropy of a read-out", "max, cropped"])
def test_states_too_large_for_shared_memory(monkeypatch, name):
    """The same bits from global memory."""
    kernels, device = relaxation_kernels("cuda"), importlib.import_module("refsnn.kernels.cuda.device")
    ends = []
    for limit in (device.shared_memory_limit(), 0):
        monkeypatch.setattr(device, "shared_memory_limit", lambda limit=limit: limit)
        problem, state, nudge = arguments_of((DENSE | CONVOLUTIONAL)[name])
        nudged = kernels.phases(problem, state, 2, 2, (nudge,))
        ends.append((*state, *nudged[0]))
    assert kernels._kernel.cache_info().currsize >= 2
    for one, other in zip(*ends, strict=True):
        assert np.ptp(one) > 1e-3
        assert np.array_equal(one, other)


def test_memory_of_a_sample_is_enough_and_no_more():
    kernels = relaxation_kernels("cuda")
    for dtype, (units, outputs, records) in itertools.product(
        ("float32", "float64", "complex64", "complex128"), ((5, 0, 0), (7, 3, 0), (9, 1, 5))
    ):
        numbers, records_first, size = kernels._memory(units, outputs, records, np.dtype(dtype))
        assert numbers == 3 * units + 2 * outputs
        assert records_first * 4 == numbers * np.dtype(dtype).itemsize
        assert size == numbers * np.dtype(dtype).itemsize + 4 * records


# ---------------------------------------------------------------- threads and barriers

RACING = {
    "dense": (DENSE["cross-entropy of a read-out"], 2),
    "convolutional": (
        convolutional(Convolution(2, 0, "max", 2), Convolution(2, 1, "max", 2, crop=True), image=(5, 5)),
        2,
    ),
}


def watched_phases(monkeypatch, name, device, order=list, threads=3):
    """`phases` of a case through the kernel as Python, watched."""
    module = relaxation_kernels("cuda")
    model, steps = RACING[name]
    names = list(inspect.signature(module._kernel.__wrapped__).parameters)
    assert names == ["units", "dtype", "in_shared"]

    def launch(kernel, samples, _, shared_bytes, arguments):
        parameters = inspect.signature(kernel.py_func).parameters
        given = [
            (label, argument.array) if hasattr(argument, "array") else argument
            for label, argument in zip(parameters, arguments, strict=True)
        ]
        device.launch(kernel.py_func, samples, threads, shared_bytes, given, lambda n: order(range(n)))

    with monkeypatch.context() as patch:
        patch.setattr(module, "over_samples", launch)
        patch.setattr(module, "cuda", device)
        problem, state, nudge = arguments_of(model)
        nudges = tuple(nudge._replace(amount=amount) for amount in (0.4, -0.4))
        ends = module.phases(problem, state, steps, 1, nudges)
    return (*state, *itertools.chain(*ends))


@pytest.mark.parametrize("name", RACING)
def test_no_number_or_order_of_threads_changes_a_bit(monkeypatch, name):
    model, steps = RACING[name]
    problem, state, nudge = arguments_of(model)
    nudges = tuple(nudge._replace(amount=amount) for amount in (0.4, -0.4))
    ends = relaxation_kernels("cuda").phases(problem, state, steps, 1, nudges)
    expected = (*state, *itertools.chain(*ends))
    exact = bool(config.ENABLE_CUDASIM)  # a device contracts products and sums, Python does not
    for threads, order in ((1, list), (3, list), (4, lambda r: list(reversed(r)))):
        device = Device()
        found = watched_phases(monkeypatch, name, device, order, threads)
        assert not device.log.races
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=0 if exact else 1e-12)


@pytest.mark.parametrize("name", RACING)
def test_every_barrier_is_needed(monkeypatch, name):
    """Each of them left out in turn: two threads meet at an entry."""
    whole = Device()
    watched_phases(monkeypatch, name, whole)
    assert not whole.log.races
    assert len(whole.lines) == (5 if name == "dense" else 4)  # one stands in the softmax
    for line in whole.lines:
        device = Device(without=line)
        watched_phases(monkeypatch, name, device)
        assert device.log.races, f"the barrier in line {line} does nothing"


# ---------------------------------------------------------------- twins


def test_twins_by_name():
    signatures = []
    for backend in ("cpu", "cuda"):
        module = importlib.import_module(f"refsnn.kernels.{backend}.relaxation")
        signatures.append(
            {
                name: inspect.signature(function)
                for name, function in inspect.getmembers(module, inspect.isfunction)
                if function.__module__ == module.__name__ and not name.startswith("_")
            }
        )
    assert sorted(signatures[0]) == ["phases", "relax"]
    assert signatures[0] == signatures[1]


def test_phases_of_both_modules_are_the_same():
    model, steps = RACING["dense"]
    ends = []
    for backend in ("cpu", "cuda"):
        problem, state, nudge = arguments_of(model)
        nudges = tuple(nudge._replace(amount=amount) for amount in (0.4, -0.4))
        nudged = relaxation_kernels(backend).phases(problem, state, steps, 1, nudges)
        ends.append({str(n): array for n, array in enumerate((*state, *itertools.chain(*nudged)))})
    assert_same(ends[1], ends[0], 1e-12)
    assert np.abs(ends[0]["0"] - ends[0][str(len(state))]).max() > 1e-2
