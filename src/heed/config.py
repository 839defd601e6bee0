"""``heed.yaml`` as pydantic models. Ground floor: every other file may import it, it imports only from this floor.

Every field carries its unit and meaning in ``description``; ``heed init`` writes them as comments, and the reference in
``docs/`` is made from them. Unknown keys are refused with the nearest known one.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import AfterValidator, BaseModel, Field, ValidationError, field_validator, model_validator

from heed.constraint_settings import OWN_CONSTRAINTS, ConstraintSettings, scorer_url
from heed.errors import ConfigError
from heed.rater_settings import RatersSettings
from heed.safe_yaml import read_yaml
from heed.serve_settings import ServeSettings as ServeSettings
from heed.settings import FUNCTION, Fraction, Temperature
from heed.settings import LARGEST_SEED as LARGEST_SEED
from heed.settings import Settings as Settings
from heed.texts import cut, shown
from heed.training_settings import EvaluateSettings as EvaluateSettings
from heed.training_settings import PreferenceSettings as PreferenceSettings
from heed.training_settings import RewardSettings as RewardSettings
from heed.training_settings import SFTSettings as SFTSettings
from heed.tuning_settings import TunedSettings
from heed.value_settings import DQNSettings as DQNSettings
from heed.value_settings import ILQLSettings as ILQLSettings

NO_MODEL = "none-chosen-yet"
"""Stands for the base model in the heed.yaml of a project that collects feedback before there is one."""


AlgorithmName = Literal[
    "ppo", "trpo", "a2c", "a3c", "reinforce", "rloo", "grpo", "dr_grpo", "dapo", "gspo", "best_of_n", "online_dpo",
    "dpo", "cdpo", "ipo", "simpo", "slic", "orpo", "kto", "listwise_dpo",
    "dqn", "ilql",
]  # fmt: skip
GROUPED = ("rloo", "grpo", "dr_grpo", "dapo", "gspo", "best_of_n", "online_dpo")
"""Algorithms that compare the samples of a prompt with each other."""
ONE_UPDATE = ("a2c", "a3c", "reinforce", "rloo", "best_of_n", "online_dpo")
"""Algorithms whose gradient is right for a single update on what was sampled."""
OWN_SAMPLES = ("trpo", "a2c", "reinforce", "rloo", "best_of_n", "online_dpo")
"""Algorithms that learn right from what the present policy has sampled alone: no ratio tells them of an earlier one."""


class SamplingSettings(Settings):
    """How completions are drawn from a model."""

    prompts: int = Field(512, ge=1, description="prompts to sample for in one run of the stage (count)")
    samples_per_prompt: int = Field(2, ge=1, description="completions drawn for each prompt (count)")
    max_new_tokens: int = Field(64, ge=1, description="longest completion (tokens)")
    temperature: Temperature = Field(1.0, ge=0.0, description="sampling temperature; 0 takes the likeliest token")
    top_p: float = Field(1.0, gt=0.0, le=1.0, description="nucleus sampling: mass kept (probability); 1 is off")
    top_k: int = Field(0, ge=0, description="likeliest tokens kept (count); 0 is off")
    stop: list[Annotated[str, Field(min_length=1)]] = Field(
        default_factory=list, description="strings that end a completion; they are cut off"
    )
    rows_per_batch: int = Field(128, ge=1, description="completions decoded at once (count); lower it to save memory")


def _reward(name: str) -> str:
    if name not in ("model", "raters") and not FUNCTION.fullmatch(name):
        try:
            scorer_url(name)
        except ValueError as error:
            raise ValueError(f"it is not model, raters, package.module:function or a scorer's URL: {error}") from None
    return name


class PolicySettings(TunedSettings):
    """Optimising the policy: by PPO against the reward model, with the reference policy's KL as a guard, or by an algorithm
    that learns from judgments as they are and has its settings under ``preference``."""

    algorithm: AlgorithmName = Field(
        "ppo", description="how the policy is optimised; heed explain says when to use which"
    )
    reward: Annotated[str, AfterValidator(_reward)] = Field(
        "model",
        description="what scores what it writes: model (the newest reward model), raters (its raters, asked while it waits), "
        "package.module:function, or the URL of a scorer",
    )
    ratings_per_text: int = Field(
        1, ge=1, le=20, description="reward raters: ratings that each text is to have (count)"
    )
    steps: int = Field(40, ge=1, description="rollouts, each followed by its epochs of updates (count)")
    prompts_per_step: int = Field(32, ge=1, description="prompts a rollout (count)")
    samples_per_prompt: int = Field(2, ge=1, description="completions for each prompt of a rollout (count)")
    tokens_per_microbatch: int = Field(8192, ge=16, description="tokens in one forward and backward pass (count)")
    max_new_tokens: int = Field(64, ge=1, description="longest completion (tokens)")
    temperature: Temperature = Field(
        1.0, gt=0.0, description="temperature of the rollouts and of every log-probability"
    )
    top_p: float = Field(1.0, description="must stay 1: a rollout is a pure sample of the policy")
    top_k: int = Field(0, description="must stay 0: a rollout is a pure sample of the policy")
    epochs: Annotated[int, Field(ge=1)] | None = Field(
        None, description="passes over one rollout (count); empty takes the algorithm's own"
    )
    minibatches: int = Field(1, ge=1, description="optimiser steps an epoch (count)")
    staleness: Annotated[int, Field(ge=0, le=16)] | None = Field(
        None,
        description="updates that the sampling policy is behind (count): so many processes sample while it learns; 0 takes "
        "turns, empty takes the algorithm's own",
    )
    learning_rate: float = Field(3e-4, ge=0.0, description="peak learning rate of the policy")
    value_learning_rate: float = Field(
        1e-3, ge=0.0, description="peak learning rate of a separate value model, and of the head of values of dqn"
    )
    warmup_steps: int = Field(2, ge=0, description="steps in which the learning rates rise (count)")
    value_model: Literal["separate", "shared"] = Field(
        "separate", description="own network for the values, or a head on the policy's trunk"
    )
    kl_control: Literal["fixed", "adaptive"] = Field(
        "fixed", description="keep the KL coefficient, or steer it towards kl_target"
    )
    kl_coefficient: float = Field(
        0.05, ge=0.0, description="per-token KL penalty in the reward (reward per nat), at the start"
    )
    kl_target: float = Field(
        10.0, gt=0.0, description="KL to the reference that the adaptive control aims at (nats a completion)"
    )
    kl_horizon: int = Field(1024, ge=1, description="episodes over which the adaptive control corrects (count)")
    kl_budget: float = Field(
        20.0, gt=0.0, description="training stops when the KL to the reference stays above this (nats a completion)"
    )
    update_kl_limit: float = Field(
        0.2,
        gt=0.0,
        description="the remaining epochs of a rollout are skipped above this KL to the rollout's policy (nats a token)",
    )
    trust_region: float = Field(
        0.01, gt=0.0, description="trpo: largest KL to the rollout's policy that an update may bring (nats a token)"
    )
    pretraining_coefficient: float = Field(
        0.0,
        ge=0.0,
        description="weight of other texts' likelihood in each update, PPO-ptx (reward a nat a token); 0 is off",
    )
    gamma: Fraction = Field(1.0, description="discount a token")
    gae_lambda: Fraction = Field(0.95, description="GAE's lambda")
    clip_ratio: Annotated[float, Field(gt=0.0)] | None = Field(
        None, description="epsilon on the importance ratio of PPO and its kin; empty takes the algorithm's own"
    )
    clip_ratio_high: Annotated[float, Field(gt=0.0)] | None = Field(
        None,
        description="the same on the upper side; empty takes the algorithm's own, or clip_ratio where that is given",
    )
    clip_value: float = Field(0.2, gt=0.0, description="value predictions may move this far a rollout (reward units)")
    value_coefficient: float = Field(0.1, ge=0.0, description="weight of the value loss where the trunk is shared")
    entropy_coefficient: float = Field(0.0, ge=0.0, description="weight of the entropy bonus (reward per nat)")
    whiten_advantages: bool = Field(True, description="advantages to mean 0 and variance 1 over the whole rollout")
    whiten_rewards: bool = Field(False, description="token rewards to variance 1 over the whole rollout")
    reward_clip: float = Field(
        10.0, gt=0.0, description="scores are clipped to plus and minus this (standard deviations of the reference's)"
    )
    pessimism: float = Field(
        0.0,
        ge=0.0,
        le=100.0,
        description="taken off each score for a standard deviation of the reward's members (standard deviations); 0 is off",
    )
    missing_end_penalty: float = Field(
        1.0, ge=0.0, description="constraint: taken off where a completion has no end (reward units)"
    )
    length_target: int = Field(
        0, ge=0, description="constraint: completions longer than this are penalised (tokens); 0 is off"
    )
    length_penalty: float = Field(
        0.0, ge=0.0, description="constraint: taken off for each token over length_target (reward units)"
    )
    constraints: list[ConstraintSettings] = Field(
        default_factory=list, description="further constraints, stated apart from the reward: see below"
    )
    max_grad_norm: float = Field(1.0, gt=0.0, description="gradients are scaled down to this L2 norm")
    entropy_floor: float = Field(0.1, ge=0.0, description="alarm when the policy's entropy falls below (nats a token)")
    length_drift: float = Field(1.5, gt=1.0, description="alarm when the mean length grows by this factor")
    audit_every: int = Field(10, ge=1, description="steps between looks at held-out truth, where one is known (count)")
    checkpoint_every: int = Field(5, ge=1, description="steps between checkpoints (count)")

    @field_validator("constraints")
    @classmethod
    def _each_has_a_name_of_its_own(cls, constraints: list[ConstraintSettings]) -> list[ConstraintSettings]:
        names = [constraint.name for constraint in constraints]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two constraints are called '{twice}'")
        if taken := next((name for name in names if name in OWN_CONSTRAINTS), None):
            raise ValueError(f"'{taken}' is the name of a constraint that has settings of its own")
        return constraints

    @model_validator(mode="after")
    def _pure_rollouts(self) -> PolicySettings:
        if self.top_p != 1.0 or self.top_k != 0:
            raise ValueError(
                f"top_p {self.top_p} and top_k {self.top_k} would make rollouts that are not samples of the policy: their "
                "log-probabilities would be wrong and the KL could turn negative; leave top_p at 1 and top_k at 0, and use "
                "them under 'sampling' instead"
            )
        self._refuse_what_the_algorithm_cannot()
        if self.kl_control == "adaptive":
            if self.kl_coefficient == 0:
                raise ValueError(
                    "an adaptive kl_coefficient of 0 stays 0 for ever; start above 0 or set kl_control to fixed"
                )
            episodes = self.prompts_per_step * self.samples_per_prompt
            if self.kl_horizon <= 0.2 * episodes:
                raise ValueError(
                    f"kl_horizon {self.kl_horizon} is too short for {episodes} episodes a step: the coefficient could turn "
                    f"negative; set it above {0.2 * episodes:g}"
                )
        return self

    def _refuse_what_the_algorithm_cannot(self) -> None:
        if self.algorithm in GROUPED and self.samples_per_prompt < 2:
            raise ValueError(
                f"{self.algorithm} compares the samples of a prompt with each other, and with samples_per_prompt 1 every "
                "advantage is 0; set it to 2 or more"
            )
        if self.algorithm == "reinforce" and self.prompts_per_step * self.samples_per_prompt < 2:
            raise ValueError(
                "reinforce takes the other samples of a step as its baseline; set prompts_per_step to 2 or more"
            )
        if self.algorithm == "trpo":
            if self.value_model != "separate":
                raise ValueError(
                    "a step of trpo would move values on the same trunk as well; set value_model to separate"
                )
            if self.dtype != "float32":
                raise ValueError(
                    "trpo finds its step by small differences of log-probabilities, which bfloat16 would round away; leave dtype "
                    "at float32"
                )
            if self.pretraining_coefficient or self.entropy_coefficient:
                raise ValueError(
                    "trpo takes one step along the gradient of the reward alone; leave pretraining_coefficient and "
                    "entropy_coefficient at 0, or take ppo"
                )
        if self.algorithm == "dqn" and (self.lora.rank or self.dtype != "float32"):
            raise ValueError(
                "dqn folds its values into the weights in float32; leave lora.rank at 0 and dtype at float32"
            )
        if self.algorithm == "online_dpo" and self.kl_coefficient == 0:
            raise ValueError("kl_coefficient is the beta of online_dpo, and with 0 it learns nothing; set it above 0")
        if self.algorithm == "online_dpo" and self.entropy_coefficient:
            raise ValueError(
                "the loss of online_dpo is in no units of reward that an entropy bonus could be weighed against; leave "
                "entropy_coefficient at 0"
            )
        if self.quantization != "none" and (self.staleness or self.algorithm == "a3c"):
            raise ValueError("actors would sample with whole weights; set staleness to 0, or quantization to none")
        if self.staleness and self.algorithm in OWN_SAMPLES:
            raise ValueError(
                f"{self.algorithm} learns right only from samples of the policy as it is, and with staleness {self.staleness} "
                "they are of an earlier one; take a3c, ppo or grpo, or leave staleness at 0"
            )
        if self.algorithm in ONE_UPDATE and ((self.epochs or 1) > 1 or self.minibatches > 1):
            raise ValueError(
                f"{self.algorithm} has no importance ratio, and its gradient is right only for the policy that sampled: leave "
                "epochs and minibatches at 1, or take ppo or grpo"
            )


class AskingSettings(Settings):
    """What is asked next, and what an answer is worth."""

    selector: Literal["random", "disagreement", "d_optimal", "thompson", "gap"] = Field(
        "random",
        description="what chooses the comparisons of a round: chance; where the members of the reward model disagree; what "
        "tells its head most; what may be the best two answers; or what may differ most",
    )
    chance_share: float = Field(
        0.1, ge=0.01, le=1.0, description="share of choices left to chance whatever the selector prefers (0.01 to 1)"
    )
    pool: int = Field(
        20_000, ge=1, description="pairs or items that the reward model looks at, by chance if there are more (count)"
    )
    label_cost: float = Field(
        0.0,
        ge=0.0,
        description="cost of one label, in any currency; 0 is not said. heed loop ends when labels are surely worth less",
    )
    accuracy_value: float = Field(
        0.0, ge=0.0, description="value of a percentage point of accuracy, in the same currency; 0 is not said"
    )


class ProjectSettings(Settings):
    """The whole of ``heed.yaml``."""

    name: str = Field(description="name of the project")
    model: str = Field(
        min_length=1,
        description=f"base model: a folder or a Hugging Face hub id; {NO_MODEL} where feedback comes first",
    )
    prompts: str = Field(
        "prompts.jsonl",
        min_length=1,
        description="JSON lines with 'prompt' (text or messages) and optionally 'split': train or test",
    )
    demonstrations: str = Field(
        "", description="JSON lines with 'prompt' and 'completion' for supervised tuning; empty skips it"
    )
    database: str = Field(
        "sqlite:///heed.db", description="database URL; a relative SQLite path starts at the project folder"
    )
    seed: int = Field(0, ge=0, le=LARGEST_SEED, description="seed of everything random")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    threads: int = Field(0, ge=0, description="processor threads (count); 0 takes all cores, or OMP_NUM_THREADS")
    sampling: SamplingSettings = Field(default_factory=SamplingSettings, description="how completions are drawn")
    raters: RatersSettings = Field(default_factory=RatersSettings, description="who judges")
    asking: AskingSettings = Field(default_factory=AskingSettings, description="what is asked next")
    sft: SFTSettings = Field(default_factory=SFTSettings, description="supervised tuning")
    reward: RewardSettings = Field(default_factory=RewardSettings, description="reward model")
    policy: PolicySettings = Field(default_factory=PolicySettings, description="policy optimisation")
    preference: PreferenceSettings = Field(
        default_factory=PreferenceSettings, description="policy optimisation by judgments as they are, without a reward"
    )
    dqn: DQNSettings = Field(default_factory=DQNSettings, description="deep Q-learning, beside the settings of policy")
    ilql: ILQLSettings = Field(default_factory=ILQLSettings, description="implicit language Q-learning on judgments")
    evaluate: EvaluateSettings = Field(default_factory=EvaluateSettings, description="comparison with the reference")
    serve: ServeSettings = Field(default_factory=ServeSettings, description="studio and board")


S = TypeVar("S", bound=Settings)


def _field_at(model: type[BaseModel], path: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The settings class that holds the last key of ``path``."""
    current: type[BaseModel] | None = model
    for key in path[:-1]:
        if isinstance(key, int) or current is None:
            continue
        annotation = current.model_fields[key].annotation if key in current.model_fields else None
        inner = [annotation, *get_args(annotation)]
        current = next((a for a in inner if isinstance(a, type) and issubclass(a, BaseModel)), None)
    return current


def _explain(model: type[BaseModel], detail: Any, source: str) -> ConfigError:
    path = detail["loc"]
    key = cut(".".join(str(part) for part in path))
    if detail["type"] == "extra_forbidden":
        owner = _field_at(model, path)
        known = list(owner.model_fields) if owner else []
        near = difflib.get_close_matches(cut(str(path[-1])), known, n=1, cutoff=0.0)
        return ConfigError(
            f"{source}: unknown key '{key}'",
            "no setting has this name.",
            f"Did you mean '{near[0]}'?" if near else "Remove it.",
        )
    if detail["type"] == "missing":
        return ConfigError(f"{source}: '{key}' is missing", "it has no default.", f"Add a line '{key}: ...'.")
    owner = _field_at(model, path)
    field = owner.model_fields.get(str(path[-1])) if owner and path else None
    meaning = f"It is: {field.description}." if field and field.description else "Correct the value."
    message = str(detail["msg"]).removeprefix("Value error, ")
    if detail["type"] == "model_type":
        message = "it is a section and holds 'key: value' lines"
    where = f"'{key}' is {shown(detail['input'])}" if key else "the settings do not fit together"
    return ConfigError(f"{source}: {where}", message[:1].lower() + message[1:] + ".", meaning)


def parse_settings(model: type[S], values: Any, source: str) -> S:
    """Validate ``values`` as ``model``; ``source`` names them in errors.

    Raises:
        ConfigError: naming the key, the value and the reason; for an unknown key, the nearest known one.
    """
    if not isinstance(values, dict):
        raise ConfigError(
            f"{source}: not a mapping",
            "it is empty." if values is None else f"it holds {shown(values)}, not 'key: value' lines.",
            "See 'heed init'.",
        )
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise _explain(model, error.errors()[0], source) from None


def load_settings(path: Path) -> ProjectSettings:
    """Read ``heed.yaml``.

    Raises:
        ConfigError: the file is missing, too large, not UTF-8 or YAML, or a value is wrong.
    """
    if not path.exists():
        raise ConfigError(
            f"{path} is missing",
            "this folder is not a heed project.",
            "Run 'heed init NAME' or go into a project folder.",
        )
    return parse_settings(ProjectSettings, read_yaml(path, str(path)), str(path))


def _scalar(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
    if any(sign in text for sign in "\x85\u2028\u2029"):
        # YAML reads these as line breaks even within quotes, so they must be written as escapes.
        text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=False)
    return text.removesuffix("\n").removesuffix("\n...")


def commented_yaml(settings: Settings, indent: str = "") -> str:
    """YAML of ``settings`` with each field's description and default as a comment; ``load_settings`` reads it back."""
    lines: list[str] = []
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        default = (
            ""
            if field.is_required() or isinstance(value, Settings)
            else f"; default {_scalar(field.get_default(call_default_factory=True))}"
        )
        lines.append(f"{indent}# {field.description}{default}")
        if isinstance(value, Settings):
            lines += [f"{indent}{name}:", commented_yaml(value, indent + "  ").removesuffix("\n")]
        elif isinstance(value, list) and value and isinstance(value[0], Settings):
            lines += [
                f"{indent}{name}:",
                *(f"{indent}  - {_scalar(entry.model_dump(exclude_none=True))}" for entry in value),
            ]
        else:
            lines.append(f"{indent}{name}: {_scalar(value)}")
        if not indent:
            lines.append("")
    return "\n".join(lines).rstrip("\n") + "\n"
