"""Debian source packages → hotpatches for the binaries that Debian ships. Never on hosts."""
