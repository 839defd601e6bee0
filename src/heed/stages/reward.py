"""Fitting a reward model as a stage, and scoring with one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from heed.config import RewardSettings
from heed.errors import DataError
from heed.feedback.kinds import PromptContent, prompt_id
from heed.files import write_text
from heed.stages.data import FIRST, SECOND, TIE, ComparisonRow, share_of
from heed.stages.identity import model_identity
from heed.stages.plan import training_plan
from heed.stages.results import Output, StageResult, content_hash, output_folder, prepare_machine
from heed.train.optimise import memory_errors
from heed.train.progress import Watcher

if TYPE_CHECKING:
    from heed.models.reward import Encoded, RewardModel
    from heed.models.words import WordScorer
    from heed.train.preference import Pair

TRAINED_ON = "trained_on.json"
"""Beside the model: ids of the prompts that it learned from, so that it is measured on others."""

# What the outcome of a comparison without a strength counts for, on the scale 1 to 3.
_CLEAR = 2
# Texts that a single member's scores are scaled to; words named in the metrics (counts).
_REFERENCES, _TELLING = 512, 20


@memory_errors()
def train_reward(
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
    """Fit a reward model on the backbone ``model`` and write it to ``out``; the same call goes on where it was stopped.

    Comparisons are split by prompt: ``test`` (or else ``test_fraction`` of the prompts) is only measured on,
    ``validation_fraction`` of the others decides when to stop. Scores are centred and scaled to ``reference_texts``,
    samples of the reference policy, or else to the training completions.

    Raises:
        ModelError, DataError, ProjectError, TrainingError: see their messages. Stopped: on Ctrl-C, after a checkpoint.
    """
    from heed.models.reward import RewardModel
    from heed.train.preference import check_pairs, fit_reward

    settings, watcher = settings or RewardSettings(), watcher or Watcher()
    folder = output_folder(out, [model])
    data = content_hash([list(map(_keyed, comparisons)), list(map(_keyed, test or []))])
    identity = {"model": model_identity(model), "data": data, "settings": settings.model_dump(), "seed": seed}
    output = Output(folder, "reward", identity)
    with output.claimed() as finished:
        if finished is not None:
            watcher.say(f"already done: {folder}")
            return finished
        network = RewardModel.new(model, settings.pooling, settings.members, seed, prepare_machine(device))
        split = _split(comparisons, test, settings)
        pairs = _Encoder(network)
        train, validation, held_out = (pairs.encode(rows) for rows in (split.train, split.validation, split.test))
        _check_split(split, train, pairs, settings)
        check_pairs(train.pairs)
        # Where test comparisons are given, they are measured on; the members leave out their shares all the same.
        left_out = _folds(train.rows, settings.members) if settings.cross_fit else []
        if pairs.too_long:
            watcher.alarm(
                f"{pairs.too_long:,} comparisons are left out: longer than the {pairs.reader.context} tokens of the model"
            )
        parts = _parts(len(comparisons) + len(test or []), train, validation, held_out, pairs.too_long)
        watcher.plan("reward model", _plan(network, train, held_out, left_out, settings))
        checkpoints = [output.checkpoints(f"member-{number}") for number in range(settings.members)]
        fits = fit_reward(network, train.pairs, validation.pairs, settings, seed, checkpoints, watcher, left_out)
        texts = pairs.texts(reference_texts or [(row.prompt, text) for row in train.rows for text in (row.a, row.b)])
        if settings.words:
            network.words = _fit_words(train.rows)
        network.calibrate_scale(texts, settings.tokens_per_microbatch)
        metrics = _assess(network, train, validation, held_out, left_out, texts[:_REFERENCES], settings)
        metrics |= {
            **parts,
            "ties": sum(row.outcome == TIE for row in comparisons),
            "texts_too_long": pairs.too_long - parts["too_long"],
            "best_steps": [fit.best_step for fit in fits],
            "telling_words": network.words.telling(_TELLING) if network.words is not None else [],
            "history": fits[0].history,
        }
        with output.writing():
            network.save(output.folder)
            learned = sorted({prompt_id(row.prompt) for row in (*train.rows, *validation.rows)})
            write_text(output.folder / TRAINED_ON, json.dumps(learned) + "\n")
        return output.finish(metrics, _verdict(metrics), sum(fit.tokens for fit in fits))


def _parts(given: int, train: _Encoded, validation: _Encoded, held_out: _Encoded, too_long: int) -> dict[str, int]:
    """What became of the comparisons, in parts that add up to ``comparisons`` (counts)."""
    parts = {
        "trained_on": len(train.pairs),
        "validation": len(validation.pairs),
        "held_out": len(held_out.pairs),
        "too_long": too_long,
    }
    # Those about a prompt of the test comparisons that were given: learned from, they would spoil the test.
    return {"comparisons": given, **parts, "on_test_prompts": given - sum(parts.values())}


def _folds(rows: Sequence[ComparisonRow], members: int) -> list[int]:
    """The member that each comparison is left out for: prompts are dealt in the order of a hash, so that no share is empty.

    Raises:
        DataError: there are fewer prompts than members.
    """
    prompts = sorted({prompt_id(row.prompt): row.prompt for row in rows}.items(), key=lambda p: share_of(p[1], "fold"))
    if len(prompts) < members:
        raise DataError(
            f"comparisons of {len(prompts)} prompts cannot be shared out",
            f"each of the {members} members is to leave out a prompt of its own.",
            "Collect comparisons of more prompts, lower members, or set cross_fit to false.",
        )
    fold = {identity: rank % members for rank, (identity, _) in enumerate(prompts)}
    return [fold[prompt_id(row.prompt)] for row in rows]


def _plan(
    network: RewardModel, train: _Encoded, held_out: _Encoded, left_out: Sequence[int], settings: RewardSettings
) -> dict[str, str]:
    length = sum(len(p.first.ids) + len(p.second.ids) for p in train.pairs) / len(train.pairs)
    share = (settings.members - 1) / settings.members if left_out else 1
    seen = round(len(train.pairs) * share)
    plan = training_plan(network.members[0].backbone, seen, length, settings, settings.members)
    prompts = len({prompt_id(row.prompt) for row in held_out.rows})
    held = f"{len(held_out.pairs)} comparisons of {prompts} prompts"
    if left_out and not held_out.pairs:
        held = f"all {len(train.pairs)} comparisons in turn, a share for each member"
    return {**plan, "held out": held}


@dataclass
class _Split:
    train: list[ComparisonRow]
    validation: list[ComparisonRow]
    test: list[ComparisonRow]


def _split(
    comparisons: Sequence[ComparisonRow], test: Sequence[ComparisonRow] | None, settings: RewardSettings
) -> _Split:
    if test is not None:
        tested = {prompt_id(row.prompt) for row in test}
        rest = [row for row in comparisons if prompt_id(row.prompt) not in tested]
        held_out = list(test)
    else:
        share = 0.0 if settings.cross_fit else settings.test_fraction
        held_out = [row for row in comparisons if share_of(row.prompt, "test") < share]
        rest = [row for row in comparisons if share_of(row.prompt, "test") >= share]
    validation = [row for row in rest if share_of(row.prompt, "validation") < settings.validation_fraction]
    train = [row for row in rest if share_of(row.prompt, "validation") >= settings.validation_fraction]
    return _Split(train, validation, held_out)


@dataclass
class _Encoded:
    rows: list[ComparisonRow]
    pairs: list[Pair]


class _Encoder:
    """Makes token ids of comparisons; what is longer than the backbone's context is left out and counted."""

    def __init__(self, network: RewardModel) -> None:
        self.reader, self.too_long = network.reader, 0

    def encode(self, rows: Sequence[ComparisonRow]) -> _Encoded:
        from heed.train.preference import Pair

        kept = _Encoded([], [])
        for row in rows:
            try:
                pair = Pair(
                    self.reader.encode(row.prompt, row.a),
                    self.reader.encode(row.prompt, row.b),
                    row.outcome,
                    strength=row.strength,
                )
            except DataError:
                self.too_long += 1
                continue
            kept.rows.append(row)
            kept.pairs.append(pair)
        return kept

    def texts(self, texts: Sequence[tuple[PromptContent, str]]) -> list[Any]:
        encoded = []
        for prompt, text in texts:
            try:
                encoded.append(self.reader.encode(prompt, text))
            except DataError:
                self.too_long += 1
        return encoded


def _check_split(split: _Split, train: _Encoded, pairs: _Encoder, settings: RewardSettings) -> None:
    """Say why nothing is left to train on, where there were comparisons."""
    if train.pairs:
        return
    if split.train:
        raise DataError(
            f"none of {len(split.train)} comparisons fits the model",
            f"the context of its backbone is {pairs.reader.context} tokens.",
            "Shorten them, or use a backbone with a longer context.",
        )
    if held := len(split.validation) + len(split.test):
        raise DataError(
            f"all {held} comparisons are held out",
            f"test_fraction {settings.test_fraction:g} and validation_fraction {settings.validation_fraction:g} of the "
            "prompts, and every prompt of --test, leave none to train on.",
            "Lower the fractions, or collect comparisons of more prompts.",
        )


def _fit_words(rows: Sequence[ComparisonRow]) -> WordScorer:
    from heed.models.words import WordScorer

    # A preference without a strength counts as a clear one; a tie leads nowhere.
    leads = [{FIRST: 1, SECOND: -1, TIE: 0}[row.outcome] * (row.strength or _CLEAR) for row in rows]
    return WordScorer.fit([r.a for r in rows], [r.b for r in rows], leads, [prompt_id(r.prompt) for r in rows])


class _Judged(NamedTuple):
    """Comparisons beside what the model makes of them, one entry each."""

    differences: list[float]
    outcomes: list[float]
    prompts: list[str]

    def joined(self, more: _Judged) -> _Judged:
        return _Judged(self.differences + more.differences, self.outcomes + more.outcomes, self.prompts + more.prompts)


def _judged(network: RewardModel, part: _Encoded, settings: RewardSettings) -> _Judged:
    from heed.train.preference import score_differences

    tokens = settings.tokens_per_microbatch
    differences = score_differences(network, part.pairs, tokens).tolist() if part.pairs else []
    outcomes = [{FIRST: 1.0, SECOND: 0.0}.get(row.outcome, 0.5) for row in part.rows]
    return _Judged(differences, outcomes, [prompt_id(row.prompt) for row in part.rows])


def _cross_judged(
    network: RewardModel,
    train: _Encoded,
    left_out: Sequence[int],
    reference: Sequence[Encoded],
    settings: RewardSettings,
) -> _Judged:
    """Each comparison judged by the member that has not seen its prompt, with words learned without it too.

    Cross-validation as in Stone 1974, "Cross-Validatory Choice and Assessment of Statistical Predictions", JRSS B 36:
    one member of the committee is measured, which is if anything less often right than all together.
    """
    from heed.models.reward import RewardModel

    found = _Judged([], [], [])
    for number, member in enumerate(network.members):
        alone = RewardModel([member], network.reader, network.pooling)
        seen = [row for row, out in zip(train.rows, left_out, strict=True) if out != number]
        mine = [place for place, out in enumerate(left_out) if out == number]
        if not mine:
            continue
        if settings.words:
            alone.words = _fit_words(seen)
        alone.calibrate_scale(reference, settings.tokens_per_microbatch)
        part = _Encoded([train.rows[place] for place in mine], [train.pairs[place] for place in mine])
        found = found.joined(_judged(alone, part, settings))
    return found


def _assess(
    network: RewardModel,
    train: _Encoded,
    validation: _Encoded,
    held_out: _Encoded,
    left_out: Sequence[int],
    reference: Sequence[Encoded],
    settings: RewardSettings,
) -> dict[str, Any]:
    """Accuracy and calibration on the held-out comparisons, or where there are none on what each member left out."""
    crossed = bool(left_out and not held_out.pairs)
    if crossed:
        judged = _cross_judged(network, train, left_out, reference, settings)
    else:
        judged = _judged(network, held_out, settings)
    # One number fitted to comparisons that no member had seen: without validation comparisons those left out serve.
    tuning = judged if crossed and not validation.pairs else _judged(network, validation, settings)
    return {**_measure(network, tuning, judged), "cross_fit": crossed}


def _measure(network: RewardModel, tuning: _Judged, held_out: _Judged) -> dict[str, Any]:
    """Accuracy and calibration on held-out comparisons; the temperature is fitted to the comparisons ``tuning``."""
    from heed.evaluate.metrics import accuracy, calibration, fit_temperature
    from heed.statistics import Undefined

    tuned = fit_temperature(tuning.differences, tuning.outcomes)
    if not isinstance(tuned, Undefined):
        network.temperature = tuned
    scaled = [difference / network.temperature for difference in held_out.differences]
    measured = {
        "accuracy": accuracy(*held_out).model_dump(mode="json"),
        "calibration": calibration(scaled, held_out.outcomes, held_out.prompts).model_dump(mode="json"),
        "temperature": network.temperature,
        "temperature_note": tuned.reason
        if isinstance(tuned, Undefined)
        else f"fitted on {len(tuning.outcomes)} comparisons",
    }
    network.card["accuracy"] = measured["accuracy"]
    return measured


def _verdict(metrics: dict[str, Any]) -> str:
    right = metrics["accuracy"]["clustered"]
    trained = _account(metrics)
    if right["estimate"] is None:
        return f"{trained} Held-out accuracy is undefined: {right['reason']}"
    text = (
        f"{trained} Right on {100 * right['estimate']:.1f} % of {right['n']} held-out comparisons "
        f"({100 * right['low']:.1f} to {100 * right['high']:.1f} %)"
    )
    ties = metrics["accuracy"]["ties"]
    text += f"; beside them, ties: {ties}." if ties else "."
    if metrics["cross_fit"]:
        text += " Each was judged by the member that had not seen its prompt."
    if right["low"] <= 0.5:
        text += " That is not surely better than a coin: collect more comparisons before you optimise against it."
    return text


def _account(metrics: dict[str, Any]) -> str:
    """What became of every comparison."""
    told = [
        f"{metrics[part]} {what}"
        for part, what in (
            ("validation", "kept to tell when to stop"),
            ("held_out", "held out to measure on"),
            ("on_test_prompts", "left out: about prompts of the test comparisons"),
            ("too_long", "left out: too long for the model"),
        )
        if metrics[part]
    ]
    text = f"Learned from {metrics['trained_on']} of {metrics['comparisons']} comparisons"
    text += f" ({'; '.join(told)})." if told else "."
    if metrics["texts_too_long"]:
        text += f" Texts for the scale that were left out, too long for the model: {metrics['texts_too_long']}."
    return text


def _keyed(row: ComparisonRow) -> list[Any]:
    return [prompt_id(row.prompt), row.a, row.b, row.outcome, row.strength]


@memory_errors("Give fewer or shorter texts, or a device with more memory.")
def score(reward: str | Path, rows: Sequence[tuple[PromptContent, str]], device: str = "auto") -> list[float]:
    """Score of each (prompt, completion), in standard deviations of the reference policy's samples.

    Raises:
        ModelError: ``reward`` is no reward model. DataError: a text is longer than its context.
    """
    from heed.models.reward import RewardModel

    model = RewardModel.load(reward, prepare_machine(device))
    if not rows:
        return []
    return [float(value) for value in model.score([p for p, _ in rows], [c for _, c in rows])]
