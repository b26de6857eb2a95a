#!/usr/bin/env bash
# Makes the checkout ready to use: system packages (when root), .venv, pinned dependencies, the
# extension. Runs in well under a second when there is nothing to do.
set -euo pipefail
cd "$(dirname "$0")/.."

stamp=.venv/.naht-setup

main() {
    install_system_packages
    local wanted
    wanted=$(fingerprint)
    if [[ -f $stamp && $(<"$stamp") == "$wanted" ]] && ls src/naht/_core*.so >/dev/null 2>&1; then
        return
    fi
    make_venv
    install_python_packages
    fingerprint >"$stamp"
    echo "setup: ready. Try: .venv/bin/naht --help"
}

install_system_packages() {
    command -v dpkg-query >/dev/null || {
        echo "setup: not a Debian system; install the likes of scripts/system-packages.txt yourself." >&2
        return
    }
    local missing
    missing=$(missing_packages)
    [[ -z $missing ]] && return
    if [[ $(id -u) != 0 ]]; then
        echo "setup: system packages are missing. Run this, then try again:" >&2
        echo "  sudo apt-get update && sudo apt-get install -y --no-install-recommends" $missing >&2
        exit 1
    fi
    echo "setup: installing system packages:" $missing
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # Word splitting is wanted: one argument per package.
    # shellcheck disable=SC2086
    apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

missing_packages() {
    local listed
    listed=$(grep -v '^#' scripts/system-packages.txt)
    # dpkg-query fails when one of them is unknown; what it prints is still right.
    # shellcheck disable=SC2086
    comm -23 <(sort <<<"$listed") <(
        dpkg-query -W -f '${Package} ${db:Status-Status}\n' $listed 2>/dev/null |
            sed -n 's/ installed$//p' | sort || true
    ) | tr '\n' ' '
}

# A change of the lock, the build description or the C sources calls for another install.
fingerprint() {
    {
        cat requirements/dev.txt pyproject.toml setup.py setup.cfg
        find csrc -name '*.[ch]' -print0 | sort -z | xargs -0 -r cat
    } | sha256sum | cut -d' ' -f1
}

make_venv() {
    [[ -x .venv/bin/python ]] && .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' && return
    local python
    python=$(find_python)
    echo "setup: creating .venv with $python"
    "$python" -m venv --clear .venv
}

find_python() {
    local candidate
    for candidate in python3 /usr/bin/python3 python3.{11..15}; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "setup: no Python 3.11 or later with the venv module. Install python3-venv." >&2
    exit 1
}

install_python_packages() {
    echo "setup: installing the pinned Python packages"
    .venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt
    echo "setup: building the extension"
    .venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
}

main
