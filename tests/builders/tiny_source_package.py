"""A whole Debian source package, small enough to be built in seconds: a library with a program, and
one security patch on top. `write_source_package` leaves it where the build cache looks for it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

NAME, VERSION, PATCH = "naht-seam", "1.0-1", "CVE-2099-0001.patch"

_FILES = {
    "seam.h": "int seam_length(const char *text);\n",
    "seam.c": """#include "seam.h"
#include <string.h>

int seam_length(const char *text)
{
	size_t length = strlen(text);

	return (int)length;
}
""",
    "main.c": """#include "seam.h"
#include <stdio.h>

int main(int count, char **arguments)
{
	printf("%d\\n", count > 1 ? seam_length(arguments[1]) : 0);
	return 0;
}
""",
    "Makefile": """all: libseam.so.1 seam
libseam.so.1: seam.o
	$(CC) $(LDFLAGS) -shared -Wl,-soname,libseam.so.1 -o $@ seam.o
	ln -sf libseam.so.1 libseam.so
seam.o: seam.c
	$(CC) $(CPPFLAGS) $(CFLAGS) -fPIC -c -o $@ seam.c
seam: main.c libseam.so.1
	$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ main.c -L. -lseam
clean:
	rm -f seam seam.o libseam.so libseam.so.1
install:
	install -D -m 644 libseam.so.1 $(DESTDIR)/usr/lib/x86_64-linux-gnu/libseam.so.1
	ln -s libseam.so.1 $(DESTDIR)/usr/lib/x86_64-linux-gnu/libseam.so
	install -D -m 644 seam.h $(DESTDIR)/usr/include/seam.h
	install -D -m 755 seam $(DESTDIR)/usr/bin/seam
""",
}

_DEBIAN = {
    "control": f"""Source: {NAME}
Maintainer: Nobody <nobody@example.org>
Section: libs
Priority: optional
Standards-Version: 4.6.2
Build-Depends: debhelper-compat (= 13)
Rules-Requires-Root: no

Package: {NAME}
Architecture: any
Depends: ${{shlibs:Depends}}, ${{misc:Depends}}
Description: a library with one hole
""",
    "rules": "#!/usr/bin/make -f\n%:\n\tdh $@\noverride_dh_makeshlibs:\noverride_dh_shlibdeps:\n",
    "changelog": f"""{NAME} ({VERSION}) bookworm; urgency=medium

  * First.

 -- Nobody <nobody@example.org>  Mon, 01 Jan 2024 00:00:00 +0000
""",
    "source/format": "3.0 (quilt)\n",
    "patches/series": f"{PATCH}\n",
    f"patches/{PATCH}": """Description: texts that are too long are refused
--- a/seam.c
+++ b/seam.c
@@ -5,5 +5,7 @@
 {
 \tsize_t length = strlen(text);
\x20
+\tif (length > 5)
+\t\treturn -1;
 \treturn (int)length;
 }
""",
}


def write_source_package(cache: Path, scratch: Path) -> None:
    upstream = scratch / f"{NAME}-1.0"
    _write(upstream, _FILES)
    archive = scratch / f"{NAME}_1.0.orig.tar.gz"
    _run(["tar", "-czf", str(archive), upstream.name], scratch)
    _write(upstream / "debian", _DEBIAN)
    (upstream / "debian/rules").chmod(0o755)
    _run(["dpkg-source", "-b", upstream.name], scratch)
    place = cache / "sources" / f"{NAME}_{VERSION}"
    place.mkdir(parents=True)
    for file in scratch.glob(f"{NAME}_*"):
        shutil.copy2(file, place)
    description = place / f"{NAME}_{VERSION}.dsc"
    _run(["dpkg-source", "--no-check", "--no-copy", "-x", str(description), "tree"], place)
    (place / "complete").touch()


def _write(directory: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def _run(command: list[str], cwd: Path) -> None:
    subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL)
