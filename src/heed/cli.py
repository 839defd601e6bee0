"""The command line: parse, call, print. Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from heed.errors import HeedError, ProjectError
from heed.memory import look_rarely
from heed.terminal import (
    asking,
    dialogues,
    evaluate_reward,
    feedback,
    merge,
    policy,
    pretrain,
    preview,
    rank,
    reweigh,
    serve,
    stages,
    sweep,
    teach,
    votes,
)
from heed.terminal.console import EXIT_STOPPED, console, print_error
from heed.terminal.options import LAST_ROUND, Choices, Config, Device, Fresh, Quiet, Seed, Set, rounds, user_name
from heed.terminal.show import print_json, print_run, print_runs, print_trace, run_values
from heed.terminal.streams import open_streams
from heed.terminal.text import safe

EXIT_PROBLEM, EXIT_ERROR = 1, 2

_START, _LOOP, _STUDIO, _LOOK = "Start", "The loop, all of it or stage by stage", "The studio", "Look"
_FILES = "Plain files, without a project"

app = typer.Typer(
    help="The whole human-feedback loop: sample, judge, learn the reward, improve, prove it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Begin with: heed init mine --sandbox, then inside mine: heed loop",
)


def main() -> None:
    """The program ``heed``. Exit codes: 0 done, 1 something was left out or found wrong, 2 an error, 130 stopped."""
    look_rarely()
    open_streams()
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:  # before a command had begun, which ends itself
        sys.exit(EXIT_STOPPED)
    except BrokenPipeError:  # whoever read the output has seen enough
        sys.exit(EXIT_PROBLEM)
    except (HeedError, OSError) as error:
        if os.environ.get("HEED_DEBUG") == "1":
            raise
        print_error(error if isinstance(error, HeedError) else _of_the_system(error))
        sys.exit(EXIT_ERROR)


def _of_the_system(error: OSError) -> HeedError:
    """An error of a file that no command has words of its own for."""
    return ProjectError(
        str(error.filename or "a file or a connection"),
        f"{(error.strerror or str(error)).lower()}.",
        "Check that it is there, whose it is, and its permissions; HEED_DEBUG=1 shows where heed stood.",
    )


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(version("heed"))
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """The whole human-feedback loop: sample, judge, learn the reward, improve, prove it."""
    try:
        Path.cwd()
    except FileNotFoundError:
        raise ProjectError(
            "the current folder", "it has been deleted or moved away.", "Go to another one: cd"
        ) from None


@app.command(rich_help_panel=_START)
def init(
    name: Annotated[Path, typer.Argument(help="The project's folder, new or empty.")],
    model: Annotated[str | None, typer.Option(metavar="PATH|HUB_ID", help="Base model.")] = None,
    prompts: Annotated[
        Path | None, typer.Option(metavar="FILE", help='JSON lines with "prompt" and optionally "split".')
    ] = None,
    demonstrations: Annotated[
        Path | None, typer.Option(metavar="FILE", help='JSON lines with "prompt" and "completion".')
    ] = None,
    sandbox: Annotated[bool, typer.Option("--sandbox", help="The built-in world: nothing is downloaded.")] = False,
    studio: Annotated[
        bool, typer.Option("--studio", help="To collect feedback first: no model and no prompts yet.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of the built-in world.")] = 0,
    quiet: Quiet = False,
) -> None:
    """Make a project folder with a commented heed.yaml."""
    from heed.terminal.init import check_alone, init_from_files, init_sandbox, init_studio, missing_options
    from heed.terminal.watcher import watching

    check_alone(sandbox, studio, given=any(one is not None for one in (model, prompts, demonstrations)))
    next_commands = "heed sample, then heed ask, then heed train reward; or heed loop"
    if sandbox:
        next_commands = "heed loop --rounds 1"
        with watching(quiet) as watcher:
            told = init_sandbox(name, seed, watcher)
    elif studio:
        next_commands = "heed serve"
        told = init_studio(name)
    else:
        if model is None or prompts is None:
            raise missing_options(model, prompts)
        told = init_from_files(name, model, prompts, demonstrations)
    screen = console()
    screen.print(safe(f"project {name}: {'; '.join(told)}"), soft_wrap=True)
    if not quiet:
        screen.print(safe(f"next: cd {name}, look through heed.yaml, and give: {next_commands}"), soft_wrap=True)


@app.command(rich_help_panel=_START)
def demo(
    folder: Annotated[Path, typer.Option(metavar="DIR", help="Where the project and its report go.")] = Path("demo"),
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of everything random.")] = 0,
    quiet: Quiet = False,
) -> None:
    """The whole loop on the built-in world, with simulated raters: a report in a few minutes, nothing downloaded."""
    from heed.demo import run_demo
    from heed.terminal.watcher import watching

    with watching(quiet) as watcher:
        paths = run_demo(folder, seed, watcher)
    for path in paths:
        console().print(safe(str(path)), soft_wrap=True)


@app.command(rich_help_panel=_START)
def doctor(
    online: Annotated[bool, typer.Option("--online", help="Also try to reach the Hugging Face hub.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """What this machine can do, what is missing and how to get it."""
    from heed.terminal.doctor import examine, print_checks

    findings = examine(Path.cwd(), online)
    if as_json:
        checks = list(findings)
        print_json([vars(check) for check in checks])
    else:
        checks = print_checks(findings)
    if any(check.state == "problem" for check in checks):
        raise typer.Exit(EXIT_PROBLEM)


@app.command(rich_help_panel=_LOOP)
def loop(
    turns: Annotated[int, typer.Option("--rounds", min=1, max=LAST_ROUND, metavar="N", help="Turns of the loop.")] = 1,
    seed: Seed = None,
    device: Device = None,
    fresh: Fresh = False,
    quiet: Quiet = False,
) -> None:
    """All stages, again and again, with new samples each round; what is done already is not done again."""
    from heed.loop import run_loop

    with rounds(Choices("", seed=seed, device=device), quiet, fresh) as (stages_, watcher):
        evaluations = run_loop(stages_.project, turns, watcher, fresh)
        paths = stages_.report()
    for run in evaluations:
        print_run(run)
    for path in paths:
        console().print(safe(str(path)), soft_wrap=True)


@app.command(rich_help_panel=_LOOP)
def sample(
    turn: stages.Round = 0,
    sets: Set = None,
    config: Config = None,
    seed: Seed = None,
    device: Device = None,
    fresh: Fresh = False,
    quiet: Quiet = False,
) -> None:
    """Sample completions of training prompts with the newest policy."""
    with rounds(Choices("sampling", config, sets or (), seed, device), quiet, fresh) as (stages_, _):
        run = stages_.sample(turn)
    print_run(run)


@app.command(rich_help_panel=_LOOP)
def ask(
    rater: Annotated[str | None, typer.Option(help="Who judges; your user name.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after this many pairs.")] = None,
    turn: stages.Round = 0,
    fresh: Fresh = False,
    quiet: Quiet = False,
) -> None:
    """Judge pairs of completions: one key an answer, undo, quit and come back.

    In a project of simulated raters these judge, unless --rater names a person. In a pipe an answer is a line.
    """
    from heed.terminal.ask import judge

    with rounds(Choices(""), quiet, fresh) as (stages_, _):
        if stages_.project.settings.raters.kind == "simulated" and rater is None:
            run = stages_.collect(turn)
        else:
            judge(stages_, rater if rater is not None else user_name(), limit)
            return
    print_run(run)


app.command(rich_help_panel=_LOOP)(asking.select)
app.add_typer(stages.train, name="train", rich_help_panel=_LOOP)
app.command(rich_help_panel=_LOOP)(sweep.sweep)
app.command(rich_help_panel=_LOOP)(stages.score)
app.command(rich_help_panel=_LOOP)(reweigh.reweigh)
app.add_typer(evaluate_reward.grouped(stages.evaluate), name="evaluate", rich_help_panel=_LOOP)
app.add_typer(feedback.feedback, name="feedback", rich_help_panel=_LOOP)


@app.command(rich_help_panel=_LOOP)
def report(
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder to write to; the project.")] = None,
    quiet: Quiet = False,
) -> None:
    """Write report.html and report.json about the newest evaluation."""
    with rounds(Choices(""), quiet) as (stages_, _):
        paths = stages_.report(out)
    for path in paths:
        console().print(safe(str(path)), soft_wrap=True)


app.command(rich_help_panel=_FILES)(rank.rank)
app.command(rich_help_panel=_FILES)(merge.merge)

app.command(rich_help_panel=_STUDIO)(serve.serve)
app.command(rich_help_panel=_STUDIO)(serve.invite)
app.add_typer(serve.audit, name="audit", rich_help_panel=_STUDIO)

app.command(rich_help_panel=_FILES)(votes.aggregate)
app.command(rich_help_panel=_FILES)(votes.agreement)
app.command(rich_help_panel=_FILES)(dialogues.dialogues)
app.command(rich_help_panel=_FILES)(pretrain.pretrain)


app.command(rich_help_panel=_LOOK)(asking.labels)
app.command(rich_help_panel=_LOOK)(policy.explain)
app.command(rich_help_panel=_LOOK)(teach.teach)
app.command(rich_help_panel=_LOOK)(preview.preview)


@app.command(rich_help_panel=_LOOK)
def runs(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, with configurations and metrics.")] = False,
) -> None:
    """All runs: state, cost, result, and what each was made from."""
    from heed.project import Project

    with Project.open() as project:
        found = project.runs()
    if as_json:
        print_json([run_values(run) for run in found])
    else:
        print_runs(found)


@app.command(rich_help_panel=_LOOK)
def trace(
    identity: Annotated[
        str, typer.Argument(metavar="ID", help="Of a run, completion, prompt or judgment, or a rater.")
    ],
    full: Annotated[bool, typer.Option("--full", help="Every judgment and completion instead of counts.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Where something came from and what became of it, from a completion back to the judgments and forward again."""
    from heed.project import Project

    with Project.open() as project:
        found = project.trace(identity, full)
    if as_json:
        print_json(found.as_dict())
    else:
        print_trace(found)


@app.command(rich_help_panel=_LOOK)
def chat(
    model: Annotated[
        str | None, typer.Option(metavar="RUN|PATH", help="Whom to talk to; the project's newest policy.")
    ] = None,
    against: Annotated[str | None, typer.Option(metavar="RUN|PATH", help="A second one, side by side.")] = None,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 takes the likeliest token.")] = 1.0,
    max_new_tokens: Annotated[int | None, typer.Option(min=1, help="Longest reply (tokens); the project's.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Of the replies.")] = 0,
    device: Device = None,
) -> None:
    """Talk to the newest policy, or to two models side by side."""
    from heed.terminal.chat import chat as talk

    answered = talk(model, against, temperature, max_new_tokens, seed, device or "auto")
    if not answered and not sys.stdin.isatty():
        raise typer.Exit(EXIT_PROBLEM)
