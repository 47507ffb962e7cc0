"""How an amount is written, for each unit."""

from __future__ import annotations

UNITS: dict[str, str] = {
    "quality": "quality {:g}",
    "scale": "to {:.0%}",
    "standard deviation": "{:g}",
    "pixels": "{:g} px",
    "part of each side": "by {:.0%}",
    "passes": "{:g} passes",
    "round trips": "{:g}×",
    "steps": "{:g} steps",
    "strength": "strength {:g}",
}
"""Formats by the unit's name."""
