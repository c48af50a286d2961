"""The digits that come with scikit-learn: 1797 images of 8 by 8 pixels, 17 levels of grey."""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn import checks
from refsnn.datasets.labelled import LabelledImages, float_dtype

TRAIN = 1437  # four fifths; 360 images are left for the test
LEVELS = 16


def load_digits(rng: np.random.Generator | None = None, dtype: Any = np.float64) -> LabelledImages:
    """Return the digits with pixels in [0, 1], shuffled and split into 1437 and 360.

    The original order goes by writer, so that an unshuffled split would test on strangers' hands.

    Parameters
    ----------
    rng : numpy.random.Generator, optional
        Draws the order; without it the order is that of ``numpy.random.default_rng(0)``, always the same.
    dtype : dtype
        Of the images: float64 or float32; pixels are multiples of 1/16 and exact in both.

    Returns
    -------
    LabelledImages
        1437 training and 360 test images of 64 pixels.

    Raises
    ------
    ImportError
        If scikit-learn is not installed.
    TypeError
        If `rng` is no Generator, or the dtype is no float one.

    Examples
    --------
    >>> digits = load_digits(np.random.default_rng(1))
    >>> digits.train_images.shape, digits.test_images.shape, float(digits.train_images.max())
    ((1437, 64), (360, 64), 1.0)
    """
    kind = float_dtype(dtype)
    rng = np.random.default_rng(0) if rng is None else checks.generator("rng", rng)
    try:
        import sklearn.datasets  # only here: it takes long to import, and most users do without
    except ImportError as error:
        raise ImportError(
            "load_digits: expected scikit-learn, which brings the data, and found none; "
            "install it with `python -m pip install scikit-learn`"
        ) from error
    images, labels = sklearn.datasets.load_digits(return_X_y=True)
    order = rng.permutation(len(images))
    pixels = (images[order] / LEVELS).astype(kind)
    classes = labels[order].astype(np.int64)
    return LabelledImages(pixels[:TRAIN], classes[:TRAIN], pixels[TRAIN:], classes[TRAIN:])
