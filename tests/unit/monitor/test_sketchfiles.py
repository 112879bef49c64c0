"""Sketch files that others wrote: one line for whatever does not belong together, nothing of it compared."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detectors.encoding import pack
from detectors.errors import DetectorInputError
from detectors.sketch import Sketch, fit_basis, fold
from monitor.errors import InputError
from monitor.sketchfiles import MAGIC, SketchFile, read_sketch_file


def whole() -> SketchFile:
    rng = np.random.default_rng(0)
    basis = fit_basis(rng.normal(size=(200, 8)), rng=rng, classes=["a"])
    sketch = fold(basis, rng.normal(size=(60, 8)), row_ids=np.arange(60))
    return SketchFile("m", "1", "sha256:0", "sha256:1", "cpu", basis, sketch, sketch, counts={"n": 60})


def signed(head: bytes, rest: bytes = b"", *, length: int | None = None) -> bytes:
    body = MAGIC + (2).to_bytes(2, "little") + (len(head) if length is None else length).to_bytes(4, "little")
    body += head + rest
    return body + hashlib.sha256(body).digest()


def layout(dtype: str, shape: list[Any]) -> bytes:
    return signed(json.dumps({"header": {}, "arrays": [["basis", dtype, shape]]}).encode(), b"x" * 64)


def test_a_whole_file_is_read_as_it_was_written() -> None:
    assert SketchFile.from_bytes(whole().to_bytes()).to_bytes() == whole().to_bytes()


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"PK\x03\x04" + bytes(100),
        b"\x80\x04cos\nsystem\n" + bytes(100),
        signed(b"{{"),
        signed(b"[]"),
        signed(b"{}"),
        signed(b"{}", length=2**32 - 1),
        signed(b"[" * 100_000),
        layout("<f8", [2**40]),
        layout("<f8", [2**32, 2**32]),
        layout("<f8", [-1]),
        layout("<f8", ["1"]),
        layout("|O", [1]),
        layout("zz", [1]),
        pack(MAGIC, {"evil": 1}, {}),
    ],
)
def test_hostile_bytes_are_one_line_naming_the_file(tmp_path: Path, payload: bytes) -> None:
    (tmp_path / "h.sketch").write_bytes(payload)
    with pytest.raises(InputError, match=r"h.sketch: ") as caught:
        read_sketch_file(tmp_path / "h.sketch")
    assert len(str(caught.value).splitlines()) == 1


def _sketch(**changes: Callable[[Any], Any]) -> Callable[[SketchFile], SketchFile]:
    def change(file: SketchFile) -> SketchFile:
        changed = {name: of(getattr(file.sketch, name)) for name, of in changes.items()}
        return replace(file, sketch=replace(file.sketch, **changed))

    return change


def _basis(name: str, of: Callable[[Any], Any]) -> Callable[[SketchFile], SketchFile]:
    def change(file: SketchFile) -> SketchFile:
        basis = replace(file.basis, **{name: of(getattr(file.basis, name))})
        like = replace(file.sketch, basis_digest=basis.digest())
        return replace(file, basis=basis, sketch=like, reference=like)

    return change


@pytest.mark.parametrize(
    "change",
    [
        _sketch(basis_digest=lambda _: "sha256:0"),
        _sketch(n=lambda _: -5),
        _sketch(n=lambda _: "60"),
        _sketch(n=lambda n: n + 1),
        _sketch(total=lambda x: x[:3]),
        _sketch(total=lambda x: x * np.nan),
        _sketch(rows=lambda x: x[:5]),
        _sketch(row_ids=lambda x: x.astype(np.float64)),
        _sketch(row_cells=lambda x: x + 1000),
        _sketch(row_classes=lambda x: x + 1000),
        _sketch(cell_counts=lambda x: x - x.max()),
        _basis("features", lambda x: x[:3]),
        _basis("centroids", lambda x: x * np.nan),
        _basis("components", lambda x: x.ravel()),
        lambda file: replace(file, model_digest=7),
        lambda file: replace(file, counts={"n": "x"}),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(change: Callable[[SketchFile], SketchFile]) -> None:
    with pytest.raises(DetectorInputError, match="no whole sketch file"):
        SketchFile.from_bytes(change(whole()).to_bytes())


def test_a_sketch_of_nothing_is_whole() -> None:
    file = whole()
    empty = fold(file.basis, np.zeros((0, 8)), row_ids=np.zeros(0, dtype=np.int64))
    assert isinstance(SketchFile.from_bytes(replace(file, sketch=empty, reference=None).to_bytes()).sketch, Sketch)
