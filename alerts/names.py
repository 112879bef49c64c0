"""Every metric and label name, declared once: metrics export them, rules refer to them."""

from dataclasses import dataclass
from typing import Literal

BUILD_INFO = "driftwarden_build_info"
EVENTS = "driftwarden_events_total"
DEAD_LETTERS = "driftwarden_dead_letters_total"
RUNS = "driftwarden_runs_total"
DRIFT_P_VALUE = "driftwarden_drift_p_value"
DRIFT_DETECTED = "driftwarden_drift_detected"
DRIFT_ACTIONABLE = "driftwarden_drift_actionable"
DRIFT_STATISTIC = "driftwarden_drift_statistic"
DRIFT_THRESHOLD = "driftwarden_drift_threshold"
WINDOW_END = "driftwarden_window_end_timestamp_seconds"
LAST_SUCCESS = "driftwarden_last_success_timestamp_seconds"
SKETCHED_TEXTS = "driftwarden_sketched_texts_total"
TOKEN_MISMATCH = "driftwarden_token_mismatch_total"  # noqa: S105 a metric name
TRUNCATED_TEXTS = "driftwarden_truncated_texts_total"
NONFINITE_EMBEDDINGS = "driftwarden_nonfinite_embeddings_total"
UNEMBEDDED_TEXTS = "driftwarden_unembedded_texts"
QUALITY = "driftwarden_quality_ratio"
QUALITY_LOW = "driftwarden_quality_low_ratio"
QUALITY_HIGH = "driftwarden_quality_high_ratio"
LABEL_MATURITY = "driftwarden_label_maturity_ratio"
LABELLED_TEXTS = "driftwarden_labelled_texts"
ESTIMATED_ACCURACY = "driftwarden_estimated_accuracy_ratio"
ESTIMATED_RELIABLE = "driftwarden_estimated_accuracy_reliable"
ACCURACY_DEGRADED = "driftwarden_accuracy_degraded"
BIAS_RATE = "driftwarden_bias_rate_ratio"
BIAS_RATE_LOW = "driftwarden_bias_rate_low_ratio"
BIAS_RATE_HIGH = "driftwarden_bias_rate_high_ratio"
BIAS_DISPARITY = "driftwarden_bias_disparity"
LATE_TEXTS = "driftwarden_late_texts_total"
ENCODER_TEXTS = "driftwarden_encoder_texts_total"
ENCODER_DUPLICATES = "driftwarden_encoder_duplicate_texts_total"
ENCODER_CACHE_HITS = "driftwarden_encoder_cache_hits_total"
ENCODER_TOKENS = "driftwarden_encoder_tokens_total"
ENCODER_PADDING = "driftwarden_encoder_padding_tokens_total"
ENCODER_RETRIES = "driftwarden_encoder_out_of_memory_retries_total"
ENCODER_COMPUTE = "driftwarden_encoder_compute_seconds_total"
ENCODER_LOAD = "driftwarden_encoder_load_seconds"
DEVICE_UTILISATION = "driftwarden_device_utilisation_ratio"
DEVICE_MEMORY_USED = "driftwarden_device_memory_used_bytes"
DEVICE_MEMORY = "driftwarden_device_memory_bytes"
OTHER_VERSION = "other"  # versions without a baseline, which clients may name at will

MODEL, VERSION, OUTCOME, STATUS, DETECTOR = "model", "version", "outcome", "status", "detector"
DEVICE = "device"
METRIC = "metric"
ATTRIBUTE, GROUP = "attribute", "group"
JOB = "driftwarden_job"  # `job` is Prometheus's own


@dataclass(frozen=True, slots=True)
class MetricName:
    """A family's type, help text and labels."""

    kind: Literal["counter", "gauge"]
    help: str
    labels: tuple[str, ...]


METRICS: dict[str, MetricName] = {
    BUILD_INFO: MetricName("gauge", "Version of the running driftwarden, always 1", (VERSION,)),
    EVENTS: MetricName("counter", "Prediction events by what became of them", (MODEL, OUTCOME)),
    DEAD_LETTERS: MetricName("counter", "Events refused and kept as dead letters", ()),
    RUNS: MetricName("counter", "Runs recorded by job and status", (JOB, STATUS)),
    DRIFT_P_VALUE: MetricName("gauge", "p-value of the latest judged window", (MODEL, VERSION)),
    DRIFT_DETECTED: MetricName("gauge", "1 when the latest judged window drifted, else 0", (MODEL, VERSION)),
    DRIFT_ACTIONABLE: MetricName(
        "gauge", "1 when the latest judged window drifted and that is worth waking someone, else 0", (MODEL, VERSION)
    ),
    DRIFT_STATISTIC: MetricName("gauge", "Statistic of a detector in the latest window", (MODEL, VERSION, DETECTOR)),
    DRIFT_THRESHOLD: MetricName("gauge", "Threshold of a detector in the latest window", (MODEL, VERSION, DETECTOR)),
    WINDOW_END: MetricName(
        "gauge", "End of the latest window with an answer: too little data is none", (MODEL, VERSION, JOB)
    ),
    LAST_SUCCESS: MetricName("gauge", "When a run of a job last ended without failing", (MODEL, VERSION, JOB)),
    SKETCHED_TEXTS: MetricName("counter", "Texts embedded and folded into sketches", (MODEL, VERSION)),
    TOKEN_MISMATCH: MetricName(
        "counter", "Sampled texts whose token count or tokenizer digest differs from the server's", (MODEL, VERSION)
    ),
    TRUNCATED_TEXTS: MetricName("counter", "Texts longer than the model reads", (MODEL, VERSION)),
    NONFINITE_EMBEDDINGS: MetricName("counter", "Embeddings with NaN or infinity, kept out", (MODEL, VERSION)),
    UNEMBEDDED_TEXTS: MetricName(
        "gauge", "Stored texts waiting to be embedded; version other: those without a baseline", (MODEL, VERSION)
    ),
    QUALITY: MetricName("gauge", "Measure of the latest window by its labels", (MODEL, VERSION, METRIC)),
    QUALITY_LOW: MetricName("gauge", "Lower end of the measure's interval", (MODEL, VERSION, METRIC)),
    QUALITY_HIGH: MetricName("gauge", "Upper end of the measure's interval", (MODEL, VERSION, METRIC)),
    LABEL_MATURITY: MetricName("gauge", "Share of the latest measured window that is labelled", (MODEL, VERSION)),
    LABELLED_TEXTS: MetricName("gauge", "Labelled texts of the latest measured window", (MODEL, VERSION)),
    ESTIMATED_ACCURACY: MetricName("gauge", "Accuracy that scores promise, without labels", (MODEL, VERSION)),
    ESTIMATED_RELIABLE: MetricName("gauge", "1 when that promise may be believed, else 0", (MODEL, VERSION)),
    ACCURACY_DEGRADED: MetricName("gauge", "1 while an incident of degraded accuracy is open", (MODEL, VERSION)),
    BIAS_RATE: MetricName("gauge", "Rate of a group in the latest audit", (MODEL, VERSION, ATTRIBUTE, GROUP, METRIC)),
    BIAS_RATE_LOW: MetricName("gauge", "Lower end of the rate's interval", (MODEL, VERSION, ATTRIBUTE, GROUP, METRIC)),
    BIAS_RATE_HIGH: MetricName("gauge", "Upper end of the rate's interval", (MODEL, VERSION, ATTRIBUTE, GROUP, METRIC)),
    BIAS_DISPARITY: MetricName("gauge", "1 when the latest audit shows a disparity, else 0", (MODEL, VERSION)),
    LATE_TEXTS: MetricName("counter", "Texts that arrived after the verdict on their window", (MODEL, VERSION)),
    ENCODER_TEXTS: MetricName("counter", "Texts this process was asked to embed", (MODEL,)),
    ENCODER_DUPLICATES: MetricName("counter", "Texts equal to another one of their batch, embedded once", (MODEL,)),
    ENCODER_CACHE_HITS: MetricName("counter", "Distinct texts whose vector was still in memory", (MODEL,)),
    ENCODER_TOKENS: MetricName("counter", "Tokens computed, padding aside", (MODEL,)),
    ENCODER_PADDING: MetricName("counter", "Padding computed beside them; 0 when packed", (MODEL,)),
    ENCODER_RETRIES: MetricName("counter", "Batches halved because memory did not suffice", (MODEL,)),
    ENCODER_COMPUTE: MetricName("counter", "Time spent in the model", (MODEL,)),
    ENCODER_LOAD: MetricName("gauge", "How long loading and checking the model took the last time", (MODEL,)),
    DEVICE_UTILISATION: MetricName("gauge", "Share of the last second in which the GPU computed", (DEVICE,)),
    DEVICE_MEMORY_USED: MetricName("gauge", "GPU memory in use, by whomever", (DEVICE,)),
    DEVICE_MEMORY: MetricName("gauge", "GPU memory in all", (DEVICE,)),
}
