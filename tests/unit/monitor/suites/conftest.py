"""Tiny checkpoints, made as the encoder's tests make them."""

from tests.unit.monitor.embed.conftest import build

__all__ = ["build"]
