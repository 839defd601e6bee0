"""Project folders: made as a whole or not at all, by one process; a database that is missed; results beside what is a project's own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest

from heed.config import ProjectSettings
from heed.errors import DataError, ProjectError
from heed.feedback.kinds import Demonstration
from heed.files import copy_file
from heed.folder import result_file
from heed.project import Cost, Project
from tiny_project import command_line, start, write_lines

SETTINGS = ProjectSettings(name="mine", model="some/model")
FROM_FILES = ["init", "mine", "--model", "model", "--prompts", "in.jsonl", "--demonstrations", "shown.csv", "-q"]
SANDBOX = ["init", "mine", "--sandbox", "--seed", "3", "-q"]


# Killed while a project is made


def dying_init(folder: Path, log: Path, arguments: list[str], left: int) -> None:
    """The command in this process, which kills itself before the ``left``-th change that it makes on the disk."""
    import alembic.command

    from heed.sandbox import grammar, world

    def count() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*args: Any, **named: Any) -> Any:
            count()
            return function(*args, **named)

        return instead

    def copy_in_halves(source: IO[bytes], target: IO[bytes]) -> None:
        content = source.read()
        for half in (content[: len(content) // 2], content[len(content) // 2 :]):
            target.write(half)
            target.flush()
            count()

    def upgrade(*args: Any, migrate: Callable[..., Any] = alembic.command.upgrade) -> None:
        count()
        migrate(*args)
        count()  # the tables are made, and their transaction is still open

    for name in ("fsync", "rename", "replace", "mkdir", "unlink", "rmdir", "pwrite"):
        setattr(os, name, counted(getattr(os, name)))
    shutil.copyfileobj = copy_in_halves
    alembic.command.upgrade = upgrade
    # Training the base model and writing thousands of rows are no part of making the folder.
    vars(world)["base_model"] = lambda watcher: folder / "model"
    corpus, shown = grammar.prompts, grammar.demonstrations
    vars(grammar)["prompts"] = lambda split, seed, rows: corpus(split, seed, 20)
    vars(grammar)["demonstrations"] = lambda seed, rows: shown(seed, 20)
    command_line(folder, log, arguments)


def place_with_inputs(folder: Path) -> Path:
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "config.json").write_text("{}")
    write_lines(folder / "in.jsonl", [{"prompt": f"p{n}"} for n in range(50)])
    (folder / "shown.csv").write_text("kind,prompt,text\n" + "".join(f"demonstration,p{n},yes\n" for n in range(50)))
    return folder


def init(folder: Path, log: Path, arguments: list[str], left: int = 0) -> int:
    process = start(dying_init, folder, log, arguments, left)
    process.join(60)
    return int(process.exitcode)


def contents(project: Path) -> dict[str, bytes]:
    """All files of a project, but for the database, and its folders."""
    return {
        entry.relative_to(project).as_posix(): b"" if entry.is_dir() else entry.read_bytes()
        for entry in project.rglob("*")
        if not entry.name.startswith("heed.db")
    }


@pytest.mark.parametrize(
    ("arguments", "points"),
    [pytest.param(FROM_FILES, range(1, 100), marks=pytest.mark.slow), (SANDBOX, range(2, 100, 4))],
    ids=["files", "sandbox"],
)
def test_killed_at_any_change_the_same_command_makes_the_whole_project(
    tmp_path: Path, arguments: list[str], points: range
) -> None:
    """The first process dies before the first of these changes, the next, which finds what that left, before the second."""
    place, log = place_with_inputs(tmp_path / "here"), tmp_path / "log"
    deaths = 0
    for point in points:
        code = init(place, log, arguments, point)
        if (place / "mine" / "heed.yaml").exists():
            break
        assert code == -signal.SIGKILL, log.read_text()
        deaths += 1
        with pytest.raises(ProjectError, match="heed init"):
            Project.open(place / "mine")
    assert deaths > 15 / points.step
    with Project.open(place / "mine") as made:
        assert made.runs() == []
    undisturbed = place_with_inputs(tmp_path / "there")
    assert init(undisturbed, log, arguments) == 0, log.read_text()
    found, expected = contents(place / "mine"), contents(undisturbed / "mine")
    model = (str(undisturbed).encode(), str(place).encode())
    assert found == {name: content.replace(*model) for name, content in expected.items()}
    assert {"heed.yaml", "prompts.jsonl", "runs", "artifacts", ".heed-database"} < set(found)


def test_what_is_not_of_the_killed_process_stays(tmp_path: Path) -> None:
    place, log = place_with_inputs(tmp_path / "here"), tmp_path / "log"
    assert init(place, log, FROM_FILES, 8) == -signal.SIGKILL
    assert (place / "mine" / "prompts.jsonl").exists() or list((place / "mine").glob(".*.partial"))
    (place / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(ProjectError, match="folder is missing"):
        Project.create(place / "mine", SETTINGS.model_copy(update={"database": "sqlite:///nowhere/heed.db"}))
    assert (place / "mine" / "thesis.txt").read_text() == "precious"
    assert init(place, log, FROM_FILES) == 0, log.read_text()
    assert (place / "mine" / "thesis.txt").read_text() == "precious"


MAKER = """
import sys, time
from heed.config import ProjectSettings
from heed.project import Project

def fill(folder):
    print("filling", flush=True)
    sys.stdin.read()

Project.create(sys.argv[1], ProjectSettings(name="first", model="some/model"), fill)
"""


def test_two_processes_do_not_make_one_project_together(tmp_path: Path) -> None:
    command = [sys.executable, "-c", MAKER, str(tmp_path / "mine")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as maker:
        assert maker.stdout is not None
        assert maker.stdout.readline() == "filling\n"
        with pytest.raises(ProjectError, match=f"process {maker.pid} on .* has been writing to it"):
            Project.create(tmp_path / "mine", SETTINGS)
        maker.kill()
    Project.create(tmp_path / "mine", SETTINGS).close()
    assert not (tmp_path / "mine" / ".heed-init").exists()


def test_an_error_while_a_project_is_filled_leaves_an_empty_folder(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        (folder / "prompts.jsonl").write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(ProjectError, match="disk is full"):
        Project.create(tmp_path / "mine", SETTINGS, fill)
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_mark_left_beside_a_whole_project_goes_when_it_is_opened(tmp_path: Path) -> None:
    Project.create(tmp_path / "mine", SETTINGS).close()
    (tmp_path / "mine" / ".heed-init").touch()
    with pytest.raises(ProjectError, match="project already"):
        Project.create(tmp_path / "mine", SETTINGS)
    Project.open(tmp_path / "mine").close()
    assert not (tmp_path / "mine" / ".heed-init").exists()


def test_a_pipe_is_not_copied_for_it_may_have_been_read_by_now(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="no ordinary file"):
        copy_file(tmp_path / "pipe", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


# A database that is missed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project in which somebody has said something and no run was begun."""
    with Project.create(tmp_path / "mine", SETTINGS) as project:
        (prompt,) = project.store.add_prompts([("p", "train", "")])
        said = Demonstration(rater="ann", prompt_id=prompt, text="t", created="2026-01-31T12:00:00Z")  # type: ignore[arg-type]
        project.store.add_feedback([said])
    return tmp_path / "mine"


def remove(*entries: Path) -> None:
    for entry in entries:
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def test_a_database_that_vanished_with_the_runs_is_missed(folder: Path) -> None:
    remove(folder / "heed.db", folder / "runs")
    for _ in range(2):
        with pytest.raises(ProjectError, match=r"heed\.db: it is missing, but was there before: \.heed-database"):
            Project.open(folder)
    (folder / "heed.db").touch()
    with pytest.raises(ProjectError, match=r"heed\.db: it is empty"):
        Project.open(folder)
    remove(folder / ".heed-database")  # as the error says
    with Project.open(folder) as anew:
        assert anew.store.feedback() == []


def test_lock_and_artifacts_tell_of_a_database_too(folder: Path) -> None:
    with Project.open(folder) as project, project.begin_run("reward", {}, 0) as run:
        (run.folder / "w").write_bytes(b"1")
        run.finish({}, Cost(), {"model": Path("w")})
    remove(folder / "heed.db", folder / "runs", folder / ".heed-database")
    with pytest.raises(ProjectError, match=r"before: artifacts/, heed\.lock tell") as caught:
        Project.open(folder)
    assert "delete artifacts/, heed.lock" in caught.value.fix


def test_a_project_that_never_had_one_is_given_a_database(folder: Path, tmp_path: Path) -> None:
    """Settings that came alone, as from a repository, and settings that name another database before any run."""
    (tmp_path / "clone").mkdir()
    shutil.copy(folder / "heed.yaml", tmp_path / "clone")
    with Project.open(tmp_path / "clone") as project:
        assert project.store.counts()["feedback"] == 0
    settings = folder / "heed.yaml"
    settings.write_text(settings.read_text().replace("heed.db", "other.db"))
    Project.open(folder).close()
    assert (folder / "other.db").is_file()


# Results of commands


def test_a_result_goes_into_ordinary_files_and_through_links_to_them(tmp_path: Path) -> None:
    assert result_file(tmp_path / "new.jsonl") == tmp_path / "new.jsonl"
    (tmp_path / "old.jsonl").write_text("old")
    (tmp_path / "link").symlink_to("old.jsonl")
    assert result_file(tmp_path / "link") == tmp_path / "old.jsonl"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to pipe").symlink_to("pipe")
    for name, why in (
        ("pipe", "no ordinary file"),
        ("to pipe", "no ordinary file"),
        (".", "it is a folder"),
        ("nowhere/x", "there is no folder"),
    ):
        with pytest.raises(DataError, match=why):
            result_file(tmp_path / name)
    with pytest.raises(DataError, match="no ordinary file"):
        result_file(Path("/dev/null"))


@pytest.mark.parametrize(
    "name",
    ["runs/x", "artifacts/ab/x", "heed.yaml", "heed.db", "heed.db-wal", ".heed-database", "report.html", "p/in.jsonl"],
)
def test_what_is_a_projects_own_is_never_replaced(tmp_path: Path, name: str) -> None:
    project = tmp_path / "mine"
    Project.create(project, SETTINGS.model_copy(update={"prompts": "p/in.jsonl"})).close()
    (project / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "link").symlink_to(project / name)
    for path in (project / name, tmp_path / "link"):
        with pytest.raises(DataError, match="itself needs"):
            result_file(path)
    assert result_file(project / "out.jsonl") == project / "out.jsonl"


def test_scores_and_exports_are_refused_before_any_work(folder: Path) -> None:
    write_lines(folder / "rows.jsonl", [{"prompt": "p", "completion": "c"}])
    before = (folder / "heed.yaml").read_bytes()
    for number, arguments in enumerate(
        (
            ["score", "--reward", "no/model", "--data", "rows.jsonl", "--out", "heed.yaml"],
            ["score", "--reward", "no/model", "--data", "rows.jsonl", "--out", "runs"],
            ["score", "--reward", "no/model", "--data", "gone.jsonl", "--out", "artifacts/x.jsonl"],
            ["feedback", "export", "runs/x.jsonl"],
            ["feedback", "export", "prompts.jsonl"],
        )
    ):
        log = folder.parent / f"log-{number}"
        process = start(command_line, folder, log, arguments)
        process.join(60)
        assert process.exitcode == 2
        assert log.read_text().startswith(f"error: cannot write {arguments[-1]}"), log.read_text()
    assert (folder / "heed.yaml").read_bytes() == before
    assert list((folder / "runs").iterdir()) == []
