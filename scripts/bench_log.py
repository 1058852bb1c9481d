"""`scripts/bench log`: how fast the log is, without a volume around it.

Appends of records by several threads, without I/O (into a store that forgets) and with; then durable
commits (append, and wait until the record is on stable storage) by 1, 8 and 64 threads, beside what
fio reaches on the same file in the same run with one write and fdatasync after the other.

The floor (exit code 1 when it is missed): 0.9 times fio with one thread, 8 times with 64.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

from volume import BUILD, MIB, run

SIZES = (64, 256, 1024, 4096, 16384, 65488)
THREADS = (1, 2, 4, 8)
WAITERS = (1, 8, 64)
FLOORS = {1: 0.9, 64: 8.0}
LOG_BYTES = 256 * MIB
FIO_KINDS = {"fio --fdatasync=1 --bs=4k": [], "the same with --direct=1": ["--direct=1"]}


def log_bench(*words):
    return json.loads(run(os.path.join(BUILD, "tests", "support", "log_bench"), *words).stdout)


def fio_commits(path, seconds, options):
    report = run(
        *("fio", "--name=commits", f"--filename={path}", f"--size={LOG_BYTES}", "--rw=write"),
        *("--bs=4k", "--fdatasync=1", "--ioengine=psync", "--time_based", f"--runtime={seconds}"),
        *("--output-format=json", *options),
        timeout=120,
    )
    return json.loads(report.stdout)["jobs"][0]["write"]["iops"]


def print_appends(path, seconds):
    for title, where in (("without I/O", "memory"), ("with I/O", path)):
        print(f"appends {title}: 1000 records/s (MB/s)")
        print("data bytes" + "".join(f"{count} threads".rjust(16) for count in THREADS))
        for size in SIZES:
            row = [log_bench("append", where, count, size, seconds) for count in THREADS]
            rates = [(told["records_per_second"], told["bytes_per_second"]) for told in row]
            shown = [f"{records / 1e3:.0f} ({length / 1e6:.0f})" for records, length in rates]
            print(f"{size:>10}" + "".join(text.rjust(16) for text in shown))


def print_commits(path, seconds):
    """How many floors were missed."""
    peers = {kind: [fio_commits(path, seconds, options)] for kind, options in FIO_KINDS.items()}
    ours = {waiters: log_bench("commit", path, waiters, seconds) for waiters in WAITERS}
    for kind, options in FIO_KINDS.items():
        peers[kind].append(fio_commits(path, seconds, options))
    print("durable commits of 200 bytes")
    means = {kind: statistics.mean(rates) for kind, rates in peers.items()}
    for kind, mean in means.items():
        print(
            f"  {kind}: {mean:.0f}/s (before and after: {', '.join(f'{r:.0f}' for r in peers[kind])})"
        )
    reference = next(iter(means.values()))
    missed = 0
    for waiters, told in ours.items():
        ratio = told["commits_per_second"] / reference
        wanted = FLOORS.get(waiters)
        verdict = (
            ""
            if wanted is None
            else f"  floor {wanted}: {'holds' if ratio >= wanted else 'MISSED'}"
        )
        missed += wanted is not None and ratio < wanted
        print(
            f"  {waiters:>2} waiting: {told['commits_per_second']}/s, x{ratio:.2f},"
            f" {told['commits_per_write']:.1f} in a write{verdict}"
        )
    return missed


def main(words):
    parser = argparse.ArgumentParser(
        prog="bench log", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--seconds", type=float, default=0.25, help="of each line of appends (0.25)"
    )
    parser.add_argument("--commit-seconds", type=int, default=3, help="of each line of commits (3)")
    parser.add_argument(
        "--directory", default="/var/tmp", help="folder on the disk to use (/var/tmp)"
    )
    settings = parser.parse_args(words)
    with tempfile.NamedTemporaryFile(prefix="ntfs-wal-bench-", dir=settings.directory) as file:
        # Written once: no line pays for the allocation of its blocks.
        subprocess.run(
            [
                "dd",
                "if=/dev/zero",
                f"of={file.name}",
                "bs=1M",
                f"count={LOG_BYTES // MIB}",
                "conv=fsync",
            ],
            check=True,
            stderr=subprocess.DEVNULL,
        )
        missed = print_commits(file.name, settings.commit_seconds)
        print_appends(file.name, settings.seconds)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit("run it as: scripts/bench log")
