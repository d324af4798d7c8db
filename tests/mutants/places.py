"""A source as the operators see it: its tree, the part of each line, and the roles of its names."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass

from .table import Source

PART = re.compile(r"\s*# part: ([\w-]+)\s*$")
Position = tuple[int, int]


@dataclass(frozen=True)
class Change:
    """A replacement of the text between two columns of one line; `focus` are the roles that it is about."""

    operator: str
    line: int
    start: int
    end: int
    new: str
    focus: frozenset[str] = frozenset()


class Place:
    """A source's tree with parents, roles and parts."""

    def __init__(self, source: Source):
        self.source = source
        self.lines = source.text.splitlines()
        self.tree = ast.parse(source.text)
        self.parents = {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}
        self.parts = {number: match[1] for number, line in enumerate(self.lines, 1) if (match := PART.search(line))}
        tokens = tokenize.generate_tokens(io.StringIO(source.text).readline)
        self.tokens = [token for token in tokens if token.type in (tokenize.OP, tokenize.NAME, tokenize.NUMBER)]

    def expressions(self) -> Iterator[ast.expr]:
        """Yield the expressions that touch annotated lines."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.expr) and not self.parts.keys().isdisjoint(range(node.lineno, node.end_lineno + 1)):
                yield node

    def text(self, node: ast.expr) -> str:
        return ast.get_source_segment(self.source.text, node) or ""

    def role(self, node: ast.AST) -> str | None:
        """Return the role of a name, an attribute, an entry, or of a view of one; m for a shape, a size, a length."""
        if not isinstance(node, ast.Name | ast.Attribute | ast.Subscript | ast.Call):
            return None
        if (known := self.source.roles.get(ast.unparse(node))) is not None:
            return known
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute) and node.func.attr == "reshape":
                return self.role(node.func.value)
            return "m" if isinstance(node.func, ast.Name) and node.func.id == "len" else None
        if isinstance(node, ast.Attribute):
            return "m" if node.attr == "size" else None
        if isinstance(node, ast.Subscript):
            inner = node.value
            return "m" if isinstance(inner, ast.Attribute) and inner.attr == "shape" else self.role(inner)
        return None

    def leaves(self, node: ast.AST) -> frozenset[str]:
        """Return the roles that occur in an expression."""
        if (role := self.role(node)) is not None:
            return frozenset({role})
        if isinstance(node, ast.Call):
            receiver = [node.func.value] if isinstance(node.func, ast.Attribute) else []
            return frozenset().union(*(self.leaves(each) for each in [*receiver, *node.args]))
        return frozenset().union(*(self.leaves(each) for each in ast.iter_child_nodes(node)))

    def replaced(
        self, operator: str, node: ast.expr, new: str, focus: frozenset[str] = frozenset()
    ) -> Iterator[Change]:
        """Yield the change that puts `new` in the place of a node, in parentheses where it needs them."""
        if node.lineno != node.end_lineno:
            return
        plain = Change(operator, node.lineno, node.col_offset, node.end_col_offset or 0, new, focus)
        closed = Change(operator, node.lineno, node.col_offset, node.end_col_offset or 0, f"({new})", focus)
        try:
            same = ast.dump(ast.parse(applied(self.lines, plain))) == ast.dump(ast.parse(applied(self.lines, closed)))
        except SyntaxError:
            same = False
        yield plain if same else closed

    def operator_between(self, left: ast.expr, right: ast.expr) -> tuple[Position, int]:
        """Return where the operator between two operands stands, and how many parentheses open behind it."""
        start, end = (left.end_lineno, left.end_col_offset), (right.lineno, right.col_offset)
        between = [token for token in self.tokens if start <= token.start < end]
        at = next(index for index, token in enumerate(between) if token.string != ")")
        return between[at].start, sum(token.string == "(" for token in between[at + 1 :])

    def end_of(self, node: ast.expr, opened: int) -> Position:
        """Return where an operand ends whose `opened` parentheses close behind it."""
        position = (node.end_lineno or 0, node.end_col_offset or 0)
        behind = [token for token in self.tokens if token.start >= position]
        return behind[opened - 1].end if opened else position


def applied(lines: list[str], change: Change) -> str:
    """Return the whole text after a change."""
    changed = list(lines)
    changed[change.line - 1] = line_after(lines, change)
    return "\n".join(changed) + "\n"


def line_after(lines: list[str], change: Change) -> str:
    line = lines[change.line - 1]
    return line[: change.start] + change.new + line[change.end :]


def bare(line: str) -> str:
    """Return a line without its annotation."""
    return PART.sub("", line)
