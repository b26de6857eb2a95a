"""The builder for native code: C and C++ sources to an ELF hotpatch."""
