"""What the source says to people when something cannot be done, read from the source itself."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import heed

SOURCE = Path(heed.__file__).parent

_FOR_THE_TERMINAL = {
    "feedback/database.py",
    "feedback/selectors.py",
    "people/audit.py",
    "people/secrets.py",
    "web/server.py",
    "web/trial.py",
}
"""What they say is told by a command or is a fault of a program: nobody meets it on a page in everyday work."""

_KINDS = {
    "BrokenRow",
    "ConfigError",
    "ConflictError",
    "DataError",
    "Error",
    "HeedError",
    "LimitError",
    "Line",
    "MissingError",
    "Outcome",
    "ProjectError",
    "RefusedError",
    "RowError",
    "SignInError",
    "StatusError",
    "ValueError",
}
_REASONS = ("fault", "missing", "left_open", "explain_validation")
"""Ends of the names of functions that return a reason, as do those that may return a text and say that it is "why ..."."""
_REASON_NAMES = {"fault", "reason", "why"}
"""Names under which a reason waits until it is told."""

SPELLED_OUT = {
    "the {1}": ["the guidelines", "the note"],
    "you have {1} it.": ["you have answered it.", "you have skipped it."],
    "{1} are not written in it.": ["answers are not written in it.", "feedback are not written in it."],
    "it is {1}.": [f"it is {state}." for state in ("waiting", "running", "done", "failed", "stopped")],
    "it is {1} already.": [f"it is {state} already." for state in ("done", "failed", "stopped")],
}
"""Sentences whose value is a word, each with all that it can be."""

_FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef


def parts() -> tuple[list[str], list[str]]:
    """What could not be done, and why not, as the rooms of the studio put them together, values as ``{1}``, ``{2}`` ..."""
    found: tuple[set[str], set[str]] = (set(), set())
    kinds = {kind for kind in _KINDS if kind.endswith("Error") and kind not in ("Error", "RowError", "ValueError")}
    for file in (file for room in ("feedback", "people", "web") for file in _files(room)):
        if file.relative_to(SOURCE).as_posix() in _FOR_THE_TERMINAL:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and _name(node.func) in kinds:
                for part, texts in zip(node.args, found, strict=False):
                    texts |= {one for text in _said(part, {}) for one in SPELLED_OUT.get(text, [text])}
    return sorted(found[0]), sorted(found[1])


def spoken() -> dict[str, set[str]]:
    """Every text of an error in the rooms of the studio, values as ``{1}``, ``{2}`` ..., with the files that say it."""
    found: dict[str, set[str]] = {}
    for file in (*(file for room in ("feedback", "people", "web") for file in _files(room)), SOURCE / "texts.py"):
        name = file.relative_to(SOURCE).as_posix()
        if name not in _FOR_THE_TERMINAL and "migrations" not in name:
            # Among people a ValueError is a fault of the program; elsewhere pydantic makes it a reason.
            kinds = _KINDS - {"ValueError"} if name.startswith("people/") else _KINDS
            for text in _texts_of(ast.parse(file.read_text(encoding="utf-8")), kinds):
                for one in SPELLED_OUT.get(text, [text]):
                    found.setdefault(one, set()).add(name)
    return found


def written() -> set[str]:
    """Every literal text in the source, values as ``{1}``, ``{2}`` ..."""
    found: set[str] = set()
    for file in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant | ast.JoinedStr):
                found |= set(_said(node, {}))
    return found | {one for text, ways in SPELLED_OUT.items() if text in found for one in ways}


def says_something(text: str) -> bool:
    """Whether there is a word in a text beside its values."""
    return " " in text and re.search(r"[a-z]{2}", re.sub(r"\{\d\}|'[^']*'", "", text)) is not None


def _files(room: str) -> list[Path]:
    return sorted((SOURCE / room).rglob("*.py"))


def _texts_of(tree: ast.Module, kinds: set[str]) -> Iterator[str]:
    functions = [node for node in ast.walk(tree) if isinstance(node, _FUNCTION)]
    makers = kinds | {one.name for one in functions if isinstance(one.returns, ast.Name) and one.returns.id in _KINDS}
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign) and _name(node.target) == "_FAULTS" and isinstance(node.value, ast.Dict):
            for value in node.value.values:
                yield from _said(value, {})
    everywhere = _assigned(tree.body)
    for scope in functions:
        known = everywhere | _assigned(list(ast.walk(scope)))
        for node in ast.walk(scope):
            if isinstance(node, ast.Call) and _name(node.func) in makers:
                for part in node.args[:3]:
                    yield from _said(part, known)
            elif isinstance(node, ast.Return) and node.value and _returns_reasons(scope):
                found = node.value
                for one in found.elts if isinstance(found, ast.Tuple) else [found]:
                    yield from _said(one.args[0].elt if _is_next(one) else one, known)
        for name in _REASON_NAMES & set(known):
            yield from (text for one in known[name] for text in _said(one, known))


def _returns_reasons(scope: _FUNCTION) -> bool:
    about = (ast.get_docstring(scope) or "").partition("\n")[0].lower()
    may_be_text = scope.returns is not None and "str | None" in ast.unparse(scope.returns)
    return scope.name.endswith(_REASONS) or (may_be_text and re.search(r"\bwhy\b", about) is not None)


def _is_next(value: ast.expr) -> bool:
    """Whether it is the first of what a generator makes."""
    return isinstance(value, ast.Call) and _name(value.func) == "next" and isinstance(value.args[0], ast.GeneratorExp)


def _name(expression: ast.AST) -> str:
    return expression.attr if isinstance(expression, ast.Attribute) else getattr(expression, "id", "")


def _assigned(nodes: list[ast.stmt] | list[ast.AST]) -> dict[str, list[ast.expr]]:
    """What names may stand for."""
    found: dict[str, list[ast.expr]] = {}
    for node in nodes:
        if not isinstance(node, ast.Assign):
            continue
        for target in node.targets:
            one_by_one = isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
            pairs = zip(target.elts, node.value.elts, strict=True) if one_by_one else [(target, node.value)]
            for place, value in pairs:
                if isinstance(place, ast.Name):
                    found.setdefault(place.id, []).append(value)
    return found


def _said(value: ast.expr, known: dict[str, list[ast.expr]], depth: int = 0) -> Iterator[str]:
    """What an expression may say."""
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield value.value
    elif isinstance(value, ast.JoinedStr):
        yield from _of_pieces(value, known, depth)
    elif isinstance(value, ast.IfExp):
        yield from _said(value.body, known, depth)
        yield from _said(value.orelse, known, depth)
    elif isinstance(value, ast.BoolOp):
        for one in value.values:
            yield from _said(one, known, depth)
    elif isinstance(value, ast.Name) and depth < 3:
        for one in known.get(value.id, ()):
            yield from _said(one, known, depth + 1)


def _of_pieces(value: ast.JoinedStr, known: dict[str, list[ast.expr]], depth: int) -> Iterator[str]:
    """A text with values; a value that is a literal text, or one of two, is said and not put in."""
    ways: list[list[str | None]] = []
    for piece in value.values:
        if isinstance(piece, ast.Constant):
            ways.append([str(piece.value)])
        elif isinstance(piece, ast.FormattedValue) and isinstance(piece.value, ast.IfExp | ast.JoinedStr):
            said = list(_said(piece.value, known, depth + 1))
            whole = isinstance(piece.value, ast.JoinedStr) or len(said) == 2
            worth = [one for one in said if says_something(one)]
            ways.append([*worth, *([] if whole and len(worth) == len(said) else [None])])
        else:
            ways.append([None])
    for pieces in product(*ways):
        numbers = iter(range(1, 10))
        text = "".join(re.sub(r"\{\d\}", "{}", one) if one is not None else "{}" for one in pieces)
        text = re.sub(r"\{\}", lambda _, numbers=numbers: f"{{{next(numbers)}}}", text)
        yield text
    if len(value.values) == 2 and isinstance(value.values[0], ast.FormattedValue) and pieces[1] == ".":
        yield from _said(value.values[0].value, known, depth + 1)
