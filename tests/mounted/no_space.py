#!/usr/bin/python3
"""A full volume says so, loses nothing, stays perfect, and has its space back after removals.

usage: no_space.py [WORD...]     only cases whose names contain a word
"""
import errno
import hashlib
import os
import random
import sys

import volume
from cases import CaseFailure, Suite, expect, expect_equal
from peers_agree import check_volume
from volume import MIB, mounted, run

SIZE = 48 * MIB


def is_full(error):
    if error.errno != errno.ENOSPC:
        raise CaseFailure(f"a full volume answers {error}, expected ENOSPC")


def fill_with_files(directory, sizes, limit=200_000):
    """Writes and syncs files until the volume is full; {name: digest} of what was answered for."""
    kept = {}
    chance = random.Random(3)
    for number in range(limit):
        path = os.path.join(directory, f"file {number}")
        content = chance.randbytes(chance.choice(sizes))
        try:
            with open(path, "xb", buffering=0) as out:
                done = out.write(content)
                os.fsync(out.fileno())
            if done != len(content):
                return kept  # a short write is how a full volume may answer first
        except OSError as error:
            is_full(error)
            return kept
        kept[path] = hashlib.sha256(content).hexdigest()
    raise CaseFailure(f"not full after {limit} files")


def fill_with_one_file(directory, sizes):
    """Streams one file; what fsync answered for is kept."""
    del sizes
    path = os.path.join(directory, "one file")
    digest = hashlib.sha256()
    with open(path, "xb", buffering=0) as out:
        synced, copy = 0, digest.copy()
        for number in range(1 << 16):
            block = random.Random(number).randbytes(65536)
            try:
                done = out.write(block)
                digest.update(block[:done])
                os.fsync(out.fileno())
            except OSError as error:
                is_full(error)
                break
            synced, copy = synced + done, digest.copy()
    os.truncate(path, synced)
    return {path: copy.hexdigest()}


def fill_with_names(directory, sizes):
    """Nothing but names: the MFT and the index grow until there is no room for them."""
    del sizes
    kept, number = {}, 0
    while True:
        path = os.path.join(directory, f"{number:06} " + "long name " * 20)
        try:
            os.mkdir(path) if number % 2 else os.close(
                os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            )
        except OSError as error:
            is_full(error)
            break
        kept[path] = None
        number += 1
    expect(number > 1000, f"full after {number} names")
    return kept


def fill_with_links(directory, sizes):
    del sizes
    kept, number = {}, 0
    with open(os.path.join(directory, "original"), "xb"):
        pass
    while number < 60_000:
        path = os.path.join(directory, f"link {number:06} " + "x" * 200)
        try:
            os.symlink("y" * 2000, path) if number % 2 else os.link(
                os.path.join(directory, "original"), path
            )
        except OSError as error:
            if error.errno == errno.EMLINK:
                break
            is_full(error)
            break
        kept[path] = None
        number += 1
    return kept


def check_kept(kept):
    for path, digest in kept.items():
        if digest is None:
            expect(os.path.lexists(path), f"{path} is lost")
            continue
        with open(path, "rb") as source:
            expect_equal(hashlib.sha256(source.read()).hexdigest(), digest, f"content of {path}")


def other_operations(directory):
    """On a full volume each operation works or says ENOSPC, and the free ones work."""
    victim = os.path.join(directory, "victim of the full volume")
    attempts = (
        lambda: os.mkdir(victim),
        lambda: os.symlink("t" * 3000, victim + "2"),
        lambda: os.rename(
            os.path.join(directory, sorted(os.listdir(directory))[0]), victim + "3 " + "n" * 200
        ),
        lambda: os.close(os.open(victim + "4", os.O_CREAT | os.O_WRONLY)),
        lambda: os.setxattr(directory, "user.x", b"v" * 10_000),
    )
    for attempt in attempts:
        try:
            attempt()
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.EPERM):
                is_full(error)
    os.statvfs(directory)


def full_volume(driver, image, fill, sizes, size):
    driver.format(image, size)
    with mounted(driver, image) as root:
        run("sync", "-f", root)
        free_at_first = os.statvfs(root).f_bfree
        place = os.path.join(root, "place")
        os.mkdir(place)
        kept = fill(place, sizes)
        check_kept(kept)
        run("sync", "-f", root, check=False)  # it may repeat the error that a writer got
        told = os.statvfs(root)
        expect(
            told.f_bfree <= told.f_blocks // 12 or fill is fill_with_links,
            f"no space was reported with {told.f_bfree} of {told.f_blocks} blocks free",
        )
        directory = os.path.join(root, "others")
        try:
            os.mkdir(directory)
            with open(os.path.join(directory, "a"), "xb"):
                pass
            other_operations(directory)
        except OSError as error:
            is_full(error)
        mount_point = root
    kept = {os.path.relpath(path, mount_point): digest for path, digest in kept.items()}
    check_volume_here(driver, image)
    with mounted(driver, image) as root:
        check_kept({os.path.join(root, path): digest for path, digest in kept.items()})
        run("rm", "-rf", *(os.path.join(root, name) for name in os.listdir(root)), timeout=300)
        run("sync", "-f", root)
        # What the MFT grew to stays with it: NTFS never shrinks it.
        records = (
            0 if fill not in (fill_with_names, fill_with_links, fill_with_files) else len(kept) + 64
        )
        needed = free_at_first - records * 4096 // os.statvfs(root).f_frsize - 256
        volume.wait_until(
            lambda: os.statvfs(root).f_bfree >= needed,
            f"{needed} blocks are free again "
            f"({os.statvfs(root).f_bfree} of {free_at_first} at first)",
            20,
        )
        with open(os.path.join(root, "again"), "xb") as out:
            out.write(b"a" * MIB)
    check_volume_here(driver, image)


def check_volume_here(driver, image):
    if driver.is_ntfs:
        check_volume(image)


def without_sync(driver, image):
    """Writers that never sync: an error may come late, but what is lost was reported."""
    driver.format(image, SIZE)
    with mounted(driver, image) as root:
        reported = False
        for number in range(100):
            try:
                with open(os.path.join(root, f"f{number}"), "xb", buffering=0) as out:
                    reported |= out.write(b"z" * MIB) != MIB
            except OSError as error:
                is_full(error)
                reported = True
            if reported:
                break
        expect(reported, "100 MiB went into a volume of 48 MiB without an error")
        run("sync", "-f", root, check=False)
        for number in range(100):
            path = os.path.join(root, f"f{number}")
            if os.path.exists(path) and os.path.getsize(path) == MIB and number < 30:
                with open(path, "rb") as source:
                    expect_equal(source.read(), b"z" * MIB, f"content of {path}")
    check_volume_here(driver, image)


def too_large_requests(driver, image):
    driver.format(image, SIZE)
    with mounted(driver, image) as root:
        before = os.statvfs(root).f_bfree
        with open(os.path.join(root, "reserved"), "xb") as out:
            try:
                os.posix_fallocate(out.fileno(), 0, 2 * SIZE)
                raise CaseFailure("allocated twice the volume")
            except OSError as error:
                is_full(error)
        os.unlink(os.path.join(root, "reserved"))
        volume.wait_until(lambda: os.statvfs(root).f_bfree >= before - 64, "the space came back")
    check_volume_here(driver, image)


def main():
    suite = Suite("no_space")
    driver = volume.subject_of(suite)
    with volume.work_directory("space") as work:
        image = os.path.join(work, "full.img")
        for name, fill, sizes, size in (
            ("small files", fill_with_files, (0, 10, 600, 3000), 12 * MIB),
            ("large files", fill_with_files, (5000, 100_000, 900_000), SIZE),
            ("one file", fill_with_one_file, (), SIZE),
            ("names", fill_with_names, (), 24 * MIB),
            ("links", fill_with_links, (), 24 * MIB),
        ):
            if suite.wants(name):
                with suite.case(f"full of {name}"):
                    full_volume(driver, image, fill, sizes, size)
        if suite.wants("without sync"):
            with suite.case("full without sync"):
                without_sync(driver, image)
        if suite.wants("too large"):
            with suite.case("too large requests"):
                too_large_requests(driver, image)
    suite.finish()


if __name__ == "__main__":
    sys.exit(main())
