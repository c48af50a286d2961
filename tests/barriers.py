"""A CUDA kernel as Python, its threads one at a time from barrier to barrier, every access watched.

Numba's simulator lets threads run as they like, so a missing barrier is seen by luck.  Here two threads of
a block that touch the same entry between two barriers, one of them writing, are a race, whatever came out;
so are two blocks that touch the same entry at all.
"""

from __future__ import annotations

import sys
import threading
from types import SimpleNamespace

import numpy as np
from numba.np.numpy_support import as_dtype


class Log:
    """Who touched which entry since the last barrier."""

    def __init__(self) -> None:
        self.races: set[str] = set()
        self.tolerated: set[str] = set()
        self.epoch: dict[tuple[str, int], tuple[set[int], set[int]]] = {}
        self.ever: dict[tuple[str, int], tuple[set[int], set[int]]] = {}
        self.thread = self.block = 0

    def touch(self, name: str, entry: int, writes: bool) -> None:
        """Note an access of the thread that runs, and complain if it meets another's."""
        for what, who, seen in (("threads", self.thread, self.epoch), ("blocks", self.block, self.ever)):
            if what == "blocks" and name == "shared":
                continue
            readers, writers = seen.setdefault((name, entry), (set(), set()))
            others = (readers | writers if writes else writers) - {who}
            if others and name not in self.tolerated:
                self.races.add(f"{name}: two {what}")
            (writers if writes else readers).add(who)


class Watched:
    """An array that tells a `Log` of every entry that is read or written."""

    def __init__(self, name: str, array: np.ndarray, log: Log, entries: np.ndarray | None = None) -> None:
        self.name, self.array, self.log = name, array, log
        self.entries = np.arange(array.size).reshape(array.shape) if entries is None else entries
        self.shape, self.size = array.shape, array.size

    def __getitem__(self, key):
        value = self.array[key]
        if isinstance(value, np.ndarray):
            return Watched(self.name, value, self.log, self.entries[key])
        self.log.touch(self.name, int(self.entries[key]), writes=False)
        return value

    def __setitem__(self, key, value):
        assert isinstance(self.entries[key], np.integer), "one entry at a time"
        self.log.touch(self.name, int(self.entries[key]), writes=True)
        self.array[key] = value


class Device:
    """What a kernel finds under the name `cuda`.

    Parameters
    ----------
    without : int, optional
        A barrier that is not there: its place in the order of the lines of the kernel.
    """

    def __init__(self, without: int | None = None) -> None:
        self.log, self.without, self.lines = Log(), without, set()
        self.local = threading.local()
        self.shared = SimpleNamespace(array=self._shared)

    threadIdx = property(lambda self: SimpleNamespace(x=self.local.thread))
    blockIdx = property(lambda self: SimpleNamespace(x=self.log.block))
    blockDim = property(lambda self: SimpleNamespace(x=self.threads))

    def grid(self, dimensions):
        """Which thread of all blocks."""
        assert dimensions == 1
        return self.log.block * self.threads + self.local.thread

    def _shared(self, size, dtype):
        assert size == 0
        view = self.memory.view(as_dtype(dtype))
        # views of other widths meet in the bytes: a whole number of 4-byte words stands for each entry
        words = view.dtype.itemsize // 4
        return Watched("shared", view, self.log, np.arange(view.size) * words)

    def syncthreads(self) -> None:
        """Hand over to the next thread, until all have come here."""
        line = sys._getframe(1).f_lineno
        if self.without is not None and line == self.without:
            return
        self.lines.add(line)
        self.local.hand_over(line)

    def launch(self, kernel, blocks, threads, shared_bytes, arguments, order) -> None:
        """Run all blocks; `arguments` are scalars and (name, array) pairs."""
        watched = [
            Watched(*argument, self.log) if isinstance(argument, tuple) else argument
            for argument in arguments
        ]
        self.threads = threads
        for block in range(blocks):
            self.log.block, self.memory = block, np.zeros(shared_bytes // 16 * 16 + 16, np.uint8)
            self.memory[:] = 0xFF  # NaN: what nobody wrote is not zero
            self._block(kernel, watched, order(threads))

    def _block(self, kernel, arguments, order) -> None:
        turns = {thread: threading.Event() for thread in order}
        back, stopped, errors = threading.Event(), {}, []

        def run(thread):
            def hand_over(line):
                stopped[thread] = line
                back.set()
                turns[thread].wait()
                turns[thread].clear()

            self.local.thread, self.local.hand_over = thread, hand_over
            turns[thread].wait()
            turns[thread].clear()
            try:
                kernel(*arguments)
            except BaseException as error:
                errors.append(error)
            stopped[thread] = None
            back.set()

        for thread in order:
            threading.Thread(target=run, args=(thread,), daemon=True).start()
        while set(stopped.values()) != {None}:
            self.log.epoch.clear()
            for thread in order:
                self.log.thread = thread
                turns[thread].set()
                back.wait()
                back.clear()
                if errors:
                    raise errors[0]
            if len(set(stopped.values())) > 1:
                self.log.races.add("threads wait at different barriers")
                return
