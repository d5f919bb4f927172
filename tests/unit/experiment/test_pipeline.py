"""What a stage's hash depends on, and what a W&B trial is told."""

from __future__ import annotations

import copy
import importlib
import sys
import traceback
from pathlib import Path
from string import Template

import pytest

from apo_lightning import config, leader
from apo_lightning.errors import DataError
from apo_lightning.experiment import cache_keys, caching
from apo_lightning.experiment.context import Context
from apo_lightning.experiment.run_folder import RunFolder
from apo_lightning.experiment.stage_folder import StageFolder
from apo_lightning.experiment.steps.fit import Fit
from apo_lightning.experiment.steps.generate import Generate
from apo_lightning.files.jsonlines import write as write_jsonl
from apo_lightning.hashing import contents
from apo_lightning.settings import EvaluateSettings
from apo_lightning.settings.probes import LikelihoodSettings, SamplingSettings
from apo_lightning.teachers import TEACHERS
from callbacks import CALLBACKS
from data_modules.phantom import Phantom
from data_modules.transfer import Transfer
from tests.helpers.stage_keys import begin_anew, changed, smoke, stage_keys

ROOT = Path(__file__).resolve().parents[3]

ALL = {"collect", "spd", "self_distill", "apo", "evaluate"}


@pytest.mark.parametrize(("form", "after"), [("yes_no", {"evaluate"}), ("statements", set())])
def test_a_prompt_that_a_probe_asks_is_its_words(monkeypatch: pytest.MonkeyPatch, form: str, after: set[str]) -> None:
    """No setting names it."""
    plan = EvaluateSettings(likelihood=LikelihoodSettings(form))
    before, load = stage_keys(evaluate=plan), cache_keys.prompts.load
    other = Template("Is there $findings, or not?")
    monkeypatch.setattr(cache_keys.prompts, "load", lambda name: other if name == "yes_no" else load(name))
    assert changed(before, stage_keys(evaluate=plan)) == after


def test_weights_that_a_hub_has_replaced_are_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The name stays; a folder is known by its content."""
    monkeypatch.setattr(caching, "locate", lambda model: "lab/net" if model == "lab/net" else model)
    place = {"commit": "a" * 40}
    monkeypatch.setattr(
        caching, "try_to_load_from_cache", lambda model, file: str(tmp_path / "snapshots" / place["commit"] / file)
    )
    student = copy.deepcopy(smoke().student)
    student.model = "lab/net"
    before = stage_keys(student=student)
    place["commit"] = "b" * 40
    assert changed(before, stage_keys(student=student)) == ALL - {"collect"}
    assert caching.revision(str(tmp_path)) == {}


def test_a_teacher_of_logits_is_known_where_another_set_is_answered(tmp_path: Path) -> None:
    """There a stage is shown texts, and no text says by whose weights its distributions come."""
    write_jsonl(tmp_path / "said.jsonl", [{"study": "s", "teacher": "m", "text": "Edema."}])
    (tmp_path / "student").mkdir()
    section = {"kind": "hf_logits", "path": str(tmp_path / "said.jsonl"), "student": str(tmp_path / "student")}

    def spd() -> str:
        begin_anew()
        cfg = copy.deepcopy(smoke())
        cfg.teachers, cfg.stages.spd.loss = {"m": section}, {"name": "spd_kl"}
        data = Transfer(Phantom(train=4, val=2, test=2), Phantom(train=2, val=2, test=2, seed=5))
        own = Context(cfg, "spd_mt", 0, data, RunFolder(tmp_path / "runs", "x"))
        own.done["collect"], own.trajectories = own.folder.stage("collect", {}), []
        return Fit(own, "spd").inputs()["logits"]["files"]["m.student"]

    (tmp_path / "student" / "adapter").write_text("1")
    before = spd()
    (tmp_path / "student" / "adapter").write_text("22")
    assert before != spd() and len(before) == 64


def test_the_same_settings_hash_the_same() -> None:
    assert changed(stage_keys(), stage_keys()) == set()


def test_how_an_evaluation_asks_trains_nothing_again() -> None:
    before = stage_keys()
    likely = LikelihoodSettings("yes_no", "token_mean", 2)
    plan = EvaluateSettings(likelihood=likely, samples=4, sampling=SamplingSettings(0.7, 0.9), flip=False)
    assert changed(before, stage_keys(evaluate=plan)) == {"evaluate"}


def test_a_prompt_is_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    before = stage_keys()
    monkeypatch.setattr(cache_keys.prompts, "load", lambda name: Template(f"{name}, in other words $reports"))
    assert changed(before, stage_keys()) == {"spd", "self_distill", "apo", "evaluate"}


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
    begin_anew(elsewhere=True)
    teacher = importlib.import_module("mylab.teacher")
    monkeypatch.setitem(TEACHERS, "mine", teacher.Mine)
    yield tmp_path / "mylab"
    for name in [name for name in sys.modules if name.split(".")[0] == "mylab"]:
        del sys.modules[name]
    begin_anew(elsewhere=True)


@pytest.mark.parametrize(("file", "counts"), [("teacher", 1), ("base", 1), ("words", 1), ("deep", 1), ("unused", 0)])
def test_a_teacher_of_ones_own_is_its_source(mine: Path, file: str, counts: int) -> None:
    section = {"kind": "mine", "weight": 1.0}
    before = stage_keys(teachers={"m": section})
    assert changed(before, stage_keys(teachers={"m": section})) == set()
    (mine / f"{file}.py").write_text(f"{(mine / f'{file}.py').read_text()}EDITED = 1\n")
    begin_anew()
    assert changed(before, stage_keys(teachers={"m": section})) == (ALL if counts else set())


def test_whatever_file_a_teacher_names_is_its_content(monkeypatch: pytest.MonkeyPatch, mine: Path) -> None:
    """Under any key, in lists and mappings, folders too."""
    (mine / "notes.txt").write_text("a")
    (mine / "folder").mkdir()
    (mine / "folder" / "x.txt").write_text("a")
    monkeypatch.setattr(contents, "SETTLED", -1.0)
    section = {"kind": "mine", "notes": str(mine / "notes.txt"), "more": {"also": [str(mine / "folder")]}}
    for path in (mine / "notes.txt", mine / "folder" / "x.txt"):
        before = stage_keys(teachers={"m": section})
        path.write_text("bb")
        assert changed(before, stage_keys(teachers={"m": section})) == ALL
    before = stage_keys(teachers={"m": {"kind": "mine", "notes": "not\x00a path" * 400}})
    assert set(before) == ALL


def test_an_edited_callback_that_may_interfere_trains_anew(monkeypatch: pytest.MonkeyPatch, mine: Path) -> None:
    monkeypatch.setitem(CALLBACKS, "mine", TEACHERS["mine"])
    before = stage_keys(callbacks={"mine": {}})
    (mine / "deep.py").write_text("SAID = 'Edema.'\n")
    begin_anew()
    assert changed(before, stage_keys(callbacks={"mine": {}})) == ALL - {"collect"}


def test_teacher_weights_leave_the_collected_texts_alone() -> None:
    before = stage_keys()
    cfg = config.resolve_arm(config.load(ROOT / "experiments" / "smoke.yaml"), "apo_listwise")
    heavier = {name: {**section, "weight": 2.0} for name, section in cfg.teachers.items()}
    assert "collect" not in changed(before, stage_keys(teachers=heavier))
    assert "spd" in changed(before, stage_keys(teachers=heavier))


def test_an_observing_callback_trains_nothing_again() -> None:
    before = stage_keys()
    assert changed(before, stage_keys(callbacks={"throughput": {}, "DeviceStatsMonitor": {}})) == set()
    assert all(CALLBACKS[name].observes for name in ("frozen_guard", "throughput", "preference_monitor"))


def test_a_callback_that_may_interfere_is_part_of_what_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CALLBACKS, "shaker", type("Shaker", (), {}))
    before = stage_keys()
    shaken = stage_keys(callbacks={"shaker": {"by": 1}})
    assert changed(before, shaken) == ALL - {"collect"}
    assert changed(shaken, stage_keys(callbacks={"shaker": {"by": 2}})) == ALL - {"collect"}


def test_a_stored_stage_says_which_callbacks_did_not_see_it(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(leader, "say", said.append)
    before = {"callbacks": {"throughput": {}}}
    stage_keys(before, callbacks={"throughput": {}})
    assert said == []
    stage_keys(before, callbacks={"throughput": {}, "frozen_guard": {}})
    assert len(said) == 2 and "frozen_guard did not see this stage train" in said[0] and "rm -r" in said[0]
    stage_keys(callbacks={"frozen_guard": {}})  # an earlier version kept no such list
    assert len(said) == 2


def arm_at_apo(texts: dict[str, str], tmp_path: Path, cut: bool = False) -> Context:
    """An arm that has written these preferred texts and comes to its last stage."""
    cfg = config.resolve_arm(config.load(ROOT / "experiments" / "smoke.yaml"), "apo_listwise")
    own = Context(cfg, "apo_listwise", 3, Phantom(train=4, val=2, test=2), RunFolder(tmp_path / "runs", "x"))
    own.done = {name: StageFolder(tmp_path, name, {}) for name in ("collect", "self_distill")}
    write_jsonl(own.done["collect"].path / "trajectories.jsonl", [])
    write_jsonl(
        own.done["self_distill"].path / "preferred.jsonl",
        [{"study": k, "text": v, "cut": cut} for k, v in texts.items()],
    )
    return own


@pytest.mark.parametrize(
    ("cut", "how"),
    [
        (False, r"2 of those empty: in 2 the student ended its turn at once\. Train"),
        (True, r"2 of those empty: 2 are blanks or special tokens alone, up to the limit\. Train"),
    ],
)
def test_apo_without_a_readable_text_says_what_there_was(cut: bool, how: str, tmp_path: Path) -> None:
    """Before a student is loaded, and for the one reason or the other."""
    studies = [study.id for study in Phantom(train=4, val=2, test=2).studies("train")]
    own = arm_at_apo({studies[0]: " ", studies[1]: "", "elsewhere": "Edema."}, tmp_path, cut)
    file = own.done["self_distill"].path / "preferred.jsonl"
    said = (
        rf"apo of arm 'apo_listwise', seed 3 has nothing to learn from: no text serves the 4 training studies\. {file} "
    )
    with pytest.raises(DataError, match=said + "has 3 preferred texts, 2 of them for training studies, " + how):
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
        stage_keys()
    (note,) = caught.value.__notes__
    assert note.startswith("This happened in stage self_distill of arm 'apo_listwise', seed 0 (runs/x). Kept of it: ")
    assert "collect, spd" in note and note.endswith("the same command goes on from there.")
    assert traceback.format_exception(caught.value)[-1].strip() == note
