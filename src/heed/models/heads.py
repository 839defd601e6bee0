"""The head of a policy turned and turned further: what is learned beside it becomes part of a model that anything can load."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from heed.errors import ModelError
from heed.models.policy import Policy


def check_foldable(policy: Policy) -> None:
    """See that a policy's logits are a linear map of its hidden states, so that something may be added to them.

    Raises:
        ModelError: they are capped.
    """
    if getattr(policy.model.config, "final_logit_softcapping", None) is not None:
        raise ModelError(
            f"{policy.source} ({policy.model.config.model_type}) with learning by values",
            "it caps its logits, and what values add to them could not be folded into its weights.",
            "Take another algorithm, such as ppo or dpo, or another model.",
        )


@torch.no_grad()
def fold_head(policy: Policy, scale: float = 1.0, added: Tensor | None = None) -> None:
    """Make the policy's logits those of ``scale`` times its head plus ``added`` [V, D], in place.

    See :func:`check_foldable`. Both are linear maps of the same hidden states, so their sum is one again. A head that is tied to the embeddings gets weights
    of its own: the embeddings stay as they are.
    """
    if scale == 1.0 and added is None:
        return
    head = policy.model.get_output_embeddings()
    weight = scale * head.weight
    weight = weight if added is None else weight + (added / policy.logit_scale).to(weight)
    # Where the configuration went on to say that they are one, loading would tie them again.
    policy.model.config.tie_word_embeddings = False
    head.weight = nn.Parameter(weight)
    if getattr(head, "bias", None) is not None:
        head.bias.mul_(scale)
