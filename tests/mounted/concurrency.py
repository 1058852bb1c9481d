#!/usr/bin/python3
"""Many at once: processes that hammer one directory and one file, also with the daemon under
ThreadSanitizer; reads beside busy loops; listings while entries come and go; rm -rf of 100,000 files.

usage: concurrency.py [WORD...]     only cases whose names contain a word
NTFS_WAL_TSAN_BUILD: build folder of the daemon under ThreadSanitizer (build-thread)
"""
import glob
import mmap
import os
import subprocess
import sys
import time

import volume
from cases import CaseFailure, CaseSkipped, Suite, expect, expect_equal
from peers_agree import check_volume
from volume import GIB, MIB, ROOT, mounted, program, run

TSAN_BUILD = os.environ.get("NTFS_WAL_TSAN_BUILD") or os.path.join(ROOT, "build-thread")


def exercise(name, directory, *options, timeout=600):
    place = os.path.join(directory, name)
    os.mkdir(place)
    done = run(program(name), *options, place, timeout=timeout, check=False)
    if done.returncode != 0:
        raise CaseFailure(done.stdout[-3000:] + done.stderr[-1000:])


def remove_hundred_thousand(directory):
    place = os.path.join(directory, "many")
    os.mkdir(place)
    handle = os.open(place, os.O_RDONLY)
    for number in range(100_000):
        os.close(os.open(f"entry {number}", os.O_CREAT | os.O_WRONLY, dir_fd=handle))
    os.close(handle)
    expect_equal(len(os.listdir(place)), 100_000, "names listed")
    run("rm", "-rf", place, timeout=600)
    expect(not os.path.exists(place), "the directory is still there")


def copies_at_once(directory):
    """Four copies made at the same time are all like the original; then all are removed at once."""
    source = "/usr/include/linux"
    copies = [subprocess.Popen(["cp", "-r", source, f"{directory}/copy-{i}"]) for i in range(4)]
    for copy in copies:
        expect_equal(copy.wait(timeout=300), 0, "exit code of cp")
    for i in range(4):
        run("diff", "-r", source, f"{directory}/copy-{i}", timeout=120)
    removals = [subprocess.Popen(["rm", "-rf", f"{directory}/copy-{i}"]) for i in range(4)]
    for removal in removals:
        expect_equal(removal.wait(timeout=300), 0, "exit code of rm")


def reads_beside_computation(directory):
    """Programs that compute on every processor must not make each request wait for a time slice
    (milliseconds). The best of some rounds counts: whatever else runs waits for the device, too."""
    path = os.path.join(directory, "read")
    with open(path, "wb") as out:
        out.write(os.urandom(4 * MIB))
        os.fsync(out.fileno())
    loops = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count())
    ]
    slow = []
    handle = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        memory = mmap.mmap(-1, 4096)
        for number in range(2000):
            start = time.monotonic()
            expect_equal(os.preadv(handle, [memory], number * 7919 % 1024 * 4096), 4096, "read")
            slow.append(time.monotonic() - start > 0.001)
    finally:
        os.close(handle)
        for loop in loops:
            loop.kill()
            loop.wait()
    best = min(sum(slow[first : first + 400]) / 400 for first in range(0, 2000, 400))
    expect(best < 0.1, f"{best:.0%} of the reads took more than a millisecond")


def under_thread_sanitizer(work):
    binary = os.path.join(TSAN_BUILD, "ntfs-wal")
    if not os.access(binary, os.X_OK):
        raise CaseSkipped(f"{binary} is not built: run scripts/build --sanitize thread")
    image, directory = os.path.join(work, "tsan.img"), os.path.join(work, "tsan")
    os.makedirs(directory, exist_ok=True)
    volume.NtfsWal().format(image, 256 * MIB)
    report = os.path.join(work, "race")
    environment = dict(
        os.environ, TSAN_OPTIONS=f"log_path={report} halt_on_error=0 second_deadlock_stack=1"
    )
    server = subprocess.Popen(
        [binary, "mount", "-f", image, directory],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        volume.wait_until(
            lambda: volume.is_mounted(directory) or server.poll() is not None, "mounted", 60
        )
        expect(server.poll() is None, "the daemon ended before it was mounted")
        exercise("hammer", directory, "--processes", 2, "--threads", 2, "--ops", 3000)
        exercise("listing", directory, "--files", 1000, "--rounds", 5)
        run(volume.PROGRAM, "umount", directory, timeout=300)
        server.wait(timeout=300)
    finally:
        volume.force_unmount(directory)
        server.kill()
        server.wait(timeout=60)
    races = "".join(
        open(path, encoding="utf-8", errors="replace").read() for path in glob.glob(report + "*")
    )
    expect(not races, "ThreadSanitizer:\n" + races[:6000])
    check_volume(image)


def main():
    suite = Suite("concurrency")
    driver = volume.subject_of(suite)
    actions = {
        "hammer": lambda d: exercise(
            "hammer", d, "--processes", 2, "--threads", 4, "--ops", 20_000
        ),
        "listing while entries come and go": lambda d: exercise("listing", d),
        "copies at once": copies_at_once,
        "reads beside programs that compute": reads_beside_computation,
        "rm -rf of 100,000 files": remove_hundred_thousand,
    }
    with volume.work_directory("concurrency") as work:
        image = os.path.join(work, "volume.img")
        driver.format(image, GIB)
        for name, action in actions.items():
            if suite.wants(name):
                with suite.case(name):
                    with mounted(driver, image) as directory:
                        action(directory)
                    if driver.is_ntfs:
                        check_volume(image)
        if driver.name == "ntfs-wal" and suite.wants("thread sanitizer"):
            with suite.case("hammer and listing under ThreadSanitizer"):
                under_thread_sanitizer(work)
    suite.finish()


if __name__ == "__main__":
    sys.exit(main())
