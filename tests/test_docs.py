"""What the documentation refers to is there: claims, files, and code that runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from validation.catalogue import all_claims

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md")) + [ROOT / "README.md"]
IDS = re.compile(r"`((?:[a-z_]+/)?(?:(?:O|X|N|D|NC|A|CE|VF|SP)\d+(?:\.\w+)*|\d\.\d(?:\.\w+)*))`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_claims_that_a_page_names_are_in_the_ledger(page):
    known = {claim.id for claim in all_claims()}
    known |= {id.split("/")[1] for id in known}
    assert [id for id in IDS.findall(page.read_text(encoding="utf-8")) if id not in known] == []


def test_the_pattern_finds_what_it_is_to_find():
    text = "`O1` `ottt/O2` `NC7.parity` `5.3` `4.1.duality` `N8`, but not `T` nor `1/T` nor `layer.1`"
    assert IDS.findall(text) == ["O1", "ottt/O2", "NC7.parity", "5.3", "4.1.duality", "N8"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_on_a_page_runs_and_prints_what_the_page_says(page, tmp_path, monkeypatch, capsys):
    text = page.read_text(encoding="utf-8")
    blocks = [
        block for block in re.findall(r"```python\n(.*?)```", text, re.S) if "load_network(" not in block
    ]
    monkeypatch.chdir(tmp_path)
    names: dict = {}  # a page is read from its top
    for block in blocks:
        exec(compile(block, str(page), "exec"), names)
    printed = capsys.readouterr().out
    assert [text for text in re.findall(r"prints\s+`([^`]+)`", text) if text not in printed] == []
