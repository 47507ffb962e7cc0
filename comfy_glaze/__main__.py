"""``python -m comfy_glaze``."""

from .cli import main

main()
