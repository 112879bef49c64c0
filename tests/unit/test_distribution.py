from importlib.metadata import packages_distributions

import pytest


@pytest.mark.parametrize("folder", ["alerts", "detectors", "migrations", "monitor", "registry", "reports"])
def test_no_other_installed_distribution_claims_our_import_names(folder: str) -> None:
    assert set(packages_distributions().get(folder, ["driftwarden"])) == {"driftwarden"}
