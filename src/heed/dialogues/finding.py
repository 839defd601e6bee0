"""Stretches of raw text in which two people talk to each other in turns.

After what was published for the dialogue-tuned Gopher (Rae et al. 2021, "Scaling Language Models: Methods, Analysis & Insights
from Training Gopher", arXiv 2112.11446, the appendix on dialogue): text counts as a dialogue where at least six pieces in a
row each have a prefix that ends in a separator, all even ones the same prefix, all odd ones the same, and the two differ. Here
pieces may be lines as well as paragraphs, and an answer may go on over several; labels have to look like names or roles; where
a label itself says who asks, two turns suffice; and what is said has to read like talk, which fields of forms that alternate in
the same way do not.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from heed.dialogues.labels import ANSWERERS, ASKERS, TELLING_ASKERS, Label, label_of
from heed.texts import text_fault

FEWEST_TURNS = 6
"""Of a dialogue whose labels are names; published."""
_FEWEST_BETWEEN_ROLES = 2
_MOST_TURNS = 200
_LONGEST_TURN = 20_000  # characters
_PARAGRAPHS_OF_AN_ANSWER = 6
_ACTIONS_BETWEEN = 3
_TALKS, _SPEAKS_TO = 0.5, 0.2
_FEWEST_WORDS = 2.0
_DIFFERENT = 0.7
"""Share of the turns that are not said word for word before: people repeat themselves less than forms and refrains do."""

TOO_FEW = "fewer turns in a row between two speakers than asked for"
ONE_SPEAKER = "one speaker, or labels that do not come back"
NO_TALK = "labels that alternate, but nothing that reads like talk"
TOO_LONG = "a turn of more than 20,000 characters"
UNFIT = "characters that cannot be kept"

_ENDS_SENTENCE = re.compile(r"[.!?…。！？][\"'”’»)\]*]*$")
_SPEAKING = re.compile(
    r"\b(?:i|i'm|i've|i'll|i’m|i’ve|you|your|you're|you’re|we|we're|us|my|me|our|yes|yeah|no|hi|hello|hey|thanks|thank|please|ok|okay|"
    r"sorry|ich|du|sie|wir|mein|ja|nein|danke|je|tu|vous|nous|oui|non|merci|yo|tú|usted|sí|gracias)\b|[?？]|[你我您]",
    re.IGNORECASE,
)
# Chinese and its like write no spaces: there two characters count as a word.
_WORD = re.compile(r"[\u2e80-\U0003ffff]{1,2}|[^\W_]+")
_RULE = re.compile(r"[\s*=_~#•.–—-]{3,}")
_CHOICES = re.compile(r"(?:^|\s)B[.):]\s.*\sC[.):]\s", re.DOTALL)
_ALIKE = {"colon", "letter"}


class Turn(NamedTuple):
    """What one speaker says at once, and the line that it starts on."""

    speaker: str
    text: str
    line: int


class Dialogue(NamedTuple):
    """Turns of two speakers in strict alternation, and which of them answers."""

    turns: tuple[Turn, ...]
    answerer: str

    @property
    def messages(self) -> list[dict[str, str]]:
        """From the first turn of who asks to the last of who answers, as chat messages."""
        roles = [("assistant" if turn.speaker == self.answerer else "user", turn.text) for turn in self.turns]
        start = 1 if roles[0][0] == "assistant" else 0
        end = len(roles) - (1 if roles[-1][0] == "user" else 0)
        return [{"role": role, "content": text} for role, text in roles[start:end]]


@dataclass
class _Open:
    """A turn whose text is still being read: paragraphs of lines, of which the first belongs to it whatever follows."""

    speaker: str
    line: int
    paragraphs: list[list[str]] = field(default_factory=lambda: [[]])
    size: int = 0

    def turn(self, all_of_it: bool) -> Turn:
        kept = self.paragraphs if all_of_it else self.paragraphs[:1]
        joined = "\n\n".join(" ".join(lines) for lines in kept if lines)
        return Turn(self.speaker, joined, self.line)


class Finder:
    """Finds the dialogues of one document, line by line, in memory for a few hundred turns at most.

    Args:
        fewest: turns in a row that a dialogue between names has at least (count).
        left_out: counts stretches with labels that were left out, by reason.
    """

    def __init__(self, fewest: int = FEWEST_TURNS, left_out: Counter[str] | None = None) -> None:
        self.fewest, self.left_out = fewest, Counter() if left_out is None else left_out
        self._turns: list[Turn] = []
        self._style = ""
        self._open: _Open | None = None
        self._alone: tuple[Label, int, str] | None = None

    def lines(self, lines: Iterable[str], first: int = 1) -> Iterator[Dialogue]:
        """The dialogues of a whole document, whose lines are counted from ``first``."""
        for number, line in enumerate(lines, first):
            yield from self.line(line, number)
        yield from self.end()

    def line(self, line: str, number: int) -> Iterator[Dialogue]:
        """Take the next line; gives the dialogues that end before it."""
        waiting, self._alone = self._alone, None
        stripped = line.strip()
        if waiting is not None:
            label, where, text = waiting
            if stripped and label_of(line) is None and self._fits(label):
                yield from self._begin(label, where)
            else:
                yield from self._text(text)
        if not stripped:
            if self._open is not None and self._open.paragraphs[-1]:
                self._open.paragraphs.append([])
            return
        if _RULE.fullmatch(stripped) and not _WORD.search(stripped):  # a rule parts what it stands between
            yield from self._close()
            return
        found = label_of(line)
        if found is not None and found.style == "screenplay":
            self._alone = (found, number, stripped)
            return
        if found is not None and self._fits(found):
            yield from self._begin(found, number)
        else:
            yield from self._text(stripped)

    def end(self) -> Iterator[Dialogue]:
        """The document is over."""
        if self._alone is not None:
            (_, _, text), self._alone = self._alone, None
            yield from self._text(text)
        yield from self._close()

    def _fits(self, label: Label) -> bool:
        """Within a dialogue a line of text may look like a label of another style."""
        return not self._turns or label.style == self._style or {label.style, self._style} <= _ALIKE

    def _begin(self, label: Label, number: int) -> Iterator[Dialogue]:
        if self._open is not None and self._style != label.style and {label.style, self._style} - _ALIKE:
            yield from self._close()
        elif self._open is not None:
            self._turns.append(self._open.turn(all_of_it=self._style != "screenplay"))
            if len(self._turns) >= _MOST_TURNS and len(self._turns) % 2 == 0:
                self._open = None
                yield from self._told()
        self._open = _Open(label.speaker, number)
        self._style = label.style
        if label.text:
            self._open.paragraphs[0].append(label.text)
            self._open.size = len(label.text)

    def _text(self, text: str) -> Iterator[Dialogue]:
        own = self._open
        if own is None:
            return
        number = sum(bool(lines) for lines in own.paragraphs)
        starts = not own.paragraphs[-1]
        if number and starts:
            most = 1 + (_ACTIONS_BETWEEN if self._style == "screenplay" else _PARAGRAPHS_OF_AN_ANSWER)
            if number >= most:
                yield from self._close()
                return
        own.paragraphs[-1].append(text)
        own.size += len(text) + 1
        if own.size > 4 * _LONGEST_TURN:  # no speech goes on so long: the dialogue was over before
            yield from self._close()

    def _close(self) -> Iterator[Dialogue]:
        """The dialogue is over; of its last turn only the first paragraph is known to belong to it."""
        if self._open is not None:
            self._turns.append(self._open.turn(all_of_it=False))
            self._open = None
        yield from self._told()

    def _told(self) -> Iterator[Dialogue]:
        turns, self._turns = self._turns, []
        if len(turns) < 2:
            return
        counts = Counter(turn.speaker for turn in turns)
        if len(counts) < 2 or (max(counts.values()) < 2 and not _by_role(set(counts))):
            self.left_out[ONE_SPEAKER] += 1
            return
        for part in _alternating(turns, self.fewest):
            fault = self._fault(part)
            if fault:
                self.left_out[fault] += 1
            else:
                dialogue = Dialogue(tuple(part), _answerer(part))
                if len(dialogue.messages) >= 2:
                    yield dialogue

    def _fault(self, turns: list[Turn]) -> str:
        """Why turns of two speakers are no dialogue, or ""."""
        speakers = {turn.speaker for turn in turns}
        fewest = min(self.fewest, _FEWEST_BETWEEN_ROLES) if _by_role(speakers) else self.fewest
        if len(turns) < fewest or len(speakers) < 2:
            return TOO_FEW
        if any(len(turn.text) > _LONGEST_TURN for turn in turns):
            return TOO_LONG
        if any(text_fault(turn.text) for turn in turns):
            return UNFIT
        return "" if _reads_like_talk(turns) else NO_TALK


def _role(speaker: str) -> str:
    return re.sub(r"\s*\d+$", "", speaker)


def _by_role(speakers: set[str]) -> bool:
    """Whether labels say by themselves who asks and who answers."""
    roles = {_role(speaker) for speaker in speakers}
    return bool(roles & TELLING_ASKERS) and (len(roles) == 2 or bool(roles & ANSWERERS))


def _alternating(turns: list[Turn], fewest: int) -> list[list[Turn]]:
    """Turns cut into stretches in which two speakers take turns, one after the other; empty turns cut as well.

    Where a third one speaks, the turn before goes with them if the stretch before is too short to be kept.
    """
    parts: list[list[Turn]] = [[]]
    for turn in turns:
        part = parts[-1]
        if not _WORD.search(turn.text):
            parts.append([])
        elif part and part[-1].speaker == turn.speaker:
            parts.append([turn])
        elif len(part) > 1 and part[-2].speaker != turn.speaker:
            parts.append([part.pop(), turn] if len(part) < fewest else [turn])
        else:
            part.append(turn)
    return [part for part in parts if len(part) > 1]


def _reads_like_talk(turns: list[Turn]) -> bool:
    if any(_CHOICES.search(turn.text) for turn in turns):  # "A." begins an answer to choose there, not somebody's
        return False
    words = sum(len(_WORD.findall(turn.text)) for turn in turns)
    if words < _FEWEST_WORDS * len(turns):
        return False
    if len({turn.text.casefold() for turn in turns}) < _DIFFERENT * len(turns):
        return False
    speaking = sum(bool(_SPEAKING.search(turn.text)) for turn in turns)
    talking = sum(bool(_ENDS_SENTENCE.search(turn.text) or _SPEAKING.search(turn.text)) for turn in turns)
    return talking >= _TALKS * len(turns) and speaking >= _SPEAKS_TO * len(turns)


def _answerer(turns: list[Turn]) -> str:
    """Who answers: by the labels, else who asks less, else the second."""
    first, second = turns[0].speaker, turns[1].speaker
    if {first, second} == {"a", "b"}:
        return second
    for one, other in ((first, second), (second, first)):
        if _role(one) in ASKERS and _role(other) not in ASKERS:
            return other
        if _role(one) in ANSWERERS and _role(other) not in ANSWERERS:
            return one
    asked = {
        speaker: sum(turn.text.rstrip("\"'”’) ").endswith(("?", "？")) for turn in turns if turn.speaker == speaker)
        / sum(turn.speaker == speaker for turn in turns)
        for speaker in (first, second)
    }
    if asked[second] >= 0.5 and asked[second] >= 2 * asked[first]:
        return first
    return second


def pairs_of(dialogue: Dialogue) -> list[tuple[str, str]]:
    """What is asked and what is answered, pair by pair."""
    said = dialogue.messages
    return [(one["content"], other["content"]) for one, other in pairwise(said) if one["role"] == "user"]
