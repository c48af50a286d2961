"""Text as sequences of characters, each with the next one as its target: the Penn Treebank's files.

The files are those of Mikolov's preparation: lower case, rare words as ``<unk>``, numbers as ``N``, one
sentence a line.  Spaces and line ends are characters as all others.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.datasets.files import AGAIN, content, data_folder

PARTS = "train", "valid", "test"
WHAT = "the texts of the Penn Treebank"
WHERE = (
    "get ptb.train.txt, ptb.valid.txt and ptb.test.txt from the folder simple-examples/data of "
    "http://www.fit.vutbr.cz/~imikolov/rnnlm/simple-examples.tgz"
)


@dataclass(frozen=True)
class Vocabulary:
    """Characters and their codes.

    Parameters
    ----------
    characters : str
        Each once; the code of a character is its place.

    Raises
    ------
    TypeError, ValueError
        For something else than a string, an empty one, and characters that come twice.

    Examples
    --------
    >>> vocabulary = Vocabulary.of("abba cab")
    >>> vocabulary.characters, len(vocabulary), vocabulary.encode("cab")
    (' abc', 4, array([3, 1, 2]))
    """

    characters: str

    def __post_init__(self) -> None:
        if not isinstance(self.characters, str):
            raise TypeError(f"characters: expected a string, got {type(self.characters).__name__}")
        if not self.characters:
            raise ValueError("characters: expected at least one character, got an empty string")
        twice = [letter for letter in dict.fromkeys(self.characters) if self.characters.count(letter) > 1]
        if twice:
            raise ValueError(
                f"characters: expected each character once, got {twice[0]!r} more often; "
                "Vocabulary.of(text) makes one of a text"
            )

    @classmethod
    def of(cls, *texts: str) -> Vocabulary:
        """All characters of some texts, in the order of their code points.

        Parameters
        ----------
        *texts : str
            At least one that is not empty.

        Returns
        -------
        Vocabulary

        Raises
        ------
        TypeError, ValueError
            For something else than strings, and none that has a character.
        """
        return cls("".join(sorted(set().union(*(_text("texts", text) for text in texts)))))

    def __len__(self) -> int:
        return len(self.characters)

    def encode(self, text: str) -> np.ndarray:
        """Codes of a text.

        Parameters
        ----------
        text : str
            Of known characters only.

        Returns
        -------
        ndarray of int64, (len(text),)

        Raises
        ------
        TypeError
            For something else than a string.
        ValueError
            Naming the first character that the vocabulary has not, and where it stands.
        """
        codes = {letter: code for code, letter in enumerate(self.characters)}
        given = _text("text", text)
        unknown = next((place for place, letter in enumerate(given) if letter not in codes), None)
        if unknown is not None:
            line = 1 + given.count("\n", 0, unknown)
            raise ValueError(
                f"text: expected characters of the vocabulary, {len(self)} in number, got "
                f"{given[unknown]!r} at place {unknown}, in line {line}; make the vocabulary of all texts, "
                "Vocabulary.of(train, test)"
            )
        return np.array([codes[letter] for letter in given], np.int64)

    def decode(self, codes: Any) -> str:
        """The text of some codes, the inverse of `encode`.

        Parameters
        ----------
        codes : array_like of int, (N,)
            Each from 0 to the vocabulary's length, exclusive.

        Returns
        -------
        str

        Raises
        ------
        TypeError, ValueError
            For something else than integers in one row, and codes out of range.

        Examples
        --------
        >>> Vocabulary("abc").decode([2, 0, 1])
        'cab'
        """
        return "".join(self.characters[code] for code in _codes(codes, len(self)))


def read_text(path: str | os.PathLike[str], what: str = "a text", where: str = "check the path") -> str:
    """Return the text of a UTF-8 file, packed with gzip or not.

    Parameters
    ----------
    path : path-like
        The file.
    what, where : str
        What is expected, and where to get it, for the message on a missing file.

    Returns
    -------
    str
        With line ends as the file has them.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is empty, or not UTF-8: names the first byte that is not.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "some.txt")
    ...     _ = path.write_bytes(b"no it was n't\\n")
    ...     read_text(path)
    "no it was n't\\n"
    """
    data = content(path, what, where)
    if not data:
        raise ValueError(f"{path}: expected {what}, found an empty file; {AGAIN}")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: expected text in UTF-8, found the byte {data[error.start]:#04x} at {error.start} "
            f"({error.reason}); {AGAIN}"
        ) from error


def load_penn_treebank(
    folder: str | os.PathLike[str] | None = None, parts: Sequence[str] = PARTS
) -> dict[str, str]:
    """Return texts of the Penn Treebank, by part.

    Parameters
    ----------
    folder : path-like, optional
        Where ``ptb.train.txt``, ``ptb.valid.txt`` and ``ptb.test.txt`` are, packed with gzip or not;
        ``$REFSNN_DATA/ptb`` if it is not given.
    parts : sequence of {"train", "valid", "test"}
        Which of them.

    Returns
    -------
    dict of str to str

    Raises
    ------
    FileNotFoundError
        If the folder or a file of it is missing: says where they were looked for and where to get them.
    ValueError
        For other parts, and files that are empty or not UTF-8.

    Examples
    --------
    >>> load_penn_treebank("no/such/folder")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    FileNotFoundError: folder: expected the texts of the Penn Treebank in no/such/folder, which is not ...
    """
    if isinstance(parts, str) or not len(parts):
        raise ValueError(f"parts: expected some of {PARTS}, got {parts!r}; for one alone write ('test',)")
    for part in parts:
        checks.choice("parts", part, PARTS)
    place = data_folder(folder, "ptb", WHAT, WHERE)
    names = {part: f"ptb.{part}.txt" for part in parts}
    paths = {part: _first(place, name) for part, name in names.items()}
    missing = [names[part] for part, path in paths.items() if path is None]
    if missing:
        raise FileNotFoundError(
            f"folder: expected {WHAT} in {place}, missing {', '.join(missing)} (.gz or not); {WHERE}"
        )
    return {part: read_text(path, WHAT, WHERE) for part, path in paths.items() if path is not None}


def _first(folder: Path, name: str) -> Path | None:
    """The file, or the packed one."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def character_sequences(codes: Any, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut a text into sequences that do not overlap, each step with the next character as its target.

    The k-th sequence sees the characters k T .. (k + 1) T - 1 and is to name k T + 1 .. (k + 1) T; what is
    left at the end, less than T, is left out.

    Parameters
    ----------
    codes : array_like of int, (N,)
        From `Vocabulary.encode`.
    steps : int
        T.

    Returns
    -------
    inputs, targets : ndarray of int64, (T, sequences)

    Raises
    ------
    TypeError, ValueError
        For something else than integers in one row, a length that is no count, and a text shorter than one
        sequence and its last target.

    Examples
    --------
    >>> inputs, targets = character_sequences([5, 6, 7, 8, 9, 10], steps=2)
    >>> inputs[:, 0], targets[:, 0], inputs.shape
    (array([5, 6]), array([6, 7]), (2, 2))
    """
    steps, row = checks.count("steps", steps), _codes(codes)
    sequences = (row.size - 1) // steps
    if sequences < 1:
        raise ValueError(
            f"codes: expected at least {steps + 1} characters for a sequence of {steps} steps, got "
            f"{row.size}; take fewer steps"
        )
    used = sequences * steps
    inputs, targets = row[:used], row[1 : used + 1]
    shape = sequences, steps
    return np.ascontiguousarray(inputs.reshape(shape).T), np.ascontiguousarray(targets.reshape(shape).T)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name}: expected a string, got {type(value).__name__}")
    return value


def _codes(codes: Any, count: int | None = None) -> np.ndarray:
    """One row of integers from 0."""
    row = checks.as_numpy("codes", codes)
    if row.dtype.kind not in "iu":
        raise TypeError(f"codes: expected integers, got {row.dtype}")
    if row.ndim != 1:
        raise ValueError(f"codes: expected one row, got shape {row.shape}")
    highest = np.inf if count is None else count - 1
    if row.size and (row.min() < 0 or row.max() > highest):
        raise ValueError(
            f"codes: expected numbers from 0{'' if count is None else f' to {count - 1}'}, got "
            f"{row.min()} to {row.max()}"
        )
    return row.astype(np.int64)
