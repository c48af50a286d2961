"""``python -m validation``: the main job."""

import os

# One thread a matrix product, said before NumPy is loaded: the same seed gives the same bits on any number
# of cores, and matrices of this size gain nothing from more.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

from validation.cli import main  # noqa: E402

if __name__ == "__main__":
    raise SystemExit(main())
