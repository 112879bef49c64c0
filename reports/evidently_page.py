"""Evidently's page about the texts. The only file that imports evidently; import it where the page is wanted.

Its bytes may differ from run to run (Evidently draws random element ids): the one page allowed to.
"""

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

os.environ.setdefault("DO_NOT_TRACK", "1")  # read by evidently while it is imported

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # deprecations inside evidently's own dependencies
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.core.datasets import Descriptor
    from evidently.descriptors import SentenceCount, TextLength, WordCount
    from evidently.presets import DataSummaryPreset

from reports.errors import ReportInputError

TEXT = "text"
PREDICTION = "prediction"
CONFIDENCE = "confidence"


def write_evidently_page(
    reference: Sequence[Mapping[str, object]], current: Sequence[Mapping[str, object]], path: Path
) -> Path:
    """Write Evidently's summary of current against reference rows to `path`, and return it.

    Rows hold "text" and, where known on both sides, "prediction" and "confidence"; other keys are left out.
    Only descriptors that count characters are used: sentiment, out-of-vocabulary and the like would download
    word lists. Raises ReportInputError when a side has no rows or lacks texts.
    """
    for side, rows in (("reference", reference), ("current", current)):
        if not rows or not all(isinstance(row.get(TEXT), str) for row in rows):
            raise ReportInputError(f"every one of the {len(rows)} {side} rows must hold a text, and at least one row")
    shown = [name for name in (TEXT, PREDICTION, CONFIDENCE) if _known(reference, name) and _known(current, name)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy and pandas deprecations inside evidently
        snapshot = Report([DataSummaryPreset()]).run(_dataset(current, shown), _dataset(reference, shown))
        snapshot.save_html(str(path))
    return path


def _known(rows: Sequence[Mapping[str, object]], name: str) -> bool:
    return any(row.get(name) is not None for row in rows)


def _dataset(rows: Sequence[Mapping[str, object]], shown: Sequence[str]) -> Dataset:
    descriptors: list[Descriptor] = [
        TextLength(TEXT, alias="characters per text"),
        WordCount(TEXT, alias="words per text (letters a to z)"),
        SentenceCount(TEXT, alias="sentences per text"),
    ]
    return Dataset.from_pandas(
        pd.DataFrame([{name: row.get(name) for name in shown} for row in rows], columns=list(shown)),
        data_definition=DataDefinition(
            text_columns=[TEXT],
            categorical_columns=[PREDICTION] if PREDICTION in shown else [],
            numerical_columns=[CONFIDENCE] if CONFIDENCE in shown else [],
        ),
        descriptors=descriptors,
    )
