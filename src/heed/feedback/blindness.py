"""Whether a text tells who wrote it: a rater who reads a model's name judges the name."""

from __future__ import annotations

import re
import string
from collections.abc import Collection
from functools import lru_cache
from pathlib import PurePath

from heed.config import NO_MODEL, ProjectSettings

NAMES = (
    *("Alibaba", "Alpaca", "Anthropic", "Baichuan", "Bard", "ChatGLM", "ChatGPT", "Claude", "Cohere", "Copilot"),
    *("DeepMind", "DeepSeek", "Dolly", "Ernie Bot", "Falcon-40B", "Gemini", "Gemma", "GLM-4", "GPT-2", "GPT-3"),
    *("GPT-4", "GPT-5", "Grok", "Hugging Face", "Hunyuan", "InternLM", "Kimi", "Koala-13B", "LLaMA", "LaMDA"),
    *("Meta AI", "MiniMax", "Mistral", "Mixtral", "Moonshot AI", "Nemotron", "OpenAI", "OpenAssistant", "PaLM 2"),
    *("Phi-3", "Phi-4", "Pythia", "Qwen", "StableLM", "Tülu", "Vicuna", "WizardLM", "xAI", "Zephyr-7B", "文心一言"),
    *("通义千问", "月之暗面", "智谱"),
)
"""Names of models and of who makes them. Common words that are also names of models (falcon, koala, yi) are left out."""

# "I am Nova, a language model": whatever the name, whoever says so is known again.
_INTRODUCTION = re.compile(
    r"\b(?:I am|I'm|I’m|my name is|this is)\s+(?:an?\s+|the\s+)?[\w.,\- ]{0,40}?"
    r"\b(?:language model|AI model|AI assistant|chat\s?bot|LLM)\b|我是[^。，\n]{0,20}(?:语言模型|人工智能助手|大模型)",
    re.IGNORECASE,
)
# Bytes, because to part these into words takes half the time of a pattern, and imports read every text.
_SMALL_LETTERS_ALONE = bytes(sign if chr(sign) in string.ascii_lowercase else ord(" ") for sign in range(256))


def _words(lowered: str) -> list[bytes]:
    return lowered.encode("ascii", "replace").translate(_SMALL_LETTERS_ALONE).split()


_TELLING_WORDS = frozenset((b"model", b"assistant", b"chatbot", b"bot", b"llm")).union(
    *(_words(name.lower())[:1] for name in NAMES if name.isascii())
)
_OTHER_LETTERS = (*(name.lower() for name in NAMES if not name.isascii()), "我是")


def model_names(settings: ProjectSettings) -> list[str]:
    """The name of a project's own model, without its folder or its owner on a hub."""
    return [] if settings.model == NO_MODEL else [PurePath(settings.model).name]


def tells_its_author(text: str, own_names: Collection[str] = ()) -> str | None:
    """The words by which ``text`` names a model or introduces itself as one, or None.

    Args:
        text: a completion.
        own_names: further names, such as that of the project's own model.
    """
    names = tuple(sorted(name for name in own_names if name.strip()))
    lowered = text.lower()
    if (
        _TELLING_WORDS.isdisjoint(_words(lowered))
        and (lowered.isascii() or not any(sign in lowered for sign in _OTHER_LETTERS))
        and not any(name.lower() in lowered for name in names)
    ):
        return None  # nearly every text: many times quicker than the patterns
    found = _pattern(names).search(text) or _INTRODUCTION.search(text)
    return None if found is None else " ".join(found[0].split())


@lru_cache(maxsize=16)
def _pattern(own_names: tuple[str, ...]) -> re.Pattern[str]:
    names = sorted({*NAMES, *own_names}, key=len, reverse=True)
    return re.compile("|".join(map(_as_word, names)), re.IGNORECASE)


def _as_word(name: str) -> str:
    """``name`` as a word of its own: not "Claude" in "Claudette", but "LLaMA" in "LLaMA2" and "GPT-4" in "GPT-4o"."""
    if not name.isascii() and not name[0].islower() and not name[0].isupper():
        return re.escape(name)  # Chinese has no spaces between words
    return r"(?<!\w)" + re.escape(name) + ("" if name[-1].isdigit() else r"(?![^\W\d_])")
