"""Compiled once, kept between runs, never stale.

Numba keeps machine code on disk under the time stamp of the file in which the kernel stands, and does not
see a change in another file: after an edit of an equation it would go on computing the old one.  Here the
stamp is widened by a fingerprint of every file that a kernel can be made of.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

_PACKAGE = Path(__file__).resolve().parent.parent
_ROOMS = ("equations", "kernels")


@functools.cache
def source_fingerprint() -> str:
    """SHA-256 over all sources of equations and kernels.

    Returns
    -------
    str
        Hexadecimal digest; any edit in those rooms changes it.

    Examples
    --------
    >>> len(source_fingerprint())
    64
    """
    digest = hashlib.sha256()
    for room in _ROOMS:
        for path in sorted((_PACKAGE / room).rglob("*.py")):
            content = path.read_bytes()
            digest.update(f"{path.relative_to(_PACKAGE).as_posix()}:{len(content)}:".encode())
            digest.update(content)
    return digest.hexdigest()


def compiled(function: Callable) -> Callable:
    """Compile a CPU kernel, with a cache that knows the equations.

    `error_model="numpy"` because the default division check keeps LLVM from vectorising; `nogil` because
    blocks of neurons run on threads.

    Parameters
    ----------
    function : callable
        A loop over arrays and scalars.

    Returns
    -------
    callable
        The Numba dispatcher (or the function itself under NUMBA_DISABLE_JIT).

    Examples
    --------
    >>> def double(x):
    ...     for i in range(x.size):
    ...         x[i] += x[i]
    >>> import numpy as np
    >>> x = np.ones(2)
    >>> compiled(double)(x)
    >>> x
    array([2., 2.])
    """
    return keep_fresh(numba.njit(error_model="numpy", nogil=True)(function))


def keep_fresh(dispatcher: Any) -> Any:
    """Turn on the dispatcher's disk cache and widen its stamp by `source_fingerprint`.

    Parameters
    ----------
    dispatcher : numba dispatcher
        Of `numba.njit` or `numba.cuda.jit`.

    Returns
    -------
    dispatcher
        The same object; without a cache where no folder is writable or the simulator runs.
    """
    if not hasattr(dispatcher, "enable_caching"):
        return dispatcher
    try:
        dispatcher.enable_caching()
    except RuntimeError:  # Numba found no place to write, or the function has no file (a REPL)
        return dispatcher
    cache_file: Any = getattr(dispatcher._cache, "_cache_file", None)
    if not hasattr(cache_file, "_source_stamp"):  # a Numba that keeps its stamp elsewhere: better no cache
        dispatcher._cache.disable()
        return dispatcher
    cache_file._source_stamp = (cache_file._source_stamp, source_fingerprint())
    return dispatcher
