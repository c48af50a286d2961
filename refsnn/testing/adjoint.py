"""The dot test: whether two linear maps are each other's adjoint, <w, J v> = <J^T w, v>.

It checks a backward pass against a forward-mode derivative (or any linear operator against its transpose)
without a matrix and without a reference, also where spikes have surrogate slopes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.testing.arrays import Convert
from refsnn.testing.errors import GradientMismatch, OtherLeaves, VacuousCheck
from refsnn.testing.function import ScalarFunction

_TRIALS = 3


def assert_adjoint(
    push: Callable[..., Any],
    pull: Callable[..., Any],
    arguments: Any,
    outputs: Any,
    *,
    relative: float | None = None,
    dead: tuple[str, ...] = (),
    seed: int = 0,
    convert: Convert | None = None,
) -> None:
    """Assert <w, J v> = <J^T w, v> for random v and w, each leaf of v and of w alone.

    Parameters
    ----------
    push : callable
        v -> J v: takes a tree of the form of `arguments` (as `assert_gradients_match` calls its f), returns
        one of the form of `outputs`.
    pull : callable
        w -> J^T w, the other way round.
    arguments, outputs : dict, tuple, list or array
        Examples of v and w; only forms, shapes and dtypes count.
    relative : float, optional
        Allowed difference, relative to |w| |J v|; 1e-12 by default, 1e-5 for float32.  An error in one of n
        entries is about 1/sqrt(n) of that.
    dead : tuple of str
        Pairs 'argument -> output' that may be 0.
    seed : int
        Draws v and w.
    convert : callable, optional
        As in `assert_gradients_match`.

    Raises
    ------
    GradientMismatch
        Naming the pair of leaves and both products.
    VacuousCheck
        If J v is 0 for a pair that is not in `dead`.
    TypeError, ValueError
        For arguments of wrong kind.

    Examples
    --------
    >>> matrix = np.array([[1.0, 2.0], [3.0, 4.0]])
    >>> v = w = np.zeros(2)
    >>> assert_adjoint(lambda v: matrix @ v, lambda w: matrix.T @ w, v, w)
    >>> assert_adjoint(lambda v: matrix @ v, lambda w: matrix @ w, v, w)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    refsnn.testing.errors.GradientMismatch: the maps are not each other's adjoint
      'v' -> 'w': <w, J v> = ..., <J^T w, v> = ..., apart by ... of |w| |J v|, allowed 1e-12
      repeat with seed=0
    """
    forward, backward = ScalarFunction(push, arguments, convert), ScalarFunction(pull, outputs, convert)
    rng = np.random.default_rng(checks.count("seed", seed, 0))
    wide = all(leaf.dtype == np.float64 for leaf in (*forward.leaves.values(), *backward.leaves.values()))
    relative = (1e-12 if wide else 1e-5) if relative is None else checks.number("relative", relative, 0)
    wrong, silent = {}, set()
    for source in forward.leaves:
        for target in backward.leaves:
            pair = f"{source!r} -> {target!r}"
            for _ in range(_TRIALS):
                v, w = _alone(rng, forward, source), _alone(rng, backward, target)
                pushed = _checked("push", backward, forward.called(push, v), target)
                pulled = _checked("pull", forward, backward.called(pull, w), source)
                ahead, behind = float((w[target] * pushed).sum()), float((pulled * v[source]).sum())
                size = float(np.linalg.norm(w[target]) * np.linalg.norm(pushed))
                if not abs(ahead - behind) <= relative * size:
                    apart = abs(ahead - behind) / size if size else np.inf
                    wrong[pair] = (
                        f"  {pair}: <w, J v> = {ahead:.9g}, <J^T w, v> = {behind:.9g}, "
                        f"apart by {apart:.1e} of |w| |J v|, allowed {relative:.0e}"
                    )
                elif size == 0 and f"{source} -> {target}" not in dead:
                    silent.add(pair)
    repeat = f"  repeat with seed={seed}"
    if wrong:
        raise GradientMismatch("\n".join(["the maps are not each other's adjoint", *wrong.values(), repeat]))
    if silent:
        raise VacuousCheck(f"J v is 0 for {', '.join(sorted(silent))}, so nothing is compared; see dead=")


def _checked(label: str, form: ScalarFunction, tree: Any, leaf: str) -> np.ndarray:
    """One leaf of what a map returned, in double precision; refused where products would broadcast it."""
    found, like = form.gradients(tree)[leaf], form.leaves[leaf]
    if found.shape != like.shape or found.dtype.kind != "f":
        raise OtherLeaves(
            f"{label}: expected {leaf!r} of shape {like.shape} and real floating-point numbers, got shape "
            f"{found.shape} of {found.dtype}"
        )
    return found.astype(float)


def _alone(rng: np.random.Generator, function: ScalarFunction, chosen: str) -> dict[str, np.ndarray]:
    """Random numbers in one leaf, 0 in the others."""
    return {
        name: (rng.standard_normal(leaf.shape) if name == chosen else np.zeros(leaf.shape)).astype(leaf.dtype)
        for name, leaf in function.leaves.items()
    }
