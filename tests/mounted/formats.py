#!/usr/bin/python3
"""Fresh volumes of every shape are what NTFS says, and take work.

usage: formats.py [WORD...]     only cases whose names contain a word
"""
import json
import os
import sys
import time

import manifest
import volume
from cases import CaseSkipped, Suite, expect, expect_equal, expect_no_differences
from peers_agree import check_verdict, check_volume, run_vm
from volume import GIB, KIB, MIB, PROGRAM, mounted, run

TIB = 1 << 40
SHAPES = [(8 * MIB, cluster, 512, 1024) for cluster in (512, 1024, 2048, 4096, 8192)]
SHAPES += [(256 * MIB, cluster, 512, 1024) for cluster in (512, 4096, 16384, 32768, 65536)]
SHAPES += [
    (64 * MIB, 4096, 4096, 4096),
    (256 * MIB, 65536, 4096, 4096),
    (64 * MIB, 4096, 512, 4096),
    (64 * MIB, 1024, 512, 4096),
    (9 * MIB + 12345 * 512, 4096, 512, 1024),
    (256 * MIB, 131072, 512, 1024),
    (GIB, 2 * MIB, 512, 1024),
    (GIB, 2 * MIB, 4096, 4096),
]
HUGE = [(TIB, 4096), (16 * TIB, 4096), (16 * TIB, 65536), (20 * TIB, 8192), (8191 * TIB, 2 * MIB)]


def unit(size):
    for factor, letter in ((TIB, "T"), (GIB, "G"), (MIB, "M"), (KIB, "K")):
        if size % factor == 0:
            return f"{size // factor}{letter}"
    return str(size)


def make(image, size, cluster, sector, record):
    if os.path.exists(image):
        os.unlink(image)
    run(
        PROGRAM,
        "format",
        image,
        "--size",
        size,
        "--cluster-size",
        cluster,
        "--sector-size",
        sector,
        "--record-size",
        record,
        "--label",
        "Prüfung",
    )


def check_information(image, size, cluster, sector, record):
    told = json.loads(run(PROGRAM, "info", image, "--json").stdout)
    expect_equal(
        (told["sector_size"], told["cluster_size"], told["record_size"], told["label"]),
        (sector, cluster, record, "Prüfung"),
        "info --json",
    )
    expect(
        size // cluster - 16 <= told["clusters_total"] <= size // cluster, f"clusters_total: {told}"
    )
    expect_equal(told["dirty"], False, "dirty")
    expect(told["log"]["state"] in ("clean", "empty"), f"log state: {told['log']}")


def one_shape(image, shape):
    make(image, *shape)
    check_information(image, *shape)
    check_volume(image)
    driver = volume.NtfsWal()
    with mounted(driver, image) as directory:
        datasets_small(directory)
        expected = manifest.from_directory(directory)
    check_volume(image)
    expect_no_differences(
        manifest.compare(manifest.adapt(expected, "ntfs-3g"), manifest.from_ntfs3g(image)),
        "ntfs-3g",
    )
    return expected


def datasets_small(directory):
    """A little of everything, for volumes of 8 MiB."""
    os.mkdir(f"{directory}/many")
    for number in range(600):
        with open(f"{directory}/many/entry number {number}", "xb") as out:
            out.write(b"%d" % number * (number % 60))
    for size in (1, 500, 1000, 5000, 70_000, 300_000):
        with open(f"{directory}/size {size}", "xb") as out:
            out.write(os.urandom(size))
    os.link(f"{directory}/size 500", f"{directory}/link")
    os.symlink("size 500", f"{directory}/symbolic")
    for number in range(0, 600, 3):
        os.unlink(f"{directory}/many/entry number {number}")


def place_for(work, size):
    """A folder whose file system takes a file of that size: ext4 stops just below 16 TiB."""
    for folder in (work, "/dev/shm"):
        path = os.path.join(folder, f"huge-{os.getpid()}.img")
        try:
            volume.make_sparse(path, size)
            return path
        except OSError:
            continue
        finally:
            if os.path.exists(path):
                os.unlink(path)
    raise CaseSkipped(f"no file system here takes a file of {unit(size)}")


def fresh_huge(work, size, cluster):
    image = place_for(work, size)
    try:
        judge_huge(image, size, cluster)
    finally:
        if os.path.exists(image):
            os.unlink(image)


def judge_huge(image, size, cluster):
    start = time.monotonic()
    run(PROGRAM, "format", image, "--size", unit(size), "--cluster-size", cluster)
    seconds = time.monotonic() - start
    run("ntfsfix", "-n", image)
    run("ntfsinfo", "-m", image)
    with mounted(volume.NtfsWal(), image) as directory:
        datasets_small(directory)
        expected = manifest.from_directory(directory)
    got = manifest.from_ntfs3g(image)
    expect_no_differences(manifest.compare(manifest.adapt(expected, "ntfs-3g"), got), "ntfs-3g")
    # Other tests run beside this one; the bound of the documentation is for an idle machine.
    limit = 2 if size <= TIB else 20
    expect(seconds < 2 * limit, f"formatting {unit(size)} took {seconds:.1f} s, wanted {limit}")


def refusals(work):
    image = os.path.join(work, "refused.img")
    for options in (
        ("--size", "7M"),
        ("--size", "17T", "--cluster-size", "512"),
        ("--size", "64M", "--cluster-size", "3000"),
        ("--size", "64M", "--cluster-size", "4M"),
        ("--size", "64M", "--sector-size", "100"),
        ("--size", "64M", "--record-size", "3000"),
    ):
        done = run(PROGRAM, "format", image, *options, check=False)
        expect(
            done.returncode not in (0, 139, 134), f"format {options} ended with {done.returncode}"
        )
        expect(done.stderr, f"format {options} says nothing")
        if os.path.exists(image):
            os.unlink(image)
    others = [
        ("mke2fs", "-q", "-F"),
        ("mkfs.minix",),
        ("mkfs.bfs",),
        ("mkswap",),
        ("mkntfs", "-q", "-F"),
        (PROGRAM, "format", "--force", "--reflink"),
    ]
    for maker in others:
        volume.make_sparse(image, 16 * MIB)
        run(*maker, image)
        before = run("sha256sum", image).stdout
        done = run(PROGRAM, "format", image, check=False)
        expect_equal(done.returncode, 73, f"exit code of format over what {maker[0]} made")
        expect("--force" in done.stderr, f"format says: {done.stderr}")
        expect_equal(run("sha256sum", image).stdout, before, "the image")
        run(PROGRAM, "format", image, "--force")
        check_volume(image)


def main():
    suite = Suite("formats")
    try:
        driver = volume.subject()
        expect_equal(driver.name, "ntfs-wal", "subject")
    except CaseSkipped as reason:
        suite.skip("all", str(reason))
        suite.finish()
    with volume.work_directory("formats") as work:
        images = {}
        for shape in SHAPES:
            size, cluster, sector, record = shape
            name = f"{unit(size)}, clusters {cluster}, sectors {sector}, records {record}"
            if suite.wants(name):
                image = os.path.join(work, f"shape-{len(images)}.img")
                with suite.case(name):
                    images[image] = name, one_shape(image, shape)
        for size, cluster in HUGE:
            name = f"{unit(size)} with clusters of {cluster}"
            if suite.wants(name):
                with suite.case(name):
                    fresh_huge(work, size, cluster)
        if suite.wants("refusals"):
            with suite.case("refusals"):
                refusals(work)
        verdicts = {}
        if suite.wants("ntfs3"):
            with suite.case("ntfs3: virtual machine"):
                verdicts = run_vm(list(images), work)
        for image, verdict in verdicts.items():
            with suite.case(f"ntfs3: {images[image][0]}"):
                check_verdict(verdict, images[image][1])
    suite.finish()


if __name__ == "__main__":
    sys.exit(main())
