"""Packages that the library can do without: imported where they are needed, or one sentence."""

from __future__ import annotations

import importlib
import logging
import re
from functools import lru_cache
from importlib.metadata import packages_distributions
from pathlib import Path
from traceback import walk_tb
from typing import Any

from .errors import first_line


class PackageError(ValueError):
    """A package that cannot be used.

    Its text goes on after a verb, as in ``Charts need matplotlib, which is not installed;
    install it with: pip install matplotlib``.
    """


class BrokenPackageError(PackageError):
    """A package that is installed, but that cannot be imported."""


def extra_name(extra: str) -> str:
    """What pip is asked for to get an extra: the package, or the checkout that this code is in."""
    checkout = Path(__file__).resolve().parents[1]
    if (checkout / "pyproject.toml").is_file():
        here = "." if Path.cwd() == checkout else str(checkout)
        return f'"{here}[{extra}]"'
    return f'"comfy-glaze[{extra}]"'


_OWN_EXTRA = re.compile(r'"?comfy-glaze\[(\w+)\]"?')


def import_optional(module: str, package: str, install: str, reinstall: str | None = None) -> Any:
    """A module of an optional package.

    Args:
        module: what is imported, such as ``skimage.color``.
        package: what pip calls it, such as ``scikit-image``.
        install: what pip is asked for where it is missing, such as ``comfy-glaze[quality]``.
        reinstall: what pip is asked for where it is broken; the package unless told otherwise.

    Raises:
        BrokenPackageError: it is installed, but its import fails: a library of the system is
            missing, one of its own dependencies, or it was built for another version of one.
        PackageError: it is not installed.
    """
    top = module.partition(".")[0]
    try:
        importlib.import_module(top)
        return importlib.import_module(module)
    except Exception as error:  # what is built wrongly raises whatever it trips over
        if isinstance(error, ModuleNotFoundError) and error.name == top:
            asked = _OWN_EXTRA.sub(lambda match: extra_name(match[1]), install)
            raise PackageError(
                f"{package}, which is not installed; install it with: pip install {asked}"
            ) from error
        raise BrokenPackageError(
            f"{package}, which is {broken(error, reinstall or package)}"
        ) from error


def import_part(package: str, name: str) -> Any:
    """A class of diffusers or transformers, which import their parts when first asked for them.

    Raises:
        PackageError: the package is missing or broken, or another one that this part needs is.
    """
    whole = import_optional(package, package, package)
    try:
        return getattr(whole, name)
    except (ImportError, OSError, RuntimeError) as error:
        first: BaseException = error
        while first.__cause__ is not None:
            first = first.__cause__
        culprit = package_at_fault(first) or package
        raise BrokenPackageError(f"{culprit}, which is {broken(first, culprit)}") from error


@lru_cache
def import_if_usable(module: str, package: str, install: str) -> Any | None:
    """As :func:`import_optional`, but None for a package that cannot be used.

    One that is broken is told in the log, once.
    """
    try:
        return import_optional(module, package, install)
    except BrokenPackageError as error:
        logging.getLogger(__name__).warning("Left out: what needs %s.", error)
    except PackageError:
        pass
    return None


def broken(error: BaseException, reinstall: str) -> str:
    """Why a package that is installed cannot be imported, and how to reinstall it.

    What it depends on stays as it is: that may be the host's own build of torch.
    """
    if isinstance(error, ModuleNotFoundError):  # pip adds what a package lacks
        return f"installed but broken ({first_line(error)}); mend it with: pip install {reinstall}"
    again = f"pip install --force-reinstall --no-deps {reinstall}"
    return f"installed but broken ({first_line(error)}); reinstall it with: {again}"


def package_at_fault(error: BaseException) -> str | None:
    """What pip calls the package whose import raised an error; None where it is none of pip's."""
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    names = [f.f_globals.get("__name__", "") for f in frames if f.f_code.co_name == "<module>"]
    asked = error.name if isinstance(error, ImportError) else None
    known = packages_distributions()
    for module in (*reversed(names), asked or ""):  # the innermost first
        if top := known.get(module.partition(".")[0]):
            return top[0]
    return None
