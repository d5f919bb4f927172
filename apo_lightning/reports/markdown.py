"""The report as Markdown; figures are linked by their path from the run folder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from urllib.parse import quote

from apo_lightning.files.characters import visible
from apo_lightning.reports import samples as sample_studies
from apo_lightning.reports.groups import Group
from apo_lightning.reports.page import Drift, Report
from apo_lightning.reports.published import Published
from apo_lightning.reports.sentences import FOOT
from apo_lightning.reports.table import Cell
from apo_lightning.reports.zero_shot import ZeroShot


def markdown(report: Report) -> str:
    """The whole report."""
    return "\n\n".join(_parts(report)) + "\n"


def _parts(report: Report) -> Iterator[str]:
    yield from (f"# {md(report.name)}", f"**{FOOT}**")
    for told in report.told:
        if report.several:
            yield f"## {md(told.name)}"
        yield f"**{md(told.banner)}**"
        yield "\n".join(f"- {title}: {md(text)}" for title, text in told.facts)
    yield from (f"> {md(note)}" for note in report.notes)
    if report.failures:
        yield "## Warnings"
        for kind in report.warnings:
            yield f"**{md(kind.title)}**: {md(kind.advice)}" if kind.advice else f"**{md(kind.title)}**"
            yield "\n".join(f"- {md(own.place)}: {md(own.warning)}" for own in kind.failures)
    yield "## Results"
    if report.verdict:
        yield f"**{md(report.verdict)}**"
    for group in report.main:
        yield from _group(group)
    yield from (md(sentence) for sentence in report.counting)
    yield from _differences(report)
    if report.zero_shot:
        yield from _zero_shot(report.zero_shot)
    for figure in report.figures:
        yield from (f"## {md(figure.title)}", f"![{md(figure.alt)}](figures/{figure.name})", md(figure.caption))
    if report.drift:
        yield from ("## Drift of the teachers", *drift_parts(report.drift))
    if report.published:
        yield from _published(report.published)
    if not report.several:
        yield from ("## Example studies", *([report.samples_note] if report.samples_note else []))
        yield from (_sample(sample) for sample in report.samples)


def _group(group: Group) -> Iterator[str]:
    yield f"### {md(group.title)}"
    if group.note:
        yield md(group.note)
    body = []
    for title, rows in group.sections:
        body.append([f"*{title}*", *([""] * len(group.columns))])
        body += [[md(row.label), *(_cell(cell) for cell in row.cells)] for row in rows]
    yield md_table(["", *(md(column.title) for column in group.columns)], body)
    meant = [(title, text) for title, text in group.legend if text != title]
    if meant and all(column.finding == "mean" for column in group.columns):
        yield "\n".join(f"- **{md(title)}**: {md(text)}" for title, text in meant)


def _differences(report: Report) -> Iterator[str]:
    for own in report.differences:
        yield f"### {report.measure.capitalize()} minus that of {md(own.against)}"
        yield "Paired by study and seed."
        tested = any(line.p for line in own.lines)
        heads = ["arm", "difference", "95 % interval", *(["p (Holm)"] if tested else []), "seeds"]
        yield md_table(
            heads,
            [
                [md(line.label), md(line.cell.value), line.cell.spread, *([line.p] if tested else []), str(line.seeds)]
                for line in own.lines
            ],
        )


def _zero_shot(found: ZeroShot) -> Iterator[str]:
    yield "## Other data sets"
    for heat in found.heats:
        yield f"### {md(heat.title)}"
        body = [[md(label), *(_cell(cell) for cell, _ in cells)] for label, cells in heat.rows]
        yield md_table(["", *map(md, heat.heads)], body)
    lines = [f"- {md(own.title)}: {own.size or 'size not recorded'}" for own in found.measured]
    lines += [f"- {md(title)} is left out: {md(why)}" for title, why in found.left_out]
    yield "\n".join(lines)


def _published(found: Published) -> Iterator[str]:
    yield from ("## The paper's published numbers beside ours", md(found.why))
    body: list[list[str]] = []
    for title, rows in found.rows:
        body.append([f"*{md(title)}*", *([""] * len(found.heads))])
        body += [[md(label), *values] for label, values in rows]
    yield md_table(["", *map(md, found.heads)], body)


def drift_parts(found: Drift, level: int = 3) -> Iterator[str]:
    """Sentences, tables and figures as Markdown; figures lie in ``figures/``."""
    head = "#" * level
    yield "\n".join(f"- {md(sentence)}" for sentence in found.sentences)
    for table in found.tables:
        yield f"{head} {md(table.title)}"
        yield from ([md(table.note)] if table.note else [])
        rows = [
            [md(label), *(md(f"{cell.value} {cell.spread}".strip()) for cell in cells)] for label, cells in table.rows
        ]
        yield md_table(["", *map(md, table.heads)], rows)
    for figure in found.figures:
        yield from (f"{head} {md(figure.title)}", f"![{md(figure.alt)}](figures/{figure.name})", md(figure.caption))


def _cell(cell: Cell) -> str:
    value = cell.value.replace("*", r"\*")
    text = f"**{value}**" if cell.bold else value
    return f"{text} {cell.spread}".strip()


def md_table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _sample(sample: sample_studies.Sample) -> str:
    lines = [f"### {md(sample.study)}", f"Present: {md(sample.truth)}"]
    lines += [f"![Radiograph of {md(sample.study)}]({quote(sample.image_path)})"] if sample.image_path else []
    lines += [f"Ground-truth report: {md(sample.report)}"] if sample.report else []
    for title, answers in (
        ("Teachers", sample.teachers),
        ("Preferred (t+)", sample.preferred),
        ("Students", sample.students),
    ):
        if answers:
            lines.append(f"**{title}**\n\n")
            lines[-1] += "\n".join(
                f"- **{md(a.who)}**: {md(a.text)}{f' *({a.verdict})*' if a.verdict else ''}" for a in answers
            )
    return "\n\n".join(lines)


def md(text: str) -> str:
    """Text that Markdown shows as it is: one line, no markup, no HTML.

    >>> md("<b>*1*</b>")
    '&lt;b&gt;\\\\*1\\\\*&lt;/b&gt;'
    """
    one_line = visible(" ".join(text.split())).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]#|~$])", r"\\\1", one_line)
