"""An item as the rater's screen would get it, for the editor of questions: nothing of it can be answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from heed.feedback.explorer import ItemDetail
from heed.feedback.forms import Form
from heed.web.call import Call
from heed.web.markup import plain, render
from heed.web.rendering import MOST_RENDERED, rendered

_MOST = 8


def _needed(form: Form) -> int:
    """How many completions an invented item has so that every field can be answered."""
    kinds = {field.kind for field in form.fields}
    if "comparison" in kinds:
        return 2
    if "ranking" in kinds:
        return 3
    return 0 if kinds == {"demonstration"} else 1


async def instructions_of(call: Call, definition: Mapping[str, Any]) -> Markup | str:
    """The instructions of a question that is being written, as raters read them; "" where there are none."""
    written = str(definition.get("instructions") or "")
    return await rendered(written, 3, call.text("studio.as_written")) if written.strip() else ""


def showing_of(call: Call, form: Form, sample: ItemDetail | None) -> dict[str, Any]:
    """The showing of ``sample``, or of invented texts where there is none or it does not fit the form."""
    completions = [one.text for one in sample.completions] if sample else []
    if sample is None or any(field.item_fault(len(completions)) for field in form.fields):
        texts = [call.text(f"board.sample.completion_{place + 1}") for place in range(min(_needed(form), _MOST))]
        turns = [{"role": "user", "content": call.text("board.sample.prompt")}]
    else:
        texts = completions
        turns = [{"role": "user", "content": sample.prompt}] if isinstance(sample.prompt, str) else sample.prompt
    length = sum(map(len, texts)) + sum(len(turn["content"]) for turn in turns)
    read = plain if length > MOST_RENDERED else render
    show = plain if form.reading == "plain" else read
    return {
        "id": "preview",
        "expires": "2100-01-01T00:00:00Z",
        "form": form.model_dump(mode="json"),
        "form_version": 0,
        "prompt": [{"role": turn["role"], "html": str(read(turn["content"]))} for turn in turns],
        "completions": [{"html": str(show(text)), "text": text} for text in texts],
        "draft": None,
        "training": False,
        "reopened": False,
        "answer": None,
        "progress": {"answered": 0},
    }
