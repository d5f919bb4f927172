"""The report as text: Markdown, one self-contained HTML file, and a LaTeX table."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import pandas as pd

from apo_lightning.characters import visible
from apo_lightning.metrics.bootstrap import RESAMPLES, SEED
from apo_lightning.reports import samples as sample_studies
from apo_lightning.reports import table as results
from apo_lightning.reports.measured import Results

SECTIONS = {"arm": "Arms", "teacher": "Teachers", "baseline": "Baselines"}
FACTS = {
    "created": "Date",
    "commit": "Git commit",
    "seeds": "Seeds",
    "command": "Command",
    "machine": "Machine",
    "versions": "Versions",
}
FOOT = "Not for clinical use."
COUNTING = (
    "A refusal, or an answer that states nothing, counts as wrong on every labelled finding; one that calls the film "
    "normal, and states no finding as present, denies all. In an otherwise readable answer a finding that is not "
    "stated counts as absent. Studies without a label for a finding do not count for it.",
    "Values are means over seeds. In brackets: the 95 % interval of a bootstrap over patients, with all their studies, "
    f"stretched by how far the seeds lie apart ({RESAMPLES:,} resamples, percentiles; seed {SEED}). It is left out "
    "where nothing differs, as for a share of 0 or 1. One seed's interval is that of the student it gave, not of the "
    "next; two seeds that lie far apart, or some ten patients, tell little of how they vary, and it is too narrow.",
    "Bold: the best arm of a column, and only if the interval of its difference from every other arm, paired by study "
    "and seed, excludes 0; not corrected for the number of columns. Log-probabilities have no best.",
    "a → b: before and after the arm's preference stage; a single number where the arm has none.",
)


@dataclass(frozen=True)
class FigureFile:
    """A rendered figure: file name under figures/, title, what to see, alternative text."""

    name: str
    title: str
    caption: str
    alt: str
    data: bytes

    @property
    def uri(self) -> str:
        return f"data:image/png;base64,{base64.b64encode(self.data).decode()}"


@dataclass(frozen=True)
class Report:
    """Everything that the three written forms show."""

    name: str
    facts: list[tuple[str, str]]
    notes: list[str]
    results: Results
    figures: list[FigureFile]
    samples: list[sample_studies.Sample]
    samples_note: str

    @property
    def columns(self) -> list[results.Column]:
        return results.columns(self.results.values)

    @property
    def sections(self) -> list[tuple[str, list[results.Row]]]:
        return sections(self.results)

    @property
    def measure(self) -> str:
        """Title of what arms are compared in."""
        return results.title(self.results.values)

    @property
    def counting(self) -> list[str]:
        """How to read the table; how much it is measured on, and what is left out of it, come first."""
        return [*measured_on(self.results), *left_out(self.results.values), *COUNTING]

    @property
    def legend(self) -> list[tuple[str, str]]:
        """Title and meaning of every column; the findings share one line."""
        each = (
            [("one column a finding", "Top-1 accuracy on that finding")]
            if results.findings(self.results.values)
            else []
        )
        return each + [(c.title, c.meaning) for c in self.columns if c in results.SUMMARY]

    @property
    def differences(self) -> tuple[str, list[tuple[str, int, results.Cell]]]:
        return differences(self.results)


def measured_on(found: Results) -> list[str]:
    """A sentence that says how many studies and patients the arms were measured on; none where that was not kept."""
    metrics = found.intervals.index.get_level_values("metric")
    own = found.intervals[metrics == results.measure(found.values)]
    own = own.loc[["arm"]] if "arm" in own.index.get_level_values("kind") else own
    sizes = list(dict.fromkeys(zip(own["studies"], own["patients"], strict=True)))
    return [f"Measured on {' and '.join(f'{s:,.0f} studies of {p:,.0f} patients' for s, p in sizes)}."] if sizes else []


def left_out(frame: pd.DataFrame) -> list[str]:
    """A sentence that names the findings which have no value where two classes are compared; none if all have."""
    names = results.one_class(frame)
    titles = [c.title for c in results.SUMMARY if c.metric in results.BOTH_CLASSES and c in results.columns(frame)]
    if not names:
        return []
    said = ", ".join(name.replace("_", " ") for name in names)
    return [f"Left out of {' and '.join(titles)}, since their labels in this split are all of one class: {said}."]


def cut_off(frame: pd.DataFrame, limit: float | None) -> list[str]:
    """A warning that names the rows of which too many texts have no end of their own; none where few have not."""
    rows = results.cut_off(frame, limit) if limit is not None else []
    if not rows:
        return []
    said = ", ".join(f"{label} {share:.0%}" for label, share in rows)
    return [
        f"Cut off: more than {limit:.0%} of the texts ran into max_new_tokens, and what was not written is counted as "
        f"not said: {said}. Raise evaluate.max_new_tokens, and for t+ stages.self_distill.max_new_tokens."
    ]


def sections(found: Results) -> list[tuple[str, list[results.Row]]]:
    """Printed rows under the title of their kind; kinds without rows are left out."""
    rows = results.rows(found)
    grouped = [(title, [row for row in rows if row.kind == kind]) for kind, title in SECTIONS.items()]
    return [(title, own) for title, own in grouped if own]


def differences(found: Results) -> tuple[str, list[tuple[str, int, results.Cell]]]:
    """Label of the reference arm, and (label, shared seeds, difference) for every other arm."""
    against = results.reference_arm(found.values)
    if against is None:
        return "", []
    table = results.differences(found, against=against)
    lines = [
        (str(row["label"]), int(row["n"]), signed(row["mean"], row["low"], row["high"]))
        for _, row in table.iterrows()
        if row["n"] > 0
    ]
    return results.arm_labels(found.values)[against], lines


def signed(mean: float, low: float, high: float) -> results.Cell:
    """A difference with its sign, and its interval."""
    return results.Cell(f"{mean:+.3f}", "" if pd.isna(low) else f"[{low:+.3f}, {high:+.3f}]")


def facts(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the header says of the run; what the manifest lacks is said to be not recorded."""
    joints = {key: " " if key == "command" else ", " for key in FACTS}
    said = [(title, _plain(manifest.get(key), joints[key]) or "not recorded") for key, title in FACTS.items()]
    return said + _data_facts(manifest)


def _data_facts(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Sizes of the splits, what is not used, and whom to cite; nothing where the manifest is silent."""
    data = manifest.get("data", {})
    gone = {"of tested patients": data.get("removed"), "unusable": data.get("unusable"), **data.get("left_out", {})}
    left = ", ".join(f"{count:,} {why}" for why, count in gone.items() if count)
    sizes = ", ".join(f"{split} {count:,}" for split, count in data.get("studies", {}).items())
    told = {"Studies": f"{sizes}; left out: {left}" if left else sizes, "Data": manifest.get("citation", "")}
    return [(title, text) for title, text in told.items() if text]


def _plain(value: Any, joint: str) -> str:
    if isinstance(value, Mapping):
        return joint.join(f"{name} {_plain(item, joint)}" for name, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return joint.join(_plain(item, joint) for item in value)
    return "" if value is None else str(value)


def html(report: Report) -> str:
    """The report as one HTML file: styles inline, figures and images as data URIs, no scripts, every text escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        finalize=lambda value: visible(value) if isinstance(value, str) else value,
    )  # fmt: skip
    return environment.get_template("report.html.j2").render(report=report, foot=FOOT)


def markdown(report: Report) -> str:
    """The report as Markdown; figures are linked by their path from the run folder."""
    parts = [f"# {md(report.name)}", f"**{FOOT}**"]
    parts.append("\n".join(f"- {title}: {md(text)}" for title, text in report.facts))
    parts += [f"> {md(note)}" for note in report.notes]
    parts += ["## Results", _md_results(report)]
    parts.append("\n".join(f"- **{title}**: {meaning}" for title, meaning in report.legend))
    parts += [md(sentence) for sentence in report.counting]
    against, lines = report.differences
    if lines:
        body = [[md(label), cell.text, cell.spread, str(n)] for label, n, cell in lines]
        parts += [f"### {report.measure.capitalize()} minus that of {md(against)}", "Paired by study and seed."]
        parts.append(_md_table(["arm", "difference", "95 % interval", "seeds"], body))
    for figure in report.figures:
        parts += [f"## {figure.title}", f"![{figure.alt}](figures/{figure.name})", figure.caption]
    parts += ["## Example studies", *([report.samples_note] if report.samples_note else [])]
    parts += [_md_sample(sample) for sample in report.samples]
    return "\n\n".join(parts) + "\n"


def _md_results(report: Report) -> str:
    body = []
    for title, rows in report.sections:
        body.append([f"*{title}*", *([""] * len(report.columns))])
        body += [[md(row.label), *(_md_cell(cell) for cell in row.cells)] for row in rows]
    return _md_table(["", *(md(column.title) for column in report.columns)], body)


def _md_cell(cell: results.Cell) -> str:
    text = f"**{cell.value}**" if cell.bold else cell.value
    return f"{text} {cell.spread}".strip()


def _md_table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _md_sample(sample: sample_studies.Sample) -> str:
    lines = [f"### {md(sample.study)}", f"Present: {md(sample.truth)}"]
    lines += [f"![Radiograph of {md(sample.study)}]({quote(sample.image_path)})"] if sample.image_path else []
    lines += [f"Ground-truth report: {md(sample.report)}"] if sample.report else []
    for title, answers in (
        ("Teachers", sample.teachers), ("Preferred (t+)", sample.preferred), ("Students", sample.students),
    ):  # fmt: skip
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


TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "→": r"$\to$", "–": "--",
}  # fmt: skip


def tex(text: str) -> str:
    """Text with LaTeX's special characters escaped."""
    return "".join(TEX.get(character, character) for character in visible(" ".join(text.split())))


def latex(report: Report) -> str:
    """The results as a bare tabular (booktabs), to be put into a table environment."""
    width = len(report.columns) + 1
    head = " & ".join(["", *(tex(column.title) for column in report.columns)])
    lines = ["% needs \\usepackage{booktabs}; wide: set it with \\resizebox or in landscape"]
    lines += [rf"\begin{{tabular}}{{l{'r' * (width - 1)}}}", r"\toprule", rf"{head} \\"]
    for title, rows in report.sections:
        lines += [r"\midrule", rf"\multicolumn{{{width}}}{{l}}{{\textit{{{title}}}}} \\"]
        lines += [
            " & ".join([_tex_label(row.label), *(_tex_cell(cell) for cell in row.cells)]) + r" \\" for row in rows
        ]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _tex_label(text: str) -> str:
    """Behind the end of a row ``[`` and ``*`` would belong to that."""
    return re.sub(r"^[\[*]", r"{\g<0>}", tex(text))


def _tex_cell(cell: results.Cell) -> str:
    text = rf"\textbf{{{tex(cell.value)}}}" if cell.bold else re.sub(r"-(?=\d)", "$-$", tex(cell.value))
    return f"{text} {tex(cell.spread)}".strip()
