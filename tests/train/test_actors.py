"""Actors: what they sample, with which weights, how a run with them goes on, and what is said when one is gone."""

from __future__ import annotations

import io
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from heed.errors import TrainingError
from heed.models.decode import Samples, sample
from heed.train.actor import packed, receive, send, unpacked
from heed.train.actors import Actors
from heed.train.checkpoint import Checkpoints
from heed.train.online import OnlineTrainer
from heed.train.progress import Watcher
from heed.train.rollout import grid_of
from tiny_training import trainer_of

floats = st.floats(-30, 0, width=32)
rows = st.lists(st.tuples(st.lists(st.tuples(st.integers(0, 200_000), floats), min_size=1), st.booleans(), st.text()))


def of(name: str, shared: bool = False, **changes: Any) -> OnlineTrainer:
    return trainer_of(shared, algorithm=name, **{"epochs": None, "steps": 5, "checkpoint_every": 2, **changes})


def weights(trainer: OnlineTrainer) -> list[Tensor]:
    return [p.detach().clone() for p in trainer.parameters.values()]


def assert_same(one: OnlineTrainer, other: OnlineTrainer) -> None:
    assert all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


@given(rows, st.booleans())
def test_samples_are_the_same_bit_for_bit_on_the_other_side(drawn: list[Any], with_values: bool) -> None:
    tokens, logprobs = [[t for t, _ in row] for row, _, _ in drawn], [[x for _, x in row] for row, _, _ in drawn]
    kept = Samples(tokens, [end for _, end, _ in drawn], logprobs, None, [text for _, _, text in drawn])
    if with_values:
        kept.values = [[-x for x in row] for row in logprobs]
    stream = io.BytesIO()
    send(stream, *packed(kept))
    stream.seek(0)
    answer = receive(stream)
    assert answer is not None
    assert unpacked(*answer) == kept


def test_a_message_that_breaks_off_is_none() -> None:
    stream = io.BytesIO()
    send(stream, {"a": 1}, {"t": torch.ones(3)})
    for length in range(len(stream.getvalue())):
        assert receive(io.BytesIO(stream.getvalue()[:length])) is None


@pytest.mark.parametrize("shared", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_with_staleness_zero_a_run_with_actors_is_the_synchronous_one(shared: bool) -> None:
    alone, acted = of("a2c", shared, steps=3), of("a3c", shared, steps=3, staleness=0)
    for step in range(3):
        alone.step(step)
    with Actors(acted.policy, 0, shared) as acted.actors:
        for step in range(3):
            assert acted.step(step)["staleness"] == 0
    assert_same(alone, acted)


class _Kept(Watcher):
    """Keeps the policy's weights after each update and what was sampled for each step; may stop the run, or kill an actor."""

    def __init__(self, trainer: OnlineTrainer, kill_at: int | None = None) -> None:
        self.trainer, self.kill_at, self.told = trainer, kill_at, list[str]()
        self.versions = [self._weights()]
        self.sampled: list[Samples] = []
        self.weights_lie_about = False
        estimated = trainer.estimated

        def listen(prompts: Any, samples: Samples, stale: bool = False) -> Any:
            if trainer.actors is not None:
                self.sampled.append(samples)
            return estimated(prompts, samples, stale)

        trainer.estimated = listen  # type: ignore[method-assign]

    def _weights(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.trainer.policy.model.state_dict().items()}

    def say(self, text: str) -> None:
        self.told.append(text)

    def advance(self, done: int, total: int, line: str) -> None:
        self.versions.append(self._weights())
        assert self.trainer.actors is None or self.trainer.actors._folder.name == "policy"
        self.weights_lie_about = self.trainer.actors is not None and self.trainer.actors._folder.exists()
        if done == self.kill_at:
            assert self.trainer.actors is not None
            os.kill(self.trainer.actors._processes[0].pid, signal.SIGKILL)


@pytest.mark.parametrize("name", ["a3c", pytest.param("ppo", marks=pytest.mark.slow)])
def test_each_rollout_is_of_the_policy_that_many_updates_before(name: str) -> None:
    trainer = of(name, True, staleness=2)
    watcher = _Kept(trainer)
    trainer.run(watcher=watcher)
    assert "2 of 3 processes sample" in " ".join(watcher.told)
    assert [row["staleness"] for row in trainer.result.history] == [0, 1, 2, 2, 2]
    assert not watcher.weights_lie_about, "a kill would leave them for good"
    fresh = of(name, True)
    for step, seen in enumerate(watcher.sampled):
        fresh.policy.model.load_state_dict(watcher.versions[max(0, step - 2)])
        prompts = [p.ids for p in fresh._asked_at(step)]
        drawn = sample(fresh.policy, prompts, fresh._sampling, fresh._seed_of(step))
        assert (drawn.tokens, drawn.texts) == (seen.tokens, seen.texts)
        both = [grid_of(samples.logprobs, fresh.policy.device) for samples in (drawn, seen)]
        torch.testing.assert_close(*both, atol=1e-5, rtol=1e-5)


def test_a_killed_actor_is_told_and_the_run_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    whole = of("a3c", staleness=1)
    whole.run()
    killed = of("a3c", staleness=1)
    with pytest.raises(TrainingError, match=r"actor 1 of 1 has ended(.|\n)*a signal \(9\)"):
        killed.run(Checkpoints(tmp_path, "p"), _Kept(killed, kill_at=3))
    resumed = of("a3c", staleness=1)
    told = _Kept(resumed)
    resumed.run(Checkpoints(tmp_path, "p"), told)
    assert "going on after step 2 of 5" in told.told
    assert_same(whole, resumed)
    assert resumed.result.history == whole.result.history


def test_an_actor_that_cannot_start_says_why() -> None:
    trainer = of("a3c", steps=2)
    trainer.policy.model.save_pretrained = lambda folder: None  # what it is to load is not there
    with Actors(trainer.policy, 1, False) as trainer.actors, pytest.raises(TrainingError, match=r"(?s)ended.*code 1: "):
        trainer.step(0)
