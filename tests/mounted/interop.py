#!/usr/bin/python3
"""What a volume shares with others than its files' readers: the disk below, which is told of free
space, and Windows, which may sleep on it.

usage: interop.py [WORD...]     only cases whose names contain a word
"""
import json
import os
import subprocess
import sys

import volume
from cases import Suite, expect, expect_equal
from volume import MIB, PROGRAM, Ntfs3g, mounted, run, wait_until

PROBE_YES, PROBE_HIBERNATED = 0, 14


def allocated(image):
    return os.stat(image).st_blocks * 512


def put(directory, name, data):
    path = os.path.join(directory, name)
    with open(path, "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    return path


def check(image):
    report = json.loads(run(PROGRAM, "check", image, "--json").stdout)
    expect_equal(report["errors"], [], "check")


def trimmed(directory, *options):
    """The bytes that fstrim says it has trimmed."""
    said = run("fstrim", "-v", *options, directory).stdout
    return int(said.split("(")[1].split()[0])


def fstrim(driver, image):
    driver.format(image, 512 * MIB)
    with mounted(driver, image) as directory:
        before = allocated(image)
        kept = put(directory, "kept", os.urandom(10 * MIB))
        gone = put(directory, "gone", os.urandom(100 * MIB))
        expect(allocated(image) > before + 100 * MIB, "the files are not in the image")
        os.unlink(gone)
        run("sync", "-f", directory)
        free = os.statvfs(directory)
        told = trimmed(directory)
        expect(told > 0.99 * free.f_bfree * free.f_frsize, f"{told} bytes trimmed")
        expect(allocated(image) < before + 20 * MIB, f"{allocated(image)} bytes in the image")
        expect_equal(trimmed(directory, "-m", "1G"), 0, "bytes in runs of 1 GiB")
        expect(0 < trimmed(directory, "-o", "256M", "-l", "64M") <= 64 * MIB, "a range")
        past = run("fstrim", "-o", "4G", directory, check=False)
        expect("Invalid argument" in past.stderr, f"past the end: {past.stderr}")
        run("cp", kept, image + ".kept")
    check(image)
    with mounted(driver, image, "ro") as directory:
        run("cmp", os.path.join(directory, "kept"), image + ".kept")
        refused = run("fstrim", directory, check=False)
        expect("Read-only" in refused.stderr, f"read-only: {refused.stderr}")


def discard(driver, image):
    driver.format(image, 512 * MIB)
    with mounted(driver, image, "discard,commit=1") as directory:
        before = allocated(image)
        kept = put(directory, "kept", os.urandom(10 * MIB))
        os.unlink(put(directory, "gone", os.urandom(100 * MIB)))
        wait_until(lambda: allocated(image) < before + 20 * MIB, "freed clusters are holes")
        put(directory, "again", os.urandom(100 * MIB))
        run("cp", kept, image + ".kept")
    check(image)
    with mounted(driver, image) as directory:
        run("cmp", os.path.join(directory, "kept"), image + ".kept")
        os.unlink(os.path.join(directory, "again"))
    expect(allocated(image) > before + 100 * MIB, "a mount without the option discards")


def probe(image, *options):
    return run(PROGRAM, "probe", image, *options, check=False).returncode


def is_read_only(directory):
    return bool(os.statvfs(directory).f_flag & os.ST_RDONLY)


def hibernated(driver, image):
    Ntfs3g().format(image, 64 * MIB)
    with mounted(Ntfs3g(), image) as directory:
        put(directory, "hiberfil.sys", b"hibr" + bytes(100000))
        put(directory, "file", b"data")
    expect_equal(probe(image, "--readwrite"), PROBE_HIBERNATED, "probe --readwrite")
    peer = run("ntfs-3g.probe", "--readwrite", image, check=False).returncode
    expect_equal(peer, PROBE_HIBERNATED, "ntfs-3g.probe --readwrite")
    expect_equal(probe(image), PROBE_YES, "probe")
    with mounted(driver, image) as directory:
        expect(is_read_only(directory), "it is mounted for writing")
        with open(os.path.join(directory, "file"), "rb") as file:
            expect_equal(file.read(), b"data", "contents")
    done = subprocess.run(
        [PROGRAM, "mount", image, os.path.dirname(image), "-o", "remove_hiberfil"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    expect("'remove_hiberfile'" in done.stderr, f"a misspelt option: {done.stderr}")
    with mounted(driver, image, "remove_hiberfile") as directory:
        expect(not is_read_only(directory), "it is mounted read-only")
        expect_equal(os.listdir(directory), ["file"], "what is there")
    expect_equal(probe(image, "--readwrite"), PROBE_YES, "probe --readwrite, afterwards")
    check(image)


def awake(driver, image):
    for content in (b"wake" + bytes(100000), b"RSTR" + bytes(100000), bytes(100000)):
        Ntfs3g().format(image, 64 * MIB)
        with mounted(Ntfs3g(), image) as directory:
            put(directory, "hiberfil.sys", content)
        expect_equal(probe(image, "--readwrite"), PROBE_YES, f"probe: {content[:4]}")
        with mounted(driver, image, "remove_hiberfile") as directory:
            expect_equal(os.listdir(directory), ["hiberfil.sys"], "what is there")


def short_hiberfil(driver, image):
    """As a hibernated Windows on another volume leaves it, says ntfs-3g."""
    Ntfs3g().format(image, 64 * MIB)
    with mounted(Ntfs3g(), image) as directory:
        put(directory, "hiberfil.sys", bytes(1000))
    peer = run("ntfs-3g.probe", "--readwrite", image, check=False).returncode
    expect_equal(peer, PROBE_HIBERNATED, "ntfs-3g.probe --readwrite")
    expect_equal(probe(image, "--readwrite"), PROBE_HIBERNATED, "probe --readwrite")
    with mounted(driver, image) as directory:
        expect(is_read_only(directory), "it is mounted for writing")


def main():
    suite = Suite("interop")
    driver = volume.subject_of(suite, "has no commands of its own")
    cases = {
        "fstrim frees what is free": fstrim,
        "discard frees what is removed": discard,
        "a hibernated volume is read-only until its session is given up": hibernated,
        "one with an old hibernation file is not": awake,
        "a short hibernation file means a Windows elsewhere": short_hiberfil,
    }
    with volume.work_directory("interop") as work:
        suite.run(cases, driver, os.path.join(work, "volume.img"))
    suite.finish()


if __name__ == "__main__":
    sys.exit(main())
