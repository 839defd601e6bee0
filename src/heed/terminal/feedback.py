"""``heed feedback import`` and ``heed feedback export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from heed.terminal.console import console, note, report_broken
from heed.terminal.options import Quiet
from heed.terminal.text import counted, safe

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from heed.feedback.formats import BrokenRow, Row

_ROWS_BETWEEN_WORDS = 20_000
_MOST_NAMED = 20

feedback = typer.Typer(help="Bring feedback in and out.", no_args_is_help=True)


@feedback.command("import")
def import_feedback(
    file: Annotated[Path, typer.Argument(help="JSON lines of heed, TRL or HH-RLHF, or CSV; also as .gz.")],
    format: Annotated[
        Literal["auto", "heed", "trl", "hh", "csv"], typer.Option(help="Its format; auto goes by its rows.")
    ] = "auto",
    rater: Annotated[str, typer.Option(help="Who judged, where a row does not say.")] = "import",
    quiet: Quiet = False,
) -> None:
    """Bring feedback with its prompts and completions into the project.

    Nothing goes in twice. Broken rows are named by their lines and the good ones go in; the exit code is then 1.
    """
    from heed.feedback.formats import read_rows
    from heed.feedback.transfer import import_rows
    from heed.project import Project
    from heed.stages.data import load_prompts

    def progress(read: int) -> None:
        if not quiet and read % _ROWS_BETWEEN_WORDS == 0:
            note(f"{read:,} rows read")

    with Project.open() as project:
        # The project's own prompts go in first: their split is the one that counts.
        if (project.folder / project.settings.prompts).is_file():
            load_prompts(project.store, project.folder / project.settings.prompts)
        raters = project.settings.raters
        # As what they are: entered as people they would stand in the way of the simulated ones for ever.
        project.store.add_raters([(entry.name, "simulated", entry.group) for entry in raters.simulated])
        held_out = {entry.name for entry in raters.held_out}
        rows = _without_raters(read_rows(file, format, rater), held_out)
        report = import_rows(project.store, rows, progress)
    report_broken(file, report.broken)
    if report.ignored:
        note(f"columns that heed does not know, and the rows that have them: {_tally(report.ignored)}")
    duplicates = f", {report.duplicates:,} were there already" if report.duplicates else ""
    broken = f", {len(report.broken):,} broken" if report.broken else ""
    console().print(safe(f"{counted(report.imported, 'judgment')} imported{duplicates}{broken}"), soft_wrap=True)
    if report.broken:
        raise typer.Exit(1)


def _without_raters(rows: Iterator[Row | BrokenRow], held_out: set[str]) -> Iterator[Row | BrokenRow]:
    """``rows``, with those of held-out raters as broken ones: who judges the result must not have taught it."""
    from heed.feedback.formats import BrokenRow, Row

    for row in rows:
        if isinstance(row, Row) and row.feedback.rater in held_out:
            yield BrokenRow(
                row.line, f"rater '{row.feedback.rater}' is held out in heed.yaml, and judges the result only"
            )
        else:
            yield row


@feedback.command("export")
def export_feedback(
    file: Annotated[Path, typer.Argument(help="File to write; compressed if its name ends in .gz.")],
    format: Annotated[
        Literal["heed", "trl", "hh", "csv"] | None,
        typer.Option(help="Its format; csv for a name with .csv, else heed, which alone keeps everything."),
    ] = None,
    excluded: Annotated[
        Literal["keep", "leave"] | None,
        typer.Option(
            help="What people said who are excluded from training; heed keeps it, the other formats leave it."
        ),
    ] = None,
    question: Annotated[
        str | None, typer.Option(help="What was answered to this question of the studio alone, by its name.")
    ] = None,
) -> None:
    """Write the project's feedback to a file.

    heed's own lines have every judgment; the other formats the newest answers only, without those of people excluded from
    training, and say what they cannot hold.
    """
    from heed.feedback.excluded import excluded_raters
    from heed.feedback.formats import OF_EXCLUDED, write_rows
    from heed.feedback.transfer import stored_rows
    from heed.folder import result_file
    from heed.project import Project

    chosen = format or ("csv" if ".csv" in file.suffixes else "heed")
    with Project.open() as project:
        with project.store.reading() as connection:
            question_id = None if question is None else _question_id(connection, question)
            left_out = excluded_raters(connection)
        rows = stored_rows(project.store, chosen == "heed", question_id)
        report = write_rows(rows, result_file(file), chosen, left_out, excluded)
    for reason, count in report.left_out.most_common():
        note(f"left out {counted(count, 'judgment')}: {reason}")
    if report.dropped_fields:
        note(f"format {chosen} has no place for, and the rows that had them: {_tally(report.dropped_fields)}")
    if report.of_excluded:
        note(f"{report.of_excluded:,} of them are {OF_EXCLUDED}, and nothing in the file marks them: --excluded leave")
    console().print(safe(f"{counted(report.written, 'judgment')} in {file}"), soft_wrap=True)


def _question_id(connection: Connection, name: str) -> str:
    """The id of the studio's question of this name.

    Raises:
        MissingError: there is none.
    """
    from heed.errors import MissingError
    from heed.feedback.asked import question_named, questions_asked
    from heed.texts import shown

    found = question_named(connection, name)
    if found is not None:
        return found.id
    names = ", ".join(shown(one.name) for one in questions_asked(connection)[:_MOST_NAMED])
    fix = f"Choose one of {names}." if names else "Leave --question out: feedback from files belongs to none."
    raise MissingError(f"question {shown(name)}", "the studio has none of this name.", fix)


def _tally(counts: Counter[str]) -> str:
    return ", ".join(f"{name} ({count:,})" for name, count in counts.most_common())
