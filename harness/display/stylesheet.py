"""The style sheet of all pages: the report's, and that of a running sweep; in the light, in the dark and on paper."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

from harness.display import style


def stylesheet(sizes: int = 0) -> str:
    """CSS for a page whose figures tell so many cluster sizes apart by colour."""
    themed = style.dark_colours(sizes)
    sheet = files("harness.display").joinpath("page.css").read_text(encoding="utf-8")
    for name, dark in (("light", False), ("dark", True)):
        sheet = sheet.replace(f"/* colours in the {name} */", _variables(themed, dark=dark))
    return sheet


def variable(colour: str) -> str:
    """The page's variable for a colour of the figures."""
    return f"--c-{colour.removeprefix('#')}"


def _variables(themed: Mapping[str, str], *, dark: bool) -> str:
    return " ".join(f"{variable(light)}: {other if dark else light};" for light, other in themed.items())
