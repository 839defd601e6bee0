"""Fitting a linear reward as a stage: weights on what can be seen of a text, or on a frozen backbone's features."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from heed.config import RewardSettings
from heed.feedback.kinds import prompt_id
from heed.sandbox.world import cache_folder
from heed.stages.data import ComparisonRow
from heed.stages.identity import model_identity
from heed.stages.judgments import Judgment, Known, compared, kinds_of
from heed.stages.linear_data import LinearData, Single, Text, parts_of
from heed.stages.measured import (
    account,
    by_length,
    difference_of,
    outcomes_of,
    prompts_of,
    split_rows,
    tell_accuracy,
    temperature_of,
    texts_of,
    told_accuracy,
    told_beside,
)
from heed.stages.rater_weights import unused_gold
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
from heed.train.progress import Stopped, Watcher, stop_on_interrupt

if TYPE_CHECKING:
    from heed.models.features import FeatureCache
    from heed.models.linear_reward import LinearReward, TextBlocks

# Features of the largest weights that are named in the metrics (count).
_TELLING = 20


@memory_errors()
def train_linear(
    model: str | Path,
    judgments: Sequence[ComparisonRow | Judgment],
    out: str | Path,
    settings: RewardSettings | None = None,
    seed: int = 0,
    test: Sequence[ComparisonRow | Judgment] | None = None,
    reference_texts: Sequence[Text] | None = None,
    device: str = "auto",
    watcher: Watcher | None = None,
    gold: Sequence[Known] = (),
    skipped: Mapping[str, int] | None = None,
) -> StageResult:
    """Fit a linear reward and write it to ``out``; the same call goes on where it was stopped.

    Args:
        model: the backbone of the frozen features; not looked at where ``settings.features`` names none.
        judgments: comparisons, and what implies some, by their differences; thumbs, ratings and critiques of one text as
            they are. Split by prompt: ``test`` or ``test_fraction`` of the prompts is only measured on.
        reference_texts: samples of the reference policy that scores are centred and scaled to, or else the training texts.
        gold: answers to gold items, which tell of who gave them alone.
        skipped: judgments left out before, by reason (counts), which the card tells.

    Raises:
        ModelError, DataError, ProjectError, TrainingError: see their messages. Stopped: on Ctrl-C.
    """
    from heed.models.features import FrozenFeatures
    from heed.models.linear_reward import FROZEN, TextBlocks

    settings, watcher = settings or RewardSettings(backbone="linear"), watcher or Watcher()
    frozen_from = model if FROZEN in settings.features and str(model) else None
    folder = output_folder(out, [] if frozen_from is None else [frozen_from])
    known = [[keyed(answer.given), keyed(answer.expected)] for answer in gold]
    data = content_hash([*(list(map(keyed, as_judgments(part))) for part in (judgments, test or ())), known])
    source = None if frozen_from is None else model_identity(frozen_from)
    identity = {"model": source, "data": data, "settings": settings.model_dump(), "seed": seed}
    output = Output(folder, "reward", identity)
    with output.claimed() as finished:
        if finished is not None:
            watcher.say(f"already done: {folder}")
            return finished
        split = split_rows(judgments, test, settings, validation=False)
        (rows, single), held_out = parts_of(split.train), compared(split.held_out)
        if unused := unused_gold(gold, settings):
            watcher.alarm(unused)
        watcher.plan("linear reward", _plan(rows, single, held_out, settings))
        where = prepare_machine(device)
        frozen = None if frozen_from is None else FrozenFeatures.load(frozen_from, where)
        cache = None if frozen is None else frozen.cache(cache_folder() / "features", str(source))
        training = [*texts_of(rows), *((row.prompt, row.text) for row in single)]
        blocks = TextBlocks.fit(settings.features, [text for _, text in training], frozen)
        with _stopping(watcher) as progress:
            learned = LinearData.of(rows, single, settings, gold)
            reward, left_out = _fit(blocks, learned, settings, seed, cache, progress)
            reference = list(dict.fromkeys(reference_texts or training))
            asked, texts = [prompt for prompt, _ in reference], [text for _, text in reference]
            reward.calibrate_scale(blocks.of(asked, texts, cache, progress))
            differences = _differences(reward, held_out, cache)
        tuned = [(lead / reward.std, said) for lead, said in left_out]
        reward.temperature, note = temperature_of([lead for lead, _ in tuned], [said for _, said in tuned])
        metrics = {
            **account(len(judgments) + len(test or ()), split),
            **tell_accuracy(differences, held_out, reward.temperature),
            "temperature": reward.temperature,
            "temperature_note": f"{note} that were left out" if note.startswith("fitted") else note,
            "kinds": kinds_of(split.train),
            "skipped": dict(skipped or {}),
            "raters": learned.weighed.reliability,
            "raters_not_told_apart": learned.weighed.not_told_apart,
            "texts_cut": blocks.cut,
            # Lists, as they are read back: the same result comes of a run that was done before.
            "telling": {name: list(map(list, told)) for name, told in reward.telling(_TELLING).items()},
            "baseline": _beside(differences, compared(split.train), held_out),
        }
        metrics |= {name: reward.card[name] for name in ("penalties", "shares")}
        reward.card |= {name: metrics[name] for name in ("accuracy", "kinds", "skipped", "raters")}
        with output.writing():
            reward.save(output.folder)
            tell_trained_on(output.folder, (row.prompt for row in split.train))
        return output.finish(metrics, _verdict(metrics), 0)


def _plan(
    rows: Sequence[ComparisonRow], single: Sequence[Single], held_out: Sequence[ComparisonRow], settings: RewardSettings
) -> dict[str, str]:
    return {
        "data": f"{len(rows):,} comparisons, {len(single):,} judgments of one text, {len(texts_of(rows)) + len(single):,} texts",
        "features": ", ".join(settings.features),
        "fit": f"{settings.learner}, {settings.members} times",
        "held out": f"{len(held_out)} comparisons of {len(set(prompts_of(held_out)))} prompts",
    }


@contextmanager
def _stopping(watcher: Watcher) -> Iterator[Callable[[int, int], None]]:
    """Progress of the features, after each piece that is on the disk; the place where Ctrl-C is heard."""
    with stop_on_interrupt() as flag:

        def progress(done: int, total: int) -> None:
            watcher.advance(done, total, "texts read by the frozen backbone")
            if flag.asked:
                raise Stopped

        yield progress


def _fit(
    blocks: TextBlocks,
    learned: LinearData,
    settings: RewardSettings,
    seed: int,
    cache: FeatureCache | None,
    progress: Callable[[int, int], None],
) -> tuple[LinearReward, list[tuple[float, float]]]:
    """The reward, not yet scaled, and (log-odds by weights that have not seen its prompt, outcome) of comparisons."""
    from heed.models.linear_reward import LinearReward
    from heed.models.surroundings import Surroundings
    from heed.train.linear import fit_linear, refit

    texts, judged = learned.judged()
    prompts, completions = [prompt for prompt, _ in texts], [text for _, text in texts]
    made = blocks.of(prompts, completions, cache, progress)
    fitted = fit_linear(made, judged, settings.learner)
    drawn = [fitted.weights]
    if settings.members > 1:
        draws = range(settings.members)
        drawn = [refit(made, judged, fitted, settings.learner, seed * 1_000 + number) for number in draws]
    stacked = {name: np.stack([member[name] for member in drawn], axis=1) for name in made}
    reward = LinearReward(blocks, stacked, np.zeros(len(drawn)))
    reward.card = {"learner": settings.learner, "penalties": fitted.penalties, "shares": fitted.shares}
    reward.surroundings = Surroundings.known(
        blocks.around(made, completions), [prompt_id(prompt) for prompt in prompts]
    )
    better = learned.weighed.better.tolist()
    leads = zip(fitted.left_out_leads[: len(better)].tolist(), better, strict=True)
    return reward, [(lead, said) for lead, said in leads if np.isfinite(lead)]


def _differences(reward: LinearReward, rows: Sequence[ComparisonRow], cache: FeatureCache | None) -> list[float]:
    if not rows:
        return []
    texts = texts_of(rows)
    made = reward.blocks.of([prompt for prompt, _ in texts], [text for _, text in texts], cache)
    score = dict(zip(texts, reward.scores_of(made).mean(0).tolist(), strict=True))
    return [score[row.prompt, row.a] - score[row.prompt, row.b] for row in rows]


def _beside(
    differences: list[float], learned: Sequence[ComparisonRow], held_out: Sequence[ComparisonRow]
) -> dict[str, Any]:
    """Length alone as the baseline of a linear reward: what a reward must beat that has learned more than that."""
    from heed.evaluate.metrics import accuracy

    lengths, taken = by_length(learned, held_out)
    found = accuracy(lengths, outcomes_of(held_out), prompts_of(held_out)).model_dump(mode="json")
    gap = difference_of(differences, lengths, held_out).model_dump(mode="json")
    return {"features": ["number of characters"], "takes": taken, "accuracy": found, "difference": gap}


def _verdict(metrics: dict[str, Any]) -> str:
    text = told_accuracy(metrics)
    if metrics["texts_cut"]:
        text += f" Texts of which the backbone read only the beginning: {metrics['texts_cut']}."
    beside = metrics["baseline"]
    name = f"Taking the {beside['takes']} text"
    return f"{text} {told_beside(beside, name)}".rstrip()
