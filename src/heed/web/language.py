"""The words of the interface, in every language that it speaks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from starlette.requests import HTTPConnection

from heed.web.permissions import Caller

LANGUAGES = {"en": "English", "zh": "中文"}
"""What each language calls itself."""

DEFAULT_LANGUAGE = "en"
LANGUAGE_COOKIE = "heed_language"
_FOLDER = Path(__file__).parent / "texts"


@cache
def catalogue(language: str) -> Mapping[str, str]:
    """All texts of a language by their keys, ``surface.name``."""
    found: dict[str, str] = {}
    for file in sorted((_FOLDER / language).glob("*.json")):
        found |= json.loads(file.read_text(encoding="utf-8"))
    return found


def translate(language: str, key: str, **values: Any) -> str:
    """The text ``key`` with its ``{names}`` filled in.

    Where a count ``n`` is 1 and there is a text ``KEY.one``, that one is taken.

    Raises:
        KeyError: there is no such text, or a value is missing: a fault of the page, which a test finds.
    """
    texts = catalogue(language)
    if str(values.get("n")) == "1" and f"{key}.one" in texts:
        key = f"{key}.one"
    return texts[key].format(**values) if values else texts[key]


def texts_of(language: str, prefixes: tuple[str, ...]) -> dict[str, str]:
    """The texts whose keys begin with one of ``prefixes``, for a page's script."""
    return {key: text for key, text in catalogue(language).items() if key.startswith(prefixes)}


def language_of(header: str) -> str:
    """The language of ours that an Accept-Language header likes best."""
    wanted: list[tuple[float, str]] = []
    for part in header.split(",")[:20]:
        name, _, quality = part.strip().partition(";q=")
        try:
            weight = float(quality) if quality else 1.0
        except ValueError:
            continue
        wanted.append((weight, name.split("-")[0].lower()))
    known = [(weight, name) for weight, name in wanted if name in LANGUAGES and weight > 0]
    return max(known, key=lambda entry: entry[0])[1] if known else DEFAULT_LANGUAGE


def language_for(request: HTTPConnection, caller: Caller | None = None) -> str:
    """In which language to answer: that of the account, else the one chosen on this machine, else what the browser asks for.

    A program with an API token gets what it asks for, English where it does not: what it writes into its log must not change
    when somebody switches the language of the pages.

    Args:
        request: the request.
        caller: who calls; None for whom the guard of the route has found, if it came so far.
    """
    known = caller or getattr(request.state, "caller", None) or Caller()
    chosen = ""
    if known.scopes is None:
        chosen = (known.account.language if known.account else "") or request.cookies.get(LANGUAGE_COOKIE, "")
    return chosen if chosen in LANGUAGES else language_of(request.headers.get("accept-language", ""))
