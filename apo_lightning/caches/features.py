"""Image features on disk: a frozen tower looks at an image once, whatever the stage, arm or trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from apo_lightning.caches.tensor_store import TensorStore


class FeatureCache:
    """One row per image: all that the tower gives for it, by name, in the tower's precision.

    Args:
        store: its identity holds what decides the features (the tower's weights and precision, the processor). It
            counts hits, misses and written rows.
    """

    def __init__(self, store: TensorStore) -> None:
        self.store = store

    def read(self, keys: Sequence[bytes]) -> list[dict[str, Tensor] | None]:
        """Features of each image (`keys.image_key`) on the CPU, ``[t, H]`` each; None for an image that is not known.

        Raises:
            ArtifactError: a row is damaged.
        """
        return self.store.get_many(keys)

    def write(self, keys: Sequence[bytes], features: Sequence[Mapping[str, Tensor]]) -> None:
        """Keep the features of each image. Rows that are there already stay."""
        self.store.put_many(zip(keys, features, strict=True))
