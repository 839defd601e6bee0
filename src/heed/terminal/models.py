"""Which model a name on the command line means: a run of the project, a folder, or a hub id."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from heed.errors import ModelError, ProjectError

if TYPE_CHECKING:
    from heed.project import Project


@contextmanager
def project_around(needed: bool) -> Iterator[Project | None]:
    """The project around the current folder, open; None where there is none, unless it is ``needed``.

    Raises:
        ProjectError: there is none and it is needed, or there is one and it cannot be opened.
    """
    from heed.folder import is_project
    from heed.project import Project

    here = Path.cwd()
    if not needed and not any(map(is_project, (here, *here.parents))):
        yield None
        return
    with Project.open() as project:
        yield project


def reward_folder(name: str | None) -> str:
    """The reward model called ``name``; None is the newest one of the project around the current folder.

    Raises:
        ProjectError: there is no project to look in, or it has no reward model. ModelError: nothing has this name.
    """
    if name is not None and Path(name).exists():
        return name
    with project_around(needed=name is None) as project:
        if project is None:
            raise ModelError(
                f"no reward model '{name}'", "there is no such folder, and no project here.", "Give the folder of one."
            )
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
    if all(run.id != run_id for run in project.runs()):
        raise ModelError(
            f"no model '{run_id}'", "this project has no such run, and there is no such folder.", "See: heed runs"
        )
    if "model" not in project.artifacts(run_id):
        raise ModelError(f"no model of {run_id}", "this run has made none.", "Name another one; see: heed runs")
    return str(project.artifact("model", run_id))
