"""Restore music as the predecessors' commands do.

    python inference.py --in_wav=damaged.wav --out_wav=restored.wav
    python inference.py -m MODEL -i IN -o OUT
    python inference.py --in_dir IN --out_dir OUT --crossover 4000 --dry_wet 0.8

All other options are those of `apollo restore`. What shows no damage is restored too, and results are replaced.
"""

import sys

from apollo.cli import main
from apollo.cli.predecessors import restore_words

if __name__ == "__main__":
    sys.argv = ["apollo", *restore_words(sys.argv[1:])]
    main()
