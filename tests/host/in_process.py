"""The pack inside this process, beside the host's modules: loaded by path, as the host does it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from pathlib import Path
from types import ModuleType

from .conftest import ROOT

NAME = "a_pack_by_path"


def pack_module(host_path: Path, name: str) -> ModuleType:
    """A module of the pack, such as ``nodes.host.encoders``; the host computes on the CPU."""
    if NAME not in sys.modules:
        sys.path.insert(0, str(host_path))
        sys.modules.pop("nodes", None)  # of this repository; the host has a module of that name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if NAME not in sys.modules:
            importlib.import_module("comfy.cli_args").args.cpu = True
            spec = importlib.util.spec_from_file_location(
                NAME, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
            )
            assert spec is not None
            assert spec.loader is not None
            sys.modules[NAME] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(sys.modules[NAME])
        return importlib.import_module(f"{NAME}.{name}")
