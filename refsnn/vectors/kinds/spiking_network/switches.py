"""How mistakes of spiking networks are made: switches, other options, spoiled leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from refsnn.vectors.case import Leaves, Problem

Applies = Callable[[dict[str, Any]], bool]


def dense(given: dict[str, Any]) -> bool:
    """Whether the network is a stack of dense layers, which the second writing knows.

    Parameters
    ----------
    given : dict
        Hyper-parameters.

    Returns
    -------
    bool
    """
    return bool(given["architecture"] == "dense")


def of(*algorithms: str, **wanted: Any) -> Applies:
    """Dense networks under these algorithms, with these options.

    Parameters
    ----------
    *algorithms : str
        Names.
    **wanted : Any
        Other hyper-parameters.

    Returns
    -------
    callable
        Of the hyper-parameters.
    """
    return lambda given: (
        dense(given)
        and given["algorithm"] in algorithms
        and all(given.get(name) == value for name, value in wanted.items())
    )


def switch(name: str, applies: Applies = dense) -> Any:
    """A switch of the second writing.

    Parameters
    ----------
    name : str
        Of the mistake.
    applies : callable
        Of the hyper-parameters.

    Returns
    -------
    callable
        `Mistake.changes`.
    """

    def changes(problem: Problem) -> Problem | None:
        return problem.changed(**{f"mistake__{name}": True}) if applies(problem.hyperparameters) else None

    return changes


def options(applies: Applies, **options: Any) -> Any:
    """Other hyper-parameters.

    Parameters
    ----------
    applies : callable
        Of the hyper-parameters.
    **options : Any
        Values; a callable makes one from the hyper-parameters.

    Returns
    -------
    callable
        `Mistake.changes`.
    """

    def changes(problem: Problem) -> Problem | None:
        given = problem.hyperparameters
        if not applies(given):
            return None
        return problem.changed(
            **{name: value(given) if callable(value) else value for name, value in options.items()}
        )

    return changes


def each(name: str, values: Any) -> Any:
    """A constant of all hidden layers exchanged, or set.

    Parameters
    ----------
    name : str
        Of the constant.
    values : Any
        A dict from what is to what shall be, or what all shall be.

    Returns
    -------
    callable
        `Mistake.changes`.
    """

    def changes(problem: Problem) -> Problem | None:
        given = problem.hyperparameters
        if not dense(given):
            return None
        key = name.replace(".", "__")
        return problem.changed(
            **{key: [values[one] if isinstance(values, dict) else values for one in given[name]]}
        )

    return changes


def times(factor: Callable[[Problem], float], *beginnings: str) -> Any:
    """Leaves times a factor.

    Parameters
    ----------
    factor : callable
        Of the problem.
    *beginnings : str
        Of the paths.

    Returns
    -------
    callable
        `Mistake.spoils`.
    """

    def spoils(problem: Problem, leaves: Leaves) -> Leaves:
        return {
            path: value * factor(problem) if path.startswith(beginnings) else value
            for path, value in leaves.items()
        }

    return spoils


def steps(problem: Problem) -> float:
    """T.

    Parameters
    ----------
    problem : Problem
        Of a case.

    Returns
    -------
    float
    """
    return float(len(problem.inputs["input"]))


def only(applies: Applies) -> Any:
    """Where a mistake that spoils leaves applies.

    Parameters
    ----------
    applies : callable
        Of the hyper-parameters.

    Returns
    -------
    callable
        `Mistake.changes`, which changes nothing.
    """
    return lambda problem: problem if applies(problem.hyperparameters) else None


TIMED = ("bptt", "truncated_bptt")
AVERAGED = ("rate_backpropagation", "temporal_galerkin")
SLOPED = (*TIMED, *AVERAGED)
ONLINE = ("ottt", "sltt")
