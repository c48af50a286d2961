"""Where a window stands as it slides over an image: the integers that all backends share."""

from __future__ import annotations

from numba.extending import register_jitable


def positions(side: int, window: int, stride: int, padding: int) -> int:
    """Number of places of a window along one side of an image; what is left over behind the last is dropped.

    Parameters
    ----------
    side : int
        Pixels.
    window, stride, padding : int
        Pixels of the window, pixels from one place to the next, and pixels around the image on each side.

    Returns
    -------
    int
        0 or less where the window is larger than the padded image.

    Examples
    --------
    >>> positions(16, window=3, stride=1, padding=1), positions(7, window=2, stride=2, padding=0)
    (16, 3)
    """
    return (side + 2 * padding - window) // stride + 1


@register_jitable
def inside(side: int, places: int, stride: int, offset: int) -> tuple[int, int]:
    """The places x, first and one past the last, at which pixel x stride + offset is one of the image.

    Examples
    --------
    >>> inside(4, places=4, stride=1, offset=-1), inside(4, places=4, stride=1, offset=1)
    ((1, 4), (0, 3))
    """
    # no min and max: Numba does not type them in every CUDA kernel
    first, last = -(offset // stride), (side - 1 - offset) // stride + 1
    first = 0 if first < 0 else places if first > places else first
    return first, first if last < first else places if last > places else last
