#!/usr/bin/python3
"""Other programs replay our log.

crash_test cuts the power of as many workloads as there are images here, chosen by the seed, and
lists the tree that our own recovery shows. Then
  ntfs3        (the kernel's, in a virtual machine) mounts each image read-write without `force`,
               which replays the log, and must show the same tree with the same contents;
  ntfsrecover  replays the log of a copy; our checker must find nothing, and ntfs-3g show the tree.
EXCEPTIONS says what a peer cannot do with which images, and why; they are counted, and all else is
demanded.

usage: crash_peers.py [WORD...]     only cases whose names contain a word
"""
import concurrent.futures
import glob
import importlib.machinery
import importlib.util
import json
import os
import shutil
import sys

import manifest
import volume
from cases import CaseFailure, CaseSkipped, Suite, expect
from peers_agree import run_vm
from volume import run

IMAGES = 200
SEED = 1
CRASH_TEST = os.path.join(volume.BUILD, "tests", "crash", "crash_test")
MOUNTS = 50  # by ntfs-3g: each takes a while
SECTORS_PER_CLUSTER = 0x0D  # in the boot sector


def collect(work):
    run(CRASH_TEST, "--collect", IMAGES, "--seed", SEED, "--save", work, timeout=300)
    images = sorted(glob.glob(os.path.join(work, "*.img")))
    expect(len(images) == IMAGES, f"{len(images)} images instead of {IMAGES}")
    return images


def expected_tree(image):
    with open(image[: -len(".img")] + ".list", encoding="ascii") as source:
        return manifest.from_lines(source.read().split("\n")[:-1])


def records_of(image):
    log = run(volume.PROGRAM, "log", "--json", image, timeout=120).stdout
    return [json.loads(line) for line in log.split("\n") if line.startswith("{")]


def changes_extension_records(image):
    """Whether the log changes a file record that belongs to another one."""
    return any(
        record.get("target")
        and record["target"].get("record", 0) >= manifest.FIRST_USER_RECORD
        and not record["target"].get("path")
        for record in records_of(image)
    )


def has_differing_sizes(image):
    """Whether the log sets a valid data length that is not the file size."""
    sizes = (
        record["redo_data"].split()
        for record in records_of(image)
        if record.get("redo") == "SetNewAttributeSizes"
    )
    return any(words[3] != words[5] for words in sizes)


def opens_attribute_of_file_with_eas(image):
    """Whether the log opens a nonresident attribute of a file that it gave extended attributes."""
    with_eas, opened = set(), set()
    for record in records_of(image):
        target = record.get("target") or {}
        if record.get("redo") == "OpenNonresidentAttribute":
            opened.add(target.get("record"))
        elif "$EA length" in record.get("redo_data", ""):
            with_eas.add(target.get("record"))
    return bool(with_eas & opened)


def sets_short_name(image):
    """Whether the log gives a file an 8.3 name beside its long one."""
    return any("type 2 in" in record.get("redo_data", "") for record in records_of(image))


def has_large_clusters(image):
    """Whether a cluster is larger than 64 KiB, which the boot sector says as a power of two."""
    with open(image, "rb") as source:
        return source.read(SECTORS_PER_CLUSTER + 1)[SECTORS_PER_CLUSTER] > 128


# (peer, which images, what they say, why)
EXCEPTIONS = (
    (
        "ntfs3",
        changes_extension_records,
        "volume is dirty",
        "it loads the file of an extension record in the middle of the replay, when other parts of "
        "the file are still old ones",
    ),
    (
        "ntfs3",
        opens_attribute_of_file_with_eas,
        "volume is dirty",
        "it reads the extended attributes of files whose attributes the log opens before it has read "
        "how large they may be, and finds them too large",
    ),
    (
        "ntfsrecover",
        has_large_clusters,
        "",
        "it takes clusters of more than 64 KiB for smaller ones, and writes at the wrong place",
    ),
    (
        "ntfs-3g",
        has_large_clusters,
        "",
        "ntfsrecover takes clusters of more than 64 KiB for smaller ones, and writes at the wrong place",
    ),
    (
        "ntfsrecover",
        has_differing_sizes,
        "the valid data length is larger than the file size",
        "it takes a file's size for its valid data length, and the other way round",
    ),
    (
        "ntfs-3g",
        has_differing_sizes,
        "size is",
        "ntfsrecover takes a file's size for its valid data length, and the other way round",
    ),
    ("ntfs-3g", sets_short_name, "nlink is 2, expected 1", "it counts a short name as a link"),
)


def excuse(peer, image, trouble):
    """Why the peer is known to have this trouble with this kind of image; or None."""
    for whose, applies, message, reason in EXCEPTIONS:
        if peer == whose and message in trouble and applies(image):
            return reason
    return None


def conclude(peer, count, failures):
    """Fails for what no exception covers; else says how many there were."""
    excused, left = {}, []
    for image, trouble in failures:
        reason = excuse(peer, image, trouble)
        if reason is None:
            left.append(f"{os.path.basename(image)}: {trouble}")
        else:
            excused[reason] = excused.get(reason, 0) + 1
    if left:
        raise CaseFailure(f"{len(left)} of {count} images\n    " + "\n    ".join(left[:10]))
    beyond = sum(excused.values())
    print(f"     {peer}: {count - beyond} of {count} images", flush=True)
    for reason, times in excused.items():
        print(f"     {peer}: {times} are beyond it: {reason}", flush=True)
    expect(beyond * 4 < count, "more than a quarter is beyond it")


def trouble_of_ntfs3(image, verdict):
    if not verdict.get("rw", {}).get("mounted"):
        return "not mounted: " + " ".join(verdict["kernel_log"][-3:])
    if verdict["kernel_log"]:
        return "the kernel says: " + " ".join(verdict["kernel_log"][:3])
    if not verdict["rw"]["unmounted"]:
        return "not unmounted"
    got = manifest.from_ntfs3(verdict, "rw")
    differences = manifest.compare(manifest.adapt(expected_tree(image), "ntfs3"), got)
    return "; ".join(differences[:3])


def load_vm_script():
    path = os.path.join(volume.ROOT, "scripts", "vm-ntfs3")
    loader = importlib.machinery.SourceFileLoader("vm_ntfs3", path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def test_kernel_log():
    """A guest that had to wait for the host's processor has not judged the image."""
    of_host = "[   14.417440] clocksource: Long readout interval, skipping watchdog check"
    of_ntfs3 = ["[   14.5] ntfs3(vda): Mark volume as dirty", "[   14.6] BUG: unable to handle"]
    verdict = {}
    load_vm_script().store(verdict, "kernel_log", "\n".join([of_host, *of_ntfs3]))
    expect(verdict["kernel_log"] == of_ntfs3, str(verdict["kernel_log"]))


def judge_by_ntfs3(images, work):
    verdicts = run_vm(images, work, "--pack", "--skip-readonly")
    troubles = [(image, trouble_of_ntfs3(image, verdicts[image])) for image in images]
    conclude("ntfs3", len(images), [pair for pair in troubles if pair[1]])


def trouble_of_ntfsrecover(image):
    """Replays the log in place."""
    replayed = run("ntfsrecover", image, check=False)
    if replayed.returncode != 0:
        return "ntfsrecover: " + replayed.stdout[-300:].replace("\n", " ")
    checked = run(volume.PROGRAM, "check", image, check=False)
    if checked.returncode != 0:
        return "after it the checker finds: " + checked.stdout[:300].replace("\n", " ")
    return ""


def judge_by_ntfsrecover(images, work):
    copies = []
    for image in images:
        copies.append(os.path.join(work, "replayed-" + os.path.basename(image)))
        run("cp", "--sparse=always", image, copies[-1])
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        troubles = list(pool.map(trouble_of_ntfsrecover, copies))
    conclude("ntfsrecover", len(images), [p for p in zip(images, troubles) if p[1]])
    return copies


def judge_by_ntfs3g(images, copies):
    step = max(len(images) // MOUNTS, 1)
    failures = []
    for image, copy in list(zip(images, copies))[::step]:
        got = manifest.from_ntfs3g(copy)
        differences = manifest.compare(manifest.adapt(expected_tree(image), "ntfs-3g"), got)
        if differences:
            failures.append((image, "; ".join(differences[:3])))
    conclude("ntfs-3g", len(images[::step]), failures)


def main():
    suite = Suite("crash_peers")
    print(f"seed {SEED}", flush=True)
    if suite.wants("kernel log"):
        with suite.case("kernel log: a busy host is no verdict"):
            test_kernel_log()
    if not os.access(CRASH_TEST, os.X_OK):
        suite.skip("all", f"{CRASH_TEST} is not built")
        suite.finish()
    with volume.work_directory("crash-peers") as work:
        images, copies = [], []
        with suite.case("crash images"):
            images = collect(work)
        if images and suite.wants("ntfs3"):
            with suite.case("ntfs3 replays and shows the same"):
                judge_by_ntfs3(images, work)
        if images and suite.wants("ntfsrecover"):
            with suite.case("ntfsrecover replays, the checker finds nothing"):
                if shutil.which("ntfsrecover") is None:
                    raise CaseSkipped("ntfsrecover is not installed")
                copies = judge_by_ntfsrecover(images, work)
        if copies:
            with suite.case("ntfs-3g shows the same after ntfsrecover"):
                judge_by_ntfs3g(images, copies)
    suite.finish()


if __name__ == "__main__":
    sys.exit(main())
