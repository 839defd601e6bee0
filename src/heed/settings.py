"""What every class of settings shares: values that can be kept and computed with, and no unknown key. Ground floor."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from heed.texts import checked_name, text_fault

LARGEST_SEED = 2**31 - 1
"""Each stage multiplies the seed by its own numbers, and the products must fit the generators' 64 bits."""

LARGEST_COUNT = 10**12
"""No machine does as much of anything: a count beyond it is a slip of the finger."""

_LARGEST_NUMBER = 1e38  # float32, in which models compute, ends a little above
_COLDEST = 1e-4  # below, logits divided by the temperature leave what float32 tells apart

FUNCTION = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
"""How a function is named: package.module:function."""

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


def _no_colder_than_float32(temperature: float) -> float:
    if 0 < temperature < _COLDEST:
        raise ValueError(f"a temperature below {_COLDEST:g} leaves no probabilities to draw from")
    return temperature


Temperature = Annotated[float, AfterValidator(_no_colder_than_float32)]
Name = Annotated[str, AfterValidator(checked_name)]


class Settings(BaseModel):
    """Base of all settings: unknown keys are errors, values are validated on assignment."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _can_be_kept_and_computed_with(cls, value: Any) -> Any:
        for entry in value if isinstance(value, list) else [value]:
            if isinstance(entry, str) and (fault := text_fault(entry)):
                raise ValueError(fault)
            if isinstance(entry, int) and entry > LARGEST_COUNT:
                raise ValueError(f"it is beyond {LARGEST_COUNT:,}, more than any machine does")
            if isinstance(entry, float) and entry > _LARGEST_NUMBER:
                raise ValueError(f"it is beyond {_LARGEST_NUMBER:g}, where the numbers of a model end")
        return value
