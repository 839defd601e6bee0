"""What a person's judgments were used for, on a history counted by hand."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from heed.config import ProjectSettings
from heed.contributions import Outcome, contributions_of
from heed.feedback.kinds import Demonstration
from heed.project import Cost, Project

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def project(tmp_path):
    with Project.create(tmp_path / "mine", ProjectSettings(name="mine", model="m")) as made:
        yield made


def say(project: Project, rater: str, count: int) -> list[str]:
    """Ids of ``count`` new judgments of ``rater``."""
    prompts = project.store.add_prompts([(f"{rater} asks {number}", "train", "t") for number in range(count)])
    said = [Demonstration(rater=rater, prompt_id=prompt, text="so", created=NOON) for prompt in prompts]
    project.store.add_feedback(said)
    return [entry.id for entry in said]


def ran(project, stage, parents=(), feedback=(), turn=1, metrics=None) -> str:
    run = project.begin_run(stage, {}, 0, parents, feedback, turn)
    run.finish(metrics or {}, Cost())
    return run.id


def evaluated(estimate: float, sentence: str) -> dict[str, object]:
    rate = {"estimate": estimate, "low": estimate - 0.1, "high": estimate + 0.1}
    return {"verdict": {"by": "judged", "sentence": sentence}, "judged": rate}


def test_it_names_the_runs_that_learned_from_somebody_and_what_came_of_them(project):
    ann, bob = say(project, "ann", 3), say(project, "bob", 5)
    first = ran(project, "reward", [], ann[:2] + bob[:1])
    policy = ran(project, "policy", [first])
    proof = ran(project, "evaluate", [policy, first], metrics=evaluated(0.7, "better"))
    second = ran(project, "reward", [first], ann + bob, turn=2)
    later = ran(project, "policy", [second, policy], turn=2)
    last = ran(project, "evaluate", [later, second], turn=2, metrics=evaluated(0.8, "better still"))
    ran(project, "reward", [], bob, turn=3)

    newest, oldest = contributions_of(project, "ann")
    assert (oldest.run_id, oldest.stage, oldest.round, oldest.mine, oldest.of) == (first, "reward", 1, 2, 3)
    assert (newest.run_id, newest.mine, newest.of) == (second, 3, 8)
    assert newest.outcomes == (Outcome(last, "better still", "judged", 0.8, pytest.approx(0.7), pytest.approx(0.9)),)
    assert [outcome.run_id for outcome in oldest.outcomes] == [proof]
    assert len(contributions_of(project, "bob")) == 3


def test_runs_that_did_not_finish_changed_nothing(project):
    ann = say(project, "ann", 2)
    run = project.begin_run("reward", {}, 0, [], ann, 1)
    run.fail("out of memory")
    assert contributions_of(project, "ann") == []


def test_a_run_that_led_nowhere_yet_has_no_outcome_and_an_undefined_one_no_number(project):
    ann = say(project, "ann", 2)
    alone = ran(project, "sft", [], ann[:1])
    reward = ran(project, "reward", [], ann)
    ran(project, "evaluate", [reward], metrics={"verdict": {"by": "none", "sentence": "unknown"}})
    newest, oldest = contributions_of(project, "ann")
    assert (oldest.run_id, oldest.outcomes) == (alone, ())
    assert [(one.by, one.win_rate, one.low) for one in newest.outcomes] == [("none", None, None)]


def test_somebody_who_said_nothing_changed_nothing(project):
    say(project, "ann", 1)
    assert contributions_of(project, "nobody") == []
