"""A runner over a baseline of usual texts."""

import pytest
from sqlalchemy import Engine

from monitor.baseline import build_baseline
from monitor.clock import ReplayedClock
from monitor.runner import Runner
from monitor.texts import TextTable
from tests.unit.monitor.runner.traffic import BEGIN, POLICY, Models, WordsEncoder, texts


@pytest.fixture
def runner(engine: Engine) -> Runner:
    models = Models(WordsEncoder())
    build_baseline(models.model, TextTable(tuple(texts(1200, seed=1)), None, None), engine=engine, seed=0)
    clock = ReplayedClock(BEGIN)
    return Runner(engine=engine, policy=POLICY, models=models, clock=clock, code_version="test")
