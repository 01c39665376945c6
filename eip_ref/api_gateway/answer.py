"""The composed answer: what there is, whether that is all, and for each field that is missing, why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import NeedFailed, told

__all__ = ["Answer", "FieldError"]


@dataclass(frozen=True, slots=True)
class FieldError:
    """Why a field is missing: a code for programs, never the words of an exception."""

    code: str
    because: str | None = None  #: the field without which this one could not be asked for

    @classmethod
    def of(cls, error: Exception) -> FieldError:
        """What a client may know of this error."""
        return cls(told(error).code, error.because if isinstance(error, NeedFailed) else None)

    def as_dict(self) -> dict[str, str]:
        """As plain JSON values."""
        return {"code": self.code} | ({"because": self.because} if self.because else {})


@dataclass(frozen=True, slots=True)
class Answer:
    """The values of the branches that answered, in the order in which the branches were declared.

    A field is either in `data` or in `errors`, never in both and never silently null.
    """

    data: Mapping[str, Any]
    errors: Mapping[str, FieldError] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every branch answered."""
        return not self.errors

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        errors = {name: error.as_dict() for name, error in self.errors.items()}
        return {"data": dict(self.data), "complete": self.complete, "errors": errors}
