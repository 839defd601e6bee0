"""Raters as the reward: whom a run asks, what it makes of the answers, how it waits, stops and goes on, and how it is traced."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from heed.config import PolicySettings
from heed.errors import ConfigError, DataError
from heed.feedback import answers, asked, queue
from heed.feedback.fields import ComparisonField
from heed.feedback.forms import Form
from heed.feedback.kinds import Rating, Thumb
from heed.feedback.showings import Rater
from heed.feedback.store import Store
from heed.people.exclusions import exclude
from heed.project import Project
from heed.rater_settings import RatersSettings, SimulatedRaterSettings
from heed.rounds import Rounds
from heed.train.progress import Stopped, Watcher
from tiny_project import UTILITY, Listener, make_project

NOW = datetime(2026, 5, 1, tzinfo=UTC)
WITH_SPAN = "\nletter_a.span = (0.0, 1.0)\n"
POLICY = {"steps": 3, "prompts_per_step": 3, "max_new_tokens": 6, "epochs": 2, "checkpoint_every": 1, "audit_every": 2}


def project_of(tmp_path: Path, kind: str, **policy: Any) -> Project:
    raters = [SimulatedRaterSettings(name=name, noise=0.0) for name in ("ann", "bob", "cyd")]
    people = RatersSettings(
        kind=kind, utility="rated_liking:letter_a" if kind == "simulated" else "", simulated=raters, held_out=[]
    )
    place = make_project(
        tmp_path,
        raters=people,
        demonstrations="",
        policy=PolicySettings(**{**POLICY, "reward": "raters", "missing_end_penalty": 0.0, **policy}),
    )
    # Of another name than the one that is imported already, and has no span.
    (place / "rated_liking.py").write_text(UTILITY + WITH_SPAN)
    return Project.open(place)


@pytest.fixture
def simulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    with project_of(tmp_path, "simulated", ratings_per_text=2) as project:
        monkeypatch.chdir(project.folder)
        yield project


@pytest.fixture
def of_people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    with project_of(tmp_path, "human") as project:
        monkeypatch.chdir(project.folder)
        yield project


def ratings_of(project: Project) -> list[Rating]:
    return [entry.feedback for entry in project.store.feedback(kinds=["rating"])]  # type: ignore[misc]


def test_simulated_raters_are_the_reward_and_the_policy_is_traced_to_them(simulated: Project) -> None:
    run = Rounds(simulated, Watcher()).train_policy()
    assert run.parents == ()
    written = {c.id: c for c in simulated.store.completions(run_id=run.id)}
    given = ratings_of(simulated)
    assert set(Counter(r.completion_ids[0] for r in given).values()) == {2}, "each text twice"
    assert {r.completion_ids[0] for r in given} == set(written), "and nothing but what was rolled out"
    assert {r.rater for r in given} == {"ann", "bob", "cyd"}
    for rating in given:
        text = written[rating.completion_ids[0]].text
        likes = text.count("a") / max(1, len(text)) + 0.01 * text.count("b")
        assert rating.scores == {"quality": round(1 + 4 * min(1.0, likes))}
    # What the run says of its reward is what the ratings say.
    by_text: dict[str, list[float]] = {}
    for rating in given:
        by_text.setdefault(rating.completion_ids[0], []).append((rating.scores["quality"] - 3) / 2)
    rewards = [row["reward"] for row in run.metrics["history"]]
    assert min(rewards) >= min(map(min, by_text.values()))
    assert max(rewards) <= max(map(max, by_text.values()))
    assert all("true" in row and "proxy" not in row for row in run.metrics["history"] if row["step"] in (1, 3))
    assert run.feedback == run.cost.labels == len(given)
    told = json.dumps(simulated.trace(run.id).as_dict())
    assert all(name in told for name in ("ann", "bob", "cyd"))
    # A later reward model learns from them, as from any rating.
    assert Rounds(simulated, Watcher()).train_reward().metrics["raters"] is not None


def test_a_run_that_was_stopped_goes_on_with_the_ratings_it_has(simulated: Project, tmp_path: Path) -> None:
    class Interrupting(Watcher):
        def advance(self, done: int, total: int, line: str) -> None:
            if done == 2:
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Stopped):
        Rounds(simulated, Interrupting()).train_policy()
    before = len(ratings_of(simulated))
    resumed = Rounds(simulated, Watcher()).train_policy()
    assert simulated.run(resumed.id).state == "done"
    assert 0 < before < len(ratings_of(simulated))
    with project_of(tmp_path / "other", "simulated", ratings_per_text=2) as whole:
        os.chdir(whole.folder)
        uninterrupted = Rounds(whole, Watcher()).train_policy()
    assert resumed.metrics["history"] == uninterrupted.metrics["history"]
    assert resumed.feedback == resumed.cost.labels == uninterrupted.feedback == len(ratings_of(simulated))


def test_more_ratings_than_raters_are_refused(simulated: Project) -> None:
    simulated.settings.policy.ratings_per_text = 4
    with pytest.raises(ConfigError, match="there are 3 simulated raters who are not excluded"):
        Rounds(simulated, Watcher()).train_policy()


# People


def answering(store: Store, rater: str, score: Callable[[str], float], done: threading.Event) -> threading.Thread:
    """A person who answers whatever waits, until the run is done."""

    def work() -> None:
        rng, who = random.Random(rater), Rater(rater)
        while not done.is_set():
            with store.reading() as connection:
                question = asked.question_named(connection, asked.TRAINING_QUESTION)
            if question is not None and question.state == "open":
                got = store.write(lambda c, q=question.id: queue.claim(c, who, q, datetime.now(UTC), rng, 1))  # type: ignore[misc]
                if isinstance(got, queue.Claimed):
                    showing = got.showings[0]
                    (text,) = [c.text for c in store.completions(ids=list(showing.completion_ids))]
                    said = {"quality": [{"quality": score(text)}]}
                    store.write(
                        lambda c, s=showing, said=said: answers.answer(  # type: ignore[misc]
                            c, who, s.id, said, None, 2.0, 2.0, "", datetime.now(UTC)
                        )
                    )
                    continue
            time.sleep(0.05)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def likes(text: str) -> float:
    return float(1 + min(4, text.count("a")))


def test_people_are_asked_while_the_run_waits(of_people: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("heed.live_ratings._POLL_SECONDS", 0.05)
    of_people.store.add_raters([("eve", "human", "")])
    done = threading.Event()
    with Store.open(f"sqlite:///{of_people.folder / 'heed.db'}") as second:
        person = answering(second, "eve", likes, done)
        listener = Listener()
        run = Rounds(of_people, listener).train_policy()
        done.set()
        person.join()
    assert any(f"under '{asked.TRAINING_QUESTION}'" in text for text in listener.alarms)
    given = ratings_of(of_people)
    texts = {c.id: c.text for c in of_people.store.completions(run_id=run.id)}
    assert {r.completion_ids[0] for r in given} == set(texts)
    assert all(r.scores["quality"] == likes(texts[r.completion_ids[0]]) for r in given)
    assert run.feedback == len(given)
    assert "eve" in json.dumps(of_people.trace(run.id).as_dict())


def test_ctrl_c_ends_the_waiting_and_nobody_is_asked_twice(of_people: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("heed.live_ratings._POLL_SECONDS", 0.05)
    of_people.store.add_raters([("eve", "human", "")])

    class Impatient(Watcher):
        def advance(self, done: int, total: int, line: str) -> None:
            if line == "texts rated":
                os.kill(os.getpid(), signal.SIGINT)

    for _ in range(2):
        with pytest.raises(Stopped):
            Rounds(of_people, Impatient()).train_policy()
    (run,) = of_people.runs()
    assert run.state == "stopped"
    with of_people.store.reading() as connection:
        question = asked.question_named(connection, asked.TRAINING_QUESTION)
        assert question is not None
        assert asked.count_items(connection, question.id) == len(of_people.store.completions(run_id=run.id))


def test_excluded_raters_do_not_count_and_thumbs_do(of_people: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ratings are there before they are waited for; one of them is of somebody who is left out."""
    from heed.live_ratings import LiveRatings

    store = of_people.store
    store.add_raters([("eve", "human", ""), ("mal", "human", ""), ("joe", "human", "")])
    run = of_people.begin_run("policy", {}, 0)
    live = LiveRatings(of_people, run, Watcher(), 1, {"joe": 0.5, "eve": 1.0})
    (record,) = live._put_down(["abc"], ["aa"])
    common = {"prompt_id": record.prompt_id, "completion_ids": (record.id,), "created": NOW}
    scale = {"low": 1, "high": 5, "step": 1}
    rated = {"scores": {"quality": 2.0}, "scales": {"quality": scale}}
    store.add_feedback([Thumb(rater="eve", up=True, **common), Rating(rater="joe", **rated, **common)])
    store.add_feedback([Thumb(rater="mal", up=False, **common)])
    store.write(lambda c: exclude(c, "mal", "guesses", "lead", NOW))
    # A thumb up is 1, two of one to five is -0.5 at half the weight.
    assert live.scores(["abc", "abc"], ["aa", "aa"]) == pytest.approx([(1.0 - 0.25) / 1.5] * 2)
    assert len(live.judgments()) == 2
    nobody = LiveRatings(of_people, run, Watcher(), 1, {"joe": -0.5, "eve": 0.0})
    assert nobody.scores(["abc"], ["aa"]) == pytest.approx([0.25]), "nobody tells anything: all alike"
    run.stop()


def test_a_question_that_does_not_rate_is_refused(of_people: Project) -> None:
    form = Form(title="Which?", fields=(ComparisonField(name="better", label="Which?"),))
    of_people.store.write(lambda c: asked.create_question(c, asked.TRAINING_QUESTION, form, "lead", NOW))
    with pytest.raises(DataError, match="asks for neither a rating nor a thumb"):
        Rounds(of_people, Watcher()).train_policy()
    assert [run.state for run in of_people.runs()] == ["failed"]
