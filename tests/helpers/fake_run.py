"""A run folder as an experiment leaves it, with invented numbers: for tests of the reports and to look at them."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

FINDINGS = ("atelectasis", "cardiomegaly", "consolidation", "edema", "pleural_effusion", "pneumonia", "pneumothorax")
ARMS = {
    "base": ("Base", (), 0.66),
    "spd_one": ("SPD, one teacher", ("spd",), 0.78),
    "spd_mt": ("SPD+MT", ("spd",), 0.86),
    "sft": ("SPD+MT, SFT on t+", ("spd", "self_distill", "apo"), 0.92),
    "dpo": ("SPD+MT, DPO", ("spd", "self_distill", "apo"), 0.82),
    "apo_pairwise": ("SPD+MT, APO pairwise", ("spd", "self_distill", "apo"), 0.88),
    "apo_listwise": ("SPD+MT, APO listwise", ("spd", "self_distill", "apo"), 0.87),
    "apo_listwise_nll": ("SPD+MT, APO listwise, NLL 1", ("spd", "self_distill", "apo"), 0.91),
}
"""Arm to label, stages before evaluation, and about which mean accuracy it has."""
TEACHERS = ("gpt5", "gemini", "claude", "moonshot", "llava", "qwen", "medgemma")
BASELINES = {
    "majority_vote": ("Majority vote", 0.91),
    "always_yes": ("Always yes", 0.35),
    "always_no": ("Always no", 0.65),
}


def make(
    root: Path,
    *,
    arms: Sequence[str] = tuple(ARMS),
    seeds: Sequence[int] = (0, 1, 2),
    findings: Sequence[str] = FINDINGS,
    steps: int = 20,
    studies: int = 4,
    pixels: int = 16,
    teacher_text: str | None = None,
    manifest: dict | None = None,
) -> Path:
    """Write ``root/runs/fake`` and its store; returns the run folder.

    ``teacher_text`` replaces what the teachers say; ``manifest`` is laid over the experiment's manifest.
    """
    folder = root / "runs" / "fake"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(7)
    _results(folder, rng, arms, seeds, findings)
    content = {
        "experiment": "fake",
        "created": "2025-11-03T09:30:00+00:00",
        "commit": "5d34990",
        "seeds": list(seeds),
        "command": "make experiment EXP=fake",
        "versions": {"torch": "2.13.0", "lightning": "2.6.6"},
        "machine": "2 cores, 8 GB, no GPU",
    }
    (folder / "manifest.json").write_text(json.dumps(content | (manifest or {})))
    names = [f"study{i:03d}" for i in range(studies)]
    truth = {name: {f: int(rng.random() < 0.35) for f in findings} for name in names}
    _samples(folder, truth, pixels, rng)
    for arm in arms:
        for seed in seeds:
            _arm(folder, arm, seed, truth, steps, teacher_text)
    return folder


def _results(folder: Path, rng: np.random.Generator, arms, seeds, findings) -> None:
    lines = []
    for arm in arms:
        label, stages, level = ARMS[arm]
        for seed in seeds:
            lines += _scores(arm, label, "arm", seed, level, findings, rng)
            lines += [[arm, label, "arm", seed, name, "mean", value] for name, value in _logps(stages, rng).items()]
    for teacher in TEACHERS:
        lines += _scores(teacher, teacher, "teacher", 0, rng.uniform(0.65, 0.8), findings, rng)
    for name, (label, level) in BASELINES.items():
        lines += _scores(name, label, "baseline", 0, level, findings, rng)
    _csv(folder / "results.csv", ["arm", "label", "kind", "seed", "metric", "finding", "value"], lines)
    _bounds(folder, lines)


def _bounds(folder: Path, lines: Sequence[list]) -> None:
    """Intervals of .05 about every value, and differences of the arms that are known to .02."""
    values: dict[tuple, list[float]] = {}
    for arm, _, kind, _, metric, finding, value in lines:
        values.setdefault((kind, arm, metric, finding), []).append(value)
    means = {key: float(np.mean(own)) for key, own in values.items()}
    sizes = {key: [len(own), 300, 100] for key, own in values.items()}
    bounds = ["value", "low", "high", "seeds", "studies", "patients"]
    _csv(
        folder / "intervals.csv",
        ["kind", "arm", "metric", "finding", *bounds],
        [[*key, mean, mean - 0.05, mean + 0.05, *sizes[key]] for key, mean in means.items()],
    )
    gaps = [
        [b, a, *name, mean - means["arm", a, *name], sizes["arm", b, *name]]
        for (kind, b, *name), mean in means.items()
        for a in list(ARMS)[: list(ARMS).index(b) if kind == "arm" else 0]
        if ("arm", a, *name) in means
    ]
    _csv(
        folder / "differences.csv",
        ["arm", "against", "metric", "finding", *bounds],
        [[*names, gap, gap - 0.02, gap + 0.02, *size] for *names, gap, size in gaps],
    )


def _csv(path: Path, head: list[str], lines: Sequence[list]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([head, *lines])


def _scores(arm, label, kind, seed, level, findings, rng) -> list[list]:
    each = {f: float(np.clip(rng.normal(level, 0.06 if kind == "teacher" else 0.03), 0, 1)) for f in findings}
    mean = float(np.mean(list(each.values())))
    wide = {"accuracy": mean, "balanced_accuracy": max(0.0, mean - 0.04), "positive_f1": max(0.0, mean - 0.1)}
    shared = wide | {"refusals": 0.24 if arm == "moonshot" else 0.0, "unstated": 0.01}
    cells = [("accuracy", f, value) for f, value in each.items()] + [(m, "mean", v) for m, v in shared.items()]
    return [[arm, label, kind, seed, metric, finding, round(value, 6)] for metric, finding, value in cells]


def _logps(stages: Sequence[str], rng: np.random.Generator) -> dict[str, float]:
    before = {"logp_preferred_before": -24.0, "logp_teachers_before": -31.0} if "apo" in stages else {}
    after = (
        {"logp_preferred": -18 + rng.normal(), "logp_teachers": -62 + 4 * rng.normal()}
        if "apo" in stages
        else {"logp_preferred": -24 + rng.normal(), "logp_teachers": -31 + rng.normal()}
    )
    return before | {name: round(float(value), 3) for name, value in after.items()}


def _samples(folder: Path, truth: dict, pixels: int, rng: np.random.Generator) -> None:
    (folder / "samples").mkdir()
    entries = []
    for study, findings in truth.items():
        y, x = np.mgrid[-1 : 1 : pixels * 1j, -1 : 1 : pixels * 1j]
        lungs = np.exp(-(((abs(x) - 0.45) / 0.28) ** 4) - (y / 0.75) ** 4)
        drawn = 200 - 150 * lungs + 6 * rng.normal(size=x.shape)
        Image.fromarray(np.clip(drawn, 0, 255).astype(np.uint8)).save(folder / "samples" / f"{study}.png")
        report = f"There is {_words(findings)}."
        entries.append({"study": study, "findings": findings, "report": report, "image": f"{study}.png"})
    (folder / "samples" / "samples.json").write_text(json.dumps(entries))


def _words(findings: dict) -> str:
    return ", ".join(name.replace("_", " ") for name, value in findings.items() if value) or "no acute finding"


def _arm(folder: Path, arm: str, seed: int, truth: dict, steps: int, teacher_text: str | None) -> None:
    _, stages, level = ARMS[arm]
    rng = np.random.default_rng([seed, list(ARMS).index(arm)])
    owner = {"spd": "spd_one" if arm == "spd_one" else "shared", "self_distill": "shared", "collect": "all"}
    for stage in ("collect", *stages, "evaluate"):
        name = f"{stage}-{owner.get(stage, arm)}{'' if stage == 'collect' else seed}"
        stored = folder.parent / "store" / name
        if not stored.exists():
            stored.mkdir(parents=True)
            _stage(stored, stage, arm, truth, steps, teacher_text, rng, level)
        link = folder / arm / f"seed{seed}" / stage
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(Path("../../../store") / name)


def _stage(stored, stage, arm, truth, steps, teacher_text, rng, level) -> None:
    if stage == "collect":
        _lines(
            stored / "trajectories.jsonl",
            [
                {"study": s, "teacher": t, "text": teacher_text or _opinion(t, f), "t": 0.0}
                for s, f in truth.items()
                for t in TEACHERS
            ],
        )
    elif stage == "self_distill":
        _lines(
            stored / "preferred.jsonl",
            [{"study": s, "text": f"Most readers agree on {_words(f)}.", "split": "test"} for s, f in truth.items()],
        )
    elif stage == "evaluate":
        _lines(stored / "predictions.jsonl", [_prediction(s, f, rng, level) for s, f in truth.items()])
    else:
        _lines(stored / "metrics.jsonl", [_step(stage, arm, step, steps, rng) for step in range(steps)])


def _opinion(teacher: str, findings: dict) -> str:
    if teacher == "moonshot":
        return "I cannot interpret medical images. Please consult a radiologist."
    return f"Step 1: I inspect lungs and heart. Step 2: the film shows {_words(findings)}. Conclusion of {teacher}."


def _prediction(study: str, findings: dict, rng: np.random.Generator, level: float) -> dict:
    said = {name: value if rng.random() < level else 1 - value for name, value in findings.items()}
    return {"study": study, "text": f"The radiograph shows {_words(said)}.", "findings": said, "refused": False}


def _step(stage: str, arm: str, step: int, steps: int, rng: np.random.Generator) -> dict:
    done = step / max(1, steps - 1)
    row = {"step": step, "train/lr": 1e-4, "train/loss": 0.7 * np.exp(-4 * done) + 0.25 + 0.04 * rng.normal()}
    if stage == "apo" and arm != "sft":
        fall = 60 if arm == "dpo" else 25
        rejected = {t: -31 - fall * done * (0.6 + 0.1 * i) + rng.normal() for i, t in enumerate(TEACHERS)}
        mean, chosen = float(np.mean(list(rejected.values()))), -24 + 6 * done + rng.normal()
        row |= {"train/logp_chosen": chosen, "train/logp_rejected": mean, "train/accuracy": 0.5 + 0.5 * done}
        row |= {"train/reward_chosen": 0.1 * (chosen + 24), "train/reward_rejected": 0.1 * (mean + 31)}
        row |= {"train/margin": row["train/reward_chosen"] - row["train/reward_rejected"]}
        row |= {f"train/logp_rejected/{teacher}": value for teacher, value in rejected.items()}
    return {name: value if isinstance(value, int) else float(value) for name, value in row.items()}


def _lines(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
