// What the stream WofCompressedData has of a file with the data that comes in.
//
// usage: wof_packer FORMAT <data >stream     FORMAT: the number that the reparse point has

#include <cstdio>
#include <cstdlib>

#include "tests/support/chunk_compressor.h"

int main(int count, char** arguments) {
  if (count != 2) return EXIT_FAILURE;
  const auto format = static_cast<ntfs::ondisk::WofFormat>(std::atoi(arguments[1]));
  ntfs::ByteVector data;
  size_t length = 0;
  do {
    constexpr size_t kPieceBytes = size_t{1} << 20;
    data.resize(length + kPieceBytes);
    length += std::fread(data.data() + length, 1, kPieceBytes, stdin);
  } while (length == data.size());
  data.resize(length);
  const ntfs::ByteVector stream = ntfs::testing::compress_wof(data, format);
  const bool is_out = std::fwrite(stream.data(), 1, stream.size(), stdout) == stream.size();
  return is_out && std::fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
