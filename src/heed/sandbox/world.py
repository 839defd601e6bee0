"""The tiny base model of the built-in world: its tokenizer, its shape, its training texts and its place in the cache.

Nothing is downloaded. The base model is trained at first use and kept under the hash of everything that made it, so a
change of the grammar, the tokenizer or the training makes a new one.
"""

from __future__ import annotations

import fcntl
import hashlib
import inspect
import json
import os
import shutil
import sys
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heed.errors import ConfigError
from heed.feedback.kinds import Message, PromptContent
from heed.files import file_errors, write_text
from heed.sandbox import grammar, lexicon
from heed.train.progress import Watcher

if TYPE_CHECKING:
    from transformers import LlamaConfig, PreTrainedTokenizerFast

END_OF_TEXT = "<|end|>"
PAD = "<|pad|>"
ROLES = ("system", "user", "assistant")
VOCABULARY_SIZE = 1024
CONTEXT_TOKENS = 256

TOKENIZER_SEED = 0
TOKENIZER_ROWS = 6_000

PRETRAINING_SEED = 0
PRETRAINING_ROWS = 20_000
PRETRAINING: dict[str, Any] = {
    "steps": 360,
    "prompts_per_step": 64,
    "tokens_per_microbatch": 8192,
    "learning_rate": 4e-3,
    "weight_decay": 0.01,
    "checkpoint_every": 100,
}

# Only an answer ends with the end of text, so the prompt of a conversation never looks finished to the model.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


@lru_cache(maxsize=1)
def tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE of 1,024 tokens, trained on the corpus; about one token a word, and any text round-trips.

    The chat template marks the roles and ends each answer with the end-of-text token; there is no token of beginning,
    so encoding a rendered conversation adds nothing.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special = [END_OF_TEXT, PAD, *(f"<|{role}|>" for role in ROLES)]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    rows = grammar.corpus(TOKENIZER_SEED, TOKENIZER_ROWS)
    bpe.train_from_iterator(
        (text for prompt, reply in rows for text in (grammar.customer_text(prompt), reply)), trainer
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token=END_OF_TEXT,
        pad_token=PAD,
        additional_special_tokens=[f"<|{role}|>" for role in ROLES],
        chat_template=CHAT_TEMPLATE,
        model_max_length=CONTEXT_TOKENS,
        clean_up_tokenization_spaces=False,
    )


def model_config() -> LlamaConfig:
    """The base model's shape: Llama with about one million parameters and a context of 256 tokens."""
    from transformers import LlamaConfig

    tokens = tokenizer()
    return LlamaConfig(
        vocab_size=VOCABULARY_SIZE,
        hidden_size=128,
        intermediate_size=344,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=CONTEXT_TOKENS,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokens.eos_token_id,
        pad_token_id=tokens.pad_token_id,
    )


def conversation_text(prompt: PromptContent, reply: str) -> str:
    """The conversation as the chat template renders it, with the end-of-text token after the reply."""
    messages = (Message(role="user", content=prompt),) if isinstance(prompt, str) else prompt
    rendered = "".join(f"<|{m.role}|>{m.content}{END_OF_TEXT if m.role == 'assistant' else ''}" for m in messages)
    return f"{rendered}<|assistant|>{reply}{END_OF_TEXT}"


def pretraining_texts(seed: int, count: int) -> list[str]:
    """Rendered conversations of the mixture, markers and end included; encode them with ``add_special_tokens=False``."""
    return [conversation_text(prompt, reply) for prompt, reply in grammar.corpus(seed, count)]


def recipe_hash(**training: Any) -> str:
    """16 hexadecimal digits that change with whatever makes the base model.

    Args:
        training: the settings of the training (JSON values), so that a change of them trains anew.
    """
    recipe = {
        "sources": [inspect.getsource(module) for module in (grammar, lexicon, sys.modules[__name__])],
        "training": training,
    }
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]


def cache_folder() -> Path:
    """Where base models are kept: ``$HEED_CACHE``, or ``~/.cache/heed``.

    Raises:
        ConfigError: there is no home folder, as in a container that was started with the number of a user.
    """
    try:
        return Path(os.environ.get("HEED_CACHE") or "~/.cache/heed").expanduser()
    except RuntimeError:
        raise ConfigError(
            "no folder for heed's cache", "the home folder is not known here.", "Name one: export HEED_CACHE=FOLDER"
        ) from None


def base_model(watcher: Watcher | None = None) -> Path:
    """Folder of the base model: trained at first use in about a minute on two cores, then kept by the hash of its recipe.

    A second process that wants it at the same time waits for the first.

    Raises:
        ProjectError: the cache folder cannot be written. Stopped: on Ctrl-C; the next call goes on.
    """
    watcher = watcher or Watcher()
    recipe = recipe_hash(**PRETRAINING, seed=PRETRAINING_SEED)
    folder = cache_folder() / f"base-{recipe}"
    if (folder / "model.safetensors").is_file():
        return folder
    with file_errors(str(cache_folder())):
        cache_folder().mkdir(parents=True, exist_ok=True)
        lock = (cache_folder() / f".base-{recipe}.lock").open("w")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            _train_base_model(folder, recipe, watcher)
    return folder


def _train_base_model(folder: Path, recipe: str, watcher: Watcher) -> None:
    import torch
    from transformers import LlamaForCausalLM

    from heed.models.policy import Policy
    from heed.train.checkpoint import Checkpoints
    from heed.train.optimise import FitSettings
    from heed.train.supervised import pretrain

    settings = FitSettings(**PRETRAINING)
    torch.manual_seed(PRETRAINING_SEED)
    policy = Policy.of(LlamaForCausalLM(model_config()), tokenizer(), "the built-in world")
    count = min(PRETRAINING_ROWS, settings.steps * settings.prompts_per_step)
    encoded = _answers(policy.tokenizer, pretraining_texts(PRETRAINING_SEED, count))
    watcher.say(f"training the built-in world's base model once: {settings.steps} steps, kept in {folder}")
    checkpoints = Checkpoints(folder.with_name(f".{folder.name}"), recipe)
    pretrain(policy, encoded, settings, PRETRAINING_SEED, checkpoints, watcher)
    with file_errors(str(folder)):
        draft = folder.with_name(f".{folder.name}.draft")
        shutil.rmtree(draft, ignore_errors=True)
        policy.save(draft)
        draft.rename(folder)
    checkpoints.clear()


def _answers(tokens: PreTrainedTokenizerFast, texts: list[str]) -> list[tuple[list[int], list[int]]]:
    """Token ids of each text up to its answer, and of the answer.

    The loss is on answers only: spent on the customers' messages as well, a minute does not teach a model of this size to
    repeat an order number.
    """
    marker = tokens.convert_tokens_to_ids("<|assistant|>")
    encoded: list[list[int]] = tokens(texts, add_special_tokens=False)["input_ids"]
    return [(ids[: ids.index(marker) + 1], ids[ids.index(marker) + 1 :]) for ids in encoded]


def _write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _messages(prompt: PromptContent) -> Any:
    return prompt if isinstance(prompt, str) else [message.model_dump() for message in prompt]


def write_project_files(
    folder: Path, seed: int = 0, train: int = 4000, test: int = 1000, demonstrations: int = 2000
) -> None:
    """Write ``prompts.jsonl`` (both splits) and ``demonstrations.jsonl`` for a project in the built-in world.

    Args:
        folder: an existing folder.
        seed: of the prompts and demonstrations drawn.
        train, test, demonstrations: rows of each (count).
    """
    counts: dict[grammar.Split, int] = {"train": train, "test": test}
    _write_lines(
        folder / "prompts.jsonl",
        [
            {"prompt": _messages(prompt), "split": split}
            for split, count in counts.items()
            for prompt in grammar.prompts(split, seed, count)
        ],
    )
    _write_lines(
        folder / "demonstrations.jsonl",
        [
            {"prompt": _messages(prompt), "completion": reply}
            for prompt, reply in grammar.demonstrations(seed, demonstrations)
        ],
    )
