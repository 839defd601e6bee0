"""What gives reason for alarm while a policy is optimised."""

from __future__ import annotations

from collections.abc import Sequence

from heed.config import PolicySettings

# Share of a rollout unlike what the reward was trained on that is worth an alarm: chance gives a tenth of that.
_MUCH_OUTSIDE = 0.1
# Share of the prompts whose samples all score alike: they teach nothing where samples are compared with each other.
_MUCH_ALIKE = 0.5
# Share of the rewards that are cut off: what lies beyond the cut all looks alike to the policy.
_MUCH_CLIPPED = 0.5
_AUDITS = 3


def reasons(
    history: Sequence[dict[str, float]], figures: dict[str, float], settings: PolicySettings
) -> list[tuple[str, str]]:
    """The alarms that a step gives reason for: their kind, and what is the matter.

    Args:
        history: figures of all steps, this one last.
        figures: of this step.
    """
    found = [
        (
            "KL",
            figures["kl"] > settings.kl_budget,
            f"KL {figures['kl']:.1f} is over the budget of {settings.kl_budget:g} nats a completion",
        ),
        (
            "entropy",
            figures["entropy"] < settings.entropy_floor,
            f"entropy {figures['entropy']:.2f} is under the floor of {settings.entropy_floor:g} nats a token",
        ),
        (
            "length",
            figures["length"] > settings.length_drift * history[0]["length"],
            f"completions have grown from {history[0]['length']:.0f} to {figures['length']:.0f} tokens",
        ),
        (
            "outside",
            figures.get("outside", 0.0) > _MUCH_OUTSIDE,
            f"{100 * figures.get('outside', 0.0):.0f} % of the samples are unlike what the reward was trained on; there its scores are guesses, and samples of this policy should be judged",
        ),
        (
            "alike",
            figures.get("alike", 0.0) > _MUCH_ALIKE,
            f"the samples of {100 * figures.get('alike', 0.0):.0f} % of the prompts all score alike and teach nothing; take harder or easier prompts, or more samples a prompt",
        ),
        (
            "clipped",
            figures.get("clipped", 0.0) > _MUCH_CLIPPED,
            f"{100 * figures.get('clipped', 0.0):.0f} % of the rewards lie beyond plus or minus {settings.reward_clip:g}, where none counts for more than another; let the reward spread less, or raise policy.reward_clip",
        ),
    ]
    audits = [row for row in history if "true" in row]
    if "true" in figures and len(audits) >= _AUDITS:
        before = audits[-_AUDITS]
        fell = figures["true"] < before["true"] - 2 * figures.get("true_se", 0.0)
        found.append(
            (
                "truth",
                figures["reward"] > before["reward"] and fell,
                f"the reward rises but held-out truth fell from {before['true']:.2f} to {figures['true']:.2f}",
            )
        )
    return [(kind, text) for kind, given, text in found if given]
