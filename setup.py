"""The one thing pyproject.toml cannot say: the C core, built against the limited API."""

from pathlib import Path

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "naht._core",
            sources=["csrc/binding/module.c", *sorted(map(str, Path("csrc/core").glob("*.c")))],
            include_dirs=["csrc/core"],
            define_macros=[("Py_LIMITED_API", "0x030B0000"), ("_GNU_SOURCE", "1")],
            extra_compile_args=["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror"],
            depends=sorted(map(str, Path("csrc/core").glob("*.h"))),
            py_limited_api=True,
        )
    ]
)
