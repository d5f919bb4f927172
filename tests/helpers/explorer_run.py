"""A run folder with a few studies whose texts, labels and conflicts are chosen by the test."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

FINDINGS = ("edema", "pneumonia", "pleural_effusion")
TRUTH = {"edema": 1, "pneumonia": 0, "pleural_effusion": None}
TEACHERS = {"ann": "Edema. No pneumonia.", "bob": "No edema. Pneumonia.", "cat": "Edema and pneumonia. No effusion."}
PREFERRED = "Edema. No pneumonia. No effusion."
ARMS = {
    "base": ("Base", ()),
    "spd": ("SPD", ("spd",)),
    "apo": ("APO", ("spd", "self_distill", "apo")),
}
ANSWERS = {"base": "Normal chest.", "spd": "No edema. No pneumonia.", "apo": "Edema. No pneumonia."}


def study(
    name: str,
    *,
    truth: Mapping[str, Any] = TRUTH,
    teachers: Mapping[str, str] = TEACHERS,
    preferred: str | None = PREFERRED,
    answers: Mapping[str, str] = ANSWERS,
    report: str | None = None,
    **more: Any,
) -> dict[str, Any]:
    """What is known of one study; ``more`` is laid over the lines of its answers."""
    return {
        "study": name,
        "truth": dict(truth),
        "teachers": dict(teachers),
        "preferred": preferred,
        "answers": dict(answers),
        "report": report,
        "more": more,
    }


def make(root: Path, studies: Sequence[Mapping[str, Any]], manifest: Mapping[str, Any] | None = None) -> Path:
    """Write ``root/runs/chosen`` and its store; returns the run folder. Arms share SPD and t+ as a real run's do."""
    folder = root / "runs" / "chosen"
    (folder / "samples").mkdir(parents=True)
    head = "arm,label,kind,seed,metric,finding,value\n"
    rows = [f"{arm},{label},arm,0,accuracy,mean,0.5\n" for arm, (label, _) in ARMS.items()]
    (folder / "results.csv").write_text(head + "".join(rows))
    (folder / "manifest.json").write_text(json.dumps({"experiment": "chosen", "seeds": [0], **(manifest or {})}))
    _samples(folder / "samples", studies)
    for arm, (_, stages) in ARMS.items():
        for stage in ("collect", *stages, "evaluate"):
            _stage(folder, arm, stage, studies)
    return folder


def _samples(place: Path, studies: Sequence[Mapping[str, Any]]) -> None:
    entries = []
    for number, each in enumerate(studies):
        Image.new("L", (8, 8), number % 256).save(place / f"{number}.png")
        entries.append(
            {"study": each["study"], "findings": each["truth"], "report": each["report"], "image": f"{number}.png"}
        )
    (place / "samples.json").write_text(json.dumps(entries))


def _stage(folder: Path, arm: str, stage: str, studies: Sequence[Mapping[str, Any]]) -> None:
    stored = folder.parent / "store" / (f"{stage}-{arm}" if stage in ("evaluate", "apo") else stage)
    if not stored.exists():
        stored.mkdir(parents=True)
        lines = {"collect": _said, "self_distill": _preferred, "evaluate": lambda each: _answers(each, arm)}
        name = {"collect": "trajectories", "self_distill": "preferred", "evaluate": "predictions"}.get(stage)
        if name:
            rows = [row for each in studies for row in lines[stage](each)]
            (stored / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    link = folder / arm / "seed0" / stage
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(Path("../../../store") / stored.name)


def _said(each: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"study": each["study"], "teacher": name, "text": text} for name, text in each["teachers"].items()]


def _preferred(each: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"study": each["study"], "text": each["preferred"], "split": "test"}] if each["preferred"] else []


def _answers(each: Mapping[str, Any], arm: str) -> list[dict[str, Any]]:
    row = {"study": each["study"], "text": each["answers"][arm], "patient": f"p{each['study']}", "truth": each["truth"]}
    return [{**row, **each["more"]}]
