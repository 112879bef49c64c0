"""Which texts and which words: what a drifted window is made of."""

import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.stats import rankdata
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import NearestNeighbors

from detectors.checks import FloatArray, IntArray
from detectors.kl import HALF
from detectors.novelty import nearest_distances
from detectors.sketch import Sketch

NEIGHBOURS = 25
FOLDS = 5
NEAREST_TEXTS = 3
WORD = re.compile(r"[^\W\d_]{3,}")
PRIOR = 0.05
LARGEST_EXCESS = 4.0


def drift_scores(
    reference: Sketch,
    current: Sketch,
    *,
    rng: np.random.Generator,
    reference_texts: Sequence[str] | None = None,
    current_texts: Sequence[str] | None = None,
) -> FloatArray:
    """Return how typical each of the current sketch's m sampled rows is of what is new, (m,): higher is newer.

    A sum of standardised log-odds of "current": by nearest neighbours in the projection, by the model's confidence
    where predictions are known and, where texts are given (aligned to the sketches' rows), by a cross-fitted logistic
    regression on their words and by their nearest texts on either side; and of novelty and of how surprising a text's
    words are, each the weightier the more of it the window has as a whole. It ranks texts for review, tests nothing.
    """
    before, now = (np.asarray(sketch.rows, dtype=np.float64) for sketch in (reference, current))
    if not before.shape[0] or not now.shape[0]:
        return np.zeros(now.shape[0])
    scores = _standardised(_neighbour_odds(before, now))
    scores = scores + _standardised(_confidence_odds(reference.row_confidences, current.row_confidences))
    scores = scores + _novelty(reference, current, before, now)
    if reference_texts is not None and current_texts is not None and min(before.shape[0], now.shape[0]) >= FOLDS:
        words = _words_matrix([*reference_texts, *current_texts])
        if words is not None:
            scores = scores + _standardised(_word_odds(words, before.shape[0], rng=rng))
            scores = scores + _standardised(_text_odds(words, before.shape[0]))
        surprise = _surprise(reference_texts, current_texts)
        scores = scores + _excess(*surprise) * _standardised(surprise[1])
    return np.asarray(scores)


def _novelty(reference: Sketch, current: Sketch, before: FloatArray, now: FloatArray) -> FloatArray:
    """Return standardised distances to the nearest known texts (m,), times the excess of the window's novelty."""
    known = reference.row_novelties.astype(np.float64), current.row_novelties.astype(np.float64)
    if np.isnan(known[0]).any() or np.isnan(known[1]).any():  # a basis of format 1
        return np.zeros(now.shape[0])
    distances = _standardised(known[1]) + _standardised(nearest_distances(before, now))
    return np.asarray(_excess(*known) * _standardised(distances))


def _excess(before: FloatArray, now: FloatArray) -> float:
    """Return how far the upper tail of now (m,) lies above that of before (n,): 0 to 4, in standard errors.

    The standard score of the shift of the mean Savage score. It weighs a score that ranks new texts best and says
    nothing where known texts only come in another mix.
    """
    ranks = rankdata(np.concatenate([before, now])) / (before.size + now.size + 1)
    savage = -np.log(1 - ranks)
    shift = savage[before.size :].mean() - savage[: before.size].mean()
    error = float(savage.std()) * np.sqrt(1 / before.size + 1 / now.size)
    return float(np.clip(shift / error, 0.0, LARGEST_EXCESS)) if error > 0 else 0.0


def _surprise(reference_texts: Sequence[str], current_texts: Sequence[str]) -> tuple[FloatArray, FloatArray]:
    """Return the mean surprise in nats of each text's words under the reference's words, (n,) and (m,).

    Add-half smoothed; a reference text's own words are taken out of the counts, so that both sides are alike.
    """
    before, now = ([Counter(_words(text)) for text in texts] for texts in (reference_texts, current_texts))
    counts: Counter[str] = Counter()
    for words in before:
        counts.update(words)
    total = counts.total() + HALF * (len(counts) + 1)

    def of(words: Counter[str], own: Counter[str]) -> float:
        size = words.total()
        if not size:
            return 0.0
        left = total - own.total()
        return sum(count * -math.log((counts[word] - own[word] + HALF) / left) for word, count in words.items()) / size

    return np.array([of(words, words) for words in before]), np.array([of(words, Counter()) for words in now])


def _confidence_odds(before: npt.NDArray[np.float32], now: npt.NDArray[np.float32]) -> FloatArray:
    """Return log-odds of "current" at each confidence: a logistic regression on its logit and the logit's square."""
    known = ~np.isnan(now)
    sides = before[~np.isnan(before)], now[known]
    odds = np.zeros(now.size)
    if min(side.size for side in sides) < NEIGHBOURS:
        return odds
    confidences = np.clip(np.concatenate(sides).astype(np.float64), 1e-4, 1 - 1e-4)
    logits = np.log(confidences / (1 - confidences))
    curve = np.column_stack([logits, logits**2])
    labels = np.repeat([0, 1], [side.size for side in sides])
    model = LogisticRegression(C=1.0, class_weight="balanced", max_iter=500).fit(curve, labels)
    odds[known] = model.decision_function(curve[sides[0].size :])
    return odds


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


def _words_matrix(texts: Sequence[str]) -> sparse.csr_matrix | None:
    vectorizer = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=2, max_features=50_000)
    try:
        return sparse.csr_matrix(vectorizer.fit_transform(texts))
    except ValueError:  # no word stands in two texts: nothing to tell them apart by
        return None


def _word_odds(words: sparse.csr_matrix, n_before: int, *, rng: np.random.Generator) -> FloatArray:
    sides = np.repeat([0, 1], [n_before, words.shape[0] - n_before])
    odds = np.zeros(sides.size)
    folds = StratifiedKFold(n_splits=FOLDS, shuffle=True, random_state=int(rng.integers(2**31)))
    for fitted, held in folds.split(words, sides):
        model = LogisticRegression(C=4.0, class_weight="balanced", max_iter=500).fit(words[fitted], sides[fitted])
        odds[held] = model.decision_function(words[held])
    return odds[n_before:]


def _text_odds(words: sparse.csr_matrix, n_before: int) -> FloatArray:
    """Return the log-ratio of the mean cosine to the nearest current and to the nearest reference texts, (n,)."""
    now = words[n_before:]
    to_now, to_before = (now @ now.T).toarray(), (now @ words[:n_before].T).toarray()
    np.fill_diagonal(to_now, 0.0)

    def nearest(similarities: FloatArray) -> FloatArray:
        count = min(NEAREST_TEXTS, similarities.shape[1])
        return np.asarray(np.partition(similarities, -count, axis=1)[:, -count:].mean(axis=1))

    return np.asarray(np.log((nearest(to_now) + 0.02) / (nearest(to_before) + 0.02)))


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
