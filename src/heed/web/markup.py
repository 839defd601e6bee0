"""Texts of people and models as HTML that can do nothing but be read.

Markdown becomes HTML by a parser that passes no HTML through, and an allow-list of tags and attributes is applied to the
result by another parser, so that a fault of the one is caught by the other. Nothing is loaded from elsewhere: a picture
of another site becomes a link, and only this project's own media are shown.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML, RendererProtocol
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from markupsafe import Markup, escape

from heed.texts import spelled, visible
from heed.web.formulas import MATHML_ATTRIBUTES, MATHML_TAGS, formulas_plugin
from heed.web.highlight import CLASSES, MOST_IN_A_TEXT, highlighted

LONGEST_RENDERED = 40_000
"""Characters of a text that are rendered; a longer one is shown as it stands, which is always quick."""

_MOST_LOOKED_AT = 60_000_000
"""Characters that the parser may look at for the ends of links and pictures: from each opening bracket it searches on."""

_LINK = re.compile(r"(?:https?://|mailto:)[^\s]+\Z", re.IGNORECASE)
_MEDIA = re.compile(r"media:([0-9a-f]{32}\.(?:png|jpg|gif|webp|mp4|webm))\Z")
_SHOWN_MEDIA = re.compile(r"/media/[0-9a-f]{32}\.[a-z0-9]{3,4}\Z")
_VIDEOS = (".mp4", ".webm")
_TASK = re.compile(r"\[([ xX])\] ")
_DEEPEST = 40

_DIRECTED = {"paragraph_open", "heading_open", "list_item_open", "blockquote_open", "th_open", "td_open"}
_TAG_NAMES = (
    "p br hr h2 h3 h4 h5 h6 strong em s code pre blockquote ul ol li table thead tbody tr th td a img video div span"
)
_TAGS = {*_TAG_NAMES.split(), *MATHML_TAGS}
_ATTRIBUTES: dict[str, set[str]] = {
    "a": {"href", "title"},
    "img": {"src", "alt", "title", "loading"},
    "video": {"src", "controls", "preload", "aria-label"},
    "ol": {"start"},
    "pre": {"tabindex", "dir"},
    "code": {"dir"},
    "div": {"tabindex", "dir"},
    **{tag: {"dir"} for tag in ("p", "h2", "h3", "h4", "h5", "h6", "li", "blockquote")},
    **{tag: {"dir"} for tag in ("th", "td")},
    **{tag: set(MATHML_ATTRIBUTES) for tag in MATHML_TAGS},
}
_ALLOWED_CLASSES = {
    "div": {"prose", "plain", "scroll", "formula"},
    "span": {*CLASSES, "task", "external"},
    "code": {"formula-source"},
    **{tag: {f"level-{n}" for n in range(1, 7)} for tag in ("h2", "h3", "h4", "h5", "h6")},
    **{tag: {"left", "center", "right"} for tag in ("th", "td")},
}


def render(text: str, *, heading: int = 3, note: str = "") -> Markup:
    """``text`` as HTML in a ``<div class="prose">``.

    Args:
        text: markdown of anybody.
        heading: level of its highest heading, 2 to 6, so that it fits into the page around it.
        note: shown below a text that is too long or too deeply nested to be rendered; "" for nothing.
    """
    remark = Markup('<p class="help">{}</p>').format(note) if note else Markup("")
    if is_long(text):
        return plain(text) + remark
    try:
        made = _parser().render(spelled(visible(text)), {"heading": heading})
    except (_TooDeepError, RecursionError):
        return plain(text) + remark
    return Markup(_cleaner().clean(f'<div class="prose">{made}</div>'))


def is_long(text: str) -> bool:
    """Whether ``text`` would take too long to be rendered, and so is shown as it stands."""
    return len(text) > LONGEST_RENDERED or (text.count("[") + 3 * text.count("![")) * len(text) > _MOST_LOOKED_AT


def plain(text: str) -> Markup:
    """``text`` as it stands, in a ``<div class="plain">`` that keeps its line breaks."""
    return Markup('<div class="plain" dir="auto">{}</div>').format(spelled(visible(text)))


@cache
def _cleaner() -> nh3.Cleaner:
    return nh3.Cleaner(
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        allowed_classes=_ALLOWED_CLASSES,
        url_schemes={"http", "https", "mailto"},
        url_relative=lambda url: url if _SHOWN_MEDIA.match(url) else None,
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )


@cache
def _parser() -> MarkdownIt:
    """One parser for all threads: it keeps what it works on in the state of each call."""
    parser = MarkdownIt("commonmark", {"html": False, "breaks": True, "maxNesting": _DEEPEST})
    parser.enable(["table", "strikethrough"])
    # Definitions of references would not be seen, and whoever judges a text must see all of it.
    parser.disable(["html_block", "html_inline", "reference"])
    parser.validateLink = lambda url: bool(_LINK.match(url) or _MEDIA.match(url))  # type: ignore[method-assign]
    formulas_plugin(parser)
    parser.core.ruler.push("arrange", _arrange)
    for name, rule in (
        ("image", _image),
        ("fence", _code),
        ("code_block", _code),
        ("table_open", _table_open),
        ("table_close", _table_close),
    ):
        parser.add_render_rule(name, rule)
    return parser


class _TooDeepError(Exception):
    """Blocks are nested as deep as the parser goes; it would leave out what is inside."""


def _arrange(state: StateCore) -> None:
    """Directions of blocks, levels of headings, alignment of cells and boxes of task lists."""
    if max((token.level for token in state.tokens), default=0) >= _DEEPEST - 1:
        raise _TooDeepError
    levels: list[int] = []
    for before, token in zip([None, *state.tokens], state.tokens, strict=False):
        if token.type in _DIRECTED:
            token.attrSet("dir", "auto")
        if token.type in ("th_open", "td_open") and (style := token.attrs.pop("style", None)):
            token.attrSet("class", str(style).rpartition(":")[2])
        if token.type in ("heading_open", "heading_close"):
            _place_heading(token, levels, state.env.get("heading", 3))
        if token.type == "inline" and before is not None and before.type == "paragraph_open":
            _tick(token)


def _place_heading(token: Token, levels: list[int], highest: int) -> None:
    """Give a heading the level below the one it stands under, whatever its number of signs, and its look as a class."""
    wrote = int(token.tag[1])
    if token.type == "heading_open":
        while levels and levels[-1] >= wrote:
            levels.pop()
        levels.append(wrote)
        token.attrSet("class", f"level-{wrote}")
    token.tag = f"h{min(6, highest + len(levels) - 1)}"


def _tick(inline: Token) -> None:
    """``[x]`` at the beginning of a list's item as a ticked box."""
    if inline.level < 3 or not inline.children or not (match := _TASK.match(inline.children[0].content)):
        return
    first = inline.children[0]
    first.content = ("☐ " if match[1] == " " else "☑ ") + first.content[match.end() :]


def _image(
    renderer: RendererProtocol, tokens: list[Token], index: int, options: OptionsDict, environment: EnvType
) -> str:
    token = tokens[index]
    assert isinstance(renderer, RendererHTML)
    words = renderer.renderInlineAsText(token.children or [], options, environment)
    address = str(token.attrs.get("src", ""))
    media = _MEDIA.match(address)
    if media is None:
        return f'<a href="{escape(address)}"><span class="external">{escape(words or address)}</span></a>'
    place = f"/media/{media[1]}"
    if place.endswith(_VIDEOS):
        return f'<video src="{place}" controls preload="metadata" aria-label="{escape(words)}"></video>'
    return f'<img src="{place}" alt="{escape(words)}" loading="lazy">'


def _code(
    renderer: RendererProtocol, tokens: list[Token], index: int, options: OptionsDict, environment: EnvType
) -> str:
    token = tokens[index]
    language = token.info.strip().split(maxsplit=1)[0] if token.info.strip() else ""
    environment["code"] = environment.get("code", 0) + len(token.content)
    shown = highlighted(token.content, language if environment["code"] <= MOST_IN_A_TEXT else "")
    return f'<pre tabindex="0" dir="ltr"><code>{shown}</code></pre>\n'


def _table_open(*_: Any) -> str:
    return '<div class="scroll" tabindex="0"><table>\n'


def _table_close(*_: Any) -> str:
    return "</table></div>\n"
