"""``heed/Text-v0``: what an episode is, what it pays, and what cannot be used."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st
from stable_baselines3.common.env_checker import check_env as check_for_sb3

from heed.environments.text import TextEnv
from heed.errors import DataError, HeedError, ModelError, TrainingError
from heed.feedback.kinds import Message
from heed.models.pairwise import PairwiseReward
from heed.models.reward import RewardModel
from heed.models.small import letter_tokenizer, lstm_policy
from heed.train.rollout import ModelScorer, TextScorer
from heed.train.text_rewards import TextReward
from tiny_models import byte_tokenizer
from tiny_writing import END_ID, LETTERS, WORDS, spelled, task_of, writing

RULES = [
    {"name": "long", "kind": "tokens", "least": 2, "most": 3, "weight": 0.5},
    {"name": "seen", "kind": "format", "format": "regex", "pattern": "^[abc]*$", "weight": 0.0},
]


def played(
    env: gymnasium.Env[Any, Any], prompt: int, actions: list[int]
) -> tuple[list[float], bool, bool, dict[str, Any]]:
    """Rewards of an episode of these actions, as far as it goes, and how it ended."""
    env.reset(options={"prompt": prompt})
    rewards = []
    for action in actions:
        _, reward, terminated, truncated, told = env.step(action)
        rewards.append(float(reward))
        if terminated or truncated:
            return rewards, terminated, truncated, told
        assert told == {}
    raise AssertionError("the episode has not ended")


@pytest.fixture(scope="module")
def ruled() -> gymnasium.Env[Any, Any]:
    return writing(constraints=RULES, missing_end_penalty=0.75)


@given(data=st.data())
def test_a_return_is_the_score_of_the_text_and_its_constraints(data: st.DataObject, ruled: Any) -> None:
    prompt = data.draw(st.integers(0, 1))
    actions = data.draw(st.lists(st.integers(0, END_ID), min_size=5, max_size=5))
    rewards, terminated, truncated, told = played(ruled, prompt, actions)
    length = actions.index(END_ID) + 1 if END_ID in actions else 5
    text = "".join(LETTERS[token] for token in actions[:length] if token != END_ID)
    penalty = 0.5 * (max(2 - length, 0) + max(length - 3, 0)) + 0.75 * (END_ID not in actions)
    assert len(rewards) == length
    assert not any(rewards[:-1])
    assert told["text"] == text
    assert told["score"] == pytest.approx(spelled(list(WORDS)[prompt], text), abs=1e-6)
    assert rewards[-1] == pytest.approx(told["score"] - penalty, abs=1e-6)
    assert told["constraints"] == pytest.approx(-penalty)
    assert told["constraint:long"] + told["constraint:missing_end"] == pytest.approx(-penalty)
    assert (told["constraint:seen"], told["broken:seen"]) == (0, float(not set(text) <= set("abc")))
    assert (terminated, truncated) == (END_ID in actions, END_ID not in actions)
    assert told["ended"] is (END_ID in actions)


def test_observations_are_the_tokens_so_far_with_their_number() -> None:
    env = writing()
    observation, told = env.reset(options={"prompt": 1})
    assert told == {"prompt": "bd", "prompt_row": 1}
    assert {name: np.asarray(value).tolist() for name, value in observation.items()} == {
        "tokens": [1, 3, 0, 0, 0, 0, 0],
        "length": 2,
        "prompt_length": 2,
    }
    observation = env.step(0)[0]
    assert {name: np.asarray(value).tolist() for name, value in observation.items()} == {
        "tokens": [1, 3, 0, 0, 0, 0, 0],
        "length": 3,
        "prompt_length": 2,
    }
    assert env.step(5)[0]["tokens"].tolist() == [1, 3, 0, 5, 0, 0, 0]


def test_gymnasium_and_stable_baselines_find_nothing_wrong() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = writing().unwrapped
        check_env(env)
        check_for_sb3(env, skip_render_check=False)


def test_a_name_with_its_module_needs_no_import_before() -> None:
    program = (
        "import gymnasium\n"
        "from heed.models.small import letter_tokenizer\n"
        "task = dict(prompts=['a'], reward=lambda p, t: 1.0, tokenizer=letter_tokenizer('ab'))\n"
        "env = gymnasium.make('heed.environments:heed/Text-v0', **task)\n"
        "print(env.reset(seed=0)[1]['prompt'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["a"]


def test_the_same_seed_draws_the_same_prompts() -> None:
    env = writing()

    def prompts(seed: int) -> list[str]:
        return [env.reset(seed=seed if turn == 0 else None)[1]["prompt"] for turn in range(12)]

    assert prompts(3) == prompts(3)
    assert set(prompts(3)) == set(WORDS)
    assert len({tuple(prompts(seed)) for seed in range(5)}) > 1


def test_it_can_be_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    env = writing(render_mode="ansi")
    env.reset(options={"prompt": 0})
    env.step(2)
    assert env.render() == "a|c"
    env.step(END_ID)
    assert env.render() == "a|c [end]"
    spoken = writing(render_mode="human")
    spoken.reset(options={"prompt": 1})
    for _ in range(5):
        spoken.step(0)
    assert capsys.readouterr().out.splitlines() == ["bd|", "bd|a", "bd|aa", "bd|aaa", "bd|aaaa", "bd|aaaaa [cut]"]


def test_what_a_text_holds_does_not_command_the_terminal() -> None:
    tokenizer = byte_tokenizer()
    env = writing(
        prompts=["a"], tokenizer=tokenizer, reward=lambda prompt, text: 0.0, max_new_tokens=8, render_mode="ansi"
    )
    env.reset()
    for token in tokenizer("\x1b[2J")["input_ids"]:
        env.step(token)
    assert env.render() == "a|␛[2J"


def test_a_reward_model_scores_as_it_does_elsewhere(tmp_path: Path) -> None:
    """By its folder; texts that end and texts that do not."""
    policy = lstm_policy(letter_tokenizer(LETTERS), hidden_size=16, context=12)
    policy.save(tmp_path / "base")
    reward = RewardModel.new(tmp_path / "base", "mean", members=2, seed=3)
    reward.save(tmp_path / "reward")
    env = writing(reward=str(tmp_path / "reward"), missing_end_penalty=0.0, tokenizer=str(tmp_path / "base"))
    for prompt, actions in ((0, [2, 0, END_ID]), (1, [5, 5, 5, 5, 5])):
        rewards, *_, told = played(env, prompt, actions)
        expected = float(reward.score([list(WORDS)[prompt]], [told["text"]])[0])
        assert rewards[-1] == pytest.approx(expected, abs=1e-5)
        assert abs(expected) > 1e-3


def test_a_reward_may_be_named_and_a_prompt_a_conversation() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}?{% endfor %}"
    prompts = [[{"role": "user", "content": "hm"}], (Message(role="user", content="ah"),), "plain"]
    env = writing(prompts=prompts, tokenizer=tokenizer, reward="test_text_env:length_of_text", max_new_tokens=2)
    assert [env.reset(options={"prompt": number})[1]["prompt"] for number in range(3)] == ["hm?", "ah?", "plain"]
    rewards, *_ = played(env, 0, [70, 70])
    assert rewards == [0.0, 2.0 - 1.0]


def length_of_text(prompt: Any, text: str) -> float:
    return float(len(text))


# What cannot be used


class Unknown(TextScorer):
    """A scorer that does not know."""

    def __call__(self, *given: Any) -> torch.Tensor:
        return super().__call__(*given) * torch.nan


def endless() -> Any:
    tokenizer = letter_tokenizer(LETTERS)
    tokenizer.eos_token = None
    return tokenizer


def short_sighted() -> Any:
    tokenizer = letter_tokenizer(LETTERS)
    tokenizer.model_max_length = 6
    return tokenizer


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"prompts": []}, "no prompt to write for"),
        ({"prompts": "a"}, "no list of prompts"),
        ({"prompts": ["a", ""]}, "an empty prompt"),
        ({"prompts": ["a", 3]}, "prompt 2 is 3"),
        ({"tokenizer": short_sighted()}, "prompt 2 has 2 tokens: with 5 new tokens .* context of 6"),
        ({"tokenizer": endless()}, "no end-of-text token"),
        ({"tokenizer": 7}, "7 as the tokenizer"),
        ({"tokenizer": "./no/such/folder"}, "no model at"),
        ({"reward": 7}, "7 as the reward"),
        ({"reward": "./no/such/reward"}, "no/such/reward"),
        ({"reward": "no_such_module:f"}, "cannot be imported"),
        ({"max_new_tokens": 0}, "'max_new_tokens' is 0"),
        ({"missing_end_penalty": -1.0}, "missing_end_penalty"),
        ({"constraints": [{"name": "long", "kind": "tokens", "mots": 3}]}, "Did you mean"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_is_written(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(HeedError, match=told) as caught:
        TextEnv(**task_of(**changes))
    assert caught.value.what
    assert caught.value.why.endswith(".")
    assert caught.value.fix


def test_a_reward_models_own_context_counts(tmp_path: Path) -> None:
    lstm_policy(letter_tokenizer(LETTERS), hidden_size=8, context=6).save(tmp_path / "base")
    RewardModel.new(tmp_path / "base", "mean", members=1, seed=0).save(tmp_path / "reward")
    with pytest.raises(DataError, match="context of 6"):
        writing(reward=tmp_path / "reward")


class ByLength:
    """Compares two texts by their lengths."""

    def leads(self, prompts: Any, first: Any, second: Any) -> torch.Tensor:
        return torch.tensor([[float(len(a) - len(b)) for a, b in zip(first, second, strict=True)]])


def test_a_reward_that_compares_says_at_once_for_which_prompt_it_has_nothing_to_compare_with() -> None:
    reward = PairwiseReward(ByLength(), "half", [0.0])  # type: ignore[arg-type]
    reward.against(["a"], [["cc", "cccc"]])
    policy = lstm_policy(letter_tokenizer(LETTERS), hidden_size=8)
    scorer = ModelScorer(reward, policy)
    with pytest.raises(DataError, match="no sample of the reference for the prompt 'bd'"):
        TextEnv(**task_of(reward=scorer))
    reward.against(["bd"], [["f"]])
    env = TextEnv(**task_of(reward=scorer, missing_end_penalty=0.0))
    assert played(env, 0, [0, 1, END_ID])[0][-1] == pytest.approx(2 - (2 + 4) / 2)
    assert played(env, 1, [0, 1, 2, 3, END_ID])[0][-1] == pytest.approx(4 - 1)


@pytest.mark.parametrize("action", [-1, END_ID + 1, 1.0, "a", None, np.array([1, 2]), 10**30])
def test_an_action_that_is_no_token(action: Any) -> None:
    env = TextEnv(**task_of())
    env.reset()
    with pytest.raises(DataError, match="from 0 to 6"):
        env.step(action)
    assert env.step(np.int64(1))[0]["length"] == env.draft.observation()["prompt_length"] + 1, (
        "nothing was written by it"
    )


def test_no_token_is_written_where_no_text_is() -> None:
    env = TextEnv(**task_of())
    with pytest.raises(DataError, match="none was begun, or it has ended"):
        env.step(0)
    env.reset()
    env.step(END_ID)
    with pytest.raises(DataError, match=r"reset\(\)"):
        env.step(0)


@pytest.mark.parametrize("options", [{"prompt": 2}, {"prompt": -1}, {"prompt": "a"}, {"prompt": True}, {"row": 1}])
def test_options_that_reset_does_not_know(options: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"no prompt|option 'row'"):
        TextEnv(**task_of()).reset(options=options)


@pytest.mark.parametrize("worth", [float("nan"), float("inf"), "much"])
def test_a_function_that_gives_no_finite_number(worth: Any) -> None:
    env = TextEnv(**task_of(reward=lambda prompt, text: worth))
    env.reset()
    with pytest.raises(DataError, match="a utility is a finite number"):
        env.step(END_ID)


def test_a_scorer_that_gives_no_finite_number() -> None:
    env = TextEnv(**task_of(reward=Unknown(TextReward.of(spelled))))
    env.reset()
    with pytest.raises(TrainingError, match="the reward of a text is nan"):
        env.step(END_ID)


@pytest.mark.parametrize(
    ("module", "missing"), [("heed.environments", "gymnasium"), ("heed.environments.sb3", "stable_baselines3")]
)
def test_without_the_extra_its_name_is_told(module: str, missing: str) -> None:
    program = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from heed.errors import ConfigError\n"
        f"try: import {module}\n"
        "except ConfigError as error: print(error.what, '/', error.why, '/', error.fix)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == (
        f"{module} / the package {missing.replace('_', '-')} is not installed. / Run: pip install 'heed[control]'"
    )


def test_heed_itself_does_without_gymnasium() -> None:
    program = (
        "import sys; sys.modules['gymnasium'] = sys.modules['stable_baselines3'] = None\n"
        "import heed, heed.cli, heed.stages.policy, heed.train.online, heed.models.policy"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_tokens_are_those_of_the_tokenizer() -> None:
    """A model may have more embeddings than its tokenizer has tokens; those stand for no text."""
    env = writing(tokenizer=byte_tokenizer(), reward=lambda prompt, text: 0.0)
    assert env.action_space == gymnasium.spaces.Discrete(257)
    assert int(env.observation_space["tokens"].high[0]) == 256


def test_a_conversation_needs_a_chat_template() -> None:
    with pytest.raises(ModelError, match="no chat template"):
        writing(prompts=[[{"role": "user", "content": "a"}]])
