"""Projects: folders, locks between real processes, runs that die and go on, artifacts by content."""

from __future__ import annotations

import errno
import os
import re
import signal
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from heed import files
from heed.config import ProjectSettings, load_settings
from heed.errors import ConfigError, DataError, ProjectError
from heed.feedback.kinds import Demonstration
from heed.feedback.schema import HEAD
from heed.lock import FileLock
from heed.project import Cost, Project
from heed.runs import code_version, plain
from heed.terminal import doctor

SETTINGS = ProjectSettings(name="mine", model="some/model")


@pytest.fixture
def project(tmp_path):
    with Project.create(tmp_path / "mine", SETTINGS) as made:
        yield made


def python(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


HOLDER = """
    import sys
    from heed.project import Project
    project = Project.open(sys.argv[1])
    run = project.begin_run("reward", {"rate": 0.1}, seed=3)
    print(run.id, run.resumed, flush=True)
    sys.stdin.read()
"""


def start_holder(project: Project) -> subprocess.Popen[str]:
    """Another process in the middle of a run of stage "reward"."""
    process = python(HOLDER, str(project.folder))
    assert process.stdout is not None
    assert process.stdout.readline().split() == ["reward-1", "False"]
    return process


# Folders


def test_create_writes_settings_that_read_back_and_open_finds_them_from_below(project):
    assert load_settings(project.folder / "heed.yaml") == SETTINGS
    below = project.folder / "runs" / "deep"
    below.mkdir()
    with Project.open(below) as found:
        assert (found.folder, found.settings) == (project.folder, SETTINGS)
    assert (project.folder / "heed.db").is_file()


def test_create_refuses_what_is_there(project, tmp_path):
    with pytest.raises(ProjectError, match="project already"):
        Project.create(project.folder, SETTINGS)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("precious")
    with pytest.raises(ProjectError, match="not empty"):
        Project.create(tmp_path / "full", SETTINGS)
    assert [entry.name for entry in (tmp_path / "full").iterdir()] == ["thesis.txt"]
    with pytest.raises(ProjectError, match="it is a file"):
        Project.create(tmp_path / "full" / "thesis.txt", SETTINGS)


def test_a_project_that_cannot_be_made_leaves_an_empty_folder(tmp_path):
    with pytest.raises(ProjectError, match="folder is missing"):
        Project.create(tmp_path / "mine", SETTINGS.model_copy(update={"database": "sqlite:///nowhere/heed.db"}))
    assert list((tmp_path / "mine").iterdir()) == []
    Project.create(tmp_path / "mine", SETTINGS).close()


def test_no_project_and_broken_settings_are_told(project, tmp_path):
    with pytest.raises(ProjectError, match="heed init"):
        Project.open(tmp_path)
    (project.folder / "heed.yaml").write_text("name: mine\nmodel: m\nsede: 1\n")
    with pytest.raises(ConfigError, match="Did you mean 'seed'"):
        Project.open(project.folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_place_is_refused(tmp_path):
    (tmp_path / "closed").mkdir(mode=0o555)
    with pytest.raises(ProjectError, match="may not write"):
        Project.create(tmp_path / "closed" / "mine", SETTINGS)


@pytest.mark.parametrize("place", ["/proc/mine", "/dev/full/mine"])
@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc and /dev")
def test_a_place_where_no_folder_can_be_made_is_told(place):
    with pytest.raises(ProjectError):
        Project.create(place, SETTINGS)


@pytest.mark.parametrize(
    ("number", "why"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only"), (errno.EACCES, "may not write")]
)
def test_errors_of_the_file_system_say_what_to_do(number, why):
    with pytest.raises(ProjectError, match=why), files.file_errors("folder x"):
        raise OSError(number, os.strerror(number), "x")


def test_a_text_is_written_whole_or_not_at_all(tmp_path):
    target = tmp_path / "heed.yaml"
    files.write_text(target, "old")
    with pytest.raises(UnicodeEncodeError):
        files.write_text(target, "new \ud800")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_database_that_vanished_under_its_runs_is_not_replaced_by_an_empty_one(project):
    project.begin_run("sample", {}, 0).finish({}, Cost())
    project.close()
    for suffix in ("-wal", "-shm", ""):
        (project.folder / f"heed.db{suffix}").unlink(missing_ok=True)
    with pytest.raises(ProjectError, match=r"heed\.db: it is missing"):
        Project.open(project.folder)
    (project.folder / "heed.db").touch()
    with pytest.raises(ProjectError, match=r"heed\.db: it is empty"):
        Project.open(project.folder)


# One writer


def test_a_second_process_is_refused_and_told_which_one_writes(project):
    holder = start_holder(project)
    with pytest.raises(ProjectError, match=rf"process {holder.pid} on .* kill -INT {holder.pid}"), project.lock():
        pass
    with pytest.raises(ProjectError, match=f"process {holder.pid} "):
        project.begin_run("sample", {}, 0)
    assert [(run.id, run.state) for run in project.runs()] == [("reward-1", "running")]  # readers see it at work
    kill(holder)
    with project.lock(), project.lock():
        pass
    assert [(run.id, run.state) for run in project.runs()] == [("reward-1", "interrupted")]


def test_two_projects_in_one_process_do_not_write_together(project):
    with Project.open(project.folder) as second:
        with project.lock(), pytest.raises(ProjectError, match="this very process"), second.lock():
            pass
        with second.lock():
            pass


def test_a_forked_worker_does_not_keep_the_lock_of_its_killed_parent(project):
    code = """
        import os, sys, time
        from heed.project import Project
        project = Project.open(sys.argv[1])
        project.begin_run("reward", {}, 0)
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        print(child, flush=True)
        sys.stdin.read()
    """
    parent = python(code, str(project.folder))
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    try:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        with project.lock():
            os.kill(child, 0)  # still alive
    finally:
        os.kill(child, signal.SIGKILL)
        parent.communicate()


def test_readers_who_ask_for_the_owner_never_make_a_writer_fail(tmp_path):
    path = tmp_path / "heed.lock"
    path.touch()
    reader = python(
        "import sys, fcntl\nf = open(sys.argv[1])\nwhile True: fcntl.flock(f, 1); fcntl.flock(f, 8)", str(path)
    )
    try:
        lock = FileLock(path, "project", "Use one.")
        for _ in range(50):
            lock.acquire()
            lock.release()
    finally:
        kill(reader)
    assert lock.owner() is None


# Runs


def test_run_ids_count_within_their_stage(project):
    for stage, expected in (("sample", "sample-1"), ("reward", "reward-1"), ("sample", "sample-2")):
        with project.begin_run(stage, {"for": expected}, 0) as run:
            assert (run.id, run.folder, run.folder.is_dir()) == (expected, project.folder / "runs" / expected, True)
            run.finish({}, Cost())
    with pytest.raises(ValueError, match="no name of a stage"):
        project.begin_run("../evil", {}, 0)


def test_a_run_keeps_what_it_was_made_of_and_what_it_found(project):
    begun = datetime.now(UTC)
    parent = project.begin_run("sample", {}, 0)
    parent.finish({}, Cost(tokens=5))
    config = {"rate": 0.1, "layers": (1, 2), "path": Path("a/b"), "count": np.int64(3)}
    with project.begin_run("reward", config, 7, [parent.id], round=2) as run:
        run.finish({"accuracy": np.float32(0.5), "ece": float("nan"), "curve": [1.0, float("inf")]}, Cost(3, 4, 5.5))
    record = project.run("reward-1")
    assert record.config == {"rate": 0.1, "layers": [1, 2], "path": "a/b", "count": 3}
    assert record.metrics == {"accuracy": 0.5, "ece": "nan", "curve": [1.0, "inf"]}
    assert (record.seed, record.round, record.parents, record.state) == (7, 2, ("sample-1",), "done")
    assert (record.cost, record.error, record.version) == (Cost(3, 4, 5.5), "", code_version())
    assert record.ended is not None
    assert begun <= record.started <= record.ended <= datetime.now(UTC)


def test_a_finished_run_is_returned_and_done_again_only_if_asked(project):
    project.begin_run("sample", {"n": 1}, 0).finish({"kl": 1.5}, Cost())
    again = project.begin_run("sample", {"n": 1}, 0)
    assert (again.id, again.state, again.metrics, again.resumed) == ("sample-1", "done", {"kl": 1.5}, False)
    with pytest.raises(RuntimeError, match="done"):
        again.finish({}, Cost())
    fresh = project.begin_run("sample", {"n": 1}, 0, fresh=True)
    assert (fresh.id, fresh.state) == ("sample-2", "running")
    fresh.stop()
    assert project.begin_run("sample", {"n": 1}, 0, fresh=True).id == "sample-2"  # unfinished: gone on with


def test_anything_that_changes_the_work_makes_another_run(project):
    project.begin_run("sample", {}, 0).finish({}, Cost())
    prompt = project.store.add_prompts([("p", "train", "")])[0]
    said = Demonstration(rater="ann", prompt_id=prompt, text="t", created=datetime.now(UTC))
    project.store.add_feedback([said])
    requests = [
        {"config": {"a": 1, "b": 2}},
        {"config": {"a": 1, "b": 3}},
        {"config": {"a": 1, "b": 2}, "seed": 1},
        {"config": {"a": 1, "b": 2}, "parents": ["sample-1"]},
        {"config": {"a": 1, "b": 2}, "feedback_ids": [said.id]},
        {"config": {"a": 1, "b": 2}, "round": 1},
    ]
    ids = [project.begin_run(**{"stage": "reward", "seed": 0} | request).id for request in requests]
    assert ids == [f"reward-{count}" for count in range(1, 7)]
    assert project.begin_run("reward", {"b": 2, "a": 1}, 0).id == "reward-1"  # the order of keys means nothing
    assert [run.feedback for run in project.runs() if run.feedback] == [1]


def test_unknown_parents_and_feedback_are_refused_and_leave_no_run(project):
    with pytest.raises(ProjectError, match="policy-9"):
        project.begin_run("reward", {}, 0, ["policy-9"])
    with pytest.raises(DataError, match="f0123456789abcdef"):
        project.begin_run("reward", {}, 0, feedback_ids=["f0123456789abcdef"])
    assert project.runs() == []
    with Project.open(project.folder) as second, second.lock():
        pass  # the refused ones have let go of the lock


def test_a_killed_run_is_shown_interrupted_and_resumed_with_its_costs(project):
    code = HOLDER.replace("print(", "run.add_cost(__import__('heed.project').project.Cost(1, 20, 3.0)); print(")
    holder = python(code, str(project.folder))
    assert holder.stdout is not None
    holder.stdout.readline()
    kill(holder)
    record = project.run("reward-1")
    assert (record.state, record.cost) == ("interrupted", Cost(1, 20, 3.0))
    with project.begin_run("reward", {"rate": 0.1}, seed=3) as run:
        assert (run.id, run.resumed, run.folder) == ("reward-1", True, record.folder)
        run.finish({}, Cost(1, 30, 4.0))
    resumed = project.run("reward-1")
    assert (resumed.state, resumed.cost, resumed.started) == ("done", Cost(2, 50, 7.0), record.started)


def test_errors_and_ctrl_c_end_a_run_and_free_the_project(project):
    with pytest.raises(ZeroDivisionError), project.begin_run("policy", {}, 0):
        _ = 1 / 0
    failed = project.run("policy-1")
    assert (failed.state, failed.error) == ("failed", "ZeroDivisionError: division by zero")
    with Project.open(project.folder) as second, second.begin_run("policy", {}, 0) as run:
        assert (run.id, run.resumed, second.run(run.id).error) == ("policy-1", True, "")
        run.stop(Cost(seconds=1.0))
    with pytest.raises(KeyboardInterrupt), project.begin_run("policy", {}, 0):
        raise KeyboardInterrupt
    assert (project.run("policy-1").state, project.run("policy-1").cost.seconds) == ("stopped", 1.0)
    with pytest.raises(RuntimeError, match="without finish"), project.begin_run("policy", {}, 0):
        pass
    assert project.run("policy-1").state == "failed"


def test_a_run_abandoned_in_a_notebook_is_resumed_and_the_lock_let_go_in_the_end(project):
    project.begin_run("sft", {}, 0)
    run = project.begin_run("sft", {}, 0)
    assert (run.id, run.resumed) == ("sft-1", True)
    run.finish({}, Cost())
    with Project.open(project.folder) as second, second.lock():
        pass


def test_latest_is_the_newest_in_that_state(project):
    assert project.latest("sample") is None
    for number in range(3):
        project.begin_run("sample", {"n": number}, 0).finish({}, Cost())
    project.begin_run("sample", {"n": 3}, 0).fail("no memory")
    done, failed = project.latest("sample"), project.latest("sample", "failed")
    assert done is not None
    assert failed is not None
    assert (done.id, failed.id, failed.error) == ("sample-3", "sample-4", "no memory")
    assert project.latest("policy") is None
    with pytest.raises(ProjectError, match="sample-9"):
        project.run("sample-9")


def test_what_has_no_plain_form_is_refused_before_the_run_begins(project):
    with pytest.raises(TypeError, match="object"):
        project.begin_run("sample", {"x": object()}, 0)
    assert project.runs() == []
    assert plain({"a": (True, None, 1.5, "x")}) == {"a": [True, None, 1.5, "x"]}


def test_the_code_version_names_the_package_and_a_commit_or_a_hash():
    assert re.fullmatch(
        r"\d+\.\d+\.\d+\+(g[0-9a-f]{12}(\.changed\.[0-9a-f]{12})?|source\.[0-9a-f]{12})", code_version()
    )


def test_the_database_refuses_a_run_state_that_does_not_exist(project):
    project.begin_run("sample", {}, 0).finish({}, Cost())
    with (
        closing(sqlite3.connect(project.folder / "heed.db")) as shell,
        pytest.raises(sqlite3.IntegrityError, match="ck_runs_state"),
    ):
        shell.execute("UPDATE runs SET state = 'nearly'")


def test_the_error_of_a_run_is_kept_whatever_is_in_it(project):
    """A message names files, and a file's name is bytes that may be no text; or it holds a value from outside."""
    project.begin_run("sft", {}, 0).fail(f"cannot read \udcff\x00{'x' * 10**6}")
    error = project.run("sft-1").error
    assert error.startswith("cannot read \\udcff\\x00xxx")
    assert len(error) <= 10_000


@pytest.mark.parametrize("name", ["a?b=c", "a%41", "a#b", "a b", "a:b@c", "é漢", "[a]"])
def test_a_project_stays_in_its_folder_whatever_that_is_called(tmp_path, name):
    with Project.create(tmp_path / name, ProjectSettings(name="p", model="some/model")) as made:
        made.store.add_prompts([("a", None, "")])
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
    with Project.open(tmp_path / name) as opened:
        assert len(opened.store.prompts()) == 1
    assert f"sqlite, schema {HEAD}" in [check.detail for check in doctor._project(tmp_path / name)]


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:", "sqlite:///", "sqlite+pysqlite:///heed.db", "mysql://x", "", "x"]
)
def test_a_database_that_heed_does_not_keep_is_refused(project, url):
    text = (project.folder / "heed.yaml").read_text()
    (project.folder / "heed.yaml").write_text(text.replace("sqlite:///heed.db", f"'{url}'"))
    with pytest.raises(ProjectError, match=r"sqlite:///heed\.db"):
        Project.open(project.folder)
