"""Memory that is kept: large arrays that come again and again are made where others have been.

The C library asks the system for the memory of an array above some megabytes, and hands it back with the
array.  The system zeroes every page before it lends it out again, which in a training costs as much as a
good part of its products.  A workspace keeps the memory instead, from one gradient to the next.

Nobody gives anything back by hand: the memory of an array is free again when the array and all its views are
gone, and not before.  So an array from a workspace may be kept, or returned, like any other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from refsnn import checks

# where an array is made: `numpy.empty`, or `Workspace.empty`
Empty = Callable[[tuple[int, ...], Any], np.ndarray]


class Workspace:
    """Memory for arrays, kept for as long as the workspace lives.

    For one thread at a time.  What is kept is what was in use at once, at most; drop the workspace to let go
    of it.

    Attributes
    ----------
    bytes_held : int
        All memory that it keeps.

    Examples
    --------
    >>> workspace = Workspace()
    >>> view = workspace.empty((2, 3), np.float32)[0]
    >>> workspace.bytes_held, workspace.bytes_in_use
    (24, 24)
    >>> del view
    >>> workspace.bytes_held, workspace.bytes_in_use
    (24, 0)
    """

    def __init__(self) -> None:
        self.bytes_held = 0
        self._free: dict[int, list[np.ndarray]] = {}  # by size

    @property
    def bytes_in_use(self) -> int:
        """Memory in which there are arrays now."""
        return self.bytes_held - sum(size * len(blocks) for size, blocks in self._free.items())

    def empty(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """An array with anything in it, as `numpy.empty` makes it: contiguous, in C order.

        The smallest free block that holds it, and is less than twice as large, is taken; or a new one.

        Parameters
        ----------
        shape : tuple of int
            Of the array.
        dtype : dtype
            Of numbers.

        Returns
        -------
        ndarray

        Raises
        ------
        TypeError
            For a dtype of Python objects.
        """
        dtype = np.dtype(dtype)
        if dtype.hasobject:
            raise TypeError(f"dtype: expected numbers, got {dtype}; take numpy.empty for Python objects")
        size = max(1, math.prod(shape) * dtype.itemsize)
        fitting = [held for held, blocks in self._free.items() if blocks and size <= held < 2 * size]
        if fitting:
            block = self._free[min(fitting)].pop()
        else:
            block = np.empty(size, np.uint8)
            self.bytes_held += size
            self._free.setdefault(size, [])
        return np.asarray(_Loan(block, shape, dtype, self._give_back))

    def _give_back(self, block: np.ndarray) -> None:
        self._free[block.nbytes].append(block)


class _Loan:
    """What an array in a block holds on to, and with it all its views; when it goes the block is free."""

    def __init__(
        self,
        block: np.ndarray,
        shape: tuple[int, ...],
        dtype: np.dtype,
        give_back: Callable[[np.ndarray], None],
    ) -> None:
        self.__array_interface__ = {
            "version": 3,
            "data": (block.ctypes.data, False),
            "shape": tuple(shape),
            "typestr": dtype.str,
        }
        self.block, self.give_back = block, give_back

    def __del__(self) -> None:
        self.give_back(self.block)


def empty_in(workspace: Workspace | None) -> Empty:
    """Where arrays are made: in a workspace, or by `numpy.empty` where there is none.

    Raises
    ------
    TypeError
        For anything else.

    Examples
    --------
    >>> empty_in(None) is np.empty
    True
    """
    if workspace is None:
        return np.empty
    checks.instance("workspace", workspace, Workspace, "Workspace()")
    return workspace.empty
