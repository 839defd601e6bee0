"""Plain tables in all their forms: the same rows however they are written, and which column is which."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
from pathlib import Path
from threading import Thread

import pytest

from heed.errors import ConfigError, DataError
from heed.raters.column_names import NAMES, SIDES, accepted, find_columns
from heed.raters.duel_files import read_duels
from heed.raters.tables import records
from heed.raters.vote_files import VoteFile, read_gold, read_votes

VOTES = [("i1", "ann", "good"), ("i1", "bob", "bad"), ("i2", "ann", "bad")]


def file(folder: Path, text: str, name: str = "table") -> Path:
    path = folder / name
    path.write_bytes(text.encode("utf-8"))
    return path


def told(found: VoteFile) -> set[tuple[str, str, str]]:
    votes = found.votes
    rows = zip(votes.item.tolist(), votes.rater.tolist(), votes.label.tolist(), strict=True)
    return {(votes.items[i], votes.raters[r], votes.labels[k]) for i, r, k in rows}


def as_lines(rows: list[dict[str, object]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_json_lines_say_the_same_as_a_table(tmp_path: Path) -> None:
    rows = [dict(zip(("item", "Annotator ID", "label"), vote, strict=True)) for vote in VOTES]
    text = as_lines([{**row, "meta": {"n": [1]}} for row in rows])
    assert told(read_votes(file(tmp_path, text))) == set(VOTES)
    packed = tmp_path / "votes.jsonl.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    assert told(read_votes(packed)) == set(VOTES)
    assert read_votes(packed).columns.unread == ("meta",)


def test_values_of_json_are_read_as_they_would_stand_in_a_table(tmp_path: Path) -> None:
    rows = [
        {"item": 1, "rater": "r", "label": 2},
        {"item": 1.0, "rater": "s", "label": 2.0},
        {"item": 2, "rater": "r", "label": True},
        {"item": 2, "rater": "s", "label": 0.5},
        {"item": 3, "rater": "s", "label": None},
        {"item": 3, "rater": "r"},
    ]
    found = read_votes(file(tmp_path, as_lines(rows)))
    assert told(found) == {("1", "r", "2"), ("1", "s", "2"), ("2", "r", "true"), ("2", "s", "0.5")}
    assert found.unlabelled == 2


def test_a_field_that_comes_later_is_a_column_and_a_broken_line_is_named(tmp_path: Path) -> None:
    text = as_lines([{"item": "i1", "rater": "r"}, {"label": "x", "item": "i2", "rater": "r"}]) + "{oops\n[1]\n"
    found = read_votes(file(tmp_path, text))
    assert told(found) == {("i2", "r", "x")}
    assert [row.line for row in found.broken] == [3, 4]
    assert "not JSON" in found.broken[0].reason


@pytest.mark.parametrize("count", [999, 1000, 1001, 3000])
@pytest.mark.parametrize("piped", [False, True])
def test_a_field_of_the_last_line_alone_is_a_column(tmp_path: Path, count: int, piped: bool) -> None:
    rows: list[dict[str, object]] = [{"left": "x", "right": "y", "winner": "left"} for _ in range(count)]
    text = as_lines(rows) + "{oops\n" + as_lines([{"left": "x", "right": "y", "winner": "right", "strength": 3}])
    path = tmp_path / "late"
    writer = Thread(target=path.write_text, args=(text,))
    if piped:
        os.mkfifo(path)
        writer.start()
    else:
        path.write_text(text)
    found = read_duels(path)
    if piped:
        writer.join()
    assert found.duels.outcome.tolist() == [1.0] * count + [0.0]
    assert found.duels.strength is not None
    assert found.duels.strength.tolist() == [0] * count + [3]
    assert [row.line for row in found.broken] == [count + 1]


def test_very_many_fields_over_many_lines_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="columns"):
        read_duels(file(tmp_path, as_lines([{"left": "x", "right": "y", f"n{k}": 1} for k in range(2500)])))


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_cells_may_hold_the_other_separators_quotation_marks_and_line_ends(tmp_path: Path, separator: str) -> None:
    rows = [
        ["item", "rater", "label", "note, with; marks"],
        ["a, b;\tc", 'r "x"', "y", "two\nlines"],
        ["i2", "s", "n", ""],
    ]
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=separator).writerows(rows)
    found = read_votes(file(tmp_path, buffer.getvalue()))
    assert told(found) == {("a, b;\tc", 'r "x"', "y"), ("i2", "s", "n")}


def test_a_spreadsheets_line_of_the_separator_is_no_row(tmp_path: Path) -> None:
    assert told(read_votes(file(tmp_path, "sep=;\nitem;rater;label\na,b;r;y\n"))) == {("a,b", "r", "y")}


@pytest.mark.parametrize("text", ["[]\n", "[\n", "{}\n", ",x\n1,2\n"])
def test_what_names_nothing_is_told(tmp_path: Path, text: str) -> None:
    for read in (read_votes, read_duels, read_gold):
        with pytest.raises(DataError) as refused:
            read(file(tmp_path, text))
        assert (
            "one JSON list" in refused.value.why
            or "names none of" in refused.value.why
            or "no column" in refused.value.why
        )


def test_a_table_of_very_many_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="1,001 columns"):
        list(records(file(tmp_path, ",".join(map(str, range(1001))), "wide"), []))


# Which column is which


def test_the_documents_list_every_name() -> None:
    page = (Path(__file__).parents[2] / "docs" / "trust.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\w+) \| (`[^|]*`) \|$", page, re.MULTILINE)
    listed = {part: names.replace("`", "") for part, names in rows}
    assert listed == {part: accepted(part) for part in (*NAMES, "left", "right")}


@pytest.mark.parametrize(
    ("part", "name"), [(part, name) for part in ("item", "rater", "label") for name in NAMES[part]]
)
@pytest.mark.parametrize("style", ["{}", "{}_id", "{} ID", "{}id"])
def test_every_name_that_is_listed_is_read(part: str, name: str, style: str) -> None:
    if part == "label" or name == "id":
        style = "{}"
    spelled = style.format(name.title())
    others = {"item": "item", "rater": "rater", "label": "label"} | {part: spelled}
    found = find_columns(Path("t"), ["note", *others.values()], ("item", "rater", "label"))
    assert found.name(part) == spelled
    assert found.unread == ("note",)


@pytest.mark.parametrize("name", ["gold", "Truth"])
def test_known_labels_beside_raters_are_not_what_raters_said(tmp_path: Path, name: str) -> None:
    text = f"item,worker,{name},my_label\nq1,a,yes,no\nq1,b,yes,no\nq2,a,no,yes\n"
    with pytest.raises(DataError) as refused:
        read_votes(file(tmp_path, text))
    assert f"if raters gave them: --column label={name}" in refused.value.fix
    assert told(read_votes(file(tmp_path, text), named={"label": "my_label"})) == {
        ("q1", "a", "no"),
        ("q1", "b", "no"),
        ("q2", "a", "yes"),
    }
    assert told(read_votes(file(tmp_path, text), named={"label": name})) == {
        ("q1", "a", "yes"),
        ("q1", "b", "yes"),
        ("q2", "a", "no"),
    }
    assert read_gold(file(tmp_path, f"item,label,{name}\nq1,no,yes\nq2,yes,no\n")) == {"q1": "yes", "q2": "no"}


@pytest.mark.parametrize("name", ["gold", "truth"])
def test_known_labels_of_a_wide_sheet_are_no_raters(tmp_path: Path, name: str) -> None:
    text = f"item,ann,bob,{name}\nq1,yes,no,yes\nq2,no,no,yes\n"
    votes = {("q1", "ann", "yes"), ("q1", "bob", "no"), ("q2", "ann", "no"), ("q2", "bob", "no")}
    assert told(read_votes(file(tmp_path, text))) == votes
    assert told(read_votes(file(tmp_path, text), wide=["all"])) == votes
    assert read_gold(file(tmp_path, text)) == {"q1": "yes", "q2": "yes"}


@pytest.mark.parametrize("pair", SIDES)
def test_every_pair_of_sides_that_is_listed_is_read(tmp_path: Path, pair: tuple[str, str]) -> None:
    text = f"{pair[0]};{pair[1]};winner\nA;B;A\nC;B;{pair[1]}\n"
    assert read_duels(file(tmp_path, text)).duels.outcome.tolist() == [1.0, 0.0]


@pytest.mark.parametrize("name", NAMES["winner"])
def test_every_name_of_the_winner_that_is_listed_is_read(tmp_path: Path, name: str) -> None:
    assert read_duels(file(tmp_path, f"{name},right,left\nleft,B,A\n")).items == ["A", "B"]


def test_an_id_of_an_answer_is_no_answer() -> None:
    cells = ["answer_id", "item", "rater", "verdict"]
    assert find_columns(Path("t"), cells, ("item", "rater", "label")).name("label") == "verdict"


def test_which_columns_were_taken_is_told_and_which_may_be_meant(tmp_path: Path) -> None:
    text = "example_id,worker,answer,lang,rating,gold\ni1,ann,yes,en,3,yes\n"
    found = read_votes(file(tmp_path, text))
    assert found.read_as == (
        "read item from 'example_id', rater from 'worker', label from 'answer'; 3 other columns not read: 'lang', 'rating', "
        "'gold'."
    )
    assert found.notes == ("label was read from 'answer'; if it stands in 'rating': --column label=rating",)
    told_so = read_votes(file(tmp_path, text), named={"label": "rating"})
    assert told(told_so) == {("i1", "ann", "3")}
    assert told_so.notes == ()
    assert read_votes(file(tmp_path, "i1 ann yes\n")).read_as == (
        "read item from column 1, rater from column 2, label from column 3; the first line names no columns."
    )


def test_a_missing_column_is_told_with_what_it_may_be_called(tmp_path: Path) -> None:
    path = file(tmp_path, "sentence_no,who,answer,x\n1,ann,yes,\n2,bob,no,\n")
    with pytest.raises(DataError) as refused:
        read_votes(path)
    assert "no column for item and rater; it has 'sentence_no', 'who', 'answer', 'x'" in refused.value.why
    assert "--column item=NAME --column rater=NAME" in refused.value.fix
    for part in ("item", "rater"):
        assert accepted(part) in refused.value.fix
    found = read_votes(path, named={"item": "sentence_no", "rater": "Who"})
    assert told(found) == {("1", "ann", "yes"), ("2", "bob", "no")}
    with pytest.raises(DataError, match=r"has no column 'sentense_no'.*Did you mean 'sentence_no'"):
        read_votes(path, named={"item": "sentense_no", "rater": "who"})
    with pytest.raises(ConfigError, match="there is no part reter"):
        read_votes(path, named={"reter": "who"})


def test_gold_is_read_from_the_same_forms(tmp_path: Path) -> None:
    assert read_gold(file(tmp_path, '{"task_id": 7, "truth": "yes"}\n')) == {"7": "yes"}
    assert read_gold(file(tmp_path, "task;truth\n7;yes\n")) == {"7": "yes"}
    # The column of the votes is that of known labels as well, where they have it.
    named = {"item": "sentence no", "label": "tag", "rater": "who"}
    assert read_gold(file(tmp_path, "sentence_no,truth,x\n7,yes,\n"), named=named) == {"7": "yes"}


# Wide sheets


WIDE = {("i1", "ann", "y"), ("i1", "bob", "n"), ("i2", "ann", "n"), ("i3", "ann", "y"), ("i3", "bob", "y")}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "id,ann,bob\ni1,y,n\ni2,n,\ni3,y,y\n",
            "one row for each item: item from 'id', and one rater in each of the 2 columns",
        ),
        (",ann,bob\ni1,y,n\ni2,n,\ni3,y,y\n", "item from column 1, which has no name"),
        ("Item ID;ann;bob;\ni1;y;n;\ni2;n;;\ni3;y;y;\n", "rater in each of the 2 columns 'ann', 'bob'."),
        (
            "worker\tdate\ti1\ti2\ti3\nann\t1\ty\tn\ty\nbob\t2\tn\t\ty\n",
            "one item in each of the 3 columns 'i1', 'i2', 'i3'.",
        ),
    ],
)
def test_a_sheet_that_can_be_nothing_but_wide_is_read_as_such_and_said_so(
    tmp_path: Path, text: str, words: str
) -> None:
    found = read_votes(file(tmp_path, text))
    assert told(found) == WIDE
    assert words in found.read_as
    assert (found.unlabelled, found.broken) == (0, ())


@pytest.mark.parametrize(
    "text",
    [
        "id,label,ann,bob\ni1,y,y,n\ni2,n,n,n\n",  # a known label beside
        ",ann,bob\ni1,en,n\ni2,de,y\n",  # rows that have no name, and columns that have nothing in common
        "id,who,verdicts\ni1,ann,y\ni2,bob,n\n",  # two columns that have nothing in common
        "id,ann,bob,lang\ni1,y,n,en\ni2,n,y,en\n",  # one that is of something else
        "id,ann,bob\ni1,y,n\ni1,n,y\n",  # an item twice
        "id,ann,bob\n" + "".join(f"i{k},{k},{k}\n" for k in range(20)),  # measurements
    ],
)
def test_a_sheet_that_may_be_something_else_is_refused_with_the_option_that_says_so(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError) as refused:
        read_votes(file(tmp_path, text))
    assert "--wide all, or --wide NAME,NAME" in refused.value.fix


def test_the_columns_of_a_wide_sheet_can_be_named(tmp_path: Path) -> None:
    path = file(tmp_path, "no,ann,bob,lang\ni1,y,n,en\ni2,n,,en\ni3,y,y,de\ni4,y\n")
    found = read_votes(path, named={"item": "no"}, wide=["ann", "bob"])
    assert told(found) == WIDE
    assert [(row.line, row.reason) for row in found.broken] == [(5, "2 cells where the first line has 4")]
    assert told(read_votes(path, named={"item": "no"}, wide=["all"])) == WIDE
    assert read_votes(path, named={"item": "no"}, wide=["ann", "lang"]).votes.raters == ["ann", "lang"]
    with pytest.raises(DataError, match="has no column 'cem'"):
        read_votes(path, named={"item": "no"}, wide=["ann", "cem"])
    with pytest.raises(DataError, match="no column names the item of a row"):
        read_votes(path, wide=["ann", "bob"])


def test_all_columns_of_a_wide_sheet_are_those_that_may_hold_labels(tmp_path: Path) -> None:
    head = "item,query,row,ann,bob,cem,comment,day"
    rows = [f"i{k},the query {k},{k},{'yn'[k % 2]},{'YN'[k % 3 % 2]},,{'unsure' * (k == 3)},mon" for k in range(40)]
    found = read_votes(file(tmp_path, "\n".join([head, *rows])), wide=["all"])
    assert found.votes.raters == ["ann", "bob"]  # cem has not begun
    assert found.votes.size == 80
    assert "in each of the 3 columns 'ann', 'bob', 'cem'." in found.read_as
    assert "'query', 'row', 'comment', 'day'; if they are labels" in found.read_as


def test_ratings_without_steps_are_labels_though_each_is_another_number(tmp_path: Path) -> None:
    rows = [f"i{k},{k + 0.125},{k + 0.25},it is {k}" for k in range(40)]
    found = read_votes(file(tmp_path, "\n".join(["item,ann,bob,why", *rows])), wide=["all"])
    assert (found.votes.raters, found.votes.size) == (["ann", "bob"], 80)


def test_a_sheet_of_texts_has_no_labels(tmp_path: Path) -> None:
    rows = [f"i{k},text {k},text {k}" for k in range(40)]  # alike, and yet in each row another one
    with pytest.raises(DataError, match="no two columns of 'query', 'answered'") as refused:
        read_votes(file(tmp_path, "\n".join(["item,query,answered", *rows])), wide=["all"])
    assert refused.value.fix == "Name the columns of labels: --wide NAME,NAME."


def test_what_a_wide_sheet_says_beside_is_kept(tmp_path: Path) -> None:
    found = read_votes(file(tmp_path, "item,question,ann,bob\ni1,q1,y,n\ni2,q2,n,y\n"))
    assert found.beside == {"question": ["q1", "q1", "q2", "q2"]}
    path = file(tmp_path, "worker,team,i1,i2\nann,t1,y,n\nbob,t2,n,y\n")
    assert read_votes(path, named={"group": "team"}).beside == {"group": ["t1", "t1", "t2", "t2"]}
    with pytest.raises(ConfigError, match="there is no part teem"):
        read_votes(path, named={"teem": "team"})


# Comparisons


ARENA = [("P", "Q", 1.0), ("Q", "R", 0.0), ("R", "P", 0.5), ("P", "R", 0.5)]
KAGGLE = {1.0: (1, 0, 0), 0.0: (0, 1, 0), 0.5: (0, 0, 1)}


def test_layouts_of_the_arena_and_of_kaggle_say_the_same(tmp_path: Path) -> None:
    word = {1.0: "model_a", 0.0: "model_b"}
    ties = iter(["tie", "tie (bothbad)"])
    arena = as_lines(
        [
            {
                "question_id": "x",
                "model_a": a,
                "model_b": b,
                "winner": word.get(won) or next(ties),
                "judge": "j",
                "turn": 1,
            }
            for a, b, won in ARENA
        ]
    )
    kaggle = "id,model_a,model_b,prompt,response_a,response_b,winner_model_a,winner_model_b,winner_tie\n"
    for a, b, won in ARENA:
        kaggle += f'1,{a},{b},"[""two\nlines""]","x, y",z,{",".join(map(str, KAGGLE[won]))}\n'
    for text in (arena, kaggle, kaggle.replace("1,0,0\n", "1.0,0.0,0.0\n").replace("0,1,0\n", "False,True,False\n")):
        found = read_duels(file(tmp_path, text))
        assert found.items == ["P", "Q", "R"]
        assert found.duels.outcome.tolist() == [won for _, _, won in ARENA]
        assert found.broken == []
    assert "won left from 'winner_model_a'" in found.read_as


def test_a_row_in_which_several_sides_won_is_named(tmp_path: Path) -> None:
    head = "model_a,model_b,winner_model_a,winner_model_b,winner_tie\n"
    found = read_duels(file(tmp_path, f"{head}A,B,1,0,0\nA,B,1,1,0\nA,B,0,0,0\nA,B,,x,\n"))
    assert [row.line for row in found.broken] == [3, 5]
    assert "2 of the sides won" in found.broken[0].reason
    assert found.notes == ["1 row does not say who won: no answer, not a tie; left out."]


@pytest.mark.parametrize(
    ("words", "outcome", "note"),
    [
        (["left", "RIGHT", "Tie"], [1, 0, 0.5], ""),
        (["a", "B", "draw"], [1, 0, 0.5], ""),
        (["A side", "model_a", "model B"], None, ""),
        (["model 1", "option_2", "response_a", "Assistant B", "both_bad"], [1, 0, 1, 0, 0.5], ""),
        (["1", "2", "tie"], [1, 0, 0.5], "1 as left and 2 as right"),
        (["1", "0", "0.5"], [1, 0, 0.5], "1 as left, 0 as right and 0.5 as a tie"),
        (["X", "Y", "left"], [1, 0, 1], ""),
    ],
)
def test_who_won_is_said_by_name_side_or_number(
    tmp_path: Path, words: list[str], outcome: list[float] | None, note: str
) -> None:
    found = read_duels(file(tmp_path, "left,right,winner\n" + "".join(f"X,Y,{word}\n" for word in words)))
    assert (found.broken == []) == (outcome is not None)
    if outcome is not None:
        assert found.duels.outcome.tolist() == outcome
    assert bool(note) == bool(found.notes)
    assert note in " ".join(found.notes)


@pytest.mark.parametrize("words", [["1", "0"], ["0", "1", "2"], ["1", "1"], ["-1", "1", "0"]])
def test_numbers_that_may_be_sides_or_scores_are_refused(tmp_path: Path, words: list[str]) -> None:
    with pytest.raises(DataError, match="whether such numbers are sides or scores cannot be told"):
        read_duels(file(tmp_path, "left,right,winner\n" + "".join(f"X,Y,{word}\n" for word in words)))


def test_things_called_by_numbers_are_meant_by_their_names(tmp_path: Path) -> None:
    found = read_duels(file(tmp_path, "left,right,winner\n1,2,2\n2,0,2\n0,1,1\n"))
    assert found.duels.outcome.tolist() == [0.0, 1.0, 0.0]


def test_comparisons_under_names_of_answers_are_read_and_told(tmp_path: Path) -> None:
    found = read_duels(file(tmp_path, "System A\tSystem B\tPreference\tAnnotator ID\tnote\nA\tB\tA\tann\t\n"))
    assert found.read_as == (
        "read left from 'System A', right from 'System B', winner from 'Preference', rater from 'Annotator ID'; 1 other column "
        "not read: 'note'."
    )
    assert found.raters == ["ann"]
    assert read_duels(file(tmp_path, "x,y,better\nA,B,B\n"), {"left": "x", "right": "y", "winner": "better"}).items == [
        "A",
        "B",
    ]
    assert read_duels(file(tmp_path, "A B A\nB C tie\n")).duels.outcome.tolist() == [1.0, 0.5]
    with pytest.raises(DataError, match=re.escape("'one' and 'two' and 'best' occur nowhere else")):
        read_duels(file(tmp_path, "one,two,best\nA,B,A\n"))


def test_texts_side_by_side_are_no_things_to_rank(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column for left and right"):
        read_duels(file(tmp_path, "prompt,response_a,response_b,winner\np,x,y,a\n"))
