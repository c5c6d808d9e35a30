"""The commands of ``run-unlearn``, a module each.

A module has ``add_arguments(parser)`` and ``run(arguments)``, which returns the exit code. What else it may have:
``TAKES_SETTINGS``, whether ``--key=value`` of any setting is allowed and comes as ``arguments.settings``, a dict of
strings; ``EXAMPLES``; and ``AFTER_INTERRUPTION``.
"""
