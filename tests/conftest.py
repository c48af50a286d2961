"""What every test runs under; the environment is set before anything imports NumPy or Numba."""

from __future__ import annotations

import ctypes
import os
import sys

import hypothesis


def _cuda_driver_usable() -> bool:
    """Whether a CUDA driver starts and has a device; asked of the driver itself, Numba must not be loaded."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        devices = ctypes.c_int(0)
        started = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(devices)) == 0
    except (OSError, AttributeError):
        return False
    return started and devices.value > 0


# One thread a matrix product: the same summation order everywhere, and no fight between xdist workers.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
# Without a device the CUDA kernels run in Numba's simulator.
if "NUMBA_ENABLE_CUDASIM" not in os.environ and not _cuda_driver_usable():
    os.environ["NUMBA_ENABLE_CUDASIM"] = "1"

# Fresh examples at every run here; the same ones at every run where a machine decides.
hypothesis.settings.register_profile("default", deadline=None, print_blob=True, max_examples=25)
hypothesis.settings.register_profile("ci", hypothesis.settings.get_profile("default"), derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")
