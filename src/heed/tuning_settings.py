"""Settings of how a network's weights are trained, within several sections of ``heed.yaml``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

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
    dtype: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="numbers in which products are computed; weights, their updates and log-probabilities stay in float32",
    )
    gradient_checkpointing: bool = Field(
        False,
        description="compute the activations of each layer again in the backward pass instead of keeping them: the same "
        "gradients, less memory, about a third more time",
    )
    quantization: Literal["none", "8bit", "4bit"] = Field(
        "none",
        description="bits in which the frozen weights under adapters are kept; needs lora.rank, a CUDA device and the extra "
        "quantized",
    )

    @model_validator(mode="after")
    def _quantized_weights_are_not_trained(self) -> TunedSettings:
        if self.quantization != "none" and not self.lora.rank:
            raise ValueError(
                f"weights of {self.quantization} cannot be trained, only adapters on them; set lora.rank above 0 first"
            )
        return self
