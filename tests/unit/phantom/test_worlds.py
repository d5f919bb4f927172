"""The axes of a made-up world, measured on the texts that its teachers write."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from apo_lightning import config
from apo_lightning.errors import ConfigError
from apo_lightning.findings import CHEXPERT
from apo_lightning.metrics.style_probe import separability
from apo_lightning.phantom import wording
from apo_lightning.phantom.world import FINDINGS, cases
from apo_lightning.teachers import TEACHERS
from apo_lightning.text.labeler import read
from apo_lightning.types import Study

COUNT = 600
CASES = cases(3, COUNT)
STUDIES = [
    Study(c.id, str(c.patient), "test", (), {name: float(name in c.present) for name in FINDINGS}, c.present)
    for c in CASES
]
LABELS = np.array([[study.findings[name] for name in FINDINGS] for study in STUDIES])
EXPERIMENTS = Path(__file__).parents[3] / "experiments"
ABLATION = EXPERIMENTS / "ablation_apo.yaml"
FLAT = ("cast.accuracy=0.7", "cast.mild_penalty=0", "cast.severe_bonus=0", "cast.refusal=0", "cast.hedging=0")
STILL = ("cast.step_drift=0", "cast.stream_drift={kind: none}", "cast.side_confusion=0")


def texts(*words: str) -> dict[str, list[str]]:
    """What each teacher of the ablation writes of the studies, under settings of the command line."""
    teachers = config.load(ABLATION, words).resolved["spd_mt"].teachers
    places = np.linspace(0, 1, COUNT).tolist()
    made = {name: config.build(TEACHERS, own, f"teachers.{name}", "kind", name=name) for name, own in teachers.items()}
    return {name: [said.text for said in teacher.signal(STUDIES, places)] for name, teacher in made.items()}


def errors(*words: str) -> dict[str, np.ndarray]:
    """``[studies x findings]`` whether each teacher errs."""
    return {name: (read(said, FINDINGS)[0] != LABELS).ravel() for name, said in texts(*words).items()}


def correlations(wrong: dict[str, np.ndarray]) -> dict[frozenset[str], float]:
    return {frozenset(pair): np.corrcoef(*(wrong[name] for name in pair))[0, 1] for pair in combinations(wrong, 2)}


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_common_is_the_correlation_of_errors(share: float) -> None:
    found = correlations(errors(*FLAT, *STILL, f"cast.common={share}"))
    assert np.mean(list(found.values())) == pytest.approx(share, abs=0.02)
    assert all(value == pytest.approx(share, abs=0.06) for value in found.values())


def test_camps_err_together_within_and_not_between() -> None:
    camp = {"eager", "cautious", "verbose"}
    words = [f"teachers.{name}.camp=one" for name in camp]
    found = correlations(errors(*FLAT, *STILL, "cast.common=0.8", *words))
    within = [value for pair, value in found.items() if len(pair & camp) != 1]
    between = [value for pair, value in found.items() if len(pair & camp) == 1]
    assert np.mean(within) == pytest.approx(0.8, abs=0.03) and np.mean(between) == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize("accuracy", [0.55, 0.7, 0.9])
def test_accuracy_is_that_of_every_teacher_and_finding(accuracy: float) -> None:
    wrong = errors(*FLAT, *STILL, f"cast.accuracy={accuracy}")
    rates = np.array([own.reshape(COUNT, -1).mean(0) for own in wrong.values()])
    assert rates.mean() == pytest.approx(1 - accuracy, abs=0.01)
    assert np.abs(rates - (1 - accuracy)).max() < 0.08  # four standard errors of 600


def test_without_spread_style_tells_no_teacher_from_another() -> None:
    """At chance where wording is one; told apart where it is each one's own."""
    alike, own = (texts(*FLAT, *STILL, f"cast.spread={spread}") for spread in (0, 1))
    pairs = list(combinations(alike, 2))[:4]
    for one, other in pairs:
        assert separability(alike[one], alike[other], FINDINGS) == pytest.approx(0.5, abs=0.06)
        assert separability(own[one], own[other], FINDINGS) > 0.99


def test_spread_changes_the_words_and_not_what_is_stated() -> None:
    whole = errors("cast.step_drift=0")  # which strikes by the order of the sentences
    for name, wrong in errors("cast.step_drift=0", "cast.spread=0.3").items():
        assert np.array_equal(wrong, whole[name])


def test_extras_are_said_as_often_as_asked_and_change_nothing_else() -> None:
    plain, more = texts(), texts("cast.extras=0.4")
    for name in plain:
        said = [any(extra in text.lower() for extra in wording.EXTRAS) for text in more[name]]
        assert np.mean(said) == pytest.approx(0.4 * (0.7 if name == "refuser" else 1), abs=0.07)
        values = [read(own[name], FINDINGS)[0] for own in (plain, more)]
        assert np.array_equal(*values, equal_nan=True)
    outside = [name for name in CHEXPERT if name not in (*FINDINGS, "no_finding")]
    assert (read(more["eager"], outside)[0] == 1).any(1).mean() > 0.2  # five things, of which CHEXPERT names three


def test_drift_along_the_report_is_laid_over_all() -> None:
    resolved = config.load(ABLATION, ["cast.step_drift=0.3"]).resolved["spd_mt"].teachers
    assert {own["step_drift"] for own in resolved.values()} == {0.3}


def test_a_cast_laid_twice_is_laid_once(tmp_path: Path) -> None:
    once = config.load(ABLATION, ["cast={common: 0.5, spread: 0.2, stream_drift: {kind: none}}"])
    (tmp_path / "again.yaml").write_text(config.dump(once))
    assert config.load(tmp_path / "again.yaml").resolved["sft"].teachers == once.resolved["sft"].teachers


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["cast.comon=0.5"], r"^Unknown key 'cast\.comon' \(command line\)\. Did you mean 'common'\?"),
        (["cast.common=2"], r"^cast\.common must be in \[0, 1\], got 2\.0 \(command line\)\.$"),
        (["cast.spread=x"], r"^cast\.spread must be a number, got 'x' \(command line\)\.$"),
        (["cast.name=x"], r"^Unknown key 'cast\.name'"),
    ],
)
def test_a_wrong_cast_is_refused_once(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config.load(ABLATION, words)


def test_a_cast_needs_a_simulated_teacher() -> None:
    with pytest.raises(ConfigError, match="cast lies over simulated teachers, and there is none"):
        config.load(EXPERIMENTS / "paper_7b.yaml", ["cast.common=0.5"])
