from __future__ import annotations

import pytest

from tests.builders.small_hotpatch import SmallHotpatch, build_small_hotpatch
from tests.builders.small_repository import SmallRepository, variant


@pytest.fixture(scope="session")
def small_hotpatch(tmp_path_factory: pytest.TempPathFactory) -> SmallHotpatch:
    return build_small_hotpatch(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def founded_repository(tmp_path_factory: pytest.TempPathFactory) -> SmallRepository:
    """To be copied, not changed."""
    made = SmallRepository(tmp_path_factory.mktemp("founded"))
    made.found()
    return made


@pytest.fixture(scope="session")
def stocked_repository(
    tmp_path_factory: pytest.TempPathFactory, founded_repository: SmallRepository,
    small_hotpatch: SmallHotpatch,
) -> SmallRepository:  # fmt: skip
    """With A-1 in candidate. To be copied, not changed."""
    made = founded_repository.copy(tmp_path_factory.mktemp("stocked"))
    made.add(variant(small_hotpatch, "A-1"))
    return made
