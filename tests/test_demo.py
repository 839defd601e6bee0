"""The demonstration as a newcomer runs it: a real process, killed in every stage, and what its report says."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SEED = 5
STAGES = ["sft-1", "sample-1", "ask-1", "reward-1", "labels-1", "policy-1", "evaluate-1"]
_TIMES = re.compile(r"seconds|peak_memory|created|version|folder|per_second")


def demo(folder: Path, cache: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "heed", "demo", "--folder", str(folder), "--seed", str(SEED)]
    environment = {**os.environ, "HEED_CACHE": str(cache), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        command, env=environment, text=True, encoding="utf-8", stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_times(entry) for key, entry in value.items() if not _TIMES.search(key)}
    return [without_times(entry) for entry in value] if isinstance(value, list) else value


def killed_at(process: subprocess.Popen[str], words: str) -> bool:
    """Kill the process when it says ``words``; whether it came to that."""
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            if words in line:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                return True
    return False


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_demo_killed_in_every_stage_ends_with_the_report_of_one_left_alone(tmp_path: Path) -> None:
    cache, folder = tmp_path / "cache", tmp_path / "killed"
    assert killed_at(demo(folder, cache), "training the built-in world's base model"), (
        "killed while the base model is trained"
    )
    for stage in STAGES:
        assert killed_at(demo(folder, cache), f"{stage}: started"), stage
    for place in (folder, tmp_path / "whole"):
        process = demo(place, cache)
        told, _ = process.communicate()
        assert process.returncode == 0, told
    killed, whole = (json.loads((place / "report.json").read_text()) for place in (folder, tmp_path / "whole"))
    assert without_times(killed) == without_times(whole)
    assert whole["seed"] == SEED
    # What the loop is for, with room for luck: clearly better than before by the truth, at a bounded price.
    assert whole["true_win_rate"]["low"] > 0.6
    assert 0 < whole["kl_nats"] < 25
    assert whole["distinct_2_ratio"] > 0.5
    assert (whole["true_win_rate"]["prompts"], whole["labels"]) == (400, 2000)
    page = (tmp_path / "whole" / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"""(?:src|href)=["']https?:""", page), "the report works offline"
