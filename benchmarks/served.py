"""A heed server for the benchmarks: a project with people and items, the processes that serve it, and raters against it."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from heed.config import ProjectSettings
from heed.feedback import asked, items
from heed.feedback.forms import default_form
from heed.feedback.item_files import ItemRow
from heed.people import accounts, tokens
from heed.project import Project
from load import Plan

_HERE = Path(__file__).resolve().parent
_PATIENCE = 60.0
_PER_TRANSACTION = 1000
_ADDRESS = re.compile(r"http://[\d.]+:(\d+)")


@dataclass
class Site:
    """A project that can be served: its folder, a question, and API tokens of its raters and of its lead."""

    folder: Path
    question: str
    raters: tuple[str, ...]
    lead: str
    import_seconds: float


def row(number: int) -> ItemRow:
    """An item of usual length: a prompt of about 100 characters, two answers of about 300 with some markdown."""
    steps = "\n".join(f"{k}. Step {k} of way {number % 97}, which takes about {k * 7} minutes." for k in range(1, 6))
    return ItemRow(
        prompt=f"Question {number}: how do I get from here to place {number} before it is dark, and what should I take?",
        completions=(
            f"Leave by **{number % 12} o'clock** and take the way along the river.\n\n{steps}",
            f"I would not go to place {number} today. " + "It is far, and the way is steep and wet. " * 6,
        ),
        external_id=str(number),
        source="benchmark",
    )


def make_site(
    folder: Path, count: int, raters: int, database: str | None = None, overlap: int = 2, selector: str = "random"
) -> Site:
    """A project with a question of ``count`` items that ``selector`` hands out, and accounts."""
    values: dict[str, Any] = {"name": "benchmark", "model": "base"}
    if database is not None:
        values["database"] = database
    Project.create(folder, ProjectSettings(**values)).close()
    now, rng = datetime.now(UTC), random.Random(0)
    form = default_form().model_copy(update={"overlap": overlap, "selector": selector})
    with Project(folder) as project:
        store = project.store
        question = store.write(lambda c: asked.create_question(c, "which", form, "lead", now)).id
        made = [_token(store, f"rater {n}", "rater", ["rate"], now) for n in range(raters)]
        lead = _token(store, "lead", "lead", ["rate", "read", "manage"], now)
        start = time.perf_counter()
        for first in range(0, count, _PER_TRANSACTION):
            rows = [row(n) for n in range(first, min(count, first + _PER_TRANSACTION))]
            store.write(lambda c, rows=rows: items.add_items(c, question, rows, now, rng))  # type: ignore[misc]
        seconds = time.perf_counter() - start
    return Site(folder, question, tuple(made), lead, seconds)


def _token(store: Any, name: str, role: Any, scopes: list[Any], now: datetime) -> str:
    account = store.write(lambda c: accounts.create_account(c, name, role, "", now))
    secret: str = store.write(lambda c: tokens.make(c, account, "benchmark", scopes, 30, now)).secret
    return secret


class Server:
    """``heed serve`` on a port of its own.

    Attributes:
        port: it listens on.
        started: seconds from the command to the first page.
    """

    def __init__(self, folder: Path, workers: int = 1, port: int = 0) -> None:
        self._folder, self._workers = folder, workers
        self.port = port
        self.start()

    def start(self) -> None:
        """Start it (again), on the same port."""
        begun = time.perf_counter()
        heed = Path(sys.executable).with_name("heed")
        command = [str(heed), "serve", "--port", str(self.port), "--workers", str(self._workers)]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            command,
            cwd=self._folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            found = _ADDRESS.search(line)
            if found:
                self.port = int(found[1])
                break
        else:
            raise RuntimeError(f"heed serve ended with code {self.process.wait()}")
        self._wait()
        self.started = time.perf_counter() - begun

    def _wait(self) -> None:
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                self.get("/sign-in").close()
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)
            else:
                return

    def get(self, path: str, token: str | None = None) -> Any:
        """A response to read from."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=headers))

    def post(self, path: str, body: bytes, token: str) -> Any:
        """The JSON that a request is answered with."""
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/octet-stream"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body, headers, method="POST")
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read())

    def processes(self) -> list[int]:
        """Its process and all that it started."""
        found = [self.process.pid]
        for pid in found:
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                found += [int(child) for child in task.read_text().split()]
        return found

    def memory(self) -> float:
        """Megabytes that are its own, shared ones counted in parts."""
        total = 0
        for pid in self.processes():
            total += sum(
                int(n) for n in re.findall(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
            )
        return total / 1024

    def kill(self) -> None:
        """As ``kill -9`` of every process of it."""
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def kill_worker(self, rng: random.Random) -> None:
        """As ``kill -9`` of one of the processes that serve, of several; the others go on, and another takes its place."""
        os.kill(rng.choice(self.processes()[1:]), signal.SIGKILL)

    def stop(self) -> None:
        """End it as Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()


@contextmanager
def serving(folder: Path, workers: int = 1) -> Iterator[Server]:
    """A server that ends with the block."""
    server = Server(folder, workers)
    try:
        yield server
    finally:
        server.stop()


def begin_load(site: Site, server: Server, **changes: Any) -> subprocess.Popen[str]:
    """Raters at work, in a process of their own."""
    values: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": server.port,
        "question": site.question,
        "tokens": site.raters,
    }
    plan = Plan(**(values | changes))
    with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
        json.dump(asdict(plan), file)
    return subprocess.Popen([sys.executable, str(_HERE / "load.py"), file.name], stdout=subprocess.PIPE, text=True)


def end_load(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What came of it.

    Raises:
        RuntimeError: the process of the raters failed.
    """
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError("the load generator failed")
    found: dict[str, Any] = json.loads(output)
    return found
