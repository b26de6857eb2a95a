"""Bounded reading of ELF. The input is hostile: every offset and size is checked first."""
