"""Write the pages of docs/ that are made from the code: ``python docs/generate.py``."""

from __future__ import annotations

import importlib.util
import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, get_args, get_type_hints

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from heed.algorithms import ALGORITHMS
from heed.client import Client, Exported, ItemsAdded, Showing
from heed.config import ProjectSettings
from heed.constraint_settings import ConstraintSettings
from heed.evaluate.report import ReportData
from heed.evaluate.reward_diagnosis import RewardDiagnosis
from heed.rater_settings import SimulatedRaterSettings
from heed.training_settings import ContrastiveSettings
from heed.web.exchange.reference import document
from heed.web.permissions import Permission, administers, anyone, leads, rates, signed_in
from heed.web.routes import all_routes
from heed.web.routing import Route

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

CONSTRAINT_EXAMPLE = """\
```text
policy:
  constraints:
    - {name: short, kind: words, least: 10, most: 40, weight: 0.1}
    - {name: whole sentences, kind: format, format: punctuation, weight: 0.5}
    - {name: nobody's data, kind: personal_data, find: [email, phone, card, iban, ip], weight: 2.0}
    - {name: house style, kind: function, function: "my_rules:broken", weight: 1.0}
    - {name: tone, kind: http, url: "http://localhost:5000/score", weight: 0.3, token_variable: TONE_TOKEN}
```"""

API_INTRODUCTION = """\
Everything that the pages of `heed serve` do can be done by a program. Paths begin with `/api/v1`; bodies and answers are
JSON. A program sends an API token, made under Settings, as `Authorization: Bearer TOKEN`; its scopes are `rate`, `read` and
`manage`, and it may never do more than its owner. The same reference for machines is `GET /api/v1/openapi.json`;
`heed.client.Client` is a client for Python.

An error has its status (401 nobody is signed in, 403 not allowed, 404 no such thing, 409 somebody was quicker, 413 too large,
422 not usable, 429 too often) and says what, why, and the way out:

```text
{"error": {"what": "item i0", "why": "there is no such item.", "fix": "Choose one from the list.", "code": "missing"}}
```

`code` is for programs and is the same in every language; the rest is for people, and `Content-Language` says in which language
it is. With an API token that is English, or Chinese where the program asks for it by `Accept-Language: zh`; the pages of a
browser get the language of their account.

With the header `Idempotency-Key` (1 to 128 printable characters, new for each request) a request that changes something is
done once, however often it is sent: the same request again gets the same answer, for a week. An upload is the same when its
content is. The header does nothing for `POST /api/v1/questions/{question}/showings`, which asked again gives the same items
by itself; for `DELETE /api/v1/media/{medium_id}`, which says 404 the second time; and for `POST /api/v1/me/password`, which
says 401 once the password that it names is the old one.

Items come in as `POST /api/v1/questions/{question_id}/items`, or as a file by `POST /api/v1/imports`; their fields stand in
[formats.md](formats.md#items). Rating goes by three calls: `GET /api/v1/questions` for the id of a question,
`POST /api/v1/questions/{question}/showings` for what to judge (the first of `showings`; `form.fields` says what is asked), and
`POST /api/v1/showings/{showing}/answer`.

A webhook gets `{"id", "event", "created", "data"}` by POST, at least once, with the headers `Heed-Event`, `Heed-Delivery` and
`Heed-Signature: t=TIME,v1=HEX`. `HEX` is the HMAC-SHA256 of `TIME.BODY` under the webhook's secret; refuse what is older than
some minutes, and what `Heed-Delivery` says you have seen. Whatever is not answered with 2xx is tried again, 8 times in about
15 hours."""

ANSWERS_INTRODUCTION = """\
`answer` is an object with an entry for each field of the form, under the field's `name`. What a rater sends is in the order of the
screen: place 0 is the left or first completion of the showing, place 1 the next. An item's `expected`, and what exports tell, is in
the item's own order: completion 0, or `a`, is the first one of `completions`. The server turns one into the other by
the `shown_order` of the showing (place `k` showed completion `shown_order[k]`), which raters are not told. The answer that a
reopened showing holds, and the `expected` of training feedback, are in the order of the screen too."""

CLIENT_INTRODUCTION = """\
`heed.client.Client(url, token)` is the API in Python; it comes with heed. A call that the network has lost is sent again with the
same idempotency key. Errors are those of `heed.errors`: `SignInError` (401), `RefusedError` (403), `MissingError` (404),
`ConflictError` (409), `LimitError` (429), `DataError` (what was sent is not usable), `ProjectError` (the server cannot be reached)."""

REPORT_INTRODUCTION = """\
`heed report` and `heed demo` write `report.json`; `report.html` shows the same numbers. What could not be computed is an
object with the one key `reason`, which says why, never a zero or a NaN. An interval covers `confidence` of the cases, is
clustered by prompt where prompts repeat, and says how many prompts and observations it rests on. How the numbers are made
stands in [explanation.md](explanation.md), when to distrust them in the
[tutorial](tutorial.md#reading-the-report)."""


DIAGNOSIS_INTRODUCTION = """\
`heed evaluate reward` writes `reward.json`; `reward.html` shows the same numbers."""


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
    for inner, names in inner_sections().items():
        parts += [f"## {' and '.join(f'`{name}`' for name in names)}", " ".join((inner.__doc__ or "").split())]
        parts.append(settings_table(inner))
    parts += [
        "## `contrastive`, of `heed pretrain`",
        f"{' '.join((ContrastiveSettings.__doc__ or '').split())} "
        "It is no section of `heed.yaml`: give `--set key=value`, or `--config FILE`.",
    ]
    parts += [settings_table(ContrastiveSettings)]
    parts += ["## Entries of `policy.constraints`", " ".join((ConstraintSettings.__doc__ or "").split())]
    parts += [settings_table(ConstraintSettings), CONSTRAINT_EXAMPLE]
    parts += ["## Entries of `raters.simulated` and `raters.held_out`", settings_table(SimulatedRaterSettings)]
    return "\n\n".join(parts) + "\n"


def inner_sections() -> dict[type[BaseModel], list[str]]:
    """Sections within sections, each with all places where it stands."""
    found: dict[type[BaseModel], list[str]] = {}
    for name, field in ProjectSettings.model_fields.items():
        section = section_of(field)
        for inner, value in section.model_fields.items() if section is not None else ():
            if (kind := section_of(value)) is not None:
                found.setdefault(kind, []).append(f"{name}.{inner}")
    return found


# Algorithms


ALGORITHMS_INTRODUCTION = (
    "Ways to optimise a policy: `policy.algorithm` in `heed.yaml`, `--algorithm` of `heed train policy`. How to choose and "
    "use them: [Optimising a policy](optimise.md)."
)


def algorithms_page() -> str:
    """docs/algorithms.md."""
    parts = ["# Algorithms", NOTICE, ALGORITHMS_INTRODUCTION]
    for one in ALGORITHMS.values():
        rows = [("when", one.when), ("needs", one.needs), ("costs", one.costs)]
        if one.own:
            own = ", ".join(f"`{one.section}.{name}` {value:g}" for name, value in one.own.items())
            rows.append(("own settings", own))
        rows.append(("paper", one.paper))
        title = f"{one.title[0].upper()}{one.title[1:]}, {one.family}."
        parts += [f"## `{one.name}`", title, "\n".join(f"- {label}: {told}" for label, told in rows)]
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
        const = schema["const"]
        return f"`{const if isinstance(const, str) else json.dumps(const)}`"
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


def record_lines(name: str, schema: dict[str, Any]) -> list[str]:
    """One record of a report; nothing of the one that only says why something is undefined."""
    if name == "Undefined":
        return []
    return [f"## {name}", " ".join(schema.get("description", "").split()), keys_table(schema)]


def report_page() -> str:
    """docs/report.md."""
    schema = ReportData.model_json_schema(mode="serialization")
    parts = ["# Keys of report.json", NOTICE, REPORT_INTRODUCTION, "## The whole", keys_table(schema)]
    diagnosis = RewardDiagnosis.model_json_schema(mode="serialization")
    shared = schema["$defs"].keys() | {"Undefined"}
    parts += [text for name, inner in sorted(schema["$defs"].items()) for text in record_lines(name, inner)]
    parts += ["## Keys of reward.json", DIAGNOSIS_INTRODUCTION, keys_table(diagnosis)]
    own = sorted((name, inner) for name, inner in diagnosis["$defs"].items() if name not in shared)
    parts += [text for name, inner in own for text in record_lines(name, inner)]
    return "\n\n".join(part for part in parts if part) + "\n"


# The API


WHO: dict[Permission, str] = {
    anyone: "everybody",
    signed_in: "whoever is signed in",
    rates: "whoever is signed in and not paused",
    leads: "leads and admins",
    administers: "admins",
}


def body_table(model: type[BaseModel]) -> str:
    """The fields of a body or of an answer."""
    schema = model.model_json_schema(mode="serialization")
    definitions = schema.get("$defs", {})
    return table(
        ("field", "type", "default"),
        (
            (f"`{name}`", cell(wire_type(inner, definitions)), cell(json_default(inner)))
            for name, inner in schema["properties"].items()
        ),
    )


def json_default(schema: dict[str, Any]) -> str:
    """The default of a field, a text without its quotation marks unless it is empty; "" for a field that has none."""
    if "default" not in schema:
        return ""
    value = schema["default"]
    return f"`{value if value and isinstance(value, str) else json.dumps(value)}`"


def wire_type(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """A JSON schema in a few words, with the fields of records inside it named."""
    if "$ref" in schema:
        inner = definitions[schema["$ref"].rpartition("/")[2]]
        return f"object with {', '.join(f'`{name}`' for name in inner.get('properties', {}))}"
    if "anyOf" in schema:
        return " or ".join(wire_type(choice, definitions) for choice in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {wire_type(schema['items'], definitions)}" if schema.get("items") else "list"
    if schema.get("type") == "null":
        return "null"
    if not {"type", "const", "enum"} & set(schema):
        return "anything"
    if schema.get("type") == "object" and not isinstance(schema.get("additionalProperties"), dict):
        return "object"
    if schema.get("type") == "object":
        return f"object of {wire_type(schema['additionalProperties'], definitions)}"
    return type_of(schema)


def body_of(route: Route) -> type[BaseModel] | None:
    """What a route takes as its body."""
    hints = get_type_hints(route.handler)
    models = [kind for name, kind in hints.items() if name != "return" and isinstance(kind, type)]
    return next((kind for kind in models if issubclass(kind, BaseModel)), None)


def route_lines(route: Route) -> Iterator[str]:
    """One route of the API."""
    yield f"### {route.method} `{route.path.replace(':path', '')}`"
    doc = " ".join((inspect.getdoc(route.handler) or "").split())
    yield f"{route.summary + '. ' if route.summary else ''}{doc} For {WHO[route.allow]}; {route.tokens}."
    query = [one for one in _operation(route).get("parameters", ()) if one["in"] == "query"]
    if query:
        yield "In the query:"
        yield table(("parameter", "meaning", "allowed", "default"), map(_query_line, query))
    body = body_of(route)
    if body is not None and body.model_fields:
        yield f"Body: {' '.join((body.__doc__ or '').split())}"
        yield body_table(body)
    if route.model is not None:
        yield f"Answers {route.status}: {' '.join((route.model.__doc__ or '').split())}".rstrip(": ")
        yield body_table(route.model)


def _operation(route: Route) -> dict[str, Any]:
    """A route in the OpenAPI document; nothing for streams, which it has no words for."""
    methods = document()["paths"].get(route.path.replace(":path", ""), {})
    found: dict[str, Any] = methods.get(route.method.lower(), {})
    return found


def _query_line(parameter: dict[str, Any]) -> tuple[str, str, str, str]:
    schema = parameter["schema"]
    kinds = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
    kind = next((one for one in kinds if "enum" in one), kinds[0])
    allowed = wire_type({"enum": schema["enum"]} if "enum" in schema else kind, {})
    limits = {"minimum": "≥", "maximum": "≤"}
    bounds = [f"{sign} {kind[name]:,}" for name, sign in limits.items() if name in kind]
    default = schema.get("default")
    told = "must be given" if parameter["required"] else "" if default in (None, "") else f"`{default}`"
    return f"`{parameter['name']}`", cell(parameter["description"]), cell(", ".join([allowed, *bounds])), told


def examples() -> ModuleType:
    """docs/api_examples.py."""
    spec = importlib.util.spec_from_file_location("api_examples", HERE / "api_examples.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError(HERE / "api_examples.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["api_examples"] = module
    spec.loader.exec_module(module)
    return module


def answer_lines() -> Iterator[str]:
    """An answer to each kind of field, on the screen and in an item."""
    for example in examples().ANSWERS:
        sent, kept = ({example.field["name"]: value} for value in (example.sent, example.kept))
        order = f", where shown_order is {list(example.shown_order)}" if len(example.shown_order) > 1 else ""
        yield f"### {example.kind}"
        yield f"{example.shape[0].upper()}{example.shape[1:]}."
        yield "\n".join(
            (
                "```text",
                f"field:    {json.dumps(example.field)}",
                f"answer:   {json.dumps(sent)}",
                f"in item:  {json.dumps(kept)}{order}",
                "```",
            )
        )


def client_lines() -> Iterator[str]:
    """The Python client: an example, its methods, and what they return."""
    yield CLIENT_INTRODUCTION
    yield f"```text\nfrom heed.client import Client\n\n\n{inspect.getsource(examples().judge_all)}```"
    yield table(
        ("call", "what it does"),
        (
            (f"`{name}{_parameters(method)}`", cell(_told(method)))
            for name, method in vars(Client).items()
            if inspect.isfunction(method) and not name.startswith("_")
        ),
    )
    for kind in (Showing, ItemsAdded, Exported):
        yield f"`{kind.__name__}`: {_first_line(kind)[:1].lower()}{_first_line(kind)[1:]}"
        attributes = (inspect.getdoc(kind) or "").partition("Attributes:")[2]
        described = re.findall(r"^    (\w+): (.*)$", attributes, re.MULTILINE)
        yield table(("attribute", "meaning"), ((f"`{name}`", cell(told)) for name, told in described))


def _told(method: Any) -> str:
    """What a method does, and what it returns; its arguments and errors stand in its own docstring."""
    told = (inspect.getdoc(method) or "").replace(":meth:", "")
    done = re.split(r"\n\n(?:Args|Returns|Raises):", told)[0]
    returned = re.search(r"\n\nReturns:\n(.*?)(?:\n\n|$)", told, re.DOTALL)
    return " ".join(f"{done} {'Returns: ' + returned[1] if returned else ''}".split())


def _first_line(what: Any) -> str:
    return (inspect.getdoc(what) or "").partition("\n")[0]


def _parameters(method: Any) -> str:
    given = list(inspect.signature(method).parameters.values())[1:]
    return f"({', '.join(one.name if one.default is one.empty else f'{one.name}=...' for one in given)})"


def api_page() -> str:
    """docs/api.md."""
    parts = ["# The API", NOTICE, API_INTRODUCTION]
    parts += ["## Answers by kind of field", ANSWERS_INTRODUCTION, *answer_lines()]
    parts += ["## The Python client", *client_lines()]
    area = ""
    for route in sorted(all_routes(), key=lambda route: (route.path, route.method)):
        if not route.path.startswith("/api/"):
            continue
        own = route.path.split("/")[3]
        if own != area:
            area = own
            parts.append(f"## {area.removesuffix('.json')}")
        parts += route_lines(route)
    return re.sub("(?<!`)``(?!`)", "`", "\n\n".join(parts)) + "\n"


PAGES = {"settings.md": settings_page, "algorithms.md": algorithms_page, "report.md": report_page, "api.md": api_page}


def main() -> None:
    """Write every page anew."""
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
