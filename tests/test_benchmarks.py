"""The benchmarks' rows, table, intervals and counted work."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import GPT2Config, GPT2LMHeadModel

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import common
import loop
import peers
import served
import server
import speed
import workloads
from heed.project import Project

_BENCHMARKS = Path(common.__file__).parent
_KEYS = {"what", "value", "low", "high", "unit", "target", "at", "met", "seeds", "seconds", "details", "skipped"}


@pytest.mark.parametrize(
    ("value", "at", "met"),
    [(2.5, "least", True), (2.49, "least", False), (2.5, "most", True), (2.51, "most", False), (None, "least", None)],
)
def test_a_row_says_whether_its_estimate_reaches_the_target(value, at, met):
    row = common.Row("speed", value, "times", target=2.5, at=at)
    assert row.met is met
    assert json.loads(row.as_json())["met"] is met


def test_rows_are_json_lines_and_stay_when_they_miss_their_target(tmp_path):
    lines, people = io.StringIO(), io.StringIO()
    rows = common.Report("speed", lines, people, tmp_path)
    rows.add(common.Row("sft", 1.1, "times", 1.0, 1.2, 1.3, seeds=(0,), seconds=2.0, details={"heed_s": 0.25}))
    rows.skip("ppo", "no environment")
    rows.finish()
    printed = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [set(row) for row in printed] == [_KEYS, _KEYS]
    assert [row["met"] for row in printed] == [False, None]
    assert printed[0]["details"] == {"heed_s": 0.25}
    assert printed[1]["value"] is None
    assert printed[1]["skipped"] == "no environment"
    kept = [json.loads(line) for line in (tmp_path / "speed.jsonl").read_text(encoding="utf-8").splitlines()]
    assert kept[1:] == printed
    assert kept[0]["machine"]["torch"] == torch.__version__
    assert kept[0]["machine"]["cores"] >= 1
    shown = people.getvalue()
    for word in ("sft", "1.1 times", "1 to 1.2", "at least 1.3", "no", "skipped", "no environment"):
        assert word in shown


def test_a_run_of_a_part_keeps_no_results(tmp_path):
    rows = common.Report("speed", io.StringIO(), io.StringIO(), None)
    rows.add(common.Row("sft", 1.0, "times"))
    rows.finish()
    assert list(tmp_path.iterdir()) == []


def test_the_interval_of_a_median_covers_it_as_often_as_it_claims():
    rng, inside = np.random.default_rng(0), 0
    for seed in range(60):
        sample = rng.exponential(size=41).tolist()
        value, low, high = common.median_interval(lambda median: median, sample, seed=seed)
        assert value == pytest.approx(np.median(sample))
        inside += low <= np.log(2) <= high
    assert 51 <= inside <= 60


def test_the_interval_of_a_ratio_of_constant_times_is_the_ratio():
    assert common.median_interval(lambda own, other: other / own, [0.5] * 5, [2.0] * 7) == (4.0, 4.0, 4.0)


def test_counted_operations_are_those_of_the_model():
    config = GPT2Config(
        vocab_size=1024, n_positions=128, n_embd=128, n_layer=4, n_head=4, bos_token_id=0, eos_token_id=0
    )
    model = GPT2LMHeadModel._from_config(config, attn_implementation="eager").eval()
    length = 80
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, length, dtype=torch.long), use_cache=False)
    # Written out, attention is computed as a full square; causal attention needs the triangle with its diagonal.
    square, triangle = 4 * 4 * 128 * length**2, 2 * 4 * 128 * length * (length + 1)
    assert workloads.forward_flops(length, length) == counter.get_total_flops() - square + triangle


def test_sharing_the_trunk_saves_the_value_model():
    assert 0.5 < workloads.ppo_flops(shared=True) / workloads.ppo_flops(shared=False) < 0.65
    assert workloads.ppo_flops(shared=False) == pytest.approx(250e9, rel=0.01)


def test_a_peer_that_is_not_there_is_said_to_be_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("HEED_PEERS", str(tmp_path / "nothing.py"))
    times = peers.time_peer("sft", 3)
    assert times.seconds == []
    assert "HEED_PEERS" in times.missing


def test_published_times_are_named_as_such():
    rows = common.Report("speed", io.StringIO(), io.StringIO(), None)
    for race in speed.RACES[1:]:
        seconds, source = speed.peer_times(race, False, {}, rows)
        assert seconds == [peers.PUBLISHED[race.peer]]
        assert "not measured" in source


@pytest.mark.slow
def test_memory_of_a_process_is_its_own_and_not_the_largest_so_far():
    # From a small process: a child's peak begins at what its parent held when it was made.
    program = """
import sys, loop
for code in ("x = bytearray(700 * 2**20)", "pass"):
    print(loop.run_measured([sys.executable, "-c", code], {}).peak_gib)
"""
    environment = {**os.environ, "PYTHONPATH": str(_BENCHMARKS)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    grown, small = map(float, done.stdout.split())
    assert 0.68 < grown < 0.95
    assert small < grown - 0.3


def test_a_failed_process_is_an_error():
    with pytest.raises(RuntimeError, match="ended with 3"):
        loop.run_measured([sys.executable, "-c", "raise SystemExit(3)"], {})


def test_rows_of_the_demonstration_are_read_from_its_report():
    found = {
        "true_win_rate": {"estimate": 0.8, "low": 0.66, "high": 0.9, "prompts": 400},
        "kl": {"per_completion": {"low": 20.0, "high": 30.0}},
        "kl_nats": 26.0,
        "distinct_2_ratio": 0.7,
        "labels": 2000,
    }
    rows = loop.demo_rows(found, 1, loop.Finished(seconds=100.0, peak_gib=2.4), fresh=False)
    missed = {row.what for row in rows if not row.met}
    assert missed == {
        "demo, seed 1: true win rate, lower end",
        "demo, seed 1: KL",
        "demo, seed 1: peak memory",
    }


# The server's load


def test_the_raters_of_the_load_answer_a_real_server_and_say_what_they_saw(tmp_path):
    site = served.make_site(tmp_path / "project", 30, 3)
    log = tmp_path / "acknowledged"
    with served.serving(site.folder) as running:
        found = served.end_load(served.begin_load(site, running, every=0.0, seconds=30.0, acknowledged=str(log)))
        assert running.memory() > 10
    told = log.read_text().split()
    assert found["errors"] == []
    assert found["ran_dry"]
    assert len(told) == len(set(told)) == len(found["submit"]) >= 20
    with Project(site.folder) as project:
        assert {f.feedback.rater for f in project.store.feedback()} <= {f"rater {n}" for n in range(3)}


def test_a_percentile_lies_within_its_interval():
    value, low, high = server.percentile([float(number) for number in range(1000)])
    assert low <= value <= high
    assert abs(value - 949) < 2
