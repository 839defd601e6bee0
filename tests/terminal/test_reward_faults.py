"""``heed train reward`` and ``heed reweigh`` on files that say less than they seem to: each is told, and where it lies."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from heed.cli import app
from heed.errors import ConfigError, DataError, ModelError
from heed.stages.results import trained_on
from heed.stages.selecting import look_at
from tiny_models import byte_policy
from tiny_project import letters, write_lines

SCALES = {name: {"low": 1, "high": 5, "step": 1} for name in ("kind", "brief")}
LINEAR = ("train", "reward", "--backbone", "linear", "-q")
NETWORK = ("train", "reward", "--model", "model", "-q", "--set", "epochs=1", "--set", "prompts_per_step=8")


def heed(*arguments: str) -> int:
    return app(arguments, standalone_mode=False) or 0


def vote(number: int, choice: str = "a", rater: str = "ann", **more: Any) -> dict[str, Any]:
    texts = ["aaa" + letters(number, 2), "bbb" + letters(number, 2)]
    said = {"kind": "comparison", "rater": rater, "prompt": letters(number, 3), "completions": texts, "choice": choice}
    return said | more


def thumb(number: int, up: bool) -> dict[str, Any]:
    return {
        "kind": "thumb",
        "rater": "ann",
        "prompt": letters(number, 3),
        "completions": ["x" * (number + 1)],
        "up": up,
    }


def rating(number: int, kind: int, brief: int) -> dict[str, Any]:
    scores = {"kind": kind, "brief": brief}
    texts = ["a" * kind + "b" * brief + letters(number, 2)]
    return {"kind": "rating", "prompt": letters(number // 2, 3), "completions": texts, "scores": scores} | {
        "rater": "ann",
        "scales": SCALES,
    }


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a tiny model and sixty votes, thirty of each of two raters."""
    make_place(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEED_CACHE", str(tmp_path / "cache"))
    return tmp_path


def make_place(folder: Path) -> None:
    byte_policy().save(folder / "model")
    write_lines(folder / "votes.jsonl", [vote(n, c, r) for n in range(30) for c, r in (("a", "ann"), ("a", "bob"))])


# Known answers


def test_known_answers_that_contradict_each_other_are_refused_by_their_lines(place: Path) -> None:
    turned = vote(1, "a")
    turned["completions"].reverse()
    write_lines(place / "gold.jsonl", [vote(0), vote(1), vote(0, "a", "lea", strength=3), turned])
    with pytest.raises(DataError, match="contradicts itself: lines 2 and 4 know different answers"):
        heed(*LINEAR, "--data", "votes.jsonl", "--gold", "gold.jsonl", "--out", "out")
    assert not (place / "out").exists()


def test_known_answers_that_nobody_meets_are_counted(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_lines(place / "gold.jsonl", [vote(0), vote(77), rating(0, 3, 2)])
    assert heed(*LINEAR, "--data", "votes.jsonl", "--gold", "gold.jsonl", "--out", "out") == 0
    assert "2 of 3 known answers of no use: nobody in votes.jsonl" in " ".join(capsys.readouterr().err.split())
    write_lines(place / "gold.jsonl", [vote(0), vote(1)])
    assert heed(*LINEAR, "--data", "votes.jsonl", "--gold", "gold.jsonl", "--out", "two") == 0
    assert "of no use" not in capsys.readouterr().err


@pytest.mark.parametrize(("more", "told"), [((), "all"), (("--set", "raters=equal"), "raters is set to equal")])
def test_known_answers_of_a_kind_that_tells_a_linear_reward_nothing_are_told(
    place: Path, more: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [rating(n, 1 + n % 5, 5 - n % 5) for n in range(12)]
    write_lines(place / "both.jsonl", [*(vote(n, rater=r) for n in range(30) for r in ("ann", "bob")), *rows])
    write_lines(place / "gold.jsonl", rows[:2])
    loud = [option for option in LINEAR if option != "-q"]
    assert heed(*loud, *more, "--data", "both.jsonl", "--gold", "gold.jsonl", "--out", "out") == 0
    shown = " ".join(capsys.readouterr().err.split())
    assert "answers to gold items that tell nothing:" in shown
    assert ("2 of 2; a linear reward" if not more else told) in shown


def test_a_broken_line_is_told_with_the_file_that_it_stands_in(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "gold.jsonl").write_text("{broken\n" + json.dumps(vote(0)) + "\n")
    assert heed(*LINEAR, "--data", "votes.jsonl", "--gold", "gold.jsonl", "--out", "out") == 0
    shown = " ".join(capsys.readouterr().err.split())
    assert "gold.jsonl, line 1: " in shown
    assert "votes.jsonl, line" not in shown
    write_lines(place / "gold.jsonl", [vote(0, "neither of them")])
    with pytest.raises(DataError, match=r"gold\.jsonl has no known answer"):
        heed(*LINEAR, "--data", "votes.jsonl", "--gold", "gold.jsonl", "--out", "two")


# Judgments


def test_a_judgment_that_stands_there_again_counts_once(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [vote(n, "ab"[n % 2], r) for n in range(30) for r in ("ann", "bob")]
    write_lines(place / "once.jsonl", rows)
    write_lines(place / "thrice.jsonl", rows * 3)
    figures = []
    for name in ("once", "thrice"):
        assert heed(*LINEAR, "--data", f"{name}.jsonl", "--out", name) == 0
        figures.append(json.loads(Path(name, "heed.json").read_text())["metrics"])
    once, thrice = figures
    assert once["judgments"] == thrice["judgments"] == 60
    assert once["accuracy"] == thrice["accuracy"]
    assert thrice["skipped"] == {"the same judgment of the same rater stands there more than once": 120}
    assert "120 rows not learned from: the same judgment" in " ".join(capsys.readouterr().err.split())


def test_votes_of_nobody_in_particular_all_count(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Three people judged each pair and their names were lost: two of three are a majority, not a draw."""
    rows = [{k: v for k, v in vote(n, side, "x").items() if k != "rater"} for n in range(30) for side in "aab"]
    write_lines(place / "unnamed.jsonl", rows)
    assert heed(*LINEAR, "--data", "unnamed.jsonl", "--out", "unnamed") == 0
    metrics = json.loads(Path("unnamed", "heed.json").read_text())["metrics"]
    assert (metrics["judgments"], metrics["skipped"]) == (90, {})
    capsys.readouterr()
    assert heed("evaluate", "reward", "--reward", "unnamed", "--data", "unnamed.jsonl", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["judgments"] == 90
    assert found["claims"] == metrics["held_out"], "what training held out, and as often"


@pytest.mark.parametrize("train", [LINEAR, NETWORK], ids=["linear", "network"])
def test_judgments_that_call_every_completion_equally_good_are_refused(place: Path, train: tuple[str, ...]) -> None:
    write_lines(place / "thumbs.jsonl", [thumb(n, True) for n in range(30)])
    write_lines(place / "ratings.jsonl", [rating(n, 3, 2) for n in range(30)])
    write_lines(place / "mixed.jsonl", [*(thumb(n, True) for n in range(30)), *(vote(n, "tie") for n in range(30))])
    for name in ("thumbs", "ratings", "mixed"):
        with pytest.raises(DataError, match="judgments say the same: who calls every completion equally good"):
            heed(*train, "--data", f"{name}.jsonl", "--out", name)
    write_lines(place / "some.jsonl", [thumb(n, n > 14) for n in range(30)])
    assert heed(*train, "--data", "some.jsonl", "--out", "some") == 0


def test_a_setting_that_is_wrong_is_told_before_an_option_that_is_missing(place: Path) -> None:
    with pytest.raises(ConfigError, match="backbone") as caught:
        heed("train", "reward", "--backbone", "foo", "--data", "votes.jsonl", "--out", "out")
    assert "--model" not in str(caught.value)
    with pytest.raises(ConfigError, match="--model"):
        heed("train", "reward", "--backbone", "pairwise", "--data", "votes.jsonl", "--out", "out")
    assert heed("train", "reward", "-q", "--set", "backbone=linear", "--data", "votes.jsonl", "--out", "out") == 0


# Other weights


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a reward of two attributes, trained once for all tests."""
    folder = tmp_path_factory.mktemp("trained")
    make_place(folder)
    write_lines(folder / "ratings.jsonl", [rating(n, 1 + n % 5, 1 + n * 3 % 5) for n in range(40)])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("HEED_CACHE", str(folder / "cache"))
        assert heed(*NETWORK, "--data", "ratings.jsonl", "--kind", "rating", "--out", "one") == 0
    return folder


@pytest.fixture
def rated(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it to work in."""
    place = tmp_path / "place"
    shutil.copytree(trained, place)
    monkeypatch.chdir(place)
    monkeypatch.setenv("HEED_CACHE", str(place / "cache"))
    return place


def test_a_reward_with_other_weights_still_knows_what_it_learned_from(
    rated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert heed("reweigh", "--reward", "one", "--weight", "brief=1", "--out", "two") == 0
    assert trained_on("two") == trained_on("one")
    assert trained_on("two")
    for name in ("one", "two"):
        capsys.readouterr()
        assert heed("evaluate", "reward", "--reward", name, "--data", "ratings.jsonl", "--json", "-q") == 0
        told = json.loads(capsys.readouterr().out)
        assert told["learned_from"] > 20


@pytest.mark.parametrize(
    ("weights", "told"),
    [
        (["kind=1e39"], r"a weight of 1e\+39 for 'kind'"),
        (["kind=-1000001"], "between -1,000,000 and 1,000,000"),
        (["kind=1", "kind=2"], "kind has the weight 1 already"),
        (["polite=1"], "a weight of 'polite'"),
    ],
)
def test_weights_that_make_no_reward_are_refused_and_leave_no_folder(
    rated: Path, weights: list[str], told: str
) -> None:
    options = [option for weight in weights for option in ("--weight", weight)]
    with pytest.raises(ConfigError, match=told):
        heed("reweigh", "--reward", "one", *options, "--out", "out")
    assert not (rated / "out").exists()
    (rated / "mine").mkdir()
    with pytest.raises(ConfigError, match=told):
        heed("reweigh", "--reward", "one", *options, "--out", "mine")
    assert list((rated / "mine").iterdir()) == []


def test_a_linear_reward_where_a_network_is_needed_is_told_by_the_command_to_give(place: Path) -> None:
    assert heed(*LINEAR, "--data", "votes.jsonl", "--out", "words") == 0
    with pytest.raises(ModelError, match="network is needed") as caught:
        heed("reweigh", "--reward", "words", "--weight", "kind=1", "--out", "out")
    assert (
        caught.value.fix
        == "Name one of that kind (see 'heed runs'), or make one: heed train reward --backbone network."
    )
    assert not (place / "out").exists()
    with pytest.raises(ModelError, match="cannot tell what to ask next: its kind is 'linear'") as caught:
        look_at("words", [("p", "t")])
    assert "asking.selector to random" in caught.value.fix
