"""What is known of raters, against counts made by hand from the rows."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from statistics import mean

import pytest

from heed.raters.agreement import krippendorff_alpha
from heed.raters.columns import AnswerColumns, AnswerRow, Unit
from heed.raters.concerns import Concern, concerns_of
from heed.raters.progress import ItemCounts, disputed_items, live_agreement, progress_of
from heed.raters.statistics import RaterStatistics, agreement_with_others, rater_statistics

START = datetime(2026, 3, 2, 9, tzinfo=UTC)


class Sheet:
    """Rows as a database would number them."""

    def __init__(self) -> None:
        self.rows: list[AnswerRow] = []

    def add(self, rater: str, item: str, choice: str, **other: object) -> AnswerRow:
        number = len(self.rows) + 1
        values = {
            "question": "q",
            "purpose": "work",
            "created": START + timedelta(minutes=number),
            "active_seconds": 10.0,
            "units": (Unit("better", "@", "nominal", choice),),
        }
        row = AnswerRow(number=number, item=item, rater=rater, **{**values, **other})  # type: ignore[arg-type]
        self.rows.append(row)
        return row

    def statistics(self, excluded: Iterable[str] = (), **counts: dict[str, int]) -> dict[str, RaterStatistics]:
        answers = AnswerColumns(self.rows).answers()
        return rater_statistics(answers, counts.get("skips", {}), counts.get("flags", {}), list(excluded))


@pytest.fixture
def sheet() -> Sheet:
    return Sheet()


def random_sheet(seed: int) -> Sheet:
    rng, sheet = random.Random(seed), Sheet()
    for item in range(60):
        for rater in rng.sample(["ann", "bob", "cy", "dee"], rng.randint(1, 4)):
            scores = tuple(
                Unit("score.help", f"{place}", "interval", float(rng.randint(1, 7)), 0.6)
                for place in range(rng.randint(0, 2))
            )
            choice = rng.choice("ab") if rater == "dee" else "a" if rng.random() < 0.7 else "b"
            units = (Unit("better", "@", "nominal", choice), *scores)
            sheet.add(rater, f"i{item}", choice, units=units, chose_left=rng.choice([True, False, None]))
    return sheet


@pytest.mark.parametrize("excluded", [(), ("dee",), ("ann", "dee")])
def test_agreement_is_the_mean_over_answers_of_the_share_of_others_who_said_the_same(excluded: tuple[str, ...]) -> None:
    sheet = random_sheet(1)
    found = sheet.statistics(excluded)
    for rater in ("ann", "bob", "cy", "dee"):
        shares = []
        for row in (row for row in sheet.rows if row.rater == rater):
            parts = []
            for unit in row.units:
                others = [
                    other.value
                    for there in sheet.rows
                    if there.item == row.item and there.rater != rater and there.rater not in excluded
                    for other in there.units
                    if (other.field, other.place) == (unit.field, unit.place)
                ]
                if others:
                    parts.append(mean(_same(unit, other) for other in others))
            if parts:
                shares.append(mean(parts))
        assert found[rater].agreement.estimate == pytest.approx(mean(shares))
        assert found[rater].agreement.n == len(shares)


def _same(unit: Unit, other: str | float) -> float:
    if isinstance(unit.value, str) or isinstance(other, str):
        return float(unit.value == other)
    return float(abs(unit.value - other) <= unit.tolerance)


def test_rates_count_what_the_rows_say(sheet: Sheet) -> None:
    for number in range(40):
        sheet.add("ann", f"i{number}", "a", chose_left=number % 4 != 0, tied=False, active_seconds=float(number))
    sheet.add("ann", "t", "tie", chose_left=None, tied=True, active_seconds=1000.0)
    for number in range(10):
        sheet.add("ann", f"g{number}", "a", purpose="gold", correct=1.0 if number < 8 else 0.5)
    ann = sheet.statistics(skips={"ann": 9}, flags={"ann": 2})["ann"]
    assert (ann.answers, ann.work, ann.skips, ann.flags) == (51, 41, 9, 2)
    assert ann.left.estimate == pytest.approx(30 / 40)
    assert ann.tie.estimate == pytest.approx(1 / 41)
    assert ann.gold.estimate == pytest.approx(9 / 10)
    assert ann.skip_rate.estimate == pytest.approx(9 / 60)
    assert ann.speed.median == sorted([*map(float, range(40)), 1000.0, *[10.0] * 10])[25]
    # Wilson's interval of 30 of 40 (Newcombe 1998 gives its formula; these are its values).
    assert ann.left.low == pytest.approx(0.5981, abs=1e-4)
    assert ann.left.high == pytest.approx(0.8581, abs=1e-4)


def test_an_answer_that_was_superseded_no_longer_counts(sheet: Sheet) -> None:
    first = sheet.add("ann", "i", "a", chose_left=True)
    sheet.add("bob", "i", "b")
    assert sheet.statistics()["ann"].agreement.estimate == 0.0
    sheet.add("ann", "i", "b", chose_left=False, supersedes=first.number)
    ann = sheet.statistics()["ann"]
    assert (ann.answers, ann.left.estimate, ann.agreement.estimate) == (1, 0.0, 1.0)


def test_a_repeated_item_is_compared_with_ones_own_earlier_answer_and_never_counts_as_work(sheet: Sheet) -> None:
    for number in range(6):
        sheet.add("ann", f"i{number}", "a")
        sheet.add("bob", f"i{number}", "b")
        sheet.add("ann", f"i{number}", "a" if number < 4 else "b", purpose="repeat")
    found = sheet.statistics()
    assert found["ann"].repeat.estimate == pytest.approx(4 / 6)
    assert found["ann"].work == 6
    assert found["ann"].agreement.estimate == 0.0
    assert found["bob"].repeat.estimate is None
    assert "come again" in (found["bob"].repeat.reason or "")


def test_what_is_not_known_yet_says_why(sheet: Sheet) -> None:
    sheet.add("ann", "i", "a", units=())
    ann = sheet.statistics(flags={"cy": 1})
    for value in (ann["ann"].agreement, ann["ann"].gold, ann["ann"].left, ann["ann"].tie, ann["ann"].repeat):
        assert value.estimate is None
        assert value.reason
        assert value.why
    assert ann["ann"].speed.median is None
    assert ann["cy"].answers == 0
    assert ann["cy"].flags == 1


def test_nobody_at_all_gives_no_statistics() -> None:
    answers = AnswerColumns().answers()
    assert rater_statistics(answers, {}, {}) == {}
    assert live_agreement(answers) == []
    assert disputed_items(answers, agreement_with_others(answers)) == []


# Warnings


def concerns(sheet: Sheet, rater: str) -> dict[str, Concern]:
    return {warning.concern: warning for warning in concerns_of(sheet.statistics()).get(rater, [])}


def test_somebody_who_nearly_always_chooses_left_is_named_with_the_figures(sheet: Sheet) -> None:
    for number in range(120):
        sheet.add("ann", f"i{number}", "a", chose_left=number < 97)
        sheet.add("bob", f"i{number}", "a", chose_left=number % 2 == 0)
    assert concerns(sheet, "bob") == {}
    warning = concerns(sheet, "ann")["left"]
    assert warning.reason.startswith("chooses left in 81% of 120, 95 % interval 73% to 87%")


def test_always_right_is_a_concern_too_and_a_few_answers_are_none(sheet: Sheet) -> None:
    for number in range(10):
        sheet.add("ann", f"i{number}", "a", chose_left=False)
    assert concerns(sheet, "ann") == {}
    for number in range(10, 40):
        sheet.add("ann", f"i{number}", "a", chose_left=False)
    warning = concerns(sheet, "ann")["right"]
    assert warning.value == 1.0
    assert warning.low is not None
    assert warning.low > 0.9


def test_somebody_who_contradicts_the_others_and_is_much_quicker_is_named(sheet: Sheet) -> None:
    for number in range(60):
        choice = "a" if number % 2 else "b"
        for rater in ("ann", "bob", "cy"):
            sheet.add(rater, f"i{number}", choice, active_seconds=12.0)
        sheet.add("troll", f"i{number}", "b" if choice == "a" else "a", active_seconds=0.8)
    assert set(concerns(sheet, "troll")) == {"agreement", "speed"}
    assert concerns(sheet, "ann") == {}


def test_gold_and_repeats_warn_only_when_the_whole_interval_is_low(sheet: Sheet) -> None:
    for number in range(3):
        sheet.add("ann", f"g{number}", "a", purpose="gold", correct=0.0)
    for number in range(30):
        sheet.add("bob", f"g{number}", "a", purpose="gold", correct=float(number % 3 == 0))
        sheet.add("bob", f"i{number}", "a")
        sheet.add("bob", f"i{number}", "b" if number % 2 else "a", purpose="repeat")
    assert set(concerns(sheet, "bob")) == {"gold"}
    assert concerns(sheet, "ann") == {}  # none of 3 is right, but 3 say little
    for number in range(3):
        sheet.add("ann", f"h{number}", "a", purpose="gold", correct=0.0)
    assert set(concerns(sheet, "ann")) == {"gold"}


# Questions and items


def test_agreement_of_a_question_is_alpha_over_its_units_without_those_excluded() -> None:
    sheet = random_sheet(2)
    answers = AnswerColumns(sheet.rows).answers()
    (better, score) = live_agreement(answers, excluded=["dee"])
    for found, field in ((better, "better"), (score, "score.help")):
        units = [
            ((row.item, unit.place), row.rater, unit.value, row.item)
            for row in sheet.rows
            if row.rater != "dee"
            for unit in row.units
            if unit.field == field
        ]
        keys, raters, values, items = (list(column) for column in zip(*units, strict=True))
        expected = krippendorff_alpha(keys, raters, values, found.level, clusters=items)
        assert (found.field, found.alpha) == (field, expected)


def test_disputed_items_come_with_the_most_disputed_first_and_without_the_decided(sheet: Sheet) -> None:
    for rater, choice in (("ann", "a"), ("bob", "a"), ("cy", "b")):
        sheet.add(rater, "two to one", choice)
    for rater, choice in (("ann", "a"), ("bob", "b")):
        sheet.add(rater, "one to one", choice)
        sheet.add(rater, "decided", choice)
        sheet.add(rater, "agreed", "a")
    sheet.add("lead", "decided", "a", purpose="adjudication")
    sheet.add("ann", "alone", "a")
    answers = AnswerColumns(sheet.rows).answers()
    found = disputed_items(answers, agreement_with_others(answers))
    assert [(item.item, pytest.approx(item.disagreement), item.answers) for item in found] == [
        ("one to one", 1.0, 2),
        ("two to one", 2 / 3, 3),
    ]


def test_the_rate_is_that_of_the_last_day_and_the_rest_follows_from_it(sheet: Sheet) -> None:
    now = START + timedelta(hours=30)
    for hours in (0, 1, 10, 20, 29):
        sheet.add("ann", f"i{hours}", "a", created=START + timedelta(hours=hours))
    counts = [ItemCounts("q", "one", "open", 1, 20, 2, 1, 5, 30), ItemCounts("r", "two", "open", 1, 0, 0, 0, 0, 0)]
    one, two = progress_of(counts, AnswerColumns(sheet.rows).answers(), now)
    assert one.rate == pytest.approx(3 / 24)
    assert one.hours == pytest.approx(30 / (3 / 24))
    assert one.open == 18
    assert (two.rate, two.hours) == (None, 0.0)


def two_fields(sheet: Sheet) -> None:
    """Four raters who always agree on an easy field; one of them goes by chance in the other."""
    rng = random.Random(5)
    for item in range(40):
        for rater in ("ann", "bob", "cy", "troll"):
            better = rng.choice("abc") if rater == "troll" else "a" if item % 2 else "b"
            units = (Unit("better", "@", "nominal", better), Unit("polite", "0@", "nominal", "yes"))
            sheet.add(rater, f"i{item}", better, units=units)


def test_agreement_is_told_by_field_so_that_an_easy_one_hides_nothing(sheet: Sheet) -> None:
    two_fields(sheet)
    troll = sheet.statistics()["troll"]
    shares = {one.field: one.agreement for one in troll.by_field}
    others = [row for row in sheet.rows if row.rater != "troll"]
    alike = [
        mean(row.units[0].value == other.units[0].value for other in others if other.item == row.item)
        for row in sheet.rows
        if row.rater == "troll"
    ]
    assert shares["better"].estimate == pytest.approx(mean(alike))
    assert shares["polite"].estimate == 1.0
    assert troll.agreement.estimate == pytest.approx((mean(alike) + 1) / 2)
    assert {one.question for one in troll.by_field} == {"q"}


def test_who_disagrees_in_one_field_alone_is_a_concern(sheet: Sheet) -> None:
    two_fields(sheet)
    warning = concerns(sheet, "troll")["agreement"]
    assert warning.field == "better"
    assert warning.reason.startswith("better: ")
    assert concerns(sheet, "ann") == {}
