"""Search files and folders for what should be gone: list what is clean, what is found, and what cannot be searched."""

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import PurePath
from typing import Any

from recbole_unlearn.deletion.verify.fields import of_names
from recbole_unlearn.deletion.verify.findings import Finding, Scan, joined
from recbole_unlearn.deletion.verify.formats import reader_of
from recbole_unlearn.deletion.verify.matcher import answer
from recbole_unlearn.deletion.verify.parts import Budget, File, Hit, Text, TooLarge, Unsearched
from recbole_unlearn.deletion.verify.sought import Sought
from recbole_unlearn.errors import UsageError

LARGEST = 2**30  # bytes to unpack of one file
DEEPEST = 8  # files in files in a file
Ask = Callable[[Any], Iterable[Hit | Unsearched]]  # of a part: what in it should be gone


def scan(
    path: str | os.PathLike,
    sought: Sought,
    names: tuple[str, str] = ("user_id", "item_id"),
    searched: Iterable[str] = (),
) -> Scan:
    """Search a file, or all files below a folder, for what should be gone.

    The content of a file decides how it is read, not its name. The search looks for rows in tables with known columns,
    Parquet files, databases and JSON; for whole fields in other text; for edges, tokens, texts and embeddings that
    distinguish erased nodes in model files of this package; and for all of these in the content of archives and
    compressed files. Weights without tokens and pickled objects, among them states of training, are always findings,
    because nobody can tell whose rows they hold. The scan lists any other file, and any that cannot be read, as not
    searched.

    Args:
        path: a file or a folder; links are followed, each folder once.
        sought: knows what should be gone.
        names: of the user and the item column.
        searched: folders to leave out, because they were searched before.

    Raises:
        UsageError: the path does not exist.
    """
    path = os.fspath(path)
    if not os.path.lexists(path):
        raise UsageError(f"There is nothing to scan at '{path}': it does not exist.")
    ask = partial(answer, sought=sought, names=names)
    return joined(
        Scan(not_searched=[(file, reason)])
        if reason
        else _search(file, os.path.relpath(file, path) if file != path else "", names, ask)
        for file, reason in _files(path, searched)
    )


def _files(path: str, searched: Iterable[str]) -> Iterator[tuple[str, str | None]]:
    """The files below a path in alphabetical order, each folder once, with a reason where one cannot be searched."""
    pending, seen = [path], set(map(os.path.realpath, searched))
    while pending:
        path = pending.pop()
        try:
            mode = os.stat(path).st_mode
            if not stat.S_ISDIR(mode):
                yield path, None if stat.S_ISREG(mode) else "no file, but a pipe, a socket or a device"
            elif os.path.realpath(path) not in seen:
                seen.add(os.path.realpath(path))
                pending += sorted((entry.path for entry in os.scandir(path)), reverse=True)
        except OSError as error:
            yield path, "a link to nothing" if os.path.islink(path) else f"cannot be read: {error.strerror}"


def _search(path: str, shown_name: str, names: tuple[str, str], ask: Ask) -> Scan:
    """Search one file, and the part of its path that may name somebody."""
    what, found = "nothing", [*ask(_name(shown_name))]
    try:
        with open(path, "rb") as stream:
            file = File(os.path.basename(path), stream, names, Budget(LARGEST))
            what = reader_of(file)[0]
            found += _found(file, ask, DEEPEST)
    except OSError as error:
        found.append(Unsearched(f"cannot be read: {error.strerror or type(error).__name__}"))
    together: dict[tuple[str, bool], Hit] = {}
    for hit in found:
        if isinstance(hit, Hit) and hit.count:
            known = together.get((hit.place, hit.sure), replace(hit, count=0))
            first = hit.first if known.first is None else known.first
            together[hit.place, hit.sure] = replace(hit, count=known.count + hit.count, first=first)

    def without_name(words):
        return "where its name says whose it is" if any(ask(Text("", of_names([words])))) else words

    findings = [
        Finding(path, _in_words(replace(hit, place=without_name(hit.place))), hit.count, hit.sure)
        for hit in together.values()
    ]
    reasons = dict.fromkeys(without_name(part.place) for part in found if isinstance(part, Unsearched))
    return Scan([(path, what)], findings, [(path, reason) for reason in reasons])


def _found(file: File, ask: Ask, depth: int) -> Iterator[Hit | Unsearched]:
    """The hits in a file and in files within it, and reasons why parts of them were not searched."""
    for part in _as_far_as_readable(file):
        if isinstance(part, (Hit, Unsearched)):
            yield part
        elif not isinstance(part, File):
            yield from ask(part)
        elif not depth:
            yield Unsearched("files in files, too deep")
        else:
            with closing(part.stream):
                for found in chain(ask(_name(part.member)), _found(part, ask, depth - 1)):
                    yield replace(found, place=f"{part.member}: {found.place}") if part.member else found


def _as_far_as_readable(file):
    try:
        yield from reader_of(file)[1](file)
    except TooLarge as error:
        yield Unsearched(str(error))
    except Exception as error:  # of any reader; the rest of the file was not searched
        reason = "it is damaged" if isinstance(error, UsageError) else type(error).__name__
        yield Unsearched(f"cannot be read to its end ({reason})")


def _name(path):
    return Text("its name", of_names(PurePath(path).parts), numbers=False)


def _in_words(hit):
    """A place, with the number of its first row if its rows have numbers."""
    if hit.first is None:
        return hit.place
    return f"{hit.place} {hit.first} and {hit.count - 1} more" if hit.count > 1 else f"{hit.place} {hit.first}"
