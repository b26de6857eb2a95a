"""Hotpatch → live process. The engines do not import each other; `engine` says what each offers."""
