"""A question as the inputs of a form of HTML, there and back, with buttons that add, remove and move its fields.

Every button sends the whole form, so the editor needs no script; with one, the answer is put into the page at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.datastructures import FormData

from heed.feedback.forms import Form

KINDS = ("comparison", "rating", "ranking", "thumb", "edit", "demonstration", "critique")
_FLAGS = {
    "comparison": ("tie", "both_bad", "strength"),
    "ranking": ("partial",),
    "critique": ("spans", "note"),
}

Definition = dict[str, Any]
"""A form as plain values; while it is edited it need not be sound."""


def definition_of(form: Form) -> Definition:
    """A form as plain values."""
    return form.model_dump(mode="json")


def read_definition(given: FormData) -> Definition:
    """The definition that the inputs hold. What is no number stays text, for whoever checks the definition to name."""
    said = _Reader(given)
    return {
        "title": said.text("title"),
        "instructions": said.text("instructions"),
        "fields": [_read_field(said, place) for place in said.places("fields")],
        "overlap": said.whole("overlap"),
        "gold_rate": said.share("gold_rate"),
        "repeat_rate": said.share("repeat_rate"),
        "chance_share": said.share("chance_share"),
        "selector": said.text("selector"),
        "lease_minutes": said.number("lease_minutes"),
        "ask_confidence": said.flag("ask_confidence"),
        "group_quota": _quotas(said.text("group_quota")),
        "qualification": _qualification(said),
        "reading": said.text("reading"),
    }


class _Reader:
    """Values of inputs by their names."""

    def __init__(self, given: FormData) -> None:
        self._given = given

    def text(self, name: str) -> str:
        value = self._given.get(name, "")
        return value.replace("\r\n", "\n") if isinstance(value, str) else ""

    def flag(self, name: str) -> bool:
        return bool(self.text(name))

    def number(self, name: str) -> float | str | None:
        text = self.text(name).strip()
        try:
            return float(text) if text else None
        except ValueError:
            return text

    def whole(self, name: str) -> int | float | str | None:
        value = self.number(name)
        return int(value) if isinstance(value, float) and value.is_integer() else value

    def share(self, name: str) -> float | str | None:
        """A share, 0 to 1, from percent."""
        value = self.number(name)
        return round(value / 100, 10) if isinstance(value, float) else value

    def places(self, name: str) -> list[str]:
        """Beginnings of the names of the entries of a list, in their order."""
        numbers = {key.split(".")[name.count(".") + 1] for key in self._given if key.startswith(f"{name}.")}
        return [f"{name}.{number}" for number in sorted((number for number in numbers if _is_count(number)), key=int)]


def _read_field(said: _Reader, place: str) -> Definition:
    kind = said.text(f"{place}.kind")
    field: Definition = {name: said.text(f"{place}.{name}") for name in ("kind", "name", "label", "help")}
    field["required"] = said.flag(f"{place}.required")
    field |= {name: said.flag(f"{place}.{name}") for name in _FLAGS.get(kind, ())}
    if kind == "rating":
        field["attributes"] = [_read_attribute(said, one) for one in said.places(f"{place}.attributes")]
    if kind == "critique":
        field["defects"] = [line.strip() for line in said.text(f"{place}.defects").split("\n") if line.strip()]
    return field


def _read_attribute(said: _Reader, place: str) -> Definition:
    texts = {name: said.text(f"{place}.{name}") for name in ("name", "label", "style", "low_label", "high_label")}
    return texts | {name: said.number(f"{place}.{name}") for name in ("low", "high", "step")}


def _qualification(said: _Reader) -> Definition | None:
    if not said.flag("qualification.asked"):
        return None
    return {
        "pass_mark": said.share("qualification.pass_mark"),
        "attempts": said.whole("qualification.attempts"),
        "explain": said.flag("qualification.explain"),
    }


def _quotas(text: str) -> dict[str, Any]:
    """Lines of "group: number"."""
    found: dict[str, Any] = {}
    for line in text.split("\n"):
        group, _, number = line.rpartition(":")
        if line.strip():
            found[group.strip() or line.strip()] = int(number) if _is_count(number.strip()) else number.strip()
    return found


def _is_count(text: str) -> bool:
    return text.isdecimal() and len(text) < 6


# Buttons


def apply(definition: Definition, button: str, label: Callable[[str], str]) -> int | None:
    """Do what a button says, such as "up.2" or "add.rating"; the place of the field that it was about, if one was.

    Args:
        definition: is changed.
        button: its value. One that there is not does nothing.
        label: what a new field of a kind is called.
    """
    act, _, rest = button.partition(".")
    fields = definition["fields"]
    if act == "add" and rest in KINDS:
        fields.append(new_field(rest, label(rest), {field["name"] for field in fields}))
        return len(fields) - 1
    places = [int(part) for part in rest.split(".") if _is_count(part)]
    if not places or places[0] >= len(fields):
        return None
    place = places[0]
    if act == "remove":
        fields.pop(place)
        return min(place, len(fields) - 1)
    if act in ("up", "down"):
        other = place + (1 if act == "down" else -1)
        if 0 <= other < len(fields):
            fields[place], fields[other] = fields[other], fields[place]
            return other
        return place
    attributes = fields[place].setdefault("attributes", [])
    if act == "more":
        attributes.append(_new_attribute(len(attributes) + 1, label("attribute")))
    if act == "less" and len(places) > 1 and places[1] < len(attributes):
        attributes.pop(places[1])
    return place


def new_field(kind: str, label: str, taken: set[str]) -> Definition:
    """A field to begin with."""
    names = [kind, *(f"{kind}_{number}" for number in range(2, 100))]
    name = next(name for name in names if name not in taken)
    field: Definition = {"kind": kind, "name": name, "label": label, "help": "", "required": True}
    field |= dict.fromkeys(_FLAGS.get(kind, ()), True)
    if kind == "rating":
        field["attributes"] = [_new_attribute(1, label)]
    if kind == "critique":
        field |= {"defects": [], "spans": False}
    return field


def _new_attribute(number: int, label: str) -> Definition:
    return {
        "name": f"score_{number}",
        "label": label,
        "low": 1.0,
        "high": 5.0,
        "step": 1.0,
        "style": "points",
        "low_label": "",
        "high_label": "",
    }


# Two versions


def differences(before: Definition, after: Definition) -> list[tuple[str, Any, Any]]:
    """(path, before, after) of every value that differs between two definitions."""
    one, other = dict(_leaves("", before)), dict(_leaves("", after))
    return [
        (path, one.get(path), other.get(path))
        for path in dict.fromkeys([*one, *other])
        if one.get(path) != other.get(path)
    ]


def _leaves(path: str, value: Any) -> list[tuple[str, Any]]:
    parts: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        parts = list(value.items())
    elif isinstance(value, list):
        # Fields and attributes by their names, so that one that was moved is not a change of all behind it.
        parts = [(entry.get("name", n) if isinstance(entry, dict) else n, entry) for n, entry in enumerate(value)]
    if not parts:
        return [(path, value)]
    return [leaf for key, part in parts for leaf in _leaves(f"{path}.{key}" if path else str(key), part)]
