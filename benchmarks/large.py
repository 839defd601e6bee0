"""heed's side of the figures on larger work: each task runs in a process of its own and prints one JSON line.

    python large.py memory | share_1m | share_30m

``memory``: what one online step takes beside the program and its weights. ``share_*``: supervised training of a Llama shape of that
many parameters, as a share of what bare products of its own sizes reach in the same process.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from heed.config import PolicySettings
from heed.models.decode import Samples
from heed.models.linear import linear
from heed.models.policy import Policy
from heed.stages.results import prepare_machine
from heed.train.online import OnlineTrainer
from heed.train.online_loop import Prompt
from heed.train.optimise import FitSettings, fit
from heed.train.supervised import CompletionTask
from peers import work_folder
from workloads import StepClock

_CONTEXT, _VOCABULARY, _BATCH, _SMALL = 2048, 150_000, 8, 64
_PROMPT = 64
_STEPS = 8


def policy_of(vocabulary: int, width: int, layers: int, heads: int, context: int, seed: int = 0) -> Policy:
    """A Llama shape at random weights, with the tokenizer of the common work; tied embeddings."""
    from transformers import AutoTokenizer

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=width * 8 // 3 // 32 * 32,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=context,
        tie_word_embeddings=True,
    )
    policy = Policy.of(LlamaForCausalLM(config), AutoTokenizer.from_pretrained(work_folder() / "policy"))
    # An end that is in no vocabulary: every completion takes its full length.
    policy.end_ids = frozenset({vocabulary})
    return policy


def _resident(name: str) -> float:
    """A figure of this process's memory (MiB): VmRSS, as it is, or VmHWM, its peak since the last reset."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no {name} in /proc/self/status")


def memory() -> dict[str, Any]:
    """One step of RLOO: 4 prompts with 2 samples each, to the end of the context."""
    settings = PolicySettings(
        algorithm="rloo",
        steps=1,
        prompts_per_step=_BATCH // 2,
        samples_per_prompt=2,
        max_new_tokens=_CONTEXT - _PROMPT,
        tokens_per_microbatch=_CONTEXT,
        missing_end_penalty=0.0,
    )
    policy = policy_of(_VOCABULARY, _SMALL, 2, 2, _CONTEXT)
    reference = policy_of(_VOCABULARY, _SMALL, 2, 2, _CONTEXT)
    prompts = [Prompt("", list(range(start, start + _PROMPT))) for start in range(100, 100 + _BATCH // 2)]
    trainer = OnlineTrainer(policy, reference, _lengths, prompts, settings, 0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before, begun = _resident("VmRSS"), time.perf_counter()
    trainer.step(0)
    peak = _resident("VmHWM") - before
    logits = _BATCH * _CONTEXT * _VOCABULARY * 4 / 2**20
    return {"peak_mib": peak, "all_logits_mib": logits, "step_s": time.perf_counter() - begun}


def _lengths(prompts: Any, prompt_ids: list[list[int]], samples: Samples) -> torch.Tensor:
    return torch.tensor([float(len(text)) for text in samples.texts])


def share(width: int, layers: int, vocabulary: int, length: int, rows: int) -> dict[str, Any]:
    """Supervised steps of ``rows`` texts of ``length`` tokens, and the rate of the products that they are made of."""
    policy = policy_of(vocabulary, width, layers, max(2, width // 64), length)
    generator = torch.Generator().manual_seed(0)
    texts = torch.randint(3, min(1024, vocabulary), (rows * _STEPS, length), generator=generator).tolist()
    task = CompletionTask(policy, [(text[:1], text[1:]) for text in texts])
    clock = StepClock("cpu")
    fit(task, FitSettings(_STEPS, rows, 8192, 1e-4, checkpoint_every=_STEPS + 1), 0, watcher=clock)
    inner = width * 8 // 3 // 32 * 32
    tokens = rows * (length - 1)
    products = [(width, 3 * width), (width, width), (width, 2 * inner), (inner, width)]
    a_token = layers * sum(2 * i * o for i, o in products) + 2 * width * vocabulary
    attention = layers * 2 * width * length
    flops = 3 * tokens * (a_token + attention)
    rates = {name: _rate(product, [*products, (width, vocabulary)], tokens) for name, product in _PRODUCTS.items()}
    parameters = sum(p.numel() for p in policy.model.parameters())
    return {"parameters": parameters, "step_s": clock.seconds, "flops": flops, "product_flops_per_s": rates}


def _rate(product: Any, shapes: list[tuple[int, int]], tokens: int) -> float:
    """Operations a second of one product of each shape, forward alone, at their fastest."""
    spent = work = 0.0
    with torch.no_grad():
        for inputs, outputs in shapes:
            x, weight = torch.randn(tokens, inputs), torch.randn(outputs, inputs)
            times = []
            for _ in range(5):
                begun = time.perf_counter()
                product(x, weight)
                times.append(time.perf_counter() - begun)
            spent += min(times)
            work += 2.0 * tokens * inputs * outputs
    return work / spent


_PRODUCTS = {"torch": torch.nn.functional.linear, "heed": linear}
TASKS = {
    "memory": memory,
    "share_1m": lambda: share(128, 4, 1024, 128, 32),
    "share_30m": lambda: share(512, 8, 8192, 256, 16),
}

if __name__ == "__main__":
    prepare_machine("cpu")
    found = TASKS[sys.argv[1]]()
    if "step_s" in found and isinstance(found["step_s"], list):
        found["median_s"] = median(found["step_s"])
    print(json.dumps(found))
