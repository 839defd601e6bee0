"""The one kind of error that heed raises on purpose: it says what is wrong, why, and how to mend it."""

from __future__ import annotations


class HeedError(Exception):
    """Something the user can mend.

    Args:
        what: what could not be done, with the offending value.
        why: the reason.
        fix: what to do about it; a command where there is one.
    """

    def __init__(self, what: str, why: str, fix: str) -> None:
        super().__init__(f"{what}: {why} {fix}")
        self.what, self.why, self.fix = what, why, fix


class ConfigError(HeedError):
    """heed.yaml or a setting is wrong."""


class DataError(HeedError):
    """Prompts, feedback or another data file cannot be used."""


class ModelError(HeedError):
    """A model or tokenizer cannot be used."""


class ProjectError(HeedError):
    """A project folder, its database or its lock is in the way."""


class UnreachableError(ProjectError):
    """The server of the database cannot be reached, or takes nobody in, at the moment: the same may go well in a while."""


class TrainingError(HeedError):
    """Training had to stop: a failed self-check, a loss that is not a number, no memory left."""


class ConflictError(HeedError):
    """Somebody was quicker: what is to be changed has changed, or what is to be taken is taken."""


class MissingError(HeedError):
    """There is no such thing, or not for whoever asks."""


class SignInError(HeedError):
    """Nobody is signed in, or what was given to sign in does not fit."""


class RefusedError(HeedError):
    """Whoever asks may not do this."""


class LimitError(HeedError):
    """Too often or too much."""
