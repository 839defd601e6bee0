"""In which numbers this machine trains the fastest, measured."""

from __future__ import annotations

import re
import time
from functools import lru_cache
from pathlib import Path
from typing import Literal

from heed.config import ProjectSettings
from heed.tuning_settings import TunedSettings

Dtype = Literal["float32", "bfloat16"]

_UNITS = {"avx512_bf16", "amx_bf16", "bf16"}
"""What processors that multiply bfloat16 say of themselves, on x86 and on ARM."""
_LAYERS, _WIDTH, _VOCABULARY, _TEXTS, _TOKENS, _STEPS = 4, 256, 1024, 16, 64, 5
_WORTH_IT = 1.1
"""Times as fast that bfloat16 must be: less is not worth what it rounds away."""


def may_have_bfloat16() -> bool:
    """Whether it is worth a measurement: a processor with units for it, or a GPU. Without loading torch."""
    return Path("/proc/driver/nvidia/version").exists() or bool(_UNITS & processor()[1])


def processor() -> tuple[str, set[str]]:
    """The processor's name, and what it says that it can do; nothing where the system does not tell."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    name = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*: (.*)$", text, re.MULTILINE)
    return name[1] if name else "", set(flags[1].split()) if flags else set()


@lru_cache(maxsize=4)
def training_rates(device: str) -> dict[Dtype, float]:
    """Tokens a second of forward and backward passes of a small GPT-2 shape in either kind of numbers; takes about a second."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    from heed.models.batch import TokenBatch
    from heed.models.policy import Body

    config = GPT2Config(
        vocab_size=_VOCABULARY,
        n_positions=_TOKENS,
        n_embd=_WIDTH,
        n_layer=_LAYERS,
        n_head=4,
        bos_token_id=None,
        eos_token_id=None,
    )
    model = GPT2LMHeadModel(config).to(device)
    body = Body(model.base_model)
    batch = TokenBatch.of([[row % _VOCABULARY] * _TOKENS for row in range(_TEXTS)], device)

    def step() -> None:
        body.hidden(batch).float().square().mean().backward()
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)

    rates: dict[Dtype, float] = {}
    kinds: dict[Dtype, torch.dtype | None] = {"float32": None, "bfloat16": torch.bfloat16}
    for name, dtype in kinds.items():
        body.dtype, times = dtype, []
        for _ in range(_STEPS):
            begun = time.perf_counter()
            step()
            times.append(time.perf_counter() - begun)
        rates[name] = _TEXTS * _TOKENS / min(times)
    return rates


def fastest(rates: dict[Dtype, float]) -> Dtype:
    """The numbers to train in."""
    return "bfloat16" if rates["bfloat16"] > _WORTH_IT * rates["float32"] else "float32"


def settings_for(dtype: Dtype) -> dict[str, dict[str, str]]:
    """What a new project's ``heed.yaml`` says of it, by section; nothing where it is the default."""
    if dtype == "float32":
        return {}
    sections = {name: field.annotation for name, field in ProjectSettings.model_fields.items()}
    return {
        name: {"dtype": dtype}
        for name, kind in sections.items()
        if isinstance(kind, type) and issubclass(kind, TunedSettings)
    }
