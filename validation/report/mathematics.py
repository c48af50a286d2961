"""Text with LaTeX between dollar signs to HTML with MathML, which browsers set without any script."""

from __future__ import annotations

import re
from functools import cache
from xml.etree import ElementTree

import latex2mathml.converter
from markupsafe import Markup, escape

_PIECES = re.compile(r"\$([^$]+)\$([,.;:)]*)|`([^`]+)`")
_UPRIGHT = re.compile(r"\\mathrm\{([A-Za-z][A-Za-z ]+)\}")
_BRACELESS = re.compile(r"\\(mathbb|mathbf|mathcal)\s+([A-Za-z0-9])")
_TIGHT = re.compile(r"<mo(?: stretchy=\"false\")?>(&#x0007C;|&#x0002F;)</mo>")  # | and /
_FUNCTION = re.compile(r"(<mi>(?:log|ln|exp|max|min|sin|cos|rank)</mi>)(?=<m[in])")
_BOLD_DIGIT = re.compile(r'<mn mathvariant="bold">(\d)</mn>')
_NAMESPACE = ' xmlns="http://www.w3.org/1998/Math/MathML"'


def prose(text: str) -> Markup:
    """HTML of a text: ``$...$`` becomes MathML, ```...``` code, all the rest is escaped."""
    parts, end = [], 0
    for piece in _PIECES.finditer(text):
        parts.append(escape(text[end : piece.start()]))
        mathematics, after, code = piece.groups()
        if code:
            parts.append(Markup("<code>{}</code>").format(code))
        elif after:  # a comma must not begin the next line
            parts.append(Markup('<span class="together">{}{}</span>').format(formula(mathematics), after))
        else:
            parts.append(formula(mathematics))
        end = piece.end()
    parts.append(escape(text[end:]))
    return Markup("").join(parts)


@cache
def formula(latex: str, display: str = "inline") -> Markup:
    """MathML of a formula; the LaTeX itself, as code, where it cannot be converted."""
    try:
        # letters of \mathrm come out as one element each, too wide; \text keeps a word together
        source = _BRACELESS.sub(r"\\\1{\2}", _UPRIGHT.sub(r"\\text{\1}", latex))
        markup = _polish(latex2mathml.converter.convert(source, display=display))
        for element in ElementTree.fromstring(markup).iter():
            if not element.tag.startswith("{http://www.w3.org/1998/Math/MathML}m"):
                raise ValueError(f"{element.tag} is not mathematics")
    except Exception:  # the converter has many ways to stumble, and a report must come out
        return Markup('<code class="latex">{}</code>').format(latex)
    return Markup(markup.replace(_NAMESPACE, ""))


def _polish(markup: str) -> str:
    """Spacing and bold digits where browsers and the converter do not agree."""
    markup = _TIGHT.sub(r'<mo lspace="0.03em" rspace="0.03em" stretchy="false">\1</mo>', markup)
    markup = _FUNCTION.sub(r'\1<mspace width="0.167em"/>', markup)
    return _BOLD_DIGIT.sub(lambda digit: f"<mn>{chr(0x1D7CE + int(digit[1]))}</mn>", markup)
