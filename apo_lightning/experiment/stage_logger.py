"""Lightning's logger of W&B as a stage uses it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only


class StageLogger(WandbLogger):
    """Lightning's logger of W&B for one fit. The run's config holds all settings of the arm already, so it takes no
    hyperparameters, and the run ends with the fit, as failed where the fit has failed.

    Args:
        prefix: of all keys, with a step of their own: for the run of a trial, which stays open.
        settings: of the run, as `wandb.init` takes them.
    """

    LOGGER_JOIN_CHAR = "/"

    def __init__(self, *given: Any, **how: Any) -> None:
        super().__init__(*given, **how)
        self._wandb_init.pop("anonymous")  # Lightning hands on a None, of which W&B warns that it has no effect

    def log_hyperparams(self, params: Any) -> None:
        """Takes nothing."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        if not self._prefix:
            super().log_metrics(metrics, step)
            return
        own = {f"{self._prefix}/{name}": value for name, value in metrics.items()}
        self.experiment.log(own if step is None else own | {f"{self._prefix}/step": step})

    @rank_zero_only
    def finalize(self, status: str) -> None:
        super().finalize(status)
        if self._experiment is not None and not self._prefix:
            self._wandb_init["id"] = self._experiment.id  # with which the run would go on
            self._experiment.finish(exit_code=int(status != "success"))
            self._experiment = None
