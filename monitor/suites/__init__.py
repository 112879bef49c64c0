"""Texts made to be asked: identity swaps in templates, and suites of cases with a known answer."""
