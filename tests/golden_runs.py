"""Small runs of every algorithm through the command line, and the figures that they gave when they were last looked at.

``python tests/golden_runs.py`` writes the figures anew. Do that only after a change that is meant to change them, and say so in its
message: what is not meant shows as a difference.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))

from heed.algorithms import ALGORITHMS
from heed.cli import main
from tiny_models import byte_policy

KEPT = Path(__file__).with_name("golden_runs.json")
FIGURES = ("reward", "kl", "entropy", "length", "loss", "policy_loss", "value_loss", "q_loss", "update_kl", "ratio_max")
PROMPTS = [f"{first}{second}" for first in "abcd" for second in "xyz"]
REWARD = """
def vowels(prompt, completion):
    found = sum(completion.count(letter) for letter in "aeiou") + 0.25 * completion.count(prompt[0])
    return found / max(1, len(completion))
"""
ONLINE = (
    "steps=3",
    "prompts_per_step=6",
    "samples_per_prompt=4",
    "max_new_tokens=8",
    "learning_rate=0.003",
    "warmup_steps=0",
)
OFFLINE = ("prompts_per_step=6", "learning_rate=0.003", "warmup_fraction=0")


def prepare(folder: Path) -> None:
    """A model, a reward, prompts and judgments of several kinds."""
    byte_policy(initializer_range=0.08).save(folder / "model")
    (folder / "golden_reward.py").write_text(REWARD, encoding="utf-8")
    lines = [json.dumps({"prompt": prompt}) for prompt in PROMPTS]
    (folder / "prompts.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows: list[dict[str, Any]] = []
    for number, prompt in enumerate(PROMPTS):
        texts = [f"ae{number % 3}", f"xyz{number % 5}", "ea" * (number % 2 + 1)]
        rows.append({"prompt": prompt, "chosen": texts[0], "rejected": texts[1]})
        rows.append({"prompt": prompt, "chosen": texts[2], "rejected": texts[1]})
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")


def run(folder: Path, name: str, *sets: str, out: str = "") -> list[dict[str, float]]:
    """``heed train policy --algorithm NAME`` in ``folder``; the figures of its steps.

    Raises:
        RuntimeError: the command failed; its error stands on the error stream.
    """
    target, one = out or f"out-{name}", ALGORITHMS[name]
    given = dict(entry.split("=", 1) for entry in (*(OFFLINE if one.on_judgments else ONLINE), *sets))
    if one.on_judgments:
        source = ["--data", "pairs.jsonl"]
    else:
        source = ["--reward", "golden_reward:vowels", "--prompts", "prompts.jsonl"]
    chosen = [f"--set={key}={value}" for key, value in given.items()]
    command = [
        "heed",
        "train",
        "policy",
        "--algorithm",
        name,
        "--model",
        "model",
        *source,
        "--out",
        target,
        *chosen,
        "-q",
    ]
    before = Path.cwd(), sys.argv
    os.chdir(folder)
    sys.argv = command
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise RuntimeError(" ".join(command)) from None
    finally:
        os.chdir(before[0])
        sys.argv = before[1]
    card = json.loads((folder / target / "heed.json").read_text(encoding="utf-8"))
    return [{name: float(row[name]) for name in FIGURES if name in row} for row in card["metrics"]["history"]]


if __name__ == "__main__":
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        prepare(Path(place))
        found = {
            name: [{key: float(f"{value:.6g}") for key, value in row.items()} for row in run(Path(place), name)]
            for name in ALGORITHMS
        }
    KEPT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
