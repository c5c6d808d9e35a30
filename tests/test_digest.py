"""Digests name trainings: two different ones must never share a file."""

import hashlib

import pytest
import torch

from recbole_unlearn.digest import digest, kept_digest


@pytest.mark.parametrize(
    "one, other",
    [
        ((1, 10), (11, 0)),
        (("ab", "c"), ("a", "bc")),
        (("a",), ("a", "")),
        ((torch.tensor([1, 2]), torch.tensor([3])), (torch.tensor([1]), torch.tensor([2, 3]))),
        ((torch.tensor([[1, 2]]),), (torch.tensor([[1], [2]]),)),
        ((torch.zeros(2),), (torch.zeros(2, dtype=torch.int32),)),
        ((torch.tensor(0, dtype=torch.uint8),), ("\0",)),
    ],
)
def test_other_parts_have_another_digest(one, other):
    assert digest(*one) != digest(*other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool])
def test_the_same_content_has_the_same_digest(dtype):
    table = torch.arange(6).view(2, 3).to(dtype)
    assert digest("a", table.t().contiguous().t()) == digest("a", table)
    assert len(digest()) == len(digest(table)) == 12


def test_digest_of_an_empty_tensor_and_of_a_number():
    assert digest(torch.zeros(0)) != digest(torch.zeros(0, 3)) != digest(torch.tensor(1.0))


def test_kept_digest_is_that_of_earlier_releases():
    users, items = torch.tensor([1, 2]), torch.tensor([3, 4])
    content = users.numpy().tobytes() + items.numpy().tobytes()
    assert kept_digest(users, items) == hashlib.sha256(content).hexdigest()[:12]
    assert kept_digest('[["u1", "i1"]]') == hashlib.sha256(b'[["u1", "i1"]]').hexdigest()[:12]
