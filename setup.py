"""The one thing pyproject.toml cannot say: the C core, built against the limited API."""

from glob import glob

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "naht._core",
            sources=["csrc/binding/module.c", *sorted(glob("csrc/core/*.c"))],
            include_dirs=["csrc/core"],
            define_macros=[("Py_LIMITED_API", "0x030B0000"), ("_GNU_SOURCE", "1")],
            extra_compile_args=["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror"],
            depends=sorted(glob("csrc/core/*.h")),
            py_limited_api=True,
        )
    ]
)
