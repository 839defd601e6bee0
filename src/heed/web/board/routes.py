"""The routes of this surface."""

from __future__ import annotations

from heed.web.board import (
    audit_log,
    decisions,
    disagreements,
    flags,
    gold,
    guidelines,
    items,
    overview,
    people,
    people_acts,
    questions,
    trust,
)
from heed.web.permissions import administers, leads
from heed.web.routing import Route

_API = "/api/v1/board"
_ONE = "/items/{item_id}"
_QUESTION = "/questions/{question_id}"

_PAGES = (
    Route("GET", "/board", overview.board, leads, "page"),
    Route("GET", "/board/people", people.people_page, leads, "page"),
    Route("GET", "/board/people/{name:path}", people.person_page, leads, "page"),
    Route("GET", "/board/trust", trust.trust_page, leads, "page"),
    Route("GET", "/board/disagreements", disagreements.disagreements_page, leads, "page"),
    Route("GET", "/board/gold", gold.gold_page, leads, "page"),
    Route("GET", "/board/items", items.items_page, leads, "page"),
    Route("GET", f"/board{_ONE}", items.item_page, leads, "page"),
    Route("GET", "/board/questions", questions.questions_page, leads, "page"),
    Route("GET", "/board/questions/new", questions.new_page, leads, "page"),
    Route("GET", f"/board{_QUESTION}", questions.question_page, leads, "page"),
    Route("GET", "/board/guidelines", guidelines.guidelines_page, leads, "page"),
    Route("GET", "/board/flags", flags.flags_page, leads, "page"),
    Route("GET", "/board/audit", audit_log.audit_page, leads, "page"),
)

_FORMS = (
    Route("POST", "/board/acts/pause", people_acts.pause, leads, "page"),
    Route("POST", "/board/acts/resume", people_acts.resume, leads, "page"),
    Route("POST", "/board/acts/group", people_acts.group, leads, "page"),
    Route("POST", "/board/acts/role", people_acts.role, administers, "page"),
    Route("POST", "/board/acts/exclude", people_acts.exclude, leads, "page"),
    Route("POST", "/board/acts/include", people_acts.include, leads, "page"),
    Route("POST", "/board/acts/grant", people_acts.grant, leads, "page"),
    Route("POST", "/board/acts/invite", people_acts.invite, leads, "page"),
    Route("POST", "/board/acts/revoke", people_acts.revoke, leads, "page"),
    Route("POST", "/board/acts/reset", people_acts.reset, leads, "page"),
    Route("POST", f"/board{_ONE}/decision", decisions.decide_by_form, leads, "page"),
    Route("POST", f"/board{_ONE}/decision/undo", decisions.take_back_by_form, leads, "page"),
    Route("POST", f"/board{_ONE}/gold", decisions.gold_by_form, leads, "page"),
    Route("POST", f"/board{_ONE}/retirement", gold.retire_by_form, leads, "page"),
    Route("POST", f"/board{_ONE}", decisions.change_by_form, leads, "page"),
    Route("POST", f"/board{_QUESTION}", questions.edit, leads, "page"),
    Route("POST", f"/board{_QUESTION}/state", questions.state_by_form, leads, "page"),
    Route("POST", "/board/trust/round", trust.ask_others_by_form, leads, "page"),
    Route("POST", "/board/trust/round/undo", trust.ask_no_more_by_form, leads, "page"),
    Route("POST", "/board/guidelines", guidelines.edit, leads, "page"),
    Route("POST", "/board/flags/{flag_id}", flags.resolve_by_form, leads, "page"),
)


def _read(path: str, handler: object, summary: str, model: object) -> Route:
    return Route("GET", _API + path, handler, leads, "api", summary, "read", model)  # type: ignore[arg-type]


_READING = (
    _read("/overview", overview.overview, "Progress, agreement, gates and warnings", overview.OverviewWithDays),
    Route("GET", f"{_API}/events", overview.events, leads, "stream", "The overview as it changes", "read"),
    _read("/people", people.people, "Everybody with statistics", people.People),
    _read("/people/{name:path}", people.person, "One person with statistics", people.Person),
    _read("/trust", trust.trust, "How far to trust whom", trust.TeamTrust),
    _read("/disagreements", disagreements.disagreements, "Disputed items", disagreements.Disagreements),
    _read("/gold", gold.gold_items, "Items with a known answer", gold.GoldItems),
    _read("/items", items.find_items, "Find items", items.ItemList),
    _read(_ONE, items.item, "One item with its whole history", items.ItemHistory),
    _read("/questions", questions.questions, "All questions", questions.QuestionList),
    _read(_QUESTION, questions.question, "One question", questions.QuestionShown),
    _read(f"{_QUESTION}/versions", questions.versions, "All versions of a question", questions.VersionList),
    _read("/guidelines", guidelines.guidelines, "All versions of the guidelines", guidelines.GuidelinesShown),
    _read("/flags", flags.flags, "Flags that raters raised", flags.Flags),
    _read("/audit", audit_log.audit_entries, "Entries of the audit log", audit_log.AuditEntries),
    _read("/audit/check", audit_log.audit_check, "Whether the audit log is whole", audit_log.AuditCheck),
)


def _change(method: str, path: str, handler: object, summary: str, model: object, status: int = 200) -> Route:
    return Route(method, _API + path, handler, leads, "api", summary, "manage", model, status)  # type: ignore[arg-type]


_CHANGING = (
    _change("POST", "/exclusions", people_acts.decide, "Leave somebody out of training", people_acts.ExclusionState),
    _change("POST", "/trust/round", trust.another_round, "Ask others about contested items", trust.Asked),
    _change("DELETE", "/trust/round/{round_id}", trust.no_other_round, "Ask others no more", trust.Asked),
    _change("DELETE", f"{_ONE}/decision", items.take_item_decision_back, "Take a decision back", items.Changed),
    _change("POST", f"{_ONE}/decision", items.decide_item, "Decide a disputed item", items.Changed),
    _change("PUT", f"{_ONE}/gold", items.make_item_gold, "Make an item gold", items.Changed),
    _change("DELETE", f"{_ONE}/gold", gold.retire, "Hand a gold item out no more", items.Changed),
    _change("PATCH", _ONE, items.change_item, "Change an item", items.Changed),
    _change("POST", "/questions", questions.create, "Ask a new question", questions.QuestionShown, 201),
    _change("PUT", _QUESTION, questions.save, "Save a version of a question", questions.QuestionShown),
    _change("PATCH", _QUESTION, questions.set_state, "Open, pause or close a question", questions.QuestionShown),
    _change("PUT", "/guidelines", guidelines.save, "Save a version of the guidelines", guidelines.GuidelineShown),
    _change("POST", "/flags/{flag_id}/resolution", flags.resolve, "Settle a flag", flags.Resolved),
)

ROUTES: tuple[Route, ...] = (*_PAGES, *_FORMS, *_READING, *_CHANGING)
