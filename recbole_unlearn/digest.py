"""Short names that change with the content they stand for."""

import hashlib

import torch


def digest(*parts: object) -> str:
    """The first 12 hexadecimal digits of SHA-256 over the bytes of tensors and the text of everything else."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part.detach().cpu().numpy().tobytes() if isinstance(part, torch.Tensor) else str(part).encode())
    return sha.hexdigest()[:12]
