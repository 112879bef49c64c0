"""Read predictions and labels from files (JSON Lines, CSV, Parquet) for the stateless command."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from monitor.errors import InputError
from monitor.events import Refusal, read_scores
from monitor.ingest import readable_records
from monitor.quality.examples import Cohort, Example, Task, Unreadable
from monitor.texts import read_confidence, read_identity, read_inclusion_probability, read_moment


@dataclass(frozen=True, slots=True)
class Vote:
    """One label of one id, where and when it was given."""

    row: int
    truth: Any
    given_at: datetime | None


@dataclass(frozen=True, slots=True)
class FileCohort:
    """The cohort of one or two files, and what was put right or left out, a line each."""

    cohort: Cohort
    warnings: Sequence[str]


def read_cohort(predictions: Path, labels: Path | None, task: Task) -> FileCohort:
    """Join predictions with the labels beside them or in a file of their own.

    Of several labels of an id the newest counts where rows carry a `timestamp`, else the majority; what has no
    majority stays unlabelled. Raises InputError naming file, row, field and value.
    """
    examples, votes, warnings = _read_predictions(predictions, task)
    if labels is not None:
        apart = _read_votes(labels, task)
        unknown = [identity for identity in apart if identity not in examples]
        if unknown:
            warnings.append(
                f"{labels}: {len(unknown)} labels are for ids that {predictions} does not hold, such as {unknown[0]!r}"
            )
        overruled = [one for one in apart if one in votes and votes[one][-1].truth != apart[one][-1].truth]
        if overruled:
            warnings.append(
                f"{labels}: {len(overruled)} labels overrule those in {predictions}, such as that of {overruled[0]!r}"
            )
        votes = {**votes, **{one: given for one, given in apart.items() if one in examples}}
    truths, told = _settled(votes, source=labels or predictions)
    return FileCohort(_cohort(examples, truths), [*warnings, *told])


def _cohort(examples: dict[str, Example], truths: dict[str, Any]) -> Cohort:
    labelled = [replace(examples[identity], truth=truth) for identity, truth in truths.items()]
    return Cohort(labelled, [one for identity, one in examples.items() if identity not in truths])


def _read_predictions(path: Path, task: Task) -> tuple[dict[str, Example], dict[str, list[Vote]], list[str]]:
    examples: dict[str, Example] = {}
    votes: dict[str, list[Vote]] = {}
    repeated = 0
    for number, fields in readable_records(path):
        example = _example(path, number, fields, task)
        known = examples.setdefault(example.id, example)
        if known is not example:
            repeated += 1
            if known.prediction != example.prediction:
                raise InputError(
                    f"{path}: row {number}: id {example.id!r} has another prediction than before, "
                    f"{example.prediction!r:.80} and {known.prediction!r:.80}"
                )
        vote = _vote(path, number, fields, task)
        if vote is not None:
            votes.setdefault(example.id, []).append(vote)
    warnings = [f"{path}: {repeated} rows repeat the id of an earlier row; each id counts once"] if repeated else []
    return examples, votes, warnings


def _read_votes(path: Path, task: Task) -> dict[str, list[Vote]]:
    votes: dict[str, list[Vote]] = {}
    for number, fields in readable_records(path):
        vote = _vote(path, number, fields, task)
        if vote is None:
            raise InputError(f"{path}: row {number}: field label is missing")
        votes.setdefault(read_identity(path, number, fields.get("id")), []).append(vote)
    return votes


def _example(path: Path, number: int, fields: dict[str, Any], task: Task) -> Example:
    where = f"{path}: row {number}:"
    if fields.get("prediction") is None:
        raise InputError(f"{where} field prediction is missing")
    prediction = _read(where, "prediction", task.read_prediction, fields["prediction"])
    scores, confidence = _scored(path, number, fields, prediction) if task.scored else (None, None)
    stage = fields.get("stage")
    return Example(
        id=read_identity(path, number, fields.get("id")),
        prediction=prediction,
        confidence=confidence,
        scores=scores,
        inclusion_probability=read_inclusion_probability(path, number, fields.get("inclusion_probability")),
        stage=None if stage in (None, "") else str(stage),
    )


def _read(where: str, field: str, reader: Any, value: Any) -> Any:
    try:
        return reader(value)
    except Unreadable as error:
        raise InputError(f"{where} field {field} {error}") from None


def _scored(
    path: Path, number: int, fields: dict[str, Any], prediction: str
) -> tuple[dict[str, float] | None, float | None]:
    """Return the scores and the confidence; a single number under scores is the confidence."""
    given, stated = fields.get("scores"), fields.get("confidence")
    if isinstance(given, int | float) and not isinstance(given, bool):
        given, stated = None, given
    scores = None if given is None or given == "" else _probabilities(f"{path}: row {number}:", given, prediction)
    confidence = None if stated is None else read_confidence(path, number, stated)
    return scores, scores[prediction] if confidence is None and scores else confidence


def _probabilities(where: str, value: Any, prediction: str) -> dict[str, float]:
    found = read_scores(value)
    if isinstance(found, Refusal):
        field = found.field if found.field.startswith("scores") else ".".join(filter(None, ("scores", found.field)))
        raise InputError(f"{where} field {field}: {found.reason}")
    if prediction not in found:
        raise InputError(f"{where} field scores has none for the prediction {prediction!r:.80}")
    return found


def _vote(path: Path, number: int, fields: dict[str, Any], task: Task) -> Vote | None:
    if fields.get("label") in (None, ""):
        return None
    where = f"{path}: row {number}:"
    given_at = read_moment(path, number, fields.get("timestamp"))
    return Vote(number, _read(where, "label", task.read_truth, fields["label"]), given_at)


def _settled(votes: dict[str, list[Vote]], *, source: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the truth of each id in the order in which it became known, and what had to be settled."""
    truths: dict[str, Any] = {}
    conflicting: list[str] = []
    tied: list[str] = []
    order: dict[str, tuple[float, int]] = {}
    for identity, given in votes.items():
        if any(vote.truth != given[0].truth for vote in given):
            conflicting.append(identity)
        counting = _counting(given)
        if counting is None:
            tied.append(identity)
            continue
        truths[identity] = counting.truth
        order[identity] = (0.0 if counting.given_at is None else counting.given_at.timestamp(), counting.row)
    told = []
    if conflicting:
        told.append(
            f"{source}: {len(conflicting)} ids have labels that differ, such as {conflicting[0]!r}; the newest counts "
            "where rows have a timestamp, else the majority"
        )
    if tied:
        told.append(
            f"{source}: {len(tied)} ids have labels without a majority, such as {tied[0]!r}; they count as unlabelled"
        )
    return {identity: truths[identity] for identity in sorted(truths, key=order.__getitem__)}, told


def _counting(given: list[Vote]) -> Vote | None:
    """Return the vote that counts: the newest where all are timed, else one of the majority, None where it is tied."""
    if all(vote.given_at is not None for vote in given):
        return max(given, key=lambda vote: (vote.given_at, vote.row))
    counts = Counter(repr(vote.truth) for vote in given).most_common(2)
    if len(counts) == 2 and counts[0][1] == counts[1][1]:
        return None
    return next(vote for vote in given if repr(vote.truth) == counts[0][0])
