"""What happens to texts on their way: typos, casing, truncation. Text in, text out."""

import numpy as np

TYPO_CHANCE = 1 / 3  # of each word of four letters or more; every text gets at least one


def typos(text: str, rng: np.random.Generator) -> str:
    """Swap, drop or double a letter inside about a third of the longer words."""
    words = text.split()
    long = [i for i, word in enumerate(words) if len(word) >= 4]
    if not long:
        return text
    hit = {i for i in long if rng.random() < TYPO_CHANCE} or {long[int(rng.integers(len(long)))]}
    return " ".join(_mistyped(word, rng) if i in hit else word for i, word in enumerate(words))


def _mistyped(word: str, rng: np.random.Generator) -> str:
    place = int(rng.integers(1, len(word) - 1))
    kind = int(rng.integers(3))
    if kind == 0:
        return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    if kind == 1:
        return word[:place] + word[place + 1 :]
    return word[:place] + word[place] + word[place:]


def casing(text: str, rng: np.random.Generator) -> str:  # noqa: ARG001 every perturbation has one signature
    """Capitalise Every Word, As Some Keyboards Do."""
    return text.title()


def truncated(text: str, rng: np.random.Generator) -> str:  # noqa: ARG001 every perturbation has one signature
    """Keep the first half of the words, at least one."""
    words = text.split()
    return " ".join(words[: max(1, len(words) // 2)])


PERTURBATIONS = {"typos": typos, "casing": casing, "truncated": truncated}
