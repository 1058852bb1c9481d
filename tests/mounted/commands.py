#!/usr/bin/python3
"""The commands, as documented: output, JSON, exit codes, messages.

usage: commands.py [WORD...]     only cases whose names contain a word
"""
import collections
import json
import os
import subprocess
import sys

import volume
from cases import CaseSkipped, Suite, expect, expect_equal
from peers_agree import check_volume
from volume import KIB, MIB, PROGRAM, mounted, run

RECORD_KEYS = ("lsn", "previous_lsn", "undo_next_lsn", "type", "transaction")
OPERATION_KEYS = (
    *("redo", "undo", "target", "vcn", "record_offset", "attribute_offset"),
    *("redo_length", "undo_length"),
)


def call(*words, code=0):
    done = run(PROGRAM, *words, check=False)
    expect_equal(
        done.returncode,
        code,
        f"exit code of {' '.join(map(str, words))}; it said: {done.stderr[-500:]}",
    )
    return done


def helps():
    for command in (
        "format",
        "mount",
        "umount",
        "info",
        "ls",
        "cat",
        "stat",
        "extents",
        "log",
        "probe",
        "recover",
        "usn",
    ):
        text = call(command, "--help").stdout
        expect(
            "xample" in text and "ntfs-wal " in text, f"{command} --help has no example:\n{text}"
        )
    call("--help")
    done = run(PROGRAM, "formatt", check=False)
    expect(done.returncode != 0 and done.stderr, "an unknown command is an error with a message")


def information(image):
    told = json.loads(call("info", image, "--json").stdout)
    for key in (
        "version",
        "sector_size",
        "cluster_size",
        "record_size",
        "clusters_total",
        "clusters_free",
        "label",
        "serial",
        "dirty",
        "log",
        "usn",
    ):
        expect(key in told, f"info --json lacks {key}")
    for key in ("version", "state", "size", "oldest_lsn", "last_lsn"):
        expect(key in told["log"], f"info --json: log lacks {key}")
    expect_equal(
        (told["label"], told["dirty"], told["log"]["state"]),
        ("Commands", False, "clean"),
        "info --json",
    )
    expect("Commands" in call("info", image).stdout, "info shows no label")


def looking_in(image, content):
    listing = call("ls", image, "/").stdout
    expect("directory" in listing and "link" in listing, f"ls: {listing}")
    names = [
        json.loads(line)["name"]
        for line in call("ls", image, "/directory", "--json").stdout.splitlines()
    ]
    expect_equal(sorted(names), ["big", "small"], "ls --json")
    got = subprocess.run(
        [PROGRAM, "cat", image, "/directory/big"], capture_output=True, timeout=60, check=True
    )
    expect_equal(got.stdout == content, True, "content by cat")
    told = json.loads(call("stat", image, "/directory/big", "--json").stdout)
    expect(
        any(value == len(content) for value in told.values()), f"stat --json has no size: {told}"
    )
    runs = call("extents", image, "/directory/big", "--json").stdout.splitlines()
    expect(runs and all(isinstance(json.loads(line), dict) for line in runs), "extents --json")
    done = run(PROGRAM, "cat", image, "/not/there", check=False)
    expect(done.returncode != 0 and "not" in done.stderr, "cat of an absent path")


def full_disk(image):
    """What did not arrive must not look like an answer."""
    for code, words in (
        (74, ("info", image)),
        (74, ("info", image, "--json")),
        (74, ("ls", image, "/")),
        (74, ("cat", image, "/directory/big")),
        (74, ("cat", image, "/directory/small")),
        (74, ("stat", image, "/")),
        (74, ("log", image)),
        (8, ("check", image)),
        (8, ("check", image, "--json")),
    ):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [PROGRAM, *words], stdout=full, stderr=subprocess.PIPE, timeout=60, check=False
            )
        expect_equal(done.returncode, code, f"exit code of {words[0]} that cannot write")
        expect(done.stderr, f"{words[0]} that cannot write says nothing")


def log_records(image):
    lines = call("log", image, "--json").stdout.splitlines()
    expect(lines, "the log of a volume that was worked on has no records")
    last = 0
    for line in lines:
        record = json.loads(line)
        needed = RECORD_KEYS if record["type"] == "restart" else RECORD_KEYS + OPERATION_KEYS
        lacking = [key for key in needed if key not in record]
        expect(not lacking, f"log --json: a record lacks {lacking}: {line}")
        expect(record["lsn"] > last, "records are not in the order of their LSNs")
        last = record["lsn"]
    operations = {json.loads(line).get("redo") for line in lines}
    expect(
        {"InitializeFileRecordSegment", "AddIndexEntryAllocation", "AddIndexEntryRoot"}
        & operations,
        f"no creation in the log: {operations}",
    )
    log_words(image)
    log_stats(image, [json.loads(line) for line in lines])
    first = json.loads(lines[len(lines) // 2])["lsn"]
    rest = call("log", image, "--json", "--from", first).stdout.splitlines()
    expect_equal(json.loads(rest[0])["lsn"], first, "log --from")


def log_words(image):
    """Payloads are told in words: what a new file is called, its attributes, its place."""
    shown = call("log", image).stdout
    for words in (
        " cluster+0x",
        '"small" type 0 in ',
        "$STANDARD_INFORMATION length 0x60",
        "$INDEX_ALLOCATION:$I30",
        "bits ",
        "/directory/small",
        "checkpoint, begun at 0x",
    ):
        expect(words in shown, f"log does not say {words!r}")


def log_stats(image, records):
    told = json.loads(call("log", image, "--stats", "--json").stdout)
    clients = [record for record in records if record["type"] == "client"]
    expect_equal(told["records"], len(clients), "log --stats: records")
    expect_equal(told["restart_records"], len(records) - len(clients), "log --stats: checkpoints")
    expect_equal(told["bytes"], sum(r["data_length"] + 0x30 for r in records), "log --stats: bytes")
    expect_equal(
        told["operations"],
        dict(collections.Counter(record["redo"] for record in clients)),
        "log --stats: operations",
    )
    expect_equal(sum(told["operations"].values()), told["records"], "operations together")
    expect(told["committed"] > 0, f"no transaction was committed: {told}")
    expect_equal(
        (told["rolled_back"], told["open"], told["wraps"]), (0, [], 0), "transactions and wraps"
    )
    expect_equal(told["transactions"], told["committed"], "transactions")
    space = told["space"]
    expect_equal(space["used"] + space["free"], space["size"], "log --stats: space")
    shown = call("log", image, "--stats").stdout
    for words in ("committed", "open at the end", "wraps", "checkpoints", "are free"):
        expect(words in shown, f"log --stats does not say {words!r}")


def probing(image, work):
    call("probe", image)
    call("probe", image, "--readwrite")
    other = os.path.join(work, "zeros.img")
    volume.make_sparse(other, MIB)
    call("probe", other, code=12)
    call("probe", code=11)
    with mounted(volume.NtfsWal(), image):
        call("probe", image, "--readwrite", code=16)
        done = run(PROGRAM, "mount", image, work, check=False)
        expect(
            done.returncode != 0 and done.stderr,
            "a second mount of one image is refused with a message",
        )
        done = run(PROGRAM, "format", image, "--force", check=False)
        expect(done.returncode != 0, "--force overrode a mount")
    call("probe", image)


def mounting(image, work):
    directory = os.path.join(work, "here")
    os.makedirs(directory, exist_ok=True)
    done = run(PROGRAM, "mount", image, directory, "-o", "window_names", check=False)
    expect(
        done.returncode != 0 and "windows_names" in done.stderr,
        f"no nearest option in: {done.stderr}",
    )
    expect(not volume.is_mounted(directory), "mounted in spite of the wrong option")
    run(
        PROGRAM,
        "mount",
        image,
        directory,
        "-o",
        "big_writes,uhelper=udisks2,nodev,nosuid,x-gvfs-show,uid=1000,umask=022",
    )
    info = os.stat(f"{directory}/directory/small")
    expect_equal(
        (info.st_uid, info.st_mode & 0o777),
        (1000, 0o644 if info.st_mode & 0o111 == 0 else 0o755),
        "uid, umask",
    )
    run(PROGRAM, "umount", directory)
    expect(not volume.is_mounted(directory), "still mounted")
    call("probe", image)
    expect(
        run(PROGRAM, "umount", directory, check=False).returncode != 0,
        "umount of what is not mounted succeeded",
    )
    link = os.path.join(work, "mount.ntfs-wal")
    os.symlink(PROGRAM, link)
    run(link, image, directory, "-o", "ro")
    expect(volume.is_mounted(directory), "mount.ntfs-wal did not mount")
    run(PROGRAM, "umount", directory)


def recovering(work):
    image, directory = os.path.join(work, "killed.img"), os.path.join(work, "killed")
    call("format", image, "--size", "64M")
    told = json.loads(call("recover", image, "--json").stdout)
    expect(told["was_clean"], "a new volume was not clean")
    expect("clean" in call("recover", image).stdout, "nothing said of a clean log")
    os.makedirs(directory, exist_ok=True)
    server = subprocess.Popen([PROGRAM, "mount", "-f", image, directory], stderr=subprocess.DEVNULL)
    try:
        volume.wait_until(lambda: volume.is_mounted(directory), "mounted in the foreground")
        for name in ("first", "second", "third"):
            with open(f"{directory}/{name}", "xb") as out:
                out.write(name.encode() * 1000)
                os.fsync(out.fileno())
        os.rename(f"{directory}/second", f"{directory}/renamed")
        with open(f"{directory}/last", "xb") as out:
            os.fsync(out.fileno())
    finally:
        server.kill()
        server.wait(timeout=60)
        volume.force_unmount(directory)
    with open(image, "rb") as file:
        before = file.read()
    dry = json.loads(call("recover", image, "--dry-run", "--json").stdout)
    call("probe", "--readwrite", image, code=15)
    call("probe", image, code=15)
    expect_equal(call("cat", image, "/renamed").stdout, "second" * 1000, "content in memory")
    with mounted(volume.subject(), image, "ro") as place:
        expect("renamed" in os.listdir(place), "a read-only mount shows what the log says")
    with mounted(volume.subject(), image, "ro,norecover") as place:
        expect("last" in os.listdir(place), "norecover shows what the log says")
    report = json.loads(call("check", image, "--json").stdout)
    expect_equal(report["errors"], [], "check of the volume as the log makes it")
    expect(report["recovered"], "check does not say that it looked at the recovered volume")
    with open(image, "rb") as file:
        expect(file.read() == before, "the volume was written to while it was looked at")
    told = json.loads(call("recover", image, "--json").stdout)
    expect(not told["was_clean"] and not dry["was_clean"], "the log was not clean")
    for key in ("records_redone", "transactions_committed", "last_operations", "end_lsn"):
        expect_equal(told[key], dry[key], f"{key} of the recovery and of its rehearsal")
    expect('create "last"' in told["last_operations"], f"operations: {told['last_operations']}")
    expect('rename "second" to "renamed"' in told["last_operations"], "the rename is not named")
    call("probe", image)
    check_volume(image)
    expect_equal(call("cat", image, "/renamed").stdout, "second" * 1000, "content")


def foreground(image, work):
    directory = os.path.join(work, "foreground")
    os.makedirs(directory, exist_ok=True)
    server = subprocess.Popen([PROGRAM, "mount", "-f", image, directory], stderr=subprocess.DEVNULL)
    try:
        volume.wait_until(lambda: volume.is_mounted(directory), "mounted in the foreground")
        with open(f"{directory}/written in the foreground", "xb"):
            pass
        server.terminate()
        server.wait(timeout=60)
        expect(not volume.is_mounted(directory), "still mounted after SIGTERM")
    finally:
        server.kill()
        server.wait(timeout=60)
        volume.force_unmount(directory)
    call("probe", image)
    check_volume(image)


def main():
    suite = Suite("commands")
    try:
        driver = volume.subject()
        expect_equal(driver.name, "ntfs-wal", "subject")
    except CaseSkipped as reason:
        suite.skip("all", str(reason))
        suite.finish()
    with volume.work_directory("commands") as work:
        image = os.path.join(work, "commands.img")
        content = os.urandom(700 * KIB)
        with suite.case("format says what it made"):
            expect(
                call("format", image, "--size", "64M", "--label", "Commands").stdout,
                "format says nothing",
            )
        with suite.case("volume is filled"):
            with mounted(driver, image) as directory:
                os.mkdir(f"{directory}/directory")
                for name, data in (("big", content), ("small", b"small")):
                    with open(f"{directory}/directory/{name}", "xb") as out:
                        out.write(data)
                os.symlink("directory/small", f"{directory}/link")
        for name, action in (
            ("help", helps),
            ("info", lambda: information(image)),
            ("ls, cat, stat, extents", lambda: looking_in(image, content)),
            ("a full disk takes no answers", lambda: full_disk(image)),
            ("log", lambda: log_records(image)),
            ("probe", lambda: probing(image, work)),
            ("mount and umount", lambda: mounting(image, work)),
            ("recover", lambda: recovering(work)),
            ("mount in the foreground", lambda: foreground(image, work)),
        ):
            if suite.wants(name):
                with suite.case(name):
                    action()
    suite.finish()


if __name__ == "__main__":
    sys.exit(main())
