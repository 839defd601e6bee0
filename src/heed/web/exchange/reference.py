"""The API as an OpenAPI document: what FastAPI knows of the handlers, and what the table of routes knows beside it."""

from __future__ import annotations

from functools import cache
from typing import Any, get_args

from starlette.responses import JSONResponse, Response

from heed.feedback.answer_files import AnswerFormat
from heed.feedback.formats import FileFormat
from heed.feedback.item_files import ItemFormat
from heed.web.call import Called
from heed.web.exchange.exports import LINES_TYPE
from heed.web.permissions import anyone

PROBLEM: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["what", "why", "fix", "code"],
            "properties": {name: {"type": "string"} for name in ("what", "why", "fix", "code")},
        }
    },
}
_UPLOAD = ("post", "/api/v1/imports")
_FILES: dict[str, tuple[str, ...]] = {
    "/api/v1/openapi.json": ("application/json",),
    "/api/v1/export": (LINES_TYPE, "text/csv"),
    "/api/v1/jobs/{job_id}/file": (LINES_TYPE, "text/csv"),
}
"""What routes answer that answer files, by path."""

_FEEDBACK, _ANSWERS, _ITEMS = get_args(FileFormat), get_args(AnswerFormat), get_args(ItemFormat)

PARAMETERS: dict[str, str] = {
    "actor": "only what this person did",
    "action": "only this action, such as `question.create`",
    "subject": "only what was done to this: a name or an id",
    "before": "only what is older than this: `next` of the page before",
    "excluded": "feedback only: `keep` or `leave` out what people said who are excluded from training; without it heed's own lines "
    "keep it and other formats leave it out",
    "kind": "what the file holds",
    "limit": "how many at most (count)",
    "name": "what the file is called where it comes from: errors and the source of items name it",
    "purpose": "only items of this purpose",
    "question": "only of this question (its id)",
    "rater": "only items that this person answered",
    "start": "from which place of the list on, the first is 0",
    "state": "only those in this state",
    "text": "only items whose prompt or completions hold this text, or whose id it is",
    "webhook_id": "only what was sent to this webhook",
    "what": "judgments, or answers with how they were shown",
    "GET /api/v1/export format": f"how: {', '.join(_FEEDBACK)} for feedback (without it {_FEEDBACK[0]}); {', '.join(_ANSWERS)} for "
    f"answers (without it {_ANSWERS[0]})",
    "GET /api/v1/export question_id": "only what was said under this question; without it everything",
    "POST /api/v1/imports format": f"how to read it: auto, or {', '.join(_ITEMS)} for items, {', '.join(_FEEDBACK)} for feedback",
    "POST /api/v1/imports question_id": "the question that items are for; nothing for feedback",
    "POST /api/v1/imports rater": "feedback only: who judged, where a row does not say",
}
"""What the parameters of a query mean: by name, or by method, path and name where that is not enough."""

_CHOICES: dict[str, tuple[str, ...]] = {
    "GET /api/v1/export format": tuple(dict.fromkeys((*_FEEDBACK, *_ANSWERS))),
    "POST /api/v1/imports format": tuple(dict.fromkeys(("auto", *_ITEMS, *_FEEDBACK))),
}


async def openapi(call: Called) -> Response:
    """The API's reference as OpenAPI."""
    return JSONResponse(document())


@cache
def document() -> dict[str, Any]:
    """The OpenAPI document, the same for every project."""
    # Late imports: the table of routes holds this module's own.
    from heed.web.app import documented_app
    from heed.web.routes import all_routes

    made = documented_app().openapi()
    parts = made.setdefault("components", {})
    schemas = parts.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Problem"] = PROBLEM
    parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for route in all_routes():
        operation = made["paths"].get(route.path.replace(":path", ""), {}).get(route.method.lower())
        if operation is None:
            continue
        operation["responses"].pop("422", None)
        told = {"description": "What is wrong, why, and what to do about it"}
        schema = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}}
        operation["responses"]["4XX"] = told | schema
        if route.allow is not anyone:
            operation["security"] = [{"token": []}]
        who = f"For {route.allow.__name__.replace('_', ' ')}; {route.tokens}."
        operation["description"] = f"{operation.get('description', '')}\n\n{who}".strip()
        _tell_query(f"{route.method} {route.path.replace(':path', '')}", operation)
    for path, kinds in _FILES.items():
        content = {"schema": {"type": "string"}}
        made["paths"][path]["get"]["responses"]["200"]["content"] = dict.fromkeys(kinds, content)
    export = made["paths"]["/api/v1/export"]["get"]["responses"]["200"]
    export["headers"] = {"Heed-Job": {"description": "the job whose report counts it", "schema": {"type": "string"}}}
    upload = made["paths"].get(_UPLOAD[1], {}).get(_UPLOAD[0])
    if upload is not None:
        binary = {"schema": {"type": "string", "format": "binary"}}
        kinds = ("application/octet-stream", "application/x-ndjson", "text/csv", "application/gzip")
        upload["requestBody"] = {"required": True, "content": dict.fromkeys(kinds, binary)}
    return made


def _tell_query(route: str, operation: dict[str, Any]) -> None:
    """Say what the parameters of a query mean, and of which words they are."""
    for parameter in operation.get("parameters", ()):
        if parameter["in"] != "query":
            continue
        own = f"{route} {parameter['name']}"
        parameter["description"] = PARAMETERS.get(own) or PARAMETERS[parameter["name"]]
        if own in _CHOICES:
            parameter["schema"]["enum"] = list(_CHOICES[own])
