"""What may go into the store: every addition is checked here, inside the transaction that makes it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import get_args

from pydantic import TypeAdapter
from sqlalchemy import ColumnElement, Connection, insert, select, update

from heed.errors import DataError
from heed.feedback import database, schema, studio_schema
from heed.feedback.bulk import insert_rows
from heed.feedback.kinds import AnyFeedback, PromptContent, prompt_id
from heed.feedback.records import AddResult, CompletionRecord, RaterKind, RaterRecord
from heed.texts import name_fault, rater_name_fault, shown

CONTENT: TypeAdapter[PromptContent] = TypeAdapter(PromptContent)


def add_prompts(connection: Connection, prompts: Sequence[tuple[PromptContent, str | None, str]]) -> list[str]:
    """Add ``(content, split, source)``, which may stand there already; their ids in the order given."""
    table = schema.prompts
    ids = [prompt_id(content) for content, _, _ in prompts]
    splits = {
        row.id: row.split for row in database.rows_among(connection, select(table.c.id, table.c.split), table.c.id, ids)
    }
    known = frozenset(splits)
    new = []
    for identity, (content, split, source) in zip(ids, prompts, strict=True):
        if not (content.strip() if isinstance(content, str) else content):
            raise DataError(f"a prompt of {source or 'the prompts'}", "it is empty.", "Remove it.")
        if split is not None and splits.setdefault(identity, split) != split:
            raise DataError(
                f"prompt {identity} ({_start(content)}) of {source or 'the prompts'}",
                f"it stands in split '{splits[identity]}' already and cannot be in '{split}' too: what is trained on "
                "cannot test.",
                f"Remove it from '{split}'.",
            )
        plain = content if isinstance(content, str) else CONTENT.dump_python(content, mode="json")
        new.append({"id": identity, "content": plain, "source": source})
    fresh = {row["id"]: row | {"split": splits.get(str(row["id"]), "train")} for row in reversed(new)}
    insert_rows(connection, table, [fresh[identity] for identity in dict.fromkeys(ids) if identity not in known])
    return ids


def _start(content: PromptContent) -> str:
    text = content if isinstance(content, str) else content[-1].content
    return repr(text if len(text) <= 60 else text[:57] + "...")


def add_raters(connection: Connection, raters: Sequence[RaterRecord]) -> AddResult:
    """Add raters, or give those that are there the group given."""
    table = schema.raters
    for rater in raters:
        fault = name_fault(rater.name) or (name_fault(rater.group) if rater.group else None)
        if fault:
            raise _misnamed(rater, fault)
    known = {
        row.name: RaterRecord(row.name, row.kind, row.group_name)
        for row in database.rows_among(connection, select(table), table.c.name, [rater.name for rater in raters])
    }
    new = []
    for rater in raters:
        if rater.kind not in get_args(RaterKind):
            raise DataError(
                f"rater '{rater.name}'",
                f"'{rater.kind}' is no kind of rater.",
                f"Choose one of {', '.join(get_args(RaterKind))}.",
            )
        old = known.setdefault(rater.name, rater)
        if old is rater:
            if fault := rater_name_fault(rater.name):
                raise _misnamed(rater, fault)
            new.append(rater.name)
        elif old.kind != rater.kind:
            raise DataError(
                f"rater '{rater.name}'",
                f"there is a rater of this name already, of kind '{old.kind}', not '{rater.kind}'.",
                "Give the new rater another name.",
            )
        elif old.group != rater.group:
            known[rater.name] = rater
            if rater.name not in new:
                connection.execute(update(table).where(table.c.name == rater.name).values(group_name=rater.group))
    rows = [{"name": name, "kind": known[name].kind, "group_name": known[name].group} for name in new]
    if rows:
        connection.execute(insert(table), rows)
    return AddResult(len(new), len(raters) - len(new), tuple(new))


def _misnamed(rater: RaterRecord, fault: str) -> DataError:
    return DataError(f"rater {shown(rater.name)}", f"{fault}.", "Name the rater and its group otherwise.")


def add_completions(
    connection: Connection, completions: Sequence[CompletionRecord], prompts_there: Collection[str] = ()
) -> int:
    """Add completions whose prompts and runs are known; how many are new.

    Args:
        connection: a transaction that may write.
        completions: what to add.
        prompts_there: ids of prompts that this transaction has just added or seen, and need not be looked up again.
    """
    table = schema.completions
    known = database.existing(connection, table.c.id, [record.id for record in completions])
    new = {record.id: record for record in reversed(completions) if record.id not in known}
    records = list(reversed(new.values()))
    unseen = {record.prompt_id for record in records}.difference(prompts_there)
    unknown = unseen - database.existing(connection, schema.prompts.c.id, unseen)
    runs = database.existing(
        connection, schema.runs.c.id, [record.run_id for record in records if record.run_id is not None]
    )
    for record in records:
        if record.prompt_id in unknown:
            raise _unknown(f"completion {record.id}", "prompt", record.prompt_id)
        if record.run_id is not None and record.run_id not in runs:
            raise _unknown(f"completion {record.id}", "run", record.run_id)
    insert_rows(
        connection,
        table,
        [
            {
                "id": record.id,
                "prompt_id": record.prompt_id,
                "text": record.text,
                "run_id": record.run_id,
                "sample_index": record.index,
                "tokens": record.tokens,
                "finished": record.finished,
                "logprob": record.logprob,
            }
            for record in records
        ],
    )
    return len(records)


def _unknown(whose: str, kind: str, identity: str) -> DataError:
    way = {
        "prompt": "Add the prompt first ('heed feedback import' adds prompts, completions and feedback together).",
        "completion": "Add the completion first ('heed feedback import' adds prompts, completions and feedback together).",
        "run": "Take the run's id from 'heed runs', or leave it out for a completion from outside.",
    }[kind]
    return DataError(whose, f"its {kind} {identity} is not in the store.", way)


def add_feedback(connection: Connection, feedback: Sequence[AnyFeedback]) -> AddResult:
    """Add judgments whose items are known and whose corrections make sense, and the raters first heard of."""
    table = schema.feedback
    given = {entry.id: entry for entry in feedback}
    known = database.existing(connection, table.c.id, given)
    new = {identity: entry for identity, entry in given.items() if identity not in known}
    _check_items(connection, new)
    _check_corrections(connection, new)
    unknown = _add_unknown_raters(connection, [entry.rater for entry in new.values()])
    insert_rows(
        connection,
        table,
        [
            {
                "id": identity,
                "kind": entry.kind,
                "rater": entry.rater,
                "prompt_id": entry.prompt_id,
                "created": entry.created,
                "supersedes": entry.supersedes,
                "record": entry.model_dump(mode="json"),
            }
            for identity, entry in new.items()
        ],
    )
    places = [
        {"feedback_id": identity, "place": place, "completion_id": completion}
        for identity, entry in new.items()
        for place, completion in enumerate(entry.completion_ids)
    ]
    insert_rows(connection, schema.feedback_completions, places)
    return AddResult(len(new), len(feedback) - len(new), tuple(unknown))


def add_answer(connection: Connection, answer: AnyFeedback) -> str:
    """Add the answer of a rater who is being asked, unless that rater has answered the question before.

    Returns:
        The id of the answer that stands.
    """
    raters, table = schema.raters, schema.feedback
    _add_unknown_raters(connection, [answer.rater])
    # PostgreSQL works on several transactions at a time: those of one rater take turns from here on.
    connection.execute(select(raters.c.number).where(raters.c.name == answer.rater).with_for_update())
    about = (table.c.rater == answer.rater, table.c.prompt_id == answer.prompt_id, table.c.kind == answer.kind)
    said = connection.execute(select(table).where(*about, ~superseded()).order_by(table.c.number))
    standing = [row.id for row in said if set(row.record["completion_ids"]) == set(answer.completion_ids)]
    if standing and answer.supersedes not in standing:
        return str(standing[-1])
    add_feedback(connection, [answer])
    return answer.id


def superseded(until: int | None = None) -> ColumnElement[bool]:
    """Whether a row of the table of feedback holds no more, if need be only by what stands up to a row number.

    Another row corrects it, or it is part of an answer of the studio that another answer has superseded and said of some
    completion what that one leaves unsaid.
    """
    part, later = studio_schema.answer_feedback.alias("part"), studio_schema.answers.alias("later")
    left_unsaid = select(part.c.feedback_id).join(later, later.c.supersedes == part.c.answer_id)
    left_unsaid = left_unsaid.where(part.c.feedback_id == schema.feedback.c.id)
    if until is not None:
        instead, said = studio_schema.answer_feedback.alias("instead"), schema.feedback.alias("said")
        left_unsaid = left_unsaid.join(instead, instead.c.answer_id == later.c.id)
        left_unsaid = left_unsaid.join(said, said.c.id == instead.c.feedback_id).where(said.c.number <= until)
    return corrected(until) | left_unsaid.exists()


def corrected(until: int | None = None) -> ColumnElement[bool]:
    """Whether another row of the table of feedback corrects one, if need be a row up to a row number."""
    correction = schema.feedback.alias("correction")
    query = select(correction.c.number).where(correction.c.supersedes == schema.feedback.c.id)
    return (query if until is None else query.where(correction.c.number <= until)).exists()


def _add_unknown_raters(connection: Connection, names: Sequence[str]) -> list[str]:
    """Enter those of ``names`` that nobody has heard of as people, and return them."""
    known = database.existing(connection, schema.raters.c.name, names)
    unknown = [name for name in dict.fromkeys(names) if name not in known]
    add_raters(connection, [RaterRecord(name, "human", "") for name in unknown])
    return unknown


def _check_items(connection: Connection, feedback: dict[str, AnyFeedback]) -> None:
    """Every prompt and completion is known, and each completion is one of the prompt judged."""
    prompts = database.existing(connection, schema.prompts.c.id, [entry.prompt_id for entry in feedback.values()])
    table = schema.completions
    ids = [completion for entry in feedback.values() for completion in entry.completion_ids]
    prompt_of = {
        row.id: row.prompt_id
        for row in database.rows_among(connection, select(table.c.id, table.c.prompt_id), table.c.id, ids)
    }
    for identity, entry in feedback.items():
        whose = f"{entry.kind} {identity} of rater '{entry.rater}'"
        if entry.prompt_id not in prompts:
            raise _unknown(whose, "prompt", entry.prompt_id)
        for completion in entry.completion_ids:
            if completion not in prompt_of:
                raise _unknown(whose, "completion", completion)
            if prompt_of[completion] != entry.prompt_id:
                raise DataError(
                    whose,
                    f"completion {completion} answers prompt {prompt_of[completion]}, not {entry.prompt_id}.",
                    "Judge completions of one prompt.",
                )


def _check_corrections(connection: Connection, feedback: dict[str, AnyFeedback]) -> None:
    """A correction supersedes an answer that is there, of the same rater about the same prompt, and not corrected yet."""
    targets = [entry.supersedes for entry in feedback.values() if entry.supersedes is not None]
    if not targets:
        return
    table = schema.feedback
    said = {
        row.id: (row.rater, row.prompt_id)
        for row in database.rows_among(
            connection, select(table.c.id, table.c.rater, table.c.prompt_id), table.c.id, targets
        )
    }
    corrected = database.existing(connection, table.c.supersedes, targets)
    for identity, entry in feedback.items():
        said[identity] = (entry.rater, entry.prompt_id)
        target = entry.supersedes
        if target is None:
            continue
        whose = f"correction {identity} of rater '{entry.rater}'"
        if target not in said or target == identity:
            raise DataError(
                whose, f"the answer {target} that it supersedes is not in the store.", "Add that one first."
            )
        if said[target] != (entry.rater, entry.prompt_id):
            rater, prompt = said[target]
            raise DataError(
                whose,
                f"the answer {target} was given by rater '{rater}' to prompt {prompt}.",
                "A rater corrects only own answers to the same prompt; add this one as a new answer.",
            )
        if target in corrected:
            raise DataError(
                whose,
                f"the answer {target} has been superseded before.",
                "Supersede the newest correction of it instead.",
            )
        corrected.add(target)
