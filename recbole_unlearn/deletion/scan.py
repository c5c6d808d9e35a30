"""Searching files for what is to be gone: rows, edges, tokens, embeddings, caches and states of training.

No file is trusted: pickles are read by :mod:`recbole_unlearn.inert`. What cannot be read, or belongs to users and items in
a way that cannot be told, counts as found.
"""

import codecs
import csv
import json
import math
import os
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from recbole_unlearn import inert
from recbole_unlearn.deletion import encoder_file
from recbole_unlearn.errors import UsageError
from recbole_unlearn.inert import Inert
from recbole_unlearn.saved_model import read_content
from recbole_unlearn.tensor_file import is_tensor_file

HARMLESS = {".html", ".key", ".lock", ".png"}
TABLES = {".inter", ".user", ".item", ".net", ".link", ".kg", ".csv", ".tsv"}  # RecBole's atomic files first
PICKLES = {".pth", ".pt", ".ckpt", ".resume", ".pkl", ".pickle"}
SEPARATORS = "\t,;| "
CHUNK = 1_000_000  # rows of a table in memory at a time
HEAD = 2**16  # bytes that tell text from other files

UNREADABLE = "cannot be read"
IN_PICKLES = "edges, tokens, embeddings, interactions, states of training"
MODEL_KEYS = {"state_dict", "edges", "user_tokens", "item_tokens"}  # of recbole_unlearn.saved_model


@dataclass(frozen=True)
class Finding:
    """Something that is to be gone and is still there, or that nobody can tell to be gone.

    Args:
        file (str): where.
        place (str): where in it, e.g. ``"row 17 and 2 more"``, ``"edges"`` or ``"cannot be read"``.
        count (int): how many rows, edges, tokens or tensors.
    """

    file: str
    place: str
    count: int


@dataclass(frozen=True)
class Scan:
    """What a search looked at and what it found.

    Args:
        files (list of tuple): each file and what was looked for in it.
        findings (list of Finding): in the order of the files.
    """

    files: list
    findings: list


@dataclass(frozen=True)
class _Pairs:
    """Users and items of one place in a file, to be asked about: object arrays of tokens or None, shape ``(n,)`` each.

    ``first_row`` is the number in a text file of the first of them.
    """

    place: str
    users: np.ndarray
    items: np.ndarray
    first_row: int | None = None


def scan(path, is_forgotten, user_field="user_id", item_field="item_id"):
    """Search a file, or all files below a folder, for what is to be gone.

    Tables and JSON lines are searched for rows, model files of this package for edges, tokens and embeddings of erased
    nodes that tell them apart, and RecBole's pickled datasets and dataloaders for interactions and tokens. An optimiser's
    state, cached embeddings and weights without tokens are findings as they are, because nobody can tell whose rows they
    hold. Other text is not searched, nor what else a pickle may hold; a file that is not understood is a finding.

    Args:
        path (str): a file or a folder; links are followed.
        is_forgotten (callable): takes two equally long object arrays of users' and items' tokens, and returns for each
            pair whether it is to be gone, as booleans; None instead of a user or an item asks about the other alone.
        user_field, item_field (str): names of the id columns.

    Returns:
        Scan: with no findings if nothing is left.

    Raises:
        UsageError: the path does not exist.
    """
    if not os.path.lexists(path):
        raise UsageError(f"There is nothing to scan at '{path}': it does not exist.")
    files, findings = [], []
    for file in _files(os.fspath(path)):
        looked_for, read = _reader(file)
        files.append((file, looked_for))
        findings += _findings(file, _as_far_as_readable(read(file, user_field, item_field)), is_forgotten)
    return Scan(files, findings)


def _files(path):
    """The files below a path in alphabetical order, each folder once; one that cannot be listed stands for itself."""
    pending, seen = [path], set()
    while pending:
        path = pending.pop()
        if not os.path.isdir(path):
            yield path
        elif os.path.realpath(path) not in seen:
            seen.add(os.path.realpath(path))
            try:
                pending += sorted((entry.path for entry in os.scandir(path)), reverse=True)
            except OSError:
                yield path


def _reader(file):
    """What is looked for in a file, and what reads it: a generator of :class:`_Pairs` and of (place, count)."""
    ending = os.path.splitext(file)[1].lower()
    if not os.path.isfile(file):  # also of pipes, which would be waited for
        return "nothing, as it is no file", _unreadable
    if ending in HARMLESS or os.path.basename(file) == "key":
        return "nothing, as files of this name hold no rows", _nothing
    if ending in TABLES:
        return "rows", _table
    if ending == ".jsonl":
        return "rows", _json_lines
    try:
        with open(file, "rb") as stream:
            head = stream.read(HEAD)
        if is_tensor_file(file):
            return IN_PICKLES, _tensors
        if ending in PICKLES or head.startswith((b"PK\x03\x04", b"\x80")):
            return IN_PICKLES, _pickle
        codecs.getincrementaldecoder("utf-8")().decode(head, final=len(head) < HEAD)  # else its last character may be cut
    except (OSError, UnicodeDecodeError):
        return "nothing, as it is of no known format", _unreadable
    if b"\0" in head:
        return "nothing, as it is of no known format", _unreadable
    return "nothing, as it is text of no known format", _nothing


def _as_far_as_readable(parts):
    try:
        yield from parts
    except Exception:  # whatever a reader stumbles over: what it did not see may be left
        yield UNREADABLE, 1


def _findings(file, parts, is_forgotten):
    counts, first_rows = Counter(), {}
    for part in parts:
        if isinstance(part, _Pairs):
            if not len(part.users):
                continue
            gone = np.asarray(is_forgotten(part.users, part.items), dtype=bool)
            if part.first_row is not None and gone.any():
                first_rows.setdefault(part.place, part.first_row + int(gone.argmax()))
            part = part.place, int(gone.sum())
        place, count = part
        counts[place] += count
    return [Finding(file, _in_words(place, first_rows.get(place), count), count) for place, count in counts.items() if count]


def _in_words(place, first_row, count):
    """A place, with the number of the first of its rows if they have some."""
    if first_row is None:
        return place
    return f"{place} {first_row} and {count - 1} more" if count > 1 else f"{place} {first_row}"


def _nothing(file, user_field, item_field):
    yield from ()


def _unreadable(file, user_field, item_field):
    yield UNREADABLE, 1


def _table(file, user_field, item_field):
    """The rows of delimited text; a table with one id column asks about users or items alone."""
    separator, columns = _header(file, (user_field, item_field))
    if not columns:
        if file.lower().endswith(".inter"):
            raise ValueError("no ids in its header")
        return
    n_rows = 0
    for chunk in pd.read_csv(
        file,
        sep=separator,
        usecols=list(columns.values()),
        dtype=str,
        keep_default_na=False,
        index_col=False,
        skip_blank_lines=False,  # so that row numbers are those of an editor
        encoding="utf-8-sig",
        chunksize=CHUNK,
    ):
        order = sorted(columns.values())
        users, items = (
            _texts(chunk.iloc[:, order.index(columns[field])]) if field in columns else _nobody(len(chunk))
            for field in (user_field, item_field)
        )
        yield _Pairs("row", users, items, first_row=2 + n_rows)
        n_rows += len(chunk)
    with open(file, "rb") as stream:
        n_lines = sum(1 for _ in stream)
    if n_lines != 1 + n_rows:
        raise ValueError("a quoted field goes over several lines, which may be rows")


def _header(file, fields):
    """The separator of a table, and the positions of those fields that it has."""
    with open(file, encoding="utf-8-sig") as stream:
        line = stream.readline()
    found = {}
    for separator in SEPARATORS:
        names = [name.split(":")[0].strip() for name in next(csv.reader([line], delimiter=separator), [])]
        found[separator] = {field: names.index(field) for field in fields if field in names}
    separator = max(found, key=lambda separator: len(found[separator]))
    return separator, found[separator]


def _texts(column):
    """A column as an object array, None where it is empty."""
    texts = column.to_numpy(dtype=object)
    texts[pd.isna(texts) | (texts == "")] = None
    return texts


def _json_lines(file, user_field, item_field):
    """The ids of objects, one a line."""
    with open(file, encoding="utf-8-sig") as stream:
        rows = [json.loads(line, parse_int=str, parse_float=str) if line.strip() else {} for line in stream]
    users, items = (_as_objects([row.get(field) for row in rows]) for field in (user_field, item_field))
    yield _Pairs("row", users, items, first_row=1)


def _tensors(file, user_field, item_field):
    try:
        content = read_content(file)
    except UsageError:
        encoder_file.read_plain(file)  # its numbers are an aggregate of the model
    else:
        yield from _model(content)


def _pickle(file, user_field, item_field):
    content = inert.load(file)
    is_model = isinstance(content, dict) and MODEL_KEYS <= content.keys()
    if is_model:
        yield from _model(content)
    else:
        yield "weights without tokens", _n_tables(content)
    mappings = list(_mappings(content))
    for _, mapping in mappings:
        yield from _training_state(mapping, is_model and mapping is content)
    yield from _interactions(mappings, (user_field, item_field))


def _model(content):
    """The edges and tokens of a model file, and the embeddings of nodes that have lost their token."""
    users, items = (_as_objects(content[key]) for key in ("user_tokens", "item_tokens"))
    erased = users == None, items == None  # noqa: E711  (of each element)
    ends = content["edges"].long().numpy()
    yield _Pairs("edges", users[ends[0]], items[ends[1]])
    yield "edges of erased users or items", int((erased[0][ends[0]] | erased[1][ends[1]]).sum())
    yield from _tokens("tokens", users[~erased[0]], items[~erased[1]])
    for name, table in content["state_dict"].items():
        if isinstance(table, torch.Tensor) and table.is_floating_point() and table.ndim:
            yield f"rows of {name}", _n_distinguishable(name, table, erased)


def _n_distinguishable(name, table, erased):
    """How many erased nodes have rows in a table that can still tell them apart.

    All erased users must have one row in common, and all erased items. A single one has it in common with nobody, so its
    row must be zero or that of some other node, such as the padding.

    Args:
        name (str): of the table; tells which side it is if there are as many users as items.
        table (torch.Tensor): a row a user, a row an item, or users' rows and then items', shape ``(n, ...)``.
        erased (tuple of numpy.ndarray): of each user and each item, whether it is erased.
    """
    table = table.reshape(len(table), math.prod(table.shape[1:]))
    users, items = erased
    if len(table) == len(users) + len(items):
        sides = [(table[: len(users)], users), (table[len(users) :], items)]
    else:
        sides = [(table, side) for side in erased if len(side) == len(table)]
        if len(sides) == 2 and ("user" in name) != ("item" in name):
            sides = [sides["item" in name]]
    total = 0
    for rows, side in sides:
        left = rows[torch.from_numpy(side)]
        if len(left):
            common = left[0]
            is_shared = not common.any() or (rows == common).all(dim=1).sum() > 1
            total += 0 if is_shared and (left == common).all() else len(left)
    return total


def _training_state(mapping, has_tokens):
    """What a checkpoint keeps of the rows of users and items without telling whose they are."""
    yield "optimiser state", sum(_n_tables(state, 1) for _, state in _mappings(mapping.get("optimizer")))
    cached = mapping.get("other_parameter")
    for name in cached if isinstance(cached, dict) else ():
        yield str(name), _n_tables({name: cached[name]}, 1)
    for name in () if has_tokens else ("state_dict", "_parameters"):  # the latter of a module that was pickled itself
        yield f"{name} without tokens", _n_tables(mapping.get(name))


def _n_tables(mapping, least_dimensions=2):
    """How many tensors of a dictionary can have a row of numbers for each user or item; 0 if it is none."""
    return sum(
        isinstance(value, torch.Tensor) and value.is_floating_point() and value.ndim >= least_dimensions and len(value) > 0
        for value in (mapping.values() if isinstance(mapping, dict) else ())
    )


def _interactions(mappings, fields):
    """Interactions of pickled datasets: columns of ids, or of tokens, side by side; and the datasets' tokens."""
    id2token = {id(tokens): tokens for _, m in mappings if isinstance(tokens := m.get("field2id_token"), dict)}
    token2id = {id(tokens): tokens for _, m in mappings if isinstance(tokens := m.get("field2token_id"), dict)}
    for tokens in id2token.values():
        yield from _tokens("field2id_token", *(_as_objects(tokens[field]) for field in fields))
    for tokens in token2id.values():
        yield from _tokens("field2token_id", *(_as_objects(tokens[field]) for field in fields))
    for name, mapping in mappings:
        users, items = (_column(mapping.get(field)) for field in fields)
        if id(mapping) in id2token or users is None or items is None or len(users) != len(items):
            continue
        if users.dtype == object and items.dtype == object:
            yield _Pairs(name, users, items)
        elif not id2token:
            yield f"{name}, ids without tokens", len(users)
        else:
            for tokens in id2token.values():
                yield _Pairs(name, *(_as_objects(tokens[field])[ids] for field, ids in zip(fields, (users, items))))


def _tokens(place, users, items):
    """Whether users and items themselves are to be gone."""
    yield _Pairs(place, users, _nobody(len(users)))
    yield _Pairs(place, _nobody(len(items)), items)


def _column(values):
    """A column of ids, or of tokens as objects, shape ``(n,)``; None if it is something else."""
    if isinstance(values, torch.Tensor):
        values = values.numpy()
    if isinstance(values, list):
        values = np.fromiter(values, dtype=object, count=len(values))
    if not isinstance(values, np.ndarray) or values.ndim != 1:
        return None
    if values.dtype != object:
        return values.astype(object) if values.dtype.kind == "U" else values
    return _as_objects([str(value) if isinstance(value, (int, float)) else value for value in values])


def _mappings(content):
    """Every dictionary in a graph of pickled objects, with the name that it goes by; a table of pandas is one, too."""
    pending, seen = [("table", content)], {}
    while pending:
        name, node = pending.pop()
        if id(node) in seen:
            continue
        seen[id(node)] = node  # held, so that nothing else gets its id
        if isinstance(node, dict):
            yield name, node
            # RecBole's Interaction calls its columns so; the name of the attribute that holds it says more
            inner = [(key if isinstance(key, str) and key != "interaction" else name, each) for key, each in node.items()]
        elif isinstance(node, Inert) and node.type_name.endswith(".DataFrame") and node.args is not None:
            inner = [(name, inert.columns(node))]
        elif isinstance(node, Inert):
            inner = [(name, each) for each in (node.args, node.state, node.items)]
        elif isinstance(node, (list, tuple)):
            inner = [(name, each) for each in node]
        elif isinstance(node, np.ndarray) and node.dtype == object:
            inner = [(name, each) for each in node.ravel()]
        else:
            continue
        pending += [pair for pair in inner if isinstance(pair[1], (dict, list, tuple, np.ndarray, Inert))]


def _as_objects(values):
    """Tokens as an object array, shape ``(n,)``."""
    if not all(isinstance(value, (str, type(None))) for value in values):
        raise ValueError("a token that is no text")
    return np.fromiter(values, dtype=object, count=len(values))


def _nobody(count):
    return np.full(count, None, dtype=object)
