"""The online algorithms beside PPO: gradients from their papers' equations, equivalences, optima, refusals."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import brentq
from torch import Tensor

from heed.algorithms import ALGORITHMS
from heed.config import GROUPED, ONE_UPDATE, OWN_SAMPLES, PolicySettings
from heed.errors import TrainingError
from heed.models.decode import Samples
from heed.models.policy import Policy
from heed.stages.plan import policy_plan
from heed.train.alarms import reasons
from heed.train.checks import self_check
from heed.train.online import OnlineTrainer
from heed.train.recipes import RECIPES, setting_of
from heed.train.rollout import Rollout
from tiny_training import first_token, trainer_of

NAMES = [name for name in RECIPES if name != "ppo"]
CRITICLESS = [name for name, recipe in RECIPES.items() if not recipe.critic]


def of(name: str, shared: bool = False, **changes: Any) -> OnlineTrainer:
    """Its samples are the policy's own: what actors do is another file's."""
    plain = {"epochs": None, "samples_per_prompt": 4, "staleness": 0}
    return trainer_of(shared, algorithm=name, **{**plain, **changes})


def gradient(trainer: OnlineTrainer) -> Tensor:
    found = torch.cat([p.grad.flatten() for p in trainer.policy.parameters()])
    trainer.policy.model.zero_grad()
    return found


def accumulated(trainer: OnlineTrainer, rollout: Rollout, tokens_per_microbatch: int) -> Tensor:
    """The gradient that an update of the whole rollout would step along, clipping of its norm aside."""
    trainer.settings = trainer.settings.model_copy(update={"tokens_per_microbatch": tokens_per_microbatch})
    kept: list[Tensor] = []
    step = trainer.optimizer.step
    trainer.optimizer.step = lambda: kept.append(  # type: ignore[method-assign]
        torch.cat([p.grad.flatten().clone() for p in trainer.policy.parameters()])
    )
    trainer.settings = trainer.settings.model_copy(update={"max_grad_norm": math.inf})
    trainer._layouts.clear()
    trainer._update(rollout, list(range(len(rollout.lengths))), 0, 0)
    trainer.optimizer.step = step  # type: ignore[method-assign]
    return kept[0]


def logprobs_by_transformers(policy: Policy, rollout: Rollout, row: int) -> Tensor:
    """Of the tokens of a completion, with a gradient."""
    prompt, written = rollout.prompt_ids[row], rollout.samples.tokens[row]
    logits = policy.model(input_ids=torch.tensor([prompt + written])).logits[0].log_softmax(-1)
    places = range(len(prompt) - 1, len(prompt) - 1 + len(written))
    return logits[list(places), written]


def objective(name: str, trainer: OnlineTrainer, rollout: Rollout) -> Tensor:
    """What the paper maximises, by rows and tokens; at the policy that sampled, every ratio is 1."""
    each, beta, longest = 4, trainer.control.coefficient, trainer.settings.max_new_tokens
    rows = range(len(rollout.lengths))
    lp = [logprobs_by_transformers(trainer.policy, rollout, row) for row in rows]
    ref = [logprobs_by_transformers(trainer.reference, rollout, row).detach() for row in rows]
    score = [float(s) for s in rollout.scores]
    kl = [(now.detach() - then) for now, then in zip(lp, ref, strict=True)]
    total = [score[row] - beta * float(kl[row].sum()) for row in rows]
    group = [list(range(row - row % each, row - row % each + each)) for row in rows]
    k3 = [torch.exp(then - now) - (then - now) - 1 for now, then in zip(lp, ref, strict=True)]
    if name == "reinforce":
        to_go = []
        for row in rows:
            rewards = -beta * kl[row]
            rewards[-1] += score[row]
            to_go.append(rewards.flip(0).cumsum(0).flip(0))
        found = lp[0].new_zeros(())
        for row in rows:
            baseline = sum(float(to_go[other][0]) for other in rows if other != row) / (len(lp) - 1)
            found = found + ((to_go[row] - baseline) * lp[row]).sum()
        return found / sum(map(len, lp))
    if name == "rloo":
        advantages = [total[row] - sum(total[o] for o in group[row] if o != row) / (each - 1) for row in rows]
        return sum(a * x.sum() for a, x in zip(advantages, lp, strict=True)) / len(lp)
    if name == "online_dpo":
        gaps = [now.sum() - then.sum() for now, then in zip(lp, ref, strict=True)]
        found = lp[0].new_zeros(())
        for first in range(0, len(lp), each):
            best, worst = max(group[first], key=score.__getitem__), min(group[first], key=score.__getitem__)
            found = found + F.logsigmoid(beta * (gaps[best] - gaps[worst]))
        return found / (len(lp) / each)
    if name == "best_of_n":
        best = [row for row in rows if row == max(group[row], key=lambda other: (total[other], -other))]
        return sum(lp[row].sum() for row in best) / sum(len(lp[row]) for row in best)
    found = lp[0].new_zeros(())
    telling = sum(len(lp[row]) for row in rows if len({score[o] for o in group[row]}) > 1)
    for row in rows:
        mine = torch.tensor([score[o] for o in group[row]], dtype=torch.float64)
        advantage = score[row] - float(mine.mean())
        if name != "dr_grpo":
            advantage = advantage / float(mine.std()) if float(mine.std()) > 1e-9 else 0.0
        # At ratio 1 the gradient of the ratio is that of the log-probability.
        if name == "gspo":
            found = found + (advantage * lp[row].mean() - beta * k3[row].mean()) / len(lp)
        elif name == "grpo":
            found = found + (advantage * lp[row] - beta * k3[row]).mean() / len(lp)
        elif name == "dr_grpo":
            found = found + (advantage * lp[row] - beta * k3[row]).sum() / (len(lp) * longest)
        elif len(set(mine.tolist())) > 1:
            found = found + (advantage * lp[row] - beta * k3[row]).sum() / telling
    return found


@pytest.mark.parametrize("name", CRITICLESS)
def test_the_gradient_is_that_of_the_paper_s_objective_in_any_split(name: str) -> None:
    trainer = of(name, kl_coefficient=0.3, whiten_advantages=False)
    with torch.no_grad():  # away from the reference, or the KL would pull nowhere
        generator = torch.Generator().manual_seed(3)
        for parameter in trainer.policy.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    rollout = trainer.roll_out(trainer.prompts[:4], 5)
    assert len(set(map(float, rollout.scores))) > 3
    found = [accumulated(trainer, rollout, tokens) for tokens in (10_000, 20)]
    trainer.policy.model.zero_grad()
    (-objective(name, trainer, rollout)).backward()
    expected = gradient(trainer)
    tolerance = {"atol": 1e-6 + 2e-4 * float(expected.abs().max()), "rtol": 1e-3}
    for one in found:
        torch.testing.assert_close(one, expected, **tolerance)


def shares(name: str, trainer: OnlineTrainer, rollout: Rollout) -> list[float]:
    """How much a token of each completion counts in the paper's objective, beside its advantage."""
    lengths, score = rollout.lengths, rollout.scores.tolist()
    rows = range(len(lengths))
    groups = [range(row - row % 4, row - row % 4 + 4) for row in rows]
    if name == "rloo":
        return [1 / len(rows)] * len(rows)
    if name in ("grpo", "gspo"):
        return [1 / (len(rows) * length) for length in lengths]
    if name == "dr_grpo":
        return [1 / (len(rows) * trainer.settings.max_new_tokens)] * len(rows)
    if name == "dapo":
        counts = [len({score[other] for other in groups[row]}) > 1 for row in rows]
    elif name == "best_of_n":
        counts = [bool((rollout.advantages[row] != 0).any()) for row in rows]
    else:
        counts = [True for _ in rows]
    return [count / sum(length for length, one in zip(lengths, counts, strict=True) if one) for count in counts]


@pytest.mark.parametrize("name", [name for name in CRITICLESS if name != "online_dpo"])
def test_tokens_count_in_the_entropy_bonus_as_they_do_in_the_loss(name: str) -> None:
    coefficient = 0.7
    trainer = of(name, whiten_advantages=False)
    rollout = trainer.roll_out(trainer.prompts[:4], 5)
    plain = accumulated(trainer, rollout, 10_000)
    trainer.settings = trainer.settings.model_copy(update={"entropy_coefficient": coefficient})
    found = accumulated(trainer, rollout, 20) - plain
    trainer.policy.model.zero_grad()
    bonus = torch.zeros(())
    for row, share in enumerate(shares(name, trainer, rollout)):
        prompt, written = rollout.prompt_ids[row], rollout.samples.tokens[row]
        log_p = trainer.policy.model(input_ids=torch.tensor([prompt + written])).logits[0].log_softmax(-1)
        predicting = log_p[len(prompt) - 1 : len(prompt) - 1 + len(written)]
        bonus = bonus + share * -(predicting.exp() * predicting).sum()
    (-coefficient * bonus).backward()
    expected = gradient(trainer)
    torch.testing.assert_close(found, expected, atol=1e-6 + 2e-4 * float(expected.abs().max()), rtol=1e-3)


def test_ppo_of_one_epoch_without_clipping_is_a2c() -> None:
    weights = []
    for name, more in (("a2c", {}), ("ppo", {"epochs": 1, "clip_ratio": 1e9})):
        trainer = of(name, shared=True, **more)
        for step in range(3):
            trainer.step(step)
        weights.append(torch.cat([p.detach().flatten() for p in trainer.policy.parameters()]))
    torch.testing.assert_close(*weights, atol=1e-6, rtol=1e-4)


def test_rloo_of_two_is_the_difference_of_a_pair() -> None:
    trainer = of("rloo", samples_per_prompt=2, kl_coefficient=0.0)
    rollout = trainer.roll_out(trainer.prompts[:4], 1)
    gap = (rollout.scores[0::2] - rollout.scores[1::2]).tolist()
    first, second = rollout.advantages[0::2, 0].tolist(), rollout.advantages[1::2, 0].tolist()
    assert first == pytest.approx(gap, abs=1e-6)
    assert second == pytest.approx([-g for g in gap], abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_self_check_passes_and_learning_rate_zero_keeps_ratios_at_one(name: str) -> None:
    trainer = of(name)
    assert "resumed equals uninterrupted" in self_check(trainer, at_start=True)
    if name == "trpo":  # whose step has no learning rate
        return
    still = of(name, learning_rate=0.0, value_learning_rate=0.0, steps=2)
    before = [p.detach().clone() for p in still.parameters.values()]
    for row in still.run().history:
        assert row["ratio_max"] == pytest.approx(1, abs=1e-4)
        assert row["clip_fraction"] == 0
        assert row["kl"] == pytest.approx(0, abs=1e-4)
    assert all(torch.equal(p, old) for p, old in zip(still.parameters.values(), before, strict=True))


@pytest.mark.parametrize("name", CRITICLESS)
def test_without_values_there_is_no_network_of_them(name: str) -> None:
    trainer = of(name)
    assert trainer.value_model is None
    assert trainer.value_head is None
    assert all(own.startswith("policy.") for own in trainer.parameters)
    assert "no value model" in policy_plan(trainer.policy.model, 5.0, trainer.settings)["model"]


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("reinforce", "trpo")])
def test_reward_rises_on_longer_completions(name: str) -> None:
    trainer = of(
        name,
        shared=name != "trpo",
        steps=40,
        prompts_per_step=8,
        samples_per_prompt=8,
        kl_coefficient=0.01,
        learning_rate=1e-2,
        max_grad_norm=100.0,
        update_kl_limit=10.0,
        **({"epochs": 2} if name == "gspo" else {}),
    )
    history = trainer.run().history
    assert sum(row["reward"] for row in history[-3:]) / 3 > history[0]["reward"] + 0.15


# Optima

WORTH = torch.tensor([1.0, -0.5, 0.0, 0.5, 0.2])


def one_token(prompts: Any, prompt_ids: Any, samples: Samples) -> Tensor:
    return WORTH[[tokens[0] for tokens in samples.tokens]]


def best_policy(name: str, reference: Tensor, beta: float) -> Tensor:
    """With the KL in the reward, the reference times exp(reward / beta). With k3 in the loss, whose gradient at the policy's own
    samples is that of KL(reference || policy): policy = beta reference / (c - reward), c such that it sums to 1."""
    worth = WORTH.double()
    if not RECIPES[name].kl_in_loss:
        return torch.softmax(reference.log() + worth / beta, 0)
    top = float(worth.max())
    c = brentq(lambda c: float((beta * reference / (c - worth)).sum()) - 1, top + 1e-9, top + 100.0)
    return beta * reference / (c - worth)


RUNS = [(name, seed) for name in ("rloo", "reinforce", "a2c", "dr_grpo") for seed in range(5)]


@pytest.mark.parametrize(("name", "seed"), [RUNS[0], *(pytest.param(*run, marks=pytest.mark.slow) for run in RUNS[1:])])
def test_each_ends_where_its_objective_is_largest(name: str, seed: int) -> None:
    beta = 0.5
    trainer = trainer_of(
        False,
        "abcd",
        seed,
        one_token,
        algorithm=name,
        epochs=None,
        steps=80,
        prompts_per_step=2,
        samples_per_prompt=256,
        max_new_tokens=1,
        learning_rate=5e-3,
        value_learning_rate=1e-2,
        kl_coefficient=beta,
        whiten_advantages=False,
        max_grad_norm=100.0,
    )
    trainer.prompts = trainer.prompts[:2]

    reference = [first_token(trainer.reference, p.ids) for p in trainer.prompts]
    trainer.run()
    for prompt, ref in zip(trainer.prompts, reference, strict=True):
        best = best_policy(name, ref, beta)
        away, left = (float((p * (p / best).log()).sum()) for p in (ref, first_token(trainer.policy, prompt.ids)))
        assert away > 0.02, "the optimum is away from the reference"
        assert left < 0.1 * away


# What is refused, and what is told


def test_what_an_algorithm_cannot_do_is_refused() -> None:
    for name in GROUPED:
        with pytest.raises(ValueError, match="samples_per_prompt 1 every advantage is 0"):
            PolicySettings(algorithm=name, samples_per_prompt=1)
    for name in ONE_UPDATE:
        with pytest.raises(ValueError, match="right only for the policy that sampled"):
            PolicySettings(algorithm=name, epochs=2)
        with pytest.raises(ValueError, match="right only for the policy that sampled"):
            PolicySettings(algorithm=name, minibatches=2)
    with pytest.raises(ValueError, match="its baseline"):
        PolicySettings(algorithm="reinforce", samples_per_prompt=1, prompts_per_step=1)
    for name in OWN_SAMPLES:
        with pytest.raises(ValueError, match="staleness 1 they are of an earlier one"):
            PolicySettings(algorithm=name, staleness=1)
    with pytest.raises(ValueError, match="the beta of online_dpo"):
        PolicySettings(algorithm="online_dpo", kl_coefficient=0.0)
    with pytest.raises(ValueError, match="no units of reward"):
        PolicySettings(algorithm="online_dpo", entropy_coefficient=0.1)
    assert set(GROUPED) | {"ppo", "trpo", "a2c", "a3c", "reinforce"} == set(RECIPES)
    corrects = {name for name, recipe in RECIPES.items() if recipe.corrected or recipe.ratio != "none"}
    assert set(OWN_SAMPLES) == set(RECIPES) - corrects
    assert set(ONE_UPDATE) == {n for n, recipe in RECIPES.items() if recipe.ratio == "none" and not recipe.trust_region}
    assert {name for name, one in ALGORITHMS.items() if one.family == "online"} == set(RECIPES)


def test_what_settings_leave_empty_is_the_algorithm_s_own() -> None:
    assert setting_of(PolicySettings(), "epochs") == 4
    dapo = PolicySettings(algorithm="dapo")
    assert (setting_of(dapo, "clip_ratio"), setting_of(dapo, "clip_ratio_high")) == (0.2, 0.28)
    named = PolicySettings(algorithm="dapo", clip_ratio=0.1)
    assert setting_of(named, "clip_ratio_high") == 0.1


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["grpo", "best_of_n", "ppo"])
def test_a_reward_that_is_no_number_is_refused_and_named(name: str, value: float) -> None:
    def reward(prompts: Any, prompt_ids: Any, samples: Samples) -> Tensor:
        return torch.tensor([value if row == 3 else 0.5 for row in range(len(samples.tokens))])

    trainer = of(name, scorer=reward)
    before = [p.detach().clone() for p in trainer.policy.parameters()]
    with pytest.raises(TrainingError, match=f"the reward of a sample is {value}.*of 16 samples 1 have no finite score"):
        trainer.step(0)
    assert all(torch.equal(p, old) for p, old in zip(trainer.policy.parameters(), before, strict=True))


def test_samples_that_all_score_alike_are_told() -> None:
    trainer = of("grpo", scorer=lambda prompts, ids, samples: torch.zeros(len(samples.tokens)))
    figures = trainer.step(0)
    assert figures["alike"] == 1
    (told,) = (text for kind, text in reasons(trainer.result.history, figures, trainer.settings) if kind == "alike")
    assert "100 % of the prompts" in told
