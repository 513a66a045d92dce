"""A data set and finished runs for the tests of evaluation."""

import pytest

from tests.helpers import evaluation_runs


@pytest.fixture(scope="package")
def data(tmp_path_factory):
    return evaluation_runs.build_data(tmp_path_factory.mktemp("evaluate") / "data")


@pytest.fixture(scope="package")
def runs(data):
    return evaluation_runs.write_runs(data.parent / "runs", data)


@pytest.fixture(scope="package", autouse=True)
def cache(tmp_path_factory):
    """A cache folder apart from the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield
