"""What commands on plain tables share: how a table is described, how its columns are named, and what is told of its reading."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heed.errors import ConfigError
from heed.raters.column_names import accepted_in_short
from heed.terminal.console import note, report_broken
from heed.texts import cut

if TYPE_CHECKING:
    from heed.feedback.formats import BrokenRow

_FORMS = (
    "CSV (commas, semicolons or tabs), columns with blanks between, or JSON lines; also as .gz; - for standard input."
)


def table_help(parts: Sequence[str], more: str = "") -> str:
    """What a table with these parts is, in a help text."""
    return f"{_FORMS} Columns: {'; '.join(map(accepted_in_short, parts))}{more}. All names stand in docs/trust.md."


NamedColumns = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        metavar="PART=NAME",
        help="What the column of a part is called, such as item=sentence_no; repeatable.",
    ),
]


def named_columns(given: Sequence[str] | None) -> dict[str, str]:
    """The name of a column for each part, from what was given on the command line.

    Raises:
        ConfigError: one is not of the form PART=NAME, or a part has two.
    """
    named: dict[str, str] = {}
    for text in given or ():
        part, equals, name = text.partition("=")
        part = part.strip().lower()
        if not equals or not part or not name.strip():
            raise ConfigError(
                f"--column {cut(text)}",
                "it is not of the form PART=NAME.",
                "Write for example --column item=sentence_no.",
            )
        if named.setdefault(part, name) != name:
            raise ConfigError(f"--column {cut(text)}", f"{part} has another column already.", "Name one column a part.")
    return named


def progress_of(quiet: bool) -> Callable[[int], None]:
    """Says how many rows of a long table have been read."""
    return lambda rows: None if quiet else note(f"{rows:,} rows read")


def tell_reading(file: Path, read_as: str, notes: Sequence[str], broken: Sequence[BrokenRow], quiet: bool) -> None:
    """Which column was read as what, and what bears on every number, which is told in quiet as well."""
    report_broken(file, broken)
    if not quiet:
        note(f"{file}: {read_as}")
    for told in notes:
        note(f"{file}: {told}")
