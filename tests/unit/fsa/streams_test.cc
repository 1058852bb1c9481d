// Named data streams: MS-FSA 2.1.5.12.30 "FileStreamInformation", and what of opens, sharing,
// oplocks, deletion and the change journal is each stream's own.

#include <map>

#include "tests/support/sanitized.h"
#include "tests/unit/fsa/opened_store.h"
#include "tests/unit/fsa/usn_store.h"

namespace ntfs {
namespace {

using namespace testing;  // NOLINT: the words of these tests

class StreamsTest : public ::testing::Test {
 protected:
  void TearDown() override { s_.check(OpenedStore::Entries::RepeatTheirFiles); }

  OpenPtr open(std::u16string_view stream, uint32_t access = kReadWrite,
               uint32_t share = ShareAccess::All) {
    auto made = try_open(stream, access, share);
    EXPECT_TRUE(made) << name_of(made.error());
    return OpenPtr(made ? made->release() : nullptr, Closer{&s_.store()});
  }
  Result<std::unique_ptr<Open>> try_open(std::u16string_view stream, uint32_t access = kReadWrite,
                                         uint32_t share = ShareAccess::All) {
    OpenParameters parameters;
    parameters.stream = stream;
    parameters.desired_access = access;
    parameters.share_access = share;
    return s_.store().open(s_.file(), parameters);
  }
  ByteVector value(std::u16string_view name) {
    auto value = s_.store().read_stream(*s_.file(), name);
    EXPECT_TRUE(value) << name_of(value.error());
    return value ? std::move(*value) : ByteVector();
  }
  NtStatus status_of_read(std::u16string_view name) {
    return s_.store().read_stream(*s_.file(), name).error();
  }
  void set(std::u16string_view name, ByteView value) {
    const auto set = s_.store().set_stream(*s_.file(), name, value);
    ASSERT_TRUE(set) << name_of(set.error());
  }
  std::vector<std::u16string> names(File& file) {
    std::vector<std::u16string> names;
    const auto streams = s_.store().query_streams(file);
    EXPECT_TRUE(streams.has_value());
    if (!streams) return names;
    for (const StreamInformation& stream : *streams) names.push_back(stream.name);
    return names;
  }
  using Names = std::vector<std::u16string>;
  size_t set_many(const FilePtr& file, size_t most, size_t name_length, size_t value_length);

  OpenedStore s_;
};

TEST_F(StreamsTest, ValuesOfAllSizesTakeEachOthersPlace) {
  s_.write(*s_.open(), 0, filled(6000, 1));
  int seed = 2;
  for (const size_t size : {10, 0, 300, 65536, 5000, 4096, 700, 65535, 1, 20000, 500, 0}) {
    const ByteVector wanted = filled(size, ++seed);
    set(u"a", wanted);
    EXPECT_EQ(value(u"a"), wanted);
    s_.check();
    s_.remount();
    EXPECT_EQ(value(u"a"), wanted) << size;
  }
  EXPECT_EQ(s_.read(*s_.open(), 0, 6000).bytes, filled(6000, 1)) << "the unnamed stream is itself";
  EXPECT_EQ(s_.store().set_stream(*s_.file(), u"a", ByteVector(65537)).error(),
            NtStatus::FileTooLarge);
}

TEST_F(StreamsTest, AreNotMadeAnewWhileTheLastCloseRemovesThem) {
  set(u"a", filled(10, 1));
  const StreamPtr going = *s_.store().find_stream(*s_.file(), u"a");
  going->deleted() = true;
  ASSERT_TRUE(going->remove());
  EXPECT_EQ(s_.store().create_stream(*s_.file(), u"a").error(), NtStatus::DeletePending);
  s_.file()->forget_stream(*going);
  set(u"a", filled(10, 2));
  EXPECT_EQ(value(u"a"), filled(10, 2));
}

TEST_F(StreamsTest, AreListedWithTheirSizes) {
  set(u"beta", filled(10, 1));
  set(u"Alpha", filled(5000, 1));
  s_.write(*s_.open(), 0, filled(3, 1));
  s_.write(*open(u"beta"), 10, filled(20, 1));
  const auto streams = s_.store().query_streams(*s_.file());
  ASSERT_TRUE(streams);
  ASSERT_EQ(streams->size(), 3u);
  EXPECT_EQ((*streams)[0].name, u"");
  EXPECT_EQ((*streams)[0].file_size, 3u);
  EXPECT_EQ((*streams)[1].name, u"Alpha") << "in the order of $UpCase";
  EXPECT_EQ((*streams)[1].file_size, 5000u);
  EXPECT_EQ((*streams)[1].allocated_size, 8192u);
  EXPECT_EQ((*streams)[2].name, u"beta");
  EXPECT_EQ((*streams)[2].file_size, 30u) << "what is buffered, too";
}

std::u16string numbered(size_t number, size_t length) {
  std::u16string name(length, u'n');
  for (size_t i = 0; i < 4; ++i, number /= 10) {
    name[3 - i] = static_cast<char16_t>('0' + number % 10);
  }
  return name;
}

/// `most`, or as many as there is room for.
size_t StreamsTest::set_many(const FilePtr& file, size_t most, size_t name_length,
                             size_t value_length) {
  for (size_t count = 0;; ++count) {
    if (count == most) return count;
    const auto name = numbered(count, name_length);
    const auto done = s_.store().set_stream(*file, name, filled(value_length, 1));
    if (done) continue;
    EXPECT_EQ(done.error(), NtStatus::FileSystemLimitation);
    return count;
  }
}

// The attribute list is as long as the log allows then, and each removal shifts all of it.
TEST_F(StreamsTest, AsManyAsASmallLogTakesCanBeRemovedAgain) {
  const size_t count = set_many(s_.file(), 1000, 200, 100);
  EXPECT_GT(count, 250u);
  EXPECT_LT(count, 1000u);
  s_.check();
  for (size_t i = 0; i < count; ++i) {
    const auto done = s_.store().remove_stream(*s_.file(), numbered(i, 200));
    ASSERT_TRUE(done) << i << " of " << count << ": " << name_of(done.error());
  }
  EXPECT_EQ(names(*s_.file()), Names{u""});
}

// Each record that is freed goes into the log, and once more for the way back.
TEST_F(StreamsTest, MoreThanASmallLogFreesAtOnceGoWithTheirFile) {
  const auto made = s_.store().create(*s_.store().root(), u"other", {});
  ASSERT_TRUE(made);
  const size_t enough = kIsSanitized ? 200 : 1500;
  ASSERT_EQ(set_many(*made, enough, 4, 250), enough);
  const auto done = s_.store().remove(*s_.store().root(), u"other", ObjectStore::RemoveKind::File);
  ASSERT_TRUE(done) << name_of(done.error());
  EXPECT_NE((*made)->remains(), nullptr) << "everything is freed";
}

TEST_F(StreamsTest, AreReadAndWrittenByOpens) {
  ASSERT_TRUE(s_.store().create_stream(*s_.file(), u"big"));
  const ByteVector data = filled(3 << 20, 7);
  {
    const OpenPtr big = open(u"big");
    ASSERT_EQ(s_.write(*big, 1 << 20, data), NtStatus::Success);
    EXPECT_EQ(s_.read(*big, 1 << 20, data.size()).bytes, data);
    EXPECT_EQ(s_.read(*big, 0, 10).bytes, ByteVector(10));
  }
  EXPECT_EQ(s_.sizes().file_size, 0u);
  s_.check();
  EXPECT_EQ(status_of_read(u"big"), NtStatus::BufferOverflow);
  s_.remount();
  const OpenPtr big = open(u"big");
  EXPECT_EQ(s_.read(*big, 1 << 20, data.size()).bytes, data);
  ASSERT_TRUE(s_.store().set_end_of_file(*big, 100));
  EXPECT_EQ(s_.read(*big, 0, 4096).bytes, ByteVector(100));
  EXPECT_EQ(s_.information().file_size, 0u) << "the file's size is that of its unnamed stream";
}

TEST_F(StreamsTest, NamesAreChecked) {
  set(u"a", filled(1, 1));
  auto& store = s_.store();
  EXPECT_EQ(store.create_stream(*s_.file(), u"a").error(), NtStatus::ObjectNameCollision);
  EXPECT_EQ(store.create_stream(*s_.file(), u"").error(), NtStatus::ObjectNameInvalid);
  EXPECT_EQ(store.create_stream(*s_.file(), std::u16string(256, u'x')).error(),
            NtStatus::NameTooLong);
  ASSERT_TRUE(store.create_stream(*s_.file(), std::u16string(255, u'x')));
  EXPECT_EQ(status_of_read(u"A"), NtStatus::ObjectNameNotFound);
  EXPECT_EQ(try_open(u"b").error(), NtStatus::ObjectNameNotFound);
  EXPECT_EQ(store.remove_stream(*s_.file(), u"b").error(), NtStatus::ObjectNameNotFound);
}

TEST_F(StreamsTest, OfTheFileSystemsOwnFilesAreNotChanged) {
  auto& store = s_.store();
  for (const uint64_t record : {0, 4, 8, 9, 11}) {
    const FilePtr file = store.file(FileReference(record, static_cast<uint16_t>(record + !record)));
    EXPECT_EQ(store.set_stream(*file, u"a", {}).error(), NtStatus::AccessDenied) << record;
    EXPECT_EQ(store.remove_stream(*file, u"$Bad").error(), NtStatus::AccessDenied) << record;
  }
  ASSERT_TRUE(store.set_stream(*store.root(), u"a", filled(3, 1)));
  EXPECT_EQ(names(*store.root()), Names{u"a"});
}

TEST_F(StreamsTest, DirectoriesHaveThemToo) {
  CreateParameters parameters;
  parameters.kind = FileKind::Directory;
  const auto directory = s_.store().create(*s_.store().root(), u"d", parameters);
  ASSERT_TRUE(directory);
  ASSERT_TRUE(s_.store().set_stream(**directory, u"a", filled(9000, 1)));
  OpenParameters wanted;
  wanted.stream = u"a";
  wanted.desired_access = kReadWrite;
  {
    const OpenPtr open(s_.store().open(*directory, wanted)->release(), Closer{&s_.store()});
    EXPECT_FALSE(open->is_directory());
    ASSERT_EQ(s_.write(*open, 9000, filled(10, 2)), NtStatus::Success);
    EXPECT_EQ(s_.read(*open, 9000, 100).bytes, filled(10, 2));
  }
  EXPECT_EQ(names(**directory), Names{u"a"});
  s_.check();
  ASSERT_TRUE(s_.store().remove(*s_.store().root(), u"d", ObjectStore::RemoveKind::Directory));
}

TEST_F(StreamsTest, GoWithTheirFileAndGiveTheirSpaceBack) {
  ASSERT_TRUE(s_.store().flush());
  const uint64_t before = s_.store().query_store().clusters_free;
  auto made = s_.store().create(*s_.store().root(), u"other", {});
  ASSERT_TRUE(made);
  for (const char16_t* name : {u"a", u"b", u"c"}) {
    ASSERT_TRUE(s_.store().set_stream(**made, name, filled(60000, 1)));
  }
  OpenParameters wanted;
  wanted.stream = u"b";
  wanted.desired_access = kReadWrite;
  {
    const OpenPtr open(s_.store().open(*made, wanted)->release(), Closer{&s_.store()});
    ASSERT_EQ(s_.write(*open, 0, filled(3 << 20, 1)), NtStatus::Success);
    ASSERT_TRUE(s_.store().remove(*s_.store().root(), u"other", ObjectStore::RemoveKind::File));
    EXPECT_EQ(s_.read(*open, 5, 100).bytes.size(), 100u) << "held";
    ASSERT_EQ(s_.write(*open, 0, filled(4 << 20, 1)), NtStatus::Success);
  }
  EXPECT_EQ(s_.store().query_streams(**made).error(), NtStatus::ObjectNameNotFound);
  ASSERT_TRUE(s_.store().flush());
  s_.check();
  EXPECT_EQ(s_.store().query_store().clusters_free, before);
}

TEST_F(StreamsTest, ADeletedOneIsThereUntilItsLastOpenIsClosed) {
  proves("X2");
  set(u"a", filled(100, 1));
  set(u"b", filled(100, 2));
  {
    const OpenPtr a = open(u"a");
    ASSERT_TRUE(s_.store().remove_stream(*s_.file(), u"a"));
    EXPECT_EQ(s_.read(*a, 0, 1000).bytes, filled(100, 1));
    EXPECT_EQ(s_.write(*a, 0, filled(50, 3)), NtStatus::Success);
    EXPECT_EQ(try_open(u"a").error(), NtStatus::DeletePending);
    EXPECT_EQ(s_.store().set_stream(*s_.file(), u"a", {}).error(), NtStatus::DeletePending);
    EXPECT_EQ(names(*s_.file()), (Names{u"", u"b"}));
  }
  EXPECT_EQ(try_open(u"a").error(), NtStatus::ObjectNameNotFound);
  set(u"a", filled(7, 4));
  EXPECT_EQ(value(u"a"), filled(7, 4)) << "another one of that name";
  s_.remount();
  EXPECT_EQ(value(u"a"), filled(7, 4));
}

TEST_F(StreamsTest, EachHasSharingAndOplocksOfItsOwn) {
  proves("C16");
  set(u"a", filled(100, 1));
  set(u"b", filled(100, 2));
  const OpenPtr unnamed = open(u"", kReadWrite, 0);
  const OpenPtr a = open(u"a", kReadWrite, 0);
  EXPECT_EQ(try_open(u"a").error(), NtStatus::SharingViolation);
  EXPECT_EQ(try_open(u"").error(), NtStatus::SharingViolation);
  const OpenPtr b = open(u"b");
  Holder holder;
  ASSERT_TRUE(s_.store().request_oplock(*b, OplockLevel::ReadWrite, holder));
  ASSERT_EQ(s_.write(*a, 0, filled(5, 1)), NtStatus::Success);
  ASSERT_EQ(s_.write(*unnamed, 0, filled(5, 1)), NtStatus::Success);
  auto told = std::async(std::launch::async, [&] {
    const OplockNotice notice = holder.told();
    Holder again;
    EXPECT_TRUE(s_.store().acknowledge_oplock_break(*b, OplockLevel::None, again));
    return notice.new_level;
  });
  ASSERT_TRUE(s_.store().set_stream(*s_.file(), u"b", filled(3, 9)));
  EXPECT_EQ(told.get(), OplockLevel::None) << "only b's own change breaks it";
}

TEST_F(StreamsTest, TheFileIsDeletedOnlyWhereAllOpensShareIt) {
  proves("C16");
  set(u"a", filled(100, 1));
  OpenPtr a = open(u"a", kReadWrite, ShareAccess::Read | ShareAccess::Write);
  EXPECT_EQ(try_open(u"", AccessMask::Delete).error(), NtStatus::SharingViolation);
  auto& store = s_.store();
  const auto kind = ObjectStore::RemoveKind::File;
  EXPECT_EQ(store.remove(*store.root(), u"file", kind).error(), NtStatus::SharingViolation);
  EXPECT_EQ(store.remove_stream(*s_.file(), u"a").error(), NtStatus::SharingViolation);
  a.reset();
  open(u"", AccessMask::Delete);
  EXPECT_TRUE(store.remove_stream(*s_.file(), u"a"));
}

TEST_F(StreamsTest, WithoutSpaceTheOldValueStays) {
  set(u"a", filled(60000, 1));
  ASSERT_TRUE(s_.store().flush());
  s_.fill_but(3);
  EXPECT_EQ(s_.store().set_stream(*s_.file(), u"a", filled(65000, 2)).error(), NtStatus::DiskFull);
  EXPECT_EQ(value(u"a"), filled(60000, 1));
  set(u"a", filled(12000, 3));
  EXPECT_EQ(value(u"a"), filled(12000, 3));
}

TEST_F(StreamsTest, TheSparseMarkGoesWithTheLastSparseOne) {
  set(u"a", filled(100, 1));
  {
    const OpenPtr a = open(u"a");
    ASSERT_TRUE(s_.store().set_sparse(*a, Stream::Sparse::Yes));
    ASSERT_EQ(s_.write(*a, 1 << 20, filled(10, 1)), NtStatus::Success);
  }
  ASSERT_TRUE(s_.store().flush());
  constexpr uint32_t kSparse = ondisk::FileAttributes::SparseFile;
  EXPECT_EQ(s_.information().file_attributes & kSparse, kSparse);
  set(u"b", filled(9000, 1));
  s_.check();
  ASSERT_TRUE(s_.store().remove_stream(*s_.file(), u"a"));
  EXPECT_EQ(s_.information().file_attributes & kSparse, 0u);
}

TEST_F(StreamsTest, AValueIsNotCompressed) {
  for (const size_t size : {100, 20000}) {
    set(u"a", {});
    {
      const OpenPtr a = open(u"a");
      ASSERT_TRUE(a->stream().set_compression(Compression::Lznt1));
      ASSERT_EQ(s_.write(*a, 0, ByteVector(100000, std::byte{'a'})), NtStatus::Success);
    }
    ASSERT_TRUE(s_.store().flush());
    set(u"a", filled(size, 1));
    s_.check();
    EXPECT_EQ(value(u"a"), filled(size, 1));
    ASSERT_EQ(s_.write(*open(u"a"), 10, filled(90000, 2)), NtStatus::Success);
    s_.remount();
    const OpenPtr a = open(u"a");
    EXPECT_EQ(s_.read(*a, 10, 100000).bytes, filled(90000, 2));
  }
}

TEST_F(StreamsTest, ManyFillFileRecords) {
  for (int i = 0; i < 300; ++i) {
    const std::string digits = std::to_string(i * 7919 % 1000);
    set(u"stream " + std::u16string(digits.begin(), digits.end()),
        filled(static_cast<size_t>(i % 90 * 10), i));
  }
  s_.check();
  s_.remount();
  EXPECT_EQ(names(*s_.file()).size(), 301u);
  for (int i = 299; i >= 0; --i) {
    const std::string digits = std::to_string(i * 7919 % 1000);
    const std::u16string name = u"stream " + std::u16string(digits.begin(), digits.end());
    EXPECT_EQ(value(name), filled(static_cast<size_t>(i % 90 * 10), i));
    ASSERT_TRUE(s_.store().remove_stream(*s_.file(), name));
  }
  EXPECT_EQ(names(*s_.file()), Names{u""});
}

TEST_F(StreamsTest, RandomChangesGiveWhatAModelSays) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  const auto below = [&](size_t limit) { return random() % limit; };
  std::map<std::u16string, ByteVector> model;
  model[u""] = {};
  for (int step = 0; step < 400; ++step) {
    const std::u16string name(1, static_cast<char16_t>(u'a' + below(5)));
    const size_t size = below(3) == 0 ? below(65537) : below(900);
    const ByteVector bytes = filled(size, step);
    const bool is_there = model.contains(name);
    switch (below(7)) {
      case 0:
      case 1:
        set(name, bytes);
        model[name] = bytes;
        break;
      case 2:
        EXPECT_EQ(s_.store().remove_stream(*s_.file(), name).has_value(), is_there);
        model.erase(name);
        break;
      case 3: {
        if (!is_there) break;
        ByteVector& now = model[name];
        const size_t offset = below(70000);
        EXPECT_EQ(s_.write(*open(name), static_cast<int64_t>(offset), bytes), NtStatus::Success);
        if (size == 0) break;
        now.resize(std::max(now.size(), offset + size));
        std::ranges::copy(bytes, now.begin() + static_cast<ptrdiff_t>(offset));
        break;
      }
      case 4:
        if (!is_there) break;
        ASSERT_TRUE(s_.store().set_end_of_file(*open(name), static_cast<int64_t>(size)));
        model[name].resize(size);
        break;
      case 5:
        ASSERT_TRUE(s_.store().flush());
        break;
      default:
        if (below(8) == 0) s_.remount();
        if (below(8) == 0) s_.check();
    }
  }
  s_.remount();
  Names expected;
  for (const auto& [name, bytes] : model) {
    expected.push_back(name);
    if (name.empty()) continue;
    const OpenPtr stream = open(name);
    EXPECT_EQ(s_.read(*stream, 0, 200000).bytes, bytes) << "stream " << char(name[0]);
  }
  EXPECT_EQ(names(*s_.file()), expected);
}

TEST(Streams, AreFoundWithoutRegardToCaseWhereNamesAre) {
  MemoryDevice device(16 << 20);
  FormatOptions format;
  format.content = DeviceContent::Zeroed;
  ASSERT_TRUE(format_volume(device, format));
  ObjectStoreOptions options;
  options.ignore_case = true;
  std::string why_not;
  auto store = ObjectStore::mount(device, options, why_not);
  ASSERT_TRUE(store);
  const FilePtr root = (*store)->root();
  ASSERT_TRUE((*store)->set_stream(*root, u"Stream", filled(3, 1)));
  ASSERT_TRUE((*store)->set_stream(*root, u"STREAM", filled(4, 1)));
  const auto streams = (*store)->query_streams(*root);
  ASSERT_TRUE(streams);
  ASSERT_EQ(streams->size(), 1u);
  EXPECT_EQ(streams->front().name, u"Stream");
  EXPECT_EQ(streams->front().file_size, 4u);
}

// The change journal.

TEST(StreamsUsn, ReasonsOfNamedStreams) {
  UsnStore v;
  const FilePtr file = v.make(u"a");
  v.news();
  auto& store = v.store();
  const auto of = [](std::initializer_list<uint32_t> reasons) {
    std::vector<Said> said;
    for (const uint32_t reason : reasons) said.push_back({"a", reason, FileReference(5, 5)});
    return said;
  };
  ASSERT_TRUE(store.create_stream(*file, u"s"));
  EXPECT_EQ(v.news(), of({0x200000, 0x80200000}));
  ASSERT_TRUE(store.set_stream(*file, u"s", filled(10, 1)));
  EXPECT_EQ(v.news(), of({0x20, 0x80000020}));
  ASSERT_TRUE(store.set_stream(*file, u"s", filled(20, 1)));
  EXPECT_EQ(v.news(), of({0x60, 0x80000060}));
  {
    OpenParameters parameters;
    parameters.stream = u"s";
    parameters.desired_access = kReadWrite;
    auto open = store.open(file, parameters);
    ASSERT_TRUE(open);
    ASSERT_EQ(v.write(**open, 0, 5), NtStatus::Success);
    ASSERT_EQ(v.write(**open, 18, 5), NtStatus::Success);
    ASSERT_TRUE(store.set_end_of_file(**open, 3));
    store.close(std::move(*open));
  }
  EXPECT_EQ(v.news(), of({0x10, 0x30, 0x70, 0x80000070}));
  ASSERT_TRUE(store.remove_stream(*file, u"s"));
  EXPECT_EQ(v.news(), of({0x200000, 0x80200000}));
  EXPECT_EQ(v.check(), "");
}

}  // namespace
}  // namespace ntfs
