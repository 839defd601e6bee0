"""A policy made ready for training: its weights or adapters, the numbers that it computes in, and what it keeps in memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from heed.errors import ConfigError
from heed.models.adapters import adapt
from heed.models.policy import Body, Policy

if TYPE_CHECKING:
    from heed.tuning_settings import TunedSettings


def load_tuned(source: str | Path, settings: TunedSettings, device: str, seed: int) -> Policy:
    """Load the policy that a stage is to train.

    Raises:
        ConfigError: this machine cannot do what the settings ask for. ModelError: see ``Policy.load`` and ``adapt``.
    """
    check_machine(settings, device)
    policy = Policy.load(source, device, quantization=settings.quantization)
    adapt(policy, settings.lora, seed)
    set_up(policy.body, settings)
    return policy


def load_reference(source: str | Path, settings: TunedSettings, device: str) -> Policy:
    """Load a policy that is only compared with: it computes as the trained one does, so that they are equal at the start."""
    policy = Policy.load(source, device)
    set_up(policy.body, settings)
    return policy


def set_up(body: Body, settings: TunedSettings) -> None:
    """Let a network compute and keep what the settings say."""
    body.dtype = None if settings.dtype == "float32" else torch.bfloat16
    body.recompute = settings.gradient_checkpointing


def check_machine(settings: TunedSettings, device: str) -> None:
    """Refuse what this machine has no hardware or no package for.

    Raises:
        ConfigError: naming it.
    """
    cuda = device.startswith("cuda")
    if settings.dtype == "bfloat16" and cuda and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise ConfigError(
            f"dtype bfloat16 on {device}",
            f"this GPU, {torch.cuda.get_device_name(device)}, does not compute in bfloat16.",
            "Set dtype to float32.",
        )
    if settings.quantization == "none":
        return
    if not cuda:
        raise ConfigError(
            f"quantization {settings.quantization} on {device}",
            "weights of few bits are multiplied by kernels for CUDA devices alone.",
            "Set quantization to none, or train on a machine with such a device.",
        )
    try:
        import bitsandbytes  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"quantization {settings.quantization}",
            "it needs the package bitsandbytes, which is not installed.",
            "Install it: pip install 'heed[quantized]'",
        ) from error
