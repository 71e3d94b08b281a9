"""`python train.py [-c CONFIG] [-m CKPT] [key=value ...]`, as the published code has it: `apollo train`."""

import sys
from pathlib import Path

from apollo.cli import main
from apollo.cli.predecessors import train_words

if __name__ == "__main__":
    sys.argv = ["apollo", *train_words(sys.argv[1:], Path(__file__).parent)]
    main()
