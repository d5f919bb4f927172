"""What each teacher adds, the cheapest subset, and what an arm that hears it says that it saved."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from apo_lightning.drift import pruning
from apo_lightning.drift.corpus import Corpus
from apo_lightning.drift.pruning import Cost, rank
from apo_lightning.errors import ConfigError, DataError
from apo_lightning.experiment import pruned
from apo_lightning.settings import PriceSettings, PruneSettings
from apo_lightning.types import Study, Trajectory

FINDINGS = ("edema",)


def corpus(truth: str, **said: str) -> Corpus:
    """One finding; a character a study: 1 present, 0 absent, . nothing said."""
    words = {"1": "Edema.", "0": "No edema.", ".": "The image shows a chest."}
    texts = {f"s{i}": {name: words[own[i]] for name, own in said.items()} for i in range(len(truth))}
    return Corpus.read(texts, FINDINGS, {f"s{i}": {"edema": float(value)} for i, value in enumerate(truth)})


PRICES = {"good": Cost(1, 10, 5.0), "fair": Cost(1, 10, 1.0), "poor": Cost(1, 10, 0.5)}


def three() -> Corpus:
    """good is right 10 of 10, fair 8 of 10, poor 5 of 10."""
    return corpus("1111100000", good="1111100000", fair="0111100001", poor="0000000000")


def test_what_each_adds() -> None:
    """The vote of all is right on 9 (s0 is missed); without good (fair and poor tie wherever fair says yes) on 5,
    without fair on 5, without poor on 9 (a tie on s0)."""
    found = rank(three())
    assert found.whole.vote == pytest.approx(0.9) and found.studies == 10
    assert {own.teacher: round(own.vote.value, 9) for own in found.added} == {"good": 0.4, "fair": 0.4, "poor": 0.0}
    assert [own.teacher for own in found.added] == ["good", "fair", "poor"]  # equal votes: good adds more likelihood
    assert found.added[0].likelihood.value > found.added[1].likelihood.value
    assert all(own.vote.low <= own.vote.value <= own.vote.high for own in found.added[:2])


@pytest.mark.parametrize(
    ("loss", "by", "wanted"),
    [
        (0.0, "money", ("good",)),  # 5; good and fair would be 6, and fair alone is right on 8 only
        (0.1, "money", ("fair",)),
        (0.1, "requests", ("good",)),  # of equally many the better vote
        (0.4, "money", ("poor",)),
        (0.0, "tokens", ("good",)),
    ],
)
def test_the_cheapest_within_the_stated_loss(loss: float, by: str, wanted: tuple[str, ...]) -> None:
    found = rank(three(), PRICES, loss=loss, by=by).cheapest
    assert found is not None and found.teachers == wanted
    assert found.vote >= rank(three()).whole.vote - loss - 1e-9
    assert found.cost == sum((PRICES[name] for name in wanted), pruning.FREE)


def test_at_least_so_many_are_left() -> None:
    found = rank(three(), PRICES, loss=0.1, by="money", at_least=2).cheapest
    assert found is not None and found.teachers == ("good", "fair")
    assert len(rank(three(), PRICES, at_least=9).cheapest.teachers) == 3


def test_of_equals_the_first_teacher_is_kept() -> None:
    own = corpus("10", a="10", b="10")
    assert rank(own).cheapest.teachers == ("a",) and rank(own.only(teachers=["b", "a"])).cheapest.teachers == ("b",)


def test_without_labels_the_agreement_alone_is_known() -> None:
    own = Corpus.read({"s": {"a": "Edema.", "b": "Edema.", "c": "No edema."}}, FINDINGS)
    found = rank(own)
    assert found.cheapest is None and math.isnan(found.whole.vote)
    assert [each.teacher for each in found.added] == ["a", "b", "c"]
    assert found.added[0].agreement.value == pytest.approx(1 / 3 - 0)


def test_nothing_to_rank_is_said() -> None:
    with pytest.raises(DataError, match="cannot be ranked: 0 teachers on 1 studies"):
        rank(three().only(np.arange(10) == 0, teachers=[]))


@pytest.mark.parametrize("seed", range(5))
def test_taking_away_one_by_one_keeps_the_loss_and_saves(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many teachers not every subset is tried: what is found is allowed, no dearer than all, and on these casts no
    teacher more can be spared."""
    rng = np.random.default_rng(seed)
    truth = "".join(rng.choice(["0", "1"], 60))
    said = {f"t{k}": "".join(c if rng.random() < 0.6 + 0.05 * k else "10"[int(c)] for c in truth) for k in range(6)}
    own, prices = corpus(truth, **said), {f"t{k}": Cost(1, 1, 1.0 + k) for k in range(6)}
    best = rank(own, prices, loss=0.05, by="money").cheapest
    monkeypatch.setattr(pruning, "MOST", 3)
    found = rank(own, prices, loss=0.05, by="money")
    assert found.cheapest.vote >= found.whole.vote - 0.05 - 1e-9
    assert best.cost.money <= found.cheapest.cost.money <= found.whole.cost.money


def test_costs_of_answers() -> None:
    """100 tokens read and, of three words, 4 written: at 2 and 30 a million 320 millionths."""
    price = PriceSettings(input=2.0, output=30.0, seconds=4.0)
    assert pruning.cost(3, price, 100) == Cost(1.0, 104.0, pytest.approx(320e-6), 4.0)
    assert pruning.cost(3, None, 100).money == 0
    own = corpus("10", a="10", b="..")  # "Edema." and "No edema." are 1.5 words on the mean, the other 5
    found = pruning.costs(own, {"a": price}, 100)
    assert found["a"].tokens == pytest.approx(102) and found["b"].tokens == pytest.approx(100 + 20 / 3)
    assert found["b"].money == 0 and Cost(1, 2, 3, 4) + Cost(1, 1, 1, 1) == Cost(2, 3, 4, 5) == Cost(2, 3, 4, 5) * 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"loss": 1.0}, "loss must be in"),
        ({"loss": -0.1}, "loss must be in"),
        ({"by": "fame"}, "by must be one of money, tokens, requests"),
        ({"at_least": 0}, "at_least must be >= 1"),
        ({"prompt_tokens": -1}, "prompt_tokens must be >= 0"),
    ],
)
def test_settings_that_make_no_sense(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PruneSettings(**wrong)
    with pytest.raises(ValueError, match="output must be a number of at least 0, got nan"):
        PriceSettings(output=math.nan)


def arm(select: str = "cheapest") -> SimpleNamespace:
    return SimpleNamespace(pool=SimpleNamespace(select=select, prune=None), data={"name": "x"})


def test_what_cannot_be_judged_is_refused_before_training() -> None:
    pruned.require(arm("all"), [], FINDINGS)
    course = [Study("v", "v", "val", (), {}, progression={"edema": "stable"})]
    with pytest.raises(ConfigError, match=r"pool\.select 'cheapest' goes by the vote .* course"):
        pruned.require(arm(), course, FINDINGS)
    with pytest.raises(ConfigError, match="none of the 1 of 'x' has a label"):
        pruned.require(arm(), [Study("v", "v", "val", (), {"edema": math.nan})], FINDINGS)
    pruned.require(arm(), [Study("v", "v", "val", (), {"edema": 0.0})], FINDINGS)


def test_prices_of_endpoints_count_where_the_plan_has_none() -> None:
    teachers = {"a": {"price": {"input": 1.0, "output": None}}, "b": {"price": {"input": 1.0, "output": 2.0}}, "c": {}}
    cfg = SimpleNamespace(
        teachers=teachers, pool=SimpleNamespace(prune=PruneSettings(prices={"b": PriceSettings(5.0)}))
    )
    assert pruned.prices(cfg) == {"a": PriceSettings(1.0, 0.0), "b": PriceSettings(5.0)}


def test_what_an_endpoint_counted_is_taken_before_words() -> None:
    """Two studies of one answer each; of the second the endpoint told no tokens."""
    answers = {
        "s": SimpleNamespace(input_tokens=900, output_tokens=50, seconds=2.5),
        "t": SimpleNamespace(input_tokens=None, output_tokens=50, seconds=2.5),
        "u": SimpleNamespace(input_tokens=1, output_tokens=1, seconds=1.0),  # an answer that is no trajectory here
    }
    plan = PruneSettings(prompt_tokens=100, prices={"a": PriceSettings(2.0, 10.0, 7.0)})
    own = SimpleNamespace(
        cfg=SimpleNamespace(teachers={"a": {}}, pool=SimpleNamespace(prune=plan)),
        trajectories=[Trajectory("s", "a", "Edema."), Trajectory("t", "a", "No edema here.")],
        teacher=lambda name: SimpleNamespace(counted=lambda studies: answers),
    )
    found = pruned._spent(own, [Study(name, name, "val", (), {}) for name in "stu"])["a"]
    assert found == {
        "s": Cost(1.0, 950, pytest.approx(2300e-6), 2.5),
        "t": Cost(1.0, 104, pytest.approx(240e-6), 7.0),
    }


def test_what_was_saved_in_words() -> None:
    row = {
        "arm": "few",
        "teachers": ["a", "b"],
        "added": [0] * 7,
        "whole": {"requests": 700, "tokens": 8000.0, "money": 4.0, "seconds": 7200.0},
        "saved": {"requests": 350, "tokens": 2000.0, "money": 3.0, "seconds": 3600.0},
        "training_seconds": {"own": 40.0, "all": 100.0, "arm": "many"},
    }
    assert pruned.sentence(row) == (
        "few hears a, b instead of 7 teachers and saves 350 requests (50%), 2,000 tokens (25%), 3.00 of 4.00 in money "
        "(75%), 1.0 hours of asking, 60 of 100 s of training."
    )
    free = {
        **row,
        "training_seconds": None,
        "whole": dict.fromkeys(row["whole"], 0),
        "saved": dict.fromkeys(row["saved"], 0),
    }
    assert pruned.sentence(free).endswith("saves 0 requests (0%), 0 tokens (0%).")
