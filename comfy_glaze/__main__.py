"""``python -m comfy_glaze``."""

from .cli import main

if __name__ == "__main__":  # and not where --jobs starts processes
    main()
