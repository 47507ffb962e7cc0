"""Nightshade: pictures of one concept that teach a model another one.

Source: Shan, Ding, Passananti, Wu, Zheng, Zhao, "Nightshade: Prompt-Specific Poisoning Attacks on
Text-to-Image Generative Models", IEEE S&P 2024, §5.2:

1. selection: captioned pictures of a concept C that show it plainly (:func:`select_samples`);
2. anchors: prototypical pictures of the destination A (:mod:`comfy_glaze.poison.anchors`);
3. for each picture, δ that leads Φ(x + δ) to Φ(anchor) under a perceptual limit of 0.07;
4. the captions stay: they go on saying C.

Step 3 is the cloak's own optimisation with the anchor in the place of the redrawn picture, and so
are its budget, views, robustness, files and reports.

Differs: the paper limits LPIPS alone; here a cap on every pixel holds as well
(:data:`comfy_glaze.cloaking.budget.NIGHTSHADE`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..files.formats import ArtworkError, named
from ..files.hashing import file_sha256
from ..networks.captions import describer
from ..styles.works import evenly
from .anchors import Poison, prompt_of, similarities
from .wording import forms_of, without_article

TEMPLATE = "template"
"""The captioner that says the same of every picture: the concept's own prompt."""


class SelectionError(ValueError):
    """No picture of a concept was found, in one sentence."""


@dataclass(frozen=True)
class Sample:
    """One captioned picture of the concept.

    Attributes:
        source: the original.
        relative: its name below what the user named.
        caption: one line that names the concept.
        similarity: to the concept's prompt, a cosine; None where no model measured it.
    """

    source: Path
    relative: Path
    caption: str
    similarity: float | None = None


@dataclass(frozen=True, eq=False)
class Selection:
    """What of a folder is poisoned.

    Attributes:
        samples: in the order in which they were found.
        others: how many captions do not name the concept.
        left_out: how many do, and were not among the best.
        failures: a sentence for each picture without a caption, or that could not be read.
    """

    samples: tuple[Sample, ...]
    others: int
    left_out: int
    failures: tuple[str, ...]


def names_concept(caption: str, concept: str) -> bool:
    """Whether a caption has the concept's words in it, whole, in any case, in either number.

    An article before the concept does not count: "a boat" is named by "two boats".
    """
    *before, noun = without_article(concept.casefold()).split()
    ends = "|".join(re.escape(form) for form in forms_of(noun))
    words = r"[\W_]+".join([*(re.escape(word) for word in before), f"(?:{ends})"])
    return re.search(rf"(?<!\w){words}(?!\w)", caption.casefold()) is not None


def select_samples(
    found: Sequence[tuple[Path, Path]],
    concept: str,
    captions: str = "sidecar",
    *,
    kind: str = "object",
    keep: int = 0,
    clip: str | None = None,
    device: torch.device | str = "cpu",
) -> Selection:
    """The pictures whose caption names the concept, and of these the ``keep`` that fit it best.

    Differs: the paper ranks captions by their own similarity to the concept's word in CLIP's text
    tower; here the pictures are ranked, so that those with the right word and nothing to see of it
    fall out.  Without a CLIP, ``keep`` are taken evenly from all.

    Args:
        found: pictures, and their names (see :func:`comfy_glaze.files.finding.find_artworks`).
        concept: C, such as "dog" or "fauvism".
        captions: a captioner (see :func:`comfy_glaze.networks.captions.describer`), or ``template``
            for the concept's own prompt.
        kind: a key of :data:`comfy_glaze.poison.anchors.KINDS`.
        keep: how many at most; 0 for all.
        clip: a CLIP or SigLIP for transformers, a folder or a hub id.

    Raises:
        ValueError: no such captioner or model.
        SelectionError: no caption names the concept.
    """
    if keep < 0:
        raise SelectionError(f"Expected to keep 0 (all) or more pictures, but got {keep}.")
    words = prompt_of(concept, kind)
    describe: Callable[[Path], str]
    describe = (lambda path: words) if captions == TEMPLATE else describer(captions, device)
    samples, failures, others = [], [], 0
    for source, relative in found:
        try:
            caption = " ".join(describe(source).split())
        except ArtworkError as error:
            failures.append(str(error))
            continue
        if names_concept(caption, concept):
            samples.append(Sample(source, relative, caption))
        else:
            others += 1
    if not samples:
        raise SelectionError(
            f"Expected captions with the word {concept!a}, but none of {len(found)} has it"
            f"{_first(failures)}"
        )
    if clip is not None:
        scores = similarities([sample.source for sample in samples], words, clip, device)
        rated = [replace(s, similarity=score) for s, score in zip(samples, scores, strict=True)]
        failures += [f"{named(s.source)} cannot be read." for s in rated if s.similarity is None]
        samples = [sample for sample in rated if sample.similarity is not None]
    chosen = samples
    if keep and clip is not None:
        chosen = _best(samples, keep)
    elif keep:
        spread = set(evenly([sample.source for sample in samples], keep))
        chosen = [sample for sample in samples if sample.source in spread]
    return Selection(tuple(chosen), others, len(samples) - len(chosen), tuple(failures))


def _first(failures: Sequence[str]) -> str:
    return f"; {failures[0]}" if failures else "."


def _best(samples: Sequence[Sample], keep: int) -> list[Sample]:
    """Those of the highest similarity, in their old order; of equals the first ones."""
    order = sorted(range(len(samples)), key=lambda i: (-(samples[i].similarity or 0.0), i))
    return [samples[i] for i in sorted(order[:keep])]


def with_similarities(poison: Poison, samples: Sequence[Sample]) -> Poison:
    """The same poison, for its reports, with what was measured of the samples."""
    known = {
        sha256: sample.similarity
        for sample in samples
        if sample.similarity is not None and (sha256 := file_sha256(sample.source)) is not None
    }
    return replace(poison, similarities=known)
