"""Sweeps: which runs there are, what each is judged by, that a stopped one goes on, and what the picture and the words say."""

from __future__ import annotations

import json
import math
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heed.algorithms import ALGORITHMS
from heed.config import DQNSettings, EvaluateSettings, PolicySettings
from heed.errors import ConfigError, DataError, ProjectError
from heed.evaluate.frontier import Setting, Sweep, SweepRun, advice, frontier, settings_of
from heed.evaluate.frontier_chart import picture
from heed.fitting import fitted
from heed.project import Project
from heed.rounds import Rounds
from heed.stages.data import ComparisonRow
from heed.stages.sweep import SweepStart, Variation, run_sweep, variations
from heed.statistics import Interval
from heed.terminal.sweep import _by_section
from heed.train.progress import Watcher
from tiny_project import Listener, completed, letters, make_project, write_lines

PROMPTS = [letters(n, 3) for n in range(12)]
SMALL = PolicySettings(
    steps=2,
    prompts_per_step=4,
    max_new_tokens=5,
    epochs=None,
    audit_every=1,
    missing_end_penalty=0.0,
    samples_per_prompt=2,
)


def a_share(prompt: Any, text: str) -> float:
    return text.count("a") / max(1, len(text))


def start_of(model: Path, **changes: Any) -> SweepStart:
    values: dict[str, Any] = {"truth": a_share, "policy": SMALL, "reward": a_share}
    return SweepStart(str(model), prompts=PROMPTS[:8], held_out=PROMPTS[8:], **(values | changes))


def interval(estimate: float, room: float = 0.1) -> Interval:
    return Interval(
        estimate=estimate, low=estimate - room, high=estimate + room, confidence=0.95, prompts=9, n=9, method="t"
    )


def swept(rows: list[tuple[str, float, float]], **changes: Any) -> Sweep:
    """(name, KL, gain) of runs; equal names are seeds."""
    runs = [
        SweepRun(name=name, algorithm="ppo", changes={}, seed=place, kl=interval(kl), gain=interval(gain))
        for place, (name, kl, gain) in enumerate(rows)
    ]
    return Sweep(**({"measure": "utility", "nothing": 0.0, "is_truth": True, "runs": runs} | changes))


# Which runs


def test_every_algorithm_is_varied_in_what_its_settings_have(model: Path) -> None:
    start = start_of(model, judgments=["one"])
    found = variations(start, ["rloo", "dpo"], {"kl_coefficient": [0.1, 0.2], "beta": [0.3], "epochs": [1]})
    assert [one.name for one in found] == [
        "rloo, kl_coefficient 0.1, epochs 1",
        "rloo, kl_coefficient 0.2, epochs 1",
        "dpo, beta 0.3, epochs 1",
    ]
    assert [one.settings.model_dump().get("kl_coefficient") for one in found] == [0.1, 0.2, None]


def test_what_only_deep_q_learning_knows_is_varied_with_and_without_its_section(model: Path) -> None:
    found = variations(start_of(model), ["rloo", "dqn"], {"n_step": [1, 4], "dqn.target_rate": [0.5], "steps": [3]})
    assert [one.name for one in found] == [
        "rloo, steps 3",
        "dqn, dqn.n_step 1, dqn.target_rate 0.5, steps 3",
        "dqn, dqn.n_step 4, dqn.target_rate 0.5, steps 3",
    ]
    assert [one.dqn and (one.dqn.n_step, one.dqn.target_rate) for one in found] == [None, (1, 0.5), (4, 0.5)]
    with pytest.raises(ConfigError, match="n_step"):
        variations(start_of(model), ["dqn"], {"n_step": [0]})
    with pytest.raises(ConfigError, match="no such setting"):
        variations(start_of(model), ["rloo"], {"n_step": [1]})


def test_set_reaches_the_section_that_has_the_setting() -> None:
    given = [
        "steps=3",
        "policy.epochs=2",
        "temperature_start=0.2",
        "dqn.anchord=no",
        "label_smoothing=0.1",
        "ilql.tau=0.5",
        "nix=1",
    ]
    assert _by_section(given) == {
        "policy": ["steps=3", "policy.epochs=2", "nix=1"],
        "preference": ["label_smoothing=0.1"],
        "ilql": ["ilql.tau=0.5"],
        "dqn": ["temperature_start=0.2", "dqn.anchord=no"],
    }
    with pytest.raises(ConfigError, match=r"may be of preference or of ilql.*--set preference\.beta=0\.2"):
        _by_section(["beta=0.2"])


def test_a_sweep_from_another_start_does_not_replace_one(model: Path, tmp_path: Path) -> None:
    start, settings = start_of(model), EvaluateSettings(prompts=4)
    heard = Listener()
    run_sweep(start, variations(start, ["grpo"], {}), [0], tmp_path, settings, "cpu", heard)
    assert any("grpo takes kl_coefficient 0.15 (not 0.05)" in text for text in heard.heard)
    before = (tmp_path / "sweep.json").read_bytes()
    other = start_of(model, reward=late_letters)
    with pytest.raises(ProjectError, match="another model, reward, prompts or judgments"):
        run_sweep(other, variations(other, ["grpo"], {}), [0], tmp_path, settings, "cpu")
    assert (tmp_path / "sweep.json").read_bytes() == before
    (tmp_path / "sweep.json").write_text("[]")
    with pytest.raises(ProjectError, match="--out DIR"):
        run_sweep(start, variations(start, ["grpo"], {}), [0], tmp_path, settings, "cpu")


def test_settings_of_a_section_within_are_varied_too(model: Path) -> None:
    found = variations(start_of(model), ["rloo"], {"lora.rank": [0, 4], "kl_coefficient": [0.2]})
    assert [one.settings.lora.rank for one in found] == [0, 4]
    assert {one.settings.kl_coefficient for one in found} == {0.2}
    assert start_of(model).policy.lora.rank == 0, "the start's own settings stay"


@pytest.mark.parametrize(
    ("algorithms", "varied", "why"),
    [
        (["ppo"], {"betta": [1]}, "no such setting"),
        (["ppo"], {"lora.alfa": [1]}, "no such setting"),
        (["ppo"], {"lora.rank": [-1]}, "lora.rank"),
        (["ppo"], {"algorithm": ["rloo"]}, "--algorithm A,B"),
        (["ppo"], {"kl_coefficient": ["low"]}, "kl_coefficient"),
        (["nothing"], {}, "no algorithm"),
        (["dpo"], {}, "without judgments"),
    ],
)
def test_what_cannot_be_varied_is_refused_before_anything_runs(
    model: Path, algorithms: list[str], varied: dict[str, list[Any]], why: str
) -> None:
    with pytest.raises(ConfigError, match=why):
        variations(start_of(model), algorithms, varied)
    with pytest.raises(ConfigError, match="without a reward"):
        variations(start_of(model, reward=None), ["ppo"], {})


# What runs


def test_a_stopped_sweep_goes_on_and_does_nothing_twice(model: Path, tmp_path: Path) -> None:
    start = start_of(model)
    chosen = variations(start, ["rloo"], {"kl_coefficient": [0.01, 0.5]})
    settings = EvaluateSettings(prompts=4)

    class Impatient(Watcher):
        def say(self, text: str) -> None:
            if text.startswith("2 of 2"):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_sweep(start, chosen, [0], tmp_path / "out", settings, "cpu", Impatient())
    kept = json.loads((tmp_path / "out" / "sweep.json").read_text())
    assert [run["name"] for run in kept["runs"]] == ["rloo, kl_coefficient 0.01"]
    first = run_sweep(start, chosen, [0], tmp_path / "out", settings, "cpu")
    heard = Listener()
    assert run_sweep(start, chosen, [0], tmp_path / "out", settings, "cpu", heard) == first
    assert sum("already done" in text for text in heard.heard) == 2
    whole = run_sweep(start, chosen, [0], tmp_path / "whole", settings, "cpu")
    timeless = [run.model_dump(exclude={"seconds", "folder"}) for run in first.runs]
    assert timeless == [run.model_dump(exclude={"seconds", "folder"}) for run in whole.runs]
    assert all(run.track[0] == (pytest.approx(0, abs=1e-4), 0.0) and len(run.track) == 2 for run in first.runs)


def late_letters(prompt: Any, text: str) -> float:
    return sum(map(ord, text)) / 1000


def early_letters(prompt: Any, text: str) -> float:
    return -late_letters(prompt, text)


def test_another_truth_is_judged_anew(model: Path, tmp_path: Path) -> None:
    judged = [ComparisonRow(prompt, "aa", "bb", 0) for prompt in PROMPTS[:8]]
    start = start_of(model, judgments=judged, reward=None, truth=late_letters)
    settings = EvaluateSettings(prompts=4)
    chosen = variations(start, ["dpo"], {})
    first = run_sweep(start, chosen, [0], tmp_path, settings, "cpu")
    other = SweepStart(**{**vars(start), "truth": early_letters})
    second = run_sweep(other, chosen, [0], tmp_path, settings, "cpu")
    assert first.runs[0].kl == second.runs[0].kl, "the same policy"
    assert first.runs[0].gain.estimate == pytest.approx(-(second.runs[0].gain.estimate or 0))
    assert first.runs[0].gain.estimate != 0
    assert run_sweep(start, chosen, [0], tmp_path, settings, "cpu").runs[0].gain == first.runs[0].gain


def test_deep_q_learning_takes_its_own_section_and_starts_its_line_at_the_reference(
    model: Path, tmp_path: Path
) -> None:
    start = start_of(model, dqn=DQNSettings(buffer=9, updates=1))
    found = run_sweep(start, variations(start, ["dqn"], {}), [0], tmp_path, EvaluateSettings(prompts=4), "cpu")
    card = json.loads((Path(found.runs[0].folder) / "heed.json").read_text())
    assert card["identity"]["dqn"]["buffer"] == 9
    first = card["metrics"]["history"][0]
    assert found.runs[0].track[0] == (first["kl"], first["true"] - card["metrics"]["reference_true"])


def test_greedy_evaluation_is_refused_before_anything_runs(model: Path, tmp_path: Path) -> None:
    start = start_of(model)
    with pytest.raises(ConfigError, match="about samples"):
        run_sweep(start, variations(start, ["rloo"], {}), [0], tmp_path / "o", EvaluateSettings(temperature=0), "cpu")
    assert not (tmp_path / "o").exists()


def test_a_value_given_twice_is_one_run(model: Path) -> None:
    assert len(variations(start_of(model), ["rloo"], {"steps": [2, 2, 3]})) == 2


def test_a_run_that_fails_is_put_down_and_the_others_go_on(model: Path, tmp_path: Path) -> None:
    def broken(prompt: Any, text: str) -> float:
        return float("nan")

    start = start_of(model, reward=broken)
    chosen = [*variations(start, ["rloo"], {}), Variation("rloo", {"steps": 1}, SMALL.model_copy(update={"steps": 1}))]
    heard = Listener()
    found = run_sweep(start, chosen, [0], tmp_path, EvaluateSettings(prompts=4), "cpu", heard)
    assert all("no finite score" in run.error for run in found.runs)
    assert len(heard.alarms) == 2
    assert advice(found) == "No run came to an end; see what each says."
    assert "no finite score" in (tmp_path / "sweep.html").read_text()


def test_without_a_truth_the_judge_or_the_reward_itself_is_the_measure(model: Path, tmp_path: Path) -> None:
    start = start_of(model, truth=None, reward=a_share)
    found = run_sweep(start, variations(start, ["rloo"], {}), [0], tmp_path, EvaluateSettings(prompts=4), "cpu")
    assert not found.is_truth
    assert found.nothing == 0.0
    assert "the reward that was trained on" in advice(found)
    gain = found.runs[0].gain.estimate
    with_truth = start_of(model)
    told = run_sweep(
        with_truth, variations(with_truth, ["rloo"], {}), [0], tmp_path / "b", EvaluateSettings(prompts=4), "cpu"
    )
    assert gain == told.runs[0].gain.estimate, "the same function, called by its right name or by the wrong one"


# What it comes to


@given(st.lists(st.tuples(st.floats(0, 20), st.floats(-3, 3)), min_size=1, max_size=20))
def test_the_frontier_is_what_nothing_beats_in_both(points: list[tuple[float, float]]) -> None:
    settings = [Setting(str(n), kl, gain, gain, gain, 1, []) for n, (kl, gain) in enumerate(points)]
    kept = frontier(settings, -math.inf)
    for one in settings:
        beaten = any((o.kl <= one.kl and o.gain > one.gain) or (o.kl < one.kl and o.gain >= one.gain) for o in settings)
        if not beaten:
            assert any((o.kl, o.gain) == (one.kl, one.gain) for o in kept)
        else:
            assert one not in kept
    assert [s.kl for s in kept] == sorted(s.kl for s in kept)


def test_seeds_stand_together_and_failures_apart() -> None:
    found = swept([("a", 2.0, 1.0), ("a", 4.0, 0.0), ("b", 1.0, 0.5)])
    a, b = settings_of(found)
    assert (a.kl, a.gain, a.seeds) == (3.0, 0.5, 2)
    assert (a.low, a.high) == pytest.approx((-0.1, 1.1)), "no seed's own uncertainty is lost"
    assert (b.low, b.high) == pytest.approx((0.4, 0.6)), "of a single seed its interval"


def test_no_divergence_is_below_none_and_chance_is_not_nearness() -> None:
    found = swept([("a", -0.04, 0.125), ("b", 0.01, 0.13)])
    assert [s.kl for s in settings_of(found)] == [0.0, 0.01]
    assert "nearer" not in advice(found)


def test_what_gains_less_than_the_reference_is_beaten_by_it() -> None:
    settings = settings_of(swept([("worse", 0.01, -0.03), ("better", 3.0, 0.2)]))
    assert [s.name for s in frontier(settings, 0.0)] == ["better"]


def test_a_run_with_alarms_is_not_praised_without_a_word() -> None:
    found = swept([("far", 43.0, 0.7)])
    assert "alarm" not in advice(found)
    loud = found.model_copy(update={"runs": [found.runs[0].model_copy(update={"alarms": ["KL alarm at step 3"]})]})
    assert "It raised alarms" in advice(loud)


def test_an_algorithm_takes_over_what_it_can_of_settings_for_another() -> None:
    ppo = PolicySettings(epochs=2, minibatches=4, value_model="shared", entropy_coefficient=0.05, samples_per_prompt=1)
    trpo, told = fitted(ppo, "trpo")
    assert (trpo.algorithm, trpo.value_model, trpo.entropy_coefficient, trpo.epochs) == ("trpo", "separate", 0.0, 2)
    assert list(told.values()) == ["entropy_coefficient 0 (not 0.05)", "value_model separate (not shared)"]
    grpo, told = fitted(ppo, "grpo")
    assert grpo.kl_coefficient == pytest.approx(0.15), "as much in the group's spreads as 0.05 in units of the reward"
    assert told["kl_coefficient"] == "kl_coefficient 0.15 (not 0.05)"
    assert fitted(grpo, "dapo")[0].kl_coefficient == grpo.kl_coefficient
    assert fitted(grpo, "rloo")[0].kl_coefficient == ppo.kl_coefficient
    for name in (
        "dpo",
        "ilql",
        "dqn",
        "online_dpo",
    ):  # these have no such penalty; online DPO's coefficient is its beta
        assert "kl_coefficient" not in fitted(grpo, name)[1]
    tiny = ppo.model_copy(update={"kl_coefficient": 1e-7})
    assert fitted(tiny, "grpo")[0].kl_coefficient == pytest.approx(3e-7)
    for name in ALGORITHMS:
        assert fitted(ppo, name)[0].algorithm == name, "of whatever settings of another there is a way to it"
    assert fitted(ppo, "ppo") == (ppo, {})


def test_the_words_name_what_gains_as_much_nearer_and_what_is_no_truth() -> None:
    told = advice(swept([("far", 9.0, 1.0), ("near", 2.0, 0.9), ("poor", 1.0, 0.2)]))
    assert told.startswith("Most is gained by far: 1 (0.9 to 1.1, 95 % interval) at a KL of 9.")
    assert "near may gain as much (0.9) and stays nearer to the reference, at a KL of 2" in told
    assert "not surely more" in advice(swept([("a", 1.0, 0.05)]))
    assert "the reward that was trained on" in advice(swept([("a", 1.0, 1.0)], is_truth=False))


names = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)


def test_control_characters_in_a_name_leave_the_picture_whole() -> None:
    root = ElementTree.fromstring(str(picture(swept([("a\x00\x1b[1m", 1.0, 1.0)]), "title")))
    assert "a\ufffd\ufffd[1m" in [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]


@given(st.lists(st.tuples(names, st.floats(0, 50), st.floats(-3, 3)), max_size=60))
def test_the_picture_holds_every_name_once_apart_and_inside(rows: list[tuple[str, float, float]]) -> None:
    found = swept(rows)
    root = ElementTree.fromstring(str(picture(found, "title")))
    space = "{http://www.w3.org/2000/svg}"
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    texts = [node for node in root.iter(f"{space}text") if node.attrib.get("class") == "ink"]
    settings = settings_of(found)
    shown = (
        [node for node in texts if float(node.attrib["y"]) > 30 or node.text != found.measure][-len(settings) :]
        if settings
        else []
    )
    assert sorted(node.text or "" for node in shown) == sorted(s.name for s in settings)
    heights = sorted(float(node.attrib["y"]) for node in shown)
    assert all(b - a > 13.9 for a, b in pairwise(heights))
    assert all(0 < h < height for h in heights)
    for node in root.iter(f"{space}path"):
        if "transform" in node.attrib:
            x, y = (float(v) for v in node.attrib["transform"].removeprefix("translate(").rstrip(")").split())
            assert 0 <= x <= width
            assert 0 <= y <= height


# On a project and on files


@pytest.fixture(scope="module")
def turned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project with a reward model."""
    place, before = make_project(tmp_path_factory.mktemp("sweep")), Path.cwd()
    os.chdir(place)
    with Project.open(place) as project:
        rounds = Rounds(project, Watcher())
        rounds.sample(1)
        rounds.collect(1)
        rounds.train_reward(1)
    yield place
    os.chdir(before)


def test_the_command_sweeps_a_project_and_leaves_its_runs_alone(turned: Path) -> None:
    with Project.open(turned) as project:
        before = project.runs()
    done = completed(
        turned,
        "sweep",
        "--algorithm",
        "rloo,dpo",
        "--vary",
        "learning_rate=0.001,0.01",
        "-q",
    )
    assert done.returncode == 0, done.stderr
    assert "true utility gained" in done.stdout
    found = json.loads((turned / "sweep" / "sweep.json").read_text())
    assert [run["name"] for run in found["runs"]] == [
        f"{name}, learning_rate {rate}" for name in ("rloo", "dpo") for rate in (0.001, 0.01)
    ]
    assert all(run["gain"]["estimate"] is not None for run in found["runs"])
    assert (turned / "sweep" / "sweep.svg").is_file()
    with Project.open(turned) as project:
        assert project.runs() == before


def test_the_command_on_files_wants_what_to_judge_on(model: Path, tmp_path: Path) -> None:
    (tmp_path / "likes.py").write_text("def a(prompt, text):\n    return text.count('a') / max(1, len(text))\n")
    rows = [{"prompt": prompt, "split": "test" if n >= 8 else "train"} for n, prompt in enumerate(PROMPTS)]
    write_lines(tmp_path / "all.jsonl", rows)
    write_lines(tmp_path / "train.jsonl", rows[:8])
    common = ["sweep", "--model", str(model), "--reward", "likes:a", "--truth", "likes:a", "--algorithm", "rloo"]
    sets = ["--set=steps=1", "--set=prompts_per_step=4", "--set=max_new_tokens=4"]
    refused = completed(tmp_path, *common, "--prompts", "train.jsonl", "--out", "out", *sets)
    assert refused.returncode == 2
    assert "0 test prompts" in refused.stderr
    done = completed(tmp_path, *common, "--prompts", "all.jsonl", "--out", "out", "--seeds", "2", *sets)
    assert done.returncode == 0, done.stderr
    assert len(json.loads((tmp_path / "out" / "sweep.json").read_text())["runs"]) == 2
    incomplete = completed(tmp_path, "sweep", "--model", str(model))
    assert "also needs --prompts and --out" in incomplete.stderr
    assert completed(tmp_path, *common, "--prompts", "all.jsonl", "--out", "o", "--vary", "steps").returncode == 2


def test_too_few_to_judge_on_are_refused(model: Path, tmp_path: Path) -> None:
    start = start_of(model)
    alone = SweepStart(**{**vars(start), "held_out": PROMPTS[:1]})
    with pytest.raises(DataError, match="at least two"):
        run_sweep(alone, variations(alone, ["rloo"], {}), [0], tmp_path, EvaluateSettings(prompts=4), "cpu")
