"""Losses and estimators as pure functions of tensors.

Every sum is divided by a ``count`` that the caller takes over the whole batch, so that splitting a batch into micro-batches
changes neither the value nor the gradient.
"""

from heed.losses.advantages import generalized_advantages, masked_mean, masked_sum, rewards_with_kl, whiten
from heed.losses.policy import (
    AdaptiveKL,
    FixedKL,
    KLControl,
    PolicyLoss,
    clipped_ratio_loss,
    entropy,
    kl_k1,
    kl_k2,
    kl_k3,
)
from heed.losses.reward import (
    A_PREFERRED,
    B_PREFERRED,
    TIE,
    TieModel,
    bradley_terry_loss,
    davidson_loss,
    preference_loss,
    preference_probabilities,
    rao_kupper_loss,
    strength_margin,
)
from heed.losses.value import ValueLoss, clipped_value_loss, explained_variance

__all__ = [
    "A_PREFERRED",
    "B_PREFERRED",
    "TIE",
    "AdaptiveKL",
    "FixedKL",
    "KLControl",
    "PolicyLoss",
    "TieModel",
    "ValueLoss",
    "bradley_terry_loss",
    "clipped_ratio_loss",
    "clipped_value_loss",
    "davidson_loss",
    "entropy",
    "explained_variance",
    "generalized_advantages",
    "kl_k1",
    "kl_k2",
    "kl_k3",
    "masked_mean",
    "masked_sum",
    "preference_loss",
    "preference_probabilities",
    "rao_kupper_loss",
    "rewards_with_kl",
    "strength_margin",
    "whiten",
]
