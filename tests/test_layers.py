"""Who may import whom, read from the source: every import statement, also inside functions.

What only type checkers read counts for the layers, but makes no cycle.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = (
    ("errors", "optional", "resampling", "images", "devices"),
    ("files",),
    ("networks",),
    ("styles",),
    ("cloaking",),
    ("countermeasures",),
    ("judges",),
    ("poison",),
    ("portfolio",),
    ("evaluation",),
    ("cli",),
)
"""The parts of ``comfy_glaze``, the lowest first; none imports a higher one."""

HEIGHT = {name: height for height, names in enumerate(LAYERS) for name in names}
HOST = {"comfy", "comfy_execution", "folder_paths", "latent_preview", "nodes", "server"}
"""Top-level modules of ComfyUI that it promises nobody."""


class Import(NamedTuple):
    """``importer`` imports ``imported``: dotted names, those of the pack from its root."""

    importer: str
    imported: str
    for_types: bool

    def __str__(self) -> str:
        return f"{self.importer} imports {self.imported}"


def module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules(root: Path) -> dict[str, Path]:
    """Every module of the pack by its name from the root."""
    files = [path for top in ("comfy_glaze", "nodes") for path in (root / top).rglob("*.py")]
    return {module_name(path, root): path for path in files}


def statements(node: ast.AST, for_types: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    """Every import statement, and whether only a type checker reads it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, for_types
        elif isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for part in child.body:
                yield from statements(ast.Module([part], []), True)
            for part in child.orelse:
                yield from statements(ast.Module([part], []), for_types)
        else:
            yield from statements(child, for_types)


def imports(root: Path) -> list[Import]:
    """What the modules of the pack import.

    A name that is imported from the pack is followed to the module that it is, if it is one.
    Absolute imports keep their name, with a dot before it, so that the host's ``nodes`` is not
    taken for the pack's.
    """
    known = modules(root)
    found = []
    for importer, path in known.items():
        package = importer.split(".") if path.name == "__init__.py" else importer.split(".")[:-1]
        for statement, for_types in statements(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(statement, ast.Import):
                names = [f".{alias.name}" for alias in statement.names]
            else:
                assert isinstance(statement, ast.ImportFrom)
                module = statement.module.split(".") if statement.module else []
                if statement.level == 0:
                    names = [f".{statement.module}"]
                else:
                    base = [*package[: len(package) + 1 - statement.level], *module]
                    inner = [".".join([*base, alias.name]) for alias in statement.names]
                    names = [name if name in known else ".".join(base) for name in inner]
            found += [Import(importer, name, for_types) for name in dict.fromkeys(names)]
    return found


def upward(found: list[Import]) -> list[str]:
    """Imports inside ``comfy_glaze`` that lead to a higher part, or to or from one that has no
    place among the layers."""
    wrong = []
    for one in found:
        importer, imported = one.importer.split("."), one.imported.split(".")
        if importer[0] != "comfy_glaze" or imported[0] != "comfy_glaze":
            continue
        if len(importer) < 2 or importer[1] == "__main__" or len(imported) < 2:
            continue  # the version, and what starts the command line
        above, below = HEIGHT.get(importer[1]), HEIGHT.get(imported[1])
        if above is None or below is None or below > above:
            wrong.append(str(one))
    return wrong


def forbidden(found: list[Import]) -> list[str]:
    """Imports of the host, of the nodes by the library, and of the lab by the nodes."""
    wrong = []
    for one in found:
        outside = one.imported.split(".")[1] if one.imported.startswith(".") else None
        if one.importer.startswith("comfy_glaze"):
            bad = outside in {*HOST, "comfy_api"} or one.imported.startswith("nodes")
        else:
            host = outside in HOST and not one.importer.startswith("nodes.host")
            lab = one.imported.startswith(("comfy_glaze.evaluation", "comfy_glaze.cli"))
            api = outside == "comfy_api" and not one.imported.startswith(".comfy_api.latest")
            bad = host or lab or api
        if bad or outside == "comfy_glaze":
            wrong.append(str(one))
    return wrong


def cycle(found: list[Import]) -> list[str]:
    """Modules that import each other in a circle, or nothing."""
    graph: dict[str, set[str]] = {}
    for one in found:
        if not (one.for_types or one.imported.startswith(".") or one.imported == one.importer):
            graph.setdefault(one.importer, set()).add(one.imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.fixture(scope="module")
def found() -> list[Import]:
    return imports(ROOT)


def test_the_library_imports_downwards(found: list[Import]) -> None:
    assert upward(found) == []


def test_the_library_knows_no_host_and_the_nodes_no_lab(found: list[Import]) -> None:
    assert forbidden(found) == []


def test_no_modules_import_each_other_in_a_circle(found: list[Import]) -> None:
    assert cycle(found) == []


WRONG = {
    "comfy_glaze/files/__init__.py": "",
    "comfy_glaze/files/reading.py": "from ..networks import encoders\nfrom . import writing",
    "comfy_glaze/files/writing.py": "def write():\n    from .reading import read",
    "comfy_glaze/networks/__init__.py": "",
    "comfy_glaze/networks/encoders.py": "import comfy.utils\nfrom ...nodes import cloak",
    "comfy_glaze/utils.py": "from . import images",
    "comfy_glaze/images.py": "import torch\nif TYPE_CHECKING:\n    from .styles import bank",
    "comfy_glaze/devices.py": "import torch\nfrom . import images",
    "comfy_glaze/styles/bank.py": "from .. import images",
    "nodes/__init__.py": "",
    "nodes/cloak.py": "from comfy_api.latest import io\nimport nodes\nfrom .host import memory",
    "nodes/host/__init__.py": "",
    "nodes/host/memory.py": "import comfy.model_management\nfrom comfy_glaze import images",
    "nodes/lab.py": "def run():\n    from ..comfy_glaze.evaluation import speed",
}


def test_what_is_wrong_is_found(tmp_path: Path) -> None:
    for name, text in WRONG.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    found = imports(tmp_path)
    assert sorted(upward(found)) == [
        "comfy_glaze.files.reading imports comfy_glaze.networks.encoders",
        "comfy_glaze.images imports comfy_glaze.styles.bank",
        "comfy_glaze.utils imports comfy_glaze.images",
    ]
    assert sorted(forbidden(found)) == [
        "comfy_glaze.networks.encoders imports .comfy.utils",
        "comfy_glaze.networks.encoders imports nodes.cloak",
        "nodes.cloak imports .nodes",
        "nodes.host.memory imports .comfy_glaze",
        "nodes.lab imports comfy_glaze.evaluation",
    ]
    assert set(cycle(found)) == {"comfy_glaze.files.reading", "comfy_glaze.files.writing"}
