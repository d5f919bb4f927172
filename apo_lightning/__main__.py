"""``python -m apo_lightning``, and the command ``apo``."""

from __future__ import annotations

import sys
from contextlib import nullcontext

from apo_lightning import signals
from apo_lightning.errors import ApoError
from apo_lightning.experiment import membership


def entry() -> int:
    """The command line, with signals heard from before its imports to the end of the process. Returns its status."""
    try:
        with nullcontext() if membership.is_member() else signals.raised(to_the_end=True):
            from apo_lightning.cli.commands import main

            return main()
    except ApoError as error:  # of the working folder's own code, which is found in an import
        from apo_lightning.console import show_error

        show_error(str(error))
        return 2
    except signals.Stopped as stop:  # in an import
        print("\nstopped. Nothing had begun.", file=sys.stderr)
        return 128 + stop.signum


if __name__ == "__main__":
    sys.exit(entry())
