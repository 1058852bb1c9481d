#!/usr/bin/python3
"""Checks that a volume image is consistent, with a parser that shares nothing with the program.

  clusters     none claimed twice, none leaked, none used but free in $Bitmap
  records      $MFT's bitmap agrees with the records' own flags; $MFTMirr agrees with $MFT;
  extension
               records and attribute lists name each other; no record without a name
  streams      mapping pairs decode, pieces follow each other, valid data <= size <= allocated
  directories  names in order, every index block reachable once and marked in the index's bitmap,
               every $FILE_NAME has its entry and every entry its $FILE_NAME, link counts, copied
               sizes and times (of files with one name), parents
  volume       not dirty, the last sector is a copy of the boot sector

command line: volume_check.py IMAGE [--runs PATH]     one line a finding; exit code 1 when there is
any
"""
import collections
import mmap
import struct
import sys

IN_USE, IS_DIRECTORY = 1, 2
STANDARD_INFORMATION, ATTRIBUTE_LIST, FILE_NAME, VOLUME_INFORMATION = 0x10, 0x20, 0x30, 0x70
DATA, INDEX_ROOT, INDEX_ALLOCATION, BITMAP = 0x80, 0x90, 0xA0, 0xB0
COMPRESSED, SPARSE = 0x0001, 0x8000
REFERENCE_MASK = (1 << 48) - 1
FIRST_USER_RECORD = 24
MFT, MFT_MIRROR, VOLUME, ROOT, BITMAP_FILE, BOOT, BAD_CLUSTERS, UPCASE = 0, 1, 3, 5, 6, 7, 8, 10
DOS_NAMESPACE = 2

Attribute = collections.namedtuple(
    "Attribute", "kind name instance resident flags value low high allocated size valid total runs"
)
Name = collections.namedtuple("Name", "parent text namespace modified allocated size flags")


class Volume:
    def __init__(self, path, copies=True):
        self.copies = (
            copies  # whether to compare what index entries repeat; Windows lets it grow old
        )
        with open(path, "rb") as image:
            self.bytes = mmap.mmap(image.fileno(), 0, access=mmap.ACCESS_READ)
        self.findings = []
        boot = self.bytes[:512]
        if boot[3:11] != b"NTFS    ":
            sys.exit(f"{path}: not NTFS")
        self.sector = struct.unpack_from("<H", boot, 0x0B)[0]
        per_cluster = boot[0x0D]
        self.cluster = self.sector * (
            per_cluster if per_cluster <= 128 else 1 << (256 - per_cluster)
        )
        self.sectors, self.mft_lcn, self.mirror_lcn = struct.unpack_from("<QQQ", boot, 0x28)
        self.clusters = self.sectors * self.sector // self.cluster
        self.record_bytes = self.size_code(boot[0x40])
        self.index_bytes = self.size_code(boot[0x44])
        self.used = bytearray(self.clusters)
        self.names = {}  # record -> [Name]
        self.bases = {}  # record -> its attributes, extension records included
        self.sequences = {}
        self.flags = {}
        self.links = {}

    def size_code(self, code):
        return code * self.cluster if code < 0x80 else 1 << (256 - code)

    def finding(self, *words):
        if len(self.findings) < 1000:
            self.findings.append(" ".join(str(word) for word in words))

    def fixed_up(self, raw, magic, what):
        """The block without its update sequence array; None when it is torn or not of this kind."""
        if raw[:4] != magic:
            self.finding(what, "has no", magic.decode(), "signature:", raw[:4])
            return None
        block = bytearray(raw)
        offset, count = struct.unpack_from("<HH", raw, 4)
        if offset + 2 * count > len(raw) or (count - 1) * 512 != len(raw):
            self.finding(what, "update sequence array:", offset, count)
            return None
        for i in range(1, count):
            end = i * 512 - 2
            if raw[end : end + 2] != raw[offset : offset + 2]:
                self.finding(what, "is torn at sector", i - 1)
                return None
            block[end : end + 2] = raw[offset + 2 * i : offset + 2 * i + 2]
        return bytes(block)

    def decode_runs(self, pairs, low, what):
        """[(vcn, lcn or None, length)]"""
        runs, at, lcn, vcn = [], 0, 0, low
        while at < len(pairs) and pairs[at]:
            length_size, lcn_size = pairs[at] & 15, pairs[at] >> 4
            length = int.from_bytes(pairs[at + 1 : at + 1 + length_size], "little", signed=True)
            step = int.from_bytes(
                pairs[at + 1 + length_size : at + 1 + length_size + lcn_size], "little", signed=True
            )
            at += 1 + length_size + lcn_size
            if length <= 0:
                self.finding(what, "has a run of length", length)
                return runs
            lcn += step
            if lcn_size and not 0 <= lcn <= self.clusters - length:
                self.finding(what, "has a run outside the volume:", lcn, length)
                return runs
            runs.append((vcn, lcn if lcn_size else None, length))
            vcn += length
        if at >= len(pairs):
            self.finding(what, "mapping pairs have no end")
        return runs

    def attributes_of(self, record, number):
        (at,) = struct.unpack_from("<H", record, 0x14)
        (bytes_in_use,) = struct.unpack_from("<I", record, 0x18)
        found = []
        while at + 4 <= bytes_in_use:
            (kind,) = struct.unpack_from("<I", record, at)
            if kind == 0xFFFFFFFF:
                if (at + 8) != bytes_in_use:
                    self.finding(
                        f"record {number}: {bytes_in_use} bytes in use, the end is at {at + 8}"
                    )
                return found
            (length,) = struct.unpack_from("<I", record, at + 4)
            if length < 24 or length % 8 or at + length > bytes_in_use:
                self.finding(f"record {number}: attribute {kind:#x} has length {length}")
                return found
            found.append(self.attribute(record[at : at + length], kind, number))
            at += length
        self.finding(f"record {number}: attributes have no end")
        return found

    def attribute(self, raw, kind, number):
        nonresident, name_length, name_offset, flags, instance = struct.unpack_from(
            "<BBHHH", raw, 8
        )
        name = raw[name_offset : name_offset + 2 * name_length].decode("utf-16-le", "replace")
        what = f"record {number}: attribute {kind:#x} {name!r}"
        if not nonresident:
            length, offset = struct.unpack_from("<IH", raw, 0x10)
            if offset + length > len(raw):
                self.finding(what, "value leaves the attribute")
            return Attribute(
                kind,
                name,
                instance,
                True,
                flags,
                raw[offset : offset + length],
                0,
                0,
                0,
                length,
                length,
                0,
                [],
            )
        low, high, pairs = struct.unpack_from("<QqH", raw, 0x10)
        allocated, size, valid = struct.unpack_from("<QQQ", raw, 0x28) if low == 0 else (0, 0, 0)
        total = (
            struct.unpack_from("<Q", raw, 0x40)[0]
            if low == 0 and pairs >= 0x48 and (flags & (COMPRESSED | SPARSE))
            else allocated
        )
        runs = self.decode_runs(raw[pairs:], low, what)
        if sum(run[2] for run in runs) != high + 1 - low:
            self.finding(what, f"maps {sum(run[2] for run in runs)} clusters, names {low}..{high}")
        return Attribute(
            kind, name, instance, False, flags, b"", low, high, allocated, size, valid, total, runs
        )

    def content(self, pieces):
        """All bytes of a stream, given its attributes in vcn order."""
        if pieces[0].resident:
            return pieces[0].value
        parts = []
        for piece in pieces:
            for _, lcn, length in piece.runs:
                parts.append(
                    bytes(length * self.cluster)
                    if lcn is None
                    else self.bytes[lcn * self.cluster : (lcn + length) * self.cluster]
                )
        content = b"".join(parts)[: pieces[0].size]
        valid = pieces[0].valid
        return content[:valid] + bytes(max(0, len(content) - valid))

    # records ------------------------------------------------------------------------------------

    def read_records(self):
        position = self.mft_lcn * self.cluster
        first = self.fixed_up(
            self.bytes[position : position + self.record_bytes], b"FILE", "record 0"
        )
        if first is None:
            return
        mine = self.attributes_of(first, MFT)
        pieces = [a for a in mine if a.kind == DATA]
        mft = self.whole_mft(pieces, mine)
        count = len(mft) // self.record_bytes
        extensions = collections.defaultdict(list)
        for number in range(count):
            raw = mft[number * self.record_bytes : (number + 1) * self.record_bytes]
            if raw[:4] != b"FILE":
                if any(raw):
                    self.finding(f"record {number} is neither FILE nor zero: {raw[:4]}")
                continue
            (flags,) = struct.unpack_from("<H", raw, 0x16)
            self.sequences[number], self.flags[number] = (
                struct.unpack_from("<H", raw, 0x10)[0],
                flags,
            )
            if not flags & IN_USE:
                continue
            record = self.fixed_up(raw, b"FILE", f"record {number}")
            if record is None:
                continue
            (base,) = struct.unpack_from("<Q", record, 0x20)
            (self.links[number],) = struct.unpack_from("<H", record, 0x12)
            attributes = self.attributes_of(record, number)
            if base:
                extensions[base & REFERENCE_MASK].append((number, base >> 48, attributes))
            else:
                self.bases[number] = [(number, a) for a in attributes]
        self.join_extensions(extensions)
        self.check_record_bitmap(mft)
        self.check_mirror(mft)

    def whole_mft(self, pieces, attributes):
        """$MFT's own data may continue in extension records, which its list names."""
        lists = [a for a in attributes if a.kind == ATTRIBUTE_LIST]
        if lists:
            known = self.content(sorted(pieces, key=lambda a: a.low))
            for kind, low, reference, _ in self.list_entries(self.content(lists)):
                number = reference & REFERENCE_MASK
                if kind == DATA and low > 0 and number != MFT:
                    raw = known[number * self.record_bytes : (number + 1) * self.record_bytes]
                    record = self.fixed_up(raw, b"FILE", f"record {number}")
                    pieces += [a for a in self.attributes_of(record, number) if a.kind == DATA]
                    pieces.sort(key=lambda a: a.low)
                    known = self.content(pieces)
        return self.content(sorted(pieces, key=lambda a: a.low))

    def list_entries(self, content):
        at, entries = 0, []
        while at + 26 <= len(content):
            kind, length, low, reference, instance = struct.unpack_from("<IHxxQQH", content, at)
            if length < 26 or at + length > len(content):
                self.finding("an attribute list entry has length", length)
                break
            entries.append((kind, low, reference, instance))
            at += length
        return entries

    def join_extensions(self, extensions):
        for base, parts in extensions.items():
            if base not in self.bases:
                self.finding(
                    "extension records", [p[0] for p in parts], "of record", base, "which is free"
                )
                continue
            for number, sequence, attributes in parts:
                if sequence != self.sequences[base]:
                    self.finding(
                        f"extension record {number} names record {base} with sequence {sequence}"
                    )
                self.bases[base] += [(number, a) for a in attributes]
        for base, attributes in self.bases.items():
            lists = [a for _, a in attributes if a.kind == ATTRIBUTE_LIST]
            if not lists:
                if base in extensions:
                    self.finding(f"record {base} has extension records and no attribute list")
                continue
            listed = sorted(
                (kind, low, reference & REFERENCE_MASK, instance)
                for kind, low, reference, instance in self.list_entries(self.content(lists))
            )
            present = sorted(
                (a.kind, a.low, number, a.instance)
                for number, a in attributes
                if a.kind != ATTRIBUTE_LIST
            )
            if listed != present:
                odd = set(listed) ^ set(present)
                self.finding(f"record {base}: its attribute list differs in", sorted(odd)[:5])

    def check_record_bitmap(self, mft):
        pieces = self.pieces(MFT, BITMAP, "")
        bits = self.content(pieces)
        for number in range(len(mft) // self.record_bytes):
            marked = number // 8 < len(bits) and bool(bits[number // 8] >> number % 8 & 1)
            in_use = bool(self.flags.get(number, 0) & IN_USE)
            if marked != in_use and not (number < FIRST_USER_RECORD and marked):
                self.finding(
                    f"record {number} is {'in use' if in_use else 'free'}, not so in $MFT's bitmap"
                )

    def check_mirror(self, mft):
        mirror = self.content(self.pieces(MFT_MIRROR, DATA, ""))
        # Where there is room for more, Windows copies the records of system files only.
        records = min(FIRST_USER_RECORD, max(4, self.cluster // self.record_bytes))
        length = min(len(mirror), records * self.record_bytes)
        if mirror[:length] != mft[:length]:
            numbers = [
                i
                for i in range(length // self.record_bytes)
                if mirror[i * self.record_bytes : (i + 1) * self.record_bytes]
                != mft[i * self.record_bytes : (i + 1) * self.record_bytes]
            ]
            self.finding("$MFTMirr differs from $MFT in records", numbers)

    def pieces(self, number, kind, name):
        found = [a for _, a in self.bases.get(number, []) if a.kind == kind and a.name == name]
        return sorted(found, key=lambda a: a.low)

    # streams ------------------------------------------------------------------------------------

    def check_streams(self):
        for number, attributes in self.bases.items():
            streams = collections.defaultdict(list)
            for _, attribute in attributes:
                if not attribute.resident:
                    streams[attribute.kind, attribute.name].append(attribute)
            for (kind, name), pieces in streams.items():
                pieces.sort(key=lambda a: a.low)
                self.check_stream(
                    f"record {number}: attribute {kind:#x} {name!r}",
                    pieces,
                    number == BAD_CLUSTERS and name == "$Bad",
                )

    def check_stream(self, what, pieces, is_bad_list):
        head, vcn, claimed = pieces[0], 0, 0
        for piece in pieces:
            if piece.low != vcn:
                self.finding(what, f"piece starts at vcn {piece.low}, not at {vcn}")
            vcn = piece.high + 1
            for _, lcn, length in piece.runs:
                if lcn is None:
                    if not head.flags & (SPARSE | COMPRESSED) and not is_bad_list:
                        self.finding(what, "has a hole but is not sparse")
                    continue
                claimed += length
                self.claim(what, lcn, length)
        if not head.valid <= head.size <= head.allocated:
            self.finding(what, f"valid {head.valid}, size {head.size}, allocated {head.allocated}")
        if head.allocated != vcn * self.cluster and not is_bad_list:
            self.finding(what, f"allocated {head.allocated} but maps {vcn} clusters")
        if (
            head.flags & (SPARSE | COMPRESSED)
            and head.total != claimed * self.cluster
            and not is_bad_list
        ):
            self.finding(what, f"total allocated {head.total}, owns {claimed} clusters")

    def claim(self, what, lcn, length):
        if any(self.used[lcn : lcn + length]):
            self.finding(what, f"claims clusters that another stream owns, in {lcn}+{length}")
        self.used[lcn : lcn + length] = b"\1" * length

    def check_cluster_bitmap(self):
        bits = self.content(self.pieces(BITMAP_FILE, DATA, ""))
        marked = bytearray()
        table = [bytes(byte >> i & 1 for i in range(8)) for byte in range(256)]
        marked = b"".join(table[byte] for byte in bits)
        if len(marked) < self.clusters:
            self.finding("$Bitmap has", len(marked), "bits for", self.clusters, "clusters")
        if marked[: self.clusters] != self.used:
            leaked = [i for i in range(self.clusters) if marked[i] and not self.used[i]]
            lost = [i for i in range(self.clusters) if not marked[i] and self.used[i]]
            if leaked:
                self.finding(len(leaked), "clusters leaked, the first:", leaked[:8])
            if lost:
                self.finding(len(lost), "used clusters are free in $Bitmap, the first:", lost[:8])

    # directories --------------------------------------------------------------------------------

    def parse_name(self, value):
        parent, _, modified, _, _, allocated, size, flags = struct.unpack_from("<QQQQQQQI", value)
        length, namespace = value[0x40], value[0x41]
        text = value[0x42 : 0x42 + 2 * length]
        return Name(parent, text, namespace, modified, allocated, size, flags)

    def collect_names(self):
        for number, attributes in self.bases.items():
            self.names[number] = [
                self.parse_name(a.value) for _, a in attributes if a.kind == FILE_NAME
            ]
            if number >= FIRST_USER_RECORD and not self.names[number]:
                self.finding(f"record {number} is in use and has no name")
            if number >= FIRST_USER_RECORD and self.links[number] != len(self.names[number]):
                self.finding(
                    f"record {number} has link count {self.links[number]} and "
                    f"{len(self.names[number])} names"
                )

    def entries(self, node, base, end, what):
        """[(reference, key, child vcn or None)] of one node, the end entry included."""
        at, found = base, []
        while at + 16 <= end:
            reference, length, key_length, flags = struct.unpack_from("<QHHH", node, at)
            if length < 16 or length % 8 or at + length > end or 16 + key_length > length:
                self.finding(what, "has an entry of length", length)
                return found
            child = struct.unpack_from("<Q", node, at + length - 8)[0] if flags & 1 else None
            if flags & 2:
                found.append((None, None, child))
                if at + length != end:
                    self.finding(what, "goes on behind its end entry")
                return found
            found.append((reference, node[at + 16 : at + 16 + key_length], child))
            at += length
        self.finding(what, "has no end entry")
        return found

    def walk_index(self, number):
        """All entries of a directory's index in order, each block visited once."""
        root = self.pieces(number, INDEX_ROOT, "$I30")
        if not root:
            self.finding(f"directory {number} has no index root")
            return []
        value = root[0].value
        (block_bytes,) = struct.unpack_from("<I", value, 8)
        first, end = struct.unpack_from("<II", value, 0x10)
        allocation = self.pieces(number, INDEX_ALLOCATION, "$I30")
        blocks = self.content(allocation) if allocation else b""
        bitmap = self.pieces(number, BITMAP, "$I30")
        bits = self.content(bitmap) if bitmap else b""
        unit = self.cluster if self.cluster <= block_bytes else 512
        visited, ordered = set(), []
        stack = [iter(self.entries(value, 0x10 + first, 0x10 + end, f"directory {number} root"))]
        pending = []
        while stack:
            entry = next(stack[-1], None)
            if entry is None:
                stack.pop()
                if pending:
                    closing = pending.pop()
                    if closing[0] is not None:
                        ordered.append(closing)
                continue
            if entry[2] is None:
                if entry[0] is not None:
                    ordered.append(entry)
                continue
            node = self.index_block(number, blocks, bits, entry[2] * unit, block_bytes, visited)
            if node is None:
                if entry[0] is not None:
                    ordered.append(entry)
                continue
            pending.append(entry)
            stack.append(iter(node))
        marked = {i for i in range(len(bits) * 8) if bits[i // 8] >> i % 8 & 1}
        if marked != visited:
            self.finding(
                f"directory {number}: index blocks marked but unreachable, or the other way:",
                sorted(marked ^ visited)[:8],
            )
        return ordered

    def index_block(self, number, blocks, bits, position, block_bytes, visited):
        what = f"directory {number} index block at {position}"
        index = position // block_bytes
        if index in visited or position % block_bytes or position + block_bytes > len(blocks):
            self.finding(what, "is reached twice or outside the index")
            return None
        visited.add(index)
        node = self.fixed_up(blocks[position : position + block_bytes], b"INDX", what)
        if node is None:
            return None
        (vcn,) = struct.unpack_from("<Q", node, 0x10)
        if vcn * (self.cluster if self.cluster <= block_bytes else 512) != position:
            self.finding(what, "says it is vcn", vcn)
        first, end = struct.unpack_from("<II", node, 0x18)
        return self.entries(node, 0x18 + first, 0x18 + end, what)

    def check_directories(self):
        table = self.content(self.pieces(UPCASE, DATA, ""))
        upcase = struct.unpack(f"<{len(table) // 2}H", table)
        missing = {
            (number, name.parent, name.text): name
            for number, names in self.names.items()
            for name in names
        }
        for number in sorted(self.bases):
            if not self.flags[number] & IS_DIRECTORY or not self.pieces(number, INDEX_ROOT, "$I30"):
                continue
            me = self.sequences[number] << 48 | number
            last = None
            for reference, key, _ in self.walk_index(number):
                name = self.parse_name(key)
                target = reference & REFERENCE_MASK
                own = missing.pop((target, name.parent, name.text), None)
                shown = f"directory {number}: entry {name.text.decode('utf-16-le', 'replace')!r}"
                if own is None:
                    self.finding(shown, "leads to record", target, "which has no such name")
                elif self.sequences.get(target) != reference >> 48 or name.parent != me:
                    self.finding(shown, "has a wrong sequence number or parent")
                else:
                    self.check_copies(shown, target, name)
                units = struct.unpack(f"<{len(name.text) // 2}H", name.text)
                order = tuple(upcase[unit] for unit in units), units
                if last is not None and last >= order:
                    self.finding(shown, "is out of order")
                last = order
        for number, _, text in missing:
            self.finding(
                f"record {number}: name {text.decode('utf-16-le', 'replace')!r} is in no directory"
            )

    def check_copies(self, shown, target, name):
        """What the entry repeats of the file; with several names Windows lets copies grow old."""
        if not self.copies or target < FIRST_USER_RECORD or len(self.names[target]) != 1:
            return
        information = self.pieces(target, STANDARD_INFORMATION, "")[0].value
        (modified,) = struct.unpack_from("<Q", information, 8)
        if bool(self.flags[target] & IS_DIRECTORY) != bool(name.flags & 0x10000000):
            self.finding(shown, "and its record differ in being a directory")
        if modified != name.modified:
            self.finding(shown, f"modification time {name.modified}, the file's is {modified}")
        data = self.pieces(target, DATA, "")
        if self.flags[target] & IS_DIRECTORY or not data:
            return
        if name.size != data[0].size:
            self.finding(shown, f"size {name.size}, the file's is {data[0].size}")
        owned = data[0].total if not data[0].resident else (data[0].size + 7) // 8 * 8
        if name.allocated not in (owned, data[0].allocated):
            self.finding(shown, f"allocated size {name.allocated}, the file's is {owned}")

    def check_volume(self):
        information = self.pieces(VOLUME, VOLUME_INFORMATION, "")
        (flags,) = struct.unpack_from("<H", information[0].value, 10)
        if flags & 1:
            self.finding("the volume is marked dirty")
        end = self.sectors * self.sector
        if self.bytes[end : end + 512] not in (self.bytes[:512], b""):
            self.finding("the sector behind the volume is no copy of the boot sector")

    def check(self):
        self.read_records()
        self.check_streams()
        self.check_cluster_bitmap()
        self.collect_names()
        self.check_directories()
        self.check_volume()
        return self.findings

    def runs_of(self, path):
        """Number of runs with clusters of the file's data."""
        current = ROOT
        for part in path.strip("/").split("/"):
            wanted = part.encode("utf-16-le")
            for reference, key, _ in self.walk_index(current):
                if self.parse_name(key).text == wanted:
                    current = reference & REFERENCE_MASK
                    break
            else:
                sys.exit(f"{path}: not found")
        return sum(
            run[1] is not None for piece in self.pieces(current, DATA, "") for run in piece.runs
        )


def check_image(path, copies=True):
    return Volume(path, copies).check()


def main():
    if len(sys.argv) not in (2, 4):
        print(__doc__, file=sys.stderr)
        return 64
    volume = Volume(sys.argv[1])
    findings = volume.check()
    for finding in findings:
        print(finding)
    if len(sys.argv) == 4:
        print(volume.runs_of(sys.argv[3]), "runs")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
