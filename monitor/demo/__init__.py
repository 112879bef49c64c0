"""The demo: trains a small model, replays traffic with incidents, and never talks to a network."""
