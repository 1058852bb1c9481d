#include "tests/unit/compression/samples.h"

#include <array>
#include <random>
#include <string>

#include "core/base/little_endian.h"

namespace ntfs::testing {

namespace {

/// The numbers that C's standard gives as an example of rand().
class Numbers {
 public:
  uint32_t next() {
    state_ = (state_ * 1103515245 + 12345) & 0x7FFFFFFF;
    return state_ >> 16;
  }

 private:
  uint32_t state_ = 12345;
};

}  // namespace

ByteVector words(size_t length_bytes) {
  constexpr std::array<std::string_view, 21> kWords = {
      "the",   "cluster", "of",          "a",      "file",   "record", "is",
      "where", "an",      "attribute",   "value",  "begins", "and",    "ends",
      "log",   "page",    "transaction", "stream", "index",  "root",   "node"};
  Numbers numbers;
  std::string text;
  while (text.size() < length_bytes) {
    const uint32_t number = numbers.next();
    text += kWords[number % kWords.size()];
    text += number % 7 != 0 ? " " : ".\n";
  }
  text.resize(length_bytes);
  const ByteView bytes = text_bytes(text);
  return {bytes.begin(), bytes.end()};
}

ByteVector machine_code(size_t length_bytes) {
  Numbers numbers;
  ByteVector code;
  while (code.size() < length_bytes) {
    const uint32_t number = numbers.next();
    const auto at = static_cast<int32_t>(code.size());
    if (number % 3 == 0) {
      const le32 address = le32::of(static_cast<uint32_t>(number % 2 != 0 ? 4000 - at : -(at / 2)));
      code.push_back(std::byte{0xE8});
      code.insert(code.end(), bytes_of(address).begin(), bytes_of(address).end());
    } else {
      const std::array move = {std::byte{0x48}, std::byte{0x89},
                               static_cast<std::byte>(0xC0 + number % 8), std::byte{0x90}};
      code.insert(code.end(), move.begin(), move.end());
    }
  }
  code.resize(length_bytes);
  return code;
}

ByteVector runs_and_noise(size_t length_bytes, unsigned seed) {
  std::mt19937 random(seed);
  ByteVector bytes;
  while (bytes.size() < length_bytes) {
    const bool is_run = random() % 4 == 0;
    const size_t count = is_run ? random() % 1000 : random() % 100;
    const auto same = static_cast<std::byte>(random());
    for (size_t i = 0; i < count; ++i) {
      bytes.push_back(is_run ? same : static_cast<std::byte>('a' + random() % 26));
    }
  }
  bytes.resize(length_bytes);
  return bytes;
}

ByteVector from_hex(std::string_view text) {
  const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  ByteVector bytes;
  for (size_t i = 0; i + 1 < text.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(digit(text[i]) * 16 + digit(text[i + 1])));
  }
  return bytes;
}

const std::string_view kXpressOfWords =
    "0000000000080000000000000000000005000000000000070000000000000000000000000000000000000000000000"
    "0050775676570086550865758808000000000000000000000000000000000000000000000000000000000000000000"
    "0000000000000000000000000000000000000000000000000000000000000000000008000000000000007000000000"
    "0000000006080000000000788780008000000870680680000008007767687070008000767865777000000000558407"
    "0087000060087670688780000000678777070600000000000007000000000000000000000000000000000000000000"
    "000000000000000000000000000000000000000000a22b9a214d74c29566085568b29c48ea208f56821a3a4817b2dc"
    "144113cd05af17205e0f30a731c458750922995389473b36caab8888c430c9d758eb60d1f4bec476085db42de91cde"
    "1072deea82415081f3b0d1cba5490550123a33c93af329547bca957e677473b90ef218163ec70c8c68290b917acb8b"
    "9d5dbb62d6e3859993e2bce65a20d160f1e3b0522b6c99d44b1dcb0edbdee5be9ea24d3b6320c9dbd230169494adad"
    "fd86601097ef1a7b669f1007792afa11ce8ad11b418ecd53d8f414c7a03282bd037b16bed1db1cab6f5c009a52e2e7"
    "42f7177efdc30af0b8120db117770e252098020b605d5fcabf0c195b7ed69a81e990f0dbcb7f2b983e44502299a49d"
    "e62ad532ca287b429e1abf8d34cf8c78539faaaef140c3c69ce43a6b8b46929604698f3006f165217e8f1e6439c799"
    "bfd23930f10aefcf6dec8800d4ed015ab970d563234548e985e77bdf67cee40bba3381d1c232ddf37b80b9ba573351"
    "206e4471515ad9a76d68fcae0d964c00760000";

const std::string_view kLzxOfWords =
    "5d2000c30000230040334300630ffc06dc9b63392875295a032b7f7f803400000800988d1100e342d0b8a28b42e191"
    "e40799898191024908d1046b802c464b68b8f8202dfbe509024380166e77dce0bf00980000000011101080fc651743"
    "dfef38bf10cd5ba7b9a62998d8020c4a69536725d3afa025568628274c3131a42fd66d3bb0753c8a003c27402a35b6"
    "a589e54b13b3b3accad9460b9f697960921c78c9853def8b7b42285a6add6c561d1c4a9f7a5b01f1b713900ea050d0"
    "91497fa2b488764cd1b614c83f4aad3d9d22140b8947498e0dba6638663002bc0934d398ecbe588cf050e7cf27ceea"
    "f93ca724cd83ecfa1ec9802125c5f13e0704a65202b8c9a6a98d2bb396d5ab68ebf4a001133a75d5c5e5f124385f24"
    "5e0849159c229873bd8ebf504de8b7b81b7742bc44b843df2fa42e0aad51023d5e96863f7b9587e4a1d05c63429db9"
    "2b3d1266bb1af2f380f461dc2fdbc7b7d5e2086969fdbeafcfd526a5db5264c259eaccbd43da037f22e602f186a1ad"
    "734014928b3511e612bf90e47e7f6c1d0a0b32c6ca801ee714d7e96dcd64f066b83d3c252ff53bd40590d51740362c"
    "893c94f7f5e930e6c7f8d6ea4215b4213072ffb6f2426faace495a4bdbf50ff61c041edc27";

const std::string_view kLzxOfCode =
    "4b2000010000240070503600f77e89603b16820563c7cbe2910b025f7cc10a29122cd9c12264c8c358b3ffbbf2de14"
    "d5285816fd8188000000009a110000011ab4d68906ae3048e460c00b0848312438f2700a540ab4dc52402bb143804a"
    "d88bb1bb8a49ff4fc0a400000000000000c8d5437db7dff725482b0b494d85dd056796f73dbb3229f81a422e0b7d7e"
    "5780821291628d76c243ea584586a632690e190aa558be6ca396b8518521ba5c0f556ada6716d271b7b52842c3ce50"
    "2a176ac8411124eacfea10d50d6be2081465f2841d95c1e1cf611445939fbcba2a1781c6aa65a445e51bfc1a89e7e3"
    "a03c7e829575b6cb39cde1a2fd4a9282d6e857f543ffbcf1847197410c81f9332ee86f32011508a358e8588473fcde"
    "7b32b264b189c5bc86a11662cda7ee4042daa9606f3873de1984e8f1f868449a569cee098886876a75485a6cd92e6c"
    "886dbf0ca6ea1a6d8809d8391dd9fb3b4182bbf0b940afa87b790be0c6d44386436444a5c20217ff75702c34cf3e72"
    "c0f62a9642b985e1ac2fc630e35f379797dbc307634cd119a0b70575346f766184f84622043f80e7";

}  // namespace ntfs::testing
