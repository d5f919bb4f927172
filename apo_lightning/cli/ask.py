"""``apo ask``: a run's student answers about images."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from apo_lightning.console import Console, show_error
from apo_lightning.errors import ConfigError

if TYPE_CHECKING:
    from apo_lightning.using import Chosen, Reply, TrainedStudent

MARKS = {1.0: ("present", "red"), 0.0: ("absent", "green")}
NOT_STATED = ("–", "dim")
MARKS_OF_SPEECH = "?!.,;:'\"()"


def add(commands: argparse._SubParsersAction, command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add ``ask`` to the command line."""
    own = command(commands, "ask", ask, "let a run's student answer about images")
    own.add_argument(
        "run", metavar="RUN[/ARM]", help="a run folder or its name; with several arms, the one that is asked"
    )
    own.add_argument(
        "words",
        nargs="+",
        metavar='IMAGE ["QUESTION"]',
        help="PNG, JPEG or DICOM, several of one study in the run's order, or a folder with --out; then the question "
        "(default: the prompt that the arm was trained with)",
    )
    own.add_argument("--compare", action="store_true", help="base, SPD and the arm's last student side by side")
    own.add_argument("--out", type=Path, metavar="FILE.csv", help="of a folder: each image is a study, a row each")
    own.add_argument("--seed", type=int, metavar="N", help="whose student (default: the run's first)")
    own.add_argument("--runs-dir", type=Path, default=Path("runs"), metavar="FOLDER", help="default: %(default)s")


def ask(options: argparse.Namespace) -> int:
    """``apo ask RUN[/ARM] IMAGE ... ["QUESTION"] [--compare] [--out FILE.csv] [--seed N]``."""
    paths, question = split(options.words)
    folder = len(paths) == 1 and paths[0].is_dir()
    if folder and (options.compare or not options.out):
        raise ConfigError(f"{paths[0]} is a folder: give --out answers.csv, and no --compare.")
    if options.out and not folder:
        raise ConfigError("--out takes the answers of a folder of images. Give one folder, or leave --out out.")
    from apo_lightning.experiment.noise import quiet
    from apo_lightning.using import TrainedStudent, choose

    quiet()
    chosen = choose(options.run, seed=options.seed, runs_dir=options.runs_dir)
    if options.compare:
        show(compared(chosen, paths, question), Console(highlight=False))
        return 0
    student = TrainedStudent(chosen)
    if folder:
        return write(student, paths[0], question, options.out)
    say(student.ask(paths, question), chosen)
    return 0


def split(words: Sequence[str]) -> tuple[list[Path], str | None]:
    """Images, and the question behind them. A question is what is no file and has a blank or ends with ``?``.

    Raises:
        ConfigError: several questions, or no image.

    >>> split(["a.png", "b.png", "Is there edema?"])
    ([PosixPath('a.png'), PosixPath('b.png')], 'Is there edema?')
    """
    asked = [word for word in words if not _exists(word) and (" " in word.strip() or word.endswith("?"))]
    paths = [Path(word) for word in words if word not in asked]
    if unquoted := _unquoted(words):
        raise ConfigError(
            f"A question is one word of the command line, and these are {len(unquoted.split())}, which are no files: "
            f'put quotes around it, "{unquoted}".'
        )
    if len(asked) > 1:
        raise ConfigError(f"There are several questions, and no files of these names: {'; '.join(asked)}. Ask one.")
    if not paths:
        raise ConfigError(f"There is no image to ask about, and no file '{asked[0]}'. Give one or more files.")
    return paths, asked[0] if asked else None


def _unquoted(words: Sequence[str]) -> str:
    """The question of which a shell has made several words; empty where there is none. Behind the last file stand two
    or more words that are none, and letters alone, as a missing file's name seldom is.
    """
    count = next((i for i, word in enumerate(reversed(words)) if _exists(word)), len(words))
    behind = words[len(words) - count :]
    spoken = all(word.strip(MARKS_OF_SPEECH).replace("-", "").isalpha() for word in behind)
    return " ".join(behind) if len(behind) > 1 and spoken else ""


def _exists(word: str) -> bool:
    try:
        return Path(word).exists()
    except OSError:  # a question may be longer than a file name
        return False


def compared(chosen: Chosen, paths: Sequence[Path], question: str | None) -> dict[str, Reply]:
    """Answers of the base model, the student before the critique and the arm's last, by what they are called."""
    from apo_lightning.models.network import Networks
    from apo_lightning.using import TrainedStudent
    from apo_lightning.using.chosen import BASE

    networks = Networks()  # read once for all of them
    loaded = ((one, one.load(networks)) for one in chosen.line())
    return {one.stage or BASE: TrainedStudent(one, student).ask(paths, question) for one, student in loaded}


def show(replies: Mapping[str, Reply], console: Console) -> None:
    """A column a student: what it writes, and each finding."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_lines=False)
    for name in ("", *replies):
        table.add_column(name, overflow="fold", min_width=8, vertical="top")
    table.add_row("answer", *(Text(f"{reply.text}{' [cut]' if reply.cut else ''}") for reply in replies.values()))
    table.add_section()
    for finding in next(iter(replies.values())).findings:
        marks = [MARKS.get(reply.findings[finding], NOT_STATED) for reply in replies.values()]
        table.add_row(finding.replace("_", " "), *(Text(word, style) for word, style in marks))
    console.print(table)


def say(reply: Reply, chosen: Chosen) -> None:
    """The answer, what is read in it, and whose it is."""
    console = Console(highlight=False, soft_wrap=True)
    console.print(reply.text, markup=False)
    if reply.cut:
        limit = chosen.cfg.evaluate.max_new_tokens
        console.print(f"(cut at {limit} tokens: evaluate.max_new_tokens of the run)", style="yellow", markup=False)
    stated = {"present": reply.present, "absent": reply.absent}
    for word, style in MARKS.values():
        console.print(Text(f"{word}: {_listed(stated[word])}", style))
    left = [name for name in reply.findings if name not in (*reply.present, *reply.absent)]
    if left:
        console.print(Text(f"not stated: {_listed(left)}", "dim"))
    console.print(Text(f"{chosen.run.name}/{chosen.title}; not for clinical use", "dim"))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(name.replace("_", " ") for name in names) or "none"


def write(student: TrainedStudent, folder: Path, question: str | None, out: Path) -> int:
    """A row an image; what was answered is written also where this is stopped. Returns the exit status: 2 where an
    image could not be read."""
    from apo_lightning.progress import watch
    from apo_lightning.using import answers, images

    paths, others = images.in_folder(folder)
    rows: list[dict[str, object]] = []
    try:
        for path, said in watch(student.ask_each(paths, question), len(paths), "asking"):
            rows.append(answers.row(path.relative_to(folder), said, student.scored))
    finally:
        answers.write(out, rows, student.scored)
    wrong = [row for row in rows if row["error"]]
    for row in wrong[:3]:
        show_error(str(row["error"]))
    told = f", {len(wrong)} could not be read (column error)" if wrong else ""
    beside = f"; {len(others)} files are no images: {others[0].name}{', ...' if others[1:] else ''}" if others else ""
    Console(highlight=False, soft_wrap=True).print(
        f"{len(rows) - len(wrong):,} of {len(paths):,} images answered{told}{beside}: {out}", markup=False
    )
    return 2 if wrong else 0
