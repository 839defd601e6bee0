"""Small training problems that run in a second, and processes to run and to kill them in.

The processes are forked from a server that has imported everything and run nothing, so a start costs milliseconds.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # torch's optimisers load it at their first step; here the server of the processes does it once
from safetensors.torch import save_file
from torch import Tensor

from heed.algorithms import ALGORITHMS
from heed.config import DQNSettings, ILQLSettings, PolicySettings, PreferenceSettings, RewardSettings, SFTSettings
from heed.errors import HeedError
from heed.feedback.kinds import PromptContent
from heed.models.decode import Samples
from heed.models.policy import Policy
from heed.models.reward import Encoded, Reader, RewardModel, ScalarModel
from heed.train import checkpoint
from heed.train.checkpoint import Checkpoints
from heed.train.ilql import ILQLTask, Rewarded, lean, learn_values
from heed.train.online import OnlineTrainer
from heed.train.online_loop import Prompt
from heed.train.preference import Pair, fit_reward
from heed.train.preferences import Example, PreferenceTask, coefficients, learn_preferences
from heed.train.progress import Stopped, Watcher
from heed.train.q_learning import QTrainer
from heed.train.supervised import tune
from tiny_models import causal_model, ragged, tiny_policy
from tokens import texts_of

torch.set_num_threads(1)
tiny_policy("llama")  # transformers loads a model's code when it is first made
LETTER = 0  # 'a': what the rewards here like


def letter_share(prompts: list[PromptContent], prompt_ids: list[list[int]], samples: Samples) -> Tensor:
    """A reward: how much of each completion is the letter 'a', 0 to 1."""
    return torch.tensor([tokens.count(LETTER) / len(tokens) for tokens in samples.tokens])


def first_token(policy: Policy, ids: list[int]) -> Tensor:
    """Exact distribution of the token after ``ids``."""
    with torch.no_grad():
        return policy.model(torch.tensor([ids])).logits[0, -1].double().softmax(-1)


def value_model(letters: str, seed: int = 5) -> ScalarModel:
    """A network of values of its own."""
    return ScalarModel(causal_model("llama", len(letters) + 1, seed).model, seed)


def trainer_of(
    shared: bool,
    letters: str = "abcdef",
    seed: int = 0,
    scorer: Any = letter_share,
    name: str = "llama",
    **changes: Any,
) -> OnlineTrainer:
    """PPO from a random policy; settings are small unless changed."""
    policy, reference = (
        tiny_policy(name, 1, letters, initializer_range=0.08),
        tiny_policy(name, 1, letters, initializer_range=0.08),
    )
    small: dict[str, Any] = {
        "steps": 8,
        "prompts_per_step": 4,
        "samples_per_prompt": 2,
        "max_new_tokens": 6,
        "epochs": 2,
    }
    small |= {"value_model": "shared" if shared else "separate", "learning_rate": 3e-3, "missing_end_penalty": 0.0}
    prompts = [Prompt("".join(letters[i] for i in ids), ids) for ids in ragged([3, 1, 5, 2, 4, 2, 3], len(letters) + 1)]
    values = None if shared else value_model(letters)
    return OnlineTrainer(policy, reference, scorer, prompts, PolicySettings(**(small | changes)), seed, values)


def reward_model_of(
    policy: Policy, members: int = 1, pooling: Any = "mean", seed: int = 0, name: str = "llama", **changes: Any
) -> RewardModel:
    """An untrained reward model in the policy's tokens."""
    vocabulary = len(policy.tokenizer)
    networks = [
        ScalarModel(causal_model(name, vocabulary, 7, **changes).base_model, seed * 1000 + n) for n in range(members)
    ]
    reader = Reader(policy.tokenizer, False, policy.context, policy)
    return RewardModel(networks, reader, pooling)


def pairs_of(count: int, seed: int, letters: int = 16, noise: float = 0.3) -> list[Pair]:
    """Comparisons by the mean of the completions' token numbers, with ties where they are close."""
    generator = torch.Generator().manual_seed(seed)
    pairs = []
    for _ in range(count):
        sides = []
        for _ in range(2):
            ids = torch.randint(letters, (8,), generator=generator).tolist()
            sides.append(Encoded((*ids, letters), 2, 9))
        gap = float(torch.tensor(sides[0].ids[2:8]).float().mean() - torch.tensor(sides[1].ids[2:8]).float().mean())
        gap += noise * float(torch.randn((), generator=generator))
        pairs.append(Pair(sides[0], sides[1], 2 if abs(gap) < 0.3 else 0 if gap > 0 else 1))
    return pairs


def _sft(folder: Path, watcher: Watcher) -> tuple[dict[str, Tensor], Any]:
    policy = tiny_policy("llama-tied")
    examples = list(zip(ragged([4] * 20, 17, 1), ragged([7, 3] * 10, 17, 2), strict=True))
    settings = SFTSettings(prompts_per_step=4, epochs=4, checkpoint_every=2, tokens_per_microbatch=32, weight_decay=0.1)
    fit = tune(policy, examples, settings, 3, Checkpoints(folder / "c", "p"), watcher)
    return {n: p.detach() for n, p in policy.model.named_parameters()}, [fit.history, fit.best_step, fit.tokens]


def _reward(folder: Path, watcher: Watcher) -> tuple[dict[str, Tensor], Any]:
    """Early stopping with the best weights well before the end, and two members."""
    model = reward_model_of(tiny_policy(), members=2)
    settings = RewardSettings(
        prompts_per_step=8, epochs=6, validations_per_epoch=2, patience=2, learning_rate=2e-2, checkpoint_every=2
    )
    checkpoints = [Checkpoints(folder / f"c{n}", "p") for n in range(2)]
    fits = fit_reward(model, pairs_of(40, 1, noise=3.0), pairs_of(20, 2), settings, 3, checkpoints, watcher)
    tensors = {f"{n}.{name}": p.detach() for n, m in enumerate(model.members) for name, p in m.named_parameters()}
    return tensors, [[fit.history, fit.best_step, fit.tokens] for fit in fits] + [model.card]


def _ppo(folder: Path, watcher: Watcher, shared: bool) -> tuple[dict[str, Tensor], Any]:
    trainer = trainer_of(
        shared, steps=10, checkpoint_every=2, minibatches=2, kl_control="adaptive", kl_target=0.05, kl_horizon=64
    )
    result = trainer.run(Checkpoints(folder / "c", "p"), watcher)
    return trainer.state()[0], [result.history, result.alarms, result.tokens, trainer.control.coefficient]


def _ppo_separate(folder: Path, watcher: Watcher) -> tuple[dict[str, Tensor], Any]:
    return _ppo(folder, watcher, shared=False)


def _ppo_shared(folder: Path, watcher: Watcher) -> tuple[dict[str, Tensor], Any]:
    return _ppo(folder, watcher, shared=True)


def _dpo(folder: Path, watcher: Watcher) -> tuple[dict[str, Tensor], Any]:
    policy, algorithm = tiny_policy("gpt2"), ALGORITHMS["dpo"]
    settings = PreferenceSettings(prompts_per_step=2, epochs=4, checkpoint_every=2, learning_rate=1e-3)
    pairs = [Example((2 * n, 2 * n + 1), (0, 1), 1.0) for n in range(6)]
    task = PreferenceTask(policy, algorithm, texts_of(12), pairs, [], coefficients(algorithm, settings), 64)
    done = learn_preferences(task, settings, 3, Checkpoints(folder / "c", "p"), watcher)
    return {n: p.detach() for n, p in policy.model.named_parameters()}, [done.history, done.tokens]


def _dqn(folder: Path, watcher: Watcher) -> tuple[dict[str, Tensor], Any]:
    """Whose state is more than weights: a target network, and a buffer that is overwritten."""
    policies = [tiny_policy("llama", 1, "abcdef", initializer_range=0.08) for _ in range(2)]
    settings = PolicySettings(
        algorithm="dqn", steps=10, prompts_per_step=4, samples_per_prompt=2, max_new_tokens=6, checkpoint_every=2
    )
    own = DQNSettings(buffer=20, updates=3, completions_per_update=8, target_every=2)
    prompts = [Prompt("abcdef"[n], [n]) for n in range(5)]
    trainer = QTrainer(*policies, letter_share, prompts, settings, own, 3)
    result = trainer.run(Checkpoints(folder / "c", "p"), watcher)
    return trainer.state()[0], [result.history, result.alarms, result.tokens]


def _ilql(folder: Path, watcher: Watcher) -> tuple[dict[str, Tensor], Any]:
    settings = ILQLSettings(prompts_per_step=2, epochs=3, checkpoint_every=2, learning_rate=1e-3)
    examples = [Rewarded(n, (1.0, -1.0, 0.5)[n % 3], 1.0) for n in range(9)]
    task = ILQLTask(tiny_policy(), texts_of(9), examples, settings)
    done = learn_values(task, 3, Checkpoints(folder / "c", "p"), watcher)
    lean(task)
    named = {f"{net}.{n}": p.detach() for net, one in task.networks.items() for n, p in one.named_parameters()}
    return named, [done.history, done.tokens]


STAGES: dict[str, Callable[[Path, Watcher], tuple[dict[str, Tensor], Any]]] = {
    "sft": _sft,
    "reward": _reward,
    "ppo-separate": _ppo_separate,
    "ppo-shared": _ppo_shared,
    "dpo": _dpo,
    "dqn": _dqn,
    "ilql": _ilql,
}


class Journal(Watcher):
    """Writes a line a step to a file, so that a test sees from outside how far the process is."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("a", buffering=1, encoding="utf-8")

    def say(self, text: str) -> None:
        self.file.write(f"say {text}\n")

    def advance(self, done: int, total: int, line: str) -> None:
        self.file.write(f"step {done}\n")


def run_stage(stage: str, folder: Path, die_in_save: int | None = None) -> None:
    """Run a stage of ``STAGES`` in this process and write what came of it to ``folder``.

    Args:
        die_in_save: kill this process without warning before the n-th change that saving makes on the disk.
    """
    if die_in_save is not None:
        _die_before(die_in_save)
    try:
        tensors, numbers = STAGES[stage](folder, Journal(folder / "journal"))
    except Stopped:
        raise SystemExit(3) from None
    save_file({name: value.contiguous().clone() for name, value in tensors.items()}, folder / "final.safetensors")
    (folder / "final.json").write_text(json.dumps(numbers))


def _die_before(left: int) -> None:
    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*args: Any, **named: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **named)

        return instead

    # Writing the weights is one change: safetensors does it outside Python.
    vars(checkpoint)["save_file"] = counted(vars(checkpoint)["save_file"])
    for name in ("fsync", "rename", "mkdir", "unlink", "rmdir"):
        setattr(os, name, counted(getattr(os, name)))


def save_with_little_room(folder: Path, limit: int, answer: Any) -> None:
    """Save a checkpoint of 400 kB in a process whose files may not grow past ``limit`` bytes; send the error's text."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        Checkpoints(folder, "print").save(2, {"a": torch.zeros(100_000)}, {})
    except HeedError as error:
        answer.put(str(error))
    else:
        answer.put("nothing was wrong")


def start(target: Callable[..., None], *args: Any) -> Any:
    """A process that runs ``target(*args)``, started."""
    here = str(Path(__file__).parent)
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if here not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([here, *filter(None, paths)])
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tiny_training"])
    process = context.Process(target=target, args=args, daemon=True)
    process.start()
    return process
