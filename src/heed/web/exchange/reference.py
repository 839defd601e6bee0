"""The API as an OpenAPI document: what FastAPI knows of the handlers, and what the table of routes knows beside it."""

from __future__ import annotations

from functools import cache
from typing import Any

from starlette.responses import JSONResponse, Response

from heed.web.call import Called
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
    upload = made["paths"].get(_UPLOAD[1], {}).get(_UPLOAD[0])
    if upload is not None:
        binary = {"schema": {"type": "string", "format": "binary"}}
        kinds = ("application/octet-stream", "application/x-ndjson", "text/csv", "application/gzip")
        upload["requestBody"] = {"required": True, "content": dict.fromkeys(kinds, binary)}
    return made
