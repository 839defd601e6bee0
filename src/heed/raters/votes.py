"""Votes: what one rater said of one item, in columns of codes with the names that stand behind them."""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from heed.errors import DataError
from heed.lazily import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Codes: TypeAlias = "NDArray[np.intp]"
Mask: TypeAlias = "NDArray[np.bool_]"


@dataclass(frozen=True)
class Votes:
    """What raters said of items, one vote a place: columns of codes [votes], and the names that stand behind them.

    Nothing forbids that a rater votes on one item several times; methods that cannot do with it say so.
    """

    item: Codes
    rater: Codes
    label: Codes
    items: Sequence[str]
    raters: Sequence[str]
    labels: Sequence[str]

    @classmethod
    def of(cls, items: Sequence[Hashable], raters: Sequence[Hashable], labels: Sequence[Hashable]) -> Votes:
        """Votes from columns of anything that can be told apart; labels in the order of their numbers, else of their names.

        Raises:
            DataError: the columns differ in length.
        """
        if not len(items) == len(raters) == len(labels):
            raise DataError(
                f"{len(items)} items, {len(raters)} raters and {len(labels)} labels",
                "each vote needs one of each.",
                "Pass columns of equal length.",
            )
        item, item_names = coded_names(map(str, items))
        rater, rater_names = coded_names(map(str, raters))
        label, label_names = coded_names(map(str, labels))
        return cls(item, rater, label, item_names, rater_names, label_names).sorted_labels()

    @property
    def size(self) -> int:
        """Votes (count)."""
        return self.item.size

    @property
    def shape(self) -> tuple[int, int, int]:
        """Items, raters and labels (counts)."""
        return len(self.items), len(self.raters), len(self.labels)

    def where(self, chosen: Mask | Codes) -> Votes:
        """The votes that are ``chosen``, under the same names."""
        columns = (self.item[chosen], self.rater[chosen], self.label[chosen])
        return Votes(*columns, self.items, self.raters, self.labels)

    def used(self) -> Votes:
        """The same votes without items, raters and labels that none of them has."""
        columns = [
            _used(codes, names)
            for codes, names in ((self.item, self.items), (self.rater, self.raters), (self.label, self.labels))
        ]
        (item, items), (rater, raters), (label, labels) = columns
        return Votes(item, rater, label, items, raters, labels)

    def sorted_labels(self) -> Votes:
        """The same votes with labels in the order of their numbers, or of their names where one is no number."""
        order = sorted(range(len(self.labels)), key=_label_order(self.labels))
        places = np.empty(len(order), np.intp)
        places[order] = np.arange(len(order))
        label = places[self.label] if self.size else self.label
        return Votes(self.item, self.rater, label, self.items, self.raters, [self.labels[place] for place in order])

    def with_gold(self, gold: Mapping[str, str]) -> tuple[Votes, Codes, int]:
        """These votes beside known labels.

        Returns:
            The votes, with labels that only ``gold`` has added; the known label of each item [items], -1 where there is
            none; and how many of ``gold`` are of items that nobody voted on.
        """
        places = {name: place for place, name in enumerate(self.items)}
        here = {item: label for item, label in gold.items() if item in places}
        new = [label for label in dict.fromkeys(here.values()) if label not in self.labels]
        widened = Votes(self.item, self.rater, self.label, self.items, self.raters, [*self.labels, *new])
        votes = widened.sorted_labels()
        code = {name: place for place, name in enumerate(votes.labels)}
        known = np.full(len(self.items), -1, np.intp)
        for item, label in here.items():
            known[places[item]] = code[label]
        return votes, known, len(gold) - len(here)


def coded_names(names: Iterable[str]) -> tuple[Codes, list[str]]:
    """Numbers from 0 for names, in the order in which they first come, and the names."""
    known: dict[str, int] = {}
    codes = np.array(array("q", (known.setdefault(name, len(known)) for name in names)), dtype=np.intp)
    return codes, list(known)


def _used(codes: Codes, names: Sequence[str]) -> tuple[Codes, list[str]]:
    there = np.bincount(codes, minlength=len(names)) > 0
    return (np.cumsum(there) - 1)[codes], [name for name, kept in zip(names, there.tolist(), strict=True) if kept]


def _label_order(labels: Sequence[str]) -> Any:
    try:
        numbers = [float(label) for label in labels]
    except ValueError:
        return labels.__getitem__
    return numbers.__getitem__ if all(number == number for number in numbers) else labels.__getitem__
