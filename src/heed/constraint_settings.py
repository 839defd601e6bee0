"""Constraints on completions as entries of ``policy.constraints`` in ``heed.yaml``. Ground floor."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from heed.settings import FUNCTION, Name, Settings

MISSING_END, LENGTH_TARGET = OWN_CONSTRAINTS = ("missing_end", "length_target")
"""What figures call the constraints that have settings of their own."""

PersonalKind = Literal["email", "phone", "card", "iban", "ip"]

_OPTIONS = {
    "words": ("least", "most"),
    "tokens": ("least", "most"),
    "format": ("format", "pattern"),
    "personal_data": ("find",),
    "function": ("function",),
    "http": ("url", "reads", "seconds", "attempts", "token_variable"),
}
"""Which settings belong to which kind of constraint."""


def _pattern(text: str | None) -> str | None:
    if text is not None:
        try:
            re.compile(text)
        except re.error as error:
            raise ValueError(f"it is no regular expression: {error}") from None
    return text


def _function(name: str | None) -> str | None:
    if name is not None and not FUNCTION.fullmatch(name):
        raise ValueError("it is not of the form package.module:function")
    return name


def scorer_url(url: str | None) -> str | None:
    """An http or https URL without anything secret in it: heed.yaml is shared."""
    if url is None:
        return url
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise ValueError("it is not like http://localhost:5000/score")
    if "@" in parts.netloc:
        raise ValueError("it holds a user name or a password; name a variable of the environment in token_variable")
    if parts.fragment:
        raise ValueError("it holds a fragment, which no server receives")
    return url


class ConstraintSettings(Settings):
    """A rule or a scorer beside the reward model; what it adds to the reward is weighed and stated apart.

    Words and tokens count how many lie outside the band, a format counts a text that breaks it, personal data the pieces
    found, a function gives a number of its own, at least 0: times the weight, all of these are taken off the reward. The
    numbers of a remote scorer are rewards, of either sign: times the weight they are added to it.
    """

    name: Name = Field(description="what it is called in figures and reports, unique")
    kind: Literal["words", "tokens", "format", "personal_data", "function", "http"] = Field(
        description="what is looked at"
    )
    weight: float = Field(
        1.0, ge=0.0, le=1e6, description="what one unit counts (reward units); 0 only watches, and trains on nothing"
    )
    least: int | None = Field(None, ge=0, description="words, tokens: fewest that are right (count)")
    most: int | None = Field(None, ge=1, description="words, tokens: most that are right (count)")
    format: Literal["regex", "json", "punctuation"] | None = Field(
        None, description="format: a regular expression, JSON, or an end with a punctuation mark"
    )
    pattern: Annotated[str | None, AfterValidator(_pattern)] = Field(
        None,
        description="format regex: what must be found in the text, within 5 seconds; ^ and $ tie it to beginning and end",
    )
    find: list[PersonalKind] | None = Field(
        None, description="personal_data: which of email, phone, card, iban, ip; empty is all of them"
    )
    function: Annotated[str | None, AfterValidator(_function)] = Field(
        None,
        description="function: package.module:function of (prompt, completion), how far it is broken, 0 to 1,000,000; a run is "
        "known by the file that holds it, not by what that imports",
    )
    url: Annotated[str | None, AfterValidator(scorer_url)] = Field(
        None, description='http: gets {"query": [texts]}, answers {"rewards": [numbers]}'
    )
    reads: Literal["completion", "conversation"] | None = Field(
        None, description="http: texts are the completion alone, or the prompt with it (empty is that)"
    )
    seconds: float | None = Field(None, gt=0.0, le=3600.0, description="http: time for one try (seconds); empty is 10")
    attempts: int | None = Field(None, ge=1, le=20, description="http: tries before training stops (count); empty is 5")
    token_variable: Name | None = Field(
        None, description="http: variable of the environment that holds a bearer token; empty sends none"
    )

    @model_validator(mode="after")
    def _has_what_its_kind_needs(self) -> ConstraintSettings:
        own = _OPTIONS[self.kind]
        for option in dict.fromkeys(option for options in _OPTIONS.values() for option in options):
            if option not in own and getattr(self, option) is not None:
                raise ValueError(f"'{option}' means nothing to a constraint of kind '{self.kind}'")
        needed = {"format": self.format, "function": self.function, "http": self.url}
        if self.kind in needed and needed[self.kind] is None:
            raise ValueError(f"a constraint of kind '{self.kind}' needs '{own[0]}'")
        if self.kind in ("words", "tokens"):
            if self.least is None and self.most is None:
                raise ValueError("it needs 'least', 'most' or both")
            if self.least is not None and self.most is not None and self.least > self.most:
                raise ValueError(f"least {self.least} is more than most {self.most}")
        if (self.format == "regex") != (self.pattern is not None):
            raise ValueError("'pattern' belongs to the format 'regex', which needs it")
        return self
