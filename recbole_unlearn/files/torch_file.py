"""Read files of ``torch.save`` from anybody without running them, in about as much memory as their size.

``torch.load(weights_only=True)`` does not know the pickle protocol that RecBole's Trainer writes (4), and trusts the
sizes in a file. This module first checks the archive (parts uncompressed and no longer than the file), then its pickle
(no more objects than its length allows). :class:`pickle.Unpickler` then gets a :class:`Stub`, made for this file, for
each class and function that the file names. Last come the tensors, each no larger than its part of the archive.
"""

import io
import os
import pickle
import pickletools
import re
import zipfile
from math import prod
from typing import Any

import torch

from recbole_unlearn.errors import UsageError

# A pickle may have so many containers and calls, and one more for each BYTES_AN_OBJECT: one byte makes an empty list.
MOST_OBJECTS = 10_000
BYTES_AN_OBJECT = 500
TUPLES = frozenset(("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"))  # MOST_OBJECTS: hashing deep ones overflows the C stack
CONTAINERS = TUPLES | set(
    "MARK LIST DICT EMPTY_LIST EMPTY_DICT EMPTY_SET FROZENSET INST OBJ NEWOBJ NEWOBJ_EX REDUCE".split()
)
DTYPES = {
    "BFloat16Storage": torch.bfloat16,
    "BoolStorage": torch.bool,
    "ByteStorage": torch.uint8,
    "CharStorage": torch.int8,
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
    "ShortStorage": torch.int16,
}
OF_TENSORS = re.compile(r"torch\._utils\._rebuild_(tensor_v2|parameter)|torch\.\w+Storage|collections\.OrderedDict")


class Stub:
    """Stands for a class or function that a file names: keeps the arguments of its call and does nothing.

    Attributes:
        args: tuple of the call's arguments.
        state: the object's pickled state, mostly the dict of its attributes; None if there is none.
    """

    state = None

    def __new__(cls, *args):
        stub = object.__new__(cls)
        stub.args = args
        return stub

    def __init__(self, *args: Any) -> None:
        pass

    def __setstate__(self, state):
        self.state = state


def name_of(stub: Any) -> str | None:
    """The full name of the class or function that a stub stands for, e.g. ``"torch.device"``; else None."""
    return f"{type(stub).__module__}.{type(stub).__qualname__}" if isinstance(stub, Stub) else None


def read(path: str, stubs: bool = False) -> Any:
    """Read a file of ``torch.save``. Nothing in it is executed.

    Args:
        path: of torch's format since 1.6, a zip archive.
        stubs: whether the file may hold more than tensors and plain data; a :class:`Stub` then stands for the rest.

    Returns:
        What was saved. Tensors in dictionaries and lists are on the CPU without gradients.

    Raises:
        FileNotFoundError: the file does not exist.
        OSError: the file cannot be read.
        UsageError: the file is of another kind, damaged, or larger inside than outside; the message is a reason without
            the path.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            prefix = _prefix(archive, os.path.getsize(path))
            content = archive.read(f"{prefix}data.pkl")
            _check_pickle(content)
            unpickler = _Unpickler(io.BytesIO(content))
            result = unpickler.load()
            foreign = sorted(name for name in unpickler.names if not OF_TENSORS.fullmatch(name))
            if foreign and not stubs:
                raise UsageError(f"it holds more than tensors and plain data: {foreign[0]}")
            return _with_tensors(result, lambda key: archive.read(f"{prefix}data/{key}"))
    except (UsageError, OSError):
        raise
    except zipfile.BadZipFile:
        with open(path, "rb") as file:
            is_zip = file.read(2) == b"PK"
        reason = "is damaged: restore it from a copy" if is_zip else "is no file of torch.save since torch 1.6"
        raise UsageError(f"it {reason}") from None
    except Exception as error:  # a broken program can fail at any instruction, in any way
        raise UsageError(f"it is damaged: {(str(error) or type(error).__name__).splitlines()[0]}") from None


def _prefix(archive, size):
    """The folder of an archive's parts, with a slash. Refuses an archive that is not sound."""
    entries = archive.infolist()
    names = [entry.filename for entry in entries]
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise UsageError("its parts are compressed, which torch does not do")
    if len(set(names)) < len(names):
        raise UsageError("it has two parts of one name")
    if sum(entry.file_size for entry in entries) > size:
        raise UsageError("its parts are longer than the file")
    pickles = [name for name in names if re.fullmatch(r"[^/]+/data\.pkl", name)]
    if len(pickles) != 1:
        raise UsageError("it is a zip file of something else than torch.save")
    damaged = archive.testzip()  # torch does not check the checksums of its own files
    if damaged:
        raise UsageError(f"it is damaged ({damaged}): restore it from a copy")
    prefix = pickles[0].removesuffix("data.pkl")
    if f"{prefix}byteorder" in names and archive.read(f"{prefix}byteorder") != b"little":
        raise UsageError("it is of a machine with another order of bytes: save it again on one like this")
    return prefix


def _check_pickle(content):
    """Refuse a pickle that would grow much larger than it is, or that does what no pickle of torch does."""
    n_objects = n_tuples = 0
    for instruction, argument, _ in pickletools.genops(content):
        name = instruction.name
        n_objects += name in CONTAINERS
        n_tuples += name in TUPLES
        if name.endswith("PUT") and int(argument) > len(content):  # it would allocate that many places
            raise UsageError("its pickle is damaged: a place beyond its end")
        if name.startswith("EXT"):
            raise UsageError("its pickle names classes by numbers")
    if n_objects > MOST_OBJECTS + len(content) // BYTES_AN_OBJECT or n_tuples > MOST_OBJECTS:
        raise UsageError(f"its pickle makes {n_objects} objects of {len(content)} bytes")


class _Unpickler(pickle.Unpickler):
    """Makes a class of its own for each name in a file, so that a file can change nothing else."""

    def __init__(self, file):
        super().__init__(file)
        self.names = {}

    def find_class(self, module, name):
        full = f"{module}.{name}"
        if full not in self.names:
            base = dict if full == "collections.OrderedDict" else Stub
            self.names[full] = type(name, (base,), {"__module__": module, "__qualname__": name})
        return self.names[full]

    def persistent_load(self, reference):
        """A tensor's storage: a reference of the form ``("storage", type, key, location, number of elements)``."""
        return _Storage(*reference)


class _Storage(Stub):
    """A part of the archive that holds a tensor's numbers."""


def _with_tensors(content, part):
    """The content, with tensors in place of their stubs in dictionaries and lists.

    Args:
        content: what was unpickled; changed in place.
        part: function from a part's key to its bytes.
    """
    storages, pending, seen = {}, [[content]], set()
    top = pending[0]
    while pending:
        each = pending.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        entries = each.items() if isinstance(each, dict) else enumerate(each) if isinstance(each, list) else ()
        for key, value in list(entries):
            if name_of(value) in ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter"):
                each[key] = _tensor(value, storages, part)
            elif isinstance(value, (dict, list, tuple, Stub)):
                pending.append(value)
        if isinstance(each, tuple):
            pending += [value for value in each if isinstance(value, (dict, list, tuple, Stub))]
        elif isinstance(each, Stub):
            pending += [each.args, each.state]
    return top[0]


def _tensor(stub, storages, part):
    while name_of(stub) == "torch._utils._rebuild_parameter":
        stub = stub.args[0]
    storage, offset, size, stride = stub.args[:4]
    _, kind, key, _, length = storage.args
    dtype = DTYPES.get(kind.__qualname__)
    if dtype is None:
        raise UsageError(f"it holds tensors of a type that no model has: {kind.__qualname__}")
    if key not in storages:
        storages[key] = bytearray(part(key))
    if len(storages[key]) != length * dtype.itemsize:
        raise UsageError(f"a tensor of {length} numbers has a part of {len(storages[key])} bytes")
    if prod(size) > length or min((offset, *size, *stride)) < 0:
        raise UsageError(f"a tensor of shape {tuple(size)} is larger than what the file holds of it")
    if not prod(size):
        return torch.zeros(size, dtype=dtype)
    return torch.frombuffer(storages[key], dtype=dtype).as_strided(size, stride, offset)
