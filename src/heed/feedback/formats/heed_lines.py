"""heed's own JSON lines: one object a row, every kind of feedback, nothing lost.

Fields of a row: ``kind``, ``rater``, ``prompt`` (text or messages), ``completions`` (texts, in the item's own order), the
answer's own fields as in ``heed.feedback.kinds``, and where known ``shown_order``, ``seconds``, ``confidence``,
``created``, ``source``, ``supersedes`` and ``completion_ids`` (of completions that heed sampled itself; imported ones
have the ids that follow from their text). A row without ``rater`` or ``created`` takes the importing rater and
``UNKNOWN_TIME``. Exported rows have the judgment's ``id``, to which the ``supersedes`` of others point; it follows from the
row's content, so it may be left out, and where it is given and does not fit, the row was changed on its way.
"""

from __future__ import annotations

from typing import Any

from heed.feedback.formats.rows import Parsed, Row, RowError, import_ids, plain_prompt, read_prompt, read_text


def parse(values: dict[str, Any]) -> Parsed:
    """Read a row.

    Raises:
        RowError: with the reason.
    """
    if "prompt" not in values:
        raise RowError("'prompt' is missing")
    if "prompt_id" in values:
        raise RowError("'prompt_id' follows from the row's content and cannot be given")
    answer = {name: value for name, value in values.items() if name not in ("prompt", "completions", "id")}
    completions = values.get("completions", [])
    if not isinstance(completions, list):
        raise RowError("completions is not a list of texts")
    # A model may answer nothing at all, and be judged for it.
    texts = tuple(read_text(text, f"completion {k}", may_be_empty=True) for k, text in enumerate(completions, 1))
    identity = None if values.get("id") is None else read_text(values["id"], "id")
    return Parsed(read_prompt(values["prompt"]), texts, {"source": "", **answer}, identity=identity)


def render(row: Row) -> dict[str, Any]:
    """A row as ``parse`` reads it back."""
    fields = row.feedback.model_dump(mode="json", exclude={"prompt_id", "completion_ids"}, exclude_none=True)
    if not row.feedback.source:
        del fields["source"]
    kind, rater = fields.pop("kind"), fields.pop("rater")
    values: dict[str, Any] = {"id": row.feedback.id, "kind": kind, "rater": rater, "prompt": plain_prompt(row.prompt)}
    if row.completions:
        values["completions"] = list(row.completions)
    if row.feedback.completion_ids != import_ids(row.prompt, row.completions):
        values["completion_ids"] = list(row.feedback.completion_ids)
    return {**values, **fields}
