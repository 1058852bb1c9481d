#!/usr/bin/python3
"""The change journal as its readers see it: `ntfs-wal usn` on mounts and on volumes, the controls by
ioctl, The Sleuth Kit and libfsntfs on the same volume, and the backup that follows the journal.

usage: usn.py [WORD...]     only cases whose names contain a word
"""
import contextlib
import errno
import fcntl
import json
import os
import random
import re
import signal
import struct
import subprocess
import tempfile

import volume
from cases import CaseSkipped, Suite, expect, expect_equal, expect_no_differences
from volume import IMAGES, MIB, PROGRAM, ROOT, mounted, run, wait_until

BACKUP = os.path.join(ROOT, "scripts", "examples", "incremental-backup")
DIRECTORY = 0x10
CLOSE = 0x80000000
REASONS = {
    "data_overwrite": 0x1,
    "data_extend": 0x2,
    "data_truncation": 0x4,
    "file_create": 0x100,
    "file_delete": 0x200,
    "ea_change": 0x400,
    "security_change": 0x800,
    "rename_old_name": 0x1000,
    "rename_new_name": 0x2000,
    "basic_info_change": 0x8000,
    "hard_link_change": 0x10000,
    "reparse_point_change": 0x100000,
    "close": CLOSE,
}


def call(*words, code=0):
    done = run(PROGRAM, "usn", *words, check=False)
    expect_equal(
        done.returncode, code, f"exit code of usn {' '.join(map(str, words))}: {done.stderr[-300:]}"
    )
    return done


def records(source, *options):
    lines = call("read", source, "--json", *options).stdout.splitlines()
    return [json.loads(line) for line in lines]


def query(source):
    return json.loads(call("query", source, "--json").stdout)


def write(path, text):
    with open(path, "w", encoding="utf-8") as out:
        out.write(text)


# The commands.


def script(directory):
    """Changes, and what the journal says of them: (path as it is now, reasons)."""
    path = lambda name: os.path.join(directory, name)
    os.mkdir(path("d"))
    write(path("d/f"), "text")
    os.rename(path("d/f"), path("d/g"))
    os.link(path("d/g"), path("h"))
    os.unlink(path("h"))
    os.mkdir(path("e"))
    write(path("e/lost"), "")
    os.unlink(path("e/lost"))
    os.rmdir(path("e"))
    return [
        ("/d", {"file_create", "close"}),
        ("/d/f", {"file_create", "data_extend", "close"}),
        ("/d/f", {"rename_old_name"}),
        ("/d/g", {"rename_new_name", "close"}),
        ("/h", {"hard_link_change", "close"}),
        ("/h", {"hard_link_change", "close"}),
        ("/e", {"file_create", "close"}),
        ("/e/lost", {"file_create", "close"}),
        ("/e/lost", {"file_delete", "close"}),
        ("/e", {"file_delete", "close"}),
    ]


def commands(driver, image, directory):
    with mounted(driver, image, directory=directory):
        before = query(directory)
        expect_equal((before["active"], before["first"]), (True, 0), "query of a new journal")
        expected = script(directory)
        live = records(directory)
        last = [
            (record["path"], set(record["reasons"]))
            for record in live
            if {"close", "rename_old_name"} & set(record["reasons"])
        ]
        expect_equal(last, expected, "what the journal says")
        for key in ("usn", "timestamp", "file_reference", "parent_reference", "name", "path",
                    "reasons", "source_info", "attributes", "version"):  # fmt: skip
            expect(key in live[0], f"usn read --json lacks {key}")
        lost = [record for record in live if record["name"] == "lost"]
        expect(all(record["parent_deleted"] for record in lost), "a parent that is gone is not so")
        expect(query(directory)["next"] > before["next"], "the journal has not grown")
        selections(directory, live)
        table = call("read", directory).stdout
        expect("/d/g  Rename: new name | Close" in table, f"not as fsutil says it:\n{table}")
        fsutil = call("queryjournal", directory).stdout
        for label in ("Usn Journal ID", "First Usn", "Next Usn", "Maximum Size"):
            expect(label in fsutil, f"query does not say {label}:\n{fsutil}")
    expect_equal(records(image), live, "the volume's records, unmounted")
    told = json.loads(run(PROGRAM, "info", image, "--json").stdout)["usn"]
    for key in ("active", "id", "first", "next", "lowest_valid", "max_size"):
        expect_equal(told[key], query(image)[key], f"info --json: usn.{key}")
    run(PROGRAM, "check", image)


def selections(directory, everything):
    third = everything[2]["usn"]
    expect_equal(records(directory, "--since", third), everything[2:], "--since")
    expect_equal(records(directory, "--until-now"), everything, "--until-now")
    chosen = [record for record in everything if "file_delete" in record["reasons"]]
    expect_equal(records(directory, "--reason", "delete"), chosen, "--reason")
    expect_equal(records(directory, "--reason", "USN_REASON_FILE_DELETE"), chosen, "--reason")
    chosen = [record for record in everything if record["path"].startswith("/d/")]
    expect_equal(records(directory, "--path", "/d/*"), chosen, "--path")
    chosen = [record for record in everything if "close" in record["reasons"]]
    expect_equal(records(directory, "--only-close"), chosen, "--only-close")
    call("read", directory, "--reason", "nonsense", code=64)
    call("read", directory, "--since", third + 8, code=64)


def refusals(driver, image, directory):
    driver.format(image, 64 * MIB, "--no-usn")
    expect_equal(json.loads(run(PROGRAM, "info", image, "--json").stdout)["usn"]["active"], False,
                 "info of a volume without a journal")  # fmt: skip
    call("query", image, code=66)
    with mounted(driver, image, directory=directory):
        call("query", directory, code=66)
        call("read", directory, code=66)
    call("query", os.path.dirname(image), code=66)
    call("query", image + ".missing", code=66)


@contextlib.contextmanager
def watching(directory, *options):
    """A watch, once it is there: the lines that it has printed so far, and its process."""
    # Read through a file description of its own: one that is shared would move under the writer.
    output = tempfile.NamedTemporaryFile("r")
    with open(output.name, "a", encoding="utf-8") as written:
        process = subprocess.Popen(
            [PROGRAM, "usn", "watch", directory, "--json", *options],
            stdout=written,
            stderr=subprocess.STDOUT,
        )

    def lines():
        output.seek(0)
        return [json.loads(line) for line in output.read().splitlines(keepends=True)
                if line.endswith("\n")]  # fmt: skip

    try:
        yield lines, process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        output.close()


def watch(driver, image, directory):
    with mounted(driver, image, "commit=1", directory=directory):
        start = query(directory)["next"]
        with watching(directory, "--since", str(start)) as (lines, process):
            os.mkdir(os.path.join(directory, "watched"))
            wait_until(lambda: len(lines()) == 2, "the watch tells of a directory")
            write(os.path.join(directory, "watched", "file"), "x")
            wait_until(
                lambda: lines()[-1]["path"] == "/watched/file" and "close" in lines()[-1]["reasons"],
                "the watch tells of a file's close",
            )
            os.rename(os.path.join(directory, "watched"), os.path.join(directory, "moved"))
            write(os.path.join(directory, "moved", "late"), "")
            wait_until(lambda: lines()[-1]["path"] == "/moved/late", "the watch follows a rename")
            read = records(directory, "--since", str(start))
            wait_until(lambda: len(lines()) >= len(read), "the watch tells of everything")
            usns = lambda listed: [record["usn"] for record in listed]
            expect_equal(usns(lines()), usns(read), "records watched and read")
            process.send_signal(signal.SIGINT)
            expect_equal(process.wait(30), 0, "exit code of a watch after Ctrl-C")
        # Another one, and the mount is free when both are gone.
        with watching(directory) as (_, process):
            process.send_signal(signal.SIGTERM)
            expect(process.wait(30) in (0, -signal.SIGTERM), "a watch does not end by SIGTERM")
    call("watch", image, code=66)


def watch_ends_with_the_mount(driver, image, directory):
    with mounted(driver, image, directory=directory):
        start = query(directory)["next"]
        with watching(directory, "--since", str(start)) as (lines, process):
            os.mkdir(os.path.join(directory, "last"))
            wait_until(lambda: len(lines()) == 2, "the watch waits")
            run("umount", "-l", directory)
            process.send_signal(signal.SIGINT)
            expect_equal(process.wait(30), 0, "exit code of a watch on a mount that is gone")
        wait_until(
            lambda: run(PROGRAM, "mount", image, directory, check=False).returncode == 0,
            "the volume can be mounted again",
        )


# The controls, byte by byte. Sources: fuse/usn_ioctl.h; ioctl(2), _IOC of linux/ioctl.h.

BUFFER = 16376


def number(direction, code, size):
    return direction << 30 | size << 16 | ord("w") << 8 | code


QUERY = number(2, 1, 80)
READ = number(3, 2, BUFFER)
ENUMERATE = number(3, 3, BUFFER)
READ_FILE_DATA = number(3, 4, 640)
WRITE_CLOSE = number(2, 5, 8)
ALL = 0xFFFFFFFF


class Controls:
    def __init__(self, path):
        self.fd = os.open(path, os.O_RDONLY)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.fd)

    def control(self, code, given, size):
        buffer = bytearray(given.ljust(size, b"\0"))
        length = fcntl.ioctl(self.fd, code, buffer)
        return bytes(buffer[:length])

    def query(self):
        return struct.unpack("<7Q2HI2Q", self.control(QUERY, b"", 80))

    def read(self, journal, start=0, mask=ALL, close=0, versions=(2, 2)):
        given = struct.pack("<QIIQQQHHI", start, mask, close, 0, 0, journal, *versions, 0)
        return parse(self.control(READ, given, BUFFER))

    def enumerate(self, start=0, low=0, high=(1 << 63) - 1):
        return parse(self.control(ENUMERATE, struct.pack("<3Q2HI", start, low, high, 2, 2, 0), BUFFER))

    def refusal(self, function, *arguments, **named):
        try:
            function(*arguments, **named)
        except OSError as error:
            return error.errno
        return 0


def parse(answer):
    """The position to go on with, and V2 records: (usn, file, parent, reason, attributes, name)."""
    if not answer:
        return None, []
    (position,), at, found = struct.unpack_from("<Q", answer), 8, []
    while at < len(answer):
        length, major, _, file, parent, usn = struct.unpack_from("<IHHQQQ", answer, at)
        reason, _, _, attributes, size, offset = struct.unpack_from("<IIIIHH", answer, at + 40)
        expect(major == 2 and offset == 60 and length % 8 == 0, f"no V2 record: {answer[at:at+64]}")
        name = answer[at + offset : at + offset + size].decode("utf-16-le")
        found.append((usn, file, parent, reason, attributes, name))
        at += length
    return position, found


def controls(driver, image, directory):
    with mounted(driver, image, directory=directory):
        script(directory)
        path = os.path.join(directory, "d", "g")
        with Controls(directory) as on_root, Controls(path) as on_file:
            data = on_root.query()
            expect_equal(on_file.query(), data, "the journal of a file's volume")
            told = query(directory)
            expect_equal(
                data[:7],
                (told["id"], told["first"], told["next"], told["lowest_valid"], told["max_usn"],
                 told["max_size"], told["allocation_delta"]),
                "QUERY",
            )  # fmt: skip
            journal = data[0]
            position, found = on_root.read(journal)
            expect_equal(position, data[2], "where READ goes on")
            expect_equal([record[0] for record in found],
                         [record["usn"] for record in records(directory)], "READ")  # fmt: skip
            closed = on_root.read(journal, close=1)[1]
            expect_equal(closed, [record for record in found if record[3] & CLOSE], "on close")
            refuse = on_root.refusal
            expect_equal(refuse(on_root.read, journal + 1), errno.EINVAL, "another journal")
            expect_equal(refuse(on_root.read, journal, 8), errno.EINVAL, "no record there")
            expect_equal(refuse(on_root.read, journal, versions=(3, 2)), errno.EINVAL, "versions")
            expect_equal(refuse(on_root.control, number(2, 99, 8), b"", 8), errno.ENOTTY, "no control")
            enumerated(on_root, directory)
            (usn, _, _, reason, _, name) = parse(
                b"\0" * 8 + on_file.control(READ_FILE_DATA, struct.pack("<HH", 2, 2), 640)
            )[1][0]
            last = [record[0] for record in found if record[5] in ("g", "h")][-1]
            expect_equal((usn, reason, name), (last, 0, "g"), "READ_FILE_DATA")
            expect_equal(struct.unpack("<Q", on_file.control(WRITE_CLOSE, b"", 8))[0], last,
                         "WRITE_CLOSE of a file that has not changed")  # fmt: skip


def enumerated(on_root, directory):
    expected = {0: "."}
    for top, directories, files in os.walk(directory):
        for name in directories + files:
            expected[os.lstat(os.path.join(top, name)).st_ino] = name
    found, start = {}, 0
    while start is not None:
        start, some = on_root.enumerate(start)
        found |= {file & (1 << 48) - 1: name for _, file, _, _, _, name in some}
    found[0] = found.pop(5)
    for number_of in [n for n in found if n not in expected]:
        del found[number_of]  # in $Extend
    expect_equal(found, expected, "ENUMERATE")


def trimmed(driver, image, directory):
    """A reader whose place is gone is told so, and an open file keeps what it needs."""
    with mounted(driver, image, "commit=1", directory=directory):
        write(os.path.join(directory, "first"), "")
        old = records(directory)[1]["usn"]
        long = "n" * 200
        for _ in range(20):
            for turn in range(300):
                write(os.path.join(directory, f"{long}{turn}"), "")
                os.unlink(os.path.join(directory, f"{long}{turn}"))
            if query(directory)["first"] > 0:
                break
        told = query(directory)
        expect(told["first"] > 0, f"nothing was trimmed: {told}")
        call("read", directory, "--since", old, code=65)
        with Controls(directory) as on_root:
            expect_equal(on_root.refusal(on_root.read, told["id"], old), errno.ESTALE, "READ")
        expect(records(directory)[0]["usn"] >= told["first"], "a record before the first one")
    check_peers(image)


def come_and_go(driver, image, directory):
    driver.format(image, 64 * MIB, "--no-usn")
    with mounted(driver, image, directory=directory):
        write(os.path.join(directory, "before"), "")
        call("create", directory, "--max", "4M", "--delta", "1M")
        told = query(directory)
        expect_equal((told["max_size"], told["allocation_delta"]), (4 * MIB, MIB), "sizes")
        write(os.path.join(directory, "after"), "")
        expect_equal({record["name"] for record in records(directory)}, {"after"}, "records")
        call("create", directory, "--max", "8M")
        expect_equal(query(directory)["max_size"], 8 * MIB, "the size, changed")
        expect_equal(query(directory)["id"], told["id"], "the id, when sizes change")
        call("create", directory, "--max", "1M", "--delta", "2M", code=64)
        call("delete", directory)
        call("query", directory, code=66)
        write(os.path.join(directory, "without"), "")
    run(PROGRAM, "check", image)
    call("delete", image, code=66)
    call("create", image)
    expect_equal(records(image), [], "records of a new journal")
    call("deletejournal", image)
    call("query", image, code=66)
    run(PROGRAM, "check", image)


def ranges(driver, image, directory):
    """`usn track`."""
    path = os.path.join(directory, "large")
    with mounted(driver, image, directory=directory):
        write(path, "x" * 2 * MIB)
        call("track", directory, "--chunk", "5000", code=64)
        call("track", directory, "--chunk", "64K", "--threshold", "1M")
        told = query(directory)
        expect_equal(
            (told["range_chunk_size"], told["range_file_size_threshold"]), (65536, MIB), "tracking"
        )
        with open(path, "r+b") as file:
            os.pwrite(file.fileno(), b"y", 100_000)
            os.pwrite(file.fileno(), b"z" * 10, 65536 * 20)
    found = [record for record in records(image) if record["version"] == 4]
    expect_equal(
        [record["extents"] for record in found],
        [[{"offset": 65536, "length": 65536}, {"offset": 65536 * 20, "length": 65536}]],
        "written ranges",
    )
    expect_equal(found[0]["reasons"], ["data_overwrite", "close"], "their reasons")
    call("track", image, code=66)
    run(PROGRAM, "check", image)
    check_peers(image, ["The Sleuth Kit"])


def others_may_not_read(driver, image, directory):
    if os.geteuid() != 0:
        raise CaseSkipped("needs root, to be another user")
    with mounted(driver, image, "allow_other", directory=directory):
        os.chmod(os.path.dirname(directory), 0o755)
        code = f"""
import fcntl, os
os.setgid(65534); os.setuid(65534)
fd = os.open({directory!r}, os.O_RDONLY)
try:
    fcntl.ioctl(fd, {QUERY}, bytearray(80))
    print("read")
except OSError as error:
    print(error.errno)
"""
        done = run("python3", "-c", code)
        expect_equal(done.stdout.strip(), str(errno.EACCES), "the journal for another user")


# Peers.


def reference(text):
    record, sequence = text.split("-")
    return int(sequence) << 48 | int(record)


def from_sleuthkit(image):
    found = []
    for line in run("usnjls", image, timeout=300).stdout.splitlines():
        file, parent, _, reasons, name = line.split("\t", 4)
        found.append((reference(file), reference(parent), set(reasons.lower().split()), name))
    return found


def from_libfsntfs(image):
    found = []
    text = run("fsntfsinfo", "-U", image, timeout=300).stdout
    for part in text.split("USN record:")[1:]:
        field = lambda label, part=part: re.search(rf"\t{label}\s*: (.*)", part).group(1)
        reasons = {reason.lower() for reason in re.findall(r"\(USN_REASON_(\w+)\)", part)}
        found.append(
            (
                reference(field("File reference")),
                reference(field("Parent file reference")),
                reasons,
                field("Name"),
            )
        )
    return found


READERS = {"The Sleuth Kit": from_sleuthkit, "libfsntfs": from_libfsntfs}


def check_peers(image, names=tuple(READERS)):
    """The records of version 2: The Sleuth Kit passes over others, libfsntfs gives up at them."""
    own = [
        (
            record["file_reference"],
            record["parent_reference"],
            set(record["reasons"]),
            record["name"],
        )
        for record in records(image)
        if record["version"] != 4
    ]
    for name in names:
        theirs = READERS[name](image)
        differences = [
            f"record {i}: {got} instead of {wanted}"
            for i, (got, wanted) in enumerate(zip(theirs, own))
            if got != wanted
        ]
        if len(theirs) != len(own):
            differences.append(f"{len(theirs)} records instead of {len(own)}")
        expect_no_differences(differences, f"{name}'s records of {os.path.basename(image)}")
    return len(own)


def random_changes(directory, count, seed):
    """Changes of names and contents in a tree that is never large."""
    chance = random.Random(seed)
    name = lambda: "n" * chance.randrange(1, 60) + str(chance.randrange(12))
    places = [directory] + [os.path.join(directory, f"dir {i}") for i in range(4)]
    some = lambda: os.path.join(chance.choice(places), name())
    for _ in range(count):
        with contextlib.suppress(FileNotFoundError, FileExistsError, NotADirectoryError,
                                 IsADirectoryError, OSError):  # fmt: skip
            turn = chance.randrange(10)
            if turn < 3:
                with open(some(), "ab") as out:
                    out.write(chance.randbytes(chance.randrange(5000)))
            elif turn == 3:
                os.mkdir(chance.choice(places[1:]))
            elif turn == 4:
                os.rename(some(), some())
            elif turn == 5:
                os.rename(*chance.sample(places[1:], 2))
            elif turn == 6:
                os.link(some(), some())
            elif turn == 7:
                os.symlink("somewhere", some())
            else:
                victims = [os.path.join(place, n) for place in places if os.path.isdir(place)
                           for n in os.listdir(place)]  # fmt: skip
                victim = chance.choice(victims)
                os.chmod(victim, chance.choice((0o600, 0o644, 0o755)), follow_symlinks=True)
                if chance.randrange(2):
                    os.rmdir(victim) if os.path.isdir(victim) else os.unlink(victim)


def peers(driver, image, directory):
    with mounted(driver, image, directory=directory):
        random_changes(directory, 1500, 1)
    count = check_peers(image)
    print(f"     {count} records", flush=True)
    expect(count > 1000, f"only {count} records")


def windows_journals(driver, directory):
    """Journals that Windows made go on with its numbers."""
    names = [name[: -len(".img.tar.xz")] for name in os.listdir(IMAGES)
             if name.endswith(".img.tar.xz")] if os.path.isdir(IMAGES) else []  # fmt: skip
    count = 0
    for name in sorted(names):
        with volume.work_directory("usn-windows") as work:
            image = volume.unpack_image(name, work)
            told = json.loads(run(PROGRAM, "info", image, "--json").stdout)["usn"]
            if not told["active"]:
                continue
            count += 1
            before = records(image)
            check_peers(image)
            with mounted(driver, image, directory=directory):
                write(os.path.join(directory, "appended"), "")
            after = records(image)
            expect_equal(after[: len(before)], before, f"{name}: Windows' records")
            expect(after[len(before)]["usn"] >= told["next"], f"{name}: numbering goes on")
            check_peers(image)
    if count == 0:
        raise CaseSkipped(f"no volume in {IMAGES} has a change journal")


# The example.


def backup(driver, image, directory, copy):
    environment = dict(os.environ, NTFS_WAL=PROGRAM)
    keep = lambda: run(BACKUP, "--verify", directory, copy, env=environment).stdout.splitlines()[0]
    with mounted(driver, image, directory=directory):
        random_changes(directory, 200, 2)
        write(os.path.join(directory, "untouched"), "x" * 100000)
        expect(keep().startswith("everything"), "the first run copies everything")
        expect(keep().startswith("0 paths"), "nothing has changed, and something is copied")
        with open(os.path.join(directory, "untouched"), "ab") as out:
            out.write(b"y")
        expect_equal(keep(), "1 paths of the journal: 1 files (100001 bytes) copied, 0 paths removed",
                     "one change")  # fmt: skip
        for seed in range(3, 9):
            random_changes(directory, 100, seed)
            expect("of the journal" in keep(), "everything is copied again")
    with mounted(driver, image, directory=directory):
        random_changes(directory, 20, 9)
        expect("of the journal" in keep(), "a new mount has the same journal")
    driver.format(image, 64 * MIB)
    with mounted(driver, image, directory=directory):
        expect(keep().startswith("everything"), "another volume is copied as a whole")


def main():
    suite = Suite("usn")
    try:
        driver = volume.SUBJECTS["ntfs-wal"]
        volume.subject()
    except CaseSkipped as reason:
        suite.skip("all", str(reason))
        suite.finish()
    cases = {
        "commands on a mount and on the volume": commands,
        "commands where there is no journal": refusals,
        "watch": watch,
        "watch on a mount that goes away": watch_ends_with_the_mount,
        "controls": controls,
        "the oldest records are trimmed": trimmed,
        "create and delete": come_and_go,
        "written ranges": ranges,
        "other users may not read": others_may_not_read,
        "peers read the same records": peers,
    }
    with volume.work_directory("usn") as work:
        directory = os.path.join(work, "mount")
        os.mkdir(directory)
        for name, case in cases.items():
            if suite.wants(name):
                with suite.case(name):
                    image = os.path.join(work, "volume.img")
                    driver.format(image, 64 * MIB)
                    case(driver, image, directory)
        if suite.wants("Windows"):
            with suite.case("a journal made by Windows goes on"):
                windows_journals(driver, directory)
        if suite.wants("backup"):
            with suite.case("incremental backup"):
                image = os.path.join(work, "volume.img")
                driver.format(image, 64 * MIB)
                backup(driver, image, directory, os.path.join(work, "copy"))
    suite.finish()


if __name__ == "__main__":
    main()
