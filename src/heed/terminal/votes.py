"""``heed aggregate`` and ``heed agreement``: what votes in a plain file come to, without a project."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from heed.errors import ConfigError, DataError
from heed.terminal.console import console, note
from heed.terminal.options import Quiet, check_format, is_lines, result_of, source_of
from heed.terminal.tables import NamedColumns, named_columns, progress_of, table_help, tell_reading
from heed.terminal.text import counted

if TYPE_CHECKING:
    from heed.raters.agreement import Level
    from heed.raters.consensus import Consensus
    from heed.raters.vote_files import VoteFile
    from heed.raters.votes import Codes, Votes
    from heed.statistics import Array

VotesFile = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help=table_help(("item", "rater", "label"), "; or one column a rater, see --wide"),
    ),
]
Contradictions = Annotated[
    Literal["error", "last"],
    typer.Option(help="Where a rater gives an item two labels: refuse the file, or let the last one count."),
]
Wide = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help="A sheet with one row an item and one column a rater, or the other way round: its columns of labels, such as "
        "ann,bob,cyd, or all. Where that is plain it is seen without this.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON, complete.")]


def aggregate(
    file: VotesFile,
    method: Annotated[
        Literal["auto", "majority", "one-coin", "dawid-skene", "glad", "mace"],
        typer.Option(
            help="majority counts; one-coin learns how often each rater is right, dawid-skene each one's typical mistakes, glad how "
            "hard items are as well, mace how often each answers without looking; auto takes what best predicts answers it has not "
            "seen."
        ),
    ] = "auto",
    gold: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Known labels: item, label. They are taken as certain.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Every item with its probabilities: CSV, or JSON lines if named .jsonl; also .gz."
        ),
    ] = None,
    columns: NamedColumns = None,
    wide: Wide = None,
    contradictions: Contradictions = "error",
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Of what is held out to choose a method.")] = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """The most likely label of each item, how sure it is, and how far each rater can be trusted.

    Exit code 1 where rows could not be read or have no label, or where the answers cannot tell which of two camps of raters
    is right.
    """
    from heed.raters.choosing import METHODS, Choice, choose
    from heed.raters.vote_files import read_gold
    from heed.terminal.show import print_json
    from heed.terminal.vote_tables import consensus_values, print_choice

    check_format(out)
    file, gold = source_of(file), None if gold is None else source_of(gold)
    target = result_of(out, file, gold)
    read = _read(file, contradictions, columns, wide, quiet)
    votes, known = read.votes, None
    if gold is not None:
        votes, known = _beside_gold(votes, gold, read_gold(gold, votes, named_columns(columns)))
    if method == "auto":
        choice = choose(votes, known, seed=seed)
    else:
        choice = Choice(METHODS[method](votes, known), method, "It was asked for.", ())
    if as_json:
        print_json(consensus_values(choice))
    else:
        print_choice(str(file), choice, whole=target is None)
        if known is not None:
            _tell_what_votes_alone_say(METHODS[choice.method](votes).labels(), known)
    if target is not None:
        _write(target, choice.consensus)
        if not quiet:
            note(f"{counted(len(votes.items), 'item')} with their probabilities: {out}")
    if read.broken or read.unlabelled or choice.consensus.direction.by == "unidentifiable":
        raise typer.Exit(1)


def agreement(
    file: VotesFile,
    level: Annotated[
        Literal["nominal", "ordinal", "interval", "ratio"],
        typer.Option(
            help="Of the labels: names; an order; differences that mean something; a zero that means nothing."
        ),
    ] = "nominal",
    days: Annotated[
        float, typer.Option("--window", min=0.001, metavar="DAYS", help="Stretch of time, where answers have a time.")
    ] = 7.0,
    columns: NamedColumns = None,
    wide: Wide = None,
    contradictions: Contradictions = "error",
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Of the draws for the intervals.")] = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """How far raters agree beyond chance: of all, of every two, and by question, group and time where the file has them.

    Columns question, group and time (or created) are used where they are there. Exit code 1 where rows could not be read or
    have no label.
    """
    from heed.terminal.agreement_tables import agreement_values, measure, print_agreement
    from heed.terminal.show import print_json

    file = source_of(file)
    read = _read(file, contradictions, columns, wide, quiet)
    found = measure(read, _values(read.votes, level), level, days * 86_400, seed)
    if as_json:
        print_json(agreement_values(found))
    else:
        print_agreement(str(file), read.votes, found)
    if read.broken or read.unlabelled:
        raise typer.Exit(1)


def _read(
    file: Path, contradictions: Literal["error", "last"], columns: list[str] | None, wide: str | None, quiet: bool
) -> VoteFile:
    """The votes of a file. What was read as what is told, and what was left out; the latter also in quiet, as it bears on
    every number."""
    from heed.raters.vote_files import read_votes

    chosen = () if wide is None else [name for name in wide.split(",") if name.strip()]
    if wide is not None and not chosen:
        raise ConfigError("--wide", "it names no column.", "Name the columns of labels, such as ann,bob,cyd, or all.")
    read = read_votes(file, contradictions, named_columns(columns), chosen, progress_of(quiet))
    tell_reading(file, read.read_as, read.notes, read.broken, quiet)
    for count, what in (
        (read.unlabelled, "without a label left out"),
        (
            read.repeated,
            f"that say{'s' * (read.repeated == 1)} again what the same rater said of the item counted once",
        ),
        (read.contradicted, "that a later one of the same rater on the item contradicts left out"),
    ):
        if count:
            note(f"{file}: {counted(count, 'row')} {what}")
    return read


def _beside_gold(votes: Votes, path: Path, gold: dict[str, str]) -> tuple[Votes, Codes]:
    """The votes with the known labels of their items.

    Raises:
        DataError: none of the known labels is of an item that was voted on.
    """
    votes, known, unknown = votes.with_gold(gold)
    if unknown == len(gold):
        raise DataError(f"{path}", "none of its items has an answer.", "Call the items as the answers call them.")
    if unknown:
        note(f"{path}: {counted(unknown, 'known label')} of items without an answer left out")
    return votes, known


def _tell_what_votes_alone_say(labels: Codes, known: Codes) -> None:
    """How many known labels the votes would have found by themselves: how far the other items can be trusted."""
    of_known = known >= 0
    items, right = int(of_known.sum()), int((labels[of_known] == known[of_known]).sum())
    of_all = f"{right:,} of these {items:,} items" if items != 1 else f"{right} of this one item"
    told = f"Without the known labels this method calls {of_all} rightly."
    console().print(told, soft_wrap=True)


def _values(votes: Votes, level: Level) -> Codes | Array:
    """The labels [votes] as what ``level`` compares.

    Raises:
        DataError: one is no number and would have to be.
    """
    import numpy as np

    if level == "nominal":
        return votes.label
    numbers = []
    for label in votes.labels:
        try:
            numbers.append(float(label))
        except ValueError:
            raise DataError(
                f"--level {level} with the label {label!r}",
                "it is no number, and the order of names is not known.",
                "Number the labels, or use --level nominal.",
            ) from None
    return np.array(numbers)[votes.label]


def _write(path: Path, consensus: Consensus) -> None:
    """Every item with its label, its probability, votes and the probability of each label."""
    from heed.feedback.formats.lines import atomic_writer
    from heed.feedback.formats.table import encode
    from heed.terminal.vote_tables import item_values

    labels = consensus.votes.labels
    as_lines = is_lines(path)

    def rows() -> Iterator[bytes]:
        if not as_lines:
            yield encode(["item", "label", "probability", "votes", *(f"p({label})" for label in labels)])
        for item in item_values(consensus):
            if as_lines:
                yield json.dumps(item, ensure_ascii=False).encode() + b"\n"
            else:
                label = "" if item["label"] is None else item["label"]
                chances = [f"{chance:.6g}" for chance in item["probabilities"].values()]
                yield encode([item["item"], label, f"{item['probability']:.6g}", str(item["votes"]), *chances])

    with atomic_writer(path) as stream:
        stream.writelines(rows())
