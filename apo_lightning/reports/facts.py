"""What was run, in words: from config.yaml and manifest.json. What they lack is said to be not recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from apo_lightning.reports import told as told_labels
from apo_lightning.reports.folder import PAPER

UNKNOWN = "not recorded"
FACTS = {
    "seeds": "Seeds",
    "created": "Date",
    "commit": "Git commit",
    "command": "Command",
    "machine": "Machine",
    "versions": "Versions",
}
SIMULATED = "simulated"
REAL = {
    "recorded": "recorded texts, read from files",
    "api": "asked over an API",
    "hf_logits": "a local model whose token distributions are read",
}
"""Kinds of teachers that are models, and how they were heard."""
DRAWN = {"phantom": "radiographs drawn by a program"}
"""Data sets without a patient."""


def banner(settings: Mapping[str, Any]) -> str:
    """In one sentence whether teachers and images are real: the first thing to know of any number below."""
    kinds = {str(own.get("kind")) for own in _teachers(settings).values()}
    if not kinds:
        return "Not recorded: whether the teachers are real or simulated."
    made_up = kinds == {SIMULATED}
    some = f"Some teachers are SIMULATED, others are REAL ({', '.join(sorted(kinds - {SIMULATED}))})"
    who = "SIMULATED teachers" if made_up else some if SIMULATED in kinds else "REAL teachers"
    names = [str(own.get("name")) for own in _data(settings) if own]
    drawn = [name for name in names if name in DRAWN]
    where = f"DRAWN images ({', '.join(drawn)})" if drawn and len(drawn) == len(names) else f"data {' → '.join(names)}"
    said = ": this compares methods and says nothing of any real model or patient" if made_up or drawn else ""
    return f"{who} on {where}{said}."


def told(manifest: Mapping[str, Any], settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Title and text of everything that was set, then of what the manifest records."""
    if not settings:
        return [("Settings", f"{UNKNOWN}: the run folder has no config.yaml"), *_data_facts(manifest), *facts(manifest)]
    said = [
        ("Data", _data_words(settings)),
        *_data_facts(manifest),
        ("Teachers", _teacher_words(settings)),
        ("Teacher weights", _weights(settings)),
        ("Gate on conflict", _gate(settings, manifest)),
        ("Student", _student(settings)),
        ("SPD (learn)", _fit(settings, "spd")),
        ("t+ (compare)", _writing(_get(settings, "stages", "self_distill"))),
        ("Preference (critique)", _fit(settings, "apo")),
        *_further_stages(settings),
        ("Differs by arm", _differing(settings, _ran(settings, manifest))),
        ("Prompts", _prompts(settings)),
        *told_labels.asked(manifest),
        ("Answers", _writing(_get(settings, "evaluate"))),
    ]
    return [(title, text) for title, text in said if text] + facts(manifest)


def facts(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the manifest says of how the run was made."""
    joints = {key: " " if key == "command" else ", " for key in FACTS}
    return [(title, plain(manifest.get(key), joints[key]) or UNKNOWN) for key, title in FACTS.items()]


def _data_facts(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Sizes of the splits, what is not used, and whom to cite; nothing where the manifest is silent."""
    data = manifest.get("data", {})
    data = data if isinstance(data, Mapping) else {}
    gone = {"of tested patients": data.get("removed"), "unusable": data.get("unusable"), **data.get("left_out", {})}
    left = ", ".join(f"{count:,} {why}" for why, count in gone.items() if count)
    sizes = ", ".join(f"{split} {count:,}" for split, count in data.get("studies", {}).items())
    found = {"Studies": f"{sizes}; left out: {left}" if left else sizes, "Source": manifest.get("citation", "")}
    return [(title, str(text)) for title, text in found.items() if text]


def plain(value: Any, joint: str = ", ") -> str:
    """A value of a manifest as it is read.

    >>> plain({"torch": "2.13", "seeds": [0, 1]})
    'torch 2.13, seeds 0, 1'
    """
    if isinstance(value, Mapping):
        return joint.join(f"{name} {plain(item, joint)}" for name, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return joint.join(plain(item, joint) for item in value)
    return "" if value is None else str(value)


def _get(settings: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """A section, empty where it is none: a folder may come from anywhere."""
    for name in path:
        settings = settings.get(name, {}) if isinstance(settings, Mapping) else {}
    return settings if isinstance(settings, Mapping) else {}


def _teachers(settings: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {str(name): own for name, own in _get(settings, "teachers").items() if isinstance(own, Mapping)}


def _data(settings: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [own for own in (_get(settings, "data"), _get(settings, "evaluate", "data")) if own]


def _data_words(settings: Mapping[str, Any]) -> str:
    sets = _data(settings)
    if not sets:
        return UNKNOWN
    names = [str(own.get("name")) for own in sets]
    said = f"trained on {names[0]}, tested on {names[1]}" if len(names) > 1 else f"{names[0]}, {_splits(sets[0])}"
    share = sets[0].get("data_fraction", 1)
    less = f"; {float(share):.0%} of the training studies" if isinstance(share, int | float) and share != 1 else ""
    drawn = "; ".join(f"{name}: {DRAWN[name]}" for name in names if name in DRAWN)
    more = _get(settings, "evaluate").get("sets")
    further = f"; further sets: {', '.join(map(str, more))}" if more else ""
    return f"{said}{less}{f' ({drawn})' if drawn else ''}{further}"


def _splits(own: Mapping[str, Any]) -> str:
    """Whence the splits are: of a file, of a column, or drawn here; sets that know of neither have their own.

    >>> _splits({"split": None, "val_fraction": 0.2, "test_fraction": 0.3})
    'splits drawn by patient (val 20%, test 30%)'
    """
    if own.get("split_file"):
        return f"splits of {PurePath(str(own['split_file'])).name}"
    if own.get("split"):
        return f"splits of the column '{own['split']}', drawn by patient where it is empty"
    shares = {name: own.get(f"{name}_fraction") for name in ("val", "test")}
    if "split" in own and all(isinstance(share, int | float) for share in shares.values()):
        return f"splits drawn by patient ({', '.join(f'{name} {share:.0%}' for name, share in shares.items())})"
    return "its own splits"


def _teacher_words(settings: Mapping[str, Any]) -> str:
    by_kind: dict[str, list[str]] = {}
    for name, own in _teachers(settings).items():
        by_kind.setdefault(str(own.get("kind")), []).append(name)
    told = {SIMULATED: "SIMULATED: programs that know the labels and make the errors they are set to make"}
    said = [
        f"{len(names)} {told.get(kind) or f'REAL: {REAL.get(kind, kind)}'} ({', '.join(names)})"
        for kind, names in by_kind.items()
    ]
    return "; ".join(said) or UNKNOWN


def _weights(settings: Mapping[str, Any]) -> str:
    weights = {name: own.get("weight", 1.0) for name, own in _teachers(settings).items()}
    if not weights:
        return ""
    alike = len(set(map(str, weights.values()))) == 1
    by = _get(settings, "pool", "weights").get("name", "user")
    said = f"{next(iter(weights.values()))} each" if alike else plain(weights)
    own = ", ".join(f"{key} {value}" for key, value in _get(settings, "pool", "weights").items() if key != "name")
    return said if by == "user" else f"by {by}{f' ({own})' if own else ''}"


def _gate(settings: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    """The thresholds, what is done beyond them, and to how much it was done; empty where no arm has a gate."""
    own = _get(settings, "pool", "gate")
    limits = [f"{key} above {own[key]}" for key in ("studies", "findings") if own.get(key) is not None]
    if not limits:
        return ""
    done = {"report": "counted", "leave_out": "left out of training", "weight": f"weighed by {own.get('weight')}"}
    counts = plain(manifest.get("gated"), "; ") if manifest.get("gated") else ""
    return f"{' and '.join(limits)}: {done.get(str(own.get('action')), UNKNOWN)}{f'; {counts}' if counts else ''}"


def _student(settings: Mapping[str, Any]) -> str:
    own, adapter = _get(settings, "student"), _get(settings, "student", "adapter")
    if not own:
        return UNKNOWN
    model = str(own.get("model"))
    model = "nano, the embedded Qwen2.5-VL of 2 M parameters" if model == "nano" else model
    kind = str(adapter.get("kind", UNKNOWN))
    named = () if kind == "full" else ("r", "alpha", "dropout")
    sizes = "".join(f", {name} {adapter[name]}" for name in named if name in adapter)
    kind = {"lora": "LoRA", "qlora": "QLoRA (4-bit)", "full": "all weights are trained"}.get(kind, kind)
    return f"{model}; adapter {kind}{sizes}; {own.get('dtype', '')}".rstrip("; ")


def _fit(settings: Mapping[str, Any], stage: str) -> str:
    """Loss with its numbers (beta is one), learning rate, steps and batch of a stage that some arm runs."""
    if not any(stage in (own.get("stages") or []) for own in _arms(settings).values()):
        return "no arm has it"
    own = _get(settings, "stages", stage)
    loss, optim = _get(own, "loss"), _get(own, "optim")
    details = ", ".join(f"{name} {value}" for name, value in loss.items() if name != "name" and value is not None)
    studies = f"{own.get('batch_studies')} studies per batch"
    many = f" × {own['accumulate']} accumulated" if own.get("accumulate", 1) != 1 else ""
    schedule = f", {optim['schedule']} schedule" if optim.get("schedule") else ""
    return (
        f"{loss.get('name', UNKNOWN)}{f' ({details})' if details else ''}; lr {optim.get('lr', UNKNOWN)}{schedule}; "
        f"{own.get('steps', UNKNOWN)} steps, {studies}{many}"
    )


def _further_stages(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Stages beyond the paper's that some arm runs, later runs of those among them."""
    listed = [name for own in _arms(settings).values() for name in own.get("stages") or []]
    further = dict.fromkeys(name for name in map(str, listed) if name not in PAPER)
    sections = {name: _get(settings, "stages", name) for name in further}
    return [(name, _fit(settings, name) if "loss" in own else _writing(own)) for name, own in sections.items() if own]


def _arms(settings: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {str(name): own for name, own in _get(settings, "arms").items() if isinstance(own, Mapping)}


def _ran(settings: Mapping[str, Any], manifest: Mapping[str, Any]) -> list[str]:
    """Arms whose stages the folder links to; of an earlier version, which listed no links, those of its last run."""
    links, only = manifest.get("links"), settings.get("only")
    chosen = [str(place).split("/")[0] for place in links] if isinstance(links, Mapping) and links else only
    return (
        [name for name in _arms(settings) if name in chosen]
        if isinstance(chosen, list) and chosen
        else list(_arms(settings))
    )


def _differing(settings: Mapping[str, Any], ran: Sequence[str]) -> str:
    """What arms that ran set otherwise than the experiment, beta and weights among it."""
    sections = {name: own for name, own in _arms(settings).items() if name in ran}
    said = {name: plain(_flat(own.get("set"))) for name, own in sections.items() if own.get("set")}
    return "; ".join(f"{name}: {text}" for name, text in said.items())


def _flat(section: Any) -> dict[str, Any]:
    """Dotted names, without those of the room that all are of."""
    own = section if isinstance(section, Mapping) else {}
    return {str(name).removeprefix("stages."): value for name, value in own.items()}


def _writing(own: Mapping[str, Any]) -> str:
    if "max_new_tokens" not in own:
        return ""
    drawn = f"sampled at temperature {own.get('temperature')}" if own.get("sample") else "greedy"
    samples = f", {own['samples']} samples per study" if own.get("samples", 1) != 1 else ""
    return f"{drawn}{samples}, at most {own['max_new_tokens']} new tokens"


def _prompts(settings: Mapping[str, Any]) -> str:
    asked = settings.get("prompt")
    named = {
        "diagnosis": asked,
        "t+": _get(settings, "stages", "self_distill").get("prompt"),
        "evaluation": _get(settings, "evaluate").get("prompt") or asked,
    }
    return ", ".join(f"{what} by '{name}'" for what, name in named.items() if name) or UNKNOWN
