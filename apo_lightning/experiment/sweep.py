"""The grid of a W&B sweep file, walked here: no account, no agent, one run a point, stages shared through the store."""

from __future__ import annotations

import io
import itertools
import json
import math
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.markup import escape
from rich.table import Table

from apo_lightning import config, signals
from apo_lightning.config.layers import label, read_file
from apo_lightning.console import Console
from apo_lightning.errors import ApoError, ConfigError
from apo_lightning.experiment import objective, processes
from apo_lightning.files import disk
from apo_lightning.files.atomic import write_bytes, write_text
from apo_lightning.files.formats import quoted, unquoted
from apo_lightning.settings import ExperimentSettings

METRICS = ("accuracy", "balanced_accuracy")
ARGUMENTS = "${args_no_hyphens}"


@dataclass(frozen=True)
class Point:
    """One point of the grid: its place (from 1), its parameters, its file, and its checked experiment."""

    number: int
    parameters: dict[str, Any]
    overrides: tuple[str, ...]
    cfg: ExperimentSettings
    experiment: Path


def sweep(path: Path, overrides: Sequence[str] = ()) -> pd.DataFrame:
    """Run every point of the grid, and end with a table, ``sweep.csv`` and ``curve.png``.

    A point that fails is recorded, and the others go on. Points whose stages were run before are not trained again.

    Returns:
        One row a point and arm: ``point``, the parameters, ``arm``, ``label``, the metrics and ``error``.

    Raises:
        ConfigError: the sweep file or any of its points is not valid; nothing has been run.
        ApoError: points failed; everything else was run and written.
    """
    grid = points(path, overrides)
    folder = Path(grid[0].cfg.runs_dir) / "sweeps" / path.stem
    folder.mkdir(parents=True, exist_ok=True)
    rows = [row for point in grid for row in _run(point, len(grid), folder)]
    frame = pd.DataFrame(rows)
    _write(frame, list(grid[0].parameters), folder)
    if failed := frame.loc[frame["error"] != "", "point"].tolist():
        raise ApoError(
            f"{len(failed)} of {len(grid)} points failed: {', '.join(map(str, failed))}. "
            f"See {folder}/point<k>.txt; the same command runs only what is missing."
        )
    return frame


def points(path: Path, overrides: Sequence[str] = ()) -> list[Point]:
    """The points of a sweep file, each with its experiment loaded and checked.

    Raises:
        ConfigError: what is wrong with the file, with every point that is wrong, or with its metric.
    """
    spec = read_file(path)
    experiment, fixed = read_command(spec, path)
    name, found, problems = None, [], []
    for number, values in enumerate(expand(spec, path), 1):
        words = [*fixed, *(f"{key}={_word(value)}" for key, value in values.items()), *overrides]
        try:
            cfg = config.load(experiment, words)
            name = name or f"{cfg.name}-{path.stem}"
            words = [*words, f"name={name}/{number}"]
            found.append(Point(number, values, tuple(words), config.load(experiment, words), experiment))
        except ConfigError as error:
            problems.append(f"Point {number} of {label(path)}, {_said(values)}: {error}")
    if problems := problems or _unclear(spec.get("metric"), found, label(path)):
        raise ConfigError("\n".join(problems))
    return found


def _unclear(metric: Any, found: Sequence[Point], where: str) -> list[str]:
    """What is wrong with the sweep's metric, each once however many points there are."""
    said = []
    for point in found:
        try:
            objective.require(metric, point.cfg, where)
        except ConfigError as error:
            said.append(str(error))
    return list(dict.fromkeys(said))


def read_command(spec: Mapping[str, Any], path: Path) -> tuple[Path, list[str]]:
    """The experiment that a sweep file runs, and the ``key=value`` words that all its points share.

    Raises:
        ConfigError: ``command`` is not one that this program understands.
    """
    command, shape = spec.get("command"), f"[..., run, EXPERIMENT, key=value, ..., {ARGUMENTS}]"
    words = [str(word) for word in command] if isinstance(command, list) else []
    if "run" not in words[:-2] or ARGUMENTS not in words:
        raise ConfigError(f"command must be a list of the form {shape}, got {command!r} ({label(path)}).")
    experiment, *rest = words[words.index("run") + 1 :]
    return config.find(experiment), [word for word in rest if word != ARGUMENTS]


def expand(spec: Mapping[str, Any], path: Path) -> list[dict[str, Any]]:
    """All combinations of the ``parameters``, the last one changing fastest.

    Raises:
        ConfigError: another method than ``grid``, or a parameter without a list of values.
    """
    where, method, parameters = label(path), spec.get("method"), spec.get("parameters")
    if method != "grid":
        raise ConfigError(
            f"method must be grid to run here, got '{method}' ({where}). "
            f"'wandb sweep {where}' with 'wandb agent' does the other methods; it needs an account."
        )
    if not isinstance(parameters, Mapping) or not parameters:
        raise ConfigError(f"parameters must name at least one parameter, got {parameters!r} ({where}).")
    values = {key: _values(key, parameter, where) for key, parameter in parameters.items()}
    return [dict(zip(values, combination, strict=True)) for combination in itertools.product(*values.values())]


def _values(key: str, parameter: Any, where: str) -> list[Any]:
    if isinstance(parameter, Mapping) and "value" in parameter:
        return [parameter["value"]]
    values = parameter.get("values") if isinstance(parameter, Mapping) else None
    if not isinstance(values, list) or not values:
        raise ConfigError(
            f"parameters.{key} must have a list of values, got {parameter!r} ({where}). "
            f"A grid cannot be drawn from a distribution; 'wandb sweep' can, with another method."
        )
    return values


def _run(point: Point, total: int, folder: Path) -> list[dict[str, Any]]:
    Console().rule(escape(f"point {point.number} of {total}: {_said(point.parameters)}"))
    row = {"point": point.number, **{key: _cell(value) for key, value in point.parameters.items()}}
    trace = folder / f"point{point.number}.txt"
    trace.unlink(missing_ok=True)
    try:
        _train(point)
        return [row | found | {"error": ""} for found in results(Path(point.cfg.runs_dir) / point.cfg.name)]
    except Exception as error:  # the other points must go on, whatever it was
        if signals.behind(error):
            raise
        said = disk.explain(error) or str(error)
        trace.write_text(traceback.format_exc(), "utf-8")
        Console(stderr=True).print(f"point {point.number} failed: {said}", style="red", markup=False)
        nothing = dict.fromkeys(METRICS, math.nan)
        return [row | {"arm": "", "label": ""} | nothing | {"error": f"{type(error).__name__}: {said}"}]


def _train(point: Point) -> None:
    """Here, or in processes of its own where it asks for several: none of those walks the grid."""
    if processes.wanted(point.cfg.trainer):
        outcome = processes.launch(["run", str(point.experiment), *point.overrides], point.cfg.trainer)
        if outcome.status:
            raise ApoError(outcome.message) from (RuntimeError(outcome.trace) if outcome.trace else None)
        return
    from apo_lightning.experiment import run

    run.run(point.cfg)


def results(run_folder: Path) -> list[dict[str, Any]]:
    """Arm, label and each metric of METRICS, the mean over findings and seeds, from a run's ``results.csv``."""
    table = pd.read_csv(run_folder / "results.csv").map(unquoted)
    table = table[(table["kind"] == "arm") & (table["finding"] == "mean") & table["metric"].isin(METRICS)]
    means = table.groupby(["arm", "label", "metric"], sort=False)["value"].mean().unstack("metric")
    return means.reindex(columns=METRICS).reset_index().to_dict("records")


def _write(frame: pd.DataFrame, parameters: list[str], folder: Path) -> None:
    write_text(folder / "sweep.csv", frame.rename(columns=quoted).map(quoted).to_csv(index=False))
    curve(frame, parameters, folder / "curve.png")
    console = Console()
    console.print(table_of(frame, parameters, folder.name))
    console.print(f"{folder}/sweep.csv and curve.png", markup=False)


def table_of(frame: pd.DataFrame, parameters: Sequence[str], title: str) -> Table:
    """The rich table that a sweep ends with."""
    table = Table(title=escape(f"sweep {title}: mean over findings and seeds"))
    for column in (*parameters, "arm"):
        table.add_column(escape(column))
    for metric in METRICS:
        table.add_column(metric.replace("_", " "), justify="right")
    for _, row in frame.iterrows():
        values = ["failed" if row["error"] else f"{row[metric]:.3f}" for metric in METRICS]
        table.add_row(*(escape(str(row[key])) for key in parameters), escape(row["arm"]), *values)
    return table


def curve(frame: pd.DataFrame, parameters: Sequence[str], path: Path) -> None:
    """One panel a parameter, one line an arm; where other parameters vary too, the line is their mean."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * len(parameters), 4), layout="constrained")
    panels = figure.subplots(1, len(parameters), squeeze=False)[0]
    for axes, key in zip(panels, parameters, strict=True):
        positions = _positions(frame[key].tolist())
        axes.set(xlabel=key, ylabel="accuracy (mean over findings)", xscale=scale(list(positions.values())))
        for arm, rows in frame[frame["error"] == ""].groupby("arm", sort=False):
            places = rows[key].map(positions)
            axes.plot(places, rows["accuracy"], "o", color="0.75", markersize=4)
            means = rows.groupby(places)["accuracy"].mean()
            axes.plot(means.index, means.values, "o-", label=arm)
        axes.set_xticks(list(positions.values()), [str(value) for value in positions])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    if panels[0].lines:
        panels[0].legend()
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=150, format="png")
    write_bytes(path, drawn.getbuffer())


def scale(values: Sequence[float]) -> str:
    """``log`` where positive values span a factor of ten or more."""
    return "log" if values and min(values) > 0 and max(values) >= 10 * min(values) else "linear"


def _positions(values: Sequence[Any]) -> dict[Any, float]:
    """Where each value lies on the axis: numbers at themselves, words one after the other."""
    unique = list(dict.fromkeys(values))
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in unique)
    return {value: float(value) if numbers else float(place) for place, value in enumerate(unique)}


def _word(value: Any) -> str:
    """A value as it stands on the command line: JSON, which every reader of YAML takes for what it is."""
    return json.dumps(value, ensure_ascii=False)


def _cell(value: Any) -> Any:
    return value if isinstance(value, int | float | str) else str(value)


def _said(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={_word(value)}" for key, value in values.items())
