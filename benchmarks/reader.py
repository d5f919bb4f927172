"""What the reader makes of radiologists' own reports: kinds of texts, and agreement with the index terms of Open-I.

Reads the reports of the official archive (``NLMCXR_reports.tgz`` or its folder). The first table counts, for the seven
canonical findings and NIH's fourteen, how many impressions and findings sections are normal, state a finding, state
nothing, or count as refused. The second compares what whole reports (findings, then impression) are read as stating
with the index terms (``MeSH/automatic``): how many state the finding, how many of those agree, how many are tagged and
not read as present, and the other way round.

    python benchmarks/reader.py FOLDER
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from apo_lightning.findings import CANONICAL, NIH
from apo_lightning.text.labeler import KINDS, kind, parse
from data_modules.archives.open_i_layouts import Report, find_reports, read_reports
from data_modules.open_i import TERMS, OpenI

SECTIONS = ("findings", "impression")


def kinds(reports: Sequence[Report]) -> Table:
    """How many texts of each section are of which kind."""
    table = Table("section", "findings", "texts", *KINDS, "texts per second", title="Kinds of texts")
    for section in SECTIONS:
        texts = [report.sections[section] for report in reports if report.sections.get(section)]
        for name, findings in (("seven", CANONICAL), ("NIH's fourteen", NIH)):
            began = time.perf_counter()
            found = Counter(kind(text, findings) for text in texts)
            speed = len(texts) / (time.perf_counter() - began)
            table.add_row(section, name, str(len(texts)), *(str(found[k]) for k in KINDS), f"{speed:,.0f}")
    return table


def agreement(reports: Sequence[Report]) -> Table:
    """What whole reports state, beside their index terms."""
    table = Table(
        "finding", "stated", "agree", "tagged, not read as present", "present, not tagged", title="Whole reports"
    )
    read = [(report, parse(" ".join(filter(None, map(report.sections.get, SECTIONS))), NIH)) for report in reports]
    for name in (finding for finding in NIH if finding in TERMS):
        tagged = [any(word in term for word in TERMS[name] for term in report.terms or ()) for report, _ in read]
        said = [values.get(name) for _, values in read]
        pairs = [(tag, value) for tag, value in zip(tagged, said, strict=True) if value in (0.0, 1.0)]
        agree = sum(tag == bool(value) for tag, value in pairs) / max(1, len(pairs))
        missed = sum(tag and value != 1.0 for tag, value in zip(tagged, said, strict=True))
        extra = sum(not tag and value == 1.0 for tag, value in pairs)
        table.add_row(name, str(len(pairs)), f"{agree:.4f}", str(missed), str(extra))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="holds the reports and the folder of images, as docs/data.md says")
    parser.add_argument("--reports", default="NLMCXR_reports.tgz")
    own = parser.parse_args()
    data = OpenI(root=str(own.folder), index_file=own.reports)
    reports = read_reports(data, find_reports(own.folder, own.reports))
    Console().print(kinds(reports), agreement(reports))


if __name__ == "__main__":
    main()
