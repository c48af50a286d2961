"""The report: one whole page, everything escaped, mathematics set, figures in it."""

from __future__ import annotations

import doctest
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from validation import figures, wording
from validation.catalogue import all_claims
from validation.experiments import Experiment, ExperimentResult
from validation.ledger import Claim, Measured, Record, check
from validation.papers import PAPERS
from validation.report import mathematics, write_report
from validation.report.strip import WIDTH, strip
from validation.running import Outcome


class Page(HTMLParser):
    """Collects what a browser would act upon, and checks that tags are closed in order."""

    VOID = frozenset({"meta", "br", "hr", "img", "link", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        given = dict(attributes)
        if "id" in given:
            self.ids.append(given["id"])
        self.links += [given[key] for key in ("href", "xlink:href", "src") if key in given]

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def claim_of(paper: str, id: str, value: float, control: float, **changes) -> Record:
    given = {
        "statement": r"Equality of $\nabla_{W^l}$ & <b>nothing</b> `else`.",
        "source": "Eq. 1",
        "metric": "error < 1",
        "relation": "<=",
        "bound": 1e-12,
        "control": "<script>alert(1)</script>",
    } | changes
    details = {"<i>label</i>": "<img src=x>", "rates": [0.25, 0.5], "active": True}
    return check(Claim(f"{paper}/{id}", **given, measure=lambda rng: Measured(value, control, details)), 11)


@pytest.fixture
def page(tmp_path, monkeypatch):
    """A page with one of everything, and what went wrong on the way."""
    from matplotlib.figure import Figure

    def curve(rng):
        drawing = Figure()
        drawing.subplots().plot(rng.random(5), label="$x^2$")
        return drawing

    def broken(rng):
        raise RuntimeError("no <ink>")

    entries = [figures.Figure("Twice", "A $t^2$ <u>caption</u>.", curve)] * 2
    monkeypatch.setattr(figures, "FIGURES", {"alpha": [*entries, figures.Figure("Not", "", broken)]})
    monkeypatch.setattr(figures, "__path__", [])
    result = ExperimentResult(
        ("rule", "$T$"),
        (("<b>", 4), ("BPTT", 0.123456)),
        [("Curve", "Of it.", curve(np.random.default_rng(0)))],
        "A note.",
    )
    outcomes = [
        Outcome(
            Experiment("alpha/digits", "alpha", "Digits", "Trains.", lambda progress: result), 1.5, result
        ),
        Outcome(
            Experiment("gamma/x", "gamma", "Other", "Trains.", lambda progress: result),
            0,
            skipped="no <data>",
        ),
    ]
    records = [
        claim_of("alpha", "X1", 3e-16, 0.5),
        claim_of("alpha", "X2", 0.25, 0.5),
        claim_of("beta", "O1", 2.0, 1.0, relation="in", bound=(1.9, 2.1)),
        claim_of("beta", "O2", float("nan"), 1.0),
    ]
    target = tmp_path / "report.html"
    trouble = write_report(target, records, outcomes, seed=11, seconds=75)
    return target.read_text(encoding="utf-8"), trouble


def test_the_page_is_whole_and_stands_alone(page):
    text, _ = page
    parsed = Page(text)
    assert len(parsed.ids) == len(set(parsed.ids)) > 20
    for link in parsed.links:
        assert link.startswith("#"), link
        assert link[1:] in parsed.ids
    assert not parsed.tags & {"script", "link", "img", "iframe", "b-", "u", "i"}
    assert "http" not in text
    assert set(re.findall(r"url\(#([^)]+)\)", text)) <= set(parsed.ids)
    assert "prefers-color-scheme: dark" in text


def test_the_page_says_what_was_measured(page):
    text, trouble = page
    words = " ".join(Page(text).text.split())
    assert "2 of 4 claims hold" in words
    assert "4 of 4 controls fail" in words
    assert "Look first at alpha/X2, beta/O2." in words
    assert "python -m validation alpha/X2 --seed 11" in words
    for figure in ("3e-16", "≤ 1e-12", "in [1.9, 2.1]", "0.25, 0.5", "0.1235", "1 min 15 s"):
        assert figure in words, figure
    for escaped in ("<b>nothing</b>", "<script>alert(1)</script>", "<img src=x>", "no <ink>", "no <data>"):
        assert escaped in words, escaped
    assert trouble == ["alpha/figure-3 (Not): RuntimeError: no <ink>"]
    assert "measured is nan" in words
    assert text.count("<figure>") == 4
    assert text.count('<svg viewBox="0 0') == 3


def test_a_good_run_has_a_green_page(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "__path__", [])
    write_report(tmp_path / "r.html", [claim_of("alpha", "X1", 3e-16, 0.5)], [], seed=1, seconds=1)
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert 'class="banner good"' in text
    assert "Look first" not in text


def converts(text: str) -> bool:
    """Whether all mathematics of a text became MathML and no dollar sign is left."""
    html = mathematics.prose(text)
    return 'class="latex"' not in html and "$" not in html


def test_mathematics_is_converted_and_the_rest_escaped():
    html = mathematics.prose(r"$\frac{a}{b} < c$ & `x < y`")
    assert "<mfrac>" in html
    assert html.endswith("&amp; <code>x &lt; y</code>")
    assert converts(r"$a$ and $b$")
    assert "\U0001d7cf" in mathematics.prose(r"$\mathbf 1$")  # a bold one
    assert mathematics.prose(r"$\mathbb E$") == mathematics.prose(r"$\mathbb{E}$")
    assert "<mtext>rate</mtext>" in mathematics.prose(r"$\nabla^{\mathrm{rate}}$")
    assert mathematics.prose(r"$\text{<script>alert(1)</script>}$").startswith('<code class="latex">')
    assert mathematics.prose(r"$\text{a & b}$").startswith('<code class="latex">')


def test_all_mathematics_of_papers_and_claims_is_converted():
    texts = [text for entry in PAPERS.values() for text in (entry.statement, entry.where)]
    texts += [f"${latex}$" for entry in PAPERS.values() for line in entry.display for latex in line]
    for entry in all_claims():
        texts += [entry.statement, entry.metric, entry.control, entry.source]
    assert len(texts) > 20
    assert [text for text in texts if not converts(text)] == []
    # a command that the converter does not know comes out as its name
    assert [text for text in texts if re.search(r"\\[a-z]+", mathematics.prose(text))] == []


@pytest.mark.parametrize(
    ("relation", "bound", "value", "control"),
    [
        ("<=", 1e-12, 3e-16, 0.5),
        ("<=", 1e-12, 0.0, 0.5),
        ("<=", 1e-12, 0.25, 1e-15),
        (">=", 0.98, 0.9997, 0.6),
        ("in", (1.9, 2.1), 2.0, 1.0),
        ("==", 1, 1, 6),
        ("<=", 1.0, 1.0, 1.0),
        ("<=", 1e-12, 1e-300, 1e300),
    ],
)
def test_the_strip_shows_the_order_of_the_numbers(relation, bound, value, control):
    record = claim_of("alpha", "X1", value, control, relation=relation, bound=bound)
    svg = strip(record)
    dot = float(re.search(r'cx="([^"]+)"', svg)[1])
    cross = float(re.search(r'd="M([^ ]+)', svg)[1]) + 3.5
    edges = [float(x) for x in re.findall(r'class="bound" x1="([^"]+)"', svg)]
    assert all(0 <= x <= WIDTH for x in (dot, cross, *edges))
    assert (dot > cross) == (value > control) or value == control
    assert (dot > edges[-1]) == (value > np.max(bound)) or dot == edges[-1]
    assert ('class="good"' in svg) == record.holds


def test_the_strip_is_left_out_where_a_logarithm_says_nothing():
    assert strip(claim_of("alpha", "X1", 0.0, 0.3, relation="==", bound=0.0)) == ""
    assert strip(claim_of("alpha", "X1", -1.0, 0.3)) == ""
    assert strip(claim_of("alpha", "X1", float("nan"), 0.3)) == ""


def test_figures_draw_from_the_seed_alone(monkeypatch, tmp_path):
    from matplotlib.figure import Figure

    drawn = []

    def draw(rng):
        drawn.append(rng.random())
        return Figure()

    monkeypatch.setattr(figures, "FIGURES", {"alpha": [figures.Figure("One", "", draw)]})
    monkeypatch.setattr(figures, "__path__", [])
    record = [claim_of("alpha", "X1", 3e-16, 0.5)]
    for seed in (1, 1, 2):
        assert write_report(tmp_path / "r.html", record, [], seed, 0.0) == []
    assert drawn[0] == drawn[1] != drawn[2]


def test_wording_examples():
    outcome = doctest.testmod(wording)
    assert outcome.attempted >= 3
    assert outcome.failed == 0


@pytest.mark.parametrize(
    ("value", "bound", "text"),
    [
        (0.98004, 0.98, "0.98004"),
        (0.98, 0.98, "0.98"),
        (1e-14, 1e-12, "1e-14"),
        (1.04e-12, 1e-12, "1.04e-12"),
        (None, 1.0, "–"),
        (123456.0, 1.0, "123456"),
        (-2.5e-7, 1.0, "-2.5e-7"),
        (1.0 + 1e-9, (1 - 1e-12, 1 + 1e-12), "1.000000001"),
        (1.0, (1 - 1e-12, 1 + 1e-12), "1"),
    ],
)
def test_measured_figures_are_told_from_their_bounds(value, bound, text):
    assert wording.measured_text(value, bound) == text


@pytest.mark.parametrize(
    ("relation", "bound", "text"),
    [
        ("<=", 1e-12, "≤ 1e-12"),
        (">=", 0.98, "≥ 0.98"),
        ("==", 1, "= 1"),
        ("in", (1.9, 2.1), "in [1.9, 2.1]"),
        ("in", (0.7 - 1e-12, 0.7 + 1e-12), "in 0.7 ± 1e-12"),
    ],
)
def test_bounds_are_written_as_they_were_chosen(relation, bound, text):
    assert wording.bound_text(claim_of("alpha", "X1", 1.0, 2.0, relation=relation, bound=bound).claim) == text
