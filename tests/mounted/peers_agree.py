#!/usr/bin/python3
"""What ntfs-wal writes, everyone reads alike.

Each data set is written through a mount, listed there, and unmounted. Then the volume is checked
(ntfsfix -n, ntfsinfo, ntfsresize's accounting of clusters, volume_check.py), and ntfs-wal itself,
ntfs-3g, libfsntfs, The Sleuth Kit and the kernel's ntfs3 (all images in one boot of a virtual
machine) must list the same tree: sizes, link counts, times, SHA-256, targets. manifest.py says
what each of the readers cannot tell.

usage: peers_agree.py [WORD...]     only data sets and cases whose names contain a word
"""
import json
import os
import shutil
import sys

import datasets
import manifest
import volume
from cases import CaseFailure, CaseSkipped, Suite, expect, expect_equal, expect_no_differences
from volume import GIB, MIB, ROOT, mounted, run
from volume_check import DATA, MFT, Volume, check_image

# name: (functions that fill it, image size, options of format)
SETS = {
    "trees": ((datasets.copy_of_includes, datasets.copy_of_documents), GIB, ()),
    "many files": ((datasets.many_files,), 512 * MIB, ()),
    "random order": ((datasets.random_order,), GIB, ()),
    "fragments": ((datasets.fragments,), 256 * MIB, ()),
    "fragmented $MFT": ((datasets.fragmented_mft,), 24 * MIB, ()),
    "names and links": ((datasets.names, datasets.links, datasets.special_files), 256 * MIB, ()),
    "times and shapes": ((datasets.timestamps, datasets.shapes), 128 * MIB, ()),
    "compressed": ((datasets.compressed,), 128 * MIB, ()),
    "small clusters": ((datasets.shapes, datasets.names), 128 * MIB, ("--cluster-size", "512")),
    "large clusters": ((datasets.shapes, datasets.links), 512 * MIB, ("--cluster-size", "65536")),
}
PEERS = ("ntfs-3g", "libfsntfs", "sleuthkit")
VM_TIMEOUT = 900
NOT_AVAILABLE = 69


def check_volume(image, copies=True):
    """Everything here that judges a volume's structures must be content."""
    run("ntfsfix", "-n", image)
    run("ntfsinfo", "-m", image)
    accounting = run(
        "ntfsresize", "--info", "--force", "--no-progress-bar", image, check=False, timeout=300
    )
    # It also reports a volume too full to shrink as an error; what it checks comes before that.
    expect(
        "Accounting clusters" in accounting.stdout and "Collecting" in accounting.stdout,
        "ntfsresize finds the volume inconsistent:\n" + accounting.stdout + accounting.stderr,
    )
    expect_no_differences(check_image(image, copies), "volume_check")
    own = run(volume.PROGRAM, "check", image, check=False, timeout=300)
    if own.returncode != NOT_AVAILABLE and copies:
        expect(own.returncode == 0, f"ntfs-wal check: {own.returncode}\n{own.stdout[:3000]}")


def fill(driver, name, image):
    """Writes the data set; the manifest of the live mount."""
    fillers, size, options = SETS[name]
    driver.format(image, size, *options)
    with mounted(driver, image) as directory:
        for filler in fillers:
            filler(directory)
        return manifest.from_directory(directory)


def check_against_sources(expected):
    """The copies of real trees have what their originals have."""
    for source in ("/usr/include", "/usr/share/doc"):
        top = os.path.basename(source)
        original = {
            f"{top}/{path}": entry._replace(nlink=None)
            for path, entry in manifest.from_directory(source).items()
        }
        copied = {path: entry for path, entry in expected.items() if path.startswith(top + "/")}
        expect_no_differences(manifest.compare(original, copied), f"the copy of {source}")


def check_times(expected):
    for name, time in datasets.TIMES_NS.items():
        for kind in ("file", "directory"):
            path = f"{kind} of {name}"
            expect_equal(expected[path].mtime, time // 100, f"mtime of {path}")


def check_fragments(image, expected):
    checked = Volume(image)
    checked.check()
    for path in sorted(path for path in expected if path.startswith("fragments")):
        runs = checked.runs_of(path)
        print(f"     {path}: {runs} runs", flush=True)
        wanted = 15_000 if path.endswith("filled") else 20_000
        expect(runs >= wanted, f"the data set is none: {path} has {runs} runs")


def check_mft_fragments(image):
    """$MFT continues in extension records, which its attribute list names."""
    checked = Volume(image)
    checked.read_records()
    pieces = checked.pieces(MFT, DATA, "")
    runs = sum(len(piece.runs) for piece in pieces)
    print(f"     $MFT: {runs} runs in {len(pieces)} records", flush=True)
    expect(len(pieces) >= 3, "the data set is none: $MFT needs no extension records")


def read_by_peer(reader, name, image):
    if reader == "sleuthkit":
        return manifest.from_sleuthkit(image, "all" if name == "trees" else "sample")
    return manifest.READERS[reader](image)


def judge(suite, driver, name, image, expected):
    with suite.case(f"{name}: volume is consistent"):
        check_volume(image)
    with suite.case(f"{name}: mounted again"):
        with mounted(driver, image) as directory:
            again = manifest.from_directory(directory)
        expect_no_differences(manifest.compare(expected, again), "after the remount")
    if name == "trees":
        with suite.case(f"{name}: as their originals"):
            check_against_sources(expected)
    if name == "fragments":
        with suite.case(f"{name}: number of runs"):
            check_fragments(image, expected)
    if name == "fragmented $MFT":
        with suite.case(f"{name}: number of records"):
            check_mft_fragments(image)
    if name == "times and shapes":
        with suite.case(f"{name}: as they were set"):
            check_times(expected)
    for reader in PEERS:
        if reader == "libfsntfs" and "--cluster-size" in SETS[name][2]:
            suite.skip(f"{name}: {reader}", "it reads indexes with 4096-byte clusters only")
            continue
        with suite.case(f"{name}: {reader}"):
            got = read_by_peer(reader, name, image)
            expect_no_differences(manifest.compare(manifest.adapt(expected, reader), got), reader)


def run_vm(images, work, *options):
    """The verdicts of the kernel's ntfs3, by image."""
    if shutil.which("qemu-system-x86_64") is None:
        raise CaseSkipped("qemu-system-x86_64 is not installed")
    result = os.path.join(work, "verdict.json")
    run(
        os.path.join(ROOT, "scripts", "vm-ntfs3"),
        "--json",
        result,
        "--timeout",
        VM_TIMEOUT,
        *options,
        *images,
        timeout=VM_TIMEOUT + 300,
        check=False,
    )
    if not os.path.exists(result):
        raise CaseFailure("scripts/vm-ntfs3 gave no result")
    with open(result, encoding="utf-8") as source:
        report = json.load(source)
    expect(
        "problem" not in report,
        f"the virtual machine: {report.get('problem')}\n{report.get('console')}",
    )
    return {verdict["image"]: verdict for verdict in report["images"]}


def check_verdict(verdict, expected):
    for step in ("ro", "rw"):
        got = manifest.from_ntfs3(verdict, step)
        expect_no_differences(
            manifest.compare(manifest.adapt(expected, "ntfs3"), got), f"ntfs3 {step}"
        )
        expect(verdict[step]["unmounted"], f"ntfs3 could not unmount it after {step}")
    complaints = [
        "\n".join(verdict["kernel_log"][max(0, number - 12) : number + 3])
        for number, line in enumerate(verdict["kernel_log"])
        if "ntfs3(" in line or "ntfs3:" in line or "Oops" in line or "BUG" in line
    ]
    expect(not complaints, "ntfs3 complained:\n" + "\n".join(complaints[:5]))


def check_refused(verdict):
    for step in ("ro", "rw"):
        expect(not verdict[step]["mounted"], f"ntfs3 mounts it ({step})")
        expect("Invalid argument" in verdict[step]["error"], f"ntfs3: {verdict[step]['error']}")


def main():
    suite = Suite("peers_agree")
    driver = volume.subject_of(suite)
    filled = {}
    with volume.work_directory("peers") as work:
        for name in SETS:
            if not suite.wants(name):
                continue
            image = os.path.join(work, name.replace(" ", "-") + ".img")
            with suite.case(f"{name}: written"):
                filled[image] = name, fill(driver, name, image)
            if image in filled:
                judge(suite, driver, name, image, filled[image][1])
        verdicts = {}
        shared = os.path.join(work, "shared-clusters.img")
        if driver.name == "ntfs-wal":
            driver.format(shared, 64 * MIB, "--reflink")
        with suite.case("ntfs3: virtual machine"):
            verdicts = run_vm([*filled, *filter(os.path.exists, [shared])], work)
        if shared in verdicts:
            with suite.case("shared clusters: ntfs3 refuses"):
                check_refused(verdicts.pop(shared))
        for image, verdict in verdicts.items():
            name, expected = filled[image]
            with suite.case(f"{name}: ntfs3"):
                check_verdict(verdict, expected)
    suite.finish()


if __name__ == "__main__":
    sys.exit(main())
