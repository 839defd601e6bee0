"""Deep Q-learning over tokens: a state is a text so far, an action the next token, the reward comes at the end of the text.

Mnih et al. 2015, "Human-level control through deep reinforcement learning", with double Q-learning (van Hasselt et al. 2016) and
targets of several steps (Sutton and Barto 2018, chapter 7). The network is the language model and a head of values on its trunk:
Q(s, a) = V(s) + temperature log pi(a | s), the form of ``losses.q_learning.q_of_logprobs``. So it starts from what the model holds
likely, and its Boltzmann policy is a language model like any other.

Learned so, tokens of like worth become as likely as each other, and the language is lost. Anchored, values are counted from the
reference: Q(s, a) = V(s) + temperature log(pi(a | s) / pi_ref(a | s)), of which V(s) is the soft maximum, temperature log sum over a
of pi_ref exp(Q / temperature), and pi the policy that is best under a KL penalty of that temperature (Schulman, Chen and Abbeel
2017, "Equivalence Between Policy Gradients and Soft Q-Learning"; Haarnoja et al. 2017).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from heed.config import PolicySettings, SamplingSettings
from heed.errors import TrainingError
from heed.losses.q_learning import annealed, double_q, epsilon_greedy, n_step_targets, q_of_logprobs, td_loss
from heed.models.batch import microbatches
from heed.models.decode import Explore, Samples, sample
from heed.models.heads import check_foldable, fold_head
from heed.models.linear import linear
from heed.models.policy import Body, Continuations, Policy, logits_at_once, token_scores
from heed.models.reward import scalar_head
from heed.train.checkpoint import adamw, named_parameters, restore_training_state, training_state
from heed.train.checks import check_resume, check_sampling, tolerance_of
from heed.train.online_loop import OnlineLoop, Prompt
from heed.train.optimise import backward, rows_of_step, update
from heed.train.replay import Episode, ReplayBuffer
from heed.train.rollout import Scorer, completion_logprobs
from heed.value_settings import DQNSettings

_CHECKED = 4


class QNetwork:
    """What each token is worth: a policy, and a head of values on its trunk.

    Attributes:
        temperature: reward units that a nat of the policy's log-probabilities is worth.
    """

    def __init__(self, policy: Policy, temperature: float, seed: int = 0) -> None:
        check_foldable(policy)
        self.policy, self.temperature = policy, temperature
        self.head = scalar_head(policy.model.config.hidden_size, seed).to(policy.device)
        # Of zeros it starts from "no expectation", and sends no noise into the trunk.
        nn.init.zeros_(self.head.weight)

    def twin(self) -> QNetwork:
        """A copy that is not trained."""
        model = copy.deepcopy(self.policy.model).requires_grad_(False)
        policy = self.policy
        other = Policy(model, policy.tokenizer, Body(model.base_model), policy.end_ids, policy.context, policy.source)
        twin = QNetwork(other, self.temperature)
        twin.head.load_state_dict(self.head.state_dict())
        twin.head.requires_grad_(False)
        return twin

    @property
    def networks(self) -> dict[str, nn.Module]:
        return {"policy": self.policy.model, "head": self.head}

    def values(self, hidden: Tensor) -> Tensor:
        """Of states [M] by their hidden states [M, D], in reward units: the whole of Q but what tells tokens apart."""
        return linear(hidden, self.head.weight, self.head.bias)[:, 0].float()

    def taken(self, hidden: Tensor, tokens: Tensor) -> Tensor:
        """Q of the tokens that were taken [M], with a gradient."""
        logprobs = token_scores(self.policy, hidden, tokens).logprobs
        return q_of_logprobs(self.values(hidden), logprobs, self.temperature)

    def all(self, hidden: Tensor) -> Tensor:
        """Q of every token [M, V]."""
        logprobs = self.policy.logits(hidden).float().log_softmax(-1)
        return q_of_logprobs(self.values(hidden).unsqueeze(-1), logprobs, self.temperature)


class QTrainer(OnlineLoop):
    """Deep Q-learning of one policy.

    Args:
        policy, reference, scorer, prompts, audit: see :class:`OnlineLoop`.
        settings: rollouts, rewards, learning rates (``value_learning_rate`` is that of the head of values), discount.
        own: what only Q-learning knows.
    """

    def __init__(
        self,
        policy: Policy,
        reference: Policy,
        scorer: Scorer,
        prompts: Sequence[Prompt],
        settings: PolicySettings,
        own: DQNSettings,
        seed: int,
        audit: Callable[[Policy], dict[str, float]] | None = None,
    ) -> None:
        super().__init__(policy, reference, scorer, prompts, settings, seed, audit)
        self.own = own
        self.network = QNetwork(policy, own.temperature_start, seed)
        self.target = self.network.twin()
        self.parameters = named_parameters(self.network.networks)
        rates = {"policy": settings.learning_rate, "head": settings.value_learning_rate}
        self.optimizer = adamw(
            [
                {"params": [p for name, p in self.parameters.items() if name.startswith(f"{net}.")], "peak": rate}
                for net, rate in rates.items()
            ]
        )
        self.buffer = ReplayBuffer(own.buffer)

    # Exploring

    def done(self, step: int) -> float:
        """How far exploration has come on its way from start to end (share)."""
        return step / max(1.0, self.own.annealing * self.settings.steps)

    def temperature(self, step: int) -> float:
        """Boltzmann temperature of a step (reward units)."""
        return annealed(self.own.temperature_start, self.own.last_temperature, self.done(step))

    @property
    def sharpness(self) -> float:
        """What the logits are multiplied by in the policy that is written."""
        return self.network.temperature / self.own.last_temperature

    def roll_out(self, prompts: Sequence[Prompt], step: int, seed: int) -> Samples:
        """Completions of ``prompts`` as step ``step`` explores."""
        settings, explore = self.settings, None
        warmth = self.temperature(step) / self.network.temperature
        if self.own.exploration == "epsilon_greedy":
            warmth, explore = 1.0, self._epsilon_greedy(step)
        pure = SamplingSettings(
            samples_per_prompt=settings.samples_per_prompt,
            max_new_tokens=settings.max_new_tokens,
            temperature=warmth,
            rows_per_batch=max(1, settings.tokens_per_microbatch // settings.max_new_tokens),
        )
        return sample(self.policy, [p.ids for p in prompts], pure, seed, explore=explore)

    def _epsilon_greedy(self, step: int) -> Explore:
        epsilon = annealed(self.own.epsilon_start, self.own.epsilon_end, self.done(step))
        return lambda logits: epsilon_greedy(logits, epsilon, len(self.policy.tokenizer))

    # A step

    def step(self, step: int) -> dict[str, float]:
        settings = self.settings
        rising = min(1.0, (step + 1) / (settings.warmup_steps + 1))
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * rising
        chosen = rows_of_step(step, len(self.prompts), settings.prompts_per_step, self.seed)
        prompts = [self.prompts[row] for row in chosen for _ in range(settings.samples_per_prompt)]
        contents, ids = [p.content for p in prompts], [p.ids for p in prompts]
        samples = self.roll_out([self.prompts[row] for row in chosen], step, self.seed * 100_003 + step)
        scores, stated = self.scored(contents, ids, samples)
        figures = {
            "step": float(step + 1),
            **self.reward_figures(scores, stated),
            **self.distance(ids, samples.tokens),
            "length": samples.token_count / len(ids),
            "ended": sum(samples.finished) / len(ids),
            "temperature": self.temperature(step),
        }
        figures |= self.audited(step)
        self.buffer.add(episodes(ids, samples, scores + stated.total(scores)))
        figures |= self.learn(step)
        figures |= {"buffer": float(len(self.buffer)), "fallen_out": float(self.buffer.fallen_out)}
        return self.noted(figures, samples)

    @torch.no_grad()
    def distance(self, prompt_ids: Sequence[Sequence[int]], tokens: Sequence[Sequence[int]]) -> dict[str, float]:
        """KL to the reference (nats a completion) and entropy (nats a token) of the policy as it would be written now, at each
        state of these completions, in whole and not by what was drawn there: exploration drew it."""
        kl = entropy = 0.0
        for laid, _ in self._laid([Episode(tuple(p), tuple(t), 0.0) for p, t in zip(prompt_ids, tokens, strict=True)]):
            hidden, theirs = (one.body.hidden(laid.batch, laid.predictors) for one in (self.policy, self.reference))
            for mine, other in zip(*(self._pieces(states) for states in (hidden, theirs)), strict=True):
                now = (self.policy.logits(mine).float() * self.sharpness).log_softmax(-1)
                then = self.reference.logits(other).float().log_softmax(-1)
                kl += float((now.exp() * (now - then)).sum())
                entropy -= float((now.exp() * now).sum())
        return {"kl": kl / len(tokens), "entropy": entropy / sum(map(len, tokens))}

    def learn(self, step: int) -> dict[str, float]:
        """The updates of a step on completions of the buffer; means of their figures."""
        totals: dict[str, float] = {}
        for number in range(self.own.updates):
            turn = step * self.own.updates + number
            drawn = self.buffer.draw(self.own.completions_per_update, self.seed * 1_000_003 + turn)
            for name, value in self.learn_from(drawn).items():
                totals[name] = totals.get(name, 0.0) + value / self.own.updates
            if (turn + 1) % self.own.target_every == 0:
                self._move_target()
        return totals

    def learn_from(self, drawn: Sequence[Episode]) -> dict[str, float]:
        """One optimiser step on some episodes."""
        count, loss = float(sum(len(e.tokens) for e in drawn)), 0.0
        seen = {"q": 0.0, "target": 0.0}

        def part(laid: Continuations, rewards: Tensor) -> Tensor:
            hidden = self.policy.body.hidden(laid.batch, laid.predictors)
            mask = laid.grid(torch.ones_like(laid.targets, dtype=torch.float))
            q = self.network.taken(hidden, laid.targets)
            if self.own.anchored:
                expected = self.own.temperature_start * self._expected(laid)
                q, targets = q - expected, self._soft_targets(laid, expected, rewards, mask)
            else:
                targets = self._targets(laid, hidden.detach(), rewards, mask)
            q = laid.grid(q)
            seen["q"] += float(q.detach().sum()) / count
            seen["target"] += float(targets.sum()) / count
            return td_loss(q, targets, mask, count, self.own.huber)

        for laid, rewards in self._laid(drawn):
            loss += backward(lambda laid=laid, rewards=rewards: part(laid, rewards))  # type: ignore[misc]
        everything = list(self.parameters.values())
        norm = update(
            self.optimizer, everything, self.settings.max_grad_norm, loss, len(self.result.history), range(len(drawn))
        )
        return {"q_loss": loss, **seen, "gradient_norm": norm}

    @torch.no_grad()
    def _targets(self, laid: Continuations, hidden: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
        """What Q of each token is fitted to [B, T]; ``hidden`` are the trained network's states, ``rewards`` [B] come last."""
        theirs = self.target.policy.body.hidden(laid.batch, laid.predictors)
        best = []
        for mine, other in zip(self._pieces(hidden), self._pieces(theirs), strict=True):
            worth = self.target.all(other)
            best.append(double_q(self.network.all(mine) if self.own.double else worth, worth))
        values = laid.grid(torch.cat(best))
        return n_step_targets(_at_end(rewards, mask), values, mask, self.settings.gamma, self.own.n_step)

    @torch.no_grad()
    def _expected(self, laid: Continuations) -> Tensor:
        """Log-probabilities of the tokens under the reference [M] (nats)."""
        return token_scores(
            self.reference, self.reference.body.hidden(laid.batch, laid.predictors), laid.targets
        ).logprobs

    @torch.no_grad()
    def _soft_targets(self, laid: Continuations, expected: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
        """The same of anchored values; ``expected`` is what the reference holds likely [M] (reward units)."""
        theirs = self.target.policy.body.hidden(laid.batch, laid.predictors)
        values = self.target.values(theirs)
        costs = self.target.taken(theirs, laid.targets) - values - expected
        gamma, steps = self.settings.gamma, self.own.n_step
        return n_step_targets(_at_end(rewards, mask), laid.grid(values), mask, gamma, steps, laid.grid(costs))

    def _pieces(self, hidden: Tensor) -> Sequence[Tensor]:
        return hidden.split(logits_at_once(self.policy.model.get_output_embeddings().weight.shape[0]))

    def _laid(self, some: Sequence[Episode]) -> list[tuple[Continuations, Tensor]]:
        """Episodes in micro-batches of like length, with their rewards."""
        ordered = sorted(range(len(some)), key=lambda row: (len(some[row].prompt) + len(some[row].tokens), row))
        sizes = [len(some[row].prompt) + len(some[row].tokens) for row in ordered]
        found = []
        for group in microbatches(sizes, self.settings.tokens_per_microbatch):
            batch = [some[ordered[i]] for i in group]
            laid = Continuations.of([e.prompt for e in batch], [e.tokens for e in batch], self.policy.device)
            found.append((laid, torch.tensor([e.reward for e in batch], device=self.policy.device)))
        return found

    @torch.no_grad()
    def _move_target(self) -> None:
        theirs = named_parameters(self.target.networks)
        for name, parameter in self.parameters.items():
            theirs[name].lerp_(parameter, self.own.target_rate)

    # Before, between and after

    def check(self, at_start: bool) -> str:
        """Check that texts are as probable in training as in sampling, that the target network values them as the network does and
        the KL to the reference is 0 at the start, and that resumed equals uninterrupted. The trainer is left as it was found.

        Raises:
            TrainingError: one of them does not hold.
        """
        settings = self.settings
        prompts = self.prompts[:_CHECKED]
        pure = SamplingSettings(samples_per_prompt=1, max_new_tokens=settings.max_new_tokens, temperature=1.0)
        ids = [p.ids for p in prompts]
        samples = sample(self.policy, ids, pure, self.seed)
        drift = check_sampling(self.policy, ids, samples, 1.0, settings.tokens_per_microbatch)
        some = episodes(ids, samples, torch.linspace(-1, 1, len(ids)))
        if at_start:
            self._check_start(some)
        kept = self.state()
        self.buffer.add(some)
        check_resume(self, self.optimizer, self.parameters, lambda: self.learn(0))
        self.load_state(*kept)
        shown = f"log-probabilities within {drift:.0e}" + (", target network and KL" if at_start else "")
        return f"self-check passed: {shown}, resumed equals uninterrupted"

    @torch.no_grad()
    def _check_start(self, some: Sequence[Episode]) -> None:
        gap = 0.0
        for laid, _ in self._laid(some):
            mine, theirs = (
                one.taken(one.policy.body.hidden(laid.batch, laid.predictors), laid.targets)
                for one in (self.network, self.target)
            )
            gap = max(gap, float((mine - theirs).abs().max()))
        both = [
            completion_logprobs(one, [e.prompt for e in some], [e.tokens for e in some], 1.0, 8192)
            for one in (self.policy, self.reference)
        ]
        away = float((both[0] - both[1]).abs().max())
        tolerance = tolerance_of(self.policy)
        if not (gap < tolerance and away < tolerance):
            raise TrainingError(
                "self-check failed: the run does not start where it should",
                f"the target network differs by {gap:.2g} reward units, the reference by {away:.2g} nats.",
                "The reference must be the model that the policy starts from.",
            )

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors = training_state(self.parameters, self.optimizer)
        tensors |= {f"target/{name}": p.clone() for name, p in named_parameters(self.target.networks).items()}
        return tensors | self.buffer.state(), self.result_numbers()

    def load_state(self, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
        restore_training_state(self.parameters, self.optimizer, tensors)
        with torch.no_grad():
            for name, parameter in named_parameters(self.target.networks).items():
                parameter.copy_(tensors[f"target/{name}"])
        self.buffer.load_state(tensors)
        self.restore_result(numbers)

    def written(self) -> Policy:
        """The Boltzmann policy at the last temperature, made of the network in place."""
        fold_head(self.policy, self.sharpness)
        return self.policy


def _at_end(rewards: Tensor, mask: Tensor) -> Tensor:
    """The reward of each completion [B] at its last token [B, T]."""
    last = mask.sum(1, keepdim=True).long() - 1
    return torch.zeros_like(mask).scatter(1, last, rewards.unsqueeze(1))


def episodes(prompt_ids: Sequence[Sequence[int]], samples: Samples, rewards: Tensor) -> list[Episode]:
    """Completions and their rewards [B] as they are kept."""
    rows = zip(prompt_ids, samples.tokens, rewards.tolist(), strict=True)
    return [Episode(tuple(prompt), tuple(tokens), reward) for prompt, tokens, reward in rows]
