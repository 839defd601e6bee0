"""Many texts at a time are the same texts one by one, scored in fewer calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import SyncVectorEnv, VectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st

from heed.environments.vector import TextVectorEnv
from heed.errors import DataError
from heed.models.reward import RewardModel
from heed.models.small import letter_tokenizer, lstm_policy
from heed.train.rollout import TextScorer
from heed.train.text_rewards import TextReward
from tiny_writing import END_ID, LETTERS, spelled, task_of

RULES = [{"name": "long", "kind": "tokens", "most": 3, "weight": 0.5}]


def vectors(count: int, **changes: Any) -> tuple[VectorEnv[Any, Any, Any], VectorEnv[Any, Any, Any]]:
    """heed's own, and gymnasium's of single environments."""
    task = task_of(constraints=RULES, **changes)
    own = gymnasium.make_vec("heed/Text-v0", num_envs=count, **task)
    single = gymnasium.make_vec("heed/Text-v0", num_envs=count, vectorization_mode="sync", **task)
    assert isinstance(own, TextVectorEnv)
    assert isinstance(single, SyncVectorEnv)
    return own, single


def assert_same(ours: Any, theirs: Any, tolerance: float) -> None:
    """Observations, rewards, ends and infos, in structure and in number."""
    if isinstance(ours, dict):
        assert set(ours) == set(theirs)
        for name in ours:
            assert_same(ours[name], theirs[name], tolerance)
    elif isinstance(ours, tuple):
        for one, other in zip(ours, theirs, strict=True):
            assert_same(one, other, tolerance)
    else:
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        if ours.dtype.kind == "f":
            np.testing.assert_allclose(ours, theirs, atol=tolerance)
        else:
            assert ours.tolist() == theirs.tolist()


def assert_played_alike(own: Any, single: Any, seed: Any, actions: list[list[int]], tolerance: float = 0.0) -> None:
    assert own.observation_space == single.observation_space
    assert own.action_space == single.action_space
    assert own.metadata["autoreset_mode"] is single.metadata["autoreset_mode"]
    assert_same(own.reset(seed=seed), single.reset(seed=seed), tolerance)
    for turn in actions:
        ours = own.step(np.array(turn))
        assert ours[0] in own.observation_space
        assert_same(ours, single.step(np.array(turn)), tolerance)
    assert_same(own.reset(), single.reset(), tolerance)


@settings(max_examples=25)
@given(st.data(), st.integers(1, 4), st.integers(0, 100))
def test_a_vector_equals_single_environments(data: st.DataObject, count: int, seed: int) -> None:
    turns = st.lists(st.integers(0, END_ID), min_size=count, max_size=count)
    assert_played_alike(*vectors(count), seed, data.draw(st.lists(turns, max_size=14)))


def test_each_may_have_a_seed_of_its_own() -> None:
    own, single = vectors(3)
    assert_same(own.reset(seed=[5, 9, 5]), single.reset(seed=[5, 9, 5]), 0.0)
    turns = np.random.default_rng(0).integers(0, END_ID + 1, (12, 3)).tolist()
    assert_played_alike(own, single, [1, 2, 1], turns)


def test_a_vector_equals_single_environments_under_a_reward_model(tmp_path: Path) -> None:
    lstm_policy(letter_tokenizer(LETTERS), hidden_size=16, context=12).save(tmp_path / "base")
    RewardModel.new(tmp_path / "base", "mean", members=2, seed=3).save(tmp_path / "reward")
    own, single = vectors(4, reward=tmp_path / "reward")
    turns = np.random.default_rng(1).integers(0, END_ID + 1, (20, 4)).tolist()
    assert_played_alike(own, single, 2, turns, tolerance=1e-5)


class Counting(TextScorer):
    """Notes how many texts it is given at once."""

    def __init__(self) -> None:
        super().__init__(TextReward.of(spelled))
        self.sizes: list[int] = []

    def __call__(self, prompts: Any, prompt_ids: Any, samples: Any) -> torch.Tensor:
        self.sizes.append(len(samples.texts))
        return super().__call__(prompts, prompt_ids, samples)


def test_texts_that_end_together_are_scored_together() -> None:
    scorer = Counting()
    envs = TextVectorEnv(4, **task_of(reward=scorer))
    envs.reset(seed=0)
    for turn in ([0, END_ID, END_ID, 1], [END_ID, 0, 0, 1], [0, 1, 1, END_ID]):
        envs.step(np.array(turn))
    assert scorer.sizes == [2, 1, 1]


def test_it_can_be_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    task = task_of(prompts=["a"])
    envs = TextVectorEnv(2, render_mode="ansi", **task)
    envs.reset()
    envs.step(np.array([2, END_ID]))
    assert envs.render() == ("a|c", "a| [end]")
    spoken = TextVectorEnv(2, render_mode="human", **task)
    spoken.reset()
    spoken.step(np.array([2, END_ID]))
    assert capsys.readouterr().out.splitlines() == ["a|", "a|", "a|c", "a| [end]"]


def test_what_cannot_be_done() -> None:
    envs = TextVectorEnv(2, **task_of())
    with pytest.raises(DataError, match="none was begun"):
        envs.step(np.array([0, 0]))
    with pytest.raises(DataError, match="3 seeds: there are 2"):
        envs.reset(seed=[1, 2, 3])
    envs.reset(seed=0)
    for actions, told in (([0], "each needs one"), ([0, END_ID + 1], "from 0 to 6"), ([[0, 1]], "each needs one")):
        with pytest.raises(DataError, match=told):
            envs.step(np.array(actions))


def test_a_refused_action_writes_nothing() -> None:
    envs = TextVectorEnv(2, **task_of())
    before, _ = envs.reset(seed=0)
    with pytest.raises(DataError, match="from 0 to 6"):
        envs.step(np.array([1, END_ID + 1]))
    after = envs.step(np.array([1, 1]))[0]
    assert (after["length"] - before["length"]).tolist() == [1, 1]
