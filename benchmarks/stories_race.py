"""How long it takes until stories260K writes cheerful stories: RLOO on the VADER compound score itself, by heed and by TRL.

    python stories_race.py MODEL PROMPTS SEED TARGET STEPS      # heed's side alone, in this process

Eight prompts with eight samples of 64 tokens a step, learning rate 3e-4, KL coefficient 0.05. The clock runs from the start of the
process to its end, at the first step at which the mean score of the last four steps' samples has passed the target.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from common import Report

TARGET, STEPS, WINDOW = 0.80, 200, 4
SEEDS = (0, 1, 2)
_HERE = Path(__file__).resolve().parent


def main(model: str, prompts: str, seed: int, target: float, steps: int) -> None:
    """heed's side: prints a line of JSON when the score is passed."""
    from heed.memory import look_rarely

    look_rarely()  # as the program heed does
    from heed.config import PolicySettings
    from heed.models.policy import Policy
    from heed.raters.utilities import vader
    from heed.stages.results import prepare_machine
    from heed.train.checks import self_check
    from heed.train.online import OnlineTrainer
    from heed.train.online_loop import Prompt
    from heed.train.rollout import TextScorer
    from heed.train.text_rewards import TextReward

    device = prepare_machine("cpu")
    settings = PolicySettings(
        algorithm="rloo",
        steps=steps,
        prompts_per_step=8,
        samples_per_prompt=8,
        max_new_tokens=64,
        learning_rate=3e-4,
        warmup_steps=0,
        kl_coefficient=0.05,
        kl_budget=1e9,
        missing_end_penalty=0,
    )
    policy, reference = Policy.load(model, device), Policy.load(model, device)
    texts = [json.loads(line) for line in Path(prompts).read_text(encoding="utf-8").splitlines()]
    rolled = [Prompt(text, policy.encode_prompt(text)) for text in texts]
    trainer = OnlineTrainer(policy, reference, TextScorer(TextReward.of(vader)), rolled, settings, seed)
    begun, means, kl = time.perf_counter(), list[float](), 0.0
    self_check(trainer, at_start=True)
    for step in range(steps):
        figures = trainer.step(step)
        means.append(figures["reward"])
        kl = figures["kl"]
        if len(means) >= WINDOW and sum(means[-WINDOW:]) / WINDOW > target:
            break
    passed = sum(means[-WINDOW:]) / WINDOW > target
    spent = time.perf_counter() - begun
    print(json.dumps({"steps": len(means), "passed": passed, "training_s": spent, "kl": kl, "means": means}))


def race(rows: Report) -> None:
    """Both sides in turn for each seed, one process at a time; the row of the ratio, and one of each side."""
    # Here, and not above: heed's side is timed from the start of its process, and needs none of it.
    import stories
    from common import Row, median_interval
    from peers import environment_missing, python_of

    why = stories.missing() or environment_missing("trl", "vaderSentiment")
    if why:
        rows.skip("seconds to a VADER score of 0.80", why)
        return
    begun = time.monotonic()
    seconds: dict[str, list[float]] = {"heed": [], "trl": []}
    told: dict[str, list[dict[str, Any]]] = {"heed": [], "trl": []}
    with TemporaryDirectory() as folder:
        prompts = Path(folder) / "prompts.jsonl"
        prompts.write_text("".join(json.dumps(text) + "\n" for text in stories.openings("train")), encoding="utf-8")
        for seed in SEEDS:
            common = [str(stories.model_folder()), str(prompts), str(seed), str(TARGET), str(STEPS)]
            for side, python in (("trl", str(python_of("trl"))), ("heed", sys.executable)):
                script = _HERE / ("stories_trl.py" if side == "trl" else "stories_race.py")
                start = time.perf_counter()
                done = subprocess.run([python, "-W", "ignore", str(script), *common], capture_output=True, text=True)
                seconds[side].append(time.perf_counter() - start)
                if done.returncode:
                    rows.skip("seconds to a VADER score of 0.80", f"{side} failed: {done.stderr.strip()[-200:]}")
                    return
                told[side].append(json.loads(done.stdout.splitlines()[-1]))
    for side, times in seconds.items():
        steps = [one["steps"] for one in told[side]]
        details = {"steps": steps, "passed": all(one["passed"] for one in told[side])}
        details |= {"training_s": [round(one["training_s"], 1) for one in told[side]]}
        rows.add(
            Row(
                f"VADER 0.80 on stories260K, {side}",
                median(times),
                "s",
                min(times),
                max(times),
                seeds=SEEDS,
                details=details,
            )
        )
    share, low, high = median_interval(lambda mine, theirs: mine / theirs, seconds["heed"], seconds["trl"])
    spent = time.monotonic() - begun
    rows.add(Row("VADER 0.80 on stories260K, heed's time of TRL's", share, "", low, high, 0.5, "most", SEEDS, spent))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5]))
