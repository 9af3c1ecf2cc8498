"""``python -m lml_iqa``."""

from lml_iqa.cli import main

if __name__ == "__main__":
    main()
