"""The vectors through other frameworks: whether they compute what the reference does, and where not."""

from refsnn.crosscheck.adapter import Adapter, NotExpressibleError
from refsnn.crosscheck.adapters import adapter_of
from refsnn.crosscheck.checking import Crosscheck, Outcome, crosscheck

__all__ = ["Adapter", "Crosscheck", "NotExpressibleError", "Outcome", "adapter_of", "crosscheck"]
