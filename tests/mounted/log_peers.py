#!/usr/bin/python3
"""Other programs read in a log what `ntfs-wal log` shows, record by record.

Logs that ntfs-wal wrote and that a SIGKILL of its daemon left unclean; logs of volumes that Windows
made. The others: ntfs-3g's ntfsrecover (which lists all blocks of the file, without writing) and
log_records.py, a parser that shares nothing with the program.

usage: log_peers.py [WORD...]     only cases whose names contain a word
"""
import concurrent.futures
import json
import lzma
import os
import re
import shutil
import signal
import sys

import volume
from cases import CaseSkipped, Suite, expect, expect_equal
from log_records import OPERATIONS, LogRecords, Record, read_log, write_log
from volume import KIB, MIB, run, wait_until

WINDOWS_IMAGES = ("ms_lastaccess", "ms_2m", "vel_charlie", "plaso_vss", "js_tiny", "grr")
DIRTY_IMAGES = (
    "rewind/grr.back12.undo10",
    "rewind/grr.back4.undo4",
    "rewind/ms_lastaccess.back6.undo5",
)
# Raw logs, as long as their restart pages say; the rest of the file was not collected.
RAW_LOGS = {
    "LogFile_7": 0x1678000,
    "LogFile_10": 0x8A0000,
    "LogFile_10_downgraded": 0x8A0000,
}
HEADER_FIELDS = 6  # the first of Record: the others stand in the client's data
# What ntfsrecover calls the fields.
PEER_FIELDS = {
    "client_previous_lsn": "previous_lsn",
    "client_undo_next_lsn": "undo_next_lsn",
    "transaction_id": "transaction",
    "record_type": "type",
    "client_data_length": "data_length",
    "redo_operation": "redo",
    "undo_operation": "undo",
    "target_attribute": "target",
    "redo_length": "redo_length",
    "undo_length": "undo_length",
    "target_vcn": "vcn",
    "record_offset": "record_offset",
    "attribute_offset": "attribute_offset",
}


def ours(image):
    """[Record] as `ntfs-wal log` shows them, oldest first."""
    records = []
    for line in run(volume.PROGRAM, "log", image, "--json").stdout.splitlines():
        told = json.loads(line)
        is_client = told["type"] == "client"
        records.append(
            Record(
                *(told["lsn"], told["previous_lsn"], told["undo_next_lsn"], told["transaction"]),
                *(1 if is_client else 2, told["data_length"]),
                *(OPERATIONS.index(told[which]) if is_client else 0 for which in ("redo", "undo")),
                told.get("target_attribute", 0),
                *(told.get(name, 0) for name in Record._fields[9:]),
            )
        )
    return records


def by_ntfsrecover(image):
    """{lsn: Record} of every record in the file that ntfsrecover lists."""
    listed = run("ntfsrecover", "-f", "-v", image, check=False).stdout
    found, fields = {}, None
    for line in listed.splitlines():
        field = re.match(r"(\w+)\s+([0-9a-f]+)\b", line)
        if not field:
            continue
        name, value = field.group(1), int(field.group(2), 16)
        if name == "this_lsn":
            # A page and its copy in a tail slot are both listed.
            fields = {"lsn": value}
            found.setdefault(value, fields)
        elif fields is not None and name in PEER_FIELDS:
            # The first time counts: the words behind a record explain it with some of these names.
            fields.setdefault(PEER_FIELDS[name], value)
    records = {}
    for lsn, fields in found.items():
        is_client = fields.get("type") == 1
        known = Record._fields if is_client else Record._fields[:HEADER_FIELDS]
        records[lsn] = Record(
            *(fields.get(name, 0) if name in known else 0 for name in Record._fields)
        )
    return records


def expect_same(mine, theirs, whose):
    missing = [record for record in mine if record.lsn not in theirs]
    expect(not missing, f"{whose} lacks {len(missing)} records, the first: {missing[:1]}")
    for record in mine:
        other = theirs[record.lsn]
        expect(record == other, f"{whose} differs:\n    ours   {record}\n    theirs {other}")


def judge(image, is_ours):
    """How many records all agree on."""
    mine = ours(image)
    expect(mine, "no records")
    expect_equal(sorted(record.lsn for record in mine), [record.lsn for record in mine], "order")
    log = LogRecords(read_log(image))
    connected = log.connected()
    first, last = connected[0].lsn, log.end()
    expect_equal(mine[-1].lsn, last, "the last record")
    expect(mine[0].lsn <= first, f"records from {mine[0].lsn:#x}, the parser has {first:#x}")
    recent = [record for record in mine if record.lsn >= first]
    expect_equal(len(recent), len(connected), "count of records that follow each other to the end")
    expect_same(mine, log.all(), "the parser")
    if log.version < 2 and shutil.which("ntfsrecover"):
        theirs = by_ntfsrecover(image)
        # It lists the file as it is, and the rest of a record in the open page is not in its place
        # yet: it shows other fields then, or, with the header alone in the page before, no record.
        for record in filter(log.goes_on_in_a_copy, mine):
            shown = theirs.get(record.lsn, record)
            expect_equal(shown[:HEADER_FIELDS], record[:HEADER_FIELDS], "header")
            theirs[record.lsn] = record
        expect_same(mine, theirs, "ntfsrecover")
        between = {lsn for lsn in theirs if first <= lsn <= last}
        expect_equal(len(between), len(recent), "count of records that ntfsrecover lists")
    if is_ours:
        expect(not log.is_clean, "the log is clean, so the kill came too late")
    return len(mine)


# ---- Workloads: each fills the log of a mounted volume ------------------------------------------


def files_and_names(directory):
    for number in range(150):
        with open(os.path.join(directory, f"file {number}"), "xb") as out:
            out.write(b"x" * (number * 37 % 3000))
    os.mkdir(os.path.join(directory, "directory"))
    for number in range(0, 150, 3):
        os.rename(
            os.path.join(directory, f"file {number}"),
            os.path.join(
                directory, "directory", f"a much longer name, {number}, than it had before"
            ),
        )
    for number in range(1, 150, 3):
        os.unlink(os.path.join(directory, f"file {number}"))
    for number in range(2, 150, 3):
        os.link(
            os.path.join(directory, f"file {number}"), os.path.join(directory, f"link {number}")
        )


def sizes_and_runs(directory):
    path = os.path.join(directory, "growing")
    with open(path, "xb") as out:
        for number in range(200):
            out.seek(number * 128 * KIB)
            out.write(b"y" * 5000)
            if number % 20 == 0:
                os.fsync(out.fileno())
    for number in range(40):
        os.symlink("growing" * (number + 1), os.path.join(directory, f"symlink {number}"))
    for size in (20 * MIB, 3 * MIB, 100, 0, 7 * MIB):
        os.truncate(path, size)


def appends_with_fsync(directory):
    """Flush after flush: most go to the tail slots."""

    def work(worker):
        with open(os.path.join(directory, f"journal {worker}"), "xb") as out:
            for number in range(60):
                out.write(b"z" * (100 + number))
                os.fsync(out.fileno())

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))


WORKLOADS = {
    "files and names": (files_and_names, 4),
    "sizes and runs": (sizes_and_runs, 2),
    "appends with fsync": (appends_with_fsync, 1),
}
LOG_SIZES = {"wrapping": 256 * KIB, "long": 4 * MIB}


def kill_after(image, directory, workload, rounds):
    """Mounts the volume, works on it, and ends the daemon as a power cut would."""
    os.makedirs(directory, exist_ok=True)
    try:
        run(volume.PROGRAM, "mount", image, directory)
        for number in range(rounds):
            place = os.path.join(directory, f"round {number}")
            os.mkdir(place)
            workload(place)
        # What fsync answers for is in the log, with all that was done before.
        with open(os.path.join(directory, "last"), "xb") as out:
            os.fsync(out.fileno())
        pid = volume.server_of(os.path.realpath(directory))
        expect(pid is not None, "no daemon serves the mount")
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "the daemon has ended")
    finally:
        volume.force_unmount(directory)


def logs_of_ours(suite, work):
    for name, (workload, rounds) in WORKLOADS.items():
        for kind, log_size in LOG_SIZES.items():
            if not suite.wants(f"ours: {name}, {kind}"):
                continue
            with suite.case(f"ours: {name}, {kind} log"):
                image = os.path.join(work, f"{workload.__name__}-{kind}.img")
                run(
                    *(volume.PROGRAM, "format", "--force", image),
                    *("--size", 256 * MIB, "--log-size", log_size),
                )
                kill_after(image, os.path.join(work, "mount"), workload, rounds)
                count = judge(image, is_ours=True)
                expect(count > 50, f"{count} records are too few to compare")
                print(f"     {count} records", flush=True)
                os.unlink(image)


def logs_of_windows(suite, work):
    for name in WINDOWS_IMAGES + DIRTY_IMAGES:
        if suite.wants(f"Windows: {name}"):
            with suite.case(f"Windows: {name}"):
                image = volume.unpack_image(name, work)
                print(f"     {judge(image, is_ours=False)} records", flush=True)
                os.unlink(image)
    for name, size in RAW_LOGS.items():
        if suite.wants(f"Windows: {name}"):
            with suite.case(f"Windows: {name}"):
                archive = os.path.join(volume.IMAGES, "raw", f"{name}.bin.xz")
                if not os.path.exists(archive):
                    raise CaseSkipped(f"no {archive} (NTFS_WAL_IMAGES names the folder)")
                image = os.path.join(work, "raw.img")
                run(volume.PROGRAM, "format", image, "--size", 512 * MIB, "--log-size", size)
                with lzma.open(archive) as source:
                    write_log(image, source.read().ljust(size, b"\xff"))
                print(f"     {judge(image, is_ours=False)} records", flush=True)
                os.unlink(image)


def main():
    suite = Suite("log_peers")
    try:
        driver = volume.subject()
        if driver.name != "ntfs-wal":
            raise CaseSkipped(f"{driver.name} has no command that shows the log")
    except CaseSkipped as reason:
        suite.skip("all", str(reason))
        suite.finish()
    with volume.work_directory("log") as work:
        logs_of_ours(suite, work)
        logs_of_windows(suite, work)
    suite.finish()


if __name__ == "__main__":
    sys.exit(main())
