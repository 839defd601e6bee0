"""Settings of how a network's weights are trained, within several sections of ``heed.yaml``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from heed.settings import Settings


class LoraSettings(Settings):
    """Training low-rank adapters of a model's linear layers instead of its weights (Hu et al. 2021); needs the extra ``lora``."""

    rank: int = Field(0, ge=0, le=4096, description="rank of each adapter (count); 0 trains all weights instead")
    alpha: float = Field(16.0, gt=0.0, description="what an adapter adds is multiplied by alpha / rank")
    modules: list[Annotated[str, Field(min_length=1)]] = Field(
        default_factory=list,
        description="ends of the names of the linear layers that get one, such as q_proj; empty takes all but the head",
    )


class TunedSettings(Settings):
    """What training the weights of a language model has in common, by whatever loss."""

    lora: LoraSettings = Field(default_factory=LoraSettings, description="low-rank adapters")
