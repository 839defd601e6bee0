"""Which column of a table is which: what it may be called, what was taken, and what is said of it.

The same names serve answers (item, rater, label) and comparisons (left, right, winner). Case, blanks, hyphens and an "id"
behind the name of a thing or a person make no difference: ``Worker ID``, ``worker_id`` and ``workerid`` are ``worker``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from heed.errors import ConfigError, DataError
from heed.texts import counted, cut, shown

NAMES: dict[str, tuple[str, ...]] = {
    "item": (
        *("item", "task", "unit", "example", "instance", "sample", "object", "subject", "document", "doc", "pair"),
        *("hit", "question", "id"),
    ),
    "rater": (
        *("rater", "worker", "annotator", "labeler", "labeller", "coder", "judge", "observer", "performer", "assessor"),
        *("reviewer", "evaluator", "grader", "participant", "respondent", "user", "person"),
    ),
    "label": (
        *("label", "answer", "response", "vote", "judgment", "judgement", "annotation", "class", "category", "rating"),
        *("value", "choice", "score", "verdict", "decision"),
    ),
    "question": ("question", "field"),
    "group": ("group", "rater_group"),
    "time": ("time", "created", "timestamp", "date"),
    "winner": (
        *("winner", "outcome", "choice", "label", "preference", "preferred", "result", "answer", "vote"),
        *("judgment", "judgement", "verdict", "decision"),
    ),
    "strength": ("strength",),
    "gold": ("gold",),
}
"""What a column may be called, the first name that is there. Each column has one part."""

KNOWN_ANSWERS = ("gold", "truth")
"""What the label may also be called, before all other names, in a file of known labels. Beside raters' answers it is none."""

_THINGS = ("model", "item", "system", "candidate", "option")

SIDES: tuple[tuple[str, str], ...] = (
    ("left", "right"),
    *((f"{thing}_a", f"{thing}_b") for thing in _THINGS),
    *((f"{thing}_1", f"{thing}_2") for thing in _THINGS),
    ("a", "b"),
    ("first", "second"),
)
"""What the columns of the two things that are compared may be called: both by names of one pair."""

PAIR_WORDS = (("left", "right"), ("a", "b"), ("1", "2"), ("first", "second"))
"""Words for the two sides, which names of columns bear as well."""

ONE_HOT = {"won_left": "winner", "won_right": "winner", "won_neither": "winner"}
"""Columns of 0 and 1 in place of ``winner``: whether the left one won, the right one, or neither."""

PLATFORMS = ("INPUT:", "OUTPUT:", "ASSIGNMENT:", "Input.", "Answer.")
"""What Toloka and Mechanical Turk write before the names that somebody gave to what is shown and to what is answered."""

_OF_PART = {"item": ("input:", "input."), "rater": ("assignment:",), "label": ("output:", "answer.")}
_OF_PART["winner"] = _OF_PART["label"]
"""Which of these a part stands behind."""

_WITH_ID = ("item", "rater", "question", "group")
"""Parts whose column may also have "id" behind its name. An ``answer_id`` is no answer."""

_NAMES_SHOWN = 12
_NAME_WIDTH = 60
_SUFFIX = re.compile(r"(?<=.)_?id$")


@dataclass(frozen=True)
class Columns:
    """Where the parts of a table stand.

    Attributes:
        places: of each part that is there, from 0.
        header: the cells of the first line; empty where they name nothing and are a row.
        rivals: parts that another column could be as well, with the names of those.
        behind: what stands before the names of the columns that were known by what follows it, of ``PLATFORMS``.
    """

    places: Mapping[str, int]
    header: tuple[str, ...]
    rivals: Mapping[str, tuple[str, ...]]
    behind: tuple[str, ...] = ()

    def name(self, part: str) -> str:
        """What the column of a part is called, or which it is where no line names columns."""
        place = self.places[part]
        return self.header[place].strip() if self.header else f"column {place + 1}"

    @property
    def unread(self) -> tuple[str, ...]:
        """Names of the columns that are no part."""
        taken = set(self.places.values())
        return tuple(name.strip() for place, name in enumerate(self.header) if place not in taken)

    def told(self) -> str:
        """Which column was read as what, and which were not, a sentence."""
        if not self.header:
            parts = ", ".join(f"{part} from {self.name(part)}" for part in self.places)
            return f"read {parts}; the first line names no columns."
        parts = ", ".join(f"{part.replace('_', ' ')} from {quoted(self.name(part))}" for part in self.places)
        if self.behind:
            parts += f" (looked through {_and(self.behind)} before the names)"
        others = self.unread
        if not others:
            return f"read {parts}."
        names = ", ".join(quoted(name) for name in others[:_NAMES_SHOWN])
        more = f" and {len(others) - _NAMES_SHOWN:,} more" if len(others) > _NAMES_SHOWN else ""
        return f"read {parts}; {len(others):,} other column{'s' * (len(others) > 1)} not read: {names}{more}."

    def doubts(self) -> list[str]:
        """Parts that another column could be as well, a sentence each."""
        return [
            f"{part} was read from {quoted(self.name(part))}; if it stands in {' or '.join(map(quoted, names))}: "
            f"--column {part}={names[0]}"
            for part, names in self.rivals.items()
        ]


def find_columns(
    path: Path,
    cells: Sequence[str],
    parts: Sequence[str],
    optional: Sequence[str] = (),
    named: Mapping[str, str] | None = None,
    *,
    strict: bool = True,
) -> Columns:
    """Where the parts stand in a table whose first line is ``cells``; the parts alone, in their order, where it names none.

    Args:
        path: of the table.
        cells: its first line.
        parts: what it must have. Instead of "winner" it may have the columns of ``ONE_HOT``.
        optional: what it may have.
        named: what somebody said that the column of a part is called.
        strict: whether it must be there and be a part; else it is passed over where it is not.

    Raises:
        DataError: the line names some of the parts only, or names none and has more or fewer columns; or what was said is
            not there.
        ConfigError: a column was named for a part that this table has not.
    """
    names = [plain_name(cell) for cell in cells]
    named = {part: name for part, name in (named or {}).items() if strict or _is_there(part, name, parts, names)}
    found = named_places(path, cells, (*parts, *optional), named)
    if "left" in parts:
        _add(found, _sides(names, found))
    if "label" in parts and "rater" not in parts and (known := _known_answers(names, found.values())):
        _add(found, {"label": known[0]})
    for part in (*parts, *optional):
        if part in NAMES:
            take(part, names, found)
    behind = _look_through(names, (*parts, *optional), found)
    wanted = list(parts)
    if "winner" in parts and "winner" not in found and (hot := _one_hot(names, cells, found)):
        _add(found, hot)
        wanted.remove("winner")
    missing = [part for part in wanted if part not in found]
    if not missing:
        ordered = {part: found[part] for part in (*parts, *ONE_HOT, *optional) if part in found}
        return Columns(ordered, tuple(cells), _rivals(names, cells, ordered, named), behind)
    other = _is_of_comparisons(names, cells, parts)
    # No line of names has one twice: "A,B,A" says that A won. Nor does a row begin with nothing.
    unnamed = len(missing) == len(wanted) or len(set(names)) < len(names)
    if len(cells) == len(parts) and names[0] and unnamed and not other:
        return Columns({part: place for place, part in enumerate(parts)}, (), {})
    raise _of_comparisons(path, cells, missing) if other else _lacking(path, cells, parts, missing)


def _known_answers(names: Sequence[str], taken: Collection[int] = ()) -> list[int]:
    """Places of columns that are called as known labels are."""
    places = [names.index(word) for word in KNOWN_ANSWERS if word in names]
    return [place for place in places if place not in taken]


def plain_name(cell: str) -> str:
    """The name of a column without what makes no difference."""
    return re.sub(r"[\s\-]+", "_", cell.strip().lower())


def accepted(part: str) -> str:
    """The names that a column may have for a part, for people."""
    if part in ("left", "right"):
        return ", ".join(pair[part == "right"] for pair in SIDES)
    return ", ".join(NAMES[part])


def accepted_in_short(part: str, most: int = 4) -> str:
    """Some of them, in a help text."""
    names = accepted(part).split(", ")
    return f"{part} (or {', '.join(names[1:most])}{' ...' if len(names) > most else ''})"


def named_places(path: Path, cells: Sequence[str], parts: Sequence[str], named: Mapping[str, str]) -> dict[str, int]:
    """Places of the columns that somebody named, as they are written or but for what makes no difference."""
    found: dict[str, int] = {}
    exact, plain = [cell.strip() for cell in cells], [plain_name(cell) for cell in cells]
    for part, name in named.items():
        if part not in parts:
            raise ConfigError(f"--column {part}={name}", f"there is no part {part}.", f"Parts are {', '.join(parts)}.")
        if name.strip() in exact:
            found[part] = exact.index(name.strip())
        elif plain_name(name) in plain:
            found[part] = plain.index(plain_name(name))
        else:
            near = difflib.get_close_matches(name, exact, n=1)
            nearest = f" Did you mean {shown(near[0])}?" if near else ""
            raise DataError(
                f"{path} has no column {shown(name)}",
                f"its first line has {listed(cells)}.{nearest}",
                "Name one of them.",
            )
    return found


def _is_there(part: str, name: str, parts: Sequence[str], names: Sequence[str]) -> bool:
    return part in parts and plain_name(name) in names


def candidates(part: str, names: Sequence[str], taken: Collection[int] = ()) -> list[int]:
    """Places of columns that are called as a part may be, in the order of its names."""
    bare = [_SUFFIX.sub("", name) for name in names] if part in _WITH_ID else names
    places = [(names if word in names else bare).index(word) for word in NAMES[part] if word in names or word in bare]
    return [place for place in places if place not in taken]


def take(part: str, names: Sequence[str], found: dict[str, int]) -> None:
    """Put the place of a part into ``found``, where a column that is no other part is called so."""
    if part not in found:
        places = candidates(part, names, found.values())
        if places:
            found[part] = places[0]


def _add(found: dict[str, int], more: Mapping[str, int]) -> None:
    for part, place in more.items():
        found.setdefault(part, place)


def _sides(names: Sequence[str], found: Mapping[str, int]) -> dict[str, int]:
    """Places of the two things that are compared, by the first pair of names that is there."""
    for left, right in SIDES:
        if left in names and right in names and not {names.index(left), names.index(right)} & set(found.values()):
            return {"left": names.index(left), "right": names.index(right)}
    return {}


def _look_through(names: Sequence[str], parts: Sequence[str], found: dict[str, int]) -> tuple[str, ...]:
    """Put the places of parts into ``found`` whose names stand behind what a platform writes before them; which that is.

    A part is taken where one column alone can be it: the only one behind what stands before this part, the only one that is
    called so there, or of an item the one that is called so elsewhere.
    """
    prefixes = [next((known for known in PLATFORMS if name.startswith(known.lower())), "") for name in names]
    bare = [name[len(prefix) :] if prefix else "" for name, prefix in zip(names, prefixes, strict=True)]
    before = set(found.values())
    if "left" in parts:
        _add(found, _sides(bare, found))
    for part in (part for part in parts if part in _OF_PART and part not in found):
        own = [place for place, prefix in enumerate(prefixes) if prefix and prefix.lower() in _OF_PART[part]]
        own = [place for place in own if place not in found.values()]
        called = set(candidates(part, bare, found.values()))
        # A rater is never the only thing that is said of an assignment: without the name it may be its link. What is called
        # an answer, or a person, among what is shown is none of what was said, nor who said it.
        ways = [sorted(called & set(own))] if part == "rater" else [own, sorted(called & set(own))]
        if part == "item":
            ways.insert(1, sorted(called - set(own)))
        alone = next((places for places in ways if len(places) == 1), None)
        if alone is not None:
            found[part] = alone[0]
    taken = set(found.values()) - before
    return tuple(prefix for prefix in PLATFORMS if any(prefixes[place] == prefix for place in taken))


def _is_of_comparisons(names: Sequence[str], cells: Sequence[str], parts: Sequence[str]) -> bool:
    """Whether a table that should hold labels has two things in a row and who won."""
    sides = {} if "left" in parts else _sides(names, {})
    return bool(sides) and bool(candidates("winner", names, sides.values()) or _one_hot(names, cells, sides))


def turned_pairs(left: str, right: str) -> list[tuple[str, str]]:
    """The words for sides whose second the name of the left column bears, or whose first that of the right."""
    marks = [_mark(name) for name in (left, right)]
    if left[:-1] == right[:-1]:
        marks = [left[-1], right[-1]]  # modelA, modelB
    if marks[0] == marks[1]:
        return []
    return [pair for pair in PAIR_WORDS if marks[0] == pair[1] or marks[1] == pair[0]]


def _mark(name: str) -> str:
    """The word for a side that a name of a column ends in, or begins with; or nothing."""
    words = name.split("_")
    sides = [word for pair in PAIR_WORDS for word in pair]
    numbered = re.fullmatch(r"[a-z]+([12])", words[-1])
    return numbered[1] if numbered else next((word for word in (words[-1], words[0]) if word in sides), "")


def _one_hot(names: Sequence[str], cells: Sequence[str], found: Mapping[str, int]) -> dict[str, int]:
    """Places of the columns that say of each side whether it won."""
    if "left" not in found or "right" not in found:
        return {}
    sides = (plain_name(cells[found["left"]]), plain_name(cells[found["right"]]))
    turned = turned_pairs(*sides)
    others = SIDES
    if turned:
        others = tuple(pair[::-1] for pair in SIDES if turned_pairs(*pair[::-1]) == turned)
    for left, right in (sides, *others):
        if f"winner_{left}" in names and f"winner_{right}" in names:
            hot = {"won_left": names.index(f"winner_{left}"), "won_right": names.index(f"winner_{right}")}
            tie = next((names.index(name) for name in ("winner_tie", "tie") if name in names), None)
            return hot if tie is None else {**hot, "won_neither": tie}
    return {}


def _rivals(
    names: Sequence[str], cells: Sequence[str], places: Mapping[str, int], named: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    """Parts that another column could be as well."""
    found = {}
    for part in ("rater", "label", "winner"):
        if part in places and part not in named:
            others = candidates(part, names, set(places.values()))
            others = [place for place in others if names[place] != names[places[part]]]
            if others:
                found[part] = tuple(cells[place].strip() for place in others)
    return found


def _lacking(path: Path, cells: Sequence[str], parts: Sequence[str], missing: Sequence[str]) -> DataError:
    """Why a first line does not say what is needed."""
    if len(missing) < len(parts):
        why = f"it names no column for {' and '.join(missing)}; it has {listed(cells)}."
    else:
        has = f": {listed(cells)}" if cells else ""
        why = f"its first line has {counted(len(cells), 'column')} and names none of {', '.join(parts)}{has}."
    ways = [f"Say which it is: {' '.join(f'--column {part}=NAME' for part in missing)}. Or rename the column."]
    known = _known_answers([plain_name(cell) for cell in cells])
    if known and "label" in missing and "rater" in parts:
        name = cells[known[0]].strip()
        ways.append(f"{quoted(name)} is taken for known labels; if raters gave them: --column label={name}.")
    if "rater" in parts and list(missing) != ["label"]:
        ways.append("Is it one column for each rater: --wide all, or --wide NAME,NAME.")
    return DataError(f"{path}", why, " ".join([*ways, *(f"For {part}: {accepted(part)}." for part in missing)]))


def _of_comparisons(path: Path, cells: Sequence[str], missing: Sequence[str]) -> DataError:
    """That a table of comparisons stands where one of labels was wanted."""
    return DataError(
        f"{path}",
        f"it names no column for {_and(missing)}; with {listed(cells)} it looks like comparisons of two things.",
        "Put the things in order: heed rank FILE. If it holds labels, say which columns: "
        f"{' '.join(f'--column {part}=NAME' for part in missing)}.",
    )


def listed(cells: Sequence[str]) -> str:
    """The first of many names of columns, for people."""
    more = f" and {len(cells) - _NAMES_SHOWN:,} more" if len(cells) > _NAMES_SHOWN else ""
    return f"{', '.join(shown(cut(cell.strip(), _NAME_WIDTH)) for cell in cells[:_NAMES_SHOWN])}{more}"


def _and(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def quoted(name: str) -> str:
    """A name of a column, for people."""
    return f"'{cut(name, _NAME_WIDTH)}'"
