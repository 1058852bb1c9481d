#!/usr/bin/python3
"""What Windows keeps on a volume for itself, and no work on files may change.

  $Quota            all of it: its indexes have an entry for every owner
  $RmMetadata       all below it: $Repair, and the logs of transactions on files ($Tops, $TxfLog)
  $TXF_DATA         of every file that stays: where it stands in those transactions
  owner and charge  of every file that stays: the quota's fields of $STANDARD_INFORMATION

command line: left_alone.py BEFORE AFTER            prints the differences of two images
"""
import sys

from volume_check import STANDARD_INFORMATION, REFERENCE_MASK, ROOT, Volume

LOGGED_UTILITY_STREAM, TXF_DATA = 0x100, "$TXF_DATA"
OWNER, CHARGE = slice(0x30, 0x34), slice(0x38, 0x40)
WHOLE = ("$Extend/$Quota", "$Extend/$RmMetadata")
DEEPEST = 16


def path_of(volume, number):
    words = []
    while number != ROOT and len(words) < DEEPEST and volume.names.get(number):
        name = volume.names[number][0]
        words.append(name.text.decode("utf-16-le", "replace"))
        number = name.parent & REFERENCE_MASK
    return "/".join(reversed(words))


def own_of_windows(image):
    """{file: {what: bytes}}, where a file is its record and sequence number."""
    volume = Volume(image, copies=False)
    volume.read_records()
    volume.collect_names()
    found = {}
    for number, attributes in volume.bases.items():
        path = path_of(volume, number)
        is_whole = any(path == top or path.startswith(top + "/") for top in WHOLE)
        kept = {}
        for kind, name in {(a.kind, a.name) for _, a in attributes}:
            pieces = volume.pieces(number, kind, name)
            if is_whole:
                kept[f"{path}: {kind:#x} {name!r}"] = volume.content(pieces)
            elif (kind, name) == (LOGGED_UTILITY_STREAM, TXF_DATA):
                kept[name] = volume.content(pieces)
            elif kind == STANDARD_INFORMATION and len(pieces[0].value) >= CHARGE.stop:
                kept["owner"], kept["charge"] = pieces[0].value[OWNER], pieces[0].value[CHARGE]
        found[number, volume.sequences[number]] = kept
    return found


def differences(before, after):
    """One line each. Files that are gone, or new, are none: but those that Windows has whole."""
    lines = []
    for file, kept in before.items():
        there = after.get(file)
        for what, content in kept.items():
            is_whole = what.startswith(WHOLE)
            if (there is not None or is_whole) and (there or {}).get(what) != content:
                lines.append(f"file {file[0]}-{file[1]}: {what} has changed")
    return lines


def main():
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 64
    lines = differences(own_of_windows(sys.argv[1]), own_of_windows(sys.argv[2]))
    print("\n".join(lines))
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
