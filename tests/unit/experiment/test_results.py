"""From stored answers to results.csv and the tables beside it: what is measured anew, and what cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from apo_lightning import config
from apo_lightning.experiment import results
from apo_lightning.metrics.answers import prediction_row
from apo_lightning.text.thinking import ThinkingPolicy
from apo_lightning.types import Study, Trajectory

ROOT = Path(__file__).resolve().parents[3]
STUDIES = [Study(f"s{i}", f"p{i // 2}", "test", (), {"edema": float(i % 3 == 0), "mass": 0.0}) for i in range(12)]
RIGHT = {s.id: "Edema. No mass." if s.findings["edema"] else "No edema. No mass." for s in STUDIES}
NEVER = {s.id: "No edema. No mass." for s in STUDIES}


def last(studies=STUDIES) -> SimpleNamespace:
    """As much of an arm as a table is made of."""
    cfg = config.resolve_arm(config.load(ROOT / "experiments" / "smoke.yaml"), "base")
    cfg.teachers = {"eager": {"kind": "simulated"}}
    texts = [Trajectory(study.id, "eager", NEVER[study.id]) for study in studies]
    data = SimpleNamespace(studies=lambda split: list(studies))
    own = {"done": {}, "scored": ("edema", "mass"), "thinking": ThinkingPolicy()}
    return SimpleNamespace(cfg=cfg, data=data, trained=data, trajectories=texts, **own)


def stored(folder: Path, arm: str, texts: dict[str, str], *, old: bool = False, seed: int = 0) -> None:
    """An evaluation as it lies in the store, its scores those of an earlier version."""
    stage = folder / arm / f"seed{seed}" / "evaluate"
    stage.mkdir(parents=True)
    rows = [prediction_row(study, texts[study.id], ("edema", "mass"), str) for study in STUDIES]
    kept = [{k: v for k, v in row.items() if not old or k not in ("truth", "patient")} for row in rows]
    (stage / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept))
    scores = [["accuracy", "mean", 0.25], ["f1", "mean", 0.3], ["logp_teachers", "mean", -7.0]]
    (stage / "scores.json").write_text(json.dumps(scores))


def written(folder: Path, pipeline: SimpleNamespace) -> dict[str, pd.DataFrame]:
    results.write(pipeline.cfg, folder, {"apo": pipeline})
    names = ("results", "intervals", "differences", "tests", "agreement")
    return {name: pd.read_csv(folder / f"{name}.csv") for name in names}


def value(frame: pd.DataFrame, **where: str) -> pd.Series:
    for column, wanted in where.items():
        frame = frame[frame[column] == wanted]
    assert len(frame) == 1
    return frame.iloc[0]


@pytest.mark.parametrize("old", [False, True])
def test_answers_are_measured_anew(tmp_path: Path, old: bool) -> None:
    """Labels lie beside the answers, or, in an older store, in the data set: nothing is evaluated again."""
    stored(tmp_path, "base", NEVER, old=old)
    stored(tmp_path, "spd_mt", RIGHT, old=old)
    tables = written(tmp_path, last())
    frame = tables["results"]
    assert value(frame, arm="base", metric="accuracy", finding="edema").value == pytest.approx(8 / 12)
    assert value(frame, arm="spd_mt", metric="positive_f1", finding="mean").value == 1
    assert "f1" not in set(frame.metric)
    assert value(frame, arm="base", metric="logp_teachers", finding="mean").value == -7
    found = value(tables["intervals"], arm="base", metric="accuracy", finding="edema")
    assert found.low < found.value < found.high and (found.studies, found.patients) == (12, 6)
    apart = value(tables["differences"], arm="spd_mt", metric="accuracy", finding="edema")
    assert (apart.against, apart.value) == ("base", pytest.approx(4 / 12)) and apart.low > 0


def test_teachers_and_baselines_have_intervals_too(tmp_path: Path) -> None:
    stored(tmp_path, "base", NEVER)
    frame = written(tmp_path, last())["intervals"]
    for kind, arm in (("teacher", "eager"), ("baseline", "majority_vote"), ("baseline", "always_yes")):
        found = value(frame, kind=kind, arm=arm, metric="accuracy", finding="edema")
        assert found.low < found.value < found.high
    assert value(frame, arm="always_no", metric="balanced_accuracy", finding="mean").value == 0.5


def test_a_finding_of_one_class_has_an_empty_cell(tmp_path: Path) -> None:
    stored(tmp_path, "base", RIGHT)
    frame = written(tmp_path, last())["results"]
    of_mass = frame[frame.finding == "mass"]
    need_no_second_class = ["accuracy", "invented", "likelihood_accuracy", "likelihood_ece", "likelihood_brier"]
    defined = of_mass.metric.isin(need_no_second_class)
    assert of_mass[~defined].value.isna().all() and of_mass[defined].value.notna().all()


def test_an_older_evaluation_of_studies_that_are_not_at_hand_keeps_its_values(tmp_path: Path) -> None:
    stored(tmp_path, "base", NEVER, old=True)
    stored(tmp_path, "spd_mt", NEVER)
    tables = written(tmp_path, last(STUDIES[:5]))
    assert value(tables["results"], arm="base", metric="accuracy", finding="mean").value == 0.25
    assert value(tables["results"], arm="base", metric="f1", finding="mean").value == 0.3
    assert set(tables["intervals"][tables["intervals"].kind == "arm"].arm) == {"spd_mt"}


def test_seeds_are_rows_of_results_and_one_of_intervals(tmp_path: Path) -> None:
    for seed in (0, 1):
        stored(tmp_path, "base", NEVER, seed=seed)
    tables = written(tmp_path, last())
    assert list(tables["results"].query("arm == 'base' and metric == 'refusals'").seed) == [0, 1]
    assert value(tables["intervals"], arm="base", metric="accuracy", finding="mean").seeds == 2


def test_arms_are_tested_against_each_other(tmp_path: Path) -> None:
    """Edema is present in studies 0, 3, 6 and 9, of patients 0, 1, 3 and 4. spd_mt is right on all, base on none of
    these: four patients, all one way, p = 2/16. Mass is right everywhere."""
    for arm, texts in (("base", NEVER), ("spd_mt", RIGHT)):
        stored(tmp_path, arm, texts)
    frame = written(tmp_path, last())["tests"]
    assert list(frame.columns) == ["arm", "against", "metric", "finding", "test", "n", "statistic", "p", "p_holm"]
    assert len(frame) == 3 and set(frame.arm) == {"spd_mt"} and set(frame.against) == {"base"}
    mean, edema, mass = (value(frame, metric="accuracy", finding=name) for name in ("mean", "edema", "mass"))
    assert (mean.test, mean.n, mean.statistic, mean.p, mean.p_holm) == (
        "permutation",
        4,
        pytest.approx(1 / 6),
        *[1 / 8] * 2,
    )
    assert (edema.test, edema.n, edema.statistic, edema.p, edema.p_holm) == ("mcnemar", 4, 4, 1 / 8, 1 / 4)
    assert (mass.n, mass.p, mass.p_holm) == (0, 1, 1)


def test_seeds_are_compared_in_what_they_answer(tmp_path: Path) -> None:
    """Two seeds that say the same of edema and "no mass" always (0 / 0); an arm of one seed has no row."""
    for seed in (0, 1):
        stored(tmp_path, "spd_mt", RIGHT, seed=seed)
    stored(tmp_path, "base", NEVER)
    frame = written(tmp_path, last())["agreement"]
    assert list(frame.columns) == ["arm", "finding", "kappa", "low", "high", "seeds", "studies"]
    assert list(frame.arm) == ["spd_mt"] * 3
    assert value(frame, finding="edema").kappa == value(frame, finding="mean").kappa == 1
    assert pd.isna(value(frame, finding="mass").kappa) and value(frame, finding="edema").studies == 12


def test_the_most_frequent_answer_of_the_training_split_is_a_row(tmp_path: Path) -> None:
    """In training edema is present in two of three, mass is not labelled: its answer is not stated, so absent."""
    train = [Study(f"t{i}", f"t{i}", "train", (), {"edema": float(i > 0)}) for i in range(3)]
    stored(tmp_path, "base", NEVER)
    pipeline = last()
    pipeline.data = pipeline.trained = SimpleNamespace(
        studies=lambda split: train if split == "train" else list(STUDIES)
    )
    frame = written(tmp_path, pipeline)["results"]
    found = frame[(frame.arm == "prevalence")].set_index(["metric", "finding"]).value
    assert found["accuracy", "edema"] == pytest.approx(4 / 12) and found["accuracy", "mass"] == 1
    assert found["unstated", "mean"] == 0.5
    assert set(frame[frame.arm == "prevalence"].label) == {"Prevalence (most frequent answer of the training split)"}


def test_a_training_split_without_labels_of_what_is_asked_has_no_most_frequent_answer(tmp_path: Path) -> None:
    train = [Study("t", "t", "train", (), {"fracture": 1.0, "edema": float("nan")})]
    stored(tmp_path, "base", NEVER)
    pipeline = last()
    pipeline.data = pipeline.trained = SimpleNamespace(
        studies=lambda split: train if split == "train" else list(STUDIES)
    )
    frame = written(tmp_path, pipeline)["results"]
    assert "prevalence" not in set(frame.arm) and "always_no" in set(frame.arm)
