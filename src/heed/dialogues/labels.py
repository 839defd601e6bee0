"""Who speaks, as a line of text says it: ``Name: text``, ``Q. text``, ``Dr Smith - text``, ``NAME. text``, ``<name> text``, or a
name alone.

What stands before a separator is a speaker's label only if it looks like a name or a role: times, keys of settings, parts of
code and of addresses, and the names of fields and headings do not.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

Style = Literal["colon", "letter", "dash", "stop", "angle", "screenplay"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ASKERS = _words(
    """q question interviewer interview host user human customer client student caller reporter moderator presenter
    journalist reader patient visitor asker me guest questioner learner child 问 frage kunde pregunta entrevistador entrevistadora
    usuario cliente domanda pergunta intervieweur"""
)
ANSWERERS = _words(
    """a answer interviewee assistant ai bot chatbot agent support operator teacher tutor expert doctor model advisor
    adviser respondent answerer librarian gpt 答 antwort respuesta réponse
    risposta resposta"""
)
TELLING_ASKERS = ASKERS - {"guest", "me", "child"}
"""Of those that say by themselves who asks; the others may sit on either side."""

_FIELDS = _words(
    """name age title author authors date time note notes address phone email mail price from to cc subject re
    abstract isbn doi url http https ftp source sources reference references figure table chapter section part
    verse chorus bridge intro outro refrain ingredients ingredient method step steps tip tips warning caution
    serves serving yield directions instructions preparation input output example examples pros cons before after
    true false yes no english french german spanish italian latin chinese japanese russian arabic original
    translation monday tuesday wednesday thursday friday saturday sunday january february march july september
    october november december summary description details status version type size color colour weight height
    width length location place venue city country state zip code id number total amount quantity currency
    language default else try except finally case return error info debug warn trace fatal import class def public
    private protected genesis exodus leviticus numbers deuteronomy judges psalm psalms proverbs acts romans
    revelation keywords introduction conclusion conclusions discussion results background objective objectives
    methods edit update ps p.s. nb n.b. contact tel fax opening hours departure arrival departs arrives platform
    gate train bus flight score home away category categories tags tag posted published publisher edition pages
    page volume issue journal rating review genre director cast released license copyright website web link links
    hint solution proof theorem lemma remark definition corollary exercise answer-key key value parameter
    parameters returns raises args arguments option options usage requirements features feature monday-friday
    weekdays weekends fact facts myth myths problem cause causes effect effects symptom symptoms treatment
    diagnosis morning afternoon evening night breakfast lunch dinner starter dessert week day month year"""
)

_DATE = r"(?:\[?\d{1,4}[./-]\d{1,2}[./-]\d{1,4},?\s+)"
_TIME = rf"(?:{_DATE}?[\[(]?\d{{1,2}}:\d{{2}}(?::\d{{2}})?(?:[.,]\d+)?\s?(?:[AaPp]\.?[Mm]\.?)?[\])]?\s*[-–,]?\s*)"
_MARKUP = r"(?:[*_]{1,3}|<b>|<strong>)"
_WORD = r"(?:[^\W\d_][\w.'’]*(?:-[^\W\d_][\w.'’]*)*)"
_NAME = rf"(?P<name>{_WORD}(?: +(?:{_WORD}|\d{{1,3}})){{0,3}})"
_ASIDE = r"(?:\s*[\[(][^\])\n]{1,40}[\])])?"
_COLON = re.compile(
    rf"^\s*(?:[>#-]+\s+)?{_TIME}?{_MARKUP}?{_NAME}{_ASIDE}{_MARKUP}?\s?[:：]{_MARKUP}?(?:\s+|(?<=：)|$)(?P<text>.*)$"
)
_LETTER = re.compile(
    rf"^\s*(?:\d{{1,3}}[.)]\s+)?{_TIME}?{_MARKUP}?(?P<name>Q|A|Question|Answer)\s?(?:\d{{1,3}})?{_MARKUP}?"
    rf"(?:[.:)]{_MARKUP}?(?:\s+|$)|\t\s*|\s{{2,}})(?P<text>.*)$"
)
_DASH = re.compile(rf"^\s*{_MARKUP}?{_NAME}{_MARKUP}?\s+(?:-{{1,2}}|[–—])\s+(?P<text>\S.*)$")
_STOP = re.compile(r"^\s*(?P<name>[^\W\d_a-z][^\W\d_a-z'’]+(?: [^\W\d_a-z][^\W\d_a-z'’]*){0,2})\.\s+(?P<text>\S.*)$")
_ANGLE = re.compile(rf"^\s*{_TIME}?<(?P<name>[^\W\d][\w|\[\]-]{{1,30}})>\s+(?P<text>(?!.*</).*\S.*)$")
_ALONE = re.compile(rf"^\s*(?P<name>[^\W\d_a-z][^\Wa-z_'’.]*(?: [^\W\d_a-z][^\Wa-z_'’.]*){{0,3}}){_ASIDE}\s*$")
_NUMBERED_ROLE = re.compile(
    r"^(?:speaker|person|voice|participant|student|interviewer|interviewee|respondent|user|guest|host|man|woman|boy|girl|"
    r"subject|panelist|audience|member|officer|player|agent|customer|caller) \d{1,3}$"
)
_LINK = re.compile(r"^//|^[\w.-]+\.(?:com|org|net|html?)\b")
_LONGEST_NAME, _LONGEST_UNSPACED, _LOOKED_AT = 40, 8, 300
_TITLES = _words("mr mrs ms miss dr prof sir lady lord judge captain")
_PARTICLES = _words("""de la van von der den al of the and du del di da bin ibn le el y""")


class Label(NamedTuple):
    """A speaker's label at the beginning of a line: in which style, whose (in lower case), and the text behind it."""

    style: Style
    speaker: str
    text: str


def label_of(line: str) -> Label | None:
    """The label that a line begins with, or None.

    A name in capitals on a line of its own, as in screenplays, is one as well; whether it is one there depends on the line that
    follows, which whoever reads on has to see.
    """
    if not line.strip():
        return None
    line, rest = line[:_LOOKED_AT], line[_LOOKED_AT:]
    for style, pattern in (("letter", _LETTER), ("colon", _COLON), ("stop", _STOP), ("dash", _DASH), ("angle", _ANGLE)):
        found = pattern.match(line)
        if found and (speaker := _speaker(found["name"], style)) and not _LINK.match(found["text"]):
            return Label(style, speaker, (found["text"] + rest).strip())  # type: ignore[arg-type]
    found = None if rest else _ALONE.match(line)
    if found and len(found["name"]) > 1 and (speaker := _speaker(found["name"], "screenplay")):
        return Label("screenplay", speaker, "")
    return None


def _speaker(name: str, style: str) -> str:
    """A label as a speaker's name in lower case, or "" where it looks like nobody's."""
    name = " ".join(name.split()).strip("*_ ")
    lower = name.casefold()
    if style == "angle":
        return lower
    if style == "letter":
        return {"question": "q", "answer": "a"}.get(lower, lower)
    role = re.sub(r"\s*\d+$", "", lower)
    if role in ASKERS | ANSWERERS and style in ("colon", "dash"):
        return lower
    words = name.split()
    first = words[0].rstrip(".").casefold()
    if len(name) > _LONGEST_NAME:
        return ""
    if first not in _TITLES and {first, lower.rstrip("."), words[-1].casefold()} & _FIELDS:
        return ""
    if any(word.isdigit() for word in words) and not _NUMBERED_ROLE.match(lower):
        return ""
    if (
        lower == name.upper() and len(name) > _LONGEST_UNSPACED
    ):  # no letter has a case, as in Chinese: a clause, not a name
        return ""
    capital = [word[0].isdigit() or word[0] != word[0].lower() or lower == name.upper() for word in words]
    named = all(big or word in _PARTICLES for big, word in zip(capital, words, strict=True))
    return lower if named and capital[0] else ""
