"""Settings of training on fixed examples, and of the comparison with the reference, sections of ``heed.yaml``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from heed.settings import Fraction, Name, Settings, Temperature
from heed.tuning_settings import LoraSettings, TunedSettings

_WHOLE = 1e-6
"""How far shares that make a whole may be from summing to 1."""


class TrainSettings(Settings):
    """What training on fixed examples has in common."""

    prompts_per_step: int = Field(32, ge=1, description="demonstrations or comparisons an optimiser step (count)")
    tokens_per_microbatch: int = Field(8192, ge=16, description="tokens in one forward and backward pass (count)")
    epochs: float = Field(2.0, gt=0.0, description="passes over the training data (count, may be a fraction)")
    learning_rate: float = Field(3e-4, ge=0.0, description="peak learning rate of AdamW")
    warmup_fraction: Fraction = Field(0.05, description="share of the steps in which the learning rate rises")
    weight_decay: float = Field(0.0, ge=0.0, description="AdamW's decoupled weight decay")
    max_grad_norm: float = Field(1.0, gt=0.0, description="gradients are scaled down to this L2 norm")
    checkpoint_every: int = Field(50, ge=1, description="optimiser steps between checkpoints (count)")


class SFTSettings(TunedSettings, TrainSettings):
    """Supervised tuning; the loss is on completions only, or on all that the assistant says in a conversation."""

    sources: list[Literal["demonstrations", "edits", "judged"]] = Field(
        ["demonstrations"],
        min_length=1,
        description="what is learned from: demonstrations, texts as raters edited them, texts that were judged by themselves",
    )
    quality: Literal["off", "keep", "weigh"] = Field(
        "off",
        description="whether a classifier, learned from ratings, thumbs and critiques, says which texts to keep or how much "
        "each counts",
    )
    quality_from: Fraction = Field(
        0.5, description="chance of being called good from which on a text is kept (probability)"
    )

    @model_validator(mode="after")
    def _judged_texts_are_chosen(self) -> SFTSettings:
        if "judged" in self.sources and self.quality == "off":
            raise ValueError(
                "sources: judged would teach bad texts as well as good ones; set quality to keep or weigh first"
            )
        return self


class ContrastiveSettings(TrainSettings):
    """Pretraining of a reward model's backbone on texts, by bringing together what belongs together."""

    prompts_per_step: int = Field(
        64, ge=4, description="texts an optimiser step, which are told from each other (count)"
    )
    epochs: float = Field(5.0, gt=0.0, description="passes over the texts (count, may be a fraction)")
    learning_rate: float = Field(3e-4, ge=0.0, description="peak learning rate of AdamW")
    quality: bool = Field(
        True,
        description="whether texts of like quality for the same kind of prompt, by judgments, attract each other; else the two "
        "views of a text alone do",
    )
    kinds: int = Field(8, ge=1, description="kinds of prompts, by their words (count)")
    pooling: Literal["mean", "last"] = Field(
        "mean", description="as the reward model's: mean of the completion, or the last"
    )
    dropped: float = Field(0.15, gt=0.0, lt=1.0, description="share of a text's tokens that a view lacks")
    dimensions: int = Field(64, ge=2, description="of the space in which texts are compared (count)")
    temperature: float = Field(0.1, gt=0.0, description="divides cosines; small is strict")
    momentum: Fraction = Field(0.99, description="share of itself that the slow encoder keeps at each step (moco)")
    queue: int = Field(512, ge=1, description="texts of earlier steps that are told from a step's (moco, count)")
    prototypes: int = Field(32, ge=2, description="clusters (swav, count)")
    epsilon: float = Field(0.05, gt=0.0, description="how soft codes are; small is sharp (swav)")
    test_fraction: Fraction = Field(
        0.15, description="share of the prompts whose judgments are not looked at, as a reward model holds them out"
    )


class PreferenceSettings(TunedSettings, TrainSettings):
    """Training a policy on judgments as they are, by an algorithm that neither samples nor needs a reward."""

    prompts_per_step: int = Field(
        32, ge=1, description="comparisons, single texts or rankings an optimiser step (count)"
    )
    epochs: float = Field(1.0, gt=0.0, description="passes over the judgments (count, may be a fraction)")
    learning_rate: float = Field(1e-4, ge=0.0, description="peak learning rate of AdamW")
    beta: Annotated[float, Field(gt=0.0)] | None = Field(
        None, description="weight of the log-ratio to the reference (reward a nat); empty takes the algorithm's own"
    )
    label_smoothing: Annotated[float, Field(ge=0.0, lt=0.5)] | None = Field(
        None,
        description="share of judgments taken to be the wrong way round (below 0.5); empty takes the algorithm's own",
    )
    margin: Annotated[float, Field(ge=0.0)] | None = Field(
        None,
        description="by how much pairs are to be parted (simpo: reward units, slic: nats); empty takes the algorithm's own",
    )
    supervised: Annotated[float, Field(ge=0.0)] | None = Field(
        None, description="weight of the preferred text's likelihood (slic); empty takes the algorithm's own"
    )
    desirable: float = Field(1.0, gt=0.0, description="weight of texts that were liked (kto)")
    undesirable: float = Field(1.0, gt=0.0, description="weight of texts that were disliked (kto)")
    raters: Literal["weighed", "equal"] = Field(
        "weighed",
        description="whether each judgment counts as much as its rater's answers tell, where a reward model has learned that",
    )
    test_fraction: Fraction = Field(
        0.1, description="share of the prompts whose judgments are held out and measured on"
    )


TextFeature = Literal["words", "characters", "length", "style", "frozen"]
RewardKind = Literal["joint", "comparison", "rating", "ranking", "thumb", "edit", "demonstration", "critique"]


class RewardSettings(TrainSettings):
    """The reward model: a backbone, a pooling of its hidden states and a scalar head, one likelihood a kind of feedback."""

    prompts_per_step: int = Field(
        32, ge=1, description="judgments an optimiser step (count); those that share texts are taken together"
    )
    backbone: Literal["network", "linear", "pairwise", "cross"] = Field(
        "network",
        description="what scores: a network that is trained, weights on features of the text (linear), or a preference "
        "between two texts, by a head on frozen features of both (pairwise) or a network that reads both (cross)",
    )
    features: list[TextFeature] = Field(
        ["words", "characters", "length", "style"],
        min_length=1,
        description="what a linear reward sees; 'frozen' are the mean hidden states of the model, which is not trained",
    )
    learner: Literal["logistic", "ridge", "svm"] = Field(
        "logistic",
        description="how a linear reward is fitted: logistic or ridge regression, or a support vector machine",
    )
    kind: RewardKind = Field(
        "joint",
        description="what it is learned from: all kinds of feedback together, or one alone; comparison takes rankings and "
        "edits for the pairs that they imply",
    )
    raters: Literal["learned", "equal"] = Field(
        "learned",
        description="whether it is learned how much each rater's answers tell, or everybody is taken for careful",
    )
    population: dict[Name, Annotated[float, Field(ge=0, le=1)]] = Field(
        default_factory=dict,
        description="share of each group of raters among the people whom the reward is for, whatever its share of the "
        "answers; empty lets every answer count alike",
    )
    length_pull: bool = Field(
        True, description="where raters are told apart, learn how far each is drawn to longer texts than the others are"
    )
    ratings: Literal["ordinal", "regression", "levels"] = Field(
        "ordinal",
        description="model of ratings: thresholds on a line, least squares, or a classifier with a class for each level",
    )
    weights: dict[Name, Annotated[float, Field(ge=-1e6, le=1e6)]] = Field(
        default_factory=dict,
        description="what the reward is the sum of, attributes, defects and what all say together ('reward'), each with its "
        "weight (reward units for the whole scale); empty leaves it to the kind",
    )
    severities: dict[Name, Annotated[int, Field(ge=1, le=20)]] = Field(
        default_factory=dict,
        description="how bad each defect of critiques is, 1 where it is not named; together they are a level as of a rating",
    )
    frozen: bool = Field(
        False, description="leave the backbone as it is and train heads alone: it reads each text once for all epochs"
    )
    lora: LoraSettings = Field(
        default_factory=LoraSettings,
        description="low-rank adapters of the network, which are added to its weights at the end",
    )
    learning_rate: float = Field(1e-3, ge=0.0, description="peak learning rate of AdamW")
    pooling: Literal["mean", "last"] = Field(
        "mean", description="what the head sees: mean of the completion's hidden states, or the last"
    )
    ties: Literal["graded", "davidson", "rao_kupper", "half"] = Field(
        "graded",
        description="model of ties: Rao-Kupper with thresholds for how strong a preference was, plain Rao-Kupper, "
        "Davidson, or half a win to each side",
    )
    members: int = Field(1, ge=1, le=64, description="reward models fitted from different seeds and averaged (count)")
    cross_fit: bool = Field(
        False,
        description="each member leaves out a share of the prompts of its own, and the accuracy is taken on what each "
        "has not seen: no comparison is lost to testing; needs at least 2 members",
    )
    words: bool = Field(
        False, description="add a sparse linear model of the completion's words; helps where comparisons are few"
    )
    test_fraction: Fraction = Field(
        0.15,
        description="share of the prompts whose comparisons are held out for the accuracy reported, without cross_fit",
    )
    validation_fraction: Fraction = Field(0.1, description="share of the training prompts that decides when to stop")
    patience: int = Field(3, ge=1, description="validations without a better loss before training stops (count)")
    validations_per_epoch: int = Field(2, ge=1, description="how often an epoch the validation loss is taken (count)")

    @model_validator(mode="after")
    def _members_to_leave_something_out(self) -> RewardSettings:
        if self.cross_fit and self.members < 2:
            raise ValueError("cross_fit with one member would leave out everything; set members to 2 or more first")
        return self

    @model_validator(mode="after")
    def _adapters_of_a_network_that_learns(self) -> RewardSettings:
        if self.lora.rank and (self.frozen or self.backbone != "network"):
            how = "frozen" if self.frozen else f"backbone: {self.backbone}"
            raise ValueError(f"adapters are for backbone: network that is trained; with {how} set lora.rank to 0 first")
        return self

    @model_validator(mode="after")
    def _groups_stand_for_people(self) -> RewardSettings:
        if not self.population:
            return self
        if abs(sum(self.population.values()) - 1) > _WHOLE:
            raise ValueError(f"the shares of population sum to {sum(self.population.values()):g}, not to 1")
        if self.raters != "equal":
            raise ValueError(
                "population is for opinions that differ, and raters: learned would take who differs from most to err; set "
                "raters: equal first"
            )
        if self.backbone != "network":
            raise ValueError(
                f"population is for backbone: network; a {self.backbone} reward lets all answers count alike"
            )
        return self


class EvaluateSettings(Settings):
    """How a policy is compared with its reference."""

    prompts: int = Field(400, ge=2, description="held-out prompts (count)")
    temperature: Temperature = Field(
        1.0, ge=0.0, description="sampling temperature of both sides; 0 takes the likeliest token"
    )
    confidence: float = Field(0.95, gt=0.5, le=0.9999, description="coverage of every interval (probability)")
