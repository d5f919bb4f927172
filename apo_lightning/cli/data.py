"""``apo data``: look at a data set before training on it, and bring other people's trajectory files into our form."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apo_lightning.console import Console, print_hanging
from apo_lightning.errors import ConfigError, DataError

if TYPE_CHECKING:
    from apo_lightning.settings import ExperimentSettings
    from data_modules.summary import Summary


def add(commands: argparse._SubParsersAction, command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add ``data summary`` and ``data import`` to the command line."""
    group = commands.add_parser("data", help="look at a data set, or import trajectories", description=__doc__)
    below = group.add_subparsers(required=True, metavar="COMMAND")
    look = command(below, "summary", summary, "sizes, prevalence, and what is missing, doubled or contradictory")
    what = "a data set with its settings, or an experiment; without it the sets are listed"
    look.add_argument("what", nargs="?", help=what)
    look.add_argument("overrides", nargs="*", metavar="key=value", help="of the data set, or of the experiment")
    look.add_argument("--json", type=Path, metavar="FILE", help="write everything that was found here too")
    look.add_argument("--quick", action="store_true", help="tables only: open and compare no image")
    bring = command(below, "import", import_, "write our JSON lines from other trajectory files")
    bring.add_argument("format", help="teacher_folder, ms_swift or cxr_max")
    bring.add_argument("source", type=Path, help="file or folder to read")
    bring.add_argument("target", type=Path, help="JSON lines to write")
    bring.add_argument("options", nargs="*", metavar="key=value", help="of the format")


def summary(options: argparse.Namespace) -> None:
    """``apo data summary [WHAT [key=value ...]]``."""
    from apo_lightning.files.formats import write_json
    from apo_lightning.reports import data_summary
    from data_modules.summary import summarise

    console = Console(highlight=False)
    if not options.what or "=" in options.what:
        _list_sets(options, console)
        return
    data, name, cfg = build(options.what, options.overrides)
    found = summarise(data, name, quick=options.quick)
    _refuse_empty(found, data)
    data_summary.show(found, console)
    if options.json:
        console.print(f"all of it: {write_json(options.json, found.to_dict())}", markup=False)
    if cfg is not None:
        _show_teachers(cfg, data, console)


def _refuse_empty(found: Summary, data: Any) -> None:
    """
    Raises:
        DataError: not one image of the set is there, so that nothing of it could be shown.
    """
    gone = sum(found.missing.values())
    if not gone or any(count["studies"] for count in found.counts.values()):
        return
    first = next((study.images[0] for one in data.sets for study in getattr(one, "index", ()) if study.images), "")
    raise DataError(
        f"{found.name}: none of its {gone:,} images is there, first {first}. Correct data.root, data.images_dir or the "
        "names in the table."
    )


def _show_teachers(cfg: ExperimentSettings, data: Any, console: Console) -> None:
    """Where an experiment's texts come from, and how recorded ones match the studies.

    Raises:
        DataError: a file of texts cannot be read, or none of its texts names a study.
    """
    from apo_lightning.experiment import matched_texts

    kinds = Counter(str(section.get("kind")) for section in cfg.teachers.values())
    if kinds:
        said = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        console.print(f"teachers: {said}", markup=False, soft_wrap=True)
    for line in matched_texts.on(data, cfg, matched_texts.recorded(cfg)):
        print_hanging(console, "  ", line)


def _list_sets(options: argparse.Namespace, console: Console) -> None:
    """
    Raises:
        ConfigError: settings or a file are given, and no set that they belong to.
    """
    from apo_lightning.cli.listing import first_sentence, show_group
    from data_modules import DATA

    given = [
        *([options.what] if options.what else []),
        *options.overrides,
        *(["--json"] if options.json else []),
        *(["--quick"] if options.quick else []),
    ]
    if given:
        raise ConfigError(f"{' '.join(given)} belongs to a data set. Name it: {', '.join(sorted(DATA))}.")
    usage = 'make summary DATA=name [SET="root=FOLDER ..."], or apo data summary NAME root=FOLDER'
    print_hanging(console, "usage: ", usage)
    show_group("data sets", {name: first_sentence(item) for name, item in DATA.items()}, console)


def build(what: str, overrides: Sequence[str]) -> tuple[Any, str, ExperimentSettings | None]:
    """The data module that ``what`` names, and a title: a registered set with its own settings, or an experiment's,
    which comes with it.

    Raises:
        ConfigError: neither, or a setting is wrong.
    """
    from apo_lightning import config
    from apo_lightning.config.layers import Layers, read_words
    from apo_lightning.experiment import checks
    from data_modules import DATA

    if what not in DATA:
        try:
            cfg = config.load(config.find(what), overrides)
        except ConfigError as error:
            known = f"Data sets: {', '.join(sorted(DATA))}."
            raise ConfigError(f"{error}\n{known}" if "There is no experiment" in str(error) else str(error)) from error
        names = [section["name"] for section in (cfg.data, cfg.evaluate.data) if section]
        return checks.build_data(cfg), f"{cfg.name}: {' -> '.join(names)}", cfg
    layers = Layers("command line")
    for word in read_words([text.removeprefix("data.") for text in overrides]):  # as an experiment has it, too
        layers.put(word.path, word.value, layers.home)
    return config.build(DATA, {**layers.tree, "name": what}, "data"), what, None


def import_(options: argparse.Namespace) -> None:
    """``apo data import FORMAT SOURCE TARGET [key=value ...]``."""
    from apo_lightning.trajectories.importers import import_file

    given = dict(word.partition("=")[::2] for word in options.options)
    console = Console(highlight=False)
    console.print(
        str(import_file(options.format, options.source, options.target, **given)), markup=False, soft_wrap=True
    )
