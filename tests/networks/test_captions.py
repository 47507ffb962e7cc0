"""Captions, splits, and works found again in another folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers

from comfy_glaze.files.artwork import Artwork, save_artwork
from comfy_glaze.files.formats import ArtworkError
from comfy_glaze.networks.captions import Work, caption_works, replaced, split_works, works_as_json

from ..conftest import smooth_picture


def saved(path: Path, seed: int = 0) -> Path:
    picture = smooth_picture(40, 48, seed=seed)
    save_artwork(picture, Artwork(picture), path)
    return path


def test_captions_without_a_model(tmp_path: Path) -> None:
    paths = [saved(tmp_path / "lady-with_fan (3).png"), saved(tmp_path / "0017.png")]
    named = caption_works(paths, "Ada", "filename")
    assert [work.caption for work in named] == ["lady with fan by Ada", "a painting by Ada"]
    assert caption_works(paths, "Ada", "template")[0].caption == "a painting by Ada"
    paths[0].with_suffix(".txt").write_text("a lady\n with a fan\n")
    with pytest.raises(ArtworkError, match=r"0017\.txt"):
        caption_works(paths, "Ada", "sidecar")
    assert caption_works(paths[:1], "Ada", "sidecar")[0].caption == "a lady with a fan by Ada"


@pytest.fixture
def tiny_captioner(tmp_path: Path) -> str:
    """A BLIP with random weights, on disk."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]", "lake", "tree", "sky"]
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n")
    tokenizer = transformers.BertTokenizer(str(tmp_path / "vocab.txt"))
    torch.manual_seed(0)
    small = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    config = transformers.BlipConfig(
        text_config=small
        | {
            "vocab_size": len(words),
            "encoder_hidden_size": 16,
            "bos_token_id": 5,
            "eos_token_id": 3,
            "sep_token_id": 3,
            "pad_token_id": 0,
            "max_position_embeddings": 40,
        },
        vision_config=small | {"image_size": 32, "patch_size": 8},
    )
    transformers.BlipForConditionalGeneration(config).save_pretrained(tmp_path / "blip")
    pictures = transformers.BlipImageProcessor(size={"height": 32, "width": 32})
    transformers.BlipProcessor(pictures, tokenizer).save_pretrained(tmp_path / "blip")
    return str(tmp_path / "blip")


def test_captions_of_a_model_are_kept(tiny_captioner: str, tmp_path: Path) -> None:
    paths = [saved(tmp_path / "a.png"), saved(tmp_path / "b.png", seed=1)]
    kept = tmp_path / "out" / "captions.json"
    works = caption_works(paths, "Ada", tiny_captioner, kept=kept)
    assert all(work.caption.endswith(" by Ada") for work in works)
    assert all(len(work.caption) > len(" by Ada") + 2 for work in works)
    known = json.loads(kept.read_text())
    kept.write_text(json.dumps(known | {"a.png": "a hill"}))
    again = caption_works(paths, "Ada", "no such captioner", kept=kept)
    assert again[0].caption == "a hill by Ada"
    assert again[1] == works[1]


def test_splits_are_whole_seeded_and_never_empty() -> None:
    works = [Work(Path(f"{i}.png"), str(i)) for i in range(10)]
    train, test = split_works(works, seed=3)
    assert (len(train), len(test)) == (8, 2)
    assert sorted([*train, *test], key=lambda w: w.caption) == works
    assert split_works(works, seed=3) == (train, test)
    assert split_works(works, seed=4) != (train, test)
    assert [len(part) for part in split_works(works[:2], share=1.0)] == [1, 1]
    with pytest.raises(ValueError, match="two works"):
        split_works(works[:1])


def test_works_are_found_by_name_in_another_folder(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    work = Work(saved(tmp_path / "lake.png"), "lake by Ada")
    with pytest.raises(ValueError, match=r"lake\.png"):
        replaced([work], tmp_path / "other")
    saved(tmp_path / "other" / "lake.webp", seed=1)
    (found,) = replaced([work], tmp_path / "other")
    assert found == Work(tmp_path / "other" / "lake.webp", "lake by Ada")
    before, after = works_as_json([work, found])
    assert before["sha256"] != after["sha256"]
