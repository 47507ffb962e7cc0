"""What the lab's charts share: they are drawn with matplotlib, with no window or global state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..files.atomic import atomic_write
from ..optional import PackageError, import_optional

INK, FAINT, PAPER = "#202124", "#ced0d4", "#faf9f7"
COLOURS = ("#1f77b4", "#d55e00", "#009e73", "#cc79a7", "#e69f00")
"""Colours that colour-blind readers tell apart as well (after Okabe and Ito)."""

_DPI = 100


def require_matplotlib() -> None:
    """Raise ``ValueError`` if no chart can be drawn here."""
    try:
        for part in ("figure", "backends.backend_agg", "ticker"):
            import_optional(f"matplotlib.{part}", "matplotlib", '"comfy-glaze[lab]"')
    except PackageError as error:
        raise ValueError(f"Charts need {error}.") from error


def new_figure(width: float, height: float) -> Any:
    """An empty figure of a size in pixels.

    Raises:
        ValueError: matplotlib is not installed, or broken.
    """
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width / _DPI, height / _DPI), dpi=_DPI, facecolor=PAPER)
    FigureCanvasAgg(figure)
    return figure


def style_axes(axes: Any, title: str, grid: str, above: float = 14) -> None:
    """No frame, faint lines across the axis ``grid`` (x, y or both), and a title at the left that
    stands ``above`` points above the axes."""
    axes.set_title(literal(title), loc="left", color=INK, size=12, pad=above)
    axes.set_facecolor(PAPER)
    axes.set_axisbelow(True)
    axes.grid(axis=grid, color=FAINT, linewidth=0.8)
    axes.spines[:].set_visible(False)
    axes.tick_params(which="both", length=0, labelcolor=INK, labelsize=10)


def literal(text: str) -> str:
    """Text as it stands: a dollar sign begins no formula."""
    return text.replace("$", r"\$")


def write_figure(figure: Any, path: Path, *, grow: bool = True) -> None:
    """A figure as a PNG; ``grow`` makes room for labels that reach over its edges."""
    box = {"bbox_inches": "tight", "pad_inches": 0.16} if grow else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI, metadata={"Software": None}, **box)
