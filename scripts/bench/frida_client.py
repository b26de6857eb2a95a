"""Runs under a Python that has Frida: patches one process, waits for a line, takes it out again.

`frida_client.py PID LIBRARY`: LIBRARY is a build of the fixed source under another name; its
functions take the place of those in the running libbench.so.
"""

from __future__ import annotations

import sys

import frida  # type: ignore[import-not-found]

SCRIPT = """
rpc.exports.patch = function (path) {
    const running = Process.getModuleByName('libbench.so');
    const fixed = Module.load(path);
    for (const name of ['bench_answer', 'bench_spin'])
        Interceptor.replaceFast(running.getExportByName(name), fixed.getExportByName(name));
    Interceptor.flush();
};
"""


def main() -> None:
    session = frida.attach(int(sys.argv[1]))
    script = session.create_script(SCRIPT)
    script.load()
    script.exports_sync.patch(sys.argv[2])
    print("applied", flush=True)
    sys.stdin.readline()
    script.unload()
    session.detach()
    print("reverted", flush=True)


if __name__ == "__main__":
    main()
