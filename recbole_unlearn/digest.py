"""Short names that change with the content they stand for."""

import hashlib

import torch

LENGTH = 12  # hexadecimal digits


def digest(*parts: object) -> str:
    """The first 12 hexadecimal digits of SHA-256 over the parts: tensors by their bytes, everything else by its text.

    The kind of each part (a tensor's type and shape) and its length come first, so that 1, 10 and 11, 0 differ.
    """
    sha = hashlib.sha256()
    for part in parts:
        kind = f"{part.dtype} {tuple(part.shape)}" if isinstance(part, torch.Tensor) else "text"
        content = _bytes(part)
        sha.update(f"{kind} {len(content)}:".encode())
        sha.update(content)
    return sha.hexdigest()[:LENGTH]


def kept_digest(*parts: object) -> str:
    """The digest of the first release, for names that files of that time already hold.

    Parts follow each other without a separator. Use it only for one text, or for pairs of equally long id tensors.
    """
    return hashlib.sha256(b"".join(map(_bytes, parts))).hexdigest()[:LENGTH]


def _bytes(part):
    if isinstance(part, torch.Tensor):
        if not part.numel():  # torch may give an empty tensor a stride of 0, which is no bytes' either
            return b""
        return part.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    return str(part).encode()
