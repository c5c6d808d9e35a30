"""Reading pickles without running them.

``pickle.load`` imports and calls whatever a file names, so a stranger's file can do anything. :func:`load` takes the same
instructions, as the standard library's ``pickletools`` decodes them, and interprets them itself: containers, numbers,
strings, tensors and arrays become what they were, and every other class or function stays a name, an :class:`Inert`.
Nothing is imported and nothing of a file is called, so there is no list of dangerous names that could have a gap. (An
``Unpickler`` with its own ``find_class`` still sets attributes on what it finds, allocates as much as one instruction
asks for, and overflows the C stack on a deep dictionary key; ``torch.load`` has ways around its ``pickle_module``.)
"""

import io
import math
import operator
import pickletools
import re
import sys
import zipfile
from collections import OrderedDict
from pickle import UnpicklingError

import numpy as np
import torch

from recbole_unlearn.errors import UsageError

KEY_DEPTH = 4  # of tuples in tuples as a dictionary's key: hashing a deep one overflows the C stack

_LEGACY_MAGIC, _LEGACY_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # torch.save's, before its files were zip files
_DTYPES = {f"torch.{name}": value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}
_STORAGES = {
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.BoolStorage": torch.bool,
    "torch.ByteStorage": torch.uint8,
    "torch.CharStorage": torch.int8,
    "torch.ComplexDoubleStorage": torch.complex128,
    "torch.ComplexFloatStorage": torch.complex64,
    "torch.DoubleStorage": torch.float64,
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.IntStorage": torch.int32,
    "torch.LongStorage": torch.int64,
    "torch.ShortStorage": torch.int16,
    "torch.storage.UntypedStorage": torch.uint8,
}
_LITERALS = frozenset(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE "
    "SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8".split()
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_CONTAINERS = {"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": set}


class Inert:
    """A class, a function, or what one was to make, of which only the description was read.

    Args:
        type_name (str): e.g. ``"recbole.config.configurator.Config"``.
        args (tuple): what it was to be called with; ``None`` for the class or function itself.

    Attributes:
        state: what the object was to be given, mostly the dict of its attributes; ``None`` if nothing.
        items (list): what was to be appended or added to it, (key, value) pairs for what was to be set in it.
    """

    __slots__ = ("type_name", "args", "state", "items")

    def __init__(self, type_name, args=None):
        self.type_name, self.args, self.state, self.items = type_name, args, None, []

    def __repr__(self):
        return f"<inert {self.type_name}{'' if self.args is None else '()'}>"


def load(path):
    """Read a file of ``pickle.dump`` or ``torch.save``, of any origin.

    Args:
        path (str): the file.

    Returns:
        The pickled object. Tensors are on the CPU without gradients, a ``defaultdict`` is a plain dict, and what is
        neither plain data nor tensor nor array is :class:`Inert`.

    Raises:
        UsageError: the file is not there, no pickle, cut off, or holds data whose layout is not understood.
    """
    try:
        with open(path, "rb") as stream:
            is_zip = stream.read(4) == b"PK\x03\x04"
            stream.seek(0)
            content = _read_zip(stream) if is_zip else _read_stream(stream)
            if not is_zip and stream.read(1):
                raise UnpicklingError("it goes on after the end of its pickle")
            return content
    except FileNotFoundError:
        raise UsageError(f"File '{path}' does not exist.") from None
    except OSError as error:
        raise UsageError(f"'{path}' cannot be read: {error.strerror or error}") from None
    except Exception as error:  # a broken program can fail at any instruction, in any way
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UsageError(f"'{path}' is no pickle that can be read: {reason}") from None


def columns(frame):
    """The columns of a pickled pandas DataFrame.

    Args:
        frame (Inert): the DataFrame.

    Returns:
        dict: names to arrays, shape ``(rows,)`` each.

    Raises:
        UnpicklingError: pandas wrote them in a way that is not understood.
    """
    try:
        blocks, (header, _) = frame.state["_mgr"].args
        names = [_as_key(name) for name in _pandas_values(header)]
        table = {}
        for values, places, _ in (block.args for block in blocks):
            places = np.arange(len(names))[places]
            values = values if isinstance(values, np.ndarray) else [_pandas_values(values)]
            table.update(zip((names[place] for place in places), values, strict=True))
        return table
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise UnpicklingError(f"a pandas table of unknown layout ({type(error).__name__}: {error})") from None


class _Machine:
    """The stack machine that a pickle is a program for, where calling and building make descriptions.

    Args:
        builders (dict): names of functions to what makes their result instead.
        persistent_load (callable): what a file's references to data outside of its pickle stand for.
    """

    def __init__(self, builders, persistent_load=None):
        self.builders, self.persistent_load = builders, persistent_load
        self.stack, self.below_marks, self.memo = [], [], {}

    def run(self, stream):
        """Interpret one pickle of a binary stream, up to its end."""
        for opcode, argument, _ in pickletools.genops(stream):
            self._step(opcode.name, argument)
        return self.stack.pop()

    def _step(self, name, argument):
        match name:
            case _ if name in _LITERALS:
                self.stack.append(argument)
            case _ if name in _CONSTANTS:
                self.stack.append(_CONSTANTS[name])
            case _ if name in _CONTAINERS:
                self.stack.append(_CONTAINERS[name]())
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                self.stack.append(self.memo[argument])
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "MARK":
                self.below_marks.append(self.stack)
                self.stack = []
            case "POP" if self.stack:
                self.stack.pop()
            case "POP" | "POP_MARK":
                self._since_mark()
            case "DUP":
                self.stack.append(self.stack[-1])
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                size = int(name[-1])
                self.stack[-size:] = [tuple(self.stack[-size:])]
            case "TUPLE" | "LIST":
                items = self._since_mark()
                self.stack.append(tuple(items) if name == "TUPLE" else items)
            case "DICT":
                items = self._since_mark()
                self.stack.append(_set_items({}, items))
            case "FROZENSET":
                items = self._since_mark()
                self.stack.append(frozenset(_keys(items)))
            case "APPEND":
                _extend(self.stack[-2], [self.stack[-1]])
                self.stack.pop()
            case "APPENDS" | "ADDITEMS":
                items = self._since_mark()
                _extend(self.stack[-1], items)
            case "SETITEM":
                _set_items(self.stack[-3], self.stack[-2:])
                del self.stack[-2:]
            case "SETITEMS":
                items = self._since_mark()
                _set_items(self.stack[-1], items)
            case "GLOBAL":
                self.stack.append(_named(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                self.stack[-2:] = [_named(*self.stack[-2:])]
            case "EXT1" | "EXT2" | "EXT4":
                self.stack.append(Inert(f"copyreg extension {argument}"))
            case "REDUCE" | "NEWOBJ":
                self.stack[-2:] = [self._call(*self.stack[-2:])]
            case "NEWOBJ_EX":
                function, args, kwargs = self.stack[-3:]
                self.stack[-3:] = [self._call(function, (*_sequence(args), kwargs) if kwargs else args)]
            case "INST":
                args = self._since_mark()
                self.stack.append(self._call(_named(*argument.split(" ", 1)), tuple(args)))
            case "OBJ":
                function, *args = self._since_mark()
                self.stack.append(self._call(function, tuple(args)))
            case "BUILD":
                _set_state(self.stack[-2], self.stack[-1])
                self.stack.pop()
            case "PERSID":
                self.stack.append(self._persistent(argument))
            case "BINPERSID":
                self.stack[-1] = self._persistent(self.stack[-1])
            case _:
                raise UnpicklingError(f"it uses {name}, which files do not")

    def _since_mark(self):
        items, self.stack = self.stack, self.below_marks.pop()
        return items

    def _call(self, function, args):
        if not isinstance(function, Inert) or function.args is not None or not isinstance(args, tuple):
            raise UnpicklingError("it calls what is no function")
        if function.type_name == "torch._tensor._rebuild_from_type_v2":  # a tensor with attributes: the tensor
            return self._call(args[0], args[2])
        builder = self.builders.get(function.type_name)
        return builder(*args) if builder else Inert(function.type_name, args)

    def _persistent(self, saved_id):
        if self.persistent_load is None:
            raise UnpicklingError("it refers to data outside of the file")
        return self.persistent_load(saved_id)


def _named(module, name):
    """The class, function or value of this name: torch's dtypes are values, all others are inert."""
    if not isinstance(module, str) or not isinstance(name, str):
        raise UnpicklingError("it names a class by something other than text")
    full = f"{'builtins' if module == '__builtin__' else module}.{name}"  # the name up to protocol 2
    return _DTYPES.get(full) or Inert(full)


def _extend(target, items):
    if isinstance(target, set):
        target.update(_keys(items))
    elif isinstance(target, Inert):
        target.items.extend(items)
    elif isinstance(target, list):
        target.extend(items)
    else:
        raise UnpicklingError(f"it appends to a {type(target).__name__}")


def _set_items(target, items):
    pairs = zip(items[::2], items[1::2], strict=True)
    if isinstance(target, Inert):
        target.items.extend(pairs)
    elif isinstance(target, dict):
        target.update((_as_key(key), value) for key, value in pairs)
    else:
        raise UnpicklingError(f"it sets items of a {type(target).__name__}")
    return target


def _set_state(target, state):
    if isinstance(target, Inert) and target.args is not None:
        target.state = state
    elif isinstance(target, np.ndarray):
        _fill_array(target, state)
    elif not isinstance(target, dict):  # a dict's attributes, such as a state dict's _metadata, are left out
        raise UnpicklingError(f"it sets attributes of a {type(target).__name__}")


def _sequence(values):
    """What is really in memory: a file of a few bytes can have ``range(10 ** 12)``."""
    if not isinstance(values, (tuple, list)):
        raise UnpicklingError(f"it has a {type(values).__name__} where a list belongs")
    return values


def _keys(values=()):
    return map(_as_key, _sequence(values))


def _as_key(key, depth=KEY_DEPTH):
    if isinstance(key, (tuple, frozenset)):
        if depth == 0:
            raise UnpicklingError("a dictionary's key is nested too deep")
        for part in key:
            _as_key(part, depth - 1)
    return key


def _read_stream(stream):
    """A plain pickle, or torch's format before its zip files."""
    builders = {**_BUILDERS, "torch.storage._load_from_bytes": lambda raw: _read_legacy(io.BytesIO(raw))}
    content = _Machine(builders).run(stream)
    if type(content) is int and content == _LEGACY_MAGIC:
        stream.seek(0)
        return _read_legacy(stream)
    return content


def _read_zip(stream):
    """The files of today's ``torch.save``: a pickle, and a file of bytes for each storage."""
    with zipfile.ZipFile(stream) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
        pickles = [name for name in sizes if re.fullmatch(r"([^/]+/)?data\.pkl", name)]
        if len(pickles) != 1 or any(name.endswith("constants.pkl") for name in sizes):  # TorchScript has those
            raise UnpicklingError("it is a zip file of another kind")
        if sum(sizes.values()) > stream.seek(0, io.SEEK_END):  # torch.save does not compress
            raise UnpicklingError("it is larger unpacked than packed")
        folder = pickles[0].removesuffix("data.pkl")
        order = archive.read(f"{folder}byteorder").decode() if f"{folder}byteorder" in sizes else "little"
        storages = {}

        def persistent_load(saved_id):
            dtype, key, size = _storage_id(saved_id)
            if key not in storages:
                storages[key] = _storage(archive.read(f"{folder}data/{key}"), dtype, size, order)
            return storages[key]

        return _Machine(_BUILDERS, persistent_load).run(io.BytesIO(archive.read(pickles[0])))


def _read_legacy(stream):
    """Several pickles, then the storages' bytes: what ``torch.save`` wrote once, and what tensors in plain pickles are."""
    position, room = stream.tell(), stream.seek(0, io.SEEK_END)
    stream.seek(position)
    magic, protocol, system = (_Machine(_BUILDERS).run(stream) for _ in range(3))
    if (magic, protocol) != (_LEGACY_MAGIC, _LEGACY_PROTOCOL):
        raise UnpicklingError("the bytes of its tensors are of unknown format")
    order = "little" if system["little_endian"] else "big"
    storages = {}

    def persistent_load(saved_id):
        nonlocal room
        dtype, key, size = _storage_id(saved_id)
        if key not in storages:
            room -= size * dtype.itemsize
            if room < 0:
                raise UnpicklingError("it is cut off")
            storages[key] = torch.empty(size, dtype=dtype)
        return storages[key]

    content = _Machine(_BUILDERS, persistent_load).run(stream)
    for key in _sequence(_Machine(_BUILDERS).run(stream)):
        storage = storages[_as_key(key)]
        size = int.from_bytes(stream.read(8), order)
        storage.copy_(_storage(stream.read(storage.nbytes), storage.dtype, size, order))
    return content


def _storage_id(saved_id):
    """dtype, key and number of elements in a reference to a storage."""
    kind, storage_type, key, _, size, *view = saved_id
    if kind != "storage" or storage_type.type_name not in _STORAGES or any(part is not None for part in view):
        raise UnpicklingError("it refers to data of unknown kind")
    if not isinstance(key, str) or not isinstance(size, int) or size < 0:
        raise UnpicklingError("it refers to data in an unknown way")
    return _STORAGES[storage_type.type_name], key, size


def _storage(raw, dtype, size, order):
    """A storage's bytes as a tensor of shape ``(size,)``."""
    if len(raw) != size * dtype.itemsize or order != sys.byteorder:
        raise UnpicklingError("a tensor's data are cut off, or from a machine of another byte order")
    return torch.frombuffer(bytearray(raw), dtype=dtype) if size else torch.empty(0, dtype=dtype)


def _tensor(storage, offset, size, stride, *_):
    if math.prod(_sequence(size)) > len(storage):
        raise UnpicklingError("a tensor is larger than its data")
    return storage.as_strided(size, stride, offset)


def _tensor_of_dtype(storage, offset, size, stride, requires_grad, hooks, dtype, *_):
    return _tensor(storage.view(dtype), offset, size, stride)


def _dtype(inert):
    """numpy's dtype of numbers, strings, dates or objects; structured ones are not understood."""
    code, order = inert.args[0], inert.state[1] if inert.state else "="
    if inert.type_name != "numpy.dtype" or not re.fullmatch(r"[biufcmMSUO]\d{0,9}", code):
        raise UnpicklingError("an array holds neither numbers nor texts nor objects")
    if code[0] in "mM":
        _, (unit, count, *_) = inert.state[-1]
        code = f"{code}[{operator.index(count)}{unit.decode()}]"
    return np.dtype(code).newbyteorder(order if order in ("<", ">") else "=")


def _fill_array(array, state):
    _, shape, dtype, is_fortran, raw = state
    dtype = _dtype(dtype)
    if not isinstance(raw, list if dtype.hasobject else bytes):
        raise UnpicklingError("an array's data are of another type")
    if min(_sequence(shape), default=0) < 0 or len(raw) != math.prod(shape) * (1 if dtype.hasobject else dtype.itemsize):
        raise UnpicklingError("an array's data are cut off")  # numpy itself does not check a list's length
    array.__setstate__((1, shape, dtype, bool(is_fortran), raw))


def _array_of_buffer(raw, dtype, shape, order, axis_order=None):
    array = np.frombuffer(raw, _dtype(dtype))
    return array.reshape(shape).transpose(axis_order) if order == "K" else array.reshape(shape, order=order)


def _bytes(raw=b"", encoding=None):
    """Bytes, which protocols up to 2 write as text; never a number of zeros."""
    if encoding not in (None, "latin1", "latin-1"):
        raise UnpicklingError("bytes are written in an unknown encoding")
    return raw.encode("latin1") if encoding else bytes(memoryview(raw))


def _pandas_values(inert):
    """The values of an index or a column: an array, or strings that Arrow holds."""
    if isinstance(inert, np.ndarray):
        return inert
    if inert.type_name.endswith("._new_Index"):
        return _pandas_values(inert.args[1]["data"])
    kind, size, _, offset, (_, ends, text), *_ = inert.state["_pa_array"].args[0]
    ends = np.frombuffer(ends.args[0], {"string": np.int32, "large_string": np.int64}[_as_key(kind.args[0])])
    ends, text = ends[offset : offset + size + 1].tolist(), bytes(text.args[0])
    return np.array([text[start:end].decode() for start, end in zip(ends, ends[1:])], dtype=object)


_BUILDERS = {
    "_codecs.encode": _bytes,
    "builtins.bytearray": lambda *args: bytearray(_bytes(*args)),
    "builtins.bytes": _bytes,
    "builtins.complex": complex,
    "builtins.frozenset": lambda *args: frozenset(_keys(*args)),
    "builtins.range": range,
    "builtins.set": lambda *args: set(_keys(*args)),
    "builtins.slice": slice,
    "builtins.xrange": range,  # its name up to protocol 2
    "collections.OrderedDict": lambda: OrderedDict(),
    "collections.defaultdict": lambda factory=None: {},
    "torch.Size": lambda sizes: torch.Size(_sequence(sizes)),
    "torch.device": torch.device,
    "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
    "torch._utils._rebuild_parameter_with_state": lambda tensor, *_: tensor,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_of_dtype,
}
for _numpy in ("numpy.core", "numpy._core"):  # before and since numpy 2
    _BUILDERS[f"{_numpy}.multiarray._reconstruct"] = lambda *_: np.empty(0)
    _BUILDERS[f"{_numpy}.multiarray.scalar"] = lambda dtype, raw: np.frombuffer(raw, _dtype(dtype), count=1)[0]
    _BUILDERS[f"{_numpy}.numeric._frombuffer"] = _array_of_buffer
