"""Format, lint and types, with the tools and settings that a developer has at hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOOLS = {
    "format": ["ruff", "format", "--check", "--diff", "."],
    "lint": ["ruff", "check", "."],
    "types": ["mypy"],
}


@pytest.mark.parametrize("tool", TOOLS)
def test_tree_is_clean(tool):
    run = subprocess.run([sys.executable, "-m", *TOOLS[tool]], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_tools_are_awake(tmp_path):
    """A tool that finds nothing anywhere would pass on any tree."""
    bad = tmp_path / "bad.py"
    bad.write_text("import os\ndef f( x ):\n    return x\n")
    (tmp_path / "setup.cfg").write_text((ROOT / "setup.cfg").read_text())
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    for command, complaint in (
        (["ruff", "format", "--check", "bad.py"], "reformat"),
        (["ruff", "check", "bad.py"], "F401"),
        (["mypy", "bad.py"], "no-untyped-def"),
    ):
        run = subprocess.run([sys.executable, "-m", *command], cwd=tmp_path, capture_output=True, text=True)
        assert run.returncode == 1, run.stdout + run.stderr
        assert complaint in run.stdout + run.stderr
