"""heed's side of the speed table: each task runs in a process of its own and prints its step times as one JSON line.

    python workloads.py TASK DEVICE STEPS

The work is that of the peers' script: a GPT-2 shape of 4 layers and width 128 with 1,024 tokens, and its token lists.

Floating-point operations are those of the matrix products that the work needs, a multiplication and an addition counted
as two, for L layers of width D, V tokens in the vocabulary, a sequence of T tokens of which H predict:

    forward = 24 L D^2 T  +  2 L D T (T + 1)  +  2 D V H         (projections, causal attention, head)

and twice that again for a backward pass. Work that an implementation adds (padding, recomputation) is not counted.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

import heed.train.preference as preference
from heed.algorithms import ALGORITHMS
from heed.config import PolicySettings, PreferenceSettings, RewardSettings, SamplingSettings
from heed.models.decode import Samples, sample
from heed.models.linear import linear
from heed.models.policy import Policy
from heed.models.reward import RewardModel, ScalarModel
from heed.stages.results import prepare_machine
from heed.train.online import OnlineTrainer
from heed.train.online_loop import Prompt
from heed.train.optimise import FitSettings, fit
from heed.train.preferences import Example, PreferenceTask, Text, coefficients, learn_preferences
from heed.train.progress import Watcher
from heed.train.supervised import CompletionTask
from peers import work_folder

_LAYERS, _WIDTH, _VOCABULARY = 4, 128, 1024
_BATCH, _ROWS, _SAMPLES, _PROMPT, _NEW, _EPOCHS = 32, 64, 8, 16, 64, 4
_RATE = 1e-4


@dataclass
class Timed:
    """Step times (seconds), and the work of one step: floating-point operations, tokens."""

    seconds: list[float]
    flops: float
    tokens: float
    extra: dict[str, Any]


def forward_flops(tokens: int, predicting: int) -> float:
    """Matrix-product operations of one sequence forward; see the head of this file."""
    trunk = 24 * _LAYERS * _WIDTH**2 * tokens + 2 * _LAYERS * _WIDTH * tokens * (tokens + 1)
    return trunk + 2 * _WIDTH * _VOCABULARY * predicting


def rollout_flops() -> float:
    """One completion drawn: every token but the last goes through the trunk once."""
    return forward_flops(_PROMPT + _NEW - 1, _NEW)


def ppo_flops(shared: bool) -> float:
    """One PPO step: rollout, reference, reward, values, and the epochs of policy and values."""
    length = _PROMPT + _NEW
    policy, values, reward = rollout_flops(), forward_flops(length - 1, 0), forward_flops(length, 0)
    once = 2 * policy + reward + (0 if shared else values)
    return _ROWS * (once + 3 * _EPOCHS * (policy + (0 if shared else values)))


class StepClock(Watcher):
    """Notes the time at the end of each step; the first step is left out, as the peers do."""

    def __init__(self, device: str) -> None:
        self.device, self.ends = device, list[float]()

    def advance(self, done: int, total: int, line: str) -> None:
        if self.device != "cpu":
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())

    @property
    def seconds(self) -> list[float]:
        return [after - before for before, after in zip(self.ends[1:-1], self.ends[2:], strict=True)]


def _work() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((work_folder() / "work.json").read_text(encoding="utf-8"))
    return found


def sft(device: str, steps: int, mixed: bool, way: str = "") -> Timed:
    """32 texts a step; the first token is the prompt, all others are learned. ``way``: "bfloat16" or "compiled", by torch.compile."""
    texts = _work()["texts_mixed" if mixed else "texts"][: steps * _BATCH]
    policy = Policy.load(work_folder() / "policy", device)
    if way == "bfloat16":
        policy.body.dtype = torch.bfloat16
    if way == "compiled":
        policy.body.hidden = torch.compile(policy.body.hidden)  # type: ignore[method-assign]
    task = CompletionTask(policy, [(t[:1], t[1:]) for t in texts])
    clock = StepClock(device)
    settings = FitSettings(steps, _BATCH, 8192, _RATE, checkpoint_every=steps + 1)
    fit(task, settings, 0, watcher=clock)
    flops = 3 * sum(forward_flops(len(t) - 1, len(t) - 1) for t in texts) / steps
    return Timed(clock.seconds, flops, sum(map(len, texts)) / steps, {})


def reward(device: str, steps: int, mixed: bool) -> Timed:
    """32 pairs a step, Bradley-Terry on the last token's state."""
    triples = _work()["pairs_mixed" if mixed else "pairs"][: steps * _BATCH]
    model = RewardModel.new(work_folder() / "scorer", "last", 1, 0, device)
    join = model.reader.join
    pairs = [preference.Pair(join(p, chosen), join(p, rejected), 0) for p, chosen, rejected in triples]
    clock = StepClock(device)
    settings = RewardSettings(
        epochs=1, prompts_per_step=_BATCH, learning_rate=_RATE, ties="half", checkpoint_every=steps + 1
    )
    preference.fit_reward(model, pairs, [], settings, 0, watcher=clock)
    lengths = [len(prompt) + len(text) for prompt, *texts in triples for text in texts]
    flops = 3 * sum(forward_flops(length, 0) for length in lengths) / steps
    return Timed(clock.seconds, flops, sum(lengths) / steps, {})


class _RewardScorer:
    """The reward model on prompts and completions as they were drawn."""

    def __init__(self, model: RewardModel) -> None:
        self.model = model

    def __call__(self, prompts: Any, prompt_ids: list[list[int]], samples: Samples) -> torch.Tensor:
        join = self.model.reader.join
        return self.model.score_encoded([join(p, c) for p, c in zip(prompt_ids, samples.tokens, strict=True)])


def _endless(device: str) -> Policy:
    """The policy with an end that is in no vocabulary: every completion takes its full length, as the peers' do."""
    policy = Policy.load(work_folder() / "policy", device)
    policy.end_ids = frozenset({_VOCABULARY})
    return policy


def dpo(device: str, steps: int, mixed: bool) -> Timed:
    """32 pairs a step; the reference's pass over all of them, which heed makes once before, is shared out over the steps."""
    triples = _work()["pairs_mixed" if mixed else "pairs"][: steps * _BATCH]
    policy = Policy.load(work_folder() / "policy", device)
    texts = [Text(tuple(p), tuple(side)) for p, *sides in triples for side in sides]
    examples = [Example((2 * row, 2 * row + 1), (0, 1), 1.0) for row in range(len(triples))]
    settings = PreferenceSettings(prompts_per_step=_BATCH, learning_rate=_RATE, epochs=1, checkpoint_every=steps + 1)
    algorithm = ALGORITHMS["dpo"]
    begun = time.perf_counter()
    task = PreferenceTask(policy, algorithm, texts, examples, [], coefficients(algorithm, settings), 8192)
    reference = (time.perf_counter() - begun) / steps
    clock = StepClock(device)
    learn_preferences(task, settings, 0, watcher=clock)
    flops = 4 * sum(forward_flops(len(t.prompt) + len(t.completion) - 1, len(t.completion)) for t in texts) / steps
    tokens = sum(len(t.prompt) + len(t.completion) for t in texts) / steps
    return Timed([reference + own for own in clock.seconds], flops, tokens, {"reference_s": reference})


def grouped(name: str, device: str, steps: int) -> Timed:
    """Whole steps of 8 prompts with 8 samples each, one update; the reward is each text's length."""
    prompts = [Prompt("", p) for p, _, _ in _work()["pairs"]]
    settings = PolicySettings(
        algorithm=name,
        steps=steps,
        prompts_per_step=_ROWS // _SAMPLES,
        samples_per_prompt=_SAMPLES,
        max_new_tokens=_NEW,
        learning_rate=_RATE,
        update_kl_limit=1e9,
    )
    trainer = OnlineTrainer(
        _endless(device), Policy.load(work_folder() / "policy", device), _lengths, prompts, settings, 0
    )
    return _stepped(trainer, steps, device, _ROWS * (2 * rollout_flops() + 3 * forward_flops(_PROMPT + _NEW - 1, _NEW)))


def _lengths(prompts: Any, prompt_ids: list[list[int]], samples: Samples) -> torch.Tensor:
    return torch.tensor([float(len(text)) for text in samples.texts])


def _stepped(trainer: OnlineTrainer, steps: int, device: str, flops: float) -> Timed:
    clock = StepClock(device)
    for step in range(steps):
        trainer.step(step)
        clock.advance(step, steps, "")
    epochs = {row["epochs_done"] for row in trainer.result.history}
    return Timed(clock.seconds, flops, _ROWS * _NEW, {"epochs": sorted(epochs)})


def ppo(device: str, steps: int, shared: bool) -> Timed:
    """Whole steps of 64 completions and 4 epochs of one minibatch; no early stop."""
    prompts = [Prompt("", p) for p, _, _ in _work()["pairs"]]
    scorer = RewardModel.new(work_folder() / "scorer", "last", 1, 0, device)
    value_model = (
        None
        if shared
        else ScalarModel(RewardModel.new(work_folder() / "scorer", "last", 1, 1, device).members[0].backbone, 1)
    )
    settings = PolicySettings(
        steps=steps,
        prompts_per_step=_ROWS,
        samples_per_prompt=1,
        max_new_tokens=_NEW,
        epochs=_EPOCHS,
        minibatches=1,
        learning_rate=_RATE,
        value_learning_rate=_RATE,
        value_model="shared" if shared else "separate",
        kl_control="fixed",
        update_kl_limit=1e9,
    )
    reference = Policy.load(work_folder() / "policy", device)
    trainer = OnlineTrainer(_endless(device), reference, _RewardScorer(scorer), prompts, settings, 0, value_model)
    return _stepped(trainer, steps, device, ppo_flops(shared))


def sampling(device: str, steps: int) -> Timed:
    """64 completions of 64 tokens; ``transformers.generate`` takes turns with heed in the same process."""
    policy = _endless(device)
    prompts = [p for p, _, _ in _work()["pairs"][:_ROWS]]
    settings = SamplingSettings(max_new_tokens=_NEW, samples_per_prompt=1)
    ids = torch.tensor(prompts, device=device)

    def ours(turn: int) -> None:
        assert sample(policy, prompts, settings, turn).token_count == _ROWS * _NEW

    def theirs(turn: int) -> None:
        torch.manual_seed(turn)
        kinds = {"do_sample": True, "top_k": 0, "top_p": 1.0, "max_new_tokens": _NEW, "min_new_tokens": _NEW}
        policy.model.generate(ids, attention_mask=torch.ones_like(ids), pad_token_id=1, **kinds)

    times = [(_seconds(ours, turn, device), _seconds(theirs, turn, device)) for turn in range(steps)][1:]
    mine, other = (list(column) for column in zip(*times, strict=True))
    return Timed(mine, _ROWS * rollout_flops(), _ROWS * _NEW, {"generate_seconds": other})


def products(device: str, steps: int) -> Timed:
    """A bare product of the model's own size, 64 x 80 tokens through its widest projection, by torch and by heed."""
    x, weight = (
        torch.randn(_ROWS * (_PROMPT + _NEW), _WIDTH, device=device),
        torch.randn(4 * _WIDTH, _WIDTH, device=device),
    )
    flops = 2.0 * x.shape[0] * weight.numel()
    rates = {}
    with torch.no_grad():
        for name, product in (("torch", torch.nn.functional.linear), ("heed", linear)):
            rates[name] = flops / min(_seconds(lambda _: product(x, weight), 0, device) for _ in range(200))  # noqa: B023
    return Timed([], flops, 0, {"flops_a_second": rates})


def _seconds(work: Callable[[int], Any], turn: int, device: str) -> float:
    start = time.perf_counter()
    work(turn)
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start


TASKS: dict[str, Callable[[str, int], Timed]] = {
    "sampling": sampling,
    "sft": lambda device, steps: sft(device, steps, mixed=False),
    "sft_mixed": lambda device, steps: sft(device, steps, mixed=True),
    "sft_bfloat16": lambda device, steps: sft(device, steps, mixed=False, way="bfloat16"),
    "sft_compiled": lambda device, steps: sft(device, steps, mixed=False, way="compiled"),
    "reward": lambda device, steps: reward(device, steps, mixed=False),
    "reward_mixed": lambda device, steps: reward(device, steps, mixed=True),
    "dpo": lambda device, steps: dpo(device, steps, mixed=False),
    "dpo_mixed": lambda device, steps: dpo(device, steps, mixed=True),
    "rloo": lambda device, steps: grouped("rloo", device, steps),
    "grpo": lambda device, steps: grouped("grpo", device, steps),
    "ppo": lambda device, steps: ppo(device, steps, shared=False),
    "ppo_shared": lambda device, steps: ppo(device, steps, shared=True),
    "products": products,
}

if __name__ == "__main__":
    task, device, steps = sys.argv[1], sys.argv[2], int(sys.argv[3])
    prepare_machine(device)
    print(json.dumps(vars(TASKS[task](device, steps))))
