"""Processes that race for the same items, on both databases, and one that is killed in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from judged_studio import Studio

from heed.feedback.store import Store
from heed.feedback.studio_schema import answers, showings
from heed.feedback.studio_schema import items as items_table

WORKER = """
import json, random, sys
from datetime import UTC, datetime
from heed.feedback import answers, queue
from heed.feedback.showings import Rater
from heed.feedback.store import Store

url, question, rater, group, endless = sys.argv[1:]
rng = random.Random(rater)
with Store.open(url) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    while True:
        now = datetime.now(UTC)
        claimed = store.write(lambda c: queue.claim(c, Rater(rater, group), question, now, rng, 2))
        if isinstance(claimed, queue.Nothing):
            if claimed.reason == "waiting" and not endless:
                continue
            break
        for showing in claimed.showings:
            said = {"better": {"choice": rng.choice(["left", "right"]), "strength": 1}}
            now = datetime.now(UTC)
            args = (said, None, 1.0, 1.0, "", now)
            receipt = store.write(lambda c: answers.answer(c, Rater(rater, group), showing.id, *args))
            print(json.dumps([showing.id, receipt.answer_id]), flush=True)
"""


def start(url: str, question: str, rater: str, group: str = "", endless: str = "") -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, url, question, rater, group, endless],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


def acknowledged(process: subprocess.Popen[str]) -> list[tuple[str, str]]:
    assert process.stdout is not None
    whole = [line for line in process.stdout if line.endswith("\n")]
    process.wait(timeout=60)
    return [tuple(json.loads(line)) for line in whole]


@pytest.mark.slow
@pytest.mark.parametrize("quota", [{}, {"east": 1}])
def test_processes_that_race_never_exceed_the_overlap_and_leave_nothing_undone(database_url: str, quota) -> None:
    with Store.open(database_url) as store:
        studio = Studio(store, now=datetime.now(UTC))
        question = studio.ask(40, overlap=2, group_quota=quota)
        names = [("ann", "east"), ("bob", "east"), ("cid", ""), ("dee", "")]
        for name, group in names:
            studio.rater(name, group)
        processes = [start(database_url, question, name, group) for name, group in names]
        go(*processes)
        receipts = [receipt for process in processes for receipt in acknowledged(process)]
        assert [process.returncode for process in processes] == [0, 0, 0, 0]
        studio.check()
        assert {item.answers for item in studio.rows(items_table)} == {2}
        assert {(a.showing_id, a.id) for a in studio.rows(answers)} == set(receipts)
        assert len(receipts) == 80
        if quota:
            by_item = [s.item_id for s in studio.rows(showings, showings.c.group_name == "east")]
            assert len(set(by_item)) == len(by_item)


def test_what_a_killed_process_acknowledged_is_there_once_and_its_leases_end(database_url: str) -> None:
    with Store.open(database_url) as store:
        studio = Studio(store, now=datetime.now(UTC))
        question = studio.ask(2000, overlap=1)
        for name in ("ann", "bob"):
            studio.rater(name)
        processes = [start(database_url, question, name, "", "endless") for name in ("ann", "bob")]
        go(*processes)
        said = []
        for process in processes:
            assert process.stdout is not None
            said += [tuple(json.loads(process.stdout.readline())) for _ in range(15)]
        for process in processes:
            process.send_signal(signal.SIGKILL)
        said += [receipt for process in processes for receipt in acknowledged(process)]
        stored = [(a.showing_id, a.id) for a in studio.rows(answers)]
        assert len(set(stored)) == len(stored)
        assert set(said) <= set(stored)
        # At most the answer under way when the signal came is stored and was not acknowledged.
        assert len(stored) <= len(said) + 2
        studio.check()
        studio.now = datetime.now(UTC) + timedelta(minutes=16)
        studio.sweep()
        assert studio.rows(showings, showings.c.state == "leased") == []
        studio.check()
