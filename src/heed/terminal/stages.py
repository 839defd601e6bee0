"""The stage commands: in a project, or on plain files without one."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heed.errors import ConfigError, DataError
from heed.terminal.console import console, note, report_broken
from heed.terminal.options import (
    LAST_ROUND,
    Choices,
    Config,
    Device,
    Fresh,
    Quiet,
    Seed,
    Set,
    only_in_a_project,
    only_with,
    refuse_before,
    refuse_some,
    result_of,
    rounds,
)
from heed.terminal.show import print_evaluation, print_run
from heed.terminal.text import counted, duration, safe

if TYPE_CHECKING:
    from heed.feedback.kinds import PromptContent
    from heed.stages.evaluation import Evaluation
    from heed.stages.judgments import Judgment, Learned
    from heed.stages.results import StageResult

train = typer.Typer(help="Train a model: sft, reward or policy.", no_args_is_help=True)

Model = Annotated[str | None, typer.Option(metavar="PATH", help="Base model: a folder or a hub id.")]
Out = Annotated[Path | None, typer.Option(metavar="DIR", help="Folder to write to.")]
Round = Annotated[
    int,
    typer.Option(
        "--round", min=0, max=LAST_ROUND, metavar="N", help="Turn of the loop, from 1; 0 is outside the loop."
    ),
]


def print_result(result: StageResult) -> None:
    """What a stage on files came to."""
    screen = console()
    screen.print(safe(result.verdict))
    screen.print(
        f"{safe(str(result.folder))}  ({duration(result.seconds)}, {counted(result.tokens, 'token')})", soft_wrap=True
    )


@train.command("sft")
def train_sft(
    model: Model = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Demonstrations or conversations; and edits and judgments, see --set sources."
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Ratings, thumbs and critiques that say what is good, for --set quality."),
    ] = None,
    out: Out = None,
    sets: Set = None,
    config: Config = None,
    seed: Seed = None,
    device: Device = None,
    fresh: Fresh = False,
    quiet: Quiet = False,
) -> None:
    """Tune the model on demonstrations; and on edits and texts that were judged, the good ones, where settings say so.

    In a project: on what it holds of these. On files: give --model, --data and --out.
    """
    choices = Choices("sft", config, sets or (), seed, device)
    if model is None or data is None or out is None:
        refuse_some("heed train sft", {"--model": model, "--data": data, "--out": out})
        only_with("heed train sft", "--model, --data and --out", {"--labels": labels})
        with rounds(choices, quiet, fresh) as (stages, _):
            run = stages.train_sft()
            if run is None:
                raise DataError(
                    "the project has no demonstration",
                    "heed.yaml names no file of demonstrations, and the store has none.",
                    "Name one under 'demonstrations' in heed.yaml, or: heed feedback import FILE",
                )
        print_run(run)
        return
    only_in_a_project("heed train sft", fresh)
    from heed.config import SFTSettings
    from heed.stages.shown import read_shown
    from heed.terminal.watcher import watching

    settings = choices.settings(SFTSettings())
    if labels is not None and settings.quality == "off":
        raise ConfigError(
            f"--labels {labels}",
            "nothing asks for them: quality is off.",
            "Add --set quality=keep or --set quality=weigh.",
        )
    demonstrations, judgments, broken = read_shown(data, settings, labels)
    report_broken(data, broken)
    from heed.stages.supervised import train_sft as stage

    with watching(quiet) as watcher:
        result = stage(model, demonstrations, out, settings, seed or 0, device or "auto", watcher, judgments)
    print_result(result)


@train.command("reward")
def train_reward(
    model: Model = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Judgments: JSON lines of heed, TRL (prompt, chosen, rejected) or HH-RLHF; or CSV with prompt, chosen, rejected, "
            "or prompt, a, b, choice (docs/formats.md).",
        ),
    ] = None,
    test: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Judgments for the accuracy; else a share of --data.")
    ] = None,
    gold: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Known answers: what raters said of the same texts tells of them alone."),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="What it learns from: joint (all kinds), comparison, rating, ranking, thumb, edit, demonstration, critique.",
        ),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="What scores: network; linear (features of the text, --model only for frozen ones); pairwise or cross (both "
            "texts seen).",
        ),
    ] = None,
    out: Out = None,
    round: Round = 0,
    sets: Set = None,
    config: Config = None,
    seed: Seed = None,
    device: Device = None,
    fresh: Fresh = False,
    quiet: Quiet = False,
) -> None:
    """Learn a reward model from what people said, and how far to trust whom.

    In a project: from all its feedback. On files: give --model, --data and --out.
    """
    chosen = {"kind": kind, "backbone": backbone}
    sets = [*(sets or ()), *(f"{name}={value}" for name, value in chosen.items() if value is not None)]
    choices = Choices("reward", config, sets, seed, device)
    from heed.config import RewardSettings

    if data is not None and out is not None:
        # A setting that is wrong is told as such, before what depends on it is missed.
        settings = choices.settings(RewardSettings())
        if settings.backbone == "linear" and model is None:
            model = ""
    if model is None or data is None or out is None:
        refuse_some("heed train reward", {"--model": model, "--data": data, "--out": out})
        only_with("heed train reward", "--model, --data and --out", {"--test": test, "--gold": gold})
        with rounds(choices, quiet, fresh) as (stages, _):
            run = stages.train_reward(round)
        print_run(run)
        return
    only_in_a_project("heed train reward", fresh, round)
    from heed.terminal.watcher import watching

    learned = _learned_from(data, settings.kind, gold)
    tested = None if test is None else _measured_on(test, settings.kind)
    from heed.stages.reward import train_reward as stage

    with watching(quiet) as watcher:
        result = stage(
            model,
            learned.rows,
            out,
            settings,
            seed or 0,
            test=tested,
            device=device or "auto",
            watcher=watcher,
            gold=learned.known,
            skipped=learned.unused,
        )
    print_result(result)


def _learned_from(data: Path, kind: str, gold: Path | None) -> Learned:
    """The judgments of a file, and what is told of those that teach nothing."""
    from heed.stages.judgments import read_judgments

    learned, broken = read_judgments(data, kind, gold)
    report_broken(data, broken)
    for name, count in learned.unused.items():
        note(f"{data}: {counted(count, 'row')} not learned from: {name}")
    if gold is not None and learned.gold is not None:
        report_broken(gold, learned.gold.broken)
        if learned.gold.unmet:
            note(
                f"{gold}: {learned.gold.unmet:,} of {counted(learned.gold.answers, 'known answer')} of no use: nobody in "
                f"{data} judged the same texts of the same prompt in the same way"
            )
    return learned


def _measured_on(test: Path, kind: str) -> Sequence[Judgment]:
    """The judgments of a file that nothing learns from."""
    from heed.stages.judgments import read_judgments

    found, broken = read_judgments(test, kind)
    report_broken(test, broken)
    for name, count in found.unused.items():
        note(f"{test}: {counted(count, 'row')} not measured on: {name}")
    return found.rows


def score(
    data: Annotated[Path, typer.Option(metavar="FILE", help="Rows with a prompt and a completion.")],
    reward: Annotated[
        str | None, typer.Option(metavar="RUN|PATH", help="A reward model; the project's newest one.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="JSON lines to write; standard output.")] = None,
    device: Device = None,
    quiet: Quiet = False,
) -> None:
    """Score completions with a reward model; writes JSON lines with prompt, completion and score.

    Where the reward has several members, "deviation" tells how far they differ; "outside", where it is known, whether the
    text is unlike all that the reward was trained on.
    """
    from heed.feedback.formats.rows import plain_prompt
    from heed.stages.data import read_demonstrations
    from heed.stages.scoring import score_all as stage
    from heed.terminal.models import reward_folder

    target = result_of(out, data)
    shown, broken = read_demonstrations(data)
    report_broken(data, broken)
    rows = [(row.prompt, row.answer) for row in shown]
    found = stage(reward_folder(reward), rows, device or "auto")
    told: dict[str, list[Any] | None] = {"score": found.scores, "deviation": found.deviations, "outside": found.outside}
    lines = (
        json.dumps(
            {"prompt": plain_prompt(prompt), "completion": completion}
            | {name: values[row] for name, values in told.items() if values is not None},
            ensure_ascii=False,
        )
        + "\n"
        for row, (prompt, completion) in enumerate(rows)
    )
    if target is None:
        sys.stdout.writelines(lines)
    else:
        _write_lines(target, lines)
        if not quiet:
            note(f"{counted(len(rows), 'score')} in {out}, mean {sum(found.scores) / len(found.scores):.3f}")
    if found.warning and not quiet:
        note(found.warning)
    if broken:
        raise typer.Exit(1)


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    from heed.files import file_errors, write_text

    with file_errors(str(path)):
        write_text(path, "".join(lines))


def evaluate(
    context: typer.Context,
    policy: Annotated[
        str | None, typer.Option(metavar="RUN|PATH", help="The policy: a run of the project, a folder or a hub id.")
    ] = None,
    reference: Annotated[str | None, typer.Option(metavar="PATH", help="What it is compared with.")] = None,
    prompts: Annotated[Path | None, typer.Option(metavar="FILE", help="Held-out prompts.")] = None,
    reward: Annotated[str | None, typer.Option(metavar="PATH", help="Reward model of the proxy win rate.")] = None,
    utility: Annotated[
        str | None, typer.Option(metavar="NAME", help="True utility: support_desk, vader or package.module:function.")
    ] = None,
    max_new_tokens: Annotated[int | None, typer.Option(min=1, help="Longest completion (tokens); 64 on files.")] = None,
    out: Out = None,
    round: Round = 0,
    sets: Set = None,
    config: Config = None,
    seed: Seed = None,
    device: Device = None,
    fresh: Fresh = False,
    quiet: Quiet = False,
) -> None:
    """Compare a policy with its reference on held-out prompts.

    In a project: the newest policy, or that of --policy RUN. On files: give --policy, --reference and --prompts.
    """
    if context.invoked_subcommand is not None:
        refuse_before(context)
        return
    choices = Choices("evaluate", config, sets or (), seed, device)
    if policy is None or reference is None or prompts is None:
        on_files = {"--policy": policy, "--reference": reference, "--prompts": prompts}
        if policy is None or reference is not None or prompts is not None:
            refuse_some("heed evaluate", on_files)
        others: dict[str, Any] = {
            "--reward": reward,
            "--utility": utility,
            "--max-new-tokens": max_new_tokens,
            "--out": out,
        }
        only_with("heed evaluate", "--policy, --reference and --prompts", others)
        with rounds(choices, quiet, fresh) as (stages, _):
            run = stages.evaluate(round, policy)
        print_run(run)
        return
    file = None if out is None else _evaluation_file(out, [policy, reference, reward])
    found = _evaluate_on_files(choices, policy, reference, prompts, reward, utility, max_new_tokens or 64, quiet)
    print_evaluation(found)
    if file is not None:
        _write_lines(file, [found.model_dump_json(indent=2) + "\n"])
        note(f"all figures and examples: {file}")


def _evaluation_file(folder: Path, models: Iterable[str | None]) -> Path:
    """Where the figures go; the folder is made now, so that what is in its way is told before the work and not after."""
    from heed.files import file_errors
    from heed.folder import result_file

    with file_errors(f"folder {folder}"):
        if folder.exists() and not folder.is_dir():
            raise ConfigError(f"--out {folder}", "it is no folder.", "Name a folder: evaluation.json goes into it.")
        if any(model and folder.resolve() == Path(model).resolve() for model in models):
            raise ConfigError(
                f"--out {folder}", "it is a model, and one with another file is another model.", "Name another folder."
            )
        folder.mkdir(parents=True, exist_ok=True)
    return result_file(folder / "evaluation.json")


def _evaluate_on_files(
    choices: Choices,
    policy: str,
    reference: str,
    prompts: Path,
    reward: str | None,
    utility: str | None,
    max_new_tokens: int,
    quiet: bool,
) -> Evaluation:
    from heed.config import EvaluateSettings
    from heed.raters.utilities import utility_by_name
    from heed.terminal.watcher import watching

    settings = choices.settings(EvaluateSettings())
    truth = utility_by_name(utility) if utility else None
    contents = _test_prompts(prompts)
    from heed.stages.evaluation import evaluate_policy

    with watching(quiet) as watcher:
        return evaluate_policy(
            policy,
            reference,
            contents,
            settings,
            max_new_tokens=max_new_tokens,
            seed=choices.seed or 0,
            reward=reward,
            truth=truth,
            device=choices.device or "auto",
            watcher=watcher,
        )


def _test_prompts(path: Path) -> list[PromptContent]:
    """The test prompts of a file, or all where it names no splits."""
    from heed.stages.data import read_prompts

    lines, broken = read_prompts(path)
    report_broken(path, broken)
    kept = [line.content for line in lines if line.split == "test"]
    if kept and len(kept) < len(lines):
        note(f"{path}: {counted(len(lines) - len(kept), 'prompt')} of other splits left out")
    if not kept and any(line.split == "train" for line in lines):
        raise ConfigError(f"--prompts {path}", "it has training prompts and no test prompts.", "Give held-out prompts.")
    return kept or [line.content for line in lines]
