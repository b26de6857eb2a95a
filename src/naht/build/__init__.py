"""Source diff → hotpatch. Runs compilers, so it never runs on hosts."""
