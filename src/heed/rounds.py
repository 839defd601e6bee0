"""The stages of the loop on a project: each reads from the store, writes one run record, and can be stopped and resumed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from heed.errors import DataError, ProjectError
from heed.feedback.kinds import completion_id
from heed.feedback.store import CompletionRecord
from heed.optimising import Optimising, reliability_in
from heed.questions import (
    Item,
    choices_of_people,
    judgments_in,
    simulate,
    unique,
    unjudged,
)
from heed.raters.simulated import simulated_raters
from heed.runs import Cost, RunRecord
from heed.stages.judgments import WITHOUT_SAMPLES, Judgment
from heed.stages.results import content_hash


class WaitingForPeopleError(ProjectError):
    """The loop cannot go on before people have judged."""


@dataclass
class Rounds(Optimising):
    """The stages of one project.

    Args:
        project: where everything is read from and written to.
        watcher: hears what is going on.
        fresh: do a stage anew even if it was done before with the same inputs.
    """

    # The stages

    def train_sft(self, round_: int = 0) -> RunRecord | None:
        """Tune the base model on the demonstrations of ``heed.yaml`` and those in the store, and on what else ``sft.sources``
        names there; None where there is nothing."""
        from heed.stages.shown import chosen
        from heed.stages.supervised import keyed_demonstrations, train_sft, uses_judgments

        settings = self.settings.sft
        rows, given, left_out = self._demonstrations()
        config = {**settings.model_dump(), "demonstrations": content_hash(keyed_demonstrations(rows))}
        judgments: list[Judgment] = []
        reward = None
        if uses_judgments(settings):
            learned, ids = judgments_in(self.project.store, "joint")
            judgments, given = learned.rows, unique([*given, *ids])
            reward = self.project.latest("reward") if settings.quality != "off" else None
            config["judgments"] = content_hash(judgments)
        if not (rows or judgments) or not chosen(rows, judgments, settings.model_copy(update={"quality": "off"})).rows:
            return None
        reliability = {} if reward is None else reliability_in(reward)
        with self._run("sft", config, round_, [] if reward is None else [reward.id], given) as run:
            if run.state == "running":
                done = train_sft(
                    self._base_model(),
                    rows,
                    run.folder / "model",
                    settings,
                    self.settings.seed,
                    self._device(),
                    self.watcher,
                    judgments,
                    reliability,
                )
                self._keep(run, done, left_out=left_out)
        return self._record(run)

    def sample(self, round_: int = 0) -> RunRecord:
        """Sample completions of training prompts with the newest policy; each run takes the next prompts."""
        from heed.models.policy import Policy
        from heed.stages.sampling import sample_pieces

        if (before := self._done("sample", round_)) is not None:
            return before
        settings = self.settings.sampling
        policy, maker = self.newest_policy()
        turn = sum(run.stage == "sample" and run.state == "done" for run in self.project.runs())
        chosen = self._chosen_prompts(turn, settings.prompts)
        contents = [prompt.content for prompt in chosen]
        config = {**settings.model_dump(), "turn": turn, "asked": content_hash(contents)}
        with self._run("sample", config, round_, [maker]) as run:
            if run.state == "running":
                started = time.monotonic()
                store = self.project.store
                # A piece goes in as one transaction, so what is there is whole pieces.
                done = len(store.completions(run_id=run.id)) // settings.samples_per_prompt
                model = Policy.load(policy, self._device())
                pieces = sample_pieces(model, contents, settings, self.settings.seed + 7 * turn, self.watcher, done)
                for start, piece in pieces:
                    records = []
                    for place, completion in enumerate(piece):
                        index = start * settings.samples_per_prompt + place
                        prompt = chosen[index // settings.samples_per_prompt]
                        identity = completion_id(prompt.id, completion.text, f"{run.id}:{index}")
                        records.append(
                            CompletionRecord(
                                identity,
                                prompt.id,
                                completion.text,
                                run.id,
                                index,
                                completion.tokens,
                                completion.finished,
                                completion.logprob,
                            )
                        )
                    store.add_completions(records)
                made = store.completions(run_id=run.id)
                ended = sum(c.finished for c in made) / len(made)
                metrics = {"completions": len(made), "prompts": len(chosen), "ended": ended, "policy": maker}
                # Of all pieces: those that a killed process sampled count as well.
                tokens = sum(c.tokens or 0 for c in made)
                run.finish(metrics, Cost(0, tokens, time.monotonic() - started))
        return self._record(run)

    def collect(self, round_: int = 0) -> RunRecord:
        """Have the simulated raters of ``heed.yaml`` judge the newest samples, or what the selector chooses of them.

        Raises:
            WaitingForPeopleError: the raters are people, and some items have no judgment yet.
            ProjectError: nothing has been sampled.
        """
        if (before := self._done("ask", round_)) is not None:
            return before
        settings = self.settings.raters
        sampled = self.project.latest("sample")
        if sampled is None:
            raise ProjectError("nothing to judge", "no completions have been sampled.", "Run 'heed sample' first.")
        items, made_by = self.items_to_ask(sampled, round_)
        if not items:
            raise ProjectError(
                f"nothing to judge in {sampled.id}",
                "the completions of each prompt are all the same.",
                "Raise sampling.temperature or sampling.samples_per_prompt, then give: heed sample --fresh",
            )
        if len(items) < settings.comparisons:
            self.watcher.say(
                f"{len(items):,} pairs to judge, of the {settings.comparisons:,} of raters.comparisons: the samples of {sampled.id} "
                "make no more that differ. More come of more sampling.prompts or sampling.samples_per_prompt."
            )
        if settings.kind == "human":
            self._wait_for_people(items)
        with self._run("ask", settings.model_dump(), round_, made_by) as run:
            if run.state == "running":
                started = time.monotonic()
                people = settings.kind == "human"
                given = (
                    choices_of_people(self.project, items)
                    if people
                    else simulate(self.project, items, run, self.watcher)
                )
                metrics = {"items": len(items), "by_choice": given}
                run.finish(metrics, Cost(sum(given.values()), 0, time.monotonic() - started))
        return self._record(run)

    def _wait_for_people(self, items: Sequence[Item]) -> None:
        if waiting := unjudged(self.project.store, items):
            raise WaitingForPeopleError(
                f"{waiting} of {len(items)} items wait for a judgment",
                "the raters of this project are people.",
                "Run 'heed ask', then give the same command again.",
            )

    def train_reward(self, round_: int = 0) -> RunRecord:
        """Fit the reward model on what was judged in the project, on the backbone of the reference policy.

        Raises:
            DataError: there is nothing to learn from, only ties, or raters contradict each other and nothing says who is
                right.
        """
        if (before := self._done("reward", round_)) is not None:
            return before
        from heed.stages.reward import train_reward

        settings = self.settings.reward
        learned, ids = judgments_in(self.project.store, settings.kind)
        unused = dict(learned.unused)
        left_out = self._tell_left_out(unused)
        if not learned.rows:
            raise DataError(
                "no comparison to learn from"
                if settings.kind in ("joint", "comparison")
                else f"no {settings.kind} to learn from",
                "the project has none.",
                "Run 'heed ask' or 'heed feedback import FILE'.",
            )
        self._tell_unused(unused)
        config = settings.model_dump()
        groups = {rater.name: rater.group for rater in self.project.store.raters()} if settings.population else {}
        if groups:
            config["groups"] = groups
        if learned.known:
            config["gold"] = content_hash(learned.known)
        backbone, maker = self.reference_policy()
        sampled = [run.id for run in self.project.runs() if run.stage in ("sample", "ask") and run.state == "done"]
        with self._run("reward", config, round_, [maker, *sampled], ids) as run:
            if run.state == "running":
                done = train_reward(
                    backbone,
                    learned.rows,
                    run.folder / "model",
                    settings,
                    self.settings.seed,
                    reference_texts=self._reference_texts(maker),
                    device=self._device(),
                    watcher=self.watcher,
                    gold=learned.known,
                    skipped=learned.unused,
                    groups=groups,
                )
                self._keep(run, done, left_out=left_out)
        self.weigh_after_training(round_)
        return self._record(run)

    def _tell_unused(self, unused: Mapping[str, int]) -> None:
        """Tell how many judgments a reward of this kind does not learn from."""
        kind = self.settings.reward.kind
        why = "they compare nothing" if kind == "comparison" else f"the reward is of kind '{kind}'"
        for name, count in unused.items():
            what = name if name == WITHOUT_SAMPLES else f"judgments of kind '{name}'"
            ending = "they have nothing to be better than" if name == WITHOUT_SAMPLES else why
            self.watcher.say(f"{count} {what} are kept but not learned from: {ending}")

    def evaluate(self, round_: int = 0, policy_run: str | None = None) -> RunRecord:
        """Compare the newest policy, or that of a run, with its reference on the test prompts.

        Raises:
            ProjectError: no policy has been optimised, or the run made none.
        """
        if policy_run is None and (before := self._done("evaluate", round_)) is not None:
            return before
        from heed.stages.evaluation import evaluate_policy

        policy = self._latest("policy", "heed train policy") if policy_run is None else self._policy_of(policy_run)
        reward = next((parent for parent in policy.parents if parent.startswith("reward-")), None)
        reference, maker = self.reference_policy()
        settings, raters = self.settings.evaluate, self.settings.raters
        prompts = [prompt.content for prompt in self._prompts("test")]
        parents = [policy.id, maker, *([reward] if reward else [])]
        config = {
            **settings.model_dump(),
            "raters": raters.model_dump(),
            "max_new_tokens": self.settings.policy.max_new_tokens,
            "held_out": content_hash(prompts),
        }
        with self._run("evaluate", config, round_, parents) as run:
            if run.state == "running":
                started, truth = time.monotonic(), self.truth()
                held_out = (
                    simulated_raters(raters.held_out, truth, self.settings.seed) if truth and raters.held_out else []
                )
                found = evaluate_policy(
                    self._model_of(policy)[0],
                    reference,
                    prompts,
                    settings,
                    self.settings.policy.max_new_tokens,
                    self.settings.seed,
                    None if reward is None else str(self.project.artifact("model", reward)),
                    truth,
                    held_out,
                    self._device(),
                    self.watcher,
                )
                run.finish(found.model_dump(mode="json"), Cost(0, found.tokens, time.monotonic() - started))
                self.watcher.say(found.verdict.sentence)
                for caveat in found.verdict.caveats:
                    self.watcher.say(f"but: {caveat}")
        return self._record(run)

    def report(self, folder: str | Path | None = None) -> tuple[Path, Path]:
        """Write ``report.json`` and ``report.html`` about the newest evaluation; into the project unless ``folder`` is given.

        Raises:
            ProjectError: nothing has been evaluated.
        """
        from heed.evaluate.report import write
        from heed.reporting import report_data

        evaluation = self._latest("evaluate", "heed evaluate")
        return write(report_data(self.project, evaluation), Path(folder) if folder else self.project.folder)
