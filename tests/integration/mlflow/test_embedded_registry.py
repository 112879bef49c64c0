"""The embedded registry: MLflow on a SQLite file, artifacts beside it."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mlflow", reason="needs the registry extra")
pytest.importorskip("transformers", reason="needs the models extra")

from monitor.embed import Encoder
from registry.client import Registry, without_secrets
from registry.errors import ArtifactRefused, ModelNotFound, RegistryUnreachable
from registry.model import ModelRef, ResolvedModel, content_digest, parse_ref

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:::mlflow"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="module")
def registry(home: Path) -> Registry:
    return Registry(f"sqlite:///{home}/mlflow.db", home / "cache")


@pytest.fixture(scope="module")
def registered(registry: Registry, tiny: tuple[Any, Any]) -> ResolvedModel:
    model, tokenizer = tiny
    return registry.register_checkpoint(model, tokenizer, name="intents", alias="champion", tags={"team": "support"})


def test_a_registered_model_resolves_by_alias_and_by_version(registry: Registry, registered: ResolvedModel) -> None:
    by_alias = registry.resolve(parse_ref("intents@champion"))
    by_version = registry.resolve(parse_ref(f"intents/{registered.version}"))
    assert by_alias == by_version
    assert by_alias.path == registered.path
    assert by_alias.model_digest == registered.model_digest == content_digest(registered.path)
    assert by_alias.aliases == ("champion",)
    assert by_alias.run_id


def test_a_resolved_checkpoint_lies_in_the_cache_and_embeds(registered: ResolvedModel, home: Path) -> None:
    assert registered.path.is_relative_to(home / "cache")
    assert registered.path.name == registered.model_digest.removeprefix("sha256:")
    assert Encoder.load(registered.path, device="cpu").encode(["hello"]).finite.all()


def test_artifacts_stand_beside_the_database(registered: ResolvedModel, home: Path) -> None:
    assert list((home / "artifacts").rglob("model.safetensors"))


def test_tags_are_kept_with_the_version(registry: Registry, registered: ResolvedModel) -> None:
    registry.set_version_tag("intents", registered.version, "driftwarden.baseline_digest", "sha256:00")
    tags = registry._client.get_model_version("intents", registered.version).tags
    assert tags["driftwarden.baseline_digest"] == "sha256:00"
    assert tags["team"] == "support"
    assert tags["driftwarden.model_digest"] == registered.model_digest


def test_an_alias_moves(registry: Registry, registered: ResolvedModel) -> None:
    registry.set_alias("intents", "shadow", registered.version)
    assert registry.resolve(ModelRef("intents", alias="shadow")).version == registered.version


@pytest.mark.parametrize("reference", ["nobody@champion", "nobody/1", "intents@nobody", "intents/99"])
def test_what_is_not_registered_is_said_in_one_line(
    registry: Registry, registered: ResolvedModel, reference: str
) -> None:
    with pytest.raises(ModelNotFound) as caught:
        registry.resolve(parse_ref(reference))
    assert str(caught.value).startswith(reference)
    assert "\n" not in str(caught.value)


def test_an_alias_cannot_point_at_a_missing_version(registry: Registry, registered: ResolvedModel) -> None:
    with pytest.raises(ModelNotFound):
        registry.set_alias("intents", "champion", "99")


def test_overwritten_files_change_the_digest_and_pickles_are_refused(
    registry: Registry, registered: ResolvedModel, home: Path
) -> None:
    weights = next((home / "artifacts").rglob("model.safetensors"))
    readme = weights.with_name("notes.txt")
    readme.write_text("changed in place")
    assert registry.resolve(parse_ref("intents/1")).model_digest != registered.model_digest
    readme.unlink()
    pickled = weights.with_name("pytorch_model.bin")
    shutil.copyfile(weights, pickled)
    with pytest.raises(ArtifactRefused, match=r"intents/1: .*pytorch_model\.bin"):
        registry.resolve(parse_ref("intents/1"))
    pickled.unlink()


def test_a_damaged_cache_is_made_anew_when_its_content_is_verified(
    registry: Registry, registered: ResolvedModel
) -> None:
    (registered.path / "config.json").write_text("{}")
    again = registry.verified(registry.resolve(parse_ref("intents@champion")))
    assert again.path == registered.path
    assert content_digest(again.path) == registered.model_digest


def test_a_version_that_is_cached_is_not_fetched_again(registry: Registry, registered: ResolvedModel) -> None:
    first = registry.resolve(parse_ref("intents@champion"))
    (registered.path / "config.json").write_text("a fetch would mend this")
    assert registry.version_of(parse_ref("intents@champion")) == registered.version
    assert registry.resolve(parse_ref("intents@champion")) == first
    registry.set_version_tag("intents", registered.version, "driftwarden.baseline_digest", "sha256:11")
    registry.resolve(parse_ref("intents@champion"))
    assert (registered.path / "config.json").read_text() == "a fetch would mend this"
    assert content_digest(registry.verified(first).path) == registered.model_digest


def test_the_version_of_a_reference_is_known_although_its_artifacts_are_gone(
    tmp_path: Path, tiny: tuple[Any, Any]
) -> None:
    registry = Registry(f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "cache")
    registry.register_checkpoint(*tiny, name="intents", alias="champion", tags={})
    shutil.rmtree(tmp_path / "artifacts")
    shutil.rmtree(tmp_path / "cache")
    assert registry.version_of(parse_ref("intents@champion")) == "1"
    with pytest.raises(ModelNotFound, match="intents@nobody"):
        registry.version_of(parse_ref("intents@nobody"))


@pytest.mark.parametrize("torn", ["", "{", "[]", '{"name": "intents"}'])
def test_a_stamp_that_cannot_be_read_means_fetching(
    registry: Registry, registered: ResolvedModel, home: Path, torn: str
) -> None:
    for stamp in (home / "cache" / "stamps").iterdir():
        stamp.write_text(torn)
    (registered.path / "config.json").write_text("{}")
    assert content_digest(registry.resolve(parse_ref("intents/1")).path) == registered.model_digest


def test_weights_of_the_same_size_written_over_a_version_are_noticed(
    registry: Registry, registered: ResolvedModel, home: Path
) -> None:
    weights = next((home / "artifacts").rglob("model.safetensors"))
    kept = weights.read_bytes()
    weights.write_bytes(kept[:-4] + b"\x00\x00\x80\x3f")
    changed = registry.resolve(parse_ref("intents/1"))
    assert changed.model_digest != registered.model_digest == changed.pinned_digest
    weights.write_bytes(kept)
    assert registry.resolve(parse_ref("intents/1")).model_digest == registered.model_digest


def test_what_a_cut_off_download_left_is_swept_after_a_day(
    registry: Registry, registered: ResolvedModel, home: Path
) -> None:
    old, fresh = home / "cache" / ".incoming-old", home / "cache" / ".incoming-fresh"
    for left in (old, fresh):
        (left / "artifact").mkdir(parents=True)
    torn = home / "cache" / ".incoming-stamp"
    torn.write_text("{")
    two_days_ago = fresh.stat().st_mtime - 2 * 86_400
    for left in (old, torn):
        os.utime(left, (two_days_ago, two_days_ago))
    shutil.rmtree(home / "cache" / "stamps")
    registry.resolve(parse_ref("intents/1"))
    assert sorted(left.name for left in (home / "cache").glob(".incoming-*")) == [".incoming-fresh"]
    fresh.joinpath("artifact").rmdir()
    fresh.rmdir()


def test_an_unreachable_server_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(RegistryUnreachable) as caught:
        Registry("http://127.0.0.1:9", tmp_path).resolve(parse_ref("intents@champion"))
    assert "http://127.0.0.1:9" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "http://bob:S3cret@127.0.0.1:9",
        "http://bob:S3cr@et@127.0.0.1:9",
        "http://bob:S3c/ret@127.0.0.1:9",
        "http://127.0.0.1:9/?access_token=S3cret&n=1",
    ],
)
def test_no_line_of_an_unreachable_registry_names_a_secret(tmp_path: Path, address: str) -> None:
    with pytest.raises(RegistryUnreachable) as caught:
        Registry(address, tmp_path).resolve(parse_ref("intents@champion"))
    said = str(caught.value)
    assert not any(part in said for part in ("S3c", "cr@et", "ret@", "cret"))
    assert "***" in said
    assert "127.0.0.1:9" in said


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("GET 'https://u:p@h/a' and s3://k:v@b", "GET 'https://***@h/a' and s3://***@b"),
        ("postgresql://h/x?user=bob&password=S3&n=1", "postgresql://h/x?user=bob&password=***&n=1"),
        ("file:///srv/a@b/mlflow.db", "file:///srv/a@b/mlflow.db"),
        ("https://h/a?X-Amz-Signature=0f&x=1#top", "https://h/a?X-Amz-Signature=***&x=1#top"),
        ("models:/intents@champion", "models:/intents@champion"),
    ],
)
def test_secrets_and_nothing_else_are_hidden(line: str, shown: str) -> None:
    assert without_secrets(line) == shown
