"""`python generate_msst.py -c CONFIG -m CKPT -o FOLDER`, as the published code has it: `apollo export msst`.

As there, what lies in the folder under the same names is replaced.
"""

import sys

from apollo.cli import main
from apollo.cli.predecessors import export_words

if __name__ == "__main__":
    sys.argv = ["apollo", *export_words(sys.argv[1:])]
    main()
