"""The number of tokens that go through a model at once."""

import pytest

pytest.importorskip("torch", reason="needs the models extra")

import torch

from monitor.embed.budget import find_budget


class Card:
    """A device with so much memory, and a model that needs so much a token; above a limit it is out of memory."""

    name = "packed"

    def __init__(self, *, free: int, per_token: int, limit: int = 10**9) -> None:
        self._free, self._per_token, self._limit = free, per_token, limit
        self.largest = self.released = 0

    def __call__(self, ids):
        tokens = sum(len(one) for one in ids)
        if tokens > self._limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.largest = max(self.largest, tokens)
        return torch.zeros(len(ids), 1), torch.zeros(len(ids), 1)

    def padding_of(self, lengths):
        return 0

    def free(self) -> int:
        return self._free

    def peak(self, run) -> int:
        before, self.largest = self.largest, 0
        run()
        self.largest = max(before, found := self.largest)
        return found * self._per_token

    def release(self) -> None:
        self.released += 1


@pytest.mark.parametrize(
    ("free", "limit", "wanted"),
    [
        (10**12, 10**9, 65_536),  # the cap
        (50_000 * 100_000, 10**9, 32_768),  # 0.8 of memory for 40,000 tokens
        (10**12, 40_000, 32_768),  # memory said more than it had
        (10**12, 9_000, 8_192),
        (1_000, 9_000, 8_192),
        (10**12, 3_000, 2_048),  # not even the probe
        (10**12, 10, 2_048),
    ],
)
def test_the_budget_is_the_largest_that_memory_allows_and_that_ran(free: int, limit: int, wanted: int) -> None:
    card = Card(free=free, per_token=100_000, limit=limit)
    assert find_budget(card, card, max_length=512) == wanted
    if limit >= 9_000:
        assert wanted <= card.largest + 128
    assert card.largest <= max(limit, 1)


def test_short_models_are_probed_with_texts_they_take() -> None:
    card = Card(free=10**12, per_token=1)
    assert find_budget(card, card, max_length=7) == 65_536


def test_another_failure_is_not_taken_for_want_of_memory() -> None:
    class Broken(Card):
        def __call__(self, ids):
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    card = Broken(free=10**12, per_token=1)
    with pytest.raises(RuntimeError, match="mat1"):
        find_budget(card, card, max_length=7)
