"""The training order: a pure function of seed and batch number, the same for one process and for several."""

from __future__ import annotations

from itertools import islice
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.loops.progress import _BatchProgress, _ProcessedTracker

from apo_lightning.types import Example, PromptBatch, Study
from data_modules.loading.fixed_batches import EvenBatches, NumberedBatches
from data_modules.loading.sampler import ExampleSet, ResumableBatchSampler, rewind_to_whole_step


def draw(count: int, size: int = 10, **how) -> list[list[int]]:
    """Indices alone, without the number of the pass."""
    batches = islice(ResumableBatchSampler(size, **{"batch_studies": 3, "seed": 0, **how}), count)
    return [[index for _, index in batch] for batch in batches]


def test_every_index_says_in_which_pass_it_is_drawn():
    """10 studies in batches of 3, three batches a pass; from batch 4 on, batches 4 to 6 of the same stream."""
    whole = ResumableBatchSampler(10, batch_studies=3, seed=0)
    passes = [{number for number, _ in batch} for batch in islice(whole, 7)]
    assert passes == [{0}, {0}, {0}, {1}, {1}, {1}, {2}]
    later = ResumableBatchSampler(10, batch_studies=3, seed=0, position=lambda: 4)
    assert [{number for number, _ in batch} for batch in islice(later, 3)] == passes[4:]


def test_a_pass_sees_every_study_at_most_once_and_drops_the_rest():
    """10 studies in batches of 3: three batches a pass, nine different studies, then a new order."""
    batches = draw(6)
    first, second = batches[:3], batches[3:]
    assert [len(batch) for batch in batches] == [3] * 6
    assert len({i for batch in first for i in batch}) == 9
    assert len({i for batch in second for i in batch}) == 9
    assert first != second


def test_exact_fit_sees_everything_in_every_pass():
    batches = draw(4, size=6)
    assert sorted(batches[0] + batches[1]) == sorted(batches[2] + batches[3]) == list(range(6))


@pytest.mark.parametrize("position", [0, 1, 3, 4, 7])
def test_starting_later_gives_the_rest_of_the_same_stream(position):
    assert draw(12)[position:] == draw(12 - position, position=lambda: position)


def test_position_is_asked_at_every_iteration():
    trained = [0]
    sampler = ResumableBatchSampler(10, batch_studies=3, seed=0, position=lambda: trained[0])
    first = list(islice(sampler, 5))
    trained[0] = 2
    assert list(islice(sampler, 3)) == first[2:]


@pytest.mark.parametrize("size", [3, 10, 16])
def test_two_processes_together_see_what_one_sees(size):
    """1 process x 4 studies = 2 processes x 2 studies, also when the set (3) is smaller than a global batch (4)."""
    one = draw(7, size=size, batch_studies=4)
    ranks = [draw(7, size=size, batch_studies=2, rank=rank, world=2) for rank in range(2)]
    assert one == [left + right for left, right in zip(*ranks, strict=True)]


@pytest.mark.parametrize("size", [3, 10, 17, 24])
def test_accumulated_batches_are_one_large_one(size):
    """1 x 8, 8 x 1 and two processes of 2 x 2 see the same studies at every step, over the ends of passes too."""
    one = draw(5, size=size, batch_studies=8)
    ones = draw(40, size=size, batch_studies=1, accumulate=8)
    assert one == [[index for batch in ones[i : i + 8] for index in batch] for i in range(0, 40, 8)]
    left, right = (draw(10, size=size, batch_studies=2, accumulate=2, rank=rank, world=2) for rank in range(2))
    both = [a + b for a, b in zip(left, right, strict=True)]
    assert one == [both[i] + both[i + 1] for i in range(0, 10, 2)]


def test_small_set_is_repeated_to_fill_a_batch():
    """2 studies, batch of 5: the order of the pass, over and over."""
    (batch,) = draw(1, size=2, batch_studies=5)
    a, b = batch[:2]
    assert batch == [a, b, a, b, a] and {a, b} == {0, 1}


def test_seeds_are_unrelated():
    """Seed 0's second pass must not be seed 1's first, as it would be with seed + epoch."""
    assert draw(3, seed=0) != draw(3, seed=1)
    assert draw(6, seed=0)[3:] != draw(3, seed=1)


def test_a_stream_that_ends_with_its_pass():
    """10 studies in batches of 3: three a pass. Begun behind batch 4 it ends with batch 5, behind batch 5 with 8."""
    whole = list(islice(ResumableBatchSampler(10, batch_studies=3, seed=0), 9))
    for position, want in ((0, whole[:3]), (4, whole[4:6]), (6, whole[6:])):
        ending = ResumableBatchSampler(10, batch_studies=3, seed=0, position=lambda p=position: p, ends=True)
        assert list(ending) == want and len(ending) == 3


def test_length_is_what_was_said_and_absent_otherwise():
    assert len(ResumableBatchSampler(10, batch_studies=3, seed=0, length=26)) == 26
    with pytest.raises(NotImplementedError):
        len(ResumableBatchSampler(10, batch_studies=3, seed=0))


@pytest.mark.parametrize("wrong", [{"size": 0}, {"batch_studies": 0}, {"rank": 2, "world": 2}])
def test_wrong_counts_are_refused_with_their_values(wrong):
    with pytest.raises(ValueError, match=r"got size="):
        ResumableBatchSampler(**{"size": 4, "batch_studies": 2, "seed": 0, **wrong})


def numbered(**how) -> list[tuple[int, str]]:
    examples = [Example(Study(name, name, "test", (), {})) for name in "abcdefg"]
    items = ExampleSet(examples, lambda study: [])
    batches = NumberedBatches(items, lambda batch: "".join(e.study.id for e, _ in batch), batch_studies=2, **how)
    return [batches[i] for i in range(len(batches))]


def test_prediction_batches_have_a_fixed_composition():
    assert numbered() == [(0, "ab"), (1, "cd"), (2, "ef"), (3, "g")]
    assert numbered(skip=frozenset({0, 2})) == [(1, "cd"), (3, "g")]
    assert numbered(rank=1, world=2) == [(1, "cd"), (3, "g")]
    assert numbered(rank=0, world=2, skip=frozenset({2})) == [(0, "ab")]
    assert numbered(rank=5, world=6) == []


def named(items) -> PromptBatch:
    ids = torch.zeros(len(items), 1)
    return PromptBatch([example.study.id for example, _ in items], ids, ids, {}, [0] * len(items))


def even(world: int, collate=named) -> list[list[tuple[str, bool]]]:
    """What each process is given: the studies of its batches, and whether they count for nothing."""
    items = ExampleSet([Example(Study(name, name, "val", (), {})) for name in "abcdefg"], lambda study: [])
    ranks = [EvenBatches(items, collate, batch_studies=2, rank=rank, world=world) for rank in range(world)]
    return [[("".join(own[i].studies), own[i].padding) for i in range(len(own))] for own in ranks]


def test_validation_batches_are_as_many_in_every_process_and_count_once():
    assert even(1) == [[("ab", False), ("cd", False), ("ef", False), ("g", False)]]
    assert even(2) == [[("ab", False), ("ef", False)], [("cd", False), ("g", False)]]
    assert even(3) == [[("ab", False), ("g", False)], [("cd", False), ("g", True)], [("ef", False), ("g", True)]]
    assert even(5)[3:] == [[("g", False)], [("g", True)]]


def test_what_cannot_be_marked_as_padding_is_refused_rather_than_counted_twice():
    items = ExampleSet([Example(Study(name, name, "val", (), {})) for name in "abc"], lambda study: [])
    batches = EvenBatches(items, list, batch_studies=1, rank=1, world=2)
    assert [example.study.id for example, _ in batches[0]] == ["b"]
    with pytest.raises(TypeError, match=r"3 batches cannot be shared out evenly .* got list"):
        batches[1]


@pytest.mark.parametrize(("processed", "accumulate", "kept", "stepped"), [(9, 2, 8, 3), (8, 2, 8, 4), (11, 4, 8, 3)])
def test_a_cut_accumulation_is_taken_back(processed, accumulate, kept, stepped):
    """9 batches, 2 a step: the ninth is half a step and is trained on again; 8 are whole steps."""
    trackers = [_ProcessedTracker(processed, processed - 1, processed, processed) for _ in range(2)]
    loop = SimpleNamespace(batch_progress=_BatchProgress(*trackers), _batches_that_stepped=4)
    rewind_to_whole_step(loop, accumulate)
    for tracker in trackers:
        assert (tracker.ready, tracker.started, tracker.processed, tracker.completed) == (kept, kept, kept, kept - 1)
    assert loop._batches_that_stepped == stepped
