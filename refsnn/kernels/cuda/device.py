"""Everything that knows CUDA: what the machine must have, compilation, copies, launches.

Numba's own CUDA target and the package numba-cuda, which takes its place under the same name where it is
installed, are both served; so is Numba's simulator, which runs the kernels as Python.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Sequence
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

SIMULATED = bool(getattr(config, "ENABLE_CUDASIM", 0))

# The simulator starts one Python thread for each.
_THREADS_A_BLOCK = 8 if SIMULATED else 128

# Threads of a block come in warps.
_WARP, _MOST_THREADS = 32, 512

# Bytes of shared memory that a block may have without asking, on every device.
_SHARED_FOR_THE_TAKING = 48 << 10
_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8  # a function attribute of the driver's interface


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


def compiled(function: Callable, registers: int | None = None) -> Callable:
    """Compile a CUDA kernel, with a cache that knows the equations.

    Parameters
    ----------
    function : callable
        What one thread does.
    registers : int, optional
        The most registers of a thread, where large blocks must find room.

    Returns
    -------
    callable
        The dispatcher, to be launched by `over_columns` or `over_samples`; the simulator's stand-in under the
        simulator.
    """
    options = {} if registers is None or SIMULATED else {"max_registers": registers}
    return keep_fresh(cuda.jit(**options)(function))


@dataclass(frozen=True)
class HostArray:
    """An array, with what a kernel does to it; see `read`, `filled`, `updated` and `scratch`."""

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


def scratch(array: np.ndarray) -> HostArray:
    """An array that only the device sees."""
    return HostArray(array, uploaded=False, downloaded=False)


def over_columns(kernel: Callable, shape: tuple[int, ...], arguments: tuple[Any, ...]) -> None:
    """Run `kernel(*arguments)` with one thread a column, and bring back what it wrote.

    Parameters
    ----------
    kernel : callable
        Of `compiled`.
    shape : tuple of int
        (T, M) of the arrays.
    arguments : tuple
        Scalars, and arrays wrapped in `read`, `filled`, `updated` or `scratch`.
    """
    if 0 in shape:  # no device takes an empty grid
        return
    _launch(kernel, -(-shape[1] // _THREADS_A_BLOCK), _THREADS_A_BLOCK, 0, arguments)


def over_samples(
    kernel: Callable,
    samples: int,
    threads: int,
    shared_bytes: int,
    arguments: tuple[Any, ...],
    then: Sequence[tuple[Callable, int, tuple[Any, ...]]] = (),
) -> None:
    """Run `kernel(*arguments)` with one block a sample, and bring back what it wrote.

    Parameters
    ----------
    kernel : callable
        Of `compiled`.
    samples, threads : int
        Blocks, and threads in each.
    shared_bytes : int
        Dynamic shared memory of a block, at most `shared_memory_limit()`.
    arguments : tuple
        As in `over_columns`.
    then : sequence of (callable, int, tuple)
        Kernels to run afterwards with one thread a column, how many columns, and their arguments: what the
        first kernel left in an array, scratch too, they find there.
    """
    if samples:
        _launch(kernel, samples, threads, shared_bytes, arguments, then)


def threads_for(units: int) -> int:
    """Threads of a block: whole warps, one thread a unit where they are few.

    Parameters
    ----------
    units : int
        What the threads of a block share among them.

    Returns
    -------
    int
    """
    if SIMULATED:
        return 3  # Python threads; an odd few, so that they share units unevenly
    return min(-(-units // _WARP) * _WARP, _MOST_THREADS)


def shared_memory_limit() -> int:
    """Bytes of shared memory that a block of this device may have; in the simulator those of any device.

    Returns
    -------
    int
    """
    if SIMULATED:
        return _SHARED_FOR_THE_TAKING
    return int(cuda.get_current_device().MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)


def _launch(
    kernel: Any,
    blocks: int,
    threads: int,
    shared_bytes: int,
    arguments: tuple[Any, ...],
    then: Sequence[tuple[Callable, int, tuple[Any, ...]]] = (),
) -> None:
    """Copy in, run, copy out."""
    hosts: dict[tuple[Any, ...], HostArray] = {}
    for argument in (*arguments, *(argument for _, _, later in then for argument in later)):
        if isinstance(argument, HostArray):
            hosts[argument.memory] = argument.merged(hosts.get(argument.memory))
    devices = {memory: host.to_device() for memory, host in hosts.items()}

    def on_device(given: tuple[Any, ...]) -> list[Any]:
        return [devices[a.memory] if isinstance(a, HostArray) else a for a in given]

    run(kernel, blocks, threads, shared_bytes, on_device(arguments))
    for next_kernel, columns, given in then:
        run(next_kernel, -(-columns // _THREADS_A_BLOCK), _THREADS_A_BLOCK, 0, on_device(given))
    for memory, host in hosts.items():
        if host.downloaded:
            host.array[...] = devices[memory].copy_to_host()


def run(kernel: Any, blocks: int, threads: int, shared_bytes: int, arguments: list[Any]) -> None:
    """The launch itself, of arguments that are on the device; it may return before the kernel has ended.

    Parameters
    ----------
    kernel : callable
        Of `compiled`.
    blocks, threads, shared_bytes : int
        The grid, a block, and its dynamic shared memory.
    arguments : list
        Scalars and device arrays.
    """
    if shared_bytes > _SHARED_FOR_THE_TAKING and not SIMULATED:
        _ask_for_shared(kernel, arguments, shared_bytes)
    with warnings.catch_warnings():
        # a small network is a small grid: no fault of the caller
        warnings.filterwarnings("ignore", message="Grid size .* low occupancy")
        launch = kernel[blocks, threads, 0, shared_bytes]
    launch(*arguments)


def _ask_for_shared(kernel: Any, arguments: list[Any], shared_bytes: int) -> None:
    """Tell the driver that this kernel may have more shared memory than every device gives unasked."""
    driver = importlib.import_module("numba.cuda.cudadrv.driver").driver
    overload = kernel.compile(tuple(kernel.typeof_pyval(argument) for argument in arguments))
    function = overload._codelibrary.get_cufunc()
    if hasattr(function, "kernel"):  # numba-cuda: a kernel of a library, with attributes for each device
        bindings = importlib.import_module("cuda.bindings.driver")
        attribute = bindings.CUfunction_attribute(_MAX_DYNAMIC_SHARED_SIZE_BYTES)
        device = bindings.CUdevice(cuda.get_current_device().id)
        driver.cuKernelSetAttribute(attribute, shared_bytes, bindings.CUkernel(int(function.handle)), device)
        return
    # Numba's own target: a function handle, and the library itself, for it has no prototype of this call
    status = driver.lib.cuFuncSetAttribute(function.handle, _MAX_DYNAMIC_SHARED_SIZE_BYTES, shared_bytes)
    if status != 0:
        raise RuntimeError(f"the CUDA driver refuses {shared_bytes} bytes of shared memory (error {status})")


if cuda is not None and not SIMULATED:
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
