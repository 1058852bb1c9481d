// Writes the seeds of recovery_fuzz into the folder named: logs as crashes leave them, each with a
// few operations.

#include <fstream>

#include "core/store/recovery.h"
#include "tests/fuzz/log_image.h"
#include "tests/fuzz/recovery_volume.h"

namespace ntfs {
namespace {

FilePtr at(ObjectStore& store, std::u16string_view name) {
  return *store.lookup(*store.root(), name);
}

void act(ObjectStore& store, int kind) {
  const FilePtr root = store.root();
  switch (kind) {
    case 0:
      fuzz::make(store, root, u"new", FileKind::File);
      (void)store.remove(*root, u"file", ObjectStore::RemoveKind::File).value();
      return;
    case 1:
      for (int i = 0; i < 10; ++i)
        fuzz::make(store, at(store, u"empty"), fuzz::numbered(i), FileKind::File);
      return;
    case 2:
      store
          .rename(*root, u"file", *at(store, u"full"), u"moved", ObjectStore::RenameMode::NoReplace)
          .value();
      return;
    case 3:
      store
          .write(*at(store, u"file"), 0, text_bytes(std::string(30000, 'f')),
                 ObjectStore::Buffering::Buffered)
          .value();
      return;
    default:
      for (int i = 0; i < 40; ++i)
        fuzz::make(store, at(store, u"full"), fuzz::numbered(100 + i), FileKind::File);
      return;
  }
}

void write_seed(const std::string& folder, int kind) {
  const auto device = fuzz::make_volume();
  const auto store = fuzz::mount(*device);
  act(*store, kind);
  store->flush().value();
  const auto log = std::move(*find_log(*device, store->volume().geometry()));
  AlignedBuffer bytes(log->size_bytes());
  log->read(0, bytes.bytes()).value();
  const ByteVector image = fuzz::encode_log(bytes.bytes().first(log->size_bytes()));
  std::ofstream out(folder + "/crash-" + std::to_string(kind), std::ios::binary);
  out.write(reinterpret_cast<const char*>(image.data()),
            static_cast<std::streamsize>(image.size()));
}

}  // namespace
}  // namespace ntfs

int main(int argc, char** argv) {
  if (argc != 2) return 64;
  for (int kind = 0; kind < 5; ++kind) ntfs::write_seed(argv[1], kind);
  return 0;
}
