"""Judgments of a store as columns of answers, so that what came from files and simulated raters is looked at as well."""

from __future__ import annotations

from collections.abc import Iterable

from heed.feedback.kinds import AnyFeedback, Comparison, Ranking, Rating, Thumb
from heed.raters.columns import AnswerColumns, AnswerRow, Answers, Unit

_NEAR = 0.1
"""Share of a scale within which two scores are the same, as with answers of the studio."""


def answers_of_feedback(feedback: Iterable[AnyFeedback]) -> Answers:
    """Comparisons, rankings, ratings and thumbs as answers to work; other kinds say nothing that two raters could share.

    The item is what was judged: the completions, in whatever order. Of several judgments of one rater about one item the
    newest counts.
    """
    rows: dict[tuple[str, str], AnswerRow] = {}
    for one in feedback:
        row = _row(one)
        if row is not None:
            key = (row.rater, row.item)
            rows[key] = row if key not in rows or row.created >= rows[key].created else rows[key]
    return AnswerColumns(row._replace(number=number) for number, row in enumerate(rows.values(), 1)).answers()


def _row(one: AnyFeedback) -> AnswerRow | None:
    units = _units(one)
    if not units:
        return None
    left, tied = None, None
    if isinstance(one, Comparison):
        tied = one.choice == "tie"
        if one.choice in ("a", "b") and one.shown_order is not None:
            left = "ab"[one.shown_order[0]] == one.choice
    return AnswerRow(
        number=0,
        item=" ".join([one.kind, *sorted(one.completion_ids)]),
        question=one.kind,
        rater=one.rater,
        purpose="work",
        created=one.created,
        active_seconds=one.seconds or 0.0,
        units=units,
        chose_left=left,
        tied=tied,
    )


def _units(one: AnyFeedback) -> tuple[Unit, ...]:
    if isinstance(one, Comparison):
        # In the order of the completions' ids: the same two may stand the other way around elsewhere.
        turned = one.completion_ids[0] > one.completion_ids[1]
        names = {"a": "b", "b": "a"} if turned else {}
        return (Unit("comparison", "@", "nominal", names.get(one.choice, one.choice)),)
    if isinstance(one, Ranking):
        return tuple(_ranked(one))
    if isinstance(one, Rating):
        return tuple(
            Unit(f"rating.{name}", "@", "interval", score, _NEAR * (one.scales[name].high - one.scales[name].low))
            for name, score in sorted(one.scores.items())
        )
    if isinstance(one, Thumb):
        return (Unit("thumb", "@", "nominal", "up" if one.up else "down"),)
    return ()


def _ranked(one: Ranking) -> Iterable[Unit]:
    """How each two ranked completions stand to each other, by the order of their ids."""
    order = sorted(range(len(one.completion_ids)), key=lambda place: one.completion_ids[place])
    number = {place: position for position, place in enumerate(order)}
    rank = {number[place]: level for level, group in enumerate(one.groups) for place in group}
    ranked = sorted(rank)
    for i, first in enumerate(ranked):
        for second in ranked[i + 1 :]:
            relation = "tie" if rank[first] == rank[second] else "first" if rank[first] < rank[second] else "second"
            yield Unit("ranking", f"{first}-{second}@", "nominal", relation)
