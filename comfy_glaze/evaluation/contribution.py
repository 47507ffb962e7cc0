"""What a volunteer sends back: one JSON and one page, with figures and nothing about the sender.

Neither holds a path, a file's or an artist's name, a caption, a user's or a machine's name.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from .. import __version__
from ..files.atomic import atomic_write, write_json
from ..files.html import write_html
from .experiment import pictures_of
from .tables import fall, references, summarise
from .volunteer import GRID, UPLOAD, Experiment

KIND = "comfy_glaze contribution"
SCHEMA = 1
_SHOWN, _SIDE = 6, 192  # pictures of a row on the page, and their side in pixels

Cell = Mapping[str, Any]


def contribution_of(
    experiment: Experiment, cells: Sequence[Cell], seeds: int, checkpoint: str, name: str = ""
) -> dict[str, Any]:
    """The figures of an experiment, as far as it has come.

    Args:
        cells: what is finished.
        checkpoint: as it was named; kept only where it is a hub id.
        name: what the sender wants to be called; nothing for no name.
    """
    lab, names = experiment.lab, [row.name for row in GRID]
    falls = {
        row: figure.as_json()
        for plain, rows in ((names[0], names[1:3]), (names[3], names[4:]))
        for row in rows
        if (figure := fall(cells, plain, row)) is not None
    }
    return {
        "kind": KIND,
        "schema": SCHEMA,
        "id": _id_of(lab.folder),
        "version": __version__,
        "contributor": name,
        "complete": len(cells) == len(GRID) * len(experiment.artists) * seeds,
        "checkpoint": {
            "class": experiment.family,
            "hub": checkpoint if _is_hub_id(checkpoint) else None,
            "encoder": {"fingerprint": lab.encoder.fingerprint, "family": lab.encoder.family},
        },
        "device": device_words(lab.device),
        "works": [len(artist.works) for artist in experiment.artists],
        "seeds": seeds,
        "judge": {
            "name": _judge_words(experiment),
            "accuracy": experiment.accuracy,
        },
        "settings": {
            "tuning": asdict(lab.tuning),
            "generation": asdict(lab.generation),
            "cloaking": asdict(lab.cloaking),
            "metric": lab.metric.name,
            "style_transfer": "embedded",
            "upload": UPLOAD,
        },
        "own": references(cells) if cells else None,
        "rows": summarise(cells, names),
        "fall": falls,
    }


def _id_of(folder: Path) -> str:
    """A random name for the experiment in a folder, made once: others may do the very same one."""
    kept = folder / "id.txt"
    if not kept.is_file():
        with atomic_write(kept) as temporary:
            temporary.write_text(uuid.uuid4().hex, encoding="ascii")
    return kept.read_text("ascii")


def _is_hub_id(checkpoint: str) -> bool:
    return checkpoint.count("/") == 1 and not Path(checkpoint).expanduser().exists()


def _judge_words(experiment: Experiment) -> str | None:
    classifier = experiment.lab.classifier
    if classifier is None:
        return None
    if experiment.accuracy is None:  # a CLIP may be a folder
        return "CLIP"
    return classifier.name


def device_words(device: torch.device) -> str:
    """The device's kind: a graphics card's model, or the device's type."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return device.type


def write_contribution(
    experiment: Experiment, cells: Sequence[Cell], found: dict[str, Any], folder: Path
) -> tuple[Path, Path]:
    """Write ``contribution.json`` and ``contribution.html``, and return their paths.

    Raises:
        ArtworkError: one cannot be written.
    """
    data, page = folder / "contribution.json", folder / "contribution.html"
    write_json(found, data)
    values = {
        "found": found,
        "rows": [
            {
                "name": row["name"],
                "models": row["models"],
                "figures": [_words(row[key], unit) for key, _, unit in _COLUMNS],
                "pictures": list(_pictures(experiment, cells, row["name"])),
            }
            for row in found["rows"]
        ],
        "columns": [title for _, title, _ in _COLUMNS],
        "settings": json.dumps(found["settings"], indent=2),
    }
    write_html(Path(__file__).with_name("contribution.html.jinja"), values, page)
    return data, page


_COLUMNS = (
    ("mimicked", "in the artist's style", ".0%"),
    ("style_distance", "style distance", ".3f"),
    ("perceptual", "perceptual value of the cloaks", ".4f"),
    ("shift", "shift of the cloaks", ".3f"),
)


def _words(figure: Mapping[str, float] | None, unit: str) -> str:
    if figure is None:
        return "–"
    return f"{figure['value']:{unit}} [{figure['low']:{unit}}, {figure['high']:{unit}}]"


def _pictures(experiment: Experiment, cells: Sequence[Cell], row: str) -> list[str]:
    """Some pictures that the models of a row drew, small, as addresses that hold them."""
    files = [
        path for cell in cells if cell["name"] == row for path in pictures_of(experiment.lab, cell)
    ]
    every = max(1, len(files) // _SHOWN)
    return [_small(path) for path in files[::every][:_SHOWN]]


def _small(path: Path) -> str:
    with Image.open(path) as file:
        picture = Image.new("RGB", file.size)
        picture.paste(file.convert("RGB"))  # the pixels, and nothing else of the file
    picture.thumbnail((_SIDE, _SIDE))
    buffer = BytesIO()
    picture.save(buffer, "WEBP", quality=80)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


# --- many of them --------------------------------------------------------------------------------


def read_contribution(path: Path) -> dict[str, Any]:
    """A contribution's JSON.

    Raises:
        ValueError: it is none, or of another schema.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"Expected a contribution, but {path.name} cannot be read.") from error
    if not isinstance(found, dict) or (found.get("kind"), found.get("schema")) != (KIND, SCHEMA):
        raise ValueError(f"Expected a contribution of schema {SCHEMA}, but {path.name} is none.")
    return found


def table_of(contributions: Sequence[Mapping[str, Any]]) -> str:
    """One Markdown row for each contribution; of two with one id the later one counts."""
    names = [row.name for row in GRID]
    head = ["contributor", "checkpoint", "device", "works", "models a row", *names, "judge"]
    lines = [head, ["---"] * len(head)]
    for one in {str(one["id"]): one for one in contributions}.values():
        rows = {row["name"]: row for row in one["rows"]}
        checkpoint, accuracy = one["checkpoint"], one["judge"]["accuracy"]
        lines.append(
            [
                _cell(one["contributor"] or "not named") + ("" if one["complete"] else ", part"),
                _cell(checkpoint["hub"] or checkpoint["class"]),
                _cell(one["device"]),
                ", ".join(str(int(count)) for count in one["works"]),
                str(max((row["models"] for row in rows.values()), default=0)),
                *(_words(rows.get(name, {}).get("mimicked"), ".0%") for name in names),
                _cell(one["judge"]["name"] or "none")
                + ("" if accuracy is None else f", right in {accuracy:.0%}"),
            ]
        )
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def _cell(text: object) -> str:
    """A stranger's text as one cell of a table: no markup, no line break, not long."""
    plain = (sign if sign.isprintable() else " " for sign in str(text))
    return "".join(sign for sign in plain if sign not in "|<>[]`")[:60]
