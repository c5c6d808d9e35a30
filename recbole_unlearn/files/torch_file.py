"""Read files of ``torch.save`` from anybody without running them, in about as much memory as their size.

``torch.load(weights_only=True)`` does not know the pickle protocol that RecBole's Trainer writes (4; torch 2.13 refuses
its first instruction), and trusts the sizes in a file. This module first checks the archive (parts uncompressed and no
longer than the file), then its pickle (no more objects than its length allows). Tensors are views of the archive's
parts. The reader decides what stands for every other name in the file: nothing, a :class:`Stub`, or what it stands for.
"""

import io
import os
import pickle
import pickletools
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable
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

NUMBERS = torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8
DTYPES = {  # e.g. torch.FloatStorage, the name in a file, to torch.float32
    torch.zeros(0, dtype=dtype).type().replace("Tensor", "Storage"): dtype
    for dtype in (*NUMBERS, torch.uint8, torch.bool)
}


class Stub:
    """Stands for a class or function that a file names: keeps the arguments of its call and does nothing.

    Attributes:
        args: tuple of the call's arguments.
        state: the object's pickled state, mostly the dict of its attributes; None if there is none.
    """

    args: tuple
    state: Any = None

    def __new__(cls, *args: Any) -> "Stub":
        stub = object.__new__(cls)
        stub.args = args
        return stub

    def __init__(self, *args: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state


def name_of(stub: Any) -> str | None:
    """The full name of the class or function that a stub stands for, e.g. ``"torch.device"``; else None."""
    return f"{type(stub).__module__}.{type(stub).__qualname__}" if isinstance(stub, Stub) else None


def nothing(module: str, name: str) -> Any:
    """For files of tensors and plain data: refuse any other name."""
    raise UsageError(f"it holds more than tensors and plain data: {module}.{name}")


def stub(module: str, name: str) -> type[Stub]:
    """A class of a file's own for a name in it, so that the file can change nothing else."""
    return type(name, (Stub,), {"__module__": module, "__qualname__": name})


def read(path: str, find: Callable[[str, str], Any] = nothing, device: Any = "cpu") -> Any:
    """Read a file of ``torch.save``. Nothing in it is executed but what ``find`` returns.

    Args:
        path: of torch's format since 1.6, a zip archive.
        find: gives what stands for ``(module, name)`` of a class or function that is no part of a tensor:
            :func:`nothing`, :func:`stub`, or a function that refuses names by a UsageError.
        device: of the tensors; None is the device of each when it was saved.

    Returns:
        What was saved. Tensors have no gradients.

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
            return _Unpickler(content, lambda key: archive.read(f"{prefix}data/{key}"), find, device).load()
    except (UsageError, OSError):
        raise
    except zipfile.BadZipFile:
        with open(path, "rb") as file:
            is_zip = file.read(2) == b"PK"
        reason = "is damaged: restore it from a copy" if is_zip else "is not a file of torch.save since torch 1.6"
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
        if name.endswith("PUT") and int(argument or 0) > len(content):  # it would allocate that many places
            raise UsageError("its pickle is damaged: a place beyond its end")
        if name.startswith("EXT"):
            raise UsageError("its pickle names classes by numbers")
    if n_objects > MOST_OBJECTS + len(content) // BYTES_AN_OBJECT or n_tuples > MOST_OBJECTS:
        raise UsageError(f"its pickle makes {n_objects} objects of {len(content)} bytes")


class _Unpickler(pickle.Unpickler):
    """Builds tensors itself, each no larger than its part of the archive, and asks ``find`` for every other name."""

    def __init__(self, content, part, find, device):
        super().__init__(io.BytesIO(content))
        self._part, self._find, self._device = part, find, device
        self._found, self._parts = {}, {}

    def find_class(self, module, name):
        full = f"{module}.{name}"
        if module == "torch" and name.endswith("Storage"):
            if full not in DTYPES:
                raise UsageError(f"it holds tensors of a type that no model has: {name}")
            return DTYPES[full]
        if full not in self._found:
            self._found[full] = TENSORS[full]() if full in TENSORS else self._find(module, name)
        return self._found[full]

    def persistent_load(self, reference):
        """The numbers of a part of the archive, shape ``(length,)``."""
        _, dtype, key, location, length = reference
        if key not in self._parts:
            self._parts[key] = bytearray(self._part(key))
        content = self._parts[key]
        if len(content) != length * dtype.itemsize:
            raise UsageError(f"a tensor of {length} numbers has a part of {len(content)} bytes")
        numbers = torch.frombuffer(content, dtype=dtype) if content else torch.zeros(0, dtype=dtype)
        return numbers.to(location if self._device is None else self._device)


def _tensor(numbers, offset, size, stride, *_):
    if prod(size) > len(numbers) or min((offset, *size, *stride)) < 0:
        raise UsageError(f"a tensor of shape {tuple(size)} is larger than what the file holds of it")
    return numbers.as_strided(size, stride, offset)


TENSORS: dict[str, Callable[[], Any]] = {  # functions made for each file, as a file can change those that it names
    "collections.OrderedDict": lambda: OrderedDict,
    "torch._utils._rebuild_tensor_v2": lambda: lambda *arguments: _tensor(*arguments),
    "torch._utils._rebuild_parameter": lambda: lambda tensor, *_: tensor,
}
