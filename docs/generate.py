"""Write the pages of docs/ that are made from the code: ``python docs/generate.py``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from heed.config import ProjectSettings, SimulatedRaterSettings
from heed.evaluate.report import ReportData

HERE = Path(__file__).parent
NOTICE = "<!-- Made by docs/generate.py; change the code and run `make docs`. -->"

SETTINGS_INTRODUCTION = """\
`heed init` writes `heed.yaml` with every setting, its meaning and its default as a comment. A key that does not exist is
refused, with the nearest one that does. On the command line `--set key=value` overrides a setting of the command's own
section, and `--config FILE` takes a section from another file; the run record keeps what was used. Both are YAML of at most
256 KiB, in which a key given twice and merge keys (`<<`) are refused.

The unit stands in brackets. Three numbers set the scale of a training stage and there are no others: `prompts_per_step`
and `samples_per_prompt` say what a step learns from, `tokens_per_microbatch` how much of it is in memory at once, which
changes speed and memory but not the result."""

REPORT_INTRODUCTION = """\
`heed report` and `heed demo` write `report.json`; `report.html` shows the same numbers. What could not be computed is an
object with the one key `reason`, which says why, never a zero or a NaN. An interval covers `confidence` of the cases, is
clustered by prompt where prompts repeat, and says how many prompts and observations it rests on. How the numbers are made
stands in [explanation.md](explanation.md), when to distrust them in the
[tutorial](tutorial.md#reading-the-report)."""


def cell(text: object) -> str:
    """``text`` inside a table."""
    return str(text).replace("|", "\\|").replace("\n", " ")


def table(header: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# Settings


def default_of(field: FieldInfo) -> str:
    """The default of a setting as it would stand in ``heed.yaml``."""
    if field.is_required():
        return "none, must be given"
    value = field.get_default(call_default_factory=True)
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=1000)
    return f"`{text.removesuffix(chr(10)).removesuffix(chr(10) + '...')}`"


def limits_of(field: FieldInfo) -> str:
    """What a setting may be, where its type says more than that it is text or a number."""
    choices = [choice for choice in get_args(field.annotation) if isinstance(choice, str)]
    if choices:
        return " or ".join(f"`{choice}`" for choice in choices)
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    bounds = [
        f"{sign} {getattr(rule, name):,}"
        for rule in field.metadata
        for name, sign in signs.items()
        if getattr(rule, name, None) is not None
    ]
    return ", ".join(bounds)


def settings_table(model: type[BaseModel]) -> str:
    """The settings of one section."""
    return table(
        ("key", "meaning", "default", "allowed"),
        (
            (f"`{name}`", cell(field.description), cell(default_of(field)), cell(limits_of(field)))
            for name, field in model.model_fields.items()
            if section_of(field) is None
        ),
    )


def section_of(field: FieldInfo) -> type[BaseModel] | None:
    """The model of a setting that is a section of its own."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def settings_page() -> str:
    """docs/settings.md."""
    parts = ["# Settings", NOTICE, SETTINGS_INTRODUCTION, "## The project", settings_table(ProjectSettings)]
    for name, field in ProjectSettings.model_fields.items():
        if (section := section_of(field)) is not None:
            parts += [f"## `{name}`", " ".join((section.__doc__ or "").split()), settings_table(section)]
    parts += ["## Entries of `raters.simulated` and `raters.held_out`", settings_table(SimulatedRaterSettings)]
    return "\n\n".join(parts) + "\n"


# Report


def type_of(schema: dict[str, Any]) -> str:
    """A JSON schema in a few words; a record is a link to its own section."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return "undefined, with its reason" if name == "Undefined" else f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(type_of(choice) for choice in schema["anyOf"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {type_of(schema['items'])}" if "items" in schema else "list"
    if schema.get("type") == "object":
        return f"object of {type_of(schema['additionalProperties'])}"
    if schema.get("format") == "date-time":
        return "time (ISO 8601)"
    return {"string": "text", "integer": "whole number", "boolean": "true or false"}.get(schema["type"], schema["type"])


def keys_table(schema: dict[str, Any]) -> str:
    """The keys of one record."""
    return table(
        ("key", "type", "meaning"),
        (
            (f"`{name}`", cell(type_of(inner)), cell(inner.get("description", "")))
            for name, inner in schema["properties"].items()
        ),
    )


def report_page() -> str:
    """docs/report.md."""
    schema = ReportData.model_json_schema(mode="serialization")
    parts = ["# Keys of report.json", NOTICE, REPORT_INTRODUCTION, "## The whole", keys_table(schema)]
    for name, inner in sorted(schema["$defs"].items()):
        if name != "Undefined":
            parts += [f"## {name}", " ".join(inner.get("description", "").split()), keys_table(inner)]
    return "\n\n".join(part for part in parts if part) + "\n"


PAGES = {"settings.md": settings_page, "report.md": report_page}


def main() -> None:
    """Write every page anew."""
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
