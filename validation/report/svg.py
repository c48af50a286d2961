"""matplotlib figures as SVG that stands in the page itself."""

from __future__ import annotations

import io
import re

import matplotlib
import matplotlib.figure
from markupsafe import Markup, escape


def inline_svg(drawing: matplotlib.figure.Figure, name: str, label: str) -> Markup:
    """A figure as one `<svg>` element.

    Parameters
    ----------
    drawing : matplotlib Figure
    name : str
        Put in front of every id, so that no two figures of a page share one.
    label : str
        What the figure shows, for readers who do not see it.

    Returns
    -------
    Markup
        Transparent, as wide as its place; text drawn as paths, so that it needs no font.
    """
    buffer = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": name}):
        drawing.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)

    name = re.sub(r"[^A-Za-z0-9]+", "-", name)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r'xlink:href="#([^"]+)"', rf'href="#{name}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", text)

    head = re.match(r"<svg[^>]*>", text)
    assert head is not None
    box = re.search(r'viewBox="([^"]+)"', head[0])
    assert box is not None
    width = float(box[1].split()[2]) / 72 * 96
    start = Markup('<svg viewBox="{}" role="img" aria-label="{}" style="max-width:{:.0f}px">').format(
        box[1], escape(label), width * 1.15
    )
    return start + Markup(text[head.end() :].strip())
