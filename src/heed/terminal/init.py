"""``heed init``: a new project, there as a whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heed.config import NO_MODEL, ProjectSettings, parse_settings
from heed.errors import ConfigError, DataError, ModelError
from heed.stages.machine import Dtype, fastest, may_have_bfloat16, settings_for, training_rates
from heed.terminal.console import report_broken
from heed.terminal.text import counted

if TYPE_CHECKING:
    from heed.feedback.formats import BrokenRow
    from heed.train.progress import Watcher

PROMPTS, DEMONSTRATIONS = "prompts.jsonl", "demonstrations.jsonl"


def init_from_files(folder: Path, model: str, prompts: Path, demonstrations: Path | None) -> list[str]:
    """Make a project of a model, prompts and optionally demonstrations, which are copied into it.

    Returns:
        Lines about what is in it.

    Raises:
        DataError: a file has no usable row. ModelError: there is no such model. ProjectError: the folder is in the way.
        ConfigError: the name of the model is none.
    """
    from heed.folder import check_new_folder
    from heed.project import Project
    from heed.stages.data import read_demonstrations, read_prompts

    check_new_folder(folder)
    source = checked_model(model)
    for file in filter(None, (prompts, demonstrations)):
        _check_copyable(file)
    lines, broken = read_prompts(prompts)
    report_broken(prompts, broken)
    held_out = sum(line.split == "test" for line in lines)
    told = [
        f"{counted(len(lines), 'prompt')}{_broken(broken)}"
        + (f", {held_out:,} of them for testing" if held_out else "")
    ]
    copies = {PROMPTS: prompts}
    if demonstrations is not None:
        rows, broken = read_demonstrations(demonstrations)
        report_broken(demonstrations, broken)
        told.append(f"{counted(len(rows), 'demonstration')}{_broken(broken)}")
        copies[_copied_name(demonstrations)] = demonstrations
    trained_in = _numbers()
    if trained_in != "float32":
        told.append(f"trained in {trained_in}, which is the faster here")
    values: dict[str, Any] = {
        **settings_for(trained_in),
        "name": folder.resolve().name,
        "model": source,
        "prompts": PROMPTS,
        "demonstrations": _copied_name(demonstrations) if demonstrations is not None else "",
    }
    settings = parse_settings(ProjectSettings, values, "heed init")
    Project.create(folder, settings, lambda place: _copy(copies, place)).close()
    return told


def init_studio(folder: Path) -> list[str]:
    """Make a project to collect feedback in, before there is a model or a prompt.

    A folder that is new is closed to other users of the machine: what raters say and who they are will lie in it.

    Returns:
        Lines about what is in it.

    Raises:
        ProjectError: the folder is in the way.
    """
    from heed.project import Project

    values = {"name": folder.resolve().name, "model": NO_MODEL, "prompts": PROMPTS}
    Project.create(folder, parse_settings(ProjectSettings, values, "heed init"), private=True).close()
    return ["a studio to collect feedback in; no model has been chosen yet"]


def init_sandbox(folder: Path, seed: int, watcher: Watcher) -> list[str]:
    """Make a project in the built-in world; its base model is trained at first use.

    Returns:
        Lines about what is in it.

    Raises:
        ProjectError: the folder is in the way.
    """
    from heed.demo import create_sandbox

    create_sandbox(folder, folder.resolve().name, seed, watcher).close()
    return ["the support desk: prompts, demonstrations, a tiny base model and simulated raters"]


def checked_model(model: str) -> str:
    """``model`` as ``heed.yaml`` keeps it: a folder as its absolute path, a hub id as it is.

    Raises:
        ModelError: it is meant as a folder and is none, or holds no model.
    """
    if not model.strip():
        raise ModelError("a model without a name", "a project starts from one.", "Give a model folder or a hub id.")
    folder = Path(os.path.expanduser(model))
    if folder.is_dir():
        if not (folder / "config.json").is_file() and not (folder / "adapter_config.json").is_file():
            raise ModelError(
                f"{model} is no model", "the folder has no config.json.", "Give a folder saved by save_pretrained."
            )
        return str(folder.resolve())
    if folder.exists() or model.startswith((".", "/", "~")) or model.count("/") > 1:
        why = "it is a file." if folder.exists() else "the folder does not exist."
        raise ModelError(f"no model at {model}", why, "Give a model folder or a Hugging Face hub id.")
    return model


def check_alone(sandbox: bool, studio: bool, given: bool) -> None:
    """See that what ``heed init`` was given goes together; ``given``: a model or a file.

    Raises:
        ConfigError: it does not.
    """
    if sandbox and given:
        raise ConfigError(
            "heed init --sandbox with a model or files", "the built-in world brings its own.", "Leave them out."
        )
    if studio and (given or sandbox):
        raise ConfigError(
            "heed init --studio with a model, files or --sandbox",
            "it is for a project that has none of them yet.",
            "Leave --studio out: every project has the studio.",
        )


def missing_options(model: str | None, prompts: Path | None) -> ConfigError:
    """The error about ``heed init`` without what it needs."""
    missing = [name for name, value in (("--model", model), ("--prompts", prompts)) if value is None]
    return ConfigError(
        f"heed init without {' and '.join(missing)}",
        "a project starts from a model and prompts.",
        "Give both. To collect feedback before there is a model: heed init NAME --studio; to try heed in its built-in "
        "world: heed init NAME --sandbox",
    )


def _numbers() -> Dtype:
    """The numbers in which this machine trains the fastest; measured where it may have units for others than float32."""
    if not may_have_bfloat16():
        return "float32"
    from heed.stages.results import prepare_machine

    return fastest(training_rates(prepare_machine("auto")))


def _broken(broken: list[BrokenRow]) -> str:
    return f" ({counted(len(broken), 'broken line')} left out)" if broken else ""


def _copied_name(demonstrations: Path) -> str:
    """Demonstrations may be of any format heed imports, so the copy keeps the ending that says which."""
    endings = "".join(suffix for suffix in demonstrations.suffixes if suffix in (".csv", ".jsonl", ".json", ".gz"))
    return f"demonstrations{endings or '.jsonl'}"


def _check_copyable(file: Path) -> None:
    """A pipe can be read only once, and that to look at it: nothing would be left to copy."""
    if file.exists() and not file.is_file():
        raise DataError(f"cannot copy {file}", "it is no ordinary file.", "Save it to a file and name that.")


def _copy(copies: dict[str, Path], folder: Path) -> None:
    from heed.files import copy_file

    for name, source in copies.items():
        copy_file(source, folder / name)
