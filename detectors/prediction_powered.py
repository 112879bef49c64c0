"""Fewer labels: means and accuracies from a few labels and the scores of many, by prediction-powered inference."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression

from detectors.checks import FloatArray, matrix, outcomes, probability, vector
from detectors.confidence import wilson_bounds
from detectors.errors import DetectorInputError
from detectors.estimates import Estimate, NotEstimated

METHOD = "prediction-powered"
MINIMUM_LABELS = 20
MINIMUM_WORTH = 10  # of labels of equal weight
FITTED = 2  # the mean and lambda
FOLDS = 10
DOUBT = 2.0  # squared residuals' worth of belief that scores help nothing: docs/math/few-labels.md
SURE = 1e-6  # a score of exactly 0 or 1 is read as this far from it


@dataclass(frozen=True, slots=True)
class _Sample:
    """Labels (n,) with proxies, N proxies more, weights of mean 1 for both, and whether weights were given."""

    labels: FloatArray
    proxies: FloatArray
    others: FloatArray
    weights: FloatArray
    other_weights: FloatArray
    weighted: bool


def power_tuning(labels: npt.ArrayLike, proxies: npt.ArrayLike, unlabelled_proxies: npt.ArrayLike) -> float:
    """Return lambda in [0, 1], how far proxies are trusted: 0 gives the labels' own mean, 1 trusts them wholly.

    labels (n,) with their proxies (n,), n >= 2, and proxies (N,) of texts without label, N >= 1.
    Source: Angelopoulos, Duchi & Zrnic 2023 (PPI++), section on power tuning; as the ppi-python package, clipped.

    >>> power_tuning([0.0, 1.0, 1.0, 0.0], [0.1, 0.9, 0.8, 0.2], [0.5, 0.6, 0.7, 0.1] * 25)
    1.0
    """
    return _tuned(_sample(labels, proxies, unlabelled_proxies, None, None))


def prediction_powered_mean(
    labels: npt.ArrayLike,
    proxies: npt.ArrayLike,
    unlabelled_proxies: npt.ArrayLike,
    *,
    name: str,
    alpha: float = 0.05,
    tuning: float | None = None,
    inclusion_probabilities: npt.ArrayLike | None = None,
    unlabelled_inclusion_probabilities: npt.ArrayLike | None = None,
) -> Estimate:
    """Return the mean of labels (n,) helped by proxies, with the normal interval of PPI++.

    Proxies (n,) of labelled and (N,) of unlabelled texts are one fixed function of the text: not fitted to these
    labels. `tuning` is lambda, in [0, 1]; None finds the best. Where labels were asked for with unequal probability,
    pass it, in (0, 1), for both: they are then weighted 1/pi and 1/(1 - pi). The interval is large-sample: from about
    100 labels, and more for a share near 0 or 1, which `prediction_powered_accuracy` treats. Raises DetectorInputError.
    Source: Angelopoulos, Duchi & Zrnic 2023 (`ppi_mean_ci` of ppi-python); weights: Särndal, Swensson & Wretman 1992.

    >>> found = prediction_powered_mean(
    ...     [2.0, 4.0, 6.0, 8.0], [2.5, 3.5, 6.5, 7.5], [1.0, 3.0, 5.0, 7.0] * 25, name="length"
    ... )
    >>> round(found.value, 4), round(found.low, 4), round(found.high, 4)
    (4.1443, 3.4129, 4.8758)
    """
    sample = _sample(labels, proxies, unlabelled_proxies, inclusion_probabilities, unlabelled_inclusion_probabilities)
    if tuning is not None and not 0 <= tuning <= 1:
        raise DetectorInputError(f"tuning lies in [0, 1], got {tuning}")
    value, variance = _estimated(sample, _tuned(sample) if tuning is None else float(tuning))
    half = float(norm.isf(probability("alpha", alpha) / 2) * np.sqrt(variance))
    return Estimate(name, value, value - half, value + half, sample.labels.size, METHOD, alpha)


def prediction_powered_accuracy(
    correct: npt.ArrayLike,
    scores: npt.ArrayLike,
    unlabelled_scores: npt.ArrayLike,
    *,
    name: str = "accuracy",
    alpha: float = 0.05,
    inclusion_probabilities: npt.ArrayLike | None = None,
    unlabelled_inclusion_probabilities: npt.ArrayLike | None = None,
) -> Estimate | NotEstimated:
    """Return the accuracy from n labels and the scores of n + N texts, with an interval that holds from 20 labels on.

    correct (n,) is 0 or 1; scores (n,) and unlabelled_scores (N,) are confidences in [0, 1], or matrices (n, d), (N, d)
    of whatever says how sure the model is. The proxy is the chance of being right given the scores, a logistic fit
    cross-fitted in 10 folds: no label helps to predict itself, so the fit may be poor without harm to the interval.
    That is Wilson's at the number of labels that would give the same variance without scores. Labelled and unlabelled
    texts must come from one population: drawn at random from one window, or with the probabilities of being labelled,
    in (0, 1), for both. Raises DetectorInputError; fewer than 20 labels or as many others are NotEstimated.
    Source: Zrnic & Candès 2024 (cross-prediction); PPI++ for lambda; Wilson 1927 at an effective sample size:
    Korn & Graubard 1998.

    >>> score = np.linspace(0.5, 1.0, 400)
    >>> right = score[::10] > 0.6
    >>> found = prediction_powered_accuracy(right, score[::10], score)
    >>> round(found.value, 3), round(found.low, 3), round(found.high, 3), found.n
    (0.805, 0.685, 0.887, 40)
    """
    answers = outcomes("correct", correct)
    labelled, others = _features("scores", scores), _features("unlabelled_scores", unlabelled_scores)
    if labelled.shape[1] != others.shape[1]:
        raise DetectorInputError(
            f"scores and unlabelled_scores must be alike, got {labelled.shape[1]} and {others.shape[1]} columns"
        )
    if labelled.shape[0] != answers.size:
        raise DetectorInputError(f"scores must be one per label, got {labelled.shape[0]} for {answers.size}")
    probability("alpha", alpha)
    for what, got in (("labels", answers.size), ("scores without label", others.shape[0])):
        if got < MINIMUM_LABELS:
            return NotEstimated(name, f"too few {what}", got, MINIMUM_LABELS)
    proxies, other_proxies = _cross_fitted(answers, labelled, others)
    sample = _sample(answers, proxies, other_proxies, inclusion_probabilities, unlabelled_inclusion_probabilities)
    equal = _equally_weighted(sample)
    if equal < MINIMUM_WORTH:
        return NotEstimated(
            name, "too unequal chances of being labelled: labels of equal weight", int(equal), MINIMUM_WORTH
        )
    value, variance = _estimated(sample, _tuned(sample))
    share = min(1.0, max(0.0, value))
    low, high = share_bounds(share, _labels_worth(sample, share, variance), alpha=alpha)
    return Estimate(name, share, low, high, answers.size, METHOD, alpha)


def _sample(
    labels: npt.ArrayLike,
    proxies: npt.ArrayLike,
    unlabelled_proxies: npt.ArrayLike,
    inclusion: npt.ArrayLike | None,
    unlabelled_inclusion: npt.ArrayLike | None,
) -> _Sample:
    known, near = vector("labels", labels), vector("proxies", proxies)
    far = vector("unlabelled_proxies", unlabelled_proxies)
    if known.size != near.size:
        raise DetectorInputError(f"proxies must be one per label, got {near.size} for {known.size}")
    if known.size < 2 or not far.size:
        raise DetectorInputError(f"2 labels and 1 proxy without label are needed, got {known.size} and {far.size}")
    if (inclusion is None) != (unlabelled_inclusion is None):
        raise DetectorInputError("probabilities of being labelled are needed for texts with and without label, or none")
    if inclusion is None or unlabelled_inclusion is None:
        return _Sample(known, near, far, np.ones(known.size), np.ones(far.size), weighted=False)
    chosen = _probabilities("inclusion_probabilities", inclusion, known.size)
    passed_over = 1 - _probabilities("unlabelled_inclusion_probabilities", unlabelled_inclusion, far.size)
    weights, other_weights = 1 / chosen, 1 / passed_over
    return _Sample(known, near, far, weights / weights.mean(), other_weights / other_weights.mean(), weighted=True)


def _probabilities(name: str, values: npt.ArrayLike, size: int) -> FloatArray:
    array = vector(name, values)
    if array.size != size:
        raise DetectorInputError(f"{name} must be one per text, got {array.size} for {size}")
    if ((array <= 0) | (array >= 1)).any():
        raise DetectorInputError(f"{name} must lie in (0, 1), got {array.min()} to {array.max()}")
    return array


def _tuned(sample: _Sample) -> float:
    """Return the lambda of least variance; where weights vary, of the linearised (Hájek) variance."""
    n, others = sample.labels.size, sample.others.size
    if not sample.weighted:
        centred = sample.proxies - sample.proxies.mean()
        covariance = float(np.mean((sample.labels - sample.labels.mean()) * centred))
        spread = (1 + n / others) * float(np.var(np.concatenate([sample.proxies, sample.others]), ddof=1))
    else:
        labels = _deviations(sample.labels, sample.weights)
        proxies = _deviations(sample.proxies, sample.weights)
        covariance = float(np.mean(labels * proxies))
        far = _deviations(sample.others, sample.other_weights)
        spread = float(np.mean(proxies**2) + np.mean(far**2) * n / others)
    return min(1.0, max(0.0, covariance / spread)) if spread > 0 else 0.0


def _deviations(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Return each value's part (n,) in the error of the weighted mean: weights of mean 1 times what it is off."""
    return np.asarray(weights * (values - np.mean(weights * values)))


def _estimated(sample: _Sample, tuning: float) -> tuple[float, float]:
    """Return the tuned mean and its variance."""
    residuals = sample.labels - tuning * sample.proxies
    imputed = tuning * sample.others
    value = np.mean(sample.other_weights * imputed) + np.mean(sample.weights * residuals)
    parts = ((residuals, sample.weights), (imputed, sample.other_weights))
    variance = sum(float(np.mean(_deviations(part, weights) ** 2)) / part.size for part, weights in parts)
    return float(value), float(variance)


def _features(name: str, scores: npt.ArrayLike) -> FloatArray:
    """Return what the logistic fit sees: log odds (n, 1) of a confidence, or the columns (n, d) as they are."""
    if np.ndim(scores) == 2:
        return matrix(name, scores)
    held = np.clip(vector(name, scores, low=0.0, high=1.0), SURE, 1 - SURE)
    return np.asarray(np.log(held / (1 - held))[:, None])


def _cross_fitted(correct: FloatArray, labelled: FloatArray, others: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the chance of being right of labelled (n,) by the folds' fits without them, of others (N,) by all fits.

    Folds follow the rank of the first feature, so each holds scores of every size, and no label decides them.
    """
    every = np.concatenate([labelled, others])
    scale = every.std(axis=0)
    known, rest = ((part - every.mean(axis=0)) / np.where(scale > 0, scale, 1.0) for part in (labelled, others))
    folds = np.empty(correct.size, dtype=np.int64)
    folds[np.argsort(known[:, 0], kind="stable")] = np.arange(correct.size) % FOLDS
    proxies, total = np.empty(correct.size), np.zeros(others.shape[0])
    for fold in range(FOLDS):
        held_out = folds == fold
        fitted = _fitted(known[~held_out], correct[~held_out])
        proxies[held_out] = fitted.predict_proba(known[held_out])[:, 1]
        total += fitted.predict_proba(rest)[:, 1]
    return proxies, np.asarray(total / FOLDS)


def _fitted(features: FloatArray, correct: FloatArray) -> LogisticRegression:
    """Return a ridge logistic fit; half a right and half a wrong answer at the mean keep it finite."""
    middle = np.zeros((2, features.shape[1]))
    weights = np.concatenate([np.ones(correct.size), [0.5, 0.5]])
    model = LogisticRegression(solver="newton-cholesky")
    return model.fit(np.vstack([features, middle]), np.concatenate([correct, [0.0, 1.0]]), sample_weight=weights)


def _equally_weighted(sample: _Sample) -> float:
    """Return how many labels of equal weight the weighted ones are worth (Kish 1965)."""
    return sample.labels.size / float(np.mean(sample.weights**2))


def _labels_worth(sample: _Sample, share: float, variance: float) -> float:
    """Return how many plain labels would give this variance, held back where few answers of one kind were seen.

    The ratio to the labels' own variance rests on as many squared residuals as there are rare answers, so `DOUBT` of
    them at ratio 1 are added: without a wrong answer among the labels, scores shorten nothing.
    """
    n = _equally_weighted(sample)
    seen = float(np.mean(sample.weights * sample.labels))
    observed = n * seen * (1 - seen)
    labels_only = share * (1 - share) / n
    ratio = variance / labels_only * n / (n - FITTED) if labels_only > 0 else 1.0
    return n * (observed + DOUBT) / (observed * ratio + DOUBT)


def share_bounds(share: float, n: float, *, alpha: float) -> tuple[float, float]:
    """Return Wilson's bounds of a share seen on n observations' worth of evidence, n > 0 not necessarily whole.

    >>> low, high = share_bounds(0.8, 10.0, alpha=0.05)
    >>> round(low, 4), round(high, 4)
    (0.4902, 0.9433)
    """
    low, high = wilson_bounds(share, n, quantile=norm.isf(alpha / 2))
    return float(low), float(high)
