"""A small data set and the project's tokenizer, shared by the tests of loading."""

import pytest

from auface_jax.data.tokenizer import load_tokenizer
from tests.helpers.small_batches import build_set


@pytest.fixture(scope="package")
def directory(tmp_path_factory):
    return build_set(tmp_path_factory.mktemp("loading"))


@pytest.fixture(scope="package")
def tokenizer():
    return load_tokenizer()
