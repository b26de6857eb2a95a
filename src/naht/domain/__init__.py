"""Frozen facts that every layer shares. No I/O, no clock, no rules."""
