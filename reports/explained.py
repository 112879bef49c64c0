"""What a verdict means, for a reader who is no statistician."""

import math

from reports.model import Cost, DetectorRow, Opinion, WindowVerdict
from reports.wording import DRIFT, kind_of, p_phrase, share_text, significant

MEANING = {
    "kl_cells": "An alarm means: texts moved between the baseline's cells.",
    "kl_gaussian": "An alarm means: the centre or spread of the embeddings changed.",
    "cosine": "An alarm means: the mean embedding turned.",
    "cosine_spread": "An alarm means: texts are more alike the baseline's typical text, or less, than they were.",
    "mmd_features": "An alarm means: the embeddings fill their space in another way than they did.",
    "novelty": "An alarm means: some texts are unlike anything the baseline holds.",
    "js_classes": "An alarm means: the mix of predicted classes changed.",
    "js_confidence": "An alarm means: the model is more, or less, sure than it was.",
    "ad_entropy": "An alarm means: the model spreads its probability over more, or fewer, classes.",
    "ad_token_length": "An alarm means: texts are longer or shorter than they were.",
    "ad_unknown_share": "An alarm means: more, or fewer, tokens are unknown to the tokenizer.",
    "ad_truncated": "An alarm means: more, or fewer, texts are cut to the model's length.",
    "tokenizer": "An alarm means: the server's tokens are not those of the registered tokenizer.",
}
SHARES = {
    "novelty": "at least {} of the texts are unlike the baseline's",
    "cosine_spread": "at least {} of the texts came nearer to the baseline's typical text or went farther off",
    "kl_cells": "{} of the texts moved to other cells",
    "js_classes": "{} of the predictions moved to other classes",
    "js_confidence": "{} of the predictions changed in confidence",
    "ad_entropy": "at least {} of the predictions are more, or less, spread over the classes",
    "ad_token_length": "at least {} of the texts changed in length",
    "ad_unknown_share": "at least {} of the texts changed in unknown tokens",
    "ad_truncated": "{} more, or fewer, of the texts are cut",
}
SIZES = {
    "kl_gaussian": "the texts' embeddings spread {} times as widely as the baseline's",
    "cosine": "the average text moved {} times as far as the baseline's texts usually differ",
    "mmd_features": "the two clouds of embeddings lie {} apart, from 0 (alike) to 1 (nothing in common)",
}
OPINIONS = {
    "mmd": "compared by closeness at many scales, baseline and window lie {} apart, "
    "from 0 (alike) to 1 (nothing in common)",
    "classifier": "of a baseline's and a window's text, a classifier guesses right which is which in {} of pairs; "
    "50% is a coin toss",
    "knn_kl": "texts like the window's are, in the geometric mean, {} times as common in it as in the baseline",
}
MOST_TIMES = 1000.0


def explained(window: WindowVerdict) -> str:
    """Return how surprising a drift is, how much changed and what it costs; "" for a window that did not drift."""
    if kind_of(window) != DRIFT or window.p_value is None:
        return ""
    changes = [
        said for row in sorted(window.detectors, key=lambda row: row.p_value) if row.drift and (said := _said(row))
    ]
    sentences = [_surprise(window.p_value)]
    if changes:
        sentences.append(f"What changed: {'; '.join(changes)}.")
    if "small" in window.importance:
        sentences.append("That is less than the policy's practical difference: it wakes nobody.")
    if window.usual:
        sentences.append(f"{window.usual}.")
    if window.harm:
        sentences.append(f"Cost: {cost_text(window.harm)}.")
    return " ".join(sentences)


def cost_text(cost: Cost) -> str:
    """Return what a drift costs, in words.

    >>> cost_text(Cost("harmful", "labels", 0.12, 0.08, 0.16, 0.02, 600, "the interval excludes the tolerance"))
    'harmful: by 600 labels, 12 more of 100 answers are wrong than on the baseline (8 to 16), where 2 are tolerated'
    """
    if not cost.n or cost.lower <= -1:
        return f"{cost.grade}: {cost.reason}"
    rise, between = _of_hundred(abs(cost.error_rise)), f"{_of_hundred(cost.lower)} to {_of_hundred(cost.upper)}"
    change = f"{rise} {'more' if cost.error_rise >= 0 else 'fewer'} of 100 answers are wrong than on the baseline"
    told = f"by {cost.n:,} {cost.evidence}, {change} ({between}), where {_of_hundred(cost.tolerance)} are tolerated"
    return f"{cost.grade}: {told}"


def _of_hundred(share: float) -> str:
    return significant(100 * share, digits=2).replace("-", "−")


def opinion_text(opinion: Opinion) -> str:
    """Return a second opinion in one sentence.

    >>> opinion_text(Opinion("knn_kl", 0.04, True))
    'knn_kl finds a difference (p = 0.04).'
    """
    finds = f"{opinion.name} finds {'a' if opinion.drift else 'no'} difference ({p_phrase(opinion.p_value)})"
    if opinion.effect is None or opinion.name not in OPINIONS:
        return f"{finds}."
    if opinion.name == "classifier":
        size = share_text(opinion.effect)
    elif opinion.name == "knn_kl":
        size = _times(opinion.effect)
    else:
        size = significant(opinion.effect, digits=2)
    return f"{finds}: {OPINIONS[opinion.name].format(size)}."


def _times(nats: float) -> str:
    """Return exp(nats), how many times as common; one below 1 is chance, and a huge one is not told as a number."""
    if nats > math.log(MOST_TIMES):
        return f"more than {MOST_TIMES:,.0f}"
    return significant(math.exp(max(0.0, nats)), digits=2)


def _surprise(p_value: float) -> str:
    """Return what a p-value means, in words.

    >>> _surprise(0.004)
    'Had nothing changed, at most 1 in 250 windows would look like this.'
    """
    times = 1 / max(p_value, 1e-6)
    beyond = "fewer than 1 in 1,000,000" if p_value < 1e-6 else f"at most 1 in {times:,.0f}"
    return f"Had nothing changed, {beyond} windows would look like this."


def _said(row: DetectorRow) -> str:
    if row.name == "tokenizer":
        return f"{share_text(row.statistic)} of the texts were tokenised otherwise"
    if row.effect is None:
        return ""
    if row.name in SHARES:
        return SHARES[row.name].format(share_text(row.effect))
    return SIZES[row.name].format(significant(row.effect, digits=2)) if row.name in SIZES else ""
