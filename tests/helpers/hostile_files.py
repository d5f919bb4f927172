"""Hostile files for the command line: what is laid into a folder, the command that is given it, and what is said."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.helpers.bombs import MB, written

MARKER = "ran"
"""File that every payload would make in the working folder."""
Content = str | bytes | Callable[[Path], object]


@dataclass(frozen=True)
class Case:
    """``says`` stands in the message of ``words``, called in a folder with ``files``, which ends with ``status``."""

    words: list[str]
    says: str
    files: Mapping[str, Content] = field(default_factory=dict)
    status: int = 2


def sparse(size: int) -> Callable[[Path], object]:
    """A file that claims ``size`` bytes and takes none."""
    return lambda path: written(path, b"a: 1\n", size)


LAUGHS = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
)
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n}: &a{n} {{{', '.join(f'k{m}: *a{n - 1}' for m in range(10))}}}\n" for n in range(1, 9)
)
YAML: dict[str, tuple[Content, str]] = {
    "a function that is called": (f"a: !!python/object/apply:os.system ['touch {MARKER}']\n", "could not determine"),
    "a laugh a thousand millions": (LAUGHS, "more than 30,000 values"),
    "mappings of mappings": (MERGES, "more than 30,000 values"),
    "depth": ("a: " + "[" * 100_000, "nested more than 50 deep"),
    "depth that ends": ("a: " + "[" * 5_000 + "]" * 5_000, "nested more than 50 deep"),
    "a long line": ("a: " + "x" * 20 * MB, "20,000,003 bytes; at most 2,000,000"),
    "many values": ("a: [" + "1," * 900_000 + "]", "more than 30,000 values"),
    "a file with a hole": (sparse(8_000 * MB), "8,000,000,005 bytes"),
    "an integer": ("a: " + "9" * 1_000_000, "a number has 1,000,000 characters"),
    "an integer in base 16": ("a: 0x" + "f" * 100_000, "a number has 100,002 characters"),
    "an integer in base 60": ("a: 1" + ":1" * 200_000, "a number has 400,001 characters"),
    "references in references": ("a: " + "${" * 5_000, "refers to more than 50 others"),
}
"""Kind to the content of a YAML file and what is said of it."""
SMOKE = Path(__file__).resolve().parents[2] / "experiments" / "smoke.yaml"


def _yaml() -> dict[str, Case]:
    found = {}
    for kind, (content, says) in YAML.items():
        found[f"experiment: {kind}"] = Case(["check", "e.yaml"], says, {"e.yaml": content})
        found[f"apo.yaml: {kind}"] = Case(["check", str(SMOKE)], says, {"apo.yaml": content})
        if isinstance(content, str) and says.startswith(("nested", "a number", "refers")):
            word = f"seeds={content.removeprefix('a: ')[:100_000]}"
            found[f"command line: {kind}"] = Case(["check", str(SMOKE), word], says.split(" has ")[0])
    found["experiment: a date that is none"] = Case(["run", "e.yaml"], "Unknown key 'a'", {"e.yaml": "a: 2024-13-45\n"})
    found["apo.yaml: a date that is none"] = Case(
        ["check", str(SMOKE)], "cannot be read (month", {"apo.yaml": "a: 2024-13-45\n"}
    )
    found["experiment: a set"] = Case(["run", "e.yaml"], "a is refused", {"e.yaml": "a: !!set {x, y}\n"})
    extends = {f"e{n}.yaml": f"extends: [{', '.join([f'e{n + 1}'] * 10)}]\n" for n in range(8)} | {"e8.yaml": "a: 1\n"}
    found["experiment: files that extend files"] = Case(["run", "e0.yaml"], "more than 100 files", extends)
    found["experiment: files outside"] = Case(
        ["run", "e.yaml"], "there is no such file", {"e.yaml": "extends: /etc/passwd\n"}
    )
    return found


LINE = b'{"study": "a", "teacher": "b", "text": %s}\n'
TEXTS: dict[str, tuple[str, bytes, str]] = {
    "depth": ("t.jsonl", LINE % (b"[" * MB), "too deeply nested"),
    "an integer": ("t.jsonl", LINE % (b"9" * MB), "t.jsonl:1: Exceeds the limit (4300 digits)"),
    "keys that stand twice": (
        "t.jsonl",
        b"{" + b", ".join(b'"k%d": 1' % n for n in range(100_000)) + b', "k99999": 2}\n',
        "key 'k99999' stands twice",
    ),
    "a long cell": ("t.csv", b'study,teacher,text\na,b,"' + b"a" * 20 * MB + b'"\n', "more than 2,000,000 characters"),
}
"""Kind to a file of teachers' texts, what it holds, and what is said of it."""


def _texts() -> dict[str, Case]:
    found = {}
    for kind, (name, content, says) in TEXTS.items():
        found[f"audited texts: {kind}"] = Case(["audit", name], says, {name: content})
        words = ["check", str(SMOKE), f"teachers={{from: {name}}}"]
        found[f"teachers' texts: {kind}"] = Case(words, says, {name: content})
    return found


MODEL: dict[str, tuple[str, Content, str]] = {
    "a tokenizer with a hole": ("tokenizer.json", sparse(8_000 * MB), "tokenizer.json has 8,000,000,005 bytes"),
    "settings with a hole": ("config.json", sparse(300 * MB), "config.json has 300,000,005 bytes; at most 32,000,000"),
    "depth of settings": ("config.json", '{"a":' + "[" * 200_000 + "]" * 200_000 + "}", "recursion depth"),
    "depth of a tokenizer": ("tokenizer.json", '{"a":' + "[" * 200_000 + "]" * 200_000 + "}", "recursion depth"),
    "a list of settings": ("config.json", "[]", "is neither 'nano', nor a model folder"),
    "a template without end": ("chat_template.jinja", "{% for i in range(9999999999) %}x{% endfor %}", "MAX_RANGE"),
}
"""Kind to a file of a model folder, what it holds, and what is said of it."""
NANO = Path(__file__).resolve().parents[2] / "apo_lightning" / "assets" / "nano"


def _model(name: str, content: Content) -> Callable[[Path], object]:
    """The embedded student with one file replaced."""

    def lay(place: Path) -> None:
        shutil.copytree(NANO, place)
        (place / name).unlink()
        if callable(content):
            content(place / name)
        else:
            (place / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return lay


def _models() -> dict[str, Case]:
    words = ["check", str(SMOKE), "student.model=model"]
    return {
        f"model folder: {kind}": Case(words, says, {"model": _model(name, content)})
        for kind, (name, content, says) in MODEL.items()
    }


CASES: dict[str, Case] = _yaml() | _texts() | _models()
QUICK = (
    "experiment: a function that is called",
    "experiment: a laugh a thousand millions",
    "experiment: depth",
    "apo.yaml: an integer in base 60",
    "command line: depth",
    "audited texts: keys that stand twice",
    "model folder: a tokenizer with a hole",
    "model folder: depth of settings",
)
