"""Floor 2: the loops over time and neurons, in three backends; no mathematics of their own.

`plain` is the specification as executed: NumPy on whole arrays.  `cpu` is compiled by Numba, `cuda` by
numba.cuda.  They are twins by name and signature: the same functions in `refsnn.kernels.plain.spiking`,
`refsnn.kernels.cpu.spiking` and `refsnn.kernels.cuda.spiking` call the same equations, give the same spikes
exactly and the same float64 gradients to 1e-12.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from refsnn import checks
from refsnn.kernels.errors import BackendUnavailableError

__all__ = [
    "BACKENDS",
    "BackendUnavailableError",
    "adaptive_kernels",
    "attention_kernels",
    "graph_kernels",
    "manifold_kernels",
    "recurrent_kernels",
    "recurrent_spiking_kernels",
    "relaxation_kernels",
    "spiking_kernels",
    "window_kernels",
]

BACKENDS = ("plain", "cpu", "cuda")


def spiking_kernels(backend: str) -> ModuleType:
    """The module with the spiking-neuron kernels of one backend.

    Parameters
    ----------
    backend : {"plain", "cpu", "cuda"}
        Which twin.

    Returns
    -------
    module
        With `forward`, `backward`, `count_forward`, `rate_forward` and `galerkin_forward`.

    Raises
    ------
    ValueError
        For an unknown name.
    BackendUnavailableError
        For "cuda" on a machine without a CUDA device.

    Examples
    --------
    >>> spiking_kernels("plain").__name__
    'refsnn.kernels.plain.spiking'
    """
    return _twin("spiking", backend)


def relaxation_kernels(backend: str) -> ModuleType:
    """The module with the compiled relaxation of one backend; "plain" is the step of the model in a loop.

    Parameters
    ----------
    backend : {"cpu", "cuda"}
        Which twin.

    Returns
    -------
    module
        With `relax` and `phases`.

    Raises
    ------
    ValueError
        For an unknown name.
    BackendUnavailableError
        For "cuda" on a machine without a CUDA device.

    Examples
    --------
    >>> relaxation_kernels("cpu").__name__
    'refsnn.kernels.cpu.relaxation'
    """
    return _twin("relaxation", backend, BACKENDS[1:])


def window_kernels(backend: str) -> ModuleType:
    """The module with patches and pooling of images of one backend.

    Parameters
    ----------
    backend : {"plain", "cpu", "cuda"}
        Which twin; complex images only go through "plain".

    Returns
    -------
    module
        With `gather`, `scatter`, `max_pool`, `average_pool` and their adjoints.

    Raises
    ------
    ValueError
        For an unknown name.
    BackendUnavailableError
        For "cuda" on a machine without a CUDA device.

    Examples
    --------
    >>> window_kernels("plain").__name__
    'refsnn.kernels.plain.windows'
    """
    return _twin("windows", backend)


def recurrent_kernels(backend: str) -> ModuleType:
    """The module with tanh, LSTM and GRU units and the losses of a read-out, of one backend.

    Parameters
    ----------
    backend : {"plain", "cpu", "cuda"}
        Which twin; complex numbers only go through "plain".

    Returns
    -------
    module
        With `tanh_forward`, `lstm_gates`, `gru_gates`, `cross_entropy`, ...

    Raises
    ------
    ValueError
        For an unknown name.
    BackendUnavailableError
        For "cuda" on a machine without a CUDA device.

    Examples
    --------
    >>> recurrent_kernels("cpu").__name__
    'refsnn.kernels.cpu.recurrent'
    """
    return _twin("recurrent", backend)


def recurrent_spiking_kernels(backend: str) -> ModuleType:
    """The module with the recurrent spiking layer of one backend.

    Parameters
    ----------
    backend : {"plain", "cpu", "cuda"}
        Which twin.

    Returns
    -------
    module
        With `spiking_forward` and `spiking_backward`.

    Raises
    ------
    ValueError
        For an unknown name.
    BackendUnavailableError
        For "cuda" on a machine without a CUDA device.

    Examples
    --------
    >>> recurrent_spiking_kernels("cpu").__name__
    'refsnn.kernels.cpu.recurrent_spiking'
    """
    return _twin("recurrent_spiking", backend)


def adaptive_kernels(backend: str) -> ModuleType:
    """The module with adaptive spiking neurons of one backend.

    Parameters
    ----------
    backend : {"plain", "cpu", "cuda"}
        Which twin; complex numbers only go through "plain".

    Returns
    -------
    module
        With `adaptive_forward` and `adaptive_backward`.

    Raises
    ------
    ValueError
        For an unknown name.
    BackendUnavailableError
        For "cuda" on a machine without a CUDA device.

    Examples
    --------
    >>> adaptive_kernels("cpu").__name__
    'refsnn.kernels.cpu.adaptive'
    """
    return _twin("adaptive", backend)


def attention_kernels(backend: str) -> ModuleType:
    """The module with sparse attention over a memory, of one backend.

    Parameters
    ----------
    backend : {"plain", "cpu", "cuda"}
        Which twin; complex numbers only go through "plain".

    Returns
    -------
    module
        With `score`, `select`, `summarise` and `attend_backward`.

    Raises
    ------
    ValueError
        For an unknown name.
    BackendUnavailableError
        For "cuda" on a machine without a CUDA device.

    Examples
    --------
    >>> attention_kernels("cpu").__name__
    'refsnn.kernels.cpu.attention'
    """
    return _twin("attention", backend)


def graph_kernels(backend: str) -> ModuleType:
    """The module with products with a sparse matrix, of one backend.

    Parameters
    ----------
    backend : {"plain", "cpu", "cuda"}
        Which twin.

    Returns
    -------
    module
        With `propagate`.

    Raises
    ------
    ValueError
        For an unknown name.
    BackendUnavailableError
        For "cuda" on a machine without a CUDA device.

    Examples
    --------
    >>> graph_kernels("cpu").__name__
    'refsnn.kernels.cpu.graph'
    """
    return _twin("graph", backend)


def manifold_kernels(backend: str) -> ModuleType:
    """The module with steps and lengths in spaces of constant curvature, of one backend.

    Parameters
    ----------
    backend : {"plain", "cpu", "cuda"}
        Which twin; complex numbers only go through "plain".

    Returns
    -------
    module
        With `step`, `origin_logarithm`, `squared_distances` and their adjoints.

    Raises
    ------
    ValueError
        For an unknown name.
    BackendUnavailableError
        For "cuda" on a machine without a CUDA device.

    Examples
    --------
    >>> manifold_kernels("cpu").__name__
    'refsnn.kernels.cpu.manifold'
    """
    return _twin("manifold", backend)


def _twin(module: str, backend: str, backends: tuple[str, ...] = BACKENDS) -> ModuleType:
    """The module of that name in the room of a backend, which must be there to be used."""
    checks.choice("backend", backend, backends)
    if backend == "cuda":
        from refsnn.kernels.cuda import device

        device.require()
    return importlib.import_module(f"refsnn.kernels.{backend}.{module}")
