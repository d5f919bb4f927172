"""Open-I / IU X-ray: 3,955 reports of Indiana University with 7,470 radiographs, index terms, free to use."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from apo_lightning.findings import NO_FINDING
from apo_lightning.types import Study
from data_modules import DATA
from data_modules.archives.open_i_layouts import (
    PROJECTIONS,
    SECTIONS,
    Report,
    find_reports,
    image_key,
    r2gen_splits,
    read_reports,
    read_views,
)
from data_modules.folder import FolderDataModule
from data_modules.tables import look_for

TERMS: dict[str, tuple[str, ...]] = {
    "atelectasis": ("atelectasis", "atelectases"),
    "calcified_granuloma": ("calcified granuloma",),
    "cardiomegaly": ("cardiomegaly",),
    "edema": ("edema",),
    "emphysema": ("emphysema",),
    "fibrosis": ("fibrosis",),
    "fracture": ("fracture",),
    "granuloma": ("granuloma",),
    "hernia": ("hernia",),
    "infiltration": ("infiltration", "infiltrate"),
    "lung_lesion": ("lesion",),
    "lung_opacity": ("opacity",),
    "mass": ("mass",),
    "nodule": ("nodule",),
    "pleural_effusion": ("effusion",),
    "pleural_thickening": ("pleural thickening", "thickening/pleura"),
    "pneumonia": ("pneumonia",),
    "pneumothorax": ("pneumothorax",),
}
"""Finding to the words of which one is part of an index term that means it, in lower case. The 18 of torchxrayvision's
and CARZero's lists. They overlap: a calcified granuloma is a granuloma too, any effusion counts as pleural."""
NOT_INDEXED = "no indexing"
MASK = re.compile(r"(?<![\w'-])[\w'-]*?XXXX[\w'-]*")
"""What hides a name, and the word that it is part of: ``x-XXXX`` for x-ray, ``XXXX-year-old``."""
CHOICES = {"masks": ("keep", "strip"), "official_split": ("none", "r2gen"), "unindexed": ("absent", "unknown")}


@DATA.register("open_i")
@dataclass(eq=False, kw_only=True)
class OpenI(FolderDataModule):
    """Open-I, also called IU X-ray, in the official form (XML), Kaggle's (``indiana_reports.csv``) or R2Gen's.

    A finding is 1 where an index term of the report contains one of the words in ``TERMS``, and 0 elsewhere;
    ``no_finding`` is 1 where none of the 18 is, though something else may be. The official XML's terms are
    ``MeSH/automatic``, as in torchxrayvision; Kaggle's are the hand-made ``MeSH`` and ``Problems``, so that labels of
    the two forms differ. R2Gen's form has no terms: its findings are unknown. Each patient has one study.

    The images are CC BY-NC-ND 4.0: no commercial use, and modified images must not be passed on.

    Args:
        index_file: folder or file inside ``root`` that holds the reports; None takes the first that is there of
            ``ecgen-radiology``, ``NLMCXR_reports.tgz`` (read without unpacking), ``indiana_reports.csv`` and
            ``annotation.json``.
        views_file: table with ``imageid`` or ``filename``, and ``view``, ``projection``, ``View Position`` or
            torchxrayvision's ``tsne-view``; below ``root`` or absolute. None takes Kaggle's ``indiana_projections.csv``
            where it is there. The XML does not tell the view, and its first image is not always the frontal one.
        views: ``frontal``, ``lateral`` or both; images of these views are used, first those of the first, and then
            images whose view is unknown.
        max_images: images of a study at most, >= 1.
        sections: parts of the report that are joined to its text, of ``findings``, ``impression``, ``comparison`` and
            ``indication``. R2Gen's form has ``findings`` alone.
        masks: ``keep`` or ``strip`` the ``XXXX`` that hides names and dates. It often hides a word that matters, so a
            stripped sentence may read oddly; kept masks are learnt, and count in BLEU.
        unindexed: what the findings of a report are that nobody indexed (``No Indexing``, 95 reports) and that has no
            matching term: ``absent``, as in torchxrayvision, or ``unknown``.
        official_split: ``none`` cuts by patient; ``r2gen`` reads ``r2gen_split.csv`` or ``annotation.json`` in ``root``
            and leaves out what they do not list.
        whole: all studies are tested on, as for zero-shot classification.
    """

    index_file: str | None = None
    views_file: str | None = None
    views: list[str] = field(default_factory=lambda: ["frontal"])
    max_images: int = 1
    sections: list[str] = field(default_factory=lambda: ["findings", "impression"])
    masks: str = "keep"
    unindexed: str = "absent"
    official_split: str = "none"
    whole: bool = False

    elsewhere: ClassVar[dict[str, str]] = {"reports_file": "It is index_file now"}
    vocabulary: ClassVar[tuple[str, ...]] = tuple(sorted([*TERMS, NO_FINDING]))
    citation: ClassVar[str] = (
        "D. Demner-Fushman, M. D. Kohli, M. B. Rosenman, S. E. Shooshan, L. Rodriguez, S. Antani, G. R. Thoma, "
        "C. J. McDonald. Preparing a collection of radiology examinations for distribution and retrieval. JAMIA 23(2), "
        "2016, doi:10.1093/jamia/ocv080. Indiana University, CC BY-NC-ND 4.0, https://openi.nlm.nih.gov"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for key, allowed in CHOICES.items():
            if getattr(self, key) not in allowed:
                raise ValueError(f"{key} must be {' or '.join(allowed)}, got '{getattr(self, key)}'")
        for key, allowed in (("views", ("frontal", "lateral")), ("sections", SECTIONS)):
            if not getattr(self, key) or not set(getattr(self, key)) <= set(allowed):
                raise ValueError(f"{key} must be some of {', '.join(allowed)}, got {getattr(self, key)}")
        if self.max_images < 1:
            raise ValueError(f"max_images must be >= 1, got {self.max_images}")
        if self.whole:
            if self.official_split != "none" or self.split_file:
                raise ValueError("whole must be false where official_split or split_file is set, got true")
            self.splits = ("test",)

    def read_index(self) -> list[Study]:
        """Studies by uid, those that have an image of ``views``."""
        source = find_reports(self.folder, self.index_file)
        reports = self._in_splits(self._with_views(read_reports(self, source), source), source)
        if any(report.terms is None for report in reports):
            self.say(f"{source.name} has no labels: findings are unknown; its reports are findings sections alone")
        known: dict[frozenset[str] | None, dict[str, float]] = {}
        studies = []
        for report in reports:
            images = self._chosen(report.images)
            if not images:
                self.left_out["no image" if not report.images else f"no {' or '.join(self.views)} image"] += 1
                continue
            present = self._present(report)
            findings = known.setdefault(present, _findings(present))
            paths, views = zip(*images, strict=True)
            text = report_text(report.sections, self.sections, strip=self.masks == "strip")
            studies.append(
                Study(
                    report.uid,
                    report.uid,
                    report.split,
                    paths,
                    findings,
                    report=text,
                    views=tuple(view.upper() for view in views),
                )
            )
        self._say_what_is_lacking(studies)
        return studies

    def _say_what_is_lacking(self, studies: list[Study]) -> None:
        silent = sum(study.report is None for study in studies)
        unseen = sum("" in study.views for study in studies)
        self.say(f"{len(studies):,} studies have images, {silent:,} of them no report text")
        if unseen:
            self.say(
                f"{unseen:,} studies are used with an image of unknown view, perhaps a lateral one; see views_file"
            )

    def _with_views(self, reports: list[Report], source: Path) -> list[Report]:
        """Views from a table, where there is one, in place of those that the source has."""
        path = self.folder / Path(self.views_file).expanduser() if self.views_file else None
        if path is None and ".csv" not in source.suffixes:  # Kaggle's reports come with it
            path = look_for(self.folder, (PROJECTIONS,))
        if path is not None:
            listed = read_views(path, self.faults)
            self.say(f"views from {path.name}: {len(listed):,} images")
            reports = [
                replace(report, images=tuple((name, listed.get(image_key(name), view)) for name, view in report.images))
                for report in reports
            ]
        return reports

    def _in_splits(self, reports: list[Report], source: Path) -> list[Report]:
        if self.whole or self.official_split == "none":
            return [replace(report, split="test" if self.whole else "") for report in reports]
        if source.suffix != ".json":
            listed = r2gen_splits(self.folder, self.faults)
            reports = [replace(report, split=listed.get(report.uid, "")) for report in reports]
        kept = [report for report in reports if report.split]
        self.left_out.update("not in R2Gen's split" for report in reports if not report.split)
        return kept

    def _chosen(self, images: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Images of the wanted views in their order, then those of unknown view, ``max_images`` at most."""
        order = {view: place for place, view in enumerate([*self.views, ""])}
        kept = [image for image in images if image[1] in order]
        return sorted(kept, key=lambda image: order[image[1]])[: self.max_images]

    def _present(self, report: Report) -> frozenset[str] | None:
        """Findings that the terms name; None where nothing is known."""
        if report.terms is None:
            return None
        found = frozenset(name for name, words in TERMS.items() if any(w in t for w in words for t in report.terms))
        return None if not found and NOT_INDEXED in report.headings and self.unindexed == "unknown" else found


def _findings(present: frozenset[str] | None) -> dict[str, float]:
    if present is None:
        return dict.fromkeys(OpenI.vocabulary, math.nan)
    return {name: float(name in (present or {NO_FINDING})) for name in OpenI.vocabulary}


def report_text(sections: Mapping[str, str], wanted: Iterable[str], *, strip: bool) -> str | None:
    """The wanted sections as one text, or None where they are empty."""
    texts = (sections.get(name, "") for name in wanted)
    return " ".join(filter(None, map(strip_masks, texts) if strip else texts)) or None


def strip_masks(text: str) -> str:
    """Without ``XXXX`` and the word that it is part of; spaces and punctuation that are then left over go too.

    >>> strip_masks("Normal chest x-XXXX. XXXX XXXX, no (XXXX) effusion.")
    'Normal chest. no effusion.'
    """
    text = " ".join(re.sub(r"\(\s*\)|(?<!\w)/|/(?!\w)", " ", " ".join(MASK.sub(" ", text).split())).split())
    text = re.sub(r"(?<=\()\s+|\s+(?=\)|[.,;:](?!\d))", "", text)
    text = re.sub(r"([.,;:])(?:\s*[.,;:](?!\d))+", lambda run: "." if "." in run[0] else run[1], text)
    return " ".join(re.sub(r"^[\s.,;:/-]+", "", text).split())
