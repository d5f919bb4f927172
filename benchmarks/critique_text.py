"""The words of docs/results/critique with their numbers, from its tables.

    python benchmarks/critique_text.py docs/results/critique

Renders `critique_text.md.j2` beside this file to README.md there. Numbers alone come from the tables: whether the words
around them still hold after a study was run again is for a reader to say.
"""

from __future__ import annotations

import argparse
import functools
import math
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from critique_page import BASE, CHOSEN_BY, difference

HOME = ("drifting", "one_wording")
"""Worlds of the map."""
TEMPLATE = Path(__file__).with_suffix(".md.j2")


class Tables:
    """What the template may ask for. Studies by the end of their name: map, axes, published, more."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @functools.cache  # noqa: B019  # one object a page
    def read(self, study: str, table: str) -> pd.DataFrame:
        """A table of a study."""
        return pd.read_csv(self.folder / f"critique_{study}" / f"{table}.csv")

    def minus(
        self,
        arm: str,
        against: str = BASE,
        world: str = "drifting",
        metric: str = CHOSEN_BY,
        study: str = "map",
        **where: str,
    ) -> str:
        """One arm minus another, with its interval.

        Raises:
            LookupError: the study has no such pair.
        """
        found = difference(self.read(study, "pairs"), arm, against, metric, world=world, **where)
        if math.isnan(found[0]):
            raise LookupError(f"critique_{study} has no {arm} minus {against} in {metric}, {world} {where}")
        return interval(*found)

    def both(self, arm: str, against: str = BASE, word: str = "and", **how: str) -> str:
        """The same in both worlds of the map."""
        return f" {word} ".join(self.minus(arm, against, world, **how) for world in HOME)

    def limit(self, way: str, name: str, student: str = "both") -> str:
        """Of limits.csv: points (``margin``, ``margin_of_accuracy``), or as it is (``conflict``)."""
        row = pd.read_csv(self.folder / "limits.csv").set_index(["student", "way"]).loc[(student, way)]
        value, low, high = (
            row[f"{name}_{end}"] * (1 if name == "conflict" else 100) for end in ("value", "low", "high")
        )
        if name == "conflict":
            return f"{value:.2f} [{low:.2f}, {high:.2f}]"
        sign = "+" if name == "margin" else ""
        return f"{plain(value, 0, sign)} [{plain(low, 0)}, {plain(high, 0)}]"

    def study_of(self, world: str) -> str:
        """The study that measured a world."""
        return next(study for study in ("map", "published", "axes") if world in set(self.read(study, "conflict").world))

    def measured(self, world: str, column: str, digits: int = 3) -> str:
        """What a world's texts measure, of conflict.csv."""
        rows = self.read(self.study_of(world), "conflict")
        return f"{rows[rows.world == world][column].iloc[0]:.{digits}f}"

    def lead(self, world: str) -> str:
        """By how much the vote of a world is more often right than the base student."""
        return plain(float(self.measured(world, "vote", 9)) - float(self.measured(world, "base", 9)), sign="+")

    def there(self, world: str, arm: str, against: str = BASE, **how: str) -> str:
        """One arm minus another in any world."""
        return self.minus(arm, against, world, study=self.study_of(world), **how)

    def by_vote(self) -> list[str]:
        """All worlds but those of `critique_more`, by the vote's lead over the base student, largest first."""
        rows = pd.concat([self.read(study, "conflict") for study in ("map", "axes", "published")])
        rows = rows.drop_duplicates("world").assign(lead=lambda table: table.vote - table.base)
        return list(rows.sort_values("lead", ascending=False, kind="stable").world)

    def tried_as(self, arm: str, number: int) -> str:
        """Validation score of an arm's trial of that number, from 1, in both worlds."""
        return " and ".join(f"{self.trials(arm, world)[number - 1]:.3f}"[1:] for world in HOME)

    def best(self, arm: str) -> str:
        """Validation score of an arm's best trial, in both worlds."""
        return " and ".join(f"{max(self.trials(arm, world)):.3f}" for world in HOME)

    def trials(self, arm: str, world: str = "drifting", study: str = "map") -> list[float]:
        """Validation scores of an arm's trials, in their order."""
        rows = self.read(study, "trials")
        return list(rows[(rows.world == world) & (rows.arm == arm)][CHOSEN_BY])

    def scores(self, arm: str, study: str = "map", worlds: tuple[str, ...] = HOME) -> str:
        """Cells of every trial of an arm."""
        told = (" ".join(f"{value:.3f}" for value in self.trials(arm, world, study)) for world in worlds)
        return " | ".join(told)

    def tried(self, study: str = "map", worlds: tuple[str, ...] = HOME) -> list[str]:
        """Arms with trials, best first (sum over worlds of their best)."""
        rows = self.read(study, "trials")
        rows = rows[rows.world.isin(worlds)].dropna(subset=[CHOSEN_BY])
        best = rows.groupby(["arm", "world"], sort=False)[CHOSEN_BY].max().groupby("arm", sort=False).sum()
        return list(best.sort_values(ascending=False, kind="stable").index)


def plain(value: float, digits: int = 3, sign: str = "") -> str:
    """Rounded; zero has no minus."""
    return f"{round(float(value), digits) + 0.0:{sign}.{digits}f}"


def interval(value: float, low: float, high: float) -> str:
    """As +0.055 [0.029, 0.084]."""
    return f"{plain(value, sign='+')} [{plain(low)}, {plain(high)}]"


def page(folder: Path, template: Path = TEMPLATE) -> str:
    """The text of README.md from the tables in ``folder``.

    Raises:
        jinja2.UndefinedError: the template names what is not there.
        LookupError: a table has no such row.
    """
    rendering = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    tables = Tables(folder)
    asked: dict[str, Any] = {name: getattr(tables, name) for name in dir(tables) if not name.startswith("_")}
    asked["again"] = again = Tables(folder / "second_student")
    asked["again_axes"] = list(dict.fromkeys(again.read("axes", "conflict").world))
    asked["words"] = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "all")
    return rendering.from_string(template.read_text(encoding="utf-8")).render(asked)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    (folder / "README.md").write_text(page(folder), encoding="utf-8")


if __name__ == "__main__":
    main()
