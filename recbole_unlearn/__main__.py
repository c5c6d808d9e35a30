"""``python -m recbole_unlearn``: the same as ``run-unlearn``."""

from recbole_unlearn.command_line import main

if __name__ == "__main__":
    main()
