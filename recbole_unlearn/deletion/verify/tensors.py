"""Read model files and training states: edges, tokens, embeddings of erased nodes, and rows without tokens."""

import json
import math
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from typing import Any, BinaryIO

import safetensors
import torch

from recbole_unlearn import model_file as saved_model
from recbole_unlearn.deletion.verify.fields import of_names
from recbole_unlearn.deletion.verify.formats import PICKLED, SMALL
from recbole_unlearn.deletion.verify.parts import Hit, Records, Rows, Text, Unsearched, as_objects, tokens
from recbole_unlearn.deletion.version import encoder_file, row_counts
from recbole_unlearn.files import tensor_file

MODEL_KEYS = {"state_dict", "edges", "user_tokens", "item_tokens"}  # of recbole_unlearn.saved_model
ENCODER_KEYS = {"gain", "cost", "scores"}
OF_MODELS = re.compile(r"state_dict\..*|edges|(?:user|item)_tokens\.(?:bytes|ends|erased)")
OF_COUNTS = re.compile("train")
OF_ENCODERS = re.compile(r"gain|cost|booster\.\d+")


def is_safetensors(stream: BinaryIO) -> bool:
    """Whether a stream begins like a safetensors file."""
    stream.seek(0)
    start = stream.read(9)
    return start[5:] == b"\0\0\0{"


def read_safetensors(stream: BinaryIO, names: tuple[str, str]) -> Iterator[Hit | Records | Rows | Text]:
    """Read a safetensors file: a model, an encoder or counts of this package, or somebody else's tensors."""
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as copy:
        stream.seek(0)
        shutil.copyfileobj(stream, copy)
        copy.flush()
        with safetensors.safe_open(copy.name, framework="pt") as file:
            metadata, there = file.metadata() or {}, list(file.keys())
            kind = _kind(metadata)
            ours = {saved_model.KIND: OF_MODELS, encoder_file.KIND: OF_ENCODERS, row_counts.KIND: OF_COUNTS}.get(kind)
            foreign = {name: file.get_tensor(name) for name in there if not (ours and ours.fullmatch(name))}
        yield Text("names", of_names(there), numbers=False)
        yield Text("settings", "\n".join(text for entry in metadata.items() for text in entry), numbers=ours is None)
        if kind == saved_model.KIND:
            yield from model(saved_model.read_content(copy.name))
        elif kind == encoder_file.KIND:
            boosters = encoder_file.read_plain(copy.name)["scores"]["boosters"]
            yield Text("regression", "\n".join(boosters), numbers=False)
        elif kind == row_counts.KIND:
            row_counts.read(copy.name)  # numbers of rows of the model's own edges
    yield from _foreign(foreign, names)


def _kind(metadata):
    """The kind that a file of this package states; None for other files."""
    try:
        return json.loads(metadata[tensor_file.KEY])["kind"]
    except (KeyError, TypeError, ValueError):
        return None


def _foreign(tensors, names):
    """Tensors that no file of this package has: weights without tokens, ids, and texts."""
    yield Hit("weights without tokens", _n_tables(tensors, 1))
    for name, tensor in tensors.items():
        if tensor.dtype == torch.uint8:
            yield Text(
                f"bytes of {name}",
                bytes(tensor.flatten().tolist()).decode("utf-8", "surrogateescape").replace("\0", "\n"),
            )
        elif not tensor.is_floating_point():
            is_id = name in names
            yield Hit("ids without tokens", len(tensor) if is_id else 0)
            yield Records(f"numbers of {name}", [] if is_id else list(map(str, tensor.flatten().tolist())))


def read_torch(stream: BinaryIO, names: tuple[str, str]) -> Iterator[Hit | Records | Rows | Unsearched]:
    """Read a file of ``torch.save`` with torch's own reader of tensors and plain data.

    Args:
        stream: seekable.
        names: of the user and the item column.
    """
    stream.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns before it refuses
            content = torch.load(stream, map_location="cpu", weights_only=True)
    except Exception:  # torch refuses with errors of many kinds
        yield Hit(PICKLED, 1, sure=False)
        return
    yield from read_content(content, names)


def read_content(content: Any, names: tuple[str, str]) -> Iterator[Hit | Records | Rows]:
    """Read tensors and plain data, of a model or of whatever else was saved."""
    is_model = isinstance(content, dict) and MODEL_KEYS <= content.keys()
    if is_model:
        yield from model(content)
        own = {key: value for key, value in content.items() if key in ("config", "state_dict")}
        yield Records("settings and names", [_words(own, names)], numbers=False)
        content = {key: value for key, value in content.items() if key not in ("user_tokens", "item_tokens")}
        more = {key: value for key, value in content.items() if key not in own}
        yield Records("more than a model", [_words(more, names)])
    else:
        is_encoder = isinstance(content, dict) and content.keys() == ENCODER_KEYS
        yield Hit("weights without tokens", _n_tables(content))
        yield Records("settings and names", [_words(content, names)], numbers=not is_encoder)
    for number, mapping in enumerate(_mappings(content)):
        yield from _training_state(mapping, is_model and number == 0)
        ids = [mapping.get(name) for name in names]
        if all(isinstance(each, torch.Tensor) for each in ids):
            yield Hit("ids without tokens", max(map(len, ids)))


def model(content: dict) -> Iterator[Hit | Rows]:
    """The edges and tokens of a model file, and the embeddings of nodes that have lost their token."""
    users, items = (as_objects(list(content[key])) for key in ("user_tokens", "item_tokens"))
    erased = users == None, items == None  # noqa: E711  (of each element)
    ends = content["edges"].long().numpy()
    yield Rows("edges", users[ends[0]], items[ends[1]])
    yield Hit("edges of erased users or items", int((erased[0][ends[0]] | erased[1][ends[1]]).sum()))
    yield from tokens("tokens", users[~erased[0]], items[~erased[1]])
    for name, table in content["state_dict"].items():
        if isinstance(table, torch.Tensor) and table.is_floating_point() and table.ndim:
            yield Hit(f"rows of {name}", _n_distinguishable(name, table, erased))


def _n_distinguishable(name, table, erased):
    """The number of erased nodes whose rows in a table still distinguish them.

    All erased users must share one row, and so must all erased items. A single erased node shares its row with no other
    erased one, so its row must be zero or that of another node, such as the padding.

    Args:
        name: of the table; shows the side if there are as many users as items.
        table: a row a user, a row an item, or users' rows and then items', shape ``(n, ...)``.
        erased: boolean arrays of users and of items.
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
    """Rows of users and items that a checkpoint keeps without their tokens."""
    yield Hit("optimiser state", sum(_n_tables(state, 1) for state in _mappings(mapping.get("optimizer"))))
    cached = mapping.get("other_parameter")
    for name in cached if isinstance(cached, dict) else ():
        yield Hit(str(name), _n_tables({name: cached[name]}, 1))
    if not has_tokens:
        yield Hit("state_dict without tokens", _n_tables(mapping.get("state_dict")))


def _n_tables(mapping, least_dimensions=2):
    """The number of tensors in a dictionary that may have a row for each user or item; 0 for anything else."""
    mapping = {"": mapping} if isinstance(mapping, torch.Tensor) else mapping
    return sum(
        isinstance(value, torch.Tensor)
        and value.is_floating_point()
        and value.ndim >= least_dimensions
        and len(value) > 0
        for value in (mapping.values() if isinstance(mapping, dict) else ())
    )


def _mappings(content):
    """Every dictionary in plain data, the outermost first."""
    pending = [content]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            yield node
            pending += node.values()
        elif isinstance(node, (list, tuple, set)):
            pending += node


def _words(node, names):
    """Plain data with its texts, and with numbers only under names of ids: other numbers count or measure something.

    A tensor of bytes becomes text.
    """
    if isinstance(node, dict):
        return {
            str(key): _ids(value) if str(key) in names and not isinstance(value, torch.Tensor) else _words(value, names)
            for key, value in node.items()
        }
    if isinstance(node, (list, tuple, set)):
        return [_words(each, names) for each in node]
    if isinstance(node, torch.Tensor):
        is_text = node.dtype == torch.uint8 and node.ndim == 1 and len(node) <= SMALL
        node = node.numpy().tobytes().replace(b"\0", b"\n") if is_text else None
    if isinstance(node, bytes):
        node = node.decode("utf-8", "surrogateescape")
    return node if isinstance(node, str) else None


def _ids(value):
    return [_ids(each) for each in value] if isinstance(value, (list, tuple)) else None if value is None else str(value)
