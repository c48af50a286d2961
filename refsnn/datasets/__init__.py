"""Data for experiments and tests: readers of the original formats, checked at the door.

Nothing is downloaded.  Files are looked for under an explicit path or under ``$REFSNN_DATA``; what is
missing is named, with the place where it can be had.
"""

from refsnn.datasets.digits import load_digits
from refsnn.datasets.idx import read_idx
from refsnn.datasets.labelled import LabelledImages, one_hot
from refsnn.datasets.mnist import load_mnist

__all__ = ["LabelledImages", "load_digits", "load_mnist", "one_hot", "read_idx"]
