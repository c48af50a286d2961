"""CIFAR-10: what is read is what was written byte by byte; augmentation moves pixels and invents none."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refsnn.datasets import channel_statistics, load_cifar10, random_crop, random_flip, standardise
from refsnn.datasets.cifar10 import CHANNEL_DEVIATION, CHANNEL_MEAN, NAMES


def byte(image: int, channel: int, row: int, column: int) -> int:
    """The pixel that the files below have there: no two axes can be exchanged unseen."""
    return (7 * image + 50 * channel + 3 * row + 11 * column) % 256


def record(image: int, label: int) -> bytes:
    """One record by the format's description: label, then red, green, blue, each row by row."""
    pixels = [
        byte(image, channel, row, column) for channel in range(3) for row in range(32) for column in range(32)
    ]
    return bytes([label, *pixels])


def write_batch(folder: Path, name: str, first: int, labels: list[int], packed: bool = False) -> None:
    data = b"".join(record(first + place, label) for place, label in enumerate(labels))
    (folder / f"{name}.bin{'.gz' if packed else ''}").write_bytes(gzip.compress(data) if packed else data)


def write_cifar10(folder: Path, batches: int = 2, packed: bool = False) -> None:
    for number in range(1, batches + 1):
        write_batch(folder, f"data_batch_{number}", 10 * number, [number, 9, 0], packed)
    write_batch(folder, "test_batch", 90, [4, 3], packed)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8])
def test_images_and_labels_are_those_of_the_files(tmp_path, monkeypatch, packed, dtype):
    (tmp_path / "cifar10").mkdir()
    write_cifar10(tmp_path / "cifar10", packed=packed)
    monkeypatch.setenv("REFSNN_DATA", str(tmp_path))
    data = load_cifar10(dtype=dtype)
    assert data.train_images.shape == (6, 3, 32, 32)
    assert data.test_images.shape == (2, 3, 32, 32)
    assert data.train_images.dtype == data.test_images.dtype == dtype
    assert data.train_labels.tolist() == [1, 9, 0, 2, 9, 0]
    assert data.test_labels.tolist() == [4, 3]
    assert data.train_labels.dtype == np.int64
    images = data.train_images if dtype == np.uint8 else np.rint(data.train_images.astype(float) * 255)
    for place, image in enumerate([10, 11, 12, 20, 21, 22]):
        expected = [
            [[byte(image, c, row, column) for column in range(32)] for row in range(32)] for c in range(3)
        ]
        np.testing.assert_array_equal(images[place], expected)
    if dtype != np.uint8:
        assert data.train_images.max() == 1


def test_the_number_of_training_files_can_be_asked_for(tmp_path):
    write_cifar10(tmp_path, batches=3)
    assert len(load_cifar10(tmp_path).train_images) == 9
    assert load_cifar10(tmp_path, batches=2).train_labels.tolist() == [1, 9, 0, 2, 9, 0]
    with pytest.raises(
        FileNotFoundError, match=r"missing data_batch_4\.bin, data_batch_5\.bin \(\.gz or not\)"
    ):
        load_cifar10(tmp_path, batches=5)
    with pytest.raises(ValueError, match="at most 5 training files, got 6"):
        load_cifar10(tmp_path, batches=6)
    with pytest.raises(TypeError, match="batches: expected an integer"):
        load_cifar10(tmp_path, batches=1.0)


def test_what_is_missing_is_named_with_its_source(tmp_path, monkeypatch):
    monkeypatch.delenv("REFSNN_DATA", raising=False)
    with pytest.raises(
        FileNotFoundError, match=r"REFSNN_DATA is not set; get the binary version, .* https://"
    ):
        load_cifar10()
    with pytest.raises(FileNotFoundError, match=r"elsewhere, which is not there; get the binary version"):
        load_cifar10(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"missing data_batch_1\.bin, test_batch\.bin"):
        load_cifar10(tmp_path)
    write_cifar10(tmp_path, batches=3)
    (tmp_path / "data_batch_2.bin").unlink()  # a gap: the third is not taken for the second
    with pytest.raises(FileNotFoundError, match=r"missing data_batch_2\.bin \("):
        load_cifar10(tmp_path)


WHOLE = record(0, 3) + record(1, 4)
BAD_FILES = {
    "cut short": (WHOLE[:-1], "test_batch.bin", r"found 6145 bytes, 3072 over the last whole record"),
    "a byte too many": (WHOLE + b"\0", "test_batch.bin", "found 6147 bytes, 1 over"),
    "empty": (b"", "test_batch.bin", "expected at least one image, found none"),
    "a label above 9": (record(0, 9) + record(1, 10), "test_batch.bin", "found 10 at image 1"),
    "pixels before the label": (record(0, 3)[1:] + b"\xff", "test_batch.bin", r"found \d+ at image 0"),
    "the pickled version": (b"\x80\x02}q" + WHOLE, "data_batch_1.bin", "not the binary version"),
    "plain bytes named gz": (WHOLE, "test_batch.bin.gz", "expected gzip data because of its name"),
    "broken packing": (gzip.compress(WHOLE)[:-9], "test_batch.bin.gz", "expected whole gzip data"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files_are_refused(tmp_path, case):
    data, name, message = BAD_FILES[case]
    write_cifar10(tmp_path)
    (tmp_path / name.removesuffix(".gz")).unlink()
    (tmp_path / name).write_bytes(bytes([90]) + data[1:] if case.startswith("pixels") else data)
    with pytest.raises(ValueError, match=message) as error:
        load_cifar10(tmp_path)
    assert str(tmp_path / name) in str(error.value)


@pytest.mark.parametrize("dtype", [np.int64, "pixels", np.float16, None.__class__])
def test_other_dtypes_are_refused(tmp_path, dtype):
    write_cifar10(tmp_path)
    with pytest.raises(TypeError, match="dtype: expected float64 or float32, or uint8"):
        load_cifar10(tmp_path, dtype=dtype)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_standardise(dtype):
    images = np.random.default_rng(0).random((5, 3, 4, 6)).astype(dtype)
    result = standardise(images)
    assert result.dtype == dtype
    for channel, (mean, deviation) in enumerate(
        zip((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010), strict=True)
    ):
        np.testing.assert_allclose(
            result[:, channel],
            (images[:, channel] - mean) / deviation,
            rtol=20 * np.finfo(dtype).eps,
            atol=1e-6,
        )
    own = standardise(images, *channel_statistics(images))
    for channel in range(3):
        assert abs(own[:, channel].mean()) < 1e-6
        assert abs(own[:, channel].std() - 1) < 1e-5


def test_standardise_refuses():
    images = np.zeros((2, 3, 4, 4))
    with pytest.raises(TypeError, match="images: expected a float32 or float64"):
        standardise(images.astype(int))
    with pytest.raises(TypeError, match=r"images: .* got dtype uint8; divide the bytes by 255"):
        standardise((images * 255).astype(np.uint8))
    for wrong in (images + 255.0, images + 1.01, images - 0.01, standardise(images)):
        with pytest.raises(ValueError, match=r"images: expected pixels in \[0, 1\], got values from"):
            standardise(wrong)
    standardise(images + 1.0005)  # what rounding may do
    with pytest.raises(ValueError, match="images: expected shape"):
        standardise(images[0])
    with pytest.raises(ValueError, match=r"mean: expected shape \(3,\)"):
        standardise(images, mean=[0.5])
    with pytest.raises(ValueError, match="deviation: expected positive numbers, got 0"):
        standardise(images, deviation=[1, 0, 1])


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_channel_statistics(dtype):
    images = (100 * np.random.default_rng(1).random((7, 3, 4, 5))).astype(dtype)
    mean, deviation = channel_statistics(images)
    for channel in range(3):
        assert mean[channel] == pytest.approx(images[:, channel].astype(float).mean(), rel=1e-12)
        assert deviation[channel] == pytest.approx(images[:, channel].astype(float).std(), rel=1e-12)


@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(*(st.integers(1, 6) for _ in range(4))),
    padding=st.integers(0, 4),
    dtype=st.sampled_from([np.float64, np.float32, np.uint8]),
)
def test_crops_are_shifts_within_the_padding(seed, shape, padding, dtype):
    rng = np.random.default_rng(seed)
    images = rng.integers(1, 256, shape).astype(dtype)  # no pixel is zero: zeros are padding
    before = images.copy()
    cropped = random_crop(images, rng, padding)
    assert cropped.dtype == dtype
    assert cropped.shape == shape
    np.testing.assert_array_equal(images, before)
    _, _, height, width = shape
    for image, result in zip(images, cropped, strict=True):
        shifts = []
        for down in range(-padding, padding + 1):
            for right in range(-padding, padding + 1):
                shifted = np.zeros_like(image)
                for row in range(max(0, down), min(height, height + down)):
                    for column in range(max(0, right), min(width, width + right)):
                        shifted[:, row, column] = image[:, row - down, column - right]
                shifts.append(np.array_equal(shifted, result))
        assert any(shifts)


def test_crops_take_every_place_and_images_their_own():
    images = np.zeros((4000, 2, 9, 9))
    images[:, :, 4, 4] = 1  # the centre stays inside at a padding of 4: where it is says how it was cut
    cropped = random_crop(images, np.random.default_rng(2), padding=4)
    np.testing.assert_array_equal(cropped[:, 0], cropped[:, 1])  # channels move together
    counts = cropped[:, 0].sum(axis=0)
    assert counts.sum() == 4000
    # 81 places with 49.4 images each: Poisson-like, 5 deviations of 7
    assert counts.min() > 14
    assert counts.max() < 85
    np.testing.assert_array_equal(cropped, random_crop(images, np.random.default_rng(2)))


def test_flips_mirror_columns_of_about_half_of_the_images():
    rng = np.random.default_rng(3)
    images = rng.random((2000, 3, 4, 5))
    flipped = random_flip(images, rng)
    same = (flipped == images).all(axis=(1, 2, 3))
    mirrored = (flipped == images[..., ::-1]).all(axis=(1, 2, 3))
    assert (same ^ mirrored).all()
    assert 888 < mirrored.sum() < 1112  # 5 deviations of 22.4
    np.testing.assert_array_equal(random_flip(images, rng, 0), images)
    np.testing.assert_array_equal(random_flip(images, rng, 1), images[..., ::-1])


def test_augmentation_refuses():
    images, rng = np.zeros((2, 3, 4, 4)), np.random.default_rng(0)
    for augment in (random_crop, random_flip):
        with pytest.raises(TypeError, match=r"rng: expected a numpy\.random\.Generator"):
            augment(images, 0)
        with pytest.raises(TypeError, match="images: expected a float32 or float64"):
            augment(images.astype(int), rng)
        with pytest.raises(ValueError, match=r"image\[None\]"):
            augment(images[0].astype(np.uint8), rng)
        with pytest.raises(ValueError, match="images: expected shape"):
            augment(images[:0], rng)
    with pytest.raises(ValueError, match="padding: expected an integer of at least 0"):
        random_crop(images, rng, -1)
    with pytest.raises(ValueError, match="probability: expected"):
        random_flip(images, rng, 1.5)


def test_real_cifar10():
    if not os.environ.get("REFSNN_DATA"):
        with pytest.raises(FileNotFoundError) as missing:
            load_cifar10()
        pytest.skip(str(missing.value))
    data = load_cifar10(batches=1, dtype=np.uint8)
    for images, labels in ((data.train_images, data.train_labels), (data.test_images, data.test_labels)):
        assert images.shape == (len(labels), 3, 32, 32)
        assert np.bincount(labels, minlength=10).min() > 0.08 * len(labels)  # ten classes, about even
        assert len(NAMES) == 10
        # Neighbours are alike, along rows and columns; a wrong order of the axes would break this: pixels
        # 1024 or 3072 bytes apart, or 32, would be taken for neighbours.
        pixels = images[:500].astype(int)
        across, down = np.abs(np.diff(pixels, axis=3)).mean(), np.abs(np.diff(pixels, axis=2)).mean()
        between = np.abs(pixels[:, :, :, :16] - pixels[:, :, :, 16:]).mean()
        assert 5 < across < 0.5 * between
        assert 5 < down < 0.5 * between
    scaled = data.train_images[:, :, ::2, ::2] / 255
    mean, deviation = channel_statistics(scaled)
    np.testing.assert_allclose(mean, CHANNEL_MEAN, atol=0.005)
    # The constants are means of the images' own deviations, not the deviation of all pixels.
    own = (
        data.train_images.reshape(len(data.train_images), 3, -1).std(axis=2, dtype=np.float32).mean(axis=0)
        / 255
    )
    np.testing.assert_allclose(own, CHANNEL_DEVIATION, rtol=0.01)
    assert (deviation > 1.15 * np.array(CHANNEL_DEVIATION)).all()
