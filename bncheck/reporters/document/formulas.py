"""Lines of code as formulas: a small parser of arithmetic, and MathML of what it reads.

Nothing is lost on the way: names keep their letters, Greek ones their sign. What is no arithmetic stays plain text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple
from xml.etree.ElementTree import Element, SubElement, tostring

GREEK = {"gamma": "γ", "beta": "β", "mu": "μ", "eps": "ε"}
_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+\.?\d*(?:[eE][-+]?\d+)?)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<sign>\*\*|[-+*/()=,]))",
    re.ASCII,
)
# Deeper nesting is no line of code that anybody reads.
DEEPEST = 40
_LONGEST = 500


@dataclass(frozen=True, slots=True)
class Leaf:
    """A number or a name."""

    text: str


@dataclass(frozen=True, slots=True)
class Node:
    """An operation: "+", "-", "*", "/", "**", "neg", "call", "group", "=" or ","; a call's name comes first."""

    sign: str
    parts: tuple[Leaf | Node, ...]


Tree = Leaf | Node


class Piece(NamedTuple):
    """A part of a line: MathML where `is_math`, else plain text."""

    text: str
    is_math: bool


def pieces(line: str, *, side_by_side: bool = False) -> list[Piece]:
    """Return a line as formulas and words: the whole of it if it can be read, else the part before or behind words."""
    for formula, before, behind in _splits(line):
        tree = parse(formula, side_by_side=side_by_side)
        if tree is not None and not (isinstance(tree, Leaf) and (before or behind)):
            parts = (Piece(before, False), Piece(mathml(tree), True), Piece(behind, False))
            return [piece for piece in parts if piece.text]
    return [Piece(line, False)]


def _splits(line: str) -> list[tuple[str, str, str]]:
    """Return (formula, words before it, words behind it) in the order in which they are to be tried."""
    head, colon, rest = line.partition(": ")
    first, comma, behind = line.partition(", ")
    whole, without, less = line.partition(" without ")
    splits = [(line, "", "")]
    if colon:
        splits += [(rest, head + colon, ""), (head, "", colon + rest)]
    if comma:
        splits += [(first, "", comma + behind)]
    if without:
        splits += [(whole, "", without + less)]
    # A formula alone says something; a lone name before words is the beginning of a sentence.
    return splits[:1] + [split for split in splits[1:] if "=" in split[0]]


def parse(text: str, *, side_by_side: bool = False) -> Tree | None:
    """Return the formula that `text` is, None if it is none.

    With `side_by_side` names that stand side by side are multiplied; without it they are words.
    """
    tokens = _tokens(text) if len(text) <= _LONGEST else []
    words = any(one[0].isalpha() and two[0].isalpha() for one, two in pairwise(tokens))
    if not tokens or (words and not side_by_side):
        return None
    reader = _Reader(tokens, side_by_side)
    try:
        tree = reader.statement()
    except (_NotAFormulaError, IndexError):  # words, or a formula that ends early: they are shown as text
        return None
    return tree if reader.at == len(tokens) else None


def mathml(tree: Tree) -> str:
    """Return a formula as one MathML element. Every text in it is escaped by the serialiser."""
    root = Element("math")
    _write(SubElement(root, "mrow"), tree)
    return tostring(root, encoding="unicode")


# ------------------------------------------------------------------------------------------------------------- reading


class _NotAFormulaError(Exception):
    pass


def _tokens(text: str) -> list[str]:
    """Return the tokens; none if there is a character that belongs to no formula."""
    found = []
    at, match = 0, _TOKEN.match(text)
    while match is not None:
        found.append(match.group().strip())
        at = match.end()
        match = _TOKEN.match(text, at)
    return found if not text[at:].strip() else []


class _Reader:
    """Recursive descent, from what binds least: ``a, b = c`` down to ``-f(x)**2``."""

    def __init__(self, tokens: Sequence[str], side_by_side: bool) -> None:
        self.tokens = tokens
        self.side_by_side = side_by_side
        self.at = 0
        self.depth = 0

    def statement(self) -> Tree:
        sides = [self._listed()]
        while self._take("="):
            sides.append(self._listed())
        return sides[0] if len(sides) == 1 else Node("=", tuple(sides))

    def _listed(self) -> Tree:
        items = [self._sum()]
        while self._take(","):
            items.append(self._sum())
        return items[0] if len(items) == 1 else Node(",", tuple(items))

    def _sum(self) -> Tree:
        self.depth += 1
        if self.depth > DEEPEST:
            raise _NotAFormulaError
        tree = self._product()
        while self._next() in ("+", "-"):
            sign = self._take_any()
            tree = Node(sign, (tree, self._product()))
        self.depth -= 1
        return tree

    def _product(self) -> Tree:
        tree = self._signed()
        divided = False
        while True:
            if self._take("*"):
                tree = Node("*", (tree, self._signed()))
            elif self._take("/"):
                divided = True
                tree = Node("/", (tree, self._signed()))
            elif self._multiplies_without_sign():
                if divided:
                    raise _NotAFormulaError  # 1 / 2 x may mean either
                tree = Node("*", (tree, self._power()))
            else:
                return tree

    def _multiplies_without_sign(self) -> bool:
        """Tell whether what follows is a factor that no sign stands before: ``2 (x - mu)``, ``2 x``."""
        follows = self._next()
        before = self.tokens[self.at - 1]
        can_end = before == ")" or before[0].isdigit() or self.side_by_side
        return can_end and bool(follows) and (follows == "(" or follows[0].isalnum())

    def _signed(self) -> Tree:
        if self._take("-"):
            self.depth += 1
            if self.depth > DEEPEST:
                raise _NotAFormulaError
            tree = Node("neg", (self._signed(),))
            self.depth -= 1
            return tree
        return self._power()

    def _power(self) -> Tree:
        base = self._atom()
        return Node("**", (base, self._signed())) if self._take("**") else base

    def _atom(self) -> Tree:
        if self._take("("):
            inner = self._sum()
            self._expect(")")
            return Node("group", (inner,))
        token = self._take_any()
        if not (token[0].isalnum() or token[0] == "_"):
            raise _NotAFormulaError
        if token[0].isdigit() or not self._take("("):
            return Leaf(token)
        argument = self._listed()
        self._expect(")")
        return Node("call", (Leaf(token), argument))

    def _next(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def _take_any(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1]

    def _take(self, sign: str) -> bool:
        found = self._next() == sign
        self.at += found
        return found

    def _expect(self, sign: str) -> None:
        if not self._take(sign):
            raise _NotAFormulaError


# ------------------------------------------------------------------------------------------------------------- writing

_SIGNS = {"+": "+", "-": "−", "*": "·", "=": "=", ",": ","}


def _write(into: Element, tree: Tree) -> None:
    """Append what a tree looks like."""
    if isinstance(tree, Leaf):
        _leaf(into, tree.text)
    elif tree.sign in _SIGNS:
        for place, part in enumerate(tree.parts):
            if place:
                SubElement(into, "mo").text = _SIGNS[tree.sign]
            if place and tree.sign in "+-*" and isinstance(part, Node) and part.sign == "neg":
                _bracketed(into, part, "()")
            else:
                _write(into, part)
    elif tree.sign == "neg":
        row = SubElement(into, "mrow")  # at the beginning of a row a minus is a sign, and no difference
        SubElement(row, "mo").text = "−"
        _write(row, tree.parts[0])
    elif tree.sign == "/":
        fraction = SubElement(into, "mfrac")
        for part in tree.parts:
            _write(SubElement(fraction, "mrow"), _bare(part))
    elif tree.sign == "**":
        power = SubElement(into, "msup")
        _write(SubElement(power, "mrow"), tree.parts[0])
        _write(SubElement(power, "mrow"), _bare(tree.parts[1]))
    elif tree.sign == "group":
        _bracketed(into, tree.parts[0], "()")
    else:
        _call(into, *tree.parts)


def _call(into: Element, name: Tree, argument: Tree) -> None:
    assert isinstance(name, Leaf)
    if name.text == "sqrt":
        _write(SubElement(into, "msqrt"), argument)
    elif name.text == "abs":
        _bracketed(into, argument, "||")
    else:
        _leaf(into, name.text)
        _bracketed(into, argument, "()")


def _bracketed(into: Element, tree: Tree, signs: str) -> None:
    row = SubElement(into, "mrow")
    SubElement(row, "mo").text = signs[0]
    _write(row, tree)
    SubElement(row, "mo").text = signs[1]


def _bare(tree: Tree) -> Tree:
    """Return a tree without the brackets that a fraction's bar, or a raised place, makes needless."""
    return tree.parts[0] if isinstance(tree, Node) and tree.sign == "group" else tree


def _leaf(into: Element, text: str) -> None:
    """Append a number or a name: Greek letters as such, a hat on xhat, what is one letter in italics as usual."""
    if text[0].isdigit():
        SubElement(into, "mn").text = text
        return
    prefix = "d" if text.startswith("d") and (text[1:] in GREEK or text[1:].endswith("hat")) else ""
    rest = text.removeprefix(prefix)
    if rest.endswith("hat") and len(rest) == 4:
        row = SubElement(into, "mrow")
        if prefix:
            SubElement(row, "mi").text = prefix
        over = SubElement(row, "mover", accent="true")
        SubElement(over, "mi").text = rest[0]
        SubElement(over, "mo").text = "^"
    else:
        SubElement(into, "mi").text = prefix + GREEK.get(rest, rest)
