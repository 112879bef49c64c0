"""The schema of the store, step by step: never holds application logic."""
