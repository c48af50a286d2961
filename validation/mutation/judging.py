"""Runs in a copy of the tree: which claims enter which function, and which claim first notices a fault.

python -m validation.mutation.judging map FILE            writes {claim: [seconds, [file:function, ...]]}
python -m validation.mutation.judging first SEED ID ...   prints the first claim that does not hold
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from validation.catalogue import all_claims
from validation.ledger import Claim, check


class Entered:
    """Which functions of the package are entered; for `sys.setprofile`."""

    def __init__(self, root: Path) -> None:
        self.root = str(root.resolve()) + "/refsnn/"
        self.codes: set[CodeType] = set()

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        """Called by the interpreter."""
        if event == "call":
            self.codes.add(frame.f_code)

    def names(self) -> list[str]:
        """File from the root of the tree, and function."""
        start = len(self.root) - len("refsnn/")
        return sorted(
            {
                f"{code.co_filename[start:]}:{code.co_qualname.replace('<locals>.', '')}"
                for code in self.codes
                if code.co_filename.startswith(self.root)
            }
        )


def mapped(claims: Iterable[Claim], root: Path, seed: int = 0) -> dict[str, tuple[float, list[str]]]:
    """Seconds of each claim, and the functions that it enters in Python.

    What runs compiled is not seen; of equations it is seen where an oracle or the plain backend calls them.
    """
    found = {}
    for claim in claims:
        entered = Entered(root)
        sys.setprofile(entered)
        try:
            record = check(claim, seed)
        finally:
            sys.setprofile(None)
        assert record.good, f"{claim.id} does not hold without a fault"
        found[claim.id] = (record.seconds, entered.names())
    return found


def first_to_notice(ids: Iterable[str], seed: int = 0) -> str:
    """The first of these claims that does not hold, or whose control does not fail; "" if none."""
    claims = {claim.id: claim for claim in all_claims()}
    for id in ids:
        if not check(claims[id], seed).good:
            return id
    return ""


if __name__ == "__main__":
    task, *rest = sys.argv[1:]
    if task == "map":
        Path(rest[0]).write_text(json.dumps(mapped(all_claims(), Path.cwd())), encoding="utf-8")
    else:
        print("noticed by", first_to_notice(rest[1:], int(rest[0])))
