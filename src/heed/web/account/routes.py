"""The routes of this surface for those who are signed in."""

from __future__ import annotations

from heed.web.account import before_work, me, others, settings
from heed.web.account import models as m
from heed.web.permissions import leads, rates, signed_in
from heed.web.routing import Route

_API = "/api/v1"
_PERSON = f"{_API}/people/{{account_id}}"
_TEST = f"{_API}/qualification/{{question_id}}"

_SETTINGS = (
    Route("GET", "/settings", settings.settings_page, signed_in, "page", "Settings"),
    Route("POST", "/settings/preferences", settings.change_preferences, signed_in, "page", "Language and colours"),
    Route("POST", "/settings/keys", settings.change_keys, signed_in, "page", "Keys"),
    Route("POST", "/settings/password", settings.change_password, signed_in, "page", "Password"),
    Route("POST", "/settings/sessions", settings.end_sessions, signed_in, "page", "Sign out other browsers"),
    Route("POST", "/settings/tokens", settings.make_token, rates, "page", "Make an API token"),
    Route("POST", "/settings/tokens/revocation", settings.revoke_token, signed_in, "page", "End an API token"),
)

_BEFORE_WORK = (
    Route("GET", "/guidelines", before_work.guidelines_page, signed_in, "page", "Guidelines"),
    Route("POST", "/guidelines", before_work.acknowledge_form, rates, "page", "Acknowledge the guidelines"),
    Route("GET", "/qualification/{question_id}", before_work.qualification_page, rates, "page", "Test"),
    Route("POST", "/qualification/{question_id}", before_work.begin_attempt_form, rates, "page", "Begin the test"),
    Route(
        "GET",
        f"{_API}/guidelines",
        before_work.current_guidelines,
        signed_in,
        summary="The newest guidelines",
        scope="any",
        model=m.GuidelinesShown,
    ),
    Route(
        "POST",
        f"{_API}/guidelines/acknowledgements",
        before_work.acknowledge,
        rates,
        summary="Acknowledge the guidelines",
        scope="rate",
        model=m.GuidelinesShown,
    ),
    Route("GET", _TEST, before_work.standing, rates, summary="Standing", scope="any", model=m.StandingShown),
    Route(
        "POST",
        f"{_TEST}/attempts",
        before_work.begin_attempt,
        rates,
        summary="Begin the test",
        scope="rate",
        model=m.StandingShown,
        status=201,
    ),
    Route(
        "POST",
        f"{_TEST}/grants",
        before_work.grant,
        leads,
        summary="Let a rater work without the test",
        scope="manage",
        model=m.StandingShown,
    ),
)

_ME = (
    Route("GET", f"{_API}/me", me.me, signed_in, summary="Who is signed in", scope="any", model=m.Me),
    # What lets somebody in, or keeps somebody in, is for people themselves: no token makes another.
    Route("PATCH", f"{_API}/me", me.change_me, signed_in, summary="Language, theme and keys", model=m.Me),
    Route("POST", f"{_API}/me/password", me.change_password, signed_in, summary="New password", model=m.Done),
    Route("GET", f"{_API}/me/sessions", me.my_sessions, signed_in, summary="Sessions", model=m.SessionList),
    Route("DELETE", f"{_API}/me/sessions", me.end_other_sessions, signed_in, summary="End all others", model=m.Ended),
    Route(
        "DELETE",
        f"{_API}/me/sessions/{{session_id}}",
        me.end_session,
        signed_in,
        summary="End a session",
        model=m.Ended,
    ),
    Route("GET", f"{_API}/me/tokens", me.my_tokens, signed_in, summary="API tokens", model=m.TokenList),
    Route("POST", f"{_API}/me/tokens", me.make_token, rates, summary="Make a token", model=m.TokenMade, status=201),
    Route("DELETE", f"{_API}/me/tokens/{{token_id}}", me.revoke_token, signed_in, summary="End a token", model=m.Done),
)

_PEOPLE = (
    Route("GET", f"{_API}/people", others.people, leads, summary="Accounts", scope="read", model=m.PersonList),
    Route(
        "PATCH",
        _PERSON,
        others.change_person,
        leads,
        summary="Role or group",
        scope="manage",
        model=m.PersonShown,
    ),
    Route(
        "POST",
        f"{_PERSON}/pause",
        others.pause_person,
        leads,
        summary="Pause",
        scope="manage",
        model=m.PersonShown,
    ),
    Route(
        "POST",
        f"{_PERSON}/resume",
        others.resume_person,
        leads,
        summary="Resume",
        scope="manage",
        model=m.PersonShown,
    ),
    Route(
        "POST",
        f"{_PERSON}/close",
        others.close_person,
        leads,
        summary="Close for good",
        scope="manage",
        model=m.PersonShown,
    ),
    Route(
        "POST",
        f"{_PERSON}/reset-link",
        others.make_reset_link,
        leads,
        summary="Link to set a password",
        model=m.LinkMade,
        status=201,
    ),
    Route(
        "GET",
        f"{_API}/invitations",
        others.list_invitations,
        leads,
        summary="Open invitations",
        scope="read",
        model=m.InvitationList,
    ),
    Route(
        "POST",
        f"{_API}/invitations",
        others.invite,
        leads,
        summary="Invite",
        scope="manage",
        model=m.LinkMade,
        status=201,
    ),
    Route(
        "DELETE",
        f"{_API}/invitations/{{invitation_id}}",
        others.revoke_invitation,
        leads,
        summary="End an invitation",
        scope="manage",
        model=m.Done,
    ),
)

ROUTES: tuple[Route, ...] = (*_SETTINGS, *_BEFORE_WORK, *_ME, *_PEOPLE)
