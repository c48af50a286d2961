"""The command line `refsnn`, also `python -m refsnn`: which commands there are, and how they end."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from refsnn import __version__
from refsnn.commands import compare, crosscheck, nir, vectors
from refsnn.kernels import BackendUnavailableError

BAD_INPUT, INTERRUPTED = 2, 130
COMMANDS = (compare, vectors, crosscheck, nir)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = argparse.ArgumentParser(
        prog="refsnn", description="Temporal credit assignment, as a yardstick."
    )
    command.add_argument("--version", action="version", version=f"refsnn {__version__}")
    tasks = command.add_subparsers(dest="task", required=True, metavar="COMMAND")
    for room in COMMANDS:
        room.add_commands(tasks)
    return command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the process by default.

    Returns
    -------
    int
        The exit status.

    Raises
    ------
    SystemExit
        For a command line that makes no sense, with status 2.
    """
    options = parser().parse_args(arguments)
    try:
        status = options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, `head` perhaps, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (TypeError, ValueError, OSError, ImportError, BackendUnavailableError) as error:
        print(f"refsnn {options.task}: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
