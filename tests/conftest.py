"""Settings of all tests."""

from __future__ import annotations

from hypothesis import settings

# No test judges by the clock: a busy machine is no defect.
settings.register_profile("naht", deadline=None)
settings.load_profile("naht")
