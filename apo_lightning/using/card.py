"""The model card of an exported student (README.md): what it is made of, how good it is, and what it is not for."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from apo_lightning import __version__, prompts
from apo_lightning.experiment import pool, preferred
from apo_lightning.files import yaml_files
from apo_lightning.files.characters import visible
from apo_lightning.reports.folder import read_manifest
from apo_lightning.settings import ExperimentSettings
from apo_lightning.using import card_results, card_use
from apo_lightning.using.chosen import Chosen
from apo_lightning.using.exported import Exported
from data_modules import DATA

FILE, TAG = "README.md", "apo-lightning"
MAX_HEAD = 10_000
"""Characters in which a card has its tags."""


def is_ours(folder: Path) -> bool:
    """Whether a folder is an export of ours: its card says so."""
    try:
        with (folder / FILE).open(encoding="utf-8") as file:
            head = file.read(MAX_HEAD).split("---\n")[1]
        return TAG in yaml_files.parse(yaml_files.measure(head))["tags"]
    except (OSError, ValueError, IndexError, KeyError, TypeError, yaml.YAMLError):
        return False


def text(chosen: Chosen, done: Exported, base: str | None) -> str:
    """The card.

    Args:
        base: the base model as another machine knows it; None: it has no such name.
    """
    facts = read_manifest(chosen.run)
    parts = [
        _front(done, base),
        f"# {chosen.cfg.name}: {visible(chosen.cfg.arms[chosen.arm].label)}",
        _what(chosen, done, base),
        card_use.text(chosen, done, base),
        "## Trained on\n\n" + _data(chosen.cfg, facts),
        "## Teachers\n\n" + _teachers(chosen.cfg, chosen.arm),
        "## Prompts, word for word\n\n" + _prompts(chosen),
        "## Training\n\n" + _training(chosen),
        "## Results\n\n" + card_results.text(chosen, facts),
        "## Limits\n\n" + _limits(chosen, facts),
    ]
    return "\n\n".join(parts) + "\n"


def _front(done: Exported, base: str | None) -> str:
    head: dict[str, Any] = {"base_model": base} if base else {}
    head |= {"library_name": "peft" if done.form == "adapter" else "transformers"}
    head |= {"pipeline_tag": "image-text-to-text", "tags": [TAG, "chest-x-ray", "knowledge-distillation"]}
    return f"---\n{yaml.safe_dump(head, sort_keys=False)}---"


def _what(chosen: Chosen, done: Exported, base: str | None) -> str:
    student = chosen.cfg.student
    origin = base or ("the embedded student of apo-lightning (nano)" if student.model == "nano" else "a local model")
    if done.form == "adapter":
        form = f"One LoRA adapter of rank {done.rank} (float32) that carries all stages of training, over {origin}."
        form += "" if base else " The base lies beside it, in `base/`."
    else:
        form = f"Merged weights in {student.dtype}; before training they were {origin}."
    return (
        f"**Not for clinical use.** A research model that reads chest X-rays.\n\n{form} Stages: "
        f"{', '.join(chosen.cfg.arms[chosen.arm].stages) or 'none'}; seed {chosen.seed}; written by apo-lightning "
        f"{__version__}.\n\n{rounding(done, student.dtype)} Measured when this was written: {done.fidelity.sentence()}."
    )


def rounding(done: Exported, dtype: str) -> str:
    """What became of the adapters' numbers."""
    if done.form == "adapter":
        return "Nothing is rounded: the adapters of all stages are joined by rank, which adds the same to every layer."
    if dtype == "float32":
        return "Adapters were added to the weights in float32."
    return (
        "In training adapters lie beside the network in float32. Here they were added in float32, and the sum was "
        f"rounded once to {dtype}: of an update under half a step of {dtype} nothing is left, so that answers may "
        "differ in words from the run's. The adapter form (`apo export --adapter`) loses nothing."
    )


def _data(cfg: ExperimentSettings, facts: Mapping[str, Any]) -> str:
    counts = facts.get("data", {}).get("studies", {})
    sets = [f"- data set `{cfg.data['name']}`" + (f" ({_counted(counts)} studies)" if counts else "")]
    if cfg.evaluate.data:
        sets.append(f"- evaluated on `{cfg.evaluate.data['name']}`")
    if facts.get("citation"):
        sets.append(f"- sources to cite: {visible(str(facts['citation']))}")
    sets += _licence([str(name) for name in facts.get("guarded") or []])
    sets.append("- the base model has a licence of its own, which holds for these weights too")
    return "\n".join(sets)


def _licence(guarded: Sequence[str]) -> list[str]:
    """What is known of the terms of the sets that are shown to nobody: a set of ours declares it, and one of the
    user's own counts as such until it is told otherwise."""
    own = [name for name in guarded if name in DATA and _may_be_set(DATA[name])]
    bound, said = [name for name in guarded if name not in own], []
    if bound:
        said.append(
            f"- licence: {', '.join(bound)} under a data use agreement. Whoever gets these weights may have to be "
            "under it too: read it before you share them."
        )
    if own:
        count = f"count{'s' * (len(own) == 1)}"
        said.append(
            f"- licence: not stated. `{'`, `'.join(own)}` {count} as credentialed, as own images do until "
            "`data.credentialed: false` is said. If they are under a data use agreement, whoever gets these weights "
            "may have to be under it too."
        )
    return said or ["- licence: none of the sets is marked as under a data use agreement; see their sources for terms"]


def _may_be_set(data: type) -> bool:
    """Whether a user says of a set that it is credentialed; else its class does, whose terms are known."""
    return any(one.name == "credentialed" for one in dataclasses.fields(data))


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {split}" for split, count in counts.items())


def _teachers(cfg: ExperimentSettings, arm: str) -> str:
    if not cfg.arms[arm].stages:
        return "None: nothing was trained."
    names, strategy = pool.heard({arm: cfg}), cfg.pool.weights.get("name", "user")
    cells = [
        [visible(name), str(own.get("kind")), _model(own), f"{own.get('weight', 1.0):g}"]
        for name, own in ((name, cfg.teachers[name]) for name in names)
    ]
    head = ["teacher", "kind", "model", "weight"]
    shown = [i for i in range(len(head)) if head[i] != "model" or any(row[i] for row in cells)]
    rows = [f"| {' | '.join(row[i] for i in shown)} |" for row in [head, ["---"] * len(head), *cells]]
    said = "" if strategy == "user" else f"\n\nWeights of single studies were set by the strategy `{strategy}`."
    said += "" if isinstance(cfg.pool.select, list) or cfg.pool.select == "all" else f"\n\nHeard: `{cfg.pool.select}`."
    return "\n".join(rows) + said


def _model(teacher: Mapping[str, Any]) -> str:
    """A model's name; of a folder the end of its path."""
    name = str(teacher.get("model") or "")
    return visible("/".join(Path(name).parts[-2:]) if Path(name).is_absolute() else name)


def _prompts(chosen: Chosen) -> str:
    cfg = chosen.cfg
    asked = {f"the question (`{cfg.prompt}`)": prompts.render(cfg.prompt, chosen.findings)}
    if cfg.evaluate.prompt and cfg.evaluate.prompt != cfg.prompt:
        asked[f"in the evaluation (`{cfg.evaluate.prompt}`)"] = prompts.load(cfg.evaluate.prompt).template
    if "self_distill" in cfg.arms[chosen.arm].stages and preferred.writes(cfg):
        name = cfg.stages.self_distill.prompt
        asked[f"to write the preferred text (`{name}`; `$reports` are the teachers' texts)"] = prompts.load(
            name
        ).template
    return "\n\n".join(f"{title}:\n\n{card_use.fenced(words)}" for title, words in asked.items())


def _training(chosen: Chosen) -> str:
    cfg, found = chosen.cfg, []
    adapter = cfg.student.adapter
    found.append(
        f"- adapter: {adapter.kind}" + ("" if adapter.kind == "full" else f", r {adapter.r}, alpha {adapter.alpha}")
    )
    for name in cfg.arms[chosen.arm].stages:
        plan = getattr(cfg.stages, name)
        kept = ("loss", "optim", "steps", "batch_studies", "accumulate", "positive", "samples")
        said = {key: _plain(getattr(plan, key)) for key in kept if hasattr(plan, key)}
        found.append(f"- {name}: `{json.dumps(said, default=str)}`")
    return "\n".join(found)


def _plain(value: Any) -> Any:
    return vars(value) if hasattr(value, "__dataclass_fields__") else value


def _limits(chosen: Chosen, facts: Mapping[str, Any]) -> str:
    findings = ", ".join(chosen.findings).replace("_", " ")
    said = [
        "- Not for clinical use: not a medical device, never tried on patients.",
        f"- It was taught to speak of: {findings}. What it leaves out it has not excluded.",
        "- It learned from texts of other models, and inherits their errors and wording.",
        "- Results are of the data above; other scanners, projections and patients may give worse ones.",
    ]
    if chosen.cfg.data["name"] == "phantom":
        said.append("- Its images were drawn: it has never seen a patient's X-ray, and says nothing of one.")
    if any(own.get("kind") == "simulated" for own in chosen.cfg.teachers.values()):
        said.append("- Its teachers were simulated.")
    return "\n".join(said)
