"""What became of one picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .outputs import Job


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of one picture: a report, or the sentence that says why there is none.

    Attributes:
        job: the picture.
        report: as written; None for a picture that failed, or was left as an earlier run made it.
        error: why it failed.
        left_alone: why it was not cloaked, as its artist asked.
    """

    job: Job
    report: dict[str, Any] | None = None
    error: str | None = None
    left_alone: str | None = None
