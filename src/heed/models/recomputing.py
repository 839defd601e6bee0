"""Gradient checkpointing in the forward pass of a Hugging Face model, without the dropout that usually comes with training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_DROPOUTS = ("dropout", "activation_dropout", "attention_dropout")


@contextmanager
def layers_that_recompute(module: Any) -> Iterator[None]:
    """Let each layer of ``module`` that can keep only its input for the backward pass, and compute the rest again there.

    transformers does so in training mode, which also turns dropout on. Here only the layers themselves are in that mode and not
    what they are made of, and the rates that a layer applies by itself are 0 for as long.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    module.gradient_checkpointing_enable({"use_reentrant": False})
    layers = [part for part in module.modules() if isinstance(part, GradientCheckpointingLayer)]
    rates = [
        {name: getattr(one, name) for name in _DROPOUTS if isinstance(getattr(one, name, None), float)}
        for one in layers
    ]
    for layer, own in zip(layers, rates, strict=True):
        layer.training = True
        for name in own:
            setattr(layer, name, 0.0)
    try:
        yield
    finally:
        for layer, own in zip(layers, rates, strict=True):
            layer.training = False
            for name, rate in own.items():
                setattr(layer, name, rate)
        module.gradient_checkpointing_disable()
