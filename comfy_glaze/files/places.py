"""Where this program keeps what is the artist's own, apart from pictures."""

from __future__ import annotations

from pathlib import Path

import platformdirs


def config_folder() -> Path:
    """The platform's folder for an artist's choices and usual options."""
    return platformdirs.user_config_path("comfy-glaze")


def cache_folder() -> Path:
    """The platform's folder for what can be made again."""
    return platformdirs.user_cache_path("comfy-glaze")
