#!/usr/bin/python3
"""Every byte that was written is read back: fio's verifying jobs, and the random exerciser fsx.

usage: data_integrity.py [WORD...]     only cases whose names contain a word
NTFS_WAL_SEEDS: seeds for fsx, separated by commas (two random ones)
"""
import hashlib
import os
import random
import sys

import volume
from cases import CaseFailure, Suite, expect_equal
from peers_agree import check_volume
from volume import GIB, MIB, mounted, program, run

VERIFY = (
    "--verify=crc32c",
    "--verify_fatal=1",
    "--verify_state_save=0",
    "--do_verify=1",
    "--fallocate=none",
    "--group_reporting",
)
FIO_JOBS = {
    "sequential": ("--rw=write", "--bs=256k", "--size=128m", "--ioengine=psync"),
    "random": ("--rw=randwrite", "--bs=4k", "--size=48m", "--ioengine=psync"),
    "random sizes": (
        "--rw=randwrite",
        "--bsrange=512-60k",
        "--bs_unaligned",
        "--size=64m",
        "--ioengine=psync",
    ),
    "four threads": (
        "--rw=randwrite",
        "--bs=16k",
        "--size=24m",
        "--numjobs=4",
        "--thread",
        "--ioengine=psync",
    ),
    "mmap": ("--rw=randwrite", "--bs=4k", "--size=32m", "--ioengine=mmap"),
    "direct libaio": (
        "--rw=randwrite",
        "--bs=4k",
        "--size=32m",
        "--ioengine=libaio",
        "--direct=1",
        "--iodepth=16",
    ),
    "direct io_uring": (
        "--rw=randwrite",
        "--bs=16k",
        "--size=64m",
        "--ioengine=io_uring",
        "--direct=1",
        "--iodepth=16",
    ),
    "direct sequential": (
        "--rw=write",
        "--bs=1m",
        "--size=128m",
        "--ioengine=libaio",
        "--direct=1",
        "--iodepth=4",
    ),
    "fsync": ("--rw=randwrite", "--bs=4k", "--size=2m", "--ioengine=psync", "--fsync=1"),
    "many files": ("--rw=randwrite", "--bs=4k", "--size=16m", "--nrfiles=64", "--ioengine=psync"),
}


def fio_job(driver, image, name, options):
    """Writes and verifies in one mount, then verifies again in the next one, with cold caches."""
    identity = name.replace(" ", "-")
    with mounted(driver, image) as directory:
        job = ["fio", f"--name={identity}", f"--directory={directory}", *options, *VERIFY]
        run(*job, timeout=400)
        run("sync", "-f", directory)
    with mounted(driver, image) as directory:
        job[2] = f"--directory={directory}"
        run(*job, "--verify_only=1", timeout=400)
        for file in os.listdir(directory):
            if file.startswith(identity):
                os.unlink(os.path.join(directory, file))


def fsx(driver, image, seed, *options):
    """The exerciser in one mount; what it says the file holds must be there in the next."""
    strict = ("--strict",) if driver.name != "ntfs-3g" else ()
    with mounted(driver, image) as directory:
        done = run(
            program("fsx"),
            "--seed",
            seed,
            "--ops",
            100_000,
            *strict,
            *options,
            f"{directory}/fsx",
            timeout=900,
            check=False,
        )
        if done.returncode != 0:
            raise CaseFailure(done.stdout[-4000:] + done.stderr[-1000:])
    _, digest, size = done.stdout.strip().splitlines()[-1].split()
    with mounted(driver, image) as directory:
        with open(f"{directory}/fsx", "rb") as source:
            content = source.read()
        os.unlink(f"{directory}/fsx")
    expect_equal(
        (hashlib.sha256(content).hexdigest(), len(content)),
        (digest, int(size)),
        "after the remount",
    )


def stream(driver, image):
    """A streamed file of 1 GiB gets few runs."""
    from volume_check import Volume

    with mounted(driver, image) as directory:
        run(
            "dd",
            "if=/dev/zero",
            f"of={directory}/streamed",
            "bs=1M",
            "count=1024",
            "conv=fsync",
            timeout=300,
        )
    checked = Volume(image)
    checked.check()
    runs = checked.runs_of("streamed")
    if runs > 16:
        raise CaseFailure(f"a streamed file of 1 GiB has {runs} runs on a fresh volume")


def main():
    suite = Suite("data_integrity")
    driver = volume.subject_of(suite)
    given = os.environ.get("NTFS_WAL_SEEDS")
    seeds = (
        given.split(",") if given else [random.SystemRandom().randrange(1 << 32) for _ in range(2)]
    )
    with volume.work_directory("data") as work:
        image = os.path.join(work, "data.img")
        driver.format(image, GIB)
        for name, options in FIO_JOBS.items():
            if suite.wants(f"fio {name}"):
                with suite.case(f"fio {name}"):
                    fio_job(driver, image, name, options)
        for seed in seeds:
            for kind, options in (("buffered", ()), ("direct", ("--direct",))):
                if suite.wants(f"fsx {kind}"):
                    with suite.case(f"fsx {kind}, seed {seed}"):
                        fsx(driver, image, seed, *options)
        if driver.is_ntfs and not suite.wanted:
            with suite.case("volume is consistent"):
                check_volume(image)
        if driver.is_ntfs and suite.wants("stream"):
            with suite.case("streamed file has few runs"):
                driver.format(image, GIB + 256 * MIB)
                stream(driver, image)
    suite.finish()


if __name__ == "__main__":
    sys.exit(main())
