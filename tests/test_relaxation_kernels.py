"""The compiled relaxation of dense networks is the model's step in a loop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from refsnn.algorithms.relaxation import NotSettledError, relax, settle
from refsnn.kernels import relaxation_kernels
from refsnn.kernels.cpu import dense_relaxation
from refsnn.models.convergent import EnergyBasedNetwork, PrototypicalNetwork
from refsnn.models.convergent_network import ConvergentNetwork

SEEDS = st.integers(0, 2**32 - 1)
EQUATIONS = (
    (PrototypicalNetwork, {"activation": "sigm"}),
    (PrototypicalNetwork, {"activation": "tanh", "nudge_placement": "inside"}),
    (PrototypicalNetwork, {"activation": "my_hard_sig", "nudge_placement": "inside", "output": "linear"}),
    (PrototypicalNetwork, {"activation": "ctrd_hard_sig", "output": "linear"}),
    (EnergyBasedNetwork, {"activation": "tanh"}),
    (EnergyBasedNetwork, {"activation": "sigm", "output": "official"}),
    (EnergyBasedNetwork, {"activation": "sigm", "output": "linear", "clamp": True}),
    (EnergyBasedNetwork, {"activation": "hardsigm", "clamp": True}),
    (EnergyBasedNetwork, {"activation": "tanh", "gated": False}),
    (EnergyBasedNetwork, {"activation": "identity"}),
)
# compiled for each kind of number: few of them beyond float64
FEW = (EQUATIONS[0], EQUATIONS[7])
ANALYTIC = (EQUATIONS[1], EQUATIONS[4])


def network(rng, equations=EQUATIONS, **options):
    """One to four layers, as a chain or with couplings across, of one of the equations."""
    family, more = equations[rng.integers(len(equations))]
    depth = int(rng.integers(1, 5))
    couplings = ()
    if rng.integers(2):
        pairs = [(post, pre) for pre in range(1, depth + 1) for post in range(pre)]
        chosen = {(layer, depth if rng.integers(2) else layer + 1) for layer in range(depth)}
        chosen |= {pair for pair in pairs if rng.integers(2)}
        couplings = tuple(sorted(chosen))
    options = {
        "tied": bool(rng.integers(2)),
        "step_size": float(rng.uniform(0.2, 1)),
        "loss_function": str(rng.choice(["mean_squared_error", "cross_entropy"])),
        "readout": int(rng.integers(1, 5)) if rng.integers(2) else None,
        **more,
        **options,
    }
    return family(tuple(int(width) for width in rng.integers(1, 9, size=depth + 1)), couplings, **options)


def problem(rng, model, dtype=np.float64):
    """Parameters, inputs, a state and targets."""
    batch = int(rng.integers(1, 5))
    parameters = model.initialise(rng, dtype, scale=1.5)
    state = {
        name: rng.uniform(-0.5, 1, array.shape).astype(dtype)
        for name, array in model.initial_state(parameters, batch).items()
    }
    inputs = rng.uniform(size=(batch, *model.shapes[-1])).astype(dtype)
    targets = rng.uniform(0.1, 1, size=(batch, *model.target_shape))
    if model.loss_function == "cross_entropy":
        targets /= targets.sum(axis=1, keepdims=True)
    return parameters, inputs, state, targets.astype(dtype)


def both(model, case, steps, nudge, **options):
    """The loop over the model's step, and the compiled one; free where nudge is None."""
    parameters, inputs, state, targets = case
    before = {name: array.copy() for name, array in state.items()}
    phase = (None, 0.0) if nudge is None else (targets, nudge)
    drive = model.static_drive(parameters, inputs)
    runs = [
        settle(model, parameters, inputs, state, steps, *phase, drive, backend=backend, **options)
        for backend in ("plain", "cpu")
    ]
    for name, array in state.items():
        np.testing.assert_array_equal(array, before[name])  # the caller's state stays as it was
    return runs


def tame(plain, start):
    """It moved; and it did not run away, or come near a pole of tanh, where rounding errors multiply."""
    moved = max(np.abs(array - start[name]).max() for name, array in plain.state.items())
    return moved > 0.01 and max(np.abs(array).max() for array in plain.state.values()) < 10


def assert_same(runs, start, error):
    """Layer by layer, real and imaginary parts, kept states too; after a relaxation that went somewhere."""
    plain, compiled = runs
    assert tame(plain, start)
    assert (compiled.steps_taken, compiled.steps_executed) == (plain.steps_taken, plain.steps_executed)
    assert len(compiled.kept) == len(plain.kept)
    pairs = [(compiled.state, plain.state), *zip(compiled.kept, plain.kept, strict=True)]
    for part in (np.real, np.imag):
        # of the whole network: a clamped layer may be as good as zero
        size = max(np.abs(part(array)).max() for _, state in pairs for array in state.values())
        for one, other in pairs:
            for name, expected in other.items():
                # the plain loop leaves a layer real until a complex nudge arrives
                assert one[name].real.dtype == expected.real.dtype
                np.testing.assert_allclose(part(one[name]), part(expected), rtol=0, atol=error * size)
    np.testing.assert_allclose(compiled.residual, plain.residual, rtol=0, atol=10 * error)


@settings(max_examples=100)
@given(seed=SEEDS)
def test_cpu_is_plain(seed):
    rng = np.random.default_rng(seed)
    model = network(rng)
    case = problem(rng, model)
    nudge = None if rng.integers(3) == 0 else float(rng.uniform(-1, 1))
    runs = both(model, case, int(rng.integers(1, 9)), nudge, keep_last=int(rng.integers(12)))
    assume(tame(runs[0], case[2]))
    assert_same(runs, case[2], 1e-12)


@given(seed=SEEDS)
def test_cpu_is_plain_in_float32(seed):
    rng = np.random.default_rng(seed)
    model = network(rng, FEW)
    case = problem(rng, model, np.float32)
    nudge = None if rng.integers(3) == 0 else 0.5
    runs = both(model, case, int(rng.integers(1, 6)), nudge, keep_last=2)
    assert {array.dtype.name for array in runs[1].state.values()} == {"float32"}
    assume(tame(runs[0], case[2]))
    assert_same(runs, case[2], 1e-5)


@given(seed=SEEDS)
def test_a_complex_nudge(seed):
    rng = np.random.default_rng(seed)
    model = network(rng, ANALYTIC, loss_function=str(rng.choice(["mean_squared_error", "cross_entropy"])))
    case = problem(rng, model)
    nudge = [1e-30j, 0.3 * np.exp(1j * rng.uniform(0, 6))][rng.integers(2)]
    runs = both(model, case, int(rng.integers(1, 9)), complex(nudge), keep_last=1)
    assume(np.abs(runs[0].state["layer.0"].imag).max() > 0)  # the softmax of one class feels no force
    assume(tame(runs[0], case[2]))
    assert_same(runs, case[2], 1e-12)


def test_a_complex_nudge_in_float32():
    rng = np.random.default_rng(1)
    model = PrototypicalNetwork((3, 5, 4), nudge_placement="inside")
    case = problem(rng, model, np.float32)
    runs = both(model, case, 5, 0.2 + 0.3j, keep_last=3)
    assert {array.dtype.name for array in runs[1].state.values()} == {"complex64"}
    assert_same(runs, case[2], 1e-5)


def test_a_complex_state_and_complex_parameters():
    rng = np.random.default_rng(2)
    model = EnergyBasedNetwork((3, 4, 5))
    parameters, inputs, state, _ = problem(rng, model)
    turned = {name: array * np.exp(0.2j) for name, array in parameters.items()}
    runs = [
        relax(model, turned, inputs, state, steps=6, keep_last=7, backend=backend)
        for backend in ("plain", "cpu")
    ]
    assert np.abs(runs[0].state["layer.1"].imag).max() > 0.01
    assert_same(runs, state, 1e-12)


@given(seed=SEEDS)
def test_a_tolerance_is_reached_after_as_many_steps(seed):
    rng = np.random.default_rng(seed)
    model = network(rng, ANALYTIC, step_size=0.5, loss_function="mean_squared_error")
    parameters, inputs, state, targets = problem(rng, model)
    parameters = {name: array / 3 for name, array in parameters.items()}
    # between two powers of ten, where no rounding decides
    options = {"steps": 400, "targets": targets, "nudge": 0.1, "tolerance": 3.217e-7, "keep_last": 4}
    runs = [relax(model, parameters, inputs, state, **options, backend=b) for b in ("plain", "cpu")]
    assert 3 < runs[0].steps_taken < 400
    assume(tame(runs[0], state))
    assert_same(runs, state, 1e-12)


def test_what_overflows_has_not_settled():
    """NaN is no small movement: a tolerance does not stop there."""
    model = PrototypicalNetwork((1, 1, 1), activation="identity")
    parameters = {name: np.full(shape, 1e200) for name, shape in model.parameter_shapes().items()}
    with pytest.raises(FloatingPointError, match="overflow"):
        relax(model, parameters, np.ones((1, 1)), steps=50, tolerance=1e-3)


def test_what_is_not_a_number_has_moved():
    model = PrototypicalNetwork((1, 1))
    parameters, inputs, state, _ = problem(np.random.default_rng(7), model)
    told = model.relaxing(parameters, model.static_drive(parameters, inputs), len(inputs), np.dtype(float))
    told = told._replace(drive=tuple(array * np.nan for array in told.drive))
    assert dense_relaxation.relax(told, tuple(state.values()), 5, None, 1e-3, None) == 5


def test_a_tolerance_that_is_not_reached():
    model = EnergyBasedNetwork((1, 1), activation="identity", step_size=0.01)
    parameters = {name: np.ones(shape) for name, shape in model.parameter_shapes().items()}
    with pytest.raises(NotSettledError, match="within 3 steps"):
        relax(model, parameters, np.ones((1, 1)), steps=3, tolerance=1e-9)


def test_layers_below_the_output_share_their_equations():
    model = PrototypicalNetwork((2, 2, 2, 2))
    parameters, inputs, state, _ = problem(np.random.default_rng(3), model)
    drive = model.static_drive(parameters, inputs)
    told = model.relaxing(parameters, drive, len(inputs), np.dtype(float))
    units = told.units[0], EnergyBasedNetwork((2, 2)).unit(0), told.units[0]
    with pytest.raises(ValueError, match=r"^units: expected the same equations"):
        dense_relaxation.relax(told._replace(units=units), tuple(state.values()), 1, None, -1.0, None)


def test_dense_networks_take_the_dense_loop(monkeypatch):
    calls = []
    monkeypatch.setattr(dense_relaxation, "relax", lambda *arguments: calls.append(arguments) or 3)
    model = PrototypicalNetwork((2, 2))
    parameters, inputs, state, _ = problem(np.random.default_rng(4), model)
    told = model.relaxing(parameters, model.static_drive(parameters, inputs), len(inputs), np.dtype(float))
    assert relaxation_kernels("cpu").relax(told, tuple(state.values()), 3, None, -1.0, None) == 3
    assert len(calls) == 1


# ---- the comparison sees --------------------------------------------------------------------------------


def _with_another_feedback(told):
    first, *others = told.couplings
    return told._replace(couplings=(first._replace(feedback=first.weight[::-1].copy()), *others))


PLANTED_IN_NETWORK = {
    "another step": lambda told: told._replace(step_size=told.step_size * 0.999),
    "no drive": lambda told: told._replace(drive=tuple(array * 0 for array in told.drive)),
    "a coupling less": lambda told: told._replace(couplings=told.couplings[1:]),
    "feedback of another weight": _with_another_feedback,
    "another output": lambda told: told._replace(units=(told.units[1], *told.units[1:])),
}
PLANTED_IN_FORCE = {
    "another nudge": lambda force: force._replace(amount=-force.amount),
    "no softmax": lambda force: force._replace(softmax=False),
    "no bias of the read-out": lambda force: force._replace(readout_bias=force.readout_bias * 0),
}


@pytest.mark.parametrize("error", [*PLANTED_IN_NETWORK, *PLANTED_IN_FORCE])
def test_another_network_is_not_the_same(monkeypatch, error):
    model = EnergyBasedNetwork(
        (3, 4, 5, 4), activation="sigm", output="official", loss_function="cross_entropy", readout=3
    )
    case = problem(np.random.default_rng(5), model)
    assert_same(both(model, case, 4, 0.5, keep_last=3), case[2], 1e-12)
    method = "relaxing" if error in PLANTED_IN_NETWORK else "nudge_of"
    spoil, right = (PLANTED_IN_NETWORK | PLANTED_IN_FORCE)[error], getattr(ConvergentNetwork, method)
    monkeypatch.setattr(ConvergentNetwork, method, lambda *given: spoil(right(*given)))
    with pytest.raises(AssertionError):
        assert_same(both(model, case, 4, 0.5, keep_last=3), case[2], 1e-12)


def test_a_ring_that_is_off_by_one_is_seen(monkeypatch):
    model = replace(PrototypicalNetwork((2, 3, 3)), activation="sigm")
    case = problem(np.random.default_rng(6), model)
    right = dense_relaxation.relax

    def turned(told, state, steps, nudge, tolerance, kept):
        taken = right(told, state, steps, nudge, tolerance, kept)
        for ring in kept or ():
            ring[...] = np.roll(ring, 1, axis=0)
        return taken

    monkeypatch.setattr(dense_relaxation, "relax", turned)
    with pytest.raises(AssertionError):
        assert_same(both(model, case, 4, 0.5, keep_last=3), case[2], 1e-12)
