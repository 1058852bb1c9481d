#!/usr/bin/python3
"""What programs do at the same time, or with what others left, through the kernel.

usage: interplay.py [WORD...]     only cases whose names contain a word
"""
import contextlib
import fcntl
import mmap
import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time

import compression
import volume
from cases import CaseSkipped, Suite, expect, expect_equal
from peers_agree import check_volume
from volume import MIB, PROGRAM, mounted, run

NOBODY = 65534
SECONDS_OF_RACES = 2


def write(path, content=b"content"):
    with open(path, "wb", buffering=0) as out:
        out.write(content)


def as_nobody(action):
    """Runs the action as a user who is not root, in another process; it must succeed."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            action()
            code = 0
        except OSError as error:
            print(error, file=sys.stderr)
        finally:
            os._exit(code)
    expect_equal(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0, "exit code of nobody")


def old_inodes_never_lead_to_new_files(directory):
    """A record is used again; who holds the removed file must not reach the one that has it now."""
    old = f"{directory}/old"
    write(old, b"old")
    os.chmod(old, 0o600)
    held = os.open(old, os.O_PATH)
    try:
        record = os.fstat(held).st_ino
        os.unlink(old)
        for number in range(2000):
            new = f"{directory}/new {number}"
            write(new, b"new")
            if os.stat(new).st_ino == record:
                break
        else:
            raise CaseSkipped("the record was not used again")
        os.chmod(new, 0o600)
        with contextlib.suppress(OSError):
            os.chmod(f"/proc/self/fd/{held}", 0o777)
        with contextlib.suppress(OSError):
            with open(f"/proc/self/fd/{held}", "rb") as through:
                expect(through.read() != b"new", "the removed file has the new one's content")
        expect_equal(stat.S_IMODE(os.stat(new).st_mode), 0o600, "permissions of the new file")
    finally:
        os.close(held)


def privileges_go_with_every_change(directory):
    """Set-user-id goes when another than root changes the content, and stat(2) knows at once."""

    def write_directly(path):
        handle = os.open(path, os.O_WRONLY | os.O_DIRECT)
        with mmap.mmap(-1, 4096) as memory:
            os.write(handle, memory)
        os.close(handle)

    def copy_into(path):
        handle = os.open(path, os.O_RDWR)
        os.copy_file_range(handle, handle, 100, 0, 8192)
        os.close(handle)

    def collapse(path):
        handle = os.open(path, os.O_RDWR)
        fcntl.ioctl(handle, compression.COLLAPSE, struct.pack("<QQQ", 4096, 4096, 0))
        os.close(handle)

    changes = {
        "write": lambda path: os.close(write_some(path)),
        "direct write": write_directly,
        "truncate": lambda path: os.truncate(path, 10),
        "copy": copy_into,
    }
    if volume.subject().name == "ntfs-wal":
        changes["collapse"] = collapse
    for what, change in changes.items():
        path = f"{directory}/program to {what}"
        write(path, b"x" * 16384)
        os.chmod(path, 0o4777)
        expect_equal(stat.S_IMODE(os.stat(path).st_mode), 0o4777, "permissions before")
        as_nobody(lambda change=change, path=path: change(path))
        expect_equal(stat.S_IMODE(os.stat(path).st_mode), 0o777, f"permissions after a {what}")


def write_some(path):
    handle = os.open(path, os.O_WRONLY)
    os.write(handle, b"y")
    return handle


def reparse_data_while_names_change(directory):
    """Setting it makes the kernel drop names, which it cannot while it renames one of them."""
    path = f"{directory}/racing"
    write(path, b"")
    link = struct.pack("<IHHI", 0xA000001D, 8, 0, 2) + b"data"  # IO_REPARSE_TAG_LX_SYMLINK
    stop = time.monotonic() + SECONDS_OF_RACES
    names = ("system.ntfs_reparse_data", path, path + " 2")

    def change_data():
        while time.monotonic() < stop:
            for name in names[1:]:
                with contextlib.suppress(OSError):
                    os.setxattr(name, names[0], link, follow_symlinks=False)
                with contextlib.suppress(OSError):
                    os.removexattr(name, names[0], follow_symlinks=False)

    def rename():
        while time.monotonic() < stop:
            for source, target in (names[1:], names[:0:-1]):
                with contextlib.suppress(OSError):
                    os.rename(source, target)

    child = os.fork()
    if child == 0:
        threads = [threading.Thread(target=work) for work in (change_data, rename, rename)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        os._exit(0)
    try:
        volume.wait_until(
            lambda: os.waitpid(child, os.WNOHANG) != (0, 0), "the race is over", timeout=60
        )
    except Exception:
        os.kill(child, signal.SIGKILL)
        raise
    expect_equal(len(os.listdir(directory)), 1, "names at the end")


def opened_written_and_closed(directory):
    """Notes for the change journal of a file that is never synced meanwhile: fsync must succeed."""
    path = f"{directory}/log"
    for number in range(20_000):
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, b"%06d\n" % number)
        os.close(handle)
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    expect_equal(os.fstat(handle).st_size, 7 * 20_000, "size")
    os.close(handle)


def streams_are_for_those_who_may_write(image, directory):
    """A named stream by its path is a name in the directory to the kernel, but part of the file."""
    run(PROGRAM, "mount", image, directory, "-o", "allow_other,streams_interface=windows")
    try:
        place = f"{directory}/shared"
        os.mkdir(place)
        os.chmod(directory, 0o755)
        os.chmod(place, 0o777)
        write(f"{place}/roots")
        write(f"{place}/roots:stream", b"root's")
        write(f"{place}/for all")
        os.chmod(f"{place}/for all", 0o666)

        def as_another():
            for refused in (
                lambda: write(f"{place}/roots:planted", b"planted"),
                lambda: os.unlink(f"{place}/roots:stream"),
            ):
                try:
                    refused()
                except PermissionError:
                    continue
                raise OSError("what only the owner may do was done")
            write(f"{place}/for all:stream", b"stream")
            os.unlink(f"{place}/for all:stream")
            write(f"{place}/own:stream", b"stream")
            os.unlink(f"{place}/own:stream")

        as_nobody(as_another)
        with open(f"{place}/roots:stream", "rb") as stream:
            expect_equal(stream.read(), b"root's", "the stream of root's file")
    finally:
        run(PROGRAM, "umount", directory)
    check_volume(image)


def umount_waits_among_strangers(driver, image, directory):
    """Any user can connect to the place where umount waits; the places are for who may unmount."""
    driver.mount(image, directory)
    write(f"{directory}/file", b"x" * MIB)
    with open("/proc/net/unix", encoding="ascii") as sockets:
        names = [line.split()[-1] for line in sockets if "@ntfs-wal-mount-" in line]
    expect(names, "the mount does not listen")

    connected_end, told_end = socket.socketpair()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(Exception):
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            held = []
            for name in names * 100:
                one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                one.setblocking(False)
                with contextlib.suppress(OSError):
                    one.connect("\0" + name[1:])
                held.append(one)
            told_end.send(b"1")
            signal.pause()
        os._exit(1)
    try:
        expect_equal(connected_end.recv(1), b"1", "what the strangers say")
        started = time.monotonic()
        run(PROGRAM, "umount", directory, timeout=30)
        expect(time.monotonic() - started < 20, "umount waited for strangers")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    expect_equal(run(PROGRAM, "probe", image, check=False).returncode, 0, "exit code of probe")


def nobody_reads_its_messages(image, directory):
    """Whoever read what the mount reports has gone: it goes on, and leaves a clean volume."""
    reader, writer = os.pipe()
    server = subprocess.Popen([PROGRAM, "mount", "-f", image, directory], stderr=writer)
    os.close(writer)
    os.close(reader)
    try:
        volume.wait_until(lambda: volume.is_mounted(directory), "mounted")
        write(f"{directory}/file 2", b"x" * MIB)
        held = os.open(directory, os.O_RDONLY)
        server.terminate()  # in use: it has something to say
        expect_equal(server.wait(timeout=60), 0, "exit code")
        os.close(held)
    finally:
        server.kill()
        server.wait()
        volume.force_unmount(directory)
    expect_equal(run(PROGRAM, "probe", image, check=False).returncode, 0, "exit code of probe")


def closed_standard_streams(image):
    """No message goes to a device that got the number of a closed stream."""
    damaged = image + ".damaged"
    run("cp", "--sparse=always", image, damaged)
    with open(damaged, "r+b") as out:
        out.seek(3)
        out.write(b"NOT NTFS")
    for broken in (damaged, image):
        before = run("sha256sum", broken).stdout
        for command in ("recover", "check", "info", "probe"):
            for closed in ("2>&-", "<&- 2>&-", "<&- >&- 2>&-"):
                run("sh", "-c", f'"$0" {command} "$1" {closed}', PROGRAM, broken, check=False)
                expect_equal(run("sha256sum", broken).stdout, before, f"after {command} {closed}")
    os.unlink(damaged)


def main():
    suite = Suite("interplay")
    driver = volume.subject_of(suite)
    is_ours = driver.name == "ntfs-wal"
    with volume.work_directory("interplay") as work:
        image, place = os.path.join(work, "a.img"), os.path.join(work, "mount")
        os.mkdir(place)
        os.chmod(work, 0o755)  # for nobody
        driver.format(image, 64 * MIB)
        on_a_mount = [
            old_inodes_never_lead_to_new_files,
            opened_written_and_closed,
        ]
        if os.geteuid() == 0:
            on_a_mount.append(privileges_go_with_every_change)
        if is_ours:
            on_a_mount.append(reparse_data_while_names_change)
        for function in on_a_mount:
            name = function.__name__.replace("_", " ")
            if suite.wants(name):
                with suite.case(name):
                    with mounted(driver, image, "allow_other" if is_ours else "") as directory:
                        os.mkdir(f"{directory}/{name}")
                        os.chmod(directory, 0o755)
                        function(f"{directory}/{name}")
                    if driver.is_ntfs:
                        check_volume(image)
        if is_ours:
            for function, arguments in (
                (streams_are_for_those_who_may_write, (image, place)),
                (umount_waits_among_strangers, (driver, image, place)),
                (nobody_reads_its_messages, (image, place)),
                (closed_standard_streams, (image,)),
            ):
                name = function.__name__.replace("_", " ")
                if suite.wants(name):
                    with suite.case(name):
                        function(*arguments)
    suite.finish()


if __name__ == "__main__":
    sys.exit(main())
