"""The metrics: a view of the results in the database, made at every scrape, so that a restart loses nothing."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from alerts import names
from monitor import store

if TYPE_CHECKING:
    from monitor.embed import EncoderCounts

OUTCOMES = ("accepted", "duplicate", "sampled_out", "rejected")
JOBS = ("embed", "drift", "report", "quality", "bias")
GROUPS_SHOWN = 50  # of one audit: an attribute with more is no attribute to watch by metrics
STATUSES = ("ok", "too_little_data", "failed")
TEXT_COUNTERS = {
    names.SKETCHED_TEXTS: "n",
    names.TOKEN_MISMATCH: "token_mismatched",
    names.TRUNCATED_TEXTS: "truncated",
    names.NONFINITE_EMBEDDINGS: "nonfinite",
    names.LATE_TEXTS: "late",
}

ENCODER_COUNTERS = {
    names.ENCODER_TEXTS: "texts",
    names.ENCODER_DUPLICATES: "duplicates",
    names.ENCODER_CACHE_HITS: "cache_hits",
    names.ENCODER_TOKENS: "tokens",
    names.ENCODER_PADDING: "padded_tokens",
    names.ENCODER_RETRIES: "out_of_memory_retries",
    names.ENCODER_COMPUTE: "compute_seconds",
}


class EncoderCollector(Collector):
    """What this process's encoders have done: unlike the results it starts at 0 with the process."""

    def __init__(self, counts: "Mapping[str, EncoderCounts]", *, models: tuple[str, ...]) -> None:
        self._counts, self._models = counts, models

    def describe(self) -> Iterator[Metric]:
        """Return nothing, as the results do."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield a family for each count, one child a watched model."""
        for family, field in ENCODER_COUNTERS.items():
            yield _counter(
                family, {(model,): float(getattr(self._counts.get(model), field, 0)) for model in self._models}
            )
        loaded = {(model,): self._counts[model].load_seconds for model in self._models if model in self._counts}
        yield _gauge(names.ENCODER_LOAD, loaded)


class ResultsCollector(Collector):
    """Reads counters and the latest runs; every counter child stands at 0 from the start."""

    def __init__(self, engine: Engine, *, models: tuple[str, ...], code_version: str) -> None:
        self._engine, self._models, self._code_version = engine, models, code_version

    def describe(self) -> Iterator[Metric]:
        """Return nothing: the database is not asked before the first scrape."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield every family from one consistent reading."""
        with Session(self._engine) as session:
            counts = store.counts(session)
            known = store.baselined(session)
            waiting = store.count_unembedded(session)
            latest = store.latest_runs(session)
            results = store.results_of(session, [run.id for run in latest if run.job == "drift"])
            succeeded = store.last_success(session)
        yield self._build()
        yield from self._events(counts)
        yield self._runs(counts)
        yield from _verdicts(latest, results)
        yield from _quality(_of_newest_version(latest, "quality"))
        yield from _bias(_of_newest_version(latest, "bias"))
        yield from _freshness(latest, succeeded)
        yield from _texts(counts, known)
        yield _gauge(names.UNEMBEDDED_TEXTS, _waiting(waiting, known, self._models))

    def _build(self) -> Metric:
        return _gauge(names.BUILD_INFO, {(self._code_version,): 1.0})

    def _events(self, counts: dict[tuple[str, str], int]) -> Iterator[Metric]:
        # "" is of no model of ours: its first refusals too must be seen to rise from 0
        models = sorted({model for model, name in counts if name.startswith("events.")} | {*self._models, ""})
        yield _counter(
            names.EVENTS,
            {(model, one): float(counts.get((model, f"events.{one}"), 0)) for model in models for one in OUTCOMES},
        )
        refused = sum(count for (_, name), count in counts.items() if name.endswith(".rejected"))
        yield _counter(names.DEAD_LETTERS, {(): float(refused)})

    def _runs(self, counts: dict[tuple[str, str], int]) -> Metric:
        values = {(job, status): 0.0 for job in JOBS for status in STATUSES}
        for (_, name), count in counts.items():
            kind, _, rest = name.partition(".")
            job, _, status = rest.partition(".")
            if kind == "run" and (job, status) in values:
                values[job, status] += count
        return _counter(names.RUNS, values)


def _verdicts(latest: list[store.StoredRun], results: dict[int, list[store.StoredResult]]) -> Iterator[Metric]:
    drift = [run for run in latest if run.job == "drift" and run.drift is not None]
    rows = [(run, result) for run in drift for result in results.get(run.id, [])]
    yield _gauge(
        names.DRIFT_P_VALUE, {(run.model, run.version): run.p_value for run in drift if run.p_value is not None}
    )
    yield _gauge(names.DRIFT_DETECTED, {(run.model, run.version): float(bool(run.drift)) for run in drift})
    yield _gauge(
        names.DRIFT_ACTIONABLE,
        {(run.model, run.version): float(bool(run.payload.get("actionable", run.drift))) for run in drift},
    )
    yield _gauge(names.DRIFT_STATISTIC, {(run.model, run.version, one.name): one.statistic for run, one in rows})
    yield _gauge(names.DRIFT_THRESHOLD, {(run.model, run.version, one.name): one.threshold for run, one in rows})


def _of_newest_version(latest: list[store.StoredRun], job: str) -> list[store.StoredRun]:
    """Return each model's newest run of a job: what a version did before the alias left it raises no alarm today."""
    newest: dict[str, store.StoredRun] = {}
    for run in sorted((run for run in latest if run.job == job), key=lambda run: (run.window_end, run.id)):
        newest[run.model] = run
    return list(newest.values())


def _quality(latest: list[store.StoredRun]) -> Iterator[Metric]:
    """Yield the measures of all classes together: those of single classes would make labels without bound."""
    measures = [(run, one) for run in latest for one in run.payload["metrics"] if "[" not in one["name"]]
    for family, field in ((names.QUALITY, "value"), (names.QUALITY_LOW, "low"), (names.QUALITY_HIGH, "high")):
        yield _gauge(family, {(run.model, run.version, one["name"]): one[field] for run, one in measures})
    for family, field in ((names.LABEL_MATURITY, "maturity"), (names.LABELLED_TEXTS, "labelled")):
        yield _gauge(family, {(run.model, run.version): float(run.payload[field]) for run in latest})
    promised = [(run, run.payload["estimated_accuracy"]) for run in latest]
    promised = [(run, one) for run, one in promised if one["value"] is not None]
    yield _gauge(names.ESTIMATED_ACCURACY, {(run.model, run.version): one["value"] for run, one in promised})
    yield _gauge(names.ESTIMATED_RELIABLE, {(run.model, run.version): float(one["reliable"]) for run, one in promised})
    judged = [(run, run.payload["degradation"]["degraded"]) for run in latest]
    yield _gauge(
        names.ACCURACY_DEGRADED, {(run.model, run.version): float(one) for run, one in judged if one is not None}
    )


def _bias(latest: list[store.StoredRun]) -> Iterator[Metric]:
    """Yield the rates of each audit's groups, of at most GROUPS_SHOWN of them, and whether it shows a disparity."""
    rates = [
        ((run.model, run.version, group["attribute"], group["group"], metric), measure)
        for run in latest
        for group in run.payload["groups"][:GROUPS_SHOWN]
        for metric, measure in group["metrics"].items()
        if measure["value"] is not None
    ]
    for family, field in ((names.BIAS_RATE, "value"), (names.BIAS_RATE_LOW, "low"), (names.BIAS_RATE_HIGH, "high")):
        yield _gauge(family, {labels: measure[field] for labels, measure in rates})
    shown = {(run.model, run.version): float(run.payload["verdict"] == "disparity") for run in latest}
    yield _gauge(names.BIAS_DISPARITY, shown)


def _freshness(latest: list[store.StoredRun], succeeded: dict[tuple[str, str, str], float]) -> Iterator[Metric]:
    yield _gauge(names.WINDOW_END, {(run.model, run.version, run.job): run.window_end.timestamp() for run in latest})
    yield _gauge(names.LAST_SUCCESS, succeeded)


def _texts(counts: Mapping[tuple[str, str], int], known: Iterable[tuple[str, str]]) -> Iterator[Metric]:
    """Yield what became of embedded texts; counted as they fold, so that retention lowers nothing."""
    for family, name in TEXT_COUNTERS.items():
        yield _counter(
            family, {(model, one): float(counts.get((model, f"texts.{one}.{name}"), 0)) for model, one in known}
        )


def _waiting(
    waiting: Mapping[tuple[str, str], int], known: Collection[tuple[str, str]], models: Collection[str]
) -> dict[tuple[str, str], float]:
    """Return what waits; clients name models and versions at will, so those that nobody watches are put together."""
    found = dict.fromkeys(known, 0.0)
    for (model, version), count in waiting.items():
        unwatched = (model if model in models else "", names.OTHER_VERSION)
        key = (model, version) if (model, version) in known else unwatched
        found[key] = found.get(key, 0.0) + count
    return found


def _gauge(name: str, values: Mapping[Any, float]) -> Metric:
    family = GaugeMetricFamily(name, names.METRICS[name].help, labels=names.METRICS[name].labels)
    for labels, value in sorted(values.items()):
        family.add_metric(labels, value)
    return family


def _counter(name: str, values: Mapping[Any, float]) -> Metric:
    family = CounterMetricFamily(name, names.METRICS[name].help, labels=names.METRICS[name].labels)
    for labels, value in sorted(values.items()):
        family.add_metric(labels, value)
    return family
