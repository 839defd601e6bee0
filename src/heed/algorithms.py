"""Ways to optimise a policy, by name: what each is, when it fits, what it needs and what it costs. Ground floor; no torch."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import Literal

from heed.errors import ConfigError

Family = Literal["online", "offline", "value"]


@dataclass(frozen=True)
class Algorithm:
    """One way to optimise a policy.

    Attributes:
        name: as ``policy.algorithm`` and ``--algorithm`` name it.
        title: its full name.
        family: whether it samples from the policy and needs a reward ("online"), learns from judgments as they are ("offline"), or
            learns what each token is worth, from either ("value").
        paper: where it comes from.
        when, needs, costs: sentences for people.
        learns_from: on judgments, what an example is: two texts, one, several in an order, or one and a number.
        takes: offline, the settings of ``preference`` that its loss has a use for.
        own: its own values of settings that its section leaves empty.
    """

    name: str
    title: str
    family: Family
    paper: str
    when: str
    needs: str
    costs: str
    learns_from: Literal["", "pairs", "singles", "rankings", "rewards"] = ""
    takes: tuple[str, ...] = ()
    own: dict[str, float] = field(default_factory=dict)

    @property
    def on_judgments(self) -> bool:
        """Whether it learns from judgments as they are, and neither samples nor needs a reward."""
        return bool(self.learns_from)

    @property
    def section(self) -> str:
        """The section of ``heed.yaml`` that has its settings; ``dqn`` has others under ``policy``."""
        return {"online": "policy", "offline": "preference", "value": self.name}[self.family]


_A_REWARD = "a reward and prompts"
_NO_VALUES = (
    "Samples in every step. No value model: one network is trained, the reference and the reward are only read."
)
_PAIRS = "judgments that say which of two texts is better: comparisons, rankings, edits, ratings by one rater of several texts"
_ONE_NETWORK = "One network; two texts a comparison forward and backward. No sampling, no reward model."

ALGORITHMS: dict[str, Algorithm] = {
    one.name: one
    for one in (
        Algorithm(
            "ppo",
            "proximal policy optimisation",
            "online",
            'Schulman et al. 2017, "Proximal Policy Optimization Algorithms"; Stiennon et al. 2020',
            "A reward model is at hand, or any function of a text, and the policy should find what no rater has seen. The "
            "most forgiving of those that sample, and the default.",
            _A_REWARD,
            "Samples in every step, and trains a network of values beside the policy (or a head on it).",
            own={"epochs": 4, "clip_ratio": 0.2, "clip_ratio_high": 0.2},
        ),
        Algorithm(
            "rloo",
            "REINFORCE leave-one-out",
            "online",
            'Ahmadian et al. 2024, "Back to Basics: Revisiting REINFORCE Style Optimization for Learning from Human Feedback '
            'in LLMs"; Kool, van Hoof and Welling 2019',
            "As PPO, with little to set and half the memory: the other samples of a prompt stand in for a value model. The "
            "simplest that works well where one score comes for a whole text.",
            _A_REWARD + "; at least 2 samples a prompt",
            _NO_VALUES,
            own={"epochs": 1},
        ),
        Algorithm(
            "grpo",
            "group relative policy optimisation",
            "online",
            'Shao et al. 2024, "DeepSeekMath: Pushing the Limits of Mathematical Reasoning in Open Language Models"',
            "Rewards that are right or wrong, and many samples a prompt. Each prompt's scores are brought to one scale, so that "
            "hard and easy prompts push alike.",
            _A_REWARD + "; at least 2 samples a prompt, better 8",
            _NO_VALUES,
            own={"epochs": 1, "clip_ratio": 0.2, "clip_ratio_high": 0.2},
        ),
        Algorithm(
            "dr_grpo",
            "GRPO done right",
            "online",
            'Liu et al. 2025, "Understanding R1-Zero-Like Training: A Critical Perspective"',
            "As GRPO, where texts grow for no reason: it divides neither by a text's length nor by the spread of a prompt's "
            "scores.",
            _A_REWARD + "; at least 2 samples a prompt, better 8",
            _NO_VALUES,
            own={"epochs": 1, "clip_ratio": 0.2, "clip_ratio_high": 0.2},
        ),
        Algorithm(
            "dapo",
            "decoupled clip and dynamic sampling policy optimisation",
            "online",
            'Yu et al. 2025, "DAPO: An Open-Source LLM Reinforcement Learning System at Scale"',
            "As GRPO, where the policy's entropy falls too fast: unlikely tokens may gain more, and every token counts alike. "
            "Prompts whose samples all score alike do not count; none are sampled in their place.",
            _A_REWARD + "; at least 2 samples a prompt, better 8",
            _NO_VALUES,
            own={"epochs": 1, "clip_ratio": 0.2, "clip_ratio_high": 0.28},
        ),
        Algorithm(
            "gspo",
            "group sequence policy optimisation",
            "online",
            'Zheng et al. 2025, "Group Sequence Policy Optimization"',
            "As GRPO with several epochs or minibatches, where single tokens' ratios run wild: it clips whole completions.",
            _A_REWARD + "; at least 2 samples a prompt, better 8",
            _NO_VALUES,
            own={"epochs": 1, "clip_ratio": 3e-4, "clip_ratio_high": 4e-4},
        ),
        Algorithm(
            "trpo",
            "trust region policy optimisation",
            "online",
            'Schulman et al. 2015, "Trust Region Policy Optimization"',
            "Where no update may move the policy further than a bound that is stated beforehand: policy.trust_region. Learning "
            "rate and clipping play no part; epochs are those of the values.",
            _A_REWARD,
            "Samples in every step, a network of values, and some 30 passes over a part of each rollout for the step along the "
            "natural gradient.",
            own={"epochs": 4},
        ),
        Algorithm(
            "a2c",
            "advantage actor-critic",
            "online",
            'Mnih et al. 2016, "Asynchronous Methods for Deep Reinforcement Learning", section 4, with synchronous actors',
            "To see what PPO adds: the same values and advantages, one update a rollout, nothing clipped.",
            _A_REWARD,
            "Samples in every step, and trains a network of values beside the policy (or a head on it); one update a rollout.",
            own={"epochs": 1},
        ),
        Algorithm(
            "a3c",
            "asynchronous advantage actor-critic",
            "online",
            'Mnih et al. 2016, "Asynchronous Methods for Deep Reinforcement Learning"; Espeholt et al. 2018, "IMPALA: Scalable '
            'Distributed Deep-RL with Importance Weighted Actor-Learner Architectures" (V-trace)',
            "Sampling takes much of the time and there are processors to spare: actors write with the policy of an update ago "
            "while it learns, and V-trace sets right what that changes. policy.staleness lets PPO and GRPO do the same.",
            _A_REWARD,
            "As a2c, and another process with a copy of the policy for each update of staleness.",
            own={"epochs": 1, "staleness": 1},
        ),
        Algorithm(
            "reinforce",
            "REINFORCE with a baseline",
            "online",
            'Williams 1992, "Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning"',
            "To learn how policy gradients work, and where only one sample a prompt can be had.",
            _A_REWARD,
            _NO_VALUES + " Noisier than its kin: it wants large steps of many prompts.",
            own={"epochs": 1},
        ),
        Algorithm(
            "best_of_n",
            "tuning on the best of n samples",
            "online",
            'Dong et al. 2023, "RAFT: Reward rAnked FineTuning for Generative Foundation Model Alignment"',
            "The sturdiest of those that sample: it only ever imitates the best text of each prompt. Slow to get far.",
            _A_REWARD + "; at least 2 samples a prompt, better 4 to 16",
            _NO_VALUES + " Only the best sample of each prompt is learned from.",
            own={"epochs": 1},
        ),
        Algorithm(
            "online_dpo",
            "DPO on the policy's own samples",
            "online",
            'Guo et al. 2024, "Direct Language Model Alignment from Online AI Feedback"',
            "As DPO, where a reward can be asked: it judges pairs that the policy writes now, not texts that were judged once. "
            "Of more than two samples the best and the worst are the pair; policy.kl_coefficient is its beta.",
            _A_REWARD + "; at least 2 samples a prompt",
            _NO_VALUES,
            own={"epochs": 1},
        ),
        Algorithm(
            "dpo",
            "direct preference optimisation",
            "offline",
            'Rafailov et al. 2023, "Direct Preference Optimization: Your Language Model is Secretly a Reward Model"',
            "There are comparisons of texts such as the policy writes itself, and no wish to keep a reward model. A good "
            "first try before PPO; it learns nothing of texts that nobody has compared.",
            _PAIRS,
            _ONE_NETWORK,
            "pairs",
            ("beta", "label_smoothing"),
            {"beta": 0.1},
        ),
        Algorithm(
            "cdpo",
            "conservative DPO",
            "offline",
            'Mitchell 2023, "A note on DPO with noisy preferences & relationship to IPO"',
            "As DPO, where a known share of the judgments is wrong: it does not try to be surer than they are.",
            _PAIRS,
            _ONE_NETWORK,
            "pairs",
            ("beta", "label_smoothing"),
            {"beta": 0.1, "label_smoothing": 0.1},
        ),
        Algorithm(
            "ipo",
            "identity preference optimisation",
            "offline",
            'Azar et al. 2024, "A General Theoretical Paradigm to Understand Learning from Human Preferences"',
            "As DPO, where the same pairs are always judged alike, or are few: it parts them by a fixed amount and stops "
            "there, while DPO would part them ever further.",
            _PAIRS,
            _ONE_NETWORK,
            "pairs",
            ("beta",),
            {"beta": 0.1},
        ),
        Algorithm(
            "simpo",
            "simple preference optimisation",
            "offline",
            'Meng, Xia and Chen 2024, "SimPO: Simple Preference Optimization with a Reference-Free Reward"',
            "Preferred texts are longer than the others and the policy must not learn that: it compares log-probabilities a "
            "token. Without a reference it can wander off; watch the KL that 'heed evaluate' tells.",
            _PAIRS,
            _ONE_NETWORK + " No pass of the reference either.",
            "pairs",
            ("beta", "margin", "label_smoothing"),
            {"beta": 2.0, "margin": 1.0},
        ),
        Algorithm(
            "slic",
            "sequence likelihood calibration",
            "offline",
            'Zhao et al. 2023, "SLiC-HF: Sequence Likelihood Calibration with Human Feedback"',
            "As DPO, with an end: once a pair is parted by the margin it teaches nothing more, while the likelihood of the "
            "preferred text is kept up.",
            _PAIRS,
            _ONE_NETWORK + " No pass of the reference either.",
            "pairs",
            ("margin", "supervised"),
            {"margin": 1.0, "supervised": 0.1},
        ),
        Algorithm(
            "orpo",
            "odds-ratio preference optimisation",
            "offline",
            'Hong, Lee and Thorne 2024, "ORPO: Monolithic Preference Optimization without Reference Model"',
            "A base model that has not been tuned on demonstrations: it does both at once, on the preferred texts.",
            _PAIRS,
            _ONE_NETWORK + " No pass of the reference either, no supervised tuning before.",
            "pairs",
            ("beta",),
            {"beta": 0.1},
        ),
        Algorithm(
            "kto",
            "Kahneman-Tversky optimisation",
            "offline",
            'Ethayarajh et al. 2024, "KTO: Model Alignment as Prospect Theoretic Optimization"',
            "Thumbs, or other judgments of single texts, as they come from use; comparisons serve as a liked and a disliked "
            "text.",
            "thumbs; or ratings, critiques and comparisons, which imply whether a text was liked",
            "One network; one text forward and backward, another text forward for its reference point.",
            "singles",
            ("beta", "desirable", "undesirable"),
            {"beta": 0.1},
        ),
        Algorithm(
            "listwise_dpo",
            "listwise DPO",
            "offline",
            "Rafailov et al. 2023, appendix A.3",
            "People have put several texts in an order: each ranking is learned from as a whole, each text read once.",
            "rankings; comparisons count as rankings of two",
            "One network; each text of a ranking once forward and backward.",
            "rankings",
            ("beta",),
            {"beta": 0.1},
        ),
        Algorithm(
            "dqn",
            "deep Q-learning over tokens",
            "value",
            'Mnih et al. 2015, "Human-level control through deep reinforcement learning"; van Hasselt, Guez and Silver 2016, "Deep '
            'Reinforcement Learning with Double Q-learning"; Schulman, Chen and Abbeel 2017, "Equivalence Between Policy Gradients and Soft '
            'Q-Learning"',
            "To learn how learning by values works, or where a sample is dear: each text is learned from many times. Values are "
            "counted from the reference, which keeps the policy near it; for large models PPO and its kin get further.",
            _A_REWARD,
            "Samples in every step; one network is trained, a target network and the reference are only read.",
        ),
        Algorithm(
            "ilql",
            "implicit language Q-learning",
            "value",
            'Snell et al. 2022, "Offline RL for Natural Language Generation with Implicit Language Q Learning"; Kostrikov, Nair '
            'and Levine 2021, "Offline Reinforcement Learning with Implicit Q-Learning"',
            "Many logged texts with thumbs or ratings, good parts in bad texts among them: it learns which token was worth what, "
            "and can join good parts that nobody has written together.",
            "judgments that say how good a text is: ratings, thumbs, critiques; comparisons serve as a good and a bad text",
            "One network with heads of values; one text forward and backward. No sampling, no reward model.",
            "rewards",
        ),
    )
}


def algorithm_named(name: str) -> Algorithm:
    """The algorithm of this name.

    Raises:
        ConfigError: there is none, naming the nearest.
    """
    plain = name.strip().lower().replace("-", "_")
    if plain in ALGORITHMS:
        return ALGORITHMS[plain]
    near = difflib.get_close_matches(plain, ALGORITHMS, n=1)
    fix = f"Did you mean '{near[0]}'?" if near else "See 'heed explain'."
    raise ConfigError(f"no algorithm '{name}'", f"there are {', '.join(ALGORITHMS)}.", fix)
