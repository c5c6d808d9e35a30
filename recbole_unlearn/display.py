"""One line for a whole run, at the bottom of a terminal: which step runs, how far it is, and what is left.

Whatever counts something says so here (:func:`show`, :func:`counted`), and need not know whether anybody looks.
Without a terminal there is no line, and the log says which step begins.
"""

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from time import perf_counter
from typing import Any, TypeVar

from tqdm import tqdm

from recbole_unlearn.progress import Progress, duration

T = TypeVar("T")
FORM = "|{bar:16}| {desc}"


class Display:
    """The line of a run while a block runs; what is logged meanwhile appears above it, and at its end it is gone.

    Processes that this one starts have none, so that nothing interleaves.

    Args:
        steps, known: see :class:`~recbole_unlearn.progress.Progress`.
        wanted: the setting ``show_progress``; there is a line only if standard error is a terminal, too.
    """

    def __init__(self, steps: Sequence[str], known: Mapping[str, float], wanted: bool = True) -> None:
        self._progress, self._wanted = Progress(steps, known), wanted
        self.known = self._progress.known  # seconds of steps, to add to
        self._step = self._counting = self._noted = ""
        self._first = self._done = 0
        self._since = perf_counter()
        self._bar: tqdm | None = None
        self._process = os.getpid()

    def __enter__(self) -> "Display":
        _displays.append(self)
        self._patches = ExitStack()
        if self._wanted and sys.stderr.isatty():
            self._bar = tqdm(total=1, bar_format=FORM, leave=False, dynamic_ncols=True, file=sys.stderr)
            for handler in logging.getLogger().handlers:
                if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
                    self._write_above(handler, "emit")
            self._write_above(warnings, "showwarning")
        return self

    def __exit__(self, *_: object) -> None:
        self._patches.close()
        if self._bar is not None:
            self._bar.close()
        _displays.remove(self)

    def begin(self, step: str) -> str:
        """Begin a step; returns what to log of it, e.g. ``step 3 of 9, about 4 min left``."""
        text = self._progress.begin(step)
        self._step, self._counting, self._noted = step, "", ""
        self._draw("", 0, 1)
        return text

    def show(self, what: str, done: int, of: int) -> None:
        """Show how far the present step is: so many of all epochs, say."""
        if what != self._counting or done <= self._done:  # another training begins anew
            self._counting, self._noted, self._since = what, "", perf_counter()
            self._first = done
        self._done = done
        self._draw(f"{what} {done} of {of}", done, of)

    def note(self, text: str) -> None:
        """Show a number beside, until something else is counted: the last value of a metric."""
        self._noted = text

    def _draw(self, inner, done, of):
        if self._bar is None or os.getpid() != self._process:
            return
        left = self._progress.left()
        if not left and self._first < done < of:
            rest = (perf_counter() - self._since) / (done - self._first) * (of - done)
            left = f"about {duration(rest)} left of it"
        self._bar.total, self._bar.n = of, done
        place = f"{self._progress.place()}, {self._step}"
        said = ", ".join(filter(None, (inner, self._noted, left)))
        self._bar.set_description_str(f"{place}: {said}" if said else place, refresh=True)

    def _write_above(self, owner: Any, name: str) -> None:
        """Let a function that writes to the terminal write above the line, until the block ends."""
        write: Callable[..., Any] = getattr(owner, name)
        bar = self._bar
        assert bar is not None

        def written(*arguments, **options):
            with bar.get_lock():
                bar.clear()
                write(*arguments, **options)
                bar.refresh()

        own = name in vars(owner)
        setattr(owner, name, written)
        self._patches.callback(*((setattr, owner, name, write) if own else (delattr, owner, name)))


_displays: list[Display] = []  # of the runs of this process, the innermost last


def show(what: str, done: int, of: int) -> None:
    """Show how far a step is, if there is a display."""
    if _displays:
        _displays[-1].show(what, done, of)


def note(text: str) -> None:
    """Show a number beside what is counted, if there is a display."""
    if _displays:
        _displays[-1].note(text)


def counted(items: Iterable[T], what: str, of: int) -> Iterator[T]:
    """Items of an iterable, with how many there were so far on the display."""
    show(what, 0, of)
    for number, item in enumerate(items, start=1):
        show(what, number, of)
        yield item
