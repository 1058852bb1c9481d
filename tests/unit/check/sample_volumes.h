#pragma once

// Volumes that others made: images of Windows and of other tools, and one that ntfs-3g fills.

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace ntfs::testing {

/// A directory that goes away with this.
class ScratchDirectory {
 public:
  ScratchDirectory();
  ~ScratchDirectory();
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// The folder that NTFS_WAL_IMAGES names, or ../shared/images beside the source tree.
std::filesystem::path images_folder();
/// Unpacks `name`.img.tar.xz (in `name` may be a folder) into `into`; nothing where there is none.
std::optional<std::filesystem::path> unpack_image(const std::string& name,
                                                  const std::filesystem::path& into);

struct PeerVolume {
  std::string size = "24M";
  std::string cluster_size = "4096";
  int count_many = 700;  ///< files of the directory "many"
};
/// Formats `image` with mkntfs and fills it through ntfs-3g: directories, links, streams, holes,
/// reparse points, extended attributes. "" or why it could not be done.
std::string make_peer_volume(const std::filesystem::path& image, const PeerVolume& shape);

}  // namespace ntfs::testing
