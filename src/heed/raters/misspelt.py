"""Names that may be one and the same, written differently: told, never changed.

Names are alike that differ by case, blanks, hyphens or the form of a character alone, or that are the same number (ids: the same
whole one, as 01, 1 and 1.0 are); and a rare name one slip of the keyboard away from a frequent one. What differs by a digit is
another name: ids are numbered.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from contextlib import suppress

from heed.lazily import np
from heed.raters.votes import Codes, Votes
from heed.texts import counted, cut

_MOST_NAMES = 20_000
"""Above so many different names they are numbers or texts, and no two are compared."""

_LONGEST = 60
_MOST_TOLD = 5
_NAME_WIDTH = 40

_TURNED, _CHANGED = 3, 8
"""How much more often the frequent name must come than one with two letters turned around, or with another slip."""

_RARE, _RARE_SHARE = 3, 0.01
"""A slip comes so often at most, or that share of all answers."""

_SHORTEST_TURNED, _SHORTEST_CHANGED = 3, 4
_MOST_SLIPS, _FEW_SLIPS, _MANY_SLIPS = 0.1, 3, 50
"""Share of all names, and the least and the most of them: where more are one slip apart, they are made so as ``aab`` and ``aba``
are."""

_INVISIBLE = re.compile("[\u200b-\u200f\u2060\ufeff\u00ad]")
_BETWEEN_LETTERS = re.compile(r"(?<=[^\W\d_])[_\-\u2010-\u2015]+(?=[^\W\d_])")
_WHOLE = re.compile(r"0*(\d+)(?:\.0+)?")
_BLANKS = re.compile(r"(?<!\d)\s+|\s+(?!\d)")


def labels_alike(votes: Votes) -> list[str]:
    """Labels that may be the same, a sentence for each."""
    counts = np.bincount(votes.label, minlength=len(votes.labels)).tolist()
    return alike_told("label", votes.labels, counts, "answer", slips=True, numbers=True)


def raters_alike(votes: Votes) -> list[str]:
    """Raters who may be the same, a sentence for each. Two who both answered one item are hardly one who slipped."""
    counts = np.bincount(votes.rater, minlength=len(votes.raters)).tolist()
    return alike_told("rater", votes.raters, counts, "answer", slips=True, apart=_met(votes.item, votes.rater))


def items_alike(votes: Votes) -> list[str]:
    """Items that may be the same, a sentence for each. Ids of one length are made to differ, be it by the case of a letter."""
    counts = np.bincount(votes.item, minlength=len(votes.items)).tolist()
    return alike_told("item", votes.items, counts, "answer", slips=False, ids=True)


def _met(item: Codes, rater: Codes) -> Callable[[int, int], bool]:
    def both_answered(one: int, other: int) -> bool:
        return bool(np.intersect1d(item[rater == one], item[rater == other]).size)

    return both_answered


def trimmed_told(part: str, cells: Sequence[tuple[str, str]]) -> list[str]:
    """That names were read without the blanks around them; ``cells`` are names and how they were also written."""
    if not cells:
        return []
    some = ", ".join(f"{_quoted(cell)} as {_quoted(name)}" for name, cell in cells[:_MOST_TOLD])
    more = f" and {len(cells) - _MOST_TOLD:,} more" if len(cells) > _MOST_TOLD else ""
    return [f"blanks around a {part} do not count: {some}{more}."]


def alike_told(
    part: str,
    names: Sequence[str],
    counts: Sequence[int],
    thing: str,
    *,
    slips: bool,
    numbers: bool = False,
    ids: bool = False,
    apart: Callable[[int, int], bool] = lambda one, other: False,
) -> list[str]:
    """Names that may be one and the same, a sentence for each group of them.

    Args:
        part: what they are names of.
        names: all of them.
        counts: how often each comes.
        thing: what is counted.
        slips: whether one slip of the keyboard is looked for as well.
        numbers: whether they are numbers, and not only ids: 0.5 is 0.50 then.
        ids: whether those of one length surely differ.
        apart: whether two, by their places, surely are not one who slipped.
    """
    if len(names) > _MOST_NAMES:
        return []
    groups = [group for group in _same(names, numbers) if len({len(names[k]) if ids else k for k in group}) > 1]
    told = [_told(part, group, names, counts, thing, "they differ only in how they are written") for group in groups]
    if slips:
        found = _slips(names, counts)
        if len(found) <= max(_FEW_SLIPS, min(_MANY_SLIPS, _MOST_SLIPS * len(names))):
            pairs = [pair for pair in found if not apart(*pair)]
            told += [_told(part, pair, names, counts, thing, "they are one slip of a letter apart") for pair in pairs]
    if len(told) > _MOST_TOLD:
        told[_MOST_TOLD:] = [f"{len(told) - _MOST_TOLD:,} more groups of {part}s may be the same in this way."]
    if told:
        told.append(
            f"They count as different {part}s. Those that are the same: write them alike in the file, and run this again."
        )
    return told


def folded(name: str) -> str:
    """``name`` without what people seldom mean to tell names apart by."""
    plain = _INVISIBLE.sub("", unicodedata.normalize("NFKC", name)).casefold()
    return _BETWEEN_LETTERS.sub("", _BLANKS.sub("", plain))


def _same(names: Sequence[str], numbers: bool) -> list[list[int]]:
    """Places of names that are the same but for how they are written."""
    groups: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        key = folded(name)
        if whole := _WHOLE.fullmatch(key):
            key = whole[1]
        if numbers:
            with suppress(ValueError):
                key = repr(float(key))
        groups.setdefault(key, []).append(place)
    return list(groups.values())


def _told(part: str, group: Sequence[int], names: Sequence[str], counts: Sequence[int], thing: str, why: str) -> str:
    ordered = sorted(group, key=lambda place: -counts[place])
    said = [f"{_quoted(names[place])} ({counted(counts[place], thing)})" for place in ordered[:_MOST_TOLD]]
    rest = f" and {len(ordered) - _MOST_TOLD:,} more" if len(ordered) > _MOST_TOLD else ""
    listed = f"{', '.join(said)}{rest}" if rest else f"{', '.join(said[:-1])} and {said[-1]}"
    return f"{part}s {listed} may be the same: {why}."


def _slips(names: Sequence[str], counts: Sequence[int]) -> list[tuple[int, int]]:
    """Places of rare names each with that of the most frequent one that it is one slip of letters away from."""
    plain = [folded(name) for name in names]
    near: dict[str, list[int]] = {}
    for place, name in enumerate(plain):
        if _SHORTEST_TURNED <= len(name) <= _LONGEST:
            for key in _without_a_letter(name):
                near.setdefault(key, []).append(place)
    found: dict[int, int] = {}
    most = max(_RARE, _RARE_SHARE * sum(counts))
    for group in near.values():
        for rare in (place for place in group if counts[place] <= most):
            for often in group:
                least = counts[rare] * _least(plain[rare], plain[often])
                if least and counts[often] >= least and counts[often] > counts[found.get(rare, rare)]:
                    found[rare] = often
    return [(rare, often) for rare, often in found.items() if often not in found]


def _without_a_letter(name: str) -> set[str]:
    """``name``, and it with each of its letters left out."""
    return {name, *(name[:k] + name[k + 1 :] for k, letter in enumerate(name) if _is_letter(letter))}


def _least(rare: str, often: str) -> int:
    """How much more often a name must come than another to be what is meant by it; 0 where it is not one slip away."""
    if rare == often or abs(len(rare) - len(often)) > 1:
        return 0
    begin = next((k for k, (a, b) in enumerate(zip(rare, often, strict=False)) if a != b), min(len(rare), len(often)))
    if len(rare) == len(often):
        if rare[begin : begin + 2] == often[begin : begin + 2][::-1] and rare[begin + 2 :] == often[begin + 2 :]:
            turned = all(map(_is_letter, rare[begin : begin + 2])) and len(rare) >= _SHORTEST_TURNED
            return _TURNED if turned else 0
        # A last letter may be a number in another guise: workera, workerb.
        changed = rare[begin + 1 :] == often[begin + 1 :] and 0 < begin < len(rare) - 1
        letters = _is_letter(rare[begin]) and _is_letter(often[begin])
    else:
        short, long = sorted((rare, often), key=len)
        changed = begin > 0 and short[begin:] == long[begin + 1 :]
        letters = _is_letter(long[begin])
    return _CHANGED if changed and letters and max(len(rare), len(often)) >= _SHORTEST_CHANGED else 0


def _is_letter(character: str) -> bool:
    """Whether it is one of an alphabet with capitals: where a character is a word, as in Chinese, another is no slip."""
    return character.upper() != character


def _quoted(name: str) -> str:
    return f"'{cut(name, _NAME_WIDTH)}'"
