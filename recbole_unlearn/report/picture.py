"""Drawings as files."""

from os import PathLike
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

DOTS_PER_INCH = 130  # of a PNG


def save_drawing(drawing: Figure, path: str | PathLike) -> None:
    """Write a drawing as its path ends, ``.png`` or ``.svg``; the same drawing gives the same bytes."""
    kind = Path(path).suffix[1:]
    with matplotlib.rc_context({"svg.hashsalt": "recbole_unlearn"}):
        drawing.savefig(path, dpi=DOTS_PER_INCH, format=kind, metadata={"Date": None} if kind == "svg" else None)
