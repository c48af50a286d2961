"""The report's figures, one module a paper; each draws what the claims say.

A module of this package fills `FIGURES`, with the decorator::

    @figure("equilibrium_propagation", "Title", "Caption with $mathematics$.")
    def updates(rng):
        from matplotlib.figure import Figure
        ...
        return drawing

matplotlib is imported where something is drawn, so that the first verdicts do not wait for it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import matplotlib.figure

Draw = Callable[[np.random.Generator], "matplotlib.figure.Figure"]


@dataclass(frozen=True)
class Figure:
    """A figure of a paper's section.

    Attributes
    ----------
    title, caption : str
        Text with LaTeX between dollar signs.
    draw : callable
        From a Generator to a matplotlib Figure.
    """

    title: str
    caption: str
    draw: Draw


FIGURES: dict[str, list[Figure]] = {}


def figure(paper: str, title: str, caption: str) -> Callable[[Draw], Draw]:
    """Add the decorated function to the figures of `paper`."""

    def register(draw: Draw) -> Draw:
        FIGURES.setdefault(paper, []).append(Figure(title, caption, draw))
        return draw

    return register


def figures(paper: str) -> list[Figure]:
    """The figures of one paper, in the order of the modules and of the lines in them."""
    names = (entry.name for entry in pkgutil.iter_modules(__path__) if not entry.name.startswith("_"))
    for module in sorted(names):
        importlib.import_module(f"{__name__}.{module}")
    return list(FIGURES.get(paper, []))
