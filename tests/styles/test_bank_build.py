from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from PIL import Image
from torch import Tensor

from comfy_glaze.files.formats import ArtworkError
from comfy_glaze.networks.encoders import Encoder
from comfy_glaze.styles.bank import Style, StyleBankError, builtin_styles, centroid_of
from comfy_glaze.styles.bank_build import PictureSource, build_style_bank, one_by_one
from comfy_glaze.styles.bank_file import load_style_bank
from comfy_glaze.styles.bank_sources import (
    by_style_transfer,
    from_folder,
    from_prompts,
    styles_in_folder,
)
from comfy_glaze.styles.candidates import wikiart_candidates
from comfy_glaze.styles.transfer import TextToImage, load_style_transfer, load_text_to_image
from comfy_glaze.styles.works import evenly

from ..conftest import smooth_picture

STYLES = tuple(Style(f"Style {n}", "Realism", None, f"style {n}", None) for n in range(10))


def pictures_of(style: Style) -> list[Tensor]:
    number = STYLES.index(style)
    sizes = ((64, 64), (64, 80), (56, 72))
    return [smooth_picture(*size, seed=10 * number + n) for n, size in enumerate(sizes)]


def test_batches_change_nothing_but_the_last_bit(block_encoder: Encoder) -> None:
    source = one_by_one("pictures", pictures_of)
    seen: list[tuple[int, int]] = []
    bank = build_style_bank(STYLES, source, block_encoder, on_style=lambda *done: seen.append(done))
    assert seen == [(4, 10), (8, 10), (10, 10)]
    for style, centroid in zip(STYLES, bank.centroids, strict=True):
        alone = centroid_of(pictures_of(style), block_encoder)
        assert torch.allclose(centroid, alone, atol=4e-3)
        assert bank.thumbnail(style.name) is not None


@pytest.mark.parametrize("statistic", ["mean", "gram", "places"])
def test_bank_keeps_its_statistic(statistic: str, block_encoder: Encoder, tmp_path: Path) -> None:
    out = tmp_path / "bank.safetensors"
    source = one_by_one("pictures", pictures_of)
    bank = build_style_bank(STYLES[:2], source, block_encoder, out, statistic=statistic)
    expected = centroid_of(pictures_of(STYLES[1]), block_encoder, statistic)
    assert bank.statistic == load_style_bank(out).statistic == statistic
    assert torch.allclose(bank.centroids[1], expected, rtol=1e-3, atol=1e-2)
    assert bank.centroids.shape[1] == {"mean": 3, "gram": 6, "places": 768}[statistic]


def test_stopped_build_goes_on_and_gives_the_same_file(
    block_encoder: Encoder, tmp_path: Path
) -> None:
    build_style_bank(
        STYLES, one_by_one("p", pictures_of), block_encoder, tmp_path / "undisturbed.safetensors"
    )
    drawn: list[str] = []

    def until(limit: int) -> PictureSource:
        def pictures(style: Style) -> list[Tensor]:
            if len(drawn) == limit:
                raise KeyboardInterrupt
            drawn.append(style.name)
            return pictures_of(style)

        return one_by_one("p", pictures)

    out = tmp_path / "bank.safetensors"
    with pytest.raises(KeyboardInterrupt):
        build_style_bank(STYLES, until(6), block_encoder, out)
    assert not out.exists()
    with pytest.raises(KeyboardInterrupt):
        build_style_bank(STYLES, until(11), block_encoder, out)
    build_style_bank(STYLES, until(100), block_encoder, out)
    assert drawn == [style.name for style in (*STYLES[:6], *STYLES[4:9], *STYLES[8:])]
    assert out.read_bytes() == (tmp_path / "undisturbed.safetensors").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "bank.safetensors",
        "undisturbed.safetensors",
    ]


def test_other_build_does_not_take_over_what_was_left(
    block_encoder: Encoder, tmp_path: Path
) -> None:
    out = tmp_path / "bank.safetensors"

    def stop_at(style: Style) -> list[Tensor]:
        if style == STYLES[5]:
            raise KeyboardInterrupt
        return pictures_of(style)

    with pytest.raises(KeyboardInterrupt):
        build_style_bank(STYLES, one_by_one("p", stop_at), block_encoder, out)
    drawn: list[str] = []

    def brighter(style: Style) -> list[Tensor]:
        drawn.append(style.name)
        return [picture / 2 + 0.5 for picture in pictures_of(style)]

    build_style_bank(STYLES, one_by_one("brighter", brighter), block_encoder, out)
    assert len(drawn) == 10
    assert torch.allclose(
        load_style_bank(out).centroids[0],
        centroid_of([picture / 2 + 0.5 for picture in pictures_of(STYLES[0])], block_encoder),
        atol=1e-2,
    )


def test_damaged_batch_is_made_again(block_encoder: Encoder, tmp_path: Path) -> None:
    out = tmp_path / "bank.safetensors"

    def stop_at(style: Style) -> list[Tensor]:
        if style == STYLES[9]:
            raise KeyboardInterrupt
        return pictures_of(style)

    with pytest.raises(KeyboardInterrupt):
        build_style_bank(STYLES, one_by_one("p", stop_at), block_encoder, out)
    (folder,) = tmp_path.glob(".bank-*.parts")
    (folder / "00000.safetensors").write_bytes(b"cut short")
    build_style_bank(STYLES, one_by_one("p", pictures_of), block_encoder, out)
    whole = tmp_path / "whole.safetensors"
    build_style_bank(STYLES, one_by_one("p", pictures_of), block_encoder, whole)
    assert out.read_bytes() == whole.read_bytes()


KILLED = """
import sys
from pathlib import Path
import torch
import torch.nn.functional as F
from comfy_glaze.styles.bank_build import build_style_bank, one_by_one
from comfy_glaze.networks.encoders import Encoder
from comfy_glaze.styles.bank import Style

def pictures(style):
    generator = torch.Generator().manual_seed(int(style.prompt))
    print(style.prompt, flush=True)
    return [torch.rand(1, 3, 256, 256, generator=generator) for _ in range(2)]

encoder = Encoder("blocks", "0" * 16, lambda x: F.avg_pool2d(x, 8), 8, torch.device("cpu"))
styles = [Style(f"Style {n}", "Realism", None, str(n), None) for n in range(40)]
source = one_by_one("p", pictures)
build_style_bank(styles, source, encoder, Path(sys.argv[1]), styles_per_batch=2)
"""


def test_killed_build_goes_on_and_gives_the_same_file(tmp_path: Path) -> None:
    """The real thing: a process that builds a bank is killed, and another goes on."""

    def start(out: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path / out)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    with start("killed.safetensors") as process:
        assert process.stdout is not None
        while process.stdout.readline() != "7\n":
            assert process.poll() is None
        process.kill()
    assert not (tmp_path / "killed.safetensors").exists()
    assert len(list(tmp_path.glob(".killed-*.parts/0*.safetensors"))) >= 3
    drawn = {}
    for out in ("killed.safetensors", "whole.safetensors"):
        with start(out) as process:
            drawn[out] = process.communicate()[0].split()
        assert process.returncode == 0
    assert len(drawn["whole.safetensors"]) == 40
    assert 0 < len(drawn["killed.safetensors"]) <= 34
    killed = (tmp_path / "killed.safetensors").read_bytes()
    assert killed == (tmp_path / "whole.safetensors").read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_two_builds_of_one_bank_do_not_meet(block_encoder: Encoder, tmp_path: Path) -> None:
    out = tmp_path / "bank.safetensors"

    def meet(style: Style) -> list[Tensor]:
        (folder,) = tmp_path.glob(".bank-*.parts")
        assert FileLock(folder / "lock").lock_file
        with pytest.raises(StyleBankError, match=r"Another build of bank.safetensors is running"):
            build_style_bank(STYLES, one_by_one("p", pictures_of), block_encoder, out)
        return pictures_of(style)

    build_style_bank(STYLES, one_by_one("p", meet), block_encoder, out)
    assert len(load_style_bank(out).styles) == 10


@pytest.mark.parametrize(
    ("styles", "pictures", "out", "words"),
    [
        ((), [0.5], "a.safetensors", "at least one style, but none was given"),
        (STYLES[:1] * 2, [0.5], "a.safetensors", "names of their own, but one comes twice"),
        (STYLES[:1], [], "a.safetensors", "at least one picture, but Style 0 has none"),
        (STYLES[:1], [0.5], "a.pt", "is a .safetensors file, but got a.pt"),
    ],
)
def test_what_cannot_be_built_is_named(
    styles: Sequence[Style],
    pictures: list[float],
    out: str,
    words: str,
    block_encoder: Encoder,
    tmp_path: Path,
) -> None:
    source = one_by_one("p", lambda style: [torch.full((1, 3, 64, 64), x) for x in pictures])
    with pytest.raises(StyleBankError, match=words):
        build_style_bank(styles, source, block_encoder, tmp_path / out)
    if out.endswith(".safetensors"):
        with pytest.raises(StyleBankError, match=words):
            build_style_bank(styles, source, block_encoder)


def test_unknown_statistic_is_named(block_encoder: Encoder) -> None:
    with pytest.raises(StyleBankError, match=r"among mean\+std, .* but got median"):
        centroid_of([smooth_picture(64, 64)], block_encoder, "median")


def save(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = (smooth_picture(64, 64, seed=seed)[0] * 255).round().byte()
    Image.fromarray(levels.permute(1, 2, 0).numpy()).save(path)


def test_wikiarts_layout_is_understood(tmp_path: Path) -> None:
    for number, name in enumerate(
        [
            "Impressionism/claude-monet_water-lilies.jpg",
            "Impressionism/claude-monet_haystacks-1890.jpg",
            "Impressionism/somebody-else_a-picture.jpg",
            "Realism/claude-monet_still-life.jpg",
            "Art_Nouveau_Modern/alphonse-mucha_job-1896.jpg",
        ]
    ):
        save(tmp_path / name, number)
    most = styles_in_folder(tmp_path, wikiart_candidates())
    assert {style.name: len(paths) for style, paths in most.items()} == {
        "Alphonse Mucha (Art Nouveau)": 1,
        "Claude Monet (Impressionism)": 2,
    }
    every = styles_in_folder(tmp_path, wikiart_candidates(all_styles=True))
    assert "Claude Monet (Realism)" in {style.name for style in every}


def test_folder_per_style_is_understood(tmp_path: Path, block_encoder: Encoder) -> None:
    for number, name in enumerate(
        ["claude-monet/a.png", "My_own style/b.png", "My_own style/c.png"]
    ):
        save(tmp_path / name, number)
    (tmp_path / "empty").mkdir()
    (tmp_path / "My_own style" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    found = styles_in_folder(tmp_path, wikiart_candidates())
    assert [style.name for style in found] == ["My own style", "Claude Monet (Impressionism)"]
    bank = build_style_bank(list(found), from_folder(found), block_encoder)
    alone = build_style_bank(list(found)[:1], from_folder(found), block_encoder)
    assert torch.equal(bank.centroids[0], alone.centroids[0])
    assert bank.centroids.isfinite().all()


def test_folders_without_styles_are_named(tmp_path: Path) -> None:
    with pytest.raises(StyleBankError, match="or with a folder per style, but found none"):
        styles_in_folder(tmp_path, ())
    with pytest.raises(ArtworkError, match="Expected a folder of pictures"):
        styles_in_folder(tmp_path / "absent", ())
    save(tmp_path / "=HYPERLINK(1)" / "a.png", 0)
    with pytest.raises(StyleBankError, match="begins like a spreadsheet formula"):
        styles_in_folder(tmp_path, ())


def test_style_whose_pictures_are_all_broken_is_named(
    tmp_path: Path, block_encoder: Encoder
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    found = styles_in_folder(tmp_path, ())
    with pytest.raises(ArtworkError, match=r"a\.png"):
        build_style_bank(list(found), from_folder(found), block_encoder)


def test_changed_files_make_another_source(tmp_path: Path) -> None:
    save(tmp_path / "one" / "a.png", 0)
    found = styles_in_folder(tmp_path, ())
    before = from_folder(found).name
    assert from_folder(found).name == before
    save(tmp_path / "one" / "a.png", 1)
    assert from_folder(found).name != before


def test_pictures_are_taken_evenly() -> None:
    paths = [Path(str(n)) for n in range(20)]
    assert [path.name for path in evenly(paths, 4)] == ["0", "5", "10", "15"]
    assert evenly(paths[:3], 6) == paths[:3]


def test_styles_can_be_redrawn_on_pictures(block_encoder: Encoder) -> None:
    contents = [smooth_picture(64, 64), smooth_picture(64, 72, seed=1)]
    redraw = load_style_transfer("embedded")
    source = by_style_transfer(redraw, contents)
    bank = build_style_bank(builtin_styles()[3:5], source, block_encoder)
    expected = centroid_of([redraw(c, builtin_styles()[4]) for c in contents], block_encoder)
    assert torch.allclose(bank.centroids[1], expected, atol=4e-3)
    assert by_style_transfer(redraw, contents[:1]).name != source.name
    weaker = load_style_transfer("embedded", strength=0.5)  # by the same name
    assert by_style_transfer(weaker, contents).name != source.name


def test_styles_can_be_drawn_from_prompts(block_encoder: Encoder) -> None:
    asked: list[tuple[list[str], list[int]]] = []

    def draw(prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        asked.append((list(prompts), list(seeds)))
        return torch.cat([smooth_picture(64, 64, seed % 1000) for seed in seeds])

    source = from_prompts(TextToImage("model", draw), per_style=2)
    together = build_style_bank(STYLES[:3], source, block_encoder, styles_per_batch=3)
    assert len(asked) == 1
    assert asked[0][0] == ["style 0", "style 0", "style 1", "style 1", "style 2", "style 2"]
    assert len(set(asked[0][1])) == 6
    alone = build_style_bank(STYLES[1:2], source, block_encoder)
    assert torch.allclose(together.centroids[1], alone.centroids[0], atol=4e-3)


def test_users_own_model_draws_from_prompts(
    tiny_pipeline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("comfy_glaze.styles.transfer.TEXT_TO_IMAGE_SIZE", 64)
    monkeypatch.setattr("comfy_glaze.styles.transfer.TEXT_TO_IMAGE_STEPS", 2)
    draw = load_text_to_image(tiny_pipeline)
    images = draw(["monet", "dix"], [1, 2])
    assert images.shape == (2, 3, 64, 64)
    assert torch.equal((images * 255).round() / 255, images)
    assert not torch.equal(images[0], images[1])
    assert torch.equal(draw(["monet", "dix"], [1, 2]), images)
    assert not torch.equal(draw(["monet", "dix"], [3, 2])[0], images[0])
