"""Program code in colours: five kinds of words, as spans with a class each."""

from __future__ import annotations

from functools import lru_cache

from markupsafe import escape
from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import Token, _TokenType
from pygments.util import ClassNotFound

LONGEST_HIGHLIGHTED = 5000
"""Characters of a block of code; a longer one is shown in one colour."""

MOST_IN_A_TEXT = 15_000
"""Characters of all blocks of a text together; what follows is shown in one colour."""

_LONGEST_LINE = 2000
# Those of C#, Java and make are not among them: on what is not their language their lexers take seconds.
_LANGUAGE_NAMES = (
    "bash c c++ cpp css diff docker dockerfile elixir erlang go golang graphql haskell html http ini "
    "javascript js json julia jsx kotlin latex lisp lua matlab objective-c ocaml octave perl php powershell "
    "proto protobuf py python python3 pycon r rb ruby rs rust scala scheme sh shell sql swift tex toml ts tsx typescript "
    "xml yaml yml zig zsh"
)
_LANGUAGES = frozenset(_LANGUAGE_NAMES.split())
"""Those that are asked for by name; another name, or none, is shown in one colour. Guessing would cost more than it helps."""

_KINDS = (
    (Token.Comment, "code-comment"),
    (Token.Keyword, "code-keyword"),
    (Token.Operator.Word, "code-keyword"),
    (Token.Name.Tag, "code-keyword"),
    (Token.Name.Function, "code-name"),
    (Token.Name.Class, "code-name"),
    (Token.Name.Builtin, "code-name"),
    (Token.Name.Decorator, "code-name"),
    (Token.Name.Attribute, "code-name"),
    (Token.Literal.String, "code-string"),
    (Token.Literal.Number, "code-number"),
    (Token.Generic.Deleted, "code-deleted"),
    (Token.Generic.Inserted, "code-inserted"),
    (Token.Generic.Heading, "code-keyword"),
)
CLASSES = frozenset(name for _, name in _KINDS)
"""The classes that the spans may have."""


def highlighted(code: str, language: str) -> str:
    """``code`` as HTML, in colours where its language is known and it is not too long."""
    lexer = _lexer(language.lower()) if language.lower() in _LANGUAGES else None
    if lexer is None or len(code) > LONGEST_HIGHLIGHTED or max(map(len, code.split("\n"))) > _LONGEST_LINE:
        return str(escape(code))
    pieces: list[str] = []
    for kind, text in lexer.get_tokens(code):
        name = _class_of(kind)
        pieces.append(f'<span class="{name}">{escape(text)}</span>' if name and text.strip() else str(escape(text)))
    return "".join(pieces)


@lru_cache(maxsize=128)
def _lexer(language: str) -> Lexer | None:
    try:
        return get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None


@lru_cache(maxsize=1024)
def _class_of(kind: _TokenType) -> str:
    return next((name for parent, name in _KINDS if kind in parent), "")
