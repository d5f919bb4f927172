"""``python -m apo_lightning``."""

import sys

from apo_lightning.cli import main

if __name__ == "__main__":
    sys.exit(main())
