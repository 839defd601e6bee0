"""Low-rank adapters (LoRA, Hu et al. 2021, section 4.1) through PEFT: put into a model, saved, read back, merged.

PEFT replaces linear layers inside the Hugging Face model by layers of its own, so the model stays where it was: ``policy.model``
is still what has a body and a head, and ``policy.adapter`` is PEFT's handle on it.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from heed.errors import ConfigError, ModelError
from heed.texts import cut, shown
from heed.tuning_settings import LoraSettings

if TYPE_CHECKING:
    from heed.models.policy import Policy

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_REASON_SHOWN = 400


def peft() -> Any:
    """The package, imported when it is first needed.

    Raises:
        ModelError: it is not installed.
    """
    try:
        import peft as package
    except ImportError as error:
        raise ModelError(
            "adapters need the package peft", "it is not installed.", "Install it: pip install 'heed[lora]'"
        ) from error
    return package


def adapt(policy: Policy, settings: LoraSettings, seed: int) -> None:
    """Give a policy an adapter that changes nothing yet, where the settings want one; its own weights are then frozen.

    Raises:
        ModelError: PEFT is not installed. ConfigError: the settings name no linear layer of the model, or its head.
    """
    if not settings.rank:
        return
    from heed.models.policy import Body

    model = policy.model
    heads = [model.get_input_embeddings(), model.get_output_embeddings()]
    config = _config(model, settings, heads)
    config.task_type = "SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM"
    with _seeded(seed), _quietly():
        policy.adapter = peft().get_peft_model(model, config)
    policy.adapter.peft_config["default"].base_model_name_or_path = _whereabouts(policy.source)
    model.eval()
    policy.body = Body(model.base_model)


def adapt_backbone(backbone: Any, settings: LoraSettings, seed: int) -> None:
    """The same for a backbone without a head, unless it has adapters already.

    Raises:
        ModelError, ConfigError: see ``adapt``.
    """
    if not settings.rank or any("lora_" in name for name, _ in backbone.named_parameters()):
        return
    with _seeded(seed), _quietly():
        peft().inject_adapter_in_model(_config(backbone, settings, [backbone.get_input_embeddings()]), backbone)


@contextmanager
def adapted_while_fitted(backbone: Any, settings: LoraSettings, seed: int) -> Iterator[None]:
    """The same for as long as the block lasts, where the settings want it; then the adapters are added to the weights.

    Raises:
        ModelError, ConfigError: see ``adapt``.
    """
    if not settings.rank:
        yield
        return
    with _seeded(seed), _quietly():
        config = _config(backbone, settings, [backbone.get_input_embeddings()])
        tuner = peft().LoraModel(backbone, config, "default")
    try:
        yield
    finally:
        tuner.merge_and_unload()


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """PEFT draws the first weights of adapters from torch's own generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@contextmanager
def _quietly() -> Iterator[None]:
    """PEFT reads attributes that transformers is about to rename, which is no news to whoever trains."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def _config(model: Any, settings: LoraSettings, heads: Sequence[Any]) -> Any:
    linear = {
        name.rsplit(".", 1)[-1]
        for name, module in model.named_modules()
        if not any(module is head for head in heads) and isinstance(module, nn.Linear | Conv1D)
    }
    unknown = sorted(set(settings.modules) - linear)
    if unknown:
        raise ConfigError(
            f"lora.modules names {shown(unknown[0])}",
            f"the model has no linear layer of that name that takes an adapter; it has {', '.join(sorted(linear))}.",
            "Name some of those, or leave lora.modules empty for all of them.",
        )
    return peft().LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        target_modules=settings.modules or sorted(linear),
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
    )


def _whereabouts(source: str) -> str:
    """A folder by its whole path, since an adapter is read from wherever somebody stands; a hub id as it is."""
    return str(Path(source).resolve()) if Path(source).exists() else source


def without_adapter(policy: Policy) -> Policy:
    """The policy that the adapter was put on, as another view of the same weights."""
    from heed.models.policy import Body

    body = Body(policy.model.base_model, switched_off=policy.adapter)
    body.dtype, body.recompute = policy.body.dtype, policy.body.recompute
    return replace(policy, body=body, adapter=None)


class _Part(nn.Module):
    """Some parameters of a network, under their own names."""

    def __init__(self, parameters: dict[str, nn.Parameter]) -> None:
        super().__init__()
        for name, parameter in parameters.items():
            self.register_parameter(name.replace(".", "/"), parameter)


def trained_part(module: nn.Module) -> nn.Module:
    """What of a network is trained, and has a place in checkpoints: all of it, or its adapters and what else is not frozen."""
    trained = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    if len(trained) == len(list(module.parameters())):
        return module
    return _Part(trained)


def save_adapter(policy: Policy, folder: Path) -> None:
    """Write the adapter alone, in PEFT's layout."""
    # "auto" would look on the hub whether the vocabulary has grown, which heed never does.
    policy.adapter.save_pretrained(str(folder), save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # PEFT's, a form with nothing filled in


def base_of(source: str | Path) -> str | None:
    """The model that the adapter in this folder belongs to; None where the folder holds no adapter.

    Raises:
        ModelError: the folder is an adapter that heed does not read, or its base is not there.
    """
    file = Path(source) / CONFIG
    if not file.is_file() or (Path(source) / "config.json").is_file():
        return None
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"cannot read {file}", f"{cut(str(error), _REASON_SHOWN)}.", "Save the adapter anew with PEFT or heed."
        ) from error
    needed = ("base_model_name_or_path", "peft_type")
    if not isinstance(config, dict) or any(name not in config for name in needed):
        raise ModelError(
            f"{file} is no adapter's configuration",
            f"it does not say {' and '.join(needed)}.",
            "Save the adapter anew with PEFT or heed.",
        )
    base, kind = (config[name] for name in needed)
    # A megatron configuration would name code to import.
    if kind != "LORA" or config.get("megatron_config"):
        raise ModelError(
            f"{source} is an adapter of the kind {shown(kind)}",
            "heed reads LoRA.",
            "Merge it into its model with PEFT, and give the merged model.",
        )
    if not (Path(source) / WEIGHTS).is_file():
        raise ModelError(
            f"{source} has no {WEIGHTS}", "adapters are read from safetensors alone.", "Save it anew with PEFT or heed."
        )
    if not isinstance(base, str) or not base or (Path(base).is_absolute() and not Path(base).is_dir()):
        raise ModelError(
            f"the base of the adapter {source} is not there",
            f"{CONFIG} says that it was trained on {shown(base)}.",
            f"Put that model back, or write where it lies now as base_model_name_or_path in {CONFIG}.",
        )
    if _comes_back(Path(source)):
        raise ModelError(f"the adapter {source} names itself as its base", "it has no model.", f"Correct {CONFIG}.")
    return base


def _comes_back(folder: Path) -> bool:
    """Whether an adapter's base, or the base of that and so on, is the adapter itself or one that was passed before."""
    passed = set[Path]()
    while (folder / CONFIG).is_file():
        if (here := folder.resolve()) in passed:
            return True
        passed.add(here)
        try:
            base = json.loads((folder / CONFIG).read_text(encoding="utf-8")).get("base_model_name_or_path")
        except (OSError, ValueError, AttributeError):
            return False
        if not isinstance(base, str) or not base:
            return False
        folder = Path(base)
    return False


def load_adapted(folder: str | Path, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Policy:
    """A policy from an adapter's folder with the adapter apart from its weights, as it is while it is trained.

    Raises:
        ModelError: see ``base_of`` and ``Policy.load``.
    """
    from heed.models.policy import Body, Policy

    base = base_of(folder)
    if base is None:
        return Policy.load(folder, device, dtype)
    policy = Policy.load(base, device, dtype)
    policy.adapter = _put_on(policy.model, folder)
    policy.model.eval()
    policy.body = Body(policy.model.base_model)
    return policy


def merged(model: Any, folder: str | Path) -> Any:
    """A model with the adapter of a folder added to its weights.

    Raises:
        ModelError: the adapter does not fit the model, or cannot be read.
    """
    return _put_on(model, folder).merge_and_unload(safe_merge=True)


def _put_on(model: Any, folder: str | Path) -> Any:
    """PEFT's handle on a model with the adapter of a folder."""
    package = peft()
    try:
        with _quietly():
            return package.PeftModel.from_pretrained(model, str(folder), is_trainable=True)
    except MemoryError:
        raise
    except Exception as error:  # a damaged file may fail anywhere in PEFT
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(
            f"cannot put the adapter {folder} on its base",
            cut(reason, _REASON_SHOWN).rstrip(".") + ".",
            "Check that base_model_name_or_path is the model that it was trained on.",
        ) from error
