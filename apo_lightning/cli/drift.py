"""``apo drift``: how the teachers of a run, or of a file of trajectories, disagree and how that moves."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from apo_lightning.cli.audit import named_findings
from apo_lightning.console import Console
from apo_lightning.errors import ConfigError

if TYPE_CHECKING:
    from apo_lightning.experiment.drift_sources import Source

STUDIES = 100


def add(commands: argparse._SubParsersAction, command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add ``drift`` to the command line."""
    look = command(commands, "drift", drift, "how teachers disagree, and how that moves along texts and stream")
    what = "a run folder, files of trajectories, or what collect has written: a teacher's file each, or their folder"
    look.add_argument("source", type=Path, nargs="+", metavar="RUN|FILE", help=what)
    look.add_argument("--findings", metavar="A,B", help="what is looked for (default: those of the run, or canonical)")
    look.add_argument("--labels", type=Path, metavar="FILE", help="of a FILE: the table of a data set")
    look.add_argument(
        "--student",
        nargs="?",
        const="run",
        metavar="MODEL",
        help="measure divergence of next words under one scorer: the run's student, a saved one, or a model",
    )
    look.add_argument("--encoder", type=Path, metavar="FOLDER", help="measure distance of sentence embeddings too")
    look.add_argument("--studies", type=int, default=STUDIES, metavar="N", help="at most so many for --student (100)")
    look.add_argument("--costs", type=Path, metavar="FILE", help="YAML: teacher to {input, output} price, {seconds}")
    look.add_argument("--loss", type=float, default=0.01, help="that the vote of fewer teachers may have (%(default)s)")
    look.add_argument("--by", choices=("requests", "tokens", "money"), default="requests", help="what is to be saved")
    what = "of labelled statements that the student gets right before training (default: of a run, its untrained arm)"
    look.add_argument("--student-accuracy", type=float, metavar="SHARE", help=what)
    look.add_argument("--out", type=Path, metavar="FOLDER", help="where drift.json, drift.md and figures go")


def drift(options: argparse.Namespace) -> None:
    """``apo drift RUN|FILE... [--findings A,B] [--labels FILE] [--student [MODEL]] [--encoder FOLDER] ...``."""
    from apo_lightning import reports
    from apo_lightning.drift import run as measured
    from apo_lightning.experiment import drift_files

    if options.studies < 1:
        raise ConfigError(f"--studies must be 1 or more, got {options.studies}.")
    given = options.student_accuracy
    if given is not None and not 0 <= given <= 1:
        raise ConfigError(f"--student-accuracy must be a share in [0, 1], got {given:g}.")
    run = _run(options.source)
    source = _source(options, run)
    console = Console(highlight=False, soft_wrap=True)
    ranking = drift_files.ranking(source, options.costs, options.loss, options.by)
    models = _models(options, source, run)
    beyond = drift_files.thresholds(source.cfg)
    record = measured.measure(
        source.corpus,
        beyond=beyond,
        models=models,
        ranking=ranking,
        preferred=source.preferred,
        student=source.untrained if given is None else given,
    )
    record |= {"source": source.name, "texts": source.about, "whole": True, "part": " ".join(source.notes)}
    written = _write(record, options, run)
    reports.drift.show(record, console)
    console.print(f"all of it: {written}", markup=False)


def _run(sources: Sequence[Path]) -> Path | None:
    """The run folder that is asked for; None where files are, or a folder of them."""
    if len(sources) > 1 or not sources[0].is_dir():
        return None
    return None if not (sources[0] / "config.yaml").is_file() and any(sources[0].glob("*.jsonl")) else sources[0]


def _source(options: argparse.Namespace, run: Path | None) -> Source:
    from apo_lightning.experiment import drift_sources

    if run is None:
        paths = [path for own in options.source for path in (sorted(own.glob("*.jsonl")) if own.is_dir() else [own])]
        if not paths:
            raise ConfigError(f"{options.source[-1]} has no *.jsonl files. Give files of trajectories, or one run.")
        return drift_sources.of_files(paths, named_findings(options.findings), options.labels)
    if options.labels:
        raise ConfigError("--labels belongs to a file of trajectories; a run has labels of its own.")
    return drift_sources.of_run(run, named_findings(options.findings) if options.findings else ())


def _models(options: argparse.Namespace, source: Source, run: Path | None):
    from apo_lightning.drift.run import Models
    from apo_lightning.experiment import drift_models

    found = Models()
    if options.encoder:
        found = Models(
            embedding=drift_models.embedding(source, options.encoder),
            encoder=drift_models.shown(str(options.encoder.absolute())),
        )
    if options.student:
        divergence, scorer = drift_models.divergence(source, options.student, options.studies, run)
        found = Models(divergence, scorer, found.embedding, found.encoder)
    return found


def _write(record: dict, options: argparse.Namespace, run: Path | None) -> Path:
    """Into a run folder, whose report is written again, or into a folder of its own."""
    from apo_lightning import reports
    from apo_lightning.experiment import drift_files

    if run is not None and not options.out:
        written = drift_files.write(record, run)
        if (run / "results.csv").is_file():
            reports.write(run)
        return written
    first = options.source[0].absolute()
    beside = first if len(options.source) == 1 else first.parent
    folder = options.out or beside.with_name(f"{beside.stem}_drift")
    reports.drift.write_page(record, folder)
    return drift_files.write(record, folder)
