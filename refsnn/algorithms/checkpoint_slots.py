"""Where states and tapes wait: a piece of memory allocated once, and a file for what may go to the disk.

Both hold raw copies of the blocks of a working core, under the addresses that a schedule gives.  The budget
is kept by construction: nothing is allocated while a schedule runs.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import zlib
from pathlib import Path
from types import TracebackType

import h5py
import numpy as np

from refsnn.models.working_core import Block


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
    SpillError
        If the folder cannot be written to, or the disk is full.
    """

    def __init__(self, folder: str | os.PathLike[str] | None, slots: int, block: Block) -> None:
        self.folder = Path(tempfile.gettempdir() if folder is None else folder)
        self.bytes_written = self.bytes_read = 0
        self._sums: dict[int, int] = {}
        self._slots, self._nbytes = slots, block.nbytes
        self._file: h5py.File | None = None
        try:
            handle, name = tempfile.mkstemp(prefix="refsnn-spill-", suffix=".h5", dir=self.folder)
            os.close(handle)
            self._path = Path(name)
        except OSError as error:
            raise self._error("cannot be written to", error) from error
        try:
            self._file = h5py.File(self._path, "w", libver="latest", rdcc_nbytes=0)
            if os.name != "nt":
                self._path.unlink()
            self._datasets = {
                name: self._file.create_dataset(name, (slots, *view.shape), view.dtype)
                for name, view in block.arrays.items()
            }
            for dataset in self._datasets.values():
                nothing = np.zeros(dataset.shape[1:], dataset.dtype)
                for slot in range(slots):  # takes the room, without an array of the size of the file
                    dataset.write_direct(nothing, dest_sel=np.s_[slot])
            self._file.flush()
        except OSError as error:
            self.close()
            raise self._error("has no room", error) from error

    def write(self, address: int, block: Block) -> None:
        """Copy a state to slot `address`."""
        try:
            for name, view in block.arrays.items():
                self._datasets[name].write_direct(np.ascontiguousarray(view), dest_sel=np.s_[address])
        except OSError as error:
            raise self._error("took no state", error) from error
        self._sums[address] = zlib.crc32(block.memory)
        self.bytes_written += block.nbytes

    def read(self, address: int, block: Block) -> None:
        """Copy it back."""
        try:
            for name, view in block.arrays.items():
                self._datasets[name].read_direct(view, source_sel=np.s_[address])
        except OSError as error:
            raise self._error("gave no state back", error) from error
        if zlib.crc32(block.memory) != self._sums[address]:
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
