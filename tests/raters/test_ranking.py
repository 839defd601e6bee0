"""``heed rank`` on plain files: what it reads, how it chooses its method, and what it says of what it found."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from heed.cli import app
from heed.errors import ConfigError, DataError
from heed.raters.duel_files import read_duels
from heed.raters.ranking import held_out_losses, rank

NAMES = ["ada", "bob", "cyd", "dan", "eve", "fay"]


def write_duels(path: Path, inverted: int, honest: int, each: int = 60, seed: int = 0, gold: int = 0) -> Path:
    """Comparisons of six things, each one log-odds better than the next, by honest and inverted raters."""
    rng = np.random.default_rng(seed)
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["left", "right", "winner", "rater", *(["gold"] if gold else [])])
        for rater in range(inverted + honest):
            for number in range(each):
                left, right = rng.choice(6, 2, replace=False)
                better = rng.random() < 1 / (1 + np.exp(left - right))
                known = number < gold
                if known:
                    better = left < right
                if rater < inverted:
                    better = not better
                row = [NAMES[left], NAMES[right], "left" if better else NAMES[right], f"r{rater}"]
                writer.writerow(row + ([NAMES[min(left, right)] if known else ""] if gold else []))
    return path


def heed(*arguments: str) -> int:
    return app(arguments, standalone_mode=False) or 0


def test_things_come_out_in_their_order_with_intervals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_duels(tmp_path / "duels.csv", inverted=2, honest=8)
    assert heed("rank", str(file), "--out", str(tmp_path / "places.csv"), "--quiet") == 0
    shown = capsys.readouterr().out
    places = [line.split()[1] for line in shown.splitlines() if line.split() and line.split()[0].isdigit()]
    assert places == NAMES
    assert "crowd-bt: It foretells held-out comparisons better" in shown
    assert "2 raters answer against it" in shown
    with (tmp_path / "places.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["item"] for row in rows] == NAMES
    assert all(float(row["low"]) < float(row["score"]) < float(row["high"]) for row in rows)


def test_json_has_the_raters_worst_first_by_reliability(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_duels(tmp_path / "duels.csv", inverted=2, honest=8)
    heed("rank", str(file), "--json", "--quiet")
    board = json.loads(capsys.readouterr().out)
    by_name = {rater["rater"]: rater["reliability"]["estimate"] for rater in board["raters"]}
    assert {name for name, reliability in by_name.items() if reliability < 0} == {"r0", "r1"}


def test_two_camps_without_gold_are_an_error_and_with_gold_an_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DataError) as refused:
        heed("rank", str(write_duels(tmp_path / "camps.csv", inverted=6, honest=4)), "--method", "crowd-bt", "--quiet")
    assert "gold" in str(refused.value)
    heed("rank", str(write_duels(tmp_path / "gold.csv", inverted=6, honest=4, gold=10)), "--json", "--quiet")
    board = json.loads(capsys.readouterr().out)
    assert [place["item"] for place in board["places"]] == NAMES
    assert "gold" in board["direction"]


def test_honest_raters_gain_nothing_from_being_told_apart(tmp_path: Path) -> None:
    plain, crowd = held_out_losses(read_duels(write_duels(tmp_path / "duels.csv", inverted=0, honest=10)))
    assert plain < crowd


def test_bradley_terry_says_how_firm_the_first_place_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ["left,right,winner", *["A,B,A"] * 6, *["A,B,B"] * 5]
    (tmp_path / "close.csv").write_text("\n".join(rows))
    heed("rank", str(tmp_path / "close.csv"), "--quiet")
    shown = capsys.readouterr().out
    assert "does not say who compared" in shown
    assert "Without 2 comparisons of 11, B would be first." in shown


def test_what_no_comparison_connects_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "apart.csv").write_text("left,right,winner\nA,B,left\nC,D,tie\n")
    heed("rank", str(tmp_path / "apart.csv"), "--draws", "10", "--quiet")
    assert "2 groups that no comparison connects" in capsys.readouterr().out


def test_files_of_other_programs_are_read(tmp_path: Path) -> None:
    arena = "model_a,model_b,winner,judge\nx,y,model_a,j\ny,z,tie (bothbad),j\nz,x,model_b,k\n"
    with gzip.open(tmp_path / "arena.csv.gz", "wt") as stream:
        stream.write(arena)
    found = read_duels(tmp_path / "arena.csv.gz")
    assert found.items == ["x", "y", "z"]
    assert found.duels.outcome.tolist() == [1.0, 0.5, 0.0]
    assert found.raters == ["j", "k"]


def test_a_thing_called_as_a_side_is_meant_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "odd.csv").write_text("left,right,winner\nb,a,b\n")
    assert read_duels(tmp_path / "odd.csv").duels.outcome.tolist() == [1.0]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("A,A,left", "with itself"),
        (",B,left", "what was compared"),
        ("A,B,C", "none of"),
        ("A,B", "2 cells"),
        ("A,B,", "none of"),
    ],
)
def test_broken_rows_are_named_and_the_good_ones_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], row: str, said: str
) -> None:
    (tmp_path / "some.csv").write_text(f"left,right,winner\nA,B,left\n{row}\n")
    assert heed("rank", str(tmp_path / "some.csv"), "--draws", "5") == 1
    shown = capsys.readouterr()
    assert "line 3" in shown.err
    assert said in shown.err
    assert "A" in shown.out


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"left,right,winner\n",
        b"left,winner\nA,left\n",
        b"\xff\xfeleft",
        b"left,right,winner\nA,\xe4,left\n",
        b"\0\0\0",
    ],
)
def test_files_without_a_comparison_say_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "none.csv").write_bytes(content)
    with pytest.raises(DataError):
        read_duels(tmp_path / "none.csv")


def test_the_file_that_is_read_is_not_replaced(tmp_path: Path) -> None:
    file = write_duels(tmp_path / "duels.csv", inverted=0, honest=3, each=5)
    before = file.read_bytes()
    with pytest.raises(ConfigError):
        heed("rank", str(file), "--out", str(file))
    assert file.read_bytes() == before


def test_names_that_a_spreadsheet_would_run_are_written_harmless_and_read_back(tmp_path: Path) -> None:
    (tmp_path / "duels.csv").write_text("left,right,winner\n=1+1,B,left\n=1+1,B,left\n")
    heed("rank", str(tmp_path / "duels.csv"), "--draws", "0", "--out", str(tmp_path / "places.csv"), "--quiet")
    assert "'=1+1" in (tmp_path / "places.csv").read_text()
    (tmp_path / "again.csv").write_text("left,right,winner\n'=1+1,B,left\n")
    assert read_duels(tmp_path / "again.csv").items == ["=1+1", "B"]


def test_few_comparisons_of_each_thing_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    heed("rank", str(write_duels(tmp_path / "few.csv", 0, 3, each=10)), "--method", "crowd-bt", "--quiet")
    assert "more reliable than they are" in capsys.readouterr().out
    heed("rank", str(write_duels(tmp_path / "many.csv", 0, 8, each=60)), "--method", "crowd-bt", "--quiet")
    assert "more reliable than they are" not in capsys.readouterr().out


def test_crowd_bt_without_raters_is_refused(tmp_path: Path) -> None:
    (tmp_path / "duels.csv").write_text("left,right,winner\nA,B,left\n")
    with pytest.raises(DataError):
        rank(read_duels(tmp_path / "duels.csv"), "crowd-bt")
