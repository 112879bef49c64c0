"""The packed body: every linear layer over all tokens of a batch at once, no padding anywhere."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from monitor.embed.batch import PackedBatch
from monitor.embed.linear import Linear, Norm

PACKED_TYPES = ("roberta", "xlm-roberta", "camembert")

_Attention = Callable[[torch.Tensor, PackedBatch, int], torch.Tensor]
_MakeLinear = Callable[[torch.Tensor, torch.Tensor], Linear]


class UnknownLayout(Exception):
    """A model that the packed body does not know how to run."""


@dataclass(frozen=True, slots=True)
class _Layer:
    query_key_value: Linear
    attended: Linear
    attended_norm: Norm
    up: Linear
    down: Linear
    norm: Norm
    activation: Callable[[torch.Tensor], torch.Tensor] | None  # None: the exact GELU, which `up` fuses

    def __call__(self, x: torch.Tensor, batch: PackedBatch, attention: _Attention, heads: int) -> torch.Tensor:
        mixed = attention(self.query_key_value(x), batch, heads)
        x = self.attended.plus_norm(mixed, x, self.attended_norm)
        inner = self.up.gelu(x) if self.activation is None else self.activation(self.up(x))
        return self.down.plus_norm(inner, x, self.norm)


@dataclass(frozen=True, slots=True)
class PackedBody:
    """A RoBERTa encoder as plain tensors; made by `packed_body`, run under torch.inference_mode."""

    words: torch.Tensor
    positions: torch.Tensor
    token_type: torch.Tensor
    norm: Norm
    layers: tuple[_Layer, ...]
    heads: int
    attention: _Attention

    def __call__(self, batch: PackedBatch) -> torch.Tensor:
        """Return the last hidden state of every token, (T, d)."""
        x = functional.embedding(batch.ids, self.words) + self.token_type
        x = self.norm(x.add_(functional.embedding(batch.positions, self.positions)))
        for layer in self.layers:
            x = layer(x, batch, self.attention, self.heads)
        return x


def attention_by_runs(query_key_value: torch.Tensor, batch: PackedBatch, heads: int) -> torch.Tensor:
    """Attend within every text: one call per run of equal lengths; (T, 3 d) → (T, d)."""
    tokens, width = query_key_value.shape[0], query_key_value.shape[1] // 3
    found = query_key_value.new_empty((tokens, width))
    for start, texts, length in batch.runs:
        stop = start + texts * length
        parts = query_key_value[start:stop].view(texts, length, 3, heads, width // heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        found[start:stop].view(texts, length, heads, width // heads).copy_(mixed.transpose(1, 2))
    return found


def attention_varlen(query_key_value: torch.Tensor, batch: PackedBatch, heads: int) -> torch.Tensor:
    """Attend within every text by one block-diagonal flash-attention call; (T, 3 d) → (T, d), CUDA in half precision.

    num_splits=1 keeps the order of sums, so that a text's result does not depend on its neighbours.
    """
    from torch.nn.attention.varlen import varlen_attn  # loads CUDA's operators: only where there is a GPU

    tokens, width = query_key_value.shape[0], query_key_value.shape[1] // 3
    query, key, value = query_key_value.view(tokens, 3, heads, width // heads).unbind(1)
    longest = max(batch.lengths)
    mixed = varlen_attn(query, key, value, batch.boundaries, batch.boundaries, longest, longest, num_splits=1)
    if not isinstance(mixed, torch.Tensor):
        raise TypeError(f"varlen_attn returned {type(mixed).__name__}, a tensor was expected")
    return mixed.reshape(tokens, width)


def packed_body(model: Any, *, linear: _MakeLinear, attention: _Attention) -> PackedBody:
    """Take the weights of a loaded transformers model. Raises UnknownLayout for another architecture than RoBERTa's."""
    config = model.config
    if config.model_type not in PACKED_TYPES:
        raise UnknownLayout(f"model type {config.model_type}")
    if config.is_decoder or config.add_cross_attention:
        raise UnknownLayout("a decoder")
    base = model.base_model
    try:
        embeddings = base.embeddings
        return PackedBody(
            words=embeddings.word_embeddings.weight.detach(),
            positions=embeddings.position_embeddings.weight.detach(),
            token_type=embeddings.token_type_embeddings.weight.detach()[0],
            norm=_norm(embeddings.LayerNorm),
            layers=tuple(_layer(layer, linear, gelu=config.hidden_act == "gelu") for layer in base.encoder.layer),
            heads=int(config.num_attention_heads),
            attention=attention,
        )
    except AttributeError as error:
        raise UnknownLayout(str(error)) from error


def _layer(layer: Any, linear: _MakeLinear, *, gelu: bool) -> _Layer:
    attention = layer.attention.self
    fused = [attention.query, attention.key, attention.value]
    return _Layer(
        query_key_value=linear(
            torch.cat([one.weight.detach() for one in fused]), torch.cat([one.bias.detach() for one in fused])
        ),
        attended=_linear(layer.attention.output.dense, linear),
        attended_norm=_norm(layer.attention.output.LayerNorm),
        up=_linear(layer.intermediate.dense, linear),
        down=_linear(layer.output.dense, linear),
        norm=_norm(layer.output.LayerNorm),
        activation=None if gelu else layer.intermediate.intermediate_act_fn,
    )


def _linear(module: Any, linear: _MakeLinear) -> Linear:
    return linear(module.weight.detach(), module.bias.detach())


def _norm(module: Any) -> Norm:
    return Norm(module.weight.detach(), module.bias.detach(), float(module.eps))
