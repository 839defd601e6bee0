"""The offline loop: its losses through a language model, its splits, its weights, its reference point, its resumption."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest
import torch

from heed.algorithms import ALGORITHMS
from heed.config import PolicySettings, PreferenceSettings
from heed.errors import DataError, TrainingError
from heed.losses.preference import kto_baseline
from heed.models.policy import Policy
from heed.train.checkpoint import Checkpoints
from heed.train.preferences import (
    PAIR_LOSSES,
    Example,
    PreferenceTask,
    Text,
    coefficients,
    learn_preferences,
    mismatched,
    text_logprobs,
)
from heed.train.progress import Stopped, Watcher
from stopping import StopAt
from tiny_models import tiny_policy
from tokens import END, texts_of

OFFLINE = [one for one in ALGORITHMS.values() if one.family == "offline"]
NAMES = [one.name for one in OFFLINE]


def examples_of(learns_from: str, count: int) -> list[Example]:
    weights = [1.0, 0.5, 2.0, 1.5]
    if learns_from == "pairs":
        made = [((n, n + 1), (0, 1)) for n in range(0, count - 1, 3)] + [
            ((n + 2, n), (0, 1)) for n in range(0, count - 2, 3)
        ]
    elif learns_from == "singles":
        made = [((n,), (n % 2,)) for n in range(count)]
    else:
        made = [((n, n + 1, n + 2), (1, 0, 1)) for n in range(0, count - 2, 3)] + [((0, 2), (0, 1))]
    return [Example(texts, places, weights[n % 4]) for n, (texts, places) in enumerate(made)]


def task_of(name: str, policy: Policy, tokens: int = 1000, count: int = 12) -> PreferenceTask:
    algorithm = ALGORITHMS[name]
    by = coefficients(algorithm, PreferenceSettings())
    return PreferenceTask(policy, algorithm, texts_of(count), examples_of(algorithm.learns_from, count), [], by, tokens)


def moved(policy: Policy, seed: int = 1) -> Policy:
    """The policy away from its reference: at it, many losses are alike."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return policy


def gradient(policy: Policy) -> torch.Tensor:
    found = torch.cat([p.grad.flatten() for p in policy.parameters()])
    policy.model.zero_grad()
    return found


def test_every_offline_algorithm_has_its_loss_and_can_be_named_in_settings() -> None:
    assert {one.name for one in OFFLINE if one.learns_from == "pairs"} == set(PAIR_LOSSES)
    assert {one.learns_from for one in OFFLINE} == {"pairs", "singles", "rankings"}
    named = PolicySettings.model_fields["algorithm"].annotation
    assert set(named.__args__) == set(ALGORITHMS)


@pytest.mark.parametrize("name", ["llama-grouped", "gpt2", "opt"])
def test_a_text_is_as_probable_as_transformers_says(name: str) -> None:
    policy, texts = tiny_policy(name), texts_of(7)
    expected = []
    for text in texts:
        logprobs = policy.model(input_ids=torch.tensor([text.prompt + text.completion])).logits[0].log_softmax(-1)
        places = range(len(text.prompt) - 1, len(text.prompt) + len(text.completion) - 1)
        expected.append(sum(float(logprobs[p, t].detach()) for p, t in zip(places, text.completion, strict=True)))
    for tokens in (1, 20, 1000):
        found = text_logprobs(policy, texts, tokens)
        torch.testing.assert_close(found, torch.tensor(expected), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_any_split_and_order(name: str) -> None:
    policy = tiny_policy()
    task = task_of(name, policy)
    moved(policy)
    rows = list(range(len(task.examples)))
    task.begin(rows)
    task.loss(rows, len(rows)).backward()
    whole = gradient(policy)
    for part in (rows[::-1][:2], rows[::-1][2:3], rows[::-1][3:]):
        task.loss(part, len(rows)).backward()
    torch.testing.assert_close(gradient(policy), whole, atol=1e-6 + 1e-5 * float(whole.abs().max()), rtol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_a_weight_counts_as_so_many_of_the_same(name: str) -> None:
    policy = tiny_policy()
    task = task_of(name, policy)
    moved(policy)
    task.begin(range(len(task.examples)))
    double = replace(task, examples=[task.examples[0]._replace(weight=2.0), task.examples[1]._replace(weight=0.0)])
    twice = replace(task, examples=[task.examples[0]._replace(weight=1.0)] * 2)
    for one in (double, twice):
        one._baseline = task._baseline
    assert float(double.loss([0, 1], 2).detach()) == pytest.approx(float(twice.loss([0, 1], 2).detach()), rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_training_lowers_the_loss_and_parts_better_from_worse(name: str) -> None:
    policy = tiny_policy(initializer_range=0.08)
    task = task_of(name, policy)
    assert "within" in task.check_start()
    settings = PreferenceSettings(epochs=30, prompts_per_step=4, learning_rate=3e-3)
    rows = range(len(task.examples))
    task.begin(rows)
    before = float(task.loss(rows, len(rows)).detach())
    learn_preferences(task, settings, 0)
    task.begin(rows)
    assert float(task.loss(rows, len(rows)).detach()) < before
    gain = text_logprobs(policy, task.texts, 1000) - task.reference
    if task.algorithm.learns_from == "singles":
        liked = torch.tensor([example.places[0] == 0 for example in task.examples])
        assert float(gain[liked].mean()) > float(gain[~liked].mean()) + 0.5
    else:
        gaps = [gain[e.texts[e.places.index(0)]] - gain[e.texts[e.places.index(1)]] for e in task.examples]
        assert float(torch.stack(gaps).mean()) > 0.5


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 5))])
def test_dpo_finds_the_best_policy_of_a_bandit(seed: int) -> None:
    """One prompt, four one-token texts, every pair judged as often as Bradley-Terry says: the log-ratio of two texts ends at the
    difference of their rewards over beta (Rafailov et al. 2023, eq. 5)."""
    generator = torch.Generator().manual_seed(seed)
    reward = torch.randn(4, generator=generator)
    policy = tiny_policy(seed=seed, initializer_range=0.08)
    texts = [Text((5,), (letter, END)) for letter in range(4)]
    pairs = list(permutations(range(4), 2))
    weights = [float(torch.sigmoid(reward[i] - reward[j])) for i, j in pairs]
    examples = [Example(pair, (0, 1), weight) for pair, weight in zip(pairs, weights, strict=True)]
    algorithm = ALGORITHMS["dpo"]
    settings = PreferenceSettings(beta=0.5, epochs=400, prompts_per_step=12, learning_rate=3e-3)
    task = PreferenceTask(policy, algorithm, texts, examples, [], coefficients(algorithm, settings), 1000)
    learn_preferences(task, settings, seed)
    gain = text_logprobs(policy, texts, 1000) - task.reference
    found, wanted = gain - gain.mean(), (reward - reward.mean()) / 0.5
    torch.testing.assert_close(found, wanted, atol=0.05, rtol=0)


def test_the_reference_point_of_kto_is_of_a_whole_step() -> None:
    policy = tiny_policy()
    task = task_of("kto", policy)
    others = mismatched([task.texts[e.texts[0]] for e in task.examples], policy.context)
    assert all(other.prompt == task.texts[e.texts[0]].prompt for other, e in zip(others, task.examples, strict=True))
    owners = {text.completion: text.prompt for text in task.texts}
    assert all(owners[other.completion] != other.prompt for other in others)
    before = text_logprobs(policy, others, 1000)
    moved(policy)
    rows = [4, 1, 7]
    task.begin(rows)
    now = text_logprobs(policy, others, 1000)
    assert float(task._baseline) == pytest.approx(float(kto_baseline(now[rows], before[rows])), abs=1e-4)


def test_a_mismatched_completion_is_cut_to_what_the_model_can_read() -> None:
    texts = [Text((1,) * 90, (2, END)), Text((3, 4), (*(5,) * 80, END))]
    assert [len(t.prompt) + len(t.completion) for t in mismatched(texts, 96)] == [96, 4]
    policy = tiny_policy("gpt2")
    examples = [Example((0,), (0,)), Example((1,), (1,))]
    task = PreferenceTask(
        policy, ALGORITHMS["kto"], texts, examples, [], coefficients(ALGORITHMS["kto"], PreferenceSettings()), 1000
    )
    learn_preferences(task, PreferenceSettings(), 0)


@pytest.mark.parametrize("name", ["dpo", "kto", "listwise_dpo"])
def test_resumed_is_uninterrupted(name: str, tmp_path: Path) -> None:
    settings = PreferenceSettings(epochs=3, prompts_per_step=2, learning_rate=1e-3, checkpoint_every=2)

    def weights(watchers: list[Watcher]) -> dict[str, torch.Tensor]:
        for watcher in watchers:
            policy = tiny_policy()
            folder = tmp_path / f"{name}-{len(watchers)}"
            try:
                done = learn_preferences(task_of(name, policy), settings, 3, Checkpoints(folder, "p"), watcher)
            except Stopped:
                continue
        return {n: p.detach() for n, p in policy.model.named_parameters()} | {
            "losses": torch.tensor([r["loss"] for r in done.history])
        }

    once, resumed = weights([Watcher()]), weights([StopAt(3), Watcher()])
    assert all(torch.equal(once[n], resumed[n]) for n in once)


def test_a_model_that_mixes_its_batch_is_refused() -> None:
    policy = tiny_policy()
    task = task_of("dpo", policy)
    task.reference = task.reference + 1.0
    with pytest.raises(TrainingError, match="not as probable alone as among others"):
        task.check_start()


def test_nothing_to_learn_from_is_said() -> None:
    task = replace(task_of("kto", tiny_policy()), examples=[Example((0,), (0,))])
    task.examples = []
    with pytest.raises(DataError, match="it learns from thumbs"):
        learn_preferences(task, PreferenceSettings(), 0)


def test_the_settings_name_what_the_algorithm_leaves_open() -> None:
    own = coefficients(ALGORITHMS["simpo"], PreferenceSettings())
    assert (own.beta, own.margin) == (2.0, 1.0)
    named = coefficients(ALGORITHMS["simpo"], PreferenceSettings(margin=0.0, desirable=2.0))
    assert (named.beta, named.margin, named.desirable) == (2.0, 0.0, 2.0)
    assert math.isclose(coefficients(ALGORITHMS["cdpo"], PreferenceSettings()).label_smoothing, 0.1)
