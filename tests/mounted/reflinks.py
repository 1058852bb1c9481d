#!/usr/bin/python3
"""Volumes whose files share clusters: cp shares them, writes copy them, other drivers refuse them
(the kernel's ntfs3 is asked by peers_agree).

usage: reflinks.py [WORD...]     only cases whose names contain a word
"""
import json
import os
import random
import shutil
import sys
import time

import volume
from cases import CaseSkipped, Suite, expect, expect_equal
from volume import GIB, MIB, PROGRAM, mounted, run

SIZE = 128 * MIB


def make_file(path, seed):
    chance = random.Random(seed)
    with open(path, "wb") as out:
        for _ in range(SIZE // MIB):
            out.write(chance.randbytes(MIB))
        out.write(b"not a whole cluster")
        os.fsync(out.fileno())


def free_bytes(directory):
    status = os.statvfs(directory)
    return status.f_bfree * status.f_bsize


def extents(image, path):
    """Of each run: vcn, lcn, clusters."""
    lines = run(PROGRAM, "extents", image, path, "--json").stdout.splitlines()
    return [json.loads(line) for line in lines]


def check(image):
    report = json.loads(run(PROGRAM, "check", image, "--json").stdout)
    expect_equal(report["errors"], [], "check")


def copies(driver, image):
    with mounted(driver, image) as directory:
        source, target = os.path.join(directory, "source"), os.path.join(directory, "target")
        make_file(source, 1)
        before = free_bytes(directory)
        start = time.monotonic()
        run("cp", "--reflink=auto", source, target)
        took = time.monotonic() - start
        taken = before - free_bytes(directory)
        print(f"     {SIZE // MIB} MiB copied in {took * 1000:.0f} ms", flush=True)
        expect(taken < MIB, f"the copy takes {taken} bytes")
        run("cmp", source, target)
    expect_equal(extents(image, "/target"), extents(image, "/source"), "runs of the copy")
    check(image)


def changes(driver, image):
    with mounted(driver, image) as directory:
        target = os.path.join(directory, "target")
        plain = os.path.join(os.path.dirname(image), "plain")
        run("cp", target, plain)
        before = free_bytes(directory)
        chance = random.Random(2)
        for path in (target, plain):
            chance.seed(2)
            with open(path, "r+b") as out:
                for _ in range(200):
                    out.seek(chance.randrange(SIZE))
                    out.write(chance.randbytes(chance.randrange(1, 9000)))
                out.truncate(SIZE - 12345)
        run("cmp", target, plain)
        os.sync()
        taken = before - free_bytes(directory)
        expect(0 < taken < 8 * MIB, f"the changes take {taken} bytes")
    with mounted(driver, image) as directory:
        run("cmp", os.path.join(directory, "target"), plain)
        make_file(plain, 1)
        run("cmp", os.path.join(directory, "source"), plain)
        os.unlink(os.path.join(directory, "source"))
    check(image)


def refused(image):
    for command in (
        ["ntfs-3g", image, os.path.dirname(image), "-o", "ro"],
        ["ntfsfix", "-n", image],
        ["ntfsfix", image],
        ["ntfsinfo", "-m", image],
        ["ntfsresize", "-i", "-f", image],
    ):
        if shutil.which(command[0]) is None:
            raise CaseSkipped(f"{command[0]} is not installed")
        before = os.stat(image).st_mtime_ns
        done = run(*command, check=False)
        expect(done.returncode != 0, f"{' '.join(command)} accepts the volume")
        expect_equal(os.stat(image).st_mtime_ns, before, f"{command[0]} writes: time of the image")


def says_what_it_is(image):
    described = json.loads(run(PROGRAM, "info", image, "--json").stdout)
    expect_equal(described["features"], ["reflink"], "features of the volume")
    again = run(PROGRAM, "format", image, "--size", 64 * MIB, check=False)
    expect(again.returncode != 0, "format overwrites it without --force")
    expect("share clusters" in again.stderr, f"format says: {again.stderr}")


def main():
    suite = Suite("reflinks")
    driver = volume.subject_of(suite, "has no reflinks")
    with volume.work_directory("reflinks") as work:
        image = os.path.join(work, "reflink.img")
        driver.format(image, GIB, "--reflink")
        cases = {
            "cp shares clusters": lambda: copies(driver, image),
            "writes copy them": lambda: changes(driver, image),
            "info and format know": lambda: says_what_it_is(image),
            "ntfs-3g and its tools refuse": lambda: refused(image),
        }
        suite.run(cases)
    suite.finish()


if __name__ == "__main__":
    sys.exit(main())
