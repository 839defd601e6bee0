"""What can be known to be wrong with a project before hours are spent on finding it out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from heed.errors import ModelError, ProjectError
from heed.feedback.kinds import PromptContent
from heed.feedback.store import PromptRecord
from heed.project import Project
from heed.raters.simulated import simulated_raters
from heed.raters.utilities import utility_by_name
from heed.stages.identity import model_identity

if TYPE_CHECKING:
    from heed.models.policy import Policy


def check_raters(project: Project) -> None:
    """Refuse raters that could not judge.

    Raises:
        ConfigError: the utility cannot be called, or raters do not fit together. ProjectError: there is no rater.
    """
    raters, seed = project.settings.raters, project.settings.seed
    if raters.kind == "human" and not raters.utility:
        return
    utility = utility_by_name(raters.utility)
    simulated_raters(raters.held_out, utility, seed)
    if raters.kind == "simulated" and not simulated_raters(raters.simulated, utility, seed):
        raise ProjectError(
            "no rater to ask", "raters.simulated in heed.yaml is empty.", "Add one, or set raters.kind to human."
        )


def check_constraints(project: Project) -> None:
    """Refuse constraints that could not be looked at.

    Raises:
        ConfigError: a function cannot be imported, or a scorer's token is not there.
    """
    if not project.settings.policy.constraints:
        return
    from heed.train.constraints import Constraints

    Constraints(project.settings.policy)


def base_identity(project: Project, model: str) -> str:
    """What the weights of the base model at ``model`` (a folder or a hub id) are known by.

    Raises:
        ModelError: they are not those that the project has worked with so far, naming a run that was made from the others.
    """
    identity = model_identity(model)
    for run in project.runs():
        if run.state == "done" and run.config.get("base_identity", identity) != identity:
            raise ModelError(
                f"the base model {model}",
                f"it is not the one that {run.id} was made with: its files are others now, or 'model' in heed.yaml names "
                "another. What this project has learned is about the former.",
                "Put that one back, or begin a new project: heed init NAME --model MODEL --prompts FILE",
            )
    return identity


def check_prompts(project: Project, model: str) -> None:
    """Refuse prompts that do not fit the context of ``model`` (a folder or hub id) with the completions asked for.

    Raises:
        DataError: naming the prompt, its length and the context. ModelError: the tokenizer cannot be loaded.
    """
    from heed.models.policy import Policy

    settings = project.settings
    training = project.store.prompts(split="train")
    testing = project.store.prompts(split="test")[: settings.evaluate.prompts]
    longest = max(settings.sampling.max_new_tokens, settings.policy.max_new_tokens)
    policy = Policy.without_weights(model)
    _fit(policy, training, longest)
    _fit(policy, testing, settings.policy.max_new_tokens)


def _fit(policy: Policy, prompts: Sequence[PromptRecord], max_new_tokens: int) -> None:
    for prompt in prompts:
        name = f"{prompt.split} prompt {prompt.id} ({_beginning(prompt.content)!r})"
        policy.check_prompt(policy.encode_prompt(prompt.content), max_new_tokens, name)


def _beginning(content: PromptContent, characters: int = 40) -> str:
    text = content if isinstance(content, str) else " ".join(message.content for message in content)
    return text if len(text) <= characters else text[: characters - 1] + "…"
