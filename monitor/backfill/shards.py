"""Cut Parquet files into shards: ranges of rows that are embedded, kept and repeated as one."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from monitor.backfill.sources import Source, open_filesystem, public, storage_told
from monitor.errors import InputError, one_line

ROWS_PER_SHARD = 100_000
COLUMNS = ("text", "text_pair", "prediction", "confidence", "scores")
FOOTERS_AT_ONCE = 16  # a footer is one small read: over a network its latency is what costs


@dataclass(frozen=True, slots=True)
class Shard:
    """Rows [first_row, first_row + rows) of a file.

    groups : the row groups that hold them, `skip` rows of the first of which come before. columns : those of COLUMNS
    that the file has. fitted : rows, counted from first_row, that the basis was fitted on and the sketch leaves out.
    """

    uri: str
    written: str  # size and time of change: a rewritten file is another shard
    first_row: int
    rows: int
    groups: tuple[int, ...]
    skip: int
    columns: tuple[str, ...]
    fitted: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """The URI without its secrets, for messages, ids and the manifest."""
        return public(self.uri)

    @property
    def key(self) -> str:
        """What the manifest knows this shard by."""
        return f"{self.name}#{self.first_row}+{self.rows}@{self.written}"

    def to_json(self) -> str:
        """Return the form that any engine carries."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Shard":
        """Read that form."""
        found: dict[str, Any] = json.loads(text)
        found |= {name: tuple(value) for name, value in found.items() if isinstance(value, list)}
        return cls(**found)


def cut_shards(sources: Sequence[Source], *, rows_per_shard: int = ROWS_PER_SHARD) -> list[Shard]:
    """Return the shards of all files in order; a row group is cut where it is longer, small ones are joined.

    Raises InputError naming file and column when a file is no Parquet, has no texts, or has other columns than the
    first: a column filled in some files alone would look like drift.
    """
    with ThreadPoolExecutor(FOOTERS_AT_ONCE) as pool:
        footers = list(pool.map(_read_footer, sources))
    for source, (columns, _) in zip(sources, footers, strict=True):
        if set(columns) != set(footers[0][0]):
            odd = min(set(columns) ^ set(footers[0][0]))
            raise InputError(f"{sources[0].name} and {source.name} must both have a column {odd} or neither")
    return [
        shard
        for source, (columns, groups) in zip(sources, footers, strict=True)
        for shard in _cut(source, columns, groups, rows_per_shard=rows_per_shard)
    ]


def _read_footer(source: Source) -> tuple[tuple[str, ...], list[int]]:
    filesystem, path = open_filesystem(source.uri)
    with storage_told(source.uri), filesystem.open_input_file(path) as stream:
        try:
            file = pq.ParquetFile(stream)
        except pa.ArrowInvalid as error:
            raise InputError(f"{source.name}: not readable Parquet ({one_line(error)})") from None
        schema = file.schema_arrow
        groups = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
    if "text" not in schema.names:
        raise InputError(f"{source.name}: no column text; it has {', '.join(schema.names[:20]) or 'none'}")
    for name in COLUMNS:
        if schema.names.count(name) > 1:
            raise InputError(f"{source.name}: column {name} stands there {schema.names.count(name)} times")
    for name in {"text", "text_pair"} & set(schema.names):
        if not _is_text(schema.field(name).type):
            raise InputError(f"{source.name}: column {name} must hold strings, got {schema.field(name).type}")
    return tuple(name for name in COLUMNS if name in schema.names), groups


def _is_text(kind: Any) -> bool:
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_null(plain):  # what a writer makes of a column without a value: every row is told, and none stops
        return True
    return bool(pa.types.is_string(plain) or pa.types.is_large_string(plain) or pa.types.is_string_view(plain))


def _cut(source: Source, columns: tuple[str, ...], groups: Sequence[int], *, rows_per_shard: int) -> list[Shard]:
    ends = np.cumsum(groups)
    whole = int(ends[-1]) if len(groups) else 0
    cuts = [0]
    for end in (int(end) for end in ends):
        start = cuts[-1]
        while end - start > rows_per_shard:  # a group longer than a shard, or several that together are
            before = int(np.searchsorted(ends, start + rows_per_shard, side="right")) - 1
            start = int(ends[before]) if before >= 0 and ends[before] > start else start + rows_per_shard
            cuts.append(start)
    cuts += [whole] if whole > cuts[-1] else []
    shards = []
    for start, end in pairwise(cuts):
        first, last = (int(np.searchsorted(ends, row, side="right")) for row in (start, end - 1))
        skip = start - (int(ends[first - 1]) if first else 0)
        held = tuple(range(first, last + 1))
        shards.append(Shard(source.uri, source.written, start, end - start, held, skip, columns))
    return shards


def choose_fitted(shards: Sequence[Shard], *, texts: int, at_most_shards: int, seed: int) -> list[Shard]:
    """Return the shards with the rows that a basis is fitted on: about `texts` of them, and at most half of all.

    They come from a few shards, evenly: reading some of every shard would read all of the input twice.
    """
    rng = np.random.default_rng(seed)
    chosen = set(rng.permutation(len(shards))[:at_most_shards].tolist())
    held = sum(shards[i].rows for i in chosen)
    wanted = min(texts, sum(shard.rows for shard in shards) // 2)
    marked = []
    for position, shard in enumerate(shards):
        share = min(round(wanted * shard.rows / held), shard.rows // 2) if position in chosen else 0
        rows = np.sort(rng.permutation(shard.rows)[:share]).tolist()
        marked.append(replace(shard, fitted=tuple(rows)))
    return marked
