"""The tags by which a registered version names its baseline."""

BASELINE_DIGEST_TAG = "driftwarden.baseline_digest"
MODEL_DIGEST_TAG = "driftwarden.model_digest"
