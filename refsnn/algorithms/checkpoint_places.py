"""What lies where: the copies on one level of memory, so that none is overwritten or taken for another."""

from __future__ import annotations

from bisect import bisect_left

# PUSH_H or PUSH_I, and the step
Copy = tuple[int, int]


class Places:
    """The copies on one level, by address and by what they are of.

    Parameters
    ----------
    units : int
        How many there are.

    Attributes
    ----------
    used, peak : int
        Units in use, and the most there were.

    Examples
    --------
    >>> from refsnn.schedules.operations import PUSH_H
    >>> places = Places(5)
    >>> places.put(0, 3, (PUSH_H, 7))
    >>> places.has_room(3, 2), places.has_room(2, 2), places.has_room(4, 2), places.address_of((PUSH_H, 7))
    (True, False, False, 0)
    """

    def __init__(self, units: int) -> None:
        self.units = units
        self.used = self.peak = 0
        self._starts: list[int] = []  # in order
        self._copies: dict[int, tuple[int, Copy]] = {}  # size and copy at an address
        self._addresses: dict[Copy, list[int]] = {}

    def has_room(self, address: int, size: int) -> bool:
        """Whether these units are there and free."""
        if address < 0 or address + size > self.units:
            return False
        index = bisect_left(self._starts, address)
        if index and self._starts[index - 1] + self._copies[self._starts[index - 1]][0] > address:
            return False
        return index == len(self._starts) or self._starts[index] >= address + size

    def put(self, address: int, size: int, copy: Copy) -> None:
        """Note a copy; there must be room for it."""
        self._starts.insert(bisect_left(self._starts, address), address)
        self._copies[address] = size, copy
        self._addresses.setdefault(copy, []).append(address)
        self.used += size
        self.peak = max(self.peak, self.used)

    def free(self, address: int) -> None:
        """Forget the copy that begins there."""
        size, copy = self._copies.pop(address)
        del self._starts[bisect_left(self._starts, address)]
        self._addresses[copy].remove(address)
        if not self._addresses[copy]:
            del self._addresses[copy]
        self.used -= size

    def at(self, address: int) -> Copy | None:
        """Which copy begins at an address."""
        return self._copies[address][1] if address in self._copies else None

    def address_of(self, copy: Copy) -> int | None:
        """Where a copy is, if it is anywhere."""
        return self._addresses[copy][0] if copy in self._addresses else None

    def steps(self, kind: int) -> list[int]:
        """Of which steps there are copies of a kind, in order."""
        return sorted(step for one, step in self._addresses if one == kind)
