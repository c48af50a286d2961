"""Gathers what a run measured and fills the template."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

import refsnn
from refsnn.files import write_whole
from validation.figures import figures
from validation.ledger import Record, generator_for
from validation.papers import paper
from validation.report.mathematics import formula, prose
from validation.report.strip import strip
from validation.running import Outcome
from validation.wording import bound_text, control_text, detail, duration, measured_text, number_text

if TYPE_CHECKING:
    import matplotlib.figure

_LIBRARIES = ("numpy", "numba", "scipy")


def write_report(
    path: Path, records: Sequence[Record], outcomes: Sequence[Outcome], seed: int, seconds: float
) -> list[str]:
    """Write the page.

    Parameters
    ----------
    path : Path
        The HTML file, replaced as a whole.
    records : sequence of Record
        The claims of the run.
    outcomes : sequence of Outcome
        Its experiments.
    seed : int
        The seed of the run; the figures draw from it too.
    seconds : float
        How long the run took so far.

    Returns
    -------
    list of str
        What went wrong with single figures; the page holds the rest.
    """
    page = Page(seed)
    write_whole(path, page.render(records, outcomes, seconds))
    return page.trouble


class Page:
    """One page being made; `trouble` fills with what went wrong."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.trouble: list[str] = []

    def render(self, records: Sequence[Record], outcomes: Sequence[Outcome], seconds: float) -> str:
        """The HTML."""
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(Path(__file__).parent),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters |= {
            "prose": prose,
            "formula": formula,
            "number": number_text,
            "duration": duration,
            "detail": detail,
            "anchor": _anchor,
        }
        environment.globals |= {
            "bound_text": bound_text,
            "measured_text": measured_text,
            "control_text": control_text,
            "strip": strip,
        }
        keys = dict.fromkeys([record.claim.paper for record in records])
        keys |= dict.fromkeys(outcome.experiment.paper for outcome in outcomes)
        return environment.get_template("template.html.j2").render(
            sections=[self.section(key, records, outcomes) for key in keys],
            total=len(records),
            holding=sum(record.holds for record in records),
            failing=sum(record.control_fails for record in records),
            bad=[record for record in records if not record.good],
            trouble=self.trouble,
            seed=self.seed,
            duration_text=duration(seconds),
            date=datetime.datetime.now(datetime.UTC),
            version=refsnn.__version__,
            versions=_versions(),
        )

    def section(self, key: str, records: Sequence[Record], outcomes: Sequence[Outcome]) -> dict[str, Any]:
        """What the template needs of one paper."""
        own = [record for record in records if record.claim.paper == key]
        return {
            "key": key,
            "paper": paper(key),
            "records": own,
            "good": sum(record.good for record in own),
            "headline": [record for record in own if record.claim.id in paper(key).headline],
            "figures": self.drawings(key),
            "experiments": [self.experiment(entry) for entry in outcomes if entry.experiment.paper == key],
        }

    def drawings(self, key: str) -> list[dict[str, Any]]:
        """The figures of one paper."""
        return [
            self.card(
                entry.title,
                entry.caption,
                f"{key}/figure-{index}",
                partial(entry.draw, generator_for(self.seed, f"{key}/figure/{entry.title}")),
            )
            for index, entry in enumerate(figures(key), 1)
        ]

    def experiment(self, outcome: Outcome) -> dict[str, Any]:
        """What the template needs of one experiment."""
        entry, result = outcome.experiment, outcome.result
        if result is None:
            return {"outcome": outcome, "entry": entry, "figures": [], "notes": []}
        cards = []
        for index, (title, caption, drawing) in enumerate(result.figures, 1):
            cards.append(self.card(title, caption, f"{entry.id}/figure-{index}", partial(_same, drawing)))
        notes = [result.notes] if isinstance(result.notes, str) else list(result.notes)
        return {"outcome": outcome, "entry": entry, "figures": cards, "notes": notes}

    def card(
        self, title: str, caption: str, name: str, draw: Callable[[], matplotlib.figure.Figure]
    ) -> dict[str, Any]:
        """A figure with its words; one that cannot be drawn leaves its error in its place."""
        import matplotlib.pyplot  # only here, so that a page without figures does without it

        from validation.report.svg import inline_svg
        from validation.style import report_style

        card: dict[str, Any] = {"title": title, "caption": caption, "svg": None, "error": None}
        try:
            with report_style():
                drawing = draw()
                card["svg"] = inline_svg(drawing, name, title.replace("$", ""))
                matplotlib.pyplot.close(drawing)
        except Exception as problem:
            card["error"] = "".join(traceback.format_exception_only(problem)).strip()
            self.trouble.append(f"{name} ({title}): {card['error']}")
        return card


def _same(drawing: matplotlib.figure.Figure) -> matplotlib.figure.Figure:
    """An experiment's figure is drawn already."""
    return drawing


def _anchor(name: str) -> str:
    """A claim's id as the target of a link."""
    return "".join(character if character.isalnum() else "-" for character in name)


def _versions() -> list[str]:
    """What the figures were made with."""
    libraries = [f"{name} {importlib.metadata.version(name)}" for name in _LIBRARIES]
    return [f"Python {platform.python_version()}", *libraries, f"{platform.system()} {platform.machine()}"]
