"""Cells to tables: every figure with its interval, as JSON, Markdown and a picture."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..files.atomic import write_json
from ..judges.genres import has_shifted
from ..judges.intervals import Interval, mean_interval, share_interval

Cell = Mapping[str, Any]


def _model(cell: Cell) -> str:
    """What makes a group: all pictures of one fine-tuned model."""
    return str(cell["folder"])


def _over_pictures(
    cells: Sequence[Cell], value: Callable[[Cell, Any], Any], of: Callable[..., Interval]
) -> Interval:
    pairs = [(value(cell, row), _model(cell)) for cell in cells for row in cell["pictures"]]
    return of([v for v, _ in pairs], [group for _, group in pairs])


def _mimicked(cells: Sequence[Cell]) -> Interval | None:
    if any(cell["genre"] is None for cell in cells):
        return None
    return _over_pictures(cells, lambda c, row: row["top"][0] == c["genre"], share_interval)


def _shifted(cells: Sequence[Cell]) -> Interval | None:
    if any(cell["genre"] is None for cell in cells):
        return None
    return _over_pictures(cells, lambda c, row: has_shifted(row["top"], c["genre"]), share_interval)


def _lucky(cells: Sequence[Cell]) -> Interval | None:
    """Share of captions for which at least one of 20 seeds or more stayed in the genre."""
    fewest = min(cell["generation"]["images_per_caption"] for cell in cells)
    if fewest < 20 or any(cell["genre"] is None for cell in cells):
        return None
    hits: dict[tuple[str, str], bool] = {}
    for cell in cells:
        for row in cell["pictures"]:
            key = (_model(cell), row["caption"])
            hits[key] = hits.get(key, False) or not has_shifted(row["top"], cell["genre"])
    return share_interval(list(hits.values()), [model for model, _ in hits])


def _style_distance(cells: Sequence[Cell]) -> Interval:
    return _over_pictures(cells, lambda _, row: row["style_distance"], mean_interval)


def _noise(cells: Sequence[Cell]) -> Interval:
    return _over_pictures(cells, lambda _, row: row["noise"], mean_interval)


def _kernel(cells: Sequence[Cell]) -> Interval | None:
    figures = [cell["kernel_distance"] for cell in cells]
    if None in figures:
        return None
    if len(figures) == 1:
        return Interval(**figures[0])
    return mean_interval([figure["value"] for figure in figures])


def _of_cloaks(name: str) -> Callable[[Sequence[Cell]], Interval | None]:
    def column(cells: Sequence[Cell]) -> Interval | None:
        pairs = [(one[name], cell["artist"]) for cell in cells for one in cell["cloaks"]]
        if not pairs or any(value is None for value, _ in pairs):
            return None
        return mean_interval([value for value, _ in pairs], [artist for _, artist in pairs])

    return column


@dataclass(frozen=True)
class Column:
    """A measure.

    Attributes:
        key: in the JSON.
        title: in Markdown.
        measure: from the cells of a row to a figure.
        format: of the figure.
    """

    key: str
    title: str
    measure: Callable[[Sequence[Cell]], Interval | None]
    format: str


COLUMNS = (
    Column("mimicked", "in the artist's style", _mimicked, ".1%"),
    Column("genre_shift", "genre shift (top 3)", _shifted, ".1%"),
    Column("lucky", "captions with a lucky seed", _lucky, ".1%"),
    Column("style_distance", "style distance", _style_distance, ".3f"),
    Column("kernel_distance", "kernel distance", _kernel, ".3f"),
    Column("noise", "grain, grey levels", _noise, ".2f"),
    Column("perceptual", "perceptual value of the cloaks", _of_cloaks("perceptual"), ".4f"),
    Column("shift", "shift of the cloaks", _of_cloaks("shift_512"), ".3f"),
)


def summarise(cells: Sequence[Cell], names: Sequence[str]) -> list[dict[str, Any]]:
    """One row per scenario, in the order of ``names``; scenarios without a cell are left out."""
    rows = []
    for name in names:
        mine = [cell for cell in cells if cell["name"] == name]
        if not mine:
            continue
        row: dict[str, Any] = {"name": name, "models": len({_model(cell) for cell in mine})}
        for column in COLUMNS:
            figure = column.measure(mine)
            row[column.key] = figure.as_json() if figure else None
        rows.append(row)
    return rows


def fall(cells: Sequence[Cell], plain: str, cloaked: str) -> Interval | None:
    """How much the share in the artist's style falls from one scenario to another.

    Paired: each artist and seed against itself, so that what one artist's models do better than
    another's does not widen the interval.  None for fewer than two pairs, which have none.
    """
    shares: dict[str, dict[tuple[str, int], float]] = {plain: {}, cloaked: {}}
    for cell in cells:
        if cell["name"] in shares and cell["genre"] is not None:
            hits = [row["top"][0] == cell["genre"] for row in cell["pictures"]]
            pair = (cell["artist"], cell["seed"])
            shares[cell["name"]][pair] = sum(hits) / len(hits)
    common = sorted(shares[plain].keys() & shares[cloaked].keys())
    if len(common) < 2:
        return None
    return mean_interval([shares[plain][pair] - shares[cloaked][pair] for pair in common])


def references(cells: Sequence[Cell]) -> dict[str, Any]:
    """The same measures of the artists' own works: what a perfect mimic would come to."""
    by_artist = {cell["artist"]: cell for cell in cells}
    values: dict[str, Any] = {}
    for key in ("style_distance", "noise"):
        pairs = [(v, name) for name, cell in by_artist.items() for v in cell["own"][key]]
        values[key] = mean_interval([v for v, _ in pairs], [n for _, n in pairs]).as_json()
    known = [
        (top[0] == cell["genre"], name)
        for name, cell in by_artist.items()
        for top in cell["own"]["top"]
        if cell["genre"] is not None
    ]
    hits = [hit for hit, _ in known]
    values["mimicked"] = share_interval(hits).as_json() if hits else None
    return values


def markdown(rows: Sequence[Mapping[str, Any]], own: Mapping[str, Any] | None = None) -> str:
    """A table with intervals in brackets; columns that no row fills are left out.

    Args:
        own: what :func:`references` gave, as a first row.
    """
    lines = list(rows)
    if own is not None:
        lines.insert(0, {"name": "the artists' own works", "models": "-", **own})
    used = [c for c in COLUMNS if any(row.get(c.key) for row in lines)]
    head = ["", "models", *(column.title for column in used)]
    table = [head, ["---"] * len(head)]
    for row in lines:
        figures = [_figure(row.get(column.key), column.format) for column in used]
        table.append([str(row["name"]), str(row["models"]), *figures])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in table) + "\n"


def _figure(value: Mapping[str, Any] | None, format: str) -> str:
    if value is None:
        return "-"
    return f"{value['value']:{format}} [{value['low']:{format}}, {value['high']:{format}}]"


def write_tables(
    cells: Sequence[Cell], names: Sequence[str], about: Mapping[str, Any], folder: Path
) -> str:
    """Write ``results.json`` and ``results.md``; the Markdown table comes back.

    Args:
        names: of the scenarios, in order.
        about: what the head of both files says, such as the classifier and its accuracy.
    """
    rows, own = summarise(cells, names), references(cells)
    falls = {
        name: figure.as_json()
        for name in names[1:]
        if (figure := fall(cells, names[0], name)) is not None
    }
    found = {"about": dict(about), "works": own, "rows": rows, "fall": falls}
    write_json(found, folder / "results.json")
    table = markdown(rows, own)
    notes = "".join(f"- {key}: {value}\n" for key, value in about.items())
    paired = "".join(
        f"- {name}: the share in the artist's style falls by {_figure(figure, '.1%')}\n"
        for name, figure in falls.items()
    )
    text = f"{notes}\n{table}"
    if paired:
        text += f"\nAgainst {names[0]!r}, paired by artist and seed:\n\n{paired}"
    (folder / "results.md").write_text(text, encoding="utf-8")
    return table


def read_tables(folder: Path) -> dict[str, Any]:
    """What :func:`write_tables` left."""
    found: dict[str, Any] = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return found
