"""`python -m refsnn`: the same as the command `refsnn`."""

from __future__ import annotations

import sys

from refsnn.cli import main

if __name__ == "__main__":
    sys.exit(main())
