"""The report as one self-contained HTML file: styles inline, figures and images as data URIs, every text escaped."""

from __future__ import annotations

import re
from pathlib import Path

import jinja2
from markupsafe import Markup

from apo_lightning.files.characters import visible
from apo_lightning.reports.page import Report
from apo_lightning.reports.sentences import FOOT


def html(report: Report) -> str:
    """The page. It asks for nothing outside itself; a part that brings its own script says so in ``report.csp``."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finished,
    )
    environment.filters["narrow"] = narrow
    return environment.get_template("report.html.j2").render(report=report, foot=FOOT)


def _finished(value: object) -> object:
    """Texts with what commands written out; markup of our own stays as it is."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def narrow(spread: str) -> str:
    """An interval without its leading zeros.

    >>> narrow("[-0.250, 0.300]")
    '[-.250, .300]'
    """
    return re.sub(r"\b0\.", ".", spread)
