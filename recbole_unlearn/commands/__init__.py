"""The commands of ``run-unlearn``: a module each, with its arguments and what it runs."""
