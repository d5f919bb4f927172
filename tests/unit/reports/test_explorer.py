"""The explorer's data: verdicts worked out by hand, hostile texts, what is left out, nothing that is guarded."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from apo_lightning import reports
from apo_lightning.reports import explorer, marks, thumbnails
from apo_lightning.reports import shown as rule
from apo_lightning.reports.marks import AGAINST, AGAINST_MOST, AGAINST_PREFERRED, RIGHT, UNLABELLED, WRONG, Task
from apo_lightning.reports.studies import gather
from apo_lightning.text.thinking import ThinkingPolicy
from tests.helpers import fake_run
from tests.helpers.explorer_run import ARMS, FINDINGS, make, study

LABELS = {arm: label for arm, (label, _) in ARMS.items()}
HOSTILE = "</script><img src=x onerror=alert(1)>\u202e\u2028 & No edema. \U0001f600 Pneumonia."


def payload(folder: Path, as_read=str) -> dict[str, Any]:
    return explorer.payload(gather(folder, LABELS), as_read)


def texts_of(made: dict[str, Any], number: int = 0) -> dict[str, Any]:
    """Author to the row of a study."""
    keys = [author["key"] for author in made["authors"]]
    return dict(zip(keys, made["studies"][number]["s"], strict=True))


def block(html: str, name: str) -> Any:
    return json.loads(re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', html, re.S)[1])


def test_verdicts_of_every_sentence(tmp_path: Path) -> None:
    """Edema is present, pneumonia absent, effusion not labelled. Ann is right; Bob is wrong on both; Cat says one
    sentence that is right on edema and wrong on pneumonia."""
    rows = texts_of(payload(make(tmp_path, [study("s1")])))
    assert rows["teacher:ann"][1] == [RIGHT + AGAINST, RIGHT + AGAINST_MOST + 2 * AGAINST]
    assert rows["teacher:bob"][1] == [
        WRONG + AGAINST_PREFERRED + AGAINST_MOST + 2 * AGAINST,
        WRONG + AGAINST_PREFERRED + AGAINST,
    ]
    assert rows["teacher:cat"][1] == [RIGHT + AGAINST, WRONG + AGAINST_PREFERRED + AGAINST, UNLABELLED]
    assert rows["preferred:apo"][1] == [RIGHT + AGAINST, RIGHT + AGAINST_MOST + 2 * AGAINST, UNLABELLED]
    assert rows["arm:spd"][1] == [
        WRONG + AGAINST_PREFERRED + AGAINST_MOST + 2 * AGAINST,
        RIGHT + AGAINST_MOST + 2 * AGAINST,
    ]


def test_a_text_is_kept_once_with_its_sentences(tmp_path: Path) -> None:
    made = payload(make(tmp_path, [study("s1"), study("s2", report="Edema. No pneumonia.")]))
    assert made["findings"] == list(FINDINGS) and made["values"] == ["absent", "present"]
    texts = [row[0] for row in made["texts"]]
    assert len(texts) == len(set(texts)) == 6  # three teachers, t+, and two of the arms: the third repeats Ann
    assert made["texts"][2] == ["Edema and pneumonia. No effusion.", 3, "110", [[0, 20, 1, 3], [1, 12, 4]]]
    assert [one["t"] for one in made["studies"]] == ["10-", "10-"]
    assert made["studies"][0]["m"] == "110" and made["studies"][1]["r"] == texts.index("Edema. No pneumonia.")


def test_a_side_alone_contradicts() -> None:
    task = Task(("pleural_effusion",))
    left, right = (task.read(f"{side} pleural effusion.") for side in ("Left", "Right"))
    assert marks.marks(left, {"pleural_effusion": 1}, [], right, task) == [RIGHT + AGAINST_PREFERRED]
    assert marks.marks(left, {"pleural_effusion": 1}, [right, right, left], None, task) == [
        RIGHT + AGAINST_MOST + 2 * AGAINST
    ]


def test_courses_are_judged_where_studies_are_labelled_with_them(tmp_path: Path) -> None:
    said = {"ann": "The effusion has increased. Edema is unchanged.", "bob": "The effusion is stable."}
    folder = make(tmp_path, [study("s1", teachers=said, progression={"pleural_effusion": "worsening"})])
    made = payload(folder)
    assert made["course"] and made["findings"] == ["pleural_effusion"]
    assert made["values"] == ["improving", "stable", "worsening"] and made["studies"][0]["t"] == "2"
    rows = texts_of(made)
    assert rows["teacher:ann"][1] == [RIGHT + AGAINST_MOST + AGAINST]
    assert rows["teacher:bob"][1] == [WRONG + AGAINST_MOST + AGAINST]
    assert made["studies"][0]["m"] == "1"  # one each: stable


def test_places_are_counted_as_the_page_counts_them(tmp_path: Path) -> None:
    """U+202E becomes six characters, and a smiley is two units in JavaScript."""
    made = payload(make(tmp_path, [study("s1", teachers={"eve": HOSTILE})]))
    text, _, told, sentences = made["texts"][0]
    units = text.encode("utf-16-le")
    (first, length, *_), (gap, second, *_) = sentences
    spans = [(first, first + length), (first + length + gap, first + length + gap + second)]
    said = [units[2 * start : 2 * end].decode("utf-16-le") for start, end in spans]
    assert told == "01-" and "\u202e" not in text and "\\u202e" in text
    assert [part.rstrip()[-len("No edema.") :] for part in said] == ["No edema.", "neumonia."]


def test_nothing_in_the_data_ends_its_element(tmp_path: Path) -> None:
    folder = make(tmp_path, [study(HOSTILE, teachers={HOSTILE: HOSTILE}, report=HOSTILE)])
    html = explorer.section(folder, {"experiment": "x"}, LABELS)
    assert html.count("</script>") == 3 and "onerror" in html and "<img src=x" not in html
    assert not any(character in html for character in "\u2028\u202e")
    assert block(html, "explorer-data")["studies"][0]["i"] == HOSTILE.replace("\u202e", "\\u202e").replace(
        "\u2028", "\\u2028"
    )


def test_only_the_explorers_own_script_may_run(tmp_path: Path) -> None:
    html = reports.write(make(tmp_path, [study("s1")])).read_text("utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)[1].replace("&#39;", "'")
    code = re.search(r'<script id="explorer-code">(.*?)</script>', html, re.S)[1]
    assert policy == (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{explorer._digest(code)}'"
    )
    assert "script-src" not in explorer.policy("<h2>Studies</h2>")
    assert not re.search("innerHTML|outerHTML|insertAdjacentHTML|document\\.write|eval", code)


def test_before_and_after_are_found(tmp_path: Path) -> None:
    arms = {author["key"]: author for author in payload(make(tmp_path, [study("s1")]))["authors"]}
    keys = list(arms)
    assert "before" not in arms["arm:base"] and keys[arms["arm:spd"]["before"]] == "arm:base"
    assert keys[arms["arm:apo"]["before"]] == "arm:spd" and keys[arms["arm:apo"]["best"]] == "preferred:apo"


def test_what_the_table_counted_and_the_likelihoods_stand_beside_an_answer(tmp_path: Path) -> None:
    counted = {"edema": 1, "pneumonia": None, "pleural_effusion": 0}
    folder = make(tmp_path, [study("s1", findings=counted, **{"from": "ann", "cut": True})])
    line = {"study": "s1", "p": {"edema": 0.734, "pneumonia": "high"}}
    (folder / "spd/seed0/evaluate/statements.jsonl").write_text(json.dumps(line) + "\n")
    rows = texts_of(payload(folder))
    assert rows["arm:spd"][2] == {"said": "1-0", "p": [73, -1, -1], "from": "ann", "cut": 1}
    assert len(rows["teacher:ann"]) == 2


def test_thinking_is_read_only_where_the_run_reads_it(tmp_path: Path) -> None:
    folder = make(tmp_path, [study("s1", teachers={"ann": "<think>Edema.</think> No pneumonia."})])
    assert payload(folder)["texts"][0][2] == "-0-"
    assert payload(folder, ThinkingPolicy(judged=True).as_read)["texts"][0][2] == "10-"
    (folder / "config.yaml").write_text(yaml.safe_dump({"thinking": {"judged": True}}))
    assert block(explorer.section(folder, {"experiment": "x"}, LABELS), "explorer-data")["texts"][0][2] == "10-"


def test_a_study_may_lack_everything_but_an_answer(tmp_path: Path) -> None:
    folder = make(tmp_path, [study("s1", teachers={}, preferred=None), study("s2")])
    made = payload(folder)
    assert [bool(row) for row in texts_of(made).values()] == [False] * 4 + [True] * 3
    assert made["studies"][0]["m"] == "" and "r" not in made["studies"][0]


def test_labels_of_an_earlier_version_come_from_the_samples(tmp_path: Path) -> None:
    """It kept no labels beside the answers, and only some studies have a sample."""
    folder = fake_run.make(tmp_path, arms=("base", "sft"), seeds=(0,), steps=2, studies=3)
    path = folder / "samples/samples.json"
    entries = json.loads(path.read_text())
    path.write_text(json.dumps(entries[:2]))
    made = explorer.payload(gather(folder, {"base": "Base", "sft": "SFT"}))
    assert [set(one["t"]) <= set("01") for one in made["studies"]] == [True, True, False]
    assert made["studies"][2]["t"] == "-" * 7


def test_samples_alone_are_shown_where_no_answer_was_kept(tmp_path: Path) -> None:
    folder = make(tmp_path, [study("s1")])
    for path in (folder.parent / "store").glob("evaluate-*/predictions.jsonl"):
        path.unlink()
    made = payload(folder)
    assert [one["i"] for one in made["studies"]] == ["s1"] and texts_of(made)["teacher:ann"][1][0] == RIGHT + AGAINST


@pytest.mark.parametrize(
    ("manifest", "config", "shown"),
    [
        ({}, [], True),
        ({"credentialed": True}, [], False),
        ({"credentialed": True, "acknowledged": True}, None, True),
        ({"credentialed": True, "acknowledged": True, "guarded": ["a"]}, ["a"], True),
        ({"credentialed": True, "acknowledged": True, "guarded": ["a"]}, [], False),
    ],
)
def test_guarded_studies_are_not_in_the_page(tmp_path: Path, manifest: dict, config: Any, shown: bool) -> None:
    """Not even for a run whose acknowledgement was taken back while its samples and its texts still lie there."""
    folder = make(tmp_path, [study("secret1", report="Secret report.")], manifest)
    if config is not None:
        (folder / "config.yaml").write_text(yaml.safe_dump({"acknowledge": config}))
    html = reports.write(folder).read_text("utf-8")
    for word in ("secret1", "Secret report.", "Edema and pneumonia", "data:image/webp", "<script"):
        assert (word in html) is shown, word
    assert (rule.WITHHELD in html) is not shown


def test_without_a_manifest_nothing_is_known_to_be_showable(tmp_path: Path) -> None:
    folder = make(tmp_path, [study("s1")])
    html = explorer.section(folder, {}, LABELS)
    assert rule.UNKNOWN in html and "Edema" not in html


def test_images_that_do_not_fit_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make(tmp_path, [study(f"s{i}") for i in range(4)])
    (folder / "samples/1.png").write_bytes(b"no image")
    size = len(thumbnails.uri(folder / "samples/0.png"))
    monkeypatch.setattr(explorer, "PAGE_BYTES", 0)
    monkeypatch.setattr(explorer, "IMAGE_BYTES", size + 1)
    html = explorer.section(folder, {"experiment": "x"}, LABELS)
    data = block(html, "explorer-data")
    assert data["images"] == {"kept": 2, "lacking": 1, "full": 1} and len(block(html, "explorer-images")) == 2
    assert [one.get("g") for one in data["studies"]] == [0, None, 1, None]


def test_texts_that_do_not_fit_leave_out_studies_and_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explorer, "TEXT_BYTES", 150)
    made = payload(make(tmp_path, [study(f"s{i}", teachers={"ann": f"Edema. {i:03d}. " * 5}) for i in range(9)]))
    assert made["all"] == 9 and len(made["studies"]) == 2


def test_a_thumbnail_is_small_grey_and_of_an_image(tmp_path: Path) -> None:
    Image.new("RGB", (2000, 1000), (90, 90, 90)).save(tmp_path / "a.png")
    found = thumbnails.uri(tmp_path / "a.png")
    assert found.startswith("data:image/webp;base64,") and len(found) < 2_000
    for name, content in {"b.png": b"", "c.png": b"<svg/>", "d.png": (tmp_path / "a.png").read_bytes()[:60]}.items():
        (tmp_path / name).write_bytes(content)
        assert thumbnails.uri(tmp_path / name) is None, name


def test_an_image_that_claims_too_much_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (100, 100)).save(tmp_path / "a.png")
    monkeypatch.setattr(thumbnails, "MAX_PIXELS", 9_999)
    assert thumbnails.uri(tmp_path / "a.png") is None
