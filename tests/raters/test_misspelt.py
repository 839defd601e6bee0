"""Names that may be one and the same: what is told, and what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from heed.raters.duel_files import read_duels
from heed.raters.misspelt import alike_told
from heed.raters.vote_files import read_votes


def told(part: str, counts: dict[str, int], **how: bool) -> list[str]:
    return alike_told(part, list(counts), list(counts.values()), "answer", **{"slips": True, "numbers": True, **how})


@pytest.mark.parametrize(
    ("often", "rare"),
    [
        ("yes", "Yes"),
        ("yes", "YES"),
        ("not sure", "not  sure"),
        ("not sure", "notsure"),
        ("not_sure", "not sure"),
        ("not-sure", "notsure"),
        ("yes", "yes\u200b"),
        ("caf\u00e9", "cafe\u0301"),
        ("yes", "\uff59\uff45\uff53"),
        ("worker 12", "worker12"),
        ("1", "1.0"),
        ("2", "\uff12"),
    ],
)
@pytest.mark.parametrize("count", [1, 60])
def test_names_that_differ_only_in_how_they_are_written_are_told(often: str, rare: str, count: int) -> None:
    first, second = told("label", {often: 60, "other": 20, rare: count})
    assert f"'{often}' (60 answers)" in first
    assert f"'{rare}' ({count} answer{'s' * (count > 1)})" in first
    assert "only in how they are written" in first
    assert "different labels" in second
    assert "write them alike" in second


@pytest.mark.parametrize(
    ("often", "rare"),
    [
        ("yes", "yse"),
        ("anna", "anan"),
        ("positive", "postive"),
        ("positive", "posiitve"),
        ("neutral", "neutrral"),
        ("yes", "yess"),
        ("relevant", "relevent"),
        (
            "\u043d\u0435\u0439\u0442\u0440\u0430\u043b\u044c\u043d\u043e",
            "\u043d\u0435\u0439\u0440\u0442\u0430\u043b\u044c\u043d\u043e",
        ),
    ],
)
def test_a_rare_name_one_slip_from_a_frequent_one_is_told(often: str, rare: str) -> None:
    first, _ = told("label", {"other": 30, often: 40, rare: 1})
    assert (
        f"'{often}' (40 answers) and '{rare}' (1 answer) may be the same: they are one slip of a letter apart" in first
    )
    # A name that comes as often as the other is meant so.
    assert told("label", {"other": 30, often: 40, rare: 30}) == []


@pytest.mark.parametrize(
    "counts",
    [
        {"1": 100, "2": 1, "3": 50, "-1": 2, "10": 1, "12": 30, "21": 1},
        {"a": 100, "b": 1, "c": 3, "ab": 2, "ba": 90},
        {"yes": 100, "no": 1},
        {"yes": 100, "no": 90, "n/a": 1},
        {f"r{k}": 1 + 40 * (k % 2) for k in range(1, 200)},
        {f"worker{k}": 1 + 40 * (k % 2) for k in range(5, 40)},
        {f"A{k:02d}F{k * 7919 % 1000}X": 1 + k % 60 for k in range(300)},
        {f"worker{letter}": 1 + 60 * (letter == "a") for letter in "abcdefgh"},
        {f"group_{letter}": 1 + 60 * (letter == "a") for letter in "abcdefgh"},
        {"\u975e\u5e38\u6ee1\u610f": 90, "\u975e\u5e38\u4e0d\u6ee1\u610f": 2},  # very satisfied, very dissatisfied
        {"causal": 300, "casual": 30},
        {"moral": 100, "amoral": 1, "safe": 80, "unsafe": 3, "male": 60, "female": 2},
        {"C": 20, "C++": 3, "A+": 30, "A-": 2, "A": 90},
        {"0.5": 90, "0.05": 1, "5": 7},
        {first + second + third: 1 + 30 * (third == "a") for first in "abc" for second in "abc" for third in "abc"},
    ],
)
@pytest.mark.parametrize("part", ["label", "rater"])
def test_names_that_are_meant_to_differ_are_not_told(part: str, counts: dict[str, int]) -> None:
    assert told(part, counts) == []


@pytest.mark.parametrize("part", ["item", "rater"])
def test_ids_that_are_one_whole_number_are_told(tmp_path: Path, part: str) -> None:
    ids = ["01", "1", "1.0", "001", "02", "10", "100"]
    head, form = ("item,rater,label", "{},ann,yes") if part == "item" else ("rater,item,label", "{},q,yes")
    (tmp_path / "votes.csv").write_text("\n".join([head, *(form.format(one) for one in ids)]), encoding="utf-8")
    first, second = read_votes(tmp_path / "votes.csv").notes
    assert first == (
        f"{part}s '01' (1 answer), '1' (1 answer), '1.0' (1 answer) and '001' (1 answer) may be the same: they differ only in "
        "how they are written."
    )
    assert f"different {part}s" in second


def test_compared_things_that_are_one_whole_number_are_told(tmp_path: Path) -> None:
    (tmp_path / "duels.csv").write_text("left,right,winner\n1,2,left\n1.0,02,left\n3,1,left\n", encoding="utf-8")
    told = " ".join(read_duels(tmp_path / "duels.csv").notes)
    assert "'1' (2 comparisons) and '1.0' (1 comparison)" in told
    assert "'02' (1 comparison)" in told


@pytest.mark.parametrize(
    "ids",
    [
        ["001", "010", "100", "101"],
        ["aB3x", "Ab3x", "AB3X", "ab3x"],  # of random letters
        ["1.1", "1.10", "1.2", "1.20"],  # sections
        ["1e3", "1000", "0x10", "16"],
        ["q1", "q01", "q10", "1", "-1"],
        ["0", "00a", "nan", "inf", "Infinity"],
    ],
)
def test_ids_that_are_made_to_differ_are_not_told(tmp_path: Path, ids: list[str]) -> None:
    rows = "".join(f"{one},ann,yes\n{one},bob,no\n" for one in ids)
    (tmp_path / "votes.csv").write_text(f"item,rater,label\n{rows}", encoding="utf-8")
    assert read_votes(tmp_path / "votes.csv").notes == ()


def test_many_groups_are_cut_and_very_many_names_are_not_compared() -> None:
    many = {name: 5 for k in range(30) for name in (f"name {'x' * k}", f"Name {'x' * k}")}
    found = told("rater", many)
    assert len(found) == 7
    assert "25 more groups of raters" in found[5]
    assert told("rater", {f"{name}{k}": 1 for k in range(10_001) for name in ("x", "X")}) == []


def test_a_file_of_votes_tells_its_labels_and_raters_and_changes_none(tmp_path: Path) -> None:
    rows = [f"i{k},{rater},{'yes' if (k + len(rater)) % 3 else 'no'}" for k in range(30) for rater in ("anna", "bob")]
    rows += ["i30,Anna ,Yes", "i31,anan,yse", "i32,bob ,no"]
    (tmp_path / "votes.csv").write_text("\n".join(["item,rater,label", *rows]), encoding="utf-8")
    found = read_votes(tmp_path / "votes.csv")
    notes = " ".join(found.notes)
    for words in (
        "'yes' (40 answers) and 'Yes' (1 answer)",
        "'yse' (1 answer)",
        "'anna' (30 answers) and 'Anna' (1 answer)",
    ):
        assert words in notes
    assert "'anna' (30 answers) and 'anan' (1 answer)" in notes
    assert "blanks around a rater do not count: 'bob ' as 'bob'" in notes
    assert sorted(found.votes.labels) == ["Yes", "no", "yes", "yse"]
    assert sorted(found.votes.raters) == ["Anna", "anan", "anna", "bob"]


def test_two_raters_of_one_item_are_no_slip_of_one(tmp_path: Path) -> None:
    rows = [f"i{k},marina,yes" for k in range(30)]
    (tmp_path / "apart.csv").write_text("\n".join(["item,rater,label", *rows, "i3,mairna,no"]), encoding="utf-8")
    assert read_votes(tmp_path / "apart.csv").notes == ()
    (tmp_path / "one.csv").write_text("\n".join(["item,rater,label", *rows, "i99,mairna,no"]), encoding="utf-8")
    assert "'marina' (30 answers) and 'mairna' (1 answer)" in read_votes(tmp_path / "one.csv").notes[0]


def test_things_that_are_compared_are_told_by_their_writing_alone(tmp_path: Path) -> None:
    rows = ["gpt-4,llama,left,ann"] * 40 + ["gpt-4o,llama,left,ann", "GPT-4,llama,left,ann"]
    (tmp_path / "duels.csv").write_text("\n".join(["left,right,winner,rater", *rows]), encoding="utf-8")
    found = read_duels(tmp_path / "duels.csv")
    assert found.notes[0].startswith("items 'gpt-4' (40 comparisons) and 'GPT-4' (1 comparison) may be the same")
    assert "gpt-4o" not in " ".join(found.notes)
    assert found.items == ["gpt-4", "gpt-4o", "GPT-4", "llama"]
