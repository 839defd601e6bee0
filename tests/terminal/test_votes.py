"""``heed aggregate`` and ``heed agreement``: what they print and write, in a folder without a project."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from crowds import Crowd, camps, coins, crowd
from heed.cli import app
from heed.errors import ConfigError, DataError
from heed.raters.agreement import krippendorff_alpha, undefined
from heed.raters.choosing import choose
from heed.raters.kappa import cohen_kappa
from heed.statistics import Interval
from heed.terminal.agreement_tables import meaning


def heed(*arguments: str) -> int:
    """The command in this process; its exit code."""
    return app(arguments, standalone_mode=False) or 0


def write(path: Path, made: Crowd, extra: list[str] | None = None) -> None:
    votes = made.votes
    rows = zip(votes.item.tolist(), votes.rater.tolist(), votes.label.tolist(), extra or [""] * votes.size, strict=True)
    lines = [f"{votes.items[i]},{votes.raters[r]},{votes.labels[k]},{more}\n" for i, r, k, more in rows]
    path.write_text("task,worker,answer,group\n" + "".join(lines), encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def made(folder: Path) -> Crowd:
    """A crowd of eight raters, one of whom turns labels around, in votes.csv."""
    found = crowd(np.random.default_rng(0), 40, 4, coins(np.array([0.1, *np.linspace(0.7, 0.95, 7)])))
    write(folder / "votes.csv", found)
    return found


def test_aggregate_names_its_method_and_tells_whom_to_trust(
    made: Crowd, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert heed("aggregate", "votes.csv", "--out", "found.csv") == 0
    shown = capsys.readouterr()
    expected = choose(made.votes)
    assert "160 answers of 8 raters on 40 items; labels 0, 1" in shown.out
    assert expected.reason in shown.out
    assert "raters who can be told apart from chance use the labels this way round" in shown.out
    assert "r0000" in next(line for line in shown.out.splitlines() if "worse than chance" in line)
    assert "and 20 more items: the file" in shown.out
    raters = shown.out.split("raters, those first who are right least often:")[1].split(
        "items, in the order of the file:"
    )[0]
    right = [float(line.split()[2]) for line in raters.splitlines() if line.startswith(" r0")]
    assert right == sorted(right)
    assert len(set(right)) > 2
    assert "read item from 'task', rater from 'worker', label from 'answer', group from 'group'." in shown.err
    with Path("found.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["item"] for row in rows] == list(made.votes.items)
    found = np.array([[float(row["p(0)"]), float(row["p(1)"])] for row in rows])
    assert found == pytest.approx(expected.consensus.probabilities, abs=1e-6)
    assert [row["label"] for row in rows] == [str(label) for label in found.argmax(axis=1)]
    assert {row["votes"] for row in rows} == {"4"}


def test_json_has_all_of_it_and_lines_keep_the_names(made: Crowd, capsys: pytest.CaptureFixture[str]) -> None:
    assert heed("aggregate", "votes.csv", "--json", "--method", "dawid-skene", "--out", "found.jsonl.gz", "-q") == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    values = json.loads(shown.out)
    assert (values["method"], values["direction"]["by"]) == ("dawid-skene", "majority")
    assert len(values["items"]) == 40
    assert [row["accuracy"] for row in values["raters"]] == sorted(row["accuracy"] for row in values["raters"])
    assert all(row["low"] < row["accuracy"] < row["high"] for row in values["raters"])
    lines = gzip.decompress(Path("found.jsonl.gz").read_bytes()).decode().splitlines()
    assert [json.loads(line) for line in lines] == values["items"]


def test_known_labels_are_taken_as_certain_and_show_what_votes_alone_are_worth(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = camps(np.random.default_rng(1), 100, 5, 10, turned=0.6)
    write(folder / "votes.csv", made)
    gold = "".join(f"{made.votes.items[k]},{made.truth[k]}\n" for k in range(10)) + "gone,1\n"
    (folder / "gold.csv").write_text("item,label\n" + gold, encoding="utf-8")
    assert heed("aggregate", "votes.csv", "--out", "without.csv") == 1
    shown = capsys.readouterr()
    assert "which label is which: not known. The raters are in two camps" in shown.out
    assert "--gold FILE" in shown.out
    assert "how far each rater is right: undefined. Which label is which is not known" in shown.out
    assert "right least often" not in shown.out  # nobody knows who that is
    assert "turned around?" not in shown.out
    assert heed("aggregate", "votes.csv", "--json", "-q") == 1
    raters = json.loads(capsys.readouterr().out)["raters"]
    assert len(raters) == 10
    for row in raters:
        assert (row["accuracy"], row["low"], row["high"]) == (None, None, None)
        assert "Which label is which is not known" in row["reason"]
    with Path("without.csv").open(encoding="utf-8", newline="") as stream:
        assert {(row["label"], row["probability"]) for row in csv.DictReader(stream)} == {("", "0.5")}
    assert heed("aggregate", "votes.csv", "--gold", "gold.csv", "--out", "with.csv") == 0
    shown = capsys.readouterr()
    assert "10 known labels decide it" in shown.out
    assert "Without the known labels this method calls 0 of these 10 items rightly." in shown.out
    assert "1 known label of items without an answer left out" in shown.err
    (folder / "one.csv").write_text(f"item,label\n{made.votes.items[0]},{made.truth[0]}\n", encoding="utf-8")
    heed("aggregate", "votes.csv", "--gold", "one.csv")
    assert "Without the known labels this method calls 0 of this one item rightly." in capsys.readouterr().out
    (folder / "one.csv").write_text(f"item,label\n{made.votes.items[0]},O\n", encoding="utf-8")
    with pytest.raises(DataError, match="nobody gave any item the label 'O'"):
        heed("aggregate", "votes.csv", "--gold", "one.csv")
    with Path("with.csv").open(encoding="utf-8", newline="") as stream:
        labels = [int(row["label"]) for row in csv.DictReader(stream)]
    assert (np.array(labels) == made.truth).mean() > 0.9


def test_rows_left_out_are_told_and_the_exit_code_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "votes.csv").write_text(
        "item,rater,label,x\na,r,1,\na,s,1,\nb,r,,\nb,r\nb,s,2,\na,r,1,\n", encoding="utf-8"
    )
    assert heed("aggregate", "votes.csv", "-q") == 1
    shown = capsys.readouterr()
    assert "votes.csv, line 5: 2 cells" in shown.err
    assert "1 row without a label left out" in shown.err
    assert "1 row that says again what the same rater said" in shown.err
    assert "3 answers are too few" in shown.out
    (folder / "twice.csv").write_text("a r 1\na r 2\n", encoding="utf-8")
    with pytest.raises(DataError, match="contradictions"):
        heed("agreement", "twice.csv")
    assert heed("agreement", "twice.csv", "--contradictions", "last") == 0


def test_a_row_without_a_label_alone_gives_exit_code_one(folder: Path) -> None:
    (folder / "votes.csv").write_text("a r 1\na s 1\nb r 2\n", encoding="utf-8")
    assert heed("aggregate", "votes.csv") == 0
    assert heed("agreement", "votes.csv") == 0
    (folder / "votes.csv").write_text("a,r,1\na,s,1\nb,r,2\nb,s,\n", encoding="utf-8")
    assert heed("aggregate", "votes.csv") == 1
    assert heed("agreement", "votes.csv") == 1


def test_a_result_has_the_format_that_its_name_promises(made: Crowd, folder: Path) -> None:
    for out in ("found.xlsx", "found.parquet", "found.json", "found.tsv", "found.parquet.gz", "found.jsonl.xlsx"):
        with pytest.raises(ConfigError) as refused:
            heed("aggregate", "votes.csv", "--out", out)
        assert ".csv or .jsonl" in refused.value.fix
        assert not (folder / out).exists()
    for out in ("found", "found.csv.gz", "found.JSONL"):
        assert heed("aggregate", "votes.csv", "--out", out, "-q") == 0
    assert (folder / "found").read_bytes() == gzip.decompress((folder / "found.csv.gz").read_bytes())
    assert json.loads((folder / "found.JSONL").read_text().splitlines()[0])["item"] == made.votes.items[0]


@pytest.mark.parametrize("command", ["aggregate", "agreement"])
def test_a_dash_is_standard_input(made: Crowd, folder: Path, command: str) -> None:
    program = [sys.executable, "-c", "from heed.cli import main; main()", command]
    votes = (folder / "votes.csv").read_bytes()
    piped = subprocess.run([*program, "-", "--json"], input=votes, capture_output=True, timeout=120)
    named = subprocess.run([*program, "votes.csv", "--json"], capture_output=True, timeout=120)
    assert piped.returncode == named.returncode == 0, piped.stderr
    assert json.loads(piped.stdout) == json.loads(named.stdout)
    assert piped.stderr.startswith(b"/dev/stdin: read item from 'task'")


def test_few_votes_give_probabilities_that_follow_them_and_say_what_they_lack(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = ["a r yes", "a s yes", "a t no", "b r no", "b s no", "b t yes", "c r yes", "c s no", "c t yes"]
    (folder / "votes.csv").write_text("\n".join(said), encoding="utf-8")
    assert heed("aggregate", "votes.csv") == 0
    shown = capsys.readouterr().out
    assert "how far each rater is right: no intervals. The answers do not say enough" in shown
    assert "may still move" not in shown
    assert heed("aggregate", "votes.csv", "--json") == 0
    items = json.loads(capsys.readouterr().out)["items"]
    assert [(item["label"], round(item["probability"], 6)) for item in items] == [
        ("yes", 0.6),
        ("no", 0.6),
        ("yes", 0.6),
    ]


def test_a_file_is_not_written_over_what_is_read(made: Crowd, folder: Path) -> None:
    (folder / "gold.csv").write_text("item,label\ni0000,1\n", encoding="utf-8")
    before = (folder / "votes.csv").read_bytes()
    for out in ("votes.csv", "./gold.csv"):
        with pytest.raises(ConfigError, match="would be replaced"):
            heed("aggregate", "votes.csv", "--gold", "gold.csv", "--out", out)
    assert (folder / "votes.csv").read_bytes() == before
    (folder / "gold.csv").write_text("item,label\nother,1\n", encoding="utf-8")
    with pytest.raises(DataError, match="none of its items has an answer"):
        heed("aggregate", "votes.csv", "--gold", "gold.csv")


def test_hostile_names_are_shown_and_written_harmlessly(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "votes.csv").write_text("item,rater,label\n'=cmd(),\x1b[31mred,=2\n'=cmd(),s,=2\n", encoding="utf-8")
    assert heed("aggregate", "votes.csv", "--out", "found.csv") == 0
    shown = capsys.readouterr()
    assert "\x1b" not in shown.out + shown.err
    assert "␛[31mred" in shown.out
    written = Path("found.csv").read_text(encoding="utf-8").splitlines()
    assert written[1].startswith("'=cmd(),'=2,")


def test_agreement_tells_it_in_words_and_by_group(
    made: Crowd, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    groups = ["x" if rater % 2 else "y" for rater in made.votes.rater.tolist()]
    write(folder / "votes.csv", made, groups)
    assert heed("agreement", "votes.csv") == 0
    shown = capsys.readouterr().out
    votes = made.votes
    alpha = krippendorff_alpha(votes.item, votes.rater, votes.label, "nominal")
    assert f"alpha (nominal): {alpha.estimate:.3f} ({alpha.low:.3f} to {alpha.high:.3f})" in shown
    assert meaning(alpha) in shown
    assert "within group" in shown
    assert heed("agreement", "votes.csv", "--json", "--level", "interval", "-q") == 0
    values = json.loads(capsys.readouterr().out)
    assert values["fleiss"] is None
    assert [one["part"] for one in values["by"]["group"]] == ["x", "y"]
    pair = values["pairs"][0]
    codes = [list(votes.raters).index(pair[name]) for name in ("first", "second")]
    said = [dict(zip(votes.item[votes.rater == code], votes.label[votes.rater == code], strict=True)) for code in codes]
    both = sorted(set(said[0]) & set(said[1]))
    expected = cohen_kappa(*([one[item] for item in both] for one in said), weights="quadratic", order=[0, 1], draws=0)
    assert (pair["items"], pair["kappa"]["estimate"]) == (len(both), pytest.approx(expected.estimate))


def test_agreement_over_time_is_by_windows(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        f"i{day}-{k},{rater},{k % 2},2026-03-{day:02d}T12:00:00Z\n"
        for day in (1, 2, 9)
        for k in range(6)
        for rater in "ab"
    ]
    (folder / "votes.csv").write_text("item,rater,label,created\n" + "".join(rows), encoding="utf-8")
    assert heed("agreement", "votes.csv", "--window", "7", "--json") == 0
    windows = json.loads(capsys.readouterr().out)["by"]["time"]
    assert [(one["part"], one["votes"]) for one in windows] == [("2026-03-01 12:00", 24), ("2026-03-08 12:00", 12)]
    (folder / "votes.csv").write_text("item,rater,label,created\na,r,1,yesterday\n", encoding="utf-8")
    with pytest.raises(DataError, match="neither seconds since 1970 nor a date"):
        heed("agreement", "votes.csv")


def test_names_have_no_order(folder: Path) -> None:
    (folder / "votes.csv").write_text("a r good\na s bad\n", encoding="utf-8")
    with pytest.raises(DataError, match="the order of names is not known"):
        heed("agreement", "votes.csv", "--level", "ordinal")


@pytest.mark.parametrize(
    ("estimate", "low", "high", "words"),
    [
        (0.9, 0.85, 0.95, "can be relied on"),
        (0.75, 0.7, 0.8, "cautious conclusions"),
        (0.7, 0.5, 0.85, "it is open whether"),
        (0.4, 0.3, 0.5, "too little to rely on"),
        (0.1, -0.1, 0.3, "may be none at all"),
        (-0.3, -0.5, -0.1, "less than if they chose by chance"),
    ],
)
def test_alpha_is_explained_by_its_whole_interval(estimate: float, low: float, high: float, words: str) -> None:
    interval = Interval(estimate=estimate, low=low, high=high, confidence=0.95, prompts=9, n=9, method="m")
    assert words in meaning(interval)  # type: ignore[arg-type]
    assert "cannot be said yet" in meaning(undefined("nothing", "no answers", "m"))


def test_without_an_interval_no_label_is_said_to_be_relied_on(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "votes.csv").write_text("item,rater,label\na,r,yes\na,s,yes\nb,r,no\nb,s,no\n", encoding="utf-8")
    heed("agreement", "votes.csv")
    shown = capsys.readouterr().out
    assert "alpha (nominal): 1.000 (no interval" in shown
    assert "cannot be said yet" in shown
    assert "relied on." not in shown


@pytest.mark.parametrize(("labels", "hinted"), [("12345", True), ("01", False), ("abc", False)])
def test_labels_that_may_be_points_of_a_scale_are_told(
    folder: Path, capsys: pytest.CaptureFixture[str], labels: str, hinted: bool
) -> None:
    rows = [f"i{n},{rater},{labels[n % len(labels)]}" for n in range(20) for rater in "rs"]
    (folder / "votes.csv").write_text("\n".join(["item,rater,label", *rows]), encoding="utf-8")
    heed("agreement", "votes.csv")
    assert ("--level ordinal" in capsys.readouterr().out) == hinted
    if hinted:
        heed("agreement", "votes.csv", "--level", "ordinal")
        assert "--level" not in capsys.readouterr().out


def test_what_was_read_and_what_may_be_misspelt_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"i{k},{rater},{'yes' if k % 2 else 'no'},x" for k in range(20) for rater in ("anna", "bob")]
    text = "\n".join(["example_id,worker,answer,lang", *rows, "i20,Anna,Yes,x"])
    (folder / "votes.csv").write_text(text, encoding="utf-8")
    for command in ("aggregate", "agreement"):
        heed(command, "votes.csv")
        told = capsys.readouterr().err.splitlines()
        assert told[0] == (
            "votes.csv: read item from 'example_id', rater from 'worker', label from 'answer'; 1 other column not read: 'lang'."
        )
        assert "labels 'yes' (20 answers) and 'Yes' (1 answer) may be the same" in told[1]
        # It bears on every number, so quiet keeps it.
        heed(command, "votes.csv", "-q")
        assert capsys.readouterr().err.splitlines() == told[1:]


def test_columns_and_wide_sheets_can_be_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "long.csv").write_text("no,who,said\n1,a,y\n1,b,y\n2,a,n\n2,b,y\n", encoding="utf-8")
    (folder / "wide.csv").write_text("no,a,b,lang\n1,y,y,en\n2,n,y,en\n", encoding="utf-8")
    named = [f"--column={part}" for part in ("item=no", "rater=who", "label=said")]
    found = []
    for arguments in (["long.csv", *named], ["wide.csv", "--column", "item=no", "--wide", "a, b"]):
        assert heed("aggregate", *arguments, "--json", "-q") == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0] == found[1]
    for wrong in (["--column", "item"], ["--column", "item=no", "--column", "item=who"], ["--wide", ","]):
        with pytest.raises(ConfigError) as refused:
            heed("aggregate", "long.csv", *wrong)
        assert refused.value.fix


def test_a_rater_of_one_answer_does_not_look_perfect(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "few.csv").write_text("a r yes\na s yes\na t no\nb r no\nb s no\nc r yes\nc s no\n", encoding="utf-8")
    heed("aggregate", "few.csv", "-q")
    row = next(line for line in capsys.readouterr().out.splitlines() if line.split()[:1] == ["t"])
    assert "one answer: says nothing yet" in row
    rows = [f"i{k},{rater},{(k + (rater == 'c') * (k % 5 == 0)) % 2}" for k in range(40) for rater in "abc"]
    (folder / "many.csv").write_text("\n".join(["item,rater,label", *rows, "i1,new,1", "i1,two,1", "i2,two,0"]))
    heed("aggregate", "many.csv", "-q")
    raters = [line for line in capsys.readouterr().out.splitlines() if line.split()[:1] in (["new"], ["two"], ["a"])]
    told = {line.split()[0]: line for line in raters}
    assert "one answer: says nothing yet" in told["new"]
    assert "too few answers to judge by" in told["two"]
    assert told["a"].rstrip().endswith("%")
    for line in (told["new"], told["two"]):
        assert float(line.split(" to ")[0].split()[-2]) < 50  # the lower end of an interval


def test_tables_use_one_word_and_no_jargon(made: Crowd, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["aggregate", "votes.csv"], ["agreement", "votes.csv"]):
        heed(*arguments)
        shown = capsys.readouterr().out.replace("votes.csv", "").replace("majority vote", "")
        for word in ("vote", "nats", "one coin", "judgment", "observation", "log-odds"):
            assert word not in shown
    heed("aggregate", "votes.csv")
    assert "Dawid-Skene: learns each rater's typical mistakes" in capsys.readouterr().out
