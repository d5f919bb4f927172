import sys

from apo_lightning.nano.pretrain import main

sys.exit(main())
