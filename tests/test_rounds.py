"""The stages on a project: what they read, what they leave, what they refuse, and what they do when given twice."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from heed.config import SamplingSettings
from heed.constraint_settings import ConstraintSettings
from heed.errors import DataError, ModelError, ProjectError
from heed.feedback.kinds import Comparison, Demonstration, Edit, Ranking, Thumb, completion_id
from heed.feedback.store import CompletionRecord
from heed.loop import run_loop
from heed.project import Project
from heed.rater_settings import RatersSettings
from heed.rounds import Rounds, WaitingForPeopleError
from heed.train.progress import Watcher
from tiny_models import tiny_policy
from tiny_project import TEST, TRAIN, Listener, letters, make_project, tiny_settings, write_lines

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = make_project(tmp_path)
    monkeypatch.chdir(made)
    return made


@pytest.fixture
def project(folder: Path) -> Iterator[Project]:
    with Project.open(folder) as opened:
        yield opened


@pytest.fixture(scope="module")
def turned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project after two turns of the loop."""
    place, before = make_project(tmp_path_factory.mktemp("turned")), Path.cwd()
    os.chdir(place)
    with Project.open(place) as opened:
        run_loop(opened, 2)
        yield opened
    os.chdir(before)


def test_each_round_takes_new_prompts_from_the_newest_policy(turned: Project) -> None:
    first, second = ({c.prompt_id for c in turned.store.completions(run_id=f"sample-{n}")} for n in (1, 2))
    assert len(first) == len(second) == 9
    assert len(first & second) == 2 * 9 - TRAIN, "the order goes around before any prompt comes twice"
    assert turned.run("sample-1").metrics["policy"] == "sft-1"
    assert turned.run("sample-2").metrics["policy"] == "policy-1"
    test_prompts = {p.id for p in turned.store.prompts(split="test")}
    assert len(test_prompts) == TEST
    assert not test_prompts & (first | second)


def test_the_loop_given_again_does_nothing(turned: Project) -> None:
    before = (turned.runs(), turned.store.counts())
    listener = Listener()
    evaluations = run_loop(turned, 2, listener)
    assert (turned.runs(), turned.store.counts()) == before
    assert [run.id for run in evaluations] == ["evaluate-1", "evaluate-2"]
    assert len([text for text in listener.heard if "done before" in text]) == 13


def test_a_completion_is_traced_to_every_rater_behind_it(turned: Project) -> None:
    late = turned.store.completions(run_id="sample-2")[0]
    told = json.dumps(turned.trace(late.id).as_dict())
    for name in ("policy-1", "reward-1", "ask-1", "sft-1", "ann", "bob"):
        assert name in told, name
    assert "reward-2" in json.dumps(turned.trace("ann").as_dict())


def test_both_rounds_judgments_are_learned_from_in_the_second(turned: Project) -> None:
    by_round = [turned.feedback_of(f"reward-{n}") for n in (1, 2)]
    assert set(by_round[0]) < set(by_round[1])
    judged = turned.store.feedback()
    assert set(by_round[1]) == {entry.id for entry in judged}
    assert turned.run("reward-2").metrics["comparisons"] == len(judged)
    assert {entry.feedback.rater for entry in judged} == {"ann", "bob"}


def test_raters_are_shown_both_orders_and_never_equal_texts(turned: Project) -> None:
    orders = [entry.feedback.shown_order for entry in turned.store.feedback()]
    assert {(0, 1), (1, 0)} == set(orders)
    texts = {c.id: c.text for c in turned.store.completions()}
    for entry in turned.store.feedback():
        a, b = entry.feedback.completion_ids
        assert texts[a] != texts[b]


def test_a_stopped_sampling_goes_on_and_counts_all_its_tokens(project: Project, tmp_path: Path) -> None:
    stopped = Rounds(project, Listener(stop_at=2))
    with pytest.raises(KeyboardInterrupt):
        stopped.sample()
    kept = project.store.completions(run_id="sample-1")
    assert 0 < len(kept) < 18
    assert project.run("sample-1").state == "stopped"
    done = Rounds(project, Watcher()).sample()
    made = project.store.completions(run_id="sample-1")
    assert made[: len(kept)] == kept
    assert [c.index for c in made] == list(range(18))
    assert done.cost.tokens == sum(c.tokens or 0 for c in made)


def test_other_prompts_or_demonstrations_make_another_run(project: Project, folder: Path) -> None:
    rounds = Rounds(project, Watcher())
    assert rounds.train_sft().id == "sft-1"  # type: ignore[union-attr]
    assert rounds.train_sft().id == "sft-1"  # type: ignore[union-attr]
    write_lines(folder / "demonstrations.jsonl", [{"prompt": letters(1, 3), "completion": "aaa"}])
    second = rounds.train_sft()
    assert second is not None
    assert (second.id, second.metrics["demonstrations"]) == ("sft-2", 1)


def test_another_base_model_in_the_same_place_is_noticed(project: Project, folder: Path) -> None:
    stages, model = Rounds(project, Watcher()), Path(project.settings.model)
    weights = model / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:2000])
    with pytest.raises(ModelError, match="cannot load"):
        stages.train_sft()
    weights.write_bytes(whole)
    stages.train_sft()  # the run that failed was made with nothing
    shutil.copytree(model, folder / "former")
    tiny_policy(seed=9).save(model)
    for stage in (stages.check, stages.train_sft, stages.sample):
        with pytest.raises(ModelError, match=f"the base model {model}: .*sft-.*begin a new project: heed init"):
            stage()
    assert [run.stage for run in project.runs() if run.state == "done"] == ["sft"]
    shutil.rmtree(model)
    with pytest.raises(ModelError, match="Put that one back"):
        stages.sample()
    # What counts is the model, not where it lies.
    project.settings.model = str(folder / "former")
    assert stages.sample().state == "done"


def test_people_are_waited_for_and_then_learned_from(tmp_path: Path) -> None:
    place = make_project(tmp_path, raters=RatersSettings(comparisons=4), demonstrations="")
    with Project.open(place) as project:
        with pytest.raises(WaitingForPeopleError) as caught:
            run_loop(project, 1)
        assert "4 of 4 items" in caught.value.what
        assert "heed ask" in caught.value.fix
        rounds = Rounds(project, Watcher())
        for item in rounds.open_items(limit=4):
            answer = Comparison(
                rater="eve",
                prompt_id=item.prompt.id,
                completion_ids=(item.a.id, item.b.id),
                created=NOON,
                choice="a",
                strength=None,
            )
            project.store.add_feedback([answer])
        assert rounds.open_items(limit=9, rater="eve")[0].a.id != item.a.id
        (evaluation,) = run_loop(project, 1)
        assert project.run("reward-1").metrics["comparisons"] == 4
        assert evaluation.metrics["true"]["estimate"] is None
        assert evaluation.metrics["true"]["reason"]
        assert evaluation.metrics["verdict"]["by"] == "proxy"
        assert [run.id for run in project.runs() if run.stage == "sample"] == ["sample-1"], (
            "waiting samples nothing anew"
        )


def add_other_kinds(project: Project) -> None:
    """One judgment each of the kinds that are no comparison, on one prompt."""
    (prompt,) = project.store.add_prompts([("abc", "train", "test")])
    ids = tuple(completion_id(prompt, text, "import") for text in ("aa", "bb", "cc"))
    project.store.add_completions(
        [CompletionRecord(i, prompt, t) for i, t in zip(ids, ("aa", "bb", "cc"), strict=True)]
    )
    common = {"rater": "eve", "prompt_id": prompt, "created": NOON}
    project.store.add_feedback(
        [
            Thumb(completion_ids=ids[:1], up=True, **common),
            Edit(completion_ids=ids[1:2], edited="aaaa", **common),
            Ranking(completion_ids=ids, groups=((0,), (1, 2)), **common),
            Demonstration(text="a", **common),
        ]
    )


def test_every_kind_is_used_where_it_can_be_and_the_rest_is_said(project: Project) -> None:
    add_other_kinds(project)
    listener = Listener()
    rounds = Rounds(project, listener)
    rounds.load_prompts()
    tuned = rounds.train_sft()
    assert tuned is not None
    assert tuned.metrics["demonstrations"] == TRAIN + 1
    rounds.sample()
    rounds.collect()
    judged = len(project.store.feedback(kinds=["comparison"]))
    joint = rounds.train_reward()
    assert joint.metrics["judgments"] == judged + 3, "each is one, whatever its kind"
    unused = [text for text in listener.heard if "not learned from" in text]
    assert unused == [
        "1 demonstrations without a sample of the same prompt are kept but not learned from: they have nothing to be better "
        "than"
    ]
    assert len(project.feedback_of(joint.id)) == judged + 3
    project.settings.reward.kind = "comparison"
    reward = rounds.train_reward()
    assert reward.metrics["comparisons"] == judged + 3 + 1, "a ranking of three is three, an edit one"
    assert any("1 judgments of kind 'thumb' are kept but not learned from" in text for text in listener.heard)
    assert len(project.feedback_of(reward.id)) == judged + 2


def test_fewer_pairs_than_asked_for_are_told(project: Project) -> None:
    listener = Listener()
    rounds = Rounds(project, listener)
    rounds.load_prompts()
    rounds.sample()
    project.settings.raters.comparisons = 10_000
    asked = rounds.collect()
    (told,) = (text for text in listener.heard if "raters.comparisons" in text)
    assert told.startswith(f"{asked.metrics['items']} pairs to judge, of the 10,000 of raters.comparisons")


def test_stages_out_of_turn_say_what_comes_first(project: Project) -> None:
    rounds = Rounds(project, Watcher())
    for stage, told in (
        (rounds.collect, "heed sample"),
        (rounds.train_policy, "heed train reward"),
        (rounds.evaluate, "heed train policy"),
        (rounds.report, "heed evaluate"),
    ):
        with pytest.raises(ProjectError) as caught:
            stage()
        assert told in caught.value.fix
    with pytest.raises(DataError, match="heed ask"):
        rounds.train_reward()


def test_fresh_does_it_anew_with_the_same_result(project: Project) -> None:
    first, again = (Rounds(project, Watcher(), fresh=True).train_sft() for _ in range(2))
    assert first is not None
    assert again is not None
    assert (first.id, again.id) == ("sft-1", "sft-2")
    assert again.metrics == first.metrics


def test_the_report_holds_the_newest_evaluation_and_every_documented_key(turned: Project, tmp_path: Path) -> None:
    from heed.evaluate.report import ReportData

    data, page = Rounds(turned, Watcher()).report(tmp_path)
    found = json.loads(data.read_text())
    documented = {*ReportData.model_fields, *ReportData.model_computed_fields}
    assert set(found) == documented
    for key in ("true_win_rate", "judged_win_rate", "proxy_win_rate"):
        assert {"estimate", "low", "high", "prompts"} <= set(found[key])
        assert found[key]["prompts"] == TEST
    assert found["labels"] == len(turned.feedback_of("reward-2"))
    assert found["seed"] == turned.settings.seed
    assert found["seconds"]["total"] == pytest.approx(sum(v for k, v in found["seconds"].items() if k != "total"))
    assert found["policy"] == "policy-2"
    assert found["reference"] == "sft-1"
    runs = {run["id"] for run in found["runs"]}
    assert runs == {run.id for run in turned.runs() if run.round or run.id == "sft-1"} - {"evaluate-1", "labels-1"}
    assert found["tokens"] == sum(turned.run(run).cost.tokens for run in runs)
    by_use = {(r["name"], r["used_for"]): r["labels"] for r in found["raters"]}
    assert by_use[("gauge", "evaluation")] == TEST
    assert by_use[("ann", "training")] + by_use[("bob", "training")] == found["labels"]
    assert [point["step"] for point in found["training"]] == [1, 2, 3, 4]
    assert page.read_text().startswith("<!")


def test_an_alarm_of_training_stands_in_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = tiny_settings(tmp_path / "model").policy
    strict = base.model_copy(update={"entropy_floor": 100.0, "kl_budget": 1e-6})
    folder = make_project(tmp_path, policy=strict)
    monkeypatch.chdir(folder)
    listener = Listener()
    with Project.open(folder) as project:
        run_loop(project, 1, listener)
        data, page = Rounds(project, listener).report(tmp_path)
    alarms = json.loads(data.read_text())["alarms"]
    assert {alarm["kind"] for alarm in alarms} == {"entropy", "KL"}
    assert all(1 <= alarm["step"] <= base.steps for alarm in alarms)
    for alarm in alarms:
        assert any(alarm["message"] in heard for heard in listener.alarms)
        assert alarm["message"] in page.read_text(encoding="utf-8")


def test_a_constraint_function_that_has_changed_makes_another_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = ConstraintSettings(name="rule", kind="function", function="house:rule")
    policy = tiny_settings(tmp_path / "model").policy.model_copy(update={"constraints": [rule], "steps": 1})
    folder = make_project(tmp_path, policy=policy)
    monkeypatch.chdir(folder)
    made = []
    with Project.open(folder) as project:
        for answer in (1.0, 1.0, 2.0):
            (folder / "house.py").write_text(f"def rule(prompt, completion):\n    return {answer}\n")
            monkeypatch.delitem(sys.modules, "house", raising=False)
            importlib.invalidate_caches()
            shutil.rmtree(folder / "__pycache__", ignore_errors=True)  # by time and size the two files are alike
            if not made:
                run_loop(project, 1)
            made.append(Rounds(project, Watcher()).train_policy())
    first, same, other = made
    assert same.id == first.id
    assert other.id != first.id
    assert other.metrics["history"][0]["constraint:rule"] == 2 * first.metrics["history"][0]["constraint:rule"] == -2


def test_a_project_without_demonstrations_starts_from_its_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = make_project(tmp_path, demonstrations="", sampling=SamplingSettings(prompts=4, max_new_tokens=4))
    monkeypatch.chdir(place)
    with Project.open(place) as project:
        rounds = Rounds(project, Watcher())
        assert rounds.train_sft() is None
        assert rounds.reference_policy() == (str(tmp_path / "model"), "base")
        assert rounds.sample().metrics["policy"] == "base"
