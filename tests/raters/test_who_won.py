"""Who won, by the words of a column: each file against what a person would read in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from heed.errors import DataError
from heed.raters.duel_files import NamedDuels, read_duels

TURNED = {"left": "model_b", "right": "model_a"}


def read(tmp_path: Path, text: str, named: dict[str, str] | None = None) -> NamedDuels:
    path = tmp_path / "duels.csv"
    path.write_text(text, encoding="utf-8")
    return read_duels(path, named)


def winners(found: NamedDuels) -> list[str]:
    """The name of who won in each comparison, or nothing."""
    duels = found.duels
    rows = zip(duels.left.tolist(), duels.right.tolist(), duels.outcome.tolist(), strict=True)
    return [{1.0: found.items[left], 0.0: found.items[right], 0.5: ""}[won] for left, right, won in rows]


# Names and sides


@pytest.mark.parametrize(
    ("rows", "won"),
    [
        ("B,A,a A,B,b B,A,a", "A B A"),
        ("b,a,A a,b,A b,c,b a,c,a", "a a b a"),
        ("caf\u00e9,tea,cafe\u0301 tea,caf\u00e9,CAFE\u0301", "caf\u00e9 caf\u00e9"),
        ("\uff21,B,a b,\uff21,B", "\uff21 b"),
        ("A,a,a A,a,A", "a A"),
        ("GPT,Llama,llama Llama,GPT,left", "Llama Llama"),
    ],
)
def test_a_name_wins_in_whatever_case_or_form_it_is_written(tmp_path: Path, rows: str, won: str) -> None:
    found = read(tmp_path, "\n".join(["left,right,winner", *rows.split()]))
    assert winners(found) == won.split()
    assert found.broken == []


def test_names_taken_against_the_side_of_that_name_are_told(tmp_path: Path) -> None:
    assert (
        read(tmp_path, "left,right,winner\nB,A,a\nA,B,a\nA,C,C\n")
        .notes[0]
        .startswith("1 row names a winner that is called")
    )


@pytest.mark.parametrize(
    "rows",
    [
        "b,a,a x,y,a",  # a: the right one by name, and the left side of two others
        "b,a,a x,y,b",
        "B,A,a X,Y,model_b",
        "right,left,left x,y,right",
        "5,1,1 3,4,2",  # of ten things called by numbers, 1 and 2 may be sides
        "x,tie,tie x,y,tie",
        "none,x,none x,y,none",
    ],
)
def test_words_that_are_names_here_and_sides_there_are_refused(tmp_path: Path, rows: str) -> None:
    with pytest.raises(DataError) as refused:
        read(tmp_path, "\n".join(["left,right,winner", *rows.split()]))
    assert "line 2" in refused.value.why
    assert "line 3" in refused.value.why
    assert "Write left, right or tie there" in refused.value.fix


def test_where_names_win_the_name_of_a_third_thing_is_no_side(tmp_path: Path) -> None:
    found = read(tmp_path, "left,right,winner\na,c,c\nb,c,a\nb,c,left\n")
    assert winners(found) == ["c", "b"]
    assert [row.line for row in found.broken] == [3]


def test_letters_are_sides_where_no_row_says_otherwise(tmp_path: Path) -> None:
    assert winners(read(tmp_path, "left,right,winner\na,c,a\nc,d,b\nd,c,a\n")) == ["a", "d", "d"]


# Columns read the other way round


@pytest.mark.parametrize(
    ("words", "won"),
    [
        (["a", "b"], ["x", "y"]),
        (["model_a", "Model B"], ["x", "y"]),
        (["response_b", "A"], ["y", "x"]),
        (["left", "right"], ["y", "x"]),
        (["x", "tie"], ["x", ""]),
    ],
)
def test_a_letter_goes_with_the_column_that_bears_it(tmp_path: Path, words: list[str], won: list[str]) -> None:
    text = "model_a,model_b,winner\n" + "".join(f"x,y,{word}\n" for word in words)
    assert winners(read(tmp_path, text, TURNED)) == won


@pytest.mark.parametrize(
    ("header", "word"),
    [("modelA,modelB", "a"), ("a_text,b_text", "a"), ("player1,player2", "model 1"), ("left,x", "left")],
)
def test_columns_bear_letters_and_numbers_in_several_ways(tmp_path: Path, header: str, word: str) -> None:
    first, second = header.split(",")
    text = f"{header},winner\nx,y,{word}\n"
    assert winners(read(tmp_path, text, {"left": second, "right": first})) == ["x"]
    assert winners(read(tmp_path, text, {"left": first, "right": second})) == ["x"]


@pytest.mark.parametrize("words", [["1", "2"], ["first", "second"], ["0", "0.5"], ["option_1", "a"]])
def test_what_the_turned_columns_do_not_bear_is_refused(tmp_path: Path, words: list[str]) -> None:
    text = "model_a,model_b,winner\n" + "".join(f"x,y,{word}\n" for word in words)
    with pytest.raises(DataError, match="the other way round than these are called"):
        read(tmp_path, text, TURNED)


@pytest.mark.parametrize("hot", ["winner_model_a,winner_model_b", "winner_a,winner_b", "winner_b,winner_a"])
def test_columns_of_who_won_go_with_the_columns_that_bear_their_letters(tmp_path: Path, hot: str) -> None:
    ones = {"a": "1,0", "b": "0,1"} if hot.endswith("b") else {"a": "0,1", "b": "1,0"}
    text = f"model_a,model_b,{hot}\nx,y,{ones['a']}\nx,y,{ones['b']}\n"
    assert winners(read(tmp_path, text)) == ["x", "y"]
    assert winners(read(tmp_path, text, TURNED)) == ["x", "y"]
    with pytest.raises(DataError, match="no column for winner"):
        read(tmp_path, text.replace(hot, "winner_1,winner_2"), TURNED)


# Numbers


@pytest.mark.parametrize(
    "words", ["1 2 2 4 5 3", "0.2 0.5 0.9", "1 2 3", "0 0.5 2", "1 2 1.5", "1 0", "-1 1 0", "1 2 3 tie tie tie tie tie"]
)
def test_a_scale_is_no_sides(tmp_path: Path, words: str) -> None:
    with pytest.raises(DataError) as refused:
        read(tmp_path, "\n".join(["left,right,winner", *(f"x,y,{word}" for word in words.split())]))
    assert "whether such numbers are sides or scores cannot be told" in refused.value.why
    assert "Write left, right or tie there" in refused.value.fix


def test_a_stray_number_among_words_is_a_broken_row(tmp_path: Path) -> None:
    found = read(tmp_path, "left,right,winner\nx,y,left\ny,x,left\nx,y,7\n")
    assert winners(found) == ["x", "y"]
    assert [row.line for row in found.broken] == [4]


@pytest.mark.parametrize(
    ("rows", "won"),
    [
        ("x,y,1.0 x,y,2.0", ["x", "y"]),
        ("x,y,1.0 x,y,0.0 x,y,0.50", ["x", "y", ""]),
        ("1,2,1.0 2,1,1.0 2,3,3.0", ["1", "1", "3"]),  # names that became floats
        ("7.0,8.0,8 8.0,7.0,8", ["8.0", "8.0"]),
    ],
)
def test_floats_are_the_numbers_that_they_are(tmp_path: Path, rows: str, won: list[str]) -> None:
    assert winners(read(tmp_path, "\n".join(["left,right,winner", *rows.split()]))) == won


def test_strengths_may_be_floats_or_missing(tmp_path: Path) -> None:
    cells = ["3", "1.0", "2.0", "0.0", "", "nan", "None", "0.5", "-3"]
    found = read(tmp_path, "left,right,winner,strength\n" + "".join(f"x,y,left,{cell}\n" for cell in cells))
    assert found.duels.strength is not None
    assert found.duels.strength.tolist() == [3, 1, 2, 0, 0, 0, 0]
    assert [row.line for row in found.broken] == [9, 10]


def test_numbers_of_gold_mean_what_those_of_the_winners_do(tmp_path: Path) -> None:
    found = read(tmp_path, "left,right,winner,gold\nx,y,1.0,\ny,x,2.0,1.0\nx,y,1.0,nan\n")
    assert found.gold is not None
    assert [str(value) for value in found.gold.tolist()] == ["nan", "1.0", "nan"]


# No answer


@pytest.mark.parametrize("word", ["None", "none", "null", "NaN", "n/a", "N/A", "", " "])
def test_a_missing_answer_is_no_tie(tmp_path: Path, word: str) -> None:
    found = read(tmp_path, f"left,right,winner\nx,y,{word}\nx,y,{word}\nx,y,left\nx,y,tie\n")
    assert winners(found) == ["x", ""]
    assert found.broken == []
    assert found.notes == ["2 rows do not say who won: no answer, not a tie; left out."]
    with pytest.raises(DataError, match="no row says who won"):
        read(tmp_path, f"left,right,winner\nx,y,{word}\n")


def test_a_thing_may_be_called_none(tmp_path: Path) -> None:
    assert winners(read(tmp_path, "left,right,winner\nx,None,None\nx,None,x\n")) == ["None", "x"]


@pytest.mark.parametrize("empty", ["0,0", ",", "0.0,", "nan,nan", "False,False"])
def test_columns_that_say_of_no_side_that_it_won_say_nothing(tmp_path: Path, empty: str) -> None:
    head = "model_a,model_b,winner_model_a,winner_model_b"
    found = read(tmp_path, f"{head}\nx,y,1,0\nx,y,{empty}\nx,y,0,1\n")
    assert winners(found) == ["x", "y"]
    assert found.notes == ["1 row does not say who won: no answer, not a tie; left out."]
    tied = read(tmp_path, f"{head},winner_tie\nx,y,{empty},1\nx,y,{empty},0\nx,y,0,1,0\n")
    assert winners(tied) == ["", "y"]
