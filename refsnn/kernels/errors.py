"""What a backend can answer instead of running."""

from __future__ import annotations


class BackendUnavailableError(RuntimeError):
    """The backend was asked for by its right name, but this machine cannot run it."""
