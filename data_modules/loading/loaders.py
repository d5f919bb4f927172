"""What a stage iterates of a data set: Lightning's dataloaders over the examples that ``connect`` was given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.trainer.states import TrainerFn
from PIL import Image
from torch.utils.data import DataLoader

from apo_lightning.errors import ConfigError, DataError
from apo_lightning.types import Example, Study
from data_modules.images.augment import AUGMENT
from data_modules.loading.fixed_batches import EvenBatches, NumberedBatches
from data_modules.loading.sampler import (
    ExampleSet,
    Item,
    Plan,
    ResumableBatchSampler,
    ResumableLoader,
    own_generator,
    rewind_to_whole_step,
)
from data_modules.loading.workers import loading

WORDS = {"train": "train", "val": "validate", "test": "test", "predict": "predict"}
"""What is done with the examples of each loader."""


class Loaders(LightningDataModule):
    """A data module whose order does not depend on how many processes share it, nor on interruptions.

    A Trainer over several processes must be told ``use_distributed_sampler=False``: batches are shared out here.
    """

    num_workers: int
    augment: str

    def __init__(self) -> None:
        super().__init__()
        self.allow_zero_length_dataloader_with_multiple_devices = True  # fewer predict batches than processes
        self._plan: Plan | None = None

    def images(self, study: Study) -> list[Image.Image]:
        """The images that are shown for a study."""
        raise NotImplementedError

    def connect(
        self,
        *,
        collate: Callable[[list[Item]], Any],
        batch_studies: int,
        seed: int,
        train: Sequence[Example] | None = None,
        val: Sequence[Example] | None = None,
        test: Sequence[Example] | None = None,
        predict: Sequence[Example] | None = None,
        steps: int | None = None,
        accumulate: int = 1,
        skip_batches: frozenset[int] = frozenset(),
    ) -> None:
        """What the next stage iterates.

        Args:
            collate: list of (example, its images) to a batch.
            batch_studies: studies of a batch of one process.
            seed: of the training order.
            train: examples of the training stream.
            val, test: examples of validation and test, in this order, each once; without any, a fit is not validated.
            predict: examples of the prediction, in this order.
            steps: optimiser steps of the whole training, which is one epoch to Lightning then; None: an epoch is one
                pass over the examples, and the end is the Trainer's (``max_epochs``, ``max_steps``).
            accumulate: batches of an optimiser step.
            skip_batches: numbers of prediction batches that are done.

        Raises:
            ValueError: a count is not positive.
        """
        if batch_studies < 1 or accumulate < 1:
            raise ValueError(f"batch_studies and accumulate must be >= 1, got {batch_studies} and {accumulate}")
        length = None if steps is None else steps * accumulate
        self._plan = Plan(collate, batch_studies, seed, train, val, test, predict, length, accumulate, skip_batches)

    def train_dataloader(self) -> DataLoader:
        """Seeded batches; a resumed fit goes on where the checkpoint stopped. See ``sampler.py``."""
        plan, rank, world = self._connected("train"), *self._place()
        if self.trainer is not None and self.trainer.fit_loop.restarting:
            rewind_to_whole_step(self.trainer.fit_loop.epoch_loop, plan.accumulate)
        sampler = ResumableBatchSampler(
            len(plan.train),
            batch_studies=plan.batch_studies,
            seed=plan.seed,
            rank=rank,
            world=world,
            length=plan.length,
            position=self._batches_trained,
            ends=plan.length is None,
            accumulate=1 if plan.length is None else plan.accumulate,  # Lightning ends a pass with a step
        )
        return ResumableLoader(
            ExampleSet(plan.train, self.images, AUGMENT[self.augment], plan.seed),
            batch_sampler=sampler,
            collate_fn=plan.collate,
            order=plan.order(world),
            **self._workers(),
        )

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        """Batches in a fixed order, undisturbed: this process's share, as many as each other process has. None at all
        in a fit that was connected without validation examples."""
        fitting = self.trainer is not None and self.trainer.state.fn == TrainerFn.FITTING
        if fitting and self._plan is not None and not self._plan.val:
            return []
        return self._evaluated("val")

    def test_dataloader(self) -> DataLoader:
        """As `val_dataloader`, of the test examples."""
        return self._evaluated("test")

    def predict_dataloader(self) -> DataLoader:
        """``(batch number, collated)`` in order; this process's share, without ``skip_batches``."""
        plan, rank, world = self._connected("predict"), *self._place()
        return self._in_order(
            NumberedBatches(
                ExampleSet(plan.predict, self.images),
                plan.collate,
                batch_studies=plan.batch_studies,
                skip=plan.skip,
                rank=rank,
                world=world,
            )
        )

    def _evaluated(self, kind: str) -> DataLoader:
        plan, rank, world = self._connected(kind), *self._place()
        items = ExampleSet(getattr(plan, kind), self.images)
        batches = EvenBatches(items, plan.collate, batch_studies=plan.batch_studies, rank=rank, world=world)
        return self._in_order(batches)

    def _in_order(self, batches: Any) -> DataLoader:
        return DataLoader(batches, batch_size=None, generator=own_generator(), **self._workers())

    def _workers(self) -> dict[str, Any]:
        """Page-locked memory is for copies to a GPU."""
        return {**loading(self.num_workers), "pin_memory": torch.cuda.is_available()}

    def _connected(self, kind: str) -> Plan:
        if self._plan is None or not getattr(self._plan, kind):
            what = WORDS[kind]
            raise DataError(f"There is nothing to {what} on: call connect({kind}=...) with at least one example first.")
        return self._plan

    def _place(self) -> tuple[int, int]:
        """This process's rank among those that see different data, and their number.

        Raises:
            ConfigError: Lightning would share the batches out a second time.
        """
        share = self.trainer.distributed_sampler_kwargs if self.trainer is not None else None
        if not share or share["num_replicas"] == 1:
            return 0, 1
        if self.trainer._accelerator_connector.use_distributed_sampler:
            raise ConfigError(
                "Trainer(use_distributed_sampler=True), which is Lightning's default, would give each of the "
                f"{share['num_replicas']} processes a share of its share of the studies. Pass "
                "use_distributed_sampler=False: the data module shares them out itself."
            )
        return share["rank"], share["num_replicas"]

    def _batches_trained(self) -> int:
        return 0 if self.trainer is None else self.trainer.fit_loop.epoch_loop.batch_progress.total.processed
