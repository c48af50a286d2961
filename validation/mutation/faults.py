"""Single faults in a source text: another operator, sign or index, a term less, a step more or less in time.

A fault is one replacement of text; everything else of the file stays as it is.  What does not compute is left
alone: docstrings and messages, annotations, what is refused at the door, and how things are printed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

OPERATORS = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "//"),
    ast.Pow: ("**", "*"),
}
COMPARISONS = {
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
}
AUGMENTED = {ast.Add: ("+=", "-="), ast.Sub: ("-=", "+="), ast.Mult: ("*=", "/="), ast.Div: ("/=", "*=")}
# functions that compute nothing: they check, show, describe
SILENT = (
    "check",
    "_check",
    "__post_init__",
    "__repr__",
    "__str__",
    "identity",
    "describe",
    "refuse",
    "_refuse",
)
CHECKING = ("checks", "warnings")


@dataclass(frozen=True)
class Fault:
    """One replacement.

    Attributes
    ----------
    file : str
        Path from the root of the tree.
    function : str
        The function it stands in, with its class; "" at the top of the file.
    line : int
        Its line.
    kind : str
        "operator", "sign", "comparison", "index", "constant", "term", "time", "statement".
    start, end : int
        What is replaced, in bytes of the file.
    before, after : str
        What stands there, and what is put there.
    """

    file: str
    function: str
    line: int
    kind: str
    start: int
    end: int
    before: str
    after: str

    def planted(self, source: str) -> str:
        """The source with the fault in it."""
        data = source.encode()
        assert data[self.start : self.end].decode() == self.before
        return (data[: self.start] + self.after.encode() + data[self.end :]).decode()

    @property
    def text(self) -> str:
        """On one line."""
        before, after = (" ".join(part.split()) for part in (self.before, self.after))
        return f"{self.file}:{self.line} {self.function}: {before} -> {after or '(nothing)'} [{self.kind}]"


def faults(file: str, source: str) -> list[Fault]:
    """All faults of a source, in its order."""
    finder = _Finder(file, source)
    finder.visit(ast.parse(source))
    return sorted(set(finder.found), key=lambda one: (one.start, one.end, one.kind, one.after))


def is_fault(fault: Fault, source: str) -> bool:
    """Whether the source still compiles with it, to something else."""
    try:
        tree = ast.parse(fault.planted(source))
    except SyntaxError:
        return False
    return ast.dump(tree) != ast.dump(ast.parse(source))


class _Finder(ast.NodeVisitor):
    def __init__(self, file: str, source: str) -> None:
        self.file, self.source = file, source
        self.data = source.encode()
        starts = [0]
        for line in source.encode().splitlines(keepends=True):
            starts.append(starts[-1] + len(line))
        self.starts = starts
        self.where: list[str] = []
        self.found: list[Fault] = []

    # -- places --

    def span(self, node: ast.AST) -> tuple[int, int]:
        return (
            self.starts[node.lineno - 1] + node.col_offset,
            self.starts[node.end_lineno - 1] + node.end_col_offset,
        )

    def text(self, node: ast.AST) -> str:
        start, end = self.span(node)
        return self.data[start:end].decode()

    def put(self, kind: str, node: ast.AST, after: str) -> None:
        self.replace(kind, node, *self.span(node), after)

    def replace(self, kind: str, node: ast.AST, start: int, end: int, after: str) -> None:
        before = self.data[start:end].decode()
        function = ".".join(self.where)
        self.found.append(Fault(self.file, function, node.lineno, kind, start, end, before, after))

    def between(self, left: ast.AST, right: ast.AST, old: str, new: str, kind: str) -> None:
        """The operator that stands between two operands."""
        start, end = self.span(left)[1], self.span(right)[0]
        gap = self.data[start:end].decode()
        if gap.count(old) == 1:
            at = start + gap.index(old)
            self.replace(kind, left, at, at + len(old), new)

    # -- what is left alone --

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if node.name.startswith(SILENT):
            return
        self.where.append(node.name)
        for default in (*node.args.defaults, *(one for one in node.args.kw_defaults if one)):
            self.visit(default)
        for statement in node.body:
            self.visit(statement)
        self.where.pop()

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.where.append(node.name)
        for statement in node.body:
            self.visit(statement)
        self.where.pop()

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_Raise(self, node: ast.Raise) -> None:
        pass

    visit_Assert = visit_JoinedStr = visit_Import = visit_ImportFrom = visit_Raise

    def visit_If(self, node: ast.If) -> None:
        if all(isinstance(statement, ast.Raise) for statement in node.body):
            for statement in node.orelse:
                self.visit(statement)
            return
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        called = node.func
        if getattr(getattr(called, "value", None), "id", "") in CHECKING:
            return
        if isinstance(called, ast.Name) and called.id == "range":
            self.visit_range(node)
        for part in (called, *node.args, *node.keywords):
            if getattr(part, "arg", "") != "strict":  # lengths are equal where nothing is wrong
                self.visit(part)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Constant):
            return  # a docstring
        if isinstance(node.value, ast.Call):
            before = len(self.found)
            self.visit(node.value)
            if len(self.found) > before or not self.is_check(node.value):
                self.put("statement", node, "pass")
            return
        self.generic_visit(node)

    @staticmethod
    def is_check(call: ast.Call) -> bool:
        name = call.func
        text = name.attr if isinstance(name, ast.Attribute) else getattr(name, "id", "")
        within = getattr(getattr(name, "value", None), "id", "")
        return within in CHECKING or text.lstrip("_").startswith("check")

    # -- what is changed --

    def visit_BinOp(self, node: ast.BinOp) -> None:
        # in equations `one` is the number 1 in the working dtype: x * one, x / one and x are the same number
        times_one = isinstance(node.op, ast.Mult) and self.text(node.right) == "one"
        if type(node.op) in OPERATORS and not times_one:
            self.between(node.left, node.right, *OPERATORS[type(node.op)], kind="operator")
        if isinstance(node.op, (ast.Add, ast.Sub, ast.Mult)) and not self.is_text(node):
            kind = "term"
            if not times_one:
                self.put(kind, node, self.text(node.left))
            if not isinstance(node.op, ast.Sub):
                self.put(kind, node, self.text(node.right))
        self.generic_visit(node)

    @staticmethod
    def is_text(node: ast.BinOp) -> bool:
        return any(
            isinstance(part, ast.JoinedStr)
            or (isinstance(part, ast.Constant) and isinstance(part.value, str))
            for part in (node.left, node.right)
        )

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if type(node.op) in AUGMENTED:
            self.between(node.target, node.value, *AUGMENTED[type(node.op)], kind="operator")
        self.put("statement", node, "pass")
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.USub):
            self.put("sign", node, self.text(node.operand))
        elif isinstance(node.op, ast.Not):
            self.put("comparison", node, self.text(node.operand))
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        operands = [node.left, *node.comparators]
        for left, operation, right in zip(operands, node.ops, operands[1:], strict=False):
            if type(operation) in COMPARISONS:
                self.between(left, right, *COMPARISONS[type(operation)], kind="comparison")
        self.generic_visit(node)

    def visit_Return(self, node: ast.Return) -> None:
        value = node.value
        if isinstance(value, (ast.BinOp, ast.Name, ast.Subscript)) and not (
            isinstance(value, ast.BinOp) and self.is_text(value)
        ):
            self.put("sign", value, f"-({self.text(value)})")
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        index = node.slice
        if isinstance(index, ast.Slice):
            for bound in (index.lower, index.upper):
                if bound is not None:
                    self.put("index", bound, f"{self.text(bound)} + 1")
        elif isinstance(index, (ast.Name, ast.BinOp)) and self.text(index) in {"t", "step", "k", "index"}:
            self.put("time", index, f"{self.text(index)} - 1")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            self.put("constant", node, str(not value))
        elif isinstance(value, int):
            self.put("constant", node, str(value + 1))
        elif isinstance(value, float):
            self.put("constant", node, repr(2 * value if value else 1.0))

    def visit_range(self, node: ast.Call) -> None:
        if len(node.args) == 1:
            self.put("time", node, f"range(1, {self.text(node.args[0])})")
            self.put("time", node, f"range({self.text(node.args[0])} - 1)")
        elif len(node.args) == 2:
            first, last = map(self.text, node.args)
            self.put("time", node, f"range({first} + 1, {last})")
            self.put("time", node, f"range({first}, {last} - 1)")


def all_faults(sources: dict[str, str]) -> Iterator[Fault]:
    """Those of several files."""
    for file, source in sorted(sources.items()):
        yield from faults(file, source)
