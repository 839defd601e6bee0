"""What a form can ask for: one file for each kind of field."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from heed.feedback.fields.comparison import ComparisonField
from heed.feedback.fields.critique import CritiqueField
from heed.feedback.fields.ranking import RankingField
from heed.feedback.fields.rating import Attribute, RatingField
from heed.feedback.fields.thumb import ThumbField
from heed.feedback.fields.written import DemonstrationField, EditField

__all__ = [
    "AnyField",
    "Attribute",
    "ComparisonField",
    "CritiqueField",
    "DemonstrationField",
    "EditField",
    "RankingField",
    "RatingField",
    "ThumbField",
]

AnyField = Annotated[
    ComparisonField | RatingField | RankingField | ThumbField | EditField | DemonstrationField | CritiqueField,
    Field(discriminator="kind"),
]
