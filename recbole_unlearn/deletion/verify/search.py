"""Search files and folders for what should be gone: list what is clean, what is found, and what cannot be searched."""

import io
import os
import stat
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import PurePath

from recbole_unlearn.deletion.verify import formats as kinds
from recbole_unlearn.deletion.verify import tensors as models
from recbole_unlearn.deletion.verify import text
from recbole_unlearn.deletion.verify.fields import of_names
from recbole_unlearn.deletion.verify.findings import Finding, Scan
from recbole_unlearn.deletion.verify.matcher import answer
from recbole_unlearn.deletion.verify.parts import Hit, Inner, Text, Unsearched
from recbole_unlearn.deletion.verify.sought import Sought
from recbole_unlearn.errors import UsageError

LARGEST = 2**30  # bytes to unpack of one file
DEEPEST = 8  # files in files in a file
UNKNOWN = "of no known format"


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
    compressed files. An optimiser's state, cached embeddings, weights without tokens and pickled objects are always
    findings, because nobody can tell whose rows they hold. The scan lists any other file, and any that cannot be read,
    as not searched.

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
    result = Scan()
    for file, reason in _files(path, searched):
        if reason:
            result.not_searched.append((file, reason))
            continue
        what, findings, reasons = search(
            file, sought, names, searched_name=os.path.relpath(file, path) if file != path else ""
        )
        result.files.append((file, what))
        result.findings.extend(findings)
        result.not_searched.extend((file, reason) for reason in reasons)
    return result


def search(
    file: str, sought: Sought, names: tuple[str, str] = ("user_id", "item_id"), searched_name: str = ""
) -> tuple[str, list[Finding], list[str]]:
    """Search one file.

    Args:
        file: its path.
        sought, names: see :func:`scan`.
        searched_name: the part of the path that may name somebody.

    Returns:
        What was looked for, the findings, and reasons why something was not searched.
    """
    hits, reasons = [], []
    label = ["rows"]
    if searched_name:
        hits.extend(answer(_name(searched_name), sought, names))
    try:
        with open(file, "rb") as stream:
            for part in _parts(os.path.basename(file), stream, sought, names, kinds.Budget(LARGEST), DEEPEST, label):
                (hits if isinstance(part, Hit) else reasons).append(part)
    except OSError as error:
        reasons.append(Unsearched(f"cannot be read: {error.strerror or type(error).__name__}"))

    def without_name(words):
        return "where its name says whose it is" if any(answer(Text("", of_names([words])), sought, names)) else words

    together = {}
    for hit in hits:
        if hit.count:
            known = together.get((hit.place, hit.sure), Hit(without_name(hit.place), 0, hit.sure, hit.first))
            first = hit.first if known.first is None else known.first
            together[hit.place, hit.sure] = Hit(known.place, known.count + hit.count, hit.sure, first)
    findings = [Finding(file, _in_words(hit), hit.count, hit.sure) for hit in together.values()]
    return label[0], findings, list(dict.fromkeys(without_name(part.reason) for part in reasons))


def _files(path, searched) -> Iterator[tuple[str, str | None]]:
    """The files below a path in alphabetical order, each folder once, with a reason where one cannot be searched."""
    pending, seen = [path], set(map(os.path.realpath, searched))
    while pending:
        path = pending.pop()
        try:
            mode = os.stat(path).st_mode
            if stat.S_ISDIR(mode):
                if os.path.realpath(path) not in seen:
                    seen.add(os.path.realpath(path))
                    pending += sorted((entry.path for entry in os.scandir(path)), reverse=True)
            else:
                yield path, None if stat.S_ISREG(mode) else "no file, but a pipe, a socket or a device"
        except OSError as error:
            link = "a link to nothing" if os.path.islink(path) else f"cannot be read: {error.strerror}"
            yield path, link


def _parts(name, stream, sought, names, budget, depth, label) -> Iterator[Hit | Unsearched]:
    """The hits in a file, and reasons why parts of it were not searched."""
    what, parts = _reader(name, stream, names, budget)
    if depth == DEEPEST:
        label[0] = what
    for part in _as_far_as_readable(parts):
        if isinstance(part, Inner):
            if not depth:
                yield Unsearched("files in files, too deep")
                continue
            yield from (_within(part.name, found) for found in answer(_name(part.name), sought, names))
            inner = part.name or os.path.splitext(name)[0]  # rows.yaml of rows.yaml.gz
            for found in _parts(inner, part.stream, sought, names, budget, depth - 1, label):
                yield _within(part.name, found)
            part.stream.close()
        elif isinstance(part, (Hit, Unsearched)):
            yield part
        else:
            yield from answer(part, sought, names)


def _name(path):
    return Text("its name", of_names(PurePath(path).parts), numbers=False)


def _within(name, part):
    if not name:
        return part
    if isinstance(part, Hit):
        return Hit(f"{name}: {part.place}", part.count, part.sure, part.first)
    return Unsearched(f"{name}: {part.reason}")


def _reader(name, stream, names, budget):
    """What to look for in a file, and its parts."""
    if stream.seek(0, io.SEEK_END) == 0:
        return "nothing, as it is empty", ()
    kind = kinds.kind_of(name, stream)
    if kind and kind[0] in ("a zip archive", "pickled objects") and _is_torch(stream, kind[0]):
        return "edges, tokens, embeddings, states of training", models.read_torch(stream, names)
    stream.seek(0)
    if kind:
        return f"rows and texts, as {kind[0]}", kind[1](stream, budget)
    if models.is_safetensors(stream):
        return "edges, tokens, embeddings", models.read_safetensors(stream, names)
    encodings = text.encodings_of(stream)
    if encodings:
        return f"rows and fields of text, {' or '.join(encodings)}", _texts(name, stream, encodings, names)
    return "text in it", _binary(stream)


def _is_torch(stream, kind):
    """Whether to let torch read a file, which it does without running anything."""
    stream.seek(0)
    if kind == "pickled objects":
        return True
    try:
        with zipfile.ZipFile(stream) as archive:
            entries = archive.infolist()
            return (
                any(PurePath(e.filename).name == "data.pkl" for e in entries)
                and sum(e.file_size for e in entries) <= LARGEST
            )
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


def _texts(name, stream, encodings, names):
    for encoding in encodings:
        yield from text.read(name, stream, encoding, names)
    if encodings[0] in ("utf-16-le", "utf-16-be"):  # without a mark, other bytes could pass for it
        yield from kinds.runs(stream)


def _binary(stream):
    yield from kinds.runs(stream)
    yield Unsearched(UNKNOWN)


def _as_far_as_readable(parts):
    try:
        yield from parts
    except kinds.TooLarge as error:
        yield Unsearched(str(error))
    except Exception as error:  # of any reader; the rest of the file was not searched
        reason = "it is damaged" if isinstance(error, UsageError) else type(error).__name__
        yield Unsearched(f"cannot be read to its end ({reason})")


def _in_words(hit):
    """A place, with the number of its first row if its rows have numbers."""
    if hit.first is None:
        return hit.place
    return f"{hit.place} {hit.first} and {hit.count - 1} more" if hit.count > 1 else f"{hit.place} {hit.first}"
