from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the models extra")

from monitor.commands.demo import _serve_command
from monitor.demo.replay import POLICY_TEXT, prepare_folder, require_folder
from monitor.errors import InputError


def test_an_earlier_demo_is_replaced_only_with_force(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    prepare_folder(folder, force=False)
    (folder / "driftwarden.db").write_bytes(b"x")
    with pytest.raises(InputError, match="holds an earlier demo; --force replaces it, --dir names another"):
        prepare_folder(folder, force=False)
    prepare_folder(folder, force=True)
    assert [path.name for path in folder.iterdir()] == ["driftwarden.toml"]
    assert (folder / "driftwarden.toml").read_text() == POLICY_TEXT


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_of_something_else_is_never_touched(tmp_path: Path, force: bool) -> None:
    (tmp_path / "driftwarden.toml").write_text("# reviewed by the team\n")
    with pytest.raises(InputError, match="is not empty and holds no demo"):
        prepare_folder(tmp_path, force=force)
    with pytest.raises(InputError, match="is no folder"):
        require_folder(tmp_path / "driftwarden.toml", force=force)
    assert (tmp_path / "driftwarden.toml").read_text() == "# reviewed by the team\n"


def test_checking_the_folder_makes_nothing(tmp_path: Path) -> None:
    require_folder(tmp_path / "new", force=False)
    assert list(tmp_path.iterdir()) == []


def test_the_command_that_serves_again_survives_spaces(tmp_path: Path) -> None:
    command = _serve_command(tmp_path / "my demo", 8001)
    assert f"'DRIFTWARDEN_DATABASE_URL=sqlite:///{tmp_path}/my demo/driftwarden.db'" in command
    assert command.endswith("serve --no-jobs --port 8001")
