"""What a verdict means, for a reader who is no statistician."""

from reports.model import DetectorRow, WindowVerdict
from reports.wording import DRIFT, kind_of, share_text, significant

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
    "ad_entropy": "{} of the predictions are more, or less, spread over the classes",
    "ad_token_length": "{} of the texts changed in length",
    "ad_unknown_share": "{} of the texts changed in unknown tokens",
    "ad_truncated": "{} more, or fewer, of the texts are cut",
}
SIZES = {
    "kl_gaussian": "embeddings spread {} times as widely",
    "cosine": "the average text moved {} standard deviations",
    "mmd_features": "the two clouds of embeddings are {} apart, where 0 is alike and 1 nothing in common",
}


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
        sentences.append(f"Cost: {window.harm}.")
    return " ".join(sentences)


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
