#!/usr/bin/python3
"""What programs on Linux rely on, through the kernel.

usage: posix.py [WORD...]     only cases whose names contain a word
"""
import ctypes
import errno
import fcntl
import mmap
import os
import shutil
import stat
import struct
import subprocess
import sys
import tempfile

import manifest
import volume
from cases import CaseSkipped, Suite, expect, expect_equal, expect_no_differences
from peers_agree import check_volume
from volume import MIB, PROGRAM, mounted, run

LIBC = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = -100, 1, 2, 4
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16
CASES = []


def case(function):
    CASES.append(function)
    return function


def expect_error(code, action, *arguments):
    """The call must fail with this errno (or one of them)."""
    codes = code if isinstance(code, tuple) else (code,)
    try:
        action(*arguments)
    except OSError as error:
        expect(
            error.errno in codes,
            f"{action.__name__}{arguments}: {error}, expected "
            f"{' or '.join(errno.errorcode[c] for c in codes)}",
        )
    else:
        expect(
            False, f"{action.__name__}{arguments} succeeded, expected {errno.errorcode[codes[0]]}"
        )


def write(path, content=b"content", mode="xb"):
    with open(path, mode, buffering=0) as out:
        out.write(content)


def read(path):
    with open(path, "rb") as source:
        return source.read()


def rename2(source, target, flags):
    if LIBC.renameat2(AT_FDCWD, source.encode(), AT_FDCWD, target.encode(), flags) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def fallocate(handle, mode, offset, length):
    if LIBC.fallocate(handle, mode, ctypes.c_long(offset), ctypes.c_long(length)) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@case
def rename_without_replacing(place):
    write(f"{place}/a", b"a")
    write(f"{place}/b", b"b")
    expect_error(errno.EEXIST, rename2, f"{place}/a", f"{place}/b", RENAME_NOREPLACE)
    rename2(f"{place}/a", f"{place}/c", RENAME_NOREPLACE)
    expect_equal(sorted(os.listdir(place)), ["b", "c"], "names")


@case
def rename_exchanges(place):
    write(f"{place}/file", b"file")
    os.makedirs(f"{place}/directory/child")
    rename2(f"{place}/file", f"{place}/directory", RENAME_EXCHANGE)
    expect_equal(read(f"{place}/directory"), b"file", "the file under the directory's name")
    expect(os.path.isdir(f"{place}/file/child"), "the directory is not under the file's name")
    os.mkdir(f"{place}/other")
    write(f"{place}/other/x", b"x")
    rename2(f"{place}/other/x", f"{place}/directory", RENAME_EXCHANGE)
    expect_equal(
        (read(f"{place}/other/x"), read(f"{place}/directory")),
        (b"file", b"x"),
        "across directories",
    )
    expect_error(errno.ENOENT, rename2, f"{place}/directory", f"{place}/absent", RENAME_EXCHANGE)


@case
def rename_leaves_a_whiteout(place):
    old, new = f"{place}/old", f"{place}/new"
    write(old, b"moved")
    write(new, b"replaced")
    rename2(old, new, RENAME_WHITEOUT)
    left = os.lstat(old)
    expect(stat.S_ISCHR(left.st_mode), "what is left is no character device")
    expect_equal((left.st_rdev, stat.S_IMODE(left.st_mode)), (0, 0), "device, permissions")
    expect_equal(read(new), b"moved", "content")
    expect_error(errno.EINVAL, rename2, new, old, RENAME_WHITEOUT | RENAME_EXCHANGE)
    expect_error(errno.EEXIST, rename2, new, old, RENAME_WHITEOUT | RENAME_NOREPLACE)
    os.mkdir(f"{place}/directory")
    rename2(f"{place}/directory", f"{place}/directory 2", RENAME_WHITEOUT | RENAME_NOREPLACE)
    expect_equal(
        sorted(os.listdir(place)), ["directory", "directory 2", "new", "old"], "names at the end"
    )


@case
def is_the_upper_layer_of_an_overlay(place):
    if os.geteuid() != 0:
        raise CaseSkipped("only root mounts overlays")
    lower, upper, work, merged = (
        f"{place}/{name}" for name in ("lower", "upper", "work", "merged")
    )
    for directory in (f"{lower}/directory", upper, work, merged):
        os.makedirs(directory)
    write(f"{lower}/directory/file")
    write(f"{lower}/gone")
    write(f"{lower}/moved")
    options = ",".join(f"{name}dir={place}/{name}" for name in ("lower", "upper", "work"))
    done = run("mount", "-t", "overlay", "overlay", "-o", options, merged, check=False)
    if "unknown filesystem" in done.stderr:
        raise CaseSkipped("this kernel has no overlay filesystem")
    expect_equal(done.returncode, 0, f"exit code of mount ({done.stderr})")
    try:
        os.unlink(f"{merged}/gone")
        os.rename(f"{merged}/moved", f"{merged}/here")
        shutil.rmtree(f"{merged}/directory")
        os.mkdir(f"{merged}/directory")
        expect_equal(os.listdir(f"{merged}/directory"), [], "names in the new directory")
        expect_equal(sorted(os.listdir(merged)), ["directory", "here"], "names of both layers")
    finally:
        run("umount", merged)
    expect(stat.S_ISCHR(os.lstat(f"{upper}/gone").st_mode), "what was removed has no whiteout")


# cap_net_raw, effective and permitted. Source: Linux, include/uapi/linux/capability.h.
CAPABILITIES = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)


@case
def capabilities_go_with_the_next_write(place):
    if os.geteuid() != 0:
        raise CaseSkipped("only root gives capabilities")

    def write_directly(path):
        handle = os.open(path, os.O_WRONLY | os.O_DIRECT)
        with mmap.mmap(-1, 4096) as memory:
            os.write(handle, memory)
        os.close(handle)

    changes = (
        lambda path: write(path, b"more", "ab"),
        lambda path: write(path, b"new", "wb"),
        write_directly,
        lambda path: os.truncate(path, 2),
        lambda path: os.chown(path, 1, 1),
    )
    for number, change in enumerate(changes):
        path = f"{place}/program {number}"
        write(path, b"x" * 5000)
        os.setxattr(path, "security.capability", CAPABILITIES)
        expect_equal(os.getxattr(path, "security.capability"), CAPABILITIES, "capabilities")
        expect_equal(read(path), b"x" * 5000, "content")
        expect_equal(os.listxattr(path), ["security.capability"], "attributes before the change")
        change(path)
        expect_equal(os.listxattr(path), [], f"attributes after change {number}")


@case
def trusted_attributes_are_for_root(place):
    if os.geteuid() != 0:
        raise CaseSkipped("only root sees them")
    path = f"{place}/file"
    write(path)
    os.setxattr(path, "trusted.name", b"value", os.XATTR_CREATE)
    expect_error(errno.EEXIST, os.setxattr, path, "trusted.name", b"2", os.XATTR_CREATE)
    expect_error(errno.ENODATA, os.setxattr, path, "trusted.other", b"2", os.XATTR_REPLACE)
    os.symlink("file", f"{place}/link")
    os.setxattr(f"{place}/link", "trusted.name", b"link's", follow_symlinks=False)
    expect_equal(os.readlink(f"{place}/link"), "file", "target of the link")
    expect_equal(
        os.getxattr(f"{place}/link", "trusted.name", follow_symlinks=False), b"link's", "value"
    )
    expect_equal(os.listxattr(path), ["trusted.name"], "names")
    os.removexattr(path, "trusted.name")
    expect_error(errno.ENODATA, os.removexattr, path, "trusted.name")
    expect_equal(os.listxattr(path), [], "names at the end")


@case
def rename_replaces(place):
    write(f"{place}/new", b"new")
    write(f"{place}/old", b"old")
    with open(f"{place}/old", "rb") as opened:
        os.rename(f"{place}/new", f"{place}/old")
        expect_equal((read(f"{place}/old"), opened.read()), (b"new", b"old"), "new name, old file")
    os.makedirs(f"{place}/full/child")
    os.makedirs(f"{place}/empty")
    expect_error((errno.ENOTEMPTY, errno.EEXIST), os.rename, f"{place}/empty", f"{place}/full")
    os.rename(f"{place}/full", f"{place}/empty")
    expect(os.path.isdir(f"{place}/empty/child"), "a directory replaces an empty one")
    expect_error(errno.EISDIR, os.rename, f"{place}/old", f"{place}/empty")
    expect_error(errno.ENOTDIR, os.rename, f"{place}/empty", f"{place}/old")
    expect_error(errno.EINVAL, os.rename, f"{place}/empty", f"{place}/empty/child/inside")
    os.link(f"{place}/old", f"{place}/twin")
    os.rename(f"{place}/old", f"{place}/twin")
    expect_equal(
        sorted(os.listdir(place)), ["empty", "old", "twin"], "renaming one link to the other"
    )


@case
def rename_changes_case(place):
    write(f"{place}/readme")
    os.rename(f"{place}/readme", f"{place}/README")
    expect_equal(os.listdir(place), ["README"], "names")
    write(f"{place}/readme", b"other")
    expect_equal(sorted(os.listdir(place)), ["README", "readme"], "names that differ in case alone")
    os.unlink(f"{place}/readme")
    expect_equal(read(f"{place}/README"), b"content", "the other one")


@case
def unlinked_files_live_until_close(place):
    before = os.statvfs(place).f_bfree
    with open(f"{place}/gone", "w+b", buffering=0) as opened:
        opened.write(b"x" * 8 * MIB)
        os.unlink(f"{place}/gone")
        expect_equal(os.fstat(opened.fileno()).st_nlink, 0, "link count")
        opened.write(b"y" * MIB)
        opened.seek(8 * MIB - 1)
        expect_equal(opened.read(2), b"xy", "content after unlink")
        write(f"{place}/gone", b"another")
        expect_equal(read(f"{place}/gone"), b"another", "a new file of that name")
        os.fsync(opened.fileno())
    os.unlink(f"{place}/gone")
    os.sync()
    volume.wait_until(lambda: os.statvfs(place).f_bfree >= before - 64, "the space came back")


@case
def open_flags(place):
    path = f"{place}/file"
    write(path, b"12345")
    expect_error(errno.EEXIST, os.open, path, os.O_CREAT | os.O_EXCL)
    expect_error(errno.ENOENT, os.open, f"{place}/absent", os.O_RDONLY)
    expect_error(errno.ENOTDIR, os.open, path, os.O_RDONLY | os.O_DIRECTORY)
    expect_error(errno.EISDIR, os.open, place, os.O_WRONLY)
    write(path, b"678", "ab")
    expect_equal(read(path), b"12345678", "O_APPEND")
    write(path, b"9", "wb")
    expect_equal(read(path), b"9", "O_TRUNC")


@case
def truncate_fills_with_zeros(place):
    path = f"{place}/file"
    write(path, b"abcdef" * 1000)
    os.truncate(path, 100)
    os.truncate(path, 10_000)
    expect_equal(read(path), (b"abcdef" * 20)[:100] + bytes(9900), "content")
    os.truncate(path, 0)
    os.truncate(path, 3 * MIB)
    expect_equal(read(path), bytes(3 * MIB), "all zeros")


@case
def holes_and_data(place):
    with open(f"{place}/sparse", "w+b", buffering=0) as out:
        handle = out.fileno()
        os.pwrite(handle, b"d" * 65536, 64 * MIB)
        os.fsync(handle)
        expect_equal(os.fstat(handle).st_size, 64 * MIB + 65536, "size")
        data = os.lseek(handle, 0, os.SEEK_DATA)
        expect(data <= 64 * MIB, f"SEEK_DATA gives {data}")
        expect_equal(
            os.lseek(handle, 64 * MIB, os.SEEK_HOLE), 64 * MIB + 65536, "SEEK_HOLE at the end"
        )
        expect_error(errno.ENXIO, os.lseek, handle, 65 * MIB, os.SEEK_DATA)
        os.truncate(f"{place}/sparse", 1 << 40)
        expect_equal(os.pread(handle, 10, (1 << 40) - 10), bytes(10), "end of a file of 1 TiB")
        os.truncate(f"{place}/sparse", 66 * MIB)


@case
def allocate_punch_and_zero(place):
    with open(f"{place}/file", "w+b", buffering=0) as out:
        handle = out.fileno()
        fallocate(handle, 0, 0, 4 * MIB)
        expect_equal(os.fstat(handle).st_size, 4 * MIB, "size after allocation")
        expect(os.fstat(handle).st_blocks * 512 >= 4 * MIB, "blocks after allocation")
        expect_equal(os.pread(handle, 4 * MIB, 0), bytes(4 * MIB), "allocated space reads as zeros")
        fallocate(handle, KEEP_SIZE, 4 * MIB, MIB)
        expect_equal(os.fstat(handle).st_size, 4 * MIB, "size after allocation past the end")
        os.pwrite(handle, b"x" * 4 * MIB, 0)
        os.fsync(handle)
        before = os.fstat(handle).st_blocks
        fallocate(handle, PUNCH_HOLE | KEEP_SIZE, MIB, MIB)
        os.fsync(handle)
        expect(
            os.fstat(handle).st_blocks * 512 <= before * 512 - MIB + 65536,
            "punching frees the space",
        )
        expect_equal(
            os.pread(handle, MIB + 2, MIB - 1), b"x" + bytes(MIB) + b"x", "around the hole"
        )
        fallocate(handle, ZERO_RANGE | KEEP_SIZE, 3 * MIB, 10)
        expect_equal(os.pread(handle, 12, 3 * MIB - 1), b"x" + bytes(10) + b"x", "around the zeros")
        expect_error((errno.ENOSPC, errno.EFBIG), fallocate, handle, 0, 0, 1 << 45)


@case
def copy_ranges(place):
    content = os.urandom(3 * MIB)
    write(f"{place}/source", content)
    with open(f"{place}/source", "rb") as source, open(f"{place}/target", "w+b") as target:
        done = 0
        while done < MIB:
            done += os.copy_file_range(
                source.fileno(), target.fileno(), MIB - done, MIB + done, done
            )
    expect_equal(read(f"{place}/target"), content[MIB : 2 * MIB], "the copy")


@case
def mapped_files(place):
    path = f"{place}/mapped"
    write(path, bytes(MIB))
    with open(path, "r+b") as opened, mmap.mmap(opened.fileno(), MIB) as mapping:
        mapping[123456:123461] = b"hello"
        mapping.flush()
        expect_equal(os.pread(opened.fileno(), 5, 123456), b"hello", "read of what was mapped")
        os.pwrite(opened.fileno(), b"there", 500_000)
        expect_equal(mapping[500_000:500_005], b"there", "mapping of what was written")


@case
def executables_run(place):
    shutil.copy("/bin/ls", f"{place}/program")
    os.chmod(f"{place}/program", 0o755)
    listed = subprocess.run(
        [f"{place}/program", place], capture_output=True, text=True, timeout=30, check=True
    )
    expect_equal(listed.stdout, "program\n", "output")


@case
def links_count(place):
    write(f"{place}/one")
    os.link(f"{place}/one", f"{place}/two")
    expect_equal(os.stat(f"{place}/one").st_nlink, 2, "link count")
    expect_equal(os.stat(f"{place}/one").st_ino, os.stat(f"{place}/two").st_ino, "inode")
    write(f"{place}/two", b" grows", "ab")
    expect_equal(read(f"{place}/one"), b"content grows", "content through the other name")
    os.unlink(f"{place}/one")
    expect_equal(os.stat(f"{place}/two").st_nlink, 1, "link count after unlink")
    os.mkdir(f"{place}/directory")
    expect_error((errno.EPERM, errno.EISDIR), os.link, f"{place}/directory", f"{place}/three")
    expect_error(errno.EEXIST, os.link, f"{place}/two", f"{place}/directory")


@case
def symbolic_links(place):
    write(f"{place}/file")
    os.symlink("file", f"{place}/link")
    os.symlink("x" * 4000, f"{place}/long")
    os.symlink("loop", f"{place}/loop")
    expect_equal(read(f"{place}/link"), b"content", "content through the link")
    expect_equal(os.readlink(f"{place}/long"), "x" * 4000, "long target")
    expect_equal(os.lstat(f"{place}/long").st_size, 4000, "size is the target's length")
    expect_error(errno.ELOOP, read, f"{place}/loop")
    expect(stat.S_ISLNK(os.lstat(f"{place}/link").st_mode), "type of the link")
    expect_error(errno.EINVAL, os.readlink, f"{place}/file")


@case
def directories_refuse(place):
    os.makedirs(f"{place}/d/child")
    write(f"{place}/f")
    expect_error(errno.ENOTEMPTY, os.rmdir, f"{place}/d")
    expect_error(errno.ENOTDIR, os.rmdir, f"{place}/f")
    expect_error((errno.EISDIR, errno.EPERM), os.unlink, f"{place}/d")
    expect_error(errno.EEXIST, os.mkdir, f"{place}/d")
    expect_error(errno.ENOENT, os.mkdir, f"{place}/x/y")
    expect_error(errno.ENOTDIR, os.mkdir, f"{place}/f/y")


def check_undecodable_name(path):
    """Bytes that are no UTF-8 are refused, or come back as they were."""
    try:
        write(path)
    except OSError as error:
        expect(error.errno in (errno.EILSEQ, errno.EINVAL), f"a name that is no UTF-8: {error}")
        return
    listed = os.listdir(os.path.dirname(path))
    expect(os.path.basename(path) in listed, "a name that is no UTF-8 came back changed")
    os.unlink(path)


@case
def names_have_limits(place):
    expect_error(errno.ENAMETOOLONG, write, f"{place}/{'n' * 256}")
    write(f"{place}/{'n' * 255}")
    write(f"{place}/{'é' * 255}")
    check_undecodable_name(os.fsencode(place) + b"/bad \xff\xfe name")
    for name in ("CON", "a:b", "q?", "end.", "end ", "back\\slash", "\x01"):
        write(f"{place}/{name}", name.encode())
        expect_equal(read(f"{place}/{name}"), name.encode(), f"content of {name!r}")


@case
def times_are_kept(place):
    path = f"{place}/file"
    write(path)
    os.utime(path, ns=(1234567890123456700, 1500000000000000100))
    info = os.stat(path)
    expect_equal(
        (info.st_atime_ns, info.st_mtime_ns), (1234567890123456700, 1500000000000000100), "times"
    )
    write(path, b"more", "ab")
    expect(os.stat(path).st_mtime_ns > 1700000000000000000, "writing sets the modification time")
    directory_time = os.stat(place).st_mtime_ns
    write(f"{place}/other")
    expect(os.stat(place).st_mtime_ns >= directory_time, "creating sets the directory's time")
    before = os.stat(path).st_ctime_ns
    os.rename(path, f"{place}/renamed")
    expect(os.stat(f"{place}/renamed").st_ctime_ns >= before, "change time after a rename")


@case
def syncing_works(place):
    handle = os.open(f"{place}/synced", os.O_CREAT | os.O_RDWR | os.O_SYNC)
    os.write(handle, b"synced")
    os.fsync(handle)
    os.fdatasync(handle)
    os.close(handle)
    directory = os.open(place, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)
    run("sync", "-f", place)


@case
def free_space_is_told(place):
    before = os.statvfs(place)
    expect(0 < before.f_bfree <= before.f_blocks and before.f_namemax >= 255, f"statvfs: {before}")
    write(f"{place}/big", b"b" * 10 * MIB)
    run("sync", "-f", place)
    used = (before.f_bfree - os.statvfs(place).f_bfree) * before.f_frsize
    expect(10 * MIB <= used < 11 * MIB, f"10 MiB cost {used} bytes")


@case
def many_entries_removed(place):
    os.mkdir(f"{place}/many")
    for number in range(20_000):
        os.close(os.open(f"{place}/many/{number}", os.O_CREAT | os.O_WRONLY))
    run("rm", "-rf", f"{place}/many", timeout=120)
    expect_equal(os.listdir(place), [], "names that are left")


@case
def deep_paths(place):
    path = place
    for level in range(100):
        path += f"/level {level}"
        os.mkdir(path)
    write(f"{path}/bottom")
    run("rm", "-rf", f"{place}/level 0")


def run_all(suite, driver, work):
    """Every case in a directory of its own, all on one volume, which must be perfect afterwards."""
    image = os.path.join(work, "posix.img")
    driver.format(image, 512 * MIB)
    with suite.case("volume stays consistent"):
        with mounted(driver, image) as directory:
            for function in CASES:
                name = function.__name__.replace("_", " ")
                if suite.wants(name):
                    with suite.case(name):
                        place = os.path.join(directory, name)
                        os.mkdir(place)
                        function(place)
            expected = manifest.from_directory(directory)
        with mounted(driver, image) as directory:
            expect_no_differences(
                manifest.compare(expected, manifest.from_directory(directory)), "after a remount"
            )
        if driver.is_ntfs:
            check_volume(image)


def mount_options(suite, driver, work):
    image = os.path.join(work, "options.img")
    driver.format(image, 64 * MIB)
    with suite.case("read-only mount refuses changes"):
        with mounted(driver, image) as directory:
            write(f"{directory}/file")
        digest = run("sha256sum", image).stdout
        with mounted(driver, image, "ro") as directory:
            expect_equal(read(f"{directory}/file"), b"content", "content")
            expect_error(errno.EROFS, write, f"{directory}/file", b"", "ab")
            expect_error(errno.EROFS, write, f"{directory}/new")
            expect_error(errno.EROFS, os.unlink, f"{directory}/file")
        expect_equal(run("sha256sum", image).stdout, digest, "the image after a read-only mount")
    with suite.case("windows_names refuses what Windows forbids"):
        with mounted(driver, image, "windows_names") as directory:
            for name in (
                "CON",
                "con",
                "aux.txt",
                "COM1",
                "a:b",
                "q?",
                "a*",
                "end.",
                "end ",
                "a\\b",
                "\x01",
                "<",
                "|",
            ):
                expect_error((errno.EINVAL, errno.EPERM), write, f"{directory}/{name}")
            write(f"{directory}/console")
    with suite.case("nowriteback mount"):
        if driver.name != "ntfs-wal":
            raise CaseSkipped(f"not an option of {driver.name}")
        with mounted(driver, image, "nowriteback") as directory:
            write(f"{directory}/plain", b"p" * MIB)
            expect_equal(read(f"{directory}/plain"), b"p" * MIB, "content")


def in_child(action):
    """What the action returns (a small number), in another process."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            code = action()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def error_of(action, *arguments):
    try:
        action(*arguments)
    except OSError as error:
        return error.errno
    return 0


def open_and(path, flags, action):
    handle = os.open(path, flags)
    try:
        return action(handle)
    finally:
        os.close(handle)


def enforced_locks(path):
    """fcntl and flock locks against reads and writes of another process."""
    write(path, b"a" * 8192)
    with open(path, "r+b", buffering=0) as file:
        fcntl.lockf(file, fcntl.LOCK_EX, 100, 1000)

        def other_process(handle):
            expect_equal(error_of(os.pread, handle, 10, 1050), errno.EACCES, "read of the range")
            expect_equal(error_of(os.pwrite, handle, b"x", 999), 0, "write before the range")
            expect_equal(error_of(os.pwrite, handle, b"xx", 999), errno.EACCES, "write into it")
            expect_equal(
                error_of(fcntl.lockf, handle, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, 1099),
                errno.EAGAIN,
                "lock",
            )
            return 0

        expect_equal(in_child(lambda: open_and(path, os.O_RDWR, other_process)), 0, "other process")
        os.pwrite(file.fileno(), b"own", 1000)
        expect_equal(os.pread(file.fileno(), 3, 1000), b"own", "what the owner wrote")
        fcntl.lockf(file, fcntl.LOCK_SH, 100, 1000)
        expect_equal(error_of(os.pwrite, file.fileno(), b"x", 1000), errno.EACCES, "shared: write")
        expect_equal(
            in_child(
                lambda: open_and(path, os.O_RDONLY, lambda h: error_of(os.pread, h, 10, 1000))
            ),
            0,
            "shared: another reads",
        )
        # Somebody waits, and gets it when it is given back.
        waiting = os.fork()
        if waiting == 0:
            code = open_and(
                path, os.O_RDWR, lambda h: error_of(fcntl.lockf, h, fcntl.LOCK_EX, 10, 1010)
            )
            os._exit(code)
        os.kill(waiting, 0)
        fcntl.lockf(file, fcntl.LOCK_UN)
        expect_equal(os.waitstatus_to_exitcode(os.waitpid(waiting, 0)[1]), 0, "the lock waited for")
        fcntl.flock(file, fcntl.LOCK_EX)
        expect_equal(
            in_child(lambda: open_and(path, os.O_RDWR, lambda h: error_of(os.pwrite, h, b"x", 0))),
            errno.EACCES,
            "write under another's flock",
        )
    open_and(path, os.O_RDWR, lambda handle: os.pwrite(handle, b"free", 0))


F_OFD_SETLK = 37


def ofd_lock(handle, kind, start, length):
    """An open file description's own lock: fcntl(2)."""
    lock = struct.pack("hh4xqqi4x", kind, os.SEEK_SET, start, length, 0)
    fcntl.fcntl(handle, F_OFD_SETLK, lock)


def locks_of_open_file_descriptions(path, is_enforced):
    """Two of one process stand against each other; closing one leaves the other's alone."""
    write(path, b"a" * 8192)
    first, second, third = (os.open(path, os.O_RDWR) for _ in range(3))
    ofd_lock(first, fcntl.F_WRLCK, 100, 1000)
    ofd_lock(second, fcntl.F_RDLCK, 2000, 10)
    ofd_lock(third, fcntl.F_RDLCK, 2000, 10)
    expect_equal(error_of(ofd_lock, second, fcntl.F_RDLCK, 1099, 10), errno.EAGAIN, "a part of it")
    expect_equal(error_of(ofd_lock, second, fcntl.F_RDLCK, 1100, 10), 0, "behind it")
    refusal = errno.EACCES if is_enforced else 0
    expect_equal(error_of(os.pwrite, second, b"x", 500), refusal, "a write of another's range")
    expect_equal(error_of(os.pwrite, first, b"y", 500), 0, "a write of the own range")
    os.close(second)
    expect_equal(error_of(ofd_lock, third, fcntl.F_WRLCK, 500, 1), errno.EAGAIN, "still held")
    ofd_lock(first, fcntl.F_UNLCK, 0, 0)
    expect_equal(error_of(ofd_lock, third, fcntl.F_WRLCK, 500, 1), 0, "given back")
    os.close(first)
    os.close(third)


def page_cache_follows(directory):
    """Pages that the kernel keeps of a file show every change, whichever way it came."""
    place = tempfile.mkdtemp(dir=directory)
    path, link, source = (f"{place}/{name}" for name in ("cached", "link", "source"))
    content = bytearray(b"a" * 65536)
    write(path, bytes(content))
    write(source, b"s" * 65536)
    os.link(path, link)
    handle = os.open(path, os.O_RDWR)
    mapped = mmap.mmap(handle, len(content), flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
    other = os.open(link, os.O_RDWR)
    direct = os.open(link, os.O_RDWR | os.O_DIRECT)
    origin = os.open(source, os.O_RDONLY)
    block = mmap.mmap(-1, 8192)
    block.write(b"d" * 8192)

    def changed(what, start, length, byte):
        content[start : start + length] = byte * length
        expect(mapped[:] == content, f"mapped pages after {what}")
        expect(os.pread(handle, len(content), 0) == content, f"read after {what}")

    changed("nothing", 0, 0, b"")
    os.pwrite(other, b"b" * 5000, 1000)
    changed("a write by another name", 1000, 5000, b"b")
    os.pwritev(direct, [block], 8192)
    changed("a direct write", 8192, 8192, b"d")
    expect_equal(os.copy_file_range(origin, other, 7000, 0, 20000), 7000, "copy_file_range")
    changed("copy_file_range", 20000, 7000, b"s")
    fallocate(other, PUNCH_HOLE | KEEP_SIZE, 4096, 8192)
    changed("a punched hole", 4096, 8192, b"\0")
    fallocate(other, ZERO_RANGE, 30000, 5000)
    changed("zeroing", 30000, 5000, b"\0")
    os.truncate(link, 40000)
    os.truncate(link, 65536)
    changed("truncation", 40000, 25536, b"\0")
    mapped.close()
    for each in (handle, other, direct, origin):
        os.close(each)


def wait_for_lock_in_vain(path):
    """A signal ends a wait for a lock."""
    with open(path, "r+b", buffering=0) as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        waiting = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "import fcntl, sys; f = open(sys.argv[1], 'r+b'); print('asks', flush=True);"
                " fcntl.lockf(f, fcntl.LOCK_EX)",
                path,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        waiting.stdout.readline()
        waiting.terminate()
        expect(waiting.wait(timeout=30) != 0, "the lock was granted twice")
    open_and(path, os.O_RDWR, lambda h: fcntl.lockf(h, fcntl.LOCK_EX | fcntl.LOCK_NB))


def append_from_processes(path, flags, record_bytes):
    """Records of several processes, each whole and none lost."""
    write(path, b"")
    children = []
    for number in range(8):
        child = os.fork()
        if child == 0:
            memory = mmap.mmap(-1, record_bytes)
            memory.write(bytes([65 + number]) * record_bytes)
            handle = os.open(path, os.O_WRONLY | os.O_APPEND | flags)
            for _ in range(64):
                if os.write(handle, memory) != record_bytes:
                    os._exit(1)
            os._exit(0)
        children.append(child)
    for child in children:
        expect_equal(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0, "appending")
    content = read(path)
    expect_equal(len(content), 8 * 64 * record_bytes, "size")
    for at in range(0, len(content), record_bytes):
        record = content[at : at + record_bytes]
        expect_equal(record, record[:1] * record_bytes, f"the record at {at}")


def opens(suite, driver, image):
    """What an open file carries to the store."""
    if driver.name != "ntfs-wal":
        suite.skip("modes of opens", f"not about {driver.name}")
        return
    for options in ("", "nowriteback", "locks=mandatory"):
        with suite.case(f"appends of several processes ({options or 'default'})"):
            with mounted(driver, image, options) as directory:
                append_from_processes(f"{directory}/log-{options}", 0, 100)
                append_from_processes(f"{directory}/direct-{options}", os.O_DIRECT, 512)
        with suite.case(f"O_DIRECT wants whole sectors ({options or 'default'})"):
            with mounted(driver, image, options) as directory:
                path = f"{directory}/sectors-{options}"
                memory = mmap.mmap(-1, 8192)
                handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_DIRECT)
                expect_equal(os.pwritev(handle, [memory], 4096), 8192, "whole sectors")
                expect_equal(
                    error_of(os.pwritev, handle, [memoryview(memory)[:100]], 0),
                    errno.EINVAL,
                    "part of one",
                )
                expect_equal(
                    error_of(os.preadv, handle, [memory], 100), errno.EINVAL, "from within one"
                )
                os.close(handle)
        with suite.case(f"the page cache follows every change ({options or 'default'})"):
            with mounted(driver, image, options) as directory:
                page_cache_follows(directory)
    for options in ("locks=advisory", "locks=mandatory"):
        with suite.case(f"locks of open file descriptions ({options})"):
            with mounted(driver, image, options) as directory:
                locks_of_open_file_descriptions(f"{directory}/ofd-{options}", "mand" in options)
    with suite.case("locks=mandatory enforces locks"):
        with mounted(driver, image, "locks=mandatory") as directory:
            enforced_locks(f"{directory}/locked")
            wait_for_lock_in_vain(f"{directory}/locked")
    with suite.case("locks=advisory leaves them to those who ask"):
        with mounted(driver, image) as directory:
            path = f"{directory}/advisory"
            write(path, b"a")
            with open(path, "r+b", buffering=0) as file:
                fcntl.lockf(file, fcntl.LOCK_EX)
                action = lambda handle: error_of(os.pwrite, handle, b"x", 0)
                code = in_child(lambda: open_and(path, os.O_RDWR, action))
                expect_equal(code, 0, "write")


def handle_of(path):
    """What an NFS server keeps of a file: name_to_handle_at(2), a struct file_handle."""
    handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0), 136)
    if LIBC.name_to_handle_at(AT_FDCWD, path.encode(), handle, ctypes.byref(ctypes.c_int()), 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return handle


def open_handle(directory, handle):
    mount = os.open(directory, os.O_RDONLY)
    try:
        opened = LIBC.open_by_handle_at(mount, handle, os.O_RDONLY)
        if opened < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return opened
    finally:
        os.close(mount)


def forget_inodes():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as caches:
        caches.write("2")


def expect_handles(directory, handles):
    """Each leads to a file of that content, or to the directory of that path."""
    for content, handle in handles.items():
        opened = open_handle(directory, handle)
        try:
            if isinstance(content, bytes):
                expect_equal(os.read(opened, 100), content, "the file of a handle")
            else:
                shown = os.readlink(f"/proc/self/fd/{opened}")
                expect_equal(shown, os.path.join(directory, content), "the place of a handle")
        finally:
            os.close(opened)


def handles_of_files(driver, image):
    """They stay right when the kernel has forgotten the file, and when it is mounted again."""
    with mounted(driver, image) as directory:
        os.makedirs(f"{directory}/a/b/c")
        write(f"{directory}/a/b/file", b"file")
        write(f"{directory}/top", b"top")
        write(f"{directory}/gone", b"gone")
        os.link(f"{directory}/top", f"{directory}/a/b/c/twin")
        gone = handle_of(f"{directory}/gone")
        handles = {
            b"file": handle_of(f"{directory}/a/b/file"),
            b"top": handle_of(f"{directory}/top"),
            "a/b/c": handle_of(f"{directory}/a/b/c"),
            "a": handle_of(f"{directory}/a"),
        }
        expect_handles(directory, handles)
        forget_inodes()
        expect_handles(directory, handles)
        os.rename(f"{directory}/a/b/c", f"{directory}/d")
        handles["d"] = handles.pop("a/b/c")
        os.rename(f"{directory}/a/b/file", f"{directory}/d/file")
        os.unlink(f"{directory}/top")
        os.unlink(f"{directory}/gone")
        forget_inodes()
        expect_handles(directory, handles)
        expect_error(errno.ESTALE, open_handle, directory, gone)
    with mounted(driver, image) as directory:
        expect_handles(directory, handles)
        for number in range(100):  # one of them gets the record
            write(f"{directory}/new {number}", b"new")
        forget_inodes()
        expect_error(errno.ESTALE, open_handle, directory, gone)
        expect_handles(directory, handles)


def kill_in_a_copy(suite, driver, work):
    """A volume whose daemon was killed is recovered: what was synced is there, nothing is damaged."""
    name = "a killed mount is recovered"
    if driver.name != "ntfs-wal":
        suite.skip(name, f"not about {driver.name}")
        return
    with suite.case(name):
        image, directory = os.path.join(work, "killed.img"), os.path.join(work, "killed")
        driver.format(image, 256 * MIB)
        os.mkdir(directory)
        server = subprocess.Popen(
            [PROGRAM, "mount", "-f", image, directory], stderr=subprocess.DEVNULL
        )
        try:
            volume.wait_until(lambda: volume.is_mounted(directory), "mounted")
            copy = subprocess.Popen(
                ["cp", "-r", "/usr/include", directory], stderr=subprocess.DEVNULL
            )
            volume.wait_until(
                lambda: len(os.listdir(directory + "/include")) > 20
                if os.path.isdir(directory + "/include")
                else False,
                "the copy is under way",
            )
            with open(f"{directory}/synced", "xb") as synced:
                os.fsync(synced.fileno())
            server.kill()
            copy.wait(timeout=60)
        finally:
            server.kill()
            server.wait(timeout=60)
            volume.force_unmount(directory)
        expect_equal(run(PROGRAM, "probe", image, check=False).returncode, 15, "probe")
        before = run(PROGRAM, "ls", image, "/include").stdout
        told = run(PROGRAM, "mount", image, directory).stderr
        expect("Recovered: " in told and "redone" in told, "no report of the recovery: " + told)
        expect(os.path.exists(f"{directory}/synced"), "a file is gone that fsync had answered for")
        expect_equal(
            sorted(os.listdir(directory + "/include")),
            sorted(name.rstrip("/") for name in before.splitlines()),
            "names that ls showed before the recovery",
        )
        run(PROGRAM, "umount", directory)
        check_volume(image)


def main():
    suite = Suite("posix")
    driver = volume.subject_of(suite)
    with volume.work_directory("posix") as work:
        run_all(suite, driver, work)
        if not suite.wanted:
            mount_options(suite, driver, work)
            opens_image = os.path.join(work, "opens.img")
            driver.format(opens_image, 64 * MIB)
            opens(suite, driver, opens_image)
            with suite.case("handles lead to their files"):
                if driver.name == "ntfs-3g":
                    raise CaseSkipped("it finds no files by handles")
                handles_of_files(driver, opens_image)
            kill_in_a_copy(suite, driver, work)
    suite.finish()


if __name__ == "__main__":
    sys.exit(main())
