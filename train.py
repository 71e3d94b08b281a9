"""`python train.py -c CONFIG [-m CKPT] [key=value ...]`, as the published code has it: `apollo train`."""

import sys

from apollo.cli import main

if __name__ == "__main__":
    sys.argv[:1] = ["apollo", "train"]
    main()
