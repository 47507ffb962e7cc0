"""Content credentials: signed last, with no thumbnail, by the certificate that the docs make."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch

from comfy_glaze.files.artwork import Artwork, load_artwork, save_artwork
from comfy_glaze.files.credentials import load_credentials
from comfy_glaze.files.formats import FORMATS, ArtworkError
from comfy_glaze.files.options import SaveOptions
from comfy_glaze.portfolio.manifest import Manifest
from comfy_glaze.portfolio.outputs import reports_folder
from comfy_glaze.portfolio.run import cloak_portfolio

from ..conftest import smooth_picture
from ..portfolio.runs import jobs_of, make_pictures, small_engine

DOCS = Path(__file__).parents[2] / "docs" / "files.md"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("c2pa", reason="needs c2pa-python (extra credentials)")
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl, to make a certificate")
    folder = tmp_path_factory.mktemp("certificate")
    found = re.search(r"```sh\n(cat > v3.cnf.*?)```", DOCS.read_text(), re.DOTALL)
    assert found
    subprocess.run(["sh", "-e", "-c", found[1]], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("format", FORMATS)
def test_a_signed_file_is_valid_and_says_only_what_was_asked(
    tmp_path: Path, certificate: Path, format: str, asked: bool
) -> None:
    import c2pa

    make_pictures(tmp_path / "in", 1)
    out = tmp_path / "out"
    options = SaveOptions(format, no_ai_training=asked, credentials=certificate)
    engine = replace(small_engine(), saving=options)
    manifest = Manifest(reports_folder(out))
    (job,) = jobs_of(tmp_path / "in", out)
    job = replace(job, target=out / f"art.{format}")
    (outcome,) = cloak_portfolio([job], engine, manifest)
    assert outcome.report is not None, outcome.error
    data = job.target.read_bytes()
    kind = f"image/{format}"
    read = c2pa.Reader(kind, BytesIO(data))
    told: dict[str, Any] = json.loads(read.json())
    assert told["validation_state"] == "Valid"
    assert "thumbnail" not in read.json()
    labels = [one["label"] for one in told["manifests"][told["active_manifest"]]["assertions"]]
    for label in ("cawg.training-mining", "c2pa.training-mining"):
        assert (label in labels) == asked
    for word in ("glaze", "cloak", engine.target.style.name):
        assert word.lower() not in read.json().lower()
        assert word.encode() not in data
    again = list(cloak_portfolio([job], engine, manifest, resume=True))
    assert again[0].report is None
    assert again[0].error is None
    assert torch.isfinite(load_artwork(job.target).pixels).all()


@pytest.mark.parametrize("format", FORMATS)
def test_a_reader_of_trainers_takes_the_statement_as_a_no(
    tmp_path: Path, certificate: Path, format: str
) -> None:
    """Spawning's datadiligence, which knows the assertion of C2PA 1."""
    reason = "needs datadiligence"
    evaluator = pytest.importorskip("datadiligence", reason=reason).FileEvaluator()
    picture = smooth_picture(48, 64)
    for asked in (True, False):
        path = tmp_path / f"{asked}.{format}"
        options = SaveOptions(format, no_ai_training=asked, credentials=certificate)
        save_artwork(picture, Artwork(picture), path, options)
        assert evaluator.is_allowed(path=str(path)) is not asked


@pytest.mark.parametrize("spoilt", ["certificate.pem", "key.pem", "both"])
def test_what_does_not_sign_is_named_before_any_work(
    tmp_path: Path, certificate: Path, spoilt: str
) -> None:
    for name in ("certificate.pem", "key.pem"):
        text = (certificate / name).read_bytes()
        (tmp_path / name).write_bytes(b"rubbish" if spoilt in (name, "both") else text)
    with pytest.raises(ArtworkError) as caught:
        load_credentials(tmp_path)
    assert "holds nothing that C2PA signs with" in str(caught.value)
    assert str(caught.value).endswith(".")
    (tmp_path / "key.pem").unlink()
    with pytest.raises(ArtworkError, match=r"must hold certificate\.pem and key\.pem"):
        load_credentials(tmp_path)
