"""Options that several commands share, and how they become settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from getpass import getuser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from heed.errors import ConfigError
from heed.texts import cut

if TYPE_CHECKING:
    from heed.project import Project
    from heed.rounds import Rounds
    from heed.settings import Settings
    from heed.terminal.watcher import QuietWatcher

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only results, alarms and errors.")]
Seed = Annotated[
    int | None, typer.Option(min=0, max=2**31 - 1, help="Seed of everything random; the project's own, or 0.")
]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N; the project's own, or auto.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Do it anew, even if the very same was done before.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A setting of this stage, such as learning_rate=1e-4 or lora.rank=8; repeatable.",
    ),
]
Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="YAML with settings of this stage, or a whole heed.yaml."),
]

LAST_ROUND = 1_000_000

S = TypeVar("S", bound="Settings")


@dataclass(frozen=True)
class Choices:
    """What the command line says about one stage: its section of ``heed.yaml`` and what overrides it there."""

    section: str
    config: Path | None = None
    sets: Sequence[str] = ()
    seed: int | None = None
    device: str | None = None

    def settings(self, base: S) -> S:
        """``base`` with the file's values over it and the single values over those.

        Raises:
            ConfigError: a key is unknown (with the nearest known one), a value is wrong, or the file cannot be read.
        """
        from heed.config import parse_settings

        values = base.model_dump()
        if self.config is not None:
            values |= section_of(self.config, self.section)
            base = parse_settings(type(base), values, str(self.config))
        if not self.sets:
            return base
        for key, value in map(_assignment, self.sets):
            _put(values, key.removeprefix(f"{self.section}.").split("."), value)
        return parse_settings(type(base), values, "--set")


def section_of(path: Path, section: str) -> dict[str, Any]:
    """The values of a section of a whole ``heed.yaml``, or of a file that holds no such section.

    Raises:
        ConfigError: the file cannot be read or holds no values.
    """
    from heed.safe_yaml import read_yaml

    values = read_yaml(path, f"--config {path}")
    if not isinstance(values, dict):
        raise ConfigError(f"--config {path}", "it has no 'key: value' lines.", "See the comments in a heed.yaml.")
    inner = values.get(section)
    return inner if isinstance(inner, dict) else values


def _put(values: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Set what stands at ``path``; a key within a section has the section's name and a dot before its own."""
    *sections, last = path
    for section in sections:
        inner = values.get(section)
        values[section] = dict(inner) if isinstance(inner, dict) else {}
        values = values[section]
    values[last] = value


def _assignment(text: str) -> tuple[str, Any]:
    from heed.safe_yaml import parse_yaml

    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {cut(text)}", "it is not of the form KEY=VALUE.", "Write for example --set epochs=3.")
    try:
        return key.strip(), parse_yaml(value)
    except ValueError:
        return key.strip(), value


def refuse_some(command: str, options: Mapping[str, object]) -> None:
    """Refuse a part of the options that only together make a command work on files.

    Raises:
        ConfigError: some are given and some are not, naming them.
    """
    given = [name for name, value in options.items() if value is not None]
    if given:
        missing = [name for name, value in options.items() if value is None]
        raise ConfigError(
            f"{command} with {' and '.join(given)}",
            f"without a project it also needs {' and '.join(missing)}.",
            f"Give {', '.join(options)} together, or none of them inside a project.",
        )


def refuse_before(context: typer.Context) -> None:
    """Refuse options of a command that stand before the name of one below it, which has its own.

    Raises:
        ConfigError: there are some.
    """
    names = {option.name: option.opts[0] for option in context.command.params}
    given = [names[name] for name in context.params if str(context.get_parameter_source(name)).endswith("COMMANDLINE")]
    if given:
        below = f"{context.command_path} {context.invoked_subcommand}"
        raise ConfigError(
            f"{given[0]} before '{context.invoked_subcommand}'",
            f"it belongs to {context.command_path} alone.",
            f"Write it behind, if {below} has such an option: {below} --help",
        )


def only_with(command: str, leader: str, options: Mapping[str, object]) -> None:
    """Refuse options that mean something only where the command works on files.

    Raises:
        ConfigError: one of them is given.
    """
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise ConfigError(
            f"{command} with {given[0]}",
            "inside a project heed.yaml and the runs decide it.",
            f"Leave it out, or work on files with {leader}.",
        )


def only_in_a_project(command: str, fresh: bool, round_: int = 0) -> None:
    """Refuse options about a project's runs where the command works on files.

    Raises:
        ConfigError: one of them is given.
    """
    for name, given in (("--fresh", fresh), ("--round", bool(round_))):
        if given:
            raise ConfigError(
                f"{command} on files with {name}",
                "it is about the runs of a project.",
                "Leave it out; for another run on files choose another --out.",
            )


def source_of(file: Path) -> Path:
    """The file to read: ``-`` is standard input."""
    return Path("/dev/stdin") if file == Path("-") else file


def check_format(out: Path | None) -> None:
    """See that a result is not written under a name that promises another format than CSV or JSON lines.

    Raises:
        ConfigError: it would be.
    """
    name = "" if out is None else out.name.lower().removesuffix(".gz")
    if Path(name).suffix not in ("", ".csv", ".jsonl"):
        why = f"results are written as CSV or JSON lines, not as {Path(name).suffix}."
        raise ConfigError(f"--out {out}", why, "End the name in .csv or .jsonl, or in .csv.gz or .jsonl.gz.")


def is_lines(path: Path) -> bool:
    """Whether a result of this name is JSON lines, and not CSV."""
    return path.name.lower().removesuffix(".gz").endswith(".jsonl")


def result_of(out: Path | None, *read: Path | None) -> Path | None:
    """The file to write a result to, None for none; never one that is read.

    Raises:
        ConfigError: it is that one. DataError: it cannot be written there.
    """
    from heed.folder import result_file

    if out is None:
        return None
    target = result_file(out)
    if any(file is not None and target == file.resolve() for file in read):
        raise ConfigError(
            f"--out {out}", "it is a file that is read, and would be replaced.", "Name another file for the result."
        )
    return target


def apply(project: Project, choices: Choices) -> None:
    """Let ``choices`` stand in for what ``heed.yaml`` says, for this command; the run record keeps what was used."""
    settings = project.settings
    if choices.section:
        setattr(settings, choices.section, choices.settings(getattr(settings, choices.section)))
    if choices.seed is not None:
        settings.seed = choices.seed
    if choices.device is not None:
        settings.device = choices.device


def user_name() -> str:
    """The name under which the person at the keyboard is logged in.

    Raises:
        ConfigError: the system knows none, as in a container that was started with the number of a user.
    """
    try:
        return getuser()
    except (KeyError, OSError):
        raise ConfigError(
            "no name to judge under", "this system has no name for the user.", "Give one: heed ask --rater NAME"
        ) from None


@contextmanager
def rounds(choices: Choices, quiet: bool, fresh: bool = False) -> Iterator[tuple[Rounds, QuietWatcher]]:
    """The stages of the project around the current folder, and the watcher that they report to.

    Results are printed after the block: only then is the watcher's live bar gone.
    """
    from heed.project import Project
    from heed.rounds import Rounds
    from heed.terminal.watcher import watching

    with Project.open() as project, watching(quiet) as watcher:
        apply(project, choices)
        yield Rounds(project, watcher, fresh), watcher
