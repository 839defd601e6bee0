"""The keys of the studio: which actions have one, and what a person may set them to. WCAG 2.1.4: each can be moved or removed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from heed.errors import DataError
from heed.texts import shown

DEFAULT_KEYS: dict[str, str] = {
    "left": "1",
    "right": "2",
    "tie": "3",
    "both_bad": "4",
    "slightly": "q",
    "clearly": "w",
    "much": "e",
    "submit": "Enter",
    "skip": "s",
    "flag": "f",
    "undo": "u",
    "up": "y",
    "down": "n",
    "write": "i",
    "next_part": "j",
    "previous_part": "k",
    "help": "?",
}
"""Action to key, as ``KeyboardEvent.key`` names it; an empty key is none."""

_NAMED = ("Enter", "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown")


def checked_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """What a person sets: ``{"enabled": bool, "keys": {action: key}}``, either may be missing.

    Raises:
        DataError: an unknown action or setting, what is no single key, or one key for two actions.
    """
    unknown = [name for name in values if name not in ("enabled", "keys")]
    if unknown:
        raise _wrong(f"the setting {shown(unknown[0])}", "there is no such setting.")
    enabled, keys = values.get("enabled", True), values.get("keys", {})
    if not isinstance(enabled, bool):
        raise _wrong("enabled", "it is neither true nor false.")
    if not isinstance(keys, Mapping):
        raise _wrong("keys", "it is no object of actions and keys.")
    kept: dict[str, str] = {}
    for action, key in keys.items():
        if action not in DEFAULT_KEYS:
            raise _wrong(f"the action {shown(action)}", "there is no such action.")
        if not isinstance(key, str) or not _is_key(key):
            raise _wrong(f"the key {shown(key)} for '{action}'", "it is no single key that can be typed.")
        kept[action] = key.lower() if len(key) == 1 else key
    used: dict[str, str] = {}
    for action, key in (DEFAULT_KEYS | kept).items():
        if key and (other := used.setdefault(key, action)) != action:
            raise _wrong(f"the key {shown(key)}", f"it is set for '{other}' and for '{action}'.")
    return {"enabled": enabled, "keys": kept}


def keys_of(stored: Mapping[str, Any]) -> dict[str, str]:
    """Every action with the key that holds for a person whose settings are ``stored``; empty keys where all are off."""
    if not stored.get("enabled", True):
        return dict.fromkeys(DEFAULT_KEYS, "")
    return DEFAULT_KEYS | {action: key for action, key in stored.get("keys", {}).items() if action in DEFAULT_KEYS}


def _is_key(key: str) -> bool:
    return (
        key == ""
        or key in _NAMED
        or (len(key) == 1 and key.isprintable() and not key.isspace() and key not in "<>&\"'")
    )


def _wrong(what: str, why: str) -> DataError:
    return DataError(what, why, "Set a letter, a digit or a sign, each for one action only.")
