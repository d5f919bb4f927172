"""Whether the commands that a page prints exist: programs, make targets and variables, options, experiments and their
settings, files."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
import shlex
from collections.abc import Callable, Iterator, Sequence

from apo_lightning import config
from apo_lightning.cli import commands
from apo_lightning.cli.words import expanded
from apo_lightning.errors import ApoError
from tests.helpers.doc_blocks import ROOT, Block

OTHERS = {
    "cd",
    "cp",
    "curl",
    "docker",
    "export",
    "git",
    "head",
    "hf",
    "ls",
    "mkdir",
    "sbatch",
    "source",
    "unzip",
    "vllm",
}
"""Programs that are not ours: their arguments are not looked at."""
RUNS = {"experiment": "run", "collect": "collect", "sweep": "sweep", "study": "study"}
"""Make targets to the command whose settings ``SET`` holds."""
_MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):", _MAKEFILE, re.M))
VARIABLES = set(re.findall(r"^([A-Z]+) \?=", _MAKEFILE, re.M))
EXTRAS = set(
    re.findall(r"^(\w+) =$", (ROOT / "setup.cfg").read_text("utf-8").split("[options.extras_require]")[1], re.M)
)


def wrong(block: Block, own: Sequence[str]) -> list[str]:
    """What is wrong with the commands of a block.

    Args:
        own: names that the page gives to files it shows or to runs of its own; settings that hold one are not loaded.
    """
    return [
        f"{block.where}: {problem}   [{line.strip()}]"
        for line in block.lines()
        for words in _calls(line)
        for problem in _wrong(words, own)
    ]


def _calls(line: str) -> Iterator[list[str]]:
    """The words of each command of a line, without comments, prompt sign, variables before it and redirections."""
    lexer = shlex.shlex(re.sub(r"^\s*\$ ", "", line), posix=True, punctuation_chars="|&;>")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if word and set(word) <= set("|&;>"):
            if words:
                yield words
            words = [] if ">" not in word else ["export"]  # what stands behind > is a file
        elif words or not re.match(r"[A-Z_]+=", word):
            words.append(word)


def _wrong(words: Sequence[str], own: Sequence[str]) -> Iterator[str]:
    program, *rest = words
    program = program.removeprefix(".venv/bin/")
    if program == "make":
        yield from _make(rest, own)
    elif program == "apo":
        yield from _apo(rest, own)
    elif program.startswith("python"):
        yield from _python(rest, own)
    elif program == "torchrun":
        yield from _python(rest[rest.index("-m") :], own)
    elif program == "pip":
        named = {extra for word in rest for found in re.findall(r"\[([\w,]+)\]", word) for extra in found.split(",")}
        yield from (f"setup.cfg has no extra '{extra}'" for extra in sorted(named - EXTRAS))
    elif program not in OTHERS:
        yield f"'{program}' is no program that is known here"


def _python(rest: Sequence[str], own: Sequence[str]) -> Iterator[str]:
    if rest[:2] == ["-m", "apo_lightning"]:
        yield from _apo(rest[2:], own)
    elif rest[:2] == ["-m", "pip"]:
        yield from _wrong(["pip", *rest[2:]], own)
    elif rest[:1] == ["-m"]:
        if importlib.util.find_spec(rest[1].split(".")[0]) is None:
            yield f"there is no module {rest[1]}"
    elif rest and not rest[0].startswith("-") and not (ROOT / rest[0]).is_file():
        yield f"there is no file {rest[0]}"


def _make(rest: Sequence[str], own: Sequence[str]) -> Iterator[str]:
    given = dict(word.split("=", 1) for word in rest if "=" in word)
    targets = [word for word in rest if "=" not in word]
    yield from (f"make has no target '{target}'" for target in targets if target not in TARGETS)
    yield from (f"make has no variable {name}" for name in given if name not in VARIABLES)
    for target in targets:
        name, words = given.get("EXP") or given.get("SWEEP") or given.get("STUDY"), ["--set", given.get("SET", "")]
        if target in RUNS and name:
            yield from _apo([RUNS[target], name, *words], own)
        elif target == "summary" and "DATA" in given:
            yield from _apo(["data", "summary", given["DATA"], *words], own)
        elif target == "drift":
            yield from _apo(["drift", given.get("RUN", "RUN"), *words], own)


def _apo(arguments: Sequence[str], own: Sequence[str]) -> Iterator[str]:
    said, words = io.StringIO(), expanded(arguments)
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            options, left = commands.parser().parse_known_args(words)
    except SystemExit as end:
        if end.code:
            yield said.getvalue().strip().splitlines()[-1]
        return
    settings = [*getattr(options, "overrides", []), *left]
    if loose := [word for word in settings if word.startswith("-") or "=" not in word]:
        yield f"not settings: {' '.join(loose)}"
    elif not any(name in " ".join(words) for name in own) and (load := LOADS.get(words[0])):
        try:
            load(options, settings)
        except ApoError as error:
            yield str(error)


def _experiment(options, settings: Sequence[str]) -> None:
    ready = dict(config.list_ready(ROOT / "experiments"))
    if options.experiment not in ready and "/" in options.experiment.removeprefix("worlds/"):
        return  # the reader's own
    if options.experiment.isupper():
        return
    config.load(config.find(options.experiment), settings)


LOADS: dict[str, Callable] = {"run": _experiment, "collect": _experiment}
"""Commands whose experiment is loaded with its settings."""
