"""The CUDA kernels as NVVM sees them: typed for every dtype, no promotion, no contracted charge.

Runs where the CUDA toolkit's compiler is found; a device is not needed.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

pytestmark = pytest.mark.cuda

_COMPILE = """
import json, sys
from types import SimpleNamespace
import numba.cuda.dispatcher
from numba import cuda, types
from refsnn.equations.spiking import SpikingNeuron, charge, charge_towards_rest
from refsnn.equations.surrogates import SURROGATES, Surrogate
from refsnn.kernels.cuda import relaxation, spiking
from refsnn.models.convergent import EnergyBasedNetwork, PrototypicalNetwork

# only the number is needed, for libraries of device functions
numba.cuda.dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=(8, 0))
try:
    cuda.compile_ptx(lambda array: None, (types.float64[::1],), cc=(8, 0))
except Exception as error:
    print(json.dumps({"unavailable": f"{type(error).__name__}: {error}".splitlines()[0]}))
    sys.exit()

def ptx(function, signature, device=False):
    return cuda.compile_ptx(function, signature, device=device, cc=(8, 0))[0]

def kernels(neuron, real):
    row, plane, cube = real[::1], real[:, ::1], real[:, :, ::1]
    charge, fire, reset, reset_slope, surrogate = neuron.equations
    constants = (real,) * 7
    yield ("forward", spiking._forward_kernel(charge, fire, reset),
           (plane, row, plane, plane, real, real, real, real))
    yield ("backward", spiking._backward_kernel(fire, reset_slope, surrogate),
           (plane, plane, row, plane, types.int64, *constants))
    yield ("rate_forward", spiking._rate_kernel(neuron.equations),
           (plane, row, row, row, row, row, plane, *constants))
    yield ("galerkin_forward", spiking._galerkin_kernel(neuron.equations),
           (plane, plane, row, plane, row, cube, plane, row, plane, *constants))

def relaxations():
    # both families, both places of the states, all dtypes: not all of them with all others
    units = {
        "clamped": EnergyBasedNetwork((1, 1, 1), activation="hardsigm", clamp=True, output="linear"),
        "tanh": PrototypicalNetwork((1, 1, 1), nudge_placement="inside"),
    }
    for family, place, dtype in (
        ("clamped", "shared", "float32"), ("tanh", "global", "float32"), ("tanh", "shared", "float64"),
        ("tanh", "shared", "complex64"), ("tanh", "global", "complex128"),
    ):
        network = units[family]
        kinds = tuple(dict.fromkeys(network.unit(layer) for layer in range(network.depth)))
        assert len(kinds) == (2 if family == "clamped" else 1)
        kernel = relaxation._kernel(kinds, dtype, place == "shared")
        number, count, real = getattr(types, dtype), types.int64, types.float64
        if dtype in ("float32", "complex64"):
            real = types.float32
        row, plane, cube = number[::1], number[:, ::1], number[:, :, ::1]
        tables = count[::1], count[::1], count[:, ::1], count[:, ::1], real[::1], row
        samples = plane, plane, cube, cube, types.uint8[:, ::1]
        force = row, plane, count, plane, row
        memory = plane, types.int32[:, ::1], count
        signature = (*tables, *samples, *force, count, count, count, real, real, real, *memory)
        yield f"relaxation/{family} {place}/{dtype}", kernel.py_func, signature

def contracted(potential, current, leak, reset_value, one):
    return leak * potential + current

found = {}
for real in (types.float32, types.float64):
    for reset, fires in (("soft", ">="), ("hard", ">")):
        for name, kernel, signature in kernels(SpikingNeuron(reset=reset, fires=fires), real):
            found[f"{name}/{reset}/{real}"] = ptx(kernel.py_func, signature)
    for shape in SURROGATES:
        backward = list(kernels(SpikingNeuron(surrogate=Surrogate(shape)), real))[1]
        found[f"backward/{shape}/{real}"] = ptx(backward[1].py_func, backward[2])
    for function in (charge, charge_towards_rest, contracted):
        found[f"{function.__name__}/{real}"] = ptx(function, (real,) * 5, device=True)
for name, kernel, signature in relaxations():
    found[name] = ptx(kernel, signature)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def ptx(tmp_path_factory) -> dict[str, str]:
    """PTX of every kernel, by name, variant and dtype."""
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_ENABLE_CUDASIM"}
    environment["NUMBA_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", _COMPILE],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    if "unavailable" in found:
        pytest.skip(f"no NVVM compiler of a CUDA toolkit here ({found['unavailable']})")
    return found


def test_every_kernel_is_typed_without_promotion(ptx):
    names = {name.split("/")[0] for name in ptx if name.count("/") == 2}
    assert names == {"forward", "backward", "rate_forward", "galerkin_forward", "relaxation"}
    for name, text in ptx.items():
        assert ".visible" in text, name  # something was compiled
        if not name.endswith("complex64"):  # some of its functions Numba itself computes in double precision
            double = name.endswith(("float64", "complex128"))
            assert (".f64" in text) == double, name  # with its dot: %f64 is a register's name


def test_a_relaxation_keeps_its_states_where_it_was_told(ptx):
    names = [name for name in ptx if name.startswith("relaxation")]
    assert {name.rsplit("/")[-1] for name in names} == {"float32", "float64", "complex64", "complex128"}
    for name in names:
        assert ("ld.shared" in ptx[name]) == ("st.shared" in ptx[name]) == ("shared" in name), name
        assert ptx[name].count("bar.sync") >= 5, name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_charge_is_rounded_before_the_sum(ptx, dtype):
    """A fused multiply-add in the charge could move a potential across the threshold."""
    suffix = "f32" if dtype == "float32" else "f64"
    assert f"fma.rn.{suffix}" in ptx[f"contracted/{dtype}"]  # the check can fail
    for function in ("charge", "charge_towards_rest"):
        text = ptx[f"{function}/{dtype}"]
        assert f"mul.rn.{suffix}" in text
        assert f"add.{suffix}" in text
        assert "fma" not in text


@pytest.mark.parametrize("kernel", ["forward", "rate_forward", "galerkin_forward"])
@pytest.mark.parametrize("reset", ["soft", "hard"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_kernel_contracts_the_leak(ptx, kernel, reset, dtype):
    """In whole kernels only a trace, or a product with a spike (0 or 1, exact), may be fused."""
    text = ptx[f"{kernel}/{reset}/{dtype}"]
    constants = 4 if kernel == "forward" else 7  # leak is the first of the scalars, the last parameters
    loaded = re.findall(r"ld\.param\.f\d\d\s+(%\w+), \[\w+_param_(\d+)\]", text)
    count = len(re.findall(r"\.param \.\w+ (?:\.\w+ .*)?\w+_param_\d+", text))
    (leak,) = [register for register, index in loaded if int(index) == count - constants]
    uses = [line.split()[0] for line in text.splitlines() if re.search(rf"{leak}\b", line.split(",", 1)[-1])]
    suffix = "f32" if dtype == "float32" else "f64"
    assert f"mul.rn.{suffix}" in uses
    assert not [use for use in uses if use.startswith("fma")]
    if (kernel, reset) == ("forward", "soft"):
        assert "fma" not in text
