"""Crosschecks as an HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from refsnn import __version__
from refsnn.crosscheck.checking import BROKEN, KNOWN, NEW, REFUSED, RIGHT, STATUSES, Crosscheck, Outcome
from refsnn.crosscheck.reporting import (
    explanations,
    new_leaves,
    precision,
    remarks,
    stale,
    summary,
    verdict,
    worst,
)
from refsnn.vectors.format import FORMAT
from refsnn.vectors.grading import NOT_GRADED

_STYLE = """
:root { --paper: #fbfaf7; --ink: #1d2127; --soft: #5c6470; --line: #e4e2dc; --good: #1a7f4b; --bad: #b3261e;
  --known: #8a6100; --wash: #fdeceb; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171b; --ink: #e4e6e9; --soft: #a3abb6;
  --line: #2c3138; --good: #54c78a; --bad: #ff8a80; --known: #e0b450; --wash: #331a19; } }
body { margin: 0 auto; padding: 2rem 1.2rem 4rem; max-width: 70rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
h1, h2, h3 { line-height: 1.2; }
h2 { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: 1.5rem; }
p.soft, td.soft { color: var(--soft); } .wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid var(--line); }
td.num { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.name { white-space: nowrap; } .good { color: var(--good); } .bad { color: var(--bad); font-weight: 600; }
.known { color: var(--known); } tr.new { background: var(--wash); } .banner { font-size: 1.15rem; }
"""
_COLOURS = {RIGHT: "good", KNOWN: "known", NEW: "bad", BROKEN: "bad", REFUSED: "soft", NOT_GRADED: "known"}


def as_html(found: Sequence[Crosscheck]) -> str:
    """One page with all frameworks; no script, nothing to load.

    Parameters
    ----------
    found : sequence of Crosscheck
        One a framework.

    Returns
    -------
    str
    """
    good = all(one.good for one in found)
    said = "No new differences" if good else "There are new differences"
    overview = [
        (
            f'<a href="#{escape(one.name)}">{escape(one.title)}</a>',
            escape(", ".join(f"{name} {version}" for name, version in one.versions.items())),
            *(str(one.count(status)) for status in STATUSES),
            f"{len(one.single)} of {len(one.outcomes)}",
            f"{sum(o.holds for o in one.conventions)} of {len(one.conventions)}" if one.conventions else "-",
        )
        for one in found
    ]
    counted = ("right", "known", "not expressible", "not graded", "new", "errors")
    header = ("framework", "versions", *counted, "in single precision", "claims")
    rows = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in overview)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        'content="width=device-width"><meta name="color-scheme" content="light dark">'
        f"<title>refsnn crosscheck</title><style>{_STYLE}</style></head><body>\n"
        f'<h1>Crosscheck</h1><p class="banner {"good" if good else "bad"}">{said}.</p>'
        f'<p class="soft">refsnn {escape(__version__)}, vectors of format {FORMAT}.</p>'
        f'<div class="wide"><table><tr>{_heads(header)}</tr>{rows}</table></div>\n'
        + "\n".join(_section(one) for one in found)
        + "\n</body></html>\n"
    )


def _heads(names: Sequence[str]) -> str:
    return "".join(f"<th>{escape(name)}</th>" for name in names)


def _table(header: Sequence[str], rows: Sequence[str]) -> str:
    return f'<div class="wide"><table><tr>{_heads(header)}</tr>{"".join(rows)}</table></div>' if rows else ""


def _section(found: Crosscheck) -> str:
    parts = [f'<h2 id="{escape(found.name)}">{escape(found.title)}</h2><p>{escape(summary(found))}</p>']
    parts += [f'<p class="known">{escape(line)}.</p>' for line in (*found.warnings, *remarks(found))]
    parts += [f'<p class="known">{escape(line)}</p>' for line in stale(found)]
    explained: dict[str, list[str]] = {}
    for name, text in explanations(found):
        explained.setdefault(name, []).append(text)
    parts.append("<h3>Cases</h3>" + _table(("case", "verdict", "error / tolerance", ""), [
        _case(outcome, explained.get(outcome.name, [])) for outcome in found.outcomes
    ]))  # fmt: skip
    if found.conventions:
        parts.append("<h3>Its own neurons</h3>")
        rows = [
            f'<tr{"" if o.holds else " class=new"}><td class="name">{escape(o.convention.name)}</td>'
            f'<td class="{"bad" if not o.holds else "known" if o.convention.defect else "good"}">'
            f"{verdict(o)}</td><td>{escape(o.convention.says)}</td><td>{escape(o.figure)}</td></tr>"
            for o in found.conventions
        ]
        parts.append(_table(("claim", "verdict", "says", "measured"), rows))
    return "\n".join(parts)


def _case(outcome: Outcome, explained: Sequence[str]) -> str:
    if outcome.status in (NEW, BROKEN):
        lines = [" ".join(filter(None, leaf)) for leaf in new_leaves(outcome)]
        words = "<br>".join(escape(text) for text in (*lines, *explained))
    else:
        words = escape(outcome.says)
    return (
        f"<tr{' class=new' if outcome.status in (NEW, BROKEN) else ''}>"
        f'<td class="name">{escape(outcome.name)}</td>'
        f'<td class="name {_COLOURS[outcome.status]}">{outcome.status}{precision(outcome)}</td>'
        f'<td class="num">{worst(outcome)}</td><td>{words}</td></tr>'
    )
