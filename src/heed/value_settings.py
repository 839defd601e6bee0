"""Settings of learning by values: a Q network on samples of its own, and implicit language Q-learning on judgments. Ground floor."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from heed.settings import Fraction, Settings, Temperature
from heed.training_settings import TrainSettings


class DQNSettings(Settings):
    """Learning what each token is worth from samples (`policy.algorithm: dqn`). Rollouts, rewards, constraints and learning rates
    are those of `policy`; this section has what no other algorithm knows."""

    n_step: int = Field(
        5, ge=1, description="tokens that a target looks ahead before it asks the target network (count)"
    )
    anchored: bool = Field(
        True,
        description="a value says how much likelier a token is to become than it is in the reference, which the policy so stays "
        "near, as by a KL coefficient of the temperature; off, as in Mnih et al., nothing holds it",
    )
    double: bool = Field(
        True,
        description="where not anchored: the network chooses the best next token and the target network values it; off, one does both",
    )
    target_rate: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        0.05, description="how far the target network moves to the network at a time (share); 1 copies it"
    )
    target_every: int = Field(1, ge=1, description="updates between moves of the target network (count)")
    huber: float = Field(1.0, gt=0.0, description="errors beyond this pull with the same force (reward units)")
    buffer: int = Field(2048, ge=1, description="completions kept to learn from, the newest (count)")
    updates: int = Field(8, ge=1, description="optimiser steps after each rollout (count)")
    completions_per_update: int = Field(
        64, ge=1, description="completions drawn from the buffer for one of them (count)"
    )
    exploration: Literal["boltzmann", "epsilon_greedy"] = Field(
        "boltzmann",
        description="how rollouts explore: tokens in proportion to exp(Q / temperature), or, where not anchored, the best token "
        "and now and then any",
    )
    temperature_start: Temperature = Field(
        0.1,
        gt=0.0,
        description="Boltzmann temperature at the start, where it draws as the model did: reward units that a nat of its "
        "log-probabilities is worth",
    )
    temperature_end: Annotated[Temperature, Field(gt=0.0)] | None = Field(
        None,
        description="where not anchored: Boltzmann temperature at the end, and of the policy that is written (reward units); "
        "empty stays at that of the start",
    )
    epsilon_start: Fraction = Field(0.2, description="epsilon_greedy: share of tokens left to chance at the start")
    epsilon_end: Fraction = Field(0.02, description="epsilon_greedy: share of tokens left to chance at the end")
    annealing: Fraction = Field(
        0.5, description="where not anchored: share of the steps in which exploration goes from start to end"
    )

    @property
    def last_temperature(self) -> float:
        """Boltzmann temperature at the end (reward units)."""
        return self.temperature_start if self.temperature_end is None else self.temperature_end

    @model_validator(mode="after")
    def _is_anchored_or_explores(self) -> DQNSettings:
        if self.anchored and self.exploration == "epsilon_greedy":
            raise ValueError(
                "anchored values say what is worth more than the reference thinks, not which token is best, as epsilon_greedy must "
                "know; set anchored to false, or exploration to boltzmann"
            )
        if self.anchored and self.last_temperature != self.temperature_start:
            raise ValueError(
                f"temperature_end {self.last_temperature:g} with anchored values: their policy is that of one temperature, "
                f"{self.temperature_start:g} from start to end; leave temperature_end empty, or set anchored to false"
            )
        return self

    @model_validator(mode="after")
    def _cools_down(self) -> DQNSettings:
        if self.last_temperature > self.temperature_start:
            raise ValueError(
                f"temperature_end {self.last_temperature:g} is above temperature_start {self.temperature_start:g}: the policy "
                "that is written would draw more wildly than the model did; lower it"
            )
        if self.epsilon_end > self.epsilon_start:
            raise ValueError(
                f"epsilon_end {self.epsilon_end:g} is above epsilon_start {self.epsilon_start:g}; lower it"
            )
        return self


class ILQLSettings(TrainSettings):
    """Implicit language Q-learning on judgments as they are (`policy.algorithm: ilql`): what each token of a judged text was worth,
    and a policy that leans towards what is worth more."""

    prompts_per_step: int = Field(32, ge=1, description="judged texts an optimiser step (count)")
    epochs: float = Field(4.0, gt=0.0, description="passes over the judged texts (count, may be a fraction)")
    learning_rate: float = Field(1e-4, ge=0.0, description="peak learning rate of AdamW, of the model")
    head_rate: float = Field(10.0, gt=0.0, description="learning rate of the heads of values beside it (factor)")
    beta: float = Field(
        4.0,
        ge=0.0,
        description="how far the policy leans towards what is worth more (nats a reward unit); 0 not at all",
    )
    expectile: float = Field(
        0.7,
        gt=0.0,
        lt=1.0,
        description="value of a text so far: 0.5 the mean of what was written next, towards 1 the best",
    )
    conservative: float = Field(
        0.1, ge=0.0, description="weight of keeping down the values of tokens that nobody wrote (squared reward a nat)"
    )
    imitation: float = Field(
        1.0, ge=0.0, description="weight of the likelihood of the judged texts, good and bad (squared reward a nat)"
    )
    gamma: Fraction = Field(1.0, description="discount a token")
    target_rate: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        0.05, description="how far the target heads move to the heads after each step (share); 1 copies them"
    )
    raters: Literal["weighed", "equal"] = Field(
        "weighed",
        description="whether each judgment counts as much as its rater's answers tell, where a reward model has learned that",
    )
    test_fraction: Fraction = Field(
        0.1, description="share of the prompts whose judgments are held out and measured on"
    )
