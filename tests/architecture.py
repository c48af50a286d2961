"""The rules of the house as a script over syntax trees: who may import whom, and what a docstring must say.

Nothing is imported: a module is a dotted name and its source text, so that CUDA kernels are read where there
is no GPU, and the tests of this script feed it small bad sources.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

FLOORS = {
    "checks": 0,
    "files": 0,
    "text_tables": 0,
    "equations": 1,
    "kernels": 2,
    "models": 3,
    "schedules": 3,
    "algorithms": 4,
    "oracles": 4,
    "testing": 5,
    "datasets": 5,
    "vectors": 5,
    "nir": 5,
    "crosscheck": 5,
    "network_files": 4,
    "array_files": 5,
    "comparison": 5,
    "commands": 5,
    "cli": 5,
    "__main__": 5,
}
# command lines, and the vectors through other frameworks: they open the other rooms of their own floor, and
# only command lines open them
DOORS = ("crosscheck", "commands", "cli", "__main__")
TOP_FLOOR = 6  # validation; tests stand above it
OWN = ("refsnn", "validation", "tests")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources(root: Path, *packages: str) -> dict[str, str]:
    """Dotted module names to source text, for the packages under `root`."""
    found = {}
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = path.read_text(encoding="utf-8")
    return found


# ---- imports ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Import:
    """One module needs another; `line` is where it says so."""

    module: str
    target: str
    line: int


def imports(name: str, source: str, modules: Mapping[str, str]) -> list[Import]:
    """What the module imports of ours, also inside functions and under TYPE_CHECKING.

    ``from package import thing`` needs the module ``package.thing`` if there is one, else the package.
    """
    is_package = any(other.startswith(f"{name}.") for other in modules)
    package = name if is_package else name.rpartition(".")[0]
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [Import(name, alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base]).rstrip(".")
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                found.append(Import(name, whole if whole in modules else base, node.lineno))
    return [entry for entry in found if entry.target.split(".")[0] in OWN]


def room(module: str) -> str:
    """`equations` of `refsnn.equations.surrogates`; the package's own name for `refsnn` and the others."""
    parts = module.split(".")
    return parts[1] if parts[0] == "refsnn" and len(parts) > 1 else parts[0]


def floor(module: str) -> int:
    """The floor of a module; the root of refsnn is under all, validation and tests above."""
    place = room(module)
    if place == "refsnn":
        return -1
    return {"validation": TOP_FLOOR, "tests": TOP_FLOOR + 1}.get(place, FLOORS.get(place, TOP_FLOOR))


def import_violations(modules: Mapping[str, str]) -> list[str]:
    """Imports that do not run downwards, rooms that are on no floor, and circles."""
    problems = []
    for name in modules:
        if room(name) not in (*FLOORS, *OWN):
            problems.append(f"{name}: the room {room(name)!r} has no floor; give it one in FLOORS")
    edges = [entry for name, source in modules.items() for entry in imports(name, source, modules)]
    for entry in edges:
        same_room = room(entry.module) == room(entry.target)
        opened = room(entry.module) in DOORS and floor(entry.target) == floor(entry.module)
        if floor(entry.target) >= floor(entry.module) and not same_room and not opened:
            problems.append(
                f"{entry.module}:{entry.line} imports {entry.target}: floor {floor(entry.module)} may not "
                f"import from floor {floor(entry.target)}, only from lower ones"
            )
    return problems + [f"circle: {' -> '.join(circle)}" for circle in circles(edges)]


def circles(edges: list[Import]) -> list[list[str]]:
    """One circle of imports for each that a depth-first walk closes."""
    graph: dict[str, list[str]] = {}
    for entry in edges:
        if entry.target != entry.module:
            graph.setdefault(entry.module, []).append(entry.target)
    found: list[list[str]] = []
    done: set[str] = set()

    def walk(module: str, path: list[str]) -> None:
        if module in path:
            circle = [*path[path.index(module) :], module]
            if circle not in found:
                found.append(circle)
            return
        if module in done:
            return
        for target in graph.get(module, []):
            walk(target, [*path, module])
        done.add(module)

    for module in graph:
        walk(module, [])
    return found


# ---- docstrings -------------------------------------------------------------------------------------------

SECTIONS = (
    "Parameters",
    "Attributes",
    "Returns",
    "Yields",
    "Raises",
    "Examples",
    "Notes",
    "References",
    "See Also",
)


def docstring_violations(name: str, source: str) -> list[str]:
    """What is missing or wrong in the docstrings of the public names of a module."""
    tree = ast.parse(source)
    problems = [] if ast.get_docstring(tree) else [f"{name}: the module has no docstring"]
    for node, qualified in public_definitions(tree.body, name):
        text = ast.get_docstring(node)
        where = f"{qualified}, line {node.lineno}"
        if not text:
            problems.append(f"{where}: no docstring")
            continue
        check = _class_problems if isinstance(node, ast.ClassDef) else _function_problems
        problems += [f"{where}: {problem}" for problem in check(node, sections(text))]
    return problems


def public_definitions(body: list[ast.stmt], prefix: str) -> Iterator[tuple[Function | ast.ClassDef, str]]:
    """Functions, classes and methods whose names do not begin with an underscore, also under an if or try."""
    for node in body:
        if isinstance(node, (ast.If, ast.Try, ast.With)):
            blocks = [node.body, getattr(node, "orelse", []), getattr(node, "finalbody", [])]
            blocks += [handler.body for handler in getattr(node, "handlers", [])]
            for block in blocks:
                yield from public_definitions(block, prefix)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            if node.name.startswith("_") or _is_setter_or_overload(node):
                continue
            qualified = f"{prefix}.{node.name}"
            yield node, qualified
            if isinstance(node, ast.ClassDef):
                yield from public_definitions(node.body, qualified)


def sections(text: str) -> dict[str, list[str]]:
    """The sections of a NumPy docstring, title to lines; the text before the first is under ''."""
    found: dict[str, list[str]] = {"": []}
    current, lines = "", text.splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line in SECTIONS and re.fullmatch(r"-{3,}", following.strip()):
            current = line
            found[current] = []
        elif not re.fullmatch(r"-{3,}", line.strip()):
            found[current].append(line)
    return found


def documented(lines: list[str]) -> list[str]:
    """The names that a Parameters or Attributes section describes: unindented, before a colon, by commas."""
    heads = [line.partition(" : ")[0] for line in lines if line and not line[0].isspace()]
    return [part.strip().lstrip("*") for head in heads for part in head.split(",")]


def _function_problems(node: Function, parts: dict[str, list[str]]) -> list[str]:
    """Parameters as in the signature, Returns in a long docstring, Raises where it raises."""
    problems = []
    names = parameter_names(node)
    long_form = "Parameters" in parts
    if long_form and documented(parts["Parameters"]) != names:
        problems.append(
            f"documents the parameters {documented(parts['Parameters'])}, the signature has {names}"
        )
    if long_form and returns_something(node) and not {"Returns", "Yields"} & parts.keys():
        problems.append("documents its parameters and returns something, but has no Returns section")
    if raises(node) and "Raises" not in parts:
        problems.append("raises, but has no Raises section")
    return problems


def _class_problems(node: ast.ClassDef, parts: dict[str, list[str]]) -> list[str]:
    """Attributes or Parameters as the fields of a dataclass, or as the parameters of __init__."""
    fields = [
        item.target.id
        for item in node.body
        if isinstance(item, ast.AnnAssign)
        and isinstance(item.target, ast.Name)
        and not item.target.id.startswith("_")
        and "ClassVar" not in ast.unparse(item.annotation)
    ]
    starts = [item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"]
    names = parameter_names(starts[0]) if starts else fields if _is_dataclass(node) else None
    if names is None:
        return []
    title = "Parameters" if "Parameters" in parts else "Attributes"
    if title not in parts or (starts and title == "Attributes"):
        return []
    described = documented(parts[title])
    if not starts and node.bases:  # the fields of the base stand elsewhere and may be described here too
        described = [entry for entry in described if entry in names]
    if described != names:
        return [f"documents {documented(parts[title])}, its fields or parameters are {names}"]
    return []


def parameter_names(node: Function) -> list[str]:
    """Names of the signature in order, without self and cls."""
    arguments = node.args
    named = [*arguments.posonlyargs, *arguments.args]
    if arguments.vararg:
        named.append(arguments.vararg)
    named += arguments.kwonlyargs
    if arguments.kwarg:
        named.append(arguments.kwarg)
    return [entry.arg for entry in named if entry.arg not in ("self", "cls")]


def returns_something(node: Function) -> bool:
    """Whether it returns or yields a value, by annotation or in its own body."""
    if node.returns is not None:
        return ast.unparse(node.returns) not in ("None", "NoReturn")
    return any(
        isinstance(item, (ast.Yield, ast.YieldFrom))
        or (isinstance(item, ast.Return) and item.value is not None)
        for item in own_nodes(node)
    )


def raises(node: Function) -> bool:
    """Whether its own body raises a new exception; raising a caught one again is no news."""
    return any(isinstance(item, ast.Raise) and item.exc is not None for item in own_nodes(node))


def own_nodes(node: Function) -> Iterator[ast.AST]:
    """The nodes of a function's body without those of functions and classes defined in it."""
    waiting: list[ast.AST] = list(node.body)
    while waiting:
        item = waiting.pop()
        yield item
        if not isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            waiting += ast.iter_child_nodes(item)


def _decorators(node: Function | ast.ClassDef) -> list[str]:
    return [ast.unparse(entry).split("(")[0] for entry in node.decorator_list]


def _is_dataclass(node: ast.ClassDef) -> bool:
    return any(entry.split(".")[-1] == "dataclass" for entry in _decorators(node))


def _is_setter_or_overload(node: Function | ast.ClassDef) -> bool:
    """Setters share the getter's docstring; overloads, of typing and of numba, are not called by name."""
    return any(entry.split(".")[-1] in ("setter", "deleter", "overload") for entry in _decorators(node))
