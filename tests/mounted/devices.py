#!/usr/bin/python3
"""Block devices, and what lies below an image: sectors of 4096 bytes, loop devices.

usage: devices.py [WORD...]     only cases whose names contain a word
"""
import contextlib
import hashlib
import json
import os
import sys

import volume
from cases import CaseSkipped, Suite, expect, expect_equal
from peers_agree import check_volume
from volume import MIB, PROGRAM, killed, mounted, run

SIZE = 64 * MIB


@contextlib.contextmanager
def loop_device(image, *options):
    done = run("losetup", *options, "--find", "--show", image, check=False)
    if done.returncode != 0:
        raise CaseSkipped(f"no loop device: {done.stderr}")
    device = done.stdout.strip()
    try:
        yield device
    finally:
        run("losetup", "--detach", device)


@contextlib.contextmanager
def folder_with_large_blocks(work):
    """On a file system whose direct transfers are of 4096 bytes: one on such a device."""
    image, folder = os.path.join(work, "below.img"), os.path.join(work, "below")
    volume.make_sparse(image, 8 * SIZE)
    os.makedirs(folder, exist_ok=True)
    with loop_device(image, "--sector-size", "4096") as device:
        run("mke2fs", "-q", "-t", "ext4", "-b", "4096", device)
        run("mount", device, folder)
        try:
            yield folder
        finally:
            run("umount", folder)
    os.unlink(image)


def content_of(path):
    with open(path, "rb") as source:
        return hashlib.sha256(source.read()).digest()


def work_and_kill(source, place):
    """Work on it, the daemon killed in the middle, recovered, and looked at by everybody."""
    directories = 20
    with killed(source, place):
        for number in range(directories):
            os.mkdir(f"{place}/{number}")
            for name in "abc":
                with open(f"{place}/{number}/{name}", "wb") as out:
                    out.write(os.urandom(3000 * (number + 1)))
        with open(f"{place}/synced", "wb") as out:
            out.write(b"synced" * 1000)
            os.fsync(out.fileno())
    expect_equal(run(PROGRAM, "probe", source, check=False).returncode, 15, "probe after the kill")
    told = run(PROGRAM, "recover", source).stdout
    expect("redone" in told, f"recover says: {told}")
    with mounted(volume.NtfsWal(), source, directory=place):
        expect_equal(len(os.listdir(place)), directories + 1, "names")
        with open(f"{place}/synced", "rb") as synced:
            expect_equal(synced.read(), b"synced" * 1000, "what was synced")
        os.unlink(f"{place}/3/a")
    expect_equal(run(PROGRAM, "check", source, check=False).returncode, 0, "check")


def sector_size_of(source):
    return json.loads(run(PROGRAM, "info", source, "--json").stdout)["sector_size"]


def device_of_large_sectors(work, place):
    image = os.path.join(work, "device.img")
    volume.make_sparse(image, SIZE)
    with loop_device(image, "--sector-size", "4096") as device:
        refused = run(PROGRAM, "format", device, "--sector-size", "512", check=False)
        expect_equal(refused.returncode, 64, "exit code of format with sectors of 512")
        run(PROGRAM, "format", device)
        expect_equal(sector_size_of(device), 4096, "sectors of the new volume")
        work_and_kill(device, place)
        run("ntfsfix", "-n", device)


def copy_on_large_sectors(work, place):
    """A volume with sectors of 512 that somebody copied to such a device."""
    image = os.path.join(work, "copied.img")
    volume.NtfsWal().format(image, SIZE)
    with loop_device(image, "--sector-size", "4096") as device:
        work_and_kill(device, place)
    check_volume(image)


def image_on_large_blocks(work, place):
    with folder_with_large_blocks(work) as folder:
        image = f"{folder}/a.img"
        volume.NtfsWal().format(image, SIZE)
        expect_equal(sector_size_of(image), 512, "sectors of an image, which may go anywhere")
        work_and_kill(image, place)
        check_volume(image)
        volume.NtfsWal().format(f"{folder}/b.img", SIZE, "--sector-size", "4096")
        work_and_kill(f"{folder}/b.img", place)


def image_in_use_below_a_loop_device(work, place):
    """What is mounted through a loop device must not be written to."""
    image = os.path.join(work, "used.img")
    volume.NtfsWal().format(image, SIZE)
    with loop_device(image) as device:
        run(PROGRAM, "mount", device, place)
        try:
            before = content_of(image)
            for command in (
                ("format", "--force", image),
                ("mount", image, work),
                ("recover", image),
                ("usn", "delete", image),
            ):
                done = run(PROGRAM, *command, check=False)
                expect(done.returncode != 0, f"{command[0]} writes to what is in use")
                expect("in use" in done.stderr, f"{command[0]} says: {done.stderr}")
            expect_equal(content_of(image), before, "the image")
        finally:
            run(PROGRAM, "umount", place)
    with open(image, "r+b"):
        done = run(PROGRAM, "mount", image, place, check=False)
        expect("in use" in done.stderr, f"mount of what is open for writing: {done.stderr}")
    run(PROGRAM, "mount", image, place)
    run(PROGRAM, "umount", place)


def write_protected_device(work, place):
    image = os.path.join(work, "protected.img")
    volume.NtfsWal().format(image, SIZE)
    with loop_device(image, "--read-only") as device:
        for options, code in (((), 0), (("--readwrite",), 19)):
            done = run(PROGRAM, "probe", device, *options, check=False)
            expect_equal(done.returncode, code, f"exit code of probe {options}")
        told = run(PROGRAM, "mount", device, place).stderr
        expect("read-only" in told, f"mount says: {told}")
        with contextlib.suppress(OSError), open(f"{place}/new", "wb"):
            expect(False, "a file was made on it")
        run(PROGRAM, "umount", place)


def main():
    suite = Suite("devices")
    volume.subject_of(suite, "is not what opens them here")
    if os.geteuid() != 0:
        suite.skip("all", "only root makes loop devices")
        suite.finish()
    with volume.work_directory("devices") as work:
        place = os.path.join(work, "mount")
        os.mkdir(place)
        for function in (
            device_of_large_sectors,
            copy_on_large_sectors,
            image_on_large_blocks,
            image_in_use_below_a_loop_device,
            write_protected_device,
        ):
            name = function.__name__.replace("_", " ")
            if suite.wants(name):
                with suite.case(name):
                    function(work, place)
    suite.finish()


if __name__ == "__main__":
    sys.exit(main())
