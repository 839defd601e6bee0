"""Figures of the board as words in the reader's language."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import quote, urlencode

from markupsafe import Markup

from heed.feedback.asked import Question
from heed.feedback.forms import Form
from heed.raters.agreement import Measured
from heed.raters.concerns import Concern
from heed.raters.progress import Progress
from heed.raters.statistics import FieldAgreement, RaterStatistics, Speed
from heed.statistics import Interval
from heed.texts import PATH_STEPS, cut
from heed.web.board import charts
from heed.web.call import Call
from heed.web.language import catalogue

_HOUR, _DAY = 3600.0, 86400.0
_EXPECTED = {"left": 0.5}
_MEDIA = re.compile(r"!\[[^\]]*\]\(media:[^)\s]*\)?")
"""Also one whose end was cut off."""


_WRITTEN = {"demonstration", "edit"}
"""Kinds of fields whose answers are texts, for which no agreement is counted."""

_LONGEST_PART = 120
"""Characters that are quoted of a marked part."""

FEWEST_TO_COMPARE = 5
"""Answers to a field (count): with fewer it is not singled out as the one in which somebody agrees least."""


def address_of_person(name: str, **values: Any) -> str:
    """The address of somebody's page, with parameters. A name that is a step of a path is a parameter as well."""
    if name in PATH_STEPS:
        return f"/board/people{_query({'name': name, **values})}"
    return f"/board/people/{quote(name, safe='')}{_query(values)}"


def _query(values: Mapping[str, Any]) -> str:
    given = {key: value for key, value in values.items() if value not in (None, "")}
    return f"?{urlencode(given)}" if given else ""


class Words:
    """Says figures. Templates have it as ``say``."""

    def __init__(self, call: Call, asked: Sequence[Question] = ()) -> None:
        """``asked``: questions whose names, and whose fields' labels, can be said; of others it says ids and names."""
        self._call = call
        self._questions = {one.id: one.name for one in asked}
        self._written = {one.id for one in asked if {field.kind for field in one.form.fields} <= _WRITTEN}
        self._labels = {(one.id, name): label for one in asked for name, label in _labels(one.form)}

    def text(self, key: str, **values: Any) -> str:
        """A text of the board."""
        return self._call.text(f"board.{key}", **values)

    @staticmethod
    def number(value: float) -> str:
        """A count with its thousands apart."""
        return f"{value:,.0f}"

    @classmethod
    def range(cls, low: float, high: float) -> str:
        """Two counts with what lies between them."""
        return f"{cls.number(low)}–{cls.number(high)}"

    def percent(self, value: float) -> str:
        """A share, 0 to 1, in percent."""
        return self.text("percent", n=f"{100 * value:.0f}")

    def span(self, interval: Interval) -> str:
        """The ends of an interval of shares; "" where there is none."""
        if interval.low is None or interval.high is None:
            return ""
        return self.text("percent", n=f"{100 * interval.low:.0f}–{100 * interval.high:.0f}")

    def share(self, found: Measured, name: str, behind: str = "of") -> str:
        """A share with its interval and what stands behind it (a text with a count), or why there is none."""
        if found.estimate is None:
            return self.why(found, name)
        interval = self.span(found)
        told = "; ".join(filter(None, (interval, self.text(behind, n=self.number(found.n)))))
        return f"{self.percent(found.estimate)} ({told})"

    def why(self, found: Measured, name: str) -> str:
        """Why a figure is missing."""
        if found.why == "nothing":
            return self.text(f"nothing.{name}")
        return self.text(f"why.{found.why}") if found.why else ""

    def alpha(self, found: Measured) -> str:
        """Krippendorff's alpha with its interval, or why there is none."""
        if found.estimate is None:
            return self.why(found, "agreement")
        told = f"{found.estimate:.2f}".replace("-", "−")
        if found.low is None or found.high is None:
            return told
        return f"{told} ({found.low:.2f} {self.text('to')} {found.high:.2f})".replace("-", "−")

    def seconds(self, value: float | None) -> str:
        """A time, or that there are too few answers to tell it."""
        return self.text("few_answers") if value is None else self.duration(value)

    def duration(self, seconds: float) -> str:
        """A time in the unit that suits it."""
        if seconds < 90:
            return self.text("time.seconds", n=f"{seconds:.1f}" if seconds < 10 else f"{seconds:.0f}")
        if seconds < _HOUR:
            return self.text("time.minutes", n=f"{seconds / 60:.0f}")
        if seconds < 2 * _DAY:
            return self.text("time.hours", n=f"{seconds / _HOUR:.1f}")
        return self.text("time.days", n=f"{seconds / _DAY:.1f}")

    def speed(self, speed: Speed) -> str:
        """The middle half of active times."""
        if speed.lower is None or speed.upper is None:
            return self.text("few_answers")
        return self.text("time.between", low=self.seconds(speed.lower), high=self.seconds(speed.upper))

    def rest(self, progress: Progress) -> str:
        """How long a question still takes, with what that is based on."""
        if not progress.items:
            return self.text("rest.empty")
        if not progress.missing:
            return self.text("rest.done")
        if progress.rate is None or progress.hours is None:
            return self.text("rest.no_rate")
        return self.text("rest.left", time=self.duration(progress.hours * _HOUR), rate=f"{progress.rate:,.1f}")

    def concern(self, warning: Concern) -> str:
        """A warning with its figures."""
        if warning.concern == "speed":
            values = {"value": self.seconds(warning.value), "expected": self.seconds(warning.expected)}
        else:
            values = {"value": self.percent(warning.value), "expected": self.percent(warning.expected)}
            if warning.low is not None and warning.high is not None:
                values |= {"low": self.percent(warning.low), "high": self.percent(warning.high)}
        told = self.text(f"concern.{warning.concern}", n=self.number(warning.n), **values)
        if warning.field is None or warning.question is None:
            return told
        field = self.field(warning.question, warning.field)
        return self.text("concern_in", question=self.question(warning.question), field=field, told=told)

    def question(self, question_id: str) -> str:
        """What a question is called."""
        return self._questions.get(question_id, question_id)

    def field(self, question_id: str, name: str) -> str:
        """What raters read above a field, or above a scale of it; its name where the question no longer has it."""
        return self._labels.get((question_id, name), name)

    def is_measured(self, question_id: str) -> bool:
        """Whether there is a measure of agreement for any field of a question."""
        return question_id not in self._written

    def whisker(self, found: Measured, name: str, warned: bool = False) -> Markup:
        """A share as a mark with its interval; the words beside it say the same."""
        return charts.whisker(
            found, _EXPECTED.get(name), f"{self.text('stat.' + name)}: {self.share(found, name)}", warned
        )

    @staticmethod
    def lowest(found: RaterStatistics) -> FieldAgreement | None:
        """The field in which somebody agrees least, where there are several that are known well enough to compare."""
        known = [one for one in found.by_field if one.agreement.n >= FEWEST_TO_COMPARE]
        return min(known, key=lambda one: one.agreement.estimate or 0.0) if len(known) > 1 else None

    def snippet(self, text: str) -> str:
        """The beginning of a text in a list, with a word where it shows a picture or a clip."""
        return _MEDIA.sub(self.text("media"), text)

    def action(self, code: str) -> str:
        """What an entry of the audit log is about; "" for one that has no words."""
        return catalogue(self._call.language).get(f"board.action.{code}", "")

    @staticmethod
    def moment(seconds: float) -> datetime:
        """A moment from seconds since 1970."""
        return datetime.fromtimestamp(seconds, UTC)

    def day(self, day: date) -> str:
        """A day."""
        return day.isoformat()

    @staticmethod
    def letter(position: int) -> str:
        """What a completion of an item is called: A is the first in the item's own order."""
        return "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[position]

    @staticmethod
    def query(**values: Any) -> str:
        """Parameters of an address, without those that are not given."""
        return _query(values)

    @staticmethod
    def person(name: str, **values: Any) -> str:
        """The address of somebody's page, with parameters."""
        return address_of_person(name, **values)

    # Answers

    def answer(self, form: Form, answer: Mapping[str, Any], texts: Sequence[str] = ()) -> list[tuple[str, list[str]]]:
        """An answer in item order: for each field that it answers its label, and lines that say what was answered.

        Of ``texts``, the completions, it quotes what is marked; without them it says where that is.
        """
        answered = [field for field in form.fields if field.name in answer]
        return [(field.label, self._field(field, answer[field.name], texts)) for field in answered]

    def _field(self, field: Any, value: Any, texts: Sequence[str]) -> list[str]:
        if field.kind == "comparison":
            return [self.choice(value["choice"], value.get("strength"))]
        if field.kind == "ranking":
            return [" > ".join(" = ".join(self.letter(place) for place in group) for group in value["groups"])]
        if field.kind == "demonstration":
            return [value]
        return [
            self.text(
                "answer.marked",
                label=self.letter(place),
                parts=self._one(field, entry, texts[place] if place < len(texts) else None),
            )
            for place, entry in enumerate(value)
            if entry is not None
        ]

    def _one(self, field: Any, entry: Any, text: str | None) -> str:
        if field.kind == "rating":
            labels = {attribute.name: attribute.label for attribute in field.attributes}
            return self.text("answer.between").join(
                f"{labels.get(name, name)} {score:g}" for name, score in entry.items()
            )
        if field.kind == "thumb":
            return self.text("answer.up" if entry else "answer.down")
        if field.kind == "critique":
            told = [*self._defects(entry, text), *([entry["note"]] if entry["note"] else [])]
            return "; ".join(told) or self.text("answer.no_defects")
        return str(entry)

    def _defects(self, entry: Any, text: str | None) -> list[str]:
        """Each defect once, with the parts of ``text`` that are marked with it; where they are, if the text is not known."""
        parts: dict[str, list[str]] = {label: [] for label in entry["defects"]}
        for span in entry["spans"]:
            start, end = span["start"], span["end"]
            if text is None:
                told = self.text("answer.place", start=start + 1, end=end)
            else:
                told = self.text("answer.part", text=cut(" ".join(text[start:end].split()), _LONGEST_PART))
            parts.setdefault(span["label"], []).append(told)
        between = self.text("answer.between")
        return [
            self.text("answer.marked", label=label, parts=between.join(its)) if its else label
            for label, its in parts.items()
        ]

    def choice(self, choice: str, strength: int | None) -> str:
        """Who won a comparison, and by how much."""
        if choice not in ("a", "b"):
            return self.text(f"answer.{choice}")
        winner = self.text("answer.wins", letter=choice.upper())
        if not strength:
            return winner
        return self.text("answer.between").join((winner, self.text(f"answer.strength_{strength}")))


def _labels(form: Form) -> Iterator[tuple[str, str]]:
    """What raters read above each field and each scale, by the name under which agreement is counted."""
    for field in form.fields:
        yield field.name, field.label
        if field.kind == "rating":
            for attribute in field.attributes:
                yield f"{field.name}.{attribute.name}", f"{field.label} · {attribute.label}"
