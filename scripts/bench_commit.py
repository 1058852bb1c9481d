"""`scripts/bench commit`: what the log costs a storm of creates that nobody waits for.

The same creates by one thread on the same volume, in turn with the log on the disk and with its
bytes in memory, without FUSE (tests/support/commit_cost.cc); the better of two rounds each.

The floor (exit code 1 when it is missed): 0.9 of the speed with the log in memory.
"""
import argparse
import json
import os
import sys
import tempfile

from volume import BUILD, PROGRAM, run

FLOOR = 0.9
VOLUME = "4G"


def main(words):
    parser = argparse.ArgumentParser(
        prog="bench commit",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--files", type=int, default=200_000, help="of each round (200,000)")
    parser.add_argument(
        "--directory", default="/var/tmp", help="folder on the disk to use (/var/tmp)"
    )
    settings = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="ntfs-wal-bench-", dir=settings.directory) as folder:
        image = os.path.join(folder, "volume.img")
        run(PROGRAM, "format", "--size", VOLUME, image)
        program = os.path.join(BUILD, "tests", "mounted", "commit_cost")
        told = json.loads(run(program, image, settings.files, timeout=600).stdout)
    ratio = told["log_on_device"] / told["log_in_memory"]
    print(f"creates a second, log on the disk: {told['log_on_device']}")
    print(f"creates a second, log in memory:   {told['log_in_memory']}")
    print(f"ratio {ratio:.2f}, floor {FLOOR}: {'met' if ratio >= FLOOR else 'MISSED'}")
    return 0 if ratio >= FLOOR else 1


if __name__ == "__main__":
    sys.exit("run it as: scripts/bench commit")
