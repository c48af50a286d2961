"""The CUDA kernels as NVVM sees them: typed for every dtype, no promotion, no contracted charge.

Runs where the CUDA toolkit's compiler is found; a device is not needed.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.cuda

HERE = Path(__file__).resolve().parent
# CUDA's own float32 sine reduces a large argument modulo pi / 2 as a whole number of 64 bits
REDUCTION = re.compile(r"\.reg \.f64|cvt\.rn\.f64\.s64|mul\.f64 .*0d3BF921FB54442D19|cvt\.rn\.f32\.f64")
SUFFIX = {"float32": "f32", "float64": "f64"}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory) -> dict:
    """What `ptx_of_kernels` prints: texts by kernel, variant and dtype, and which kernels there are."""
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_ENABLE_CUDASIM"}
    environment["NUMBA_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))
    paths = str(HERE.parent), environment.get("PYTHONPATH", "")
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    run = subprocess.run(
        [sys.executable, "-W", "error", str(HERE / "ptx_of_kernels.py")],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    if "unavailable" in found:
        pytest.skip(f"no NVVM compiler of a CUDA toolkit here ({found['unavailable']})")
    return found


@pytest.fixture(scope="module")
def ptx(compiled) -> dict[str, str]:
    """PTX of every kernel, by name, variant and dtype."""
    return compiled["ptx"]


def test_every_kernel_is_compiled_for_both_dtypes(compiled):
    kernels = compiled["kernels"]
    assert len(kernels) == len(set(kernels)) == 44
    for dtype in SUFFIX:
        assert {name.split("/")[0] for name in compiled["ptx"] if re.search(f"/.*/{dtype}$", name)} == set(
            kernels
        )


def test_every_kernel_is_typed_without_promotion(ptx):
    for name, text in ptx.items():
        assert ".visible" in text, name  # something was compiled
        if not name.endswith("complex64"):  # some of its functions Numba itself computes in double precision
            double = name.endswith(("float64", "complex128"))
            lines = [line for line in text.splitlines() if ".f64" in line]  # %f64 is a register's name
            if name.startswith("manifold.step") and not double:
                lines = [line for line in lines if not REDUCTION.search(line)]
            assert bool(lines) == double, name


def test_a_relaxation_keeps_its_states_where_it_was_told(ptx):
    names = [name for name in ptx if name.startswith("relaxation")]
    assert {name.rsplit("/")[-1] for name in names} == {"float32", "float64", "complex64", "complex128"}
    for name in names:
        assert ("ld.shared" in ptx[name]) == ("st.shared" in ptx[name]) == ("shared" in name), name
        assert ptx[name].count("bar.sync") >= 5, name


@pytest.mark.parametrize("dtype", SUFFIX)
def test_the_charge_is_rounded_before_the_sum(ptx, dtype):
    """A fused multiply-add in the charge could move a potential across the threshold."""
    suffix = SUFFIX[dtype]
    assert f"fma.rn.{suffix}" in ptx[f"contracted/{dtype}"]  # the check can fail
    for function in ("charge", "charge_towards_rest"):
        text = ptx[f"{function}/{dtype}"]
        assert f"mul.rn.{suffix}" in text
        assert f"add.{suffix}" in text
        assert "fma" not in text


@pytest.mark.parametrize("kernel", ["forward", "rate", "galerkin"])
@pytest.mark.parametrize("reset", ["soft", "hard"])
@pytest.mark.parametrize("dtype", SUFFIX)
def test_no_kernel_contracts_the_leak(ptx, kernel, reset, dtype):
    """In whole kernels only a trace, or a product with a spike (0 or 1, exact), may be fused."""
    text = ptx[f"spiking.{kernel}/{reset}/{dtype}"]
    constants = 4 if kernel == "forward" else 7  # leak is the first of the scalars, the last parameters
    loaded = re.findall(r"ld\.param\.f\d\d\s+(%\w+), \[\w+_param_(\d+)\]", text)
    count = len(re.findall(r"\.param \.\w+ (?:\.\w+ .*)?\w+_param_\d+", text))
    (leak,) = [register for register, index in loaded if int(index) == count - constants]
    uses = [line.split()[0] for line in text.splitlines() if re.search(rf"{leak}\b", line.split(",", 1)[-1])]
    suffix = SUFFIX[dtype]
    assert f"mul.rn.{suffix}" in uses
    assert not [use for use in uses if use.startswith("fma")]
    if (kernel, reset) == ("forward", "soft"):
        assert "fma" not in text


@pytest.mark.parametrize("comparison", ["at or above", "above"])
@pytest.mark.parametrize("dtype", SUFFIX)
def test_the_recurrent_spiking_layer_contracts_nothing(ptx, comparison, dtype):
    """Leaks of potential and read-out, inputs and spikes times weights: all rounded, then added."""
    text, suffix = ptx[f"recurrent_spiking.forward/{comparison}/{dtype}"], SUFFIX[dtype]
    assert text.count(f"mul.rn.{suffix}") >= 5  # three sums over sources and two leaks
    assert text.count(f"add.{suffix}") >= 5
    assert "fma" not in text
    # sums of adjoints are for the compiler to contract: the twins agree in them to rounding
    assert f"fma.rn.{suffix}" in ptx[f"recurrent_spiking.outer//{dtype}"]


@pytest.mark.parametrize("dtype", SUFFIX)
def test_adaptive_neurons_contract_nothing_that_decides(ptx, dtype):
    """Leaks, thresholds, weights times spikes are rounded, then added; what is fused is a switch, 0 or 1."""
    suffix = SUFFIX[dtype]
    for function, products in (("leaky_mean", 2), ("raised_threshold", 1)):
        assert ptx[f"{function}/{dtype}"].count(f"mul.rn.{suffix}") == products
        assert "fma" not in ptx[f"{function}/{dtype}"]
    assert "fma" not in ptx[f"adaptive.transmit//{dtype}"]
    text = ptx[f"adaptive.forward/step/{dtype}"]
    assert text.count("bar.sync") == 1
    loaded = re.findall(rf"ld\.param\.{suffix}\s+(%\w+), \[\w+_param_(\d+)\]", text)
    given = {register for register, index in loaded if int(index) < 4}
    rests = re.findall(rf"sub\.{suffix}\s+(%\w+), %\w+, (%\w+);", text)
    switches = given | {register for register, taken in rests if taken in given}  # one - switch
    fused = [set(re.findall(r"%\w+", line)) for line in text.splitlines() if f"fma.rn.{suffix}" in line]
    # what is kept of an average, 0 or 1 too, comes from an array
    assert len(fused) == 4
    assert sum(bool(registers & switches) for registers in fused) == 3
    assert re.findall(rf"div\.(\w+)\.{suffix}", text) == ["rn"]
    # adjoints are for the compiler to contract
    assert f"fma.rn.{suffix}" in ptx[f"adaptive.backward/triangle_surrogate/{dtype}"]


@pytest.mark.parametrize("dtype", SUFFIX)
def test_attention_selects_by_what_is_rounded(ptx, dtype):
    """No sum depends on who comes first, and no score is contracted with what decides over it."""
    names = [name for name in ptx if name.startswith("attention.") and name.endswith(dtype)]
    assert len(names) == 8
    barriers = {"ranked": 3, "weigh": 3, "through_sums": 1}
    for name in names:
        text, kernel = ptx[name], name.split("/")[0].removeprefix("attention.")
        assert not re.search(r"\b(atom|red)\.", text), name
        assert ".local" not in text, name
        assert text.count("bar.sync") == barriers.get(kernel, 0), name
        assert {kind for kind in re.findall(rf"div\.(\w+)\.{SUFFIX[dtype]}", text)} <= {"rn"}, name
    assert "fma" not in ptx[f"attention.ranked//{dtype}"]
    assert f"fma.rn.{SUFFIX[dtype]}" in ptx[f"attention.score//{dtype}"]  # the check can fail


@pytest.mark.parametrize("dtype", SUFFIX)
def test_windows_only_add_and_divide(ptx, dtype):
    """What is the same to the last bit in all backends has no product, and divides as IEEE 754 says."""
    names = [name for name in ptx if name.startswith("windows.") and name.endswith(dtype)]
    assert len(names) == 6
    for name in names:
        found = re.findall(rf"\b(fma|mul|div|add|rcp)\.((?:\w+\.)*){SUFFIX[dtype]}\b", ptx[name])
        kinds = {"add"} if name.split("/")[0].endswith(("scatter", "max_pool_adjoint")) else set()
        kinds |= {"add", "div"} if "average" in name else set()
        assert {kind for kind, _ in found} == kinds, name
        assert {rounding for kind, rounding in found if kind == "div"} <= {"rn."}, name
