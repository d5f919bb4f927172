"""Settings of further evaluation sets and of curves: what they become, and what is refused in which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from apo_lightning import config
from apo_lightning.errors import ConfigError
from apo_lightning.experiment import machine
from apo_lightning.experiment.checks import check
from apo_lightning.experiment.run_folder import differences
from apo_lightning.settings.plain import CurvePoint, EvaluationSet

SMOKE = Path(__file__).resolve().parents[3] / "experiments" / "smoke.yaml"
ONE = "evaluate.sets={one: {title: One, data: {name: phantom, domain: scanner}}}"
PLAIN = "evaluate.sets.one.probes=false"


def test_a_set_is_a_typed_section_with_all_settings_of_its_class() -> None:
    cfg = config.load(SMOKE, [ONE, "evaluate.sets.one.data.test=7"])
    assert cfg.evaluate.sets == {"one": EvaluationSet("One", {"name": "phantom", "domain": "scanner", "test": 7})}
    full = config.resolve_arm(cfg, "base").evaluate.sets["one"]
    assert full.data["size"] == 112 and full.prompt is None
    assert config.to_dict(cfg)["evaluate"]["sets"]["one"]["data"]["seed"] == 0


def test_a_set_asks_what_home_asks_unless_it_says_not() -> None:
    ask = ["evaluate.likelihood.form=statements", "evaluate.samples=4", ONE]
    one, plain = (config.load(SMOKE, [*ask, *more]).of_set("one").evaluate for more in ([], [PLAIN]))
    assert (one.likelihood.form, one.samples) == ("statements", 4)
    assert (plain.likelihood.form, plain.samples) == ("off", 0) and plain.likelihood.wordings == one.likelihood.wordings


def test_a_set_of_another_class_from_the_command_line_keeps_what_both_know() -> None:
    """The set of the file is read elsewhere, in another layout."""
    words = ["evaluate.sets.open_i.data.name=tabular", "evaluate.sets.open_i.data.index_file=mine.csv"]
    cfg = config.load(SMOKE.parent / "generalization.yaml", words)
    assert cfg.evaluate.sets["open_i"].data == {"name": "tabular", "root": "data/open_i", "index_file": "mine.csv"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evaluate.sets={one: {title: ' ', data: {name: phantom}}}"], r"evaluate\.sets\.one\.title must not be empty"),
        (["evaluate.sets={one: {data: {name: phantom}}}"], r"evaluate\.sets\.one\.title must be given"),
        (["evaluate.sets={one: {title: One}}"], r"evaluate\.sets\.one\.data must be given"),
        (["evaluate.sets={one: {title: One, data: {}}}"], r"evaluate\.sets\.one\.data\.name must be given"),
        (["evaluate.sets={one: {title: One, data: {name: fantom}}}"], r"No data set is named 'fantom'.*'phantom'"),
        ([ONE, "evaluate.sets.one.data.size=0"], r"evaluate\.sets\.one\.data\.size must be >= 1, got 0"),
        ([ONE, "evaluate.sets.one.data.sise=1"], r"Unknown key 'evaluate\.sets\.one\.data\.sise'.*'size'"),
        ([ONE, "evaluate.sets.onne.data.size=9"], r"Unknown key 'evaluate\.sets\.onne'.*Did you mean 'one'"),
        ([ONE.replace("one:", "a/b:")], r"evaluate\.sets\.a/b must be usable as a folder"),
        (
            ["evaluate.sets={a: {title: a, data: {name: phantom}}, A: {title: b, data: {name: phantom}}}"],
            r"evaluate\.sets\.A and evaluate\.sets\.a are one folder",
        ),
        (["evaluate.sets=[one]"], r"evaluate\.sets must be a mapping"),
        (["evaluate.sets={one: phantom}"], r"evaluate\.sets\.one must be a mapping"),
        ([ONE, "arms.base.set={evaluate.sets.one.prompt: report}"], "must not hold 'evaluate.sets.one.prompt'"),
        (["acknowledge=[fantom]", ONE], "acknowledge must name data sets of the experiment, got 'fantom'"),
        (["arms.base.curve={axis: a, line: b}"], r"arms\.base\.curve\.x must be given"),
        (["arms.base.curve={axis: a, line: b, x: .inf}"], r"arms\.base\.curve\.x must be a finite number, got inf"),
        (["arms.base.curve={axis: a, line: b, x: far}"], r"arms\.base\.curve\.x must be a number, got 'far'"),
        (["arms.base.curve={axis: ' ', line: b, x: 1}"], r"arms\.base\.curve\.axis must not be empty"),
        (["arms.base.curve={axis: a, line: '', x: 1}"], r"arms\.base\.curve\.line must not be empty"),
        (["arms.base.curve=7"], r"arms\.base\.curve must be a mapping \(key: value\) or null, got 7"),
        (
            ["arms.base.curve={axis: a, line: b, x: 1}", "arms.spd_mt.curve={axis: a, line: b, x: 1.0}"],
            r"arms\.spd_mt\.curve\.x is 1 on the line 'b' of 'a', and so is that of base",
        ),
    ],
)
def test_what_is_refused(words: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        config.load(SMOKE, words)


def test_points_of_other_lines_and_axes_may_share_a_place() -> None:
    words = ["arms.base.curve={axis: a, line: b, x: 1}", "arms.spd_mt.curve={axis: a, line: c, x: 1}"]
    cfg = config.load(SMOKE, [*words, "arms.apo_listwise.curve={axis: d, line: b, x: 1}"])
    assert cfg.arms["base"].curve == CurvePoint("a", 1.0, "b") and cfg.arms["base"].label == "Base"
    assert config.to_dict(cfg)["arms"]["spd_mt"]["curve"] == {"axis": "a", "x": 1.0, "line": "c"}


def test_a_set_may_be_acknowledged() -> None:
    assert config.load(SMOKE, ["acknowledge=[phantom]", ONE]).acknowledge == ["phantom"]


def test_the_question_of_a_set_is_looked_at_with_the_others() -> None:
    for prompt, said in (
        ("reconcile", r"evaluate\.sets\.one\.prompt 'reconcile' has \$reports"),
        ("nowhere", "nowhere"),
    ):
        cfg = config.resolve_arm(config.load(SMOKE, [ONE, f"evaluate.sets.one.prompt={prompt}"]), "base")
        with pytest.raises(ConfigError, match=said):
            check(cfg, here=False)


def test_loaders_of_a_set_are_counted_too() -> None:
    cfg = config.resolve_arm(config.load(SMOKE, [ONE, "evaluate.sets.one.data.num_workers=1000"]), "base")
    with pytest.raises(ConfigError, match=r"evaluate\.sets\.one\.data\.num_workers x trainer\.devices"):
        machine.check_here(cfg)


def test_a_run_folder_of_an_earlier_version_lacks_what_nobody_set() -> None:
    """``evaluate.sets`` and curves are new: a folder without them belongs to the same configuration."""
    now = {"evaluate": {"sets": {}}, "arms": {"a": {"curve": None}}}
    assert differences({"evaluate": {}, "arms": {"a": {}}}, now) == []
    assert differences({"evaluate": {}}, {"evaluate": {"sets": {"one": 1}}}) == [("evaluate.sets", None, {"one": 1})]
