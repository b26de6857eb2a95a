"""What compilers do to symbol names: clone suffixes, numbers, split-off parts.

Owns the grammar of suffixes of GCC and Clang. It looks at names only, never at code.
"""

from __future__ import annotations

import re

_COLD = re.compile(r"\.cold(\.\d+)?$")
_NUMBER = re.compile(r"\.\d+(?=\.|$)")
# IPA passes of GCC and Clang that make or rename functions; LTO makes statics unique by .lto_priv
_CLONE = re.compile(
    r"\.(isra|constprop|part|cold|lto_priv|llvm|localalias|simdclone|resolver|clone|_omp_fn"
    r"|_loopfn|specialized|tmclone|actor|destroy|resume|cleanup)(?=\.|$)"
)


def family(name: str) -> str:
    """The name without its numbers: all that a renumbering compiler may take for one another.

    "foo.isra.0" → "foo.isra.#"; a name without a number is its own family, since a
    file-scope `n` never becomes the static local `n.3`.
    """
    return _NUMBER.sub(".#", name).replace(".lto_priv.#", "")


def stem(name: str) -> str:
    """The name in the source: without numbers and clone suffixes."""
    return _NUMBER.sub("", _CLONE.sub("", name))


def cold_parent(name: str) -> str | None:
    """The function that `name` was split off from, else None."""
    match = _COLD.search(name)
    return name[: match.start()] if match else None


def is_numbered(name: str) -> bool:
    return bool(_NUMBER.search(name))


def is_vtable_or_typeinfo(name: str) -> bool:
    """Itanium C++ ABI 5.1.4: vtables, VTTs, construction vtables, typeinfo and its names."""
    return name.startswith(("_ZTV", "_ZTT", "_ZTC", "_ZTI", "_ZTS"))


def is_static_initializer(name: str) -> bool:
    """The functions in which GCC and Clang gather the dynamic initialisation of a unit."""
    return (
        name.startswith(("_GLOBAL__", "__cxx_global_var_init", "__cxx_global_array_dtor"))
        or "__static_initialization_and_destruction_0" in name
    )
