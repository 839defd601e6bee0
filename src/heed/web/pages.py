"""Pages from templates: every value is escaped, every text comes from the catalogue, every file has its version."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.responses import HTMLResponse

from heed.web.error_words import line_in_language, tell
from heed.web.errors import told
from heed.web.language import LANGUAGES, texts_of, translate

TEMPLATES = Path(__file__).parent / "templates"
STATIC = Path(__file__).parent / "static"

THEMES = ("auto", "light", "dark")


@cache
def environment() -> Environment:
    """The templates, with what all of them may use."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {"static": static_url, "languages": LANGUAGES, "themes": THEMES}
    return made


@cache
def static_version() -> str:
    """Changes whenever one of the static files does, so that browsers may keep them for ever."""
    digest = hashlib.sha256()
    for file in sorted(STATIC.rglob("*")):
        if file.is_file():
            digest.update(file.relative_to(STATIC).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def static_url(path: str) -> str:
    """Address of a static file. All files share one version, so modules may import each other by relative paths."""
    return f"/static/{static_version()}/{path}"


def page(name: str, language: str, values: Mapping[str, Any], status: int = 200) -> HTMLResponse:
    """The page ``name`` in a language.

    The template also has ``t(key, **values)`` for texts, ``script_texts(*prefixes)`` for those a script needs,
    ``in_words(error)`` for what an error says, and ``told_line(text)`` for what one said when it was stored.
    """
    context = {
        "t": lambda key, **given: translate(language, key, **given),
        "script_texts": lambda *prefixes: texts_of(language, prefixes),
        "in_words": lambda error: tell(told(error), language),
        "told_line": lambda line: line_in_language(line, language),
        "language": language,
        **values,
    }
    return HTMLResponse(environment().get_template(name).render(context), status)
