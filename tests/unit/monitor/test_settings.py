import pytest

from monitor.errors import InputError
from monitor.settings import load_settings


def test_an_unknown_variable_is_an_error_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIFTWARDEN_DATABSE_URL", "sqlite:///x.db")
    with pytest.raises(InputError, match="DRIFTWARDEN_DATABSE_URL; known are"):
        load_settings()


@pytest.mark.parametrize("threads", ["0", "many"])
def test_threads_are_a_positive_number(monkeypatch: pytest.MonkeyPatch, threads: str) -> None:
    monkeypatch.setenv("DRIFTWARDEN_THREADS", threads)
    with pytest.raises(InputError, match=f"DRIFTWARDEN_THREADS='{threads}'"):
        load_settings()


def test_a_bad_value_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIFTWARDEN_PORT", "eighty")
    with pytest.raises(InputError, match="DRIFTWARDEN_PORT='eighty'"):
        load_settings()


def test_the_registry_is_mlflows_own_variable_when_ours_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://registry.example:5000")
    assert load_settings().mlflow_tracking_uri == "http://registry.example:5000"
