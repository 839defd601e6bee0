"""Fitting a linear reward as a stage: weights on what can be seen of a text, or on a frozen backbone's features."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heed.config import RewardSettings
from heed.feedback.kinds import PromptContent, prompt_id
from heed.sandbox.world import cache_folder
from heed.stages.data import TIE, ComparisonRow
from heed.stages.identity import model_identity
from heed.stages.measured import (
    Split,
    difference_of,
    judged_of,
    longer_wins,
    outcomes_of,
    prompts_of,
    split_rows,
    tell_accuracy,
    temperature_of,
    texts_of,
    told_beside,
)
from heed.stages.results import Output, StageResult, content_hash, output_folder, prepare_machine
from heed.train.optimise import memory_errors
from heed.train.progress import Stopped, Watcher, stop_on_interrupt

if TYPE_CHECKING:
    from heed.models.features import FeatureCache
    from heed.models.linear_reward import Blocks, LinearReward

# Features of the largest weights that are named in the metrics (count).
_TELLING = 20

Text = tuple[PromptContent, str]


@memory_errors()
def train_linear(
    model: str | Path,
    comparisons: Sequence[ComparisonRow],
    out: str | Path,
    settings: RewardSettings | None = None,
    seed: int = 0,
    test: Sequence[ComparisonRow] | None = None,
    reference_texts: Sequence[Text] | None = None,
    device: str = "auto",
    watcher: Watcher | None = None,
    thumbs: Sequence[tuple[PromptContent, str, float]] = (),
) -> StageResult:
    """Fit a linear reward and write it to ``out``; the same call goes on where it was stopped.

    Args:
        model: the backbone of the frozen features; not looked at where ``settings.features`` names none.
        comparisons: split by prompt; ``test`` or ``test_fraction`` of the prompts is only measured on.
        reference_texts: samples of the reference policy that scores are centred and scaled to, or else the training texts.
        thumbs: prompts, completions, and how good each was said to be, 0 to 1: a thumb is 0 or 1, a rating its share of the
            scale; learned together with the comparisons.

    Raises:
        ModelError, DataError, ProjectError, TrainingError: see their messages. Stopped: on Ctrl-C.
    """
    from heed.models.features import FrozenFeatures
    from heed.models.linear_reward import FROZEN, TextBlocks

    settings, watcher = settings or RewardSettings(backbone="linear"), watcher or Watcher()
    frozen_from = model if FROZEN in settings.features and str(model) else None
    folder = output_folder(out, [] if frozen_from is None else [frozen_from])
    identity: dict[str, Any] = {"model": None if frozen_from is None else model_identity(frozen_from), "seed": seed}
    identity |= {"data": _data_hash(comparisons, test, thumbs), "settings": settings.model_dump()}
    output = Output(folder, "reward", identity)
    with output.claimed() as finished:
        if finished is not None:
            watcher.say(f"already done: {folder}")
            return finished
        split = split_rows(comparisons, test, settings, validation=False)
        watcher.plan("linear reward", _plan(split, thumbs, settings))
        where = prepare_machine(device)
        frozen = None if frozen_from is None else FrozenFeatures.load(frozen_from, where)
        cache = None if frozen is None else frozen.cache(cache_folder() / "features", str(identity["model"]))
        training = [*texts_of(split.train), *((prompt, text) for prompt, text, _ in thumbs)]
        blocks = TextBlocks.fit(settings.features, [text for _, text in training], frozen)
        with _stopping(watcher) as progress:
            reward, left_out = _fit(blocks, split.train, thumbs, settings, seed, cache, progress)
            reference = list(dict.fromkeys(reference_texts or training))
            asked, texts = [prompt for prompt, _ in reference], [text for _, text in reference]
            reward.calibrate_scale(blocks.of(asked, texts, cache, progress))
            differences = _differences(reward, split.held_out, cache)
        tuned = [lead / reward.std for lead in left_out]
        reward.temperature, note = temperature_of(tuned, outcomes_of(split.train))
        metrics = _parts(len(comparisons) + len(test or ()), split)
        metrics |= tell_accuracy(differences, split.held_out, reward.temperature)
        metrics |= {
            "temperature": reward.temperature,
            "temperature_note": f"{note} that were left out" if note.startswith("fitted") else note,
            "ties": sum(row.outcome == TIE for row in comparisons),
            "single_texts": len(thumbs),
            "texts_cut": blocks.cut,
            "penalties": reward.card["penalties"],
            "shares": reward.card["shares"],
            "telling": reward.telling(_TELLING),
            "baseline": _beside(differences, split),
        }
        reward.card["accuracy"] = metrics["accuracy"]
        with output.writing():
            reward.save(output.folder)
        return output.finish(metrics, _verdict(metrics), 0)


def _data_hash(
    comparisons: Sequence[ComparisonRow],
    test: Sequence[ComparisonRow] | None,
    thumbs: Sequence[tuple[PromptContent, str, float]],
) -> str:
    rows = [[[prompt_id(row.prompt), *row[1:]] for row in part] for part in (comparisons, test or ())]
    return content_hash([*rows, [[prompt_id(prompt), text, good] for prompt, text, good in thumbs]])


def _plan(split: Split, thumbs: Sequence[Any], settings: RewardSettings) -> dict[str, str]:
    texts = len(texts_of(split.train)) + len(thumbs)
    return {
        "data": f"{len(split.train):,} comparisons and {len(thumbs):,} judgments of single texts, {texts:,} texts",
        "features": ", ".join(settings.features),
        "fit": f"{settings.learner}, {settings.members} times",
        "held out": f"{len(split.held_out)} comparisons",
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
    blocks: Any,
    rows: Sequence[ComparisonRow],
    thumbs: Sequence[tuple[PromptContent, str, float]],
    settings: RewardSettings,
    seed: int,
    cache: FeatureCache | None,
    progress: Callable[[int, int], None],
) -> tuple[LinearReward, list[float]]:
    """The reward, not yet scaled, and the log-odds of each comparison by weights that have not seen its prompt."""
    import numpy as np

    from heed.models.linear_reward import LinearReward
    from heed.models.surroundings import Surroundings
    from heed.train.linear import Judged, fit_linear, refit

    texts, judged = judged_of(rows)
    if thumbs:
        single = [(prompt, text) for prompt, text, _ in thumbs]
        own = Judged.of(
            range(len(texts), len(texts) + len(single)),
            [-1] * len(single),
            [good for _, _, good in thumbs],
            [prompt_id(prompt) for prompt, _ in single],
        )
        texts, judged = [*texts, *single], judged.joined(own)
    prompts, completions = [prompt for prompt, _ in texts], [text for _, text in texts]
    made = blocks.of(prompts, completions, cache, progress)
    fitted = fit_linear(made, judged, settings.learner)
    drawn = [fitted.weights]
    if settings.members > 1:
        draws = range(settings.members)
        drawn = [refit(made, judged, fitted, settings.learner, seed * 1_000 + number) for number in draws]
    weights = {name: np.stack([member[name] for member in drawn], axis=1) for name in made}
    reward = LinearReward(blocks, weights, np.zeros(len(drawn)))
    reward.card = {"learner": settings.learner, "penalties": fitted.penalties, "shares": fitted.shares}
    groups = [prompt_id(prompt) for prompt in prompts]
    if len(set(groups)) > 1:
        reward.surroundings = Surroundings.of(blocks.around(made, completions), groups)
    return reward, fitted.left_out_leads[: len(rows)].tolist()


def _differences(reward: LinearReward, rows: Sequence[ComparisonRow], cache: FeatureCache | None) -> list[float]:
    if not rows:
        return []
    sides = []
    for side in ([row.a for row in rows], [row.b for row in rows]):
        made: Blocks = reward.blocks.of([row.prompt for row in rows], side, cache)
        sides.append(reward.scores_of(made).mean(0))
    found: list[float] = (sides[0] - sides[1]).tolist()
    return found


def _parts(given: int, split: Split) -> dict[str, Any]:
    """What became of the comparisons, in parts that add up (counts)."""
    parts = {"trained_on": len(split.train), "validation": len(split.validation), "held_out": len(split.held_out)}
    return {"comparisons": given, **parts, "too_long": 0, "on_test_prompts": split.on_test_prompts}


def _beside(differences: list[float], split: Split) -> dict[str, Any]:
    """The longer text as baseline of a linear reward: what a reward must beat that has learned more than length."""
    from heed.evaluate.metrics import accuracy

    longer = longer_wins(split.held_out)
    found = accuracy(longer, outcomes_of(split.held_out), prompts_of(split.held_out)).model_dump(mode="json")
    gap = difference_of(differences, longer, split.held_out).model_dump(mode="json")
    return {"features": ["number of characters"], "accuracy": found, "difference": gap}


def _verdict(metrics: dict[str, Any]) -> str:
    right = metrics["accuracy"]["clustered"]
    text = f"Learned from {metrics['trained_on']} comparisons"
    if metrics["single_texts"]:
        text += f" and {metrics['single_texts']} judgments of single texts"
    if metrics["texts_cut"]:
        text += f"; texts of which the backbone read only the beginning: {metrics['texts_cut']}"
    if right["estimate"] is None:
        return f"{text}. Held-out accuracy is undefined: {right['reason']}"
    text += f". Right on {100 * right['estimate']:.1f} % of {right['n']} held-out comparisons"
    if right["low"] is not None:
        text += f" ({100 * right['low']:.1f} to {100 * right['high']:.1f} %)"
        if right["low"] <= 0.5:
            text += "; not surely better than a coin: collect more comparisons before you optimise against it"
    return f"{text}. {told_beside(metrics['baseline'], 'Taking the longer text')}".rstrip()
