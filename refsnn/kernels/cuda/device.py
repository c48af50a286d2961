"""Everything that knows CUDA: what the machine must have, compilation, copies, launches.

Numba's own CUDA target and the package numba-cuda, which takes its place under the same name where it is
installed, are both served; so is Numba's simulator, which runs the kernels as Python.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import config
from numba.extending import overload

from refsnn.equations.elementary import rounded_product
from refsnn.kernels.compilation import keep_fresh
from refsnn.kernels.errors import BackendUnavailableError

try:
    cuda: Any = importlib.import_module("numba.cuda")
except ImportError:  # a Numba without its own CUDA target, and no numba-cuda beside it
    cuda = None

_SIMULATED = bool(getattr(config, "ENABLE_CUDASIM", 0))

# The simulator starts one Python thread for each.
_THREADS_A_BLOCK = 8 if _SIMULATED else 128


def require() -> None:
    """Refuse to go on where no CUDA kernel can run.

    Raises
    ------
    BackendUnavailableError
        Saying what is missing and what to do.
    """
    missing = _missing()
    if missing is not None:
        raise BackendUnavailableError(
            f"backend: 'cuda' was asked for, but {missing}; on a machine with an NVIDIA device and driver "
            "install the extra `cuda` (pip install 'refsnn[cuda]'), elsewhere use backend='cpu', or set "
            "NUMBA_ENABLE_CUDASIM=1 before Python starts to run the kernels in Numba's simulator"
        )


def _missing() -> str | None:
    """What keeps CUDA kernels from running here; None where they run."""
    if cuda is None:
        return "Numba's CUDA package is not installed"
    if cuda.is_available():
        return None
    error = cuda.cuda_error()
    if error is not None:
        return f"no CUDA driver with a device could be started ({str(error).strip().splitlines()[0]})"
    return "the NVVM library of the CUDA toolkit was not found"


def compiled(function: Callable) -> Callable:
    """Compile a CUDA kernel, with a cache that knows the equations.

    Parameters
    ----------
    function : callable
        What one thread does.

    Returns
    -------
    callable
        The dispatcher, to be launched by `over_columns`; the simulator's stand-in under the simulator.
    """
    return keep_fresh(cuda.jit(function))


@dataclass(frozen=True)
class HostArray:
    """An array of the caller, with what a kernel does to it; see `read`, `filled` and `updated`."""

    array: np.ndarray
    uploaded: bool
    downloaded: bool

    @property
    def memory(self) -> tuple[Any, ...]:
        """The same for two views of the same numbers, so that what aliases here aliases on the device."""
        return self.array.ctypes.data, self.array.shape, self.array.strides, self.array.dtype

    def merged(self, other: HostArray | None) -> HostArray:
        """One array in two places of the argument list."""
        if other is None:
            return self
        return HostArray(
            self.array if self.downloaded else other.array,
            self.uploaded or other.uploaded,
            self.downloaded or other.downloaded,
        )

    def to_device(self) -> Any:
        """Contiguous memory on the device."""
        if self.uploaded:
            return cuda.to_device(np.ascontiguousarray(self.array))
        return cuda.device_array(self.array.shape, self.array.dtype)


def read(array: np.ndarray) -> HostArray:
    """An array that the kernel reads."""
    return HostArray(array, uploaded=True, downloaded=False)


def filled(array: np.ndarray) -> HostArray:
    """An array of which the kernel writes every entry and reads none before."""
    return HostArray(array, uploaded=False, downloaded=True)


def updated(array: np.ndarray) -> HostArray:
    """An array that enters with its first and leaves with its last value."""
    return HostArray(array, uploaded=True, downloaded=True)


def over_columns(kernel: Callable, shape: tuple[int, ...], arguments: tuple[Any, ...]) -> None:
    """Run `kernel(*arguments)` with one thread a column, and bring back what it wrote.

    Parameters
    ----------
    kernel : callable
        Of `compiled`.
    shape : tuple of int
        (T, M) of the arrays.
    arguments : tuple
        Scalars, and arrays wrapped in `read`, `filled` or `updated`.
    """
    if 0 in shape:  # no device takes an empty grid
        return
    hosts: dict[tuple[Any, ...], HostArray] = {}
    for argument in arguments:
        if isinstance(argument, HostArray):
            hosts[argument.memory] = argument.merged(hosts.get(argument.memory))
    devices = {memory: host.to_device() for memory, host in hosts.items()}
    blocks = -(-shape[1] // _THREADS_A_BLOCK)
    with warnings.catch_warnings():
        # a small network is a small grid: no fault of the caller
        warnings.filterwarnings("ignore", message="Grid size .* low occupancy")
        launch = kernel[blocks, _THREADS_A_BLOCK]  # type: ignore[index]
    launch(*(devices[a.memory] if isinstance(a, HostArray) else a for a in arguments))
    for memory, host in hosts.items():
        if host.downloaded:
            host.array[...] = devices[memory].copy_to_host()


if cuda is not None and not _SIMULATED:
    from numba import types
    from numba.cuda import libdevice

    # No annotations: where they differ from the lambda's, Numba takes the general overload without a word.
    @overload(rounded_product, target="cuda")
    def _rounded_product_on_device(a, b):
        """The products that the compiler may not contract into a fused multiply-add."""
        if a == b == types.float32:
            return lambda a, b: libdevice.fmul_rn(a, b)
        if a == b == types.float64:
            return lambda a, b: libdevice.dmul_rn(a, b)
        return None
