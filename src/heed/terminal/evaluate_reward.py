"""``heed evaluate reward``: how far a reward model can be trusted, before a policy is trained against it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heed.errors import ConfigError
from heed.terminal.console import console, note, report_broken
from heed.terminal.options import Choices, Device, Fresh, Quiet, Seed, rounds
from heed.terminal.text import counted, one_line, safe

if TYPE_CHECKING:
    from heed.evaluate.reward_bias import Lean
    from heed.evaluate.reward_diagnosis import RewardDiagnosis
    from heed.project import Project
    from heed.runs import RunRecord
    from heed.statistics import Interval, Undefined

_PARTS_SHOWN, _CONTESTED_SHOWN, _WIDTH = 12, 10, 100


def evaluate_reward(
    reward: Annotated[
        str | None, typer.Option(metavar="RUN|PATH", help="A reward model; the project's newest one.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Judgments in any format that heed imports, or pairs of a benchmark."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for reward.html and reward.json; the project.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    seed: Seed = None,
    device: Device = None,
    fresh: Fresh = False,
    quiet: Quiet = False,
) -> None:
    """How often a reward model is right, where it is not, what it leans to, and which judgments it contradicts.

    In a project: on the judgments that it has not learned from; the board lists those that it contradicts. With --data: on
    those of a file.
    """
    folder = out
    if data is None:
        found, own = _on_project(reward, seed, device, fresh, quiet)
        folder = out or own
    else:
        found = _on_file(reward, data, seed, device, quiet)
    if as_json:
        print(found.model_dump_json(indent=2))
    else:
        print_diagnosis(found)
    if folder is not None:
        from heed.evaluate.reward_page import write

        for path in write(found, folder):
            if not as_json:
                console().print(safe(str(path)), soft_wrap=True)


def _on_file(reward: str | None, data: Path, seed: int | None, device: str | None, quiet: bool) -> RewardDiagnosis:
    from heed.stages.results import trained_on
    from heed.stages.reward_evaluation import evaluate_reward as stage
    from heed.stages.reward_evaluation import judged_in_file
    from heed.terminal.models import reward_folder
    from heed.terminal.watcher import watching

    folder = reward_folder(reward)
    learned = trained_on(folder)
    judged, broken = judged_in_file(data, learned=learned or frozenset())
    report_broken(data, broken)
    if learned is None and not quiet:
        note(f"{folder} does not say which prompts it learned from: whether {data} was held out is for you to know")
    with watching(quiet) as watcher:
        return stage(
            folder, judged, str(data), reward or folder, seed=seed or 0, device=device or "auto", watcher=watcher
        )


def _on_project(
    reward: str | None, seed: int | None, device: str | None, fresh: bool, quiet: bool
) -> tuple[RewardDiagnosis, Path]:
    from heed.evaluate.reward_diagnosis import RewardDiagnosis
    from heed.stages.reward_evaluation import evaluate_project_reward

    with rounds(Choices("", seed=seed, device=device), quiet, fresh) as (stages, watcher):
        project = stages.project
        run = evaluate_project_reward(project, _reward_run(project, reward), watcher, fresh)
        return RewardDiagnosis.model_validate(run.metrics), project.folder


def _reward_run(project: Project, name: str | None) -> RunRecord:
    """The run that trained the reward model.

    Raises:
        ConfigError: the project has no such reward model.
    """
    trained = [run for run in project.runs() if run.stage == "reward" and run.state == "done"]
    chosen = [run for run in trained if name in (None, run.id)]
    if chosen:
        return chosen[-1]
    if name is None:
        raise ConfigError("no reward model", "this project has trained none yet.", "Run 'heed train reward' first.")
    raise ConfigError(
        f"--reward {name}",
        "without --data it is a reward run of this project, and there is none of this name.",
        "See 'heed runs', or give --data FILE with the folder of a model.",
    )


# What the terminal shows


def print_diagnosis(found: RewardDiagnosis) -> None:
    """The verdict, what to look at and to do, the figures that it rests on, and the judgments that are contradicted."""
    from rich.table import Table
    from rich.text import Text

    screen = console()
    screen.print(safe(found.verdict), style="bold")
    for told in found.notes:
        screen.print(safe(f"look: {told}"), style="yellow")
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    table.add_column(justify="right")
    for name, told, count in _figures(found):
        table.add_row(safe(name), Text(safe(told)), count)
    screen.print(table)
    if found.contested:
        screen.print(safe(f"contradicted most surely, of {counted(len(found.contested), 'judgment')}:"), style="bold")
    for one in found.contested[:_CONTESTED_SHOWN]:
        learned = "" if one.held_out else ", learned from"
        screen.print(safe(f"{100 * one.probability:.0f} %  {one.rater}  {one.feedback}  ({one.kind}{learned})"))
        for label, text in (("prompt", one.prompt), ("rater", one.preferred), ("model", one.other)):
            screen.print(f"      {label}: {one_line(text, _WIDTH)}", soft_wrap=True)
    screen.print(safe(f"What now: {found.now}"), style="bold")


def _figures(found: RewardDiagnosis) -> list[tuple[str, str, str]]:
    from heed.evaluate.reward_page import TITLES
    from heed.evaluate.reward_parts import FEWEST_SHOWN, telling
    from heed.evaluate.reward_verdict import told_sides

    rows = [("", "", "comparisons"), ("right, all together", *_share(found.accuracy.clustered))]
    for division in found.by:
        if len(division.parts) < 2 and division.by in ("kind", "strength", "group", "source", "subset"):
            continue
        parts, few = telling(division.parts)
        title = TITLES[division.by].lower()
        if not parts:
            what = f"{title}: {few:,} parts of fewer than {FEWEST_SHOWN} comparisons each"
            rows += [(what, "see --json", "")] if few else []
            continue
        rows.append((title, "", ""))
        rows += [(f"  {one_line(part.name, 40)}", *_share(part.accuracy)) for part in parts[:_PARTS_SHOWN]]
        if (more := len(parts) - _PARTS_SHOWN) > 0:
            rows.append((f"  {more:,} more: see --json", "", ""))
        if few:
            rows.append((f"  {few:,} of fewer than {FEWEST_SHOWN} comparisons each: see --json", "", ""))
    if found.subset_mean is not None:
        rows.append(("mean of the subsets", *_share(found.subset_mean)))
    rows += [(f"order of single texts, {part.name}", *_share(part.accuracy)) for part in found.graded]
    rows += _lean_rows("length", found.length, "longer", "shorter")
    rows += _lean_rows("place on the screen", found.position, "left", "right")
    for effect in found.styles:
        if effect.excess.estimate is not None:
            rows.append((f"{told_sides(effect)} gets (50 % is right)", *_share(effect.favour)))
    return [*rows, *_calibration_rows(found)]


def _calibration_rows(found: RewardDiagnosis) -> list[tuple[str, str, str]]:
    from heed.statistics import Undefined

    fitted = found.calibration
    if isinstance(fitted, Undefined):
        return [("calibration", f"undefined: {fitted.reason}", "")]
    best = fitted.temperature
    told = best.reason if isinstance(best, Undefined) else f"{best:.2f}"
    return [("calibration error", f"{fitted.ece:.3f}", ""), ("best temperature", told, "")]


def _lean_rows(what: str, lean: Lean | Undefined, first: str, second: str) -> list[tuple[str, str, str]]:
    from heed.statistics import Undefined

    if isinstance(lean, Undefined):
        return [(what, f"undefined: {lean.reason}", "")]
    return [
        (what, "", ""),
        (f"  raters prefer the {first} one", *_share(lean.raters)),
        ("  the reward model does", *_share(lean.reward)),
        (f"  right where they prefer the {first} one", *_share(lean.first)),
        (f"  right where they prefer the {second} one", *_share(lean.second)),
    ]


def _share(interval: Interval) -> tuple[str, str]:
    from heed.terminal.show import interval as shown

    return shown(interval.model_dump()), f"{interval.n:,}"


# The group of commands


def grouped(evaluate: Any) -> typer.Typer:
    """``heed evaluate`` as it was, with ``heed evaluate reward`` below it."""
    group = typer.Typer(invoke_without_command=True)
    group.callback()(evaluate)
    group.command("reward")(evaluate_reward)
    return group
