"""Running the peers' own timing script, unchanged, in the environments it asks for."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from common import peers_script

_HOME = Path.home() / ".cache" / "heed-peers"

# Medians that the peers' documentation gives for two idle cores (seconds a step).
PUBLISHED = {
    "sft": 0.28,
    "sft_mixed": 0.55,
    "reward": 0.32,
    "reward_mixed": 0.58,
    "dpo": 0.64,
    "dpo_mixed": 1.15,
    "rloo": 1.17,
    "grpo": 1.03,
    "ppo": 3.65,
}

# The script prints the median of its step times; an interval needs the times themselves, so they are taken down on the way.
_LISTEN = """
import json, runpy, statistics, sys
kept, median = [], statistics.median
def listen(values):
    kept.append(list(values))
    return median(kept[-1])
statistics.median = listen
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
print(json.dumps({"step_seconds": kept[-1]}))
"""


@dataclass(frozen=True)
class PeerTimes:
    """Step times of a peer (seconds), or why there are none."""

    seconds: list[float]
    missing: str = ""


def work_folder() -> Path:
    """Models and token lists of the common work."""
    return _HOME / "work"


def prepare() -> str:
    """Make the common work where it is not there yet; what is missing, or nothing."""
    if (work_folder() / "work.json").is_file():
        return ""
    script, python = peers_script(), _python("sft")
    if not script.is_file():
        return f"the peers' script is not at {script}; set HEED_PEERS"
    if not python.is_file():
        return f"no environment at {python.parent.parent}; its README says how to make one"
    subprocess.run([str(python), str(script), "prepare", str(work_folder())], check=True, stdout=subprocess.DEVNULL)
    return ""


def time_peer(task: str, steps: int) -> PeerTimes:
    """Step times of TRL on ``task`` ("sft", "reward_mixed", "ppo", ...), in a process of its own."""
    name, _, mixed = task.partition("_")
    script, python = peers_script(), _python(name)
    if not script.is_file():
        return PeerTimes([], f"the peers' script is not at {script}; set HEED_PEERS")
    if not python.is_file():
        return PeerTimes([], f"no environment at {python.parent.parent}")
    extra = ["--mixed"] if mixed else []
    command = [str(python), "-c", _LISTEN, str(script), name, str(work_folder()), "--steps", str(steps), *extra]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return PeerTimes([], f"the peer failed: {done.stderr.strip().splitlines()[-1:]}")
    return PeerTimes(json.loads(done.stdout.splitlines()[-1])["step_seconds"])


def python_of(environment: str) -> Path:
    """The Python of one of the peers' environments."""
    return _HOME / environment / "bin" / "python"


def environment_missing(environment: str, *modules: str) -> str:
    """Why an environment cannot be used, with the modules that it needs; nothing where it can."""
    python = python_of(environment)
    if not python.is_file():
        return f"no environment at {python.parent.parent}; the README of the peers' script says how to make one"
    for module in modules:
        if subprocess.run([str(python), "-c", f"import {module}"], capture_output=True).returncode:
            return f"{module} is not installed in {python.parent.parent}"
    return ""


def _python(task: str) -> Path:
    # PPO left TRL after the 1.9 line.
    return python_of("trl-ppo" if task == "ppo" else "trl")
