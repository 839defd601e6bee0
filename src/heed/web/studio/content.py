"""What a rater reads, as safe HTML. Ids are hashes of content, so what was rendered once stays right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from sqlalchemy import Connection, and_, bindparam, select

from heed.feedback import schema
from heed.feedback.showings import Showing
from heed.web import markup
from heed.web.rendering import MOST_RENDERED, QUICK

_KEPT_CHARACTERS = 8_000_000
"""Of HTML and raw texts, in one process."""
_BELOW_NAME = 4
"""Level of headings inside a text: the screen's own go down to 3."""

_prompts, _completions = schema.prompts.c, schema.completions.c
_wanted = and_(_completions.prompt_id == _prompts.id, _completions.id.in_(bindparam("completions", expanding=True)))
_TEXTS = (
    select(_prompts.id, _prompts.content, _completions.id.label("completion"), _completions.text)
    .select_from(schema.prompts.outerjoin(schema.completions, _wanted))
    .where(_prompts.id.in_(bindparam("prompts", expanding=True)))
)


@dataclass(frozen=True)
class Read:
    """A text to be read: the raw text and its HTML; of a turn of a conversation also the role."""

    text: str
    html: str
    role: str = ""


Key = tuple[str, bool]
"""Id of a prompt or completion, and whether it is shown as it was written."""

Gathered = dict[Key, Any]
"""What is to be shown: rendered where it was kept, else as the database has it."""


class Contents:
    """Prompts and completions by id, rendered; those used lately are kept."""

    def __init__(self) -> None:
        self._kept: dict[Key, tuple[Read, ...]] = {}
        self._characters = 0

    def gather(self, connection: Connection, showings: Sequence[Showing], plain: Sequence[bool]) -> Gathered:
        """All that these showings show; ``plain`` says of each whether completions are shown as they were written."""
        wanted: dict[Key, str] = {}
        for showing, as_is in zip(showings, plain, strict=True):
            wanted[showing.prompt_id, False] = showing.prompt_id
            wanted |= {(identity, as_is): showing.prompt_id for identity in showing.completion_ids}
        found: Gathered = {key: kept for key in wanted if (kept := self._kept.get(key)) is not None}
        missing = {key: prompt for key, prompt in wanted.items() if key not in found}
        if missing:
            values = {"prompts": list(set(missing.values())), "completions": [key[0] for key in missing]}
            raw: dict[str | None, Any] = {}
            for row in connection.execute(_TEXTS, values):
                raw |= {row.id: row.content, row.completion: row.text}
            found |= {key: raw[key[0]] for key in missing}
        return found

    def turns(self, prompt_id: str, gathered: Gathered) -> tuple[Read, ...]:
        """A prompt, turn by turn; those after :data:`~heed.web.rendering.MOST_RENDERED` as they were written."""
        key = (prompt_id, False)
        content = gathered[key]
        if isinstance(content, tuple):
            return content
        turns = [{"role": "user", "content": content}] if isinstance(content, str) else content
        ends = accumulate(len(one["content"]) for one in turns)
        return self._keep(
            key,
            tuple(
                Read(one["content"], _html(one["content"], end > MOST_RENDERED), one["role"])
                for one, end in zip(turns, ends, strict=True)
            ),
        )

    def completions(self, ids: Sequence[str], prompt: Sequence[Read], plain: bool, gathered: Gathered) -> list[Read]:
        """Completions in this order, as markdown or, if ``plain``, as they were written; so are all of them, lest one look
        better than another, where with the prompt they are more than :data:`~heed.web.rendering.MOST_RENDERED`."""
        found = [gathered[identity, plain] for identity in ids]
        texts = [one[0].text if isinstance(one, tuple) else one for one in found]
        as_is = plain or sum(map(len, texts)) + sum(len(turn.text) for turn in prompt) > MOST_RENDERED
        shown: list[Read] = []
        for identity, text, there in zip(ids, texts, found, strict=True):
            kept = there if as_is == plain else self._kept.get((identity, as_is))
            if not isinstance(kept, tuple):
                kept = self._keep((identity, as_is), (Read(text, _html(text, as_is)),))
            shown += kept
        return shown

    def known(self, prompt_id: str, prompt: Any, completions: Mapping[str, str], plain: bool) -> Gathered:
        """The same as :meth:`gather` for who has the texts of an item already."""
        given: Gathered = {(prompt_id, False): prompt} | {(key, plain): text for key, text in completions.items()}
        return {key: self._kept.get(key, content) for key, content in given.items()}

    def _keep(self, key: Key, read: tuple[Read, ...]) -> tuple[Read, ...]:
        self._characters += sum(len(part.text) + len(part.html) for part in read)
        if self._characters > _KEPT_CHARACTERS:
            self._kept.clear()
            self._characters = 0
        self._kept[key] = read
        return read


CONTENTS = Contents()
"""Texts are known by their hashes: one serves all servers of one process."""


def takes_long(gathered: Gathered) -> bool:
    """Whether there is so much still to be rendered that the event loop must not wait for it."""
    return any(_length(content) > QUICK for content in gathered.values() if not isinstance(content, tuple))


def _length(content: Any) -> int:
    return len(content) if isinstance(content, str) else sum(len(turn["content"]) for turn in content)


def _html(text: str, plain: bool) -> str:
    return str(markup.plain(text) if plain else markup.render(text, heading=_BELOW_NAME))
