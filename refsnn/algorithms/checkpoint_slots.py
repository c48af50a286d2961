"""Where states and tapes wait: a piece of memory allocated once, and a file for what may go to the disk.

Both hold raw copies of the blocks of a working core, under the addresses that a schedule gives.  The budget
is kept by construction: nothing is allocated while a schedule runs.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from pathlib import Path
from types import TracebackType

import h5py
import numpy as np

from refsnn.models.working_core import Block

# of an HDF5 file with some datasets
_OVERHEAD = 2**14


class MemorySlots:
    """Units of memory, allocated and touched at the start.

    Parameters
    ----------
    units : int
        How many.
    unit_bytes : int
        Bytes of one.

    Examples
    --------
    >>> slots, block = MemorySlots(3, 16), Block({"h": ((2,), np.float64)})
    >>> block.arrays["h"][:] = 1.0, 2.0
    >>> slots.write(2, (block,))
    >>> block.arrays["h"][:] = 0.0
    >>> slots.read(2, (block,))
    >>> block.arrays["h"]
    array([1., 2.])
    """

    def __init__(self, units: int, unit_bytes: int) -> None:
        self.unit_bytes = unit_bytes
        self.memory = np.empty(units * unit_bytes, np.uint8)
        self.memory.fill(0)  # pages that were never touched would not count as resident

    def write(self, address: int, blocks: tuple[Block, ...]) -> None:
        """Copy blocks to an address, one behind the other."""
        first = address * self.unit_bytes
        for block in blocks:
            np.copyto(self.memory[first : first + block.nbytes], block.memory)
            first += block.nbytes

    def read(self, address: int, blocks: tuple[Block, ...]) -> None:
        """Copy them back."""
        first = address * self.unit_bytes
        for block in blocks:
            np.copyto(block.memory, self.memory[first : first + block.nbytes])
            first += block.nbytes


class SpillError(OSError):
    """The disk could not take or give back a state."""


class DiskSlots:
    """States in an HDF5 file that vanishes with the process.

    One dataset an array of the state, (slots, *shape), contiguous; slots are used again by index.  The file
    is allocated whole before the first step, so that a full disk is found at once; where the system allows
    (all but Windows) it loses its name at once, so that nothing is left behind even by a kill.  A checksum of
    each state stays in memory: what the disk gives back changed is refused.

    HDF5 gathers small writes in a buffer, and when that cannot be written, closing the file ends the process
    (HDF5 2.0).  So the room is asked of the system first, and the buffer is switched off: each write then
    fails, if it does, where it is called.

    Parameters
    ----------
    folder : path, optional
        Where; the system's temporary folder by default.
    slots : int
        How many states.
    block : Block
        A state, for names, shapes and dtypes.

    Attributes
    ----------
    bytes_written, bytes_read : int
        Since the start; the file system's cache hides what a disk costs, these do not.

    Raises
    ------
    TypeError
        If `folder` is no path.
    SpillError
        If the folder cannot be written to, or the disk is full.
    """

    def __init__(self, folder: str | os.PathLike[str] | None, slots: int, block: Block) -> None:
        if not isinstance(folder, (str, os.PathLike, type(None))):
            raise TypeError(f"spill_folder: expected a path, got {folder!r}")
        self.folder = Path(tempfile.gettempdir() if folder is None else folder)
        self.bytes_written = self.bytes_read = 0
        self._sums: dict[int, int] = {}
        self._slots, self._nbytes = slots, block.nbytes
        self._file: h5py.File | None = None
        try:
            handle, name = tempfile.mkstemp(prefix="refsnn-spill-", suffix=".h5", dir=self.folder)
        except OSError as error:
            raise self._error("cannot be written to", error) from error
        self._path = Path(name)
        try:
            try:
                _reserve(handle, slots * block.nbytes)
            finally:
                os.close(handle)
            self._make(block)
        except OSError as error:
            self.close()
            raise self._error("has no room", error) from error
        except BaseException:
            self.close()
            raise

    def _make(self, block: Block) -> None:
        """The file and its datasets, with the room that they will need."""
        access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
        access.set_sieve_buf_size(0)
        access.set_libver_bounds(h5py.h5f.LIBVER_LATEST, h5py.h5f.LIBVER_LATEST)
        self._file = h5py.File(h5py.h5f.create(os.fsencode(self._path), h5py.h5f.ACC_TRUNC, fapl=access))
        if os.name != "nt":
            self._path.unlink()
        self._datasets = {
            name: self._file.create_dataset(name, (self._slots, *view.shape), view.dtype)
            for name, view in block.arrays.items()
        }
        for dataset in self._datasets.values():
            nothing = np.zeros(dataset.shape[1:], dataset.dtype)
            for slot in range(self._slots):  # takes the room, without an array of the size of the file
                dataset.write_direct(nothing, dest_sel=np.s_[slot])
        self._file.flush()

    def write(self, address: int, block: Block) -> None:
        """Copy a state to slot `address`.

        Raises
        ------
        SpillError
            If the disk does not take it.
        """
        try:
            for name, view in block.arrays.items():
                self._datasets[name].write_direct(np.ascontiguousarray(view), dest_sel=np.s_[address])
        except OSError as error:
            raise self._error("took no state", error) from error
        self._sums[address] = block.checksum()
        self.bytes_written += block.nbytes

    def read(self, address: int, block: Block) -> None:
        """Copy it back.

        Raises
        ------
        SpillError
            If the disk does not give it, or gives something else than was written.
        """
        try:
            for name, view in block.arrays.items():
                self._datasets[name].read_direct(view, source_sel=np.s_[address])
        except OSError as error:
            raise self._error("gave no state back", error) from error
        if block.checksum() != self._sums.get(address):
            raise SpillError(
                f"spill_folder: the state in slot {address} of the file in {self.folder} is not the one that "
                "was written; choose a folder on a disk in order, or a schedule without a disk"
            )
        self.bytes_read += block.nbytes

    def close(self) -> None:
        """Close the file and remove it where it still has a name."""
        if self._file is not None:
            with contextlib.suppress(OSError, RuntimeError):  # a full disk makes HDF5 complain once more
                self._file.close()
            self._file = None
        self._path.unlink(missing_ok=True)

    def __enter__(self) -> DiskSlots:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def _error(self, what: str, error: OSError) -> SpillError:
        return SpillError(
            f"spill_folder: {self.folder} {what} for {self._slots} states of {self._nbytes} bytes "
            f"({self._slots * self._nbytes} in all): {error}; choose another folder, or fewer disk slots"
        )


def _reserve(handle: int, nbytes: int) -> None:
    """Ask the system for room, where it can be asked."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(handle, 0, nbytes + _OVERHEAD)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # file systems that do not know of it
                raise
