#!/usr/bin/python3
"""FUSE over io_uring (fuse/request_rings.h): what other suites verify holds with it, too.

The kernel's switch for it is turned on for the time of the suite.

usage: rings.py [WORD...]     only cases whose names contain a word
"""
import contextlib
import os
import signal
import subprocess
import sys

import volume
from cases import CaseSkipped, Suite, expect, expect_equal
from peers_agree import check_volume
from volume import GIB, MIB, mounted, program, run, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
SUITES = {
    "posix": [],
    "streams": [],
    "usn": [],
    "concurrency": ["sanitizer", "copies", "compute"],
}


def bound_threads(pid):
    """How many threads of the process may run on one processor alone."""
    tasks = [int(task) for task in os.listdir(f"/proc/{pid}/task")]
    return sum(1 for task in tasks if len(os.sched_getaffinity(task)) == 1)


def some_work(directory):
    for number in range(200):
        with open(os.path.join(directory, f"file {number}"), "wb") as out:
            out.write(b"x" * number)
    expect_equal(len(os.listdir(directory)), 200, "names")
    for number in range(200):
        os.unlink(os.path.join(directory, f"file {number}"))


def serve_each_processor(driver, image):
    """Threads wait on each processor, but not where a lock may have to be waited for."""
    if os.cpu_count() < 2:
        raise CaseSkipped("there is one processor")
    for options, is_served in (("", True), ("locks=mandatory", False)):
        with mounted(driver, image, options) as directory:
            some_work(directory)
            count = bound_threads(volume.server_of(directory))
            wanted = count >= os.cpu_count() if is_served else count == 0
            expect(wanted, f"with '{options}', {count} threads are bound to a processor")


def run_with_threads(driver, image):
    for threads in (1, 64):
        with mounted(driver, image, f"threads={threads}") as directory:
            some_work(directory)
            expect(bound_threads(volume.server_of(directory)) > 0, f"threads={threads}: no rings")


def exercise_data(driver, image):
    with mounted(driver, image) as directory:
        for seed, options in ((1, []), (2, ["--direct"])):
            path = os.path.join(directory, f"data {seed}")
            run(program("fsx"), "--seed", seed, "--ops", 10_000, *options, path, timeout=300)


def seek_at_once(driver, image):
    """Seeks that have to wait for written pages, more of them than there are threads."""
    script = (
        "import os, sys\n"
        "f = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)\n"
        "for i in range(200):\n"
        "    os.pwrite(f, b'x', i << 16)\n"
        "    assert os.lseek(f, i << 16, os.SEEK_DATA) == i << 16, i\n"
    )
    with mounted(driver, image) as directory:
        paths = [os.path.join(directory, f"sparse {i}") for i in range(16)]
        seekers = [subprocess.Popen([sys.executable, "-c", script, path]) for path in paths]
        for seeker in seekers:
            expect_equal(seeker.wait(timeout=120), 0, "exit code of one that seeks")


def make_streams_again(driver, image):
    """The kernel tells of the last close of an unlinked stream beside the next request."""
    with mounted(driver, image, "streams_interface=windows") as directory:
        stream = os.path.join(directory, "file:stream")
        for number in range(1000):
            with open(stream, "xb") as out:
                out.write(b"%d" % number)
                os.unlink(stream)


def end_by_signal_in_use(driver, image):
    """The daemon ends although a file is open, and what was written is there."""
    directory = image + ".mount"
    os.makedirs(directory, exist_ok=True)
    driver.mount(image, directory)
    pid = volume.server_of(directory)
    held = os.open(os.path.join(directory, "held"), os.O_WRONLY | os.O_CREAT)
    os.write(held, b"kept")
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "the daemon has ended", 60)
    with contextlib.suppress(OSError):  # there is nobody to tell
        os.close(held)
    volume.force_unmount(directory)
    with mounted(driver, image) as again:
        with open(os.path.join(again, "held"), "rb") as source:
            expect_equal(source.read(), b"kept", "the file")


CASES = {
    "threads on each processor": serve_each_processor,
    "few threads and many": run_with_threads,
    "data": exercise_data,
    "seeks at once": seek_at_once,
    "streams made again": make_streams_again,
    "ended by a signal while in use": end_by_signal_in_use,
}


def other_suite(suite, name, words):
    """Runs it; its cases count as cases of this one."""
    done = run(os.path.join(HERE, f"{name}.py"), *words, timeout=900, check=False)
    for line in done.stdout.splitlines():
        verdict, _, told = line.partition(f" {name}: ")
        if verdict in suite.results:
            suite.record(verdict, f"{name}:", told)
    if done.returncode not in (0, 1) or not done.stdout.rstrip().endswith(" skipped"):
        suite.record("FAIL", f"{name}:", f"ended with {done.returncode}: {done.stderr[-2000:]}")


def main():
    suite = Suite("rings")
    driver = volume.subject_of(suite)
    if not volume.may_turn_rings():
        suite.skip("all", "this kernel has no FUSE over io_uring (6.14 and later), or not root")
        return suite.finish()
    with volume.work_directory("rings") as work, volume.rings("Y"):
        image = os.path.join(work, "volume.img")
        for name, case in CASES.items():
            if suite.wants(name):
                with suite.case(name):
                    driver.format(image, GIB if name == "data" else 128 * MIB)
                    case(driver, image)
                    check_volume(image)
        for name, words in SUITES.items():
            if suite.wants(f"suite {name}"):
                other_suite(suite, name, words)
    return suite.finish()


if __name__ == "__main__":
    sys.exit(main())
