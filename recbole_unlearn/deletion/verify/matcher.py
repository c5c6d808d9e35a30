"""Ask whether the parts that a reader yields should be gone."""

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from recbole_unlearn.deletion.verify.fields import WHOLE, fields, is_number
from recbole_unlearn.deletion.verify.parts import Hit, Records, Rows, Text, Unsearched
from recbole_unlearn.deletion.verify.sought import Sought

MOST_PAIRS = 1_000_000  # of words in one line or record that are ends of forgotten interactions
CROSSED = 100  # the most pairs of two lists that are compared all with all; longer lists are compared row by row
TOO_MANY = "a line or record names too many of those whose interactions are forgotten: not all pairs were compared"
MOST_ENTRIES = 4  # of an object that is one thing; an object with more, all of them objects, is a list of things


def answer(part: Rows | Text | Records, sought: Sought, names: tuple[str, str]) -> Iterator[Hit | Unsearched]:
    """What in a part should be gone.

    Args:
        part: of a file.
        sought: knows what should be gone.
        names: of the user and the item column.
    """
    if isinstance(part, Rows):
        gone = sought.rows(part.users, part.items)
        if part.bare:
            gone |= sought.rows(*part.bare)
        if gone.any():
            yield Hit(
                part.place, int(gone.sum()), first=None if part.first is None else part.first + int(gone.argmax())
            )
        return
    every = fields(part.text) if isinstance(part, Text) else set().union(*map(fields, _scalars(part.records)))
    question = _Question(sought, every, names, part)
    found = [(number, sure) for number, sure in enumerate(question.finds(part)) if sure is not None]
    if found:
        first = None if part.first is None else part.first + found[0][0]
        yield Hit(part.place, len(found), any(sure for _, sure in found), first)
    if question.cut_off:
        yield Unsearched(TOO_MANY)


class _Question:
    """Asks which lines of a text, or which records, name something that should be gone.

    Its methods return None if they find nothing. Otherwise they return whether the finding is sure: a plain number may
    be something else.
    """

    def __init__(self, sought: Sought, every: set[str], names: tuple[str, str], part: Text | Records):
        if not part.numbers:
            every = {field for field in every if not is_number(field)}
        self.sought, self.names, self.cut_off = sought, names, False
        self.words = sought.words(every)
        self.users, self.items = sought.users(self.words), sought.items(self.words)
        self.gone = self.users | self.items

    def finds(self, part: Text | Records) -> Iterator[bool | None]:
        """What each line or record names; nothing at all if no word can be gone."""
        beside = isinstance(part, Text) and part.beside or []
        self.words |= self.sought.words({token for pair in beside for token in pair if token is not None})
        if not self.words:
            return
        if isinstance(part, Records):
            yield from map(self.of_record, part.records)
        else:
            lines = zip_longest(map(fields, part.text.split("\n")), beside, fillvalue=(None, None))
            yield from (self.of_line(*line) for line in lines)

    def of_line(self, here, beside):
        """The fields of a line, with the user and the item that belong to it."""
        user, item = ({side} - {None} for side in beside)
        found = _either(self._singles(here), self._pairs(here, here))
        return _either(found, _either(self._pairs(user, here), self._pairs(here, item)))

    def of_record(self, record):
        """Plain data, at all depths."""
        self._result, self._seen = None, {}
        self._walk(record)
        return self._result

    def _singles(self, here):
        found = here & self.gone
        return any(not is_number(token) for token in found) if found else None

    def _pairs(self, some, others):
        users, items = some & self.words, others & self.words
        if len(users) * len(items) > MOST_PAIRS:
            self.cut_off = True
            return None
        found = [pair for user in users for item in items if self.sought.is_pair(*(pair := (user, item)))]
        return any(not is_number(token) for pair in found for token in pair) if found else None

    def _note(self, found):
        self._result = _either(self._result, found)

    def _walk(self, node, numbers=True):
        """Search a node of a record; return the fields in it that may be ends of interactions."""
        if not isinstance(node, (dict, list)):
            here = set() if node is None else fields(str(node)) | {str(node)}
            if not numbers:
                here = {field for field in here if not is_number(field)}
            self._note(self._singles(here))
            return here & self.words
        if id(node) in self._seen:  # of YAML's anchors
            return self._seen[id(node)]
        self._seen[id(node)] = set()
        rows = _columns_as_rows(node, self.names)
        if rows is not None:
            ends = set().union(*map(self._walk, rows))
        elif isinstance(node, list):
            parts = list(map(self._walk, node))
            ends = set().union(*parts)
            if not any(isinstance(each, (dict, list)) for each in node):
                self._note(self._pairs(ends, ends))
        else:
            ends = self._dictionary(node)
        self._seen[id(node)] = ends
        return ends

    def _dictionary(self, node):
        """One object: fields of different entries belong together."""
        columns = {str(key).split(":")[0]: value for key, value in node.items()}
        users, items = (_texts(columns.get(name)) for name in self.names)
        if users or items:
            gone = any(user in self.users for user in users) or any(item in self.items for item in items)
            gone = gone or any(self.sought.is_pair(user, item) for user in users for item in items)
            self._note(True if gone else None)
        together = not (len(node) > MOST_ENTRIES and all(isinstance(value, dict) for value in node.values()))
        ends: set[str] = set()
        as_users: set[str] = set()
        as_items: set[str] = set()
        for key, value in node.items():
            name = str(key).split(":")[0]
            numbers = not (users and items) or isinstance(value, (dict, list))
            exact = bool(users or items) and name in self.names and not isinstance(value, dict)
            own = set(_texts(value)) if exact else self._walk(value, numbers)
            label = set() if name in self.names else self._walk(key, not (users or items))
            self._note(_either(self._pairs(label, own), self._pairs(own, label)))
            own_users, own_items = (own if not exact or name == self.names[side] else set() for side in (0, 1))
            if together:
                self._note(_either(self._pairs(own_users, as_items), self._pairs(as_users, own_items)))
                as_users, as_items = as_users | own_users, as_items | own_items
            ends |= own | label
        return ends & self.words


def _either(one, other):
    """The answer to either of two questions."""
    return other if one is None else one or bool(other)


def _texts(value):
    """The scalars of an entry as tokens."""
    values = value if isinstance(value, list) else [value]
    texts = [str(each) for each in values if each is not None and not isinstance(each, (dict, list))]
    return texts + [match[1] for text in texts if (match := WHOLE.fullmatch(text))]  # 17.0 may be 17


def _columns_as_rows(node, names):
    """The rows of a dictionary of equally long columns, or None if it is something else."""
    if not isinstance(node, dict) or len(node) < 2 or {*map(type, node.values())} not in ({list}, {dict}):
        return None
    columns = {name: dict(enumerate(cells)) if isinstance(cells, list) else cells for name, cells in node.items()}
    keys = next(iter(columns.values())).keys()
    named = set(names) <= {str(name).split(":")[0] for name in node}
    if len(keys) < 2 or (len(keys) ** 2 <= CROSSED and not named):
        return None
    if any(cells.keys() != keys for cells in columns.values()):
        return None
    if any(isinstance(cell, (dict, list)) for cells in columns.values() for cell in cells.values()):
        return None
    return [{name: cells[key] for name, cells in columns.items()} for key in keys]


def _scalars(records: list[Any]) -> set[str]:
    """Every scalar and every key, as text."""
    found, pending, seen = set(), list(records), set()
    while pending:
        node = pending.pop()
        if isinstance(node, (dict, list)):
            if id(node) not in seen:
                seen.add(id(node))
                pending += [*node.keys(), *node.values()] if isinstance(node, dict) else node
        elif node is not None:
            found.add(str(node))
    return found
