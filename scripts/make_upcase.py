#!/usr/bin/env python3
"""Makes the ranges of core/store/upcase_table.cc: the $UpCase table that Windows Vista and later
write into new volumes.

usage: make_upcase.py            prints the ranges as C++
       make_upcase.py --compare FILE
                                 compares with a $UpCase of 128 KiB; exit 1 when they differ

The rule, found by comparison with volumes that Windows made: a code unit has as its upper case the
simple upper case mapping of Unicode 5.1 (where there is none but a title case of one unit, that), if
the mapping leads back by the simple lower case. So MICRO SIGN or LONG S stay as they are: two names
that differ in them differ.
"""

import sys
import unicodedata

# Upper case letters (first, last) that Unicode got after version 5.1.
LATER = [
    (0x037F, 0x037F), (0x0524, 0x052F), (0x10C7, 0x10C7), (0x10CD, 0x10CD), (0x13A0, 0x13F5),
    (0x1C80, 0x1CBF), (0x2C2F, 0x2C2F), (0x2C70, 0x2C70), (0x2C7E, 0x2C7F), (0x2CEB, 0x2CF2),
    (0xA660, 0xA661), (0xA698, 0xA69B), (0xA78D, 0xA78D), (0xA790, 0xA7F5),
]


def upper_of(unit):
    character = chr(unit)
    if 0xD800 <= unit <= 0xDFFF:
        return unit
    for mapped in (character.upper(), character.title()):
        if len(mapped) == 1 and mapped != character:
            upper = ord(mapped)
            later = any(first <= upper <= last for first, last in LATER)
            goes_back = mapped.lower() == character
            return upper if upper < 0x10000 and goes_back and not later else unit
    return unit


def ranges_of(table):
    """(first, last, step, delta) such that table[c] = c + delta for each c of first..last by step."""
    changed = [(unit, table[unit] - unit) for unit in range(0x10000) if table[unit] != unit]
    result = []
    position = 0
    while position < len(changed):
        first, delta = changed[position]
        end = position + 1
        step = 1
        if end < len(changed) and changed[end][1] == delta and changed[end][0] - first in (1, 2):
            step = changed[end][0] - first
            while end < len(changed) and changed[end] == (changed[end - 1][0] + step, delta):
                end += 1
        result.append((first, changed[end - 1][0], step, delta))
        position = end
    return result


def main():
    assert tuple(map(int, unicodedata.unidata_version.split("."))) >= (5, 1, 0)
    table = [upper_of(unit) for unit in range(0x10000)]
    if len(sys.argv) == 3 and sys.argv[1] == "--compare":
        with open(sys.argv[2], "rb") as file:
            data = file.read()
        other = [data[i] | data[i + 1] << 8 for i in range(0, len(data), 2)]
        if len(other) != 0x10000:
            sys.exit(f"{sys.argv[2]}: {len(data)} bytes, not 131072")
        for unit in range(0x10000):
            if table[unit] != other[unit]:
                print(f"{unit:04X}: {table[unit]:04X} here, {other[unit]:04X} there")
        sys.exit(0 if table == other else 1)
    if len(sys.argv) != 1:
        sys.exit(__doc__)
    line = "   "
    for first, last, step, delta in ranges_of(table):
        item = f" {{0x{first:04X}, 0x{last:04X}, {step}, {delta}}},"
        if len(line) + len(item) > 100:
            print(line)
            line = "   "
        line += item
    print(line)


main()
