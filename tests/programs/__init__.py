"""Programs to patch, and what drives them. Its assertions explain themselves as tests' do."""

import pytest

pytest.register_assert_rewrite(
    "tests.programs.building", "tests.programs.patching", "tests.programs.target"
)
