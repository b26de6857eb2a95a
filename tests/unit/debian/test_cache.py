"""The build cache: whole entries or none, and for nobody else."""

from __future__ import annotations

from pathlib import Path

from naht.build.debian.cache import Cache


def test_no_other_account_gets_into_an_entry(tmp_path: Path) -> None:
    """Builds are owned by an account number that may be somebody's on this host."""
    cache = Cache(tmp_path)
    with cache.entry("builds", "a") as entry:
        assert entry.path.stat().st_mode & 0o777 == 0o700
        entry.open()
        entry.seal()
    assert entry.path.stat().st_mode & 0o777 == 0o700


def test_an_entry_of_former_times_is_closed_when_it_is_used(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with cache.entry("builds", "a") as entry:
        (entry.path / "file").touch()
        entry.seal()
    entry.path.chmod(0o755)
    with cache.entry("builds", "a") as entry:
        assert entry.complete
        assert (entry.path / "file").exists()
        assert entry.path.stat().st_mode & 0o777 == 0o700
