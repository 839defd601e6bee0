"""Standard streams as a shell may give them: closed, full, cut off, in an encoding that lacks characters."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from heed.config import ProjectSettings
from heed.project import Cost, Project

HEED = f"{sys.executable} -c 'from heed.cli import main; main()'"


def shell(folder: Path, command: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    return subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, timeout=60, env=environment)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    with Project.create(tmp_path / "p", ProjectSettings(name="p", model="nobody/none")) as made:
        for number in range(40):
            with made.begin_run("sample", {"n": number}, seed=1) as run:
                run.finish({}, Cost())
    return tmp_path / "p"


def test_closed_streams_are_no_error_and_no_file_takes_their_place(project: Path) -> None:
    database = (project / "heed.db").read_bytes()
    for closed in (">&-", "2>&-", "<&-", "<&- >&- 2>&-"):
        done = shell(project, f"{HEED} runs --json {closed}")
        assert done.returncode == 0, done.stderr
        assert b"Traceback" not in done.stderr
        assert bool(done.stdout) == (">&-" not in closed.replace("2>&-", ""))
    # Without the three, the database would have been opened as standard output.
    assert (project / "heed.db").read_bytes() == database
    assert shell(project, f"{HEED} nonsense >&- 2>&-").returncode == 2


@pytest.mark.parametrize("command", ["runs --json", "--version", "--help"])
def test_an_output_without_room_is_an_error_in_words(project: Path, command: str) -> None:
    done = shell(project, f"{HEED} {command} > /dev/full")
    assert done.returncode == 2
    lines = done.stderr.decode().splitlines()
    assert [line.split(":")[0] for line in lines] == ["error", "why", "fix"]
    assert "standard output" in lines[0]
    assert "no space left" in lines[1]


def test_messages_without_room_do_not_stop_the_work(project: Path) -> None:
    done = shell(project, f"{HEED} feedback export out.jsonl --format trl 2> /dev/full")
    assert (done.returncode, done.stdout) == (0, b"0 judgments in out.jsonl\n")
    assert shell(project, f"{HEED} nonsense 2> /dev/full").returncode == 2


@pytest.mark.parametrize("command", ["runs", "runs --json", "trace sample-1"])
def test_a_reader_that_has_seen_enough_ends_the_program_quietly(project: Path, command: str) -> None:
    # What is left in the pipe is more than it holds, or is written after the reader is gone.
    done = shell(project, f"({HEED} {command}; echo $? >&2) | sleep 0")
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr
    assert done.stderr.strip() in (b"0", b"1")


def test_a_character_that_the_output_lacks_is_shown_by_its_code(project: Path) -> None:
    done = shell(project, f"{HEED} trace 漢", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 2
    assert b"\\u6f22" in done.stderr


def test_a_folder_that_is_gone_is_told_by_every_command(tmp_path: Path) -> None:
    for command in ("runs", "doctor", "init x --sandbox", "chat --model x", "train sft --model m --data d --out o"):
        done = shell(tmp_path, f"mkdir d; cd d; rmdir ../d; {HEED} {command}")
        assert done.returncode == 2, done.stderr
        assert done.stderr.startswith(b"error: the current folder\n")
        assert b"deleted" in done.stderr
    assert shell(tmp_path, f"mkdir d; cd d; rmdir ../d; {HEED} --help").returncode == 0


def test_what_the_system_refuses_is_told_in_words(tmp_path: Path) -> None:
    """Where no command has words of its own: here a name that is longer than any file's."""
    command = f"{HEED} init p --model {'x' * 5000} --prompts f"
    done = shell(tmp_path, command)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
    assert b"file name too long" in done.stderr
    assert len(done.stderr) < 3000
    assert b"Traceback" in shell(tmp_path, command, HEED_DEBUG="1").stderr
