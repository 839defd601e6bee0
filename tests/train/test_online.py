"""PPO: the known optimum, the arithmetic of a rollout, and what must not matter."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from heed.config import PolicySettings
from heed.errors import ModelError
from heed.models.decode import Samples
from heed.models.reward import ScalarModel
from heed.train.online import OnlineTrainer
from heed.train.online_loop import Prompt
from heed.train.rollout import TextScorer
from heed.train.text_rewards import TextReward
from tiny_models import tiny_policy
from tiny_training import first_token, letter_share, trainer_of, value_model

BOTH = pytest.mark.parametrize("shared", [False, True], ids=["separate", "shared"])


def weights(trainer: OnlineTrainer) -> Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.policy.model.parameters()])


@pytest.mark.parametrize(
    ("shared", "beta"),
    [(True, 0.3), *(pytest.param(*some, marks=pytest.mark.slow) for some in ((False, 0.3), (True, 1.0)))],
)
def test_learns_the_optimum_of_the_kl_regularised_objective(shared: bool, beta: float) -> None:
    """For completions of one token the best policy is known: pi*(t) proportional to pi_ref(t) exp(r(t) / beta).

    Ziegler et al. 2019, section 2.2, eq. 2 has this maximiser (their remark on eq. 2).
    """
    worth = torch.tensor([1.0, -0.5, 0.0, 0.5, 0.2])

    def reward(prompts: Any, prompt_ids: Any, samples: Samples) -> Tensor:
        return worth[[tokens[0] for tokens in samples.tokens]]

    trainer = trainer_of(
        shared,
        "abcd",
        scorer=reward,
        steps=60,
        prompts_per_step=2,
        samples_per_prompt=128,
        max_new_tokens=1,
        learning_rate=5e-3,
        value_learning_rate=5e-3,
        kl_control="fixed",
        kl_coefficient=beta,
        whiten_advantages=False,
        update_kl_limit=10.0,
    )
    trainer.prompts = trainer.prompts[:2]
    reference = [first_token(trainer.reference, p.ids) for p in trainer.prompts]
    trainer.run()
    for prompt, ref in zip(trainer.prompts, reference, strict=True):
        best = ref * torch.exp(worth.double() / beta)
        best /= best.sum()
        learned = first_token(trainer.policy, prompt.ids)
        away, left = (float((p * (p / best).log()).sum()) for p in (ref, learned))
        assert away > 0.05, "the optimum is away from the reference"
        assert left < 0.05 * away


@BOTH
def test_reward_rises_on_longer_completions(shared: bool) -> None:
    trainer = trainer_of(
        shared,
        steps=25,
        prompts_per_step=8,
        samples_per_prompt=4,
        minibatches=2,
        epochs=3,
        kl_coefficient=0.01,
        value_coefficient=0.5,
    )
    history = trainer.run().history
    assert history[0]["reward"] < 0.35
    assert np.mean([row["reward"] for row in history[-3:]]) > 0.7
    assert history[-1]["kl"] > 0.5
    assert history[-1]["explained_variance"] > history[0]["explained_variance"]


@BOTH
def test_learning_rate_zero_leaves_the_policy_and_ratios_are_one(shared: bool) -> None:
    trainer = trainer_of(shared, learning_rate=0.0, value_learning_rate=0.0, steps=3, minibatches=2)
    before = [p.detach().clone() for p in trainer.parameters.values()]
    history = trainer.run().history
    for parameter, old in zip(trainer.parameters.values(), before, strict=True):
        assert torch.equal(parameter, old)
    for row in history:
        assert row["first_ratio_max"] == pytest.approx(1, abs=1e-4)
        assert row["ratio_max"] == pytest.approx(1, abs=1e-4)
        assert row["clip_fraction"] == 0
        assert row["epochs_done"] == 2
        for name in ("kl", "kl_k2", "kl_k3", "update_kl"):
            assert row[name] == pytest.approx(0, abs=1e-4)


def test_the_policys_rate_and_the_value_models_rate_are_two_things() -> None:
    trainer = trainer_of(False, learning_rate=0.0, value_learning_rate=0.01, steps=2)
    before = {name: p.detach().clone() for name, p in trainer.parameters.items()}
    trainer.run()
    moved = {name.split(".")[0] for name, p in trainer.parameters.items() if not torch.equal(p, before[name])}
    assert moved == {"value"}


@BOTH
def test_learning_rates_warm_up(shared: bool) -> None:
    trainer = trainer_of(shared, warmup_steps=3, steps=5, learning_rate=1e-3)
    rates = []
    for step in range(5):
        trainer.step(step)
        rates.append([group["lr"] / group["peak"] for group in trainer.optimizer.param_groups])
    assert rates == [[x] * len(rates[0]) for x in (0.25, 0.5, 0.75, 1.0, 1.0)]


def numpy_advantages(rewards: Any, values: Any, lengths: list[int], gamma: float, lam: float) -> tuple[Any, Any]:
    """GAE by its definition: discounted sums of TD errors, row by row."""
    advantages = np.zeros_like(rewards)
    for row, n in enumerate(lengths):
        following = [*values[row, 1:n], 0.0]
        deltas = [rewards[row, t] + gamma * following[t] - values[row, t] for t in range(n)]
        for t in range(n):
            advantages[row, t] = sum((gamma * lam) ** k * deltas[t + k] for k in range(n - t))
    return advantages, advantages + values


@BOTH
def test_a_rollout_adds_up(shared: bool) -> None:
    """Rewards, KL, values, advantages and figures of one rollout, computed again from its texts by other means."""
    trainer = trainer_of(
        shared, steps=3, kl_coefficient=0.3, kl_control="fixed", gamma=0.9, gae_lambda=0.8, whiten_advantages=False,
        missing_end_penalty=0.7, length_target=3, length_penalty=0.2, temperature=1.3, reward_clip=0.3,
    )  # fmt: skip
    for step in range(2):
        trainer.step(step)
    rollout = trainer.roll_out(trainer.prompts[:5], seed=11)
    lengths = rollout.lengths
    assert len(set(lengths)) > 2
    shape = (len(lengths), max(lengths))
    logprobs, reference, values, mask = (np.zeros(shape) for _ in range(4))
    scores = np.zeros(shape[0])
    for row, (ids, tokens) in enumerate(zip(rollout.prompt_ids, rollout.samples.tokens, strict=True)):
        n, whole = len(tokens), torch.tensor([ids + tokens])
        mask[row, :n] = 1
        for out, policy in ((logprobs, trainer.policy), (reference, trainer.reference)):
            with torch.no_grad():
                log_p = (policy.model(whole).logits[0, len(ids) - 1 : -1] / 1.3).log_softmax(-1)
            out[row, :n] = log_p[range(n), tokens]
        with torch.no_grad():
            if shared:
                head, states = trainer.value_head, trainer.policy.model.model(whole).last_hidden_state
            else:
                assert trainer.value_model is not None
                head, states = trainer.value_model.head, trainer.value_model.backbone(whole).last_hidden_state
            assert head is not None
            values[row, :n] = head(states[0, len(ids) - 1 : -1])[:, 0]
        scores[row] = min(0.3, tokens.count(0) / n)
    taken = np.array([0.0 if tokens[-1] == 6 else 0.7 for tokens in rollout.samples.tokens])
    taken += 0.2 * np.maximum(0, np.array(lengths) - 3)
    rewards = -0.3 * (logprobs - reference) * mask
    rewards[range(len(lengths)), np.array(lengths) - 1] += scores - taken
    advantages, returns = numpy_advantages(rewards, values, lengths, 0.9, 0.8)
    for ours, theirs in (
        (rollout.mask, mask),
        (rollout.logprobs, logprobs),
        (rollout.reference_logprobs, reference),
        (rollout.values, values),
        (rollout.scores, scores),
        (rollout.constraints.total(rollout.scores), -taken),
        (rollout.advantages, advantages),
        (rollout.returns, returns),
    ):
        np.testing.assert_allclose(ours.numpy(), theirs, atol=2e-5)
    figures = trainer._rollout_figures(rollout)
    ratio = (logprobs - reference) * mask
    assert ratio.std() > 0.01
    assert figures["kl"] == pytest.approx(ratio.sum() / len(lengths), abs=1e-4)
    assert figures["kl_k2"] == pytest.approx((ratio**2 / 2).sum() / len(lengths), abs=1e-4)
    assert figures["kl_k3"] == pytest.approx(((np.exp(-ratio) - 1 + ratio) * mask).sum() / len(lengths), abs=1e-4)
    assert figures["entropy"] == pytest.approx(-logprobs.sum() / mask.sum(), abs=1e-4)
    assert figures["length"] == pytest.approx(np.mean(lengths))
    assert figures["constraint"] == pytest.approx(-taken.mean(), abs=1e-5)
    assert figures["reward"] == pytest.approx(scores.mean(), abs=1e-5), "the reward is the scorer's alone"
    assert figures["ended"] == pytest.approx(np.mean([tokens[-1] == 6 for tokens in rollout.samples.tokens]))


def test_advantages_are_whitened_over_the_whole_rollout() -> None:
    rollout = trainer_of(False, samples_per_prompt=4).roll_out(trainer_of(False).prompts, seed=1)
    real = rollout.advantages[rollout.mask.bool()].double()
    assert float(real.mean()) == pytest.approx(0, abs=1e-5)
    assert float(real.var(correction=0)) == pytest.approx(1, abs=1e-3)
    assert not rollout.advantages[~rollout.mask.bool()].any()


@BOTH
@pytest.mark.parametrize("minibatches", [1, 3])
def test_the_microbatch_split_changes_neither_texts_nor_weights(shared: bool, minibatches: int) -> None:
    """The advice 'lower tokens_per_microbatch, results stay the same' is true."""
    ends, histories = [], []
    for tokens in (16, 40, 8192):
        trainer = trainer_of(shared, steps=3, tokens_per_microbatch=tokens, minibatches=minibatches, learning_rate=1e-3)
        histories.append([trainer.step(step) for step in range(3)])
        ends.append(weights(trainer))
    for other, history in zip(ends[1:], histories[1:], strict=True):
        torch.testing.assert_close(other, ends[0], atol=2e-5, rtol=1e-4)
        for mine, theirs in zip(histories[0], history, strict=True):
            assert mine == pytest.approx(theirs, abs=2e-4, rel=1e-3)


def test_minibatches_cover_every_row_once_an_epoch() -> None:
    trainer = trainer_of(False, minibatches=4)
    for rows, epoch in itertools.product((1, 3, 7, 8, 9), range(3)):
        parts = trainer._minibatches(rows, 5, epoch)
        assert sorted(itertools.chain(*parts)) == list(range(rows))
        assert len(parts) <= 4
        assert all(parts)
    assert trainer._minibatches(9, 5, 0) != trainer._minibatches(9, 5, 1)


def test_same_seed_same_run_and_another_seed_another() -> None:
    runs = [trainer_of(True, seed=seed, steps=2) for seed in (4, 4, 5)]
    histories = [trainer.run().history for trainer in runs]
    assert str(histories[0]) == str(histories[1])
    assert histories[0] != histories[2]
    assert torch.equal(weights(runs[0]), weights(runs[1]))
    assert not torch.equal(weights(runs[0]), weights(runs[2]))


def samples_of(tokens: list[list[int]], finished: list[bool]) -> Samples:
    return Samples(tokens, finished, [[0.0] * len(t) for t in tokens], None, [""] * len(tokens))


def test_any_causal_shape_trains_with_a_value_model_of_its_own() -> None:
    trainer = trainer_of(False, name="opt", steps=2)
    before = weights(trainer)
    history = trainer.run().history
    assert not torch.equal(weights(trainer), before)
    assert history[0]["first_ratio_max"] == pytest.approx(1, abs=1e-4)


def test_a_shape_without_fast_path_cannot_share_its_trunk() -> None:
    with pytest.raises(ModelError, match="cannot share its trunk with the values"):
        trainer_of(True, name="opt")


def test_the_reference_stays_as_it_is() -> None:
    trainer = trainer_of(True, steps=3)
    before = [p.detach().clone() for p in trainer.reference.parameters()]
    trainer.run()
    for parameter, old in zip(trainer.reference.parameters(), before, strict=True):
        assert torch.equal(parameter, old)
        assert parameter.grad is None


def test_a_plain_function_scores_texts() -> None:
    policy = tiny_policy("llama", 1, "abcdef", initializer_range=0.08)
    reference = tiny_policy("llama", 1, "abcdef", initializer_range=0.08)
    scorer = TextScorer(TextReward.of(lambda prompt, text: text.count("a") - len(str(prompt))))
    settings = PolicySettings(prompts_per_step=2, max_new_tokens=4, samples_per_prompt=3)
    prompts = [Prompt("ab", [0, 1]), Prompt("c", [2])]
    trainer = OnlineTrainer(policy, reference, scorer, prompts, settings, 0, value_model("abcdef"))
    rollout = trainer.roll_out(prompts, 0)
    expected = [text.count("a") - (2 if row < 3 else 1) for row, text in enumerate(rollout.samples.texts)]
    assert rollout.scores.tolist() == expected
    assert rollout.prompts == ["ab"] * 3 + ["c"] * 3


def test_value_models_are_causal_networks_of_their_own() -> None:
    trainer = trainer_of(False)
    assert isinstance(trainer.value_model, ScalarModel)
    policy = {id(p) for p in trainer.policy.parameters()}
    assert not policy & {id(p) for p in trainer.groups["value"]}
    assert letter_share(["a"], [[0]], samples_of([[0, 1]], [True])).tolist() == [0.5]
