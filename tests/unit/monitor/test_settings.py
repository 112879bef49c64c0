import pytest

from monitor.errors import InputError
from monitor.settings import load_settings


def test_an_unknown_variable_is_an_error_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIFTWARDEN_DATABSE_URL", "sqlite:///x.db")
    with pytest.raises(InputError, match="DRIFTWARDEN_DATABSE_URL; known are"):
        load_settings()


def test_a_bad_value_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIFTWARDEN_PORT", "eighty")
    with pytest.raises(InputError, match="DRIFTWARDEN_PORT='eighty'"):
        load_settings()


def test_the_registry_is_mlflows_own_variable_when_ours_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://registry.example:5000")
    assert load_settings().mlflow_tracking_uri == "http://registry.example:5000"
