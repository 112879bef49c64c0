"""HTTP: capture, health, metrics and the first pages; no route judges or embeds."""
