"""Drift verdicts against every peer's, on the same embeddings and seeds: measures detectors, never changes them."""
