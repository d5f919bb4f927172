"""A real text model as a teacher: what it writes about Open-I reports, what its log-probs take on the disk, and what a
student can learn from them.

    python -m benchmarks.open_teachers OPEN_I_FOLDER SMOLLM2.gguf --out FOLDER

50 reports, drawn images in the place of the radiographs (nine studies of the sample have any), the embedded student.
SmolLM2-135M-Instruct reads each report and writes (``apo collect``); a student learns from its texts (``spd_nll``) and
is refused its log-probs (``spd_kl``). That student, saved, is the second teacher: it has the embedded student's
tokenizer, looks at the image, writes, and a new student learns from its recorded log-probs (``spd_kl``). No report is
printed, or kept outside FOLDER.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from apo_lightning.caches.log_probs import LogProbs
from apo_lightning.nano.parts import SIDE
from apo_lightning.phantom.drawing import draw
from apo_lightning.phantom.world import cases
from data_modules.open_i import OpenI

ROOT = Path(__file__).resolve().parents[1]
FINDINGS = ("atelectasis", "cardiomegaly", "edema", "pleural_effusion", "pneumonia", "pneumothorax")
SPLITS = {"train": 40, "val": 4, "test": 6}
NLL = {"name": "spd_nll", "reduction": "token_mean"}
KL = {"name": "spd_kl", "kind": "forward", "temperature": 1.0, "reduction": "token_mean"}


def write_data(source: Path, folder: Path) -> None:
    """A table of the first reports that have both sections, with drawn images."""
    known = OpenI(root=str(source), allow_missing=True, index_file="NLMCXR_reports.tgz", sections=["findings"])
    studies = [study for study in known.read_index() if study.report][: sum(SPLITS.values())]
    splits = [split for split, count in SPLITS.items() for _ in range(count)]
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for study, split, case in zip(studies, splits, cases(0, len(studies)), strict=True):
        draw(case, SIDE).save(folder / f"{study.id}.png")
        labels = {name: int(study.findings[name]) for name in FINDINGS}
        rows.append({"image": f"{study.id}.png", "patient": study.id, "split": split, "report": study.report, **labels})
    pd.DataFrame(rows).to_csv(folder / "index.csv", index=False)


def experiment(folder: Path, name: str, teacher: dict[str, Any], loss: dict[str, Any], kept: dict[str, Any]) -> Path:
    """The file of an experiment with one teacher and the arms base and spd."""
    own = {"kind": "hf", "path": str(folder / f"{name}.jsonl"), **teacher}
    own["log_probs"] = {"path": str(folder / f"{name}.sqlite"), **kept}
    tree = {
        "extends": [str(ROOT / f"experiments/base/{part}.yaml") for part in ("nano", "stages_nano")],
        "name": name,
        "runs_dir": str(folder / "runs"),
        "data": {"name": "tabular", "root": str(folder / "data"), "report": "report", "credentialed": False},
        "wandb": {"mode": "disabled"},
        "teachers": {name: own},
        "stages": {"spd": {"steps": 40, "loss": loss}},
        "arms": {
            "base": {"label": "Base", "stages": []},
            "spd": {"label": f"{loss['name']}, {name}", "stages": ["spd"]},
        },
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    return path


def apo(*words: str) -> tuple[int, float, str]:
    """Status, seconds and last lines of a command."""
    begun = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "apo_lightning", *words], cwd=ROOT, capture_output=True, text=True)
    return done.returncode, time.perf_counter() - begun, (done.stdout + done.stderr).strip()


def losses(folder: Path, name: str) -> str:
    """First and last mean of five steps."""
    rows = map(json.loads, (folder / "runs" / name / "spd/seed0/spd/metrics.jsonl").read_text().splitlines())
    values = [row["train/loss"] for row in rows if row.get("train/loss") is not None]
    return f"loss {sum(values[:5]) / 5:.3f} to {sum(values[-5:]) / 5:.3f} in {len(values)} steps"


def shown(what: str, *words: str, whole: bool = True) -> None:
    """Run a command and print how it ended; what it said only where that is short or asked for."""
    status, seconds, said = apo(*words)
    print(f"{what}: status {status}, {seconds:.0f} s", *([said] if whole or status else []), sep="\n", flush=True)


def cost(folder: Path, name: str) -> str:
    kept = LogProbs(folder / f"{name}.sqlite")
    studies = [json.loads(line)["study"] for line in (folder / f"{name}.jsonl").read_text().splitlines()]
    tokens, size = sum(len(kept.tokens(study)) for study in studies), kept.store.path.stat().st_size
    return f"{name}: {len(studies)} texts, {tokens:,} tokens, {size:,} bytes of log-probs, {size / tokens:.1f} a token"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("reports", type=Path)
    options.add_argument("gguf", type=Path)
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--tokens", type=int, default=96, help="of a text, at most")
    options.add_argument("--k", type=int, default=32)
    options.add_argument("--precision", default="float32")
    given = options.parse_args()
    out, kept = given.out.resolve(), {"k": given.k, "precision": given.precision}
    write_data(given.reports, out / "data")
    text = {"model": str(given.gguf.resolve()), "prompt": "explain_report"}
    text["decoding"] = {"max_new_tokens": given.tokens}
    file = str(experiment(out, "smollm2", text, NLL, kept))
    shown("apo collect smollm2", "collect", file)
    print(cost(out, "smollm2"))
    shown("apo run smollm2 (spd_nll)", "run", file, whole=False)
    print(losses(out, "smollm2"))
    shown("apo run smollm2 (spd_kl)", "run", file, "name=refused", f"stages.spd.loss={json.dumps(KL)}")
    pupil = {"model": "nano", "student": str(out / "runs/smollm2/spd/seed0/spd/student")}
    file = str(experiment(out, "pupil", {**pupil, "decoding": {"max_new_tokens": given.tokens}}, KL, kept))
    shown("apo collect pupil", "collect", file)
    print(cost(out, "pupil"))
    shown("apo run pupil (spd_kl)", "run", file, whole=False)
    print(losses(out, "pupil"))


if __name__ == "__main__":
    main()
