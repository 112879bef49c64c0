"""Which events are kept: by a hash of the event's id, so that replicas agree, and with a known probability."""

import hashlib
import threading
from datetime import datetime, timedelta

from monitor.clock import floor_to
from monitor.policy import ModelPolicy

HOUR = timedelta(hours=1)
MAX_STRATA = 100_000


def unit_interval(model: str, event_id: str) -> float:
    """Return a number in [0, 1) that depends on model and event id alone.

    >>> unit_interval("intents", "e1") == unit_interval("intents", "e1")
    True
    """
    key = f"{model}\x1f{event_id}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(key, digest_size=7).digest(), "big") / 2**56


class Sampler:
    """Keeps a share of events by hash, and the first events of every predicted class in every hour in any case.

    The hash alone decides which events are **representative**: those below the rate, a uniform sample of all traffic
    whatever the floors add. Sketches fold these and no others; with the floors' events among them rare classes would
    count for more than they are, and every window would look like drift. Events that a floor alone keeps stand in the
    store for review and accuracy.

    The inclusion probability is 1 for an event that arrives while its class is below the floor, and the rate after:
    fixed before the event's hash is looked at, so weights of 1/probability are unbiased (Horvitz & Thompson 1952).
    The floors are counted per process.
    """

    def __init__(self) -> None:
        self._granted: dict[tuple[str, str | None, datetime], int] = {}
        self._lock = threading.Lock()

    def probability(self, policy: ModelPolicy, *, model: str, label: str | None, timestamp: datetime) -> float:
        """Return the inclusion probability of the next event; one that its class's floor keeps takes a place of it."""
        if policy.sampling_rate >= 1 or policy.class_floor_per_hour == 0:
            return policy.sampling_rate
        stratum = (model, label, floor_to(timestamp, HOUR))
        with self._lock:
            granted = self._granted.get(stratum, 0)
            if granted >= policy.class_floor_per_hour:
                return policy.sampling_rate
            if len(self._granted) >= MAX_STRATA:
                self._forget_old()
            self._granted[stratum] = granted + 1
        return 1.0

    def give_back(self, *, model: str, label: str | None, timestamp: datetime) -> None:
        """Free the place that an event took of its class's floor: it was there already, or could not be written."""
        stratum = (model, label, floor_to(timestamp, HOUR))
        with self._lock:
            if self._granted.get(stratum, 0) > 0:
                self._granted[stratum] -= 1

    def _forget_old(self) -> None:
        middle = sorted(hour for _, _, hour in self._granted)[len(self._granted) // 2]
        self._granted = {key: count for key, count in self._granted.items() if key[2] > middle}
