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
from heed.raters.bradley_terry import bradley_terry
from heed.raters.crowd_bt import CrowdRanking, crowd_bradley_terry
from heed.raters.duel_files import NamedDuels, read_duels
from heed.raters.firmness import fewest_to_flip
from heed.raters.ranking import Method, crowd_flip, held_out_losses, rank, said_left

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
    assert "It predicts comparisons that it has not seen better" in shown
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
    heed("rank", str(tmp_path / "apart.csv"), "--draws", "40", "--quiet")
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
        (",B,left", "names nothing on the left"),
        ("A,B,C", "is 'C', which is neither the name"),
        ("A,B", "2 cells"),
    ],
)
def test_broken_rows_are_named_and_the_good_ones_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], row: str, said: str
) -> None:
    (tmp_path / "some.csv").write_text(f"left,right,winner\nA,B,left\n{row}\n")
    assert heed("rank", str(tmp_path / "some.csv"), "--draws", "40") == 1
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


def dueled(tmp_path: Path, *rows: str, header: str = "left,right,winner,rater,gold") -> NamedDuels:
    (tmp_path / "duels.csv").write_text("\n".join([header, *rows]) + "\n")
    return read_duels(tmp_path / "duels.csv")


def test_one_gold_answer_that_may_be_a_slip_decides_between_no_camps(tmp_path: Path) -> None:
    named = read_duels(write_duels(tmp_path / "duels.csv", inverted=3, honest=3))
    with pytest.raises(DataError, match="camps"):
        rank(named, "crowd-bt")
    # One rater who is honest has erred where the answer is known.
    honest = next(n for n in range(len(named.raters) * 60) if named.raters[named.rater[n]] == "r5")
    named.gold = np.full(named.rater.size, np.nan)
    named.gold[honest] = 1 - named.duels.outcome[honest]
    with pytest.raises(DataError, match="1 answer to gold items does not decide it"):
        rank(named, "crowd-bt")


def test_gold_that_all_raters_contradict_is_told(tmp_path: Path) -> None:
    named = read_duels(write_duels(tmp_path / "duels.csv", inverted=0, honest=6))
    named.gold = np.full(named.rater.size, np.nan)
    named.gold[::20] = 1 - named.duels.outcome[::20]
    with pytest.raises(DataError, match="known answers are wrong, or most raters invert"):
        rank(named, "crowd-bt")


def test_a_table_of_gold_alone_is_told_and_bradley_terry_ranks_it(tmp_path: Path) -> None:
    rows = ["A,B,left,r,left"] * 3 + ["B,A,left,s,right"]
    with pytest.raises(DataError, match="every comparison has a known answer"):
        rank(dueled(tmp_path, *rows), "crowd-bt")
    assert [place.item for place in rank(dueled(tmp_path, *rows), "bradley-terry").places] == ["A", "B"]


def test_comparisons_with_known_answers_are_not_counted_behind_a_ranking_that_they_do_not_teach(tmp_path: Path) -> None:
    named = read_duels(write_duels(tmp_path / "gold.csv", inverted=1, honest=7, gold=10))
    board = rank(named, "crowd-bt")
    assert board.comparisons == 8 * 50
    assert sum(place.comparisons for place in board.places) == 2 * 8 * 50


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("method", ["bradley-terry", "crowd-bt"])
def test_without_the_comparisons_it_counts_another_is_first(tmp_path: Path, seed: int, method: Method) -> None:
    named = read_duels(write_duels(tmp_path / "duels.csv", inverted=1, honest=7, seed=seed))
    duels = named.duels
    if method == "crowd-bt":
        learned = crowd_bradley_terry(duels.left, duels.right, duels.outcome, named.rater, items=duels.items)
        found = crowd_flip(named, learned)
    else:
        found = fewest_to_flip(duels, bradley_terry(duels))
    board = rank(named, method, draws=0)
    assert found is not None
    assert board.fewest_to_flip == found.votes.size
    kept = np.ones(named.rater.size, bool)
    kept[found.votes] = False
    left = NamedDuels(duels.only(kept), named.items, named.raters, named.rater[kept], None)
    again = rank(left, method, draws=0)
    assert again.places[0].item == board.flips_to != board.places[0].item


def test_where_nothing_connects_two_groups_no_first_place_is_called_firm(tmp_path: Path) -> None:
    rows = ["A,B,left"] * 5 + ["A,B,right"] * 4 + ["X,Y,left"] * 5 + ["X,Y,right"] * 4
    board = rank(dueled(tmp_path, *rows, header="left,right,winner"))
    assert board.groups == 2
    assert board.fewest_to_flip is None
    assert [place.place for place in board.places] == [1, 1, 3, 3]


def test_a_score_that_has_no_end_has_no_interval_and_the_others_keep_theirs(tmp_path: Path) -> None:
    round_robin = ["B,C,left", "C,D,left", "D,B,left", "B,C,right", "C,D,right"] * 4
    board = rank(dueled(tmp_path, *round_robin, "A,B,left", "A,C,left", header="left,right,winner"))
    by_name = {place.item: place.score for place in board.places}
    assert board.places[0].item == "A"
    assert (by_name["A"].low, by_name["A"].high) == (None, None)
    assert "no end" in (by_name["A"].reason or "")
    for name in "BCD":
        score = by_name[name]
        assert score.low < score.estimate < score.high


def test_draws_that_are_all_alike_leave_the_interval_of_the_information(tmp_path: Path) -> None:
    board = rank(dueled(tmp_path, *["A,B,tie"] * 40, header="left,right,winner"))
    # The difference of two scores from 40 even comparisons has the variance 1 / (40 / 4); each lies half of it from the mean.
    half = 1.959964 * (4 / 40) ** 0.5 / 2
    assert [place.place for place in board.places] == [1, 1]
    for place in board.places:
        assert place.score.high == pytest.approx(half, rel=1e-2)
        assert place.score.low == pytest.approx(-half, rel=1e-2)


def test_too_few_draws_for_an_interval_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="39 bootstrap draws"):
        rank(dueled(tmp_path, "A,B,left,r,"), draws=39)


def test_methods_that_foretell_alike_are_not_called_better(tmp_path: Path) -> None:
    named = dueled(
        tmp_path, *[f"A,B,tie,{rater}" for rater in "xyz" for _ in range(20)], header="left,right,winner,rater"
    )
    board = rank(named)
    assert board.method == "bradley-terry"
    assert "as well as" in board.why


def test_a_model_of_ties_is_not_passed_over(tmp_path: Path) -> None:
    named = read_duels(write_duels(tmp_path / "duels.csv", inverted=2, honest=8))
    with pytest.raises(DataError, match="ties graded of Crowd-BT"):
        rank(named, "crowd-bt", "graded")
    assert rank(named, "auto", "graded", draws=0).method == "bradley-terry"


def test_what_is_passed_over_or_can_be_taken_in_two_ways_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "odd.csv").write_text(
        "left,right,winner,ratr,winner\nright,left,left,x,right\nleft,right,left,y,left\n"
    )
    heed("rank", str(tmp_path / "odd.csv"), "--draws", "0")
    told = capsys.readouterr().err
    assert "2 other columns not read: 'ratr', 'winner'" in told
    assert "1 row names a winner that is called as the other side is" in told


def test_a_ranking_has_the_format_that_its_name_promises(tmp_path: Path) -> None:
    file = write_duels(tmp_path / "duels.csv", inverted=0, honest=4)
    for name in ("places.csv", "places.jsonl", "places.jsonl.gz"):
        heed("rank", str(file), "--draws", "0", "--out", str(tmp_path / name), "--quiet")
    with (tmp_path / "places.csv").open(newline="") as stream:
        table = [(row["item"], row["low"]) for row in csv.DictReader(stream)]
    assert table == [(name, "") for name in NAMES]
    with gzip.open(tmp_path / "places.jsonl.gz", "rt") as packed:
        lines = packed.read()
    assert lines == (tmp_path / "places.jsonl").read_text()
    rows = [json.loads(line) for line in lines.splitlines()]
    assert [(row["item"], row["place"], row["low"]) for row in rows] == [(n, i + 1, None) for i, n in enumerate(NAMES)]
    with pytest.raises(ConfigError, match="CSV or JSON lines"):
        heed("rank", str(file), "--out", str(tmp_path / "places.xlsx"), "--quiet")
    assert not (tmp_path / "places.xlsx").exists()


def test_a_ranking_says_in_plain_words_what_its_numbers_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_duels(tmp_path / "duels.csv", inverted=2, honest=8)
    heed("rank", str(file))
    shown = capsys.readouterr()
    assert "read left from 'left', right from 'right', winner from 'winner', rater from 'rater'." in shown.err
    assert "of two things 1 apart the higher wins 73 of 100 comparisons" in shown.out
    assert "Crowd-BT (scores from wins, and learns how far each rater can be relied on)" in shown.out
    for word in ("nats", "log-odds", "foretell", "answers  "):
        assert word not in shown.out
    # Chances in place of losses: what was said was given more of it by the method that was taken.
    plain, crowd = (100 * np.exp(-loss) for loss in held_out_losses(read_duels(file)))
    assert f"a chance of {crowd:.2f} % on (geometric) average, not {plain:.2f} %" in shown.out


def test_wins_are_those_of_a_rater_of_reliability_one_where_raters_are_told_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_duels(tmp_path / "duels.csv", inverted=2, honest=8)
    heed("rank", str(file), "--method", "bradley-terry", "--draws", "0", "-q")
    plain = capsys.readouterr().out
    assert "wins 73 of 100 comparisons, 2 apart 88; 0 is" in plain
    assert "reliability" not in plain
    # Two raters who are shown the higher one on either side, one apart and two apart.
    ways = np.array([[1, 0, 0, 0], [0.7, 0.2, 0.08, 0.02]])
    none = np.zeros(2)
    crowd = CrowdRanking(np.array([0.0, 1, 2]), np.zeros(3), ways, none, none, none, none, "gold", "", 0.0)
    low, high, rater = np.array([0, 0, 0, 0]), np.array([1, 1, 2, 2]), np.array([0, 1, 0, 1])
    wins = (said_left(crowd, high, low, rater) + 1 - said_left(crowd, low, high, rater)) / 2
    one, half, two, half_two = (f"{100 * win:.0f}" for win in wins)
    heed("rank", str(file), "--method", "crowd-bt", "-q")
    told = capsys.readouterr().out
    assert f"the higher wins {one} of 100 comparisons by a rater of reliability 1, 2 apart {two};" in told
    assert f"of reliability 0.5 it wins {half} and {half_two}, where sides are shuffled" in told


def test_who_won_is_said_to_be_lacking_or_to_be_no_side(tmp_path: Path) -> None:
    (tmp_path / "games.csv").write_text("left,right,winner,gold\nA,B,A,\nA,B,,\nA,B,C,\nA,B,B,tie\n")
    assert [row.reason for row in read_duels(tmp_path / "games.csv").broken] == [
        "its winner is 'C', which is neither the name of one of the two nor left, right or tie",
        "its gold is 'tie', which is neither the name of one of the two nor left or right",
    ]


def test_columns_of_comparisons_can_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "games.csv").write_text("home;away;best;day\nA;B;A;1\nB;C;C;1\nA;C;A;2\n")
    with pytest.raises(DataError, match="names none of left, right, winner"):
        heed("rank", str(tmp_path / "games.csv"))
    named = [f"--column={part}" for part in ("left=home", "right=away", "winner=best")]
    assert heed("rank", str(tmp_path / "games.csv"), *named, "--json", "--draws", "0", "-q") == 0
    assert [place["item"] for place in json.loads(capsys.readouterr().out)["places"]] == ["A", "C", "B"]
