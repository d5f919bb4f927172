"""Lightning's own callbacks, by the names of their classes."""

from __future__ import annotations

from lightning.pytorch import callbacks as lightning

from callbacks import CALLBACKS

OBSERVERS = frozenset(
    {
        lightning.DeviceStatsMonitor,
        lightning.LearningRateMonitor,
        lightning.ModelSummary,
        lightning.RichModelSummary,
        lightning.RichProgressBar,
        lightning.ThroughputMonitor,
        lightning.TQDMProgressBar,
    }
)
"""Those that only look: adding one trains nothing again."""

BASE = "It is a base class, or takes functions: write yours as one file in callbacks/."
STORED = "stages.<stage>.checkpoint_every says how often a stage is saved, stages.<stage>.keep what it hands on."
LOOKS_FOR = "Name the value itself, as stages.<stage>.{}; a sweep looks for it (experiments/sweeps)."
CALLBACKS.elsewhere |= {
    "metrics_jsonl": "metrics.jsonl is always written, by a logger: leave the callback out.",
    "trajectory_writer": "What a student writes is always filed: leave the callback out.",
    "Callback": BASE,
    "Checkpoint": BASE,
    "ProgressBar": BASE,
    "BaseFinetuning": BASE,
    "BasePredictionWriter": BASE,
    "LambdaCallback": BASE,
    "ModelCheckpoint": STORED,
    "OnExceptionCheckpoint": STORED,
    "GradientAccumulationScheduler": "stages.<stage>.accumulate says how many batches a step has.",
    "BatchSizeFinder": LOOKS_FOR.format("batch_studies"),
    "LearningRateFinder": LOOKS_FOR.format("optim.lr"),
    "BackboneFinetuning": "student.adapter says what is trained.",
    "ModelPruning": "A student is stored without the masks of pruned weights.",
    "SpikeDetection": "failure_signatures watches what a stage learns, and with stop=true ends it.",
    "Timer": (
        "A time would make the result of a stage depend on the machine: stages.<stage>.steps says how long it trains, "
        "and throughput measures."
    ),
}

for _name in lightning.__all__:
    if _name not in CALLBACKS.elsewhere:
        CALLBACKS.register(_name)(getattr(lightning, _name))
