"""Short names for content."""

import hashlib

import torch


def digest(*parts: object) -> str:
    """A short name for content: SHA-256 over tensors' bytes and strings, 12 hexadecimal digits."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part.detach().cpu().numpy().tobytes() if isinstance(part, torch.Tensor) else str(part).encode())
    return sha.hexdigest()[:12]
