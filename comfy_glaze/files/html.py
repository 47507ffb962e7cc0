"""Pages of HTML, filled from templates that lie beside the modules whose pages they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .atomic import atomic_write


def write_html(template: Path, values: Mapping[str, Any], page: Path) -> None:
    """Fill a Jinja template and write it; every value is escaped, so none of it is markup.

    Args:
        values: what the template names; iterators are drawn from as the page is written.

    Raises:
        ArtworkError: it cannot be written.
    """
    environment = Environment(
        loader=FileSystemLoader(template.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    filled = environment.get_template(template.name).stream(values)
    with atomic_write(page) as temporary:
        filled.dump(str(temporary), "utf-8")
