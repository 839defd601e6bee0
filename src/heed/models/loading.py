"""Reading models and tokenizers from folders and the hub, with errors that a person can act on. Only safetensors are read."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import torch

from heed.errors import ModelError
from heed.models.adapters import base_of, merged
from heed.models.encoder_decoder import is_encoder_decoder
from heed.texts import cut, shown

_REASON_SHOWN, _MISSING_SHOWN = 400, 3
_HUB = "https://huggingface.co"
_LOOK_AGAIN = 30.0  # seconds


@contextmanager
def hub_in_reach(source: str | Path) -> Iterator[bool]:
    """Let what is no folder be taken from the hub's cache alone where the hub's name cannot be resolved; yields whether it can.

    Its client would try again for a minute, for each file of a model, even of one that lies in the cache.
    """
    if Path(source).exists() or _hub_resolves(int(time.monotonic() / _LOOK_AGAIN)):
        yield True
        return
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield False
    finally:
        constants.HF_HUB_OFFLINE = before


@lru_cache(maxsize=1)
def _hub_resolves(moment: int) -> bool:
    """Whether there is an address for the hub; asked once a ``moment``."""
    hub = urlsplit(os.environ.get("HF_ENDPOINT") or _HUB)
    proxies = getproxies()
    # Through a proxy, names are the proxy's business.
    if not hub.hostname or proxies.get(hub.scheme) or proxies.get("all"):
        return True
    try:
        socket.getaddrinfo(hub.hostname, None)
    except OSError:
        return False
    return True


def _lacks_files(error: BaseException) -> bool:
    """Whether something was wanted of the hub that its cache does not hold; else what lies there is at fault."""
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    chain: list[BaseException] = [error]
    while (before := chain[-1].__cause__ or chain[-1].__context__) is not None and before not in chain:
        chain.append(before)
    return any(isinstance(one, LocalEntryNotFoundError | OfflineModeIsEnabled) for one in chain)


def _refuse_foreign_weights(folder: Path) -> None:
    """transformers reads whatever files an index names, pickles and files of other folders among them.

    Raises:
        ModelError: the index names something that is no safetensors file of this folder, or cannot be read.
    """
    for index in folder.glob("*.index.json"):
        try:
            named = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            named = {"what it says, which is no index"}
        for name in sorted(map(str, named)):
            if not name.endswith(".safetensors") or Path(name).name != name:
                raise ModelError(
                    f"cannot load the model of {folder}",
                    f"{index.name} names {shown(name)}, and only safetensors files of the folder are read.",
                    "Save the model anew: model.save_pretrained(FOLDER).",
                )


def language_model(source: str | Path) -> Any:
    """The class of transformers that loads ``source`` as a model that writes: an encoder-decoder, or a decoder alone."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    try:
        root = root_of(source)
        with hub_in_reach(root):
            config = AutoConfig.from_pretrained(str(root), trust_remote_code=False)
    except Exception:  # noqa: BLE001 - whatever is wrong with it, loading the model says it in better words
        return AutoModelForCausalLM
    return AutoModelForSeq2SeqLM if is_encoder_decoder(config) else AutoModelForCausalLM


def load_model(loader: Any, source: str | Path, dtype: torch.dtype) -> Any:
    """A model with its weights; where ``source`` is an adapter, its base with the adapter merged.

    Raises:
        ModelError: it cannot be loaded.
    """
    base = base_of(source)
    if base is None:
        return load_pretrained(loader, source, dtype)
    return merged(load_model(loader, base, dtype), source)


def load_quantized(loader: Any, source: str | Path, quantization: str, device: str) -> Any:
    """A model with its linear layers in 8 or 4 bits by bitsandbytes; 4 bits as NF4 (Dettmers et al. 2023, section 3).

    Raises:
        ModelError: it is an adapter, whose base would have to be changed, or it cannot be loaded.
    """
    from transformers import BitsAndBytesConfig

    if base_of(source) is not None:
        raise ModelError(
            f"{source} in {quantization}",
            "it is an adapter, and to add it to its model would round that twice.",
            "Make one model of them first: heed merge FOLDER --out DIR",
        )
    config = (
        BitsAndBytesConfig(load_in_8bit=True)
        if quantization == "8bit"
        else BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
    )
    return load_pretrained(loader, source, torch.bfloat16, quantization_config=config, device_map={"": device})


def root_of(source: str | Path) -> str | Path:
    """The model below all adapters of ``source``: itself, where it is none."""
    base = base_of(source)
    return source if base is None else root_of(base)


def load_pretrained(loader: Any, source: str | Path, dtype: torch.dtype | None = None, **options: Any) -> Any:
    """``loader.from_pretrained`` with errors a person can act on; ``options`` are its own."""
    is_tokenizer = dtype is None
    extra = {} if is_tokenizer else {"dtype": dtype, "use_safetensors": True, "output_loading_info": True}
    folder = Path(source)
    if folder.is_dir() and is_tokenizer and not any(folder.glob("*token*")) and not any(folder.glob("*.model")):
        raise ModelError(
            f"{source} has no tokenizer",
            "no tokenizer file lies beside the weights.",
            "Save one there: AutoTokenizer.from_pretrained(ORIGIN).save_pretrained(FOLDER).",
        )
    if not folder.exists() and (str(source).startswith((".", "/", "~")) or str(source).count("/") > 1):
        raise ModelError(f"no model at {source}", "the folder does not exist.", "Check the path.")
    _refuse_foreign_weights(folder)
    asked = True
    try:
        with hub_in_reach(source) as asked:
            # Said in so many words: else transformers asks at the terminal whether to run code that lies beside the weights.
            loaded = loader.from_pretrained(str(source), trust_remote_code=False, **extra, **options)
    except MemoryError:
        raise
    except Exception as error:  # a damaged file may fail anywhere in the code of its architecture
        part = "tokenizer" if is_tokenizer else "model"
        reason = " ".join(str(error).split()) or type(error).__name__
        if not asked and _lacks_files(error):
            reason = "no folder has this name, the hub cannot be reached from here, and its cache does not hold the whole of it."
        raise ModelError(
            f"cannot load the {part} of {source}",
            cut(reason, _REASON_SHOWN).rstrip(".") + ".",
            "Give a folder that holds config.json, model.safetensors and tokenizer.json, or a hub id that can be reached.",
        ) from error
    if is_tokenizer:
        return loaded
    model, found = loaded
    # transformers would draw what is missing at random; only a pooler's weights are never used here.
    missing = sorted(name for name in found["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise ModelError(
            f"the model of {source} lacks {len(missing)} of its weights",
            f"its files do not hold what config.json announces: {', '.join(missing[:_MISSING_SHOWN])}.",
            "Give the whole model, of the kind that is needed here: a backbone without its head is no language model.",
        )
    return model


def check_tokenizer(model: Any, tokenizer: Any, source: str) -> None:
    """Raise ModelError where the tokenizer can make ids that the model has no embedding for."""
    rows = model.get_input_embeddings().weight.shape[0]
    top = max(tokenizer.get_vocab().values(), default=-1)
    if top >= rows:
        raise ModelError(
            f"the tokenizer of {source} does not fit its model",
            f"it makes token ids up to {top}, but the model has {rows} embeddings.",
            "Use the tokenizer that the model was trained with, or model.resize_token_embeddings(len(tokenizer)).",
        )


def context_length(config: Any) -> int:
    """Longest sequence a model takes (tokens)."""
    for name in ("max_position_embeddings", "n_positions", "max_seq_len"):
        if isinstance(getattr(config, name, None), int):
            return int(getattr(config, name))
    return 1 << 30
