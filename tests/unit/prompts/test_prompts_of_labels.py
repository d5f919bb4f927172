"""Prompts that tell labels, and texts that say which prompt they answer."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from apo_lightning import prompts
from apo_lightning.errors import ConfigError, DataError
from apo_lightning.reports import told
from apo_lightning.teachers import recorded
from apo_lightning.trajectories.importers import import_file
from apo_lightning.types import Trajectory

LABELS = {"edema": 1.0, "pleural_effusion": 1.0, "fracture": 0.0, "pneumonia": float("nan")}


def test_labels_are_told_and_unknown_ones_are_not() -> None:
    said = prompts.render("explain_labels", labels=LABELS)
    assert "(present: edema, pleural effusion; absent: fracture)" in said and "pneumonia" not in said
    assert "(present: none; absent: fracture)" in prompts.render("explain_labels", labels={"fracture": 0.0})


def test_labels_are_not_told_by_accident() -> None:
    with pytest.raises(ConfigError, match=r"explain_labels.*none to tell"):
        prompts.render("explain_labels", ["edema"])
    assert prompts.render("diagnose", ["edema"], labels=LABELS) == prompts.render("diagnose", ["edema"])


@pytest.mark.parametrize(
    ("name", "tells", "names"),
    [("explain_labels", True, True), ("diagnose", False, True), ("describe", False, False), ("report", False, False)],
)
def test_prompts_know_what_they_give_away(name: str, tells: bool, names: bool) -> None:
    assert (prompts.tells_labels(name), prompts.names_labels(name)) == (tells, names)
    assert prompts.tells_labels("of another machine") is None


def test_a_file_says_which_prompt_was_asked(tmp_path: Path) -> None:
    path = tmp_path / "said.jsonl"
    said = [Trajectory("s1", "gpt", "Edema.", 0.5, "diagnose"), Trajectory("s2", "gpt", "None.", 0.0)]
    recorded.write_jsonl(path, said)
    assert path.read_text().splitlines()[1] == '{"study": "s2", "teacher": "gpt", "text": "None.", "t": 0.0}'
    assert recorded.read_jsonl(path) == said
    image = '{"id": "s3", "image": "a.png", "prompt": "explain_labels", "trajectories": {"gpt": "x", "grok": "y"}}\n'
    path.write_text(path.read_text() + image)
    assert [item.prompt for item in recorded.read_jsonl(path)] == ["diagnose", "", "explain_labels", "explain_labels"]
    path.write_text('{"study": "s1", "teacher": "gpt", "text": "a", "prompt": 3}\n')
    with pytest.raises(DataError, match="'prompt' must be a string, got 3"):
        recorded.read_jsonl(path)


def test_the_sentence_names_rows_by_kind() -> None:
    rows = [("arm", "A †"), ("arm", "B"), ("teacher", "gpt †"), ("baseline", "Vote †")]
    frame = pd.DataFrame(rows * 2, columns=["kind", "label"])
    (said,) = told.warnings(frame)
    assert "A learned" in said and "Of Vote, gpt the scores" in said and "B" not in said.replace("Basis", "")
    assert told.warnings(frame[frame.label == "B"]) == []


def test_an_import_says_what_was_asked(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.json").write_text('[{"image": "a.png", "id": "s1", "trajectories": {"gpt": "Edema."}}]')
    target = tmp_path / "out.jsonl"
    import_file("cxr_max", tmp_path / "in", target, prompt="explain_labels")
    assert [item.prompt for item in recorded.read_jsonl(target)] == ["explain_labels"]
    import_file("cxr_max", tmp_path / "in", target)
    assert "prompt" not in target.read_text()
    with pytest.raises(ConfigError, match="No prompt is named 'explain'"):
        import_file("cxr_max", tmp_path / "in", target, prompt="explain")
