#!/usr/bin/python3
"""Named streams as extended attributes and by paths, and extended attributes of NTFS: as Linux's tools
use them, as ntfs-3g, The Sleuth Kit and libfsntfs see them, in the change journal, and after a crash.
And what the kernel keeps of a file that changes in another way than through it.

usage: streams.py [WORD...]     only cases whose names contain a word
"""
import contextlib
import errno
import fcntl
import json
import mmap
import os
import random
import shutil
import struct
import subprocess
import sys

import volume
from cases import CaseSkipped, Suite, expect, expect_equal
from volume import KIB, MIB, PROGRAM, Ntfs3g, killed, mounted, run

UNIT = 64 * KIB
LONGEST = 64 * KIB  # of a value
WINDOWS = "streams_interface=windows"
TIMES = "system.ntfs_times"


def refusal(call):
    try:
        call()
    except OSError as refused:
        return refused.errno
    return 0


def check(image):
    report = json.loads(run(PROGRAM, "check", image, "--json").stdout)
    expect_equal(report["errors"], [], "check")


def make(work, name, size=64 * MIB):
    image = os.path.join(work, name + ".img")
    volume.subject().format(image, size)
    return image


def put(path, data):
    with open(path, "wb") as out:
        out.write(data)


def get(path):
    with open(path, "rb") as source:
        return source.read()


def attributes(path):
    """All values of user.* by their names, without the prefix."""
    names = [name for name in os.listxattr(path, follow_symlinks=False) if name.startswith("user.")]
    return {name[5:]: os.getxattr(path, name, follow_symlinks=False) for name in names}


def values(seed):
    """Streams that extended attributes can be: some resident, some not."""
    chance = random.Random(seed)
    sizes = (0, 1, 10, 300, 700, 4096, 5000, LONGEST - 1, LONGEST)
    streams = {f"of-{size}": chance.randbytes(size) for size in sizes}
    streams |= {"Case": b"upper", "case": b"lower", "ä ö 漢字 \U0001f600": b"name"}
    streams |= {"x" * 250: b"longest", "com.example.two.dots": b"dots"}
    return streams


# Extended attributes.


def as_attributes(work):
    image = make(work, "attributes")
    with mounted(volume.subject(), image) as directory:
        file, below = os.path.join(directory, "file"), os.path.join(directory, "below")
        put(file, b"unnamed")
        os.mkdir(below)
        streams = values(1)
        for path in (file, below):
            for name, value in streams.items():
                os.setxattr(path, "user." + name, value)
            expect_equal(attributes(path), streams, "all that was set")
        check_policies(file)
        streams = {name: value[::-1] + b"!" for name, value in streams.items() if len(value) < 6000}
        for name in values(1).keys() - streams.keys():
            os.removexattr(file, "user." + name)
        for name, value in streams.items():
            os.setxattr(file, "user." + name, value)
        expect_equal(attributes(file), streams, "what was replaced and removed")
        expect_equal(get(file), b"unnamed", "the file's own data")
        linked = os.path.join(directory, "linked")
        os.link(file, linked)
        expect_equal(attributes(linked), streams, "by another name")
        with open(file, "rb") as opened:
            os.unlink(file)
            os.unlink(linked)
            os.setxattr(opened.fileno(), "user.late", b"1")
            expect_equal(os.getxattr(opened.fileno(), "user.late"), b"1", "of an unlinked file")
    check(image)
    with mounted(volume.subject(), image) as directory:
        expect_equal(attributes(os.path.join(directory, "below")), values(1), "after a new mount")
    with mounted(volume.subject(), image, "streams_interface=none") as directory:
        path = os.path.join(directory, "below")
        expect_equal(attributes(path), {}, "streams_interface=none")
        for call in (
            lambda: os.getxattr(path, "user.Case"),
            lambda: os.setxattr(path, "user.Case", b""),
            lambda: os.removexattr(path, "user.Case"),
        ):
            expect_equal(refusal(call), errno.EOPNOTSUPP, "streams_interface=none")
    with mounted(volume.subject(), image, "windows_names") as directory:
        path = os.path.join(directory, "below")
        for name in ("a:b", "a/b", "a\\b"):
            got = refusal(lambda: os.setxattr(path, "user." + name, b""))
            expect_equal(got, errno.EINVAL, f"windows_names: user.{name}")
        os.setxattr(path, "user.plain", b"1")


def check_policies(path):
    create, replace = os.XATTR_CREATE, os.XATTR_REPLACE
    os.setxattr(path, "user.new", b"1", create)
    for error, call in (
        (errno.EEXIST, lambda: os.setxattr(path, "user.new", b"2", create)),
        (errno.ENODATA, lambda: os.setxattr(path, "user.none", b"2", replace)),
        (errno.ENODATA, lambda: os.getxattr(path, "user.none")),
        (errno.ENODATA, lambda: os.removexattr(path, "user.none")),
        (errno.ENODATA, lambda: os.getxattr(path, "user.NEW")),
        (errno.E2BIG, lambda: os.setxattr(path, "user.new", bytes(LONGEST + 1))),
        (errno.EOPNOTSUPP, lambda: os.setxattr(path, "user.", b"")),
    ):
        expect_equal(refusal(call), error, "error")
    expect_equal(os.getxattr(path, "user.new"), b"1", "what was refused changed it")
    os.setxattr(path, "user.new", b"333", replace)
    expect_equal(os.getxattr(path, "user.new"), b"333", "XATTR_REPLACE")
    os.removexattr(path, "user.new")


def too_long(work):
    """A stream that no value can be: listed, replaced and removed, and read by its path."""
    image = make(work, "long")
    data = random.Random(3).randbytes(3 * MIB)
    with mounted(volume.subject(), image, WINDOWS) as directory:
        put(os.path.join(directory, "file:long"), data)
        put(os.path.join(directory, "file:other"), data[: LONGEST + 1])
    with mounted(volume.subject(), image) as directory:
        path = os.path.join(directory, "file")
        expect_equal(sorted(os.listxattr(path)), ["user.long", "user.other"], "names")
        expect_equal(refusal(lambda: os.getxattr(path, "user.long")), errno.E2BIG, "a long value")
        os.setxattr(path, "user.other", b"short")
        os.removexattr(path, "user.long")
        expect_equal(attributes(path), {"other": b"short"}, "what is left")
    check(image)


def tools(work):
    """setfattr and getfattr, cp, rsync and tar carry streams from file to file."""
    image = make(work, "tools")
    with mounted(volume.subject(), image) as directory:
        source = os.path.join(directory, "source")
        os.makedirs(os.path.join(source, "below"))
        files = {name: values(seed) for seed, name in enumerate(("below", "one", "below/two"))}
        for name, streams in files.items():
            path = os.path.join(source, name)
            if name != "below":
                put(path, name.encode())
            for stream, value in streams.items():
                if len(value) < 10000:
                    os.setxattr(path, "user." + stream, value)
        files = {name: attributes(os.path.join(source, name)) for name in files}
        expect(all(len(streams) > 8 for streams in files.values()), "too few streams")
        place = lambda name: os.path.join(directory, name)
        run("cp", "-a", "--preserve=xattr", source, place("cp"))
        run("rsync", "-aX", source + "/", place("rsync"))
        os.mkdir(place("tar"))
        run("tar", "--xattrs", "-cf", os.path.join(work, "streams.tar"), "-C", source, ".")
        run("tar", "--xattrs", "-xf", os.path.join(work, "streams.tar"), "-C", place("tar"))
        shutil.copytree(source, place("setfattr"), copy_function=shutil.copyfile)
        dumped = run("getfattr", "-R", "-d", "-e", "base64", ".", cwd=source).stdout
        with open(os.path.join(work, "dump"), "w", encoding="utf-8") as out:
            out.write(dumped)
        run("setfattr", "--restore=" + os.path.join(work, "dump"), cwd=place("setfattr"))
        for tool in ("cp", "rsync", "tar", "setfattr"):
            for name, streams in files.items():
                expect_equal(attributes(os.path.join(place(tool), name)), streams, f"{tool}: {name}")
    check(image)


# Paths.


def by_paths(work):
    image = make(work, "paths", 128 * MIB)
    chance = random.Random(7)
    data = {"": b"unnamed", "small": b"resident", "big": chance.randbytes(3 * MIB + 77)}
    with mounted(volume.subject(), image, WINDOWS) as directory:
        file = os.path.join(directory, "file")
        for name, value in data.items():
            put(f"{file}:{name}" if name else file, value)
        for name, value in data.items():
            path = f"{file}:{name}" if name else file
            expect(get(path) == value, f"contents of the stream '{name}'")
            expect_equal(os.stat(path).st_size, len(value), "size")
            expect(get(f"{file}:{name}:$DATA") == value, "with the type")
        expect_equal(os.listdir(directory), ["file"], "listing")
        told = os.getxattr(file, "ntfs.streams.list")
        expect_equal(told, b"big\0small", "ntfs.streams.list")
        expect("user.big" not in os.listxattr(file), "streams are extended attributes, too")
        change_by_paths(directory, file)
        refuse_by_paths(directory, file)
        os.mkdir(os.path.join(directory, "below"))
        put(os.path.join(directory, "below:one"), b"of a directory")
        put(os.path.join(directory, "below/new:one"), b"makes its file")
        expect_equal(get(os.path.join(directory, "below:one")), b"of a directory", "contents")
        expect_equal(os.stat(os.path.join(directory, "below/new")).st_size, 0, "the file made")
        run(volume.program("fsx"), "--seed", "1", "--ops", "1000", "--length", "2000000",
            os.path.join(directory, "below:fsx"), timeout=300)  # fmt: skip
    check(image)


def change_by_paths(directory, file):
    stream = file + ":changed"
    with open(stream, "x+b", buffering=0) as out:
        out.write(b"first")
        expect_equal(refusal(lambda: open(stream, "xb")), errno.EEXIST, "O_EXCL")
        with open(stream, "ab") as more:
            more.write(b" second")
        os.truncate(stream, 9)
        os.chmod(stream, 0o640)
        expect_equal(os.stat(file).st_mode & 0o777, 0o640, "chmod is one of the file")
        os.chmod(file, 0o600)
        expect_equal(os.stat(stream).st_mode & 0o777, 0o600, "and the other way round")
        os.rename(file, file + "2")
        expect_equal(refusal(lambda: os.stat(stream)), errno.ENOENT, "by the old name")
        os.rename(file + "2", file)
        os.unlink(stream)
        expect_equal(refusal(lambda: os.stat(stream)), errno.ENOENT, "an unlinked stream")
        out.write(b"!")
        expect_equal(os.pread(out.fileno(), 99, 0), b"first!sec", "an unlinked stream that is open")
        expect_equal(os.fstat(out.fileno()).st_nlink, 0, "its link count")
    put(stream, b"another")
    expect_equal(get(stream), b"another", "one of the same name")
    run("mv", stream, file + ":moved")
    run("mv", file + ":moved", os.path.join(directory, "plain"))
    expect_equal(get(os.path.join(directory, "plain")), b"another", "what mv moved")
    expect_equal(os.getxattr(file, "ntfs.streams.list"), b"big\0small", "ntfs.streams.list")
    with open(file + ":small", "r+b") as both, mmap.mmap(both.fileno(), 8) as mapped:
        mapped[2:4] = b"XX"
        mapped.flush()
        expect_equal(get(file + ":small"), b"reXXdent", "a mapped stream")
    put(os.path.join(directory, "brief"), b"")
    with open(os.path.join(directory, "brief:held"), "w+b", buffering=0) as out:
        os.unlink(os.path.join(directory, "brief"))
        out.write(b"of no name")
        expect_equal(os.pread(out.fileno(), 99, 0), b"of no name", "of a file that was unlinked")
    os.unlink(os.path.join(directory, "plain"))


def refuse_by_paths(directory, file):
    expect_equal(refusal(lambda: os.mkdir(file + ":d")), errno.EINVAL, "mkdir")
    expect_equal(refusal(lambda: os.symlink("x", file + ":l")), errno.EINVAL, "symlink")
    expect_equal(refusal(lambda: os.link(file, file + ":l")), errno.EINVAL, "link")
    expect_equal(refusal(lambda: os.stat(file + ":")), errno.EINVAL, "no name")
    expect_equal(refusal(lambda: os.stat(directory + "/absent:s")), errno.ENOENT, "of no file")
    expect_equal(refusal(lambda: os.stat(file + ":none")), errno.ENOENT, "no stream")
    expect_equal(refusal(lambda: os.stat(file + ":SMALL")), errno.ENOENT, "case")
    expect_equal(refusal(lambda: os.unlink(file + "::$DATA")), errno.EPERM, "unlink of all")
    long = directory + "/" + "x" * 255
    put(long + ":" + "y" * 255, b"longest")
    expect_equal(get(long + ":" + "y" * 255), b"longest", "names of 255")
    expect_equal(refusal(lambda: put(long + ":" + "y" * 256, b"")), errno.ENAMETOOLONG, "256")
    os.unlink(long)


# Extended attributes of NTFS.


def packed(eas):
    """The value of system.ntfs_ea."""
    value = b""
    for name, data in eas:
        entry = struct.pack("<BBH", 0, len(name), len(data)) + name + b"\0" + data
        length = (4 + len(entry) + 3) // 4 * 4
        value += (struct.pack("<I", length) + entry).ljust(length, b"\0")
    return value


EAS = packed([(b"FIRST", b"1"), (b"SECOND", b"22" * 900), (b"EMPTY", b""), (b"n" * 254, b"333")])
EA = "system.ntfs_ea"


def all_of(path):
    """ntfs-3g gives EIO where the room is too small; getfattr asks for the length first."""
    shown = run("getfattr", "-e", "hex", "-n", EA, path).stdout
    return bytes.fromhex(shown.split("=0x")[1].strip())


def eas(work):
    image = make(work, "eas")
    ours = volume.subject()
    with mounted(ours, image) as directory:
        path = os.path.join(directory, "file")
        put(path, b"data")
        expect_equal(refusal(lambda: os.getxattr(path, EA)), errno.ENODATA, "none")
        os.setxattr(path, EA, EAS, os.XATTR_CREATE)
        expect_equal(os.getxattr(path, EA), EAS, "what was set")
        expect_equal(refusal(lambda: os.setxattr(path, EA, EAS, os.XATTR_CREATE)), errno.EEXIST, "")
        for wrong in (b"", b"abc", EAS[:-1], EAS[:-4], EAS + bytes(4), EAS[4:], packed([(b"", b"")])):
            expect_equal(refusal(lambda: os.setxattr(path, EA, wrong)), errno.EINVAL, repr(wrong[:9]))
        expect_equal(os.getxattr(path, EA), EAS, "what was refused changed it")
        large = packed([(b"A", bytes(40000)), (b"B", bytes(25400))])
        expect_equal(refusal(lambda: os.setxattr(path, EA, large)), 0, "64 KiB")
        large = packed([(b"A", bytes(40000)), (b"B", bytes(25514))])
        expect_equal(refusal(lambda: os.setxattr(path, EA, large)), errno.ENOSPC, "more")
        os.removexattr(path, EA)
        expect_equal(refusal(lambda: os.removexattr(path, EA)), errno.ENODATA, "removed twice")
        # What WSL keeps there is seen at once.
        expect_equal(os.stat(path).st_mode, 0o100644, "mode")
        mode = packed([(b"$LXMOD", struct.pack("<I", 0o100751)), (b"$LXUID", struct.pack("<I", 7))])
        os.setxattr(path, EA, mode)
        expect_equal((os.stat(path).st_mode, os.stat(path).st_uid), (0o100751, 7), "after $LXMOD")
        os.chmod(path, 0o100700)
        expect(b"$LXMOD\0\xc0\x81" in os.getxattr(path, EA), "chmod is not in the list")
        os.removexattr(path, EA)
        expect_equal((os.stat(path).st_mode, os.stat(path).st_uid), (0o100644, 0), "without")
        os.setxattr(path, EA, EAS)
    check(image)
    os.chmod(work, 0o755)
    with mounted(ours, image, "allow_other,umask=0") as directory:
        path = os.path.join(directory, "file")
        remove = ["setpriv", "--reuid=65534", "--clear-groups", "setfattr", "-x", EA, path]
        done = run(*remove, check=False)
        expect("not permitted" in done.stderr, f"others than the owner remove it: {done.stderr}")
    check(image)
    with mounted(Ntfs3g(), image) as directory:
        path = os.path.join(directory, "file")
        expect_equal(all_of(path), EAS, "as ntfs-3g sees it")
        os.setxattr(path, EA, EAS + packed([(b"THEIRS", b"x" * 3000)]))
        put(os.path.join(directory, "theirs"), b"")
        os.setxattr(os.path.join(directory, "theirs"), EA, EAS)
    check(image)
    with mounted(ours, image) as directory:
        path = os.path.join(directory, "file")
        expect_equal(os.getxattr(path, EA), EAS + packed([(b"THEIRS", b"x" * 3000)]), "theirs")
        expect_equal(os.getxattr(os.path.join(directory, "theirs"), EA), EAS, "theirs")
        os.removexattr(path, EA)
    check(image)


# Others.


def same_streams(directory, files, how):
    for name, streams in files.items():
        path = os.path.join(directory, name)
        if how == "xattr":
            expect_equal(attributes(path), streams, f"streams of {name}")
            continue
        for stream, value in streams.items():
            expect(get(f"{path}:{stream}") == value, f"contents of {name}:{stream}")


def peers(work):
    """ntfs-3g reads and changes what we wrote; we do so with what it wrote."""
    image = make(work, "peers")
    files = {"one": values(11), "two": values(12), "below": values(13)}
    files["plain"] = {name: value for name, value in values(14).items() if is_plain(name)}
    ours, theirs = volume.subject(), Ntfs3g()
    with mounted(ours, image) as directory:
        make_files(directory, files, "xattr")
    check(image)
    other_readers(image, files)
    for driver in (theirs, ours, theirs):
        for how in ("windows", "xattr"):
            with mounted(driver, image, f"streams_interface={how}") as directory:
                same_streams(directory, files, how)
                change_files(directory, files, how)
        check(image)
    with mounted(ours, image) as directory:
        same_streams(directory, files, "xattr")
    other_readers(image, files)


def make_files(directory, files, how):
    for name, streams in files.items():
        path = os.path.join(directory, name)
        if name == "below":
            os.mkdir(path)
        else:
            put(path, name.encode() * 500)
        for stream, value in streams.items():
            write_stream(path, stream, value, how)


def write_stream(path, stream, value, how):
    if how == "xattr":
        os.setxattr(path, "user." + stream, value)
    else:
        put(f"{path}:{stream}", value)


def change_files(directory, files, how):
    """Replaces some streams, removes some, makes some."""
    chance = random.Random(len(str(files)))
    for name, streams in files.items():
        path = os.path.join(directory, name)
        for stream in sorted(streams):
            kind = chance.randrange(4)
            if kind == 0:
                del streams[stream]
                if how == "xattr":
                    os.removexattr(path, "user." + stream)
                else:
                    os.unlink(f"{path}:{stream}")
            elif kind == 1:
                streams[stream] = chance.randbytes(chance.choice((0, 5, 600, 9000, LONGEST)))
                write_stream(path, stream, streams[stream], how)
        for _ in range(3):
            stream = f"new-{chance.randrange(10**6)}"
            streams[stream] = chance.randbytes(chance.choice((0, 5, 600, 9000)))
            write_stream(path, stream, streams[stream], how)


def is_plain(name):
    """libfsntfs gives up files with streams of longer names, or of characters beyond UTF-16's first."""
    return name.isascii() and len(name) < 100


def other_readers(image, files):
    """What fls lists and icat shows, and libfsntfs."""
    if shutil.which("fls") is None:
        raise CaseSkipped("The Sleuth Kit is not installed")
    listed = {}
    for line in run("fls", image).stdout.splitlines():
        address, name = line.split(":\t", 1)
        listed[name] = address.split()[-1]
    for name, streams in files.items():
        for stream, value in streams.items():
            # In a file with an attribute list, it takes the name from what is empty.
            if not value:
                continue
            expect(f"{name}:{stream}" in listed, f"fls does not list {name}:{stream}")
            shown = subprocess.run(["icat", image, listed[f"{name}:{stream}"]], capture_output=True,
                                   timeout=60, check=True).stdout  # fmt: skip
            expect(shown == value, f"icat shows other contents of {name}:{stream}")
    import pyfsntfs

    opened = pyfsntfs.volume()
    opened.open(image)
    for name, streams in files.items():
        if not all(map(is_plain, streams)):
            continue
        entry = opened.get_file_entry_by_path("\\" + name)
        found = {}
        for index in range(entry.number_of_alternate_data_streams):
            stream = entry.get_alternate_data_stream(index)
            found[stream.name] = stream.read_buffer(stream.size) if stream.size else b""
        expect_equal(found, streams, f"libfsntfs: streams of {name}")
    opened.close()


# The change journal.


def journal(work):
    image = make(work, "journal")
    with mounted(volume.subject(), image) as directory:
        path = os.path.join(directory, "attributes")
        put(path, b"")
        os.setxattr(path, "user.s", b"12345")
        os.setxattr(path, "user.s", b"1234567")
        os.removexattr(path, "user.s")
        os.setxattr(path, EA, EAS)
        os.removexattr(path, EA)
    with mounted(volume.subject(), image, WINDOWS) as directory:
        path = os.path.join(directory, "paths")
        put(path, b"")
        with open(path + ":s", "wb", buffering=0) as out:
            out.write(b"12345")
            os.fsync(out.fileno())
            os.pwrite(out.fileno(), b"99", 1)
            os.fsync(out.fileno())
            os.ftruncate(out.fileno(), 2)
        os.unlink(path + ":s")
    lines = run(PROGRAM, "usn", "read", image, "--json").stdout.splitlines()
    told = {}
    for record in map(json.loads, lines):
        told.setdefault(record["name"], set()).update(record["reasons"])
    made = {"file_create", "close", "stream_change", "named_data_extend", "named_data_truncation"}
    expect_equal(told["attributes"] - {"basic_info_change"}, made | {"ea_change"}, "attributes")
    expect_equal(told["paths"] - {"basic_info_change"}, made | {"named_data_overwrite"}, "paths")
    check(image)


# Crashes.


def crash(work):
    """What fsync answered for is there."""
    image = make(work, "crash")
    place = os.path.join(work, "crashed")
    os.mkdir(place)
    files = {"one": values(21), "below": values(22)}
    with killed(image, place, ""):
        make_files(place, files, "xattr")
        os.setxattr(os.path.join(place, "one"), EA, EAS)
        change_files(place, files, "xattr")
        with open(os.path.join(place, "one"), "rb") as synced:
            os.fsync(synced.fileno())
        os.setxattr(os.path.join(place, "one"), "user.late", b"may be lost")
    big = random.Random(5).randbytes(2 * MIB)
    with killed(image, place, WINDOWS):
        same_streams(place, files, "windows")
        expect_equal(os.getxattr(os.path.join(place, "one"), EA), EAS, "extended attributes")
        change_files(place, files, "windows")
        with open(os.path.join(place, "one:big"), "wb") as out:
            out.write(big)
            out.flush()
            os.fsync(out.fileno())
        put(os.path.join(place, "one:late"), b"may be lost")
    with mounted(volume.subject(), image, WINDOWS) as directory:
        # Written data is promised by the fsync of its own file alone: none is asked for here.
        expect(get(os.path.join(directory, "one:big")) == big, "contents of one:big")
        told = os.getxattr(os.path.join(directory, "one"), "ntfs.streams.list").decode().split("\0")
        expect_equal(sorted(set(told) - {"late", "big"}), sorted(files["one"]), "streams")
    check(image)


# The kernel's cache.


def control(number):
    """_IOWR('w', number, three numbers of 8 bytes), see fuse/range_ioctl.h."""
    return 3 << 30 | 24 << 16 | ord("w") << 8 | number


COLLAPSE, INSERT = control(0x10), control(0x11)


def shift(handle, command, offset, length):
    fcntl.ioctl(handle, command, struct.pack("<QQQ", offset, length, 0))


def cached(work):
    """The kernel's pages of a file are broken like an oplock by what does not come through them."""
    image = make(work, "cached", 128 * MIB)
    for options, name in (("", "file"), (WINDOWS, "file:stream")):
        with mounted(volume.subject(), image, options) as directory:
            path = os.path.join(directory, name)
            data = bytearray(random.Random(9).randbytes(8 * UNIT))
            put(path, data)
            with open(path, "r+b", buffering=0) as reader, open(path, "r+b", buffering=0) as other:
                with mmap.mmap(reader.fileno(), len(data)) as mapped:
                    expect(mapped[:] == data, "mapped")
                    expect(get(path) == data, "read")
                    change_behind_pages(reader, other, mapped, data)
    check(image)


def change_behind_pages(reader, other, mapped, data):
    """`data` is what the file, which is 8 units long, shall hold."""
    for step, command in enumerate((COLLAPSE, INSERT, COLLAPSE, COLLAPSE, INSERT, INSERT)):
        # Not written yet: both move with the rest.
        at, dirty = (5 - step % 3) * UNIT + 100, bytes([65 + step]) * 5000
        os.pwrite(reader.fileno(), dirty, at)
        data[at : at + 5000] = dirty
        mapped[at + 9000 : at + 9100] = dirty[:100]
        data[at + 9000 : at + 9100] = dirty[:100]
        size = len(data)
        shift(other, command, UNIT, UNIT)
        if command == COLLAPSE:
            del data[UNIT : 2 * UNIT]
        else:
            data[UNIT:UNIT] = bytes(UNIT)
        # The kernel learns of a new size by ftruncate alone.
        size = min(size, len(data))
        expect(os.pread(reader.fileno(), size, 0) == data[:size], f"step {step}: as read")
        expect(mapped[:size] == data[:size], f"step {step}: as mapped")
        os.ftruncate(other.fileno(), len(data))


def names_of_one(work):
    """Whatever name leads to a stream, its pages are the same."""
    image = make(work, "names")
    with mounted(volume.subject(), image, WINDOWS + ",ignore_case") as directory:
        path = os.path.join(directory, "File")
        for names in (("File", "File::$DATA", "fILE"), ("File:S", "File:s", "file:S:$data")):
            first = os.path.join(directory, names[0])
            put(first, bytes(20000))
            for number, name in enumerate(names):
                byte = bytes([65 + number])
                with open(first, "rb") as held, mmap.mmap(
                    held.fileno(), 20000, access=mmap.ACCESS_READ
                ) as mapped:
                    expect(mapped[19000:19001] != byte, "it is there already")
                    with open(os.path.join(directory, name), "r+b", buffering=0) as other:
                        os.pwrite(other.fileno(), byte * 100, 19000)
                        expect(mapped[19000:19100] == byte * 100, f"{name} as mapped")
                        expect(os.pread(held.fileno(), 100, 19000) == byte * 100, f"{name} as read")
                    expect_equal(os.stat(first).st_ino, os.stat(os.path.join(directory, name)).st_ino, "")
        expect(os.stat(path).st_ino != os.stat(path + ":s").st_ino, "a stream is a file of its own")
    check(image)


def times_of(path):
    return struct.unpack("<4Q", os.getxattr(path, TIMES))


def set_times(file, number):
    """Creation, last write, last access: these three."""
    times = tuple(130000000000000000 + 10 * number + i for i in range(3))
    os.setxattr(file, TIMES, struct.pack("<3Q", *times))
    return times


def times(work):
    """The kernel, which keeps a time of the last write, too, and tells it with every change, does
    not undo what was set; data that is written later does."""
    image = make(work, "times")
    expected = {}
    with mounted(volume.subject(), image) as directory:
        for number, name in enumerate(("closed", "open", "again")):
            path = os.path.join(directory, name)
            with open(path, "wb") as out:
                out.write(b"content")
                out.flush()
                os.fsync(out.fileno())
                if name == "open":
                    expected[name] = set_times(out.fileno(), number)
            if name != "open":
                expected[name] = set_times(path, number)
            if name == "again":
                expected[name] = set_times(path, number + 10)
            expect_equal(times_of(path)[:3], expected[name], f"times of {name}")
            os.chmod(path, 0o640)
            os.setxattr(path, "user.more", b"value")
            expect_equal(times_of(path)[:3], expected[name], f"times of {name} later")
        path = os.path.join(directory, "written")
        put(path, b"content")
        os.utime(path, ns=(10**18, 10**18))
        asked = times_of(path)
        set_times(path, 100)
        put(path, b"other content")
        expect(times_of(path)[1] > 132 * 10**15, "a write does not count")
        os.utime(path, ns=(10**18, 10**18))
        set_times(path, 101)
        os.utime(path, ns=(10**18 + 100, 10**18 + 100))
        expect_equal(times_of(path)[1], asked[1] + 1, "a time that was asked for")
    with mounted(volume.subject(), image) as directory:
        for name, wanted in expected.items():
            path = os.path.join(directory, name)
            expect_equal(times_of(path)[:3], wanted, f"times of {name} after a mount")
            shown = (wanted[1] - 116444736000000000) * 100
            expect_equal(os.stat(path).st_mtime_ns, shown, f"st_mtime of {name}")
    check(image)


def main():
    suite = Suite("streams")
    driver = volume.subject_of(suite, "is a peer here")
    with volume.work_directory("streams") as work:
        cases = {
            "as extended attributes": as_attributes,
            "longer than a value": too_long,
            "cp, rsync, tar, setfattr": tools,
            "by paths": by_paths,
            "extended attributes of NTFS": eas,
            "the same to all": peers,
            "change journal": journal,
            "after a crash": crash,
            "the kernel's pages": cached,
            "names of one stream": names_of_one,
            "times": times,
        }
        suite.run(cases, work)
    suite.finish()


if __name__ == "__main__":
    sys.exit(main())
