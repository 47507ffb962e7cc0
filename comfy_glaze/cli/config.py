"""An artist's usual options, in one file: ``config.toml`` in the platform's config folder.

Each command has a table, and each option a line, named as on the command line without its dashes::

    [cloak]
    checkpoint = "/models/sd15.safetensors"
    artist = "Ada"
    preset = "strong"
    uniform = true

What is written on the command line counts more.
"""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from typing import Any

import typer

from ..errors import first_line
from ..files.places import config_folder

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def config_file() -> Path:
    """Where usual options are looked for."""
    return config_folder() / "config.toml"


def read_config(path: Path, command: Any) -> dict[str, Any]:
    """The options of a file, as the command line's parser takes its defaults.

    Args:
        command: the group of all commands, which says what options there are.

    Raises:
        ValueError: the file is no TOML, or it names what no command has.
    """
    try:
        with path.open("rb") as file:
            tables = tomllib.load(file)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise ValueError(f"{path} is not TOML: {first_line(error)}.") from error
    return _options(tables, command, str(path))


def _options(table: dict[str, Any], command: Any, where: str) -> dict[str, Any]:
    """A table's values by the parser's names of the options."""
    commands = getattr(command, "commands", {})
    options = {
        name.lstrip("-"): parameter.name
        for parameter in command.params
        for name in parameter.opts
        if parameter.param_type_name == "option"
    }
    found: dict[str, Any] = {}
    for name, value in table.items():
        if name in commands and isinstance(value, dict):
            found[name] = _options(value, commands[name], f"{where}, [{name}]")
        elif name in options and not commands:
            found[options[name]] = value
        else:
            known = difflib.get_close_matches(name, commands or options, n=1)
            hint = f"; {known[0]} is meant?" if known else "."
            kind = "command" if commands else "option"
            raise ValueError(f"{where}: there is no {kind} called {name}{hint}")
    return found


def tell_config(found: dict[str, Any], path: Path, command: str | None) -> str | None:
    """Which usual options the command at hand takes from the file; None where it takes none."""
    used = found.get(command or "", {})
    if not used:
        return None
    pairs = ", ".join(
        f"{name.replace('_', '-')} = {_in_toml(value)}" for name, value in used.items()
    )
    return f"Usual options from {path}: {pairs}."


def _in_toml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def usual_options(context: typer.Context, path: Path | None) -> str | None:
    """Take the options of ``path``, or of the usual file where there is one, as defaults.

    Returns:
        What to say about them, if anything.

    Raises:
        ValueError: as for :func:`read_config`.
    """
    where = path or config_file()
    if path is None and not where.is_file():
        return None
    context.default_map = read_config(where, context.command)
    return tell_config(context.default_map, where, context.invoked_subcommand)
