"""A notebook as a page: texts as they are, code as blocks, the outputs that it was saved with.

``python docs/hooks/notebook.py docs/tour.ipynb`` runs a notebook and keeps what it shows (extra ``notebook``).
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from textwrap import indent
from typing import Any

LONG = 25
"""Lines of text above which an output is folded."""


def markdown(path: Path) -> str:
    """The page of a notebook."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    return "\n\n".join(part for cell in cells for part in _parts(cell)) + "\n"


def run(path: Path) -> None:
    """Run all cells in a kernel of their own and save what they show, without times and without warnings."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, record_timing=False, resources=resources).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    notebook.metadata.pop("language_info", None)  # the version of Python that happened to run it
    nbformat.write(notebook, path)


def _parts(cell: Mapping[str, Any]) -> Iterator[str]:
    source = "".join(cell["source"])
    if cell["cell_type"] != "code":
        yield source
        return
    yield _block("python", source)
    for kind, outputs in groupby(cell["outputs"], _kind):
        yield _shown(kind, list(outputs))


def _kind(output: Mapping[str, Any]) -> str:
    """The richest form that a page can show. What ``rich`` prints is HTML only in a notebook."""
    data = output.get("data", {})
    if "image/png" in data:
        return "image/png"
    return "text/html" if "<table" in "".join(data.get("text/html", ())) else "text/plain"


def _shown(kind: str, outputs: Sequence[Mapping[str, Any]]) -> str:
    """Outputs of one kind, one behind the other."""
    if kind == "text/plain":
        return _text("".join("".join(each.get("text") or each["data"][kind]) for each in outputs))
    parts = ["".join(each["data"][kind]).strip() for each in outputs]
    if kind == "image/png":
        parts = [f'<img alt="what the code above draws" src="data:{kind};base64,{part}">' for part in parts]
    return "\n\n".join(f'<div class="output">{_bare(part)}</div>' for part in parts)


def _bare(html: str) -> str:
    """Without pandas' own looks, so that a table looks as those of the site."""
    return re.sub(r'<style.*?</style>| border="1" class="dataframe"', "", html, flags=re.S)


def _text(text: str) -> str:
    block = _block("text", re.sub(r"\x1b\[[\d;]*m", "", text))
    return f'??? note "What it prints"\n\n{indent(block, "    ")}' if block.count("\n") > LONG else block


def _block(language: str, text: str) -> str:
    return f"`````{language}\n{text.rstrip()}\n`````"


if __name__ == "__main__":
    run(Path(sys.argv[1]))
