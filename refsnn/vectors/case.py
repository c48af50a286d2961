"""What a golden vector is made of: a problem that stands alone, and what must come out of it.

A *kind* of vectors is one computation, such as one layer of spiking neurons: what goes in, how it is solved,
which independent truth says so, and which mistakes are often made.  A *case* is one problem of a kind with
its purpose.  Numbers are stored in *leaves*, arrays named by a path such as ``gradients/layer.1.weight``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

Leaves = dict[str, np.ndarray]
Hyperparameters = dict[str, Any]  # bool, int, float, str and lists of them, by dotted name

FLAGS = {
    "exact-threshold": "a charged potential equals the threshold to the last bit (dyadic numbers)",
    "residual-above-threshold": "after a soft reset the potential is still above the threshold",
    "reset-value": "the hard reset goes to a value other than zero",
    "attached-reset": "the gradient flows through the reset",
    "silent": "no neuron fires",
    "saturated": "every neuron fires at every step",
    "one-step": "T = 1",
    "one-neuron": "a single neuron",
    "one-sample": "a batch of one",
    "unequal-widths": "no two layers have the same width: a transposed weight does not fit",
    "negative-drive": "currents far below zero",
    "carried-state": "starts from a state other than that of rest",
    "two-calls": "the second of two consecutive calls: it starts from the state in which the first one ended",
    "zero-upstream": "the upstream gradient is zero",
    "long": "the state is fed back over hundreds of steps",
    "random": "nothing special: random numbers of a live network",
    "ties": "scores are exactly equal: the order of selection shows",
    "float64-only": "float32 cannot repeat it within its tolerance: too near a threshold, or too long",
}


@dataclass(frozen=True)
class Problem:
    """All that an implementation is given.

    Attributes
    ----------
    hyperparameters : dict
        Options and constants by name.
    inputs : dict of str to ndarray
        Sequences, parameters, initial states, upstream gradients, by path.
    """

    hyperparameters: Hyperparameters
    inputs: Leaves

    def changed(self, **hyperparameters: Any) -> Problem:
        """The same with other hyper-parameters; ``__`` in a name stands for a dot."""
        named = {name.replace("__", "."): value for name, value in hyperparameters.items()}
        return replace(self, hyperparameters=self.hyperparameters | named)

    def cast(self, dtype: Any) -> Problem:
        """The same with all real arrays in another dtype."""
        kinds = {"f": np.dtype(dtype), "c": np.result_type(dtype, np.complex64)}
        cast = {
            name: array.astype(kinds.get(array.dtype.kind, array.dtype))
            for name, array in self.inputs.items()
        }
        return replace(self, inputs=cast)


@dataclass(frozen=True)
class Case:
    """A problem with its name and its purpose.

    Attributes
    ----------
    name : str
        Path of the case within its kind, such as "random/hard-attached".
    purpose : str
        What it is there to find out.
    flags : tuple of str
        Keys of `FLAGS`.
    problem : Problem
        What goes in.
    """

    name: str
    purpose: str
    flags: tuple[str, ...]
    problem: Problem


@dataclass(frozen=True)
class Solution:
    """What comes out.

    Attributes
    ----------
    leaves : dict of str to ndarray
        By path.
    margin : float
        Smallest distance of a charged potential to its threshold, or of a score to its rank; infinity where
        nothing is decided.
    """

    leaves: Leaves
    margin: float = float("inf")


@dataclass(frozen=True)
class Leaf:
    """What a page says of one output, or of a family of outputs.

    Attributes
    ----------
    path : str
        Of the leaf; ``*`` stands for any rest, as in ``gradients/*``.
    shape : str
        In the letters of the page.
    meaning : str
        In a sentence.
    equation : str
        Where it is defined: equation and file.
    tolerance : float
        Relative to the largest entry of the leaf, in float64; 0 for what is exact, such as spikes.
    """

    path: str
    shape: str
    meaning: str
    equation: str
    tolerance: float = 1e-10

    def covers(self, path: str) -> bool:
        """Whether a path is this leaf, or one of this family."""
        return path == self.path or (self.path.endswith("*") and path.startswith(self.path[:-1]))


@dataclass(frozen=True)
class Mistake:
    """An error that is often made, as a change of the problem, of the solution, or of both.

    Attributes
    ----------
    name : str
        Short, such as "reset-detached".
    says : str
        A sentence for who made it.
    equation : str
        The one that it breaks, and its file.
    changes : callable, optional
        `problem -> problem` that a right implementation would have to be given to be wrong so, or None
        where the mistake does not apply.  Names that begin with ``mistake.`` are options of `Kind.wrongly`.
    spoils : callable, optional
        `(problem, leaves) -> leaves`, after the solution.
    """

    name: str
    says: str
    equation: str
    changes: Callable[[Problem], Problem | None] | None = None
    spoils: Callable[[Problem, Leaves], Leaves] | None = None


@dataclass(frozen=True)
class Kind:
    """One computation, and all its cases.

    Attributes
    ----------
    name : str
        Of the file.
    summary : str
        One sentence.
    inputs : dict of str to str
        What each input, and each hyper-parameter, is: path or name to words.
    leaves : tuple of Leaf
        Every output is covered by one.
    solve : callable
        `(problem, backend) -> Solution`, in the dtype of the inputs.
    truth : callable
        `problem -> dict of leaves`, from an oracle that shares only the forward equation with `solve`; the
        leaves it can say something of, at least every gradient that is not empty.
    oracle : str
        What that oracle is.
    cases : callable
        `large -> iterator of Case`, the same each time; the large set holds the small one.
    mistakes : tuple of Mistake
        Often made.
    wrongly : callable, optional
        `problem -> leaves` that also knows the options of the mistakes; `solve` by default.
    agreement : float
        How closely `solve` and `truth` agree, relative to the largest entry of a leaf.
    """

    name: str
    summary: str
    inputs: Mapping[str, str]
    leaves: tuple[Leaf, ...]
    solve: Callable[[Problem, str], Solution]
    truth: Callable[[Problem], Leaves]
    oracle: str
    cases: Callable[[bool], Iterator[Case]]
    mistakes: tuple[Mistake, ...] = ()
    wrongly: Callable[[Problem], Leaves] | None = None
    agreement: float = 1e-11

    def leaf(self, path: str) -> Leaf:
        """What is said of a path.

        Raises
        ------
        KeyError
            If nothing is.
        """
        for leaf in self.leaves:
            if leaf.covers(path):
                return leaf
        raise KeyError(f"{self.name}: no leaf {path!r}; there are {[leaf.path for leaf in self.leaves]}")
