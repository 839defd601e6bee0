"""Fitting a preference that sees both texts as a stage, and giving it the reference's samples to compare with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from heed.config import PolicySettings, RewardSettings, SamplingSettings
from heed.errors import DataError
from heed.feedback.kinds import PromptContent, prompt_id
from heed.sandbox.world import cache_folder
from heed.stages.baseline import LINEAR, beside_baseline
from heed.stages.data import TIE, ComparisonRow
from heed.stages.identity import model_identity
from heed.stages.judgments import Implied, Judgment, Known, implied, kinds_of
from heed.stages.measured import (
    Split,
    account,
    outcomes_of,
    prompts_of,
    split_rows,
    tell_accuracy,
    temperature_of,
    texts_of,
    told_accuracy,
    told_beside,
)
from heed.stages.plan import training_plan
from heed.stages.rater_weights import Weighed, unused_gold, weigh
from heed.stages.results import (
    Output,
    StageResult,
    content_hash,
    output_folder,
    prepare_machine,
    tell_trained_on,
)
from heed.stages.reward_rows import as_judgments, keyed
from heed.train.optimise import memory_errors
from heed.train.progress import Watcher

if TYPE_CHECKING:
    from torch import Tensor

    from heed.models.features import FeatureCache
    from heed.models.pairwise import BothWays, CrossPairs, FeaturePairs, PairwiseReward, Ties
    from heed.models.policy import Policy
    from heed.models.rewards import Reward
    from heed.train.online_loop import Prompt
    from heed.train.optimise import Fit
    from heed.train.pairwise import CrossTask, HeadTask, Side

FEWEST_PAIRS = 10
"""Comparisons with a winner that a preference between two texts is learned from at least (count): of fewer, a held-out share
is next to nothing, and nothing could tell whether anything was learned."""

_HIDDEN = 32
# Samples of the reference for each prompt of a policy run: the mean lead over two has half the noise of one.
_REFERENCES = 2


@memory_errors()
def train_pairwise(
    model: str | Path,
    judgments: Sequence[ComparisonRow | Judgment],
    out: str | Path,
    settings: RewardSettings | None = None,
    seed: int = 0,
    test: Sequence[ComparisonRow | Judgment] | None = None,
    reference_texts: Sequence[tuple[PromptContent, str]] | None = None,
    device: str = "auto",
    watcher: Watcher | None = None,
    gold: Sequence[Known] = (),
    skipped: Mapping[str, int] | None = None,
) -> StageResult:
    """Fit a pairwise preference on the backbone ``model`` and write it to ``out``; it goes on where it was stopped.

    Judgments are split as for a network. Several members are fitted to resamplings of the prompts.

    Args:
        judgments: comparisons, and what implies some; each counts by what its rater's answers tell.
        reference_texts: samples of the reference policy that completions of these prompts are later scored against, or else
            all texts that were judged.
        gold: answers to gold items, which tell of who gave them alone.
        skipped: judgments left out before, by reason (counts), which the card tells.

    Raises:
        ModelError, DataError, ProjectError, TrainingError: see their messages. Stopped: on Ctrl-C, after a checkpoint.
    """
    settings, watcher = settings or RewardSettings(backbone="pairwise"), watcher or Watcher()
    folder = output_folder(out, [model])
    known = [[keyed(answer.given), keyed(answer.expected)] for answer in gold]
    data = content_hash([*(list(map(keyed, as_judgments(part))) for part in (judgments, test or ())), known])
    identity = {"model": model_identity(model), "data": data, "settings": settings.model_dump(), "seed": seed}
    output = Output(folder, "reward", identity)
    with output.claimed() as finished:
        if finished is not None:
            watcher.say(f"already done: {folder}")
            return finished
        split = split_rows(judgments, test, settings, validation=True)
        if unused := unused_gold(gold, settings):
            watcher.alarm(unused)
        sides = _Sides(*(implied(part) for part in split[:3]))
        check_enough(sides.train, split.train, settings)
        work = _Work(str(model), prepare_machine(device), settings, seed, str(identity["model"]), gold)
        reward, fits, weighed = work.fit(sides, output, watcher)
        read = _Sides(*(_fitting(reward, side) for side in sides))
        of_use, parts = _account(len(judgments) + len(test or ()), split, sides, read)
        metrics = {**parts, **_assess(reward, read, [*split.train, *split.validation], settings, gold)}
        metrics |= {
            "skipped": dict(skipped or {}),
            "kinds": kinds_of(of_use.train),
            "raters": weighed.reliability,
            "raters_not_told_apart": weighed.not_told_apart,
            "best_steps": [fit.best_step for fit in fits],
            "history": fits[0].history,
        }
        reward.card |= {name: metrics[name] for name in ("accuracy", "kinds", "skipped", "raters")}
        references: dict[PromptContent, list[str]] = {}
        for prompt, text in reference_texts or texts_of([one.pair for side in sides for one in side]):
            references.setdefault(prompt, []).append(text)
        reward.against(list(references), list(references.values()))
        with output.writing():
            reward.save(output.folder)
            tell_trained_on(output.folder, (row.prompt for row in (*of_use.train, *of_use.validation)))
        return output.finish(metrics, _verdict(metrics), sum(fit.tokens for fit in fits))


class _Sides(NamedTuple):
    """Comparisons to fit, to tell when to stop, and to measure on."""

    train: list[Implied]
    validation: list[Implied]
    held_out: list[Implied]


def pairs_of(rows: Sequence[Implied]) -> list[ComparisonRow]:
    """The comparisons alone."""
    return [one.pair for one in rows]


def check_enough(rows: Sequence[Implied], judgments: Sequence[Judgment], settings: RewardSettings) -> None:
    """Refuse what no preference between two texts can be learned from.

    Args:
        rows: the comparisons to learn from.
        judgments: what they come of.

    Raises:
        DataError: too few of them have a winner.
    """
    decided = sum(one.pair.outcome != TIE for one in rows)
    if decided >= FEWEST_PAIRS:
        return
    alone = len(judgments) - len({place for one in rows for place in one.places})
    why = f"a {settings.backbone} reward learns from what was preferred to what, and takes {FEWEST_PAIRS} such comparisons."
    fix = "Collect more comparisons."
    if alone:
        why += (
            f" {alone} of the {len(judgments)} judgments imply none: what is said of one text does so only beside what the "
            "same rater said of another for the same prompt."
        )
        fix = "Set backbone to network or linear, which learn from judgments of one text too, or collect comparisons."
    raise DataError(f"comparisons with a winner to learn from: {decided}", why, fix)


@dataclass
class _Work:
    """What a fit needs beside the comparisons."""

    model: str
    device: str
    settings: RewardSettings
    seed: int
    identity: str
    gold: Sequence[Known]

    @property
    def ties(self) -> Ties:
        # Without thresholds for the strength of a preference, the graded model is Rao and Kupper's.
        return "rao_kupper" if self.settings.ties == "graded" else self.settings.ties

    def fit(self, sides: _Sides, output: Output, watcher: Watcher) -> tuple[PairwiseReward, list[Fit], Weighed]:
        """The fitted preference in log-odds, how each member's fit went, and what each rater's comparisons count."""
        from heed.models.pairwise import PairwiseReward
        from heed.models.surroundings import Surroundings
        from heed.train.pairwise import fit_member

        train, validation = pairs_of(sides.train), pairs_of(sides.validation)
        weighed = weigh(train, self.settings, self.gold)
        fit = self._heads if self.settings.backbone == "pairwise" else self._cross
        made: tuple[Any, list[Any], Any, Sequence[ComparisonRow]] = fit(train, validation, weighed, watcher)
        comparer, tasks, around, read = made
        found = [
            fit_member(task, self.settings, self.seed * 1_000 + n, output.checkpoints(f"member-{n}"), watcher)
            for n, task in enumerate(tasks)
        ]
        reward = PairwiseReward(comparer, self.ties, [one.tie_parameter for one in found])
        texts = texts_of(read)
        reward.surroundings = Surroundings.known(around(texts), [prompt_id(prompt) for prompt, _ in texts])
        return reward, [one.fit for one in found], weighed

    def _side(self, rows: Sequence[ComparisonRow], member: int | None, weighed: Weighed | None = None) -> Side:
        """Outcomes, turned round where the rater surely inverts, and weights; a member of several sees its own resampling
        of the prompts, and what is held out is seen by none."""
        import torch

        from heed.train.pairwise import Side, resampled

        outcomes = torch.tensor([row.outcome for row in rows], device=self.device, dtype=torch.long)
        weights = torch.ones(len(rows))
        if weighed is not None:
            turned = torch.tensor(weighed.better != np.array(outcomes_of(rows)), device=self.device)
            outcomes = torch.where(turned, 1 - outcomes, outcomes)
            weights = torch.from_numpy(weighed.weight).float()
        if member is not None and self.settings.members > 1:
            code = {prompt: number for number, prompt in enumerate(dict.fromkeys(prompts_of(rows)))}
            weights = weights * resampled([code[prompt] for prompt in prompts_of(rows)], self.seed * 1_000 + member)
        return Side(outcomes, weights.to(self.device))

    def _heads(
        self,
        train: Sequence[ComparisonRow],
        validation: Sequence[ComparisonRow],
        weighed: Weighed,
        watcher: Watcher,
    ) -> tuple[FeaturePairs, list[HeadTask], Any, Sequence[ComparisonRow]]:
        from heed.models.features import FrozenFeatures
        from heed.models.pairwise import FeaturePairs, PairHead
        from heed.train.pairwise import HeadTask

        frozen = FrozenFeatures.load(self.model, self.device)
        cache = frozen.cache(cache_folder() / "features", self.identity)
        comparer = FeaturePairs(frozen, [])
        features, named = self._named(comparer, [*train, *validation], cache)
        watcher.plan("pairwise reward", {"data": f"{len(train):,} comparisons, {len(features):,} texts read once"})
        learned, stopping = (named[: len(train)], named[len(train) :])
        tasks = []
        for number in range(self.settings.members):
            head = PairHead(features.shape[1], _HIDDEN, self.seed * 1_000 + number).to(self.device)
            head.standardise(features[named[:, 1:].flatten().unique()])
            comparer.heads.append(head)
            fitted = learned, self._side(train, number, weighed)
            tasks.append(HeadTask(head, self.ties, features, fitted, (stopping, self._side(validation, None))))

        def around(texts: Sequence[tuple[PromptContent, str]]) -> Any:
            return comparer.features([p for p, _ in texts], [t for _, t in texts], cache).cpu().numpy()

        return comparer, tasks, around, train

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
                comparer.of_prompts(asked, cache),
                comparer.features([p for p, _ in texts], [t for _, t in texts], cache),
            ]
        )
        prompt_place = {text: number for number, text in enumerate(asked)}
        place = {text: len(asked) + number for number, text in enumerate(texts)}
        named = [[prompt_place[plain(r.prompt)], place[r.prompt, r.a], place[r.prompt, r.b]] for r in rows]
        return features, torch.tensor(named, dtype=torch.long, device=self.device).view(-1, 3)

    def _cross(
        self,
        train: Sequence[ComparisonRow],
        validation: Sequence[ComparisonRow],
        weighed: Weighed,
        watcher: Watcher,
    ) -> tuple[CrossPairs, list[CrossTask], Any, Sequence[ComparisonRow]]:
        from heed.models.pairwise import CrossPairs
        from heed.train.pairwise import CrossTask

        comparer = CrossPairs.new(self.model, self.settings.members, self.seed, self.device)
        learned, kept = self._encoded(comparer, train)
        stopping, stopping_kept = self._encoded(comparer, validation)
        rows, limit = [train[place] for place in kept], comparer.reader.context
        if not rows:
            raise DataError(
                f"none of {len(train)} comparisons fits the model",
                f"the context of its backbone is {limit} tokens, for both texts together.",
                "Shorten them, or use a backbone with a longer context.",
            )
        if lost := len(train) + len(validation) - len(kept) - len(stopping_kept):
            watcher.alarm(f"{lost:,} comparisons are left out: both texts together are longer than {limit} tokens")
        told = weighed._replace(better=weighed.better[kept], weight=weighed.weight[kept])
        length = sum(len(way.ids) for pair in learned for way in pair) / len(learned)
        backbone, members = comparer.members[0].backbone, self.settings.members
        watcher.plan("pairwise reward", training_plan(backbone, len(learned), length, self.settings, members))
        held_out = stopping, self._side([validation[place] for place in stopping_kept], None)
        tokens = self.settings.tokens_per_microbatch
        tasks = [
            CrossTask(comparer, member, self.ties, (learned, self._side(rows, number, told)), held_out, tokens)
            for number, member in enumerate(comparer.members)
        ]
        return comparer, tasks, lambda texts: comparer.around([p for p, _ in texts], [t for _, t in texts]), rows

    @staticmethod
    def _encoded(comparer: CrossPairs, rows: Sequence[ComparisonRow]) -> tuple[list[BothWays], list[int]]:
        """The comparisons that fit the context as token ids, and their places."""
        pairs, kept = [], []
        for place, row in enumerate(rows):
            try:
                pairs.append(comparer.encode(row.prompt, row.a, row.b))
            except DataError:
                continue
            kept.append(place)
        return pairs, kept


def _fitting(reward: PairwiseReward, rows: Sequence[Implied]) -> list[Implied]:
    """The comparisons that the comparer can read."""
    from heed.models.pairwise import CrossPairs

    if not isinstance(reward.comparer, CrossPairs):
        return list(rows)
    return [rows[place] for place in _Work._encoded(reward.comparer, pairs_of(rows))[1]]


def _account(given: int, split: Split, sides: _Sides, read: _Sides) -> tuple[Split, dict[str, int]]:
    """The judgments that a comparison comes of which the model reads, and what became of all that were given."""
    places = [{place for one in side for place in one.places} for side in read]
    used = [[part[place] for place in sorted(found)] for part, found in zip(split[:3], places, strict=True)]
    of_use = Split(used[0], used[1], used[2], split.on_test_prompts)
    telling = sum(len({place for one in side for place in one.places}) for side in sides)
    alone, too_long = sum(map(len, split[:3])) - telling, telling - sum(map(len, used))
    return of_use, {
        **account(given, of_use, alone, too_long),
        "comparisons_trained_on": len(read.train),
        "comparisons_too_long": sum(map(len, sides)) - sum(map(len, read)),
    }


def _assess(
    reward: PairwiseReward,
    sides: _Sides,
    known: Sequence[Judgment],
    settings: RewardSettings,
    gold: Sequence[Known],
) -> dict[str, Any]:
    """Scale, temperature, accuracy and calibration, and beside it a linear reward fitted to the judgments ``known``."""

    def leads(rows: Sequence[ComparisonRow]) -> list[float]:
        asked = [row.prompt for row in rows], [row.a for row in rows], [row.b for row in rows]
        return reward.leads(*asked).tolist() if rows else []

    train, validation, held_out = map(pairs_of, sides)
    # A lead between two samples is a difference of two scores, and spreads by the root of 2 more than one of them.
    spread = float(np.sqrt(np.mean(np.square(leads(train))))) / 2**0.5
    reward.std = spread if spread > 0 else 1.0
    reward.temperature, note = temperature_of(leads(validation), outcomes_of(validation))
    differences = leads(held_out)
    return {
        "temperature": reward.temperature,
        "temperature_note": note,
        **tell_accuracy(differences, held_out, reward.temperature),
        "linear": beside_baseline(differences, held_out, [(known, range(len(held_out)))], settings, gold),
    }


def _verdict(metrics: dict[str, Any]) -> str:
    text = told_accuracy(metrics)
    if metrics["comparisons_too_long"]:
        text += f" Comparisons left out, too long for the model: {metrics['comparisons_too_long']}."
    return f"{text} {told_beside(metrics['linear'], LINEAR)}".rstrip()


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
