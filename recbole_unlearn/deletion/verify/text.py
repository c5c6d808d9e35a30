"""Read text of any kind: tables, JSON, YAML, markup, and whatever else has lines."""

import codecs
import csv
import io
import json
import re
from typing import Any, BinaryIO

import numpy as np
import yaml

from recbole_unlearn.deletion.verify.fields import WHOLE, is_number
from recbole_unlearn.deletion.verify.parts import File, Parts, Records, Rows, Text

ROWS = 200_000  # of a table in memory at a time
CHARACTERS = 2**20  # of other text
OVERLAP = 2**12  # characters of a long line that are read again with the next chunk
WHOLE_DOCUMENT = 2**26  # the most bytes of JSON or YAML to parse as one document
HEAD = 2**16  # bytes that show the kind of a text
CONTROL = bytes(set(range(32)) - set(b"\t\n\r\f\x08\x1b")) + b"\x7f"
SEPARATORS = "\t,;| "
TABLES = (".inter", ".user", ".item", ".net", ".link", ".kg")  # RecBole's, whose other columns have types
CLOSED_TWICE = re.compile(r"(</[\w:]+>\s*</(?:\w+:)?\w+>)")
HTML_RECORDS = re.compile(r"(</(?:tr|li|p|div|h\d|section|option|table)>|<br\s*/?>)", re.IGNORECASE)
BOMS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32", codecs.BOM_UTF8: "utf-8-sig"}
BOMS |= {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def encodings_of(stream: BinaryIO) -> list[str]:
    """The encodings in which to read a stream as text; none if it is no text.

    These are UTF-8; UTF-16 and UTF-32 with their mark, and UTF-16 without one; otherwise both UTF-8, as far as it goes,
    and Latin-1.
    """
    stream.seek(0)
    head = stream.read(HEAD)
    marked = [name for mark, name in BOMS.items() if head.startswith(mark)]
    if marked:
        return [name for name in marked[:1] if _is_text(stream, name)]
    if b"\0" in head:
        halves = head[: len(head) // 2 * 2]
        name = "utf-16-le" if halves[1::2].count(0) >= halves[0::2].count(0) else "utf-16-be"
        return [name] if _is_text(stream, name) else []
    if _is_text(stream, "utf-8"):
        return ["utf-8"]
    return ["utf-8", "latin-1"] if _is_text(stream, "latin-1") else []


def _is_text(stream, encoding):
    """Whether all of a stream can be decoded and has no control characters."""
    stream.seek(0)
    decoder = codecs.getincrementaldecoder(encoding)()
    control = dict.fromkeys([*CONTROL, *range(0x80, 0xA0)] if encoding == "latin-1" else CONTROL)
    try:
        while chunk := stream.read(CHARACTERS):
            text = decoder.decode(chunk)
            if len(text.translate(control)) < len(text):
                return False
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def read(file: File, encoding: str) -> Parts:
    """Read a text file in the way that fits its content, in one of its :func:`encodings_of`."""
    csv.field_size_limit(2**31 - 1)  # JSON may be one line, and an unclosed quote takes in the rest of the file
    size, name = file.stream.seek(0, io.SEEK_END), file.name.lower()
    errors = "strict" if encoding.startswith("utf-16") else "surrogateescape"
    reader = io.TextIOWrapper(file.stream, "utf-8-sig" if encoding == "utf-8" else encoding, errors)
    try:
        reader.seek(0)
        start = reader.read(HEAD).lstrip("\ufeff \t\r\n")
        reader.seek(0)
        separator, columns = _header(reader.readline(), file.id_names)
        reader.seek(0)
        if start[:1] in ("{", "[") and (records := _json(reader, size)) is not None:
            yield from records
        elif columns:
            reader.reconfigure(newline="")  # allowed, as nothing was read since seek(0)
            numbers = len(columns) == 1 and not name.endswith(TABLES)
            yield from _table(reader, separator, columns, file.id_names, numbers)
        elif start[:1] == "<" and size <= WHOLE_DOCUMENT:
            yield from _markup(reader.read())
        else:
            yield from _lines(reader)
            if name.endswith((".yaml", ".yml")) and size <= WHOLE_DOCUMENT:
                reader.seek(0)
                yield from _yaml(reader.read())
    finally:
        reader.detach()  # else it closes the stream


def _header(line, names):
    """The separator of a table, and the positions of the named columns that it has."""
    found = {}
    for separator in SEPARATORS:
        cells = [
            cell.split(":")[0].strip() for cell in next(csv.reader([line.rstrip("\r\n")], delimiter=separator), [])
        ]
        found[separator] = {name: cells.index(name) for name in names if name in cells}
    separator = max(found, key=lambda separator: len(found[separator]))
    return separator, found[separator]


def _table(lines, separator, columns, names, numbers):
    """The rows of delimited text.

    The search asks about the id columns in pairs, or about users or items alone if there is only one of these columns.
    In other columns, plain numbers are tokens only if ``numbers`` is True, or in lists of ids (``item_id_list``).
    """
    reader = csv.reader(lines, delimiter=separator)
    header = next(reader)
    first = number = reader.line_num + 1
    rows: list[list[str]] = []
    for row in reader:
        rows.append(row)
        if reader.line_num > number:  # a quoted cell of several lines, which may be rows
            yield Text("lines in a cell of row", "\n".join(row), None)
        rows += [[]] * (reader.line_num - number)
        number = reader.line_num + 1
        if len(rows) >= ROWS:
            yield from _rows(rows, first, header, columns, names, numbers)
            first, rows = number, []
    yield from _rows(rows, first, header, columns, names, numbers)


def _rows(rows, first, header, columns, names, numbers):
    users, items = (_column(rows, columns.get(name)) for name in names)
    bare = tuple(np.frompyfunc(_bare, 1, 1)(side) for side in (users, items))
    changed = any((one != other).any() for one, other in zip(bare, (users, items)))
    yield Rows("row", users, items, first, bare if changed else None)
    others = set(range(len(header))) - set(columns.values())
    for place, (name, _, kind) in enumerate(cell.partition(":") for cell in header):
        if "float" in kind:
            others.discard(place)
        if name.strip() in (f"{names[0]}_list", f"{names[1]}_list"):
            yield Rows("list of ids of row", *_listed(rows, place, users, items, name.strip() == f"{names[1]}_list"))
    rest = [
        "\t".join(cell for place, cell in enumerate(row) if place in others or place >= len(header)) for row in rows
    ]
    if any(cell and (numbers or not is_number(cell)) for cell in set(rest)):
        yield Text("other column of row", "\n".join(map(_one_line, rest)), first, numbers, list(zip(users, items)))


def _one_line(text):
    return text.replace("\n", " ").replace("\r", " ")


def _column(rows, place):
    """A column as an object array, None where it is empty or missing."""
    values = np.full(len(rows), None, dtype=object)
    if place is not None:
        values[:] = [(row[place] or None) if place < len(row) else None for row in rows]
    return values


def _bare(token):
    """A token without surrounding spaces, and without the .0 of an id that went through a float."""
    bare = token and token.strip()
    return match[1] if bare and (match := WHOLE.fullmatch(bare)) else bare


def _listed(rows, place, users, items, is_item):
    """Users and items of a column of lists of ids, each with the other id of its row."""
    pairs = [(row, token) for row, cells in enumerate(rows) if place < len(cells) for token in cells[place].split()]
    tokens, of = np.array([token for _, token in pairs], dtype=object), [row for row, _ in pairs]
    return (users[of], tokens) if is_item else (tokens, items[of])


def _lines(reader, place="line"):
    """Text in chunks that end at a line's end, or within a very long line."""
    first, rest = 1, ""
    while chunk := reader.read(CHARACTERS):
        text, newline, rest = (rest + chunk).rpartition("\n")
        if newline:
            yield Text(place, text, first)
            first += text.count("\n") + 1
        elif len(rest) > CHARACTERS:
            yield Text(place, rest, first)
            rest = rest[-OVERLAP:]
    if rest:
        yield Text(place, rest, first)


def _json(reader, size):
    """The records of a JSON document, or of one document a line; None if the text is neither."""
    try:
        if size <= WHOLE_DOCUMENT:
            content = _parsed(reader.read())
            return [Records("record", content, 1) if isinstance(content, list) else Records("record", [content])]
    except (ValueError, RecursionError):
        pass
    try:
        reader.seek(0)
        _parsed(next(line for line in iter(reader.readline, "") if line.strip()))
        return _json_lines(reader)
    except (ValueError, RecursionError, StopIteration):
        return None
    finally:
        reader.seek(0)


def _json_lines(reader):
    """JSON documents, one a line; other lines are searched as text."""
    first, records = 1, []
    for number, line in enumerate(reader, 1):
        try:
            records.append(_parsed(line) if line.strip() else None)
        except (ValueError, RecursionError):
            records.append(None)
            yield Text("line", line.rstrip("\n"), number)
        if len(records) >= ROWS:
            yield Records("row", records, first)
            first, records = number + 1, []
    yield Records("row", records, first)


def _parsed(text: str) -> Any:
    """JSON with numbers as written, and with a separate entry for each repeated name."""

    def entries(pairs):
        content: dict[str, Any] = {}
        for key, value in pairs:
            content[key if key not in content else f"{key}:{len(content)}"] = value
        return content

    return json.loads(text, parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=entries)


def _yaml(text):
    """The documents of YAML, whose records span several lines. Text that is no YAML was searched as lines."""
    try:
        documents = list(yaml.load_all(text, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader)))
    except (yaml.YAMLError, RecursionError):
        return
    for document in documents:
        yield Records("record", document if isinstance(document, list) else [document])


def _markup(text):
    """HTML or XML as lines that end with a row, an entry or an element that has elements."""
    ends = HTML_RECORDS if re.search("<(html|table|body|div|p|ul)[ >]", text, re.IGNORECASE) else CLOSED_TWICE
    text = ends.sub(r"\1\n", re.sub(r"\s*\n\s*", " ", text))
    yield from _lines(io.StringIO(text), "passage")
