"""What the demo serves: tickets by the hour, answered by the model with the right or a wrong tokenizer."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import numpy as np

from monitor.demo import incidents
from monitor.demo.corpus import Ticket

UNSEEN_SHARE = 0.25


class Answering(Protocol):
    """Anything that tokenises, counts and predicts: the registered encoder, or one with a wrong tokenizer."""

    def predict(self, texts: Sequence[str]) -> tuple[list[str], Any]:
        """Return labels and probabilities (n, C)."""
        ...

    def token_counts(self, texts: Sequence[str]) -> Any:
        """Return tokens per text (n,)."""
        ...


@dataclass(frozen=True, slots=True)
class World:
    """A trained model with texts to reference and to draw traffic from."""

    model: Any
    tokenizer: Any
    wrong: Answering
    reference: Sequence[Ticket]
    seen: Sequence[Ticket]
    unseen: Sequence[Ticket]

    def tickets(self, count: int, *, rng: np.random.Generator, incident: str | None) -> list[Ticket]:
        """Draw a window's tickets: `count` by the usual mix, changed by the incident that is on."""
        if incident == incidents.UNSEEN_TOPIC:
            new = round(count * UNSEEN_SHARE)
            return _draw(self.seen, count - new, rng=rng) + _draw(self.unseen, new, rng=rng)
        if incident == incidents.CLASS_MIX:
            labels = sorted({ticket.label for ticket in self.seen})
            risen = set(labels[: max(1, len(labels) // 5)])
            weights = np.array([4.0 if ticket.label in risen else 1.0 for ticket in self.seen])
            return _draw(self.seen, count, rng=rng, weights=weights)
        return _draw(self.seen, count, rng=rng)


def _draw(tickets: Sequence[Ticket], count: int, *, rng: np.random.Generator, weights: Any = None) -> list[Ticket]:
    chances = None if weights is None else weights / weights.sum()
    return [tickets[int(i)] for i in rng.choice(len(tickets), size=count, replace=count > len(tickets), p=chances)]


class Serving:
    """The model server of the demo: turns tickets into prediction events."""

    def __init__(self, world: World, right: Answering, *, rng: np.random.Generator) -> None:
        self._right, self._wrong, self._rng = right, world.wrong, rng
        self._served = 0

    def events(
        self, tickets: Sequence[Ticket], *, version: str, start: datetime, span: timedelta, incident: str | None
    ) -> list[dict[str, Any]]:
        """Answer tickets at random instants of [start, start + span)."""
        answering = self._wrong if incident == incidents.WRONG_TOKENIZER else self._right
        texts = [ticket.text for ticket in tickets]
        labels, probabilities = answering.predict(texts)
        counts = answering.token_counts(texts)
        instants = np.sort(self._rng.uniform(0, span.total_seconds(), size=len(tickets)))
        events = []
        for position, ticket in enumerate(tickets):
            self._served += 1
            confidence = float(np.max(probabilities[position]))
            events.append(
                {
                    "id": f"demo-{self._served:07d}",
                    "model": "support-intents",
                    "version": version,
                    "timestamp": (start + timedelta(seconds=float(instants[position]))).isoformat(),
                    "text": ticket.text,
                    "prediction": labels[position],
                    "scores": {labels[position]: confidence, "*rest*": 1.0 - confidence},
                    "latency_seconds": round(float(self._rng.gamma(4, 0.006)), 4),
                    "attributes": {"channel": "email" if position % 3 else "chat"},
                    "endpoint": "/classify",
                    "token_count": int(counts[position]),
                }
            )
        return events
