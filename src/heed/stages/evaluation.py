"""Comparing a policy with its reference on held-out prompts."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from heed.config import EvaluateSettings, SamplingSettings
from heed.errors import DataError
from heed.evaluate.compare import (
    WinRate,
    mean_difference,
    outcomes_from_scores,
    undefined_win_rate,
    win_rates,
)
from heed.evaluate.metrics import KLSummary, TextStatistics, kl_summary, text_statistics
from heed.evaluate.report import Example, MeanChange
from heed.evaluate.verdict import Verdict, verdict
from heed.feedback.kinds import PromptContent, prompt_id
from heed.raters.simulated import SimulatedRater
from heed.stages.results import prepare_machine, trained_on
from heed.statistics import Record, Undefined, mean_interval
from heed.train.optimise import memory_errors
from heed.train.progress import Watcher

if TYPE_CHECKING:
    from heed.models.decode import Samples
    from heed.models.policy import Policy

_EXAMPLES = 12


class Evaluation(Record):
    """What a comparison of a policy with its reference found."""

    true: WinRate = Field(description="share of comparisons won by true utility, ties as half (0 to 1)")
    judged: WinRate = Field(description="the same by held-out raters (0 to 1)")
    proxy: WinRate = Field(description="the same by the reward model (0 to 1)")
    true_utility: MeanChange | Undefined = Field(description="mean true utility on both sides (utility units)")
    kl: KLSummary | Undefined = Field(description="KL to the reference")
    reference_texts: TextStatistics = Field(description="length and diversity of the reference's completions")
    policy_texts: TextStatistics = Field(description="length and diversity of the policy's completions")
    examples: list[Example] = Field(description="prompts answered by both sides")
    verdict: Verdict = Field(description="what it comes to")
    raters: dict[str, int] = Field(default_factory=dict, description="judgments by each held-out rater (count)")
    judged_by_group: dict[str, WinRate] = Field(
        default_factory=dict,
        description="the win rate by held-out raters of each group, where there are several (0 to 1)",
    )
    tokens: int = Field(description="tokens sampled (count)")


@dataclass
class _Side:
    """One side's completions of the prompts, a row each."""

    samples: Samples
    true: list[float] | None = None
    proxy: list[float] | None = None


@memory_errors("Lower policy.max_new_tokens, or use a device with more memory.")
def evaluate_policy(
    policy: str | Path,
    reference: str | Path,
    prompts: Sequence[PromptContent],
    settings: EvaluateSettings | None = None,
    max_new_tokens: int = 64,
    seed: int = 0,
    reward: str | Path | None = None,
    truth: Callable[[PromptContent, str], float] | None = None,
    raters: Sequence[SimulatedRater] = (),
    device: str = "auto",
    watcher: Watcher | None = None,
) -> Evaluation:
    """Sample both sides on the first ``settings.prompts`` prompts and compare them.

    Args:
        policy, reference: model folders or hub ids.
        max_new_tokens: longest completion (tokens).
        reward: the reward model whose win rate is the proxy.
        truth: the true utility, where one is known.
        raters: held-out raters who judge each pair blind, left and right shuffled.

    Raises:
        ModelError: a model cannot be loaded. DataError: fewer than two prompts, or one is empty or too long.
    """
    from heed.models.policy import Policy

    settings, watcher = settings or EvaluateSettings(), watcher or Watcher()
    chosen = list(prompts[: settings.prompts])
    if len(chosen) < 2:
        raise DataError(
            f"{len(chosen)} prompts to evaluate on", "an interval needs at least two.", "Give more held-out prompts."
        )
    where = prepare_machine(device)
    after, before = Policy.load(policy, where), Policy.load(reference, where)
    sampling = SamplingSettings(samples_per_prompt=1, max_new_tokens=max_new_tokens, temperature=settings.temperature)
    sides = [
        _Side(_draw(model, chosen, sampling, seed + place, watcher, place))
        for place, model in enumerate((after, before))
    ]
    kl = _kl(after, before, chosen, sides[0].samples, settings)
    _score(sides, chosen, reward, truth, where)
    return _compare(sides, chosen, kl, raters, settings, seed, _trained_on(policy, chosen))


def _trained_on(policy: str | Path, prompts: Sequence[PromptContent]) -> int:
    """How many of these prompts the policy was optimised on, by what its training left beside it."""
    known = trained_on(policy) or frozenset()  # none: no policy that heed has trained
    return sum(prompt_id(prompt) in known for prompt in prompts)


def _draw(
    model: Policy, prompts: list[PromptContent], sampling: SamplingSettings, seed: int, watcher: Watcher, place: int
) -> Samples:
    from heed.models.decode import sample

    encoded = [model.encode_prompt(prompt) for prompt in prompts]
    done = 0

    def advance(rows: int) -> None:
        nonlocal done
        done += rows
        watcher.advance(place * len(prompts) + done, 2 * len(prompts), "policy" if place == 0 else "reference")

    return sample(model, encoded, sampling, seed, progress=advance)


def _kl(
    after: Policy, before: Policy, prompts: list[PromptContent], drawn: Samples, settings: EvaluateSettings
) -> KLSummary | Undefined:
    from heed.train.rollout import completion_logprobs

    if settings.temperature == 0:
        return Undefined(reason="Completions were taken greedily, and the KL is about samples.")
    if after.tokenizer.get_vocab() != before.tokenizer.get_vocab():
        return Undefined(reason="Policy and reference have different tokenizers.")
    encoded = [after.encode_prompt(prompt) for prompt in prompts]
    theirs = completion_logprobs(before, encoded, drawn.tokens, settings.temperature, 16384).sum(1)
    own = [sum(row) for row in drawn.logprobs]
    gaps = [mine - float(other) for mine, other in zip(own, theirs, strict=True)]
    ids = [prompt_id(prompt) for prompt in prompts]
    return kl_summary(gaps, [len(tokens) for tokens in drawn.tokens], ids, settings.confidence)


def _score(
    sides: list[_Side],
    prompts: list[PromptContent],
    reward: str | Path | None,
    truth: Callable[[PromptContent, str], float] | None,
    device: str,
) -> None:
    from heed.models.pairwise import PairwiseReward
    from heed.models.rewards import load_reward

    network = None if reward is None else load_reward(reward, device)
    if isinstance(network, PairwiseReward):
        network.against(prompts, [[text] for text in sides[1].samples.texts])
    for side in sides:
        texts = side.samples.texts
        if network is not None:
            side.proxy = network.score(prompts, texts).tolist()
        if truth is not None:
            side.true = [float(truth(prompt, text)) for prompt, text in zip(prompts, texts, strict=True)]


def _compare(
    sides: list[_Side],
    prompts: list[PromptContent],
    kl: KLSummary | Undefined,
    raters: Sequence[SimulatedRater],
    settings: EvaluateSettings,
    seed: int,
    seen: int,
) -> Evaluation:
    after, before = sides
    ids = [prompt_id(prompt) for prompt in prompts]
    lengths = [[len(tokens) for tokens in side.samples.tokens] for side in sides]

    def rate(outcomes: Sequence[float] | None, repeats: int, reason: str) -> WinRate:
        if outcomes is None:
            return undefined_win_rate(reason, settings.confidence)
        return win_rates(outcomes, lengths[0] * repeats, lengths[1] * repeats, ids * repeats, settings.confidence, seed)

    true = None if after.true is None or before.true is None else outcomes_from_scores(after.true, before.true).tolist()
    proxy = (
        None
        if after.proxy is None or before.proxy is None
        else outcomes_from_scores(after.proxy, before.proxy).tolist()
    )
    judged = [
        _judge(rater, row, prompts[row], after.samples.texts[row], before.samples.texts[row], seed)
        for rater in raters
        for row in range(len(prompts))
    ]
    by_group = {
        group: rate(
            [
                outcome
                for place, one in enumerate(raters)
                if one.group == group
                for outcome in _of(judged, place, prompts)
            ],
            sum(one.group == group for one in raters),
            "",
        )
        for group in sorted({one.group for one in raters})
    }
    rates = (
        rate(true, 1, "No true utility is known here."),
        rate(judged or None, len(raters), "No held-out rater has judged."),
        rate(proxy, 1, "No reward model was given."),
    )
    statistics = [
        text_statistics(side.samples.texts, length, side.samples.finished)
        for side, length in zip(sides, lengths, strict=True)
    ]
    return Evaluation(
        true=rates[0],
        judged=rates[1],
        proxy=rates[2],
        true_utility=_change(after.true, before.true, ids, settings.confidence),
        kl=kl,
        policy_texts=statistics[0],
        reference_texts=statistics[1],
        examples=_examples(sides, prompts),
        verdict=verdict(*rates, seen),
        raters={rater.name: len(prompts) for rater in raters},
        judged_by_group=by_group if len(by_group) > 1 else {},
        tokens=sum(map(sum, lengths)),
    )


def _of(judged: Sequence[float], place: int, prompts: Sequence[PromptContent]) -> Sequence[float]:
    """The outcomes by the rater at ``place``, one a prompt."""
    return judged[place * len(prompts) : (place + 1) * len(prompts)]


def _judge(rater: SimulatedRater, row: int, prompt: PromptContent, after: str, before: str, seed: int) -> float:
    """Outcome for the policy: 1, 0.5 or 0. The side it is shown on is drawn anew for each showing."""
    key = f"evaluate:{seed}:{row}"
    on_left = random.Random(f"{key}:{rater.name}").random() < 0.5
    choice, _ = rater.compare(prompt, after, before, left_is_a=on_left, key=key)
    return {"a": 1.0, "b": 0.0}.get(choice, 0.5)


def _change(
    after: list[float] | None, before: list[float] | None, ids: list[str], confidence: float
) -> MeanChange | Undefined:
    if after is None or before is None:
        return Undefined(reason="No true utility is known here.")
    return MeanChange(
        reference=mean_interval(before, ids, confidence),
        policy=mean_interval(after, ids, confidence),
        difference=mean_difference(after, ids, before, ids, confidence),
    )


def _examples(sides: list[_Side], prompts: list[PromptContent]) -> list[Example]:
    """The first prompts as they come, so that nobody has picked them."""

    def scores(side: _Side, row: int) -> dict[str, float]:
        named = {"true utility": side.true, "reward": side.proxy}
        return {name: values[row] for name, values in named.items() if values is not None}

    after, before = sides
    return [
        Example(
            prompt=prompts[row],
            before=before.samples.texts[row],
            after=after.samples.texts[row],
            before_scores=scores(before, row),
            after_scores=scores(after, row),
        )
        for row in range(min(_EXAMPLES, len(prompts)))
    ]
