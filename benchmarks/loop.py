"""What the loop reaches: the demonstration on the built-in world, and the real model of ``stories.py``.

    python benchmarks/loop.py [--only demo|stories] [--seed N ...]

Every seed of the demonstration runs in an empty folder; the first one with an empty cache, so that its base model is
trained as on a fresh machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import stories
from common import Report, Row, report

_SEEDS = (0, 1, 2)
_PARTS = ("demo", "stories")


@dataclass(frozen=True)
class Finished:
    """How a process ended: wall-clock time (seconds), the peak of its resident memory (GiB)."""

    seconds: float
    peak_gib: float


def run_measured(command: list[str], environment: dict[str, str]) -> Finished:
    """Run a process to its end, its output on our stderr.

    Raises:
        RuntimeError: it failed.
    """
    start = time.monotonic()
    process = subprocess.Popen(command, env=environment, stdout=sys.stderr)
    # wait4 gives the use of this one child; getrusage would give the largest of all so far.
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command} ended with {process.returncode}")
    return Finished(time.monotonic() - start, usage.ru_maxrss / 2**20)


def demo(seed: int, cache: Path, fresh: bool, rows: Report) -> None:
    """One run of the demonstration in an empty folder, and the rows of its report."""
    command = [str(Path(sys.executable).with_name("heed")), "demo", "--seed", str(seed), "--quiet", "--folder"]
    with TemporaryDirectory() as folder:
        done = run_measured([*command, folder], {**os.environ, "HEED_CACHE": str(cache)})
        found = json.loads((Path(folder) / "report.json").read_text(encoding="utf-8"))
    for row in demo_rows(found, seed, done, fresh):
        rows.add(row)


def demo_rows(found: dict[str, Any], seed: int, done: Finished, fresh: bool) -> list[Row]:
    """The rows of one demonstration, from its ``report.json``."""
    name, win = f"demo, seed {seed}", found["true_win_rate"]
    shared: dict[str, Any] = {"seeds": (seed,), "seconds": done.seconds}
    kl = found["kl"]["per_completion"]
    started = {"base model": "trained in this run" if fresh else "from the cache"}
    return [
        Row(
            f"{name}: true win rate",
            win["estimate"],
            "",
            win["low"],
            win["high"],
            0.75,
            details={"prompts": win["prompts"]},
            **shared,
        ),
        Row(f"{name}: true win rate, lower end", win["low"], "", target=0.68, **shared),
        Row(f"{name}: KL", found["kl_nats"], "nats", kl["low"], kl["high"], 25, "most", **shared),
        Row(f"{name}: distinct-2 ratio", found["distinct_2_ratio"], "", target=0.6, **shared),
        Row(f"{name}: comparisons", found["labels"], "", target=2000, at="most", **shared),
        Row(f"{name}: wall time", done.seconds, "s", target=240, at="most", details=started, **shared),
        Row(f"{name}: peak memory", done.peak_gib * 1.073741824, "GB", target=2.5, at="most", **shared),
    ]


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=_PARTS, help="one part alone")
    parser.add_argument("--seed", type=int, action="append", help=f"instead of {_SEEDS}; may be given again")
    options = parser.parse_args(arguments)
    seeds = options.seed or _SEEDS
    rows = report("loop", whole=not options.only and not options.seed)
    if options.only != "stories":
        with TemporaryDirectory() as cache:
            for number, seed in enumerate(seeds):
                demo(seed, Path(cache), number == 0, rows)
    if options.only != "demo":
        reason = stories.missing()
        for seed in seeds:
            if reason:
                rows.skip(f"stories, seed {seed}", reason)
            else:
                stories.measure(seed, rows)
    rows.finish()


if __name__ == "__main__":
    main(sys.argv[1:])
