"""Names to classes, for backbones and for unlearning methods."""

from recbole_unlearn.errors import unknown


class Registry:
    """Classes found by their ``__name__``.

    Args:
        kind (str): what is registered, for messages: ``"model"`` or ``"unlearning method"``.
    """

    def __init__(self, kind):
        self.kind = kind
        self._classes = {}

    def register(self, cls):
        """Class decorator: make ``cls`` known under its own name.

        Raises:
            ValueError: another class already has this name.
        """
        other = self._classes.get(cls.__name__, cls)
        if other.__module__ != cls.__module__:
            raise ValueError(f"Two classes for {self.kind} '{cls.__name__}': {other.__module__} and {cls.__module__}.")
        self._classes[cls.__name__] = cls  # a class defined again, as in a notebook, replaces itself
        return cls

    def __getitem__(self, name):
        """The class of this name.

        Raises:
            UsageError: no such name; lists those that exist.
        """
        if name not in self._classes:
            raise unknown(self.kind, name, self._classes)
        return self._classes[name]

    def __iter__(self):
        return iter(sorted(self._classes))
