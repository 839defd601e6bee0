"""Policy optimisation as a stage of the loop: what it starts from, what it learns from, and what goes into its record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heed.algorithms import algorithm_named
from heed.config import ILQLSettings
from heed.errors import ConfigError
from heed.labelling import Labelling
from heed.live_ratings import LiveRatings
from heed.preflight import check_raters
from heed.questions import EXCLUDED, HELD_OUT, OVERRULED, demonstrations_in, judgments_in
from heed.raters.utilities import utility_by_name
from heed.runs import Run, RunRecord
from heed.stages.data import DemonstrationRow, read_demonstrations, report_broken
from heed.stages.results import content_hash
from heed.train.text_rewards import TextReward, reward_named

if TYPE_CHECKING:
    from heed.stages.sweep import SweepStart


@dataclass
class Optimising(Labelling):
    """The stage that improves the policy, and what it shares with supervised tuning."""

    def train_policy(self, round_: int = 0) -> RunRecord:
        """Optimise the reference policy against the newest reward model or what ``policy.reward`` names, or by an algorithm that
        learns from judgments on all of them.

        Every round starts from the reference again, with a reward that has seen the last round's policy judged: errors
        of an early reward are not carried on.

        Raises:
            ProjectError: there is no reward model. DataError: no judgment that the algorithm learns from.
        """
        if (before := self._done("policy", round_)) is not None:
            return before
        if algorithm_named(self.settings.policy.algorithm).on_judgments:
            return self._train_on_judgments(round_)
        from heed.stages.policy import constraints_identity, train_policy
        from heed.stages.supervised import keyed_demonstrations

        settings = self.settings.policy
        parents, rewarded = self._rewarded()
        start, maker = self.reference_policy()
        prompts = [prompt.content for prompt in self._chosen_prompts(0, len(self._prompts("train")))]
        config = {**settings.model_dump(), "rolled_out": content_hash(prompts), **rewarded}
        sources, unknown = constraints_identity(settings)
        config |= sources
        dqn = self.settings.dqn if settings.algorithm == "dqn" else None
        if dqn is not None:
            config["dqn"] = dqn.model_dump()
        texts = self._demonstrations()[0] if settings.pretraining_coefficient else []
        if texts:
            config["pretraining"] = content_hash(keyed_demonstrations(texts))
        with self._run("policy", config, round_, [maker, *parents]) as run:
            if run.state == "running":
                reward, asked = self._reward_of(run, parents)
                done = train_policy(
                    start,
                    reward,
                    prompts,
                    run.folder / "model",
                    settings,
                    self.settings.seed,
                    self.truth(),
                    self._device(),
                    self.watcher,
                    texts,
                    dqn,
                )
                self._keep(run, done, asked.judgments() if asked else ())
            else:
                for what in unknown:
                    self.watcher.say(what)
        return self._record(run)

    def _rewarded(self) -> tuple[list[str], dict[str, Any]]:
        """The run of the reward model that scores what the policy writes, or that weighs the raters who do, if any; and what
        another reward is known by.

        Raises:
            ProjectError: there is no reward model. ConfigError: the reward cannot be imported, or no rater could answer.
        """
        named = self.settings.policy.reward
        if named == "model":
            return [self._latest("reward", "heed train reward").id], {}
        if named != "raters":
            found = reward_named(named)
            return [], {"reward_source": found.source} if found is not None and found.source else {}
        check_raters(self.project)
        weighing = self.project.latest("reward")
        return ([] if weighing is None else [weighing.id]), {"raters": self.settings.raters.model_dump()}

    def _reward_of(self, run: Run, parents: Sequence[str]) -> tuple[str | TextReward, LiveRatings | None]:
        """The reward of a run, and the raters where these are it."""
        named = self.settings.policy.reward
        if named == "model":
            return str(self.project.artifact("model", parents[0])), None
        if named != "raters":
            return named, None
        weights = reliability_in(self.project.run(parents[0])) if parents else {}
        asked = LiveRatings(self.project, run, self.watcher, self.settings.policy.ratings_per_text, weights)
        return asked.reward, asked

    def _train_on_judgments(self, round_: int) -> RunRecord:
        """Train the reference policy on the judgments themselves, each weighed as the newest reward model weighs its rater."""
        from heed.stages.ilql import train_ilql
        from heed.stages.preference import train_preferences

        algorithm = self.settings.policy.algorithm
        settings = self.settings.ilql if algorithm == "ilql" else self.settings.preference
        learned, ids = judgments_in(self.project.store, "joint")
        left_out = self._tell_left_out(dict(learned.unused))
        start, maker = self.reference_policy()
        reward = self.project.latest("reward")
        reliability = {} if reward is None else reliability_in(reward)
        config = {**settings.model_dump(), "algorithm": algorithm}
        with self._run("policy", config, round_, [maker, *([] if reward is None else [reward.id])], ids) as run:
            if run.state == "running":
                out, seed = run.folder / "model", self.settings.seed
                more = (seed, reliability, self._device(), self.watcher)
                if isinstance(settings, ILQLSettings):
                    done = train_ilql(start, learned.rows, out, settings, *more)
                else:
                    done = train_preferences(start, learned.rows, out, algorithm, settings, *more)
                self._keep(run, done, kept_back=left_out)
        return self._record(run)

    def sweep_start(self, truth: str | None = None, judge: Path | None = None) -> SweepStart:
        """What a sweep starts from: the reference policy, the newest reward model where there is one, all feedback that may be
        learned from, and the truth where one is known or named.

        Raises:
            ConfigError: the truth cannot be imported.
        """
        from heed.stages.sweep import SweepStart

        settings = self.settings
        learned, _ = judgments_in(self.project.store, "joint")
        newest = self.project.latest("reward")
        reward: str | None = settings.policy.reward
        if reward == "model":
            reward = None if newest is None else str(self.project.artifact("model", newest.id))
        elif reward == "raters":
            raise ConfigError(
                "a sweep with the raters as reward",
                "each of its runs would ask them about texts of its own.",
                "Set policy.reward to model for the sweep: --set reward=model",
            )
        self._device()
        return SweepStart(
            self.reference_policy()[0],
            reward,
            [prompt.content for prompt in self._chosen_prompts(0, len(self._prompts("train")))],
            [prompt.content for prompt in self._prompts("test")],
            learned.rows,
            {} if newest is None else reliability_in(newest),
            self.truth() if truth is None else utility_by_name(truth),
            judge,
            settings.policy,
            settings.preference,
            settings.ilql,
            settings.dqn,
            self._demonstrations()[0] if settings.policy.pretraining_coefficient else (),
        )

    def _demonstrations(self) -> tuple[list[DemonstrationRow], list[str], dict[str, int]]:
        """The demonstrations of the file of demonstrations and of the store, the ids of those, and what was left out."""
        rows, given, unused = demonstrations_in(self.project.store)
        left_out = self._tell_left_out(unused)
        kept = [DemonstrationRow(*row) for row in rows]
        if self.settings.demonstrations:
            path = self.project.folder / self.settings.demonstrations
            found, broken = read_demonstrations(path)
            for line in report_broken(path, broken):
                self.watcher.alarm(f"left out: {line}")
            kept = [*found, *kept]
        return kept, given, left_out

    def _tell_left_out(self, unused: dict[str, int]) -> dict[str, int]:
        """Tell how many judgments are kept and not learned from; takes them out of ``unused`` and returns them."""
        left_out = {why: unused.pop(why) for why in (HELD_OUT, EXCLUDED, OVERRULED) if why in unused}
        if count := left_out.get(HELD_OUT):
            self.watcher.alarm(f"{count} judgments are about test prompts: they are kept, and not learned from")
        for why in (EXCLUDED, OVERRULED):
            if count := left_out.get(why):
                self.watcher.say(f"judgments {why}, which are kept and not learned from: {count:,}")
        return left_out


def reliability_in(reward: RunRecord) -> dict[str, float]:
    """How much each rater's answers tell, as a reward model learned it; empty where it took all for careful."""
    found = reward.metrics.get("raters") or {}
    return {name: value["reliability"] if isinstance(value, dict) else value for name, value in found.items()}
