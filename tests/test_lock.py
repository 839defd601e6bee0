"""Locks of files that their holders delete: never two holders, whoever comes and goes. (More on locks in test_project.py.)"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from heed.errors import ProjectError
from heed.lock import FileLock

CONTENDER = """
import os, sys, time
from pathlib import Path
from heed.errors import ProjectError
from heed.lock import FileLock

folder, held = Path(sys.argv[1]), 0
lock = FileLock(folder / "lock", "folder", "wait")
deadline = time.monotonic() + 60
while held < 40 and time.monotonic() < deadline:
    try:
        lock.acquire()
    except ProjectError:  # another had it for longer than anyone waits
        continue
    os.close(os.open(folder / "inside", os.O_CREAT | os.O_EXCL))
    time.sleep(0.001)
    held += 1
    os.unlink(folder / "inside")
    lock.release(remove=True)
print(held)
"""


def test_of_many_processes_that_delete_the_file_one_holds_it_at_a_time(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CONTENDER, str(tmp_path)]
    contenders = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in "abc"]
    ends = [contender.communicate(timeout=90) for contender in contenders]
    assert [out for out, _ in ends] == ["40\n"] * 3, [error for _, error in ends]
    assert list(tmp_path.iterdir()) == []


def test_two_locks_of_one_process_on_one_file_exclude_each_other(tmp_path: Path) -> None:
    first, second = (FileLock(tmp_path / "lock", "folder x", "Use one.") for _ in range(2))
    first.acquire()
    with pytest.raises(ProjectError, match=r"folder x: this very process is writing to it already\. Use one\."):
        second.acquire()
    first.release(remove=True)
    assert not (tmp_path / "lock").exists()
    second.acquire()
    assert second.held
    second.release()
    assert (tmp_path / "lock").exists()


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_lock_that_is_no_file_of_its_own_is_refused(tmp_path: Path, kind: str) -> None:
    victim, path = tmp_path / "victim", tmp_path / "lock"
    victim.write_text("mine")
    if kind == "link":
        path.symlink_to(victim)
    else:
        os.mkfifo(path)
    lock = FileLock(path, "here", "wait")
    assert lock.owner() is None
    with pytest.raises(ProjectError, match="here"):
        lock.acquire()
    assert victim.read_text() == "mine"
