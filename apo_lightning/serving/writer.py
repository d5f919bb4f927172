"""The student's place in Lightning's prediction, taken by a server."""

from __future__ import annotations

from concurrent.futures import Future

from apo_lightning.serving.asker import Asker
from apo_lightning.serving.decoding import seed
from apo_lightning.serving.messages import Questions
from apo_lightning.stages.generate import Written
from apo_lightning.stages.staying import Staying
from apo_lightning.types import Answer


class ServedWriter(Staying):
    """Asks about a batch and goes on to the next one: answers of a batch are handed out once all are there, with those
    of a later batch, and what is left at the end by `rest`.

    Args:
        asker: of the server.
        seed: of the run.
        samples: answers a study.
    """

    def __init__(self, asker: Asker, *, seed: int, samples: int) -> None:
        super().__init__()
        self.asker, self.seed, self.samples = asker, seed, samples
        self.asked: dict[int, tuple[list[str], list[Future[Answer]]]] = {}

    def predict_step(self, batch: tuple[int, Questions], batch_idx: int) -> list[Written]:
        """
        Raises:
            ServerError: there is no answer, or a wrong one.
        """
        number, questions = batch
        each = zip(questions.studies, questions.messages, questions.tokens, strict=True)
        asked = [
            self.asker.ask(study, messages, seed(self.seed, study, k), tokens)
            for study, messages, tokens in each
            for k in range(self.samples)
        ]
        self.asked[number] = (questions.studies, asked)
        return [self._written(n) for n, (_, own) in list(self.asked.items()) if all(one.done() for one in own)]

    def rest(self) -> list[Written]:
        """The answers that nobody has been handed yet; waits for them.

        Raises:
            ServerError: see `predict_step`.
        """
        return [self._written(number) for number in list(self.asked)]

    def _written(self, number: int) -> Written:
        studies, asked = self.asked.pop(number)
        answers = [one.result() for one in asked]
        return Written(number, studies, [answers[i : i + self.samples] for i in range(0, len(answers), self.samples)])
