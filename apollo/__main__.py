"""`python -m apollo` is the `apollo` command."""

from apollo.cli import main

if __name__ == "__main__":
    main()
