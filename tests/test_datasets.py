"""The datasets room: what is read is what was written, and a wrong file is an error that names it."""

from __future__ import annotations

import gzip
import os
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refsnn.datasets import load_digits, load_mnist, one_hot, read_idx
from refsnn.datasets.idx import TYPES
from refsnn.datasets.mnist import FILES

CODES = {np.dtype(kind).newbyteorder("="): code for code, kind in TYPES.items()}


def idx_bytes(array: np.ndarray) -> bytes:
    """An array in the IDX format, written from the format's description."""
    head = bytes([0, 0, CODES[array.dtype], array.ndim]) + b"".join(
        struct.pack(">I", size) for size in array.shape
    )
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.lists(st.integers(0, 4), min_size=1, max_size=4),
    dtype=st.sampled_from(sorted(CODES, key=str)),
    packed=st.booleans(),
)
def test_idx_returns_what_was_written(tmp_path_factory, seed, shape, dtype, packed):
    array = (100 * np.random.default_rng(seed).standard_normal(shape)).astype(np.int8).astype(dtype)
    data = idx_bytes(array)
    path = tmp_path_factory.mktemp("idx") / f"array{'.gz' if packed else ''}"
    path.write_bytes(gzip.compress(data) if packed else data)
    found = read_idx(path)
    assert found.dtype == array.dtype
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, array)


IMAGES = idx_bytes(np.arange(12, dtype=np.uint8).reshape(3, 2, 2))
PACKED = gzip.compress(IMAGES)
BAD_IDX = {
    "an empty file": (b"", "array", "an empty file"),
    "another magic number": (b"\x89PNG" + IMAGES, "array", "found 89 50 4e 47"),
    "an unknown type": (b"\0\0\x07" + IMAGES[3:], "array", "found 07"),
    "no dimension": (b"\0\0\x08\0", "array", "at least one dimension, found 0"),
    "a header cut short": (IMAGES[:10], "array", "found 6 of 12 bytes"),
    "data cut short": (IMAGES[:-1], "array", "expected 12 bytes of data .* found 11: it was cut short"),
    "trailing bytes": (IMAGES + b"\0\0", "array", "found 14: something was put after"),
    "a size that is too large": (
        IMAGES[:4] + b"\xff\xff\xff\xff" * 3 + IMAGES[16:],
        "array",
        "found 12: it was cut short",
    ),
    "a plain file named gz": (IMAGES, "array.gz", "expected gzip data because of its name"),
    "a web page named gz": (b"<html>404</html>", "array.gz", "found a file that begins with 3c 68 74 6d"),
    "gzip cut short": (PACKED[:-12], "array.gz", "expected whole gzip data"),
    "gzip with a flipped bit": (
        PACKED[:-6] + bytes([PACKED[-6] ^ 1]) + PACKED[-5:],
        "array.gz",
        "expected whole gzip data",
    ),
}


@pytest.mark.parametrize("case", BAD_IDX)
def test_idx_refuses(tmp_path, case):
    data, name, message = BAD_IDX[case]
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message) as error:
        read_idx(path)
    assert str(path) in str(error.value)


def test_idx_names_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing-here, which is not there"):
        read_idx(tmp_path / "nothing-here")


def write_mnist(folder: Path, packed: bool = False, **changes: np.ndarray) -> None:
    """Four small files of MNIST's form; `changes` replaces one by another array."""
    rng = np.random.default_rng(5)
    arrays = {
        "train_images": rng.integers(0, 256, (7, 28, 28), np.uint8),
        "train_labels": rng.integers(0, 10, 7, np.uint8),
        "t10k_images": rng.integers(0, 256, (3, 28, 28), np.uint8),
        "t10k_labels": rng.integers(0, 10, 3, np.uint8),
    } | changes
    for name, array in zip(FILES, arrays.values(), strict=True):
        data = idx_bytes(array)
        (folder / f"{name}{'.gz' if packed else ''}").write_bytes(gzip.compress(data) if packed else data)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_mnist_reads_pixels_and_labels(tmp_path, monkeypatch, packed, dtype):
    (tmp_path / "mnist").mkdir()
    write_mnist(tmp_path / "mnist", packed)
    monkeypatch.setenv("REFSNN_DATA", str(tmp_path))
    data = load_mnist(dtype=dtype)
    rng = np.random.default_rng(5)
    raw, labels = rng.integers(0, 256, (7, 28, 28), np.uint8), rng.integers(0, 10, 7, np.uint8)
    assert data.train_images.dtype == dtype
    assert data.train_labels.dtype == np.int64
    np.testing.assert_array_equal(np.rint(data.train_images.reshape(7, 28, 28) * 255), raw)
    np.testing.assert_array_equal(data.train_labels, labels)
    assert data.test_images.shape == (3, 784)
    assert data.train_images.max() <= 1


def test_mnist_reads_files_with_a_dot_in_the_name(tmp_path):
    write_mnist(tmp_path)
    for name in FILES:
        (tmp_path / name).rename(tmp_path / name.replace("-idx", ".idx"))
    assert load_mnist(tmp_path).train_images.shape == (7, 784)


PIXELS, LABELS = np.zeros((7, 28, 28), np.uint8), np.zeros(7, np.uint8)
MISLABELLED = {
    "labels in the place of images": (
        {"train_images": LABELS},
        "train-images",
        r"found uint8 of shape \(7,\)",
    ),
    "images in the place of labels": ({"train_labels": PIXELS}, "train-labels", r"shape \(7, 28, 28\)"),
    "images of another size": ({"t10k_images": np.zeros((3, 8, 8), np.uint8)}, "t10k-images", r"\(3, 8, 8\)"),
    "another type": ({"t10k_images": np.zeros((3, 28, 28), np.float32)}, "t10k-images", "found float32"),
    "a label too few": ({"train_labels": LABELS[1:]}, "train-labels", "expected 7 labels, .* found 6"),
    "a label of no digit": (
        {"t10k_labels": np.array([0, 10, 9], np.uint8)},
        "t10k-labels",
        "0 to 9, found 10",
    ),
    "no images": ({"train_images": PIXELS[:0], "train_labels": LABELS[:0]}, "train-images", "found none"),
}


@pytest.mark.parametrize("case", MISLABELLED)
def test_mnist_refuses_mislabelled_files(tmp_path, case):
    changes, name, message = MISLABELLED[case]
    write_mnist(tmp_path, **changes)
    with pytest.raises(ValueError, match=message) as error:
        load_mnist(tmp_path)
    assert name in str(error.value).split(":")[0]


def test_mnist_says_what_is_missing_and_where_to_get_it(tmp_path, monkeypatch):
    monkeypatch.delenv("REFSNN_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match=r"REFSNN_DATA is not set; get the four files from https://"):
        load_mnist()
    with pytest.raises(FileNotFoundError, match=r"which is not there; get the four files"):
        load_mnist(tmp_path / "elsewhere")
    write_mnist(tmp_path)
    (tmp_path / FILES[1]).unlink()
    (tmp_path / FILES[2]).unlink()
    with pytest.raises(FileNotFoundError, match=f"missing {FILES[1]}, {FILES[2]} "):
        load_mnist(tmp_path)


@pytest.mark.parametrize("dtype", [np.int64, "complex128", "pixels", np.float16])
def test_dtypes_that_are_no_working_floats_are_refused(tmp_path, dtype):
    write_mnist(tmp_path)
    for load in (lambda: load_mnist(tmp_path, dtype=dtype), lambda: load_digits(dtype=dtype)):
        with pytest.raises(TypeError, match="dtype: expected float64 or float32"):
            load()


def test_real_mnist():
    if not os.environ.get("REFSNN_DATA"):
        with pytest.raises(FileNotFoundError) as missing:
            load_mnist()
        pytest.skip(str(missing.value))
    data = load_mnist(dtype=np.float32)
    assert data.train_images.shape == (60000, 784)
    assert data.test_images.shape == (10000, 784)
    # the published class counts of both sets
    assert np.bincount(data.train_labels).tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949,
    ]  # fmt: skip
    assert np.bincount(data.test_labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert data.train_labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert data.train_images.max() == 1
    assert data.train_images.mean(dtype=np.float64) == pytest.approx(0.1307, abs=5e-5)


def test_digits_are_split_and_scaled():
    data = load_digits()
    assert data.train_images.shape == (1437, 64)
    assert data.test_images.shape == (360, 64)
    everything = np.concatenate([data.train_images, data.test_images])
    assert everything.min() == 0
    assert everything.max() == 1
    np.testing.assert_array_equal(everything * 16, np.rint(everything * 16))
    np.testing.assert_array_equal(load_digits(dtype=np.float32).train_images, data.train_images)


def test_digits_order_comes_from_the_generator_and_keeps_images_with_labels():
    import sklearn.datasets

    images, labels = sklearn.datasets.load_digits(return_X_y=True)
    data, other = load_digits(np.random.default_rng(3)), load_digits(np.random.default_rng(4))
    assert not np.array_equal(data.train_labels, other.train_labels)
    np.testing.assert_array_equal(load_digits(np.random.default_rng(3)).train_labels, data.train_labels)
    pairs = {(row.tobytes(), int(label)) for row, label in zip(images / 16, labels, strict=True)}
    for part, classes in (
        (data.train_images, data.train_labels),
        (data.test_images, data.test_labels),
    ):
        assert all((row.tobytes(), int(label)) in pairs for row, label in zip(part, classes, strict=True))
    everything = np.concatenate([data.train_images, data.test_images])
    assert sorted(map(bytes, everything)) == sorted(map(bytes, images / 16))


def test_digits_want_a_generator_and_scikit_learn(monkeypatch):
    with pytest.raises(TypeError, match=r"rng: expected a numpy\.random\.Generator"):
        load_digits(3)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match="install it with `python -m pip install scikit-learn`"):
        load_digits()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_one_hot(dtype):
    labels = np.random.default_rng(0).integers(0, 6, 50)
    targets = one_hot(labels, 6, dtype)
    assert targets.dtype == dtype
    np.testing.assert_array_equal(targets, np.eye(6)[labels])


@pytest.mark.parametrize(
    ("labels", "error"),
    [
        ([3], ValueError),
        ([-1], ValueError),
        ([0.0], TypeError),
        ([[0]], ValueError),
        (1, ValueError),
        ([], TypeError),
    ],
)
def test_one_hot_refuses(labels, error):
    with pytest.raises(error, match="labels: expected"):
        one_hot(labels, 3)
