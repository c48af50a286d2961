"""What is refused at the door of the algorithms on spiking stacks, and in which words.

Every message begins with the name of the argument.
"""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from stack_cases import Network, make

from refsnn.algorithms.bptt import bptt, bptt_over_steps
from refsnn.algorithms.forward_mode import forward_mode, rtrl
from refsnn.algorithms.rate_backpropagation import rate_backpropagation
from refsnn.algorithms.temporal_galerkin import cosine_basis, temporal_galerkin
from refsnn.algorithms.truncated_bptt import truncated_bptt
from refsnn.equations.spiking import SpikingNeuron
from refsnn.equations.surrogates import Surrogate
from refsnn.models.contract import StaticInput
from refsnn.models.spiking_stack import DenseSpikingStack

ALGORITHMS = {
    "bptt": bptt,
    "bptt_over_steps": bptt_over_steps,
    "truncated_bptt": lambda *arguments: truncated_bptt(*arguments, window=2),
    "rtrl": rtrl,
    "forward_mode": lambda *arguments: forward_mode(*arguments, make(0).parameters),
    "rate, multi": rate_backpropagation,
    "rate, single": lambda *arguments: rate_backpropagation(*arguments, mode="single_step"),
    "temporal_galerkin": lambda *arguments: temporal_galerkin(*arguments, n_modes=2),
}


def with_entry(array: np.ndarray, value: float) -> np.ndarray:
    changed = array.copy()
    changed.flat[1] = value
    return changed


# name -> (what is spoilt in (parameters, inputs, targets) of a good network, error, message)
BAD_ARGUMENTS = {
    "inputs too wide": (
        lambda p, x, y: (p, x[..., :3], y),
        ValueError,
        r"^inputs: expected shape \(T, B, 4\)",
    ),
    "inputs without time": (lambda p, x, y: (p, x[0], y), ValueError, "^inputs: .* 3 dimensions, not 2"),
    "no steps": (lambda p, x, y: (p, x[:0], y), ValueError, "^inputs: .* with T >= 1"),
    "no samples": (lambda p, x, y: (p, x[:, :0], y[:0]), ValueError, "^inputs: .* with B >= 1"),
    "integer inputs": (
        lambda p, x, y: (p, np.ones(x.shape, int), y),
        TypeError,
        "^inputs: .* got dtype int64; convert",
    ),
    "object inputs": (lambda p, x, y: (p, x.astype(object), y), TypeError, "^inputs: .* got dtype object"),
    "boolean inputs": (lambda p, x, y: (p, x > 0.5, y), TypeError, "^inputs: .* got dtype bool"),
    "complex inputs": (lambda p, x, y: (p, x + 0j, y), TypeError, "^inputs: .* got dtype complex128"),
    "half inputs": (lambda p, x, y: (p, x.astype("f2"), y), TypeError, "^inputs: .* got dtype float16"),
    "ragged inputs": (lambda p, x, y: (p, [[1.0], [1.0, 2.0]], y), TypeError, "^inputs: expected something"),
    "no inputs": (lambda p, x, y: (p, None, y), TypeError, "^inputs: "),
    "NaN": (
        lambda p, x, y: (p, with_entry(x, np.nan), y),
        ValueError,
        "^inputs: .* got 1 NaN or infinite of 60",
    ),
    "infinity": (
        lambda p, x, y: (p, with_entry(x, np.inf), y),
        ValueError,
        "^inputs: .* got 1 NaN or infinite",
    ),
    "single inputs": (
        lambda p, x, y: (p, x.astype("f4"), y),
        TypeError,
        "^inputs: expected dtype float64 .* got float32",
    ),
    "static too wide": (
        lambda p, x, y: (p, StaticInput(x[0, :, :2], 5), y),
        ValueError,
        r"^inputs.value: expected shape \(B, 4\)",
    ),
    "static without steps": (
        lambda p, x, y: (p, StaticInput(x[0], 0), y),
        ValueError,
        "^steps: .* at least 1, got 0",
    ),
    "static NaN": (
        lambda p, x, y: (p, StaticInput(with_entry(x[0], np.nan), 5), y),
        ValueError,
        "^inputs.value: ",
    ),
    "no parameters": (lambda p, x, y: ({}, x, y), ValueError, "^parameters: .* missing .*'readout.bias'"),
    "missing key": (
        lambda p, x, y: ({n: v for n, v in p.items() if n != "layer.2.bias"}, x, y),
        ValueError,
        r"^parameters: .* missing \['layer.2.bias'\], unknown \[\]",
    ),
    "unknown key": (
        lambda p, x, y: (p | {"layer.3.bias": p["readout.bias"]}, x, y),
        ValueError,
        r"^parameters: .* missing \[\], unknown \['layer.3.bias'\]",
    ),
    "a list of parameters": (
        lambda p, x, y: (list(p.values()), x, y),
        TypeError,
        "^parameters: expected a dict",
    ),
    "transposed weight": (
        lambda p, x, y: (p | {"layer.1.weight": p["layer.1.weight"].T}, x, y),
        ValueError,
        r"^parameters\['layer.1.weight'\]: expected shape \(6, 4\), got \(4, 6\)",
    ),
    "mixed dtypes": (
        lambda p, x, y: (p | {"layer.2.weight": p["layer.2.weight"].astype("f4")}, x, y),
        TypeError,
        r"^parameters\['layer.2.weight'\]: expected dtype float64",
    ),
    "NaN weight": (
        lambda p, x, y: (p | {"readout.weight": with_entry(p["readout.weight"], np.nan)}, x, y),
        ValueError,
        r"^parameters\['readout.weight'\]: expected finite",
    ),
    "integer bias": (
        lambda p, x, y: (p | {"readout.bias": np.zeros(3, int)}, x, y),
        TypeError,
        r"^parameters\['readout.bias'\]: .* int64",
    ),
    "label too large": (
        lambda p, x, y: (p, x, [0, 1, 3]),
        ValueError,
        r"^targets: .* in \[0, 3\), got .* 0 to 3",
    ),
    "negative label": (lambda p, x, y: (p, x, [0, 1, -1]), ValueError, r"^targets: .* got values from -1"),
    "real labels": (
        lambda p, x, y: (p, x, [0.0, 1.0, 2.0]),
        TypeError,
        "^targets: expected integer class labels",
    ),
    "too few labels": (
        lambda p, x, y: (p, x, y[:2]),
        ValueError,
        r"^targets: expected shape \(3,\), got \(2,\)",
    ),
}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("bad", BAD_ARGUMENTS)
def test_bad_arguments(algorithm, bad):
    spoil, error, message = BAD_ARGUMENTS[bad]
    network = make(0)
    with pytest.raises(error, match=message):
        ALGORITHMS[algorithm](network.stack, *spoil(network.parameters, network.inputs, network.targets))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    ("targets", "error", "message"),
    [
        (np.zeros((3, 2)), ValueError, r"^targets: expected shape \(3, 3\)"),
        (np.zeros(3), ValueError, r"^targets: .* needs 2 dimensions"),
        (np.zeros((3, 3), int), TypeError, "^targets: .* got dtype int64"),
        (np.zeros((3, 3), np.float32), TypeError, "^targets: expected dtype float64"),
        (np.full((3, 3), np.nan), ValueError, "^targets: expected finite"),
    ],
)
def test_bad_real_targets(algorithm, targets, error, message):
    network = make(0, loss_function="mean_squared_error")
    with pytest.raises(error, match=message):
        ALGORITHMS[algorithm](network.stack, network.parameters, network.inputs, targets)


def call(algorithm, **options):
    """A call of an algorithm on a good network with bad options."""
    return lambda network: algorithm(*network.arguments, **options)


def basis_call(n_modes, basis):
    return call(temporal_galerkin, n_modes=n_modes, basis=basis)


def direction_call(change):
    return lambda network: forward_mode(*network.arguments, change(network.parameters))


BAD_OPTIONS = {
    "backend": (
        call(bptt, backend="gpu"),
        ValueError,
        "^backend: expected one of 'plain', 'cpu', 'cuda', got 'gpu'",
    ),
    "backend, rate": (call(rate_backpropagation, backend=None), ValueError, "^backend: .* got None"),
    "backend, galerkin": (
        call(temporal_galerkin, n_modes=2, backend="CPU"),
        ValueError,
        "^backend: .* got 'CPU'",
    ),
    "backend, truncated": (call(truncated_bptt, window=1, backend=""), ValueError, "^backend: .* got ''"),
    "mode": (call(rate_backpropagation, mode="one_step"), ValueError, "^mode: expected one of 'multi_step'"),
    "scale": (
        call(rate_backpropagation, scale=2),
        ValueError,
        "^scale: expected one of 'paper', 'bptt', got 2",
    ),
    "window 0": (
        call(truncated_bptt, window=0),
        ValueError,
        "^window: expected an integer of at least 1, got 0",
    ),
    "window of bptt": (call(bptt, window=-1), ValueError, "^window: .* got -1"),
    "window of steps": (call(bptt_over_steps, window=0), ValueError, "^window: .* got 0"),
    "real window": (call(truncated_bptt, window=2.0), TypeError, "^window: expected an integer, got float"),
    "too many modes": (
        call(temporal_galerkin, n_modes=6),
        ValueError,
        "^n_modes: expected at most T = 5, got 6",
    ),
    "no modes": (call(temporal_galerkin, n_modes=0), ValueError, "^n_modes: .* at least 1"),
    "skew basis": (
        basis_call(2, cosine_basis(2, 5) + 0.01),
        ValueError,
        "^basis: expected 2 orthonormal rows, .*linalg.qr",
    ),
    "long basis": (basis_call(1, 2 * cosine_basis(1, 5)), ValueError, "^basis: expected 1 orthonormal rows"),
    "basis for another T": (
        basis_call(2, cosine_basis(2, 4)),
        ValueError,
        r"^basis: expected shape \(2, 5\)",
    ),
    "basis for another K": (
        basis_call(3, cosine_basis(2, 5)),
        ValueError,
        r"^basis: expected shape \(3, 5\)",
    ),
    "more modes than steps in a basis": (basis_call(6, np.ones((6, 5))), ValueError, "^(basis|n_modes): "),
    "single basis": (
        basis_call(2, cosine_basis(2, 5, np.float32)),
        TypeError,
        "^basis: expected dtype float64",
    ),
    "NaN basis": (basis_call(1, np.full((1, 5), np.nan)), ValueError, "^basis: expected finite"),
    "direction without a key": (
        direction_call(lambda p: {"readout.bias": p["readout.bias"]}),
        ValueError,
        "^direction: .* missing",
    ),
    "direction of another dtype": (
        direction_call(lambda p: {name: value.astype(np.float32) for name, value in p.items()}),
        TypeError,
        r"^direction\['layer.1.weight'\]: expected dtype float64 ",
    ),
    "direction of another shape": (
        direction_call(lambda p: p | {"readout.bias": np.zeros(2)}),
        ValueError,
        r"^direction\['readout.bias'\]: ",
    ),
}


@pytest.mark.parametrize("bad", BAD_OPTIONS)
def test_bad_options(bad):
    run, error, message = BAD_OPTIONS[bad]
    with pytest.raises(error, match=message):
        run(make(0))


BAD_NETWORKS = {
    "no widths": (
        lambda: DenseSpikingStack(()),
        ValueError,
        r"^widths: expected at least 2 widths, got \(\)",
    ),
    "one width": (lambda: DenseSpikingStack((3,)), ValueError, "^widths: expected at least 2"),
    "negative width": (lambda: DenseSpikingStack((3, -1, 2)), ValueError, r"^widths\[1\]: .* got -1"),
    "zero width": (lambda: DenseSpikingStack((3, 4, 0)), ValueError, r"^widths\[2\]: .* got 0"),
    "real width": (lambda: DenseSpikingStack((3, 4.0, 2)), TypeError, r"^widths\[1\]: .* got float"),
    "a number of widths": (lambda: DenseSpikingStack(3), TypeError, "^widths: expected a sequence"),
    "a string of widths": (lambda: DenseSpikingStack("345"), TypeError, "^widths: expected a sequence"),
    "loss": (
        lambda: DenseSpikingStack((3, 2), loss_function="hinge"),
        ValueError,
        "^loss_function: .* got 'hinge'",
    ),
    "neuron": (lambda: DenseSpikingStack((3, 2), neuron=0.5), TypeError, "^neuron: expected a SpikingNeuron"),
    "leak below 0": (lambda: SpikingNeuron(leak=-0.1), ValueError, r"^leak: .* in \[0, 1\], got -0.1"),
    "leak above 1": (lambda: SpikingNeuron(leak=1.5), ValueError, r"^leak: .* in \[0, 1\], got 1.5"),
    "leak NaN": (lambda: SpikingNeuron(leak=np.nan), ValueError, "^leak: .* got nan"),
    "leak text": (lambda: SpikingNeuron(leak="0.5"), TypeError, "^leak: expected a real number, got str"),
    "threshold 0": (
        lambda: SpikingNeuron(threshold=0.0),
        ValueError,
        r"^threshold: .* in \(0, inf\), got 0.0",
    ),
    "threshold infinite": (lambda: SpikingNeuron(threshold=np.inf), ValueError, "^threshold: "),
    "reset": (lambda: SpikingNeuron(reset="subtract"), ValueError, "^reset: expected one of 'soft', 'hard'"),
    "reset above threshold": (
        lambda: SpikingNeuron(reset="hard", reset_value=1.0),
        ValueError,
        r"^reset_value: .* 1\), got 1.0",
    ),
    "reset value of a soft reset": (
        lambda: SpikingNeuron(reset_value=-0.5),
        ValueError,
        "^reset_value: expected 0 with reset='soft'",
    ),
    "detach_reset": (
        lambda: SpikingNeuron(detach_reset=1),
        TypeError,
        "^detach_reset: expected True or False",
    ),
    "fires": (lambda: SpikingNeuron(fires="<"), ValueError, "^fires: expected one of '>=', '>'"),
    "surrogate": (lambda: SpikingNeuron(surrogate="sigmoid"), TypeError, "^surrogate: expected a Surrogate"),
    "surrogate shape": (lambda: Surrogate("relu"), ValueError, "^shape: expected one of .* got 'relu'"),
    "seed": (
        lambda: DenseSpikingStack((3, 2)).initialise(0),
        TypeError,
        "^rng: expected a numpy.random.Generator",
    ),
}


@pytest.mark.parametrize("bad", BAD_NETWORKS)
def test_bad_networks(bad):
    build, error, message = BAD_NETWORKS[bad]
    with pytest.raises(error, match=message):
        build()


def test_the_good_network_is_good():
    """Otherwise every refusal above would be no wonder."""
    network: Network = make(0)
    for name, algorithm in ALGORITHMS.items():
        result = algorithm(*network.arguments)
        assert np.isfinite(result[0] if name == "forward_mode" else result.loss)


def test_cuda_without_a_device():
    """In a process of its own: without the simulator, and with every device hidden."""
    script = (
        "import warnings; warnings.simplefilter('error')\n"
        "from refsnn.kernels import BackendUnavailableError, spiking_kernels\n"
        "try:\n    spiking_kernels('cuda')\n"
        "except BackendUnavailableError as error:\n    print(error)\n"
    )
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "0", "CUDA_VISIBLE_DEVICES": "-1"}
    run = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    for part in (
        "backend: 'cuda' was asked for, but ",
        "refsnn[cuda]",
        "backend='cpu'",
        "NUMBA_ENABLE_CUDASIM=1",
    ):
        assert part in run.stdout
