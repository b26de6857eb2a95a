"""The engine for native code: ELF objects in Linux x86-64 processes."""
