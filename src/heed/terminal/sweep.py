"""``heed sweep``: several ways to optimise one policy, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heed.errors import ConfigError
from heed.terminal.console import console, note, report_broken
from heed.terminal.options import Choices, Config, Device, Quiet, Seed, Set, refuse_some, rounds
from heed.terminal.stages import Model
from heed.terminal.text import counted, safe

if TYPE_CHECKING:
    from heed.evaluate.frontier import Sweep
    from heed.stages.judgments import Judgment
    from heed.stages.sweep import SweepStart

_FOLDER = "sweep"
_SECTIONS = ("policy", "preference", "ilql", "dqn")


def sweep(
    algorithm: Annotated[
        list[str] | None,
        typer.Option(metavar="A,B", help="Algorithms; see 'heed explain'. Default: that of heed.yaml."),
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=A,B", help="A setting with its values; every combination is run. May be given again."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Seeds of each setting (count).")] = 1,
    model: Model = None,
    reward: Annotated[
        str | None, typer.Option(metavar="PATH", help="A reward model's folder, package.module:function, or a URL.")
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Prompts; those of the split 'test' are judged on.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Judgments, for algorithms that learn from them as they are.")
    ] = None,
    truth: Annotated[
        str | None, typer.Option(metavar="FUNCTION", help="package.module:function that tells how good a text is.")
    ] = None,
    judge: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A reward model that is not trained on, in place of a truth.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder; in a project: sweep.")] = None,
    sets: Set = None,
    config: Config = None,
    seed: Seed = None,
    device: Device = None,
    quiet: Quiet = False,
) -> None:
    """Optimise one policy by several settings, and draw what each has gained against how far it moved.

    In a project: from the reference policy, by the newest reward model or on all feedback, and judged by the true utility where
    there is one. Given again after Ctrl-C it goes on; sweep.html, sweep.svg and sweep.json show what there is at any time.
    """
    from heed.stages.sweep import run_sweep, variations
    from heed.terminal.watcher import watching

    parts = _by_section(sets or ())
    choices = Choices("policy", config, parts.pop("policy"), seed, device)
    varied = dict(map(_varied, vary or ()))
    names = [name.strip() for entry in algorithm or () for name in entry.split(",") if name.strip()]
    on_files = {"--model": model, "--prompts": prompts, "--out": out}
    if any(value is not None for value in (model, prompts, reward, data)):
        if None in on_files.values():
            refuse_some("heed sweep", on_files)
        start = _from_files(str(model), reward, prompts, data, truth, judge, choices, parts)
        place, first = out or Path(_FOLDER), choices.seed or 0
        with watching(quiet) as watcher:
            chosen = variations(start, names or [start.policy.algorithm], varied)
            found = run_sweep(
                start, chosen, range(first, first + seeds), place, None, choices.device or "auto", watcher
            )
    else:
        with rounds(choices, quiet) as (stages, watcher):
            settings = stages.project.settings
            for name, own in parts.items():
                setattr(settings, name, Choices(name, sets=own).settings(getattr(settings, name)))
            start = stages.sweep_start(truth, judge)
            place, first = out or stages.project.folder / _FOLDER, settings.seed
            chosen = variations(start, names or [settings.policy.algorithm], varied)
            found = run_sweep(
                start, chosen, range(first, first + seeds), place, settings.evaluate, settings.device, watcher
            )
    _print(found)
    console().print(safe(str(place / "sweep.html")), soft_wrap=True)
    if any(run.error for run in found.runs):
        raise typer.Exit(1)


def _varied(text: str) -> tuple[str, list[Any]]:
    from heed.safe_yaml import parse_yaml

    key, equals, values = text.partition("=")
    listed = [value.strip() for value in values.split(",") if value.strip()]
    if not (equals and key.strip() and listed):
        raise ConfigError(
            f"--vary {text}", "it is not of the form KEY=A,B.", "Write for example --vary kl_coefficient=0.02,0.1."
        )
    section, dot, inner = key.strip().partition(".")
    return inner if dot and section in _SECTIONS else key.strip(), [parse_yaml(value) for value in listed]


def _by_section(sets: Sequence[str]) -> dict[str, list[str]]:
    """What --set says, by the section that it is of: the one before its dot, or the only one that has such a setting, the
    policy's first.

    Raises:
        ConfigError: several of the other sections have it.
    """
    from heed.config import DQNSettings, ILQLSettings, PolicySettings, PreferenceSettings, Settings

    kinds: tuple[type[Settings], ...] = (PolicySettings, PreferenceSettings, ILQLSettings, DQNSettings)
    fields = {name: set(kind.model_fields) for name, kind in zip(_SECTIONS, kinds, strict=True)}
    found: dict[str, list[str]] = {name: [] for name in _SECTIONS}
    for text in sets:
        key = text.partition("=")[0].strip()
        section = key.partition(".")[0]
        having = [name for name, own in fields.items() if section in own]
        if section in found:
            found[section].append(text)
        elif "policy" in having or not having:
            found["policy"].append(text)
        elif len(having) > 1:
            raise ConfigError(
                f"--set {text}",
                f"it may be of {' or of '.join(having)}.",
                f"Write for example --set {having[0]}.{text}.",
            )
        else:
            found[having[0]].append(text)
    return found


def _from_files(
    model: str,
    reward: str | None,
    prompts: Path | None,
    data: Path | None,
    truth: str | None,
    judge: Path | None,
    choices: Choices,
    parts: Mapping[str, Sequence[str]],
) -> SweepStart:
    from heed.config import PolicySettings
    from heed.feedback.kinds import prompt_id
    from heed.raters.utilities import utility_by_name
    from heed.stages.data import read_prompts
    from heed.stages.judgments import read_judgments
    from heed.stages.sweep import SweepStart

    assert prompts is not None
    lines, broken = read_prompts(prompts)
    report_broken(prompts, broken)
    held = [line.content for line in lines if line.split == "test"]
    rolled = [line.content for line in lines if line.split != "test"]
    if len(held) < 2:
        raise ConfigError(
            f"{prompts} has {counted(len(held), 'test prompt')}",
            "a sweep is judged on prompts that no run was trained on, two at least.",
            'Add "split": "test" to some of its lines, 100 or more if you can.',
        )
    judgments: tuple[Judgment, ...] = ()
    if data is not None:
        learned, broken = read_judgments(data)
        report_broken(data, broken)
        aside_ids = set(map(prompt_id, held))
        kept = [row for row in learned.rows if prompt_id(row.prompt) not in aside_ids]
        if aside := len(learned.rows) - len(kept):
            note(f"{data}: {counted(aside, 'row')} not learned from: about prompts that are judged on")
        judgments = tuple(kept)
        for name, count in learned.unused.items():
            note(f"{data}: {counted(count, 'row')} not learned from: {name}")
    return SweepStart(
        model,
        reward,
        rolled,
        held,
        judgments,
        truth=None if truth is None else utility_by_name(truth),
        judge=judge,
        policy=choices.settings(PolicySettings()),
        **_other_sections(choices, parts),
    )


def _other_sections(choices: Choices, parts: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The sections beside that of the policy: what --config has of them, and --set."""
    from heed.config import DQNSettings, ILQLSettings, PreferenceSettings, Settings, parse_settings
    from heed.safe_yaml import read_yaml

    kinds: dict[str, type[Settings]] = {"preference": PreferenceSettings, "ilql": ILQLSettings, "dqn": DQNSettings}
    found = {} if choices.config is None else read_yaml(choices.config, f"--config {choices.config}")
    given = {name: found.get(name, {}) if isinstance(found, dict) else {} for name in kinds}
    settings = {name: parse_settings(kinds[name], values, str(choices.config)) for name, values in given.items()}
    return {name: Choices(name, sets=parts[name]).settings(one) for name, one in settings.items()}


def _print(found: Sweep) -> None:
    from rich.table import Table

    from heed.evaluate.frontier import advice, settings_of

    table = Table(box=None, pad_edge=False)
    for name, justify in (
        ("setting", "left"),
        ("gained", "right"),
        ("from", "right"),  # ends of intervals
        ("to", "right"),
        ("KL", "right"),
    ):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for one in sorted(settings_of(found), key=lambda s: -s.gain):
        figures = (f"{value:.3g}" for value in (one.gain, one.low, one.high, one.kl))
        table.add_row(safe(one.name), *figures)
    console().print(safe(found.measure))
    console().print(table)
    console().print(safe(advice(found)))
