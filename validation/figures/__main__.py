"""Draw every figure of the report into a folder: `python -m validation.figures docs/figures`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from validation.figures import figures
from validation.papers import PAPERS
from validation.style import report_style


def main(folder: Path) -> None:
    """One SVG a figure, named after paper and function, always from the same seed."""
    folder.mkdir(parents=True, exist_ok=True)
    for paper in PAPERS:
        for entry in figures(paper):
            path = folder / f"{paper}-{entry.draw.__name__}.svg"
            with report_style():
                drawing = entry.draw(np.random.default_rng(0))
                drawing.savefig(path, facecolor="white", metadata={"Date": None})
            print(path)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "figures"))
