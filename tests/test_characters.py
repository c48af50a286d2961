"""Characters of texts: codes, sequences, and files that are not what they should be."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refsnn.datasets.characters import Vocabulary, character_sequences, load_penn_treebank, read_text


@given(st.text(min_size=1, max_size=60))
def test_a_text_comes_back_from_its_codes(text):
    vocabulary = Vocabulary.of(text)
    assert vocabulary.decode(vocabulary.encode(text)) == text
    assert set(vocabulary.characters) == set(text)
    assert list(vocabulary.characters) == sorted(vocabulary.characters)


def test_a_vocabulary_of_two_texts_knows_both():
    assert Vocabulary.of("ba", "c\n").characters == "\nabc"
    assert Vocabulary.of("ba", "c\n").encode("ab\nc").tolist() == [1, 2, 0, 3]


def test_an_unknown_character_is_named_with_its_line():
    with pytest.raises(ValueError, match=r"got 'x' at place 4, in line 2"):
        Vocabulary.of("ab\n").encode("ab\nax")


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: Vocabulary("aba"), ValueError, "'a' more often"),
        (lambda: Vocabulary(""), ValueError, "empty string"),
        (lambda: Vocabulary.of(), ValueError, "empty string"),
        (lambda: Vocabulary(["a"]), TypeError, "expected a string, got list"),
        (lambda: Vocabulary("ab").encode(b"ab"), TypeError, "text: expected a string, got bytes"),
        (lambda: Vocabulary("ab").decode([2]), ValueError, "from 0 to 1, got 2 to 2"),
        (lambda: Vocabulary("ab").decode([-1]), ValueError, "from 0 to 1"),
        (lambda: Vocabulary("ab").decode([0.0]), TypeError, "codes: expected integers"),
        (lambda: Vocabulary("ab").decode([[0]]), ValueError, "one row"),
    ],
)
def test_bad_vocabularies_and_codes(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


@settings(deadline=None)
@given(length=st.integers(2, 80), steps=st.integers(1, 20))
def test_sequences_follow_the_text(length, steps):
    codes = np.arange(length)
    if length < steps + 1:
        with pytest.raises(ValueError, match=f"at least {steps + 1} characters"):
            character_sequences(codes, steps)
        return
    inputs, targets = character_sequences(codes, steps)
    sequences = inputs.shape[1]
    # all but what is too short for one more sequence and its last target, in order, each once
    assert inputs.T.ravel().tolist() == list(range(sequences * steps))
    assert np.array_equal(targets, inputs + 1)
    assert length - steps <= sequences * steps + 1 <= length
    assert inputs.flags.c_contiguous


@pytest.mark.parametrize(
    ("codes", "steps", "kind", "message"),
    [
        ([0, 1, 2], 0, ValueError, "steps"),
        ([0, 1, 2], 1.5, TypeError, "steps"),
        ([0.0, 1.0], 1, TypeError, "codes: expected integers"),
        ([0, -1], 1, ValueError, "numbers from 0"),
        ([[0, 1]], 1, ValueError, "one row"),
    ],
)
def test_bad_sequences(codes, steps, kind, message):
    with pytest.raises(kind, match=message):
        character_sequences(codes, steps)


def test_the_texts_are_found_in_a_folder_and_under_the_variable(tmp_path, monkeypatch):
    folder = tmp_path / "ptb"
    folder.mkdir()
    (folder / "ptb.valid.txt").write_bytes(b" no it was n't \n")
    (folder / "ptb.test.txt.gz").write_bytes(gzip.compress(b" <unk> \n"))
    expected = {"valid": " no it was n't \n", "test": " <unk> \n"}
    assert load_penn_treebank(folder, ("valid", "test")) == expected
    monkeypatch.setenv("REFSNN_DATA", str(tmp_path))
    assert load_penn_treebank(parts=("test",)) == {"test": " <unk> \n"}


def test_missing_texts_are_named_with_their_place(tmp_path, monkeypatch):
    (tmp_path / "ptb.test.txt").write_text("x")
    with pytest.raises(FileNotFoundError, match=r"missing ptb.train.txt, ptb.valid.txt.*simple-examples"):
        load_penn_treebank(tmp_path)
    with pytest.raises(FileNotFoundError, match=str(tmp_path / "no")):
        load_penn_treebank(tmp_path / "no")
    monkeypatch.delenv("REFSNN_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="REFSNN_DATA is not set"):
        load_penn_treebank()


@pytest.mark.parametrize("parts", ["test", ("dev",), ()])
def test_other_parts_are_refused(tmp_path, parts):
    with pytest.raises(ValueError, match="parts"):
        load_penn_treebank(tmp_path, parts)


def test_files_that_are_no_texts(tmp_path):
    path = tmp_path / "ptb.test.txt"
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"ptb.test.txt: expected .*, found an empty file"):
        load_penn_treebank(tmp_path, ("test",))
    path.write_bytes("déjà".encode("latin-1"))
    with pytest.raises(ValueError, match=r"UTF-8, found the byte 0xe9 at 1"):
        read_text(path)
    path.write_bytes("déjà".encode())
    assert read_text(path) == "déjà"
    with pytest.raises(FileNotFoundError, match=r"nothing.txt, which is not there"):
        read_text(tmp_path / "nothing.txt")
