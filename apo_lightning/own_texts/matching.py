"""Which study each text of a teacher is about: by study id, by image path, by the name of the image's file."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from apo_lightning.identifiers.matching import lookalikes, matched, unsure
from apo_lightning.own_texts.reading import Said

ID, PATH, NAME, ZEROS = "study id", "image path", "file name", "study id but for leading zeros"
SUFFIX = re.compile(r"(?:\.(?:jpe?g|png|dcm|dicom|tiff?|bmp|webp|gif|gz|txt|xml)){1,3}$", re.IGNORECASE)
SHARED = 0.05
"""Share of the images that may have the name of another study's before file names tell nothing."""
DEEPEST = 8

Known = tuple[tuple[str, tuple[str, ...]], ...]
"""Studies and their images."""


@dataclass
class Matched:
    """The texts of one teacher beside the studies that it was asked about.

    Attributes:
        said: study to its text.
        by: in which way how many texts were matched.
        strangers: names of texts that name no study.
        refused: name of a text that may be about several studies, to why.
        again: study to all of its texts, where their words differ; the last of them is in ``said``.
        silent: studies without a text.
    """

    said: dict[str, Said] = field(default_factory=dict)
    by: Counter[str] = field(default_factory=Counter)
    strangers: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    again: dict[str, list[Said]] = field(default_factory=dict)
    silent: list[str] = field(default_factory=list)


def match(said: Sequence[Said], known: Known, first: bool = False) -> Matched:
    """
    Args:
        said: texts of one teacher.
        known: the studies that it is asked about.
        first: of several texts on one study the first counts, not the last; an empty one only where all are.
    """
    every = dict.fromkeys(name for one in said for name in one.names)
    found, refused = named(tuple(every), known)
    result, texts = Matched(), defaultdict[str, list[Said]](list)
    place = _telling(said, found)
    for one in said:
        name = one.names[min(place, len(one.names) - 1)]
        if name in found:
            study, how = found[name]
            result.by[how] += 1
            texts[study].append(one)
        elif name in refused:
            result.refused[name] = refused[name]
        else:
            result.strangers.append(name)
    for study, every_one in texts.items():
        own = [one for one in every_one if one.text.strip()] or every_one
        result.said[study] = own[0] if first else own[-1]
        if len({one.text for one in own}) > 1:
            result.again[study] = own
    result.silent = [study for study, _ in known if study not in result.said]
    return result


def _telling(said: Iterable[Said], found: Collection[str]) -> int:
    """Which of the names of a text tells its study, for all texts: the surest that ever does, or a later one that does
    so more than twice as often. Numbers are no such: those of the rows may be ids of other studies."""
    counts, numbers = Counter[int](), Counter[int]()
    for one in said:
        hits = [place for place, name in enumerate(one.names) if name in found]
        counts.update(hits)
        numbers.update(place for place in hits if one.names[place].isdigit())
    best, *others = sorted(counts) or [0]
    for place in others:
        if counts[place] > 2 * counts[best] and not numbers[place]:
            best = place
    return best


@lru_cache(maxsize=8)
def named(names: tuple[str, ...], known: Known) -> tuple[dict[str, tuple[str, str]], dict[str, str]]:
    """Names of texts to their study and how it was found; and those that may mean several, to why."""
    by_image, refused = _by_image(names, known)
    found = {}
    for name, study in matched(names, [study for study, _ in known]).items():
        image = by_image.get(name, (study, ID))
        if name != study and image[0] != study:
            refused[name] = f"'{name}' may be study '{study}' by its id, and '{image[0]}' by its {image[1]}"
        else:
            found[name] = (study, ID if _is_bare(name) else image[1] if name in by_image else PATH)
    for name, hit in by_image.items():
        if name not in refused:
            found.setdefault(name, hit)
    refused = {name: why for name, why in refused.items() if name not in found}
    found |= _without_zeros([name for name in names if name not in found and name not in refused], known)
    return found, refused


def _is_bare(name: str) -> bool:
    return not re.search(r"[/\\]", name) and not SUFFIX.search(name)


def parts(path: str) -> tuple[str, ...]:
    """Folders and name of a path, in whatever way it is written.

    >>> parts("C:\\\\Scans\\\\IM_01.PNG"), parts("./scans/im_01")
    (('c:', 'scans', 'im_01'), ('scans', 'im_01'))
    """
    plain = SUFFIX.sub("", path.strip().replace("\\", "/")).casefold()
    return tuple(part for part in plain.split("/") if part not in ("", "."))


class _Images:
    """The images of studies by the ends of their paths."""

    def __init__(self, known: Known) -> None:
        self.ends: dict[str, list[tuple[tuple[str, ...], str]]] = defaultdict(list)
        every = [(own, study) for study, images in known for image in images if (own := parts(image))]
        for own, study in dict.fromkeys(every):
            self.ends[own[-1]].append((own, study))
        self.depth = next((n for n in range(1, DEEPEST) if _shared(every, n) <= SHARED * len(every)), DEEPEST)
        """So many parts of a path, from its end, tell the images of this set apart."""

    def of(self, path: tuple[str, ...]) -> list[tuple[int, tuple[str, ...], str]]:
        """The images whose paths end as ``path`` does, as far as any: how many parts, the image, its study."""
        near = [(_common(path, own), own, study) for own, study in self.ends.get(path[-1] if path else "", ())]
        most = max((count for count, *_ in near), default=0)
        return [one for one in near if one[0] == most]


def _shared(images: Iterable[tuple[tuple[str, ...], str]], depth: int) -> int:
    """How many images have the last ``depth`` parts of their path in common with an image of another study."""
    studies: dict[tuple[str, ...], set[str]] = defaultdict(set)
    images = list(images)
    for own, study in images:
        studies[own[-depth:]].add(study)
    return sum(len(studies[own[-depth:]]) > 1 for own, _ in images)


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    count = 0
    for a, b in zip(reversed(one), reversed(other), strict=False):
        if a != b:
            break
        count += 1
    return count


@lru_cache(maxsize=2)
def _images(known: Known) -> _Images:
    return _Images(known)


def _by_image(names: Sequence[str], known: Known) -> tuple[dict[str, tuple[str, str]], dict[str, str]]:
    images, claims, refused = _images(known), defaultdict[tuple[str, ...], list[tuple[int, str, str]]](list), {}
    for name in names:
        path = parts(name)
        near = images.of(path)
        studies = dict.fromkeys(study for *_, study in near)
        if len(studies) > 1:
            refused[name] = f"'{name}' may be an image of {' or '.join(map(repr, list(studies)[:3]))}"
        elif near and near[0][0] >= images.depth:
            claims[near[0][1]].append((near[0][0], name, near[0][2]))
        elif near:
            end = "/".join(path[-near[0][0] :])
            refused[name] = (
                f"'{name}' and an image of '{near[0][2]}' end in '{end}', as short as ends that studies share"
            )
    found = {}
    for claim in claims.values():
        most = max(count for count, *_ in claim)
        best = [one for one in claim if one[0] == most]
        if len({parts(name) for _, name, _ in best}) > 1 and not _one_path([parts(name) for _, name, _ in best]):
            why = f"{' and '.join(repr(name) for _, name, _ in best[:2])} both end as one image of '{best[0][2]}' does"
            refused |= {name: why for _, name, _ in best}
            continue
        found |= {name: (study, PATH if count > 1 else NAME) for count, name, study in best}
        refused |= {
            n: f"'{n}' ends as '{best[0][1]}' does, which is nearer"
            for c, n, _ in claim
            if c < most and len(parts(n)) > c
        }
        found |= {name: (study, NAME) for count, name, study in claim if count < most and len(parts(name)) == count}
    return found, refused


def _one_path(paths: Sequence[tuple[str, ...]]) -> bool:
    """Whether all are ends of the longest."""
    longest = max(paths, key=len)
    return all(longest[-len(path) :] == path for path in paths)


def _without_zeros(names: Sequence[str], known: Known) -> dict[str, tuple[str, str]]:
    """Numbers that lost the zeros in front, where all ids of the set are numbers of one length: zeros are padding."""
    ids = [study for study, _ in known]
    if len({len(study) for study in ids}) != 1 or not all(study.isascii() and study.isdigit() for study in ids):
        return {}
    held, width = set(ids), len(ids[0])
    bare = {name: re.sub(r"\.0+$", "", SUFFIX.sub("", name)) for name in names}
    own = {name: text.zfill(width) for name, text in bare.items() if text.isascii() and text.isdigit()}
    return {name: (study, ZEROS) for name, study in own.items() if study in held}


def doubts(
    strangers: Iterable[str], silent: Iterable[str], ids: Iterable[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Of names that name no study: those that lost digits, to why; and those that may mean a silent study, to it."""
    strangers = list(dict.fromkeys(strangers))
    return unsure(strangers, ids), lookalikes(strangers, silent, "s")


def known_of(studies: Iterable[tuple[str, Sequence[str]]]) -> Known:
    return tuple((study, tuple(map(str, images))) for study, images in studies)


def shares(by: Mapping[str, int]) -> str:
    """
    >>> shares({"image path": 1200, "study id": 3})
    '1,200 by image path, 3 by study id'
    """
    return ", ".join(f"{count:,} by {how}" for how, count in sorted(by.items(), key=lambda one: -one[1]))
