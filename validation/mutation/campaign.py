"""Faults are planted one at a time in a copy of the tree; claims and tests are run until one notices."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from validation.mutation.faults import Fault

ROOMS = ("equations", "models", "algorithms")
LEDGER, TESTS, ENDLESS, NOBODY = "ledger", "tests", "does not end", "nobody"
PATIENCE = 300.0  # seconds until a run counts as endless


@dataclass(frozen=True)
class Verdict:
    """What became of a fault.

    Attributes
    ----------
    fault : Fault
        What was planted.
    found_by : str
        "ledger", "tests", "does not end" or "nobody".
    who : str
        The claim or test that noticed first.
    seconds : float
        Until then.
    """

    fault: Fault
    found_by: str
    who: str
    seconds: float


def sources(root: Path) -> dict[str, str]:
    """The files in which faults are planted."""
    return {
        path.relative_to(root).as_posix(): path.read_text(encoding="utf-8")
        for room in ROOMS
        for path in sorted((root / "refsnn" / room).rglob("*.py"))
    }


class Copy:
    """A copy of the tree, with at most one fault in it.

    Parameters
    ----------
    root : Path
        The tree.
    folder : Path
        Where the copy goes.
    """

    def __init__(self, root: Path, folder: Path) -> None:
        self.folder = folder
        for name in ("refsnn", "validation", "tests", "docs", "data"):
            shutil.copytree(root / name, folder / name, dirs_exist_ok=True)
        for name in ("setup.cfg", "pyproject.toml", "README.md", "CHANGELOG.md"):
            shutil.copy2(root / name, folder / name)
        self.environment = os.environ | {
            "PYTHONPATH": str(folder),
            "OMP_NUM_THREADS": "1",
            "PYTHONHASHSEED": "0",
        }

    def run(self, arguments: Sequence[str], patience: float = PATIENCE) -> tuple[int, str] | None:
        """Exit status and output of Python in the copy; None if it does not end."""
        try:
            ended = subprocess.run(
                [sys.executable, *arguments],
                cwd=self.folder,
                env=self.environment,
                capture_output=True,
                text=True,
                timeout=patience,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return None
        return ended.returncode, ended.stdout + ended.stderr

    def map(self) -> dict[str, tuple[float, list[str]]]:
        """`judging.mapped` of the tree without a fault, kept in the copy."""
        path = self.folder / "claims.json"
        if not path.exists():
            ended = self.run(["-m", "validation.mutation.judging", "map", str(path)], 3600.0)
            if ended is None or ended[0]:
                raise RuntimeError(f"the tree without a fault does not pass:\n{ended and ended[1][-2000:]}")
        return {id: (seconds, names) for id, (seconds, names) in json.loads(path.read_text()).items()}


def claims_for(fault: Fault, known: Mapping[str, tuple[float, list[str]]]) -> list[str]:
    """Claims that enter the function, the quickest first; then those that enter its file; of equations all.

    Equations run compiled, so that nobody sees who enters them.
    """
    place = f"{fault.file}:{fault.function}"

    def enters(names: Iterable[str]) -> int:
        if any(name == place or name.startswith(f"{place}.") for name in names):
            return 0
        return 1 if any(name.startswith(f"{fault.file}:") for name in names) else 2

    rank = {id: (enters(names), seconds) for id, (seconds, names) in known.items()}
    last = 2 if fault.file.startswith("refsnn/equations/") else 1
    if not fault.function:  # the top of a file: constants and defaults
        last = max(last, 1)
    return sorted((id for id in rank if rank[id][0] <= last), key=rank.__getitem__)


def asked_tests(fault: Fault, root: Path) -> list[str]:
    """Test files that name the module, or something that its tests are called after; then its doctests."""
    module = fault.file.removesuffix(".py").replace("/", ".")
    package, _, name = module.rpartition(".")
    imports = re.compile(rf"{re.escape(module)}\b|from {re.escape(package)} import .*\b{name}\b")
    tests = {path: path.read_text(encoding="utf-8") for path in sorted((root / "tests").glob("*.py"))}
    helpers = [path.stem for path, text in tests.items() if not _is_test(path) and imports.search(text)]
    uses = re.compile(rf"^(?:from|import) (?:{'|'.join(map(re.escape, helpers)) or '-'})\b", re.M)
    direct = [path for path, text in tests.items() if _is_test(path) and imports.search(text)]
    named = direct + [
        path for path, text in tests.items() if _is_test(path) and path not in direct and uses.search(text)
    ]
    return [fault.file, *(path.relative_to(root).as_posix() for path in named)]


def _is_test(path: Path) -> bool:
    """Of the mathematics, not of the tree."""
    return path.name.startswith("test_") and path.stem not in (
        "test_planted_errors",
        "test_style",
        "test_docs",
    )


def judged(fault: Fault, copy: Copy, known: Mapping[str, tuple[float, list[str]]], seed: int = 0) -> Verdict:
    """Plant, run claims, run tests, take out."""
    path = copy.folder / fault.file
    source = path.read_text(encoding="utf-8")
    started = time.monotonic()

    def verdict(found_by: str, who: str = "") -> Verdict:
        return Verdict(fault, found_by, who, time.monotonic() - started)

    try:
        path.write_text(fault.planted(source), encoding="utf-8")
        ids = claims_for(fault, known)
        if ids:
            patience = max(PATIENCE, 5 * sum(known[id][0] for id in ids))
            ended = copy.run(["-m", "validation.mutation.judging", "first", str(seed), *ids], patience)
            if ended is None:
                return verdict(ENDLESS)
            noticed = re.search(r"^noticed by (\S+)$", ended[1], re.M)
            if noticed:
                return verdict(LEDGER, noticed[1])
            if ended[0]:
                return verdict(LEDGER, ended[1].strip().splitlines()[-1])
        files = asked_tests(fault, copy.folder)
        options = ["-q", "-x", "-p", "no:cacheprovider", "--no-header", "-m", "not long and not cuda"]
        ended = copy.run(["-m", "pytest", *options, *files], 2 * PATIENCE)
        if ended is None:
            return verdict(ENDLESS)
        if ended[0] not in (0, 5):
            failed = re.search(r"^(?:FAILED|ERROR) (\S+)", ended[1], re.M)
            return verdict(TESTS, failed[1] if failed else ended[1].strip().splitlines()[-1])
        return verdict(NOBODY)
    finally:
        path.write_text(source, encoding="utf-8")


def campaign(
    faults: Sequence[Fault], copy: Copy, known: Mapping[str, tuple[float, list[str]]], until: float
) -> Iterator[Verdict]:
    """Judge one after the other until a moment of `time.monotonic`."""
    for fault in faults:
        if time.monotonic() > until:
            return
        yield judged(fault, copy, known)
