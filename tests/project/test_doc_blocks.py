"""Every code block of README.md and docs/*.md: Python holds together, commands exist with their options and settings,
YAML loads, JSON parses. Pages added later are covered because they are there.

`test_lightning_page.py` and `tests/pipeline/test_extension.py` run what two of the pages show, `test_tour.py` the tour.
"""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from apo_lightning import config
from apo_lightning.errors import ConfigError
from tests.helpers import doc_python, doc_shell
from tests.helpers.doc_blocks import Block, blocks, pages, read

LANGUAGES = {"", "python", "yaml", "json", "csv", "text", "sh", "bash", "shell", "console", "make"}
PAGES = {page.name: blocks(page) for page in pages()}
HINT = "Mend the page; what cannot be tried here gets a line <!-- not tried: why --> above its block."
BASE = "extends: [base/nano.yaml, base/stages_nano.yaml, base/teachers_drifting.yaml]\n"
ARMS = "arms: {base: {label: Base, stages: []}}\n"


def own(found: list[Block]) -> list[str]:
    """Names of the files that a page shows: registered only where they lie in their folder."""
    return [Path(block.title).stem for block in found if block.title]


def of(*languages: str) -> list[Block]:
    """Blocks of all pages that are tried."""
    return [block for found in PAGES.values() for block in found if block.language in languages and not block.why]


def ids(block: Block) -> str:
    return block.where


def load_yaml(block: Block, folder: Path) -> None:
    """Load the block as an experiment, or laid over a small one if it is a part.

    Raises:
        ConfigError: what is wrong with it.
    """
    path = folder / "page.yaml"
    given = yaml.safe_load(block.body)
    path.write_text(block.body if "extends" in given else BASE + _whole(given) + block.body)
    (folder / "texts.csv").write_text("image,model,response\n1.png,gpt,No edema.\n1.png,claude,Mild edema.\n")
    with contextlib.chdir(folder):  # a page names files of the reader's own folder
        config.load(path)


def _whole(given: dict) -> str:
    """What a part lacks to be an experiment."""
    needs = {"name": "name: page\n", "data": "data: {name: phantom}\n", "arms": ARMS}
    return "".join(text for key, text in needs.items() if key not in given)


def test_blocks_are_found() -> None:
    assert {"python", "yaml", ""} <= {block.language for found in PAGES.values() for block in found}
    assert len([block for found in PAGES.values() for block in found]) > 40


@pytest.mark.parametrize("name", PAGES)
def test_languages_are_those_that_are_tried(name: str) -> None:
    odd = [f"{block.where}: '{block.language}'" for block in PAGES[name] if block.language not in LANGUAGES]
    assert not odd, f"say one of {sorted(LANGUAGES)}, or teach this test another one"


@pytest.mark.parametrize("name", [name for name, found in PAGES.items() if any(b.language == "python" for b in found)])
def test_python(name: str) -> None:
    shown = [block for block in PAGES[name] if block.language == "python" and block.title]
    running = [block for block in PAGES[name] if block.language == "python" and not block.title]
    problems = [text for block in shown for text in doc_python.wrong([block])] + doc_python.wrong(running)
    assert not problems, "\n".join([*problems, HINT])


@pytest.mark.parametrize("name", PAGES)
def test_commands(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # experiments are named from there
    tried = [block for block in PAGES[name] if block.is_shell and not block.why]
    problems = [text for block in tried for text in doc_shell.wrong(block, own(PAGES[name]))]
    assert not problems, "\n".join([*problems, HINT])


@pytest.mark.parametrize("block", of("yaml"), ids=ids)
def test_yaml(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    page = PAGES[Path(block.where.partition(":")[0]).name]
    if any(re.search(rf"\b{name}\b", block.body) for name in own(page)):
        assert yaml.safe_load(block.body)  # names a file that the page shows; the tests of that page run both
    else:
        load_yaml(block, tmp_path)


@pytest.mark.parametrize("block", [block for block in of("", "json") if block.body.startswith("{")], ids=ids)
def test_json(block: Block) -> None:
    assert all(isinstance(json.loads(line), dict) for line in block.lines())


BAD_COMMANDS = {
    "make nothing": "no target 'nothing'",
    "make report RUNS=x": "no variable RUNS",
    "make experiment EXP=smokes": "There is no experiment 'smokes'",
    'make experiment EXP=smoke SET="stages.apo.loss.betta=1"': "betta",
    'make collect EXP=api_teachers SET="--drry-run"': "not settings: --drry-run",
    "make summary DATA=chexpert SET=--slow": "not settings: --slow",
    "apo audits texts.jsonl": "invalid choice: 'audits'",
    ".venv/bin/apo run smoke prompts=describe": "prompts",
    "export A=1 && apo store prunes": "invalid choice: 'prunes'",
    'pip install "apo-lightning[jav]"': "no extra 'jav'",
    "python benchmarks/nothing.py": "no file benchmarks/nothing.py",
    "python -m pyttest": "no module pyttest",
    "rmm -r runs": "'rmm' is no program",
}


@pytest.mark.parametrize("line", BAD_COMMANDS)
def test_a_wrong_command_is_found(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    (block,) = read(f"```sh\n{line}  # a comment\n```\n", "page.md")
    (problem,) = doc_shell.wrong(block, ())
    assert problem.startswith("page.md:1: ") and BAD_COMMANDS[line] in problem


BAD_PYTHON = {
    "x = (": "is not Python",
    "import apo_lightning.nothing": "apo_lightning.nothing",
    "from apo_lightning.losses import LOSES": "LOSES",
    "print(student)": "'student' is not said before",
    "from data_modules.phantom import Phantom\nPhantom(trains=3)": "unexpected keyword argument 'trains'",
    "from data_modules import phantom\nphantom.Phantom.raed()": "raed",
    "import os\nos.getcwd(1, 2)": "too many positional",
}


@pytest.mark.parametrize("code", BAD_PYTHON)
def test_wrong_python_is_found(code: str) -> None:
    (block,) = read(f"Text.\n\n```python\n{code}\n```\n", "page.md")
    problems = doc_python.wrong([block])
    assert len(problems) == 1 and problems[0].startswith("page.md:3: ") and BAD_PYTHON[code] in problems[0]


def test_blocks_are_read_one_behind_the_other() -> None:
    page = "```python\nfor a in (1, 2):\n    b = a\n```\n\n```python\nprint(a, b, [c for c in (b,)])\n```\n"
    assert doc_python.wrong(list(read(page, "page.md"))) == []


def test_what_is_not_tried_says_why_and_still_parses() -> None:
    page = "<!-- not tried: needs a server -->\n```python\nimport nothing_here\n{}\n```\n"
    (good,), (bad,) = (list(read(page.replace("{}", line), "page.md")) for line in ("nothing_here.go()", "x = ("))
    assert good.why == "needs a server" and doc_python.wrong([good]) == [] and len(doc_python.wrong([bad])) == 1


@pytest.mark.parametrize(
    "text", ["stages: {apo: {loss: {betta: 1}}}", "teachers: {a: {kind: recordet}}", "extends: [base/nothing.yaml]"]
)
def test_wrong_yaml_is_found(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    (block,) = read(f"```yaml\n{text}\n```\n", "page.md")
    with pytest.raises(ConfigError):
        load_yaml(block, tmp_path)
