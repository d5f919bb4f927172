"""Which studies a training step sees, and the data sets behind the loaders.

Training draws one endless stream of global batches. Batch ``i`` is a pure function of (seed, i): passes over the data
are counted here (``divmod(i, batches in a pass)``), not by Lightning, which sees one long epoch. So the only state
is how many batches have been trained on, and Lightning's own progress, which is in every checkpoint, knows that.
Counting what a loader handed out would not do: with workers it runs ahead of training.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, Sampler

from apo_lightning.errors import ArtifactError
from apo_lightning.types import Example, Study
from data_modules.images.augment import Augment

OpenImages = Callable[[Study], list[Image.Image]]
Item = tuple[Example, list[Image.Image]]
Draw = tuple[int, int]
"""The number of the pass and the index of an example."""


class ResumableBatchSampler(Sampler[list[Draw]]):
    """Endless batches of (pass, index into a set of ``size``), the share of one process of ``world``.

    A pass is a seeded permutation cut into global batches of ``batch_studies * world``; each process takes its slice,
    so one process with batches of 2k and two with batches of k see the same studies at every step, and so does one that
    accumulates two batches of k. The last incomplete step of a pass is dropped; a set smaller than one step is repeated
    to fill it.

    Args:
        length: what ``len`` answers, for the progress bar; the stream itself does not end. None: no ``len``.
        position: number of batches already trained on, asked at the start of every iteration.
        ends: an iteration ends with the pass in which it begins, and ``len`` is that of a pass.
        accumulate: batches of an optimiser step.

    Raises:
        ValueError: a count is not positive, or ``rank`` is not below ``world``.
    """

    def __init__(
        self,
        size: int,
        *,
        batch_studies: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        length: int | None = None,
        position: Callable[[], int] = int,
        ends: bool = False,
        accumulate: int = 1,
    ) -> None:
        if size < 1 or batch_studies < 1 or accumulate < 1 or not 0 <= rank < world:
            raise ValueError(
                f"need size, batch_studies and accumulate >= 1 and 0 <= rank < world, got size={size}, "
                f"batch_studies={batch_studies}, accumulate={accumulate}, rank={rank}, world={world}"
            )
        self.size, self.batch_studies, self.seed = size, batch_studies, seed
        self.rank, self.world = rank, world
        self.studies_a_step = batch_studies * world * accumulate
        self.batches_a_pass = max(1, size // self.studies_a_step) * accumulate
        self.length, self.position, self.ends = self.batches_a_pass if ends else length, position, ends

    def __iter__(self) -> Iterator[list[Draw]]:
        held, order = -1, []
        for number in count(self.position()):
            epoch, place = divmod(number, self.batches_a_pass)
            if self.ends and epoch > held >= 0:
                return
            if epoch != held:
                held, order = epoch, self.order(epoch)
            start = (place * self.world + self.rank) * self.batch_studies
            yield [(epoch, index) for index in order[start : start + self.batch_studies]]

    def __len__(self) -> int:
        if self.length is None:
            raise NotImplementedError("an endless stream has no length")
        return self.length

    def order(self, epoch: int) -> list[int]:
        """Indices of one pass, at least one step of them."""
        mixed = np.random.SeedSequence([self.seed, epoch]).generate_state(1, np.uint64)[0]
        generator = torch.Generator().manual_seed(int(mixed) >> 1)
        once = torch.randperm(self.size, generator=generator).tolist()
        short = self.studies_a_step - self.size
        return once if short <= 0 else once * (1 + -(-short // self.size))


@dataclass(frozen=True)
class Plan:
    """The arguments of ``Loaders.connect``."""

    collate: Callable[[list[Item]], Any]
    batch_studies: int
    seed: int
    train: Sequence[Example] | None
    val: Sequence[Example] | None
    test: Sequence[Example] | None
    predict: Sequence[Example] | None
    length: int | None
    accumulate: int
    skip: frozenset[int]

    def order(self, world: int) -> dict[str, Any]:
        """What the order of training depends on."""
        names = "\n".join(example.study.id for example in self.train or ())
        return {
            "seed": self.seed,
            "studies of a step": self.batch_studies * world * self.accumulate,
            "accumulate": self.accumulate,
            "order of the studies": hashlib.sha256(names.encode()).hexdigest()[:12],
        }


class ExampleSet(Dataset[Item]):
    """Examples with their images.

    Args:
        examples: what is indexed.
        images: opens the images of a study.
        augment: disturbs an image, given a seed; None leaves it alone.
        seed: of the disturbances, which also depend on the pass and the index, and on nothing else.
    """

    def __init__(
        self, examples: Sequence[Example], images: OpenImages, augment: Augment | None = None, seed: int = 0
    ) -> None:
        self.examples, self.images, self.augment, self.seed = examples, images, augment, seed

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, draw: Draw) -> Item:
        number, index = draw
        example = self.examples[index]
        images = self.images(example.study)
        if self.augment is None:
            return example, images
        seeds = np.random.SeedSequence([self.seed, number, index]).generate_state(len(images))
        return example, [self.augment(image, int(seed)) for image, seed in zip(images, seeds, strict=True)]


def own_generator() -> torch.Generator:
    """For loaders: without one they draw from the global stream, and dropout after a resume would differ."""
    return torch.Generator().manual_seed(0)


class ResumableLoader(DataLoader):
    """A loader whose place in the stream Lightning knows; what it keeps in a checkpoint is which stream that was.

    Args:
        order: what the order of the stream depends on, compared when a run is resumed.
    """

    def __init__(self, items: ExampleSet, *, order: dict[str, Any], **how: Any) -> None:
        super().__init__(items, generator=own_generator(), **how)
        self.order = order

    def state_dict(self) -> dict[str, Any]:
        return dict(self.order)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """
        Raises:
            ArtifactError: the checkpoint comes from another stream, so its position means nothing in this one.
        """
        changed = [
            f"{key} was {state_dict.get(key)}, is {now}"
            for key, now in self.order.items()
            if state_dict.get(key) != now
        ]
        if changed:
            raise ArtifactError(
                f"The checkpoint was trained in another order of the data: {'; '.join(changed)}. "
                "Resume with the settings it was started with, or start the stage anew."
            )


def rewind_to_whole_step(epoch_loop: Any, accumulate: int) -> None:
    """Take back the batches of a step that was cut off in the middle of its accumulation.

    Their gradients died with the process, so they are trained on again. ``ModelCheckpoint`` makes such checkpoints:
    after a resume it no longer knows that it has saved the current step, and saves at the next batch. Lightning ends an
    epoch with a step, however many batches it has.

    Args:
        epoch_loop: ``trainer.fit_loop.epoch_loop`` with its progress restored and training not yet begun.
    """
    progress = epoch_loop.batch_progress
    extra = 0 if progress.is_last_batch else progress.current.processed % accumulate
    if extra == 0:
        return
    for tracker in (progress.total, progress.current):
        for name in ("ready", "started", "processed", "completed"):
            setattr(tracker, name, getattr(tracker, name) - extra)
    epoch_loop._batches_that_stepped -= 1  # the loop adds one for the last whole step when it restarts
