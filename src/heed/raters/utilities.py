"""What completions are truly worth, for simulated raters: found by the name that stands in ``heed.yaml``."""

from __future__ import annotations

import importlib
import math
import sys
import traceback
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from heed.errors import ConfigError, DataError
from heed.feedback.kinds import PromptContent
from heed.memory import look_as_usual
from heed.texts import shown

_BUILT_IN = {"support_desk": "heed.sandbox.utility:support_desk", "vader": "heed.raters.utilities:vader"}


class Utility(Protocol):
    """What a completion is truly worth, in utility units; more is better.

    Optional attributes: ``parts(prompt, completion)`` gives the named parts of the sum, ``group_weights(group)`` the weights
    that a group of raters gives them, and ``span`` the utilities (bad, best) on which ratings, thumbs and "both bad" rest.
    """

    def __call__(self, prompt: PromptContent, completion: str, /) -> float:
        """Utility of ``completion`` as an answer to ``prompt``."""
        ...


@lru_cache(maxsize=1)
def _vader_analyzer() -> Any:
    try:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    except ImportError:
        raise ConfigError(
            "utility 'vader'", "the package vaderSentiment is not installed.", "Run: pip install vaderSentiment"
        ) from None
    return SentimentIntensityAnalyzer()


class Vader:
    """The compound sentiment of the completion by VADER (Hutto and Gilbert 2014), from -1 to 1; the prompt is not read."""

    span = (-1.0, 1.0)

    def __call__(self, prompt: PromptContent, completion: str) -> float:
        """Compound score of ``completion``.

        Raises:
            ConfigError: the package vaderSentiment is missing.
        """
        return float(_vader_analyzer().polarity_scores(completion)["compound"])


vader = Vader()


class CheckedUtility:
    """A user's function as a utility: every value is checked to be a finite number.

    ``parts``, ``group_weights`` and ``span`` of the function are passed on where it has them.
    """

    def __init__(self, name: str, function: Callable[[PromptContent, str], float], role: str = "utility") -> None:
        self.name, self._function, self._role = name, function, role
        for optional in ("parts", "group_weights", "span"):
            if hasattr(function, optional):
                setattr(self, optional, getattr(function, optional))

    def __call__(self, prompt: PromptContent, completion: str) -> float:
        """The function's value.

        Raises:
            DataError: it is not a finite number, or the function failed.
        """
        try:
            value = self._function(prompt, completion)
        except Exception as error:  # somebody else's code may raise anything
            raise DataError(
                f"{self._role} '{self.name}' failed for the completion {completion[:60]!r}",
                f"{_told(error)}.",
                "Correct the function: it takes a prompt and a completion, and gives a number.",
            ) from error
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise DataError(
                f"{self._role} '{self.name}' gave {shown(value)} for the completion {completion[:60]!r}",
                f"a {self._role} is a finite number.",
                "Correct the function.",
            )
        return number


def utility_by_name(name: str, role: str = "utility") -> Utility:
    """The utility (or what errors call it: ``role``) that ``heed.yaml`` names: "support_desk", "vader", or "package.module:function".

    A module in the current folder is found too.

    Raises:
        ConfigError: there is no such utility, it cannot be imported or called, or a package for it is missing.
    """
    if name == "vader":
        _vader_analyzer()
    target = _BUILT_IN.get(name, name)
    module_name, separator, attribute = target.partition(":")
    if not (separator and attribute and all(part.isidentifier() for part in module_name.split("."))):
        raise ConfigError(
            f"{role} '{name}'",
            "it is neither built in nor of the form package.module:function.",
            f"Use one of {list(_BUILT_IN)}, or for example 'my_utility:score'.",
        )
    function = getattr(_import(module_name, name, role), attribute, None)
    if not callable(function):
        raise ConfigError(
            f"{role} '{name}'", f"'{module_name}' has no function '{attribute}'.", "Correct the name after the colon."
        )
    return function if name in _BUILT_IN else CheckedUtility(name, function, role)


def _told(error: Exception) -> str:
    """An error of somebody else's code, with the place where it was raised."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({last.filename}, line {last.lineno})"


def _import(module_name: str, utility: str, role: str) -> Any:
    if utility not in _BUILT_IN:
        look_as_usual()
    here = str(Path.cwd())
    added = here not in sys.path
    if added:
        sys.path.append(here)
    try:
        return importlib.import_module(module_name)
    except Exception as error:  # a module runs when it is imported, and may raise anything
        raise ConfigError(
            f"{role} '{utility}'",
            f"'{module_name}' cannot be imported: {_told(error)}.",
            "Correct the name before the colon, or the module.",
        ) from error
    finally:
        if added:
            sys.path.remove(here)
