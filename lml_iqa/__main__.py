"""``python -m lml_iqa``."""

from lml_iqa.main import main

if __name__ == "__main__":
    main()
