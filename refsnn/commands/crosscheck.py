"""`refsnn crosscheck NAME ...`: the vectors through other frameworks."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from refsnn.crosscheck import Adapter, adapter_of, crosscheck
from refsnn.crosscheck.adapter import Run, versions
from refsnn.crosscheck.adapters import MODULES
from refsnn.crosscheck.checking import Crosscheck
from refsnn.crosscheck.conventions.measuring import conventions_of, measured
from refsnn.crosscheck.html_page import as_html
from refsnn.crosscheck.known import read_known
from refsnn.crosscheck.reporting import as_dict, as_page
from refsnn.files import check_writable, write_whole
from refsnn.text_tables import Block, show
from refsnn.vectors.format import read_file

GOOD, NEW = 0, 1


def add_commands(tasks: Any) -> None:
    """Add the command to a command line.

    Parameters
    ----------
    tasks : argparse subparsers
        Of `refsnn`.
    """
    room = tasks.add_parser(
        "crosscheck",
        help="run the golden vectors through another framework",
        description=(
            "Run the golden vectors through other frameworks, and measure what is claimed of their own "
            "neurons.  Known differences are told from new ones."
        ),
        epilog=(
            "Exit status: 0 if nothing new was found, 1 for a new difference, an error of the framework, a "
            "claim that does not hold or cases of which none could be compared, 2 for a framework that is "
            "not installed, bad files or options."
        ),
    )
    room.add_argument(
        "frameworks",
        nargs="*",
        metavar="NAME",
        help=f"{', '.join(MODULES)}; all for those installed; or MODULE:FUNCTION for a function of yours, "
        "problem -> leaves.  Without a name: a list",
    )
    room.add_argument("--vectors", type=Path, metavar="FILE.h5", help="by default the cases are made afresh")
    room.add_argument("--only", default="*", metavar="PATTERN", help="cases such as 'random/*'")
    room.add_argument("--known", type=Path, metavar="FILE.toml", help="of known differences, for one NAME")
    room.add_argument("--no-claims", action="store_true", help="leave out the frameworks' own neurons")
    room.add_argument("--json", type=Path, metavar="FILE", help="write every figure as JSON")
    room.add_argument("--html", type=Path, metavar="FILE", help="write a page for the browser")
    room.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command.

    Parameters
    ----------
    options : argparse.Namespace
        Of the command line.

    Returns
    -------
    int
        The exit status: 1 if something new was found.

    Raises
    ------
    ImportError
        If a framework is not installed.
    TypeError, ValueError, OSError
        For bad files and options.
    """
    if not options.frameworks:
        show([Block("Frameworks", ("name", "what", "installed"), _listed(), True)], sys.stdout)
        return GOOD
    for option, path in (("--json", options.json), ("--html", options.html)):
        if path is not None:
            check_writable(option, path)
    names = _chosen(options.frameworks)
    if options.known is not None and len(names) != 1:
        raise ValueError(f"--known: expected one NAME with it, got {len(names)}")
    vectors = None if options.vectors is None else read_file(options.vectors)
    found = []
    for name in names:
        adapter = _adapter(name)
        versions(adapter)  # whether it is there, before any work
        known = None if options.known is None else read_known(options.known, adapter.name)
        tell = _progress(adapter.name)
        one = crosscheck(adapter, vectors, known=known, only=options.only, tell=tell)
        if not options.no_claims and ":" not in name:
            one = replace(one, conventions=measured(conventions_of(name), tell))
        tell("")
        found.append(one)
    _write(options, found)
    for one in found:
        show([*as_page(one), ""], sys.stdout)
    return GOOD if all(one.good for one in found) else NEW


def _write(options: argparse.Namespace, found: list[Crosscheck]) -> None:
    if options.json is not None:
        write_whole(options.json, json.dumps(as_dict(found), indent=2, allow_nan=False) + "\n")
    if options.html is not None:
        write_whole(options.html, as_html(found))


def _chosen(names: list[str]) -> list[str]:
    if names != ["all"]:
        return list(dict.fromkeys(names))
    there = [name for name in MODULES if _installed(name) != "no"]
    if not there:
        raise ImportError(
            f"all: expected one of {', '.join(MODULES)} to be installed, found none; "
            "pip install 'refsnn[frameworks]'"
        )
    return there


def _listed() -> list[tuple[str, ...]]:
    return [(name, adapter_of(name).title, _installed(name)) for name in MODULES]


def _installed(name: str) -> str:
    adapter = adapter_of(name)
    try:
        return versions(adapter)[adapter.distributions[-1]]
    except ImportError:
        return "no"


def _adapter(name: str) -> Adapter:
    if ":" not in name:
        return adapter_of(name)
    module, _, function = name.partition(":")
    sys.path.insert(0, "")  # as `python -m` does: what stands in the working directory
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"NAME: expected MODULE:FUNCTION that can be imported, got {name!r}: {error}"
        ) from None
    except SystemExit as error:
        raise ValueError(
            f"NAME: expected MODULE:FUNCTION that can be imported, got {name!r}, which ends the program "
            f"(SystemExit: {error})"
        ) from None
    finally:
        sys.path.remove("")
    own: Run | Adapter | None = getattr(found, function, None)
    if isinstance(own, Adapter):
        return own
    if not callable(own):
        raise ValueError(f"NAME: expected a function or an Adapter {function!r} in {module}, found none")
    return Adapter(name, name, (), {}, own)


def _progress(label: str) -> Callable[[str], None]:
    """One line on a terminal, written over; gone at the end of the work."""

    def tell(what: str) -> None:
        if sys.stderr.isatty():
            print(f"\r\x1b[K{label}: {what}" if what else "\r\x1b[K", end="", file=sys.stderr, flush=True)

    return tell
