"""Pages of text: lines, and tables in aligned columns, or rich ones where rich is installed."""

from __future__ import annotations

import importlib
import io
import shutil
from collections.abc import Sequence
from typing import NamedTuple, TextIO

WIDTH = 110  # of a page that is no terminal
NAME = 24  # a cell of so many letters is not folded


class Block(NamedTuple):
    """One table of text.

    Attributes
    ----------
    title : str
        Above it.
    header : tuple of str
        Names of the columns.
    lines : sequence of tuple of str
        Cells.
    words : bool
        Whether all columns hold words, and are left-aligned, or the first one alone.
    """

    title: str
    header: tuple[str, ...]
    lines: Sequence[tuple[str, ...]]
    words: bool = False


Page = Sequence[str | Block]


def page_width(stream: TextIO) -> int:
    """Characters a line of a terminal, or of a file.

    Parameters
    ----------
    stream : file
        Where the page goes.

    Returns
    -------
    int
    """
    return shutil.get_terminal_size((WIDTH, 24)).columns if stream.isatty() else WIDTH


def as_lines(page: Page) -> str:
    """A page in aligned columns, without rich.

    Parameters
    ----------
    page : sequence of str or Block
        Lines and tables in their order; an empty line stands around each table.

    Returns
    -------
    str
        Ends with a line break.

    Examples
    --------
    >>> print(as_lines(["Two squares.", Block("Squares", ("x", "square"), [("1", "1"), ("10", "100")])]))
    Two squares.
    <BLANKLINE>
    Squares
    x   square
    1        1
    10     100
    <BLANKLINE>
    """
    parts: list[str] = []
    for part in page:
        if isinstance(part, Block):
            parts += [*([""] if parts and parts[-1] else []), part.title, *_aligned(part), ""]
        else:
            parts.append(part)
    return "\n".join(parts).rstrip("\n") + "\n"


def show(page: Page, stream: TextIO) -> None:
    """Print a page: with rich where it is installed, else as `as_lines` does.

    Parameters
    ----------
    page : sequence of str or Block
        Lines and tables in their order.
    stream : file
        Where to.
    """
    terminal = stream.isatty()
    try:
        console_of, table_of = importlib.import_module("rich.console"), importlib.import_module("rich.table")
    except ImportError:
        stream.write(as_lines(page))
        return
    # a log is not folded: a reader of it can scroll
    text = io.StringIO()
    width = page_width(stream) if terminal else 400
    console = console_of.Console(
        file=text, force_terminal=terminal, width=width, highlight=False, markup=False, emoji=False
    )
    after_table = False
    for part in page:
        if isinstance(part, Block):
            table = table_of.Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
            for index, name in enumerate(part.header):
                longest = max((len(line[index]) for line in part.lines), default=0)
                table.add_column(
                    name,
                    justify="right" if index and not part.words else "left",
                    no_wrap=not part.words or longest <= NAME,  # names stay whole, sentences are folded
                    min_width=min(longest, NAME) if part.words else None,
                    overflow="fold",
                )
            for line in part.lines:
                table.add_row(*line)
            console.print()
            console.print(part.title, style="bold" if terminal else None, soft_wrap=True)
            console.print(table)
        else:
            if after_table:
                console.print()
            console.print(part, soft_wrap=True)
        after_table = isinstance(part, Block)
    stream.write(text.getvalue())


def _aligned(block: Block) -> list[str]:
    cells = [block.header, *block.lines]
    widths = [max(len(line[column]) for line in cells) for column in range(len(block.header))]
    return [
        "  ".join(
            cell.rjust(width) if column and not block.words else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    ]
