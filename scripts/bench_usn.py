"""`scripts/bench usn`: what the change journal costs creates and small writes.

The same work by one thread on a mounted volume with and without a journal, in turn; the best of
eight short rounds each: a machine that does other things, too, slows some of them down. A create makes and closes an empty file; a small write opens a file that exists,
writes 4 KiB and closes it.

The floor (exit code 1 when it is missed): 0.9 of the speed without a journal.
"""
import argparse
import os
import sys
import tempfile
import time

from volume import PROGRAM, run

FLOOR = 0.9
ROUNDS = 8
VOLUME = "2G"
DATA = b"x" * 4096


def name_of(folder, number):
    return os.path.join(folder, f"{number % 100:02}", f"file-{number:06}")


def creates(folder, count):
    for number in range(count):
        os.close(os.open(name_of(folder, number), os.O_CREAT | os.O_WRONLY))


def small_writes(folder, count):
    for number in range(count):
        file = os.open(name_of(folder, number), os.O_WRONLY)
        os.write(file, DATA)
        os.close(file)


def rates(image, mount_point, count, options):
    """Operations a second of each kind, on a fresh volume."""
    run(PROGRAM, "format", "--force", *options, image)
    run(PROGRAM, "mount", image, mount_point)
    result = {}
    try:
        for number in range(100):
            os.mkdir(os.path.join(mount_point, f"{number:02}"))
        for work in (creates, small_writes):
            begin = time.monotonic()
            work(mount_point, count)
            result[work.__name__] = count / (time.monotonic() - begin)
    finally:
        run(PROGRAM, "umount", mount_point)
    return result


def main(words):
    parser = argparse.ArgumentParser(
        prog="bench usn", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=10_000, help="of each round (10,000)")
    parser.add_argument(
        "--directory", default="/var/tmp", help="folder on the disk to use (/var/tmp)"
    )
    settings = parser.parse_args(words)
    best = {True: {}, False: {}}
    with tempfile.TemporaryDirectory(prefix="ntfs-wal-bench-", dir=settings.directory) as folder:
        image = os.path.join(folder, "volume.img")
        mount_point = os.path.join(folder, "mnt")
        os.mkdir(mount_point)
        run(PROGRAM, "format", "--size", VOLUME, image)
        for _ in range(ROUNDS):
            for with_journal in (True, False):
                options = () if with_journal else ("--no-usn",)
                for work, rate in rates(image, mount_point, settings.files, options).items():
                    best[with_journal][work] = max(rate, best[with_journal].get(work, 0))
    missed = False
    for work, without in best[False].items():
        ratio = best[True][work] / without
        missed = missed or ratio < FLOOR
        print(
            f"{work.replace('_', ' ')} a second: {best[True][work]:.0f} with a journal, "
            f"{without:.0f} without; ratio {ratio:.2f}, floor {FLOOR}: "
            f"{'met' if ratio >= FLOOR else 'MISSED'}"
        )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit("run it as: scripts/bench usn")
