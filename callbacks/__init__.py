"""Callbacks, one file each: they observe and write, and never change weights or losses. Beside them an experiment may
name those of Lightning (`of_lightning`).

A class that declares ``observes = True`` may be added to an experiment without training anything again. One that does
not is taken to change what is trained: with it, or with other settings of it, a stage is another stage. The same holds
where one of the settings that it names in ``interferes_with`` is on.
"""

from __future__ import annotations

import sys

from apo_lightning.registry import Registry, discover

CALLBACKS = Registry("callback")
discover(sys.modules[__name__])
