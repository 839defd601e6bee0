"""Contrastive pretraining of a reward model's backbone, as a stage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from heed.errors import ConfigError, DataError
from heed.feedback.formats import BrokenRow
from heed.feedback.kinds import Demonstration, Edit, PromptContent, prompt_id
from heed.stages.data import FIRST, TIE, read_feedback, share_of, told_first
from heed.stages.identity import model_identity
from heed.stages.judgments import Judgment, judgment_of
from heed.stages.linear_data import parts_of
from heed.stages.plan import training_plan
from heed.stages.results import (
    Output,
    StageResult,
    content_hash,
    output_folder,
    plain,
    prepare_machine,
    tell_trained_on,
)
from heed.stages.reward_rows import keyed
from heed.train.optimise import memory_errors
from heed.train.progress import Watcher
from heed.training_settings import ContrastiveSettings

if TYPE_CHECKING:
    from heed.models.reward import Reader
    from heed.train.contrastive import Spread, Text

POORER, BETTER = 0, 1


class Written(NamedTuple):
    """Texts of a file, each once, and the judgments of it."""

    texts: list[tuple[PromptContent, str]]
    judgments: list[Judgment]


def read_written(path: str | Path) -> tuple[Written, list[BrokenRow]]:
    """All texts of a file of any feedback format, and what was said of them.

    Raises:
        DataError: the file is missing, or has no text.
    """
    rows, broken = read_feedback(path)
    texts: dict[tuple[PromptContent, str], None] = {}
    for row in rows:
        own = [row.feedback.text] if isinstance(row.feedback, Demonstration) else list(row.completions)
        own += [row.feedback.edited] if isinstance(row.feedback, Edit) else []
        texts.update(dict.fromkeys((row.prompt, text) for text in own if text.strip()))
    if not texts:
        raise DataError(f"{path} has no text", told_first(broken), 'Each line is JSON with "prompt" and a completion.')
    judgments = [judgment_of(row.feedback, row.prompt, row.completions) for row in rows]
    return Written(list(texts), judgments), broken


@memory_errors()
def pretrain(
    model: str | Path,
    written: Written,
    out: str | Path,
    method: str = "simclr",
    settings: ContrastiveSettings | None = None,
    seed: int = 0,
    device: str = "auto",
    watcher: Watcher | None = None,
) -> StageResult:
    """Pretrain the backbone ``model`` on texts and write it to ``out``; the same call goes on where it was stopped.

    Args:
        method: simclr, moco or swav.
        written: texts, and judgments that say how good they are, of which those about the prompts that a reward model would
            hold out are not looked at.

    Raises:
        ConfigError: there is no such method. ModelError, DataError, ProjectError, TrainingError: see their messages.
        Stopped: on Ctrl-C, after a checkpoint.
    """
    from heed.models.reward import RewardModel
    from heed.train.contrastive import UNKNOWN, ContrastiveTask, Method, pretrain_contrastive
    from heed.train.optimise import FitSettings

    settings, watcher = settings or ContrastiveSettings(), watcher or Watcher()
    if method not in get_args(Method):
        raise ConfigError(f"method {method}", "there is none of this name.", f"Use {', '.join(get_args(Method))}.")
    _check_installed()
    folder = output_folder(out, [model])
    rows = [judgment for judgment in written.judgments if share_of(judgment.prompt, "test") >= settings.test_fraction]
    rows = rows if settings.quality else []
    identity = {
        "model": model_identity(model),
        "method": method,
        "data": content_hash([[[plain(p), text] for p, text in written.texts], list(map(keyed, rows))]),
        "settings": settings.model_dump(),
        "seed": seed,
    }
    output = Output(folder, "pretrain", identity)
    with output.claimed() as finished:
        if finished is not None:
            watcher.say(f"already done: {folder}")
            return finished
        network = RewardModel.new(model, settings.pooling, 1, seed, prepare_machine(device))
        texts, too_long = _texts(network.reader, written.texts, rows, settings, seed)
        _check_count(texts, method, settings)
        task = ContrastiveTask(network.members[0], texts, method, settings, seed, watcher)  # type: ignore[arg-type]
        tokens = sum(task.lengths) / len(texts)
        watcher.plan(f"pretraining, {method}", training_plan(network.members[0].backbone, len(texts), tokens, settings))
        before = task.spread()
        of_steps = FitSettings.of(settings, len(texts))
        done = pretrain_contrastive(task, of_steps, seed, output.checkpoints(), watcher)
        after = task.spread()
        metrics: dict[str, Any] = {
            "method": method,
            "texts": len(texts),
            "too_long": too_long,
            "judged": sum(text.quality != UNKNOWN for text in texts),
            "better": sum(text.quality == BETTER for text in texts),
            "kinds": len({text.kind for text in texts}),
            "before": before._asdict(),
            "after": after._asdict(),
            "history": done.history,
        }
        with output.writing():
            network.members[0].backbone.save_pretrained(output.folder)
            network.reader.tokenizer.save_pretrained(output.folder)
            tell_trained_on(output.folder, (row.prompt for row in rows))
        return output.finish(metrics, _verdict(metrics, before, after, watcher), done.tokens)


def _check_installed() -> None:
    try:
        import pytorch_metric_learning  # noqa: F401
    except ImportError:
        raise ConfigError(
            "contrastive pretraining",
            "pytorch-metric-learning is not installed.",
            "pip install 'heed[contrastive]'",
        ) from None


def _texts(
    reader: Reader,
    written: Sequence[tuple[PromptContent, str]],
    judgments: Sequence[Judgment],
    settings: ContrastiveSettings,
    seed: int,
) -> tuple[list[Text], int]:
    """The texts that fit the model, with what is known of each, and how many are too long."""
    from heed.train.contrastive import UNKNOWN, Text

    kinds = kinds_of([prompt for prompt, _ in written], settings.kinds, seed) if judgments else [0] * len(written)
    known = qualities_of(judgments)
    found, too_long = [], 0
    for (prompt, text), kind in zip(written, kinds, strict=True):
        try:
            encoded = reader.encode(prompt, text)
        except DataError:
            too_long += 1
            continue
        found.append(Text(encoded, kind, known.get((prompt_id(prompt), text), UNKNOWN)))
    return found, too_long


def qualities_of(judgments: Sequence[Judgment]) -> dict[tuple[str, str], int]:
    """``BETTER`` or ``POORER`` of texts by (prompt id, text), where the judgments of it say more of the one than of the other.

    A rating counts as its share of the scale, a thumb and a critique as good or bad, and each comparison, also one that a
    ranking or an edit implies, as won or lost.
    """
    said: dict[tuple[str, str], list[float]] = {}
    pairs, single = parts_of(judgments)
    for one in single:
        said.setdefault((prompt_id(one.prompt), one.text), []).append(one.good)
    for pair in pairs:
        won = 0.5 if pair.outcome == TIE else float(pair.outcome == FIRST)
        for text, good in ((pair.a, won), (pair.b, 1 - won)):
            said.setdefault((prompt_id(pair.prompt), text), []).append(good)
    means = {key: sum(values) / len(values) for key, values in said.items()}
    return {key: BETTER if mean > 0.5 else POORER for key, mean in means.items() if mean != 0.5}


def kinds_of(prompts: Sequence[PromptContent], most: int, seed: int) -> list[int]:
    """The kind of each prompt, by its words: k-means on term frequencies (at most ``most`` kinds)."""
    from sklearn.cluster import KMeans

    from heed.models.text_features import TfIdf

    texts = [prompt if isinstance(prompt, str) else prompt[-1].content for prompt in prompts]
    different = list(dict.fromkeys(texts))
    if most == 1 or len(different) <= most:
        return [different.index(text) if most > 1 else 0 for text in texts]
    features = TfIdf.fit("words", different).transform(different)
    if not features.shape[1]:
        return [0] * len(texts)
    made = KMeans(most, n_init=2, random_state=seed).fit_predict(features)
    kind = dict(zip(different, made.tolist(), strict=True))
    return [kind[text] for text in texts]


def _check_count(texts: Sequence[Text], method: str, settings: ContrastiveSettings) -> None:
    """Raise DataError where there are too few texts to be told from each other."""
    needed = settings.prompts_per_step + (settings.queue if method == "moco" else 0)
    if len(texts) < needed:
        which = "prompts_per_step" + (" and queue together" if method == "moco" else "")
        raise DataError(
            f"{len(texts)} texts for {method}",
            f"a text would be told from itself: {which} are {needed}.",
            f"Give more texts, or lower {which}.",
        )


def _verdict(metrics: dict[str, Any], before: Spread, after: Spread, watcher: Watcher) -> str:
    from heed.train.contrastive import COLLAPSED

    history = metrics["history"]
    text = f"{len(history)} steps on {metrics['texts']:,} texts, of which {metrics['judged']:,} are judged: loss "
    text += f"{history[0]['loss']:.3f} to {history[-1]['loss']:.3f}; alignment {before.alignment:.2f} to {after.alignment:.2f}, "
    text += f"uniformity {before.uniformity:.2f} to {after.uniformity:.2f}."
    if after.uniformity > COLLAPSED:
        text += " It has collapsed: nearly all texts look alike to it. Do not use it; lower the learning rate."
        watcher.alarm("the backbone has collapsed: nearly all texts look alike to it")
    return f"{text} Whether a reward model learns better from it tells 'heed train reward', with and without it."
