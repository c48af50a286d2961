"""Every algorithm on one network and one input, against BPTT: the yardstick table."""

from __future__ import annotations

from refsnn.comparison.comparing import compare
from refsnn.comparison.contenders import default_names
from refsnn.comparison.measures import peak_memory
from refsnn.comparison.results import Comparison, Leaf, Row
from refsnn.comparison.table import as_csv, as_text

__all__ = ["Comparison", "Leaf", "Row", "as_csv", "as_text", "compare", "default_names", "peak_memory"]
