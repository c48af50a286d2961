"""Checks at the door that no model's own tests reach."""

import pytest

from refsnn import checks


def test_a_name_that_is_no_dtype_is_refused():
    with pytest.raises(TypeError, match="dtype: expected float32 or float64, got 'pixels'"):
        checks.float_dtype("dtype", "pixels")
