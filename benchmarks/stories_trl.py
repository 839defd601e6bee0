"""TRL's side of the race to a VADER score, run by the Python that has TRL: prints a line of JSON when the score is passed.

    python stories_trl.py MODEL PROMPTS SEED TARGET STEPS

Same work as heed's side, in ``stories_race.py``: what is to be passed is the mean score of the last ``WINDOW`` steps' samples.
"""

import json
import os
import sys
import tempfile
import time
import warnings

warnings.filterwarnings("ignore")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

WINDOW = 4


def main(model: str, prompts: str, seed: int, target: float, steps: int) -> None:
    import torch
    import trl
    from datasets import Dataset
    from transformers import AutoTokenizer, TrainerCallback
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    torch.set_num_threads(os.cpu_count() or 1)
    analyzer = SentimentIntensityAnalyzer()
    means: list[float] = []

    def score(completions: list[str], **_: object) -> list[float]:
        scores = [float(analyzer.polarity_scores(text)["compound"]) for text in completions]
        means.append(sum(scores) / len(scores))
        return scores

    class Passing(TrainerCallback):
        def on_step_end(self, args, state, control, **_):  # type: ignore[no-untyped-def]
            control.should_training_stop = len(means) >= WINDOW and sum(means[-WINDOW:]) / WINDOW > target
            return control

    with open(prompts, encoding="utf-8") as lines:
        rows = [{"prompt": json.loads(line)} for line in lines]
    with tempfile.TemporaryDirectory() as folder:
        args = trl.RLOOConfig(
            output_dir=folder,
            per_device_train_batch_size=64,
            num_generations=8,
            max_completion_length=64,
            beta=0.05,
            learning_rate=3e-4,
            lr_scheduler_type="constant",
            max_steps=steps,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            bf16=False,
            disable_tqdm=True,
            gradient_checkpointing=False,
            logging_steps=10_000,
            seed=seed,
        )
        trainer = trl.RLOOTrainer(
            model,
            args=args,
            train_dataset=Dataset.from_list(rows),
            processing_class=AutoTokenizer.from_pretrained(model, padding_side="left"),
            reward_funcs=score,
            callbacks=[Passing()],
        )
        begun = time.perf_counter()
        trainer.train()
    passed = sum(means[-WINDOW:]) / WINDOW > target
    print(
        json.dumps({"steps": len(means), "passed": passed, "training_s": time.perf_counter() - begun, "means": means})
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5]))
