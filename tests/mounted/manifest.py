#!/usr/bin/python3
"""Manifests of a tree, by every reader there is, and their comparison.

A manifest maps each path (the root itself left out) to an Entry. What a reader cannot tell is None
and is not compared:

  reader      not compared, and why
  all         size and link count of directories: each file system has its own idea of them
  ntfs-3g     times before 1970: it drops their fractions
  libfsntfs   link counts are the number of paths that lead to one file reference; types and targets of
              WSL links (it decodes other tags only); names that begin with a byte order mark (it gives
              none); volumes whose clusters are not 4096 bytes (it finds only what is in index roots)
  sleuthkit   times to the second only (its body file has no more) and those before 1970 or after 2106
              (it wraps them); contents of a sample of the files (icat opens the volume each time), or
              of all through tsk_recover; control characters in names, which it shows as ^; links'
              types, which it shows as files
  ntfs3       type, size and target of WSL links (reparse tag 0xA000001D) and other WSL special files:
              it shows those with less than 24 bytes of reparse data (a target of up to 11 bytes or so) as
              empty files, longer ones as links that cannot be read (EINVAL); times before 1970 (it
              computes them wrongly)

command line: manifest.py READER SOURCE            prints the manifest as JSON lines
              manifest.py compare READER SOURCE READER SOURCE
"""
import collections
import hashlib
import json
import os
import random
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from cases import CaseFailure, CaseSkipped  # noqa: E402
from volume import Ntfs3g, mounted, program, run  # noqa: E402

# mtime in units of 100 ns since 1970; type: f d l b c p s
Entry = collections.namedtuple("Entry", "type size nlink mtime sha256 target")

FIRST_USER_RECORD = 24
EPOCH_AS_FILETIME = 116444736000000000
REPARSE_POINT = 0x400
SYSTEM_NAMES = {
    "$MFT",
    "$MFTMirr",
    "$LogFile",
    "$Volume",
    "$AttrDef",
    "$Bitmap",
    "$Boot",
    "$BadClus",
    "$Secure",
    "$UpCase",
    "$Extend",
}
BYTE_ORDER_MARKS = ("\ufeff", "\ufffe")


def unescape(text):
    raw = re.sub(rb"\\x([0-9a-f]{2})", lambda m: bytes([int(m.group(1), 16)]), text.encode())
    return raw.decode("utf-8", "surrogateescape")


def from_lines(lines, errors=None):
    """From the output of tree_lister; what cannot be read goes into `errors`, or fails."""
    manifest = {}
    for line in lines:
        fields = line.split("\t")
        if len(fields) != 7:
            raise CaseFailure(f"not a line of tree_lister: {line!r}")
        path, kind, size, nlink, mtime, sha256, target = fields
        if kind == "!" or sha256.startswith("!"):
            trouble = f"{unescape(path)}: {kind} {sha256} {unescape(target)}"
            if errors is None:
                raise CaseFailure(trouble)
            errors.append(trouble)
            continue
        seconds, nanoseconds = mtime.split(".")
        manifest[unescape(path)] = Entry(
            kind,
            int(size) if kind == "f" else None,
            int(nlink) if kind != "d" else None,
            int(seconds) * 10**7 + int(nanoseconds) // 100,
            None if sha256 == "-" else sha256,
            unescape(target) if kind == "l" else None,
        )
    return manifest


def from_directory(directory, errors=None):
    listing = run(program("tree_lister"), directory, timeout=600)
    return from_lines(listing.stdout.split("\n")[:-1], errors)


def from_ntfs3g(image, errors=None):
    with mounted(Ntfs3g(), image, "ro") as directory:
        return from_directory(directory, errors)


def hash_of_libfsntfs(entry):
    digest = hashlib.sha256()
    entry.seek(0)
    left = entry.size
    while left > 0:
        content = entry.read(min(left, 1 << 20))
        if not content:
            raise CaseFailure(f"{entry.name}: {left} bytes could not be read")
        digest.update(content)
        left -= len(content)
    return digest.hexdigest()


def entry_of_libfsntfs(entry):
    mtime = entry.get_modification_time_as_integer() - EPOCH_AS_FILETIME
    if entry.file_attribute_flags & REPARSE_POINT:
        return Entry("l", None, None, mtime, None, None)
    if entry.has_directory_entries_index():
        return Entry("d", None, None, mtime, None, None)
    return Entry("f", entry.size, None, mtime, hash_of_libfsntfs(entry), None)


def with_link_counts(manifest, references):
    """Fills in the link counts: how many paths lead to each file reference."""
    counts = collections.Counter(references.values())
    return {
        path: entry if entry.type == "d" else entry._replace(nlink=counts[references[path]])
        for path, entry in manifest.items()
    }


def from_libfsntfs(image):
    try:
        import pyfsntfs
    except ImportError as missing:
        raise CaseSkipped("python3-libfsntfs is not installed") from missing
    volume = pyfsntfs.volume()
    volume.open(image)
    manifest, references = {}, {}
    pending = [("", volume.get_root_directory())]
    while pending:
        parent, directory = pending.pop()
        for entry in directory.sub_file_entries:
            if entry.file_reference & 0xFFFFFFFFFFFF < FIRST_USER_RECORD:
                continue
            if entry.name is None:
                continue  # see adapt()
            path = parent + entry.name
            if path in manifest:
                raise CaseFailure(f"libfsntfs lists {path} twice")
            manifest[path] = entry_of_libfsntfs(entry)
            references[path] = entry.file_reference
            if manifest[path].type == "d":
                pending.append((path + "/", entry))
    volume.close()
    return with_link_counts(manifest, references)


def is_cut(name):
    """Names that fls finds in slack bytes of index blocks may end within a character."""
    return any("\udc80" <= unit <= "\udcff" for unit in name)


def lines_of_fls(image):
    listing = subprocess.run(
        ["fls", "-u", "-r", "-p", "-m", "", image], capture_output=True, timeout=900, check=True
    )
    for line in listing.stdout.decode("utf-8", "surrogateescape").split("\n")[:-1]:
        fields = line.split("|")
        name, inode, mode, size, mtime = "|".join(fields[1:-9]), *(
            fields[-9:][i] for i in (0, 1, 4, 6)
        )
        kind = (inode.split("-") + [""])[1]
        top = name.lstrip("/").split("/")[0].split(":")[0]
        if kind == str(0x30) or top in SYSTEM_NAMES or top == "$OrphanFiles" or is_cut(name):
            continue  # kind 0x30: the times of $FILE_NAME
        yield name.lstrip("/"), inode, kind, mode, size, mtime


def from_sleuthkit(image, hashes="sample"):
    """hashes: "sample" (some, by icat), "all" (by tsk_recover, for plain names) or "none"."""
    manifest, addresses = {}, {}
    lines = list(lines_of_fls(image))
    numbers = {path: address.split("-")[0] for path, address, *_ in lines}
    for path, address, kind, mode, size, mtime in lines:
        is_directory = mode.split("/")[1].startswith("d")
        owner, number = path.rpartition(":")[0], address.split("-")[0]
        if kind == "128" and (numbers.get(owner) == number or owner.endswith(("/.", "/.."))):
            continue  # a named stream
        if kind == "128" and size == "0" and numbers[path] == number and path in manifest:
            continue  # an empty one, whose name it does not show
        seconds = int(mtime) * 10**7
        manifest[path] = Entry(
            "d" if is_directory else "f",
            None if is_directory else int(size),
            None,
            seconds,
            None,
            None,
        )
        addresses[path] = address
    manifest = with_link_counts(manifest, {path: numbers[path] for path in manifest})
    files = sorted(path for path, entry in manifest.items() if entry.type == "f")
    if hashes == "all":
        return with_recovered_hashes(image, manifest)
    if hashes == "sample":
        chosen = random.Random(1).sample(files, min(len(files), 40))
        for path in chosen:
            with tempfile.TemporaryFile() as content:
                run_to_file(["icat", image, addresses[path]], content)
                content.seek(0)
                manifest[path] = manifest[path]._replace(
                    sha256=hashlib.sha256(content.read()).hexdigest()
                )
    return manifest


def run_to_file(command, target):
    subprocess.run(command, stdout=target, check=True, timeout=120)


def with_recovered_hashes(image, manifest):
    with tempfile.TemporaryDirectory(prefix="recovered-", dir=os.path.dirname(image)) as directory:
        run("tsk_recover", "-a", image, directory, timeout=600)
        recovered = from_directory(directory)
    return {
        path: entry._replace(sha256=recovered[path].sha256) if path in recovered else entry
        for path, entry in manifest.items()
    }


def from_ntfs3(verdict, step="ro"):
    """From one image's part of the JSON that scripts/vm-ntfs3 writes."""
    if not verdict.get(step, {}).get("mounted"):
        raise CaseFailure(
            f"ntfs3 does not mount it {step}: {verdict.get(step, {}).get('error')} "
            f"{verdict['kernel_log'][-5:]}"
        )
    return from_lines(verdict[step]["list"])


READERS = {
    "directory": from_directory,
    "ntfs-3g": from_ntfs3g,
    "libfsntfs": from_libfsntfs,
    "sleuthkit": from_sleuthkit,
}


def adapt_to_libfsntfs(path, entry):
    if any(part.startswith(BYTE_ORDER_MARKS) for part in path.split("/")):
        return None
    return path, entry if entry.type in "fd" else entry._replace(type="l", target=None)


def adapt_to_sleuthkit(path, entry):
    seconds = entry.mtime // 10**7
    entry = entry._replace(mtime=seconds * 10**7 if 0 <= seconds < 1 << 32 else None, target=None)
    if entry.type not in "fd":
        entry = entry._replace(type="f", size=None)
    return re.sub(r"[\x00-\x1f]", "^", path), entry


def adapt_to_ntfs3g(path, entry):
    return path, entry._replace(mtime=None) if entry.mtime < 0 else entry


def adapt_to_ntfs3(path, entry):
    if entry.type not in "fd":
        entry = entry._replace(type=None, size=None, target=None)
    return adapt_to_ntfs3g(path, entry)


ADAPTATIONS = {
    "libfsntfs": adapt_to_libfsntfs,
    "sleuthkit": adapt_to_sleuthkit,
    "ntfs-3g": adapt_to_ntfs3g,
    "ntfs3": adapt_to_ntfs3,
}


def adapt(expected, reader):
    """The expected manifest as this reader must show it."""
    adapted = (
        (ADAPTATIONS[reader](*item) for item in expected.items())
        if reader in ADAPTATIONS
        else expected.items()
    )
    return dict(item for item in adapted if item is not None)


def compare(expected, got, ignore=()):
    """The differences, one line each. Fields that either side does not know are not compared."""
    differences = [f"missing: {path!r}" for path in sorted(expected.keys() - got.keys(), key=repr)]
    differences += [
        f"not expected: {path!r}" for path in sorted(got.keys() - expected.keys(), key=repr)
    ]
    for path in expected.keys() & got.keys():
        for field in Entry._fields:
            want, have = getattr(expected[path], field), getattr(got[path], field)
            if want is not None and have is not None and want != have and field not in ignore:
                differences.append(f"{path!r}: {field} is {have!r}, expected {want!r}")
    return differences


def read(reader, source):
    if reader not in READERS:
        sys.exit(f"manifest: no reader {reader!r}; there are {', '.join(READERS)}")
    return READERS[reader](source)


def main():
    words = sys.argv[1:]
    if len(words) == 2:
        for path, entry in sorted(read(*words).items(), key=repr):
            print(json.dumps({"path": path, **entry._asdict()}))
        return 0
    if len(words) == 5 and words[0] == "compare":
        first, second = read(words[1], words[2]), read(words[3], words[4])
        differences = compare(adapt(first, words[3]), second)
        print("\n".join(differences) or f"no difference in {len(first)} entries")
        return 1 if differences else 0
    print(__doc__, file=sys.stderr)
    return 64


if __name__ == "__main__":
    sys.exit(main())
