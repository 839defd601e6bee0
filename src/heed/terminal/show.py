"""Runs, traces and evaluations as tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from heed.terminal.console import console
from heed.terminal.text import counted, duration, one_line, safe

if TYPE_CHECKING:
    from rich.console import RenderableType

    from heed.lineage import Trace
    from heed.runs import RunRecord
    from heed.stages.evaluation import Evaluation
    from heed.statistics import Interval

_STATE_COLOURS = {"done": "green", "running": "cyan", "failed": "red", "stopped": "yellow", "interrupted": "yellow"}
_HEADLINE_WIDTH = 60


def interval(values: Mapping[str, Any]) -> str:
    """An interval of shares (0 to 1) as ``87.5 % (84.0 to 90.4 %)``, or why there is none."""
    if values.get("estimate") is None:
        return f"undefined: {values.get('reason')}"
    text = f"{100 * values['estimate']:.1f} %"
    if values.get("low") is None or values.get("high") is None:
        return f"{text} (no interval: {values.get('reason')})"
    return f"{text} ({100 * values['low']:.1f} to {100 * values['high']:.1f} %)"


def headline(run: RunRecord) -> str:
    """What a run came to, in a few words; of a failed one, its error."""
    if run.error:
        return run.error
    metrics = run.metrics
    if run.stage == "reward" and "accuracy" in metrics:
        return f"right on {interval(metrics['accuracy'].get('clustered', metrics['accuracy']))}"
    if run.stage == "evaluate" and "verdict" in metrics:
        by = metrics["verdict"].get("by", "none")
        rate = metrics.get(by)
        return f"{by} win rate {interval(rate)}" if rate else str(metrics["verdict"].get("sentence", ""))
    if run.stage == "policy" and "kl" in (metrics.get("history") or [{}])[-1]:
        first, last = metrics["history"][0], metrics["history"][-1]
        moved = f"reward {first['reward']:.2f} to {last['reward']:.2f}, KL {max(0.0, last['kl']):.1f} nats a completion"
        return f"{_algorithm(run)}{moved}" + (
            f", {counted(len(metrics['alarms']), 'alarm')}" if metrics.get("alarms") else ""
        )
    if run.stage == "policy" and metrics.get("accuracy", {}).get("clustered", {}).get("estimate") is not None:
        return f"{_algorithm(run)}towards the better text of {interval(metrics['accuracy']['clustered'])}"
    if run.stage == "sample" and "completions" in metrics:
        return f"{counted(metrics['completions'], 'completion')} of {counted(metrics['prompts'], 'prompt')}"
    if run.stage == "ask" and "by_choice" in metrics:
        return ", ".join(f"{choice.replace('_', ' ')} {count:,}" for choice, count in metrics["by_choice"].items())
    verdict = metrics.get("verdict", "")
    return f"{_algorithm(run)}{verdict}" if isinstance(verdict, str) else ""


def _algorithm(run: RunRecord) -> str:
    """How the policy of a run was optimised, before what it came to; nothing of runs that do not say."""
    named = run.config.get("algorithm", "") if run.stage == "policy" else ""
    return f"{named}: " if named else ""


def print_run(run: RunRecord) -> None:
    """One line on standard output about a run that has ended."""
    cost = [duration(run.cost.seconds)]
    cost += [counted(run.cost.tokens, "token")] if run.cost.tokens else []
    cost += [counted(run.cost.labels, "label")] if run.cost.labels else []
    console().print(safe(f"{run.id} {run.state} ({', '.join(cost)}): {headline(run)}"))


def run_values(run: RunRecord) -> dict[str, Any]:
    """A run as plain values for ``heed runs --json``."""
    return {
        "id": run.id,
        "stage": run.stage,
        "round": run.round,
        "state": run.state,
        "seed": run.seed,
        "version": run.version,
        "started": run.started.isoformat(),
        "ended": run.ended.isoformat() if run.ended else None,
        "seconds": run.cost.seconds,
        "labels": run.cost.labels,
        "tokens": run.cost.tokens,
        "parents": list(run.parents),
        "feedback": run.feedback,
        "error": run.error,
        "folder": str(run.folder),
        "config": run.config,
        "metrics": run.metrics,
    }


def print_runs(runs: Sequence[RunRecord]) -> None:
    """A table of runs, oldest first."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    screen = console()
    if not runs:
        screen.print("no runs yet; begin with: heed sample, or heed loop --rounds 1", soft_wrap=True)
        return
    # Where the terminal is narrow, what the run ids and the trace tell as well goes first.
    wide, table = screen.width >= 120, Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("run", "round", "state", *(("started (UTC)",) if wide else ()), "time", "labels", "tokens"):
        right = name in ("round", "time", "labels", "tokens")
        table.add_column(name, justify="right" if right else "left", no_wrap=True)
    table.add_column("result", overflow="fold", ratio=1 if screen.is_terminal else None)
    if wide:
        table.add_column("from", overflow="fold")
    for run in runs:
        cells: list[RenderableType] = [run.id, str(run.round or "")]
        cells.append(Text(run.state, style=_STATE_COLOURS.get(run.state, "")))
        cells += [run.started.strftime("%Y-%m-%d %H:%M")] if wide else []
        cells += [duration(run.cost.seconds), f"{run.cost.labels or '':,}" if run.cost.labels else ""]
        cells.append(_short_count(run.cost.tokens))
        cells.append(Text(one_line(headline(run), _HEADLINE_WIDTH)))
        cells += [", ".join(run.parents)] if wide else []
        table.add_row(*cells)
    screen.print(table)


def _short_count(count: int) -> str:
    if count < 10_000:
        return f"{count:,}" if count else ""
    return f"{count / 1000:,.0f} k" if count < 10_000_000 else f"{count / 1e6:,.0f} M"


def print_trace(trace: Trace) -> None:
    """A trace with its indents kept where lines wrap."""
    from rich.padding import Padding
    from rich.text import Text

    screen = console()
    for number, line in enumerate(trace.lines()):
        text = line.lstrip(" ")
        indent = len(line) - len(text)
        style = "bold" if number == 0 else "cyan" if indent == 0 else ""
        if screen.is_terminal:
            screen.print(Padding(Text(safe(text), style=style), (0, 0, 0, indent)))
        else:
            screen.print(" " * indent + safe(text), soft_wrap=True)


def print_evaluation(found: Evaluation) -> None:
    """The verdict, then the figures that it rests on."""
    from rich.table import Table
    from rich.text import Text

    screen, table = console(), Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, rate in (("true", found.true), ("judged", found.judged), ("proxy", found.proxy)):
        table.add_row(f"{name} win rate", Text(_rate(rate)))
        if rate.estimate is not None:
            table.add_row("  at equal length", Text(_rate(rate.length_controlled)))
    table.add_row("KL to the reference", Text(_kl(found)))
    for name, texts in (("policy", found.policy_texts), ("reference", found.reference_texts)):
        distinct = texts.distinct_2
        shown = f"{distinct:.3f}" if isinstance(distinct, float) else f"undefined: {distinct.reason}"
        table.add_row(f"distinct-2, {name}", Text(safe(shown)))
    screen.print(safe(found.verdict.sentence), style="bold")
    for caveat in found.verdict.caveats:
        screen.print(safe(f"but: {caveat}"), style="yellow")
    screen.print(table)


def _rate(rate: Interval) -> str:
    text = interval(rate.model_dump())
    return safe(text if rate.estimate is None else f"{text}, {counted(rate.prompts, 'prompt')}")


def _kl(found: Evaluation) -> str:
    from heed.statistics import Undefined

    if isinstance(found.kl, Undefined):
        return safe(f"undefined: {found.kl.reason}")
    kl = found.kl.per_completion
    if kl.estimate is None:
        return safe(f"undefined: {kl.reason}")
    ends = "" if kl.low is None or kl.high is None else f" ({kl.low:.2f} to {kl.high:.2f})"
    return f"{kl.estimate:.2f}{ends} nats a completion"


def print_json(values: Any) -> None:
    """Plain values as JSON on standard output; control characters are escaped, so it is safe to look at."""
    print(json.dumps(values, indent=2, ensure_ascii=True))
