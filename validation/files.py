"""The ledger's records as a file."""

from __future__ import annotations

import json
from collections.abc import Iterable

from refsnn.files import plain
from validation.ledger import Record


def records_json(records: Iterable[Record]) -> str:
    """The records as strict JSON: NaN and infinity have no place in it and become null."""
    entries = [plain(record.as_dict()) for record in records]
    return json.dumps(entries, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
