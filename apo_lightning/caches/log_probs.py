"""Top-k log-probs of a teacher's texts on disk: one row a study, in a `TensorStore`.

A row has four tensors, T tokens of the text (its end of turn among them) and K likeliest next tokens at each:

===========  ==========================  ==============================================================
``tokens``   uint8, T ids of b bits      what the text is in the teacher's tokens, see `bits`
``ids``      uint8, T x K ids of b bits  the likeliest tokens, likeliest first
``logps``    ``[T, K]``                  their log-probs at the file's temperature, float32 or float16
``tail``     ``[T]``                     log of the mass of all other tokens, likewise
===========  ==========================  ==============================================================

b is as many bits as the vocabulary needs. A token takes ``K (b / 8 + 4) + b / 8 + 4`` bytes in float32, with K 32 and a
vocabulary of 151,936: 206; float16: 140. float32 is what the model gave; float16 is scaled back to a mass of 1 as it is
read. The identity of the file, readable in its table ``meta``, says K, temperature, precision and bits, and who wrote
the rows: model, prompt, tokenizer, `FIELDS`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from apo_lightning.caches.bits import bits_of, pack, unpack
from apo_lightning.caches.tensor_store import ELSEWHERE, TensorStore
from apo_lightning.errors import ArtifactError, DataError
from apo_lightning.functional.teacher_logits import TopK

PRECISIONS = {"float32": torch.float32, "float16": torch.float16}
FIELDS = ("rows", "k", "temperature", "precision", "bits", "vocabulary")
"""What the identity of every file of log-probs has."""
ROWS = "top-k log-probs 1"


def identity(k: int, temperature: float, precision: str, vocabulary: int, **more: str) -> dict[str, str]:
    """Of a new file; ``more`` says who wrote it."""
    own = dict(k=k, temperature=float(temperature), precision=precision, bits=bits_of(vocabulary))
    return {"rows": ROWS, **{name: str(value) for name, value in own.items()}, "vocabulary": str(vocabulary), **more}


class LogProbs:
    """Rows of one teacher.

    Attributes:
        facts: the file's identity.
        k, temperature, precision, vocabulary: of it.

    Args:
        path: the file.
        facts: its identity (`identity`), to write it; None: to read what is there, whoever wrote it.

    Raises:
        DataError: to be read, and not there.
        ArtifactError: it is no such file, is damaged, or was written by something else.
    """

    def __init__(self, path: Path, facts: Mapping[str, str] | None = None) -> None:
        if facts is None and not Path(path).is_file():
            raise DataError(f"{path} is not there, which is to have top-k log-probs.")
        self.store = TensorStore(path, facts)
        self.facts = dict(facts or self.store.facts())
        if self.facts.get("rows") != ROWS or not set(FIELDS) <= self.facts.keys():
            held = self.facts.get("rows", "something else")
            raise ArtifactError(f"{path} has no top-k log-probs of this form ('{ROWS}') but {held}. {ELSEWHERE}")
        try:
            self.k, self.temperature = int(self.facts["k"]), float(self.facts["temperature"])
            self._bits, self.precision = int(self.facts["bits"]), self.facts["precision"]
            self._dtype = PRECISIONS[self.precision]
            self.vocabulary = int(self.facts["vocabulary"])
        except (ValueError, KeyError) as error:
            raise ArtifactError(f"{path} says of itself what it cannot be ({error}). {ELSEWHERE}") from error

    def write(self, rows: Iterable[tuple[str, Tensor, TopK]]) -> None:
        """Keep rows of studies: study, tokens ``[T]`` of its text, and what was likely at each. A study that has a row
        gets the new one.

        Raises:
            ArtifactError: the disk is full.
        """
        made = []
        for study, tokens, top in rows:
            row = {"tokens": pack(tokens, self._bits), "ids": pack(top.ids, self._bits)}
            made.append((key(study), {**row, "logps": top.logps.to(self._dtype), "tail": top.tail.to(self._dtype)}))
        before = self.store.written
        self.store.put_many(made, replace=True)
        if self.store.written - before < len(made):
            raise ArtifactError(f"{self.store.path} takes no more rows. Make room on the disk, and go on.")

    def tokens(self, study: str) -> Tensor | None:
        """``[T]`` the tokens of a study's text, None where nothing was recorded of it.

        Raises:
            ArtifactError: the row is damaged.
        """
        row = self.store.get_many([key(study)])[0]
        return row and self._tokens(study, row)

    def top_k(self, study: str, tokens: Tensor) -> TopK:
        """Rows ``[T, K]`` of the text ``tokens`` ``[T]`` of a study; of a text that was cut the first ones.

        Raises:
            DataError: nothing was recorded of the study, or something of another text.
            ArtifactError: the row is damaged.
        """
        row = self.store.get_many([key(study)])[0]
        if what := self._difference(study, row and self._tokens(study, row), tokens):
            raise DataError(what)
        count = len(tokens)
        ids = self._ids(study, row["ids"], row["logps"].numel()).view(row["logps"].shape)
        if ids.numel() and int(ids.max()) >= self.vocabulary:
            raise self._damaged(study, f"token {int(ids.max())} of {self.vocabulary}")
        logps, tail = row["logps"][:count].float(), row["tail"][:count].float()
        if self._dtype != torch.float32:
            total = torch.cat([logps, tail[:, None]], 1).logsumexp(-1)
            logps, tail = logps - total[:, None], tail - total
        try:
            return TopK(ids[:count], logps, self.temperature, tail)
        except ValueError as error:
            raise self._damaged(study, str(error)) from error

    def difference(self, study: str, tokens: Sequence[int]) -> str | None:
        """Why a text of these tokens cannot be learned from the row of a study, as a sentence; None if it can."""
        return self._difference(study, self.tokens(study), torch.tensor(tokens))

    def _difference(self, study: str, held: Tensor | None, tokens: Tensor) -> str | None:
        if held is None:
            return f"{self.store.path} has no log-probs of study '{study}'."
        if torch.equal(held[: len(tokens)], tokens):
            return None
        same = min(len(held), len(tokens))
        at = next((i for i in range(same) if held[i] != tokens[i]), same)
        there, here = (int(x[at]) if at < len(x) else "no more" for x in (held, tokens))
        return (
            f"{self.store.path} has log-probs of another text of study '{study}': of {len(held)} tokens, the one at "
            f"{at} is {there} there and {here} here."
        )

    def _tokens(self, study: str, row: Mapping[str, Tensor]) -> Tensor:
        logps, tail = row.get("logps"), row.get("tail")
        fits = logps is not None and tail is not None and logps.dim() == 2 and tail.shape == logps.shape[:1]
        if not fits or {"tokens", "ids"} - row.keys() or {logps.dtype, tail.dtype} != {self._dtype}:
            held = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in row.items()}
            raise self._damaged(study, f"it has {held}")
        return self._ids(study, row["tokens"], len(tail))

    def _ids(self, study: str, packed: Tensor, count: int) -> Tensor:
        try:
            return unpack(packed, self._bits, count)
        except ValueError as error:
            raise self._damaged(study, str(error)) from error

    def _damaged(self, study: str, what: str) -> ArtifactError:
        return ArtifactError(f"{self.store.path}: the row of study '{study}' is damaged: {what}. {ELSEWHERE}")


def key(study: str) -> bytes:
    """Under which a study's row lies."""
    return hashlib.sha256(b"log-probs" + study.encode("utf-8", "surrogatepass")).digest()
