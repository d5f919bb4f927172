r"""The report as LaTeX: its tables alone, to be put into table environments, and a document that compiles as it is.

Tables that are too wide for a page of A4 are split by columns, too long ones by rows. Intervals stand in a line of
their own below the values.
"""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Iterator, Sequence

from apo_lightning.files.characters import visible
from apo_lightning.reports.groups import Group
from apo_lightning.reports.page import FigureFile, Report
from apo_lightning.reports.render import narrow
from apo_lightning.reports.sentences import FOOT
from apo_lightning.reports.table import Cell
from apo_lightning.reports.told import MARK

ABREAST = 6
"""Columns of one tabular beside the labels."""
LINES = 22
"""Rows of one tabular."""
Rows = Sequence[tuple[str, Sequence[tuple[str, Sequence[Cell]]]]]
"""(title of the part, (label, cells) a row)."""


def _greek(letter: str) -> str:
    return "\\" + unicodedata.name(letter).split()[-1].lower()


TEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "→": r"$\to$",
    "–": "--",
    "—": "---",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "×": r"$\times$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "−": r"$-$",
    "’": "'",
    "‘": "`",
    "“": "``",
    "”": "''",
    "…": r"\dots{}",
    "†": r"\dag{}",
    "·": r"$\cdot$",
    **{letter: rf"${_greek(letter)}$" for letter in "αβγδεζηθικμνξπρστυφχψω"},
    "λ": r"$\lambda$",
}
HEAD = r"""\documentclass[a4paper,10pt]{article}
\usepackage[utf8]{inputenc}
\usepackage[margin=2cm]{geometry}
\usepackage{array,booktabs,graphicx}
\setlength{\parindent}{0pt}\setlength{\parskip}{4pt}\sloppy
"""


def tex(text: str) -> str:
    """Text with LaTeX's special characters escaped; a character that its plain fonts lack becomes its number.

    >>> tex("β 50% 😀")
    '$\\\\beta$ 50\\\\% (U+1F600)'
    """
    return "".join(TEX.get(character) or _known(character) for character in visible(" ".join(text.split())))


def _known(character: str) -> str:
    accented = ord(character) < 0x100 and len(unicodedata.normalize("NFD", character)) == 2
    return character if character.isascii() or accented else f"(U+{ord(character):04X})"


def tables(report: Report) -> str:
    """Every table as bare tabulars, with a comment before each that says what it is."""
    lines = [r"% needs \usepackage{array,booktabs}; each tabular fits the width of a page of A4"]
    lines += [f"% {tex(note)}" for note in report.notes if note.startswith(MARK)]
    for title, tabular in _all(report):
        lines += [f"% {tex(title)}", tabular, ""]
    return "\n".join(lines)


def document(report: Report) -> str:
    """All of the report but the texts of studies, as a document; figures lie beside it in figures/."""
    parts = [HEAD, r"\begin{document}", rf"\section*{{{tex(report.name)}}}", rf"\textbf{{{tex(FOOT)}}}"]
    for told in report.told:
        parts += [rf"\subsection*{{{tex(told.name)}}}"] if report.several else []
        parts.append(rf"\textbf{{{tex(told.banner)}}}")
        parts += [rf"\textit{{{tex(title)}:}} {tex(text)}\par" for title, text in told.facts]
    parts += [rf"\textbf{{Note.}} {tex(note)}\par" for note in report.notes]
    for kind in report.warnings:
        parts.append(rf"\textbf{{Warning: {tex(kind.title)}.}} {tex(kind.advice)}\par")
        parts += [rf"{tex(own.place)}: {tex(own.warning)}\par" for own in kind.failures]
    parts += [rf"{tex(sentence)}\par" for sentence in report.counting]
    for title, tabular in _all(report):
        parts.append(_float(title, rf"\footnotesize\setlength{{\tabcolsep}}{{3pt}}{tabular}"))
    parts += [rf"{tex(sentence)}\par" for sentence in report.drift.sentences] if report.drift else []
    parts += [_figure(figure) for figure in report.drawn]
    return "\n\n".join([*parts, r"\end{document}", ""])


def _float(title: str, content: str) -> str:
    """In its place: with so many tables floats would run out of room."""
    begin = r"\begin{minipage}{\textwidth}\centering"
    return rf"{begin}\textbf{{{tex(title)}}}\\[3pt]{content}\end{{minipage}}\par\bigskip"


def _figure(figure: FigureFile) -> str:
    path = f"figures/{figure.name}"
    shown = rf"\includegraphics[width=\textwidth,height=.8\textheight,keepaspectratio]{{{path}}}"
    content = rf"\IfFileExists{{{path}}}{{{shown}\\[2pt]}}{{}}\raggedright\footnotesize {tex(figure.caption)}"
    return _float(figure.title, content)


def _all(report: Report) -> Iterator[tuple[str, str]]:
    """Title and tabular of everything that is a table."""
    for group in report.main:
        yield from _split(group.title, group.heads, _rows(group), _legend(group))
    for own in report.differences:
        heads = ["difference", "p (Holm)", "seeds"]
        rows = [(line.label, [line.cell, Cell(line.p or "–"), Cell(str(line.seeds))]) for line in own.lines]
        yield from _split(f"{report.measure.capitalize()} minus that of {own.against}", heads, [("Arms", rows)])
    for heat in report.zero_shot.heats if report.zero_shot else []:
        rows = [(label, [cell for cell, _ in cells]) for label, cells in heat.rows]
        yield from _split(f"Other data sets: {heat.title}", heat.heads, [("Arms", rows)])
    for table in report.drift.tables if report.drift else []:
        yield from _split(f"Drift: {table.title}", table.heads, [("", table.rows)])
    if report.published:
        parts = [
            (title, [(label, list(map(Cell, own))) for label, own in rows]) for title, rows in report.published.rows
        ]
        yield from _split(
            "The paper's published numbers beside ours; they do not compare", report.published.heads, parts
        )


def _rows(group: Group) -> Rows:
    return [(title, [(row.label, row.cells) for row in rows]) for title, rows in group.sections]


def _legend(group: Group) -> str:
    shortened = [f"{head} {title}" for head, title in group.legend if any(c.finding != "mean" for c in group.columns)]
    return f" ({', '.join(shortened)})" if shortened else ""


def _split(title: str, heads: Sequence[str], rows: Rows, legend: str = "") -> Iterator[tuple[str, str]]:
    """Tabulars that fit a page each, with which part they are."""
    columns = [slice(start, start + ABREAST) for start in range(0, len(heads), ABREAST)]
    parts = [(which, part) for which in columns for part in _chunks(rows)]
    for number, (which, part) in enumerate(parts, 1):
        which_part = f", part {number} of {len(parts)}" if len(parts) > 1 else ""
        yield f"{title}{which_part}{legend}", _tabular(heads[which], part, which)


def _chunks(rows: Rows) -> Iterator[Rows]:
    flat = [(title, row) for title, own in rows for row in own]
    for start in range(0, len(flat), LINES):
        own = flat[start : start + LINES]
        yield [(title, [row for head, row in own if head == title]) for title in dict.fromkeys(t for t, _ in own)]


def _tabular(heads: Sequence[str], parts: Rows, which: slice) -> str:
    stacked = [rf"\shortstack[r]{{{_stack(head)}}}" for head in heads]
    lines = [rf"\begin{{tabular}}{{>{{\raggedright\arraybackslash}}p{{3.8cm}}{'r' * len(heads)}}}", r"\toprule"]
    lines.append(f"{' & '.join(['', *stacked])} \\\\")
    for title, rows in parts:
        lines += [r"\midrule", rf"\multicolumn{{{len(heads) + 1}}}{{l}}{{\textit{{{tex(title)}}}}} \\"]
        for label, cells in rows:
            lines += _row(label, cells[which])
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def _row(label: str, cells: Sequence[Cell]) -> Iterator[str]:
    yield f"{' & '.join([_label(label), *map(_cell, cells)])} \\\\"
    if any(cell.spread for cell in cells):
        below = [rf"{{\scriptsize {_minus(narrow(cell.spread))}}}" if cell.spread else "" for cell in cells]
        yield f"{' & '.join(['', *below])} \\\\"


def _stack(text: str) -> str:
    return r"\\".join(tex(line) for line in textwrap.wrap(text, 13) or [""])


def _label(text: str) -> str:
    """Behind the end of a row ``[`` and ``*`` would belong to that."""
    return re.sub(r"^[\[*]", r"{\g<0>}", tex(text))


def _cell(cell: Cell) -> str:
    text = _minus(tex(cell.value))
    return rf"\textbf{{{text}}}" if cell.bold else text


def _minus(text: str) -> str:
    return re.sub(r"-(?=[\d.])", "$-$", text)
