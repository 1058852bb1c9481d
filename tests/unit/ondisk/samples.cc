#include "tests/unit/ondisk/samples.h"

#include <algorithm>

namespace ntfs::ondisk::test {

namespace {

ByteVector name_value(std::u16string_view name) {
  DuplicatedInformation duplicated{};
  duplicated.file_size.set(123);
  duplicated.allocated_size.set(4096);
  duplicated.file_attributes.set(FileAttributes::Archive);
  return build_file_name(FileReference(kRootRecord, 5), duplicated, NameType::Posix, name);
}

void append_attribute(ByteVector& record, const ByteVector& attribute) {
  const MutableBytes bytes(record);
  auto& header = struct_at<FileRecordHeader>(bytes);
  const size_t end = header.used_bytes.get() - kEndMarkerBytes;
  ASSERT(header.used_bytes.get() + attribute.size() <= record.size());
  std::copy(attribute.begin(), attribute.end(), record.begin() + static_cast<ptrdiff_t>(end));
  struct_at<le32>(bytes, end + attribute.size()).set(0xFFFFFFFF);
  header.used_bytes.set(static_cast<uint32_t>(header.used_bytes.get() + attribute.size()));
}

ByteVector index_allocation(uint16_t instance, Vcn lowest, Vcn next) {
  const ByteVector pairs = {std::byte{0x11}, std::byte{4}, std::byte{0x20}, std::byte{0}};
  NonresidentInit init;
  init.type = AttributeType::IndexAllocation;
  init.instance = instance;
  init.lowest = lowest;
  init.next = next;
  if (lowest == Vcn(0)) {
    init.sizes = {.allocated = 32768,
                  .file_size = 32768,
                  .valid_data_length = 32768,
                  .total_allocated = 32768};
  }
  return build_nonresident(init, u"$I30", pairs);
}

}  // namespace

ByteVector sample_file_name() { return name_value(u"a name"); }

void append_entry(MutableBytes bytes, size_t node_offset, ByteView entry) {
  const MutableBytes node = bytes.subspan(node_offset);
  auto& header = struct_at<IndexHeader>(node);
  const IndexEntryView end = IndexNodeView::of_valid(node).end_entry();
  const ByteVector end_bytes(end.bytes().begin(), end.bytes().end());
  ASSERT(header.used_bytes.get() + entry.size() <= header.allocated_bytes.get());
  const size_t offset = end.offset();
  std::copy(entry.begin(), entry.end(), node.begin() + static_cast<ptrdiff_t>(offset));
  std::copy(end_bytes.begin(), end_bytes.end(),
            node.begin() + static_cast<ptrdiff_t>(offset + entry.size()));
  header.used_bytes.set(static_cast<uint32_t>(header.used_bytes.get() + entry.size()));
}

ByteVector sample_index_root() {
  ByteVector root = build_index_root({}, Vcn(9));
  for (const char16_t letter : {u'a', u'b', u'c'}) {
    const ByteVector entry =
        build_entry(FileReference(letter, 1), name_value(std::u16string(3, letter)), Vcn(letter));
    root.resize(root.size() + entry.size());
    auto& header = struct_at<IndexHeader>(MutableBytes(root), kIndexHeaderInRoot);
    header.allocated_bytes.set(static_cast<uint32_t>(root.size() - kIndexHeaderInRoot));
    append_entry(root, kIndexHeaderInRoot, entry);
  }
  return root;
}

ByteVector sample_file_record() {
  ByteVector record(1024);
  FileRecordInit init;
  init.record_number = 30;
  init.sequence = 2;
  init.flags = FileRecordFlags::InUse | FileRecordFlags::Directory;
  init.link_count = 1;
  format_file_record(record, init);
  StandardInformation information{};
  information.security_id.set(0x100);
  append_attribute(record, build_resident(AttributeType::StandardInformation, u"", 0, 0,
                                          bytes_of(information), Indexed::No));
  append_attribute(
      record, build_resident(AttributeType::FileName, u"", 0, 1, sample_file_name(), Indexed::Yes));
  append_attribute(
      record, build_resident(AttributeType::Data, u"s", 0, 2, text_bytes("stream"), Indexed::No));
  append_attribute(record, build_resident(AttributeType::IndexRoot, u"$I30", 0, 3,
                                          sample_index_root(), Indexed::No));
  append_attribute(record, index_allocation(4, Vcn(0), Vcn(4)));
  append_attribute(record, index_allocation(5, Vcn(4), Vcn(8)));
  struct_at<FileRecordHeader>(MutableBytes(record)).next_attribute_instance.set(6);
  return record;
}

ByteVector sample_name_block() {
  ByteVector block(4096);
  format_index_block(block, Vcn(2), std::nullopt);
  for (uint16_t i = 0; i < 20; ++i) {
    const std::u16string name(1 + i, static_cast<char16_t>(u'a' + i));
    append_entry(block, kIndexHeaderInBlock,
                 build_entry(FileReference(100u + i, 1), name_value(name), std::nullopt));
  }
  return block;
}

ByteVector sample_view_block() {
  ByteVector block(4096);
  format_index_block(block, Vcn(3), std::nullopt);
  for (uint32_t i = 0; i < 10; ++i) {
    const le32 key = le32::of(0x100 + i);
    append_entry(block, kIndexHeaderInBlock,
                 build_view_entry(bytes_of(key), ByteVector(20, std::byte{7}), std::nullopt));
  }
  return block;
}

ByteVector sample_attribute_list() {
  return build_attribute_list({
      {AttributeType::StandardInformation, u"", Vcn(0), FileReference(30, 2), 0},
      {AttributeType::Data, u"", Vcn(77), FileReference(31, 1), 4},
      {AttributeType::Data, u"stream", Vcn(0), FileReference(32, 1), 5},
  });
}

ByteVector sample_eas() {
  return build_eas({{0, "$LXMOD", ByteVector(4, std::byte{1})},
                    {kNeedEa, "$LXDEV", ByteVector(9, std::byte{2})}});
}

}  // namespace ntfs::ondisk::test
