"""Functions of the C library (and the C++ string and stream ones) that use a pointer only during
the call. From their standards: ISO C17, POSIX.1-2017, the glibc manual.
"""

from __future__ import annotations

_MEMORY = """
memcpy memmove mempcpy memccpy memcmp memset bcopy bcmp bzero explicit_bzero memchr memrchr
rawmemchr memmem strcpy stpcpy strncpy stpncpy strcat strncat strlcpy strlcat strcmp strncmp
strcoll strxfrm strcasecmp strncasecmp strverscmp strlen strnlen strchr strrchr strchrnul strstr
strcasestr strspn strcspn strpbrk strdup strndup wcslen wcscmp wcsncmp wcscpy wcsncpy wcscat
wcschr wcsrchr wcsstr wmemcpy wmemcmp wmemset wmemchr wcscasecmp
""".split()  # noqa: SIM905
_TEXT = """
printf fprintf sprintf snprintf dprintf asprintf vprintf vfprintf vsprintf vsnprintf vdprintf
vasprintf scanf fscanf sscanf vscanf vfscanf vsscanf puts fputs putchar fputc putc fwrite fread
fgets perror syslog vsyslog atoi atol atoll atof
fputs_unlocked fwrite_unlocked fputc_unlocked error error_at_line warn
warnx err errx verr verrx vwarn vwarnx gettext dgettext dcgettext ngettext dngettext dcngettext
strftime strerror mbstowcs wcstombs regcomp fnmatch wordexp glob
""".split()  # noqa: SIM905
_OTHER = """
bsearch qsort qsort_r lfind lsearch open open64 openat openat64 creat fopen fopen64 freopen stat
lstat fstatat access faccessat unlink unlinkat rename mkdir rmdir chdir chmod chown lchown link
symlink readlink realpath opendir mkstemp truncate utimes mknod mkfifo read write pread pwrite
readv writev send sendto sendmsg recv recvfrom recvmsg bind connect ioctl getopt getopt_long
getopt_long_only getenv setenv unsetenv setlocale inet_pton inet_ntop inet_addr inet_aton
getaddrinfo gethostbyname getpwnam getgrnam getservbyname clock_gettime nanosleep select poll
execv execve execvp system popen dlopen dlsym free abort exit _exit
""".split()  # noqa: SIM905
_RETURN_A_PLACE = frozenset(
    """
memcpy memmove mempcpy memccpy memchr memrchr rawmemchr memmem memset strcpy stpcpy strncpy
stpncpy strcat strncat strchr strrchr strchrnul strstr strcasestr strpbrk bsearch lfind lsearch
gettext dgettext dcgettext ngettext dngettext dcngettext wcscpy wcsncpy wcscat wcschr wcsrchr
wcsstr wmemcpy wmemset wmemchr fgets
""".split()  # noqa: SIM905
)
_COPIES = frozenset(
    """
memcpy memmove mempcpy memccpy bcopy wmemcpy
lsearch
""".split()  # noqa: SIM905
)
_KNOWN = frozenset([*_MEMORY, *_TEXT, *_OTHER, "__assert_fail", "__assert_perror_fail"])
_COPYING_CLASSES = (
    "_ZNSt7__cxx1112basic_string", "_ZNKSt7__cxx1112basic_string", "_ZSt16__ostream_insert",
    "_ZNSo", "_ZStls", "_ZNSt9basic_ios", "_ZNSt8ios_base",
)  # fmt: skip


def _plain(name: str) -> str:
    """Without glibc's decoration: `__memcpy_chk`, `__isoc99_sscanf`, `__strdup`."""
    inner = name.removeprefix("__isoc99_").removeprefix("__isoc23_")
    if inner.startswith("__") and inner not in _KNOWN:
        inner = inner.removeprefix("__")
    return inner.removesuffix("_chk")


def keeps_nothing(name: str) -> bool:
    """Whether a function that this object imports keeps no pointer that it is given."""
    return _plain(name) in _KNOWN or name.startswith(_COPYING_CLASSES)


def returns_a_place(name: str) -> bool:
    """Whether its result may point to what one of its arguments points to."""
    return _plain(name) in _RETURN_A_PLACE


def copies_content(name: str) -> bool:
    """Whether it copies what lies at an argument, pointers included, to other memory."""
    return _plain(name) in _COPIES
