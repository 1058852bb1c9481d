// Clusters that several streams have: cloning, copies on write, counts, and what crashes leave.

#include <optional>
#include <thread>

#include "tests/support/sanitized.h"
#include "tests/unit/store/stream_model.h"

namespace ntfs {
namespace {

using testing::Buffering;
using testing::Checked;
using testing::KeepSize;
using testing::kKiB;
using testing::kMiB;
using testing::pattern;
using testing::ScratchVolume;

constexpr ScratchVolume::Shape kShape{48 * kMiB, 4096, 1024, true};

/// Two files on a volume with reference counts.
struct Pair {
  explicit Pair(const ScratchVolume::Shape& shape = kShape)
      : scratch(shape), a(scratch, scratch.make_file()), b(scratch, scratch.make_file()) {}

  Volume& volume() { return scratch.volume(); }
  /// Both as their models, the counts as the checker finds them.
  void check() {
    a.check_all();
    b.check_all();
    a.write_back_and_check();
    b.write_back_and_check();
    a.check_all();
    b.check_all();
  }
  uint64_t free() { return volume().clusters().free_clusters().raw(); }
  std::vector<ClusterRun> runs(Checked& file) {
    const auto runs = file.stream().runs();
    return runs->allocated_in(Vcn(0), runs->end() - Vcn(0));
  }

  ScratchVolume scratch;
  Checked a;
  Checked b;
};

TEST(StreamShare, ACloneHasTheDataAndTakesNoSpace) {
  Pair pair;
  ASSERT_EQ(pair.a.write(0, pattern(5 * kMiB + 1000, 1), Buffering::Buffered), NtStatus::Success);
  ASSERT_TRUE(pair.a.stream().write_back());
  ASSERT_TRUE(pair.b.stream().write_back());
  const uint64_t free_before = pair.free();
  ASSERT_EQ(pair.b.clone_from(pair.a, 0, 0, 5 * kMiB + 1000), NtStatus::Success);
  EXPECT_EQ(pair.free(), free_before);
  EXPECT_EQ(pair.runs(pair.a), pair.runs(pair.b));
  pair.check();
  const auto sizes = pair.b.stream().sizes();
  EXPECT_EQ(sizes->file_size, 5 * kMiB + 1000);
  EXPECT_EQ(sizes->valid_data_length, 5 * kMiB + 1000);
  pair.a.remount();
  pair.b.find_again();
  pair.check();
}

TEST(StreamShare, AWriteToASharedClusterCopiesIt) {
  for (const Buffering buffering : {Buffering::Buffered, Buffering::Unbuffered}) {
    Pair pair;
    ASSERT_EQ(pair.a.write(0, pattern(kMiB, 1), Buffering::Buffered), NtStatus::Success);
    ASSERT_EQ(pair.b.clone_from(pair.a, 0, 0, kMiB), NtStatus::Success);
    const uint64_t free_before = pair.free();
    // A part of a cluster, a whole one, and the end of the file.
    ASSERT_EQ(pair.b.write(5000, pattern(100, 2), buffering), NtStatus::Success);
    ASSERT_EQ(pair.a.write(8192 * 2, pattern(4096, 3), buffering), NtStatus::Success);
    ASSERT_EQ(pair.b.write(kMiB - 10, pattern(20, 4), buffering), NtStatus::Success);
    pair.check();
    EXPECT_EQ(pair.free(), free_before - 4);  // three copies, and a cluster behind the old end
    pair.a.remount();
    pair.b.find_again();
    pair.check();
  }
}

TEST(StreamShare, TheLastOwnerWritesInPlaceOnceACheckpointHasEndedTheSharing) {
  Pair pair;
  ASSERT_EQ(pair.a.write(0, pattern(64 * kKiB, 1), Buffering::Buffered), NtStatus::Success);
  ASSERT_EQ(pair.b.clone_from(pair.a, 0, 0, 64 * kKiB), NtStatus::Success);
  const auto shared = pair.runs(pair.a);
  ASSERT_EQ(pair.b.set_size(0), NtStatus::Success);
  // A crash now would bring the clone back.
  ASSERT_EQ(pair.a.write(0, pattern(4096, 2), Buffering::Buffered), NtStatus::Success);
  ASSERT_TRUE(pair.a.stream().write_back());
  EXPECT_NE(pair.runs(pair.a), shared);
  ASSERT_TRUE(pair.volume().journal().checkpoint());
  const auto mine = pair.runs(pair.a);
  ASSERT_EQ(pair.a.write(0, pattern(64 * kKiB, 3), Buffering::Buffered), NtStatus::Success);
  ASSERT_TRUE(pair.a.stream().write_back());
  EXPECT_EQ(pair.runs(pair.a), mine);
  pair.check();
}

TEST(StreamShare, FreedClustersAreThoseThatNobodyHas) {
  Pair pair;
  const uint64_t free_before = pair.free();
  ASSERT_EQ(pair.a.write(0, pattern(kMiB, 1), Buffering::Buffered), NtStatus::Success);
  ASSERT_EQ(pair.b.clone_from(pair.a, 256 * kKiB, 0, 512 * kKiB), NtStatus::Success);
  ASSERT_EQ(pair.b.clone_from(pair.a, 256 * kKiB, 512 * kKiB, 512 * kKiB), NtStatus::Success);
  ASSERT_EQ(pair.a.punch(100 * kKiB, 300 * kKiB), NtStatus::Success);
  pair.check();
  ASSERT_EQ(pair.a.set_size(10 * kKiB), NtStatus::Success);
  pair.check();
  EXPECT_EQ(pair.free(), free_before - 3 - 128);
  ASSERT_TRUE(pair.a.stream().discard());
  ASSERT_TRUE(pair.b.stream().discard());
  EXPECT_EQ(pair.scratch.check(), "");
  EXPECT_EQ(pair.free(), free_before);
}

TEST(StreamShare, ZerosGoToOwnClusters) {
  Pair pair;
  ASSERT_EQ(pair.a.write(0, pattern(kMiB, 1), Buffering::Buffered), NtStatus::Success);
  ASSERT_EQ(pair.b.clone_from(pair.a, 0, 0, kMiB), NtStatus::Success);
  ASSERT_EQ(pair.b.zero(10000, 500 * kKiB, KeepSize::Yes), NtStatus::Success);
  pair.check();
  ASSERT_EQ(pair.a.zero(900 * kKiB, 200 * kKiB, KeepSize::No), NtStatus::Success);
  pair.check();
}

TEST(StreamShare, AGapBehindTheEndIsZeroedBesideTheSharedCluster) {
  for (const Buffering buffering : {Buffering::Buffered, Buffering::Unbuffered}) {
    Pair pair;
    ASSERT_EQ(pair.a.write(0, pattern(8192, 1), Buffering::Buffered), NtStatus::Success);
    ASSERT_EQ(pair.b.clone_from(pair.a, 0, 0, 8192), NtStatus::Success);
    // The valid data of the clone ends inside a cluster that is full of the other's.
    ASSERT_EQ(pair.b.set_size(5000), NtStatus::Success);
    ASSERT_EQ(pair.b.write(40960, pattern(8192, 2), buffering), NtStatus::Success);
    pair.check();
  }
}

TEST(StreamShare, WhatLiesBehindTheEndOfTheSourceIsNeverShown) {
  Pair pair;
  ASSERT_EQ(pair.a.write(0, pattern(64 * kKiB, 1), Buffering::Buffered), NtStatus::Success);
  ASSERT_EQ(pair.b.write(0, pattern(256 * kKiB, 2), Buffering::Buffered), NtStatus::Success);
  ASSERT_TRUE(pair.a.stream().write_back());
  ASSERT_EQ(pair.a.set_size(30000), NtStatus::Success);
  // The cluster holds the old bytes behind the end; the clone has more data behind it.
  ASSERT_EQ(pair.b.clone_from(pair.a, 0, 65536, 32768), NtStatus::Success);
  pair.check();
  // The source's valid data ends before the range does.
  ASSERT_EQ(pair.a.set_size(100 * kKiB), NtStatus::Success);
  ASSERT_EQ(pair.b.clone_from(pair.a, 0, 131072, 100 * kKiB / 4096 * 4096), NtStatus::Success);
  pair.check();
}

TEST(StreamShare, ACloneBehindTheEndLeavesZerosBetween) {
  Pair pair;
  ASSERT_EQ(pair.a.write(0, pattern(64 * kKiB, 1), Buffering::Buffered), NtStatus::Success);
  ASSERT_EQ(pair.b.write(0, pattern(20000, 2), Buffering::Buffered), NtStatus::Success);
  ASSERT_EQ(pair.b.allocate(0, 200 * kKiB, KeepSize::Yes), NtStatus::Success);
  ASSERT_EQ(pair.b.set_size(10000), NtStatus::Success);
  ASSERT_EQ(pair.b.clone_from(pair.a, 0, 131072, 64 * kKiB), NtStatus::Success);
  pair.check();
}

TEST(StreamShare, RefusesWhatCannotBeShared) {
  Pair pair;
  ASSERT_EQ(pair.a.write(0, pattern(64 * kKiB, 1), Buffering::Buffered), NtStatus::Success);
  ASSERT_EQ(pair.b.write(0, pattern(64 * kKiB, 2), Buffering::Buffered), NtStatus::Success);
  EXPECT_EQ(pair.b.clone_from(pair.a, 100, 0, 4096), NtStatus::InvalidParameter);
  EXPECT_EQ(pair.b.clone_from(pair.a, 0, 100, 4096), NtStatus::InvalidParameter);
  EXPECT_EQ(pair.b.clone_from(pair.a, 0, 0, 100), NtStatus::InvalidParameter);
  EXPECT_EQ(pair.b.clone_from(pair.a, 4096, 0, 64 * kKiB), NtStatus::InvalidParameter);
  EXPECT_EQ(pair.b.clone_from(pair.b, 0, 4096, 8192), NtStatus::InvalidParameter);
  EXPECT_EQ(pair.b.clone_from(pair.b, 0, 32768, 8192), NtStatus::Success);
  pair.check();
  testing::Fixture plain({48 * kMiB, 4096, 1024});
  EXPECT_EQ(plain.stream().share(plain.stream(), 0, 4096, 4096).error(), NtStatus::NotSupported);
}

TEST(StreamShare, ALongListOfRunsIsClonedInSeveralSteps) {
  Pair pair;
  for (uint64_t i = 0; i < 1200; ++i) {
    ASSERT_EQ(pair.a.write(i * 8192, pattern(4096, i), Buffering::Buffered), NtStatus::Success);
  }
  ASSERT_EQ(pair.a.write(1200 * 8192, pattern(77, 1), Buffering::Buffered), NtStatus::Success);
  ASSERT_EQ(pair.b.clone_from(pair.a, 0, 0, 1200 * 8192 + 77), NtStatus::Success);
  pair.check();
  for (uint64_t i = 0; i < 1200; i += 3) {
    ASSERT_EQ(pair.a.write(i * 8192 + 10, pattern(50, i), Buffering::Buffered), NtStatus::Success);
  }
  pair.check();
  ASSERT_EQ(pair.b.zero(100, 6 * kMiB, KeepSize::Yes), NtStatus::Success);
  pair.check();
  ASSERT_EQ(pair.b.punch(0, 10 * kMiB), NtStatus::Success);
  pair.check();
}

// 10 GiB: the time is that of a few log records.
TEST(StreamShare, TheSizeOfACloneCostsNothing) {
  Pair pair({uint64_t{24} << 30, 4096, 1024, true});
  const uint64_t size = uint64_t{10} << 30;
  ASSERT_TRUE(pair.a.stream().allocate(0, size, KeepSize::No));
  ASSERT_TRUE(pair.a.stream().set_valid_data_length(size));
  const uint64_t writes = pair.scratch.device().counters().bytes_written;
  const uint64_t free_before = pair.free();
  const auto done = pair.b.stream().share(pair.a.stream(), 0, 0, size);
  ASSERT_TRUE(done);
  EXPECT_EQ(*done, size);
  EXPECT_EQ(pair.free(), free_before);
  EXPECT_LT(pair.scratch.device().counters().bytes_written - writes, 1 * kMiB);
  EXPECT_EQ(pair.b.stream().sizes()->allocated, size);
  EXPECT_EQ(pair.scratch.check(), "");
}

// Space.

TEST(StreamShare, SpaceForTheCopyIsPromisedWhenTheDataIsBuffered) {
  Pair pair;
  ASSERT_EQ(pair.a.write(0, pattern(kMiB, 1), Buffering::Buffered), NtStatus::Success);
  ASSERT_EQ(pair.b.clone_from(pair.a, 0, 0, kMiB), NtStatus::Success);
  const FilePtr filler = pair.volume().file(pair.scratch.make_file());
  ASSERT_TRUE(pair.volume().journal().checkpoint());
  const uint64_t left = 16;
  ASSERT_TRUE(filler->data().allocate(0, (pair.volume().clusters().available().raw() - left) * 4096,
                                      KeepSize::Yes));
  ASSERT_EQ(pair.volume().clusters().available(), ClusterCount(left));
  ASSERT_EQ(pair.b.write(0, pattern(left * 4096, 2), Buffering::Buffered), NtStatus::Success);
  // What was taken as promised is flushed whatever comes; the next is told before.
  EXPECT_EQ(pair.b.write(left * 4096, pattern(4096, 3), Buffering::Buffered), NtStatus::DiskFull);
  EXPECT_EQ(pair.b.write(left * 4096, pattern(4096, 3), Buffering::Unbuffered), NtStatus::DiskFull);
  EXPECT_EQ(pair.b.zero(200 * kKiB, 100 * kKiB, KeepSize::Yes), NtStatus::DiskFull);
  pair.check();
  EXPECT_EQ(pair.b.stream().sizes()->allocated, kMiB);
  // Giving the other's part up makes these clusters this one's own.
  ASSERT_EQ(pair.a.set_size(0), NtStatus::Success);
  ASSERT_EQ(pair.b.write(left * 4096, pattern(400 * kKiB, 4), Buffering::Buffered),
            NtStatus::Success);
  pair.check();
}

// Crashes.

/// What a crash at this moment leaves, with all that was written to the device.
std::unique_ptr<Volume> recovered(testing::MemoryDevice& device) {
  VolumeOptions options;
  options.commit_interval = std::chrono::minutes(10);
  std::string why_not;
  auto volume = Volume::open(device, options, why_not);
  EXPECT_TRUE(volume) << why_not;
  return volume ? std::move(*volume) : nullptr;
}

TEST(StreamShare, ACrashThatBringsACloneBackBringsItsBytes) {
  Pair pair;
  const ByteVector old = pattern(64 * kKiB, 1);
  ASSERT_EQ(pair.a.write(0, old, Buffering::Buffered), NtStatus::Success);
  ASSERT_EQ(pair.b.clone_from(pair.a, 0, 0, 64 * kKiB), NtStatus::Success);
  ASSERT_TRUE(pair.volume().commit());
  // Neither the end of the clone nor what it makes possible is in the durable log; data is.
  ASSERT_EQ(pair.b.set_size(0), NtStatus::Success);
  ASSERT_EQ(pair.a.write(0, pattern(64 * kKiB, 2), Buffering::Unbuffered), NtStatus::Success);
  const auto survivor = pair.scratch.device().clone();
  const auto volume = recovered(*survivor);
  ASSERT_NE(volume, nullptr);
  EXPECT_EQ(testing::difference(
                old, testing::read(volume->file(pair.b.reference())->data(), 0, 64 * kKiB)),
            "");
}

TEST(StreamShare, SharedClustersThatACrashLeftBehindTheEndAreGivenUp) {
  Pair pair;
  ASSERT_EQ(pair.a.write(0, pattern(64 * kKiB, 1), Buffering::Buffered), NtStatus::Success);
  ASSERT_EQ(pair.b.clone_from(pair.a, 0, 0, 64 * kKiB), NtStatus::Success);
  // The first step of a truncation that has several: the sizes are cut, the runs are there.
  ASSERT_EQ(testing::in_transaction(pair.volume(),
                                    [&](Transaction& transaction) {
                                      Attributes attributes(pair.volume(), pair.b.reference());
                                      return attributes.set_sizes(
                                          transaction, ondisk::AttributeType::Data, u"",
                                          {64 * kKiB, 5000, 5000, 64 * kKiB});
                                    }),
            NtStatus::Success);
  pair.a.remount();
  const FilePtr file = pair.volume().file(pair.b.reference());
  Stream& cut = file->data();
  const ByteVector more = pattern(100, 2);
  ASSERT_TRUE(cut.write(50000, more, Buffering::Buffered));
  ASSERT_TRUE(cut.write_back());
  EXPECT_EQ(testing::read(cut, 5000, 45000), ByteVector(45000));
  EXPECT_EQ(testing::read(cut, 50000, 100), more);
  pair.a.check_all();
  EXPECT_EQ(pair.scratch.check(), "");
}

TEST(StreamShare, WritersAndClonersTakeTurns) {
  Pair pair;
  constexpr size_t kBytes = 256 * kKiB;
  ASSERT_EQ(pair.a.write(0, pattern(kBytes, 1), Buffering::Buffered), NtStatus::Success);
  Stream& a = pair.a.stream();
  Stream& b = pair.b.stream();
  const auto write = [](Stream& stream, uint64_t seed) {
    for (uint64_t i = 0; i < 150; ++i) {
      const auto bytes = testing::aligned(pattern(8192, seed + i));
      const auto buffering = i % 3 == 0 ? Buffering::Unbuffered : Buffering::Buffered;
      ASSERT_TRUE(stream.write(i * 37 % 60 * 4096, bytes.bytes().first(8192), buffering));
    }
  };
  const auto clone = [](Stream& from, Stream& to) {
    for (int i = 0; i < 60; ++i) {
      const auto done = to.share(from, 0, 64 * kKiB, kBytes);
      ASSERT_TRUE(done || done.error() == NtStatus::NotSupported) << name_of(done.error());
    }
  };
  std::thread first([&] { write(a, 100); });
  std::thread second([&] { write(b, 500); });
  std::thread third([&] { clone(a, b); });
  std::thread fourth([&] {
    for (int i = 0; i < 60; ++i) ASSERT_TRUE(a.share(b, 0, 0, 4096) || a.punch(4096, 8192));
  });
  for (std::thread* thread : {&first, &second, &third, &fourth}) thread->join();
  ASSERT_TRUE(a.write_back());
  ASSERT_TRUE(b.write_back());
  EXPECT_EQ(pair.scratch.check(), "");
}

TEST(StreamShare, AFailureTakesCountsAndRunsBack) {
  Pair pair;
  ASSERT_EQ(pair.a.write(0, pattern(kMiB, 1), Buffering::Buffered), NtStatus::Success);
  ASSERT_EQ(pair.b.write(0, pattern(kMiB, 2), Buffering::Buffered), NtStatus::Success);
  ASSERT_EQ(pair.b.clone_from(pair.a, 0, 256 * kKiB, 256 * kKiB), NtStatus::Success);
  pair.check();
  const ClusterRun run = pair.runs(pair.a)[0];
  ClusterRefcounts& counts = *pair.volume().refcounts();
  const auto part = counts.first_part(run);
  EXPECT_TRUE(part.is_shared);
  EXPECT_EQ(
      testing::in_transaction(
          pair.volume(),
          [&](Transaction& transaction) -> Result<> {
            TRY(counts.add_reference(transaction, {run.lcn + ClusterCount(3), ClusterCount(9)}));
            TRY(pair.volume().release_clusters(transaction, part.run));
            TRY(pair.volume().release_clusters(transaction, part.run));
            return NtStatus::Cancelled;
          }),
      NtStatus::Cancelled);
  EXPECT_EQ(counts.count_shared(run), part.run.count);
  pair.check();
}

TEST(ClusterRefcounts, ADamagedIndexIsRefused) {
  const auto parse = [](uint32_t lcn, uint32_t count, uint32_t references) {
    const le32 key = le32::of(lcn);
    ondisk::ClusterReferencesData data;
    data.count_clusters.set(count);
    data.references.set(references);
    return ondisk::parse_cluster_references(bytes_of(key), bytes_of(data), 1000, {"test"});
  };
  EXPECT_TRUE(parse(990, 10, 2));
  EXPECT_FALSE(parse(990, 11, 2));
  EXPECT_FALSE(parse(1, 0xFFFFFFFF, 2));
  EXPECT_FALSE(parse(5, 0, 2));
  EXPECT_FALSE(parse(5, 1, 1));
  const le32 key = le32::of(1);
  EXPECT_FALSE(ondisk::parse_cluster_references(bytes_of(key), {}, 1000, {"test"}));
  EXPECT_FALSE(ondisk::parse_cluster_references({}, bytes_of(key), 1000, {"test"}));
}

TEST(ClusterRefcounts, TheCheckerFindsWrongCounts) {
  const auto finding_after = [](uint64_t skip, uint64_t count, bool adds) {
    Pair pair;
    EXPECT_EQ(pair.a.write(0, pattern(kMiB, 1), Buffering::Buffered), NtStatus::Success);
    EXPECT_EQ(pair.b.clone_from(pair.a, 0, 0, 256 * kKiB), NtStatus::Success);
    EXPECT_EQ(pair.scratch.check(), "");
    const ClusterRun part{pair.runs(pair.a)[0].lcn + ClusterCount(skip), ClusterCount(count)};
    ClusterRefcounts& counts = *pair.volume().refcounts();
    EXPECT_EQ(testing::in_transaction(pair.volume(),
                                      [&](Transaction& transaction) -> Result<> {
                                        if (adds) return counts.add_reference(transaction, part);
                                        TRY(counts.remove_reference(transaction, part));
                                        return {};
                                      }),
              NtStatus::Success);
    return pair.scratch.check();
  };
  EXPECT_NE(finding_after(3, 5, true).find("count of a shared cluster"), std::string::npos);
  EXPECT_NE(finding_after(3, 5, false).find("count of a shared cluster"), std::string::npos);
  EXPECT_NE(finding_after(100, 1, true).find("count of a shared cluster"), std::string::npos);
}

// At random.

struct Exercise {
  uint32_t cluster_size = 4096;
  uint64_t left_bytes = 0;  ///< free space when it begins; 0: as it is
  int operations = 400;
  uint64_t seed = 1;
};

class RandomSharing {
 public:
  RandomSharing(ScratchVolume& scratch, const Exercise& exercise)
      : scratch_(scratch), exercise_(exercise), random_(exercise.seed) {
    for (auto& file : files_) file.emplace(scratch, scratch.make_file());
  }
  void step() {
    Checked& file = *files_[below(files_.size())];
    const NtStatus status = choose(file);
    if (status == NtStatus::DiskFull) {
      ++count_full_;
      file.check_all();
      ASSERT_EQ(file.set_size(file.model().size() / 4), NtStatus::Success);
      return;
    }
    ASSERT_EQ(status, NtStatus::Success) << name_of(status);
  }
  void check() {
    for (auto& file : files_) {
      file->check_all();
      file->write_back_and_check();
    }
  }
  void remount() {
    ASSERT_EQ(scratch_.check(), "");
    for (auto& file : files_) ASSERT_TRUE(file->file().write_back());
    for (auto& file : files_) file->let_go();
    scratch_.reopen();
    for (auto& file : files_) file->find_again();
    check();
  }
  void discard() {
    for (auto& file : files_) ASSERT_TRUE(file->stream().discard());
  }
  int count_full() const { return count_full_; }
  int count_clones() const { return count_clones_; }

 private:
  static constexpr uint64_t kMostBytes = 600 * kKiB;
  uint64_t below(uint64_t limit) { return random_() % limit; }
  uint64_t length() { return below(3) == 0 ? 1 + below(200 * kKiB) : 1 + below(20000); }

  NtStatus clone(Checked& file) {
    Checked& source = *files_[below(files_.size())];
    const uint64_t cluster = exercise_.cluster_size;
    const uint64_t size = source.model().size();
    if (size == 0) return NtStatus::Success;
    const uint64_t from = align_down(below(size), cluster);
    uint64_t count = below(3) == 0 ? size - from : std::min(size - from, length());
    const uint64_t at = align_down(below(file.model().size() + 100 * kKiB), cluster);
    if (at + count < file.model().size()) count = align_up(count, cluster);
    const bool overlaps =
        from < at + align_up(count, cluster) && at < from + align_up(count, cluster);
    if (&source == &file && overlaps) return NtStatus::Success;
    ++count_clones_;
    return file.clone_from(source, from, at, count);
  }
  NtStatus choose(Checked& file) {
    const uint64_t at = below(kMostBytes);
    const uint64_t count = length();
    switch (below(16)) {
      case 0:
      case 1:
      case 2:
      case 3:
        return clone(file);
      case 4:
      case 5:
        return file.write(at, pattern(count, random_()), Buffering::Buffered);
      case 6:
        return file.write(at, pattern(count, random_()), Buffering::Unbuffered);
      case 7:
        return file.write(align_down(at, 4096), pattern(align_up(count, 4096), random_()),
                          Buffering::Unbuffered);
      case 8:
        return file.append(pattern(count, random_()));
      case 9:
        return file.set_size(below(3) == 0 ? below(9000) : at);
      case 10:
        return file.punch(at, count);
      case 11:
        return file.zero(at, count, below(2) == 0 ? KeepSize::No : KeepSize::Yes);
      case 12:
        return file.allocate(at, count, below(2) == 0 ? KeepSize::No : KeepSize::Yes);
      case 13:
        return file.stream()
            .write_back(below(2) == 0 ? Stream::Durable::Later : Stream::Durable::AtOnce)
            .error();
      case 14:
        return scratch_.volume().journal().checkpoint().error();
      default:
        file.check_all();
        return NtStatus::Success;
    }
  }

  ScratchVolume& scratch_;
  const Exercise exercise_;
  std::mt19937_64 random_;
  std::array<std::optional<Checked>, 4> files_;
  int count_full_ = 0;
  int count_clones_ = 0;
};

int run(const Exercise& exercise) {
  SCOPED_TRACE("seed " + std::to_string(exercise.seed));
  ScratchVolume scratch({32 * kMiB, exercise.cluster_size, 1024, true});
  if (exercise.left_bytes != 0) {
    const FilePtr filler = scratch.volume().file(scratch.make_file());
    const uint64_t available =
        scratch.volume().clusters().available().raw() * exercise.cluster_size;
    EXPECT_TRUE(
        filler->data().allocate(0, available - exercise.left_bytes, KeepSize::No).has_value());
  }
  RandomSharing sharing(scratch, exercise);
  EXPECT_EQ(scratch.check(), "");
  const bool is_short = testing::kIsSanitized && exercise.left_bytes == 0;  // filling takes all
  const int operations = exercise.operations / (is_short ? 3 : 1);
  for (int i = 0; i < operations; ++i) {
    SCOPED_TRACE("operation " + std::to_string(i));
    sharing.step();
    if (i % 16 == 0) sharing.check();
    if (i % 100 == 99) sharing.remount();
    if (::testing::Test::HasFailure()) return 0;
  }
  sharing.check();
  EXPECT_GT(sharing.count_clones(), operations / 20);
  sharing.discard();
  EXPECT_EQ(scratch.check(), "");
  // All counts are gone with the last file.
  EXPECT_EQ(scratch.volume().refcounts()->count_shared(
                {Lcn(0), ClusterCount(scratch.volume().geometry().total_clusters)}),
            ClusterCount(0));
  return sharing.count_full();
}

TEST(StreamShareRandom, FilesAreAsTheirModelsAndCountsAsTheirRuns) {
  std::random_device seeds;
  const uint64_t seed = seeds();
  RecordProperty("seed", std::to_string(seed));
  run({4096, 0, 400, seed});
  run({512, 0, 400, seed + 1});
  run({65536, 0, 300, seed + 2});
}

TEST(StreamShareRandom, AFullVolumeLeavesEverythingAsItWas) {
  std::random_device seeds;
  const uint64_t seed = seeds();
  RecordProperty("seed", std::to_string(seed));
  const int full = run({4096, 900 * kKiB, 500, seed});
  EXPECT_TRUE(full > 0 || HasFailure());
}

}  // namespace
}  // namespace ntfs
