"""A run folder with everything that a report can show: fourteen findings, likelihoods, votes, tests, further sets."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

from tests.helpers import fake_run

FINDINGS = (
    "no_finding",
    "enlarged_cardiomediastinum",
    "cardiomegaly",
    "lung_opacity",
    "lung_lesion",
    "edema",
    "consolidation",
    "pneumonia",
    "atelectasis",
    "pneumothorax",
    "pleural_effusion",
    "pleural_other",
    "fracture",
    "support_devices",
)
SCORES = ("accuracy", "balanced_accuracy", "positive_f1", "auroc", "average_precision", "ece")
BACKENDS = {
    "coco": ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "meteor", "cider"),
    "python": ("bleu_1", "bleu_4", "rouge_l", "meteor"),
}
TEXTS = ("report_f1_micro_14", "report_f1_macro_14", "report_length_ratio", "report_hedging")
HEAD = ["arm", "label", "kind", "seed", "metric", "finding", "value"]
ARMS = ("base", "spd_mt", "sft", "dpo", "apo_listwise")


def make(root: Path, arms: Sequence[str] = ARMS, findings: Sequence[str] = FINDINGS, **options) -> Path:
    """Write ``root/runs/fake`` and its store; ``options`` go to `fake_run.make`."""
    folder = fake_run.make(root, arms=arms, findings=findings, **{"seeds": (0, 1), "steps": 6} | options)
    rng = np.random.default_rng(3)
    lines = [line for arm in arms for line in _more(arm, findings, rng)]
    append(
        folder / "results.csv",
        lines + [["prevalence", "Prevalence", "baseline", 0, "accuracy", name, 0.7] for name in (*findings, "mean")],
    )
    _tests(folder, arms)
    rows = [[arm, name, 0.6, 0.5, 0.7, 2, 300] for arm in arms for name in (*findings, "mean")]
    write(folder / "agreement.csv", ["arm", "finding", "kappa", "low", "high", "seeds", "studies"], rows)
    (folder / "config.yaml").write_text(yaml.safe_dump(settings(arms)))
    _sets(folder, arms)
    for arm in arms:
        _statements(folder / arm / "seed0" / "evaluate", findings, rng)
    warned = {
        "signature": "bias_amplification",
        "step": 40,
        "value": 0.41,
        "threshold": 0.3,
        "warning": "Its errors follow one teacher's more than before.",
        "advice": "Raise the NLL weight.",
    }
    (folder / "sft" / "seed0" / "apo" / "failures.json").write_text(json.dumps([warned]))
    return folder


def append(path: Path, rows: Sequence[Sequence]) -> None:
    with path.open("a", newline="") as file:
        csv.writer(file).writerows(rows)


def write(path: Path, head: Sequence[str], rows: Sequence[Sequence]) -> None:
    path.unlink(missing_ok=True)
    append(path, [head, *rows])


def _more(arm: str, findings: Sequence[str], rng: np.random.Generator) -> list[list]:
    label = fake_run.ARMS[arm][0]
    scored = [
        (f"{how}_{name}", place, round(float(rng.uniform(0.55, 0.95)), 4))
        for how in ("likelihood", "vote")
        for name in SCORES
        for place in (*findings, "mean")
    ]
    texts = [(f"{backend}:{name}", "mean", 0.3) for backend, names in BACKENDS.items() for name in names]
    more = [*scored, *texts, *((name, "mean", 0.4) for name in TEXTS)]
    return [[arm, label, "arm", seed, *cells] for seed in (0, 1) for cells in more]


def _tests(folder: Path, arms: Sequence[str]) -> None:
    """The later arm minus the earlier: sft is apart from base at .001, and from the others not; on the pair of sft and
    dpo only two patients differ, which can show nothing."""
    rows = []
    for i, arm in enumerate(arms):
        for against in arms[:i]:
            p = 0.001 if {arm, against} == {"base", "sft"} else 0.4
            n = 2 if {arm, against} == {"dpo", "sft"} else 200
            rows.append([arm, against, "accuracy", "mean", "permutation", n, 0.1, p, p])
    head = ["arm", "against", "metric", "finding", "test", "n", "statistic", "p", "p_holm"]
    write(folder / "tests.csv", head, rows)


def settings(arms: Sequence[str]) -> dict:
    """A config.yaml as `config.dump` writes it."""
    teachers = {name: {"kind": "simulated", "weight": 1.0} for name in fake_run.TEACHERS}
    return {
        "name": "fake",
        "seeds": [0, 1],
        "data": {"name": "phantom", "train": 480, "seed": 0},
        "prompt": "describe",
        "student": {"model": "nano", "dtype": "float32", "adapter": {"kind": "lora", "r": 8, "alpha": 32}},
        "teachers": teachers,
        "evaluate": {"max_new_tokens": 96},
        "stages": {
            "spd": {"loss": {"name": "spd_nll"}, "optim": {"lr": 1e-3}, "steps": 300, "batch_studies": 4},
            "self_distill": {"prompt": "reconcile", "max_new_tokens": 96},
            "apo": {
                "loss": {"name": "apo_listwise", "beta": 0.1},
                "optim": {"lr": 5e-5},
                "steps": 80,
                "batch_studies": 4,
            },
        },
        "arms": {
            arm: {
                "label": fake_run.ARMS[arm][0],
                "stages": list(fake_run.ARMS[arm][1]),
                "set": {"stages.apo.loss.beta": 0.5} if arm == "dpo" else {},
                "curve": {"axis": "teachers heard", "x": number + 1, "line": "SPD" if number % 2 else "SFT on t+"},
            }
            for number, arm in enumerate(arms)
        },
    }


def _sets(folder: Path, arms: Sequence[str]) -> None:
    entries = []
    for name, names in (("open_i", ("edema", "pneumonia")), ("chestxray14", FINDINGS[:6])):
        (folder / "sets" / name).mkdir(parents=True)
        rows = [
            [arm, fake_run.ARMS[arm][0], "arm", 0, metric, finding, 0.6 + 0.05 * i]
            for i, arm in enumerate(arms)
            for metric in ("accuracy", "balanced_accuracy", "likelihood_auroc")
            for finding in (*names, "mean")
        ]
        write(folder / "sets" / name / "results.csv", HEAD, rows)
        entries.append(
            {
                "name": name,
                "title": name.replace("_", "-"),
                "studies": 120,
                "patients": 80,
                "findings": list(names),
                "left_out": "",
            }
        )
    entries.append({"name": "padchest", "title": "PadChest", "left_out": "data/padchest is not on this disk."})
    (folder / "sets" / "sets.json").write_text(json.dumps(entries))


def _statements(stage: Path, findings: Sequence[str], rng: np.random.Generator) -> None:
    with (stage / "statements.jsonl").open("w") as file:
        for number in range(30):
            p = {name: round(float(rng.random()), 3) for name in findings}
            truth = {name: int(rng.random() < value) for name, value in p.items()}
            file.write(json.dumps({"study": f"s{number}", "patient": f"p{number}", "truth": truth, "p": p}) + "\n")
