"""What differs between machines: URLs, paths and secrets, from the environment alone."""

import os
from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from monitor.errors import InputError

PREFIX = "DRIFTWARDEN_"
LOCAL_STORE, LOCAL_REGISTRY = "sqlite:///driftwarden.db", "sqlite:///mlflow.db"
NOT_SETTINGS = frozenset({"DRIFTWARDEN_REQUIRE_SERVICES"})  # read by the test-suite alone


class Settings(BaseSettings):
    """Frozen settings; every field is the environment variable `DRIFTWARDEN_<FIELD>`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    database_url: str = Field(default=LOCAL_STORE, description="sqlite:///path or postgresql://…")
    policy_file: Path = Field(default=Path("driftwarden.toml"), description="the reviewed policy")
    cache_dir: Path = Field(
        default_factory=lambda: Path.home() / ".cache" / "driftwarden", description="verified model artifacts"
    )
    mlflow_tracking_uri: str = Field(
        default_factory=lambda: os.environ.get("MLFLOW_TRACKING_URI", LOCAL_REGISTRY),
        description="the model registry; MLFLOW_TRACKING_URI counts too",
    )
    threads: int | None = Field(default=None, ge=1, le=1024, description="of the encoder on a CPU; torch's own choice")
    host: str = Field(default="127.0.0.1", description="address to serve on")
    port: int = Field(default=8000, ge=0, le=65535, description="port to serve on")


def load_settings() -> Settings:
    """Read the environment. Raises InputError naming an unknown or unreadable variable."""
    known = {PREFIX + name.upper() for name in Settings.model_fields} | NOT_SETTINGS
    unknown = sorted(name for name in os.environ if name.upper().startswith(PREFIX) and name.upper() not in known)
    if unknown:
        raise InputError(
            f"unknown environment variable {unknown[0]}; known are {', '.join(sorted(known - NOT_SETTINGS))}"
        )
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = PREFIX + str(first["loc"][0]).upper()
        raise InputError(f"{name}={first['input']!r}: {first['msg']}") from None
