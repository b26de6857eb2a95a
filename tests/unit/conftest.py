from __future__ import annotations

import pytest

from tests.builders.small_hotpatch import SmallHotpatch, build_small_hotpatch


@pytest.fixture(scope="session")
def small_hotpatch(tmp_path_factory: pytest.TempPathFactory) -> SmallHotpatch:
    return build_small_hotpatch(tmp_path_factory.mktemp("small"))
