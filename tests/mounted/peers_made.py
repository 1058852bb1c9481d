#!/usr/bin/python3
"""Volumes that others made read the same through ntfs-wal, and what it changes on them, they read.

Made here by mkntfs and ntfs-3g, and by the kernel's ntfs3 in a virtual machine; and the collected
images: Windows' own volumes, volumes whose log is dirty, damaged volumes (these may be refused;
nothing may crash, hang or make them worse). Of Windows' volumes all is compared that readers tell:
contents, named streams, attributes (details.py); before and after random changes of a copy.

usage: peers_made.py [WORD...]     only cases whose names contain a word
"""
import json
import os
import shutil
import sys

import datasets
import details
import left_alone
import manifest
import volume
from cases import Suite, expect, expect_no_differences
from peers_agree import PEERS, check_volume, run_vm
from random_changes import RandomChanges
from volume import GIB, MIB, Ntfs3g, mounted, run
from volume_check import check_image

NTFS3G_SETS = {
    "names and links": (datasets.names, datasets.links, datasets.special_files),
    "shapes": (datasets.shapes, datasets.timestamps),
    "holes": (datasets.random_order,),
    "includes": (datasets.copy_of_includes,),
}
NTFS3_CHANGES = r"""
mkdir copied && cp -a /payload/. copied/ || exit 1
for i in $(seq 300); do echo "content $i" > "entry number $i"; done
for i in $(seq 1 3 300); do rm "entry number $i"; done
mkdir deep; p=deep; for i in $(seq 20); do p=$p/level$i; mkdir $p; done; echo bottom > $p/file
dd if=/dev/zero of=sparse bs=1 count=1 seek=50000000 2> /dev/null
dd if=/dev/urandom of=random bs=64k count=40 2> /dev/null
ln random hardlink
for n in 'a:b' 'q?' 'end.' 'CON' 'readme' 'README'; do echo "$n" > "$n" || exit 2; done
mv deep moved && truncate -s 100000 random
"""
WINDOWS_IMAGES = ("ms_lastaccess", "ms_2m", "vel_charlie", "plaso_vss", "cf_testfs1", "grr")
CANNOT_READ = {
    ("ms_2m", "sleuthkit"): "it knows no clusters of 2 MiB",
    ("cf_testfs1", "libfsntfs"): "it finds only what is in index roots with clusters of 512 bytes",
}
RANDOM_CHANGES = 300
DIRTY_IMAGES = (
    "js_tiny",
    "rewind/grr.back12.undo10",
    "rewind/grr.back4.undo4",
    "rewind/ms_lastaccess.back6.undo5",
)
DAMAGED_IMAGES = (
    "data_size_init_size_bigger_than_alloc_size_DATA_attr",
    "incompleted_multi_sector_transfer_after",
    "ir_missing_in_parent_orphaned_file",
    "mismatch_index_filename",
    "orphan_mft_entries",
    "root_attribute_missing_in_directory",
)


def make_by_ntfs3g(fillers, image):
    peer = Ntfs3g()
    peer.format(image, GIB)
    with mounted(peer, image) as directory:
        for filler in fillers:
            filler(directory)


def make_by_ntfs3(image, work):
    volume.make_sparse(image, 256 * MIB)
    run("mkntfs", "-q", "-F", "-Q", image)
    payload, script = os.path.join(work, "payload.tar"), os.path.join(work, "changes.sh")
    run("tar", "-cf", payload, "-C", "/usr/include", "linux", "asm-generic")
    with open(script, "w", encoding="ascii") as out:
        out.write(NTFS3_CHANGES)
    verdict = run_vm(
        [image], work, "--changes", script, "--payload", payload, "--write", "--skip-readonly"
    )[image]
    expect(
        verdict.get("changes", {}).get("exit") == 0,
        f"the script in the virtual machine: {verdict.get('changes')}",
    )
    return manifest.from_lines(verdict["changed"]["list"])


def read_by_us(driver, image, errors=None):
    with mounted(driver, image, "ro") as directory:
        return manifest.from_directory(directory, errors)


def comparable(entries):
    """What both sides show of files that neither stores as plain ones."""
    return {
        path: entry
        for path, entry in entries.items()
        if entry.type in "fd" and not path.startswith(("System Volume Information", "$RECYCLE.BIN"))
    }


def change(directory):
    """Some of every kind of change, on whatever is there."""
    place = os.path.join(directory, "changed by ntfs-wal")
    os.mkdir(place)
    free = os.statvfs(directory)
    roomy = free.f_bfree * free.f_frsize > 16 * MIB
    if roomy:
        datasets.shapes(place)
    for number in range(500 if roomy else 20):
        with open(os.path.join(place, f"file {number}"), "xb") as out:
            out.write(b"%d" % number * number)
    for number in range(0, 500 if roomy else 20, 2):
        os.unlink(os.path.join(place, f"file {number}"))
    files = sorted(
        entry.path for entry in os.scandir(directory) if entry.is_file(follow_symlinks=False)
    )
    for number, path in enumerate(files[:40]):
        if number % 4 == 0:
            os.rename(path, path + " renamed")
        elif number % 4 == 1:
            os.unlink(path)
        elif number % 4 == 2:
            with open(path, "ab") as out:
                out.write(b"appended by ntfs-wal" * 500)
        else:
            os.truncate(path, os.path.getsize(path) // 2)
            os.link(path, os.path.join(place, f"link {number}"))


def change_a_copy(driver, image, copy, strict):
    """The manifest after changes through us; the peers that read every volume must see the same."""
    run("cp", "--sparse=always", image, copy)
    with mounted(driver, copy) as directory:
        change(directory)
        expected = manifest.from_directory(directory, [])
    if strict:
        check_volume(copy, copies=False)
    else:
        run("ntfsfix", "-n", copy)
        before, after = set(check_image(image, copies=False)), set(check_image(copy, copies=False))
        expect_no_differences(sorted(after - before), "volume_check, new findings")
    got = manifest.from_ntfs3g(copy, [])
    expect_no_differences(
        manifest.compare(comparable(manifest.adapt(expected, "ntfs-3g")), comparable(got)),
        "ntfs-3g",
    )
    return expected


def files_and_directories(entries):
    return {path: entry for path, entry in entries.items() if entry.type in "fd"}


def details_by(reader, image):
    if reader == "ntfs-3g":
        return details.from_mount(Ntfs3g(), image)
    return details.READERS[reader](image)


def compare_readers(driver, name, image):
    """All that we say of the volume, every reader says that can tell it. Returns our manifest."""
    with mounted(driver, image, "ro") as directory:
        tree = manifest.from_directory(directory)
    told = details.from_mount(driver, image)
    for path, what in told:
        if what == details.SHORT_NAME and path in tree and tree[path].nlink not in (None, 1):
            told[path, what] = None
    for reader in PEERS:
        if (name, reader) in CANNOT_READ:
            print(f"     {reader} does not read it: {CANNOT_READ[name, reader]}", flush=True)
            continue
        mine = files_and_directories(manifest.adapt(tree, reader))
        theirs = files_and_directories(manifest.READERS[reader](image))
        # ntfs-3g counts the DOS name of a file as a link of its own.
        differences = manifest.compare(theirs, mine, ignore=("nlink",))
        expect_no_differences(differences, f"against {reader}")
        differences, unsaid = details.compare(
            details.adapt(told, reader), details_by(reader, image)
        )
        expect_no_differences(differences, f"details against {reader}")
        shown = ", ".join(f"{kind.removeprefix('system.')} {n}" for kind, n in unsaid.items())
        print(f"     {reader}: {len(mine)} entries; one side cannot tell: {shown}", flush=True)
    return tree


def check_findings(image):
    report = run(volume.PROGRAM, "check", image, "--json", check=False).stdout
    return {(error["structure"], error["message"]) for error in json.loads(report)["errors"]}


def change_randomly(driver, name, image, copy):
    """As change_a_copy, with random changes, and with all readers as judges."""
    run("cp", "--sparse=always", image, copy)
    seed = int(os.environ.get("NTFS_WAL_SEED") or 1)
    with mounted(driver, copy, details.STREAMS_AS_XATTR) as directory:
        changes = RandomChanges(directory, f"{name} {seed}")
        changes.run(RANDOM_CHANGES)
        changes.expect_contents()
        live = manifest.from_directory(directory)
    print(f"     seed {seed}: {changes.done} changes, {changes.refused} refused", flush=True)
    run("ntfsfix", "-n", copy)
    for judge in (check_findings, lambda path: set(check_image(path, copies=False))):
        expect_no_differences(sorted(map(str, judge(copy) - judge(image))), "new findings")
    own = left_alone.own_of_windows(image)
    found = [what for kept in own.values() for what in kept if what.startswith(left_alone.WHOLE)]
    expect(found, "nothing of $Quota was found, so nothing of it can be compared")
    expect_no_differences(
        left_alone.differences(own, left_alone.own_of_windows(copy)), "what is Windows' own"
    )
    expect_no_differences(manifest.compare(live, compare_readers(driver, name, copy)), "a remount")
    return live


def peers_made(suite, driver, work):
    changed = {}
    for name, fillers in NTFS3G_SETS.items():
        if not suite.wants(f"ntfs-3g: {name}"):
            continue
        image = os.path.join(work, f"{name}.img".replace(" ", "-"))
        with suite.case(f"ntfs-3g: {name}: reads the same"):
            make_by_ntfs3g(fillers, image)
            reference = manifest.from_ntfs3g(image)
            expect_no_differences(
                manifest.compare(
                    manifest.adapt(reference, "ntfs-3g"),
                    read_by_us(driver, image),
                    ignore=("mtime",) if name == "shapes" else (),
                ),
                "ntfs-wal",
            )
        with suite.case(f"ntfs-3g: {name}: changed copy"):
            copy = image + ".changed.img"
            changed[copy] = change_a_copy(driver, image, copy, strict=True)
            os.unlink(image)
    if suite.wants("ntfs3: "):
        image = os.path.join(work, "ntfs3.img")
        with suite.case("ntfs3: reads the same"):
            reference = make_by_ntfs3(image, work)
            expect_no_differences(
                manifest.compare(reference, read_by_us(driver, image)), "ntfs-wal"
            )
        with suite.case("ntfs3: changed copy"):
            copy = image + ".changed.img"
            changed[copy] = change_a_copy(driver, image, copy, strict=True)
    return changed


def windows_made(suite, driver, work):
    changed = {}
    for name in WINDOWS_IMAGES:
        if not suite.wants(f"Windows: {name}"):
            continue
        image = None
        with suite.case(f"Windows: {name}: reads the same"):
            image = volume.unpack_image(name, work)
            errors, their_errors = [], []
            mine = comparable(read_by_us(driver, image, errors))
            theirs = comparable(manifest.from_ntfs3g(image, their_errors))
            for trouble in errors:
                print(f"     not read: {trouble}", flush=True)
            refused = {trouble.split(": ")[0] for trouble in errors + their_errors}
            theirs = {path: entry for path, entry in theirs.items() if path not in refused}
            # ntfs-3g counts the DOS name of a file as a link of its own.
            differences = manifest.compare(theirs, mine, ignore=("nlink",))
            expect_no_differences(differences, "ntfs-wal")
        if image is None:
            continue
        with suite.case(f"Windows: {name}: changed copy"):
            copy = os.path.join(work, f"{name}.changed.img")
            changed[copy] = change_a_copy(driver, image, copy, strict=False)
        if driver.name != "ntfs-wal":
            continue
        with suite.case(f"Windows: {name}: all that readers tell"):
            compare_readers(driver, name, image)
        with suite.case(f"Windows: {name}: randomly changed copy"):
            copy = os.path.join(work, f"{name}.random.img")
            changed[copy] = change_randomly(driver, name, image, copy)
    return changed


def dirty(suite, driver, work):
    """A mount replays Windows' log to what ntfsrecover makes of it, and leaves a clean volume."""
    for name in DIRTY_IMAGES:
        if not suite.wants(f"dirty: {name}"):
            continue
        with suite.case(f"dirty: {name}: a mount recovers it as ntfsrecover does"):
            image = volume.unpack_image(name, work)
            reference = image + ".reference"
            run("cp", "--sparse=always", image, reference)
            run("ntfsrecover", reference)
            with mounted(driver, image) as directory:
                recovered = comparable(manifest.from_directory(directory))
            expect_no_differences(
                manifest.compare(comparable(manifest.from_ntfs3g(reference)), recovered), "ntfs-wal"
            )
            run(volume.PROGRAM, "check", image)
            found, accepted = (set(check_image(path, copies=False)) for path in (image, reference))
            expect_no_differences(sorted(found - accepted), "volume_check, new findings")
            os.unlink(image)
            os.unlink(reference)


def damaged_images(suite, driver, work):
    """Refusals are fine, with a message; a signal, a hang or a change of the image is not."""
    for name in DAMAGED_IMAGES:
        if suite.wants(f"damaged: {name}"):
            with suite.case(f"damaged: {name}: no crash"):
                image = volume.unpack_image("corrupt/" + name, work)
                damaged(driver, image, work)
                os.unlink(image)


def work_mount(work):
    path = os.path.join(work, "mount")
    os.makedirs(path, exist_ok=True)
    return path


def damaged(driver, image, work):
    directory = work_mount(work)
    for options in (("-o", "ro"), ()):
        tried = run(volume.PROGRAM, "mount", image, directory, *options, check=False, timeout=60)
        expect(tried.returncode >= 0, f"mount ended by signal {-tried.returncode}")
        if tried.returncode != 0:
            expect(tried.stderr, "refused without a message")
            continue
        try:
            troubles = []
            found = manifest.from_directory(directory, troubles)
            print(f"     {len(found)} entries read, {len(troubles)} not", flush=True)
            if not options:
                try_changes(directory)
            expect(
                volume.is_mounted(directory) and os.listdir(directory) is not None,
                "the daemon is gone",
            )
            driver.unmount(directory)
        finally:
            volume.force_unmount(directory)
    for command in ("info", "ls", "log"):
        words = [image, "/"] if command == "ls" else [image]
        done = run(volume.PROGRAM, command, *words, check=False, timeout=60)
        expect(0 <= done.returncode < 128, f"{command} crashed: {done.returncode}")


def try_changes(directory):
    for number in range(50):
        try:
            with open(os.path.join(directory, f"new {number}"), "xb") as out:
                out.write(b"n" * 1000 * number)
            if number % 2:
                os.unlink(os.path.join(directory, f"new {number}"))
        except OSError:
            pass  # a damaged volume may refuse


def main():
    suite = Suite("peers_made")
    driver = volume.subject_of(suite)
    with volume.work_directory("made") as work:
        changed = peers_made(suite, driver, work)
        if driver.is_ntfs:
            changed.update(windows_made(suite, driver, work))
        if driver.name == "ntfs-wal":
            dirty(suite, driver, work)
            damaged_images(suite, driver, work)
        verdicts = {}
        if changed and shutil.which("qemu-system-x86_64"):
            with suite.case("ntfs3 judges what was changed: virtual machine"):
                verdicts = run_vm(list(changed), work)
        for image, verdict in verdicts.items():
            with suite.case(f"ntfs3 reads {os.path.basename(image)}"):
                judged = dict(verdict, kernel_log=[])
                got = {step: comparable(manifest.from_ntfs3(judged, step)) for step in ("ro", "rw")}
                wanted = comparable(changed[image])
                for step, entries in got.items():
                    special = {
                        path for path, entry in changed[image].items() if entry.type not in "fd"
                    }
                    entries = {
                        path: entry for path, entry in entries.items() if path not in special
                    }
                    expect_no_differences(
                        manifest.compare(wanted, entries, ignore=("mtime",)), f"ntfs3 {step}"
                    )
    suite.finish()


if __name__ == "__main__":
    sys.exit(main())
