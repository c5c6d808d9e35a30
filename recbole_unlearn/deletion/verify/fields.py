"""The whole fields of a text: all that a reader, a program or a person could take for one token."""

import base64
import binascii
import html
import re
import unicodedata
from collections.abc import Iterable, Iterator
from urllib.parse import unquote

CELLS = [re.compile(rf"[\n{separator}]") for separator in ("\t", ",", ";", "|", "\t,;|")]
QUOTED = re.compile(r'"((?:[^"\\\n]|\\.|"")*)"' r"|'((?:[^'\\\n]|\\.|'')*)'")
WORDS = re.compile(r"[\s,;|\"'`\[\]{}()<>=\\]+")  # of a log or a program
FINER = re.compile(r"[^\w@.+\-]+")  # of a path, an address, key:value
PARTS = re.compile(r"([\W_]+)")  # of a name such as export-u17.csv
MOST_PARTS = 24
EDGES = ".:!?-_+ \t\r\"'"
NUMBER = re.compile(r"[-+]?\d+(?:[.,:/T+-]\d+)*(?:[eE][-+]?\d+)?Z?")  # also dates and times
WHOLE = re.compile(r"(-?\d+)\.0+")  # an id that went through a float
BASE64 = re.compile(r"(?=.)(?:[\w+/-]{4})*(?:[\w+/-]{2}==|[\w+/-]{3}=)?", re.ASCII)
LONGEST = 512  # characters of a token
# Separators without a space after them: cells, not one token.
ROW = re.compile(r"[^,;|\t]*([,;|\t])[^\s,;|][^,;|\t]*\1[^\s,;|]")
ESCAPED = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|([\"'/\\nrt]))")
PERCENT = re.compile(r"%[0-9a-fA-F]{2}")
ENTITY = re.compile(r"&#?\w+;")
PLAIN = {"n": "\n", "r": "\r", "t": "\t"}


def is_number(token: str) -> bool:
    """Whether a token could be a plain number, which may be anything in a text without columns."""
    return NUMBER.fullmatch(token) is not None


def fields(text: str) -> set[str]:
    """All whole fields of a text, in every reading.

    Fields are lines; cells between tabs, commas, semicolons or bars; quoted texts; words between these, spaces and
    brackets; and finer words between other signs, but not hyphens and dots. This decodes escapes of JSON, HTML and
    addresses, ids that went through a float (17.0), and base64. Both Unicode forms of accents count.
    """
    found: set[str] = set()
    for reading in _readings(text):
        found.update(_cut(reading))
    words = [field for field in found if len(field) < LONGEST]
    found.update(match[1] for field in words if (match := WHOLE.fullmatch(field)))
    found.update(
        decoded for field in words if len(field) % 4 == 0 and BASE64.fullmatch(field) and (decoded := _of_base64(field))
    )
    if not text.isascii():
        found.update(unicodedata.normalize(form, field) for form in ("NFC", "NFD") for field in list(found))
    found.discard("")
    return {field for field in found if len(field) < LONGEST and not ROW.match(field)}


def of_names(names: Iterable[str]) -> str:
    """A text of names of files, members or tensors, and of their parts, such as ``u17`` of ``export-u17.csv``."""
    found = set(names)
    for name in names:
        parts = PARTS.split(name)[:MOST_PARTS]
        found.update(
            "".join(parts[start:end]) for start in range(len(parts)) for end in range(start + 1, len(parts) + 1)
        )
    return "\n".join(sorted(found))


def _readings(text):
    """The text, and the text with its escapes decoded."""
    yield text
    if "\\" in text and ESCAPED.search(text):
        yield ESCAPED.sub(_unescaped, text).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if "%" in text and PERCENT.search(text):
        yield unquote(text)
        yield unquote(text.replace("+", " "))
    if "&" in text and ENTITY.search(text):
        yield html.unescape(text)


def _unescaped(match):
    code = match[1] or match[2]
    return chr(int(code, 16)) if code else PLAIN.get(match[3], match[3])


def _cut(text: str) -> Iterator[str]:
    yield from map(str.strip, text.split("\n"))
    for separator in CELLS:
        for cell in separator.split(text):
            yield cell.strip()
            yield cell.strip(EDGES)
    for double, single in QUOTED.findall(text):
        quoted = double.replace('""', '"') or single.replace("''", "'")
        yield quoted
        yield quoted.strip()
    for word in set(WORDS.split(text)):
        yield word
        bare = word.strip(EDGES)
        yield bare
        if not NUMBER.fullmatch(bare):
            for piece in FINER.split(word):
                yield piece
                yield piece.strip(EDGES)


def _of_base64(field):
    try:
        text = base64.b64decode(field.replace("-", "+").replace("_", "/"), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    return text.strip() if text.isprintable() or text.strip().isprintable() else None
