"""The loop measures what labels have taught, ends where further ones are surely not worth their cost, and the report shows it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from heed.config import AskingSettings, SamplingSettings
from heed.evaluate.learning import LearningCurve
from heed.loop import run_loop
from heed.project import Project
from heed.rounds import Rounds
from tiny_project import Listener, make_project, tiny_settings


def test_the_loop_ends_when_labels_cost_more_than_they_bring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raters = tiny_settings(Path("model")).raters.model_copy(update={"comparisons": 160})
    sampling = SamplingSettings(prompts=16, samples_per_prompt=8, max_new_tokens=6, rows_per_batch=16)
    dear = AskingSettings(selector="gap", label_cost=1e6, accuracy_value=1.0)
    folder = make_project(tmp_path, asking=dear, sampling=sampling, raters=raters)
    monkeypatch.chdir(folder)
    listener = Listener()
    with Project.open(folder) as project:
        evaluations = run_loop(project, 3, listener)
        assert [run.id for run in evaluations] == ["evaluate-1", "evaluate-2"]
        told = next(text for text in listener.heard if text.startswith("the loop ends after round 2 of 3"))
        run = project.run("labels-2")
        assert "unknown" in project.run("labels-1").metrics["verdict"], "too few to say so in the first round"
        assert told.endswith(run.metrics["verdict"])
        assert "surely worth less than it costs" in told
        curve = LearningCurve.model_validate(run.metrics["curve"])
        assert curve.learner.endswith("features of sft-1")
        assert 100 * curve.gain.high < 1e6 * curve.further
        assert "reward-2" in run.parents
        before = project.runs()
        assert run_loop(project, 3) == evaluations, "asked again, it ends at the same place"
        assert project.runs() == before

        data, page = Rounds(project, Listener()).report(tmp_path)
        worth = json.loads(data.read_text())["worth"]
        assert worth["verdict"] == run.metrics["verdict"]
        assert worth["curve"] == run.metrics["curve"]
        reached = [project.run(f"reward-{n}").metrics["accuracy"]["clustered"]["estimate"] for n in (1, 2)]
        assert [known["accuracy"] for known in worth["rewards"]] == [share for share in reached if share is not None]
        html = page.read_text()
        assert "What further labels would bring" in html
        assert 'id="learning-title"' in html


def test_where_nobody_said_what_a_label_costs_the_loop_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_project(tmp_path)
    monkeypatch.chdir(folder)
    with Project.open(folder) as project:
        assert len(run_loop(project, 2, Listener())) == 2
        assert project.run("labels-2").metrics["stop"] is False
        data, _ = Rounds(project, Listener()).report(tmp_path)
        assert "A curve takes 40 comparisons" in json.loads(data.read_text())["worth"]["reason"]
