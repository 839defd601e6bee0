"""The API against its own reference: whatever is sent, it answers as it says it does, and never with a fault inside."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, get_args

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from site_of_tests import Site, copy_project

from heed.feedback import answers, asked, queue
from heed.feedback.answer_files import AnswerFormat
from heed.feedback.formats import FileFormat
from heed.feedback.forms import default_form
from heed.feedback.item_files import ItemRow
from heed.feedback.items import add_items
from heed.feedback.showings import Rater
from heed.people import guidelines
from heed.project import Project
from heed.web.exchange import jobs
from heed.web.exchange.reference import PARAMETERS, document
from heed.web.routes import all_routes

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 12
KNOWN: dict[str, str] = {}
"""A thing that is there for each parameter of a path, sent half of the time: made-up ones alone would end at 404."""


@pytest.fixture(scope="module")
def filled(empty_project: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Project(copy_project(empty_project, tmp_path_factory.mktemp("api") / "project")) as project:
        site = Site(project)
        site.account("lea", "lead")
        KNOWN["account_id"] = site.account("ann").id
        site.write(_fill)
        yield site
        site.close()


def _fill(connection: Any) -> None:
    rng = random.Random(1)
    guidelines.save(connection, "Be *kind*.", "", "lea", 0, NOW)
    guidelines.acknowledge(connection, "lea", 1, NOW)
    made = asked.create_question(connection, "Which?", default_form(), "lea", NOW)
    rows = [ItemRow(f"p{k}", ("x", "y"), external_id=f"e{k}") for k in range(12)]
    added = add_items(connection, made.id, rows, NOW, rng)
    claimed = queue.claim(connection, Rater("ann"), made.id, NOW, rng)
    assert isinstance(claimed, queue.Claimed)
    wire = {"better": {"choice": "left", "strength": 1}}
    answers.answer(connection, Rater("ann"), claimed.showings[0].id, wire, None, 1.0, 1.0, "", NOW)
    mine = queue.claim(connection, Rater("lea"), made.id, datetime.now(UTC), rng)
    assert isinstance(mine, queue.Claimed)
    job = jobs.create(connection, "j0123456789abcdef", "export_feedback", {"format": "heed"}, "lea", NOW)
    KNOWN.update(
        {
            "question": made.id,
            "question_id": made.id,
            "item_id": added.ids[0],
            "showing": mine.showings[0].id,
            "job_id": job.id,
            "name": "ann",
        }
    )


@pytest.fixture(scope="module")
def program(filled: Site) -> Any:
    return filled.program("lea", "lead", ("rate", "read", "manage"))


@pytest.fixture(scope="module")
def api(filled: Site) -> Any:
    return schemathesis.openapi.from_dict(document())


API = sorted(
    (route.path.replace(":path", ""), route.method)
    for route in all_routes()
    # Forms with files are sent by tests of their own: those made up here are no files.
    if route.kind == "api" and (route.path, route.method) != ("/api/v1/media", "POST")
)


@pytest.mark.parametrize(("path", "method"), API)
def test_the_api_answers_as_its_reference_says(path: str, method: str, api: Any, program: Any) -> None:
    chance = random.Random(7)

    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(case=api[path][method].as_strategy())
    def send(case: Any) -> None:
        for name in case.path_parameters or {}:
            if name in KNOWN and chance.random() < 0.5:
                case.path_parameters[name] = KNOWN[name]
        sent = case.as_transport_kwargs(base_url="http://localhost")
        sent["headers"] = {**sent.get("headers", {}), "Authorization": program.headers["authorization"]}
        sent.pop("cookies", None)
        case.validate_response(program.request(**sent), checks=CHECKS)

    send()


def test_every_api_route_is_in_the_reference_with_what_it_takes_and_answers(filled: Site) -> None:
    told = document()["paths"]
    ours = [route for route in all_routes() if route.path.startswith("/api/") and route.kind in ("api", "file")]
    wanted = {(route.path.replace(":path", ""), route.method.lower()) for route in ours}
    assert {(path, method) for path, methods in told.items() for method in methods} == wanted
    for route in ours:
        operation = told[route.path.replace(":path", "")][route.method.lower()]
        assert operation["summary"], route
        if route.status != 204:
            assert operation["responses"][str(route.status)].get("content"), f"{route.key} says not what it answers"


def test_every_parameter_of_a_query_says_what_it_means_and_no_meaning_is_left_over() -> None:
    told = {
        (f"{method.upper()} {path} {one['name']}", one["name"]): one.get("description")
        for path, methods in document()["paths"].items()
        for method, operation in methods.items()
        for one in operation.get("parameters", ())
        if one["in"] == "query"
    }
    assert [name for (name, _), meaning in told.items() if not meaning] == []
    assert set(PARAMETERS) <= {name for names in told for name in names}


def test_the_stream_of_an_export_is_in_the_reference_with_its_formats() -> None:
    export = document()["paths"]["/api/v1/export"]["get"]
    (format,) = (one["schema"] for one in export["parameters"] if one["name"] == "format")
    assert set(format["enum"]) == {*get_args(FileFormat), *get_args(AnswerFormat)}
    assert set(export["responses"]["200"]["content"]) == {"application/x-ndjson", "text/csv"}


def test_the_reference_is_for_those_who_are_signed_in(filled: Site, program: Any) -> None:
    assert filled.anonymous.get("/api/v1/openapi.json").status_code == 401
    told = program.get("/api/v1/openapi.json").json()
    assert told["openapi"].startswith("3.")
    assert told["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
