"""Supervised tuning as a stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from heed.config import SFTSettings
from heed.errors import DataError
from heed.stages.data import DemonstrationRow, Demonstrations
from heed.stages.identity import model_identity
from heed.stages.judgments import Judgment
from heed.stages.plan import training_plan
from heed.stages.results import Output, StageResult, content_hash, output_folder, plain, prepare_machine
from heed.stages.reward_rows import keyed
from heed.stages.shown import chosen, sentence
from heed.train.optimise import memory_errors
from heed.train.progress import Watcher

if TYPE_CHECKING:
    from heed.models.conversations import Masked
    from heed.models.policy import Policy


@memory_errors()
def train_sft(
    model: str | Path,
    demonstrations: Demonstrations,
    out: str | Path,
    settings: SFTSettings | None = None,
    seed: int = 0,
    device: str = "auto",
    watcher: Watcher | None = None,
    judgments: Sequence[Judgment] = (),
    reliability: Mapping[str, float] | None = None,
) -> StageResult:
    """Tune a model on demonstrations and write it to ``out``; the same call goes on where it was stopped.

    Args:
        demonstrations: (prompt, answer), or rows that say too whether a conversation is shown whole.
        judgments: whose edits and judged texts are learned from, and whose labels say what is good, as ``settings`` name them.
        reliability: of raters, as a reward model learned it: each label counts as much as its rater's answers tell.

    Demonstrations longer than the model's context are left out, and counted in ``metrics["too_long"]``.

    Raises:
        ModelError, DataError, ProjectError, TrainingError: see their messages. Stopped: on Ctrl-C, after a checkpoint.
    """
    from heed.models.tuning import load_tuned
    from heed.train.supervised import mean_loss, tune

    settings, watcher = settings or SFTSettings(), watcher or Watcher()
    folder = output_folder(out, [model])
    data = content_hash(keyed_demonstrations(demonstrations))
    identity = {"model": model_identity(model), "data": data, "settings": settings.model_dump(), "seed": seed}
    if uses_judgments(settings):
        identity["judgments"] = content_hash(list(map(keyed, judgments)))
        identity["reliability"] = reliability and dict(sorted(reliability.items()))
    output = Output(folder, "sft", identity)
    with output.claimed() as finished:
        if finished is not None:
            watcher.say(f"already done: {folder}")
            return finished
        policy = load_tuned(model, settings, prepare_machine(device), seed)
        taken = chosen(demonstrations, judgments, settings, reliability)
        if not taken.rows:
            raise DataError(
                "nothing to learn from",
                f"there are no {' or '.join(settings.sources)}.",
                "Give some, or other sft.sources.",
            )
        fitting = encoded_fitting(policy, taken.rows)
        tokens = sum(len(text.ids) for text in fitting) / len(fitting)
        watcher.plan("supervised tuning", training_plan(policy.model, len(fitting), tokens, settings))
        probe = fitting[:256]
        before = mean_loss(policy, probe, settings.tokens_per_microbatch)
        done = tune(policy, fitting, settings, seed, output.checkpoints(), watcher)
        after = mean_loss(policy, probe, settings.tokens_per_microbatch)
        with output.writing():
            policy.save(output.folder)
        metrics = {
            "demonstrations": len(fitting),
            "too_long": len(taken.rows) - len(fitting),
            **taken.told,
            "tokens_learned": sum(text.taught for text in fitting),
            "loss_before": before,
            "loss_after": after,
            "history": done.history,
        }
        work = f"{len(done.history)} steps on {len(fitting)} demonstrations"
        longer = len(taken.rows) - len(fitting)
        work += f" (left out: {longer} longer than the model's context)" if longer else ""
        verdict = f"{work}: loss {before:.3f} to {after:.3f} nats a token. {sentence(taken.told)}".strip()
        return output.finish(metrics, verdict, done.tokens)


def uses_judgments(settings: SFTSettings) -> bool:
    """Whether supervised tuning looks at anything but demonstrations."""
    return settings.quality != "off" or settings.sources != ["demonstrations"]


def keyed_demonstrations(rows: Demonstrations) -> list[list[object]]:
    """Demonstrations as hashes of what a run learns from take them."""
    made = [DemonstrationRow(*row) for row in rows]
    return [
        [plain(row.prompt), row.answer] + (["whole"] if row.whole else []) + ([row.weight] if row.weight != 1.0 else [])
        for row in made
    ]


def encoded_fitting(policy: Policy, demonstrations: Demonstrations) -> list[Masked]:
    """The demonstrations that fit the model's context, as they are trained on.

    Raises:
        DataError: none does, or the chat template does not fit a conversation.
    """
    from heed.models.conversations import encode_shown

    encoded = [
        encode_shown(policy, row.prompt, row.answer, row.whole)._replace(weight=row.weight)
        for row in (DemonstrationRow(*each) for each in demonstrations)
    ]
    fitting = [text for text in encoded if len(text.ids) <= policy.context]
    if not fitting:
        raise DataError(
            f"none of {len(encoded)} demonstrations fits the model",
            f"its context is {policy.context} tokens.",
            "Shorten them, or use a model with a longer context.",
        )
    return fitting
