"""Figures as files: pictures of dots, or lines and text that stay such; the same figure gives the same bytes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Format = Literal["png", "svg", "pdf"]
FORMATS: tuple[Format, ...] = get_args(Format)
_DPI = 200
"""Of PNG, and of images within the others."""
_UNDATED: dict[Format, dict[str, None]] = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}


def figure_bytes(figure: Figure, form: Format, /) -> bytes:
    r"""Return a figure as a file of a format. No date is in it.

    >>> from matplotlib.figure import Figure
    >>> [figure_bytes(Figure(), form)[:5] for form in ("png", "svg", "pdf")]
    [b'\x89PNG\r', b'<?xml', b'%PDF-']
    """
    from matplotlib import rc_context

    stream = io.BytesIO()
    # Text of SVG stays text, which can be searched and changed; fonts of PDF are embedded, as TrueType.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "effbench", "pdf.fonttype": 42}):
        figure.savefig(stream, format=form, dpi=_DPI, metadata=_UNDATED[form])
    return stream.getvalue()
