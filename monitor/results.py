"""Reading results: the database, the policy and the clock, with the baselines decoded once."""

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from detectors.sketch import Basis, Sketch
from monitor import store
from monitor.clock import Clock
from monitor.errors import InputError
from monitor.policy import Policy


@dataclass(frozen=True, slots=True)
class Loaded:
    """A stored baseline, decoded."""

    stored: store.StoredBaseline
    basis: Basis
    reference: Sketch

    @property
    def reference_texts(self) -> dict[int, str]:
        """Reference texts by row id."""
        return {int(i): text for i, text in zip(self.reference.row_ids, self.stored.reference_texts, strict=True)}


@dataclass(slots=True, kw_only=True)
class Results:
    """What pages, reports and jobs read from."""

    engine: Engine
    policy: Policy
    clock: Clock
    code_version: str
    _baselines: dict[tuple[str, str, str, datetime], Loaded] = field(default_factory=dict)

    def baseline(self, model: str, version: str) -> Loaded:
        """Return the version's newest baseline. Raises InputError when none was built."""
        with Session(self.engine) as session:
            stored = store.latest_baseline(session, model=model, version=version)
        if stored is None:
            raise InputError(
                f"{model}/{version} has no baseline; build one: driftwarden baseline {model}/{version} --reference FILE"
            )
        key = (model, version, stored.digest, stored.created_at)  # versions of one content share a digest
        loaded = self._baselines.get(key)
        if loaded is None:
            loaded = Loaded(stored, Basis.from_bytes(stored.basis), Sketch.from_bytes(stored.reference))
            self._baselines = {key: loaded}
        return loaded
