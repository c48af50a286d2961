"""CIFAR-10 from its binary files, and the standardisation of its channels.

A file is a row of records: one byte of label, then 3072 bytes of pixels, the red plane first, then the
green and the blue one, each row by row from the top.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.datasets.augmentation import image_batch
from refsnn.datasets.files import AGAIN, content, data_folder
from refsnn.datasets.labelled import LabelledImages

CLASSES = 10
NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
SHAPE = (3, 32, 32)
RECORD = 1 + 3 * 32 * 32
BATCHES = 5

# What the field subtracts and divides by.  The means are those of the training pixels.  The deviations are
# the mean over images of each image's own deviation, and so smaller than the deviation of all pixels
# (0.247, 0.243, 0.262); they are kept because published networks were trained with them.
CHANNEL_MEAN = (0.4914, 0.4822, 0.4465)
CHANNEL_DEVIATION = (0.2023, 0.1994, 0.2010)

BEYOND = 1e-3  # how far rounding and interpolation may take a pixel out of [0, 1]

WHERE = (
    "get the binary version, cifar-10-binary.tar.gz, from https://www.cs.toronto.edu/~kriz/cifar.html and "
    "unpack its files data_batch_1.bin to data_batch_5.bin and test_batch.bin, packed with gzip or not"
)


def load_cifar10(
    folder: str | os.PathLike[str] | None = None, batches: int | None = None, dtype: Any = np.float64
) -> LabelledImages:
    """Return CIFAR-10 as images (N, 3, 32, 32), in the files' order.

    Parameters
    ----------
    folder : path-like, optional
        Where the files are; ``$REFSNN_DATA/cifar10`` if it is not given.
    batches : int, optional
        How many of the five training files to read, the first ones; without it all that are there, which
        must be the first ones without a gap.
    dtype : dtype
        Of the images: float64 or float32 for pixels in [0, 1], uint8 for the bytes as they are.  All
        60000 images take 1.5 GB in float64 and 0.2 GB as bytes.

    Returns
    -------
    LabelledImages
        10000 training images a file and the test images, channels red, green, blue.

    Raises
    ------
    FileNotFoundError
        Naming the files that are missing, and where to get them.
    TypeError
        If the dtype is another one.
    ValueError
        If a file is not a whole number of records, is empty, or has a label above 9.

    Examples
    --------
    >>> load_cifar10("no/such/folder")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    FileNotFoundError: folder: expected the files of CIFAR-10 in no/such/folder, which is not there; ...
    """
    kind = _pixel_dtype(dtype)
    if batches is not None and checks.count("batches", batches) > BATCHES:
        raise ValueError(f"batches: expected at most {BATCHES} training files, got {batches}")
    root = data_folder(folder, "cifar10", "the files of CIFAR-10", WHERE)
    *train, test = [_records(path) for path in _find(root, batches)]
    train_images = np.concatenate([_images(records, kind) for records in train])
    train_labels = np.concatenate([_labels(records) for records in train])
    return LabelledImages(train_images, train_labels, _images(test, kind), _labels(test))


def standardise(
    images: Any,
    mean: Any = CHANNEL_MEAN,
    deviation: Any = CHANNEL_DEVIATION,
) -> np.ndarray:
    """Return (images - mean) / deviation, a number a channel.

    The defaults are the field's constants for CIFAR-10; `channel_statistics` computes them for other data.

    Parameters
    ----------
    images : array_like of float64 or float32, shape (N, C, H, W)
        Pixels in [0, 1].
    mean, deviation : sequence of float, length C
        Of the channels.

    Returns
    -------
    ndarray
        Shape and dtype of the images.

    Raises
    ------
    TypeError
        If the images are bytes: the constants are for pixels in [0, 1].
    ValueError
        For another shape, another number of channels, pixels outside [0, 1] by more than 0.001, or a
        deviation that is not positive.

    Examples
    --------
    >>> standardise([[[[0.5, 1.0]]]], mean=[0.5], deviation=[0.25])
    array([[[[0., 2.]]]])
    """
    if getattr(images, "dtype", None) == np.uint8:
        raise TypeError(
            "images: expected a float32 or float64 array of pixels in [0, 1], got dtype uint8; divide the "
            "bytes by 255"
        )
    array = checks.float_array("images", images, ("N", "C", "H", "W"))
    if array.min() < -BEYOND or array.max() > 1 + BEYOND:
        raise ValueError(
            f"images: expected pixels in [0, 1], got values from {array.min():g} to {array.max():g}; divide "
            "bytes by 255, and standardise once only"
        )
    channels = array.shape[1]
    shift = checks.float_array("mean", np.asarray(mean, array.dtype), (channels,))
    scale = checks.float_array("deviation", np.asarray(deviation, array.dtype), (channels,))
    if scale.min() <= 0:
        raise ValueError(f"deviation: expected positive numbers, got {scale.min()}; a channel is constant")
    return (array - shift[:, None, None]) / scale[:, None, None]


def channel_statistics(images: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each channel, over all pixels of all images.

    Take them from training images only.

    Parameters
    ----------
    images : array_like of float or uint8, shape (N, C, H, W)
        Bytes count as they are, from 0 to 255.

    Returns
    -------
    mean, deviation : ndarray of float64, shape (C,)

    Raises
    ------
    TypeError, ValueError
        If they are no images.

    Examples
    --------
    >>> channel_statistics([[[[0.0, 1.0]], [[0.5, 0.5]]]])
    (array([0.5, 0.5]), array([0.5, 0. ]))
    """
    array = image_batch("images", images)
    pixels = array.size // array.shape[1]
    mean = array.sum(axis=(0, 2, 3), dtype=np.float64) / pixels
    square = np.zeros_like(mean)
    for image in array:  # one at a time: the deviations of all would take eight times the memory of bytes
        square += ((image - mean[:, None, None]) ** 2).sum(axis=(1, 2))
    return mean, np.sqrt(square / pixels)


def _pixel_dtype(dtype: Any) -> np.dtype:
    """The dtype of the images."""
    try:
        kind = np.dtype(dtype)
    except TypeError:
        kind = None
    # None by itself: NumPy holds float64 equal to it
    if kind is None or kind not in (*checks.FLOATS, np.dtype(np.uint8)):
        raise TypeError(f"dtype: expected float64 or float32, or uint8 for bytes, got {dtype!r}")
    return kind


def _find(folder: Path, batches: int | None) -> list[Path]:
    """The training files in their order and the test file; all that are missing are named at once."""
    names = [f"data_batch_{number}.bin" for number in range(1, BATCHES + 1)]
    found = [_first(folder, name) for name in names]
    last = max((number for number, path in enumerate(found, 1) if path), default=1)
    found = found[: last if batches is None else batches]
    found.append(_first(folder, "test_batch.bin"))
    names = [*names[: len(found) - 1], "test_batch.bin"]
    missing = [name for name, path in zip(names, found, strict=True) if path is None]
    if missing:
        raise FileNotFoundError(
            f"folder: expected the files of CIFAR-10 in {folder}, missing {', '.join(missing)} "
            f"(.gz or not); {WHERE}"
        )
    return [path for path in found if path is not None]


def _first(folder: Path, name: str) -> Path | None:
    """The file under its own name or packed."""
    candidates = (folder / f"{name}{suffix}" for suffix in ("", ".gz"))
    return next((path for path in candidates if path.is_file()), None)


def _records(path: Path) -> np.ndarray:
    """The file as rows of bytes, label first."""
    data = content(path, "a file of CIFAR-10", WHERE)
    if not data:
        raise ValueError(f"{path}: expected at least one image, found none; {AGAIN}")
    if len(data) % RECORD:
        raise ValueError(
            f"{path}: expected records of {RECORD} bytes, a label and 3 planes of 32 by 32 pixels, found "
            f"{len(data)} bytes, {len(data) % RECORD} over the last whole record: it was cut short, or is "
            f"not the binary version of CIFAR-10; {AGAIN}"
        )
    records = np.frombuffer(data, np.uint8).reshape(-1, RECORD)
    wrong = np.flatnonzero(records[:, 0] >= CLASSES)
    if wrong.size:
        raise ValueError(
            f"{path}: expected labels from 0 to {CLASSES - 1}, found {records[wrong[0], 0]} at image "
            f"{wrong[0]}; the file holds other data than CIFAR-10's"
        )
    return records


def _images(records: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Pixels (N, 3, 32, 32)."""
    pixels = records[:, 1:].reshape(-1, *SHAPE).astype(dtype)
    if dtype != np.uint8:
        pixels /= dtype.type(255)
    return pixels


def _labels(records: np.ndarray) -> np.ndarray:
    """Classes, int64."""
    return records[:, 0].astype(np.int64)
