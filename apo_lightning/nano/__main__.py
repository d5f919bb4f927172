from apo_lightning.nano.pretrain import main

main()
