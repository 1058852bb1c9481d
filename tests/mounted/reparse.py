#!/usr/bin/python3
"""Links and special files of Windows, WSL and Interix, and other reparse points: what ntfs-3g makes is
shown as it shows it, and the other way round; system.ntfs_reparse_data changes what a file is.

usage: reparse.py [WORD...]     only cases whose names contain a word
"""
import contextlib
import errno
import fcntl
import json
import mmap
import os
import random
import stat
import struct
import subprocess
import sys

import reparse_values as reparse
import volume
from cases import CaseFailure, CaseSkipped, Suite, expect, expect_equal
from volume import MIB, PROGRAM, Ntfs3g, mounted, run

SYSTEM, HIDDEN = 4, 2
VOLUME = "Volume{12345678-1234-1234-1234-123456789abc}"
# name: (target, is it a directory); relative to "links", beside "Dir" with "Sub" and "File.txt"
LINKS = {
    "junction": (reparse.junction(r"\??\C:\Dir\Sub"), True),
    "junction in other letters": (reparse.junction(r"\??\c:\dIr\sUB"), True),
    "junction to nothing": (reparse.junction(r"\??\C:\dir\None\x"), True),
    "junction to a volume": (reparse.junction(rf"\??\{VOLUME}" "\\"), True),
    "absolute": (reparse.symlink(r"\??\C:\Dir\File.txt"), False),
    "absolute in other letters": (reparse.symlink(r"\??\D:\DIR\file.TXT"), False),
    "absolute to nothing": (reparse.symlink(r"\??\D:\DIR\none"), False),
    "absolute directory": (reparse.symlink(r"\??\C:\dir\SUB"), True),
    "relative": (reparse.symlink(r"..\Dir\File.txt", True), False),
    "relative in other letters": (reparse.symlink(r"..\dir\FILE.txt", True), False),
    "relative directory": (reparse.symlink(r"..\DIR\sub", True), True),
    "from the root": (reparse.symlink(r"\Dir\File.txt", True), False),
    "of wsl": (reparse.value(0xA000001D, struct.pack("<I", 2) + b"a/b/c"), False),
    "surrogate": (reparse.value(reparse.GLOBAL_REPARSE, b"abcd"), False),
}
# What ntfs-3g shows as links that are none, or does not lead on with.
OTHERS = {
    "cloud": (reparse.value(reparse.CLOUD_1, b"abcd"), False),
    "cloud directory": (reparse.value(reparse.CLOUD_1, b"abcd"), True),
    "app": (reparse.value(reparse.APP_EXEC_LINK, b"abcd"), False),
    "foreign": (struct.pack("<IHH", 0x42, 4, 0) + b"G" * 16 + b"abcd", False),
}
LINK = b"IntxLNK\1"


def of_interix(target):
    return LINK + target.encode("utf-16-le")


def device(kind, major, minor):
    return b"Intx" + kind + b"\0" + struct.pack("<QQ", major, minor)


INTERIX = {
    "fifo": (b"", SYSTEM),
    "hidden fifo": (b"", SYSTEM | HIDDEN),
    "socket": (b"x", SYSTEM),
    "hidden socket": (b"x", SYSTEM | HIDDEN),
    "link": (of_interix("a/b"), SYSTEM),
    "hidden link": (of_interix("/etc/x"), SYSTEM | HIDDEN),
    "link with a NUL": (of_interix("a/b\0"), SYSTEM),
    "long link": (of_interix("x" * 4000), SYSTEM),
    "empty link": (LINK, SYSTEM),
    "too long link": (of_interix("x" * 5000), SYSTEM),
    "no system file": (of_interix("a/b"), 0),
    "character device": (device(b"CHR", 1, 3), SYSTEM),
    "block device": (device(b"BLK", 8, 17), SYSTEM),
    "long device": (device(b"CHR", 1, 3) + b"x", SYSTEM),
    "plain": (b"xy", SYSTEM),
}


def make_targets(directory):
    os.makedirs(os.path.join(directory, "Dir", "Sub", "deep"))
    with open(os.path.join(directory, "Dir", "File.txt"), "w", encoding="ascii") as out:
        out.write("text")
    os.mkdir(os.path.join(directory, "links"))


def make(path, is_directory):
    if is_directory:
        os.mkdir(path)
    else:
        with open(path, "wb"):
            pass


def make_links(directory, links):
    for name, (value, is_directory) in links.items():
        path = os.path.join(directory, "links", name)
        make(path, is_directory)
        reparse.put(path, value)


def make_interix(directory):
    for name, (data, attributes) in INTERIX.items():
        path = os.path.join(directory, name)
        with open(path, "wb") as out:
            out.write(data)
        os.setxattr(path, "system.ntfs_attrib", struct.pack("<I", attributes or 0x20))


def shown(directory, part=""):
    """Kind, size and target of every file; targets without the mount point."""
    entries = {}
    place = os.path.join(directory, part)
    for name in os.listdir(place):
        path = os.path.join(place, name)
        status = os.lstat(path)
        kind = stat.S_IFMT(status.st_mode)
        target = os.readlink(path) if stat.S_ISLNK(status.st_mode) else None
        if target is not None:
            expect_equal(status.st_size, len(os.fsencode(target)), f"size of {name}")
            target = target.replace(os.path.realpath(directory), "ROOT")
        is_device = stat.S_ISCHR(kind) or stat.S_ISBLK(kind)
        size = None if target is not None or kind == stat.S_IFDIR else status.st_size
        entries[name] = (kind, size, target, status.st_rdev if is_device else 0)
    return entries


def expect_same(ours, theirs, what):
    for name in sorted(ours.keys() | theirs.keys()):
        expect_equal(ours.get(name), theirs.get(name), f"{what}: {name}")


def check(image):
    report = json.loads(run(PROGRAM, "check", image, "--json").stdout)
    expect_equal(report["errors"], [], "check")


@contextlib.contextmanager
def refused(code, what):
    try:
        yield
    except OSError as error:
        expect_equal(error.errno, code, what)
        return
    raise CaseFailure(f"{what} is not refused")


def theirs(work):
    """ntfs-3g makes them; both show the same."""
    image = os.path.join(work, "theirs.img")
    peer, ours = Ntfs3g(), volume.subject()
    peer.format(image, 64 * MIB)
    with mounted(peer, image) as directory:
        make_targets(directory)
        make_links(directory, LINKS | OTHERS)
        os.mkdir(os.path.join(directory, "interix"))
        make_interix(os.path.join(directory, "interix"))
    compare_readers(image, peer, ours)
    # The user says where drives are.
    with mounted(ours, image) as directory:
        os.makedirs(os.path.join(directory, ".NTFS-3G", "C:"))
    compare_readers(image, peer, ours)
    check(image)


def compare_readers(image, peer, ours):
    with mounted(peer, image) as directory:
        links, interix = shown(directory, "links"), shown(directory, "interix")
    with mounted(ours, image) as directory:
        own = shown(directory, "links")
        for name in OTHERS:
            links.pop(name)
            own.pop(name)
        expect_same(own, links, "links")
        expect_same(shown(directory, "interix"), interix, "interix")
        for name, (value, _) in (LINKS | OTHERS).items():
            expect_equal(reparse.get(os.path.join(directory, "links", name)), value, name)


def made_here(work):
    """Made through our mount: a file is a link at once, and none when the reparse point is gone."""
    image = os.path.join(work, "ours.img")
    peer, ours = Ntfs3g(), volume.subject()
    ours.format(image, 64 * MIB)
    with mounted(ours, image) as directory:
        make_targets(directory)
        place = os.path.join(directory, "links")
        for name, (value, is_directory) in (LINKS | OTHERS).items():
            path = os.path.join(place, name)
            make(path, is_directory)
            before = os.lstat(path)
            os.link(path, path + " again") if not is_directory else None
            reparse.put(path, value)
            is_link = stat.S_ISLNK(os.lstat(path).st_mode)
            expect_equal(is_link, name in LINKS, f"{name} is a link")
            expect_equal(os.lstat(path).st_ino, before.st_ino, f"number of {name}")
            expect_equal(reparse.get(path), value, f"value of {name}")
        with open(os.path.join(place, "relative"), encoding="ascii") as source:
            expect_equal(source.read(), "text", "what a link leads to")
        with open(os.path.join(place, "absolute"), encoding="ascii") as source:
            expect_equal(source.read(), "text", "what an absolute link leads to")
        expect_equal(os.listdir(os.path.join(place, "junction")), ["deep"], "behind a junction")
        links = {name: entry for name, entry in shown(directory, "links").items() if name in LINKS}
    check(image)
    with mounted(peer, image) as directory:
        theirs_shown = shown(directory, "links")
        expect_same(links, {name: theirs_shown[name] for name in links}, "links")
        for name, (value, _) in (LINKS | OTHERS).items():
            expect_equal(reparse.get_by_peer(os.path.join(directory, "links", name)), value, name)
    with mounted(ours, image) as directory:
        place = os.path.join(directory, "links")
        for name, (_, is_directory) in LINKS.items():
            path = os.path.join(place, name)
            os.lstat(path)
            reparse.delete(path)
            kind = stat.S_IFMT(os.lstat(path).st_mode)
            expect_equal(kind, stat.S_IFDIR if is_directory else stat.S_IFREG, f"kind of {name}")
            with refused(errno.ENODATA, f"value of {name}"):
                reparse.get(path)
    check(image)


def wof_contents(kind, chunk_bytes):
    """Data of many lengths; chunks that compress, some that do not, and a hole."""
    chance = random.Random(chunk_bytes)
    words = b" ".join(chance.choice((b"the", b"quick", b"brown", b"fox")) for _ in range(9000))
    mixed = words[: 3 * chunk_bytes] + chance.randbytes(2 * chunk_bytes) + bytes(chunk_bytes)
    sizes = {1, 100, chunk_bytes - 1, chunk_bytes, chunk_bytes + 1, 5 * chunk_bytes, len(mixed)}
    files = {f"{kind}-{chunk_bytes}-{size}": mixed[:size] for size in sizes}
    files[f"{kind}-{chunk_bytes}-long"] = mixed * (MIB // 2 // len(mixed) + 1)
    return files


def make_wof(directory, kind, chunk_bytes, files):
    """As Windows' overlay filter leaves files: a hole, and beside it what it compressed."""
    for name, data in files.items():
        path = os.path.join(directory, name)
        with open(path, "wb") as out:
            out.truncate(len(data))
        with open(path + ":WofCompressedData", "wb") as out:
            out.write(reparse.compressed(kind, chunk_bytes, data))
        reparse.put(path, reparse.wof(kind, chunk_bytes))


def wof(work):
    """What is compressed as Windows does it is read, here and by libfsntfs; nobody writes to it."""
    image = os.path.join(work, "wof.img")
    peer, ours = Ntfs3g(), volume.subject()
    peer.format(image, 64 * MIB)
    files = {}
    with mounted(peer, image, "streams_interface=windows") as directory:
        for kind, chunk_bytes in reparse.WOF_FORMATS:
            some = wof_contents(kind, chunk_bytes)
            make_wof(directory, kind, chunk_bytes, some)
            files |= some
    with mounted(ours, image) as directory:
        for name, data in files.items():
            path = os.path.join(directory, name)
            expect_equal(os.lstat(path).st_size, len(data), f"size of {name}")
            with open(path, "rb") as source:
                expect(source.read() == data, f"{name} has other contents")
            read_pieces(path, data, name)
            expect_equal(os.listxattr(path), [], f"attributes of {name}")
        with refused(errno.EOPNOTSUPP, "an open for writing"):
            os.open(path, os.O_WRONLY)
        with refused(errno.EOPNOTSUPP, "truncate"):
            os.truncate(path, 0)
        os.rename(path, path + " again")
        os.rename(path + " again", path)
    shown = subprocess.run([PROGRAM, "cat", image, "/" + name], stdout=subprocess.PIPE, check=True)
    expect(shown.stdout == data, f"cat {name} has other contents")
    check(image)
    check_by_libfsntfs(image, files)
    with mounted(ours, image) as directory:
        for name in files:
            os.unlink(os.path.join(directory, name))
    check(image)


def check_by_libfsntfs(image, files):
    try:
        import pyfsntfs
    except ImportError as missing:
        raise CaseSkipped("python3-libfsntfs is not installed") from missing
    reader = pyfsntfs.volume()
    reader.open(image)
    for name, data in files.items():
        if len(data) == 1:
            continue  # it cannot read a stream of one byte
        entry = reader.get_file_entry_by_path("\\" + name)
        expect(entry.read_buffer(len(data)) == data, f"libfsntfs: {name} has other contents")
    reader.close()


def read_pieces(path, data, name):
    chance = random.Random(1)
    with open(path, "rb", buffering=0) as source:
        for direct in (0, os.O_DIRECT):
            fcntl.fcntl(source, fcntl.F_SETFL, direct)
            for _ in range(8):
                at = chance.randrange(len(data))
                at -= at % 4096 if direct else 0
                memory = mmap.mmap(-1, 4096 * chance.randrange(1, 40))
                length = os.preadv(source.fileno(), [memory], at)
                expect(memory[:length] == data[at : at + len(memory)], f"{name}: at {at}")


def elsewhere(work):
    """Data that the owner of a reparse point keeps is refused, and the tag named."""
    image = os.path.join(work, "elsewhere.img")
    ours = volume.subject()
    ours.format(image, 64 * MIB)
    with mounted(ours, image) as directory:
        path = os.path.join(directory, "file")
        with open(path, "wb") as out:
            out.write(b"what is here")
        reparse.put(path, reparse.value(reparse.DEDUP, b"abcd"))
        for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
            with refused(errno.EOPNOTSUPP, "an open"):
                os.open(path, flags)
        os.chmod(path, 0o600)
        os.link(path, path + " too")
        os.rename(path, path + " again")
        os.unlink(path + " too")
    told = json.loads(run(PROGRAM, "stat", image, "/file again", "--json").stdout)
    expect_equal(told["reparse_tag_name"], "DEDUP", "the name of the tag")
    expect(run(PROGRAM, "cat", image, "/file again", check=False).returncode != 0, "cat has data")
    check(image)


def refusals(work):
    image = os.path.join(work, "refusals.img")
    ours = volume.subject()
    ours.format(image, 64 * MIB)
    with mounted(ours, image) as directory:
        file = os.path.join(directory, "file")
        make(file, False)
        with refused(errno.EINVAL, "a value that is too short"):
            reparse.put(file, b"\x03\0\0\xa0")
        with refused(errno.ENOTDIR, "a junction that is a file"):
            reparse.put(file, reparse.junction(r"\??\C:\x"))
        with refused(errno.ENODATA, "the removal of none"):
            reparse.delete(file)
        with refused(errno.ENOTEMPTY, "a junction with entries"):
            os.makedirs(os.path.join(directory, "dir", "entry"))
            reparse.put(os.path.join(directory, "dir"), reparse.junction(r"\??\C:\x"))
        reparse.put(file, reparse.symlink("x", True))
        with refused(errno.EINVAL, "another tag"):
            reparse.put(file, reparse.value(reparse.CLOUD_1, b""))
        with refused(errno.EEXIST, "a second one"):
            flags = os.XATTR_CREATE
            os.setxattr(file, reparse.XATTR, reparse.symlink("y", True), flags, follow_symlinks=False)
        reparse.put(file, reparse.symlink("y", True))
        expect_equal(os.readlink(file), "y", "the target that was changed")
    check(image)


def main():
    suite = Suite("reparse")
    driver = volume.subject_of(suite, "is a peer here")
    with volume.work_directory("reparse") as work:
        cases = {
            "as ntfs-3g shows what it made": theirs,
            "made here": made_here,
            "refusals": refusals,
            "files that Windows compressed": wof,
            "data elsewhere": elsewhere,
        }
        suite.run(cases, work)
    suite.finish()


if __name__ == "__main__":
    sys.exit(main())
