"""``heed train policy`` and ``heed explain``: how a policy is optimised, and when to use what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heed.algorithms import ALGORITHMS, Algorithm, algorithm_named
from heed.errors import ConfigError, DataError
from heed.terminal.console import console, note, report_broken
from heed.terminal.options import (
    Choices,
    Config,
    Device,
    Fresh,
    Quiet,
    Seed,
    Set,
    only_in_a_project,
    only_with,
    refuse_some,
    rounds,
    section_of,
)
from heed.terminal.show import print_run
from heed.terminal.stages import Model, Out, Round, print_result, train
from heed.terminal.text import counted, safe

if TYPE_CHECKING:
    from heed.config import PolicySettings, ProjectSettings
    from heed.feedback.kinds import PromptContent
    from heed.stages.data import DemonstrationRow


_PRETRAINING = 1.0
"""Weight of --pretraining where the settings name none: its loss and the policy's are of one size, advantages being whitened."""


@train.command("policy")
def train_policy(
    model: Model = None,
    reward: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="A reward model's folder, package.module:function, or a scorer's URL."),
    ] = None,
    prompts: Annotated[Path | None, typer.Option(metavar="FILE", help="Prompts to roll out.")] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Judgments, for an algorithm that learns from them as they are.")
    ] = None,
    pretraining: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Demonstrations whose likelihood is part of each update: PPO-ptx."),
    ] = None,
    algorithm: Annotated[
        str | None, typer.Option(metavar="NAME", help="How; see 'heed explain'. Default: ppo, or what heed.yaml says.")
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
    """Improve the policy: against a reward model, or by judgments as they are.

    In a project: the reference policy, against the newest reward model or on all feedback. On files: give --model, --out, and
    --reward and --prompts, or --data and an --algorithm that learns from judgments.
    """
    algorithm = _named(algorithm, data, config)
    offline = algorithm is not None and algorithm_named(algorithm).on_judgments
    others = {"--reward": reward, "--prompts": prompts, "--pretraining": pretraining}
    _refuse_the_other_family(algorithm, offline, data, others)
    if any(given is not None for given in (model, data, prompts, out)):
        only_in_a_project("heed train policy", fresh, round)
    if offline and (model is not None or data is not None or out is not None):
        own_choices = Choices(algorithm_named(algorithm or "").section, config, sets or (), seed, device)
        _on_judgments(algorithm or "", model, data, out, own_choices, quiet)
        return
    choices = Choices("policy", config, sets or (), seed, device)
    if model is not None and reward is not None and prompts is not None and out is not None:
        _on_files(model, reward, prompts, out, algorithm, pretraining, choices, quiet)
        return
    options = {"--model": model, "--reward": reward, "--prompts": prompts, "--out": out}
    if reward is not None and (model, prompts, out) == (None, None, None):
        raise ConfigError(
            "heed train policy with --reward alone",
            "inside a project policy.reward names the reward.",
            f"Give --set reward={reward}; or work on files, with --model, --prompts and --out as well.",
        )
    refuse_some("heed train policy", options)
    only_with("heed train policy", "--model, --reward, --prompts and --out", {"--pretraining": pretraining})
    with rounds(Choices("", seed=seed, device=device), quiet, fresh) as (stages, _):
        _choose(stages.project.settings, algorithm, choices.sets, config)
        run = stages.train_policy(round)
    print_run(run)


def _on_files(
    model: str,
    reward: str,
    prompts: Path,
    out: Path,
    algorithm: str | None,
    pretraining: Path | None,
    choices: Choices,
    quiet: bool,
) -> None:
    """Train a policy against a reward, on the prompts of a file."""
    from heed.config import DQNSettings, PolicySettings
    from heed.terminal.watcher import watching

    if reward == "raters" and not Path(reward).exists():
        raise ConfigError(
            "--reward raters on files",
            "raters are asked through the queue of a project.",
            "Inside a project: heed train policy --set reward=raters",
        )
    of_dqn, of_policy = _parted(choices.sets)
    settings = _taken_over(PolicySettings(), algorithm, of_policy, choices.config)
    _refuse_dqn_elsewhere(of_dqn, settings.algorithm)
    dqn = _choices_of_dqn(of_dqn, choices.config).settings(DQNSettings()) if settings.algorithm == "dqn" else None
    contents = _training_prompts(prompts)
    texts = [] if pretraining is None else _demonstrations(pretraining)
    if texts and not settings.pretraining_coefficient:
        settings = settings.model_copy(update={"pretraining_coefficient": _PRETRAINING})
    from heed.stages.policy import train_policy as stage

    seed, device = choices.seed or 0, choices.device or "auto"
    with watching(quiet) as watcher:
        result = stage(
            model, reward, contents, out, settings, seed, device=device, watcher=watcher, pretraining=texts, dqn=dqn
        )
    print_result(result)


def _named(algorithm: str | None, data: Path | None, config: Path | None) -> str | None:
    """The algorithm by its own name: that of the option, or for judgments of a file that of the settings' file.

    Raises:
        ConfigError: there is none of this name.
    """
    if algorithm is None and data is not None and config is not None:
        found = section_of(config, "policy").get("algorithm")
        algorithm = found if isinstance(found, str) else None
    return None if algorithm is None else algorithm_named(algorithm).name


def _choose(settings: ProjectSettings, algorithm: str | None, sets: Sequence[str], config: Path | None) -> None:
    """Let the command line stand in for what a project says: of the section that the algorithm's settings are in.

    Raises:
        ConfigError: a setting is none of this algorithm's, or a value does not fit.
    """
    whole = config if config is not None and "policy" in section_of(config, "") else None
    named = algorithm or Choices("policy", whole).settings(settings.policy).algorithm
    one = algorithm_named(named)
    if one.on_judgments:
        settings.policy = _taken_over(settings.policy, named, (), whole)
        own = Choices(one.section, config, sets).settings(getattr(settings, one.section))
        setattr(settings, one.section, own)
        return
    of_dqn, of_policy = _parted(sets)
    settings.policy = _taken_over(settings.policy, named, of_policy, config)
    settings.dqn = _choices_of_dqn(of_dqn, config).settings(settings.dqn)
    _refuse_dqn_elsewhere(of_dqn, named)


def _taken_over(
    settings: PolicySettings, algorithm: str | None, sets: Sequence[str], config: Path | None
) -> PolicySettings:
    """The settings of the section ``policy`` with those of a file, and of --set, for an algorithm (None: that of the file, or of the
    settings). What was set for another algorithm and this one cannot have is as this one has it, and told.

    Raises:
        ConfigError: a setting is unknown, a value is wrong, or what --set says does not fit the algorithm.
    """
    from heed.fitting import fitted

    if any(text.partition("=")[0].strip().removeprefix("policy.") == "algorithm" for text in sets):
        raise ConfigError("--set algorithm", "algorithms have an option of their own.", "Write --algorithm NAME.")
    of_file = "" if config is None else section_of(config, "policy").get("algorithm", "")
    if algorithm is None or (of_file and of_file != algorithm):
        settings, config = Choices("policy", config).settings(settings), None
    named = settings.algorithm if algorithm is None else algorithm
    taken, told = fitted(settings, named)
    chosen = Choices("policy", config, sets).settings(taken)
    # Of what was taken over, that which the file or --set says otherwise for this algorithm is no news.
    stands = [text for key, text in told.items() if getattr(taken, key) == getattr(chosen, key)]
    if stands:
        note(f"{named} takes {', '.join(stands)}")
    return chosen


def _parted(sets: Sequence[str]) -> tuple[list[str], list[str]]:
    """What --set says of the section ``dqn``, and the rest."""
    from heed.config import DQNSettings

    keys = {text: text.partition("=")[0].strip() for text in sets}
    of_dqn = [text for text, key in keys.items() if key.startswith("dqn.") or key in DQNSettings.model_fields]
    return of_dqn, [text for text in sets if text not in of_dqn]


def _choices_of_dqn(of_dqn: Sequence[str], config: Path | None) -> Choices:
    """What the command line says of the section ``dqn``; a file without one is about other settings."""
    return Choices("dqn", config if config is not None and "dqn" in section_of(config, "") else None, of_dqn)


def _refuse_dqn_elsewhere(of_dqn: Sequence[str], algorithm: str) -> None:
    """Raise ConfigError where a setting of deep Q-learning is given to another algorithm."""
    if of_dqn and algorithm != "dqn":
        raise ConfigError(
            f"--set {of_dqn[0]} with {algorithm}",
            "it is a setting of deep Q-learning alone.",
            "Leave it out, or add --algorithm dqn.",
        )


def _refuse_the_other_family(
    algorithm: str | None, offline: bool, data: Path | None, others: Mapping[str, object]
) -> None:
    """Raise ConfigError where an option is given that this family of algorithms has no use for."""
    if data is not None and not offline:
        raise ConfigError(
            f"heed train policy --data with {algorithm or 'no algorithm'}",
            "judgments as they are teach only algorithms that are made for it.",
            "Add for example --algorithm dpo; 'heed explain' lists them all.",
        )
    option = next((name for name, given in others.items() if given is not None), None)
    if offline and option is not None:
        raise ConfigError(
            f"heed train policy --algorithm {algorithm} with {option}",
            "it learns from judgments as they are, and neither samples nor needs a reward.",
            f"Leave {option} out, or take an algorithm that samples: see 'heed explain'.",
        )


def _on_judgments(
    algorithm: str, model: str | None, data: Path | None, out: Path | None, choices: Choices, quiet: bool
) -> None:
    """Train a policy on the judgments of a file."""
    from heed.config import ILQLSettings, PreferenceSettings
    from heed.stages.judgments import read_judgments
    from heed.terminal.watcher import watching

    if model is None or data is None or out is None:
        refuse_some(f"heed train policy --algorithm {algorithm}", {"--model": model, "--data": data, "--out": out})
        return
    settings: ILQLSettings | PreferenceSettings = ILQLSettings() if algorithm == "ilql" else PreferenceSettings()
    settings = choices.settings(settings)
    learned, broken = read_judgments(data)
    report_broken(data, broken)
    for name, count in learned.unused.items():
        note(f"{data}: {counted(count, 'row')} not learned from: {name}")
    from heed.stages.ilql import train_ilql
    from heed.stages.preference import train_preferences

    seed, device = choices.seed or 0, choices.device or "auto"
    with watching(quiet) as watcher:
        if isinstance(settings, ILQLSettings):
            result = train_ilql(model, learned.rows, out, settings, seed, None, device, watcher)
        else:
            result = train_preferences(model, learned.rows, out, algorithm, settings, seed, None, device, watcher)
    print_result(result)


def _demonstrations(path: Path) -> list[DemonstrationRow]:
    from heed.stages.data import read_demonstrations

    found, broken = read_demonstrations(path)
    report_broken(path, broken)
    return found


def _training_prompts(path: Path) -> list[PromptContent]:
    """The prompts of a file that may be trained on."""
    from heed.stages.data import read_prompts

    lines, broken = read_prompts(path)
    report_broken(path, broken)
    kept = [line.content for line in lines if line.split != "test"]
    if len(kept) < len(lines):
        note(f"{path}: {counted(len(lines) - len(kept), 'test prompt')} left out")
    if not kept:
        raise DataError(f"{path} has no prompt to train on", "all are of the split 'test'.", "Give training prompts.")
    return kept


# When to use which

_FAMILIES = {
    "online": "samples from the policy, and a reward scores what it writes",
    "offline": "learns from judgments as they are, without a reward model",
    "value": "learns what each token is worth, from samples that a reward scores or from judgments",
}


def explain(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="An algorithm; all of them without.")] = None,
) -> None:
    """When to use which algorithm, what it needs and what it costs."""
    if name is not None:
        _print_algorithm(algorithm_named(name))
        return
    from rich.table import Table

    for family, what in _FAMILIES.items():
        console().print(f"{family}: {what}", style="bold")
        table = Table.grid(padding=(0, 2))
        for one in ALGORITHMS.values():
            if one.family == family:
                table.add_row("  " + one.name, one.title, one.when.partition(". ")[0].rstrip(".") + ".")
        console().print(table)


def _settings(one: Algorithm) -> dict[str, object]:
    """What is special to the algorithm of its section's settings, and the values that it has where nobody sets another."""
    if one.family == "online":
        return dict(one.own)
    from heed.config import ProjectSettings
    from heed.training_settings import TrainSettings

    section = ProjectSettings.model_fields[one.section].annotation
    assert section is not None
    every = section().model_dump()
    names = one.takes if one.takes else [name for name in every if name not in TrainSettings.model_fields]
    values = {name: one.own.get(name, every[name]) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _print_algorithm(one: Algorithm) -> None:
    from rich.table import Table

    console().print(f"{one.name}: {one.title}", style="bold")
    rows = {
        "family": f"{one.family}: {_FAMILIES[one.family]}",
        "when": one.when,
        "needs": one.needs,
        "costs": one.costs,
    }
    rows["settings"] = ", ".join(f"{one.section}.{name} {_plain(value)}" for name, value in _settings(one).items())
    command = "--data FILE" if one.on_judgments else "--reward REWARD --prompts FILE"
    rows |= {"paper": one.paper, "try": f"heed train policy --algorithm {one.name} --model MODEL {command} --out DIR"}
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for label, told in rows.items():
        table.add_row(label, safe(told))
    console().print(table)
