"""Make a figure's SVG part of a page: no outside names, no clashing ids, and colours that follow the page."""

from __future__ import annotations

import re
from collections.abc import Mapping

from harness.display.stylesheet import variable

_PROLOGUE = re.compile(r"^.*?(?=<svg\b)", re.DOTALL)
_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
# Matplotlib's rule for `*` would hold for the whole page; the page's own style sheet has it for figures.
_STYLE = re.compile(r"<style\b.*?</style>", re.DOTALL)
_NAMESPACE = re.compile(r'\s+xmlns(?::\w+)?="[^"]*"')
_SIZE = re.compile(r'(<svg\b[^>]*?)\s+width="[^"]*"')
_HEIGHT = re.compile(r'(<svg\b[^>]*?)\s+height="[^"]*"')
_REFERENCE = re.compile(r'(\bid="|url\(#|xlink:href="#|\bhref="#)')
_HEX = re.compile(r"(?<=[:\s\"])#[0-9a-f]{6}\b")


def inline(svg: str, name: str, themed: Mapping[str, str]) -> str:
    """An SVG document as an element of an HTML page.

    Ids are prefixed with `name`; every colour that is a key of `themed` becomes a reference to the page's variable for it.
    Text in the document is left alone.
    """
    body = _METADATA.sub("", _STYLE.sub("", _PROLOGUE.sub("", svg, count=1)))
    pieces = re.split(r"(<[^>]*>)", body)
    return "".join(_tag(piece, name, themed) if piece.startswith("<") else piece for piece in pieces).strip()


def _tag(tag: str, name: str, themed: Mapping[str, str]) -> str:
    tag = _HEIGHT.sub(r"\1", _SIZE.sub(r"\1", _NAMESPACE.sub("", tag)))
    tag = _REFERENCE.sub(lambda match: f"{match[1].replace('xlink:', '')}{name}-", tag)
    return _HEX.sub(lambda match: f"var({variable(match[0])})" if match[0] in themed else match[0], tag)
