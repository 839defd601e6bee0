"""Supervised tuning as a stage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from heed.config import SFTSettings
from heed.errors import DataError
from heed.feedback.kinds import PromptContent
from heed.stages.identity import model_identity
from heed.stages.plan import training_plan
from heed.stages.results import Output, StageResult, content_hash, output_folder, plain, prepare_machine
from heed.train.optimise import memory_errors
from heed.train.progress import Watcher

if TYPE_CHECKING:
    from heed.models.policy import Policy


@memory_errors()
def train_sft(
    model: str | Path,
    demonstrations: Sequence[tuple[PromptContent, str]],
    out: str | Path,
    settings: SFTSettings | None = None,
    seed: int = 0,
    device: str = "auto",
    watcher: Watcher | None = None,
) -> StageResult:
    """Tune a model on (prompt, completion) and write it to ``out``; the same call goes on where it was stopped.

    Demonstrations longer than the model's context are left out, and counted in ``metrics["too_long"]``.

    Raises:
        ModelError, DataError, ProjectError, TrainingError: see their messages. Stopped: on Ctrl-C, after a checkpoint.
    """
    from heed.models.tuning import load_tuned
    from heed.train.supervised import mean_loss, tune

    settings, watcher = settings or SFTSettings(), watcher or Watcher()
    folder = output_folder(out, [model])
    data = content_hash([[plain(p), c] for p, c in demonstrations])
    identity = {"model": model_identity(model), "data": data, "settings": settings.model_dump(), "seed": seed}
    output = Output(folder, "sft", identity)
    with output.claimed() as finished:
        if finished is not None:
            watcher.say(f"already done: {folder}")
            return finished
        policy = load_tuned(model, settings, prepare_machine(device), seed)
        fitting = encoded_fitting(policy, demonstrations)
        tokens = sum(len(p) + len(c) for p, c in fitting) / len(fitting)
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
            "loss_before": before,
            "loss_after": after,
            "history": done.history,
        }
        work = f"{len(done.history)} steps on {len(fitting)} demonstrations"
        verdict = f"{work}: loss {before:.3f} to {after:.3f} nats a token."
        return output.finish(metrics, verdict, done.tokens)


def encoded_fitting(
    policy: Policy, demonstrations: Sequence[tuple[PromptContent, str]]
) -> list[tuple[list[int], list[int]]]:
    """(prompt ids, completion ids) of the demonstrations that fit the model's context.

    Raises:
        DataError: none does.
    """
    encoded = [(policy.encode_prompt(p), policy.encode_completion(p, c)) for p, c in demonstrations]
    fitting = [pair for pair in encoded if len(pair[0]) + len(pair[1]) <= policy.context]
    if not fitting:
        raise DataError(
            f"none of {len(encoded)} demonstrations fits the model",
            f"its context is {policy.context} tokens.",
            "Shorten them, or use a model with a longer context.",
        )
    return fitting
