"""The records of a $LogFile, by a parser that shares nothing with the program.

It does not search for the end as replayers do: it takes every page that is whole, in its place or as
a copy (tail slots of LFS 1.1, fast pages of 2.0), and finds records by their headers, which begin
with their own position. That gives the right answer where no write was lost.
"""
import collections
import struct

from volume_check import DATA, Volume

PAGE, PAGE_DATA, HEADER = 0x1000, 0x40, 0x30
LOG_FILE = 2

OPERATIONS = (
    "Noop CompensationLogRecord InitializeFileRecordSegment DeallocateFileRecordSegment"
    " WriteEndOfFileRecordSegment CreateAttribute DeleteAttribute UpdateResidentValue"
    " UpdateNonresidentValue UpdateMappingPairs DeleteDirtyClusters SetNewAttributeSizes"
    " AddIndexEntryRoot DeleteIndexEntryRoot AddIndexEntryAllocation DeleteIndexEntryAllocation"
    " WriteEndOfIndexBuffer SetIndexEntryVcnRoot SetIndexEntryVcnAllocation UpdateFileNameRoot"
    " UpdateFileNameAllocation SetBitsInNonresidentBitMap ClearBitsInNonresidentBitMap HotFix"
    " EndTopLevelAction PrepareTransaction CommitTransaction ForgetTransaction"
    " OpenNonresidentAttribute OpenAttributeTableDump AttributeNamesDump DirtyPageTableDump"
    " TransactionTableDump UpdateRecordDataRoot UpdateRecordDataAllocation"
    " UpdateRelativeDataInIndex UpdateRelativeDataInIndex2 ZeroEndOfFileRecord"
).split()

Record = collections.namedtuple(
    "Record",
    "lsn previous_lsn undo_next_lsn transaction type data_length"
    " redo undo target redo_length undo_length vcn record_offset attribute_offset",
)


def runs_of_log(image):
    """[(byte offset in the image, byte length)] of $LogFile."""
    volume = Volume(image)
    start = volume.mft_lcn * volume.cluster + LOG_FILE * volume.record_bytes
    raw = volume.bytes[start : start + volume.record_bytes]
    record = volume.fixed_up(raw, b"FILE", "record 2")
    data = [found for found in volume.attributes_of(record, LOG_FILE) if found.kind == DATA]
    return [
        (lcn * volume.cluster, length * volume.cluster) for _vcn, lcn, length in data[0].runs
    ], data[0].size


def read_log(image):
    runs, size = runs_of_log(image)
    with open(image, "rb") as source:
        parts = []
        for offset, length in runs:
            source.seek(offset)
            parts.append(source.read(length))
    return b"".join(parts)[:size]


def write_log(image, log):
    """Puts other bytes into the place of $LogFile."""
    runs, _size = runs_of_log(image)
    with open(image, "r+b") as target:
        for offset, length in runs:
            target.seek(offset)
            target.write(log[:length])
            log = log[length:]


def whole_page(raw):
    """The page with its sector ends put back; None when it is torn or no record page."""
    array, count = struct.unpack_from("<HH", raw, 4)
    if raw[:4] != b"RCRD" or count != 9 or array + 18 > 510:
        return None
    page = bytearray(raw)
    for sector in range(8):
        end = 512 * sector + 510
        if raw[end : end + 2] != raw[array : array + 2]:
            return None
        page[end : end + 2] = raw[array + 2 + 2 * sector : array + 4 + 2 * sector]
    return page


class LogRecords:
    def __init__(self, log):
        self.log = log
        restart = max(
            (found for found in map(self.restart_page, (0, PAGE)) if found),
            key=lambda found: found["current"],
        )
        self.size, self.version = restart["size"], restart["version"]
        self.data_bits = 64 - restart["sequence_bits"]
        self.oldest_lsn, self.is_clean = restart["oldest"], restart["flags"] & 2 != 0
        self.first_page = 34 * PAGE if self.version >= 2 else 4 * PAGE
        self.pages = {}
        for offset in range(self.first_page, self.size - PAGE + 1, PAGE):
            page = whole_page(log[offset : offset + PAGE])
            if page:
                self.pages[offset] = page
        self.copied = set()  # pages of which a copy is newer than what stands in the place
        for offset in range(2 * PAGE, self.first_page, PAGE):
            self.take_copy(whole_page(log[offset : offset + PAGE]))

    def restart_page(self, offset):
        page = self.log[offset : offset + PAGE]
        if page[:4] != b"RSTR":
            return None
        (area,) = struct.unpack_from("<H", page, 0x18)
        current, _count, _free, in_use, flags, bits, _length, array, size = struct.unpack_from(
            "<QHHHHIHHQ", page, area
        )
        oldest = struct.unpack_from("<Q", page, area + array)[0] if in_use != 0xFFFF else current
        (major,) = struct.unpack_from("<H", page, 0x1C)
        return {
            "current": current,
            "flags": flags,
            "sequence_bits": bits,
            "size": size,
            "oldest": oldest,
            "version": major,
        }

    def take_copy(self, page):
        if page is None:
            return
        if self.version >= 2:
            (target,) = struct.unpack_from("<I", page, 0x3C)
        else:
            (target,) = struct.unpack_from("<Q", page, 8)
            page[8:16] = page[0x20:0x28]
        rank = lambda of: struct.unpack_from("<Q16xQ", of, 8)  # noqa: E731
        if target not in self.pages or rank(page) > rank(self.pages[target]):
            self.pages[target] = page
            self.copied.add(target)

    def offset_of(self, lsn):
        return (lsn << 3) & ((8 << self.data_bits) - 1)

    def next_page(self, offset):
        return offset + PAGE if offset + 2 * PAGE <= self.size else self.first_page

    def all(self):
        """{lsn: Record} of all records that begin in whole pages, complete or not."""
        found = {}
        for offset, page in self.pages.items():
            (last,) = struct.unpack_from("<Q", page, 8)
            for at in range(PAGE_DATA, PAGE - HEADER + 1, 8):
                (lsn,) = struct.unpack_from("<Q", page, at)
                same_lap = lsn >> self.data_bits == last >> self.data_bits
                if same_lap and lsn <= last and self.offset_of(lsn) == offset + at:
                    record = self.parse(offset, at)
                    if record:
                        found[lsn] = record
        return found

    def parse(self, offset, at):
        lsn, previous, undo_next, length, _client, kind, transaction = struct.unpack_from(
            "<QQQIIII", self.pages[offset], at
        )
        data, at = b"", at + HEADER
        while len(data) < min(length, 0x20):
            page = self.pages.get(offset, bytes(PAGE))
            data += page[at : at + 0x20 - len(data)]
            offset, at = self.next_page(offset), PAGE_DATA
        if kind != 1:
            return Record(lsn, previous, undo_next, transaction, kind, length, *[0] * 8)
        (
            redo,
            undo,
            _,
            redo_length,
            _,
            undo_length,
            target,
            _,
            record_offset,
            attribute_offset,
        ) = struct.unpack_from("<10H", data)
        (vcn,) = struct.unpack_from("<Q", data, 0x18)
        return Record(
            *(lsn, previous, undo_next, transaction, kind, length, redo, undo, target),
            *(redo_length, undo_length, vcn, record_offset, attribute_offset),
        )

    def successor(self, record):
        """The LSN behind a record, as the pages say."""
        offset = self.offset_of(record.lsn)
        page, at = offset // PAGE * PAGE, offset % PAGE + HEADER
        sequence, left = record.lsn >> self.data_bits, record.data_length
        while left > PAGE - at:
            left -= PAGE - at
            page, at = self.next_page(page), PAGE_DATA
            sequence += page == self.first_page
        at = (at + left + 7) // 8 * 8
        (last,) = struct.unpack_from("<Q", self.pages.get(page, bytes(PAGE)), 8)
        if last == record.lsn:
            page, at = self.next_page(page), PAGE_DATA
            sequence += page == self.first_page
        return sequence << self.data_bits | (page + at) >> 3

    def goes_on_in_a_copy(self, record):
        offset = self.offset_of(record.lsn)
        left = HEADER + record.data_length - (PAGE - offset % PAGE)
        while left > 0:
            offset = self.next_page(offset // PAGE * PAGE)
            left -= PAGE - PAGE_DATA
            if offset in self.copied:
                return True
        return False

    def end(self):
        """LSN of the last record that is complete."""
        return max(struct.unpack_from("<Q", page, 0x20)[0] for page in self.pages.values())

    def connected(self):
        """The records from which one comes, record by record, to the end of the log."""
        records = self.all()
        end = self.end()
        wanted = sorted((lsn for lsn in records if lsn <= end), reverse=True)
        chain = wanted[:1]
        for lsn in wanted[1:]:
            if self.successor(records[lsn]) != chain[-1]:
                break
            chain.append(lsn)
        return [records[lsn] for lsn in reversed(chain)]
