#include "tests/unit/check/sample_volumes.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <thread>

namespace ntfs::testing {

namespace fs = std::filesystem;

ScratchDirectory::ScratchDirectory() {
  std::string pattern = (fs::temp_directory_path() / "ntfs-check-XXXXXX").string();
  if (mkdtemp(pattern.data()) != nullptr) path_ = pattern;
}

ScratchDirectory::~ScratchDirectory() {
  std::error_code ignored;
  if (!path_.empty()) fs::remove_all(path_, ignored);
}

fs::path images_folder() {
  if (const char* named = std::getenv("NTFS_WAL_IMAGES")) return named;
  // __FILE__ may be relative to the build directory, which need not be the current one.
  const fs::path beside_source = fs::path(__FILE__).parent_path() / "../../../../shared/images";
  return fs::is_directory(beside_source) ? beside_source : fs::path("../shared/images");
}

std::optional<fs::path> unpack_image(const std::string& name, const fs::path& into) {
  const fs::path archive = images_folder() / (name + ".img.tar.xz");
  if (!fs::exists(archive)) return std::nullopt;
  const std::string command = "tar -C '" + into.string() + "' -xSJf '" + archive.string() + "'";
  if (std::system(command.c_str()) != 0) return std::nullopt;
  return into / (fs::path(name).filename().string() + ".img");
}

namespace {

/// ntfs-3g in the foreground, so that its end is the end of all writes.
class PeerMount {
 public:
  PeerMount(const fs::path& image, const fs::path& directory) : directory_(directory) {
    struct stat before {};
    stat(directory.c_str(), &before);
    child_ = fork();
    if (child_ == 0) {
      execlp("ntfs-3g", "ntfs-3g", "-o", "no_detach,special_files=wsl,streams_interface=xattr",
             image.c_str(), directory.c_str(), nullptr);
      _exit(127);
    }
    for (int i = 0; i < 200 && !mounted_; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(25));
      struct stat now {};
      mounted_ = stat(directory.c_str(), &now) == 0 && now.st_dev != before.st_dev;
      if (!mounted_ && waitpid(child_, nullptr, WNOHANG) == child_) {
        child_ = -1;
        return;
      }
    }
  }
  ~PeerMount() { unmount(); }
  PeerMount(const PeerMount&) = delete;
  PeerMount& operator=(const PeerMount&) = delete;
  bool is_mounted() const { return mounted_; }
  void unmount() {
    if (mounted_) {
      const std::string command = "umount '" + directory_.string() + "'";
      for (int i = 0; i < 20 && std::system(command.c_str()) != 0; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
      }
      mounted_ = false;
    }
    if (child_ > 0) waitpid(child_, nullptr, 0);
    child_ = -1;
  }

 private:
  const fs::path directory_;
  pid_t child_ = -1;
  bool mounted_ = false;
};

void write_file(const fs::path& path, size_t length) {
  std::ofstream(path, std::ios::binary) << std::string(length, 'x');
}

void fill_directories(const fs::path& root, int count_many) {
  fs::create_directories(root / "many");
  // In another order than the index keeps, with every second one removed again.
  for (int i = 0; i < 2 * count_many; ++i) {
    write_file(root / "many" / ("a file of many " + std::to_string(i * 7919L % 100003)), 3);
  }
  for (int i = 0; i < 2 * count_many; i += 2) {
    fs::remove(root / "many" / ("a file of many " + std::to_string(i * 7919L % 100003)));
  }
  fs::create_directories(root / "outer" / "inner" / "innermost");
  fs::create_directory(root / "emptied");
  for (int i = 0; i < 200; ++i) write_file(root / "emptied" / std::to_string(i), 0);
  for (int i = 0; i < 200; ++i) fs::remove(root / "emptied" / std::to_string(i));
}

void fill_files(const fs::path& root) {
  write_file(root / "plain", 40000);
  write_file(root / "other", 40000);
  write_file(root / "small", 100);
  write_file(root / "linked", 10);
  for (int i = 0; i < 5; ++i)
    fs::create_hard_link(root / "linked", root / ("link" + std::to_string(i)));
  fs::create_symlink("plain", root / "symlink");
  mknod((root / "device").c_str(), S_IFCHR | 0600, makedev(1, 3));
  for (const char* name : {"Ärger", "été", "żółw", "ЖУК", "жук2", "中文", "CASE", "case2"}) {
    write_file(root / name, 1);
  }
  std::ofstream sparse(root / "sparse", std::ios::binary);
  for (int i = 0; i < 20; ++i) {
    sparse.seekp(i * 300000);
    sparse << std::string(5000, 's');
  }
}

/// Many named streams: a file with an attribute list and extension records.
void fill_streams(const fs::path& root) {
  const fs::path path = root / "streams";
  write_file(path, 10);
  const std::string value(300, 'v');
  for (int i = 0; i < 40; ++i) {
    const std::string name = "user.stream" + std::to_string(i);
    setxattr(path.c_str(), name.c_str(), value.data(), value.size(), 0);
  }
}

}  // namespace

std::string make_peer_volume(const fs::path& image, const PeerVolume& shape) {
  const std::string quoted = "'" + image.string() + "'";
  const std::string format = "truncate -s " + shape.size + " " + quoted +
                             " && mkntfs -q -F -f -s 512 -p 0 -H 16 -S 16 -c " +
                             shape.cluster_size + " " + quoted + " >/dev/null 2>&1";
  if (std::system("command -v mkntfs ntfs-3g >/dev/null 2>&1") != 0) {
    return "mkntfs and ntfs-3g are not installed";
  }
  if (std::system(format.c_str()) != 0) return "mkntfs failed";
  if (access("/dev/fuse", R_OK | W_OK) != 0) return "there is no /dev/fuse";
  ScratchDirectory directory;
  PeerMount mount(image, directory.path());
  if (!mount.is_mounted()) return "ntfs-3g cannot mount here";
  fill_directories(directory.path(), shape.count_many);
  fill_files(directory.path());
  fill_streams(directory.path());
  mount.unmount();
  return "";
}

}  // namespace ntfs::testing
