"""What a check of this room raises: both are assertion errors, so that any test runner reads them."""

from __future__ import annotations


class GradientMismatch(AssertionError):
    """A gradient is not what the reference says."""


class OtherLeaves(GradientMismatch):
    """A gradient has other names, shapes or numbers of leaves: no value was compared."""


class VacuousCheck(AssertionError):
    """There was nothing to check: a dead gradient, no spike, a potential at the threshold.

    A check that passes on zeros would pass on every mistake, so it fails instead and says what was dead.
    """


class NotCaught(AssertionError):
    """A check passed on a gradient that is wrong on purpose."""
