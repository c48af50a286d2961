"""What a framework must offer to be checked: one function from a problem to leaves, and who it is.

An adapter maps the reference neuron onto a framework's own, through the options and hooks that it documents:
the leak, the order of charge, fire and reset and the loop are the framework's; our psi goes in through its
hook for surrogates where it has one.  What cannot be said in the framework's words is refused with the
reason, `NotExpressibleError`, and not imitated.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from refsnn.vectors.case import Leaves, Problem

Run = Callable[[Problem], Leaves]


class NotExpressibleError(ValueError):
    """The framework has no words for this case; the message says which it lacks."""


@dataclass(frozen=True)
class Adapter:
    """A framework's way to solve problems.

    Attributes
    ----------
    name : str
        On the command line, and of the file of known differences.
    title : str
        What is run, in words.
    distributions : tuple of str
        What must be installed; the last is the framework itself.
    tested : dict of str to tuple of str
        Versions with which the differences are known, by distribution.
    run : callable
        `problem -> leaves` for a case of `kind`.
    kind : str
        Of the vectors it is for.
    """

    name: str
    title: str
    distributions: tuple[str, ...]
    tested: Mapping[str, tuple[str, ...]]
    run: Run
    kind: str = "spiking_neuron"


def imported(name: str) -> Any:
    """A module of a framework, which need not be there for the rest of refsnn.

    Parameters
    ----------
    name : str
        Dotted.

    Returns
    -------
    module

    Raises
    ------
    ImportError
        Saying what to install.

    Examples
    --------
    >>> imported("math").pi > 3
    True
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"{name.split('.')[0]}: expected an installed package, got {error}; "
            "pip install 'refsnn[frameworks]', or the package alone"
        ) from None


def versions(adapter: Adapter) -> dict[str, str]:
    """Versions of what the adapter needs.

    Parameters
    ----------
    adapter : Adapter
        Of one framework.

    Returns
    -------
    dict of str to str
        By distribution, in the order of `Adapter.distributions`.

    Raises
    ------
    ImportError
        If one is not installed, saying what to install.

    Examples
    --------
    >>> list(versions(Adapter("mine", "my own", ("numpy",), {}, lambda problem: {})))
    ['numpy']
    """
    found = {}
    for name in adapter.distributions:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            raise ImportError(
                f"{adapter.name}: expected {' and '.join(adapter.distributions)} to be installed, found no "
                f"{name}; pip install 'refsnn[frameworks]', or pip install {name}"
            ) from None
    return found


def warnings(adapter: Adapter, found: Mapping[str, str]) -> list[str]:
    """What to say of versions that nobody has tried.

    Parameters
    ----------
    adapter : Adapter
        Of one framework.
    found : dict of str to str
        Of `versions`.

    Returns
    -------
    list of str
        A line for each distribution in an untested version.

    Examples
    --------
    >>> mine = Adapter("mine", "my own", ("numpy",), {"numpy": ("0.1",)}, lambda problem: {})
    >>> warnings(mine, {"numpy": "0.1"})
    []
    >>> print(*warnings(mine, {"numpy": "0.2"}))
    numpy 0.2 is untested; the differences are known of 0.1, and new ones may be the version's
    """
    return [
        f"{name} {found[name]} is untested; the differences are known of {', '.join(tested)}, and new ones "
        "may be the version's"
        for name, tested in adapter.tested.items()
        if name in found and found[name] not in tested
    ]
