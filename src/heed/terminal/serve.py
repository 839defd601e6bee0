"""``heed serve``, ``heed invite`` and ``heed audit``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from heed.terminal.console import console, note
from heed.terminal.text import counted, safe

if TYPE_CHECKING:
    from heed.people.audit import Head
    from heed.people.audit_rows import Entry

audit = typer.Typer(help="The audit log: who changed what.", no_args_is_help=True)

Host = Annotated[str, typer.Option(help="Address of this machine to listen on.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")]
PublicUrl = Annotated[
    str | None, typer.Option(metavar="URL", help="Address that people open; serve.public_url of heed.yaml.")
]


def serve(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    public_url: PublicUrl = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes; more than one needs PostgreSQL.")] = 1,
    insecure_http: Annotated[
        bool,
        typer.Option("--insecure-http", help="Let others reach it without HTTPS: passwords can be read on the way."),
    ] = False,
    try_out: Annotated[
        bool, typer.Option("--try", help="A throw-away studio with invented items and people; needs no project.")
    ] = False,
    open_browser: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """The studio for raters and the board for the lead, in the browser. Ctrl-C ends it.

    The first start makes the project's secrets and prints a link for the first admin.
    """
    from heed.memory import starting

    with starting():
        from heed.web.server import Serving, run, run_trial

    serving = Serving(host, port, public_url, workers, insecure_http)
    if try_out:
        run_trial(serving, _say, open_browser)
    else:
        run(serving, _say, open_browser)


def _say(line: str) -> None:
    """One line about the server; on standard output, where it can be read by a program that waits for it."""
    console().print(safe(line), soft_wrap=True)
    console().file.flush()


def invite(
    role: Annotated[Literal["rater", "lead", "admin"], typer.Option(help="What the guest may do.")] = "rater",
    group: Annotated[str, typer.Option(help="Group of raters.")] = "",
    name: Annotated[
        str | None, typer.Option(help="Name that the guest takes, as of somebody who has judged before.")
    ] = None,
    days: Annotated[float, typer.Option(min=0.01, max=90, help="How long the link holds.")] = 7.0,
    remark: Annotated[str, typer.Option("--note", help="For the list of invitations: who is meant.")] = "",
    public_url: PublicUrl = None,
) -> None:
    """Print a link by which one person can make an account, once."""
    from datetime import UTC, datetime

    from heed.people.accounts import OPERATOR
    from heed.people.invitations import invite as make
    from heed.project import Project
    from heed.web.server import local_url

    with Project.open() as project:
        now = datetime.now(UTC)
        secret = project.store.write(
            lambda connection: make(connection, role, group, name, remark, OPERATOR, now, days)
        )
        base = public_url or project.settings.serve.public_url or local_url("127.0.0.1", 8000)
    console().print(safe(f"{base.rstrip('/')}/invitation/{secret}"), soft_wrap=True)


@audit.command("verify")
def verify_audit(
    accepting: Annotated[
        bool,
        typer.Option(
            "--accept", help="Note the present end, knowing what does not fit before it; the log tells of it."
        ),
    ] = False,
) -> None:
    """See that no entry was changed, removed or put in since it was written; exit code 1 where one was."""
    from datetime import UTC, datetime

    from heed.people.accounts import OPERATOR
    from heed.people.audit import accept, check, replace_head, write_head
    from heed.project import Project

    with Project.open() as project:
        store, folder = project.store, project.folder
        with store.reading() as connection:
            current, faults = check(connection, folder)
        if faults and accepting:
            found = faults
            replace_head(
                folder, store.write(lambda known: accept(known, folder, OPERATOR.name, found, datetime.now(UTC)))
            )
            note("the present end of the log is noted, and that it was accepted is its last entry")
            with store.reading() as connection:
                current, faults = check(connection, folder)
        if not faults:
            write_head(folder, current)
    for fault in faults:
        console().print(safe(f"entry {fault.number}: {fault.reason}" if fault.number else fault.reason), soft_wrap=True)
    if faults:
        if not accepting:
            note("nothing was noted. To go on from the present end, knowing of this: heed audit verify --accept")
        raise typer.Exit(1)
    console().print(safe(f"whole: {_described(current)}"), soft_wrap=True)
    note("note the hash elsewhere: whoever can write to the database and to this folder could make the chain anew")


@audit.command("list")
def list_audit(
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 50,
    action: Annotated[str | None, typer.Option(help="Of this action alone, such as account.pause.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """The newest entries, oldest of them first."""
    from heed.people.audit import entries
    from heed.project import Project
    from heed.terminal.show import print_json

    with Project.open() as project, project.store.reading() as connection:
        found = entries(connection, limit=limit, action=action)[::-1]
    if as_json:
        print_json([vars(entry) | {"created": entry.created and entry.created.isoformat()} for entry in found])
        return
    for entry in found:
        console().print(safe(_line(entry)), soft_wrap=True)


def _described(current: Head) -> str:
    return f"{counted(current.entries, 'entry', 'entries')}, the last with hash {current.hash}"


def _line(entry: Entry) -> str:
    created = f"{entry.created:%Y-%m-%d %H:%M:%S}" if entry.created else "(no time)"
    details = " ".join(f"{key}={value}" for key, value in entry.details.items())
    unreadable = "" if entry.readable else "(unreadable: its content is not what was recorded)"
    return f"{entry.number} {created} {entry.actor} {entry.action} {entry.subject} {details or unreadable}"
