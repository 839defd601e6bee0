"""Which model a name on the command line means: a run of the project, a folder, or a hub id."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from heed.errors import ModelError, ProjectError

if TYPE_CHECKING:
    from heed.project import Project


def reward_folder(name: str | None) -> str:
    """The reward model called ``name``; None is the newest one of the project around the current folder.

    Raises:
        ProjectError: a name is needed and there is no project, or the project has no reward model.
    """
    if name is not None and Path(name).exists():
        return name
    from heed.project import Project

    with Project.open() as project:
        if name is not None:
            return _model_of(project, name)
        newest = project.latest("reward")
        if newest is None:
            raise ProjectError(
                "no reward model",
                "this project has trained none yet.",
                "Run 'heed train reward', or give --reward PATH.",
            )
        return _model_of(project, newest.id)


def policy_source(name: str, project: Project | None) -> tuple[str, str]:
    """Where the policy called ``name`` lies, and what to call it: a run of ``project``, a folder or a hub id.

    Raises:
        ProjectError: the run made no model.
    """
    if project is not None and any(run.id == name for run in project.runs()):
        return _model_of(project, name), name
    if not Path(name).exists() and name.rpartition("-")[2].isdigit() and "/" not in name:
        why = "this project has no such run, and there is no such folder." if project else "there is no project here."
        raise ModelError(f"no model '{name}'", why, "See 'heed runs', or give a folder or a hub id.")
    return name, name


def _model_of(project: Project, run_id: str) -> str:
    return str(project.artifact("model", run_id))
