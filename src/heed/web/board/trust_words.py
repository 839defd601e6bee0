"""How far to trust whom, in sentences for a lead who is no statistician."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from markupsafe import Markup

from heed.raters.agreement import Measured
from heed.raters.concerns import Concern
from heed.raters.copying import Alike
from heed.raters.groups import Parting
from heed.raters.reliability import FEWEST_ITEMS
from heed.raters.trust import Flag, RaterTrust
from heed.web.board import charts
from heed.web.board.words import Words

_BADGES = {
    "high": "good",
    "good": "good",
    "low": "warn",
    "chance": "bad",
    "against": "bad",
    "unsure": "",
    "unchecked": "",
}


class TrustWords:
    """Says how far to trust somebody. Templates have it as ``trust_words``."""

    def __init__(self, say: Words) -> None:
        self._say = say

    def _text(self, key: str, **values: object) -> str:
        return self._say.text(f"trust.{key}", **values)

    @staticmethod
    def right(reliability: float) -> str:
        """Of a hundred choices between two, how many are on the right side."""
        return f"{50 * (1 + reliability):.0f}"

    @staticmethod
    def badge(one: RaterTrust) -> str:
        """The class of the badge of a verdict."""
        return _BADGES[one.verdict]

    def sentence(self, one: RaterTrust, concerns: Sequence[Concern] = ()) -> str:
        """How far to trust them, and everything that this rests on."""
        found, checks = one.reliability, self._checks(one, concerns)
        if found.estimate is None or found.low is None or found.high is None:
            return self._text("sentence.unchecked", why=self.why(one.agreement, "agreement"), checks=checks)
        figures = {"right": self.right(found.estimate), "low": self.right(found.low), "high": self.right(found.high)}
        return self._text(f"sentence.{one.verdict}", **figures, rests=self._rests(one), checks=checks)

    @staticmethod
    def counts(one: RaterTrust, excluded: bool) -> str:
        """What an answer of theirs counts when something is learned."""
        return f"{0.0 if excluded else one.weight:.2f}"

    def weight(self, one: RaterTrust, excluded: bool) -> str:
        """The same in a sentence, with what it would be if they were not excluded."""
        if excluded:
            would = self.counts(one, excluded=False)
            return self._text("weight_excluded", weight=self.counts(one, excluded), would=would)
        return self._text("weight_told", weight=self.counts(one, excluded))

    def _rests(self, one: RaterTrust) -> str:
        """What the estimate rests on, and what the joint model would say, which it does not."""
        parts = []
        if one.gold.estimate is not None:
            parts.append(self._text("by_gold", n=self._say.number(one.gold.n)))
        if one.agreement.estimate is not None:
            parts.append(self._text("by_others", n=self._say.number(one.agreement.n)))
        told = self._text("and").join(parts)
        if one.usual is not None:
            told += self._text("by_usual", right=self.right(one.usual))
        if one.joint.estimate is not None:
            told += self._text("by_joint", right=self.right(one.joint.estimate))
        return told

    def _checks(self, one: RaterTrust, concerns: Sequence[Concern]) -> str:
        """What the checks came to, and whether the one for copying could be made at all."""
        found = list(dict.fromkeys(short for short, _ in self.reasons(one, concerns)))
        told = self._text("checks.found", names=self._text("between").join(found)) if found else ""
        if one.compared_for_copying:
            return told or self._text("checks.none")
        return (told or self._text("checks.others_none")) + self._text("checks.no_copying")

    def reasons(self, one: RaterTrust | None, concerns: Sequence[Concern]) -> list[tuple[str, str]]:
        """(short, sentence) of everything that speaks against somebody, on whatever page; flags, the least likely by chance
        first, before concerns."""
        flags = sorted(one.flags, key=lambda flag: flag.p) if one else []
        told = [(self._text(f"flag_short.{flag.kind}"), self.flag(flag)) for flag in flags]
        return told + [(self._say.text(f"concern_short.{one.concern}"), self._say.concern(one)) for one in concerns]

    def flag(self, flag: Flag) -> str:
        """A flag with its figures."""
        number = self._say.number
        if flag.kind == "drift":
            values = {"before": self.right(flag.expected), "after": self.right(flag.value), "day": _day(flag.since)}
        else:
            values = {"value": number(flag.value), "expected": number(flag.expected), "partner": flag.partner or ""}
        return self._text(f"flag.{flag.kind}", n=number(flag.n), **values)

    def alike(self, pair: Alike) -> str:
        """What two raters have in common."""
        number = self._say.number
        told = self._text("alike_told", same=number(pair.same), n=number(pair.items), expected=number(pair.expected))
        if pair.later is not None and pair.later >= 0.9:
            told += self._text("alike_later", second=pair.second, share=self._say.percent(pair.later))
        if pair.clashes is not None and pair.usual_clashes is not None:
            told += self._text("alike_clashes", n=number(pair.clashes), usual=number(pair.usual_clashes))
        return told

    def parting(self, found: Parting) -> str:
        """Whether the groups part, in a sentence."""
        if found.p is None:
            return self._text("parting.unknown")
        figures = {"inside": self._say.percent(found.inside.estimate or 0.0)}
        figures["across"] = self._say.percent(found.across.estimate or 0.0)
        return self._text("parting.yes" if found.parted else "parting.no", **figures)

    def why(self, found: Measured, name: str) -> str:
        """Why an estimate is missing."""
        if found.why in ("few", "set_aside", "two_raters"):
            return self._text(f"why.{found.why}", n=self._say.number(found.n), needed=FEWEST_ITEMS)
        return self._say.why(found, name)

    def estimate(self, found: Measured, name: str) -> str:
        """An estimate with its interval, as of a hundred choices; or why there is none."""
        if found.estimate is None:
            return self.why(found, name)
        if found.low is None or found.high is None:
            return self.right(found.estimate)
        return self._text(
            "estimate", right=self.right(found.estimate), low=self.right(found.low), high=self.right(found.high)
        )

    def picture(self, found: Measured, name: str) -> Markup:
        """An estimate as a mark with its interval, a line where guessing lies; the words beside it say the same."""
        told = f"{self._text('basis.' + name)}: {self.estimate(found, name)}"
        doubtful = found.high is not None and found.high < 0.25
        return charts.whisker(_as_share(found), 0.5, told, doubtful)


def _as_share(found: Measured) -> Measured:
    """A reliability, -1 to 1, as the share of right choices that it comes to, 0 to 1."""
    ends = {name: getattr(found, name) for name in ("estimate", "low", "high")}
    shares = {name: None if value is None else (1 + value) / 2 for name, value in ends.items()}
    return found.model_copy(update=shares)


def _day(seconds: float | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).date().isoformat()
