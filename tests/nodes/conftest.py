"""The pack, loaded as ComfyUI loads it (by path, under a name of the host's), on stand-ins."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from ..conftest import smooth_picture
from .stand_ins import ModelManagement, Server, host_modules

ROOT = Path(__file__).parent.parent.parent
NAME = "/custom_nodes/a-pack"  # the host names a pack by its path


class Pack:
    """The loaded pack: its modules, and its nodes by id, each run as the host runs it."""

    def __init__(self, base: Path) -> None:
        self.base = base

    def module(self, name: str) -> ModuleType:
        return importlib.import_module(f"{NAME}.{name}")

    def run(self, node_id: str, hidden: Any = None, **inputs: Any) -> Any:
        """Execute a node under inference mode, with the defaults of widgets that are not given.

        A node that wants lists gets them: a single value as a list of one.  Where all values are
        single, so are its outputs.
        """
        node = self.nodes[node_id]
        single = not any(isinstance(value, list) for value in inputs.values())
        defaults = {
            socket.id: socket.options["default"]
            for socket in node.define_schema().inputs
            if "default" in socket.options
        }
        given = defaults | inputs
        if node.define_schema().is_input_list:
            given = {k: v if isinstance(v, list) else [v] for k, v in given.items()}
        as_run = type(node.__name__, (node,), {"hidden": hidden})
        with torch.inference_mode():
            output = as_run.execute(**given)
        if node.define_schema().is_input_list and single:
            outputs = zip(node.define_schema().outputs, output.args, strict=True)
            output.args = tuple(
                value[0] if socket.options.get("is_output_list") else value
                for socket, value in outputs
            )
        return output

    @property
    def nodes(self) -> dict[str, Any]:
        names = self.module("nodes.entry").NODE_MODULES
        found = [node for name in names for node in self.module(f"nodes.{name}").NODES]
        return {node.define_schema().node_id: node for node in found}

    @property
    def memory(self) -> ModelManagement:
        found: Any = sys.modules["comfy.model_management"]
        return found

    @property
    def server(self) -> Server:
        found: Server = sys.modules["server"].PromptServer.instance
        return found


@pytest.fixture
def pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pack]:
    base = tmp_path / "comfy"
    base.mkdir()
    for name, module in host_modules(base).items():
        monkeypatch.setitem(sys.modules, name, module)
    spec = importlib.util.spec_from_file_location(
        NAME, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, NAME, module)
    spec.loader.exec_module(module)
    yield Pack(base)
    for name in [name for name in sys.modules if name.startswith(f"{NAME}.")]:
        del sys.modules[name]


def host_picture(height: int = 64, width: int = 64, seed: int = 0, batch: int = 1) -> Tensor:
    """Pictures as the host passes them on: (B, H, W, 3), inference tensors."""
    with torch.inference_mode():
        return smooth_picture(height, width, seed, batch).movedim(1, -1).clone()


@pytest.fixture
def one_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A cache that tests share, so that the bank of the stand-in VAE is made once."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "one-cache"))
