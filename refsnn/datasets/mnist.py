"""MNIST from its four original files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from refsnn.datasets.idx import read_idx
from refsnn.datasets.labelled import LabelledImages, float_dtype

CLASSES = 10
PIXELS = (28, 28)
FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
WHERE = (
    "get the four files from https://yann.lecun.com/exdb/mnist or its mirror "
    "https://ossci-datasets.s3.amazonaws.com/mnist, packed with gzip or not"
)


def load_mnist(folder: str | os.PathLike[str] | None = None, dtype: Any = np.float64) -> LabelledImages:
    """Return MNIST with pixels in [0, 1], in the files' order.

    Parameters
    ----------
    folder : path-like, optional
        Where the four files are; ``$REFSNN_DATA/mnist`` if it is not given.
    dtype : dtype
        Of the images: float64 or float32.

    Returns
    -------
    LabelledImages
        60000 training and 10000 test images of 784 pixels.

    Raises
    ------
    FileNotFoundError
        Naming the files that are missing, and where to get them.
    TypeError
        If the dtype is no float one.
    ValueError
        If a file is not what its name says: no IDX file, labels in the place of images, other sizes,
        labels above 9, not one label an image.

    Examples
    --------
    >>> load_mnist("no/such/folder")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    FileNotFoundError: folder: expected the files of MNIST in no/such/folder, which is not there; ...
    """
    kind = float_dtype(dtype)
    paths = _find(folder)
    train = _read_pair(paths[0], paths[1], kind)
    return LabelledImages(*train, *_read_pair(paths[2], paths[3], kind))


def _find(folder: str | os.PathLike[str] | None) -> list[Path]:
    """The four files; all that are missing are named at once."""
    if folder is None:
        root = os.environ.get("REFSNN_DATA")
        if not root:
            raise FileNotFoundError(
                "folder: expected a folder with the files of MNIST, got none, and REFSNN_DATA is not set; "
                f"{WHERE}, and put them into a folder mnist under $REFSNN_DATA"
            )
        folder = Path(root) / "mnist"
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"folder: expected the files of MNIST in {folder}, which is not there; {WHERE}"
        )
    found = [_first(folder, name) for name in FILES]
    missing = [name for name, path in zip(FILES, found, strict=True) if path is None]
    if missing:
        raise FileNotFoundError(
            f"folder: expected the four files of MNIST in {folder}, missing {', '.join(missing)} "
            f"(.gz or not); {WHERE}"
        )
    return [path for path in found if path is not None]


def _first(folder: Path, name: str) -> Path | None:
    """The file under its own name, or packed, or with the dot that some unpackers write for the dash."""
    dotted = name.replace("-idx", ".idx")
    candidates = (folder / f"{stem}{suffix}" for stem in (name, dotted) for suffix in ("", ".gz"))
    return next((path for path in candidates if path.is_file()), None)


def _read_pair(images_path: Path, labels_path: Path, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Images as rows of floats, labels as int64."""
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.ndim != 3 or images.shape[1:] != PIXELS or images.dtype != np.uint8:
        raise ValueError(
            f"{images_path}: expected images, uint8 of shape (N, 28, 28), found {images.dtype} of shape "
            f"{images.shape}; check that the file is the one its name says"
        )
    if labels.ndim != 1 or labels.dtype != np.uint8:
        raise ValueError(
            f"{labels_path}: expected labels, uint8 of shape (N,), found {labels.dtype} of shape "
            f"{labels.shape}; check that the file is the one its name says"
        )
    if not len(images):
        raise ValueError(f"{images_path}: expected at least one image, found none; get the file again")
    if len(images) != len(labels):
        raise ValueError(
            f"{labels_path}: expected {len(images)} labels, one for each image of {images_path.name}, "
            f"found {len(labels)}; take both files from the same set"
        )
    if labels.max() >= CLASSES:
        raise ValueError(
            f"{labels_path}: expected labels from 0 to {CLASSES - 1}, found {labels.max()}; "
            "the file holds other data than MNIST's"
        )
    pixels = images.reshape(len(images), -1).astype(dtype)
    pixels /= dtype.type(255)
    return pixels, labels.astype(np.int64)
