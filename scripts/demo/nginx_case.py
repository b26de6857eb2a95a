"""nginx from Debian's own source package, with the fix for CVE-2026-42945 taken out.

The configuration that the fix's author names: after a rewrite with arguments, a captured value is
escaped into a buffer that was sized for the unescaped one. The proof overruns it by two bytes,
inside memory that belongs to the same request and is still unused, and shows the wrong answer.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from scripts.demo import debian_source
from scripts.demo.case import (
    CaseUnavailableError,
    Finding,
    Prepared,
    Proof,
    ask,
    build,
    children_of,
    free_port,
    need_tools,
    stop_process,
)

PATCH = "CVE-2026-42945.patch"
WORKERS = 2
HEADERS = {"libpcre2-dev": "/usr/include/pcre2.h", "zlib1g-dev": "/usr/include/zlib.h"}
# Left out to keep build dependencies and time small: TLS, mail, stream, modules loaded on demand.
LEFT_OUT = re.compile(r"--with-(?:.*=dynamic|http_ssl_module|(?:mail|stream)_.*)")
CONFIGURATION = """\
daemon off;
{user}
worker_processes {workers};
error_log logs/error.log warn;
pid nginx.pid;
thread_pool default threads=8;
events {{ worker_connections 256; }}
http {{
    access_log off;
    keepalive_timeout 3600;
    keepalive_requests 100000000;
    client_body_temp_path tmp/body;
    proxy_temp_path tmp/proxy;
    fastcgi_temp_path tmp/fastcgi;
    scgi_temp_path tmp/scgi;
    uwsgi_temp_path tmp/uwsgi;
    server {{
        listen 127.0.0.1:{port};
        location /shop/ {{
            rewrite ^/shop/(.*)$ /article?shown=1;
            set $article $1;
            return 200 $article;
        }}
    }}
}}
"""


@dataclass
class NginxServer:
    process: subprocess.Popen[bytes]
    pids: tuple[int, ...]  # the master first; it makes the workers, so it is patched, too
    port: int

    def stop(self) -> None:
        stop_process(self.process)


class NginxCase:
    load_path = "/shop/{token}"

    def prepare(self, work: Path) -> Prepared:
        """Fetch, unpack, take the one patch out, configure and build as Debian does."""
        need_tools("gcc", "make", "patch", "dpkg-source", "dpkg-buildflags")
        _need_headers()
        try:
            source = debian_source.fetch("nginx", PATCH, work)
        except debian_source.SourceUnavailableError as error:
            raise CaseUnavailableError(str(error)) from error
        old = work / "old"
        if not (old / "objs/nginx").is_file():
            _build_old(source, old, work / "build.log")
        shutil.copy2(source.tree / "debian/patches" / PATCH, work / PATCH)
        return _describe(source, work)

    def start(self, prepared: Prepared, run: Path) -> NginxServer:
        port = free_port()
        for part in ("logs", "tmp"):
            (run / part).mkdir(parents=True, exist_ok=True)
        (run / "nginx.conf").write_text(
            CONFIGURATION.format(port=port, workers=WORKERS, user=_user_line())
        )
        process = subprocess.Popen(
            ["nginx", "-p", f"{run}/", "-c", "nginx.conf"],
            executable=prepared.folder / prepared.server,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            return NginxServer(process, (process.pid, *_wait_for_workers(process)), port)
        except CaseUnavailableError:
            stop_process(process)
            raise

    def prove(self, port: int) -> Proof:
        path = "/shop/tea+milk"
        status, body = ask(port, path)
        finding, meaning = _judge(status, body)
        return Proof(f"GET {path}", f"{status} {body.decode(errors='replace')}", finding, meaning)


def _judge(status: int, body: bytes) -> tuple[Finding, str]:
    if (status, body) == (200, b"tea+milk"):
        return "closed", "the name as it was asked for: nothing escaped, nothing overrun"
    if (status, body) == (200, b"tea%2Bmi"):
        return (
            "open",
            "escaped into 8 bytes although it takes 10: two bytes were written past the end",
        )
    return "unexpected", "neither the old answer nor the fixed one"


def _need_headers() -> None:
    missing = [package for package, header in HEADERS.items() if not Path(header).exists()]
    if missing:
        raise CaseUnavailableError(
            f"nginx needs `apt-get install {' '.join(missing)}` to build on this host."
        )


def _build_old(source: debian_source.SourcePackage, old: Path, log: Path) -> None:
    shutil.rmtree(old, ignore_errors=True)
    log.unlink(missing_ok=True)
    debian_source.copy_without(source, PATCH, old)
    build(["./configure", *_debian_options(old)], old, log)
    build(["make", "-j2"], old, log)


def _debian_options(tree: Path) -> list[str]:
    """The options that debian/rules passes to configure, asked of debian/rules itself."""
    ask_rules = r'naht-print:;@printf "%s\n" $(bin_configure_flags)'
    output = subprocess.run(
        ["make", "-s", "-f", "debian/rules", f"--eval={ask_rules}", "naht-print"],
        cwd=tree, capture_output=True, text=True, check=True, timeout=30,
    ).stdout  # fmt: skip
    return [option for option in output.splitlines() if not LEFT_OUT.fullmatch(option)]


def _describe(source: debian_source.SourcePackage, work: Path) -> Prepared:
    return Prepared(
        folder=work,
        tree="old",
        patch=PATCH,
        command="make -j2",
        object="objs/nginx",
        server="old/objs/nginx",
        release=f"nginx {source.version}",
        origin="Debian's own source package, with this one patch of debian/patches taken out",
        advisory="CVE-2026-42945",
        title="Rewrite: fixed escaping and possible buffer overrun",
        severity="important",
        purl=f"pkg:deb/debian/nginx@{source.version}",
        what=(
            "After a rewrite with arguments, nginx escapes a captured value into a buffer that "
            "was sized for the unescaped one: anybody who can send a URL writes past its end."
        ),
    )


def _user_line() -> str:
    """Workers of a root master change their user, who may not be able to read the folder."""
    return f"user {pwd.getpwuid(0).pw_name};" if os.getuid() == 0 else ""


def _wait_for_workers(master: subprocess.Popen[bytes]) -> list[int]:
    for _ in range(100):
        if master.poll() is not None:
            raise CaseUnavailableError("nginx ended at once; see logs/error.log in its folder.")
        workers = children_of(master.pid)
        if len(workers) == WORKERS and all(_is_ready(pid) for pid in workers):
            return workers
        time.sleep(0.05)
    raise CaseUnavailableError("nginx did not start its workers.")


def _is_ready(worker: int) -> bool:
    """A worker has started its thread pool, too."""
    return len(list(Path(f"/proc/{worker}/task").iterdir())) > 1
