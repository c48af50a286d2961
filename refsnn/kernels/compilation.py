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
from types import SimpleNamespace
from typing import Any

import numba
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.core.ccallback import CFunc
from numba.extending import intrinsic

_PACKAGE = Path(__file__).resolve().parent.parent
KERNEL_ROOMS = ("equations", "kernels", "schedules")  # where what a kernel is made of can stand
_DISABLED = bool(getattr(numba.config, "DISABLE_JIT", False))


@functools.cache
def source_fingerprint() -> str:
    """SHA-256 over all sources of equations, kernels and schedules.

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
    for room in KERNEL_ROOMS:
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


def compiled_callback(function: Callable, arguments: tuple[Any, ...]) -> Any:
    """Compile a function of given types that kernels are handed by its address and call with `call_at`.

    A kernel that is handed the loops over the units is compiled once, whatever the units compute; the
    callback alone is compiled for each kind.  An address is a whole number: Numba spends no time on its type.

    Parameters
    ----------
    function : callable
        A loop over arrays and scalars that returns nothing.
    arguments : tuple of numba types
        Of its arguments.

    Returns
    -------
    object
        With the attribute `address`, valid while the object lives.

    Examples
    --------
    >>> import numpy as np
    >>> def double(x):
    ...     for i in range(x.size):
    ...         x[i] += x[i]
    >>> callback, x = compiled_callback(double, (types.float64[::1],)), np.ones(2)
    >>> compiled(lambda address, x: call_at(address, (x,)))(callback.address, x)
    >>> x
    array([2., 2.])
    """
    if _DISABLED:
        return SimpleNamespace(address=function)
    options = {"nopython": True, "error_model": "numpy", "nogil": True}
    callback = keep_fresh(CFunc(function, (arguments, types.void), locals={}, options=options))
    callback.compile()
    return callback


def _call_at(typingctx, address, arguments):  # type: ignore[no-untyped-def]
    """Call the callback at `address` with a tuple of arguments, of exactly the types it was compiled for."""

    def codegen(context, builder, signature, values):  # type: ignore[no-untyped-def]
        nothing, *given = (context.get_value_type(kind) for kind in (types.void, *arguments))
        function = builder.inttoptr(values[0], ir.FunctionType(nothing, given).as_pointer())
        builder.call(function, cgutils.unpack_tuple(builder, values[1]))
        return context.get_dummy_value()

    return types.void(types.intp, arguments), codegen


def _call_plainly(address, arguments):  # type: ignore[no-untyped-def]
    """The same where nothing is compiled: the address is the function."""
    address(*arguments)


call_at: Callable = _call_plainly if _DISABLED else intrinsic(_call_at)


def keep_fresh(dispatcher: Any) -> Any:
    """Turn on the dispatcher's disk cache and widen its stamp by `source_fingerprint`.

    Parameters
    ----------
    dispatcher : numba dispatcher
        Of `numba.njit` or `numba.cuda.jit`, or a callback before it is compiled.

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
