"""``heed rank``: things in order, from a table of comparisons."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from heed.terminal.console import console, note
from heed.terminal.options import Quiet, check_format, is_lines, result_of, source_of
from heed.terminal.show import print_json
from heed.terminal.tables import NamedColumns, named_columns, progress_of, table_help, tell_reading
from heed.terminal.text import counted, one_line, safe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from heed.raters.ranking import Leaderboard, Method
    from heed.statistics import Interval

_NAME_WIDTH = 40
_ROWS_SHOWN = 50
_SOON_OVER = 2.0
"""Seconds of draws of which a log or a pipe hears nothing."""
SCORES_EXPLAINED: dict[Method, str] = {
    "bradley-terry": "score: of two things 1 apart the higher wins 73 of 100 comparisons, 2 apart 88; 0 is the average.",
    # A rater of reliability r prefers the higher in 1/2 + r (p - 1/2), where one of reliability 1 does in p.
    "crowd-bt": (
        "score: of two things 1 apart the higher wins 73 of 100 comparisons by a rater of reliability 1, 2 apart 88; by one of "
        "reliability 0.5 it wins 62 and 69, where sides are shuffled; 0 is the average. Wins against average are those by a "
        "rater of reliability 1."
    ),
}
RATERS_EXPLAINED = (
    "reliability: the share of comparisons in which a rater prefers what the scores say, less the share in which they prefer the "
    "opposite; 1 is best, 0 tells nothing. left unread: how much oftener they say left than right without looking."
)
_COLUMNS = ["place", "item", "score", "low", "high", "elo", "comparisons", "group"]


def rank(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help=table_help(
                ("left", "right", "winner"),
                " (a name, left, right, tie; or winner_model_a, winner_model_b, winner_tie); and where known rater, strength, gold",
            ),
        ),
    ],
    method: Annotated[
        Literal["auto", "bradley-terry", "crowd-bt"],
        typer.Option(
            help="All raters alike, or each with a reliability; auto takes what predicts comparisons better that it has not seen."
        ),
    ] = "auto",
    ties: Annotated[
        Literal["half", "davidson", "graded"],
        typer.Option(help="Ties of Bradley-Terry: half a win each, Davidson, or thresholds that know strengths."),
    ] = "half",
    draws: Annotated[int, typer.Option(min=0, help="Bootstrap draws for its intervals; 0 for none.")] = 200,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The whole ranking: CSV, or JSON lines if named .jsonl; also .gz."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, with the raters.")] = False,
    columns: NamedColumns = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Of the draws.")] = 0,
    quiet: Quiet = False,
) -> None:
    """Rank things by comparisons of two: scores with intervals, whom to trust, and how firm the first place is."""
    from heed.raters.duel_files import read_duels
    from heed.raters.ranking import rank as ranked
    from heed.terminal.watcher import watching

    check_format(out)
    file = source_of(file)
    target = result_of(out, file)

    named = read_duels(file, named_columns(columns), progress_of(quiet))
    tell_reading(file, named.read_as, named.notes, named.broken, quiet)
    with watching(quiet, _SOON_OVER) as watcher:
        board = ranked(named, method, ties, draws, seed, lambda done, total: watcher.advance(done, total, "draws"))
    if target is not None:
        _write(target, board)
    if as_json:
        print_json(board.model_dump(mode="json"))
    else:
        _print(board)
    if named.broken:
        raise typer.Exit(1)


def _print(board: Leaderboard) -> None:
    from rich import box
    from rich.table import Table

    screen = console()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("place", "item", "score", "95 % interval", "wins against average", "comparisons"):
        table.add_column(name, justify="left" if name == "item" else "right")
    for place in board.places[:_ROWS_SHOWN]:
        score = place.score.estimate or 0.0
        cells = [str(place.place), one_line(place.item, _NAME_WIDTH), f"{score:+.2f}", _ends(place.score)]
        table.add_row(*cells, f"{100 / (1 + 2.718281828459045**-score):.0f} %", f"{place.comparisons:,}")
    screen.print(table)
    if len(board.places) > _ROWS_SHOWN:
        note(f"{len(board.places) - _ROWS_SHOWN:,} more places: --out FILE writes all, --json prints all")
    if board.raters:
        _print_raters(board)
    for line in _words(board):
        screen.print(safe(line), soft_wrap=True)


def _print_raters(board: Leaderboard) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("rater", "reliability", "95 % interval", "left unread", "comparisons"):
        table.add_column(name, justify="left" if name == "rater" else "right")
    ordered = sorted(board.raters, key=lambda rater: rater.reliability.estimate or 0.0)
    console().print("raters, the least reliable first:")
    for rater in ordered[:_ROWS_SHOWN]:
        cells = [one_line(rater.rater, _NAME_WIDTH), f"{rater.reliability.estimate:+.2f}", _ends(rater.reliability)]
        table.add_row(*cells, f"{rater.left_bias:+.2f}", f"{rater.answers:,}")
    console().print(table)
    if len(ordered) > _ROWS_SHOWN:
        note(f"{len(ordered) - _ROWS_SHOWN:,} more raters, of higher reliability: --json prints all")


def _words(board: Leaderboard) -> list[str]:
    """What a reader should know of the table."""
    from heed.raters.ranking import FEW_EACH, TITLES

    lines = [f"method: {TITLES[board.method]}. {board.why}", SCORES_EXPLAINED[board.method]]
    lines += [RATERS_EXPLAINED] if board.raters else []
    lines += [board.direction] if board.direction else []
    if board.raters and 2 * board.comparisons < FEW_EACH * len(board.places):
        lines.append(
            f"With fewer than {FEW_EACH} comparisons of each thing, raters look more reliable than they are: scores bend "
            "to what they said."
        )
    endless = [place for place in board.places if place.score.low is None and place.score.reason]
    for reason in dict.fromkeys(place.score.reason for place in endless):
        names = ", ".join(one_line(place.item, _NAME_WIDTH) for place in endless[:5] if place.score.reason == reason)
        more = f" and {len(endless) - 5:,} more" if len(endless) > 5 else ""
        lines.append(f"No interval of {names}{more}: {reason}")
    first = [one_line(place.item, _NAME_WIDTH) for place in board.places if place.place == 1]
    if len(first) > 1 and board.groups == 1:
        lines.append(f"{', '.join(first[:5])}{' and others' if len(first) > 5 else ''} share the first place.")
    if board.groups > 1:
        lines.append(
            f"The things fall into {board.groups:,} groups that no comparison connects: scores of different groups "
            "cannot be compared. Compare across them."
        )
    if board.fewest_to_flip is not None:
        lines.append(
            f"Without {counted(board.fewest_to_flip, 'comparison')} of {board.comparisons:,}, {board.flips_to} would be first."
        )
    return lines


def _ends(interval: Interval) -> str:
    if interval.low is None or interval.high is None:
        return ""
    return f"{interval.low:+.2f} to {interval.high:+.2f}"


def _write(path: Path, board: Leaderboard) -> None:
    """Every place, with the ends of its score where it has some."""
    from heed.feedback.formats.lines import atomic_writer
    from heed.feedback.formats.table import encode

    as_lines = is_lines(path)

    def rows() -> Iterator[bytes]:
        if not as_lines:
            yield encode(_COLUMNS)
        for place in board.places:
            score = place.score
            numbers = [score.estimate, score.low, score.high, place.elo, place.comparisons, place.group]
            values = [place.place, place.item, *numbers]
            if as_lines:
                yield json.dumps(dict(zip(_COLUMNS, values, strict=True)), ensure_ascii=False).encode() + b"\n"
            else:
                yield encode(values)

    with atomic_writer(path) as stream:
        stream.writelines(rows())
