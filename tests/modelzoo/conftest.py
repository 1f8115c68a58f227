"""Good weights files and what they hold, for the tests of damaged ones; these need PyTorch, others
here do not.
"""

import pytest


@pytest.fixture(scope="module")
def tensors():
    from tests.modelzoo import weight_files

    return weight_files.random_tensors()


@pytest.fixture(scope="module")
def imported():
    from tests.modelzoo import weight_files

    return weight_files.small_import()


@pytest.fixture(scope="module")
def folder(tensors, imported, tmp_path_factory):
    from tests.modelzoo import weight_files

    return weight_files.write_all(tmp_path_factory.mktemp("files"), tensors, imported)
