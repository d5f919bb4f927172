"""The rows of t+ in a table: one a strategy, of its first arm; texts that seeds share once."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

from apo_lightning.experiment.results import _consensus, _Contexts
from apo_lightning.settings import ArmSettings, EvaluateSettings
from apo_lightning.settings.reports import ReportTextSettings
from apo_lightning.text.thinking import ThinkingPolicy
from tests.helpers.evidence import study

STUDIES = [study("s", 1, 0), study("t", 0, 0)]
RIGHT, HALF = {"s": "Edema.", "t": "No edema."}, {"s": "Edema.", "t": "Edema."}


def filed(stage: Path, texts: dict[str, str], strategy: str | None) -> Path:
    """The stage as its strategy left it; None: as an earlier version, which had the student's only."""
    stage.mkdir(parents=True)
    rows = [{"study": name, "text": text, "cut": name == "t"} for name, text in texts.items()]
    (stage / "preferred.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = {"positive": {"name": strategy}} if strategy else {}
    (stage / "manifest.json").write_text(json.dumps({"stage": "self_distill", **made}))
    return stage


def rows(folder: Path, *arms: str, split: str = "test") -> list[tuple]:
    distil = SimpleNamespace(splits=["train", "test"])
    cfg = SimpleNamespace(
        prompt="describe",
        arms={name: ArmSettings(name, ["self_distill"]) for name in arms} | {"base": ArmSettings("base", [])},
        evaluate=EvaluateSettings(split=split, report_text=ReportTextSettings(backend="off")),
        stages=SimpleNamespace(self_distill=distil),
        only=[],
        seeds=[0, 1],
    )
    data = SimpleNamespace(studies=lambda split: STUDIES)
    last = SimpleNamespace(data=data, thinking=ThinkingPolicy(), scored=("edema",))
    found = _consensus(cfg, folder, _Contexts(sft=last))
    return [(m.arm, m.label, m.seed, {(n, f): v for n, f, v in m.rows()}["accuracy", "edema"]) for m in found]


def test_one_row_a_strategy_of_its_first_arm(tmp_path: Path) -> None:
    filed(tmp_path / "sft/seed0/self_distill", RIGHT, None)
    filed(tmp_path / "dpo/seed0/self_distill", HALF, None)
    filed(tmp_path / "routed/seed0/self_distill", HALF, "router")
    assert rows(tmp_path, "sft", "dpo", "routed") == [
        ("preferred", "t+ (reads the teachers)", 0, 1.0),
        ("preferred_router", "t+ by router (reads the teachers)", 0, 0.5),
    ]
    assert rows(tmp_path, "sft", split="val") == []


def test_texts_that_seeds_share_are_one_row_and_the_students_are_one_a_seed(tmp_path: Path) -> None:
    shared = filed(tmp_path / "store/self_distill-1", HALF, "router")
    for seed in (0, 1):
        filed(tmp_path / f"sft/seed{seed}/self_distill", RIGHT if seed else HALF, None)
        (tmp_path / f"routed/seed{seed}").mkdir(parents=True)
        (tmp_path / f"routed/seed{seed}/self_distill").symlink_to(shared)
    assert [(arm, seed, value) for arm, _, seed, value in rows(tmp_path, "sft", "routed")] == [
        ("preferred", 0, 0.5),
        ("preferred", 1, 1.0),
        ("preferred_router", 0, 0.5),
    ]
