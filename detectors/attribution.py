"""Which texts and which words: what a drifted window is made of."""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import NearestNeighbors

from detectors.checks import FloatArray, IntArray

NEIGHBOURS = 25
FOLDS = 5
WORD = re.compile(r"[^\W\d_]{3,}")
PRIOR = 0.05


def drift_scores(
    reference_rows: FloatArray,
    current_rows: FloatArray,
    *,
    rng: np.random.Generator,
    reference_texts: Sequence[str] | None = None,
    current_texts: Sequence[str] | None = None,
) -> FloatArray:
    """Return how typical each current row (n, k) is of what is new, (n,): higher is newer.

    The sum of standardised log-odds of "current" from the nearest neighbours in the projection and, where texts are
    given, from a cross-fitted logistic regression on their words: no row is scored by a model that saw it.
    """
    before, now = np.asarray(reference_rows, dtype=np.float64), np.asarray(current_rows, dtype=np.float64)
    if not before.shape[0] or not now.shape[0]:
        return np.zeros(now.shape[0])
    scores = _standardised(_neighbour_odds(before, now))
    if reference_texts is not None and current_texts is not None and min(before.shape[0], now.shape[0]) >= FOLDS:
        scores = scores + _standardised(_word_odds(reference_texts, current_texts, rng=rng))
    return scores


def _standardised(values: FloatArray) -> FloatArray:
    spread = float(values.std())
    return np.asarray((values - values.mean()) / spread) if spread > 0 else np.zeros_like(values)


def _neighbour_odds(before: FloatArray, now: FloatArray) -> FloatArray:
    pooled = np.concatenate([before, now])
    count = min(NEIGHBOURS, pooled.shape[0] - 1)
    _, found = NearestNeighbors(n_neighbors=count + 1).fit(pooled).kneighbors(now)
    own = np.arange(now.shape[0])[:, None] + before.shape[0]
    others = found != own
    near_now = ((found >= before.shape[0]) & others).sum(axis=1)
    near = others.sum(axis=1)
    share = now.shape[0] / pooled.shape[0]
    odds = (near_now + count * share * 0.1 + 0.5) / (near - near_now + count * (1 - share) * 0.1 + 0.5)
    return np.asarray(np.log(odds))


def _word_odds(before: Sequence[str], now: Sequence[str], *, rng: np.random.Generator) -> FloatArray:
    vectorizer = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=2, max_features=50_000)
    try:
        words = sparse.csr_matrix(vectorizer.fit_transform([*before, *now]))
    except ValueError:  # no word stands in two texts: nothing to tell them apart by
        return np.zeros(len(now))
    sides = np.repeat([0, 1], [len(before), len(now)])
    odds = np.zeros(sides.size)
    folds = StratifiedKFold(n_splits=FOLDS, shuffle=True, random_state=int(rng.integers(2**31)))
    for fitted, held in folds.split(words, sides):
        model = LogisticRegression(C=4.0, class_weight="balanced", max_iter=500).fit(words[fitted], sides[fitted])
        odds[held] = model.decision_function(words[held])
    return odds[len(before) :]


def cell_keywords(
    texts: Sequence[str], cells: IntArray, *, cell: int, background: Sequence[str], top: int = 8
) -> tuple[str, ...]:
    """Return the words that set a cell's texts apart from the background.

    Log-odds with an informative Dirichlet prior. Source: Monroe, Colaresi & Quinn 2008, eq. 16 and 22.
    """
    inside = Counter(word for i in np.flatnonzero(np.asarray(cells) == cell) for word in _words(texts[int(i)]))
    outside = Counter(word for text in background for word in _words(text))
    held = sum(inside.values()), sum(outside.values())
    scored = []
    for word, count in inside.items():
        prior = PRIOR * (count + outside[word])
        weight = PRIOR * sum(held)
        near = np.log((count + prior) / (held[0] + weight - count - prior))
        far = np.log((outside[word] + prior) / (held[1] + weight - outside[word] - prior)) if held[1] else 0.0
        spread = np.sqrt(1 / (count + prior) + 1 / (outside[word] + prior))
        scored.append((-(near - far) / spread, word))
    return tuple(word for score, word in sorted(scored)[:top] if score < 0)


def _words(text: str) -> list[str]:
    return WORD.findall(text.lower())
