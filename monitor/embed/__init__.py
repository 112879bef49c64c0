"""Turn texts into vectors and predictions with a RoBERTa-family checkpoint folder (loads torch and transformers).

This folder never reaches the network, runs no code of a checkpoint, and logs no text.
"""

from monitor.embed.answers import Encoded, Predicted
from monitor.embed.cache import EmbeddingCache
from monitor.embed.counting import EncoderCounts
from monitor.embed.encoder import Encoder
from monitor.embed.errors import EmbeddingError, OutOfMemory

__all__ = ["EmbeddingCache", "EmbeddingError", "Encoded", "Encoder", "EncoderCounts", "OutOfMemory", "Predicted"]
