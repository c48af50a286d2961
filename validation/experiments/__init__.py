"""The trainings, one module a paper: what the papers report beyond their theorems.

A module of this package fills the registry, with the decorator::

    @experiment("rate_backpropagation/digits", "Title", "What is trained, on what.", long=False)
    def digits(progress):
        for epoch in range(epochs):
            progress(epoch, epochs, f"epoch {epoch}")
            ...
        return ExperimentResult(("rule", "accuracy"), (("BPTT", "98.0 %"),), ())

An experiment whose data are not there raises `Unavailable`; it is reported as skipped, with the reason.

One that takes longer than a run may last is marked ``resumable=True`` and called as
``run(progress, allowance)``: it stops when its time is up, says how far it is, and goes on from its
checkpoints in the next run.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import matplotlib.figure

Progress = Callable[[float, float, str], None]  # progress(done, total, text)


class Unavailable(Exception):
    """The experiment cannot run here: its data are missing.  Says what is missing and where to get it."""


@dataclass(frozen=True)
class ExperimentResult:
    """What an experiment found.

    Attributes
    ----------
    table_header : sequence of str
        Column titles.
    table_rows : sequence of sequences
        One row a training; numbers or text.
    figures : sequence of (title, caption, matplotlib Figure)
        Curves.
    notes : str or sequence of str
        Paragraphs under the table, text with LaTeX between dollar signs.
    seconds : float
        Duration; measured by the main job where it is left at 0.
    """

    table_header: Sequence[str]
    table_rows: Sequence[Sequence[Any]]
    figures: Sequence[tuple[str, str, matplotlib.figure.Figure]]
    notes: str | Sequence[str] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Allowance:
    """What the main job grants a resumable experiment.

    Attributes
    ----------
    folder : Path or None
        Where it keeps its checkpoints; without one a training that is stopped starts anew in the next run.
    seconds : float
        How long it may train in this run, all its trainings together.
    """

    folder: Path | None = None
    seconds: float = 30 * 60.0


@dataclass(frozen=True)
class Experiment:
    """One training.

    Attributes
    ----------
    id : str
        ``<paper>/<name>``, apart from every claim's id.
    paper, title, description : str
        Where it belongs, and what it does; text with LaTeX between dollar signs.
    run : callable
        ``run(progress)`` with ``progress(done, total, text)``, to an `ExperimentResult`.
    long : bool
        Takes minutes: only run when asked for with ``--experiments``.
    resumable : bool
        Takes longer than that: ``run(progress, allowance)`` stops when its time is up and goes on later.
    """

    id: str
    paper: str
    title: str
    description: str
    run: Callable[..., ExperimentResult]
    long: bool = False
    resumable: bool = False


_EXPERIMENTS: dict[str, Experiment] = {}


def register(entry: Experiment) -> Experiment:
    """Add an experiment.

    Raises
    ------
    ValueError
        If the id is taken.
    """
    if entry.id in _EXPERIMENTS:
        raise ValueError(f"id: {entry.id!r} is registered twice")
    _EXPERIMENTS[entry.id] = entry
    return entry


def experiment(
    id: str, title: str, description: str, long: bool = False, resumable: bool = False
) -> Callable[[Callable], Callable]:
    """Register the decorated function as the experiment `id`, whose first part names the paper."""

    def decorate(run: Callable[..., ExperimentResult]) -> Callable[..., ExperimentResult]:
        register(Experiment(id, id.split("/")[0], title, description, run, long, resumable))
        return run

    return decorate


def experiments() -> list[Experiment]:
    """Every experiment, in the order of the modules and of the lines in them."""
    names = (entry.name for entry in pkgutil.iter_modules(__path__) if not entry.name.startswith("_"))
    for module in sorted(names):
        importlib.import_module(f"{__name__}.{module}")
    return list(_EXPERIMENTS.values())
