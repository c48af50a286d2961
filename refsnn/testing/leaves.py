"""Trees of arrays: the leaves of a dict, tuple or list by name, and back into the same tree.

Comparisons are made leaf by leaf, so every leaf has a name: the key of a dict, the position in a tuple, both
joined by dots where they are nested; for the arguments of a function, the name of the parameter.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def flatten(tree: Any, names: Sequence[str] = ()) -> dict[str, Any]:
    """The leaves of a tree by name.

    Parameters
    ----------
    tree : dict, tuple, list or array
        Nested as deep as need be.
    names : sequence of str
        Names of the entries of a tuple at the top; their positions by default.

    Returns
    -------
    dict of str to Any

    Raises
    ------
    ValueError
        If two leaves have one name.

    Examples
    --------
    >>> flatten(({"w": 1.0, "b": 2.0}, 3.0), names=["weights"])
    {'weights.w': 1.0, 'weights.b': 2.0, '1': 3.0}
    """
    found: dict[str, Any] = {}
    for name, branch in _branches(tree, names):
        below = flatten(branch)
        under_name = {".".join(part for part in (name, under) if part): leaf for under, leaf in below.items()}
        if twice := sorted(set(found) & set(under_name)):
            raise ValueError(
                f"leaves: expected names that differ, got {twice} twice; rename a key with a dot"
            )
        found |= under_name
    return found if _is_branch(tree) else {"": tree}


def rebuild(tree: Any, leaves: Mapping[str, Any], names: Sequence[str] = ()) -> Any:
    """A tree of the same form with other leaves.

    Parameters
    ----------
    tree : dict, tuple, list or array
        The form.
    leaves : mapping of str to Any
        As `flatten` names them.
    names : sequence of str
        As in `flatten`.

    Returns
    -------
    dict, tuple, list or leaf

    Examples
    --------
    >>> rebuild(({"w": 1.0}, 3.0), {"0.w": 5.0, "1": 6.0})
    ({'w': 5.0}, 6.0)
    """
    if not _is_branch(tree):
        return leaves[""]
    parts = []
    for name, branch in _branches(tree, names):
        under = {
            key.removeprefix(f"{name}."): leaf for key, leaf in leaves.items() if key.startswith(f"{name}.")
        }
        parts.append(rebuild(branch, under) if _is_branch(branch) else leaves[name])
    if isinstance(tree, Mapping):
        return dict(zip(tree, parts, strict=True))
    if hasattr(tree, "_fields"):  # a named tuple
        return type(tree)(*parts)
    return type(tree)(parts)


def parameter_names(function: Callable[..., Any]) -> list[str]:
    """Names of the parameters that a function takes by position; none where it does not tell.

    Examples
    --------
    >>> parameter_names(lambda weight, bias, *, spike: 0)
    ['weight', 'bias']
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    kinds = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    return [parameter.name for parameter in parameters if parameter.kind in kinds]


def takes(function: Callable[..., Any], keyword: str) -> bool:
    """Whether a function can be called with that keyword.

    Examples
    --------
    >>> takes(lambda x, *, spike: 0, "spike"), takes(lambda x: 0, "spike")
    (True, False)
    """
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return True
    any_keyword = any(entry.kind is inspect.Parameter.VAR_KEYWORD for entry in parameters.values())
    return keyword in parameters or any_keyword


def _is_branch(tree: Any) -> bool:
    return isinstance(tree, (Mapping, tuple, list))


def _branches(tree: Any, names: Sequence[str]) -> list[tuple[str, Any]]:
    if isinstance(tree, Mapping):
        return [(str(key), branch) for key, branch in tree.items()]
    if isinstance(tree, (tuple, list)):
        known = [*names[: len(tree)], *map(str, range(len(names), len(tree)))]
        return list(zip(known, tree, strict=True))
    return []
