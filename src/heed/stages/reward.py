"""Fitting a reward model as a stage, and scoring with one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heed.config import RewardSettings
from heed.errors import DataError
from heed.evaluate.verdict import beside_a_coin
from heed.feedback.kinds import PromptContent, prompt_id
from heed.stages.baseline import LINEAR
from heed.stages.data import TIE, ComparisonRow, share_of
from heed.stages.identity import model_identity
from heed.stages.judgments import Judgment, Known, compared, kinds_of
from heed.stages.linear_reward import train_linear
from heed.stages.measured import least_told, told_beside
from heed.stages.pairwise_reward import train_pairwise
from heed.stages.plan import training_plan
from heed.stages.population import standing_of
from heed.stages.rater_weights import ALIKE, differ
from heed.stages.results import (
    Output,
    StageResult,
    content_hash,
    output_folder,
    prepare_machine,
    tell_trained_on,
)
from heed.stages.reward_measures import NOBODY_TOLD_APART, Trust, assess, fit_words
from heed.stages.reward_rows import (
    EncodedRows,
    Encoder,
    Split,
    as_judgments,
    check_split,
    check_telling,
    folds,
    gold_of,
    keyed,
    named,
    raters_of,
)
from heed.stages.scoring import score_all
from heed.train.optimise import memory_errors
from heed.train.progress import Watcher

if TYPE_CHECKING:
    from heed.models.reward import RewardModel
    from heed.models.surroundings import Surroundings
    from heed.train.judgments import Fitted


# Texts that a single member's scores are scaled to; words named in the metrics; texts that tell what is usual (counts).
_REFERENCES, _TELLING, _USUAL = 512, 20, 2048


@memory_errors()
def train_reward(
    model: str | Path,
    judgments: Sequence[ComparisonRow | Judgment],
    out: str | Path,
    settings: RewardSettings | None = None,
    seed: int = 0,
    test: Sequence[ComparisonRow | Judgment] | None = None,
    reference_texts: Sequence[tuple[PromptContent, str]] | None = None,
    device: str = "auto",
    watcher: Watcher | None = None,
    gold: Sequence[Known] = (),
    skipped: Mapping[str, int] | None = None,
    groups: Mapping[str, str] | None = None,
) -> StageResult:
    """Fit a reward model on the backbone ``model`` and write it to ``out``; the same call goes on where it was stopped.

    Judgments are split by prompt: ``test`` (or else ``test_fraction`` of the prompts) is only measured on,
    ``validation_fraction`` of the others decides when to stop. Scores are centred and scaled to ``reference_texts``,
    samples of the reference policy, or else to the training completions.

    Args:
        judgments: of the kinds that ``settings.kind`` learns from, as ``read_judgments`` gives them, or comparisons.
        gold: answers to gold items. They tell of who gave them alone: the reward does not learn what they are about.
        skipped: judgments left out before, by reason (counts), which the card tells.
        groups: of raters, by name, for ``settings.population``.

    Raises:
        ModelError, DataError, ProjectError, TrainingError: see their messages; a DataError too where raters contradict each
            other and nothing says who is right. Stopped: on Ctrl-C, after a checkpoint.
    """
    from heed.models.reward import RewardModel

    settings, watcher = settings or RewardSettings(), watcher or Watcher()
    if settings.backbone != "network":
        fit = train_linear if settings.backbone == "linear" else train_pairwise
        return fit(model, judgments, out, settings, seed, test, reference_texts, device, watcher, gold, skipped)
    folder = output_folder(out, [model])
    given, tested = as_judgments(judgments), None if test is None else as_judgments(test)
    known = [[keyed(answer.given), keyed(answer.expected)] for answer in gold]
    data = content_hash([list(map(keyed, given)), list(map(keyed, tested or [])), known])
    standing = standing_of(given, groups or {}, settings.population)
    identity = {"model": model_identity(model), "data": data, "settings": settings.model_dump(), "seed": seed}
    if standing.by_rater:
        identity["counts"] = dict(standing.by_rater)
    output = Output(folder, "reward", identity)
    with output.claimed() as finished:
        if finished is not None:
            watcher.say(f"already done: {folder}")
            return finished
        network = RewardModel.new(model, settings.pooling, settings.members, seed, prepare_machine(device))
        if standing.by_rater:
            watcher.say(standing.told())
        work = _Work.of(network, given, tested, gold, settings, watcher, standing.by_rater)
        fitted = work.fit(seed, [output.checkpoints(f"member-{number}") for number in range(settings.members)])
        trust = work.trust(fitted, output)
        metrics = work.measured(reference_texts, fitted, trust)
        metrics |= {"skipped": dict(skipped or {}), **work.of_raters(fitted), **standing.metrics()}
        kept = ("kinds", "skipped", "gold", "raters", "direction", "weights", "population")
        network.card |= {name: metrics[name] for name in kept if name in metrics}
        with output.writing():
            network.save(output.folder)
            tell_trained_on(output.folder, (row.prompt for row in (*work.train.rows, *work.validation.rows)))
        return output.finish(metrics, _verdict(metrics), sum(fit.tokens for fit in fitted.fits))


@dataclass
class _Work:
    """A reward model, what it learns from and what it is measured on."""

    network: RewardModel
    given: list[Judgment]
    encoder: Encoder
    names: list[str]
    gold: Sequence[Known]
    train: EncodedRows
    validation: EncodedRows
    held_out: EncodedRows
    left_out: list[int]
    too_long: int
    settings: RewardSettings
    watcher: Watcher

    @classmethod
    def of(
        cls,
        network: RewardModel,
        given: list[Judgment],
        tested: list[Judgment] | None,
        gold: Sequence[Known],
        settings: RewardSettings,
        watcher: Watcher,
        counts: Mapping[str, float],
    ) -> _Work:
        """Split and encode, refuse what nothing can be learned from, and say what is left out.

        Args:
            counts: what one answer of a rater counts; 1 where it is not named.
        """
        parts = _split(given, tested, settings)
        names = raters_of([*parts.train, *parts.validation], gold, settings)
        encoder = Encoder(network, names, counts)
        train, validation, held_out = (encoder.encode(rows) for rows in (parts.train, parts.validation, parts.test))
        check_split(parts, train, encoder, settings)
        # Where test judgments are given, they are measured on; the members leave out their shares all the same.
        left_out = folds(train.rows, settings.members) if settings.cross_fit else []
        for number in range(settings.members) if left_out else ():
            check_telling([row for row, out in zip(train.rows, left_out, strict=True) if out != number])
        if encoder.too_long:
            watcher.alarm(
                f"{encoder.too_long:,} {named(given)} are left out: longer than the {encoder.reader.context} tokens of the "
                "model"
            )
        everything, sides = [*given, *(tested or [])], (train, validation, held_out)
        return cls(network, everything, encoder, names, gold, *sides, left_out, encoder.too_long, settings, watcher)

    def fit(self, seed: int, checkpoints: Sequence[Any]) -> Fitted:
        """Tell the plan, and carry it out."""
        from heed.train.judgments import fit_judgments

        texts, raters = list(self.encoder.table), len(self.names)
        self.watcher.plan("reward model", self._plan(texts))
        return fit_judgments(
            self.network,
            texts,
            self.train.judged,
            self.validation.judged,
            self.settings,
            seed,
            raters,
            gold_of(self.gold, self.names),
            checkpoints,
            self.watcher,
            self.left_out,
        )

    def _plan(self, texts: Sequence[Any]) -> dict[str, str]:
        from heed.train.judgments import by_examples, example_lengths

        what = named(self.train.rows)
        lengths = example_lengths(texts, self.train.judged, len(self.names))
        settings = by_examples(self.settings, len(self.train.rows), len(lengths))
        share = (settings.members - 1) / settings.members if self.left_out else 1
        backbone, each = self.network.members[0].backbone, sum(lengths) / len(lengths)
        plan = training_plan(backbone, round(len(lengths) * share), each, settings, settings.members)
        prompts = len({prompt_id(row.prompt) for row in self.held_out.rows})
        held = f"{len(self.held_out.rows)} {what} of {prompts} prompts"
        if self.left_out and not self.held_out.rows:
            held = f"all {len(self.train.rows)} {what} in turn, a share for each member"
        return {**plan, "held out": held}

    def trust(self, fitted: Fitted, output: Output) -> Trust:
        """How much the answers of each rater tell.

        Raises:
            DataError: they contradict each other, and nothing says who is right.
        """
        if fitted.raters is None:
            return NOBODY_TOLD_APART
        direction, reason = fitted.raters.direction()
        if direction == "unidentifiable":
            # Nothing that comes of this can be gone on with: what is needed is another set of judgments.
            for number in range(self.settings.members):
                output.checkpoints(f"member-{number}").clear()
            raise DataError(
                "which way the reward points cannot be told",
                reason,
                "Ask raters about gold items, whose answers are known; or set raters to equal to go by the "
                "larger number.",
            )
        pairs = zip(self.names, fitted.raters.reliability, fitted.raters.errors, strict=True)
        found = {name: (value, error) for name, value, error in pairs}
        return Trust({n: value for n, (value, _) in found.items()}, {n: error for n, (_, error) in found.items()})

    def measured(
        self, reference_texts: Sequence[tuple[PromptContent, str]] | None, fitted: Fitted, trust: Trust
    ) -> dict[str, Any]:
        """Scale the scores, and measure what was fitted."""
        from heed.models.weighing import keep_moments

        network, settings, rows = self.network, self.settings, self.train.rows
        texts = self.encoder.texts(reference_texts or [(row.prompt, text) for row in rows for text in row.texts])
        if settings.words:
            network.words = fit_words(compared(rows), trust)
        network.calibrate_scale(texts, settings.tokens_per_microbatch)
        keep_moments(network, texts, settings.tokens_per_microbatch)
        network.surroundings = self._surroundings()
        sides = (self.train, self.validation, self.held_out)
        metrics = assess(network, *sides, self.left_out, texts[:_REFERENCES], self.encoder, trust, settings, self.gold)
        return {
            **metrics,
            **self._parts(),
            "kinds": kinds_of(rows),
            "ties": sum(row.kind == "comparison" and row.said[0] == TIE for row in self.given),
            "texts_too_long": self.encoder.too_long - self.too_long,
            "best_steps": [fit.best_step for fit in fitted.fits],
            "telling_words": network.words.telling(_TELLING) if network.words is not None else [],
            "history": fitted.fits[0].history,
        }

    def _surroundings(self) -> Surroundings | None:
        """Of the training texts, or some of them, as the first member sees them."""
        from heed.models.surroundings import Surroundings

        texts = dict.fromkeys((row.prompt, text) for row in self.train.rows for text in row.texts)
        some = sorted(texts, key=lambda text: share_of(text[0], "surroundings"))[:_USUAL]
        seen = self.network.states(self.encoder.texts(some), self.settings.tokens_per_microbatch)
        return Surroundings.known(seen, [prompt_id(prompt) for prompt, _ in some])

    def _parts(self) -> dict[str, int]:
        """What became of the judgments, in parts that add up to ``judgments`` (counts)."""
        parts = {
            "trained_on": len(self.train.rows),
            "validation": len(self.validation.rows),
            "held_out": len(self.held_out.rows),
            "too_long": self.too_long,
        }
        given = len(self.given)
        comparisons = sum(row.kind == "comparison" for row in self.given)
        # Those about a prompt of the test judgments that were given: learned from, they would spoil the test.
        return {"judgments": given, "comparisons": comparisons, **parts, "on_test_prompts": given - sum(parts.values())}

    def of_raters(self, fitted: Fitted) -> dict[str, Any]:
        """What the card tells of the raters, and of what the reward is the sum of."""
        known = self.network.members[0].components
        weights = {} if known is None else dict(zip(known.names, known.weights.tolist(), strict=True))
        found: dict[str, Any] = {"weights": weights, "gold": len(self.gold)}
        if fitted.raters is None:
            return found
        direction, reason = fitted.raters.direction()
        return {**found, "raters": fitted.raters.rows(self.names), "direction": {"by": direction, "reason": reason}}


def _split(given: Sequence[Judgment], tested: Sequence[Judgment] | None, settings: RewardSettings) -> Split:
    if tested is not None:
        prompts = {prompt_id(row.prompt) for row in tested}
        rest = [row for row in given if prompt_id(row.prompt) not in prompts]
        held_out = list(tested)
    else:
        share = 0.0 if settings.cross_fit else settings.test_fraction
        held_out = [row for row in given if share_of(row.prompt, "test") < share]
        rest = [row for row in given if share_of(row.prompt, "test") >= share]
    validation = [row for row in rest if share_of(row.prompt, "validation") < settings.validation_fraction]
    train = [row for row in rest if share_of(row.prompt, "validation") >= settings.validation_fraction]
    return Split(train, validation, held_out)


def _verdict(metrics: dict[str, Any]) -> str:
    right = metrics["accuracy"]["clustered"]
    trained = _account(metrics)
    if right["estimate"] is None:
        return f"{trained} Held-out accuracy is undefined: {right['reason']}"
    ends = f"no interval: {right['reason']}"
    if right["low"] is not None:
        ends = f"{100 * right['low']:.1f} to {100 * right['high']:.1f} %"
    text = f"{trained} Right on {100 * right['estimate']:.1f} % of {right['n']} held-out comparisons ({ends})"
    ties = metrics["accuracy"]["ties"]
    text += f"; beside them, ties: {ties}." if ties else "."
    if metrics["cross_fit"]:
        text += " Each was judged by the member that had not seen its prompt."
    trusted = metrics.get("accuracy_trusted", {"clustered": right})["clustered"]
    if trusted is not right and trusted["low"] is not None:
        text += f" Of raters who surely heed: {100 * trusted['estimate']:.1f} % of {trusted['n']}."
        right = trusted
    text += _of_raters(metrics)
    text = f"{text} {told_beside(metrics['linear'], LINEAR)}".rstrip()
    return f"{text} {beside_a_coin(right['low'], right['high'])}".rstrip()


def _of_raters(metrics: dict[str, Any]) -> str:
    """How many were told apart, and what decides which way is up."""
    if "raters" not in metrics:
        return ""
    found = metrics["raters"].values()
    values = sorted(rater["reliability"] for rater in found)
    middle, reason = values[len(values) // 2], metrics["direction"]["reason"]
    if not differ([rater["reliability"] for rater in found], [rater["error"] for rater in found]):
        return (
            f" The {len(values)} raters could not be told apart, as {ALIKE}; they count nearly alike (reliability "
            f"{middle:.2f}). {reason}"
        )
    reliability = {name: rater["reliability"] for name, rater in metrics["raters"].items()}
    span = f"reliability {values[0]:.2f} to {values[-1]:.2f}, median {middle:.2f}{least_told(reliability)}"
    return f" Raters told apart: {len(values)}, {span}. {reason}"


def _account(metrics: dict[str, Any]) -> str:
    """What became of every judgment."""
    what = "comparisons" if metrics["comparisons"] == metrics["judgments"] else "judgments"
    told = [
        f"{metrics[part]} {what}"
        for part, what in (
            ("validation", "kept to tell when to stop"),
            ("held_out", "held out to measure on"),
            ("on_test_prompts", f"left out: about prompts of the test {what}"),
            ("too_long", "left out: too long for the model"),
        )
        if metrics[part]
    ]
    text = f"Learned from {metrics['trained_on']} of {metrics['judgments']} {what}"
    text += f" ({'; '.join(told)})." if told else "."
    if metrics["texts_too_long"]:
        text += f" Texts for the scale that were left out, too long for the model: {metrics['texts_too_long']}."
    return text


def score(reward: str | Path, rows: Sequence[tuple[PromptContent, str]], device: str = "auto") -> list[float]:
    """Score of each (prompt, completion), in standard deviations of the reference policy's samples.

    Raises:
        ModelError: ``reward`` is no reward model. DataError: a text is longer than its context.
    """
    return score_all(reward, rows, device).scores
