"""`scripts/bench store`: how fast data goes through the store, without FUSE, beside the raw image.

One image: a volume, and behind it as many bytes that belong to nobody. fio works on those with direct
transfers, before and after each line of the store (tests/support/store_bench.cc), which reads and
writes a file of the volume; 1 MiB blocks one after the other, 4 KiB ones at random places with 16
under way. What is written through the buffer is on the device when the clock stops. Then appends of
8 processes to one file of a mounted volume.

The floor (exit code 1 when it is missed): 0.85 of fio with 1 MiB, 0.7 with 4 KiB.
"""
import argparse
import collections
import json
import os
import statistics
import sys
import tempfile
import time

from volume import BUILD, MIB, PROGRAM, mounted, run, subject

DATA_BYTES = 512 * MIB
VOLUME_BYTES = 768 * MIB
WRITERS, RECORDS, RECORD_BYTES = 8, 8192, 4096
Line = collections.namedtuple("Line", "name fio store floor")

SEQUENTIAL = ("--bs=1m", "--iodepth=1", "--ioengine=psync")
RANDOM = ("--bs=4k", "--iodepth=16", "--ioengine=libaio")
LINES = [
    Line(f"{way} {kind}, {size}", (f"--rw={pattern}{kind}", *shape), (kind, way, block), floor)
    for size, shape, pattern, block, floor in (
        ("1 MiB", SEQUENTIAL, "", MIB, 0.85),
        ("4 KiB QD16", RANDOM, "rand", 4096, 0.7),
    )
    for kind in ("write", "read")
    for way in ("unbuffered", "buffered")
]


def fio(image, seconds, options):
    report = run(
        *("fio", "--name=raw", f"--filename={image}", f"--offset={VOLUME_BYTES}"),
        *(f"--size={DATA_BYTES}", "--direct=1", "--time_based", f"--runtime={seconds}"),
        *("--randrepeat=0", "--scramble_buffers=0", "--output-format=json", *options),
        timeout=120,
    )
    job = json.loads(report.stdout)["jobs"][0]
    return job["write"]["bw_bytes"] + job["read"]["bw_bytes"]


def store_bench(*words):
    path = os.path.join(BUILD, "tests", "mounted", "store_bench")
    return run(path, *words, timeout=300).stdout


def measure(image, line, seconds):
    """(store, fio) in bytes a second."""
    kind, way, block = line.store
    threads = 1 if block >= MIB else 16  # the depth of the queue: each asks for one block
    before = fio(image, seconds, line.fio)
    told = store_bench(kind, way, image, block, threads, seconds)
    after = fio(image, seconds, line.fio)
    return json.loads(told)["bytes_per_second"], statistics.mean((before, after))


def append(path):
    """One process; exit code 0 when every record went in whole."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    record = bytes(RECORD_BYTES)
    return sum(os.write(handle, record) for _ in range(RECORDS)) != RECORDS * RECORD_BYTES


def appends(directory):
    """Records a second of all processes, until they are on the device."""
    path = os.path.join(directory, "appended")
    start = time.monotonic()
    for _ in range(WRITERS):
        if os.fork() == 0:
            os._exit(append(path))
    failed = sum(os.wait()[1] != 0 for _ in range(WRITERS))
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    taken = time.monotonic() - start
    size = os.fstat(handle).st_size
    os.close(handle)
    if failed or size != WRITERS * RECORDS * RECORD_BYTES:
        sys.exit(f"bench store: {failed} processes failed, the file has {size} bytes")
    return WRITERS * RECORDS / taken


def main(words):
    parser = argparse.ArgumentParser(
        prog="bench store", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=2, help="of each line (2)")
    parser.add_argument("--lines", default="", help="only lines whose names contain this")
    parser.add_argument(
        "--directory", default="/var/tmp", help="folder on the disk to use (/var/tmp)"
    )
    settings = parser.parse_args(words)
    missed = 0
    with tempfile.TemporaryDirectory(prefix="ntfs-wal-bench-", dir=settings.directory) as folder:
        image = os.path.join(folder, "volume.img")
        run(PROGRAM, "format", "--size", f"{VOLUME_BYTES // MIB}M", image)
        store_bench("prepare", image, DATA_BYTES)
        # Written once: no line pays for the allocation of its blocks.
        with open(image, "r+b") as out:
            for at in range(0, DATA_BYTES, MIB):
                out.seek(VOLUME_BYTES + at)
                out.write(os.urandom(MIB))
            os.fsync(out.fileno())
        for line in LINES:
            if settings.lines not in line.name:
                continue
            ours, raw = measure(image, line, settings.seconds)
            holds = ours / raw >= line.floor
            missed += not holds
            print(
                f"{line.name:<30} {ours / 1e6:>7.0f} MB/s, fio {raw / 1e6:>7.0f} MB/s, "
                f"x{ours / raw:.2f}, floor {line.floor}: {'met' if holds else 'MISSED'}",
                flush=True,
            )
        if settings.lines in "appends":
            with mounted(subject(), image) as directory:
                os.unlink(os.path.join(directory, "data"))
                rate = appends(directory)
            print(f"appends of {WRITERS} processes, 4 KiB: {rate:.0f}/s")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit("run it as: scripts/bench store")
