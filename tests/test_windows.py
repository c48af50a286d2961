"""Patches and pooling in three backends: twins to the last bit, loops over every index, exact adjoints."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from refsnn.kernels import BACKENDS, window_kernels
from refsnn.kernels.cpu import blocks
from refsnn.kernels.sliding import inside, positions

ANY_BACKEND = [pytest.param(name, marks=pytest.mark.cuda) if name == "cuda" else name for name in BACKENDS]
RESULTS = (
    "gather",
    "scatter",
    "max_pool",
    "record",
    "max_pool_adjoint",
    "average_pool",
    "average_pool_adjoint",
)


@dataclass(frozen=True)
class Case:
    """Windows on images that are no squares; values are few, so that maxima tie."""

    seed: int
    samples: int
    channels: int
    size: tuple[int, int]
    window: int
    stride: int
    padding: int
    dtype: type

    @property
    def places(self) -> tuple[int, int]:
        height, width = (positions(side, self.window, self.stride, self.padding) for side in self.size)
        return height, width

    def arrays(self):
        """Images, columns, and what arrives at a pooled map."""
        rng = np.random.default_rng(self.seed)
        images = 0.5 + rng.integers(-9, 3, (self.samples, self.channels, *self.size))
        rows = self.channels * self.window**2
        columns = rng.normal(size=(rows, self.samples, self.places[0] * self.places[1]))
        adjoint = rng.normal(size=(self.samples, self.channels, *self.places))
        return [array.astype(self.dtype) for array in (images, columns, adjoint)]


@st.composite
def cases(draw, largest=8):
    window = draw(st.integers(1, 4))
    padding = draw(st.integers(0, window - 1))
    side = st.integers(max(1, window - 2 * padding), largest)
    stride = draw(st.integers(1, 4))
    case = Case(
        draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, 3)), draw(st.integers(1, 3)),
        (draw(side), draw(side)), window, stride, padding, draw(st.sampled_from([np.float64, np.float32])),
    )  # fmt: skip
    event("the map is as wide as the image" if case.places[1] == case.size[1] else "narrower or wider")
    event("stride 1" if stride == 1 else "stride")
    return case


def run(kernels, case):
    """Everything the kernels make of a case; each array is full of rubbish before it is filled."""
    images, columns, adjoint = case.arrays()
    window = case.window, case.stride, case.padding
    found = {name: np.full_like(images, 7) for name in RESULTS if name.endswith(("adjoint", "scatter"))}
    found |= {name: np.full_like(adjoint, 7) for name in ("max_pool", "average_pool")}
    found |= {"gather": np.full_like(columns, 7), "record": np.full(adjoint.shape, 7, np.int32)}
    kernels.gather(images, *window, found["gather"])
    kernels.scatter(columns, *window, found["scatter"])
    kernels.max_pool(images, *window, found["max_pool"], found["record"])
    kernels.max_pool_adjoint(adjoint, found["record"], found["max_pool_adjoint"])
    kernels.average_pool(images, *window, found["average_pool"])
    kernels.average_pool_adjoint(adjoint, *window, found["average_pool_adjoint"])
    return found


def by_loops(case):
    """The same, pixel by pixel of every window at every place, and nothing else."""
    images, columns, adjoint = case.arrays()
    area = case.window**2
    found = {name: np.zeros(images.shape) for name in RESULTS if name.endswith(("adjoint", "scatter"))}
    found |= {name: np.zeros(adjoint.shape) for name in ("max_pool", "average_pool")}
    found |= {"gather": np.zeros(columns.shape), "record": np.zeros(adjoint.shape, int)}
    for n, c, y, x in np.ndindex(adjoint.shape):
        place, best = y * adjoint.shape[3] + x, -np.inf
        for i, j in np.ndindex(case.window, case.window):
            row, column = y * case.stride + i - case.padding, x * case.stride + j - case.padding
            if not (0 <= row < case.size[0] and 0 <= column < case.size[1]):
                continue
            pixel, patch = (n, c, row, column), ((c * case.window + i) * case.window + j, n, place)
            found["gather"][patch] = images[pixel]
            found["scatter"][pixel] += columns[patch]
            found["average_pool"][n, c, y, x] += images[pixel] / area
            found["average_pool_adjoint"][pixel] += adjoint[n, c, y, x] / area
            if images[pixel] > best:
                best, found["record"][n, c, y, x] = images[pixel], row * case.size[1] + column
        found["max_pool"][n, c, y, x] = best
        row, column = divmod(found["record"][n, c, y, x], case.size[1])
        found["max_pool_adjoint"][n, c, row, column] += adjoint[n, c, y, x]
    return found


def assert_same_bits(found, expected):
    for name in RESULTS:
        assert found[name].dtype == expected[name].dtype, name
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


# ---------------------------------------------------------------- where windows stand


@given(st.integers(1, 9), st.integers(1, 4), st.integers(1, 4), st.integers(0, 3))
def test_places_are_those_that_fit(side, window, stride, padding):
    fitting = [p for p in range(0, 40, stride) if p + window <= side + 2 * padding]
    assert max(0, positions(side, window, stride, padding)) == len(fitting)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.integers(-5, 9))
def test_inside_is_where_pixels_are(side, places, stride, offset):
    first, last = inside(side, places, stride, offset)
    assert list(range(first, last)) == [x for x in range(places) if 0 <= x * stride + offset < side]


# ---------------------------------------------------------------- twins and loops


def public_signatures(backend):
    module = importlib.import_module(f"refsnn.kernels.{backend}.windows")
    return {
        name: inspect.signature(function)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    }


@pytest.mark.parametrize("backend", ["cpu", "cuda"])
def test_twins_by_name(backend):
    plain = public_signatures("plain")
    assert set(plain) == set(RESULTS) - {"record"}
    assert public_signatures(backend) == plain
    assert window_kernels("plain").__name__ == "refsnn.kernels.plain.windows"


@given(case=cases())
@settings(max_examples=60)
def test_plain_is_the_loops(case):
    found, expected = run(window_kernels("plain"), case), by_loops(case)
    assert np.any(expected["gather"] != 0)
    tolerance = 1e-13 if case.dtype == np.float64 else 1e-5
    for name in RESULTS:
        exact = name in ("gather", "max_pool", "record")
        np.testing.assert_allclose(
            found[name], expected[name], rtol=0, atol=0 if exact else tolerance, err_msg=name
        )


@given(case=cases())
@settings(max_examples=200)
def test_cpu_is_plain(case):
    assert_same_bits(run(window_kernels("cpu"), case), run(window_kernels("plain"), case))


@pytest.mark.cuda
@given(case=cases(largest=5))
@settings(max_examples=15)
def test_cuda_is_plain(case):
    assert_same_bits(run(window_kernels("cuda"), case), run(window_kernels("plain"), case))


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_scalars_reach_the_device_in_the_arrays_dtype(dtype, monkeypatch):
    """A Python number would make the sums of a float32 kernel float64; the simulator does not see that."""
    module, seen = importlib.import_module("refsnn.kernels.cuda.windows"), []
    monkeypatch.setattr(module, "over_columns", lambda kernel, shape, arguments: seen.extend(arguments))
    run(module, Case(6, 1, 1, (3, 3), 2, 1, 0, dtype))
    scalars = [argument for argument in seen if not hasattr(argument, "array") and type(argument) is not int]
    assert len(scalars) == 8
    assert {type(scalar) for scalar in scalars} == {dtype}


def test_complex_images_are_two_real_ones():
    case = Case(3, 2, 2, (5, 6), 3, 2, 1, np.float64)
    images, columns, adjoint = case.arrays()
    kernels, window = window_kernels("plain"), (3, 2, 1)

    def on(function, array, *arguments, like):
        parts = [np.empty_like(like) for _ in range(2)]
        whole = np.empty(like.shape, complex)
        for part, target in zip((array.real, array.imag), parts, strict=True):
            function(part, *arguments, target)
        function(array, *arguments, whole)
        assert np.abs(whole.imag).max() > 0.1
        np.testing.assert_allclose(whole, parts[0] + 1j * parts[1], rtol=0, atol=1e-14)

    on(kernels.gather, images + 1j * images[::-1], *window, like=columns)
    on(kernels.scatter, columns + 1j * columns[::-1], *window, like=images)
    on(kernels.average_pool, images + 1j * images[::-1], *window, like=adjoint)
    on(kernels.average_pool_adjoint, adjoint + 1j * adjoint[::-1], *window, like=images)


# ---------------------------------------------------------------- maxima


@pytest.mark.parametrize("backend", ANY_BACKEND)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_first_of_equal_maxima_is_taken_and_padding_never(backend, dtype):
    image = np.array([[-1, -1, -2], [-1, -3, -2], [-5, -2, -2]], dtype).reshape(1, 1, 3, 3)
    pooled, record = np.empty((1, 1, 2, 2), dtype), np.empty((1, 1, 2, 2), np.int32)
    kernels = window_kernels(backend)
    kernels.max_pool(image, 3, 2, 1, pooled, record)  # zeros around the image would win everywhere
    np.testing.assert_array_equal(pooled[0, 0], [[-1, -1], [-1, -2]])
    np.testing.assert_array_equal(record[0, 0], [[0, 1], [3, 5]])
    images = np.empty_like(image)
    kernels.max_pool_adjoint(np.array([[[[1, 2], [4, 8]]]], dtype), record, images)
    np.testing.assert_array_equal(images[0, 0], [[1, 2, 0], [4, 0, 8], [0, 0, 0]])


# ---------------------------------------------------------------- adjoints


@pytest.mark.parametrize("backend", ["plain", "cpu"])
@given(case=cases())
def test_adjoints(backend, case):
    """<A z, g> = <z, A^T g>, in float64; pixels and columns are independent draws."""
    case = Case(*[getattr(case, name) for name in case.__dataclass_fields__][:-1], np.float64)
    images, columns, adjoint = case.arrays()
    found = run(window_kernels(backend), case)
    for there, back, arriving in (
        ("gather", "scatter", columns),
        ("max_pool", "max_pool_adjoint", adjoint),
        ("average_pool", "average_pool_adjoint", adjoint),
    ):
        left, right = (found[there] * arriving).sum(), (images * found[back]).sum()
        size = np.abs(found[there] * arriving).sum()
        assert size > 0
        assert abs(left - right) <= 1e-14 * size * max(1, np.sqrt(arriving.size)), there


# ---------------------------------------------------------------- threads and memory


def test_threads_do_not_change_a_bit(monkeypatch):
    case = Case(4, 3, 5, (7, 6), 3, 1, 1, np.float32)
    pool, used, results = blocks._pool, [], []
    monkeypatch.setattr(blocks, "_pool", lambda threads: used.append(threads) or pool(threads))
    monkeypatch.setattr(blocks, "_ELEMENTS_WORTH_A_THREAD", 1)
    for threads in (1, 2, 4, 15):
        monkeypatch.setattr(blocks.numba, "get_num_threads", lambda threads=threads: threads)
        used.clear()
        results.append(run(window_kernels("cpu"), case))
        assert set(used) == ({threads} if threads > 1 else set())
    for result in results[1:]:
        assert_same_bits(result, results[0])


def test_inputs_may_lie_anywhere_but_what_is_filled_is_contiguous():
    case = Case(5, 2, 2, (6, 5), 2, 1, 0, np.float64)
    images, columns, _ = case.arrays()
    expected, found = np.empty_like(columns), np.empty_like(columns)
    window_kernels("plain").gather(images, 2, 1, 0, expected)
    everywhere = np.asfortranarray(np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1))))[:, :, 1:-1, 1:-1]
    everywhere.flags.writeable = False
    window_kernels("cpu").gather(everywhere, 2, 1, 0, found)
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(ValueError, match="contiguous"):
        window_kernels("cpu").scatter(columns, 2, 1, 0, np.asfortranarray(images))


# ---------------------------------------------------------------- what NVVM sees

_COMPILE = """
import json, sys
from types import SimpleNamespace
import numba.cuda.dispatcher
from numba import cuda, types
from refsnn.kernels.cuda import windows

numba.cuda.dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=(8, 0))
try:
    cuda.compile_ptx(lambda array: None, (types.float64[::1],), cc=(8, 0))
except Exception as error:
    print(json.dumps({"unavailable": f"{type(error).__name__}: {error}".splitlines()[0]}))
    sys.exit()

n, found = types.int64, {}
for real in (types.float32, types.float64):
    images, columns, record = real[:, :, :, ::1], real[:, :, ::1], types.int32[:, :, :, ::1]
    for name, signature in {
        "gather": (images, n, n, n, n, real, columns),
        "scatter": (columns, n, n, n, n, n, real, images),
        "max_pool": (images, n, n, n, real, images, record),
        "max_pool_adjoint": (images, record, real, images),
        "average_pool": (images, n, n, n, real, real, images),
        "average_pool_adjoint": (images, n, n, n, real, real, images),
    }.items():
        kernel = getattr(windows, f"_{name}").py_func
        found[f"{name}/{real}"] = cuda.compile_ptx(kernel, signature, cc=(8, 0))[0]
print(json.dumps(found))
"""


@pytest.mark.cuda
def test_every_kernel_is_typed_without_promotion(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_ENABLE_CUDASIM"}
    environment["NUMBA_CACHE_DIR"] = str(tmp_path)
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", _COMPILE],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    if "unavailable" in found:
        pytest.skip(f"no NVVM compiler of a CUDA toolkit here ({found['unavailable']})")
    assert {name.split("/")[0] for name in found} == set(RESULTS) - {"record"}
    for name, text in found.items():
        assert ".visible" in text, name
        assert re.search(r"\.f(32|64)\b", text), name
        assert (".f64" in text) == name.endswith("float64"), name
        if name.startswith("average"):
            assert "div.rn" in text, name  # rounded as on the CPU
