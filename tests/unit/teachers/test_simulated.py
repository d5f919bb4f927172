"""Simulated teachers: deterministic, as accurate as stated, and drifting as stated."""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys

import numpy as np
import pytest

from apo_lightning.phantom import wording
from apo_lightning.phantom.world import FINDINGS, cases
from apo_lightning.teachers.simulated import Simulated, StreamDrift
from apo_lightning.text import labeler
from apo_lightning.types import Detail, Study

COUNT = 1500
FLAT = {"sensitivity": {"default": 0.7}, "specificity": {"default": 0.7}}


def phantom(count: int, seed: int = 3) -> list[Study]:
    return [
        Study(c.id, str(c.patient), "test", (), {name: float(name in c.present) for name in FINDINGS}, c.present)
        for c in cases(seed, count)
    ]


STUDIES = phantom(COUNT)
PLACES = np.linspace(0, 1, COUNT).tolist()
LABELS = np.array([[study.findings[name] for name in FINDINGS] for study in STUDIES])


def texts(teacher: Simulated, places: list[float] = PLACES) -> list[str]:
    return [item.text for item in teacher.signal(STUDIES, places)]


def right(teacher: Simulated) -> np.ndarray:
    """``[studies, findings]`` whether the text states the truth."""
    return labeler.read(texts(teacher), FINDINGS)[0] == LABELS


def error(count: int, share: float = 0.5) -> float:
    """Four standard errors of a share."""
    return 4 * math.sqrt(share * (1 - share) / count)


def test_the_same_in_any_order_batch_and_process() -> None:
    teacher = Simulated("a", 1, hedging=0.3, refusal=0.1, side_confusion=0.2, **FLAT)
    whole = teacher.signal(STUDIES[:50], PLACES[:50])
    assert teacher.signal(STUDIES[:50][::-1], PLACES[:50][::-1]) == whole[::-1]
    assert [teacher.signal([s], [t])[0] for s, t in zip(STUDIES[:50], PLACES[:50], strict=True)] == whole
    code = (
        "import hashlib\nfrom apo_lightning.phantom.world import FINDINGS, cases\n"
        "from apo_lightning.teachers.simulated import Simulated\nfrom apo_lightning.types import Study\n"
        "s = [Study(c.id, '', 'test', (), {n: float(n in c.present) for n in FINDINGS}, c.present)\n"
        "     for c in cases(3, 50)]\n"
        "t = Simulated('a', 1, hedging=.3, refusal=.1, side_confusion=.2, sensitivity={'default': .7}, "
        "specificity={'default': .7})\n"
        f"print(hashlib.sha256('|'.join(i.text for i in t.signal(s, {PLACES[:50]})).encode()).hexdigest())"
    )
    here = hashlib.sha256("|".join(item.text for item in whole).encode()).hexdigest()
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert there.stdout.strip() == here


def test_seed_and_name_change_the_answers() -> None:
    base = right(Simulated("a", **FLAT))
    for other in (Simulated("b", **FLAT), Simulated("a", 1, **FLAT)):
        agree = (right(other) == base).mean()
        assert agree == pytest.approx(0.7**2 + 0.3**2, abs=error(COUNT * 7) * 2)


@pytest.mark.parametrize("kind", ["none", "sudden", "gradual", "recurring"])
def test_drift_of_size_zero_changes_nothing(kind: str) -> None:
    base = texts(Simulated("a", **FLAT))
    assert texts(Simulated("a", step_drift=0.0, stream_drift=StreamDrift(kind, 0.0), **FLAT)) == base
    assert texts(Simulated("a", stream_drift=StreamDrift("none", 0.3), **FLAT)) == base


def test_without_stream_drift_the_place_does_not_matter() -> None:
    teacher = Simulated("a", step_drift=0.2, hedging=0.3, **FLAT)
    assert texts(teacher, [0.0] * COUNT) == texts(teacher, [1.0] * COUNT)


@pytest.mark.parametrize(
    "drift",
    [
        StreamDrift(),
        StreamDrift("sudden", 0.3, at=0.3),
        StreamDrift("gradual", 0.3),
        StreamDrift("recurring", 0.3, period=0.4),
    ],
    ids=lambda d: d.kind,
)
def test_stated_accuracy_is_reached_whatever_the_drift(drift: StreamDrift) -> None:
    sensitivity = {"default": 0.8, "edema": 0.2, "pneumonia": 0.97}
    specificity = {"default": 0.65, "edema": 0.9, "pneumonia": 0.5}
    got = right(Simulated("a", 2, sensitivity, specificity, step_drift=0.2, stream_drift=drift))
    order = list(FINDINGS)
    for rates, kind in ((sensitivity, 1), (specificity, 0)):
        for name in ("edema", "pneumonia"):
            hits = got[LABELS[:, order.index(name)] == kind, order.index(name)]
            place = 0.2 * (0.5 - order.index(name) / 6)
            room = min(rates[name], 1 - rates[name])
            most = 0.1 * kind + 0.1 + max(abs(drift.shift(t)) for t in np.linspace(0, 1, 101))
            expected = rates[name] + place * min(1, room / most)
            assert hits.mean() == pytest.approx(expected, abs=error(len(hits), rates[name]) + 0.01), (name, kind)
        rest = [order.index(name) for name in ("atelectasis", "cardiomegaly", "consolidation", "pleural_effusion")]
        hits = got[:, rest][LABELS[:, rest] == kind]
        assert hits.mean() == pytest.approx(rates["default"], abs=error(len(hits)) + 0.03)


def test_drift_along_the_report_follows_the_sentence_not_the_finding() -> None:
    for order in (list(FINDINGS), list(FINDINGS)[::-1]):
        got = right(Simulated("a", order=order, step_drift=0.3, **FLAT)).mean(axis=0)
        first, middle, last = (got[FINDINGS.index(order[i])] for i in (0, 3, 6))
        assert first - last == pytest.approx(0.3, abs=2 * error(COUNT))
        assert middle == pytest.approx(0.7, abs=error(COUNT))
    assert right(Simulated("a", step_drift=0.3, **FLAT)).mean() == pytest.approx(0.7, abs=error(COUNT * 7))


@pytest.mark.parametrize(
    ("drift", "good", "bad"),
    [
        (StreamDrift("sudden", 0.3, at=0.6), (0.0, 0.6), (0.6, 1.0)),
        (StreamDrift("recurring", 0.3, period=0.5), (0.0, 0.25), (0.25, 0.5)),
        (StreamDrift("recurring", 0.3, period=0.5), (0.5, 0.75), (0.75, 1.0)),
        (StreamDrift("gradual", 0.6), (0.2, 0.3), (0.7, 0.8)),
    ],
)
def test_drift_along_the_stream(drift: StreamDrift, good: tuple[float, float], bad: tuple[float, float]) -> None:
    got = right(Simulated("a", mild_penalty=0, severe_bonus=0, stream_drift=drift, **FLAT))
    places = np.array(PLACES)
    parts = [got[(places >= low) & (places < high)] for low, high in (good, bad)]
    noise = sum(error(part.size) for part in parts)
    assert parts[0].mean() - parts[1].mean() == pytest.approx(0.3, abs=noise)
    assert got.mean() == pytest.approx(0.7, abs=error(got.size))


@pytest.mark.parametrize(
    "drift",
    [
        StreamDrift("sudden", 0.4, at=0.3),
        StreamDrift("gradual", 0.4),
        StreamDrift("recurring", 0.4, period=0.3),
        StreamDrift("recurring", 0.4, period=1.0),
    ],
)
def test_stream_drift_averages_to_zero(drift: StreamDrift) -> None:
    shifts = [drift.shift((i + 0.5) / 6000) for i in range(6000)]
    assert np.mean(shifts) == pytest.approx(0, abs=1e-3)
    assert max(shifts) - min(shifts) == pytest.approx(0.4, abs=1e-3)


def test_accuracy_by_hand() -> None:
    teacher = Simulated("a", step_drift=0.2, stream_drift=StreamDrift("gradual", 0.2), **FLAT)
    assert teacher.chance("edema", None, 0.5, 0.5) == pytest.approx(0.7)
    assert teacher.chance("edema", Detail(None, "mild"), 0.5, 0.5) == pytest.approx(0.6)
    assert teacher.chance("edema", Detail(None, "severe"), 0.5, 0.5) == pytest.approx(0.8)
    assert teacher.chance("edema", Detail(), 0.5, 0.5) == pytest.approx(0.7)
    assert teacher.chance("edema", None, 0.0, 0.0) == pytest.approx(0.9)
    assert teacher.chance("edema", Detail(None, "mild"), 1.0, 1.0) == pytest.approx(0.4)
    # .95 leaves room for .05 of the .30 that severity and both drifts may take: all are scaled by 1/6.
    near = Simulated(
        "a",
        sensitivity={"default": 0.95},
        specificity={"default": 0.95},
        step_drift=0.2,
        stream_drift=StreamDrift("gradual", 0.2),
    )
    assert near.chance("edema", Detail(None, "severe"), 0.0, 0.0) == pytest.approx(1.0)
    assert near.chance("edema", Detail(None, "mild"), 1.0, 1.0) == pytest.approx(0.9)


def test_perfect_and_always_wrong() -> None:
    assert right(Simulated("a", sensitivity={"default": 1.0}, specificity={"default": 1.0})).all()
    assert not right(Simulated("a", sensitivity={"default": 0.0}, specificity={"default": 0.0})).any()


def test_refusals_hedges_and_sides() -> None:
    perfect = {"sensitivity": {"default": 1.0}, "specificity": {"default": 1.0}}
    said = texts(Simulated("a", refusal=0.3, refusal_phrase=1, **perfect))
    refused = np.mean([text == wording.REFUSALS[1] for text in said])
    assert refused == pytest.approx(0.3, abs=error(COUNT))

    said = texts(Simulated("a", hedging=0.4, **perfect))
    hedged = sum(text.count("Possible") for text in said) / LABELS.sum()
    assert hedged == pytest.approx(0.4, abs=error(int(LABELS.sum())))

    said = texts(Simulated("a", side_confusion=0.25, **perfect))
    pairs = [
        (labeler.sides(text, FINDINGS)[name], detail.side)
        for text, study in zip(said, STUDIES, strict=True)
        for name, detail in study.details.items()
        if detail.side
    ]
    assert np.mean([said != true for said, true in pairs]) == pytest.approx(0.25, abs=error(len(pairs)))
    assert all(said is not None for said, _ in pairs)


def test_an_invented_finding_gets_side_and_severity_like_a_real_one() -> None:
    said = texts(Simulated("a", sensitivity={"default": 1.0}, specificity={"default": 0.0}))
    for text, study in zip(said[:300], STUDIES[:300], strict=True):
        if study.details:
            assert labeler.sides(text, ["pneumothorax", "consolidation"]).keys() == {"pneumothorax", "consolidation"}
            assert None not in labeler.sides(text, ["pneumothorax", "consolidation"]).values()
            assert sum(text.lower().count(word) for word in ("mild", "moderate", "severe")) == len(FINDINGS)


def test_on_a_data_set_without_details_none_are_invented_and_unknown_findings_are_left_out() -> None:
    findings = {"edema": 1.0, "pneumonia": 0.0, "pneumothorax": float("nan"), "hernia": 1.0}
    study = Study("x", "x", "test", ("x.png",), findings)
    teacher = Simulated("a", sensitivity={"default": 1.0}, specificity={"default": 0.0})
    assert teacher.signal([study], [0.0])[0].text == "Edema. Pneumonia."


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"refusal": 1.2}, r"refusal must be in \[0, 1\], got 1\.2"),
        ({"accuracy": 1.2}, r"accuracy must be in \[0, 1\], got 1\.2"),
        ({"spread": -0.5}, r"spread must be in \[0, 1\], got -0\.5"),
        ({"form": 4}, r"form must be in 0\.\.3 .*got 4"),
        ({"step_drift": -0.1}, r"step_drift must be in \[0, 1\]"),
        ({"hedging": float("nan")}, r"hedging must be in \[0, 1\], got nan"),
        ({"positive": 7}, r"positive must be in 0\.\.6 .*got 7"),
        ({"names": -1}, r"names must be in 0\.\.2"),
        ({"sensitivity": {"oedema": 0.5, "default": 0.5}}, r"sensitivity: unknown finding 'oedema'\. Did you mean"),
        ({"specificity": {"default": 1.5}}, r"specificity\.default must be in \[0, 1\], got 1\.5"),
        ({"sensitivity": {"edema": 0.5}}, r"sensitivity lacks atelectasis, .* give 'default'"),
        ({"order": ["edema", "edema"]}, r"order must name at least one finding and none twice"),
        ({"order": ["edma"]}, r"order: unknown finding 'edma'\. Did you mean 'edema'"),
    ],
)
def test_bad_settings(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Simulated("a", **{**FLAT, **settings})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "slow"}, r"^kind must be one of none, sudden, gradual, recurring, got 'slow'"),
        ({"size": 2.0}, r"^size must be in \[0, 1\], got 2\.0"),
        ({"period": 0.0}, r"^period must be in \(0, 1\], got 0\.0"),
    ],
)
def test_bad_drift(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StreamDrift(**settings)


def test_teachers_err_together_on_the_share_that_is_common() -> None:
    """Correlation of errors is the smaller of two shares; accuracy, and a teacher without a share, are as before."""
    shares = {"a": 0.6, "b": 0.3, "c": 0.3, "d": 0.0}
    wrong = {
        name: ~right(Simulated(name, common=share, mild_penalty=0, severe_bonus=0, **FLAT))
        for name, share in shares.items()
    }
    for name in wrong:
        assert wrong[name].mean() == pytest.approx(0.3, abs=error(COUNT * 7, 0.3))
    for one, other, want in (("a", "b", 0.3), ("b", "c", 0.3), ("a", "d", 0.0), ("b", "d", 0.0)):
        found = np.corrcoef(wrong[one].ravel(), wrong[other].ravel())[0, 1]
        assert found == pytest.approx(want, abs=4 / math.sqrt(COUNT * 7))
    assert np.array_equal(wrong["d"], ~right(Simulated("d", mild_penalty=0, severe_bonus=0, **FLAT)))
    with pytest.raises(ValueError, match=r"common must be in \[0, 1\], got 1.5"):
        Simulated("a", common=1.5, **FLAT)


def test_refusals_are_never_common() -> None:
    refused = [labeler.refused(text) for text in texts(Simulated("a", refusal=0.3, **FLAT))]
    assert [labeler.refused(text) for text in texts(Simulated("a", refusal=0.3, common=1.0, **FLAT))] == refused
