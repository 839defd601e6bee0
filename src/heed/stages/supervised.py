"""Supervised tuning as a stage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from heed.config import SFTSettings
from heed.errors import DataError
from heed.stages.data import DemonstrationRow, Demonstrations
from heed.stages.identity import model_identity
from heed.stages.plan import training_plan
from heed.stages.results import Output, StageResult, content_hash, output_folder, plain, prepare_machine
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
) -> StageResult:
    """Tune a model on demonstrations and write it to ``out``; the same call goes on where it was stopped.

    Args:
        demonstrations: (prompt, answer), or rows that say too whether a conversation is shown whole.

    Demonstrations longer than the model's context are left out, and counted in ``metrics["too_long"]``.

    Raises:
        ModelError, DataError, ProjectError, TrainingError: see their messages. Stopped: on Ctrl-C, after a checkpoint.
    """
    from heed.models.policy import Policy
    from heed.train.supervised import mean_loss, tune

    settings, watcher = settings or SFTSettings(), watcher or Watcher()
    folder = output_folder(out, [model])
    data = content_hash(keyed_demonstrations(demonstrations))
    identity = {"model": model_identity(model), "data": data, "settings": settings.model_dump(), "seed": seed}
    output = Output(folder, "sft", identity)
    with output.claimed() as finished:
        if finished is not None:
            watcher.say(f"already done: {folder}")
            return finished
        policy = Policy.load(model, prepare_machine(device))
        fitting = encoded_fitting(policy, demonstrations)
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
            "too_long": len(demonstrations) - len(fitting),
            "tokens_learned": sum(text.taught for text in fitting),
            "loss_before": before,
            "loss_after": after,
            "history": done.history,
        }
        work = f"{len(done.history)} steps on {len(fitting)} demonstrations"
        verdict = f"{work}: loss {before:.3f} to {after:.3f} nats a token."
        return output.finish(metrics, verdict, done.tokens)


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
