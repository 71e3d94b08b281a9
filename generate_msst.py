"""`python generate_msst.py -c CONFIG -m CKPT -o FOLDER`, as the published code has it: `apollo export msst`."""

import sys

from apollo.cli import main

if __name__ == "__main__":
    sys.argv[:1] = ["apollo", "export", "msst"]
    main()
