"""Read model files and other tensors: edges, tokens, embeddings of erased nodes, and rows without tokens."""

import json
import math
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import safetensors
import torch

from recbole_unlearn import model_file
from recbole_unlearn.deletion.verify.fields import of_names
from recbole_unlearn.deletion.verify.parts import PICKLED, File, Hit, Parts, Records, Rows, Text
from recbole_unlearn.deletion.version import encoder_file, row_counts
from recbole_unlearn.files import tensor_file
from recbole_unlearn.model import MODELS, ExactRecommender

ENCODER_KEYS = {"gain", "cost", "scores"}  # of files of torch of an earlier release
OURS = {  # names of tensors in each kind of file of this package
    model_file.KIND: re.compile(r"state_dict\..*|edges|(?:user|item)_tokens\.(?:bytes|ends|erased)"),
    row_counts.KIND: re.compile("train"),  # numbers of rows of the model's own edges
    encoder_file.KIND: re.compile(r"gain|cost|own|booster(\.\d+)?"),
}


def read_safetensors(file: File) -> Parts:
    """A safetensors file: a model, an encoder or counts of this package, or somebody else's tensors."""
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as copy:
        shutil.copyfileobj(file.stream, copy)
        copy.flush()
        with safetensors.safe_open(copy.name, framework="pt") as content:
            metadata, names = content.metadata() or {}, list(content.keys())
            kind = _kind(metadata)
            foreign = {name: content.get_tensor(name) for name in names if not (kind and OURS[kind].fullmatch(name))}
        yield Text("names", of_names(names), numbers=False)
        yield Text("settings", "\n".join(text for entry in metadata.items() for text in entry), numbers=kind is None)
        if kind == model_file.KIND:
            yield from _model(model_file.read_content(copy.name))
        elif kind == encoder_file.KIND:
            yield _regression(encoder_file.read_plain(copy.name))
        elif kind == row_counts.KIND:
            row_counts.read(copy.name)
    yield Hit("weights without tokens", sum(map(_is_table, foreign.values())))
    for name, tensor in foreign.items():
        if tensor.dtype == torch.uint8:
            content = tensor.numpy().tobytes().decode("utf-8", "surrogateescape")
            yield Text(f"bytes of {name}", content.replace("\0", "\n"))
        elif name in file.id_names and not tensor.is_floating_point():
            yield Hit("ids without tokens", len(tensor))
        elif not tensor.is_floating_point():
            yield Records(f"numbers of {name}", list(map(str, tensor.flatten().tolist())))


def _is_table(tensor):
    """Whether a tensor may have a number or a row for each user or item."""
    return tensor.is_floating_point() and tensor.ndim > 0 and len(tensor) > 0


def _kind(metadata):
    """The kind of a file of this package, which it states; None for other files."""
    try:
        kind = json.loads(metadata[tensor_file.KEY])["kind"]
    except (KeyError, TypeError, ValueError):
        return None
    return kind if kind in OURS else None


def read_torch(file: File) -> Parts:
    """A model or an encoder of an earlier release, read by torch as tensors and plain data; else pickled objects."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns before it refuses
            content = torch.load(file.stream, map_location="cpu", weights_only=True)
        keys = content.keys()
    except Exception:  # torch refuses with errors of many kinds
        keys = None
    if keys == model_file.KEYS:
        yield Records("settings and names", [content["config"], list(content["state_dict"])], numbers=False)
        yield from _model(content)
    elif keys == ENCODER_KEYS:
        yield _regression(content)
    else:
        yield Hit(PICKLED, 1, sure=False)


def _regression(encoder):
    return Text("regression", "\n".join(encoder_file.texts_of(encoder)), numbers=False)


def _model(content: dict[str, Any]) -> Iterator[Hit | Rows]:
    """The edges and tokens of a model file, and the embeddings of nodes that have lost their token."""
    users, items = (_tokens(content[key]) for key in ("user_tokens", "item_tokens"))
    erased = users == None, items == None  # noqa: E711  (of each element)
    ends = content["edges"].long().numpy()
    yield Rows("edges", users[ends[0]], items[ends[1]])
    yield Hit("edges of erased users or items", int((erased[0][ends[0]] | erased[1][ends[1]]).sum()))
    yield Rows("tokens", users, np.full(len(users), None))
    yield Rows("tokens", np.full(len(items), None), items)
    model = content["config"].get("model")
    is_fit = model in list(MODELS) and issubclass(MODELS[model], ExactRecommender)
    for name, table in content["state_dict"].items():
        if _is_table(table):
            yield Hit(f"rows of {name}", _n_distinguishable(name, table, erased, is_fit and "user" not in name))


def _tokens(values):
    if not all(value is None or isinstance(value, str) for value in values):
        raise ValueError("a token that is no text")
    return np.array(values, dtype=object)


def _n_distinguishable(name, table, erased, of_items=False):
    """The number of erased nodes whose rows in a table still distinguish them.

    All erased users must share one row, and so must all erased items. A single erased node shares its row with no other
    erased one, so its row must be zero or that of another node, such as the padding.

    Args:
        name: of the table; shows the side if there are as many users as items.
        table: a row a user, a row an item, or users' rows and then items', shape ``(n, ...)``.
        erased: boolean arrays of users and of items.
        of_items: whether it is a fit's, which has rows of items; a square one has their columns too.
    """
    table = table.reshape(len(table), math.prod(table.shape[1:]))
    users, items = erased
    if of_items:
        sides = [(table, items)] * (len(table) == len(items))
        if len(table) == len(items) == table.shape[1]:
            return max(_n_unlike(table, items), _n_unlike(table.t(), items))
    elif len(table) == len(users) + len(items):
        sides = [(table[: len(users)], users), (table[len(users) :], items)]
    else:
        sides = [(table, side) for side in erased if len(side) == len(table)]
        if len(sides) == 2 and ("user" in name) != ("item" in name):
            sides = [sides["item" in name]]
    return sum(_n_unlike(rows, side) for rows, side in sides)


def _n_unlike(rows, side):
    """The number of erased nodes of a side if their rows are not alike, else 0."""
    places = torch.from_numpy(np.flatnonzero(side))
    left = rows[places]
    if not len(left) or (rows.shape[1] == len(rows) and _know_themselves_alone(rows, left, places)):
        return 0
    is_shared = not left[0].any() or (rows == left[0]).all(dim=1).sum() > 1
    return 0 if is_shared and (left == left[0]).all() else len(left)


def _know_themselves_alone(square, left, places):
    """Whether some rows of a table of pairs are 0 but for each node's entry with itself, which others have too."""
    own, others = left[torch.arange(len(left)), places], left.clone()
    others[torch.arange(len(left)), places] = 0
    # Those of nodes that never had data come from other sums, which round otherwise.
    shared = not own.any() or torch.isclose(square.diagonal(), own[0], rtol=1e-9, atol=0).sum() > 1
    return bool(not others.any() and (own == own[0]).all() and shared)
