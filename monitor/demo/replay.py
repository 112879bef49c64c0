"""The demo: train, register, baseline, replay two weeks through the real HTTP capture, judge every window."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import uvicorn
from sqlalchemy.orm import Session

from monitor import store
from monitor.app import create_app
from monitor.baseline import build_baseline
from monitor.clock import Clock, ReplayedClock, floor_to
from monitor.demo import incidents as calendars
from monitor.demo.traffic import Serving, World
from monitor.errors import InputError, TryAgainLater
from monitor.models import RegistryModels, open_registry
from monitor.policy import Policy, load_policy
from monitor.runner import JOB_DRIFT, Runner
from monitor.settings import Settings
from monitor.texts import TextTable

MODEL, ALIAS = "support-intents", "champion"
WINDOW = timedelta(hours=12)
TICKETS_PER_WINDOW = 300
BATCH = 100
POLICY_NAME = "driftwarden.toml"
SEED = 20_260

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Demo:
    """What the demo made and measured."""

    settings: Settings
    policy: Policy
    runner: Runner
    answer: dict[str, Any]
    begin: datetime
    end: datetime


def demo_settings(folder: Path) -> Settings:
    """Return settings that keep everything the demo makes inside its folder."""
    return Settings(
        database_url=f"sqlite:///{folder / 'driftwarden.db'}",
        policy_file=folder / POLICY_NAME,
        cache_dir=folder / "cache",
        mlflow_tracking_uri=f"sqlite:///{folder / 'mlflow.db'}",
    )


WRITTEN = "# written by `driftwarden demo`"
POLICY_TEXT = f"""\
{WRITTEN}
[models."{MODEL}"]
version = "1"

[models."{MODEL}".drift]
window_hours = {int(WINDOW / timedelta(hours=1))}
grace_minutes = 0
"""


def require_folder(folder: Path, *, force: bool) -> None:
    """Raise InputError when the folder holds anything; with `force` an earlier demo may be there, and only that."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is no folder; give another --dir")
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not _holds_demo(folder):
        raise InputError(f"{folder} is not empty and holds no demo; give another --dir")
    if not force:
        raise InputError(f"{folder} is not empty: it holds an earlier demo; --force replaces it, --dir names another")


def prepare_folder(folder: Path, *, force: bool) -> None:
    """Make the demo's folder, in place of an earlier demo with `force`. Raises as `require_folder`."""
    require_folder(folder, force=force)
    if folder.exists() and _holds_demo(folder):
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / POLICY_NAME).write_text(POLICY_TEXT, encoding="utf-8")


def _holds_demo(folder: Path) -> bool:
    policy = folder / POLICY_NAME
    return policy.is_file() and policy.read_text(encoding="utf-8", errors="replace").startswith(WRITTEN)


def run_demo(folder: Path, world: World, *, days: int, clock: Clock, say: Say) -> Demo:
    """Register the world's model, build its baseline, replay `days` of its traffic and judge every window."""
    settings = demo_settings(folder)
    policy = load_policy(settings.policy_file)
    engine = store.open_engine(settings.database_url)
    store.upgrade_schema(engine)
    registry = open_registry(settings.mlflow_tracking_uri, settings.cache_dir)
    resolved = registry.register_checkpoint(world.model, world.tokenizer, name=MODEL, alias=ALIAS, tags={})
    models = RegistryModels(registry)
    end = floor_to(clock.now(), WINDOW)
    windows = days * int(timedelta(days=1) / WINDOW)
    begin = end - windows * WINDOW
    replayed = ReplayedClock(begin)
    runner = Runner(engine=engine, policy=policy, models=models, clock=replayed, code_version="demo")
    loaded = models.load(MODEL, resolved.version, policy.model(MODEL))
    say(f"registered {MODEL}/{resolved.version} ({resolved.model_digest[:19]}…)")
    built = build_baseline(
        loaded, TextTable(tuple(ticket.text for ticket in world.reference), None, None), engine=engine, seed=SEED
    )
    models.tag_baseline(MODEL, resolved.version, built.digest)
    say(f"baseline of {built.summary['texts']} texts ({built.digest[:19]}…)")
    plan = calendars.calendar(begin=begin, windows=windows, step=WINDOW)
    serving = Serving(world, loaded.encoder, rng=np.random.default_rng(SEED))
    with served(create_app(settings, policy, replayed)) as address, httpx.Client(base_url=address, timeout=60) as http:
        for number in range(windows):
            start = begin + number * WINDOW
            incident = calendars.active(plan, start)
            tickets = world.tickets(TICKETS_PER_WINDOW, rng=np.random.default_rng([SEED, number]), incident=incident)
            replayed.advance_to(start + WINDOW)
            _post(http, serving.events(tickets, version=resolved.version, start=start, span=WINDOW, incident=incident))
            for run in runner.tick(MODEL):
                verdict = "drift" if run.drift else run.status if run.status != "ok" else "no drift"
                say(f"{run.window_start:%Y-%m-%d %H:%M}  {verdict:<10}  {incident or ''}".rstrip())
    with Session(engine) as session:
        runs = store.runs(session, job=JOB_DRIFT, model=MODEL)
        results = store.results_of(session, [run.id for run in runs])
    answer = calendars.score(runs, results, incidents=plan, step=WINDOW)
    return Demo(settings, policy, runner, answer, begin, end)


def _post(http: httpx.Client, events: Sequence[dict[str, Any]]) -> None:
    for first in range(0, len(events), BATCH):
        answer = http.post("/v1/predictions", json=list(events[first : first + BATCH]))
        if answer.status_code != httpx.codes.ACCEPTED:
            raise TryAgainLater(f"capture answered {answer.status_code}: {answer.text[:200]}")
        if answer.json()["rejected"]:
            raise InputError(f"capture rejected a replayed event: {answer.json()['rejected'][0]}")


@contextmanager
def served(app: Any) -> Iterator[str]:
    """Serve an app on a free loopback port in a thread; yield its address."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="on"))
    thread = threading.Thread(target=server.run, name="demo-capture", daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise TryAgainLater("the demo's capture service did not start")
        thread.join(timeout=0.02)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=30)
