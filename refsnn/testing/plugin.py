"""The pytest plugin: how many examples hypothesis tries, and which.

    pytest --refsnn-examples 1000            so many examples of each property
    pytest --refsnn-examples 1000 --refsnn-seed 7

Either option makes a hypothesis profile for this run, without deadline (a first call may compile).  A seed
gives the same examples at every run, and other ones for another seed; without one, examples are fresh, or
those of every run where CI is set.  Without these options nothing is done, and nothing imported.

Nothing of refsnn is imported at all here but this file: not NumPy, not Numba.
"""

from __future__ import annotations

import os
from typing import Any

PROFILE = "refsnn"


def pytest_addoption(parser: Any) -> None:
    """Declare the two options."""
    group = parser.getgroup("refsnn", "gradients of spiking and recurrent networks")
    group.addoption(
        "--refsnn-examples",
        type=int,
        default=None,
        metavar="N",
        help="examples of each hypothesis property; needs hypothesis",
    )
    group.addoption(
        "--refsnn-seed",
        type=int,
        default=None,
        metavar="S",
        help="seed of hypothesis: the same examples at every run",
    )


def pytest_configure(config: Any) -> None:
    """Load the profile that the options ask for.

    Raises
    ------
    pytest.UsageError
        If an option is given and hypothesis is absent, or a number is out of range.
    """
    examples, seed = config.getoption("--refsnn-examples"), config.getoption("--refsnn-seed")
    if examples is None and seed is None:
        return
    import pytest

    try:
        import hypothesis  # noqa: F401
    except ImportError as error:
        raise pytest.UsageError(
            "--refsnn-examples, --refsnn-seed: expected the package hypothesis, found none; "
            "pip install refsnn[testing]"
        ) from error
    if examples is not None and examples < 1:
        raise pytest.UsageError(f"--refsnn-examples: expected at least 1, got {examples}")
    if seed is not None and seed < 0:
        raise pytest.UsageError(f"--refsnn-seed: expected a number of at least 0, got {seed}")
    _load_profile(examples, seed)


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    """Load it again, should a conftest.py have loaded its own since, and give each property the seed."""
    examples, seed = config.getoption("--refsnn-examples"), config.getoption("--refsnn-seed")
    if examples is None and seed is None:
        return
    _load_profile(examples, seed)
    if seed is None:
        return
    import hypothesis

    for item in items:
        function: Any = getattr(item, "obj", None)
        function = getattr(function, "__func__", function)  # of a bound method
        if hypothesis.is_hypothesis_test(function) and not _has_own_seed(function):
            hypothesis.seed(seed)(function)


def _load_profile(examples: int | None, seed: int | None) -> None:
    """What is loaded now, with the options over it."""
    import hypothesis

    chosen: dict[str, Any] = {"deadline": None, "print_blob": True}
    if examples is not None:
        chosen["max_examples"] = examples
    if seed is not None:
        chosen |= {"database": None, "derandomize": False}  # examples of earlier runs would come first
    elif os.environ.get("CI"):
        chosen["derandomize"] = True
    if chosen.get("derandomize"):
        chosen["database"] = None
    hypothesis.settings.register_profile(PROFILE, hypothesis.settings(**chosen))
    hypothesis.settings.load_profile(PROFILE)


def _has_own_seed(function: Any) -> bool:
    """Whether its author gave a seed, with `hypothesis.seed`."""
    return getattr(function, "_hypothesis_internal_use_seed", None) is not None
