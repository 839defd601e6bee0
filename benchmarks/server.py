"""How the studio holds up under load: 50 raters, an import meanwhile, PostgreSQL, killed processes, an export, and a peer.

    python benchmarks/server.py [--only ROW ...] [--items N] [--seconds S] [--kills N] [--answers N] [--no-peer]

The raters run on the same machine, in a process of their own (``load.py``). Figures of latency are 95th percentiles over all
requests of a run, with a bootstrap interval over them.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import func, select

import label_studio
from common import Report, Row, median_interval, report
from heed.feedback import answers, leases, queue
from heed.feedback.census import Census
from heed.feedback.showings import Rater
from heed.feedback.studio_schema import answers as answers_table
from heed.feedback.studio_schema import showings
from heed.project import Project
from served import Server, Site, begin_load, end_load, make_site, row, serving

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
postgres: Any = import_module("postgres")  # which the tests start as well

_RATERS = 50
_STARTS = 5
_LOADED = 4.0
"""Seconds after its first page in which a server has loaded all that it needs for the others."""
_WORKERS = 4
_DRAWS = 200


@dataclass(frozen=True)
class Size:
    """How large a run is: ``items`` there and imported, ``seconds`` of each load, ``kills``, ``answers`` to export."""

    items: int
    seconds: float
    kills: int
    answers: int


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="heed-bench-") as name:
        yield Path(name) / "project"


def percentile(values: list[float], share: float = 95.0) -> tuple[float, float, float]:
    """A percentile and its 95 % bootstrap interval."""
    array = np.asarray(values)
    rng = np.random.default_rng(0)
    drawn = [float(np.percentile(rng.choice(array, array.size), share)) for _ in range(_DRAWS)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(np.percentile(array, share)), float(low), float(high)


def latency_rows(name: str, found: dict[str, Any], targets: tuple[float, float], rows: Report) -> None:
    """95th percentiles of the requests for an item and of the answers, and the most they may be (milliseconds)."""
    for kind, target in zip(("next", "submit"), targets, strict=True):
        if not found[kind]:
            rows.skip(f"{name}: {kind} p95", f"no request succeeded: {found['errors'][:1]}")
            continue
        value, low, high = percentile(found[kind])
        details = {"p50": float(np.median(found[kind])), "p99": float(np.percentile(found[kind], 99))}
        details |= {"requests": len(found[kind]), "errors": len(found["errors"])}
        label = f"{name}: {kind} p95"
        rows.add(Row(label, value, "ms", low, high, target, "most", (0,), found["seconds"], details))


def _rate_rows(name: str, found: dict[str, Any], target: float, rows: Report) -> float:
    rate = len(found["submit"]) / found["seconds"]
    details = {"errors": len(found["errors"]), "first_error": (found["errors"] or [""])[0][:120]}
    rows.add(Row(f"{name}: answers", rate, "/s", target=target, seeds=(0,), seconds=found["seconds"], details=details))
    wrong = float(len(found["errors"]))
    rows.add(Row(f"{name}: errors", wrong, "requests", target=0, at="most", seeds=(0,), seconds=found["seconds"]))
    return rate


# The figures


def start_up(size: Size, rows: Report) -> None:
    """From the command to the first page, and what the server then holds."""
    with _folder() as folder:
        make_site(folder, 0, 1)
        times, memory, begun = [], 0.0, time.monotonic()
        for _ in range(_STARTS):
            with serving(folder) as server:
                times.append(server.started)
                time.sleep(_LOADED)  # what the first page did not need comes after it, and counts
                memory = max(memory, server.memory())
    value, low, high = median_interval(lambda own: own, times)
    spent = time.monotonic() - begun
    rows.add(Row("start to first page", value, "s", low, high, 1.0, "most", seconds=spent))
    rows.add(Row("memory idle", memory, "MB", target=150.0, at="most", seconds=spent))


def load(size: Size, rows: Report) -> None:
    """Raters once a second; as fast as they can; once a second while as many items again are imported."""
    with _folder() as folder:
        site = make_site(folder, size.items, _RATERS)
        imported = size.items / site.import_seconds
        rows.add(Row("import by Python", imported, "items/s", target=5000, seconds=site.import_seconds))
        with serving(folder) as server:
            steady = end_load(begin_load(site, server, every=1.0, seconds=size.seconds))
            latency_rows("50 raters", steady, (60.0, 100.0), rows)
            fast = end_load(begin_load(site, server, every=0.0, seconds=size.seconds))
            _rate_rows("50 raters at full speed", fast, 200.0, rows)
            _while_importing("50 raters", size, site, server, rows)
            _import_alone("import of a file through the server", size, site, server, rows)
            rows.add(Row("memory after load", server.memory(), "MB"))


def _send_items(site: Site, server: Server, first: int, count: int) -> str:
    """Begin an import of a file of items by HTTP; the job's id."""
    lines = (json.dumps(_as_line(number)) for number in range(first, first + count))
    path = f"/api/v1/imports?kind=items&format=lines&question_id={site.question}&name=items.jsonl"
    identity: str = server.post(path, ("\n".join(lines) + "\n").encode(), site.lead)["id"]
    return identity


def _import_alone(name: str, size: Size, site: Site, server: Server, rows: Report) -> None:
    """A file by HTTP while nobody works: how quickly a lead's items are there."""
    count = max(1, size.items // 4)
    begun = time.perf_counter()
    job = _send_items(site, server, 2 * size.items, count)
    while True:
        with server.get(f"/api/v1/jobs/{job}", site.lead) as answer:
            found = json.loads(answer.read())
        if found["state"] == "failed":
            raise RuntimeError(f"the import failed: {found['error']}")
        if found["state"] == "done":
            break
        time.sleep(0.1)
    seconds = time.perf_counter() - begun
    rows.add(Row(name, count / seconds, "items/s", target=5000, seconds=seconds))


def _while_importing(name: str, size: Size, site: Site, server: Server, rows: Report) -> None:
    begun = time.perf_counter()
    job = _send_items(site, server, size.items, size.items)
    raters = begin_load(site, server, every=1.0, seconds=size.seconds)
    done, ended = 0, 0.0
    while raters.poll() is None or not ended:
        with server.get(f"/api/v1/jobs/{job}", site.lead) as answer:
            found = json.loads(answer.read())
        if found["state"] == "failed":
            raise RuntimeError(f"the import failed: {found['error']}")
        done = found["done"]
        if not ended and found["state"] == "done":
            ended = time.perf_counter() - begun
        time.sleep(0.5)
    latency_rows(f"{name} during an import", end_load(raters), (100.0, 150.0), rows)
    rows.add(Row(f"{name}: import meanwhile", done / ended, "items/s", seconds=ended))


def _as_line(number: int) -> dict[str, Any]:
    item = row(number)
    return {"prompt": item.prompt, "completions": item.completions, "external_id": item.external_id}


def on_postgresql(size: Size, rows: Report, on_sqlite: float | None) -> None:
    """The same on PostgreSQL, with several processes; ``on_sqlite``: answers a second at full speed there, if measured."""
    name = f"PostgreSQL, {_WORKERS} processes"
    if reason := postgres.missing():
        rows.skip(name, reason)
        return
    with postgres.cluster(durable=True) as cluster, _folder() as folder:
        site = make_site(folder, size.items, _RATERS, cluster.fresh())
        imported = size.items / site.import_seconds
        rows.add(Row("import by Python, PostgreSQL", imported, "items/s", target=5000, seconds=site.import_seconds))
        with serving(folder, _WORKERS) as server:
            steady = end_load(begin_load(site, server, every=1.0, seconds=size.seconds))
            latency_rows(f"50 raters, {name}", steady, (60.0, 100.0), rows)
            fast = end_load(begin_load(site, server, every=0.0, seconds=size.seconds))
            rate = _rate_rows(f"50 raters at full speed, {name}", fast, 200.0, rows)
            if on_sqlite is not None:
                rows.add(Row(f"{name}, beside SQLite: answers", rate / on_sqlite, "times", target=1.0, seeds=(0,)))
            _while_importing(f"50 raters, {name}", size, site, server, rows)
            _import_alone(f"import of a file through the server, {name}", size, site, server, rows)


def kills(size: Size, rows: Report) -> None:
    """A server that is killed again and again while raters work; what they were told, and what is there."""
    with _folder() as folder:
        site = make_site(folder, size.items, _RATERS)
        _kill(site, Server(folder), _kill_and_start, size, "SQLite", rows)
    if reason := postgres.missing():
        rows.skip("killed processes, PostgreSQL", reason)
        return
    with postgres.cluster(durable=True) as cluster, _folder() as folder:
        site = make_site(folder, size.items, _RATERS, cluster.fresh())
        _kill(site, Server(folder, _WORKERS), Server.kill_worker, size, "PostgreSQL", rows)


def _kill_and_start(server: Server, _rng: random.Random) -> None:
    server.kill()
    server.start()


def _kill(
    site: Site, server: Server, strike: Callable[[Server, random.Random], None], size: Size, name: str, rows: Report
) -> None:
    rng, begun = random.Random(0), time.monotonic()
    log = site.folder.parent / "acknowledged"
    log.touch()
    try:
        for _ in range(size.kills):
            plan = {"every": 0.0, "seconds": 3.0, "acknowledged": str(log), "tries_again": True}
            raters = begin_load(site, server, **plan)
            time.sleep(rng.uniform(0.7, 2.0))
            strike(server, rng)
            end_load(raters)
    finally:
        server.stop()
    told = log.read_text(encoding="ascii").split()
    with Project(site.folder) as project:
        project.store.write(lambda c: _sweep_all(c, datetime.now(UTC) + timedelta(days=1)))
        with project.store.reading() as connection:
            said = list(connection.scalars(select(answers_table.c.showing_id)))
            stuck = connection.scalar(select(func.count()).where(showings.c.state == "leased")) or 0
    lost, double = len(set(told) - set(said)), len(said) - len(set(said))
    details = {"lost": lost, "double": double, "stuck": stuck, "acknowledged": len(told), "kills": size.kills}
    wrong = float(lost + double + stuck)
    spent = time.monotonic() - begun
    rows.add(
        Row(f"killed processes, {name}: wrong", wrong, "answers", target=0, at="most", seconds=spent, details=details)
    )


def _sweep_all(connection: Any, now: datetime) -> None:
    while leases.sweep(connection, now):
        pass


def export(size: Size, rows: Report) -> None:
    """Every answer there is, as a stream; and how much the server grows meanwhile."""
    with _folder() as folder:
        site = make_site(folder, -(-size.answers // 2), _RATERS)
        _answer_all(site, size.answers)
        with serving(folder) as server:
            before, most, lines = server.memory(), 0.0, 0
            begun = time.perf_counter()
            with server.get("/api/v1/export?what=answers&format=lines", site.lead) as stream:
                looked = 0.0
                for _ in stream:
                    lines += 1
                    if time.perf_counter() - looked > 0.5:
                        most, looked = max(most, server.memory()), time.perf_counter()
            seconds = time.perf_counter() - begun
    details = {"rows": lines}
    rows.add(Row(f"export of {size.answers:,} answers", seconds, "s", target=20.0, at="most", details=details))
    rows.add(Row("memory that an export adds", max(0.0, most - before), "MB", target=30.0, at="most"))
    if lines != size.answers:
        raise RuntimeError(f"{lines} rows came of {size.answers} answers")


def _answer_all(site: Site, count: int) -> None:
    now, rng, done, census = datetime.now(UTC), random.Random(0), 0, Census()
    raters = [Rater(f"rater {number}") for number in range(_RATERS)]

    def some(connection: Any) -> int:
        given = 0
        for number in range(min(1000, count - done)):
            who = raters[number % _RATERS]
            claimed = queue.claim(connection, who, site.question, now, rng, 1, census)
            if isinstance(claimed, queue.Claimed):
                said = {"better": {"choice": rng.choice(["left", "right"]), "strength": 1}}
                answers.answer(connection, who, claimed.showings[0].id, said, None, 5.0, 4.0, "", now)
                given += 1
        return given

    with Project(site.folder) as project:
        while done < count:
            given = project.store.write(some)
            if not given:
                raise RuntimeError(f"only {done} of {count} answers could be given")
            done += given


def beside_label_studio(size: Size, rows: Report) -> None:
    """The peer's own numbers from its own script, and heed's at the same numbers of raters."""
    name = "Label Studio 1.23.2"
    begun = time.monotonic()
    peer = label_studio.measure()
    if peer.missing:
        rows.skip(f"{name}", peer.missing)
        return
    with _folder() as folder:
        site = make_site(folder, label_studio.ITEMS, _RATERS)
        with serving(folder) as server:
            one = end_load(begin_load(site, server, every=0.0, seconds=size.seconds, tokens=site.raters[:1]))
            fifty = end_load(begin_load(site, server, every=0.0, seconds=size.seconds))
    spent = time.monotonic() - begun
    for kind in ("next", "submit"):
        theirs, ours = peer.loads[1][kind]["p50_ms"], float(np.median(one[kind]))
        details = {"heed_ms": ours, "peer_ms": theirs}
        rows.add(Row(f"{name}, 1 rater: {kind}", theirs / ours, "times", target=5.0, seconds=spent, details=details))
    rate, theirs = len(fifty["submit"]) / fifty["seconds"], peer.loads[50]["answers_per_s"]
    details = {"heed_per_s": rate, "peer_per_s": theirs, "peer_errors": peer.loads[50]["errors"]}
    rows.add(Row(f"{name}, 50 raters: answers", rate / theirs, "times", target=50.0, seconds=spent, details=details))


NAMES = ("start", "load", "postgresql", "kills", "export", "peer")


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=NAMES, metavar="ROW", help=f"one of: {', '.join(NAMES)}")
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=30.0, help="of each load")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--answers", type=int, default=100_000, help="to export")
    parser.add_argument("--no-peer", action="store_true", help="leave Label Studio out")
    options = parser.parse_args(arguments)
    whole = not arguments
    size = Size(options.items, options.seconds, options.kills, options.answers)
    chosen = [name for name in options.only or NAMES if not (name == "peer" and options.no_peer)]
    rows = report("server", whole)
    for name in chosen:
        if name == "postgresql":
            reached = [one.value for one in rows.rows if one.what == "50 raters at full speed: answers"]
            on_postgresql(size, rows, reached[0] if reached else None)
        else:
            figures = {"start": start_up, "load": load, "kills": kills, "export": export, "peer": beside_label_studio}
            figures[name](size, rows)
    rows.finish()


if __name__ == "__main__":
    main(sys.argv[1:])
