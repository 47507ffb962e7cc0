"""A Chromium for tests, from this machine or playwright's own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def find_chromium() -> str | None:
    """A Chromium of this machine; None lets playwright use its own."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


@contextmanager
def open_chromium() -> Iterator[Any]:
    """A headless browser.

    Raises:
        RuntimeError: the package playwright or a Chromium is missing; says which.
    """
    try:
        from playwright.sync_api import Error, sync_playwright
    except ModuleNotFoundError as error:
        raise RuntimeError("a browser needs the Python package playwright") from error
    with sync_playwright() as driver:
        try:
            browser = driver.chromium.launch(
                executable_path=find_chromium(), args=["--no-sandbox", "--disable-gpu"]
            )
        except Error as error:
            first_line = str(error).splitlines()[0]
            raise RuntimeError(f"a browser needs a Chromium: {first_line}") from error
        try:
            yield browser
        finally:
            browser.close()
