import re
from pathlib import Path

import pytest

from monitor.errors import InputError
from monitor.policy import EXAMPLE, load_policy


def write(folder: Path, text: str) -> Path:
    path = folder / "driftwarden.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_example_is_a_valid_policy(tmp_path: Path) -> None:
    policy = load_policy(write(tmp_path, EXAMPLE))
    assert policy.model("support-intents").sampling_rate == 0.2
    assert policy.model("support-intents").reference("support-intents") == "support-intents@champion"


def test_a_comment_does_not_change_the_digest_and_a_threshold_does(tmp_path: Path) -> None:
    digest = load_policy(write(tmp_path, EXAMPLE)).digest
    assert load_policy(write(tmp_path, "# reviewed\n" + EXAMPLE)).digest == digest
    assert load_policy(write(tmp_path, EXAMPLE.replace("alpha = 0.01", "alpha = 0.02"))).digest != digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[capture]\nmax_queued = 3\n", "unknown key capture.max_queued"),
        ('[models.a]\nversion = "1"\nsampling_rate = 0\n', "models.a.sampling_rate: .*got 0"),
        ("[models.a]\n", r"models.a: set exactly one of version and alias, got \{\}"),
        ('[models.a]\nversion = "1"\narithmetic = "int4"\n', "models.a.arithmetic: .*got 'int4'"),
        ('[models.a]\nversion = "1"\nembedding_cache_mebibytes = -1\n', "models.a.embedding_cache_mebibytes: .*got -1"),
        ("[models", "driftwarden.toml: "),
        ("[capture]\nearliest = 2015-01-01T00:00:00\n", "capture.earliest: a time needs a zone"),
    ],
)
def test_a_wrong_policy_is_refused_with_file_key_and_value(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_policy(write(tmp_path, text))
    assert re.match(r".*driftwarden\.toml: ", str(caught.value))
    assert "\n" not in str(caught.value)


def test_a_missing_policy_names_the_command_that_prints_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="driftwarden policy example"):
        load_policy(tmp_path / "none.toml")


def test_a_model_that_the_policy_does_not_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="it names support-intents"):
        load_policy(write(tmp_path, EXAMPLE)).model("other")
