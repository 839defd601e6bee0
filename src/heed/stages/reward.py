"""Fitting a reward model as a stage, and scoring with one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heed.config import RewardSettings
from heed.errors import DataError
from heed.feedback.kinds import PromptContent, prompt_id
from heed.stages.data import TIE, ComparisonRow
from heed.stages.plan import training_plan
from heed.stages.results import Output, StageResult, content_hash, model_identity, prepare_machine
from heed.train.optimise import memory_errors
from heed.train.progress import Watcher

if TYPE_CHECKING:
    from heed.models.reward import RewardModel
    from heed.train.preference import Pair


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
    from heed.train.preference import calibrate_scale, check_pairs, fit_reward

    settings, watcher = settings or RewardSettings(), watcher or Watcher()
    data = content_hash([list(map(_keyed, comparisons)), list(map(_keyed, test or []))])
    identity = {"model": model_identity(model), "data": data, "settings": settings.model_dump(), "seed": seed}
    output = Output(Path(out), "reward", identity, (model,))
    if (finished := output.finished()) is not None:
        watcher.say(f"already done: {output.folder}")
        return finished
    output.prepare()
    network = RewardModel.new(model, settings.pooling, settings.members, seed, prepare_machine(device))
    split = _split(comparisons, test, settings)
    pairs = _Encoder(network)
    train, validation, held_out = (pairs.encode(rows) for rows in (split.train, split.validation, split.test))
    _check_split(split, train, pairs, settings)
    check_pairs(train.pairs)
    length = sum(len(p.first.ids) + len(p.second.ids) for p in train.pairs) / len(train.pairs)
    plan = training_plan(network.members[0].backbone, len(train.pairs), length, settings, settings.members)
    watcher.plan(
        "reward model", {**plan, "held out": f"{len(held_out.pairs)} comparisons of {split.test_prompts} prompts"}
    )
    checkpoints = [output.checkpoints(f"member-{number}") for number in range(settings.members)]
    fits = fit_reward(network, train.pairs, validation.pairs, settings, seed, checkpoints, watcher)
    texts = reference_texts or [(row.prompt, text) for row in train.rows for text in (row.a, row.b)]
    calibrate_scale(network, pairs.texts(texts), settings.tokens_per_microbatch)
    metrics = _measure(network, validation, held_out, settings.tokens_per_microbatch)
    metrics |= {
        "comparisons": len(comparisons) + len(test or []),
        "trained_on": len(train.pairs),
        "ties": sum(row.outcome == TIE for row in comparisons),
        "too_long": pairs.too_long,
        "best_steps": [fit.best_step for fit in fits],
        "history": fits[0].history,
    }
    with output.writing():
        network.save(output.folder)
    return output.finish(metrics, _verdict(metrics), sum(fit.tokens for fit in fits))


@dataclass
class _Split:
    train: list[ComparisonRow]
    validation: list[ComparisonRow]
    test: list[ComparisonRow]

    @property
    def test_prompts(self) -> int:
        return len({prompt_id(row.prompt) for row in self.test})


def share_of(prompt: PromptContent, purpose: str) -> float:
    """A number in [0, 1) that depends on the prompt alone: a prompt stays on its side of a split for ever."""
    digest = hashlib.sha256(f"{purpose}:{prompt_id(prompt)}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _split(
    comparisons: Sequence[ComparisonRow], test: Sequence[ComparisonRow] | None, settings: RewardSettings
) -> _Split:
    if test is not None:
        tested = {prompt_id(row.prompt) for row in test}
        rest = [row for row in comparisons if prompt_id(row.prompt) not in tested]
        held_out = list(test)
    else:
        held_out = [row for row in comparisons if share_of(row.prompt, "test") < settings.test_fraction]
        rest = [row for row in comparisons if share_of(row.prompt, "test") >= settings.test_fraction]
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


def _measure(network: RewardModel, validation: _Encoded, held_out: _Encoded, tokens: int) -> dict[str, Any]:
    """Accuracy and calibration on held-out comparisons; the temperature comes from the validation comparisons."""
    from heed.evaluate.intervals import Undefined
    from heed.evaluate.metrics import accuracy, calibration, fit_temperature
    from heed.train.preference import score_differences

    def judged(part: _Encoded) -> tuple[list[float], list[float], list[str]]:
        differences = score_differences(network, part.pairs, tokens).tolist() if part.pairs else []
        outcomes = [{0: 1.0, 1: 0.0}.get(row.outcome, 0.5) for row in part.rows]
        return differences, outcomes, [prompt_id(row.prompt) for row in part.rows]

    tuned = fit_temperature(*judged(validation)[:2])
    if not isinstance(tuned, Undefined):
        network.temperature = tuned
    differences, outcomes, prompts = judged(held_out)
    scaled = [difference / network.temperature for difference in differences]
    measured = {
        "accuracy": accuracy(differences, outcomes, prompts).model_dump(mode="json"),
        "calibration": calibration(scaled, outcomes, prompts).model_dump(mode="json"),
        "temperature": network.temperature,
        "temperature_note": tuned.reason if isinstance(tuned, Undefined) else "fitted on the validation comparisons",
    }
    network.card["accuracy"] = measured["accuracy"]
    return measured


def _verdict(metrics: dict[str, Any]) -> str:
    right = metrics["accuracy"]["clustered"]
    trained = f"Learned from {metrics['trained_on']} comparisons."
    if right["estimate"] is None:
        return f"{trained} Held-out accuracy is undefined: {right['reason']}"
    text = (
        f"{trained} Right on {100 * right['estimate']:.1f} % of {right['n']} held-out comparisons "
        f"({100 * right['low']:.1f} to {100 * right['high']:.1f} %)."
    )
    if right["low"] <= 0.5:
        text += " That is not surely better than a coin: collect more comparisons before you optimise against it."
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
