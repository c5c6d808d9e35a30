"""Tensors and settings in one safetensors file, whose header states all sizes before anything else is read."""

import json
import zlib
from collections.abc import Mapping
from typing import Any

import torch

from recbole_unlearn.errors import UsageError
from recbole_unlearn.files.checkpoint import write_aside

FORMAT = 1  # of files that this module writes; a later release may write a higher one
KEY = "recbole_unlearn"  # the only key in the metadata, because safetensors writes several in any order
HEADER_LIMIT = 2**20  # bytes of names, shapes and settings; parsed, they take about thirty times as much


def write(path: str, kind: str, tensors: Mapping[str, torch.Tensor], settings: dict[str, Any]) -> None:
    """Write a file that is whole or absent. The same content gives the same bytes.

    Args:
        path: of the file.
        kind: of the content, e.g. ``"model"``.
        tensors: name to tensor, of any device and layout.
        settings: plain data, fit for JSON.

    Raises:
        OSError: the file cannot be written.
        ValueError: the header would be too long to read again.
    """
    import safetensors.torch  # here, because importing the package does not need it

    # Clones, because safetensors refuses tensors that share memory.
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in sorted(tensors.items())}
    text = json.dumps(settings)
    header = {"format": FORMAT, "kind": kind, "checksum": _checksum(text, tensors), "settings": text}
    content = safetensors.torch.save(tensors, {KEY: json.dumps(header)})
    if _header_length(content) > HEADER_LIMIT:
        raise ValueError(
            f"'{path}' was not written: its settings and names of tensors are longer than {HEADER_LIMIT} bytes"
        )

    def write_content(temporary):
        with open(temporary, "wb") as file:  # safetensors' own writer does not say why it fails
            file.write(content)

    write_aside(path, write_content)


def read(path: str, kind: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read what :func:`write` wrote. Memory use is about the size of the file.

    Returns:
        ``tensors``, on the CPU, and ``settings``.

    Raises:
        FileNotFoundError: the file does not exist.
        OSError: the file cannot be read.
        UsageError: the file is of another kind, of a later release, or damaged; the message gives no path.
    """
    import safetensors

    if not is_tensor_file(path):
        raise UsageError("it is not a safetensors file")
    with open(path, "rb") as file:
        if _header_length(file.read(8)) > HEADER_LIMIT:
            raise UsageError(f"its header is longer than {HEADER_LIMIT} bytes")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = _header(file.metadata(), kind)
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # not views of the file
    except safetensors.SafetensorError as error:
        raise UsageError(f"it is not a complete safetensors file ({' '.join(str(error).split())})") from None
    if header["checksum"] != _checksum(header["settings"], tensors):
        raise UsageError("some of its bytes have changed; restore it from a copy")
    return tensors, _parsed(header["settings"])


def is_tensor_file(path: str) -> bool:
    """Whether a file begins like a safetensors file: eight bytes with the header's length, then the header."""
    with open(path, "rb") as file:
        start = file.read(9)
    return start[5:] == b"\0\0\0{"


def text_tensor(text: str) -> torch.Tensor:
    """The UTF-8 bytes of a text, shape ``(bytes,)``."""
    content = text.encode("utf-8", "surrogatepass")
    return torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else torch.zeros(0, dtype=torch.uint8)


def text_of(tensor: torch.Tensor) -> str:
    """The text of a tensor that :func:`text_tensor` made.

    Raises:
        ValueError: the bytes are no UTF-8.
    """
    return tensor.numpy().tobytes().decode("utf-8", "surrogatepass")


def _header_length(content):
    return int.from_bytes(content[:8], "little")


def _header(metadata, kind):
    """This package's entry in a file's metadata, checked."""
    header = _parsed((metadata or {}).get(KEY, "null"))
    if not isinstance(header, dict) or not isinstance(header.get("format"), int) or header.get("kind") != kind:
        raise UsageError(f"it is a safetensors file of something else than a {kind} of this package")
    if header["format"] > FORMAT:
        raise UsageError(
            f"it has format {header['format']} of a later release, and this one reads up to {FORMAT}: update"
        )
    if not isinstance(header.get("settings"), str):
        raise UsageError("it has no settings")
    return header


def _parsed(text):
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise UsageError("its settings are not JSON") from None


def _checksum(text, tensors):
    """CRC-32 of settings and tensors with their names, types and shapes: safetensors notices no flipped bit."""
    value = zlib.crc32(text.encode())
    for name, tensor in sorted(tensors.items()):
        value = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), value)
        value = zlib.crc32(tensor.flatten().view(torch.uint8).numpy(), value)
    return value
