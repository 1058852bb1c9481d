// Extended attributes by the command line, for the virtual machine: it needs nothing at run time.
//
// usage: xattr_tool get FILE NAME         the value in hex, or the error's name
//        xattr_tool list FILE             the names, in one line
//        xattr_tool set FILE NAME HEX     nothing, or the error's name

#include <sys/xattr.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

namespace {

int fail() {
  std::printf("%s\n", strerrorname_np(errno));
  return 0;
}

int get(const char* file, const char* name) {
  std::array<unsigned char, 65536> value{};
  const ssize_t length = lgetxattr(file, name, value.data(), value.size());
  if (length < 0) return fail();
  for (ssize_t i = 0; i < length; ++i) std::printf("%02x", value[static_cast<size_t>(i)]);
  std::printf("\n");
  return 0;
}

int list(const char* file) {
  std::array<char, 65536> names{};
  const ssize_t length = llistxattr(file, names.data(), names.size());
  if (length < 0) return fail();
  for (ssize_t i = 0; i < length; ++i) {
    std::putchar(names[static_cast<size_t>(i)] == '\0' ? ' ' : names[static_cast<size_t>(i)]);
  }
  std::printf("\n");
  return 0;
}

int set(const char* file, const char* name, std::string_view hex) {
  std::string value;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    value.push_back(static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  }
  return lsetxattr(file, name, value.data(), value.size(), 0) == 0 ? 0 : fail();
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view command = argc > 1 ? argv[1] : "";
  if (command == "get" && argc == 4) return get(argv[2], argv[3]);
  if (command == "list" && argc == 3) return list(argv[2]);
  if (command == "set" && argc == 5) return set(argv[2], argv[3], argv[4]);
  return 64;
}
