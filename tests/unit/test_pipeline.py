"""What a stage's hash depends on, and what a W&B trial is told."""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path
from string import Template
from types import ModuleType
from typing import Any

import pytest

from apo_lightning import config, leader
from apo_lightning.errors import DataError
from apo_lightning.experiment import cache_keys, pipeline, tracking
from apo_lightning.experiment.context import Context
from apo_lightning.experiment.run_folder import RunFolder
from apo_lightning.experiment.stage_folder import StageFolder
from apo_lightning.experiment.steps import base
from apo_lightning.experiment.steps.fit import Fit
from apo_lightning.experiment.steps.generate import Generate
from apo_lightning.files.jsonlines import write as write_jsonl
from apo_lightning.hashing import contents, sources
from apo_lightning.settings import EvaluateSettings, WandbSettings
from apo_lightning.settings.probes import LikelihoodSettings, SamplingSettings
from apo_lightning.teachers import TEACHERS
from callbacks import CALLBACKS
from data_modules.phantom import Phantom

ROOT = Path(__file__).resolve().parents[2]


def keys(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> dict[str, str]:
    """Hashes of all stages of the smoke experiment, without running any."""
    cfg = config.resolve_arm(config.load(ROOT / "experiments" / "smoke.yaml"), "apo_listwise")
    for name, value in changes.items():
        setattr(cfg, name, value)
    monkeypatch.setattr(base, "once", lambda folder, name, work: folder)
    monkeypatch.setattr(StageFolder, "done", True)
    if StageFolder.manifest.__module__ == "apo_lightning.experiment.stage_folder":  # no test has set what lies there
        monkeypatch.setattr(StageFolder, "manifest", lambda self: {})
    own = Context(cfg, "apo_listwise", 0, Phantom(train=4, val=2, test=2), RunFolder(Path("runs"), "x"))
    return {name: folder.key for name, folder in pipeline.run(own).done.items()}


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


def test_the_same_settings_hash_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    assert changed(keys(monkeypatch), keys(monkeypatch)) == set()


def test_how_an_evaluation_asks_trains_nothing_again(monkeypatch: pytest.MonkeyPatch) -> None:
    before = keys(monkeypatch)
    likely = LikelihoodSettings("yes_no", "token_mean", 2)
    plan = EvaluateSettings(likelihood=likely, samples=4, sampling=SamplingSettings(0.7, 0.9), flip=False)
    assert changed(before, keys(monkeypatch, evaluate=plan)) == {"evaluate"}


def test_a_prompt_is_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    before = keys(monkeypatch)
    monkeypatch.setattr(cache_keys.prompts, "load", lambda name: Template(f"{name}, in other words $reports"))
    assert changed(before, keys(monkeypatch)) == {"spd", "self_distill", "apo", "evaluate"}


def edit(monkeypatch: pytest.MonkeyPatch, file: str, text: bytes = b"\nEDITED = True\n") -> None:
    """As if a file of the library had more words."""
    plain, path = sources.source, ROOT / file
    assert path.is_file()
    monkeypatch.setattr(sources, "source", lambda file: plain(file) + (text if file == path else b""))
    sources._read.cache_clear()


ALL = {"collect", "spd", "self_distill", "apo", "evaluate"}
WRITTEN = ALL - {"collect"}
EDITED = {
    "apo_lightning/losses/apo_listwise.py": {"apo", "evaluate"},
    "apo_lightning/losses/base.py": WRITTEN,
    "apo_lightning/functional/preference.py": WRITTEN,
    "apo_lightning/scoring/prefix.py": WRITTEN,
    "apo_lightning/stages/base.py": WRITTEN,
    "apo_lightning/stages/apo.py": {"apo", "evaluate"},
    "apo_lightning/stages/generate.py": {"self_distill", "apo", "evaluate"},
    "apo_lightning/models/student.py": WRITTEN,
    "apo_lightning/batching/collate.py": WRITTEN,
    "apo_lightning/experiment/trainer.py": WRITTEN,
    "apo_lightning/positives/student.py": {"self_distill", "apo", "evaluate"},
    "apo_lightning/positives/majority.py": set(),
    "apo_lightning/teachers/simulated.py": ALL,
    "apo_lightning/teachers/base.py": ALL,
    "apo_lightning/teachers/pool.py": ALL,
    "apo_lightning/phantom/wording.py": ALL,
    "apo_lightning/trajectories/records.py": ALL,
    "apo_lightning/files/jsonlines.py": ALL,
    "data_modules/phantom.py": ALL,
    "data_modules/base.py": ALL,
    "data_modules/images/transforms.py": ALL,
    "apo_lightning/phantom/drawing.py": ALL,
    "apo_lightning/text/labeler.py": WRITTEN,
    "apo_lightning/text/mentions.py": WRITTEN,
    "apo_lightning/probes/wordings.py": {"evaluate"},
    "apo_lightning/probes/statements.py": {"evaluate"},
    "apo_lightning/metrics/scored.py": set(),
    "apo_lightning/reports/render.py": set(),
    "apo_lightning/metrics/bootstrap.py": set(),
    "apo_lightning/errors.py": set(),
    "callbacks/frozen_guard.py": set(),
    "data_modules/summary.py": set(),
}
"""File to the stages whose result it is part of."""


@pytest.fixture(scope="module")
def plain() -> dict[str, str]:
    with pytest.MonkeyPatch.context() as patch:
        return keys(patch)


@pytest.mark.parametrize("file", EDITED)
def test_edited_source_makes_anew_what_it_is_part_of(
    monkeypatch: pytest.MonkeyPatch, plain: dict[str, str], file: str
) -> None:
    edit(monkeypatch, file)
    assert changed(plain, keys(monkeypatch)) == EDITED[file]
    sources._read.cache_clear()


@pytest.mark.parametrize("words", [b"\n# a comment\n", b'\n"""Words."""\n', b"\n\n\n"])
def test_words_about_the_source_train_nothing_again(
    monkeypatch: pytest.MonkeyPatch, plain: dict[str, str], words: bytes
) -> None:
    edit(monkeypatch, "apo_lightning/losses/base.py", words)
    assert changed(plain, keys(monkeypatch)) == set()
    sources._read.cache_clear()


MINE = {
    "mylab/__init__.py": "",
    "mylab/words.py": "from mylab.deep import SAID\n",
    "mylab/deep.py": "SAID = 'No edema.'\n",
    "mylab/base.py": "class Base:\n    gives = 'text'\n",
    "mylab/unused.py": "",
    "mylab/teacher.py": (
        "import dataclasses\nimport torch\nfrom mylab.base import Base\nfrom . import words\n\n"
        "@dataclasses.dataclass\nclass Mine(Base):\n    name: str\n    notes: str = ''\n    more: dict = None\n"
    ),
}


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A teacher outside of the library, with a base class and helpers of its own."""
    for name, text in MINE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    teacher = importlib.import_module("mylab.teacher")
    monkeypatch.setitem(TEACHERS, "mine", teacher.Mine)
    yield tmp_path / "mylab"
    for name in [name for name in sys.modules if name.split(".")[0] == "mylab"]:
        del sys.modules[name]
    sources._file.cache_clear()


@pytest.mark.parametrize(("file", "counts"), [("teacher", 1), ("base", 1), ("words", 1), ("deep", 1), ("unused", 0)])
def test_a_teacher_of_ones_own_is_its_source(
    monkeypatch: pytest.MonkeyPatch, mine: Path, file: str, counts: int
) -> None:
    section = {"kind": "mine", "weight": 1.0}
    before = keys(monkeypatch, teachers={"m": section})
    assert changed(before, keys(monkeypatch, teachers={"m": section})) == set()
    (mine / f"{file}.py").write_text(f"{(mine / f'{file}.py').read_text()}EDITED = 1\n")
    assert changed(before, keys(monkeypatch, teachers={"m": section})) == (ALL if counts else set())


def test_whatever_file_a_teacher_names_is_its_content(monkeypatch: pytest.MonkeyPatch, mine: Path) -> None:
    """Under any key, in lists and mappings, folders too."""
    (mine / "notes.txt").write_text("a")
    (mine / "folder").mkdir()
    (mine / "folder" / "x.txt").write_text("a")
    monkeypatch.setattr(contents, "SETTLED", -1.0)
    section = {"kind": "mine", "notes": str(mine / "notes.txt"), "more": {"also": [str(mine / "folder")]}}
    for path in (mine / "notes.txt", mine / "folder" / "x.txt"):
        before = keys(monkeypatch, teachers={"m": section})
        path.write_text("bb")
        assert changed(before, keys(monkeypatch, teachers={"m": section})) == ALL
    before = keys(monkeypatch, teachers={"m": {"kind": "mine", "notes": "not\x00a path" * 400}})
    assert set(before) == ALL


def test_an_edited_callback_that_may_interfere_trains_anew(monkeypatch: pytest.MonkeyPatch, mine: Path) -> None:
    monkeypatch.setitem(CALLBACKS, "mine", TEACHERS["mine"])
    before = keys(monkeypatch, callbacks={"mine": {}})
    (mine / "deep.py").write_text("SAID = 'Edema.'\n")
    assert changed(before, keys(monkeypatch, callbacks={"mine": {}})) == ALL - {"collect"}


def test_source_that_cannot_be_parsed_or_found_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text("def (:")
    module = ModuleType("odd")
    module.__file__ = str(tmp_path / "odd.py")
    assert "odd.py" in sources.sources_of(module, type("Made", (), {}))


def test_teacher_weights_leave_the_collected_texts_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = keys(monkeypatch)
    cfg = config.resolve_arm(config.load(ROOT / "experiments" / "smoke.yaml"), "apo_listwise")
    heavier = {name: {**section, "weight": 2.0} for name, section in cfg.teachers.items()}
    assert "collect" not in changed(before, keys(monkeypatch, teachers=heavier))
    assert "spd" in changed(before, keys(monkeypatch, teachers=heavier))


def test_an_observing_callback_trains_nothing_again(monkeypatch: pytest.MonkeyPatch) -> None:
    before = keys(monkeypatch)
    assert changed(before, keys(monkeypatch, callbacks={"throughput": {}, "DeviceStatsMonitor": {}})) == set()
    assert all(CALLBACKS[name].observes for name in ("frozen_guard", "throughput", "preference_monitor"))


def test_a_callback_that_may_interfere_is_part_of_what_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CALLBACKS, "shaker", type("Shaker", (), {}))
    before = keys(monkeypatch)
    shaken = keys(monkeypatch, callbacks={"shaker": {"by": 1}})
    assert {"spd", "apo"} <= changed(before, shaken)
    assert {"spd", "apo"} <= changed(shaken, keys(monkeypatch, callbacks={"shaker": {"by": 2}}))


def test_a_stored_stage_says_which_callbacks_did_not_see_it(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(leader, "say", said.append)
    monkeypatch.setattr(StageFolder, "manifest", lambda self: {"callbacks": {"throughput": {}}})
    keys(monkeypatch, callbacks={"throughput": {}})
    assert said == []
    keys(monkeypatch, callbacks={"throughput": {}, "frozen_guard": {}})
    assert len(said) == 2 and "frozen_guard did not see this stage train" in said[0] and "rm -r" in said[0]
    monkeypatch.setattr(StageFolder, "manifest", lambda self: {})  # an earlier version kept no such list
    keys(monkeypatch, callbacks={"frozen_guard": {}})
    assert len(said) == 2


class FakeRun:
    logged: dict[str, float]

    def __enter__(self) -> FakeRun:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def log(self, values: dict[str, float]) -> None:
        FakeRun.logged = values


@pytest.mark.parametrize("trial", [False, True])
def test_a_trial_keeps_its_agents_mode_and_is_one_run(trial: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    if trial:
        monkeypatch.setenv("WANDB_SWEEP_ID", "abc")
    given: dict[str, Any] = {}
    monkeypatch.setattr(tracking.wandb, "init", lambda **how: given.update(how) or FakeRun())
    settings = WandbSettings(mode="offline")
    tracking.wandb_summary(settings, Path("."), {"val/accuracy": 0.5}, group="x/apo")
    assert FakeRun.logged == {"val/accuracy": 0.5}
    assert {"group", "mode"} <= set(given) if not trial else not {"group", "mode"} & set(given)
    assert tracking.os.environ["WANDB_MODE"] == ("online" if trial else "offline")
    assert (tracking.wandb_logger(settings, Path("."), group="x", stage="spd") == []) == trial


def arm_at_apo(texts: dict[str, str], tmp_path: Path) -> Context:
    """An arm that has written these preferred texts and comes to its last stage."""
    cfg = config.resolve_arm(config.load(ROOT / "experiments" / "smoke.yaml"), "apo_listwise")
    own = Context(cfg, "apo_listwise", 3, Phantom(train=4, val=2, test=2), RunFolder(tmp_path / "runs", "x"))
    own.done = {name: StageFolder(tmp_path, name, {}) for name in ("collect", "self_distill")}
    write_jsonl(own.done["collect"].path / "trajectories.jsonl", [])
    write_jsonl(
        own.done["self_distill"].path / "preferred.jsonl",
        [{"study": k, "text": v, "cut": False} for k, v in texts.items()],
    )
    return own


def test_apo_without_a_readable_text_says_what_there_was(tmp_path: Path) -> None:
    """Before a student is loaded, and for the one reason or the other."""
    studies = [study.id for study in Phantom(train=4, val=2, test=2).studies("train")]
    own = arm_at_apo({studies[0]: " ", studies[1]: "", "elsewhere": "Edema."}, tmp_path)
    file = own.done["self_distill"].path / "preferred.jsonl"
    said = (
        rf"apo of arm 'apo_listwise', seed 3 has nothing to learn from: no text serves the 4 training studies\. {file} "
    )
    with pytest.raises(
        DataError, match=said + "has 3 preferred texts, 2 of them for training studies, 2 of those empty"
    ):
        Fit(own, "apo").run(own.done["collect"])


def test_spd_without_a_teachers_text_says_which_file(tmp_path: Path) -> None:
    own = arm_at_apo({}, tmp_path)
    file = own.done["collect"].path / "trajectories.jsonl"
    said = rf"spd of arm .* {file} has 0 texts; of eager, .*refuser: 4 studies without teacher\."
    with pytest.raises(DataError, match=said):
        Fit(own, "spd").run(own.done["collect"])


def test_an_unforeseen_error_ends_with_where_it_was_and_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Generate) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(Generate, "inputs", fail)
    with pytest.raises(ZeroDivisionError) as caught:
        keys(monkeypatch)
    (note,) = caught.value.__notes__
    assert note.startswith("This happened in stage self_distill of arm 'apo_listwise', seed 0 (runs/x). Kept of it: ")
    assert "collect, spd" in note and note.endswith("the same command goes on from there.")
    assert traceback.format_exception(caught.value)[-1].strip() == note
