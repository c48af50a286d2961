"""The look of every figure of the report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
from cycler import cycler

# quiet axes, colours that stay apart for colour-blind readers (Okabe and Ito)
STYLE: Any = {
    "figure.figsize": (7.2, 3.4),
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "figure.constrained_layout.use": True,
    "font.size": 9.5,
    "font.family": "sans-serif",
    "mathtext.fontset": "cm",
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8a919c",
    "axes.linewidth": 0.8,
    "axes.labelcolor": "#30363d",
    "xtick.color": "#5b636d",
    "ytick.color": "#5b636d",
    "axes.grid": True,
    "grid.color": "#e3e6ea",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "axes.prop_cycle": cycler(
        color=["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#444b55"]
    ),
    "svg.fonttype": "path",
    "svg.hashsalt": "refsnn",  # same drawing, same file
}


@contextmanager
def report_style() -> Iterator[None]:
    """The look of the report's figures, and a backend that needs no screen, for what is drawn inside."""
    matplotlib.use("svg")
    with matplotlib.rc_context(STYLE):
        yield
