"""Two sets of gradients, leaf by leaf: the tolerance is relative to a leaf's own largest entry.

It grows neither with the number of entries nor with what other leaves hold.  A leaf that is zero proves
nothing, and is refused unless it is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from refsnn import checks
from refsnn.testing.diagnosis import findings, worst_entry
from refsnn.testing.errors import GradientMismatch, OtherLeaves, VacuousCheck


@dataclass
class Comparison:
    """What was found of several leaves, collected so that a failure tells of all of them.

    Parameters
    ----------
    relative : float
        Allowed difference, relative to the leaf's largest expected entry.
    dead : tuple of str
        Leaves that may be zero; those that are must then be zero on both sides.
    reference : str
        What the expected values come from, for the message.
    wrong : dict of str to list of str
        What is said of each leaf that differs.
    vacuous : list of str
        What is said of leaves that prove nothing.
    matched : list of str
        Leaves that agree.
    seen : dict of str to None
        All leaves, in order.
    """

    relative: float
    dead: tuple[str, ...] = ()
    reference: str = "the reference"
    wrong: dict[str, list[str]] = field(default_factory=dict)
    vacuous: list[str] = field(default_factory=list)
    matched: list[str] = field(default_factory=list)
    seen: dict[str, None] = field(default_factory=dict)

    def add(
        self,
        name: str,
        found: np.ndarray,
        expected: np.ndarray,
        smallest: float = 0.0,
        place: Callable[[tuple[int, ...]], str] | None = None,
        rounding: float = 0.0,
        scale: float | None = None,
    ) -> None:
        """Compare one leaf.

        Parameters
        ----------
        name : str
            Of the leaf.
        found, expected : ndarray
            Of one shape.
        smallest : float
            A leaf whose largest expected entry is not above it is dead.
        place : callable, optional
            From an index to words; the index itself by default.
        rounding : float
            A difference that is allowed beside.
        scale : float, optional
            The largest entry of the leaf, where `expected` is not made of its entries.
        """
        self.seen[name] = None
        size = float(np.abs(expected).max(initial=0.0))
        if not np.isfinite(size):
            self.vacuous.append(f"{name!r}: {self.reference} itself is not finite")
            return
        if size <= smallest:
            self._add_dead(name, found, smallest)
            return
        size = size if scale is None else scale
        error = np.abs(found - expected)
        if (error <= self.relative * size + rounding).all():
            self.matched.append(name)
            return
        index = worst_entry(found, expected)
        at = place(index) if place else f"[{', '.join(map(str, index))}]"
        self.wrong.setdefault(name, []).extend(
            [
                f"worst at {at}: found {found[index]:.9g}, expected {expected[index]:.9g}; off by "
                f"{error[index] / size:.1e} of the largest entry {size:.3g}, allowed {self.relative:.0e}",
                *findings(found, expected, self.relative * size + rounding),
            ]
        )

    def _add_dead(self, name: str, found: np.ndarray, smallest: float) -> None:
        """The reference is zero: found must be so too, and the leaf be one that may."""
        largest = float(np.abs(found).max(initial=0.0))
        if not largest <= smallest:
            self.wrong[name] = [f"expected 0 as {self.reference} has it, found entries up to {largest:.3g}"]
        elif name not in self.dead:
            self.vacuous.append(f"{name!r}: {self.reference} is 0 here, so nothing is compared")
        else:
            self.matched.append(name)

    def finish(self, repeat: str = "") -> None:
        """Raise if a leaf was wrong, or nothing could be compared.

        Parameters
        ----------
        repeat : str
            How to make the comparison again.

        Raises
        ------
        GradientMismatch
            If leaves differ: which, where, by how much.
        VacuousCheck
            If none differs but one is zero and not among `dead`.
        """
        lines = []
        for name, said in self.wrong.items():
            lines += [f"  {name!r}: {said[0]}", *(f"    {sentence}" for sentence in said[1:])]
        ending = [f"  repeat with {repeat}"] if repeat else []
        if self.wrong:
            head = f"{len(self.wrong)} of {len(self.seen)} leaves differ from {self.reference}"
            if self.matched:
                head += f"; {', '.join(map(repr, dict.fromkeys(self.matched)))} agree"
            raise GradientMismatch("\n".join([head, *lines, *ending]))
        if self.vacuous:
            advice = "take a livelier example, or name in dead= the leaves that may be 0"
            body = [f"  {sentence}" for sentence in self.vacuous]
            raise VacuousCheck("\n".join([f"the check is vacuous; {advice}", *body, *ending]))


def assert_leaves_match(
    found: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
    *,
    relative: float = 1e-11,
    dead: Iterable[str] = (),
    smallest: float = 1e-12,
    rounding: float = 0.0,
    reference: str = "the reference",
) -> None:
    """Assert that two dicts of gradients are the same: names, shapes, dtypes, then numbers.

    Parameters
    ----------
    found, expected : mapping of str to ndarray
        What is tested, and what it should be.
    relative : float
        Allowed difference, relative to the largest expected entry of the leaf.
    dead : iterable of str
        Leaves that may be zero; those that are must be zero on both sides.
    smallest : float
        A leaf whose largest expected entry is not above it counts as zero.
    rounding : float
        A difference allowed beside, relative to the largest entry of all leaves: what is left of terms of
        that size where they cancel in a leaf.  None by default; 1e-15 is a few roundings of float64.
    reference : str
        What the expected values come from, for the message.

    Raises
    ------
    GradientMismatch
        Naming leaf, worst entry, both values, and what kind of difference it is.
    VacuousCheck
        If a leaf that is not named is zero, so that nothing is compared.

    Examples
    --------
    >>> assert_leaves_match({"w": np.array([1.0, 2.0])}, {"w": np.array([1.0, 2.5])})
    Traceback (most recent call last):
    ...
    refsnn.testing.errors.GradientMismatch: 1 of 1 leaves differ from the reference
      'w': worst at [1]: found 2, expected 2.5; off by 2.0e-01 of the largest entry 2.5, allowed 1e-11
        only entries with index 1 along axis 0 are off
        1 of 2 entries are off
    """
    checks.number("relative", relative, 0), checks.number("rounding", rounding, 0)
    dead = tuple(dead)
    if strange := sorted(set(dead) - set(expected)):
        raise ValueError(f"dead: expected names among {sorted(expected)}, got {strange}")
    missing, unknown = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    if missing or unknown:
        raise OtherLeaves(f"other leaves than expected: missing {missing}, unknown {unknown}")
    if not expected:
        raise VacuousCheck("expected: no leaves, so nothing is compared")
    compared = Comparison(relative, dead, reference)
    sizes = [float(np.abs(value).max(initial=0.0)) for value in expected.values()] if rounding else [0.0]
    beside = rounding * max((size for size in sizes if np.isfinite(size)), default=0.0)
    for name, value in expected.items():
        ours, theirs = np.asarray(found[name]), np.asarray(value)
        if (ours.shape, ours.dtype) != (theirs.shape, theirs.dtype):
            compared.seen[name] = None
            compared.wrong[name] = [
                f"found shape {ours.shape} of {ours.dtype}, expected {theirs.shape} of {theirs.dtype}"
            ]
            continue
        if ours.dtype.kind in "iub":  # whole numbers would wrap around
            ours, theirs = ours.astype(float), theirs.astype(float)
        compared.add(name, ours, theirs, smallest, rounding=beside)
    compared.finish()
