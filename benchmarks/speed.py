"""How fast heed is, beside TRL and ``transformers.generate`` on the same work.

    python benchmarks/speed.py [--only ROW ...] [--no-peers]

One process a task, one at a time, medians over the steps after the first. ``--no-peers`` divides the peers' published
times instead of measuring them, and each row then says so.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import stories_race
from common import Report, Row, median_interval, report
from peers import PUBLISHED, prepare, time_peer

_STEPS = 14
_STARTS = 11
_HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Race:
    """A task of ``workloads.py`` beside a peer's, and how many times faster it is to be."""

    task: str
    peer: str
    target: float


RACES = (
    Race("sampling", "", 2.5),
    Race("sft", "sft", 1.3),
    Race("sft_mixed", "sft_mixed", 2.0),
    Race("reward", "reward", 1.3),
    Race("reward_mixed", "reward_mixed", 2.0),
    Race("dpo", "dpo", 1.4),
    Race("dpo_mixed", "dpo_mixed", 2.0),
    Race("rloo", "rloo", 2.0),
    Race("grpo", "grpo", 2.0),
    Race("ppo", "ppo", 1.5),
    Race("ppo_shared", "ppo", 2.2),
)
STARTS = (("import heed", 0.3), ("heed --help", 0.4))
WAYS = {"sft_bfloat16": "supervised steps in bfloat16", "sft_compiled": "supervised steps by torch.compile"}
LARGE = ("memory", "share_1m", "share_30m")
NAMES = ("products", *(race.task for race in RACES), *(name for name, _ in STARTS), *WAYS, *LARGE, "stories")


def run_task(task: str, device: str, steps: int = _STEPS) -> dict[str, Any]:
    """What ``workloads.py`` prints of a task, run in a process of its own.

    Raises:
        RuntimeError: the process failed.
    """
    return _run("workloads.py", task, device, str(steps))


def _run(script: str, task: str, *more: str) -> dict[str, Any]:
    command = [sys.executable, "-W", "ignore", str(_HERE / script), task, *more]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{task} failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def product_rates(device: str, rows: Report) -> dict[str, float]:
    """Operations a second of a bare matrix product, by torch and by heed's ``linear``; one row each."""
    start = time.monotonic()
    rates: dict[str, float] = run_task("products", device)["extra"]["flops_a_second"]
    seconds = time.monotonic() - start
    for name, rate in rates.items():
        rows.add(Row(f"matrix product, {name}, {device}", rate / 1e9, "GFLOP/s", seconds=seconds))
    return rates


def race(contest: Race, rates: dict[str, float], peer_seconds: list[float], peer: str, rows: Report) -> None:
    """Time heed on a task and add its row: how many times as fast as the peer."""
    start = time.monotonic()
    mine = run_task(contest.task, "cpu")
    if contest.task == "sampling":
        peer_seconds, peer = mine["extra"]["generate_seconds"], "transformers.generate"
    ratio, low, high = median_interval(lambda own, other: other / own, mine["seconds"], peer_seconds)
    details = {"heed_s": median(mine["seconds"]), "peer_s": median(peer_seconds), "peer": peer}
    details |= _rates(mine, rates) | {"steps": len(mine["seconds"])}
    spent = time.monotonic() - start
    rows.add(Row(contest.task, ratio, "times", low, high, contest.target, seeds=(0,), seconds=spent, details=details))


def _rates(timed: dict[str, Any], rates: dict[str, float]) -> dict[str, Any]:
    speed = timed["flops"] / median(timed["seconds"])
    return {
        "tokens_per_s": round(timed["tokens"] / median(timed["seconds"])),
        "gflops_per_s": round(speed / 1e9, 1),
        "share_of_torch_product": round(speed / rates["torch"], 3),
        "share_of_heed_product": round(speed / rates["heed"], 3),
    }


def peer_times(contest: Race, measure: bool, measured: dict[str, list[float]], rows: Report) -> tuple[list[float], str]:
    """Step times of the peer of a task and where they come from: measured once a run, or published."""
    name = contest.peer
    if not name:
        return [], ""
    if measure and name not in measured:
        times = time_peer(name, _STEPS)
        if times.missing:
            rows.skip(f"{name}, measured peer", times.missing)
        measured[name] = times.seconds
    if measured.get(name):
        return measured[name], "TRL, measured in this run"
    return [PUBLISHED[name]], "TRL, published time: not measured in this run"


def on_gpu(chosen: list[str], rows: Report) -> None:
    """heed alone on a GPU, where there is one: tokens a second, and the share of a matrix product there."""
    import torch

    if not torch.cuda.is_available():
        rows.skip("GPU column", "torch sees no CUDA device here")
        return
    rates = product_rates("cuda", rows)
    for contest in RACES:
        if contest.task in chosen:
            start = time.monotonic()
            timed = run_task(contest.task, "cuda")
            work = timed["tokens"]
            rate, low, high = median_interval(lambda own, work=work: work / own, timed["seconds"])
            spent = time.monotonic() - start
            details = _rates(timed, rates)
            rows.add(
                Row(f"{contest.task}, cuda", rate, "tokens/s", low, high, seeds=(0,), seconds=spent, details=details)
            )


def ways(chosen: list[str], rows: Report) -> None:
    """Other ways to compute than float32 uncompiled, as times the speed of that; and what ``heed doctor`` takes here."""
    from heed.stages.machine import fastest, training_rates

    asked = [task for task in WAYS if task in chosen]
    plain = run_task("sft", "cpu")["seconds"] if asked else []
    for task in asked:
        start = time.monotonic()
        ratio, low, high = median_interval(lambda own, other: other / own, run_task(task, "cpu")["seconds"], plain)
        spent = time.monotonic() - start
        taken = {"heed doctor takes": fastest(training_rates("cpu"))} if task == "sft_bfloat16" else {}
        what = f"{WAYS[task]}, beside float32 as it is"
        rows.add(Row(what, ratio, "times", low, high, seeds=(0,), seconds=spent, details=taken))


def large(task: str, rows: Report) -> None:
    """Memory of an online step with a large vocabulary, or the share of bare products that training reaches."""
    start = time.monotonic()
    found = _run("large.py", task)
    spent = time.monotonic() - start
    if task == "memory":
        share = found["peak_mib"] / found["all_logits_mib"]
        what = "memory of an online step, vocabulary 150,000, context 2,048, of all logits in float32"
        rows.add(Row(what, share, "", target=0.25, at="most", seeds=(0,), seconds=spent, details=found))
        return
    rates = found["product_flops_per_s"]
    best = max(rates.values())
    value, low, high = median_interval(lambda own: found["flops"] / own / best, found["step_s"])
    details = {"parameters": found["parameters"], "gflops_per_s": round(found["flops"] / found["median_s"] / 1e9, 1)}
    details |= {f"product_by_{name}_gflops_per_s": round(rate / 1e9, 1) for name, rate in rates.items()}
    target = 0.5 if task == "share_30m" else None
    what = f"training, {task.removeprefix('share_').upper()} parameters, share of bare products"
    rows.add(Row(what, value, "", low, high, target, seeds=(0,), seconds=spent, details=details))


def start_up(name: str, target: float, rows: Report) -> None:
    """Wall time of a whole process, a median over several after the first."""
    heed = str(Path(sys.executable).with_name("heed"))
    command = [heed, "--help"] if name == "heed --help" else [sys.executable, "-c", "import heed"]
    times, start = [], time.monotonic()
    for _ in range(_STARTS):
        begun = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - begun)
    value, low, high = median_interval(lambda own: own, times[1:])
    spent = time.monotonic() - start
    rows.add(Row(name, value, "s", low, high, target, "most", seconds=spent, details={"processes": len(times) - 1}))


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=NAMES, metavar="ROW", help=f"one of: {', '.join(NAMES)}")
    parser.add_argument("--no-peers", action="store_true", help="use the peers' published times")
    options = parser.parse_args(arguments)
    chosen = options.only or list(NAMES)
    rows = report("speed", whole=not options.only and not options.no_peers)
    for name, target in STARTS:
        if name in chosen:
            start_up(name, target, rows)
    contests = [contest for contest in RACES if contest.task in chosen]
    if "products" in chosen or contests or {*LARGE, *WAYS} & set(chosen):
        rates = product_rates("cpu", rows)
        missing = prepare()
        measured: dict[str, list[float]] = {}
        for contest in contests:
            if missing:
                rows.skip(contest.task, missing)
                continue
            times, source = peer_times(contest, not options.no_peers, measured, rows)
            race(contest, rates, times, source, rows)
        if not missing:
            ways(chosen, rows)
        for task in LARGE:
            if task in chosen and not missing:
                large(task, rows)
        if not missing:
            on_gpu(chosen, rows)
    if "stories" in chosen:
        stories_race.race(rows)
    rows.finish()


if __name__ == "__main__":
    main(sys.argv[1:])
