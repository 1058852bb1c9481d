#!/usr/bin/python3
"""Holds the layers of the project: who may include whom, and who may use what.

  fuse -> core/fsa -> core/store -> core/ondisk, core/compression, core/io, lfs, usn -> core/base

Also: core/ondisk may use the value types lfs/lsn.h and usn/usn.h; core/check reads with
core/ondisk, usn and core/io, never with the store; errno lives in two files; headers that cost compile time or are
replaced by the project's own stay out. Prints one line a violation; exit code 1 when there is any.
"""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

BELOW_STORE = {"core/ondisk", "core/compression", "core/io", "lfs", "usn", "core/base"}
ALLOWED = {
    "core/base": set(),
    "core/compression": {"core/base"},
    "core/io": {"core/base"},
    "lfs": {"core/base"},
    "usn": {"core/base"},
    "core/ondisk": {"core/base"},
    "core/store": BELOW_STORE,
    "core/check": {"core/ondisk", "core/io", "usn", "core/base"},
    "core/fsa": BELOW_STORE | {"core/store"},
    "fuse": BELOW_STORE | {"core/store", "core/fsa", "core/check"},
}
ALLOWED_FILES = {"core/ondisk": {"lfs/lsn.h", "usn/usn.h"}}
ERRNO_FILES = {"core/io/uring_device.cc", "fuse/reply.cc"}

# header: (the layers or files that may include it, what to do instead)
STANDARD = {
    "iostream": ((), "use core/base/trace.h, or fmt in fuse/"),
    "regex": ((), "parse by hand"),
    "mutex": (("core/base/mutex",), "use core/base/mutex.h, which the analysis sees"),
    "shared_mutex": (("core/base/mutex",), "use core/base/mutex.h, which the analysis sees"),
    "expected": ((), "use core/base/result.h"),
    "format": ((), "absent from the compilers; use fmt in .cc files"),
    "source_location": ((), "absent from one of the compilers"),
}
HEAVY_IN_HEADERS = ("fmt/", "nlohmann/", "CLI/")
LIBRARIES = {"fuse": ("fuse3/", "fuse_lowlevel.h", "fuse.h", "CLI/"), "core/io": ("liburing.h",)}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
ERRNO = re.compile(
    r"\berrno\b|\bE(?:PERM|NOENT|IO|AGAIN|INTR|ACCES|EXIST|INVAL|NOSPC|ROFS|NOMEM|NOTDIR|ISDIR|"
    r"NOTEMPTY|NAMETOOLONG|OPNOTSUPP|NOTSUP|NOSYS|XDEV|BUSY|FBIG|MLINK|NODATA|RANGE)\b"
)


def layer_of(path):
    return max((layer for layer in ALLOWED if path.startswith(layer + "/")), key=len, default=None)


def code_lines(text):
    """Lines, numbered from 1, without comments and string literals; include lines stay whole."""
    blank = lambda found: re.sub(r"[^\n]", " ", found.group(0))
    bare = re.sub(
        r'//[^\n]*|/\*.*?\*/|^[ \t]*#[ \t]*include[^\n]*|"(?:\\.|[^"\\\n])*"',
        lambda m: m.group(0) if m.group(0).lstrip().startswith("#") else blank(m),
        text,
        flags=re.DOTALL | re.MULTILINE,
    )
    return enumerate(bare.split("\n"), 1)


def check_project_include(path, layer, target):
    other = layer_of(target)
    if other is None or other == layer or other in ALLOWED[layer]:
        return None
    if target in ALLOWED_FILES.get(layer, ()):
        return None
    return f"{layer} may not include {target}: includes point down only"


def check_system_include(path, layer, target):
    if target in STANDARD:
        owners, instead = STANDARD[target]
        if not any(path.startswith(owner) for owner in owners):
            return f"<{target}>: {instead}"
    if path.endswith(".h") and target.startswith(HEAVY_IN_HEADERS):
        return f"<{target}> costs every includer compile time: include it in the .cc"
    for owner, prefixes in LIBRARIES.items():
        if target.startswith(prefixes) and layer != owner:
            return f"<{target}> belongs to {owner}"
    if target in ("cerrno", "errno.h") and path not in ERRNO_FILES and layer != "fuse":
        return f"<{target}>: errno exists in {' and '.join(sorted(ERRNO_FILES))} only"
    return None


def check_file(path):
    layer = layer_of(path)
    with open(os.path.join(ROOT, path), encoding="utf-8") as source:
        text = source.read()
    for number, line in code_lines(text):
        found = INCLUDE.match(line)
        problem = None
        if found:
            check = check_project_include if found.group(1) == '"' else check_system_include
            problem = check(path, layer, found.group(2))
        elif path not in ERRNO_FILES and ERRNO.search(line):
            problem = f"errno exists in {' and '.join(sorted(ERRNO_FILES))} only"
        if problem:
            yield f"{path}:{number}: {problem}"
    if path.endswith(".h") and "#pragma once" not in text:
        yield f"{path}:1: a header starts with #pragma once"


def sources():
    for top in sorted({layer.split("/")[0] for layer in ALLOWED}):
        for directory, _, names in os.walk(os.path.join(ROOT, top)):
            if os.path.basename(directory) == "precompiled":
                continue  # the build includes these; no source does
            for name in sorted(names):
                if name.endswith((".h", ".cc")):
                    yield os.path.relpath(os.path.join(directory, name), ROOT)


def main():
    files = list(sources())
    unknown = [path for path in files if layer_of(path) is None]
    problems = [f"{path}:1: not in any layer" for path in unknown]
    for path in files:
        if path not in unknown:
            problems += check_file(path)
    for problem in problems:
        print(problem)
    print(f"check_includes: {len(files)} files, {len(problems)} violations")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
