#include "core/store/index_tree.h"

#include <gtest/gtest.h>
#include <time.h>

#include <map>
#include <random>

#include "core/check/check.h"
#include "core/store/format.h"
#include "core/store/volume.h"
#include "tests/support/memory_device.h"
#include "tests/unit/ondisk/quiet_reports.h"

namespace ntfs {
namespace {

using ondisk::AttributeType;
using ondisk::DuplicatedInformation;
using ondisk::IndexEntryView;
using testing::MemoryDevice;

constexpr uint64_t kMiB = uint64_t{1} << 20;

/// What a walk over the blocks of an index finds.
struct Shape {
  uint64_t blocks = 0;        // reachable
  uint64_t bits = 0;          // set in $BITMAP
  uint64_t leaf_depth = 0;    // of the root is 1
  uint64_t used_bytes = 0;    // of all leaves
  uint64_t room_bytes = 0;    // of all leaves
  uint64_t empty_leaves = 0;  // without the root
  double fill() const {
    return room_bytes == 0 ? 1 : static_cast<double>(used_bytes) / static_cast<double>(room_bytes);
  }
};

class IndexTreeTest : public ::testing::Test {
 protected:
  void make_volume(uint64_t bytes, const FormatOptions& options) {
    device_ = std::make_unique<MemoryDevice>(bytes);
    FormatOptions with_content = options;
    with_content.content = DeviceContent::Zeroed;
    ASSERT_TRUE(format_volume(*device_, with_content).has_value());
    open();
  }
  void open() {
    std::string why_not;
    auto volume = Volume::open(*device_, VolumeOptions{}, why_not);
    ASSERT_TRUE(volume.has_value()) << name_of(volume.error()) << " " << why_not;
    volume_ = std::move(volume).value();
  }
  void reopen() {
    ASSERT_TRUE(volume_->close().has_value());
    volume_.reset();
    open();
  }

  /// A directory below the root, named in it.
  FileReference make_directory(std::u16string_view name) {
    Transaction transaction(volume_->journal());
    EXPECT_TRUE(transaction.begin().has_value());
    const FileReference root(ondisk::kRootRecord, 5);
    DuplicatedInformation information{};
    information.file_attributes.set(ondisk::FileAttributes::FileNameIndexPresent);
    const ByteVector key =
        ondisk::build_file_name(root, information, ondisk::NameType::Posix, name);
    const FileReference file = make_record(transaction, ondisk::FileRecordFlags::Directory, key);
    const ondisk::IndexRootInit init{ondisk::IndexKind::FileNames, ondisk::Collation::FileName,
                                     volume_->geometry().index_block_size,
                                     volume_->geometry().index_block_steps()};
    EXPECT_TRUE(Attributes(*volume_, file)
                    .set_value(transaction, AttributeType::IndexRoot, u"$I30",
                               ondisk::build_index_root(init, std::nullopt))
                    .has_value());
    IndexTree parent(*volume_, root, u"$I30");
    EXPECT_TRUE(
        parent.insert(transaction, ondisk::build_entry(file, key, std::nullopt)).has_value());
    transaction.commit();
    return file;
  }

  /// A record with a view index of ulong keys.
  FileReference make_view() {
    Transaction transaction(volume_->journal());
    EXPECT_TRUE(transaction.begin().has_value());
    const FileReference root(ondisk::kRootRecord, 5);
    const ByteVector key = ondisk::build_file_name(root, {}, ondisk::NameType::Posix, u"view");
    const FileReference file = make_record(transaction, ondisk::FileRecordFlags::ViewIndex, key);
    const ondisk::IndexRootInit init{ondisk::IndexKind::View, ondisk::Collation::NtofsUlong,
                                     volume_->geometry().index_block_size,
                                     volume_->geometry().index_block_steps()};
    EXPECT_TRUE(Attributes(*volume_, file)
                    .set_value(transaction, AttributeType::IndexRoot, u"$SII",
                               ondisk::build_index_root(init, std::nullopt))
                    .has_value());
    IndexTree parent(*volume_, root, u"$I30");
    EXPECT_TRUE(
        parent.insert(transaction, ondisk::build_entry(file, key, std::nullopt)).has_value());
    transaction.commit();
    return file;
  }

  FileReference make_record(Transaction& transaction, uint16_t flags, ByteView file_name) {
    auto page = volume_->mft().allocate(transaction);
    EXPECT_TRUE(page.has_value());
    ByteVector record(volume_->geometry().file_record_size);
    const FileReference file((*page)->index(), Mft::next_sequence(**page));
    const auto with_use = static_cast<uint16_t>(flags | ondisk::FileRecordFlags::InUse);
    ondisk::format_file_record(record, {file.record(), file.sequence(), with_use, 0, {}});
    const auto used = ondisk::FileRecordView::of_valid(record).used_bytes();
    EXPECT_TRUE(
        volume_->mft().initialize(transaction, *page, ByteView(record).first(used)).has_value());
    Attributes attributes(*volume_, file);
    ondisk::StandardInformation information{};
    information.security_id.set(kDefaultDirectorySecurityId);
    EXPECT_TRUE(attributes
                    .insert(transaction,
                            ondisk::build_resident(AttributeType::StandardInformation, {}, 0, 0,
                                                   bytes_of(information), ondisk::Indexed::No))
                    .has_value());
    EXPECT_TRUE(attributes
                    .insert(transaction, ondisk::build_resident(AttributeType::FileName, {}, 0, 0,
                                                                file_name, ondisk::Indexed::Yes))
                    .has_value());
    return file;
  }

  /// The checker's findings after a checkpoint; those about names that lead nowhere left out.
  std::string findings() {
    EXPECT_TRUE(volume_->journal().checkpoint().has_value());
    CheckOptions options;
    options.live = true;
    const auto report = check_volume(*device_, options);
    EXPECT_TRUE(report.has_value());
    std::string text;
    for (const Finding& finding : report->errors) text += to_line(finding) + "\n";
    return text;
  }

  void check_node(FileReference file, const std::u16string& name, ondisk::IndexNodeView node,
                  uint64_t depth, Shape& shape) {
    ASSERT_LT(depth, 20u);
    if (!node.has_subnodes()) {
      if (shape.leaf_depth == 0) shape.leaf_depth = depth;
      EXPECT_EQ(shape.leaf_depth, depth);
      if (depth == 1) return;
      if (node.is_empty()) ++shape.empty_leaves;
      shape.used_bytes += node.used_bytes();
      shape.room_bytes += node.allocated_bytes();
      return;
    }
    IndexBlocks blocks(*volume_, file, name);
    for (const IndexEntryView entry : node) {
      const auto page = blocks.get(entry.subnode_vcn());
      ASSERT_TRUE(page.has_value());
      ++shape.blocks;
      check_node(file, name, ondisk::IndexBlockView::of_valid((*page)->bytes()).node(), depth + 1,
                 shape);
    }
  }

  Shape shape_of(FileReference file, const std::u16string& name) {
    const SharedLock lock(volume_->journal().metadata_lock());
    Shape shape;
    Attributes attributes(*volume_, file);
    const auto root = attributes.find(AttributeType::IndexRoot, name);
    EXPECT_TRUE(root.has_value());
    check_node(file, name, ondisk::IndexRootView::of_valid(root->view().value()).node(), 1, shape);
    const auto bitmap = attributes.find(AttributeType::Bitmap, name);
    if (!bitmap) return shape;
    const auto count = [&](ByteView bytes) {
      for (const std::byte byte : bytes) {
        shape.bits += static_cast<uint64_t>(std::popcount(std::to_integer<uint8_t>(byte)));
      }
    };
    if (bitmap->view().is_resident()) {
      count(bitmap->view().value());
      return shape;
    }
    const auto stream = volume_->metadata_stream(file, AttributeType::Bitmap, name);
    const uint64_t size = bitmap->view().file_size();
    for (uint64_t at = 0; at < size; at += 4096) {
      const auto page = volume_->pages().get(*stream, at / 4096);
      EXPECT_TRUE(page.has_value());
      count((*page)->bytes().first(std::min<uint64_t>(4096, size - at)));
    }
    return shape;
  }

  uint64_t free_clusters() { return volume_->clusters().free_clusters().raw(); }

  std::unique_ptr<MemoryDevice> device_;
  std::unique_ptr<Volume> volume_;
};

/// A directory's index with a model beside it.
class Directory {
 public:
  struct Less {
    const UpCase* upcase;
    bool operator()(const std::u16string& a, const std::u16string& b) const {
      return compare_names(std::u16string_view(a), std::u16string_view(b), *upcase) < 0;
    }
  };

  Directory(Volume& in, FileReference directory)
      : volume(&in), file(directory), model(Less{&in.upcase()}) {}

  static ByteVector key_of(std::u16string_view name, uint64_t creation_time) {
    DuplicatedInformation information{};
    information.creation_time.set(creation_time);
    return ondisk::build_file_name(FileReference(5, 5), information, ondisk::NameType::Posix, name);
  }

  Result<> insert(Transaction& transaction, const std::u16string& name, uint64_t id) {
    // A large record number: its bytes must not be taken for the data offset of a view's entry.
    const FileReference reference(0x7F0123450000 + id, 3);
    const ByteVector entry = ondisk::build_entry(reference, key_of(name, id), std::nullopt);
    return tree().insert(transaction, entry);
  }
  Result<> remove(Transaction& transaction, const std::u16string& name) {
    return tree().remove(transaction, key_of(name, 0));
  }
  Result<> update(Transaction& transaction, const std::u16string& name, uint64_t id) {
    return tree().update_file_name(transaction, key_of(name, 0), [&](DuplicatedInformation& info) {
      info = {};
      info.creation_time.set(id);
    });
  }
  IndexTree tree() const { return IndexTree(*volume, file, u"$I30"); }

  void expect_as_model() const {
    const SharedLock lock(volume->journal().metadata_lock());
    auto next = model.begin();
    IndexTree index = tree();
    const auto walked = index.for_each([&](const IndexEntryView& entry) -> Result<> {
      const auto value = ondisk::FileNameView::of_valid(entry.key());
      if (next == model.end() || value.name() != next->first ||
          value.duplicated().creation_time.get() != next->second) {
        return NtStatus::Unsuccessful;
      }
      ++next;
      return {};
    });
    ASSERT_TRUE(walked.has_value()) << name_of(walked.error());
    ASSERT_TRUE(next == model.end());
    ASSERT_EQ(*index.is_empty(), model.empty());
  }

  Volume* volume;
  FileReference file;
  std::map<std::u16string, uint64_t, Less> model;
};

std::u16string random_name(std::mt19937& random) {
  const std::u16string alphabet = u"abcdefghijklmnopqrstuvwxyzABCDEFGHIJ0123456789._-\u00E4\u0416";
  const uint32_t kind = random() % 20;
  const size_t length = kind == 0  ? 200 + random() % 56
                        : kind < 4 ? 1 + random() % 4
                                   : 5 + random() % 30;
  std::u16string name;
  for (size_t i = 0; i < length; ++i) name += alphabet[random() % alphabet.size()];
  return name;
}

std::u16string numbered(std::u16string_view prefix, uint64_t number) {
  std::u16string digits(8, u'0');
  for (size_t i = digits.size(); i-- > 0; number /= 10) {
    digits[i] = static_cast<char16_t>(u'0' + number % 10);
  }
  return std::u16string(prefix) + digits;
}

/// CPU time of this thread.
double microseconds_now() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) / 1e3;
}
double microseconds_since(double start, uint64_t operations) {
  return (microseconds_now() - start) / static_cast<double>(operations);
}

/// One random transaction on `directory`; a part of them is taken back.
void random_transaction(Directory& directory, std::mt19937& random, uint32_t insert_percent) {
  Transaction transaction(directory.volume->journal());
  ASSERT_TRUE(transaction.begin().has_value());
  std::vector<std::function<void()>> undo;
  auto& model = directory.model;
  const auto any_name = [&] {
    auto it = model.lower_bound(random_name(random));
    return it == model.end() ? model.begin()->first : it->first;
  };
  const uint32_t count = 1 + random() % 12;
  for (uint32_t i = 0; i < count; ++i) {
    const uint64_t id = random();
    if (model.empty() || random() % 100 < insert_percent) {
      std::u16string name = random_name(random);
      if (!model.empty() && random() % 8 == 0) {  // differs from another in case only
        name = any_name();
        for (auto& unit : name) {
          if (random() % 2 == 0) unit = directory.volume->upcase()(unit);
        }
      }
      const auto done = directory.insert(transaction, name, id);
      if (model.contains(name)) {
        ASSERT_EQ(done.error(), NtStatus::ObjectNameCollision);
        continue;
      }
      ASSERT_TRUE(done.has_value()) << name_of(done.error());
      model[name] = id;
      undo.push_back([&model, name] { model.erase(name); });
    } else if (random() % 4 == 0) {
      const std::u16string name = any_name();
      const uint64_t before = model[name];
      ASSERT_TRUE(directory.update(transaction, name, id).has_value());
      model[name] = id;
      undo.push_back([&model, name, before] { model[name] = before; });
    } else {
      const std::u16string name = any_name();
      const uint64_t before = model[name];
      const auto done = directory.remove(transaction, name);
      ASSERT_TRUE(done.has_value()) << name_of(done.error());
      ASSERT_EQ(directory.remove(transaction, name).error(), NtStatus::ObjectNameNotFound);
      model.erase(name);
      undo.push_back([&model, name, before] { model[name] = before; });
    }
  }
  if (random() % 6 != 0) {
    transaction.commit();
    return;
  }
  for (size_t i = undo.size(); i-- > 0;) undo[i]();
}

struct Geometry {
  const char* label;
  uint32_t cluster_size;
  uint32_t record_size;
  uint32_t sector_size;
};

class IndexTreeGeometry : public IndexTreeTest, public ::testing::WithParamInterface<Geometry> {};

TEST_P(IndexTreeGeometry, AgreesWithAModelUnderRandomChangesAndAborts) {
  const uint32_t seed = 20240601;
  SCOPED_TRACE(seed);
  FormatOptions options;
  options.cluster_size = GetParam().cluster_size;
  options.record_size = GetParam().record_size;
  options.sector_size = GetParam().sector_size;
  make_volume(96 * kMiB, options);
  Directory directory(*volume_, make_directory(u"directory"));
  EXPECT_EQ(findings(), "");
  const uint64_t free_before = free_clusters();
  std::mt19937 random(seed);
  // Grow, stay, shrink to nothing, twice.
  for (const uint32_t insert_percent : {85u, 50u, 10u, 90u, 5u}) {
    for (int round = 0; round < 900; ++round) {
      random_transaction(directory, random, insert_percent);
      if (HasFatalFailure()) return;
      if (round % 300 == 299) {
        directory.expect_as_model();
        const Shape shape = shape_of(directory.file, u"$I30");
        ASSERT_EQ(shape.blocks, shape.bits);
        ASSERT_EQ(shape.empty_leaves, 0u);
      }
      if (round % 250 == 0) {
        ASSERT_TRUE(volume_->journal().checkpoint().has_value());
      }
    }
    if (insert_percent == 50) {
      reopen();
      directory.volume = volume_.get();
      Directory fresh(*volume_, directory.file);
      fresh.model.insert(directory.model.begin(), directory.model.end());
      directory.model = fresh.model;
      directory.expect_as_model();
    }
  }
  while (!directory.model.empty()) {
    Transaction transaction(volume_->journal());
    ASSERT_TRUE(transaction.begin().has_value());
    for (int i = 0; i < 10 && !directory.model.empty(); ++i) {
      ASSERT_TRUE(directory.remove(transaction, directory.model.begin()->first).has_value());
      directory.model.erase(directory.model.begin());
    }
    transaction.commit();
  }
  directory.expect_as_model();
  EXPECT_EQ(shape_of(directory.file, u"$I30").blocks, 0u);
  EXPECT_EQ(findings(), "");
  EXPECT_EQ(free_clusters(), free_before);
}

INSTANTIATE_TEST_SUITE_P(Geometries, IndexTreeGeometry,
                         ::testing::Values(Geometry{"C4096R1024", 4096, 1024, 512},
                                           Geometry{"C512R1024", 512, 1024, 512},
                                           Geometry{"C2048R1024", 2048, 1024, 512},
                                           Geometry{"C16384R1024", 16384, 1024, 512},
                                           Geometry{"C2MR1024", 2 << 20, 1024, 512},
                                           Geometry{"C4096R4096", 4096, 4096, 4096}),
                         [](const auto& each) { return std::string(each.param.label); });

TEST_F(IndexTreeTest, AscendingNamesFillTheirBlocks) {
  constexpr uint64_t kNames = 100000;
  make_volume(256 * kMiB, {});
  Directory directory(*volume_, make_directory(u"directory"));
  const double start = microseconds_now();
  for (uint64_t i = 0; i < kNames; ++i) {
    Transaction transaction(volume_->journal());
    ASSERT_TRUE(transaction.begin().has_value());
    ASSERT_TRUE(directory.insert(transaction, numbered(u"file", i), i).has_value());
    transaction.commit();
  }
  RecordProperty("microseconds_insert", std::to_string(microseconds_since(start, kNames)));
  const Shape shape = shape_of(directory.file, u"$I30");
  EXPECT_EQ(shape.blocks, shape.bits);
  EXPECT_GT(shape.fill(), 0.92);

  const SharedLock lock(volume_->journal().metadata_lock());
  const double start_find = microseconds_now();
  for (uint64_t i = 0; i < kNames; ++i) {
    IndexTree tree = directory.tree();
    const auto entry =
        tree.find_name(numbered(u"file", i * 7919 % kNames), IndexTree::NameMatch::IgnoreCase);
    ASSERT_TRUE(entry.has_value() && entry->has_value());
  }
  RecordProperty("microseconds_find", std::to_string(microseconds_since(start_find, kNames)));
}

TEST_F(IndexTreeTest, RandomAndDescendingNamesFillTheirBlocksWellEnough) {
  make_volume(128 * kMiB, {});
  std::vector<uint64_t> numbers(20000);
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = numbers.size() - i;
  std::array<double, 2> fill{};
  for (size_t round = 0; round < 2; ++round) {
    Directory directory(*volume_, make_directory(round == 0 ? u"descending" : u"random"));
    for (const uint64_t number : numbers) {
      Transaction transaction(volume_->journal());
      ASSERT_TRUE(transaction.begin().has_value());
      ASSERT_TRUE(directory.insert(transaction, numbered(u"n", number), number).has_value());
      transaction.commit();
    }
    fill[round] = shape_of(directory.file, u"$I30").fill();
    std::shuffle(numbers.begin(), numbers.end(), std::mt19937(3));
  }
  EXPECT_GT(fill[0], 0.9);
  EXPECT_GT(fill[1], 0.62);
}

TEST_F(IndexTreeTest, RemovingAllInAnyOrderGivesBackAllClusters) {
  make_volume(128 * kMiB, {});
  constexpr uint64_t kNames = 24000;  // $BITMAP leaves the file record
  for (const char* order : {"forward", "backward", "random"}) {
    SCOPED_TRACE(order);
    Directory directory(*volume_, make_directory(order[0] == 'f'   ? u"forward"
                                                 : order[0] == 'b' ? u"backward"
                                                                   : u"random"));
    EXPECT_EQ(findings(), "");
    const uint64_t free_before = free_clusters();
    std::vector<std::u16string> names;
    for (uint64_t i = 0; i < kNames; ++i) names.push_back(numbered(u"some name ", i));
    for (const auto& name : names) {
      Transaction transaction(volume_->journal());
      ASSERT_TRUE(transaction.begin().has_value());
      ASSERT_TRUE(directory.insert(transaction, name, 1).has_value());
      transaction.commit();
    }
    if (order[0] == 'b') std::reverse(names.begin(), names.end());
    if (order[0] == 'r') std::shuffle(names.begin(), names.end(), std::mt19937(5));
    uint64_t left = kNames;
    for (const auto& name : names) {
      Transaction transaction(volume_->journal());
      ASSERT_TRUE(transaction.begin().has_value());
      const auto removed = directory.remove(transaction, name);
      ASSERT_TRUE(removed.has_value()) << name_of(removed.error());
      transaction.commit();
      if (--left % 1000 == 0) {
        const Shape shape = shape_of(directory.file, u"$I30");
        ASSERT_EQ(shape.blocks, shape.bits);
        ASSERT_EQ(shape.empty_leaves, 0u);
      }
    }
    const SharedLock lock(volume_->journal().metadata_lock());
    EXPECT_TRUE(*directory.tree().is_empty());
    Attributes attributes(*volume_, directory.file);
    EXPECT_FALSE(attributes.find(AttributeType::IndexAllocation, u"$I30").has_value());
    EXPECT_FALSE(attributes.find(AttributeType::Bitmap, u"$I30").has_value());
    EXPECT_EQ(free_clusters(), free_before);
  }
  EXPECT_EQ(findings(), "");
}

TEST_F(IndexTreeTest, BlocksThatAreNotInUseShowNoNames) {
  make_volume(64 * kMiB, {});
  Directory directory(*volume_, make_directory(u"directory"));
  std::vector<std::u16string> names;
  for (uint64_t i = 0; i < 4000; ++i) names.push_back(numbered(u"some name ", i));
  for (const auto& name : names) {
    Transaction transaction(volume_->journal());
    ASSERT_TRUE(transaction.begin().has_value());
    ASSERT_TRUE(directory.insert(transaction, name, 1).has_value());
    transaction.commit();
  }
  std::shuffle(names.begin(), names.end(), std::mt19937(7));
  while (names.size() > 300) {
    Transaction transaction(volume_->journal());
    ASSERT_TRUE(transaction.begin().has_value());
    ASSERT_TRUE(directory.remove(transaction, names.back()).has_value());
    transaction.commit();
    names.pop_back();
  }
  reopen();
  const SharedLock lock(volume_->journal().metadata_lock());
  Attributes attributes(*volume_, directory.file);
  const auto bitmap = attributes.find(AttributeType::Bitmap, u"$I30");
  ASSERT_TRUE(bitmap.has_value() && bitmap->view().is_resident());
  const auto sizes = attributes.sizes(AttributeType::IndexAllocation, u"$I30");
  ASSERT_TRUE(sizes.has_value());
  IndexBlocks blocks(*volume_, directory.file, u"$I30");
  uint64_t unused = 0;
  for (uint64_t block = 0; block < sizes->file_size / blocks.block_bytes(); ++block) {
    const auto bits = std::to_integer<uint8_t>(bitmap->view().value()[block / 8]);
    if ((bits >> (block % 8) & 1) != 0) continue;
    ++unused;
    const auto page = blocks.get(Vcn(block * volume_->geometry().index_block_steps()));
    ASSERT_TRUE(page.has_value());
    const ByteView bytes = (*page)->bytes();
    const auto node = ondisk::IndexBlockView::of_valid(bytes).node();
    EXPECT_TRUE(node.is_empty());
    const ByteView slack = bytes.subspan(ondisk::kIndexHeaderInBlock + node.used_bytes());
    EXPECT_TRUE(
        std::all_of(slack.begin(), slack.end(), [](std::byte b) { return b == std::byte{}; }));
  }
  EXPECT_GT(unused, 50u);
}

TEST_F(IndexTreeTest, AnAbortedTransactionLeavesNothingBehind) {
  make_volume(64 * kMiB, {});
  Directory directory(*volume_, make_directory(u"directory"));
  const uint64_t free_before = free_clusters();
  for (uint64_t size : {uint64_t{0}, uint64_t{3}, uint64_t{30}, uint64_t{400}}) {
    {
      Transaction transaction(volume_->journal());
      ASSERT_TRUE(transaction.begin().has_value());
      for (uint64_t i = directory.model.size(); i < size; ++i) {
        ASSERT_TRUE(directory.insert(transaction, numbered(u"kept", i), i).has_value());
        directory.model[numbered(u"kept", i)] = i;
      }
      transaction.commit();
    }
    directory.expect_as_model();
    {
      Transaction transaction(volume_->journal());
      ASSERT_TRUE(transaction.begin().has_value());
      for (const auto& [name, id] : directory.model) {
        ASSERT_TRUE(directory.remove(transaction, name).has_value());
      }
      for (uint64_t i = 0; i < 200; ++i) {
        ASSERT_TRUE(directory.insert(transaction, numbered(u"other", i), i).has_value());
      }
      for (uint64_t i = 0; i < 200; ++i) {
        ASSERT_TRUE(directory.remove(transaction, numbered(u"other", i)).has_value());
      }
      for (uint64_t i = 0; i < 50; ++i) {
        ASSERT_TRUE(directory.insert(transaction, numbered(u"more", i), i).has_value());
      }
    }
    directory.expect_as_model();
  }
  for (const auto& [name, id] : directory.model) {
    Transaction transaction(volume_->journal());
    ASSERT_TRUE(transaction.begin().has_value());
    ASSERT_TRUE(directory.remove(transaction, name).has_value());
    transaction.commit();
  }
  EXPECT_EQ(findings(), "");
  EXPECT_EQ(free_clusters(), free_before);
}

TEST_F(IndexTreeTest, ADirectoryWithoutRoomInItsRecordWorks) {
  make_volume(64 * kMiB, {});
  Directory directory(*volume_, make_directory(std::u16string(255, u'd')));
  for (int round = 0; round < 3; ++round) {
    for (uint64_t i = 0; i < 300; ++i) {
      Transaction transaction(volume_->journal());
      ASSERT_TRUE(transaction.begin().has_value());
      std::u16string name = numbered(u"", i) + std::u16string(200, u'x');
      const auto done = directory.insert(transaction, name, i);
      ASSERT_TRUE(done.has_value()) << name_of(done.error());
      directory.model[name] = i;
      transaction.commit();
    }
    directory.expect_as_model();
    for (uint64_t i = 0; i < 300; ++i) {
      Transaction transaction(volume_->journal());
      ASSERT_TRUE(transaction.begin().has_value());
      ASSERT_TRUE(directory.remove(transaction, directory.model.begin()->first).has_value());
      directory.model.erase(directory.model.begin());
      if (i == 298) {  // the last name is renamed: out of the index and in again
        const std::u16string last = directory.model.begin()->first;
        ASSERT_TRUE(directory.remove(transaction, last).has_value());
        ASSERT_TRUE(directory.insert(transaction, last, 77).has_value());
        directory.model[last] = 77;
      }
      transaction.commit();
    }
    directory.expect_as_model();
    EXPECT_EQ(findings(), "");
  }
}

TEST_F(IndexTreeTest, IgnoringCaseTheExactNameComesFirst) {
  make_volume(64 * kMiB, {});
  Directory directory(*volume_, make_directory(u"directory"));
  std::mt19937 random(9);
  for (int i = 0; i < 3000; ++i) {
    Transaction transaction(volume_->journal());
    ASSERT_TRUE(transaction.begin().has_value());
    std::u16string name = numbered(u"mixedcase", random() % 400);
    for (auto& unit : name) {
      if (random() % 6 == 0) unit = volume_->upcase()(unit);
    }
    if (!directory.model.contains(name)) {
      ASSERT_TRUE(directory.insert(transaction, name, 1).has_value());
      directory.model[name] = 1;
    }
    transaction.commit();
  }
  const SharedLock lock(volume_->journal().metadata_lock());
  IndexTree tree = directory.tree();
  const auto found_name = [&](std::u16string_view name, IndexTree::NameMatch match) {
    const auto entry = tree.find_name(name, match);
    EXPECT_TRUE(entry.has_value());
    if (!entry->has_value()) return std::u16string();
    const auto view = IndexEntryView::of_valid(**entry, 0);
    return ondisk::FileNameView::of_valid(view.key()).name();
  };
  for (uint64_t i = 0; i < 400; ++i) {
    for (const auto& name :
         {numbered(u"mixedcase", i), numbered(u"MIXEDCASE", i), numbered(u"MiXeDcAsE", i)}) {
      const bool is_there = directory.model.contains(name);
      EXPECT_EQ(found_name(name, IndexTree::NameMatch::Exact), is_there ? name : u"");
      const std::u16string similar = found_name(name, IndexTree::NameMatch::IgnoreCase);
      const bool any =
          std::any_of(directory.model.begin(), directory.model.end(), [&](const auto& entry) {
            return equal_ignoring_case(std::u16string_view(entry.first), name, volume_->upcase());
          });
      EXPECT_EQ(!similar.empty(), any);
      if (is_there) {
        EXPECT_EQ(similar, name);
      }
      if (any) {
        EXPECT_TRUE(equal_ignoring_case(std::u16string_view(similar), name, volume_->upcase()));
      }
    }
  }
  EXPECT_EQ(found_name(u"", IndexTree::NameMatch::Exact), u"");
  EXPECT_EQ(found_name(std::u16string(256, u'a'), IndexTree::NameMatch::IgnoreCase), u"");
}

/// Lets the subnode of one entry of a random block lead to a random block.
void damage(Directory& directory, Transaction& transaction, uint64_t blocks, std::mt19937& random) {
  IndexBlocks index(*directory.volume, directory.file, u"$I30");
  const uint64_t steps = directory.volume->geometry().index_block_steps();
  for (int attempt = 0; attempt < 200; ++attempt) {
    const auto page = index.get(Vcn(random() % blocks * steps));
    if (!page) continue;
    const auto node = ondisk::IndexBlockView::of_valid((*page)->bytes()).node();
    if (!node.has_subnodes()) continue;
    std::vector<uint32_t> offsets;
    for (const IndexEntryView entry : node) offsets.push_back(entry.offset());
    const uint64_t to = random() % 10 == 0 ? random() : random() % blocks * steps;
    const le64 vcn = le64::of(to);
    const uint32_t at = offsets[random() % offsets.size()];
    const auto done = transaction.perform(
        set_index_entry_vcn(at + static_cast<uint32_t>(ondisk::kIndexHeaderInBlock), bytes_of(vcn)),
        *page);
    ASSERT_TRUE(done.has_value());
    return;
  }
}

TEST_F(IndexTreeTest, DamagedTreesEndInAnErrorAndCanBeTakenBack) {
  make_volume(64 * kMiB, {});
  Directory directory(*volume_, make_directory(u"directory"));
  for (uint64_t i = 0; i < 6000; ++i) {
    Transaction transaction(volume_->journal());
    ASSERT_TRUE(transaction.begin().has_value());
    const std::u16string name = numbered(std::u16string(40, u'n'), i * 7919 % 6000);
    ASSERT_TRUE(directory.insert(transaction, name, i).has_value());
    directory.model[name] = i;
    transaction.commit();
  }
  const Shape shape = shape_of(directory.file, u"$I30");
  ASSERT_GE(shape.leaf_depth, 4u);
  std::mt19937 random(77);
  const ondisk::test::QuietReports quiet;
  for (int round = 0; round < 150; ++round) {
    Transaction transaction(volume_->journal());
    ASSERT_TRUE(transaction.begin().has_value());
    for (uint32_t i = 0; i <= random() % 3; ++i) {
      damage(directory, transaction, shape.blocks, random);
    }
    for (int i = 0; i < 150; ++i) {
      const std::u16string name = numbered(std::u16string(40, u'n'), random() % 6000);
      switch (random() % 8) {
        case 0:
          (void)directory.insert(transaction, numbered(std::u16string(42, u'n'), random()), 1);
          break;
        case 1: {
          IndexTree tree = directory.tree();
          (void)tree.find_name(name, IndexTree::NameMatch::IgnoreCase);
          break;
        }
        default:
          (void)directory.remove(transaction, name);
      }
    }
    IndexTree tree = directory.tree();
    (void)tree.for_each([](const IndexEntryView&) { return Result<>(); });
  }
  directory.expect_as_model();
  EXPECT_EQ(shape_of(directory.file, u"$I30").blocks, shape.blocks);
}

TEST_F(IndexTreeTest, AFullVolumeRefusesNamesAndLetsAllBeRemoved) {
  make_volume(16 * kMiB, {});
  Directory directory(*volume_, make_directory(u"directory"));
  std::vector<ClusterRun> ballast;
  {
    const SharedLock lock(volume_->journal().metadata_lock());
    const auto claim = [&](uint64_t count) {
      return volume_->clusters().claim(ClusterCount(count), Lcn::hole());
    };
    const auto spare = claim(40);
    ASSERT_TRUE(spare.has_value());
    for (uint64_t size = 4096; size != 0; size /= 2) {
      for (auto runs = claim(size); runs.has_value(); runs = claim(size)) {
        ballast.insert(ballast.end(), runs->begin(), runs->end());
      }
    }
    volume_->clusters().unclaim(*spare);
  }
  uint64_t refused = 0;
  for (uint64_t i = 0; i < 20000 && refused < 50; ++i) {
    Transaction transaction(volume_->journal());
    ASSERT_TRUE(transaction.begin().has_value());
    const std::u16string name = numbered(u"name", i * 7919 % 20011);
    const auto done = directory.insert(transaction, name, i);
    if (!done) {
      ASSERT_EQ(done.error(), NtStatus::DiskFull);
      ++refused;
      continue;
    }
    directory.model[name] = i;
    transaction.commit();
  }
  EXPECT_EQ(refused, 50u);
  EXPECT_GT(directory.model.size(), 100u);
  directory.expect_as_model();
  std::vector<std::u16string> names;
  for (const auto& [name, id] : directory.model) names.push_back(name);
  std::shuffle(names.begin(), names.end(), std::mt19937(13));
  for (const auto& name : names) {
    Transaction transaction(volume_->journal());
    ASSERT_TRUE(transaction.begin().has_value());
    const auto removed = directory.remove(transaction, name);
    ASSERT_TRUE(removed.has_value()) << name_of(removed.error());
    transaction.commit();
  }
  volume_->clusters().unclaim(ballast);
  EXPECT_EQ(findings(), "");
}

TEST_F(IndexTreeTest, AViewIndexKeepsItsData) {
  make_volume(64 * kMiB, {});
  const FileReference file = make_view();
  std::mt19937 random(21);
  std::map<uint32_t, uint32_t> model;
  const auto key_of = [](uint32_t key) { return le32::of(key); };
  IndexTree tree(*volume_, file, u"$SII");
  for (int round = 0; round < 20000; ++round) {
    const uint32_t key = random() % 3000 * 977;
    Transaction transaction(volume_->journal());
    ASSERT_TRUE(transaction.begin().has_value());
    const le32 raw = key_of(key);
    if (model.contains(key)) {
      ASSERT_TRUE(tree.remove(transaction, bytes_of(raw)).has_value());
      model.erase(key);
    } else {
      std::array<le32, 5> data{};
      data[0].set(key);
      data[4].set(static_cast<uint32_t>(round));
      ASSERT_TRUE(tree.insert(transaction,
                              ondisk::build_view_entry(bytes_of(raw), bytes_of(data), std::nullopt))
                      .has_value());
      model[key] = static_cast<uint32_t>(round);
    }
    transaction.commit();
  }
  const Shape shape = shape_of(file, u"$SII");
  EXPECT_EQ(shape.blocks, shape.bits);
  const SharedLock lock(volume_->journal().metadata_lock());
  auto next = model.begin();
  ASSERT_TRUE(tree.for_each([&](const IndexEntryView& entry) -> Result<> {
                    EXPECT_EQ(struct_at<le32>(entry.key()).get(), next->first);
                    EXPECT_EQ(struct_at<le32>(entry.data(), 16).get(), next->second);
                    ++next;
                    return {};
                  })
                  .has_value());
  EXPECT_TRUE(next == model.end());
  for (uint32_t key = 0; key < 3000 * 977; key += 977 * 13) {
    const auto entry = tree.find(bytes_of(key_of(key)));
    ASSERT_TRUE(entry.has_value());
    EXPECT_EQ(entry->has_value(), model.contains(key));
  }
}

}  // namespace
}  // namespace ntfs
