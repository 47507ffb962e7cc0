"""What an error says, in one line."""

from __future__ import annotations


def first_line(error: BaseException) -> str:
    """The first line of an error's text, without its full stop; of one without text, its type."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(" .") if lines else type(error).__name__
