// What the log costs a storm of creates that nobody waits for: the same creates on the same image,
// once with the log on the device and once with its bytes kept in memory. For scripts/bench.
//
// usage: commit_cost IMAGE FILES      (IMAGE: a freshly formatted volume; it is written to)
// Prints one JSON object: creates per second with the log on the device and in memory.

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "core/fsa/object_store.h"
#include "core/io/uring_device.h"
#include "core/store/attributes.h"

namespace ntfs {
namespace {

constexpr size_t kDirectories = 16;

struct Range {
  uint64_t begin = 0;
  uint64_t end = 0;
};

/// A device of which one range lies in memory.
class PartlyInMemory final : public BlockDevice {
 public:
  PartlyInMemory(BlockDevice& device, Range range)
      : device_(device), range_(range), memory_(range.end - range.begin) {}

  /// Fills the memory with what the device has there.
  Result<> load() { return device_.read(range_.begin, memory_.bytes()); }
  /// The other way: the LSNs on the volume then have a log that knows of them.
  Result<> save() { return device_.write(range_.begin, memory_.bytes()); }

  uint64_t size_bytes() const override { return device_.size_bytes(); }
  uint32_t logical_block_size() const override { return device_.logical_block_size(); }
  bool is_read_only() const override { return false; }
  AlignedBuffer allocate(size_t size_bytes) override { return device_.allocate(size_bytes); }
  Result<> flush() override { return device_.flush(); }

  Result<> transfer(std::span<const IoRequest> requests) override {
    const auto others = take_own(requests);
    return others.empty() ? Result<>() : device_.transfer(others);
  }
  Result<> transfer_durable(std::span<const IoRequest> writes) override {
    const auto others = take_own(writes);
    return others.empty() ? Result<>() : device_.transfer_durable(others);
  }

 private:
  /// Does what lies in the range; the rest is returned. No request crosses the range's ends.
  std::vector<IoRequest> take_own(std::span<const IoRequest> requests) {
    std::vector<IoRequest> others;
    for (const IoRequest& request : requests) {
      if (request.offset < range_.begin || request.offset >= range_.end) {
        others.push_back(request);
        continue;
      }
      std::byte* here = memory_.data() + (request.offset - range_.begin);
      const bool reads = request.kind == IoRequest::Kind::Read;
      std::memcpy(reads ? request.memory.data() : here, reads ? here : request.memory.data(),
                  request.memory.size());
    }
    return others;
  }

  BlockDevice& device_;
  const Range range_;
  AlignedBuffer memory_;
};

[[noreturn]] void give_up(std::string_view what, NtStatus status) {
  fmt::print(stderr, "commit_cost: {}: {}\n", what, name_of(status));
  std::exit(1);
}

template <typename T>
T need(Result<T> result, std::string_view what) {
  if (!result) give_up(what, result.error());
  if constexpr (!std::is_void_v<T>) return std::move(result).value();
}

/// Where $LogFile lies; on a fresh volume it is one run.
Range find_log(BlockDevice& device) {
  VolumeOptions options;
  options.access = VolumeOptions::Access::AsItIs;
  std::string why_not;
  const auto volume = need(Volume::open(device, options, why_not), why_not);
  const SharedLock lock(volume->journal().metadata_lock());
  Attributes attributes(*volume, FileReference(ondisk::kLogFileRecord, 2));
  const Runlist runs =
      need(attributes.load_runs(ondisk::AttributeType::Data, u""), "the runs of $LogFile");
  const Run run = runs.find(Vcn(0));
  const uint64_t cluster = volume->geometry().cluster_size;
  if (run.vcn + run.count != runs.end()) give_up("$LogFile is fragmented", NtStatus::NotSupported);
  return {run.lcn.raw() * cluster, (run.lcn + run.count).raw() * cluster};
}

std::u16string name_of_file(std::string_view stem, size_t number) {
  const std::string text = fmt::format("{}-{}", stem, number);
  return {text.begin(), text.end()};
}

/// Creates per second. `round` tells the names of one round from those of another.
double storm(BlockDevice& device, size_t files, std::string_view round) {
  std::string why_not;
  const auto store = need(ObjectStore::mount(device, {}, why_not), "mounting");
  const FilePtr root = store->root();
  CreateParameters directory;
  directory.kind = FileKind::Directory;
  std::vector<FilePtr> directories;
  for (size_t i = 0; i < kDirectories; ++i) {
    directories.push_back(need(store->create(*root, name_of_file(round, i), directory), "mkdir"));
  }
  const auto start = std::chrono::steady_clock::now();
  for (size_t i = 0; i < files; ++i) {
    need(store->create(*directories[i % kDirectories], name_of_file("file", i), {}), "creating");
  }
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
  need(store->dismount(), "unmounting");
  return static_cast<double>(files) / taken.count();
}

int run(const std::string& path, size_t files) {
  const auto device = need(UringDevice::open(path, UringDevice::Access::ReadWrite, {}), path);
  PartlyInMemory in_memory(*device, find_log(*device));
  // Each in turn twice, so that neither has the emptier volume alone.
  double best_on_device = 0;
  double best_in_memory = 0;
  for (const std::string_view round : {"a", "b"}) {
    need(in_memory.load(), "reading the log");
    best_in_memory =
        std::max(best_in_memory, storm(in_memory, files, fmt::format("{}-mem", round)));
    need(in_memory.save(), "writing the log");
    best_on_device = std::max(best_on_device, storm(*device, files, fmt::format("{}-dev", round)));
  }
  fmt::print("{{\"log_on_device\": {:.0f}, \"log_in_memory\": {:.0f}}}\n", best_on_device,
             best_in_memory);
  return 0;
}

}  // namespace
}  // namespace ntfs

int main(int argc, char** argv) {
  if (argc != 3) {
    fmt::print(stderr, "usage: commit_cost IMAGE FILES\n");
    return 64;
  }
  return ntfs::run(argv[1], std::strtoull(argv[2], nullptr, 10));
}
