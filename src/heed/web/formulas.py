r"""Mathematics in texts: where a formula begins and ends, and what it is in MathML.

Formulas stand in ``$..$``, ``\(..\)``, ``$$..$$``, ``\[..\]`` or a LaTeX environment such as ``\begin{align}``. A dollar
sign is a price as often as a formula in what people and models write; the rules below take the doubtful cases for prices.
"""

from __future__ import annotations

import html
import re
from xml.etree.ElementTree import Element

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererProtocol
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from markupsafe import escape

LONGEST_FORMULA = 2000
"""Characters of one formula; a longer one is shown as it was written."""

MOST_IN_A_TEXT = 20_000
"""Characters of all formulas of a text together; what follows is shown as it was written."""

_LINES_OF_A_FORMULA = 100
_ENVIRONMENT = re.compile(r"\\begin\{((?:equation|multline|gather|align|alignat|flalign|[pbBvV]?matrix|cases)\*?)\}")
# Inside a formula these would define macros, which can grow without end.
_DEFINES = re.compile(r"\\(?:[gex]?def|let|(?:re)?newcommand|providecommand|newenvironment)\b")
_COMMAND = re.compile(r"\\[A-Za-z]")
_PROSE = re.compile(r"(?:^|\s)[^\W\d_]{3,}(?:\s|$|[,.;:!?])")

_TAG_NAMES = (
    "math mrow mi mn mo mtext mspace mfrac msqrt mroot msub msup msubsup munder mover munderover mtable mtr mtd mstyle "
    "menclose mpadded mphantom mmultiscripts mprescripts none"
)
MATHML_TAGS = frozenset(_TAG_NAMES.split())
_ATTRIBUTE_NAMES = (
    "display mathvariant stretchy fence separator form accent accentunder movablelimits largeop symmetric lspace rspace "
    "minsize maxsize columnalign columnspacing rowspacing columnlines rowlines displaystyle scriptlevel linethickness "
    "width height depth voffset notation"
)
MATHML_ATTRIBUTES = frozenset(_ATTRIBUTE_NAMES.split())
# Short words and lengths of at most two digits: enough for type-setting, too little to draw over the page around.
_HARMLESS_VALUE = re.compile(r"(?!.*(?<![\d.])\d{3})[A-Za-z0-9.+ %-]{1,40}")


def mathml(latex: str, display: bool) -> str | None:
    """A formula as MathML, or None where it cannot be read.

    Args:
        latex: without delimiters.
        display: whether it stands on a line of its own.
    """
    if not latex.strip() or len(latex) > LONGEST_FORMULA or _DEFINES.search(latex):
        return None
    from latex2mathml.converter import Converter  # at the first formula, not at the start of the server

    try:
        tree = Converter(display="block" if display else "inline").convert_to_element(latex)
        # What it does not know it passes on as it stands.
        return None if any(_COMMAND.search(part) for part in tree.itertext()) else _serialised(tree)
    except Exception:  # noqa: BLE001  the reader raises whatever happens to come up for what is no LaTeX
        return None


def _serialised(element: Element) -> str:
    """Only what is known to be harmless, everything else left out; texts are escaped here, not trusted."""
    inner = _text(element.text) + "".join(_serialised(child) + _text(child.tail) for child in element)
    if element.tag not in MATHML_TAGS:
        return inner
    attributes = "".join(
        f' {name}="{escape(value)}"'
        for name, value in element.attrib.items()
        if name in MATHML_ATTRIBUTES and _HARMLESS_VALUE.fullmatch(value)
    )
    return f"<{element.tag}{attributes}>{inner}</{element.tag}>"


def _text(text: str | None) -> str:
    return str(escape(html.unescape(text))) if text else ""


def formulas_plugin(markdown: MarkdownIt) -> None:
    """Teach ``markdown`` to read formulas and to write them as MathML."""
    markdown.inline.ruler.before("escape", "formula", _inline)
    markdown.block.ruler.before(
        "fence", "formula", _block, {"alt": ["paragraph", "reference", "blockquote", "list", "table"]}
    )
    markdown.add_render_rule("formula", _render)


def _render(
    renderer: RendererProtocol, tokens: list[Token], index: int, options: OptionsDict, environment: EnvType
) -> str:
    token = tokens[index]
    environment["formulas"] = environment.get("formulas", 0) + len(token.content)
    display = token.block or token.info == "display"
    made = mathml(token.content, display) if environment["formulas"] <= MOST_IN_A_TEXT else None
    if made is None:
        made = f'<code class="formula-source">{escape(token.meta["source"])}</code>'
    return f'<div class="formula" tabindex="0">{made}</div>\n' if token.block else made


def _inline(state: StateInline, silent: bool) -> bool:
    source, start = state.src, state.pos
    found = _closed(source, start, state.posMax)
    if found is None:
        return False
    opening, end, display = found
    if not silent:
        token = state.push("formula", "math", 0)
        token.content = source[start + len(opening) : end - len(opening)]
        token.meta = {"source": source[start:end]}
        token.info = "display" if display else ""
    state.pos = end
    return True


def _closed(source: str, start: int, limit: int) -> tuple[str, int, bool] | None:
    """(opening sign, end, whether displayed) of the formula that begins at ``start``, or None."""
    for opening, closing, display in (("$$", "$$", True), ("\\(", "\\)", False), ("\\[", "\\]", True)):
        if source.startswith(opening, start):
            end = source.find(closing, start + 2, min(limit, start + LONGEST_FORMULA))
            return None if end <= start + 2 else (opening, end + 2, display)
    if source[start] != "$" or (start and (source[start - 1].isalnum() or source[start - 1] == "$")):
        return None
    end = start + 1
    while (end := source.find("$", end, min(limit, start + LONGEST_FORMULA))) > 0 and source[end - 1] == "\\":
        end += 1
    if end < 0 or not _is_formula(source[start + 1 : end], source[end + 1 : end + 2]):
        return None
    return "$", end + 1, False


def _is_formula(content: str, after: str) -> bool:
    """Whether what stands between two dollar signs is a formula, not the text between two prices."""
    if not content or content[0].isspace() or content[-1].isspace() or after.isalnum():
        return False
    return not content[0].isdigit() or "\\" in content or not _PROSE.search(content)


def _block(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    if state.is_code_block(first):
        return False
    begin = state.bMarks[first] + state.tShift[first]
    head = state.src[begin : state.eMarks[first]]
    if not head.startswith(("$$", "\\[", "\\begin{")):
        return False
    environment = _ENVIRONMENT.match(head)
    if environment:
        opening, closing = "", f"\\end{{{environment[1]}}}"
    elif head.startswith("\\begin"):
        return False
    else:
        opening, closing = head[:2], {"$$": "$$", "\\[": "\\]"}[head[:2]]
    end = _last_line(state, first, last, opening, closing)
    if end is None:
        return False
    if silent:
        return True
    source = state.getLines(first, end + 1, state.blkIndent, False).strip()
    token = state.push("formula", "math", 0)
    token.content = source[len(opening) : len(source) - len(closing)] if opening else source
    token.meta = {"source": source}
    token.map = [first, end + 1]
    state.line = end + 1
    return True


def _last_line(state: StateBlock, first: int, last: int, opening: str, closing: str) -> int | None:
    """Number of the line that ends with ``closing``; a blank line or the end of a list or quotation comes before it."""
    for line in range(first, min(last, first + _LINES_OF_A_FORMULA)):
        text = state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]].rstrip()
        if line > first and (not text or state.sCount[line] < state.blkIndent):
            return None
        body = text[len(opening) :] if line == first else text
        if body.endswith(closing):
            return line
        if closing in body:
            return None  # text follows on the same line: it is part of a paragraph
    return None
