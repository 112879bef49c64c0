"""Bias audits over rows from files or the store: which groups there are, and what the detectors say of them."""
