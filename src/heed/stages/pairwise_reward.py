"""Fitting a preference that sees both texts as a stage, and giving it the reference's samples to compare with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heed.config import PolicySettings, RewardSettings, SamplingSettings
from heed.errors import DataError
from heed.feedback.kinds import PromptContent, prompt_id
from heed.sandbox.world import cache_folder
from heed.stages.data import TIE, ComparisonRow
from heed.stages.identity import model_identity
from heed.stages.measured import (
    Split,
    beside_baseline,
    outcomes_of,
    prompts_of,
    split_rows,
    tell_accuracy,
    temperature_of,
    texts_of,
    told_beside,
)
from heed.stages.plan import training_plan
from heed.stages.results import Output, StageResult, content_hash, output_folder, prepare_machine
from heed.train.optimise import memory_errors
from heed.train.progress import Watcher

if TYPE_CHECKING:
    from torch import Tensor

    from heed.models.features import FeatureCache
    from heed.models.pairwise import BothWays, CrossPairs, FeaturePairs, PairwiseReward, Ties
    from heed.models.policy import Policy
    from heed.models.rewards import Reward
    from heed.train.online import Prompt
    from heed.train.optimise import Fit
    from heed.train.pairwise import CrossTask, HeadTask, Side

_HIDDEN = 32
# Samples of the reference for each prompt of a policy run: the mean lead over two has half the noise of one.
_REFERENCES = 2


@memory_errors()
def train_pairwise(
    model: str | Path,
    comparisons: Sequence[ComparisonRow],
    out: str | Path,
    settings: RewardSettings | None = None,
    seed: int = 0,
    test: Sequence[ComparisonRow] | None = None,
    reference_texts: Sequence[tuple[PromptContent, str]] | None = None,
    device: str = "auto",
    watcher: Watcher | None = None,
) -> StageResult:
    """Fit a pairwise preference on the backbone ``model`` and write it to ``out``; it goes on where it was stopped.

    Comparisons are split as for a network. Several members are fitted to resamplings of the prompts.

    Args:
        reference_texts: samples of the reference policy that completions of these prompts are later scored against.

    Raises:
        ModelError, DataError, ProjectError, TrainingError: see their messages. Stopped: on Ctrl-C, after a checkpoint.
    """
    settings, watcher = settings or RewardSettings(backbone="pairwise"), watcher or Watcher()
    folder = output_folder(out, [model])
    data = content_hash([[[prompt_id(row.prompt), *row[1:]] for row in part] for part in (comparisons, test or ())])
    identity = {"model": model_identity(model), "data": data, "settings": settings.model_dump(), "seed": seed}
    output = Output(folder, "reward", identity)
    with output.claimed() as finished:
        if finished is not None:
            watcher.say(f"already done: {folder}")
            return finished
        split = split_rows(comparisons, test, settings, validation=True)
        _check(split.train)
        work = _Work(str(model), prepare_machine(device), settings, seed, str(identity["model"]))
        reward, fits, too_long = work.fit(split, output, watcher)
        metrics = _assess(reward, split, len(comparisons) + len(test or ()), too_long)
        metrics |= {
            "ties": sum(row.outcome == TIE for row in comparisons),
            "best_steps": [fit.best_step for fit in fits],
            "history": fits[0].history,
        }
        known: dict[str, list[str]] = {}
        contents = {prompt_id(prompt): prompt for prompt, _ in reference_texts or texts_of(split.train)}
        for prompt, text in reference_texts or texts_of(split.train):
            known.setdefault(prompt_id(prompt), []).append(text)
        reward.against([contents[key] for key in known], list(known.values()))
        with output.writing():
            reward.save(output.folder)
        return output.finish(metrics, _verdict(metrics), sum(fit.tokens for fit in fits))


def _check(rows: Sequence[ComparisonRow]) -> None:
    if not rows:
        raise DataError(
            "no comparison to learn from", "the list is empty.", "Collect some with 'heed ask' or import them."
        )
    if all(row.outcome == TIE for row in rows):
        raise DataError(
            f"all {len(rows)} comparisons are ties",
            "ties alone do not say which completion is better.",
            "Collect comparisons of completions that differ more (raise the sampling temperature).",
        )


@dataclass
class _Work:
    """What a fit needs beside the comparisons."""

    model: str
    device: str
    settings: RewardSettings
    seed: int
    identity: str

    @property
    def ties(self) -> Ties:
        # Without thresholds for the strength of a preference, the graded model is Rao and Kupper's.
        return "rao_kupper" if self.settings.ties == "graded" else self.settings.ties

    def fit(self, split: Split, output: Output, watcher: Watcher) -> tuple[PairwiseReward, list[Fit], int]:
        """The fitted preference in log-odds, how each member's fit went, and comparisons that were too long (count)."""
        from heed.models.pairwise import PairwiseReward
        from heed.models.surroundings import Surroundings
        from heed.train.pairwise import fit_member

        make: Callable[..., tuple[Any, Sequence[HeadTask | CrossTask], int, Any]]
        make = self._heads if self.settings.backbone == "pairwise" else self._cross
        comparer, tasks, too_long, around = make(split, watcher)
        found = [
            fit_member(task, self.settings, self.seed * 1_000 + n, output.checkpoints(f"member-{n}"), watcher)
            for n, task in enumerate(tasks)
        ]
        reward = PairwiseReward(comparer, self.ties, [one.tie_parameter for one in found])
        texts = texts_of(split.train)
        groups = [prompt_id(prompt) for prompt, _ in texts]
        if len(set(groups)) > 1:
            reward.surroundings = Surroundings.of(around(texts), groups)
        return reward, [one.fit for one in found], too_long

    def _side(self, rows: Sequence[ComparisonRow], member: int | None) -> Side:
        """Outcomes and weights; a member of several sees its own resampling of the prompts."""
        import torch

        from heed.train.pairwise import Side, resampled

        outcomes = torch.tensor([row.outcome for row in rows], device=self.device, dtype=torch.long)
        if member is None or self.settings.members == 1:
            return Side(outcomes, torch.ones(len(rows), device=self.device))
        code = {prompt: number for number, prompt in enumerate(dict.fromkeys(prompts_of(rows)))}
        weights = resampled([code[prompt] for prompt in prompts_of(rows)], self.seed * 1_000 + member)
        return Side(outcomes, weights.to(self.device))

    def _heads(self, split: Split, watcher: Watcher) -> tuple[FeaturePairs, list[HeadTask], int, Any]:
        from heed.models.features import FrozenFeatures
        from heed.models.pairwise import FeaturePairs, PairHead
        from heed.train.pairwise import HeadTask

        frozen = FrozenFeatures.load(self.model, self.device)
        cache = frozen.cache(cache_folder() / "features", self.identity)
        comparer = FeaturePairs(frozen, [])
        features, named = self._named(comparer, [*split.train, *split.validation], cache)
        watcher.plan(
            "pairwise reward", {"data": f"{len(split.train):,} comparisons, {len(features):,} texts read once"}
        )
        parts = named[: len(split.train)], named[len(split.train) :]
        tasks = []
        for number in range(self.settings.members):
            head = PairHead(features.shape[1], _HIDDEN, self.seed * 1_000 + number).to(self.device)
            head.standardise(features[named[:, 1:].flatten().unique()])
            comparer.heads.append(head)
            train = parts[0], self._side(split.train, number)
            tasks.append(HeadTask(head, self.ties, features, train, (parts[1], self._side(split.validation, None))))

        def around(texts: Sequence[tuple[PromptContent, str]]) -> Any:
            return comparer.features([p for p, _ in texts], [t for _, t in texts], cache).cpu().numpy()

        return comparer, tasks, 0, around

    def _named(
        self, comparer: FeaturePairs, rows: Sequence[ComparisonRow], cache: FeatureCache
    ) -> tuple[Tensor, Tensor]:
        """Features [T, D] of all prompts and texts, and the rows of each comparison's prompt and texts there [N, 3]."""
        import torch

        from heed.models.pairwise import plain

        texts = texts_of(rows)
        asked = list(dict.fromkeys(plain(row.prompt) for row in rows))
        features = torch.cat(
            [
                comparer.features([""] * len(asked), asked, cache),
                comparer.features([p for p, _ in texts], [t for _, t in texts], cache),
            ]
        )
        prompt_place = {text: number for number, text in enumerate(asked)}
        place = {text: len(asked) + number for number, text in enumerate(texts)}
        named = [[prompt_place[plain(r.prompt)], place[r.prompt, r.a], place[r.prompt, r.b]] for r in rows]
        return features, torch.tensor(named, dtype=torch.long, device=self.device).view(-1, 3)

    def _cross(self, split: Split, watcher: Watcher) -> tuple[CrossPairs, list[CrossTask], int, Any]:
        from heed.models.pairwise import CrossPairs
        from heed.train.pairwise import CrossTask

        comparer = CrossPairs.new(self.model, self.settings.members, self.seed, self.device)
        train, kept, short = self._encoded(comparer, split.train)
        stopping, stopping_rows, cut = self._encoded(comparer, split.validation)
        _check(kept)
        if lost := short + cut:
            limit = comparer.reader.context
            watcher.alarm(f"{lost:,} comparisons are left out: both texts together are longer than {limit} tokens")
        length = sum(len(way.ids) for pair in train for way in pair) / len(train)
        network = comparer.members[0].backbone
        members = self.settings.members
        watcher.plan("pairwise reward", training_plan(network, len(train), length, self.settings, members))
        held_out = stopping, self._side(stopping_rows, None)
        tokens = self.settings.tokens_per_microbatch
        tasks = [
            CrossTask(comparer, member, self.ties, (train, self._side(kept, number)), held_out, tokens)
            for number, member in enumerate(comparer.members)
        ]
        return comparer, tasks, lost, lambda texts: comparer.around([p for p, _ in texts], [t for _, t in texts])

    @staticmethod
    def _encoded(
        comparer: CrossPairs, rows: Sequence[ComparisonRow]
    ) -> tuple[list[BothWays], list[ComparisonRow], int]:
        pairs, kept = [], []
        for row in rows:
            try:
                pairs.append(comparer.encode(row.prompt, row.a, row.b))
            except DataError:
                continue
            kept.append(row)
        return pairs, kept, len(rows) - len(kept)


def _fitting(reward: PairwiseReward, rows: Sequence[ComparisonRow]) -> list[ComparisonRow]:
    """The comparisons that the comparer can read."""
    from heed.models.pairwise import CrossPairs

    if not isinstance(reward.comparer, CrossPairs):
        return list(rows)
    kept = []
    for row in rows:
        try:
            reward.comparer.encode(row.prompt, row.a, row.b)
        except DataError:
            continue
        kept.append(row)
    return kept


def _assess(reward: PairwiseReward, split: Split, given: int, too_long: int) -> dict[str, Any]:
    """Scale, temperature, accuracy and calibration, and the linear baseline beside it."""
    import torch

    def leads(rows: Sequence[ComparisonRow]) -> Tensor:
        sides = [row.prompt for row in rows], [row.a for row in rows], [row.b for row in rows]
        return reward.leads(*sides) if rows else torch.zeros(0)

    train, held_out = _fitting(reward, split.train), _fitting(reward, split.held_out)
    validation = _fitting(reward, split.validation)
    # A lead between two samples is a difference of two scores, and spreads by the root of 2 more than one of them.
    spread = float((leads(train).double() ** 2).mean().sqrt()) / 2**0.5
    reward.std = spread if spread > 0 else 1.0
    reward.temperature, note = temperature_of(leads(validation).tolist(), outcomes_of(validation))
    differences = leads(held_out).tolist()
    metrics: dict[str, Any] = {
        "comparisons": given,
        "trained_on": len(train),
        "validation": len(validation),
        "held_out": len(held_out),
        "too_long": too_long + len(split.held_out) - len(held_out),
        "on_test_prompts": split.on_test_prompts,
        "temperature": reward.temperature,
        "temperature_note": note,
        **tell_accuracy(differences, held_out, reward.temperature),
        "linear": beside_baseline(differences, held_out, [(train, range(len(held_out)))]),
    }
    reward.card["accuracy"] = metrics["accuracy"]
    return metrics


def _verdict(metrics: dict[str, Any]) -> str:
    right = metrics["accuracy"]["clustered"]
    text = f"Learned from {metrics['trained_on']} of {metrics['comparisons']} comparisons"
    if metrics["too_long"]:
        text += f" ({metrics['too_long']} left out: too long for the model)"
    if right["estimate"] is None:
        return f"{text}. Held-out accuracy is undefined: {right['reason']}"
    text += f". Right on {100 * right['estimate']:.1f} % of {right['n']} held-out comparisons"
    if right["low"] is not None:
        text += f" ({100 * right['low']:.1f} to {100 * right['high']:.1f} %)"
        if right["low"] <= 0.5:
            text += "; not surely better than a coin: collect more comparisons before you optimise against it"
    return f"{text}. {told_beside(metrics['linear'], 'A linear reward on words, characters and length')}".rstrip()


def against_reference(
    reward: Reward, reference: Policy, prompts: Sequence[Prompt], settings: PolicySettings, seed: int
) -> None:
    """Where ``reward`` compares with the reference, let that write samples for these prompts; else do nothing."""
    from heed.models.decode import sample
    from heed.models.pairwise import PairwiseReward

    if not isinstance(reward, PairwiseReward):
        return
    sampling = SamplingSettings(
        samples_per_prompt=_REFERENCES, max_new_tokens=settings.max_new_tokens, temperature=settings.temperature
    )
    drawn = sample(reference, [prompt.ids for prompt in prompts], sampling, seed).texts
    texts = [drawn[start : start + _REFERENCES] for start in range(0, len(drawn), _REFERENCES)]
    reward.against([prompt.content for prompt in prompts], texts)
